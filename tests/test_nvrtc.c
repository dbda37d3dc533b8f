/* Generated CUDA text through the real NVRTC, where one is installed, straight to CUBIN: the clusters of
 * tests/clusters, and clusters made here so that every function of the prelude is called. */
#include "cluster_files.h"
#include "codegen_fixture.h"
#include "cuda/libraries.h"

static char *read_log(const NvrtcLibrary *nvrtc, NvrtcProgram program) {
    size_t size = 0;
    assert_int_equal(nvrtc->nvrtcGetProgramLogSize(program, &size), 0);
    char *log = calloc(size + 1, 1);
    assert_non_null(log);
    assert_int_equal(nvrtc->nvrtcGetProgramLog(program, log), 0);
    return log;
}

/* What to complain of: the assembler's report says "N bytes spill stores" for each kernel. NULL: nothing. */
static const char *spills(const char *log) {
    static const char what[] = " bytes spill stores";
    for (const char *at = log; (at = strstr(at, what)); at += strlen(what))
        if (at[-1] != '0' || at[-2] != ' ') return at - 160 > log ? at - 160 : log;
    return NULL;
}

/* The text compiles, without a warning or a register that is spilled, to a CUBIN that holds each kernel of
 * `seen`. */
static void compile_text(const NvrtcLibrary *nvrtc, const char *text, const Map *seen,
                         const char *architecture) {
    char option[64];
    NvrtcProgram program;
    size_t size = 0, length;
    const void *name;
    snprintf(option, sizeof option, "--gpu-architecture=%s", architecture);
    const char *const options[] = {option, "--std=c++17", "--ptxas-options=-v"};
    assert_int_equal(nvrtc->nvrtcCreateProgram(&program, text, "kernels.cu", 0, NULL, NULL), 0);
    int status = nvrtc->nvrtcCompileProgram(program, 3, options);
    char *log = read_log(nvrtc, program);
    assert_true(status || strstr(log, "spill stores"));
    const char *bad = status ? log : strstr(log, "warning");
    if (!bad) bad = spills(log);
    if (bad) fail_msg("%s: %d\n%.600s", architecture, status, bad);
    assert_int_equal(nvrtc->nvrtcGetCUBINSize(program, &size), 0);
    char *cubin = malloc(size + 1);
    assert_non_null(cubin);
    assert_int_equal(nvrtc->nvrtcGetCUBIN(program, cubin), 0);
    assert_memory_equal(cubin, "\177ELF", 4);
    for (int i = 0; i < sn_map_count(seen); i++) {
        sn_map_entry(seen, i, &name, &length);
        assert_non_null(memmem(cubin, size, name, length));
    }
    free(cubin);
    free(log);
    nvrtc->nvrtcDestroyProgram(&program);
}

static void compile_all(const char *text, const Map *seen, int sm) {
    static const char architecture[][8] = {"sm_80", "sm_89", "sm_90a"};
    Arena *arena = sn_arena_new();
    NvrtcLibrary nvrtc;
    const char *path;
    Status missing = sn_cuda_open_nvrtc(arena, 0, &nvrtc, &path);
    if (missing)
        printf("skipped: %s\n", sn_error_message(missing));
    else
        compile_text(&nvrtc, text, seen, architecture[sm == 80 ? 0 : sm == 89 ? 1 : 2]);
    sn_error_free(missing);
    sn_arena_free(arena);
}

/* ---- the files ---- */

static void compile_files(int sm) {
    ClusterFiles files = {0};
    read_cluster_files(&files, sm);
    Text text = sn_text(files.arena);
    Map *seen = sn_map_new(files.arena);
    for (int i = 0; i < files.count; i++)
        for (int k = 0; k < files.file[i].kernel.count; k++)
            add_kernel(&text, seen, files.file[i].kernel.at[k]);
    compile_all(sn_text_string(&text), seen, sm);
    sn_arena_free(files.arena);
}

