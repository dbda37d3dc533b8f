/* The device files of the C dialect, compiled as generated code is and compared with double precision. */
#include "device/build.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void *find(void *code, const char *name) {
    void *symbol = dlsym(code, name);
    if (!symbol) fail_msg("%s: %s", name, dlerror());
    return symbol;
}

/* xorshift64*, from a fixed seed in each test. */
static uint64_t next(uint64_t *state) {
    *state ^= *state >> 12, *state ^= *state << 25, *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}
static float between(uint64_t *state, double low, double high) {
    return (float)(low + (high - low) * (double)(next(state) >> 11) * 0x1p-53);
}

/* The error of x in units in the last place of a float at the true value; infinite where one is special and
 * the other is not. */
static double ulps(float x, double truth) {
    if (isnan(truth)) return isnan(x) ? 0 : INFINITY;
    if ((float)truth == x) return signbit(x) == signbit((float)truth) ? 0 : INFINITY;
    if (isnan(x) || isinf(x) || isinf((float)truth))
        return fabs(truth) > 3.4028235e38 && isinf((float)truth) &&
                       x == copysignf(3.4028235e38f, (float)truth)
                   ? 1
                   : INFINITY;
    int e;
    frexp(truth, &e);
    return fabs(x - truth) / ldexp(1, e - 24 < -149 ? -149 : e - 24);
}

static double sigmoid(double x) {
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}
static double rsqrt_of(double x) {
    return 1 / sqrt(x);
}
static double reciprocal(double x) {
    return 1 / x;
}
static double negative(double x) {
    return -x;
}
static double sign(double x) {
    return x > 0 ? 1 : x < 0 ? -1 : isnan(x) ? x : 0;
}

enum { COUNT = 16384 };
static const struct {
    const char *name;
    double (*truth)(double);
    double bound, low, high;
} functions[] = {
    {"probe_exp", exp, 1.1, -104, 89},        {"probe_log", log, 1.5, 0, 10},
    {"probe_tanh", tanh, 1.5, -10, 10},       {"probe_erf", erf, 1.5, -4.5, 4.5},
    {"probe_sigmoid", sigmoid, 2, -104, 104}, {"probe_sin", sin, 2, -100, 100},
    {"probe_cos", cos, 2, -100, 100},         {"probe_sqrt", sqrt, 0.5, 0, 100},
    {"probe_rsqrt", rsqrt_of, 1.5, 0, 100},   {"probe_reciprocal", reciprocal, 0.5, -10, 10},
    {"probe_floor", floor, 0, -100, 100},     {"probe_ceil", ceil, 0, -100, 100},
    {"probe_trunc", trunc, 0, -100, 100},     {"probe_round", nearbyint, 0, -100, 100},
    {"probe_abs", fabs, 0, -100, 100},        {"probe_neg", negative, 0, -100, 100},
    {"probe_sign", sign, 0, -1, 1},           {"probe_tan", tan, 1, -10, 10},
    {"probe_log1p", log1p, 1, -0.9, 10},
};

/* Specials, halves, a range, and numbers of every exponent and sign. */
static void fill(float *x, double low, double high) {
    static const float special[] = {0,
                                    -0.0f,
                                    INFINITY,
                                    -INFINITY,
                                    NAN,
                                    1e-45f,
                                    -1e-45f,
                                    1e-39f,
                                    1.17549435e-38f,
                                    3.4028235e38f,
                                    -3.4028235e38f,
                                    0.5f,
                                    -0.5f,
                                    1.5f,
                                    2.5f,
                                    -1.5f,
                                    1,
                                    -1,
                                    88.72283f,
                                    88.72284f,
                                    -87.33655f,
                                    -103.97f,
                                    -103.98f,
                                    8388607.5f,
                                    8388608,
                                    -4194303.5f};
    uint64_t state = 7;
    for (int i = 0; i < COUNT; i++) {
        uint32_t bits = (uint32_t)(next(&state) >> 32);
        if (i < (int)(sizeof special / sizeof *special))
            x[i] = special[i];
        else if (i % 2)
            x[i] = between(&state, low, high);
        else
            memcpy(&x[i], &bits, sizeof bits);
    }
}

