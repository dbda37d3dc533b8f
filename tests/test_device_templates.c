/* The contraction and attention templates, compiled as generated code is, against double precision. */
#include "device/build.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

typedef int Kernel(void *const *, const int64_t *, int64_t, int64_t);

static void *find(void *code, const char *name) {
    void *symbol = dlsym(code, name);
    if (!symbol) fail_msg("%s: %s", name, dlerror());
    return symbol;
}
static void *build(const char *compiler, const char *source, const char *defines) {
    void *code = build_open(compiler, source, defines);
    assert_non_null(code);
    return code;
}

static float *random_floats(int64_t count, uint64_t seed) {
    float *x = aligned_alloc(64, (size_t)(count + 16) / 16 * 64);
    assert_non_null(x);
    uint64_t state = seed * 2 + 1;
    for (int64_t i = 0; i < count; i++) {
        state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
        x[i] = (float)(state * UINT64_C(2685821657736338717) >> 40) * 0x1p-23f - 1;
    }
    return x;
}

/* The items from..end in pieces, the last ones first. */
static void run_pieces(Kernel *kernel, void **buffers, const int64_t *symbols, int64_t from, int64_t end) {
    for (int64_t step = 1; end > from; end -= step, step = step % 7 + 1)
        assert_int_equal(kernel(buffers, symbols, end - from < step ? from : end - step, end), 0);
}

/* Runs [0, items) whole, and then `after` more, then each in pieces from the end into a second output; both must
 * have the same bits. */
static void run_twice(Kernel *kernel, void **buffers, int which, const int64_t *symbols, int64_t items,
                      int64_t after, float *again, int64_t count) {
    float *first = buffers[which];
    assert_int_equal(kernel(buffers, symbols, 0, items), 0);
    assert_int_equal(kernel(buffers, symbols, items, items + after), 0);
    buffers[which] = again;
    run_pieces(kernel, buffers, symbols, 0, items);
    run_pieces(kernel, buffers, symbols, items, items + after);
    buffers[which] = first;
    assert_memory_equal(first, again, (size_t)count * sizeof(float));
}

static double narrowed(float x, int element) {
    if (element < 2) return x;
    int e;
    double m = frexp(x, &e), unit = element == 2 ? 256 : 2048; /* significand bits of bf16 and f16 */
    return element == 3 && e < -13 ? nearbyint(x * 0x1p24) * 0x1p-24 : ldexp(nearbyint(m * unit) / unit, e);
}

/* M, N, K, batch, A is stored (k, m), B is stored (n, k). */
typedef struct GemmCase {
    int64_t M, N, K, batch;
    int turn_a, turn_b;
} GemmCase;

