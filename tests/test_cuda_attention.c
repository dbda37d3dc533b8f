/* Attention in CUDA text, run on the emulator: equal to the interpreter for random shapes, every kind of mask and
 * every kind of product, in several orders of the threads. */
#include "codegen_fixture.h"
#include "emulator/launch.h"

enum { MAX_CASES = 16 };

typedef struct Fixture {
    char folder[64];
    void *emulator;
    EmuLaunchFunction *launch;
    EmuAllocFunction *alloc;
    EmuFreeFunction *release;
} Fixture;

/* ---- compiling ---- */

static void *find(void *library, const char *name) {
    void *symbol = dlsym(library, name);
    if (!symbol) fail_msg("%s", dlerror());
    return symbol;
}

static int setup(void **state) {
    Fixture *f = *state = calloc(1, sizeof *f);
    assert_non_null(f);
    strcpy(f->folder, "/tmp/sinter-attention-XXXXXX");
    if (!mkdtemp(f->folder)) return -1;
    /* Global: kernels find it there. */
    f->emulator = dlopen(SN_EMULATED "/libemulated_cuda.so", RTLD_NOW | RTLD_GLOBAL);
    if (!f->emulator) fail_msg("%s", dlerror());
    *(void **)&f->launch = find(f->emulator, "emu_launch");
    *(void **)&f->alloc = find(f->emulator, "emu_alloc");
    *(void **)&f->release = find(f->emulator, "emu_free");
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", f->folder);
    dlclose(f->emulator);
    free(f);
    return system(command);
}

