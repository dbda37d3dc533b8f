/* Products of f32 by matrix tiles (gemm_split.h), by the processor's where it has them and in C, beside those by multiply-adds:
 * both against double precision, and where numbers are not finite, huge or tiny. */
#include "cpu/matrix.h"
#include "device/build.h"
#include "number.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

typedef int Kernel(void *const *, const int64_t *, int64_t, int64_t);

enum { LANES = 16, WHOLE = 96, BLOCK = 128 }; /* WHOLE: columns that are whole panels of any width */

/* C = A B / 2 of the probe, in two forms, with its weights packed. */
typedef struct Product {
    int64_t M, N, K;
    float *a, *across, *b, *panels, *zero, *adds, *split;
} Product;

/* How operands lie: rows side by side, B as it is; else in panels of so many vectors. */
typedef struct Layout {
    bool across, data;
    int vectors;
} Layout;

/* The probe that multiplies them. */
typedef struct Form {
    void *code;
    Layout layout;
} Form;

static Form adds, /* by multiply-adds */
    split[6];     /* in C, and by the processor's tiles */
static int forms; /* of them */

static float *floats(int64_t count) {
    float *x = aligned_alloc(64, (size_t)(count + 16) / 16 * 64);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) x[i] = 0;
    return x;
}

static Product new_product(int64_t M, int64_t N, int64_t K) {
    int64_t packed = (N + WHOLE - 1) / WHOLE * WHOLE;
    return (Product){M,
                     N,
                     K,
                     floats(M * K),
                     floats(M * K),
                     floats(K * N),
                     floats(K * packed),
                     floats(N),
                     floats(M * N),
                     floats(M * N)};
}

static void free_product(Product *p) {
    free(p->a), free(p->across), free(p->b), free(p->panels), free(p->zero), free(p->adds), free(p->split);
}

static void run(const Form *form, const Product *p, float *c, int64_t pieces) {
    void *code = form->code;
    Kernel *kernel = (Kernel *)dlsym(code, "multiply");
    int64_t (*count)(int64_t, int64_t, int64_t) = (int64_t(*)(int64_t, int64_t, int64_t))dlsym(code, "items");
    assert_true(kernel && count);
    int64_t row = form->layout.across ? 1 : p->K, column = form->layout.across ? p->M : 1;
    const int64_t symbols[12] = {p->M, p->N, p->K, 1, 0, row, column, 0, p->N, 1, 0, p->N};
    void *buffers[] = {form->layout.across ? p->across : p->a, form->layout.data ? p->b : p->panels, c,
                       p->zero};
    int64_t items = count(p->M, p->N, 1);
    for (int64_t i = pieces; i > 0; i--)
        assert_int_equal(kernel(buffers, symbols, items * (i - 1) / pieces, items * i / pieces), 0);
}

static void pack(const Product *p, const Form *form) {
    int64_t panel = (int64_t)form->layout.vectors * LANES;
    for (int64_t k = 0; k < p->K; k++)
        for (int64_t n = 0; n < p->N; n++)
            p->panels[n / panel * panel * p->K + k * panel + n % panel] = p->b[k * p->N + n];
}

/* By multiply-adds, and what other forms read. */
static void multiply_plainly(const Product *p) {
    for (int64_t i = 0; i < p->M * p->K; i++) p->across[i % p->K * p->M + i / p->K] = p->a[i];
    pack(p, &adds);
    run(&adds, p, p->adds, 1);
}

/* By a split form, in several ranges too, to the same bits. */
static void multiply_split(const Product *p, const Form *form) {
    float *again = floats(p->M * p->N);
    pack(p, form);
    run(form, p, p->split, 1);
    run(form, p, again, 5);
    assert_memory_equal(p->split, again, (size_t)(p->M * p->N) * sizeof *again);
    free(again);
}

static void multiply(const Product *p, const Form *form) {
    multiply_plainly(p);
    multiply_split(p, form);
}

static void each(void (*check)(const Form *form)) {
    for (int i = 0; i < forms; i++) check(&split[i]);
}

/* ---- accuracy ---- */

typedef enum Kind { NORMAL, HEAVY, POSITIVE, WIDE, WIDER, SMALL, CANCELLING, KINDS } Kind;
static const char *const names[] = {"normal",      "heavy tails",  "positive",  "2^-36..2^36",
                                    "2^-60..2^60", "around 2^-70", "cancelling"};

static float draw(Kind kind, uint64_t seed, uint64_t at) {
    double x = sn_random_normal(seed, at), u = sn_random_uniform(seed + 100, at);
    switch (kind) {
    case HEAVY:
        return (float)(x / (u + 1e-3));
    case POSITIVE:
        return (float)u;
    case WIDE:
        return (float)ldexp(x, (int)(u * 72) - 36);
    case WIDER: /* sums beyond 2^80 are those of multiply-adds */
        return (float)ldexp(x, (int)(u * 120) - 60);
    case SMALL:
        return (float)ldexp(x, (int)(u * 8) - 74);
    default:
        return (float)x;
    }
}