static void check_gemm(void *code, void *packer, int element, int nr, GemmCase g) {
    int64_t M = g.M, N = g.N, K = g.K, gap = 3; /* elements between rows, never to be touched in C */
    int64_t a_row = (g.turn_a ? M : K) + gap, b_row = (g.turn_b ? K : N) + gap, c_row = N + gap;
    int64_t a_size = a_row * (g.turn_a ? K : M), b_size = b_row * (g.turn_b ? N : K), c_size = c_row * M;
    int64_t symbols[12] = {M,
                           N,
                           K,
                           g.batch,
                           a_size,
                           g.turn_a ? 1 : a_row,
                           g.turn_a ? a_row : 1,
                           b_size,
                           g.turn_b ? 1 : b_row,
                           g.turn_b ? b_row : 1,
                           c_size,
                           c_row};
    float *a = random_floats(g.batch * a_size, 1), *b = random_floats(g.batch * b_size, 2),
          *bias = random_floats(N, 3);
    float *c = random_floats(g.batch * c_size, 4), *again = random_floats(g.batch * c_size, 4);
    float *panels = random_floats(g.batch * (N + 64) * (K + 2), 5);
    void *buffers[] = {a, packer ? (void *)panels : b, c, bias};
    if (packer) {
        void *packing[] = {b, panels};
        int64_t items = g.batch * ((N + nr - 1) / nr);
        ((Kernel *)find(packer, "pack"))(packing, symbols, items / 3, items);
        ((Kernel *)find(packer, "pack"))(packing, symbols, 0, items / 3);
    }
    int64_t items = ((int64_t(*)(int64_t, int64_t, int64_t))find(code, "items"))(M, N, g.batch);
    int64_t after = ((int64_t(*)(int64_t, int64_t, int64_t))find(code, "after"))(M, N, g.batch);
    run_twice((Kernel *)find(code, "multiply"), buffers, 2, symbols, items, after, again, g.batch * c_size);
    float *untouched = random_floats(g.batch * c_size, 4);
    for (int64_t i = 0; i < g.batch * c_size; i++) {
        int64_t batch = i / c_size, m = i % c_size / c_row, n = i % c_row;
        double sum = 0, size = 0;
        if (n >= N) {
            assert_true(c[i] == untouched[i]);
            continue;
        }
        for (int64_t k = 0; k < K; k++) {
            double x = a[batch * a_size + m * symbols[5] + k * symbols[6]];
            double y = narrowed(b[batch * b_size + k * symbols[8] + n * symbols[9]], packer ? element : 1);
            sum += x * y;
            size += fabs(x * y);
        }
        if (!(fabs(c[i] - (0.5 * sum + bias[n])) <= 1e-6 * (1 + size)))
            fail_msg("%ldx%ldx%ld batch %ld at %ld, %ld: %g, not %g", (long)M, (long)N, (long)K, (long)batch,
                     (long)m, (long)n, c[i], 0.5 * sum + bias[n]);
    }
    free(a), free(b), free(bias), free(c), free(again), free(panels), free(untouched);
}

static const GemmCase gemms[] = {
    {1, 1, 1, 1, 0, 0},      {1, 100, 70, 2, 0, 0},  {5, 33, 17, 3, 0, 0},    {14, 32, 128, 1, 0, 0},
    {3, 50, 0, 1, 0, 0},     {17, 67, 100, 2, 0, 0}, {61, 300, 130, 1, 0, 0}, {150, 290, 33, 1, 0, 0},
    {300, 40, 200, 1, 0, 0}, {1, 67, 131, 2, 0, 0},  {1, 290, 7, 1, 0, 0},
};

static void gemm_with(const char *compiler, const char *tile, int nr, int element) {
    char defines[256], pack[300];
    snprintf(defines, sizeof defines, "-DSN_GEMM_B=%d -DSN_TILE_B=%d -DSN_GEMM_KC=64 -DSN_GEMM_AHEAD=1 %s",
             element, element ? element : 1, tile);
    void *code = build(compiler, "tests/device/gemm_probe.c", defines), *packer = NULL;
    snprintf(pack, sizeof pack, "-DSN_GEMM_PACK=1 %s", defines);
    if (element) packer = build(compiler, "tests/device/gemm_probe.c", pack);
    for (size_t i = 0; i < sizeof gemms / sizeof *gemms; i++) check_gemm(code, packer, element, nr, gemms[i]);
    if (packer) dlclose(packer);
    dlclose(code);
}

