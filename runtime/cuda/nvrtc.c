#include "nvrtc.h"
#include "clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { FORMAT = 1, LOG_SHOWN = 2000 };

/* ---- the library ---- */

typedef struct Loaded {
    NvrtcLibrary library;
    const char *path; /* of the file, links resolved */
    int major, minor;
} Loaded;

static Status load_library(Arena *arena, int driver, Loaded *out) {
    const char *name;
    TRY(sn_cuda_open_nvrtc(arena, driver, &out->library, &name));
    NvrtcResult result = out->library.nvrtcVersion(&out->major, &out->minor);
    if (result)
        return sn_fail(SN_COMPILER, "%s: nvrtcVersion gave %u %s", name, result,
                       out->library.nvrtcGetErrorString(result));
    const char *file = sn_cuda_nvrtc_file(arena, &out->library);
    out->path = file ? file : name;
    return NULL;
}

/* What identifies a file and what told us to take it; "" when it cannot be told. */
static const char *identity(Arena *arena, const char *path) {
    struct stat info;
    const char *told = secure_getenv("SINTER_LIBNVRTC");
    if (stat(path, &info) != 0) return "";
    return sn_arena_printf(arena, "%s\n%lld %lld.%ld\n%s\n", path, (long long)info.st_size,
                           (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec, told ? told : "");
}

/* The note is "MAJOR MINOR\n" and the identity of the file. Which one is taken hangs on the driver's major number. */
static const char *note_name(Arena *arena, int driver) {
    return sn_arena_printf(arena, "nvrtc-%d.note", driver / 1000);
}

static bool read_note(Arena *arena, Nvrtc *nvrtc) {
    const char *note = sn_cache_read(arena, &nvrtc->cache, note_name(arena, nvrtc->driver));
    int length = 0;
    if (!note || sscanf(note, "%d %d%n", &nvrtc->major, &nvrtc->minor, &length) != 2 || note[length] != '\n')
        return false;
    const char *rest = note + length + 1;
    char *path = sn_arena_string(arena, rest);
    path[strcspn(path, "\n")] = '\0';
    nvrtc->path = path;
    return strcmp(rest, identity(arena, path)) == 0;
}

Status sn_nvrtc_open(Arena *arena, const char *cache_dir, int driver, Nvrtc *out) {
    out->driver = driver;
    TRY(sn_cache_open(arena, cache_dir, &out->cache));
    if (read_note(arena, out)) return NULL;
    Loaded loaded;
    TRY(load_library(arena, driver, &loaded));
    out->path = loaded.path;
    out->major = loaded.major;
    out->minor = loaded.minor;
    const char *note =
        sn_arena_printf(arena, "%d %d\n%s", out->major, out->minor, identity(arena, out->path));
    return sn_cache_write(arena, &out->cache, note_name(arena, driver), note);
}

/* SN_UNSUPPORTED when this NVRTC does not compile for `architecture`, "sm_90a". */
static Status check_architecture(Arena *arena, const Loaded *nvrtc, const char *architecture) {
    int count = 0, sm = atoi(architecture + 3);
    bool known = false;
    NvrtcResult result = nvrtc->library.nvrtcGetNumSupportedArchs(&count);
    int *list = SN_ARRAY(arena, int, count > 0 ? count : 1);
    if (!result) result = nvrtc->library.nvrtcGetSupportedArchs(list);
    if (result)
        return sn_fail(SN_COMPILER, "NVRTC does not tell what it compiles for: %u %s", result,
                       nvrtc->library.nvrtcGetErrorString(result));
    for (int i = 0; i < count; i++) known = known || list[i] == sm;
    return known
               ? NULL
               : sn_fail(SN_UNSUPPORTED, "%s is unsupported by NVRTC %d.%d (%s): one that knows it is needed",
                         architecture, nvrtc->major, nvrtc->minor, nvrtc->path);
}

/* ---- the assembler's report ---- */

/* The number that stands before `what`; 0 where it does not occur. */
static int32_t number_before(const char *log, const char *what) {
    const char *at = strstr(log, what), *end = at;
    if (!at) return 0;
    while (at > log && at[-1] >= '0' && at[-1] <= '9') at--;
    return at < end ? (int32_t)strtol(at, NULL, 10) : 0;
}

KernelUse sn_nvrtc_read_log(const char *log) {
    return (KernelUse){.registers = number_before(log, " registers"),
                       .spilled = number_before(log, " bytes spill stores"),
                       .shared = number_before(log, " bytes smem"),
                       .stack_frame = number_before(log, " bytes stack frame")};
}

/* ---- compiling ---- */

/* One kernel on its way. A thread of the pool fills in the rest: nothing of an arena. */
typedef struct Job {
    const NvrtcLibrary *library;
    const Kernel *kernel;
    const char *architecture;
    char *cubin;
    size_t size;
    KernelUse use;
    Status status;
} Job;

static Status failed(const Job *job, const char *call, NvrtcResult result) {
    return sn_fail(result == NVRTC_OUT_OF_MEMORY ? SN_NO_MEMORY : SN_COMPILER, "kernel %s: %s gave %u %s",
                   job->kernel->name, call, result, job->library->nvrtcGetErrorString(result));
}

static Status read_log(const Job *job, NvrtcProgram program, char **out) {
    size_t size = 0;
    NvrtcResult result = job->library->nvrtcGetProgramLogSize(program, &size);
    *out = calloc(size + 1, 1);
    if (!*out) return sn_fail(SN_NO_MEMORY, "out of memory for a compiler's log");
    if (!result && size) result = job->library->nvrtcGetProgramLog(program, *out);
    return result ? failed(job, "nvrtcGetProgramLog", result) : NULL;
}

static Status take_cubin(Job *job, NvrtcProgram program) {
    NvrtcResult result = job->library->nvrtcGetCUBINSize(program, &job->size);
    if (result) return failed(job, "nvrtcGetCUBINSize", result);
    job->cubin = malloc(job->size + 1);
    if (!job->cubin) return sn_fail(SN_NO_MEMORY, "out of memory for a kernel of %zu bytes", job->size);
    result = job->library->nvrtcGetCUBIN(program, job->cubin);
    return result ? failed(job, "nvrtcGetCUBIN", result) : NULL;
}

static Status compile_program(Job *job, NvrtcProgram program) {
    char option[64];
    snprintf(option, sizeof option, "--gpu-architecture=%s", job->architecture);
    const char *const options[] = {option, "--std=c++17", "--ptxas-options=-v"};
    NvrtcResult result = job->library->nvrtcCompileProgram(program, 3, options);
    char *log = NULL;
    Status status = read_log(job, program, &log);
    if (!status && result) {
        log[strlen(log) < LOG_SHOWN ? strlen(log) : LOG_SHOWN] = '\0';
        status = failed(job, "nvrtcCompileProgram", result);
        Status full =
            sn_fail(sn_error_code(status), "%s for %s\n%s", sn_error_message(status), job->architecture, log);
        sn_error_free(status);
        status = full;
    }
    if (!status) {
        job->use = sn_nvrtc_read_log(log);
        status = take_cubin(job, program);
    }
    free(log);
    return status;
}

static void compile_kernel(Job *job) {
    NvrtcProgram program = NULL;
    NvrtcResult result =
        job->library->nvrtcCreateProgram(&program, job->kernel->source, "kernel.cu", 0, NULL, NULL);
    job->status = result ? failed(job, "nvrtcCreateProgram", result) : compile_program(job, program);
    if (program) job->library->nvrtcDestroyProgram(&program);
}

static int compile_kernels(void *argument, int64_t begin, int64_t end) {
    Job *job = argument;
    for (int64_t i = begin; i < end; i++) compile_kernel(&job[i]);
    return 0;
}

/* Long sources first: the last to be compiled is then likely to be a quick one. */
static int by_length(const void *a, const void *b) {
    const Job *x = a, *y = b;
    size_t m = strlen(x->kernel->source), n = strlen(y->kernel->source);
    if (m != n) return m < n ? 1 : -1;
    return strcmp(x->kernel->name, y->kernel->name);
}

/* ---- the cache ---- */

/* What stands before the machine code in a file of the cache; its size keeps the code aligned. */
typedef struct CubinHeader {
    uint64_t format, size;
    KernelUse use;
} CubinHeader;

static const char *cached_name(Arena *arena, const Nvrtc *nvrtc, const char *architecture,
                               const Kernel *kernel) {
    char hex[33];
    Hash hash = sn_hash_u64(kernel->hash, FORMAT);
    hash = sn_hash_string(hash, architecture);
    hash = sn_hash_u64(hash, (uint64_t)nvrtc->major << 32 | (uint64_t)nvrtc->minor);
    hash = sn_hash_string(hash, nvrtc->path);
    sn_hash_hex(hash, hex);
    return sn_arena_printf(arena, "%s.cubin", hex);
}

static bool read_cached(Arena *arena, const Nvrtc *nvrtc, const char *name, Cubin *out) {
    CubinHeader header;
    size_t size;
    const char *bytes = sn_cache_read_sized(arena, &nvrtc->cache, name, &size);
    if (!bytes || size < sizeof header) return false;
    memcpy(&header, bytes, sizeof header);
    if (header.format != FORMAT || header.size != size - sizeof header) return false;
    *out = (Cubin){bytes + sizeof header, size - sizeof header, header.use};
    return true;
}

/* Takes over what a job has made. */
static Status keep(Arena *arena, const Nvrtc *nvrtc, const char *name, const Job *job, Cubin *out) {
    CubinHeader header = {FORMAT, job->size, job->use};
    char *bytes = sn_arena_alloc(arena, sizeof header + job->size);
    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + sizeof header, job->cubin, job->size);
    *out = (Cubin){bytes + sizeof header, job->size, job->use};
    return sn_cache_write_sized(arena, &nvrtc->cache, name, bytes, sizeof header + job->size);
}