static void files_compile_for_sm_80(void **state) {
    (void)state;
    compile_files(80);
}
static void files_compile_for_sm_90(void **state) {
    (void)state;
    compile_files(90);
}

/* ---- every function ---- */

static void add_every_function(Case *c, DType dtype) {
    static const OpCode of_floats[] = {
        SN_OP_TAN,   SN_OP_SINH,    SN_OP_COSH,  SN_OP_ASIN,       SN_OP_ACOS, SN_OP_ATAN,  SN_OP_ASINH,
        SN_OP_ACOSH, SN_OP_ATANH,   SN_OP_NEG,   SN_OP_ABS,        SN_OP_SIGN, SN_OP_FLOOR, SN_OP_CEIL,
        SN_OP_ROUND, SN_OP_SQRT,    SN_OP_RSQRT, SN_OP_RECIPROCAL, SN_OP_LOG,  SN_OP_SIN,   SN_OP_COS,
        SN_OP_ERF,   SN_OP_SIGMOID, SN_OP_ISNAN, SN_OP_ISINF,      SN_OP_EXP,  SN_OP_TANH};
    static const OpCode of_integers[] = {SN_OP_ABS, SN_OP_SIGN};
    static const OpCode of_two[] = {SN_OP_ADD,   SN_OP_SUB,  SN_OP_MUL,       SN_OP_DIV,
                                    SN_OP_POW,   SN_OP_FMOD, SN_OP_MIN,       SN_OP_MAX,
                                    SN_OP_EQUAL, SN_OP_LESS, SN_OP_LESS_EQUAL};
    static const DType to[] = {SN_BOOL, SN_U8,  SN_I8,  SN_U16,  SN_I16, SN_U32, SN_I32,
                               SN_U64,  SN_I64, SN_F16, SN_BF16, SN_F32, SN_F64};
    Value *x = param(c, dtype, "T"), *y = param(c, dtype, "T");
    bool floats = sn_dtype_is_float(dtype);
    size_t count = floats ? sizeof of_floats / sizeof *of_floats : sizeof of_integers / sizeof *of_integers;
    for (size_t i = 0; i < count; i++) result(c, one(c, floats ? of_floats[i] : of_integers[i], x));
    for (size_t i = 0; i < sizeof of_two / sizeof *of_two; i++) result(c, two(c, of_two[i], x, y));
    if (!floats) result(c, two(c, SN_OP_MOD, x, y));
    for (size_t i = 0; i < sizeof to / sizeof *to; i++)
        if (to[i] != dtype) result(c, cast(c, x, to[i]));
    Value *less = two(c, SN_OP_LESS, x, y);
    result(c, sn_build3(&c->b, SN_OP_WHERE, NULL, less, x, y));
    assert_ok(c->b.status);
}

static void add_every_reduction(Case *c, DType dtype) {
    static const OpCode reductions[] = {SN_OP_REDUCE_SUM, SN_OP_REDUCE_PROD, SN_OP_REDUCE_MAX,
                                        SN_OP_REDUCE_MIN};
    Value *x = param(c, dtype, "T, B");
    for (int i = 0; i < 4; i++) result(c, reduce(c, reductions[i], x, 1));
}

static void every_function_compiles(void **state) {
    (void)state;
    static const DType types[] = {SN_F32, SN_F64, SN_F16, SN_BF16, SN_U8,  SN_I8,
                                  SN_U16, SN_I16, SN_I32, SN_U32,  SN_I64, SN_U64};
    Arena *arena = sn_arena_new();
    Text text = sn_text(arena);
    Map *seen = sn_map_new(arena);
    Case *made[2 * sizeof types / sizeof *types];
    int count = 0;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int reduces = 0; reduces < 2; reduces++) {
            Case *c = made[count++] = begin_case(reduces ? SN_CLUSTER_REDUCE : SN_CLUSTER_MAP);
            sn_target_cuda(&c->target, 80);
            (reduces ? add_every_reduction : add_every_function)(c, types[t]);
            add_kernel(&text, seen, generate(c));
        }
    assert_int_equal(sn_map_count(seen), count);
    compile_all(sn_text_string(&text), seen, 80);
    for (int i = 0; i < count; i++) sn_arena_free(made[i]->arena);
    sn_arena_free(arena);
}