static const char *const narrow_tile = "-DSN_VECTOR_BYTES=16 -DSN_TILE_MR=5 -DSN_TILE_NV=3";
static const char *const once_tile = "-DSN_VECTOR_BYTES=16 -DSN_TILE_MR=5 -DSN_TILE_NV=3 -DSN_TILE_ONCE=1";
static void test_gemm(void **state) {
    (void)state;
    gemm_with("gcc", narrow_tile, 12, 1);
    gemm_with("gcc", once_tile, 12, 1);
    gemm_with("gcc", once_tile, 12, 0);
    gemm_with("gcc", narrow_tile, 12, 2);
    gemm_with("gcc", narrow_tile, 12, 3);
    gemm_with("gcc", narrow_tile, 12, 0);
    gemm_with("gcc", "-DSN_VECTOR_BYTES=16 -DSN_GEMM_B_POINTER=1", 12, 0);
    gemm_with("gcc", "-DSN_VECTOR_BYTES=16 -DSN_GEMM_B_POINTER=2 -DSN_GEMM_PARTIAL=1", 12, 0);
}
static void test_gemm_native(void **state) {
    (void)state;
    if (!__builtin_cpu_supports("avx512f")) skip();
    gemm_with("gcc", "-DSN_TILE_MR=14 -DSN_TILE_NV=2", 32, 1);
    gemm_with("gcc", "-DSN_TILE_MR=8 -DSN_TILE_NV=3 -DSN_TILE_ONCE=1", 48, 1);
    gemm_with("gcc", "-DSN_TILE_MR=8 -DSN_TILE_NV=3", 48, 2);
    gemm_with("gcc", "-DSN_TILE_MR=9 -DSN_TILE_NV=3", 48, 3);
    if (!access("/usr/bin/clang", X_OK)) gemm_with("clang", "-DSN_TILE_MR=6 -DSN_TILE_NV=4", 64, 0);
}
static void test_gemm_turned(void **state) {
    (void)state;
    static const char *const tiles[] = {"-DSN_VECTOR_BYTES=16 -DSN_TILE_MR=6", "-DSN_GEMM_B_POINTER=1",
                                        "-DSN_GEMM_B_POINTER=2"};
    for (int i = 0; i < 3; i++) {
        char defines[256];
        snprintf(defines, sizeof defines,
                 "-DSN_GEMM_B=0 -DSN_GEMM_A_ALONG_M=1 -DSN_GEMM_B_ALONG_K=1 -DSN_GEMM_KC=64 %s", tiles[i]);
        void *code = build("gcc", "tests/device/gemm_probe.c", defines);
        for (size_t k = 0; k < sizeof gemms / sizeof *gemms; k++) {
            GemmCase g = gemms[k];
            g.turn_a = g.turn_b = 1;
            check_gemm(code, NULL, 0, 0, g);
        }
        dlclose(code);
    }
}

typedef struct AttentionCase {
    int64_t batch, heads, kv_heads, rows, columns, causal;
    int poisoned; /* one key of the first head has a NaN */
} AttentionCase;

/* kind: SN_ATTENTION_SCORE. A bias of -infinity masks. empty_zero: what a wholly masked row gives. Returns the
 * work items of the second round. */
static int64_t check_attention(void *code, int D, int DV, int kind, int empty_zero, AttentionCase t) {
    int64_t symbols[] = {t.batch, t.heads, t.kv_heads, t.rows, t.columns, t.causal};
    int64_t outputs = t.batch * t.heads * t.rows * DV;
    float *q = random_floats(t.batch * t.heads * t.rows * D, 1),
          *k = random_floats(t.batch * t.kv_heads * t.columns * D, 2);
    float *v = random_floats(t.batch * t.kv_heads * t.columns * DV, 3),
          *bias = random_floats(t.rows * t.columns, 4);
    float *o = random_floats(outputs, 5), *again = random_floats(outputs, 6);
    double *p = malloc((size_t)t.columns * sizeof *p);
    for (int64_t i = 0; i < t.rows * t.columns; i++) {
        if (bias[i] > 0.7f) bias[i] = -INFINITY;
        if (t.rows > 2 && i / t.columns == t.rows / 2) bias[i] = -INFINITY;
    }
    for (int64_t i = 0; i < t.batch * t.heads * t.rows * D; i++) q[i] *= 20;
    if (t.poisoned) k[(t.columns / 2) * D + D / 2] = NAN;
    int64_t items = ((int64_t(*)(const int64_t *))find(code, "items"))(symbols);
    int64_t after = ((int64_t(*)(const int64_t *))find(code, "after"))(symbols);
    float *partial = random_floats(after * ((int64_t(*)(const int64_t *))find(code, "partial"))(symbols), 7);
    void *buffers[] = {q, k, v, o, bias, partial};
    run_twice((Kernel *)find(code, "attend"), buffers, 3, symbols, items, after, again, outputs);
    for (int64_t row = 0; row < t.batch * t.heads * t.rows; row++) {
        int64_t i = row % t.rows, h = row / t.rows % t.heads, b = row / t.rows / t.heads;
        int64_t group = (b * t.kv_heads + h / (t.heads / t.kv_heads)) * t.columns;
        double most = -INFINITY, sum = 0, size = 0;
        for (int64_t j = 0; j < t.columns; j++) {
            p[j] = 0;
            for (int d = 0; d < D; d++) p[j] += (double)q[row * D + d] * k[(group + j) * D + d];
            size = fmax(size, fabs(p[j]) / sqrt(D));
            p[j] = p[j] / sqrt(D) + (kind == 2 ? bias[i * t.columns + j] : 0);
            if (kind && t.causal && j > i + t.columns - t.rows) p[j] = -INFINITY;
            most = fmax(most, p[j]);
        }
        for (int64_t j = 0; j < t.columns; j++) sum += p[j] = isinf(p[j]) ? 0 : exp(p[j] - most);
        for (int d = 0; d < DV; d++) {
            double truth = 0;
            for (int64_t j = 0; j < t.columns; j++) truth += p[j] / sum * v[(group + j) * DV + d];
            if (sum == 0 && empty_zero) truth = 0;
            float got = o[row * DV + d];
            if (isnan(truth) ? !isnan(got)
                             : !(fabs(got - truth) <=
                                 4e-7 * (4 + size))) /* scores carry f32 errors into the exponent */
                fail_msg("D %d, %ldx%ld kind %d, row %ld, d %d: %g, not %g", D, (long)t.rows, (long)t.columns,
                         kind, (long)row, d, got, truth);
        }
    }
    free(q), free(k), free(v), free(bias), free(o), free(again), free(p), free(partial);
    return after;
}

