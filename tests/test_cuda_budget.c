/* Every kernel of every model of tests/models, compiled and eager, and of a training step, through the real NVRTC
 * where one is installed: it compiles without a warning, and stays within the registers, spilled bytes and bytes of
 * stack that cuda_budget.txt grants its kind. Kernels that ask for more registers than an ordinary one
 * (codegen/emit_cuda.c) are a kind of their own, "map+" beside "map". The numbers there become smaller, but for models that are new;
 * with SINTER_WRITE_BUDGET=FILE this test writes what it measured. What the assembler said of a text is kept in the
 * kernel cache: the same text is not compiled again by the same library. */
#include "compile.h"
#include "cpu/cache.h"
#include "cuda/libraries.h"
#include "load.h"
#include "map.h"
#include "training.h"
#include "zoo.h"

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* What is compiled for: all kernels for the newest, those of whole models for the oldest, and for those between what no other one
 * has, since a text that the oldest accepts is accepted by them too. */
typedef struct Architecture {
    const char *name;
    int sm;
    bool operators, repeats;
} Architecture;

static const Architecture architectures[] = {{"sm_90a", 90, true, true},
                                             {"sm_80", 80, false, true},
                                             {"sm_89", 89, false, false},
                                             {"sm_90", 90, false, false}};
enum { ARCHITECTURES = sizeof architectures / sizeof *architectures, BATCH = 16, THREADS = 2 };

/* ---- kernels ---- */

typedef struct Use {
    int registers, spilled, stack;
} Use;

typedef struct Entry {
    const char *name, *source;
    ClusterKind kind;
    int large; /* 1: it may have more registers than an ordinary one */
    int architecture;
    Use use; /* registers 0: not reported */
} Entry;

typedef struct Work {
    Arena *arena;
    NvrtcLibrary nvrtc;
    Map *seen[ARCHITECTURES], *seen_anywhere;
    SN_VEC(Entry *) entry, missing; /* all; those to be compiled */
    Cache cache;
    Hash library; /* tells one NVRTC from another */
    pthread_mutex_t lock;
    int next;        /* the first missing entry that no thread has taken */
    char *complaint; /* the first one; malloc */
} Work;

/* An ordinary map or row kernel leaves room for so many threads on a processor, which the bounds of its launch say. */
static bool is_large(ClusterKind kind, const char *source) {
    enum { ORDINARY_THREADS = 1024 };
    const char *bounds = strstr(source, "__launch_bounds__(");
    int threads = 0, blocks = 0;
    if (kind != SN_CLUSTER_MAP && kind != SN_CLUSTER_REDUCE) return false;
    assert_true(bounds && sscanf(bounds, "__launch_bounds__(%d, %d)", &threads, &blocks) == 2);
    return threads * blocks < ORDINARY_THREADS;
}

static void add_kernel(Work *work, int architecture, ClusterKind kind, const Kernel *kernel) {
    for (; kernel; kernel = kernel->rest) {
        const char *name = sn_arena_string(work->arena, kernel->name);
        void **slot = sn_map_at_string(work->seen[architecture], name),
             **anywhere = sn_map_at_string(work->seen_anywhere, name);
        if (*slot || (*anywhere && !architectures[architecture].repeats)) continue;
        Entry *entry = SN_NEW(work->arena, Entry);
        *entry = (Entry){.name = name,
                         .source = sn_arena_string(work->arena, kernel->source),
                         .kind = kind,
                         .large = is_large(kind, kernel->source),
                         .architecture = architecture};
        *slot = *anywhere = entry;
        sn_push(work->arena, &work->entry, entry);
    }
}

/* Products and attention of a training step are like those of the models, which are compiled for all anyway. */
static bool is_known(const Node *cluster, int architecture) {
    ClusterKind kind = ((const AttrCluster *)cluster->attr)->kind;
    return architecture > 0 && kind != SN_CLUSTER_MAP && kind != SN_CLUSTER_REDUCE &&
           kind != SN_CLUSTER_SCATTER;
}

/* Kernels of what this target has none for are another test's matter. */
static void add_graph(Work *work, Arena *arena, int architecture, const Graph *imported, bool eager,
                      const Training *training) {
    Target target = {0};
    Graph *graph;
    Ledger ledger = {0};
    PipelineOptions options = {.eager = eager, .training = training};
    sn_target_cuda(&target, architectures[architecture].sm);
    Status status = sn_compile_graph(arena, imported, &target, &options, NULL, &ledger, &graph);
    if (status) fail_msg("%s", sn_error_message(status));
    for (const Node *node = graph->body->first; node; node = node->next) {
        Kernel *kernel;
        if (node->op != SN_OP_CLUSTER || (training && is_known(node, architecture))) continue;
        status = sn_codegen(arena, graph->dims, node, &target, &kernel);
        if (!status) add_kernel(work, architecture, ((const AttrCluster *)node->attr)->kind, kernel);
        sn_error_free(status);
    }
}

