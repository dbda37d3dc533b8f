#include "peaks.h"
#include "clock.h"
#include "cpu/cpu.h"
#include "guard.h"

enum {
    FMA_ROUNDS = 20000,   /* of 12 accumulators, a work item: tens of microseconds */
    FMA_ITEMS_EACH = 100, /* a thread */
    FMA_TRIES = 30,
    MEMORY_TRIES = 7,
    PIECE = 1 << 18,         /* bytes that a work item copies or reads */
    MEMORY_BYTES = 96 << 20, /* of one buffer */
};

#define VECTOR_TEXT                                                                                          \
    "#include <stdint.h>\n"                                                                                  \
    "#if defined(__AVX512F__)\n"                                                                             \
    "#define BYTES 64\n"                                                                                     \
    "#elif defined(__AVX__)\n"                                                                               \
    "#define BYTES 32\n"                                                                                     \
    "#else\n"                                                                                                \
    "#define BYTES 16\n"                                                                                     \
    "#endif\n"                                                                                               \
    "typedef float V __attribute__((vector_size(BYTES), may_alias));\n"

/* Twelve chains of multiply-adds hide the latency of one, and fit into 16 registers with their two operands.
 * They begin with different values: a compiler merges equal ones, and the figure would be a multiple of the
 * truth. */
static const char fma_text[] =
    VECTOR_TEXT "#define ALL(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)\n"
                "int peak_fma(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n"
                "    float *in = buffers[0], *out = buffers[1];\n"
                "    V a = in[0] - (V){}, b = in[1] - (V){};\n"
                "    for (int64_t item = begin; item < end; item++) {\n"
                "#define START(k) V v##k = in[2 + k] + (float)item - (V){};\n"
                "        ALL(START)\n"
                "        for (int64_t i = 0; i < symbols[0]; i++) {\n"
                "#define STEP(k) v##k = v##k * a + b;\n"
                "            ALL(STEP)\n"
                "        }\n"
                "#define FOLD(k) + v##k\n"
                "        V sum = (V){} ALL(FOLD);\n"
                "        float total = 0;\n"
                "        for (int k = 0; k < BYTES / 4; k++) total += sum[k];\n"
                "        out[16 * item] = total;\n"
                "    }\n"
                "    return 0;\n"
                "}\n";

/* Stores past the caches, where the compiler offers them: an ordinary store reads the line first, which is
 * traffic that nobody asked for. */
static const char copy_text[] =
    VECTOR_TEXT "#if defined(__clang__)\n"
                "#define STREAM(p, v) __builtin_nontemporal_store(v, p)\n"
                "#elif defined(__AVX512F__)\n"
                "#define STREAM(p, v) __builtin_ia32_movntps512((float *)(p), v)\n"
                "#elif defined(__AVX__)\n"
                "#define STREAM(p, v) __builtin_ia32_movntps256((float *)(p), v)\n"
                "#elif defined(__SSE__)\n"
                "#define STREAM(p, v) __builtin_ia32_movntps((float *)(p), v)\n"
                "#else\n"
                "#define STREAM(p, v) (*(p) = (v))\n"
                "#endif\n"
                "int peak_copy(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n"
                "    int64_t each = symbols[0] / BYTES;\n"
                "    const V *in = (const V *)buffers[0] + begin * each;\n"
                "    V *out = (V *)buffers[1] + begin * each;\n"
                "    for (int64_t i = 0; i < (end - begin) * each; i += 4) {\n"
                "        V v0 = in[i], v1 = in[i + 1], v2 = in[i + 2], v3 = in[i + 3];\n"
                "        STREAM(out + i, v0);\n"
                "        STREAM(out + i + 1, v1);\n"
                "        STREAM(out + i + 2, v2);\n"
                "        STREAM(out + i + 3, v3);\n"
                "    }\n"
                "    __sync_synchronize();\n"
                "    return 0;\n"
                "}\n";

static const char read_text[] =
    VECTOR_TEXT "int peak_read(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n"
                "    int64_t each = symbols[0] / BYTES;\n"
                "    float *out = buffers[1];\n"
                "    for (int64_t item = begin; item < end; item++) {\n"
                "        const V *in = (const V *)buffers[0] + item * each;\n"
                "        V a = {}, b = {}, c = {}, d = {};\n"
                "        for (int64_t i = 0; i < each; i += 4)\n"
                "            a += in[i], b += in[i + 1], c += in[i + 2], d += in[i + 3];\n"
                "        V sum = (a + b) + (c + d);\n"
                "        float total = 0;\n"
                "        for (int k = 0; k < BYTES / 4; k++) total += sum[k];\n"
                "        out[16 * item] = total;\n"
                "    }\n"
                "    return 0;\n"
                "}\n";