/* ---- products ---- */

/* How the operands lie: right one transposed, left one transposed, neither address known to be aligned. */
typedef enum Lie { PLAIN, RIGHT_TURNED, LEFT_TURNED, ODD, LIES } Lie;

/* Without a library, so that there are wide tiles. */
static Case *make_product(DType dtype, Precision precision, Lie lie, int sm) {
    static const int turn[] = {1, 0};
    Case *c = begin_case(SN_CLUSTER_CONTRACT);
    sn_target_cuda(&c->target, sm);
    c->target.precision = precision;
    c->target.library = false;
    Value *a = lie == LEFT_TURNED ? transpose(c, param(c, dtype, "768, T"), turn)
                                  : param(c, dtype, lie == ODD ? "T, 767" : "T, 768");
    Value *b = lie == RIGHT_TURNED ? transpose(c, param(c, dtype, "2304, 768"), turn)
                                   : param(c, dtype, lie == ODD ? "767, 2303" : "768, 2304");
    Value *y = apply(c, SN_OP_CONTRACT, &(AttrContract){0}, a, b);
    result(c, two(c, SN_OP_ADD, y, param(c, dtype, lie == ODD ? "T, 2303" : "T, 2304")));
    return c;
}

static void products_compile(void **state) {
    (void)state;
    static const int target[] = {80, 89, 90};
    static const DType types[] = {SN_F32, SN_F32, SN_BF16, SN_F16};
    static const Precision precisions[] = {SN_PRECISION_HIGHEST, SN_PRECISION_HIGH, SN_PRECISION_HIGHEST,
                                           SN_PRECISION_HIGHEST};
    for (int t = 0; t < 3; t++) {
        Arena *arena = sn_arena_new();
        Text text = sn_text(arena);
        Map *seen = sn_map_new(arena);
        Case *made[4 * LIES];
        int count = 0;
        for (int i = 0; i < 4 * LIES; i++) {
            /* Multiply-adds are short of registers; both halves are one template. */
            bool each = i == PLAIN || i == RIGHT_TURNED, again = types[i / LIES] == SN_F16 && i % LIES != ODD;
            bool wanted = !again && (each || (i + i / LIES) % 3 == t);
            if (!wanted) continue;
            made[count] = make_product(types[i / LIES], precisions[i / LIES], (Lie)(i % LIES), target[t]);
            add_kernel(&text, seen, generate(made[count++]));
        }
        compile_all(sn_text_string(&text), seen, target[t]);
        for (int i = 0; i < count; i++) sn_arena_free(made[i]->arena);
        sn_arena_free(arena);
    }
}

/* ---- attention ---- */

typedef struct Heads {
    DType dtype;
    Precision precision;
    const char *q, *k, *v, *bias;
    bool causal;
    double cap;
} Heads;

static const Heads heads[] = {
    {SN_F32, SN_PRECISION_HIGHEST, "B, 12, T, 64", "B, 12, T, 64", "B, 12, T, 64", NULL, true, 0},
    {SN_F32, SN_PRECISION_HIGHEST, "B, 2, T, 2048", "B, 2, T, 2048", "B, 2, T, 2048", NULL, false, 0},
    {SN_F32, SN_PRECISION_HIGH, "B, 8, T, 128", "B, 2, T, 128", "B, 2, T, 128", NULL, true, 0},
    {SN_F16, SN_PRECISION_HIGHEST, "B, 8, T, 80", "B, 8, T, 80", "B, 8, T, 80", "B, 1, 1, T", false, 30},
    {SN_BF16, SN_PRECISION_HIGHEST, "B, 8, T, 128", "B, 2, T, 128", "B, 2, T, 128", NULL, true, 0},
    {SN_BF16, SN_PRECISION_HIGHEST, "B, 8, T, 256", "B, 2, T, 256", "B, 2, T, 256", NULL, false, 50},
};
enum { HEADS = sizeof heads / sizeof *heads };

