/* The emulator itself, by the kernels of emulator/probe.cu: warps, shared memory, tensor cores, copies, vectors; and what it has
 * to notice in them. */
#include "emulator_fixture.h"

static int setup(void **state) {
    static Emulated emulated;
    *state = &emulated;
    emulate(&emulated, "#include \"emulator.h\"\n#include \"probe.cu\"\n");
    return 0;
}

static int teardown(void **state) {
    const Emulated *e = *state;
    return e->library ? dlclose(e->library) : 0;
}

/* ---- warps and blocks ---- */

static void warps_vote_and_shuffle(void **state) {
    Emulated *f = *state;
    for (int order = 0; order < EMU_ORDER_COUNT; order++) {
        uint32_t *out = f->alloc(40 * 5 * sizeof *out);
        EmuLaunch launch = {.args = &out, .grid = {1, 1, 1}, .block = {40, 1, 1}, .order = (EmuOrder)order};
        *(void **)&launch.kernel = emulated_symbol(f, "probe_votes_call");
        if (f->launch(&launch)) fail_msg("%s", launch.message);
        for (uint32_t i = 0; i < 40; i++, out += 5) {
            assert_int_equal(out[0], i < 32 ? 0x49249249u : 0x92u); /* lanes of 0, 3 … and of 33, 36, 39 */
            assert_int_equal(out[1], i < 31 ? i + 1 : i);
            assert_int_equal(out[2], i % 32 ? i - 1 : i);
            assert_int_equal(out[3], i < 32 ? 1 : 2);
            assert_int_equal(out[4], 41);
        }
        f->release(out - 200);
    }
}

static void blocks_share_memory(void **state) {
    Emulated *f = *state;
    for (int order = 0; order < EMU_ORDER_COUNT; order++) {
        int *out = f->alloc(103 * sizeof *out);
        for (int i = 0; i < 100; i++) out[i] = i * i;
        out[100] = out[101] = out[102] = 0;
        struct {
            int *out;
            int64_t count;
        } args = {out, 100};
        EmuLaunch launch = {
            .args = &args, .grid = {1, 1, 1}, .block = {100, 1, 1}, .shared = 400, .order = (EmuOrder)order};
        *(void **)&launch.kernel = emulated_symbol(f, "probe_shared_call");
        if (f->launch(&launch)) fail_msg("%s", launch.message);
        for (int i = 0; i < 100; i++) assert_int_equal(out[i], (99 - i) * (99 - i));
        assert_int_equal(out[100], 100);
        assert_int_equal(out[101], 99);
        assert_int_equal(out[102], -99);
        launch.shared = 396; /* one word too few */
        assert_int_equal(f->launch(&launch), 1);
        assert_non_null(strstr(launch.message, "out of bounds"));
        f->release(out);
    }
}

static void a_lane_that_has_left_is_missed(void **state) {
    Emulated *f = *state;
    int *out = f->alloc(32 * sizeof *out);
    EmuLaunch launch = {.args = &out, .grid = {1, 1, 1}, .block = {32, 1, 1}};
    *(void **)&launch.kernel = emulated_symbol(f, "probe_leaves_call");
    assert_int_equal(f->launch(&launch), 1);
    assert_non_null(strstr(launch.message, "thread 5 has ended"));
    f->release(out);
}

/* ---- tensor cores, asynchronous copies, vectors ---- */

typedef struct TensorProbe {
    const void *a, *b;
    float *out;
    int64_t plan;
} TensorProbe;

enum { PROBE_ROWS = 16, PROBE_COLUMNS = 8 };

/* NULL, or what the emulator said. */
static const char *run_probe(Emulated *f, const char *name, const void *args, EmuOrder order) {
    static char message[256];
    char symbol[64];
    EmuLaunch launch = {.args = args, .grid = {1, 1, 1}, .block = {32, 1, 1}, .order = order};
    snprintf(symbol, sizeof symbol, "%s_call", name);
    *(void **)&launch.kernel = emulated_symbol(f, symbol);
    if (f->launch(&launch) == 0) return NULL;
    return strcpy(message, launch.message);
}