typedef enum PeakKernel { PEAK_FMA, PEAK_COPY, PEAK_READ, PEAK_COUNT } PeakKernel;

typedef struct Measure {
    Arena *arena;
    const char *cache_dir;
    Pool *pool;
    Device *device;
    Module *module;
    void *buffer[2]; /* MEMORY_BYTES each */
    Peaks *out;
} Measure;

/* The least seconds of a launch over `items`. */
static Status least_seconds(Measure *m, PeakKernel kernel, int64_t symbol, int64_t items, int tries,
                            double *out) {
    LaunchArguments arguments = {.kernel = kernel,
                                 .buffer = m->buffer,
                                 .symbol = &symbol,
                                 .items = items,
                                 .work = -1,
                                 .threads = 1,
                                 .buffer_count = 2,
                                 .symbol_count = 1};
    for (int i = 0; i < tries; i++) {
        int fault = 0;
        double start = m->device->ops->clock(m->device);
        TRY(m->device->ops->launch(m->device, m->module, &arguments, &fault));
        TRY(m->device->ops->sync(m->device));
        double seconds = m->device->ops->clock(m->device) - start;
        if (i == 0 || seconds < *out) *out = seconds;
    }
    return NULL;
}

static Status build(Measure *m) {
    static const char *const names[PEAK_COUNT] = {"peak_fma", "peak_copy", "peak_read"};
    static const char *const sources[PEAK_COUNT] = {fma_text, copy_text, read_text};
    Kernel *kernel = SN_ARRAY(m->arena, Kernel, PEAK_COUNT);
    const Kernel *list[PEAK_COUNT];
    for (int i = 0; i < PEAK_COUNT; i++) {
        kernel[i] =
            (Kernel){.name = names[i], .source = sources[i], .hash = sn_hash_string((Hash){0}, sources[i])};
        list[i] = &kernel[i];
    }
    CompileRecord record = {0};
    TRY(m->device->ops->compile(m->device, list, PEAK_COUNT, &record, &m->module));
    for (int i = 0; i < 2; i++) {
        TRY(m->device->ops->alloc(m->device, MEMORY_BYTES, &m->buffer[i]));
        memset(m->buffer[i], 0, MEMORY_BYTES); /* the first touch is the system's time, not the memory's */
    }
    return NULL;
}

static Status measure(void *argument) {
    Measure *m = argument;
    TRY(sn_cpu_open(m->arena, m->cache_dir, m->pool, &m->device));
    TRY(build(m));
    double seconds = 0, lanes = m->device->target.vector_bytes / (double)sizeof(float);
    TRY(least_seconds(m, PEAK_COPY, PIECE, MEMORY_BYTES / PIECE, MEMORY_TRIES, &seconds));
    m->out->copy = 2.0 * MEMORY_BYTES / seconds;
    TRY(least_seconds(m, PEAK_READ, PIECE, MEMORY_BYTES / PIECE, MEMORY_TRIES, &seconds));
    m->out->read = MEMORY_BYTES / seconds;
    float *in = m->buffer[0];
    in[0] = 0.999f;
    in[1] = 0.001f;
    for (int k = 0; k < 12; k++) in[2 + k] = 0.25f * (float)k;
    int64_t items = (int64_t)FMA_ITEMS_EACH * m->out->threads;
    TRY(least_seconds(m, PEAK_FMA, FMA_ROUNDS, items, FMA_TRIES, &seconds));
    m->out->fma = 2.0 * 12 * lanes * FMA_ROUNDS * (double)items / seconds;
    return NULL;
}

static void release(Measure *m) {
    for (int i = 0; m->device && i < 2; i++) m->device->ops->free(m->device, m->buffer[i], MEMORY_BYTES);
    if (m->device) m->device->ops->unload(m->device, m->module);
    if (m->device) m->device->ops->close(m->device);
    sn_pool_free(m->pool);
    sn_arena_free(m->arena);
}

Status sn_peaks_measure(int threads, const char *cache_dir, Peaks *out) {
    *out = (Peaks){.threads = threads ? threads : sn_cpu_count()};
    Measure m = {.arena = sn_arena_new(), .cache_dir = cache_dir, .out = out};
    Status status = m.arena ? sn_pool_new(out->threads, &m.pool) : sn_fail(SN_NO_MEMORY, "out of memory");
    if (!status) status = sn_guarded(m.arena, measure, &m);
    release(&m);
    return status;
}
