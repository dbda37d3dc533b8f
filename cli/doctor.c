/* doctor: what Sinter finds on this machine. */
#include "cli.h"
#include "cpu/cpu.h"
#include "cpu/facts.h"
#include "cpu/matrix.h"
#include "cpu/process.h"
#include "cpu/toolchain.h"
#include "cuda/cuda.h"
#include "environment.h"
#include "report.h"
#include "tuning.h"
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum FindingColumn { FINDING_WHAT, FINDING_FOUND, FINDING_COLUMNS } FindingColumn;

static const Column finding_columns[FINDING_COLUMNS] = {{"what", "what", SN_CELL_TEXT},
                                                        {"found", "found", SN_CELL_TEXT}};

typedef struct Doctor {
    Arena *arena;
    Table table;
} Doctor;

static void find(Doctor *doctor, const char *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void find(Doctor *doctor, const char *what, const char *format, ...) {
    Text text = sn_text(doctor->arena);
    va_list args;
    va_start(args, format);
    sn_text_addv(&text, format, args);
    va_end(args);
    Cell *row = sn_table_row(doctor->arena, &doctor->table);
    row[FINDING_WHAT] = sn_cell_text(doctor->arena, what);
    row[FINDING_FOUND] = sn_cell_text(doctor->arena, sn_text_string(&text));
}

/* A finding that is a failure; frees it. */
static void find_failure(Doctor *doctor, const char *what, Status status) {
    find(doctor, what, "not usable: %s", sn_error_message(status));
    sn_error_free(status);
}

/* ---- processor ---- */

static void find_processor(Doctor *doctor) {
    find(doctor, "processor", "%s", sn_processor_name(doctor->arena));
    find(doctor, "processors for this process", "%d", sn_cpu_count());
    static const struct {
        const char *what;
        int name;
    } caches[] = {{"L1 data cache", _SC_LEVEL1_DCACHE_SIZE},
                  {"L2 cache", _SC_LEVEL2_CACHE_SIZE},
                  {"L3 cache", _SC_LEVEL3_CACHE_SIZE}};
    for (size_t i = 0; i < sizeof caches / sizeof *caches; i++) {
        long bytes = sysconf(caches[i].name);
        if (bytes > 0) find(doctor, caches[i].what, "%ld KiB", bytes >> 10);
    }
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0) find(doctor, "memory", "%.1f GiB", (double)pages * (double)page * 0x1p-30);
}

/* ---- compiler and cache ---- */

/* The first line of `compiler --version`. */
static Status ask_version(Arena *arena, const Toolchain *tools, const char **out) {
    const char *folder;
    TRY(sn_cache_scratch(arena, &tools->cache, &folder));
    const char *output = sn_arena_printf(arena, "%s/version", folder);
    const char *const argv[] = {tools->compiler, "--version", NULL};
    Process process = {.argv = argv, .output = output};
    TRY(sn_process_run(&process, 1, 1));
    char line[256] = "";
    FILE *file = fopen(output, "re");
    if (file && !fgets(line, sizeof line, file)) line[0] = '\0';
    if (file) fclose(file);
    line[strcspn(line, "\n")] = '\0';
    *out = sn_arena_string(arena, line);
    return process.exit_code == 0 ? NULL : sn_fail(SN_COMPILER, "%s --version failed", tools->compiler);
}

static void find_cache(Doctor *doctor, const Cache *cache) {
    DIR *folder = opendir(cache->path);
    int files = 0;
    double bytes = 0;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        struct stat info;
        const char *path = sn_cache_path(doctor->arena, cache, entry->d_name);
        if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode)) continue;
        files++;
        bytes += (double)info.st_size;
    }
    if (folder) closedir(folder);
    find(doctor, "kernel cache", "%s: %d files, %.1f MiB", cache->path, files, bytes * 0x1p-20);
}

/* What was measured once, and choices go by. */
static void find_facts(Doctor *doctor, const Toolchain *tools) {
    CpuFacts facts;
    Status status = sn_cpu_facts(doctor->arena, tools, &facts);
    if (status) {
        find_failure(doctor, "rates of a thread, kept", status);
        return;
    }
    const char *dot = "no bf16 dot products", *bytes = "";
    if (facts.dot_percent)
        dot = sn_arena_printf(doctor->arena, "bf16 dot products at %d %% of that", facts.dot_percent);
    if (facts.byte_percent)
        bytes = sn_arena_printf(doctor->arena, ", products of bytes at %d %%", facts.byte_percent);
    const char *refusal = sn_matrix_refusal(), *matrix = "no matrix tiles";
    if (refusal)
        matrix = sn_arena_printf(doctor->arena, "no matrix tiles (%s)", refusal);
    else if (facts.matrix_percent)
        matrix = sn_arena_printf(doctor->arena, "matrix tiles of bf16 at %d %%, of bytes at %d %%",
                                 facts.matrix_percent, facts.matrix_byte_percent);
    find(doctor, "rates of a thread, kept",
         "about %d GFLOP/s (f32), %s%s, %s, read %d GB/s, copy %d GB/s; stores past the caches: %s; "
         "fetching streams: %s",
         facts.fma_gflops, dot, bytes, matrix, facts.read_gbytes, facts.copy_gbytes,
         facts.stream_pays ? "yes" : "no", facts.fetch_pays ? "yes" : "no");
}