static float in[COUNT], other[COUNT], v[COUNT], p[COUNT], s[COUNT];

static void check_functions(void *code) {
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        fill(in, functions[f].low, functions[f].high);
        ((void (*)(const float *, float *, float *, float *, int64_t))find(code, functions[f].name))(
            in, v, p, s, COUNT);
        double worst = 0;
        int at = 0;
        for (int i = 0; i < COUNT; i++) {
            double error = ulps(v[i], functions[f].truth((double)in[i]));
            if (error > worst) worst = error, at = i;
            if (memcmp(&v[i], &p[i], 4) || memcmp(&v[i], &s[i], 4))
                if (!isnan(v[i]) || !isnan(p[i]) || !isnan(s[i]))
                    fail_msg("%s(%a): %a whole, %a partial, %a scalar", functions[f].name, in[i], v[i], p[i],
                             s[i]);
        }
        if (getenv("SINTER_TEST_VERBOSE"))
            print_message("%s %.3f ulp at %a\n", functions[f].name, worst, in[at]);
        if (worst > functions[f].bound)
            fail_msg("%s(%a) = %a, %g ulp", functions[f].name, in[at], v[at], worst);
    }
}

/* 1 + erf x, to units in the last place of one, and relative to itself where it is not small. */
static void check_one_plus_erf(void *code) {
    fill(in, -6, 3);
    ((void (*)(const float *, float *, float *, float *, int64_t))find(code, "probe_one_plus_erf"))(in, v, p,
                                                                                                    s, COUNT);
    for (int i = 0; i < COUNT; i++) {
        double truth = erfc(-(double)in[i]), error = fabs(v[i] - truth);
        if (isnan(truth) ? !isnan(v[i]) : !(error <= 1.5 * 0x1p-23) || (in[i] >= -2 && error > 3e-6 * truth))
            fail_msg("1 + erf(%a) = %a, %g off", in[i], v[i], error);
        if (memcmp(&v[i], &s[i], 4) && !isnan(truth))
            fail_msg("1 + erf(%a) = %a whole, %a scalar", in[i], v[i], s[i]);
    }
}

static void check_pow(void *code) {
    static const float special[] = {0,    -0.0f,   1,        -1,       2,           -2,        3,
                                    -3,   0.5f,    -0.5f,    INFINITY, -INFINITY,   NAN,       1e-45f,
                                    2.5f, 3.4e38f, 16777217, 8388609,  0.99999994f, 1.0000001f};
    enum { SPECIALS = sizeof special / sizeof *special };
    uint64_t state = 11;
    for (int i = 0; i < COUNT; i++) {
        in[i] = i % 3 ? between(&state, 0, 3) : expf(between(&state, -80, 80));
        other[i] = between(&state, -1, 1) * (i % 2 ? 10 : 88 / fmaxf(0.01f, fabsf(logf(in[i]))));
        if (i >= SPECIALS * SPECIALS) continue;
        in[i] = special[i / SPECIALS];
        other[i] = special[i % SPECIALS];
    }
    ((void (*)(const float *, const float *, float *, float *, int64_t))find(code, "probe_pow"))(in, other, v,
                                                                                                 s, COUNT);
    double worst = 0;
    for (int i = 0; i < COUNT; i++) {
        double error = ulps(v[i], pow((double)in[i], (double)other[i]));
        if (error > worst) worst = error;
        if (error > 2 || (memcmp(&v[i], &s[i], 4) && !isnan(v[i])))
            fail_msg("pow(%a, %a) = %a whole, %a scalar, %g ulp", in[i], other[i], v[i], s[i], error);
    }
    if (getenv("SINTER_TEST_VERBOSE")) print_message("pow %.3f ulp\n", worst);
}