static void add_model(Work *work, const char *path, bool operators) {
    Arena *arena = sn_arena_new();
    Graph *imported;
    assert_non_null(arena);
    Status status = sn_load_onnx(arena, path, NULL, &imported, NULL);
    for (int i = 0; i < ARCHITECTURES && !status; i++)
        for (int eager = 0; eager < 2; eager++)
            if (architectures[i].operators || !operators) add_graph(work, arena, i, imported, eager, NULL);
    sn_error_free(status); /* of those in unsupported.txt */
    sn_arena_free(arena);
}

/* What a training step has besides; layers are like one another. */
static void add_training(Work *work) {
    static const ZooOptions sizes = {.layers = 1,
                                     .d_model = 64,
                                     .heads = 2,
                                     .kv_heads = 1,
                                     .d_ff = 96,
                                     .vocab = 1000,
                                     .context = 64,
                                     .opset = 17,
                                     .dtype = SN_F32};
    Arena *arena = sn_arena_new();
    Graph *imported;
    Writer *writer;
    Training training;
    char path[] = "/tmp/sinter-test-XXXXXX";
    const sn_TrainingOptions options = {
        .size = sizeof options, .loss = SN_LOSS_CLASSES, .clip_norm = 1, .skip_nonfinite = 1};
    int file = mkstemp(path);
    assert_true(arena && file >= 0);
    Status status = sn_zoo_build(arena, "llama", &sizes, &writer);
    if (!status) status = sn_writer_save(writer, path, false, NULL, NULL);
    if (!status) status = sn_load_onnx(arena, path, NULL, &imported, NULL);
    if (!status) status = sn_training_read(&options, &training);
    if (status) fail_msg("%s", sn_error_message(status));
    for (int i = 0; i < ARCHITECTURES; i++) add_graph(work, arena, i, imported, false, &training);
    unlink(path);
    close(file);
    sn_arena_free(arena);
}

static void add_folder(Work *work, const char *folder, bool operators) {
    struct dirent **entry;
    int count = scandir(folder, &entry, NULL, alphasort);
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        char path[2048];
        snprintf(path, sizeof path, "%s/%s/model.onnx", folder, entry[i]->d_name);
        if (entry[i]->d_name[0] != '.' && access(path, F_OK) == 0) add_model(work, path, operators);
        free(entry[i]);
    }
    free(entry);
}

/* ---- what is kept ---- */

/* Its version and its file, which is asked for where it was found. */
static Hash tell_library(const NvrtcLibrary *nvrtc) {
    struct stat info;
    Dl_info found;
    void *symbol;
    int major = 0, minor = 0;
    memcpy(&symbol, &nvrtc->nvrtcVersion, sizeof symbol);
    assert_true(dladdr(symbol, &found) && stat(found.dli_fname, &info) == 0);
    assert_int_equal(nvrtc->nvrtcVersion(&major, &minor), 0);
    Hash hash =
        sn_hash_u64(sn_hash_string((Hash){0, 0}, found.dli_fname), (uint64_t)major << 32 | (uint64_t)minor);
    return sn_hash_u64(sn_hash_u64(hash, (uint64_t)info.st_size), (uint64_t)info.st_mtime);
}

static const char *kept_name(const Work *work, const Entry *entry) {
    char hex[33];
    Hash hash = sn_hash_string(work->library, architectures[entry->architecture].name);
    sn_hash_hex(sn_hash_string(hash, entry->source), hex);
    return sn_arena_printf(work->arena, "budget-%s", hex);
}

static int by_architecture(const void *a, const void *b) {
    const Entry *x = *(Entry *const *)a, *y = *(Entry *const *)b;
    if (x->architecture != y->architecture) return x->architecture - y->architecture;
    return x->kind != y->kind ? (int)y->kind - (int)x->kind : strcmp(x->name, y->name);
}