/* Kernels with the calls for the check of accesses. */
static void *open_unit(Fixture *f, const char *text) {
    char source[128], library[128];
    snprintf(source, sizeof source, "%s/unit.cpp", f->folder);
    snprintf(library, sizeof library, "%s/unit.so", f->folder);
    FILE *file = fopen(source, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    const char *const argv[] = {"g++",
                                "@" SN_TESTS "/emulator/kernel.opts",
                                "-fsanitize=thread",
                                "-I",
                                SN_TESTS "/emulator",
                                source,
                                "@" SN_TESTS "/emulator/link.opts",
                                "-o",
                                library,
                                NULL};
    if (run_program(argv) != 0) fail_msg("%s does not compile", source);
    void *unit = dlopen(library, RTLD_NOW);
    if (!unit) fail_msg("%s", dlerror());
    return unit;
}

/* ---- running ---- */

static int64_t value_of(Dim dim, const int64_t *symbols) {
    int64_t value = 0;
    if (dim) assert_ok(sn_dim_eval(dim, symbols, NULL, &value));
    return value;
}

/* The launch of `items` blocks, and that of the blocks `after` them. */
static void launch_kernel(Fixture *f, const Kernel *kernel, void *call, const int64_t *symbols,
                          EmuOrder order, uint64_t *words, int count) {
    int64_t items = value_of(kernel->items, symbols), after = value_of(kernel->after, symbols);
    int *fault = f->alloc(sizeof *fault);
    *fault = 0;
    words[count++] = (uint64_t)(uintptr_t)fault;
    for (int round = 0; round < 2; round++) {
        words[count] = round ? (uint64_t)items : 0;
        EmuLaunch launch = {.args = words,
                            .grid = {(unsigned)(round ? after : items), 1, 1},
                            .block = {(unsigned)kernel->threads, 1, 1},
                            .shared = (size_t)value_of(kernel->shared, symbols),
                            .order = order,
                            .seed = 7};
        *(void **)&launch.kernel = call;
        if (launch.grid[0] && f->launch(&launch)) fail_msg("%s", launch.message);
    }
    assert_int_equal(*fault, 0);
    f->release(fault);
}

static void check_case(Fixture *f, Case *c, const Kernel *kernel, void *unit, const int64_t *symbols,
                       EmuOrder order) {
    const Region *body = c->graph->body;
    Array **inputs = SN_ARRAY(c->arena, Array *, body->param.count),
          **truth = SN_ARRAY(c->arena, Array *, body->result.count);
    uint64_t words[64];
    void *buffer[32];
    int count = 0;
    for (int i = 0; i < body->param.count; i++) {
        inputs[i] = random_input(c, body->param.at[i], symbols, (uint64_t)i + 1);
        void *bytes = bytes_of(inputs[i]);
        size_t size = (size_t)(inputs[i]->count * sn_dtype_bytes(inputs[i]->dtype));
        memcpy(buffer[count++] = f->alloc(size), bytes, size);
        free(bytes);
    }
    assert_ok(sn_eval_graph(c->arena, c->graph, false, (const Array *const *)inputs, truth));
    for (int i = 0; i < body->result.count; i++)
        buffer[count++] = f->alloc((size_t)(truth[i]->count * sn_dtype_bytes(truth[i]->dtype)));
    for (int i = 0; i < kernel->scratch_count; i++)
        buffer[count++] = f->alloc((size_t)value_of(kernel->scratch_bytes[i], symbols));
    for (int i = 0; i < count; i++) words[i] = (uint64_t)(uintptr_t)buffer[i];
    for (int i = 0; i < kernel->param_count; i++)
        words[count + i] = (uint64_t)value_of(kernel->param[i], symbols);
    void *call = find(unit, sn_arena_printf(c->arena, "%s_call", kernel->name));
    launch_kernel(f, kernel, call, symbols, order, words, count + kernel->param_count);
    for (int i = 0; i < body->result.count; i++) {
        char what[160];
        snprintf(what, sizeof what, "%s, symbols %d %d, order %d", c->graph->name, (int)symbols[0],
                 (int)symbols[1], (int)order);
        compare(c, truth[i], buffer[body->param.count + i], what);
    }
    for (int i = 0; i < count; i++) f->release(buffer[i]);
}

/* ---- cases ---- */

/* `bias`: its shape, or NULL; `masks`: it is of bools. `causal`: with the offset that makes the last row see all. */
typedef struct Shape {
    const char *q, *k, *v, *bias;
    bool masks, causal, zero, side;
    double scale;
} Shape;

typedef struct Cases {
    Case *at[MAX_CASES];
    const Kernel *kernel[MAX_CASES];
    int count;
} Cases;

/* Queries, keys and values as pieces of one matrix, (B, T, 3·H·D), or dense. */
static void operands(Case *c, const Shape *s, DType dtype, Value **x) {
    const char *const text[3] = {s->q, s->k, s->v};
    if (!s->side) {
        for (int i = 0; i < 3; i++) x[i] = param(c, dtype, text[i]);
        return;
    }
    Type type = shape(c, dtype, s->q);
    char all[64], heads[64];
    int64_t h = type.dim[1]->value, d = type.dim[3]->value;
    snprintf(all, sizeof all, "B, T, %lld", (long long)(3 * h * d));
    snprintf(heads, sizeof heads, "B, T, 3, %lld, %lld", (long long)h, (long long)d);
    Value *matrix = reshape(c, param(c, dtype, all), heads);
    for (int i = 0; i < 3; i++) {
        Value *part = slice(c, matrix, 2, i, "1", 1);
        snprintf(heads, sizeof heads, "B, T, %lld, %lld", (long long)h, (long long)d);
        x[i] = transpose(c, reshape(c, part, heads), (int[]){0, 2, 1, 3});
    }
}

static void add_case(Cases *cases, const Shape *s, DType dtype, Precision precision, int sm) {
    Case *c = begin_case(SN_CLUSTER_ATTENTION);
    assert_true(cases->count < MAX_CASES);
    sn_target_cuda(&c->target, sm);
    c->target.precision = precision;
    c->target.processors = 4;
    c->tolerance = dtype != SN_F32 ? 4e-3 : precision == SN_PRECISION_HIGHEST ? 4e-6 : 1e-3;
    c->graph->name = sn_arena_printf(c->arena, "%s %s precision %d", s->q, sn_dtype_name(dtype), precision);
    Value *x[4];
    operands(c, s, dtype, x);
    x[3] = s->bias ? param(c, s->masks ? SN_BOOL : dtype, s->bias) : NULL;
    AttrAttention attr = {.scale = s->scale, .causal = s->causal, .zero_rows = s->zero};
    if (s->causal) attr.offset = sn_dim_sub(c->graph->dims, x[1]->type.dim[2], x[0]->type.dim[2]);
    Value *y = sn_build(&c->b, SN_OP_ATTENTION, &attr, s->bias ? 4 : 3, x);
    assert_ok(c->b.status);
    result(c, y);
    cases->at[cases->count] = c;
    cases->kernel[cases->count++] = generate(c);
}

static void run_cases(Fixture *f, Cases *cases, int count, const int64_t (*symbols)[2]) {
    Arena *arena = sn_arena_new();
    Text text = sn_text(arena);
    Map *seen = sn_map_new(arena);
    sn_text_add(&text, "#include \"emulator.h\"\n");
    for (int i = 0; i < cases->count; i++) {
        void **slot = sn_map_at_string(seen, cases->kernel[i]->name);
        if (!*slot)
            sn_text_add(&text, "%s\nEMU_KERNEL(%s)\n", cases->kernel[i]->source, cases->kernel[i]->name);
        *slot = f;
    }
    void *unit = open_unit(f, sn_text_string(&text));
    for (int i = 0; i < cases->count; i++)
        for (int s = 0; s < count; s++)
            check_case(f, cases->at[i], cases->kernel[i], unit, symbols[s],
                       (EmuOrder)((i + s) % EMU_ORDER_COUNT));
    for (int i = 0; i < cases->count; i++) sn_arena_free(cases->at[i]->arena);
    dlclose(unit);
    sn_arena_free(arena);
}

/* ---- tests ---- */

/* Of B and T: few rows; rows and columns that are no multiples of tiles. */
static const int64_t sizes[][2] = {{1, 1}, {2, 9}, {1, 64}, {1, 150}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static const Shape shapes[] = {
    {"B, 2, T, 16", "B, 2, T, 16", "B, 2, T, 16", .scale = 0.25, .side = true},
    {"B, 2, T, 64", "B, 2, T, 64", "B, 2, T, 64", .scale = 0.125, .side = true, .causal = true},
    {"B, 4, T, 20", "B, 2, T + 37, 20", "B, 2, T + 37, 11", "B, 1, 1, T + 37", .scale = 0.25, .causal = true},
    /* The first rows see nothing. */
    {"B, 2, T + 6, 32", "B, 2, T, 32", "B, 2, T, 32", .scale = 0.2, .causal = true},
    {"B, 2, T + 6, 32", "B, 2, T, 32", "B, 2, T, 32", .scale = -0.2, .causal = true, .zero = true},
    {"B, 2, T, 40", "B, 1, T + 3, 40", "B, 1, T + 3, 24", "T, T + 3", .masks = true, .zero = true,
     .scale = 0.2},
};

static void test_kind(Fixture *f, DType dtype, Precision precision) {
    Cases cases = {0};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        add_case(&cases, &shapes[i], dtype, precision, i % 2 ? 89 : 90);
    run_cases(f, &cases, SIZES, sizes);
}

/* Of few rows chunks, which a second round puts together; heads that are too wide for tiles. */
static void few_rows(void **state) {
    static const Shape few[] = {
        {"B, 4, 1, 64", "B, 2, T + 300, 64", "B, 2, T + 300, 64", .scale = 0.125, .causal = true},
        {"B, 6, 3, 20", "B, 1, T + 300, 20", "B, 1, T + 300, 36", "B, 1, 3, T + 300", .scale = 0.2},
        {"B, 1, T, 600", "B, 1, T, 600", "B, 1, T, 520", .scale = 0.05, .zero = true, .causal = true},
    };
    static const DType types[] = {SN_F32, SN_BF16};
    Cases cases = {0};
    for (size_t i = 0; i < sizeof few / sizeof *few; i++)
        for (int t = 0; t < 2; t++) add_case(&cases, &few[i], types[t], SN_PRECISION_HIGHEST, 90);
    run_cases(*state, &cases, 3, sizes);
}

static void products_in_f32(void **state) {
    test_kind(*state, SN_F32, SN_PRECISION_HIGHEST);
}
static void products_in_tf32(void **state) {
    test_kind(*state, SN_F32, SN_PRECISION_HIGH);
}
static void products_in_bf16(void **state) {
    test_kind(*state, SN_BF16, SN_PRECISION_HIGHEST);
}
static void products_in_f16(void **state) {
    test_kind(*state, SN_F16, SN_PRECISION_HIGHEST);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_in_f32),  cmocka_unit_test(products_in_tf32),
        cmocka_unit_test(products_in_bf16), cmocka_unit_test(products_in_f16),
        cmocka_unit_test(few_rows),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