/* What jobs own when the arena that holds them dies, whichever way that comes about. */
typedef struct Jobs {
    Job *at;
    int count;
} Jobs;

static void release_jobs(void *object) {
    Jobs *jobs = object;
    for (int i = 0; i < jobs->count; i++) {
        free(jobs->at[i].cubin);
        sn_error_free(jobs->at[i].status);
    }
}

static void note(CompileRecord *record, const Cubin *out, int count, int missing) {
    for (int i = 0; i < count; i++) {
        if (out[i].use.registers > record->registers) record->registers = out[i].use.registers;
        record->spilling += out[i].use.spilled > 0;
    }
    record->kernels += count;
    record->compiled += missing;
    if (missing) snprintf(record->reason, sizeof record->reason, "%d of %d kernels are new", missing, count);
}

static Status run_jobs(Arena *arena, const Nvrtc *nvrtc, Pool *pool, Jobs *jobs, const Kernel *const *kernel,
                       const char *const *name, int count, Cubin *out) {
    Loaded loaded;
    TRY(load_library(arena, nvrtc->driver, &loaded));
    TRY(check_architecture(arena, &loaded, jobs->at[0].architecture));
    for (int i = 0; i < jobs->count; i++) jobs->at[i].library = &loaded.library;
    qsort(jobs->at, (size_t)jobs->count, sizeof *jobs->at, by_length);
    sn_pool_run(pool, compile_kernels, jobs->at, jobs->count, 1, 1);
    for (int i = 0; i < jobs->count; i++) {
        Job *job = &jobs->at[i];
        Status status = job->status;
        job->status = NULL;
        TRY(status);
        for (int k = 0; k < count; k++)
            if (kernel[k] == job->kernel) TRY(keep(arena, nvrtc, name[k], job, &out[k]));
    }
    sn_cache_limit(arena, &nvrtc->cache, SN_CACHE_BYTES);
    return NULL;
}

Status sn_nvrtc_compile(Arena *arena, const Nvrtc *nvrtc, Pool *pool, const char *architecture,
                        const Kernel *const *kernel, int count, CompileRecord *record, Cubin *out) {
    double start = sn_clock();
    Arena *scratch = sn_arena_child(arena);
    Jobs *jobs = SN_NEW(scratch, Jobs);
    const char **name = SN_ARRAY(scratch, const char *, count);
    jobs->at = SN_ARRAY(scratch, Job, count);
    sn_arena_defer(scratch, release_jobs, jobs);
    for (int i = 0; i < count; i++) {
        name[i] = cached_name(scratch, nvrtc, architecture, kernel[i]);
        if (read_cached(arena, nvrtc, name[i], &out[i]))
            sn_cache_touch(scratch, &nvrtc->cache, name[i]);
        else
            jobs->at[jobs->count++] = (Job){.kernel = kernel[i], .architecture = architecture};
    }
    Status status = jobs->count ? run_jobs(arena, nvrtc, pool, jobs, kernel, name, count, out) : NULL;
    if (!status) note(record, out, count, jobs->count);
    record->compiler += sn_clock() - start;
    sn_arena_free(scratch);
    return status;
}