static void find_missing(Work *work) {
    if (work->entry.count)
        qsort(work->entry.at, (size_t)work->entry.count, sizeof *work->entry.at, by_architecture);
    for (int i = 0; i < work->entry.count; i++) {
        Entry *entry = work->entry.at[i];
        Use *use = &entry->use;
        const char *text = sn_cache_read(work->arena, &work->cache, kept_name(work, entry));
        if (!text || sscanf(text, "%d %d %d", &use->registers, &use->spilled, &use->stack) != 3)
            sn_push(work->arena, &work->missing, entry);
    }
}

static void keep_found(Work *work) {
    for (int i = 0; i < work->missing.count; i++) {
        const Entry *entry = work->missing.at[i];
        const char *text = sn_arena_printf(work->arena, "%d %d %d\n", entry->use.registers,
                                           entry->use.spilled, entry->use.stack);
        Status status = sn_cache_write(work->arena, &work->cache, kept_name(work, entry), text);
        if (status) fail_msg("%s", sn_error_message(status));
    }
}

/* ---- compiling ---- */

/* The number before `what`, behind `at`. */
static int number_before(const char *at, const char *what) {
    const char *end = at ? strstr(at, what) : NULL, *start = end;
    while (start && start > at && start[-1] >= '0' && start[-1] <= '9') start--;
    return start ? atoi(start) : -1;
}

/* Of the entry's own lines in the assembler's report. */
static Use read_use(const char *log, const char *name) {
    char line[128];
    snprintf(line, sizeof line, "Compiling entry function '%s'", name);
    const char *at = strstr(log, line);
    return (Use){.registers = at ? number_before(at, " registers") : 0,
                 .spilled = number_before(at, " bytes spill stores"),
                 .stack = number_before(at, " bytes stack frame")};
}

static void complain(Work *work, const Entry *entry, const char *what) {
    pthread_mutex_lock(&work->lock);
    if (!work->complaint && asprintf(&work->complaint, "%s for %s: %.3000s", entry->name,
                                     architectures[entry->architecture].name, what) < 0)
        abort();
    pthread_mutex_unlock(&work->lock);
}

/* A warning that is not about an empty tensor, whose kernel divides by its constant size in a loop that never runs. */
static bool warns(const char *log) {
    for (const char *at = log; (at = strstr(at, "warning #")); at++)
        if (strncmp(at, "warning #179-", 13) != 0 && strncmp(at, "warning #39-", 12) != 0) return true;
    return false;
}

/* The missing entries [first, last), of one architecture, as one program. */
static void compile_batch(Work *work, int first, int last) {
    const NvrtcLibrary *nvrtc = &work->nvrtc;
    NvrtcProgram program;
    char option[64], *text = NULL, *log = NULL;
    size_t size = 0;
    const Entry *one = work->missing.at[first];
    FILE *stream = open_memstream(&text, &size);
    for (int i = first; i < last && stream; i++) fprintf(stream, "%s\n", work->missing.at[i]->source);
    if (!stream || fclose(stream) != 0) abort();
    snprintf(option, sizeof option, "--gpu-architecture=%s", architectures[one->architecture].name);
    const char *const options[] = {option, "--std=c++17", "--ptxas-options=-v"};
    if (nvrtc->nvrtcCreateProgram(&program, text, "kernels.cu", 0, NULL, NULL)) abort();
    NvrtcResult result = nvrtc->nvrtcCompileProgram(program, 3, options);
    nvrtc->nvrtcGetProgramLogSize(program, &size);
    log = calloc(size + 1, 1);
    if (!log || nvrtc->nvrtcGetProgramLog(program, log)) abort();
    if (result || warns(log)) complain(work, one, log);
    for (int i = first; i < last; i++) work->missing.at[i]->use = read_use(log, work->missing.at[i]->name);
    nvrtc->nvrtcDestroyProgram(&program);
    free(text);
    free(log);
}

static void *compile_all(void *argument) {
    Work *work = argument;
    for (;;) {
        pthread_mutex_lock(&work->lock);
        int first = work->next, last = first;
        while (last < work->missing.count && last < first + BATCH &&
               work->missing.at[last]->architecture == work->missing.at[first]->architecture)
            last++;
        work->next = last;
        pthread_mutex_unlock(&work->lock);
        if (first == last) return NULL;
        compile_batch(work, first, last);
    }
}

/* ---- the budget ---- */

static Use largest(Use a, Use b) {
    return (Use){a.registers > b.registers ? a.registers : b.registers,
                 a.spilled > b.spilled ? a.spilled : b.spilled, a.stack > b.stack ? a.stack : b.stack};
}

typedef Use Grants[ARCHITECTURES][SN_CLUSTER_KIND_COUNT][2];

