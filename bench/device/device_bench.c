/* The device templates against the machine's own peaks, measured beside each figure:
 *   device_bench [--compiler CC] [--defines "-D..."] [--shape MxNxK]... [--attention] [--quick] [--processor-time]
 * --processor-time counts each thread's own time, for a machine that is shared. Every row is the median of
 * interleaved pairs (peak, kernel) on 1 and on 2 pinned threads; in brackets the quickest of the kernel's
 * times by the quickest of the peak's. */
#include "build.h"
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

typedef int Kernel(void *const *, const int64_t *, int64_t, int64_t);
typedef struct Work {
    void (*call)(struct Work *, int thread, int threads);
    void *code;
    void *buffers[6];
    const int64_t *symbols;
    int64_t items;
    int64_t after; /* items that follow when these have ended */
} Work;

/* Two threads: the caller and one that spins for the next turn, each on its own processor. */
typedef struct Pool {
    pthread_t thread;
    Work *work;
    atomic_int turn, done;
    double other;    /* seconds of the other thread */
    clockid_t clock; /* wall, or each thread's processor time on a machine that is shared */
} Pool;

static void pin(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    if (sched_setaffinity(0, sizeof set, &set)) perror("sched_setaffinity");
}

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *serve(void *argument) {
    Pool *pool = argument;
    pin(1);
    for (int seen = 0;; seen++) {
        while (atomic_load(&pool->turn) == seen) {
        }
        if (!pool->work) return NULL;
        double start = now(pool->clock);
        pool->work->call(pool->work, 1, 2);
        pool->other = now(pool->clock) - start;
        atomic_fetch_add(&pool->done, 1);
    }
}

static void call_after(Work *w);

/* Seconds of `work` on that many threads. */
static double timed(Pool *pool, Work *work, int threads) {
    int before = atomic_load(&pool->done);
    if (threads == 2) {
        pool->work = work;
        atomic_fetch_add(&pool->turn, 1);
    }
    double start = now(pool->clock);
    work->call(work, 0, threads);
    double mine = now(pool->clock) - start;
    while (threads == 2 && atomic_load(&pool->done) == before) {
    }
    call_after(work);
    if (threads == 1) return now(pool->clock) - start;
    if (pool->clock == CLOCK_MONOTONIC) return now(pool->clock) - start;
    return mine > pool->other ? mine : pool->other;
}

static void call_peak(Work *w, int thread, int threads) {
    (void)threads;
    volatile float sink = ((float (*)(int64_t, float))w->code)(w->items, 1e-9f * (float)(1 + thread));
    (void)sink;
}
static void call_span(Work *w, int thread, int threads) {
    int64_t from = w->items * thread / threads, to = w->items * (thread + 1) / threads;
    ((void (*)(const float *, int64_t, float *))w->code)(
        (float *)w->buffers[0] + from, to - from, (float *)w->buffers[1] + (w->symbols ? thread : from));
}
static void call_kernel(Work *w, int thread, int threads) {
    ((Kernel *)w->code)(w->buffers, w->symbols, w->items * thread / threads,
                        w->items * (thread + 1) / threads);
}

static void call_after(Work *w) {
    if (w->after) ((Kernel *)w->code)(w->buffers, w->symbols, w->items, w->items + w->after);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, by_size);
    return x[n / 2];
}

typedef struct Bench {
    Pool pool;
    const char *compiler, *defines;
    void *rates;
    double lanes;
    float *memory; /* 256 MB twice */
} Bench;

enum { ROUNDS = 100000, SPAN = 64 << 20 };

static Work peak_work(Bench *b) {
    return (Work){.call = call_peak, .code = dlsym(b->rates, "peak"), .items = ROUNDS};
}
static Work read_work(Bench *b) {
    static const int64_t apart[1];
    return (Work){.call = call_span,
                  .code = dlsym(b->rates, "read_all"),
                  .items = SPAN,
                  .symbols = apart,
                  .buffers = {b->memory, b->memory + SPAN}};
}
static double peak_flop(const Bench *b, int threads) {
    return 2.0 * 12 * b->lanes * ROUNDS * threads;
}