/* Operands of `dtype`, 16 x `depth` and `depth` x 8, and the largest error of their product by the probe. */
static double product_error(Emulated *f, const char *name, DType dtype, int depth, bool b_columns,
                            int64_t plan, EmuOrder order) {
    int bytes = sn_dtype_bytes(dtype);
    void *a = f->alloc((size_t)(PROBE_ROWS * depth * bytes)),
         *b = f->alloc((size_t)(PROBE_COLUMNS * depth * bytes));
    TensorProbe probe = {a, b, f->alloc(PROBE_ROWS * PROBE_COLUMNS * sizeof(float)), plan};
    Tensor x = {.dtype = dtype, .count = PROBE_ROWS * depth, .payload = SN_PAYLOAD_BYTES, .bytes = a};
    Tensor y = {.dtype = dtype, .count = PROBE_COLUMNS * depth, .payload = SN_PAYLOAD_BYTES, .bytes = b};
    for (int i = 0; i < x.count; i++) sn_element_set(dtype, a, i, sn_random_normal(1, (uint64_t)i));
    for (int i = 0; i < y.count; i++) sn_element_set(dtype, b, i, sn_random_normal(2, (uint64_t)i));
    const char *said = run_probe(f, name, &probe, order);
    if (said) fail_msg("%s: %s", name, said);
    double error = 0;
    for (int m = 0; m < PROBE_ROWS; m++)
        for (int n = 0; n < PROBE_COLUMNS; n++) {
            double sum = 0;
            for (int k = 0; k < depth; k++)
                sum += sn_tensor_get(&x, m * depth + k) *
                       sn_tensor_get(&y, b_columns ? n * depth + k : k * PROBE_COLUMNS + n);
            error = fmax(error, fabs(probe.out[m * PROBE_COLUMNS + n] - sum));
        }
    f->release(a), f->release(b), f->release(probe.out);
    return error;
}

static void tensor_cores_multiply(void **state) {
    for (int order = 0; order < EMU_ORDER_COUNT; order++) {
        assert_true(product_error(*state, "probe_bf16", SN_BF16, 16, false, 0, (EmuOrder)order) < 1e-5);
        assert_true(product_error(*state, "probe_f16", SN_F16, 16, false, 0, (EmuOrder)order) < 1e-5);
        /* Rounded operands are off by half a unit of their 10 bits, cut ones by up to a whole one. */
        double rounded = product_error(*state, "probe_tf32", SN_F32, 8, true, 0, (EmuOrder)order);
        double cut = product_error(*state, "probe_tf32", SN_F32, 8, true, 1, (EmuOrder)order);
        assert_true(rounded > 1e-5 && rounded < 4e-3);
        assert_true(cut > 1.5 * rounded);
    }
}

/* What a wrong way of staging operands must be met with; in the order of the probe's plans. */
static void wrong_staging_is_reported(void **state) {
    static const char *const said[] = {NULL,   "copy has not reached", "copy has not reached",
                                       "race", "not a multiple of 16", "memory that is not shared"};
    Emulated *f = *state;
    for (int plan = 1; plan < 6; plan++)
        for (int order = 0; order < EMU_ORDER_COUNT; order++) {
            TensorProbe probe = {f->alloc(16 * 16 * 2), f->alloc(16 * 8 * 2), f->alloc(16 * 8 * 4), plan};
            const char *message = run_probe(f, "probe_bf16", &probe, (EmuOrder)order);
            if (!message || !strstr(message, said[plan]))
                fail_msg("plan %d, order %d: %s", plan, order, message ? message : "nothing noticed");
            f->release((void *)probe.a), f->release((void *)probe.b), f->release(probe.out);
        }
}

static void vectors_are_aligned(void **state) {
    Emulated *f = *state;
    struct {
        float *in, *out;
        int64_t offset;
    } args = {f->alloc(132 * sizeof(float)), f->alloc(128 * sizeof(float)), 4};
    for (int i = 0; i < 132; i++) args.in[i] = (float)i;
    assert_null(run_probe(f, "probe_vectors", &args, EMU_FORWARD));
    for (int i = 0; i < 128; i++) assert_true(args.out[i] == (float)(4 + i / 4 * 4 + 3 - i % 4));
    args.offset = 2;
    const char *message = run_probe(f, "probe_vectors", &args, EMU_FORWARD);
    assert_non_null(message);
    assert_non_null(strstr(message, "not a multiple of 16"));
    args.offset = 8; /* the last vector is beyond the buffer */
    message = run_probe(f, "probe_vectors", &args, EMU_FORWARD);
    assert_non_null(message);
    assert_non_null(strstr(message, "a load out of bounds at 528"));
    f->release(args.in), f->release(args.out);
}

static void a_hole_in_shared_memory_is_reported(void **state) {
    Emulated *f = *state;
    int *out = f->alloc(32 * sizeof *out);
    const char *message = run_probe(f, "probe_lost", &out, EMU_FORWARD);
    assert_non_null(message);
    assert_non_null(strstr(message, "nothing has been stored"));
    assert_non_null(strstr(message, "by thread 28"));
    f->release(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warps_vote_and_shuffle),
        cmocka_unit_test(blocks_share_memory),
        cmocka_unit_test(a_lane_that_has_left_is_missed),
        cmocka_unit_test(tensor_cores_multiply),
        cmocka_unit_test(wrong_staging_is_reported),
        cmocka_unit_test(vectors_are_aligned),
        cmocka_unit_test(a_hole_in_shared_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