static Case *make_attention(const Heads *h, int sm) {
    Case *c = begin_case(SN_CLUSTER_ATTENTION);
    sn_target_cuda(&c->target, sm);
    c->target.precision = h->precision;
    Value *x[4] = {param(c, h->dtype, h->q), param(c, h->dtype, h->k), param(c, h->dtype, h->v),
                   h->bias ? param(c, h->dtype, h->bias) : NULL};
    AttrAttention attr = {.scale = 0.25, .causal = h->causal, .softcap = h->cap};
    if (h->causal) attr.offset = sn_dim(c->graph->dims, 0);
    result(c, sn_build(&c->b, SN_OP_ATTENTION, &attr, h->bias ? 4 : 3, x));
    assert_ok(c->b.status);
    return c;
}

static Case *make_gradients(const Heads *h, int sm) {
    Case *c = begin_case(SN_CLUSTER_ATTENTION);
    sn_target_cuda(&c->target, sm);
    c->target.precision = h->precision;
    Value *x[7] = {param(c, h->dtype, h->q),
                   param(c, h->dtype, h->k),
                   param(c, h->dtype, h->v),
                   param(c, h->dtype, h->q),
                   param(c, SN_F32, "B, 8, T, 2"),
                   param(c, SN_F32, "B, 8, T, 1"),
                   h->bias ? param(c, h->dtype, h->bias) : NULL};
    AttrAttention attr = {.scale = 0.25, .causal = h->causal, .softcap = h->cap};
    if (h->causal) attr.offset = sn_dim(c->graph->dims, 0);
    const Value *first = sn_build(&c->b, SN_OP_ATTENTION_BACKWARD, &attr, h->bias ? 7 : 6, x);
    assert_ok(c->b.status);
    for (int i = 0; i < 3; i++) result(c, first->producer->output[i]);
    return c;
}

static const Heads sloped[] = {
    {SN_F32, SN_PRECISION_HIGHEST, "B, 8, T, 128", "B, 8, T, 128", "B, 8, T, 128", "B, 1, 1, T", false, 50},
    {SN_F32, SN_PRECISION_HIGH, "B, 8, T, 128", "B, 2, T, 128", "B, 2, T, 128", NULL, true, 0},
    {SN_BF16, SN_PRECISION_HIGHEST, "B, 8, T, 64", "B, 2, T, 64", "B, 2, T, 64", NULL, true, 50},
};

static void gradients_of_attention_compile(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    Text text = sn_text(arena);
    Map *seen = sn_map_new(arena);
    for (size_t i = 0; i < sizeof sloped / sizeof *sloped; i++) {
        Case *c = make_gradients(&sloped[i], 90);
        add_kernel(&text, seen, generate(c));
        sn_arena_free(c->arena);
    }
    compile_all(sn_text_string(&text), seen, 90);
    sn_arena_free(arena);
}

static void attention_compiles(void **state) {
    (void)state;
    static const int target[] = {80, 89, 90};
    for (int t = 0; t < 3; t++) {
        Arena *arena = sn_arena_new();
        Text text = sn_text(arena);
        Map *seen = sn_map_new(arena);
        Case *made[HEADS];
        for (int i = 0; i < HEADS; i++) {
            made[i] = make_attention(&heads[i], target[t]);
            add_kernel(&text, seen, generate(made[i]));
        }
        compile_all(sn_text_string(&text), seen, target[t]);
        for (int i = 0; i < HEADS; i++) sn_arena_free(made[i]->arena);
        sn_arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_compile_for_sm_80), cmocka_unit_test(files_compile_for_sm_90),
        cmocka_unit_test(every_function_compiles), cmocka_unit_test(products_compile),
        cmocka_unit_test(attention_compiles),      cmocka_unit_test(gradients_of_attention_compile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