/* Prints `flop` and `bytes` per second of the work, and their parts of the peaks measured in between. */
static void row(Bench *b, const char *name, Work *work, double flop, double bytes) {
    for (int threads = 1; threads <= 2; threads++) {
        double rate[99], part[99], read[99], best = 0, best_peak = 0,
                                             seconds = timed(&b->pool, work, threads);
        int times = seconds > 0.3 ? 3 : seconds > 0.05 ? 7 : seconds > 0.01 ? 25 : 99;
        int repeat = seconds > 1e-3 ? 1 : (int)(1e-3 / seconds) + 1;
        Work peak = peak_work(b), reading = read_work(b);
        for (int i = 0; i < times; i++) {
            double p = timed(&b->pool, &peak, threads);
            double r = bytes > 0 ? timed(&b->pool, &reading, threads) : 1, t = 0;
            for (int j = 0; j < repeat; j++) t += timed(&b->pool, work, threads) / repeat;
            rate[i] = flop / t;
            if (rate[i] > best) best = rate[i];
            if (peak_flop(b, threads) / p > best_peak) best_peak = peak_flop(b, threads) / p;
            part[i] = flop / t / (peak_flop(b, threads) / p);
            read[i] = bytes / t / (4.0 * SPAN / r);
        }
        printf("%-30s %dT %7.1f GFLOP/s %5.1f %% (best of %d: %5.1f %%)", name, threads,
               1e-9 * median(rate, times), 100 * median(part, times), times, 100 * best / best_peak);
        if (bytes > 0) printf("  of the read bandwidth %5.1f %%", 100 * median(read, times));
        printf("\n");
        fflush(stdout);
    }
}

static void rates(Bench *b) {
    Work peak = peak_work(b), reading = read_work(b), copying = read_work(b);
    copying.code = dlsym(b->rates, "copy_all");
    copying.symbols = NULL;
    for (int threads = 1; threads <= 2; threads++) {
        double p[7], r[7], c[7];
        for (int i = 0; i < 7; i++) {
            p[i] = timed(&b->pool, &peak, threads);
            r[i] = timed(&b->pool, &reading, threads);
            c[i] = timed(&b->pool, &copying, threads);
        }
        printf("machine %dT: FMA %.1f GFLOP/s, read %.1f GB/s, copy (read + write) %.1f GB/s\n", threads,
               1e-9 * peak_flop(b, threads) / median(p, 7), 4e-9 * SPAN / median(r, 7),
               8e-9 * SPAN / median(c, 7));
    }
}

static float *filled(int64_t count) {
    float *x = aligned_alloc(64, (size_t)((count + 63) / 16 * 16) * sizeof(float));
    if (!x) abort();
    for (int64_t i = 0; i < count; i++) x[i] = (float)(i * 2654435761 % 1000) * 1e-3f - 0.5f;
    return x;
}

static void gemm(Bench *b, void *code, int64_t M, int64_t N, int64_t K, int element) {
    int64_t symbols[12] = {M, N, K, 1, 0, K, 1, 0, N, 1, 0, N};
    int64_t (*items)(int64_t, int64_t, int64_t) = (int64_t(*)(int64_t, int64_t, int64_t))dlsym(code, "items");
    float *a = filled(M * K), *panels = filled((N + 64) * (K + 1)), *c = filled(M * N), *bias = filled(N);
    if (element == 2) /* any finite 16-bit floats will do */
        for (int64_t i = 0; i < (N + 64) * K / 2; i++)
            ((uint32_t *)panels)[i] = 0x3c013c00u + (uint32_t)(i % 97);
    Work work = {.call = call_kernel,
                 .code = dlsym(code, "multiply"),
                 .buffers = {a, panels, c, bias},
                 .symbols = symbols,
                 .items = items(M, N, 1)};
    char name[64];
    snprintf(name, sizeof name, "gemm %ldx%ldx%ld", (long)M, (long)N, (long)K);
    row(b, name, &work, 2.0 * (double)M * (double)N * (double)K,
        M <= 8 ? (double)element * (double)N * (double)K : 0);
    free(a);
    free(panels);
    free(c);
    free(bias);
}