static void fill(const Product *p, Kind kind) {
    for (int64_t i = 0; i < p->M * p->K; i++) p->a[i] = draw(kind, 1, (uint64_t)i);
    for (int64_t i = 0; i < p->K * p->N; i++) p->b[i] = draw(kind, 2, (uint64_t)i);
    if (kind != CANCELLING) return;
    for (int64_t m = 0; m < p->M; m++) /* columns of A in pairs that differ little */
        for (int64_t k = 1; k < p->K; k += 2) p->a[m * p->K + k] = -p->a[m * p->K + k - 1] * (1 + 0x1p-12f);
    for (int64_t k = 1; k < p->K; k += 2)
        for (int64_t n = 0; n < p->N; n++) p->b[k * p->N + n] = p->b[(k - 1) * p->N + n];
}

typedef struct Errors {
    double most, square;
    int64_t count;
} Errors;

static void note(Errors *e, double got, double truth, double size) {
    double error = size > 0 ? fabs(got - truth) / size : got != 0;
    if (!(error <= e->most)) e->most = error;
    e->square += error * error, e->count++;
}

/* An element in double precision, and the sum of |a b|. */
typedef struct Truth {
    int64_t at;
    double sum, size;
} Truth;

enum { PLACES = 2000 }; /* that are looked at, about */

static Errors errors_of(const float *result, const Truth *truth, int count) {
    Errors errors = {0};
    for (int i = 0; i < count; i++) note(&errors, 2.0 * result[truth[i].at], truth[i].sum, truth[i].size);
    return errors;
}

static int find_truth(const Product *p, Truth truth[2 * PLACES]) {
    int64_t step = p->M * p->N / PLACES | 1;
    int count = 0;
    for (int64_t i = 0; i < p->M * p->N; i += step) {
        double sum = 0, size = 0;
        for (int64_t k = 0; k < p->K; k++) {
            double x = (double)p->a[i / p->N * p->K + k] * p->b[k * p->N + i % p->N];
            sum += x, size += fabs(x);
        }
        assert_true(count < 2 * PLACES);
        truth[count++] = (Truth){i, sum, size};
    }
    return count;
}

/* No worse than multiply-adds, but where a few products outweigh all others: there a multiply-add rounds once for
 * each of these, and the split form several times. */
static void check_accuracy(Kind kind, int64_t depth) {
    static Truth truth[2 * PLACES];
    Product p = new_product(64, 96, depth);
    fill(&p, kind);
    multiply_plainly(&p);
    int places = find_truth(&p, truth);
    Errors of_adds = errors_of(p.adds, truth, places);
    double rms_adds = sqrt(of_adds.square / (double)of_adds.count);
    for (int i = 0; i < forms; i++) {
        multiply_split(&p, &split[i]);
        Errors of_split = errors_of(p.split, truth, places);
        double rms_split = sqrt(of_split.square / (double)of_split.count);
        if (getenv("SN_SHOW"))
            print_message("%s, K %ld: multiply-adds %.1e rms, %.1e most; split %.1e, %.1e\n", names[kind],
                          (long)p.K, rms_adds, of_adds.most, rms_split, of_split.most);
        if (!(rms_split <= 1.25 * rms_adds && of_split.most <= 1.5 * of_adds.most))
            fail_msg("%s, K %ld: split %g rms, %g most; multiply-adds %g and %g", names[kind], (long)p.K,
                     rms_split, of_split.most, rms_adds, of_adds.most);
    }
    free_product(&p);
}

static void test_accuracy(void **state) {
    static const int64_t depths[] = {32, 256, 777, 3072, 16384};
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) check_accuracy((Kind)kind, depths[i]);
}

/* ---- edges ---- */

static void check_edges(const Form *form) {
    static const int64_t sizes[][3] = {{64, 96, 1},    {65, 1, 33},    {79, 17, 100}, {97, 49, 257},
                                       {129, 145, 31}, {257, 300, 64}, {300, 33, 95}, {64, 1600, 130}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        Product p = new_product(sizes[i][0], sizes[i][1], sizes[i][2]);
        fill(&p, NORMAL);
        multiply(&p, form);
        for (int64_t at = 0; at < p.M * p.N; at++) {
            double size = 0;
            for (int64_t k = 0; k < p.K; k++)
                size += fabs((double)p.a[at / p.N * p.K + k] * p.b[k * p.N + at % p.N]);
            if (!(fabs((double)p.split[at] - p.adds[at]) <= 0x1p-20 * size))
                fail_msg("%ldx%ldx%ld at %ld: %g, not %g", (long)p.M, (long)p.N, (long)p.K, (long)at,
                         p.split[at], p.adds[at]);
        }
        free_product(&p);
    }
}
static void test_edges(void **state) {
    (void)state;
    each(check_edges);
}

/* ---- numbers that no part of 16 bits, or no sum of scaled numbers, holds ---- */

static int same(float x, float y) {
    return isnan(x) ? isnan(y) : x == y;
}