/* Round half to even by definition: the nearest of all values of the format. */
static float half_value(uint16_t h, int kind) {
    if (kind) {
        uint32_t bits = (uint32_t)h << 16;
        float x;
        memcpy(&x, &bits, 4);
        return x;
    }
    int e = h >> 10 & 31, m = h & 1023;
    float x = e == 31 ? (m ? NAN : INFINITY) : e ? ldexpf((float)(1024 + m), e - 25) : ldexpf((float)m, -24);
    return h & 0x8000 ? -x : x;
}

/* Numbers `in` narrowed two vectors at a time, stored at places that are aligned for both, for one, for neither. */
static void check_narrow_two(void *code, const uint16_t *expected, int kind) {
    void (*narrow)(const float *, uint16_t *, int64_t, int) =
        (void (*)(const float *, uint16_t *, int64_t, int))find(code, "probe_narrow_two");
    enum { LANES = 16, PLACES = 3 };
    static const int place[PLACES] = {0, LANES, 3};
    static uint16_t line[COUNT + 2 * LANES] __attribute__((aligned(64)));
    for (int i = 0; i < PLACES; i++) {
        narrow(in, line + place[i], COUNT, kind);
        assert_memory_equal(line + place[i], expected, COUNT * sizeof *expected);
    }
}

static void check_halves(void *code) {
    void (*narrow)(const float *, uint16_t *, uint16_t *, int64_t, int) =
        (void (*)(const float *, uint16_t *, uint16_t *, int64_t, int))find(code, "probe_narrow");
    void (*widen)(const uint16_t *, float *, float *, int64_t, int) =
        (void (*)(const uint16_t *, float *, float *, int64_t, int))find(code, "probe_widen");
    static uint16_t halves[65536], nv[COUNT], ns[COUNT];
    static float wide[65536], scalar[65536];
    for (int kind = 0; kind < 2; kind++) {
        for (int i = 0; i < 65536; i++) halves[i] = (uint16_t)i;
        widen(halves, wide, scalar, 65536, kind);
        for (int i = 0; i < 65536; i++) {
            float x = half_value((uint16_t)i, kind);
            if (isnan(x) ? !isnan(wide[i]) || !isnan(scalar[i]) : wide[i] != x || scalar[i] != x)
                fail_msg("kind %d, %04x widens to %a and %a", kind, i, wide[i], scalar[i]);
        }
        fill(in, -70000, 70000);
        uint64_t state = 5;
        for (int i = 64; i < COUNT; i += 3) { /* halfway between neighbours, and around */
            uint16_t h = (uint16_t)(next(&state) >> 50);
            in[i] = 0.5f * half_value(h, kind) + 0.5f * half_value((uint16_t)(h + 1), kind);
            if (i % 2) in[i] = nextafterf(in[i], i % 4 ? 0 : INFINITY);
        }
        narrow(in, nv, ns, COUNT, kind);
        check_narrow_two(code, nv, kind);
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(nv[i], ns[i]);
            float got = half_value(nv[i], kind);
            if (isnan(in[i])) {
                assert_true(isnan(got));
                continue;
            }
            if (isinf(got)) {
                assert_true(fabsf(in[i]) >= (kind ? 0x1.ffp127f : 65520));
                continue;
            }
            assert_int_equal(signbit(got), signbit(in[i]));
            double error = fabs((double)got - in[i]);
            for (int step = -1; step <= 1; step += 2) {
                double gap = fabs((double)half_value((uint16_t)(nv[i] + step), kind) - in[i]);
                if ((nv[i] & 0x7fff) == 0 && step < 0) continue;
                if (error > gap || (error == gap && nv[i] & 1))
                    fail_msg("kind %d: %a to %04x", kind, in[i], nv[i]);
            }
        }
    }
}

