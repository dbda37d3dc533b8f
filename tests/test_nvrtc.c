/* Generated CUDA text: compiled by the real NVRTC for each architecture where one is installed. */
#include "codegen_fixture.h"

/* The part of NVRTC's C interface that is used, after its documentation. */
typedef struct _nvrtcProgram *Program;
typedef struct Nvrtc {
    int (*create)(Program *, const char *source, const char *name, int, const char *const *,
                  const char *const *);
    int (*compile)(Program, int, const char *const *);
    int (*log_size)(Program, size_t *);
    int (*log)(Program, char *);
    int (*destroy)(Program *);
} Nvrtc;

static bool open_nvrtc(Nvrtc *nvrtc) {
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so",
                                        "/usr/local/cuda/lib64/libnvrtc.so"};
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++)
        library = dlopen(names[i], RTLD_NOW);
    if (!library) return false;
    *(void **)&nvrtc->create = dlsym(library, "nvrtcCreateProgram");
    *(void **)&nvrtc->compile = dlsym(library, "nvrtcCompileProgram");
    *(void **)&nvrtc->log_size = dlsym(library, "nvrtcGetProgramLogSize");
    *(void **)&nvrtc->log = dlsym(library, "nvrtcGetProgramLog");
    *(void **)&nvrtc->destroy = dlsym(library, "nvrtcDestroyProgram");
    return nvrtc->create && nvrtc->compile && nvrtc->log_size && nvrtc->log && nvrtc->destroy;
}

static void compile_for(const Nvrtc *nvrtc, const Kernel *kernel, const char *architecture) {
    char option[64], *log;
    size_t size = 0;
    Program program;
    snprintf(option, sizeof option, "--gpu-architecture=%s", architecture);
    assert_int_equal(nvrtc->create(&program, kernel->source, "kernel.cu", 0, NULL, NULL), 0);
    const char *const options[] = {option, "--std=c++17"};
    int status = nvrtc->compile(program, 2, options);
    assert_int_equal(nvrtc->log_size(program, &size), 0);
    log = calloc(size + 1, 1);
    assert_non_null(log);
    assert_int_equal(nvrtc->log(program, log), 0);
    if (status)
        fail_msg("%s: %d\n%s\n%s", architecture, status, log, strstr(kernel->source, "struct KernelArgs"));
    free(log);
    nvrtc->destroy(&program);
}

static Value *softmax(Case *c, Value *x) {
    Value *e = one(c, SN_OP_EXP, two(c, SN_OP_SUB, x, spread(c, reduce(c, SN_OP_REDUCE_MAX, x, 1), x)));
    return two(c, SN_OP_DIV, e, spread(c, reduce(c, SN_OP_REDUCE_SUM, e, 1), x));
}

static void build_map(Case *c) {
    Value *x = param(c, SN_F16, "B, T"), *table = param(c, SN_F32, "9, T"), *ids = param(c, SN_I64, "B");
    Value *rows = apply(c, SN_OP_GATHER, &(AttrAxis){0}, table, ids);
    Value *y = two(c, SN_OP_ADD, rows, cast(c, x, SN_F32));
    result(c, one(c, SN_OP_TANH, y));
    result(c, two(c, SN_OP_LESS, y, number(c, INFINITY, y)));
    result(c, apply(c, SN_OP_CONCAT, &(AttrAxis){0}, cast(c, y, SN_BF16), cast(c, x, SN_BF16)));
    result(c, two(c, SN_OP_DIV, ids, two(c, SN_OP_MAX, ids, number(c, 1, ids))));
}

static void build_row(Case *c) {
    result(c, softmax(c, param(c, SN_F32, "B, T")));
}
static void build_short_row(Case *c) {
    result(c, softmax(c, param(c, SN_BF16, "B, 512")));
}
static void build_column(Case *c) {
    result(c, reduce(c, SN_OP_REDUCE_SUM, param(c, SN_F64, "T, B"), 0));
}

static void build_every_function(Case *c) {
    static const OpCode floats[] = {SN_OP_NEG,        SN_OP_ABS,     SN_OP_SIGN,  SN_OP_FLOOR,
                                    SN_OP_CEIL,       SN_OP_ROUND,   SN_OP_SQRT,  SN_OP_RSQRT,
                                    SN_OP_RECIPROCAL, SN_OP_LOG,     SN_OP_SIN,   SN_OP_COS,
                                    SN_OP_ERF,        SN_OP_SIGMOID, SN_OP_ISNAN, SN_OP_ISINF};
    static const OpCode both[] = {SN_OP_SUB, SN_OP_MUL, SN_OP_POW,  SN_OP_FMOD,
                                  SN_OP_MIN, SN_OP_MAX, SN_OP_EQUAL};
    static const DType types[] = {SN_F32, SN_F64, SN_U8, SN_I32, SN_U64};
    for (int t = 0; t < 5; t++) {
        Value *x = param(c, types[t], "T");
        for (size_t i = 0; i < sizeof floats / sizeof *floats && t < 2; i++) result(c, one(c, floats[i], x));
        for (size_t i = 0; i < sizeof both / sizeof *both; i++) result(c, two(c, both[i], x, x));
    }
}

static void build_product(Case *c) {
    Value *y = apply(c, SN_OP_CONTRACT, &(AttrContract){0}, param(c, SN_F32, "B, T, 64"),
                     param(c, SN_F32, "B, 64, T"));
    result(c, two(c, SN_OP_MUL, y, number(c, 0.5, y)));
}

static const struct {
    ClusterKind kind;
    void (*build)(Case *c);
} kernels[] = {
    {SN_CLUSTER_MAP, build_map},
    {SN_CLUSTER_REDUCE, build_row},
    {SN_CLUSTER_REDUCE, build_short_row},
    {SN_CLUSTER_REDUCE, build_column},
    {SN_CLUSTER_MAP, build_every_function},
    {SN_CLUSTER_CONTRACT, build_product},
};

static void compiles(void **state) {
    (void)state;
    Nvrtc nvrtc;
    bool found = open_nvrtc(&nvrtc);
    if (!found) printf("skipped: no NVRTC\n");
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        for (int sm = 80; sm <= 90; sm += 10) {
            Case *c = begin_case(kernels[i].kind);
            sn_target_cuda(&c->target, sm);
            kernels[i].build(c);
            const Kernel *kernel = generate(c);
            assert_int_equal(kernel->threads, 256);
            if (found) compile_for(&nvrtc, kernel, sm == 80 ? "sm_80" : "sm_90a");
            sn_arena_free(c->arena);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(compiles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