static void attention(Bench *b, void *code, int64_t batch, int64_t heads, int64_t rows, int64_t columns,
                      int64_t D, int causal) {
    int64_t s[] = {batch, heads, heads, rows, columns, causal};
    int64_t (*items)(const int64_t *) = (int64_t(*)(const int64_t *))dlsym(code, "items");
    float *q = filled(batch * heads * rows * D), *k = filled(batch * heads * columns * D);
    float *v = filled(batch * heads * columns * D), *o = filled(batch * heads * rows * D);
    int64_t (*after)(const int64_t *) = (int64_t(*)(const int64_t *))dlsym(code, "after");
    int64_t (*partial)(const int64_t *) = (int64_t(*)(const int64_t *))dlsym(code, "partial");
    float *parts = filled(after(s) * partial(s));
    Work work = {.call = call_kernel,
                 .code = dlsym(code, "attend"),
                 .buffers = {q, k, v, o, NULL, parts},
                 .symbols = s,
                 .items = items(s),
                 .after = after(s)};
    double pairs = (double)rows * (double)columns - (causal ? (double)rows * (double)(rows - 1) / 2 : 0);
    char name[64];
    snprintf(name, sizeof name, "attention d%ld %ldx%ld%s", (long)D, (long)rows, (long)columns,
             causal ? " causal" : "");
    row(b, name, &work, 4.0 * (double)(batch * heads * D) * pairs,
        rows == 1 ? 8.0 * (double)(batch * heads * columns * D) : 0);
    free(q);
    free(k);
    free(v);
    free(o);
    free(parts);
}

static void *open_or_exit(const Bench *b, const char *source, const char *more) {
    char defines[1024];
    snprintf(defines, sizeof defines, "%s %s", b->defines, more);
    double start = now(CLOCK_MONOTONIC);
    void *code = build_open(b->compiler, source, defines);
    if (!code) exit(1);
    printf("%s %s: compiled and linked in %.0f ms\n", source, defines, 1e3 * (now(CLOCK_MONOTONIC) - start));
    return code;
}

static void all_gemms(Bench *b, int quick) {
    static const int64_t sides[] = {768, 3072, 2304, 50257}, heights[] = {1024, 64, 8, 1};
    void *code = open_or_exit(b, "tests/device/gemm_probe.c", "");
    int element = strstr(b->defines, "SN_TILE_B=2") || strstr(b->defines, "SN_TILE_B=3") ? 2 : 4;
    for (int h = 0; h < 4; h++)
        for (int n = 0; n < (quick ? 3 : 4); n++)
            for (int k = 0; k < 2; k++) gemm(b, code, heights[h], sides[n], sides[k], element);
}

/* Right operands that the work items pack for themselves: the activations' products, and every product of
 * eager mode. */
static void unpacked_gemms(Bench *b) {
    void *code = open_or_exit(b, "tests/device/gemm_probe.c", "-DSN_GEMM_B=0");
    for (int64_t M = 1024; M >= 1; M /= 32) gemm(b, code, M, 768, 3072, 4);
    gemm(b, code, 1024, 3072, 768, 4);
    gemm(b, code, 256, 256, 64, 4);
}