static bool find_compiler(Doctor *doctor) {
    Toolchain tools;
    Status status = sn_toolchain_open(doctor->arena, NULL, &tools);
    if (status) {
        find_failure(doctor, "C compiler", status);
        return false;
    }
    const char *version = "";
    status = ask_version(doctor->arena, &tools, &version);
    if (status)
        find_failure(doctor, "C compiler", status);
    else
        find(doctor, "C compiler", "%s: %s", tools.compiler, version);
    Target target;
    status = sn_cpu_target(doctor->arena, NULL, &target);
    if (status) {
        find_failure(doctor, "vectors", status);
    } else {
        find(doctor, "vectors", "%d bytes, %d registers; contraction tile %d rows x %d vectors",
             target.vector_bytes, target.vector_registers, target.tile_rows, target.tile_vectors);
        find(doctor, "kind of machine", "%s", sn_tuning_machine(doctor->arena, &target));
    }
    find_facts(doctor, &tools);
    find_cache(doctor, &tools.cache);
    return true;
}

/* ---- GPU ---- */

static void find_gpu(Doctor *doctor, const CudaGpu *gpu, int number) {
    const Target *target = &gpu->target;
    find(doctor, sn_arena_printf(doctor->arena, "GPU %d", number),
         "%s: %s, %d processors, %.1f GiB, %lld KiB shared memory a block, %lld MiB L2 cache, up to %d MHz, "
         "memory "
         "%d bits at %d MHz",
         gpu->name, target->architecture, target->processors, (double)gpu->memory * 0x1p-30,
         (long long)target->shared_bytes >> 10, (long long)target->l2_bytes >> 20, gpu->clock_mhz,
         gpu->bus_bits, gpu->memory_clock_mhz);
}

/* The libraries are opened, which they stay. */
static void find_cuda(Doctor *doctor) {
    CudaFinding found;
    sn_cuda_find(doctor->arena, &found);
    if (found.driver_version)
        find(doctor, "NVIDIA driver", "%s, CUDA %d.%d", found.driver, found.driver_version / 1000,
             found.driver_version % 1000 / 10);
    if (*found.driver_missing) find(doctor, "GPU", "none is usable: %s", found.driver_missing);
    for (int i = 0; i < found.gpu_count; i++) find_gpu(doctor, &found.gpu[i], i);
    if (*found.nvrtc_missing)
        find(doctor, "NVRTC", "%s", found.nvrtc_missing);
    else
        find(doctor, "NVRTC", "%s, %d.%d", found.nvrtc, found.nvrtc_major, found.nvrtc_minor);
    if (*found.cublaslt_missing)
        find(doctor, "cuBLASLt", "%s; products are those of generated kernels", found.cublaslt_missing);
    else
        find(doctor, "cuBLASLt", "%s, %zu.%zu.%zu", found.cublaslt, found.cublaslt_version / 10000,
             found.cublaslt_version / 100 % 100, found.cublaslt_version % 100);
}

/* ---- peaks ---- */

static void find_peaks(Doctor *doctor) {
    int most = sn_cpu_count();
    for (int threads = 1; threads <= most; threads = threads < most ? most : most + 1) {
        Peaks peaks;
        const char *what =
            sn_arena_printf(doctor->arena, "measured, %d thread%s", threads, threads == 1 ? "" : "s");
        sn_cli_progress("measuring on %d threads", threads);
        Status status = sn_peaks_measure(threads, NULL, &peaks);
        sn_cli_progress("%s", "");
        if (status)
            find_failure(doctor, what, status);
        else
            find(doctor, what,
                 "multiply-add %.0f GFLOP/s (f32), copy %.1f GB/s (read + write), read %.1f GB/s",
                 1e-9 * peaks.fma, 1e-9 * peaks.copy, 1e-9 * peaks.read);
    }
}

Status sn_cli_doctor(Cli *cli) {
    Doctor doctor = {cli->arena,
                     {.name = "findings", .column = finding_columns, .column_count = FINDING_COLUMNS}};
    find(&doctor, "sinter", "%s", sn_version());
    find_processor(&doctor);
    bool usable = find_compiler(&doctor);
    find_cuda(&doctor);
    if (usable && !sn_option_given(&cli->options, OPTION_NO_PEAKS)) find_peaks(&doctor);
    ReportFormat format;
    sn_report_format(sn_option_text(&cli->options, OPTION_OUT_FORMAT, NULL), &format);
    Text text = sn_text(cli->arena);
    TRY(sn_report_print(&text, format, (const Table *const[]){&doctor.table}, 1));
    TRY(sn_cli_write(cli, NULL, sn_text_string(&text), text.length));
    return usable ? NULL : sn_fail(SN_COMPILER, "without a C compiler no model runs on the cpu device");
}