/* One row of A, or one column of B, has `x`: what it reaches has the bits of multiply-adds where it is not finite, or
 * beyond 2^80; everything else is as if it were not there. */
static void check_odd(const Form *form, float x, int in_b) {
    const int64_t m = 70, n = 53, k = 130;
    Product p = new_product(150, 100, 300), plain = new_product(150, 100, 300);
    fill(&p, NORMAL), fill(&plain, NORMAL);
    if (in_b)
        p.b[k * p.N + n] = x;
    else
        p.a[m * p.K + k] = x;
    multiply(&p, form), multiply(&plain, form);
    for (int64_t i = 0; i < p.M * p.N; i++) {
        bool reached = in_b ? i % p.N == n : i / p.N == m;
        float far = 0x1p100f;
        if (!reached && !same(p.split[i], plain.split[i]))
            fail_msg("%g changes (%ld, %ld): %g", x, (long)(i / p.N), (long)(i % p.N), p.split[i]);
        if (reached && !(fabsf(p.adds[i]) <= far) && !same(p.split[i], p.adds[i]))
            fail_msg("%g at (%ld, %ld): %g, not %g", x, (long)(i / p.N), (long)(i % p.N), p.split[i],
                     p.adds[i]);
        if (reached && fabsf(p.adds[i]) <= far && !(fabsf(p.split[i] - p.adds[i]) <= 1e-3f * (1 + fabsf(x))))
            fail_msg("%g at (%ld, %ld): %g, not near %g", x, (long)(i / p.N), (long)(i % p.N), p.split[i],
                     p.adds[i]);
    }
    free_product(&p), free_product(&plain);
}

static void check_odds(const Form *form) {
    static const float odd[] = {INFINITY, -INFINITY, NAN, 3.4028235e38f, -3.4e38f, 0x1.fep127f, 0x1p110f};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        check_odd(form, odd[i], 0), check_odd(form, odd[i], 1);
    for (uint32_t bits = 0x7fffffff;; bits |= 0x80000000) { /* NaN that rounding up would make zero */
        float nan;
        memcpy(&nan, &bits, sizeof nan);
        check_odd(form, nan, 0), check_odd(form, nan, 1);
        if (bits >> 31) break;
    }
}
static void test_odd_numbers(void **state) {
    (void)state;
    each(check_odds);
}

/* Where every product is tiny, even subnormal, results are as near as those of multiply-adds, but for f32's least number. */
static void check_tiny(const Form *form) {
    static const int scales[][2] = {{-63, -63}, {-126, 0},  {0, -126},  {-140, 20},
                                    {-149, 0},  {-75, -74}, {-149, -10}};
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        Product p = new_product(64, 96, 256);
        fill(&p, NORMAL);
        for (int64_t i = 0; i < p.M * p.K; i++) p.a[i] = ldexpf(p.a[i], scales[s][0]);
        for (int64_t i = 0; i < p.K * p.N; i++) p.b[i] = ldexpf(p.b[i], scales[s][1]);
        multiply(&p, form);
        for (int64_t i = 0; i < p.M * p.N; i++) {
            double sum = 0, size = 0;
            for (int64_t k = 0; k < p.K; k++) {
                double x = (double)p.a[i / p.N * p.K + k] * p.b[k * p.N + i % p.N];
                sum += x, size += fabs(x);
            }
            if (!(fabs(p.split[i] - sum / 2) <= 0x1p-22 * size + 0x1p-149))
                fail_msg("2^%d by 2^%d: %g, not %g", scales[s][0], scales[s][1], p.split[i], sum / 2);
        }
        free_product(&p);
    }
}
static void test_tiny_numbers(void **state) {
    (void)state;
    each(check_tiny);
}

static Form build(const char *more, Layout layout) {
    char defines[300];
    snprintf(defines, sizeof defines,
             "-DSN_VECTOR_BYTES=64 -DSN_GEMM_B=%d -DSN_TILE_B=1 -DSN_GEMM_KC=256 -DSN_TILE_MR=8 "
             "-DSN_TILE_NV=%d -DSN_GEMM_A_ALONG_M=%d -DSN_GEMM_HEIGHTS=%d -DSN_GEMM_AHEAD=1 %s",
             !layout.data, layout.vectors, layout.across, BLOCK / 8, more);
    Form form = {build_open("gcc", "tests/device/gemm_probe.c", defines), layout};
    assert_non_null(form.code);
    return form;
}

static int set_up(void **state) {
    (void)state;
    static const Layout layouts[] = {{false, false, 2}, {true, false, 3}, {false, true, 3}};
    adds = build("", layouts[0]);
    for (int i = 0; i < 3; i++) {
        split[forms++] = build("-DSN_GEMM_SPLIT=64 -DSN_MATRIX=0", layouts[i]);
        if (!sn_matrix_refusal()) split[forms++] = build("-DSN_GEMM_SPLIT=64 -DSN_MATRIX=1", layouts[i]);
    }
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    dlclose(adds.code);
    while (forms > 0) dlclose(split[--forms].code);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_odd_numbers),
        cmocka_unit_test(test_tiny_numbers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