static void all_attentions(Bench *b) {
    /* Panels that divide D, as the generator chooses them (ir/target.c). */
    const char *tile =
        b->lanes == 16 && !strstr(b->defines, "SN_TILE_MR") ? "-DSN_TILE_MR=14 -DSN_TILE_NV=2" : "";
    for (int64_t D = 64; D <= 128; D *= 2) {
        char define[128];
        snprintf(define, sizeof define,
                 "-DSN_ATTENTION_SCORE=3 -DSN_ATTENTION_POINTER=1 -DSN_ATTENTION_D=%ld %s", (long)D, tile);
        void *code = open_or_exit(b, "tests/device/attention_probe.c", define);
        attention(b, code, 1, 12, 1024, 1024, D, 1);
        attention(b, code, 1, 12, 1024, 1024, D, 0);
        attention(b, code, 1, 12, 256, 256, D, 1);
        attention(b, code, 4, 12, 128, 128, D, 0);
        attention(b, code, 1, 8, 4096, 4096, D, 1);
        attention(b, code, 8, 12, 1, 4096, D, 0);
        attention(b, code, 1, 1, 1, 65536, D, 0);
    }
}

typedef struct Choice {
    bool quick, attention;
    int shape_count; /* of products; 0: all that are listed */
    int64_t shape[16][3];
} Choice;

/* False where the words are not as the usage says. */
static bool read_words(int count, char **words, Bench *b, Choice *choice) {
    for (int i = 1; i < count; i++) {
        int64_t *shape = choice->shape[choice->shape_count];
        if (!strcmp(words[i], "--compiler") && i + 1 < count)
            b->compiler = words[++i];
        else if (!strcmp(words[i], "--defines") && i + 1 < count)
            b->defines = words[++i];
        else if (!strcmp(words[i], "--quick"))
            choice->quick = true;
        else if (!strcmp(words[i], "--attention"))
            choice->attention = true;
        else if (!strcmp(words[i], "--processor-time"))
            b->pool.clock = CLOCK_THREAD_CPUTIME_ID;
        else if (!strcmp(words[i], "--shape") && i + 1 < count && choice->shape_count < 15 &&
                 sscanf(words[++i], "%" SCNd64 "x%" SCNd64 "x%" SCNd64, &shape[0], &shape[1], &shape[2]) == 3)
            choice->shape_count++;
        else
            return false;
    }
    return !choice->attention || !choice->shape_count;
}

static int lanes_of(const char *defines) {
    const char *bytes = strstr(defines, "SN_VECTOR_BYTES=");
    if (bytes) return atoi(bytes + 16) / 4;
    return __builtin_cpu_supports("avx512f") ? 16 : __builtin_cpu_supports("avx2") ? 8 : 4;
}

static void measure_shapes(Bench *b, const Choice *choice) {
    void *code = open_or_exit(b, "tests/device/gemm_probe.c", "");
    for (int i = 0; i < choice->shape_count; i++)
        gemm(b, code, choice->shape[i][0], choice->shape[i][1], choice->shape[i][2], 4);
}

static void measure_all(Bench *b, const Choice *choice) {
    if (!choice->attention) {
        all_gemms(b, choice->quick);
        if (!strstr(b->defines, "SN_GEMM_B") && !strstr(b->defines, "SN_TILE_B")) unpacked_gemms(b);
    }
    all_attentions(b);
}

int main(int count, char **words) {
    static Bench b = {.pool.clock = CLOCK_MONOTONIC, .compiler = "gcc", .defines = ""};
    Choice choice = {0};
    if (!read_words(count, words, &b, &choice)) {
        fprintf(stderr,
                "usage: %s [--compiler CC] [--defines \"-D...\"] [--shape MxNxK]... [--attention] [--quick] "
                "[--processor-time]\n",
                words[0]);
        return 2;
    }
    b.rates = build_open(b.compiler, "tests/device/peak_probe.c", b.defines);
    b.memory = filled(2L * SPAN);
    if (!b.rates) return 1;
    b.lanes = lanes_of(b.defines);
    pin(0);
    if (pthread_create(&b.pool.thread, NULL, serve, &b.pool)) return 1;
    rates(&b);
    if (choice.shape_count)
        measure_shapes(&b, &choice);
    else
        measure_all(&b, &choice);
    b.pool.work = NULL;
    atomic_fetch_add(&b.pool.turn, 1);
    pthread_join(b.pool.thread, NULL);
    return 0;
}