/* Some of the cases with few rows must have their columns cut. */
static void attention_with(const char *compiler, int D, int DV, int kind, int empty_zero, const char *more) {
    static const AttentionCase cases[] = {
        {1, 1, 1, 1, 1, 0, 0},     {2, 4, 2, 1, 37, 0, 0},   {1, 2, 1, 33, 33, 1, 0},
        {1, 2, 2, 130, 300, 1, 1}, {2, 1, 1, 16, 64, 0, 0},  {1, 1, 1, 300, 140, 1, 0},
        {1, 3, 3, 5, 1000, 1, 0},  {1, 40, 2, 1, 100, 0, 0}, {2, 6, 1, 3, 90, 1, 1},
        {1, 2, 1, 8, 3, 1, 0},     {1, 1, 1, 9, 75, 1, 0},   {1, 2, 2, 20, 31, 0, 0},
        {1, 1, 1, 24, 700, 1, 1},
    };
    int64_t after = 0;
    char defines[256];
    snprintf(
        defines, sizeof defines,
        "-DSN_ATTENTION_D=%d -DSN_ATTENTION_DV=%d -DSN_ATTENTION_SCORE=%d -DSN_ATTENTION_EMPTY_ZERO=%d %s", D,
        DV, kind, empty_zero, more);
    void *code = build(compiler, "tests/device/attention_probe.c", defines);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AttentionCase t = cases[i];
        if (kind == 0) t.causal = 0;
        after += check_attention(code, D, DV, kind, empty_zero, t);
    }
    assert_true(after > 0);
    dlclose(code);
}

static void test_attention(void **state) {
    (void)state;
    attention_with("gcc", 64, 64, 3, 0, "-DSN_TILE_MR=14 -DSN_TILE_NV=2 -DSN_ATTENTION_POINTER=1");
    attention_with("gcc", 40, 23, 2, 1, "-DSN_ATTENTION_CHUNK=32");
    attention_with("gcc", 5, 70, 2, 0, "-DSN_VECTOR_BYTES=16 -DSN_TILE_NV=3 -DSN_ATTENTION_CHUNK=32");
    attention_with("gcc", 128, 128, 0, 0, "-DSN_VECTOR_BYTES=16");
    attention_with("gcc", 300, 260, 1, 1, "-DSN_VECTOR_BYTES=32 -DSN_ATTENTION_POINTER=1");
    if (!access("/usr/bin/clang", X_OK))
        attention_with("clang", 33, 64, 2, 0, "-DSN_ATTENTION_CHUNK=32 -DSN_ATTENTION_POINTER=1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_gemm_native),
        cmocka_unit_test(test_gemm_turned),
        cmocka_unit_test(test_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