#define CHECK_MOVE(TYPE, T)                                                                                  \
    for (int n = 0; n <= lanes; n++)                                                                         \
        for (int stride = 0; stride < 4; stride += 3) {                                                      \
            T from[64], to[64];                                                                              \
            for (int i = 0; i < 64; i++) from[i] = (T)(i % 2), to[i] = (T)(i % 2 ? 0 : 1);                   \
            T *start = to + (stride ? 0 : 5);                                                                \
            ((void (*)(const T *, T *, int64_t, int64_t))find(code, "move_" #TYPE))(from, start, n, stride); \
            for (int i = 0; i < 64; i++) {                                                                   \
                int k = stride ? (i % stride ? -1 : i / stride) : i - 5;                                     \
                int moved = k >= 0 && k < (stride ? lanes : n);                                              \
                assert_true(to[i] == (moved ? from[stride ? i : k] : (T)(i % 2 ? 0 : 1)));                   \
            }                                                                                                \
        }

static void check_memory(void *code) {
    int lanes = ((int (*)(void))find(code, "lanes"))();
    CHECK_MOVE(f32, float)
    CHECK_MOVE(f64, double)
    CHECK_MOVE(i8, int8_t)
    CHECK_MOVE(bool, uint8_t)
    CHECK_MOVE(u16, uint16_t)
    CHECK_MOVE(i64, int64_t)
    assert_int_equal(((int64_t(*)(void))find(code, "probe_integers"))(), 0);
    assert_int_equal(((int64_t(*)(void))find(code, "probe_live"))(), 0);
    float x[16] = {3, -1, 2, 0.5f, 7, -9, 1, 1, 2, -2, 4, 1, 0.25f, 1, 6, -3}, folds[4], sum = 0, product = 1;
    ((void (*)(const float *, float *))find(code, "probe_folds"))(x, folds);
    float most = x[0], least = x[0];
    for (int i = 0; i < lanes; i++) {
        sum += x[i], product *= x[i];
        most = fmaxf(most, x[i]), least = fminf(least, x[i]);
    }
    assert_true(folds[0] == sum && folds[1] == product && folds[2] == most && folds[3] == least);
    static const float pair[] = {NAN, 1, -1, INFINITY};
    for (int i = 0; i < 16; i++) {
        float a = pair[i / 4], b = pair[i % 4], out[4];
        ((void (*)(float, float, float *))find(code, "probe_extremes"))(a, b, out);
        for (int k = 0; k < 4; k++) {
            float truth = k < 2 ? fmaxf(a, b) : fminf(a, b);
            assert_true(isnan(a) || isnan(b) ? isnan(out[k]) : out[k] == truth);
        }
    }
}

static void check_squares(void *code) {
    assert_int_equal(((int64_t(*)(void))find(code, "probe_squares"))(), 0);
}

/* The probe at the widths that this machine can run, and by the second compiler where it is installed. */
static int open_all(void **state) {
    static const char *const builds[][2] = {
        {"gcc", "-DSN_VECTOR_BYTES=16"}, {"gcc", "-DSN_VECTOR_BYTES=32"}, {"gcc", ""}, {"clang", ""}};
    static void *code[5];
    int count = 0;
    for (size_t i = 0; i < 4; i++) {
        if (strstr(builds[i][1], "=32") && !__builtin_cpu_supports("avx2")) continue;
        if (builds[i][0][0] == 'c' && access("/usr/bin/clang", X_OK)) continue;
        code[count] = build_open(builds[i][0], "tests/device/vector_probe.c", builds[i][1]);
        if (!code[count++]) return -1;
    }
    *state = code;
    return 0;
}
static int close_all(void **state) {
    for (void **code = *state; *code; code++) dlclose(*code);
    return 0;
}
static void each(void *state, void (*check)(void *)) {
    for (void **code = state; *code; code++) check(*code);
}
static void test_functions(void **state) {
    each(*state, check_functions);
    each(*state, check_one_plus_erf);
}
static void test_pow(void **state) {
    each(*state, check_pow);
}
static void test_halves(void **state) {
    each(*state, check_halves);
}
static void test_memory(void **state) {
    each(*state, check_memory);
}
static void test_squares(void **state) {
    each(*state, check_squares);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions), cmocka_unit_test(test_pow),     cmocka_unit_test(test_halves),
        cmocka_unit_test(test_memory),    cmocka_unit_test(test_squares),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