static const char *kind_name(char name[32], int kind, int large) {
    snprintf(name, 32, "%s%s", sn_cluster_kind_name((ClusterKind)kind), large ? "+" : "");
    return name;
}

static void grant(Grants budget, const char *architecture, const char *kind, Use use) {
    char name[32];
    for (int i = 0; i < ARCHITECTURES; i++)
        for (int k = 0; k < 2 * SN_CLUSTER_KIND_COUNT; k++)
            if (strcmp(architecture, architectures[i].name) == 0 &&
                strcmp(kind, kind_name(name, k / 2, k % 2)) == 0)
                budget[i][k / 2][k % 2] = use;
}

static void read_budget(Grants budget) {
    char architecture[16], kind[32], line[256];
    Use use;
    FILE *file = fopen(SN_TESTS "/cuda_budget.txt", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#' || sscanf(line, "%15s %31s %d %d %d", architecture, kind, &use.registers,
                                     &use.spilled, &use.stack) != 5)
            continue;
        grant(budget, architecture, kind, use);
    }
    fclose(file);
}

static void write_budget(Grants measured, const char *path) {
    char name[32];
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(
        file,
        "# architecture, kind of cluster (+: with many values at once): most registers of a thread, bytes "
        "spilled, bytes of stack\n");
    for (int i = 0; i < ARCHITECTURES; i++)
        for (int k = 0; k < 2 * SN_CLUSTER_KIND_COUNT; k++) {
            Use use = measured[i][k / 2][k % 2];
            if (use.registers)
                fprintf(file, "%s %s %d %d %d\n", architectures[i].name, kind_name(name, k / 2, k % 2),
                        use.registers, use.spilled, use.stack);
        }
    assert_int_equal(fclose(file), 0);
}

/* How many kernels are over their budget; what each kind needs is in `measured`. */
static int count_excess(const Work *work, Grants budget, Grants measured) {
    int excess = 0;
    char name[32];
    for (int i = 0; i < work->entry.count; i++) {
        const Entry *entry = work->entry.at[i];
        Use use = entry->use, *most = &measured[entry->architecture][entry->kind][entry->large],
            granted = budget[entry->architecture][entry->kind][entry->large];
        *most = largest(*most, use);
        if (use.registers && use.registers <= granted.registers && use.spilled <= granted.spilled &&
            use.stack <= granted.stack)
            continue;
        excess++;
        print_message("%s for %s (%s): %d registers, %d bytes spilled, %d of stack; granted %d, %d, %d\n",
                      entry->name, architectures[entry->architecture].name,
                      kind_name(name, (int)entry->kind, entry->large), use.registers, use.spilled, use.stack,
                      granted.registers, granted.spilled, granted.stack);
    }
    return excess;
}

static void compile_in_parallel(Work *work) {
    pthread_t thread[THREADS];
    pthread_mutex_init(&work->lock, NULL);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, compile_all, work), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&work->lock);
}

static void kernels_stay_within_their_budget(void **state) {
    (void)state;
    Work work = {.arena = sn_arena_new()};
    const char *path, *write_to = getenv("SINTER_WRITE_BUDGET");
    static Grants budget, measured;
    assert_non_null(work.arena);
    Status status = sn_cuda_open_nvrtc(work.arena, 0, &work.nvrtc, &path);
    if (status) {
        print_message("skipped: %s\n", sn_error_message(status));
        sn_error_free(status);
        sn_arena_free(work.arena);
        skip();
    }
    work.library = tell_library(&work.nvrtc);
    status = sn_cache_open(work.arena, NULL, &work.cache);
    if (status) fail_msg("%s", sn_error_message(status));
    for (int i = 0; i < ARCHITECTURES; i++) work.seen[i] = sn_map_new(work.arena);
    work.seen_anywhere = sn_map_new(work.arena);
    add_folder(&work, SN_TESTS "/models", false);
    add_folder(&work, SN_TESTS "/models/ops", true);
    add_training(&work);
    find_missing(&work);
    compile_in_parallel(&work);
    if (work.complaint) fail_msg("%s", work.complaint);
    keep_found(&work);
    read_budget(budget);
    int excess = count_excess(&work, budget, measured);
    if (write_to) write_budget(measured, write_to);
    print_message("%d kernels, %d of them compiled\n", work.entry.count, work.missing.count);
    sn_arena_free(work.arena);
    if (!write_to) assert_int_equal(excess, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(kernels_stay_within_their_budget)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
