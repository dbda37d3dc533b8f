/* Attention in CUDA text, run on the emulator: equal to the interpreter for
 * random shapes, every kind of mask and every kind of product, in several
 * orders of the threads. */
#include "codegen_fixture.h"
#include "emulator/launch.h"

enum { MAX_CASES = 16 };

typedef struct Fixture {
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
    dlclose(f->emulator);
    free(f);
    return 0;
}

/* Kernels with the calls for the check of accesses. */
static void *open_unit(const char *text) {
    Arena *arena = sn_arena_new();
    void *unit = dlopen(emulated_object(arena, text), RTLD_NOW);
    if (!unit) fail_msg("%s", dlerror());
    sn_arena_free(arena);
    return unit;
}

/* ---- running ---- */

static int64_t value_of(Dim dim, const int64_t *symbols) {
    int64_t value = 0;
    if (dim) assert_ok(sn_dim_eval(dim, symbols, NULL, &value));
    return value;
}

/* The launch of `items` blocks, and that of the blocks `after` them. False when
 * the emulator found something, which it says in `message`. */
static bool launch_kernel(Fixture *f, const Kernel *kernel, void *call, const int64_t *symbols,
                          EmuOrder order, uint64_t *words, int count, char *message) {
    int64_t items = value_of(kernel->items, symbols), after = value_of(kernel->after, symbols);
    int *fault = f->alloc(sizeof *fault);
    bool ran = true;
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
        ran = ran && (!launch.grid[0] || f->launch(&launch) == 0);
        if (launch.message[0]) strcpy(message, launch.message);
    }
    assert_int_equal(*fault, 0);
    f->release(fault);
    return ran;
}

static void *must_alloc(Fixture *f, size_t bytes) {
    void *buffer = f->alloc(bytes);
    assert_non_null(buffer);
    return buffer;
}

/* A kernel's run on random inputs, and what the interpreter makes of them. */
typedef struct Trial {
    Fixture *f;
    Case *c;
    const Kernel *kernel;
    const int64_t *symbols;
    EmuOrder order;
    void *buffer[32];
    int count; /* of buffers: inputs, outputs, scratch */
    Array **truth;
    bool ran;
    char message[256];
} Trial;

static void make_buffers(Trial *t) {
    const Region *body = t->c->graph->body;
    Array **inputs = SN_ARRAY(t->c->arena, Array *, body->param.count);
    for (int i = 0; i < body->param.count; i++) {
        inputs[i] = random_input(t->c, body->param.at[i], t->symbols, (uint64_t)i + 1);
        void *bytes = bytes_of(inputs[i]);
        size_t size = (size_t)(inputs[i]->count * sn_dtype_bytes(inputs[i]->dtype));
        memcpy(t->buffer[t->count++] = must_alloc(t->f, size), bytes, size);
        free(bytes);
    }
    t->truth = SN_ARRAY(t->c->arena, Array *, body->result.count);
    assert_ok(sn_eval_graph(t->c->arena, t->c->graph, false, (const Array *const *)inputs, t->truth));
    for (int i = 0; i < body->result.count; i++) {
        size_t size = (size_t)(t->truth[i]->count * sn_dtype_bytes(t->truth[i]->dtype));
        t->buffer[t->count++] = must_alloc(t->f, size);
    }
    for (int i = 0; i < t->kernel->scratch_count; i++)
        t->buffer[t->count++] = must_alloc(t->f, (size_t)value_of(t->kernel->scratch_bytes[i], t->symbols));
}

static void run_trial(Trial *t, void *unit) {
    uint64_t words[64];
    make_buffers(t);
    for (int i = 0; i < t->count; i++) words[i] = (uint64_t)(uintptr_t)t->buffer[i];
    for (int i = 0; i < t->kernel->param_count; i++)
        words[t->count + i] = (uint64_t)value_of(t->kernel->param[i], t->symbols);
    void *call = find(unit, sn_arena_printf(t->c->arena, "%s_call", t->kernel->name));
    t->ran = launch_kernel(t->f, t->kernel, call, t->symbols, t->order, words,
                           t->count + t->kernel->param_count, t->message);
}

static void free_buffers(Trial *t) {
    for (int i = 0; i < t->count; i++) t->f->release(t->buffer[i]);
}

static void check_case(Fixture *f, Case *c, const Kernel *kernel, void *unit, const int64_t *symbols,
                       EmuOrder order) {
    const Region *body = c->graph->body;
    Trial t = {.f = f, .c = c, .kernel = kernel, .symbols = symbols, .order = order};
    char what[160];
    snprintf(what, sizeof what, "%s, symbols %d %d, order %d", c->graph->name, (int)symbols[0],
             (int)symbols[1], (int)order);
    run_trial(&t, unit);
    if (!t.ran) fail_msg("%s: %s", what, t.message);
    for (int i = 0; i < body->result.count; i++)
        compare(c, t.truth[i], t.buffer[body->param.count + i], what);
    free_buffers(&t);
}

/* ---- cases ---- */

/* `bias`: its shape, or NULL; `masks`: it is of bools; `lowest`: see
 * lowest_where(). `causal`: with the offset that makes the last row see all.
 * `sums`: with the logarithms of the rows' sums. `side`: see operands(). `same`:
 * all keys of a head are one. */
typedef struct Shape {
    const char *q, *k, *v, *bias;
    bool masks, lowest, causal, zero, side, sums, same;
    double scale, cap;
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
        if (s->same) {
            Type all = x[1]->type;
            x[1] = sn_build_expand(&c->b, slice(c, x[1], 2, 0, "1", 1), all.rank, all.dim);
        }
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

/* A mask as models have it that add one: zeros, and the lowest number there is.
 */
static Value *lowest_where(Case *c, DType dtype, const char *extents) {
    Value *masked = param(c, SN_BOOL, extents);
    double lowest = dtype == SN_F32 ? -0x1.fffffep127 : -0x1.fep127;
    const double number[2] = {lowest, 0};
    Value *each[2];
    for (int i = 0; i < 2; i++)
        each[i] = sn_build_expand(&c->b, sn_build_scalar(&c->b, dtype, number[i]), masked->type.rank,
                                  masked->type.dim);
    return sn_build3(&c->b, SN_OP_WHERE, NULL, masked, each[0], each[1]);
}

/* The node with its second output too. */
static Node *with_sums(Case *c, Node *one) {
    Node *two = sn_node_new(c->graph, SN_OP_ATTENTION, one->attr, one->input_count, one->input, 2);
    assert_ok(sn_infer_node(c->graph, two));
    sn_node_insert_before(two, one);
    sn_node_remove(one);
    return two;
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
    x[3] = !s->bias    ? NULL
           : s->lowest ? lowest_where(c, dtype, s->bias)
                       : param(c, s->masks ? SN_BOOL : dtype, s->bias);
    AttrAttention attr = {.scale = s->scale, .causal = s->causal, .zero_rows = s->zero, .softcap = s->cap};
    if (s->causal) attr.offset = sn_dim_sub(c->graph->dims, x[1]->type.dim[2], x[0]->type.dim[2]);
    Node *node = sn_build(&c->b, SN_OP_ATTENTION, &attr, s->bias ? 4 : 3, x)->producer;
    assert_ok(c->b.status);
    if (s->sums) node = with_sums(c, node);
    for (int i = 0; i < node->output_count; i++) result(c, node->output[i]);
    cases->at[cases->count] = c;
    cases->kernel[cases->count++] = generate(c);
}

/* The gradients, from statistics of any kind and rows whose maximum is −∞;
 * `stores`: a bit for each. */
static void add_gradients(Cases *cases, const Shape *s, DType dtype, Precision precision, int stores) {
    Case *c = begin_case(SN_CLUSTER_ATTENTION);
    assert_true(cases->count < MAX_CASES);
    sn_target_cuda(&c->target, stores == 7 ? 90 : 86);
    c->target.precision = precision;
    c->tolerance = dtype != SN_F32 ? 6e-3 : precision == SN_PRECISION_HIGHEST ? 4e-6 : 1e-3;
    c->graph->name =
        sn_arena_printf(c->arena, "gradients of %s %s precision %d", s->q, sn_dtype_name(dtype), precision);
    Value *x[7];
    operands(c, s, dtype, x);
    Type row = {SN_F32, 4, SN_ARRAY(c->arena, Dim, 4)}, slope = {dtype, 4, SN_ARRAY(c->arena, Dim, 4)};
    memcpy((Dim *)row.dim, x[0]->type.dim, 4 * sizeof(Dim)),
        memcpy((Dim *)slope.dim, row.dim, 4 * sizeof(Dim));
    ((Dim *)row.dim)[3] = sn_dim(c->graph->dims, 2), ((Dim *)slope.dim)[3] = x[2]->type.dim[3];
    x[3] = param_of(c, slope);
    Value *any = param_of(c, row);
    Value *seen =
        two(c, SN_OP_LESS, slice(c, any, 3, 0, "1", 1), number(c, 0.9, slice(c, any, 3, 0, "1", 1)));
    x[4] = sn_build3(&c->b, SN_OP_WHERE, NULL, spread(c, seen, any), any, number(c, -INFINITY, any));
    x[5] = slice(c, param_of(c, row), 3, 0, "1", 1);
    if (s->bias) x[6] = param(c, s->masks ? SN_BOOL : dtype, s->bias);
    AttrAttention attr = {.scale = s->scale, .causal = s->causal, .softcap = s->cap};
    if (s->causal) attr.offset = sn_dim_sub(c->graph->dims, x[1]->type.dim[2], x[0]->type.dim[2]);
    Node *node = sn_build(&c->b, SN_OP_ATTENTION_BACKWARD, &attr, s->bias ? 7 : 6, x)->producer;
    assert_ok(c->b.status);
    if (stores & 1) result(c, transpose(c, node->output[0], (int[]){0, 2, 1, 3}));
    for (int k = 1; k < 3; k++)
        if (stores >> k & 1) result(c, node->output[k]);
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
    void *unit = open_unit(sn_text_string(&text));
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
    {"B, 2, T, 64", "B, 2, T, 64", "B, 2, T, 64", .scale = 0.125, .side = true, .causal = true, .sums = true},
    {"B, 4, T, 20", "B, 2, T + 37, 20", "B, 2, T + 37, 11", "B, 1, 1, T + 37", .scale = 0.25, .cap = 0.8,
     .causal = true},
    /* The first rows see nothing. */
    {"B, 2, T + 6, 32", "B, 2, T, 32", "B, 2, T, 32", .scale = 0.2, .causal = true},
    {"B, 2, T + 6, 32", "B, 2, T, 32", "B, 2, T, 32", .scale = -0.2, .causal = true, .zero = true,
     .sums = true},
    {"B, 2, T, 40", "B, 1, T + 3, 40", "B, 1, T + 3, 24", "T, T + 3", .masks = true, .zero = true,
     .scale = 0.2, .cap = 0.5},
};

enum { SHAPES = sizeof shapes / sizeof *shapes };

/* The first `count` shapes. */
static void test_kind(Fixture *f, DType dtype, Precision precision, size_t count) {
    Cases cases = {0};
    for (size_t i = 0; i < count; i++) add_case(&cases, &shapes[i], dtype, precision, i % 2 ? 89 : 90);
    run_cases(f, &cases, SIZES, sizes);
}

/* Large scores that are equal give the mean of the values, over however many tiles
 * they are added up and however products are rounded: few rows, and many. */
static void equal_scores_weigh_the_same(void **state) {
    static const Shape same = {"B, 2, T, 16", "B, 2, T + 900, 16", "B, 2, T + 900, 16", .same = true,
                               .scale = 1e4};
    static const int64_t few_and_many[][2] = {{1, 1}, {1, 40}};
    Cases cases = {0};
    add_case(&cases, &same, SN_F32, SN_PRECISION_HIGHEST, 90);
    run_cases(*state, &cases, 2, few_and_many);
}

/* In f32 and TF32 with grouped heads; so wide in f32 that what streams is not
 * on its way meanwhile; rows that see nothing. */
static void gradients(void **state) {
    static const Shape wide = {"B, 1, T + 6, 100", "B, 1, T, 100", "B, 1, T, 100", .scale = 0.1,
                               .causal = true};
    Cases cases = {0};
    add_gradients(&cases, &shapes[1], SN_BF16, SN_PRECISION_HIGHEST, 7);
    add_gradients(&cases, &shapes[2], SN_F32, SN_PRECISION_HIGHEST, 7);
    add_gradients(&cases, &shapes[2], SN_F32, SN_PRECISION_HIGH, 7);
    add_gradients(&cases, &wide, SN_F32, SN_PRECISION_HIGHEST, 6);
    add_gradients(&cases, &shapes[4], SN_F16, SN_PRECISION_HIGHEST, 3);
    add_gradients(&cases, &shapes[5], SN_BF16, SN_PRECISION_HIGHEST, 5);
    run_cases(*state, &cases, SIZES, sizes);
}

/* Of few rows chunks, which a second round puts together; heads that are too
 * wide for tiles. */
static void few_rows(void **state) {
    static const Shape few[] = {
        {"B, 4, 1, 64", "B, 2, T + 300, 64", "B, 2, T + 300, 64", .scale = 0.125, .causal = true,
         .sums = true, .cap = 1.5},
        {"B, 6, 3, 20", "B, 1, T + 300, 20", "B, 1, T + 300, 36", "B, 1, 3, T + 300", .scale = 0.2},
        {"B, 1, T, 600", "B, 1, T, 600", "B, 1, T, 520", .scale = 0.05, .zero = true, .causal = true},
    };
    static const DType types[] = {SN_F32, SN_BF16};
    Cases cases = {0};
    for (size_t i = 0; i < sizeof few / sizeof *few; i++)
        for (int t = 0; t < 2; t++) add_case(&cases, &few[i], types[t], SN_PRECISION_HIGHEST, 90);
    run_cases(*state, &cases, 3, sizes);
}

/* Rows of which all is masked see all columns alike, and what is masked in a
 * row takes no part in it. */
static void lowest_numbers(void **state) {
    static const Shape lowest[] = {
        {"B, 4, 2, 64", "B, 2, T + 300, 64", "B, 2, T + 300, 64", "B, 1, 1, T + 300", .scale = 0.125},
        {"B, 2, T, 16", "B, 2, T, 16", "B, 2, T, 16", "B, 1, T, 1", .scale = 0.25, .sums = true},
    };
    static const DType types[] = {SN_F32, SN_BF16};
    Cases cases = {0};
    for (int i = 0; i < 4; i++) {
        Shape s = lowest[i / 2];
        s.lowest = true;
        add_case(&cases, &s, types[i % 2], SN_PRECISION_HIGHEST, 90);
    }
    run_cases(*state, &cases, SIZES, sizes);
}

static void products_in_f32(void **state) {
    test_kind(*state, SN_F32, SN_PRECISION_HIGHEST, SHAPES);
}
static void products_in_tf32(void **state) {
    test_kind(*state, SN_F32, SN_PRECISION_HIGH, SHAPES);
}
static void products_in_bf16(void **state) {
    test_kind(*state, SN_BF16, SN_PRECISION_HIGHEST, SHAPES);
}
static void products_in_f16(void **state) {
    test_kind(*state, SN_F16, SN_PRECISION_HIGHEST, 3);
}

/* A fault planted in the text: `from` becomes `to` behind the place that
 * `behind` says. */
typedef struct Fault {
    DType dtype;
    const char *behind, *from, *to;
} Fault;

static const char *plant(Arena *arena, const char *text, const Fault *fault) {
    const char *at = strstr(text, fault->behind);
    if (at) at = strstr(at, fault->from);
    if (!at) fail_msg("no %s behind %s", fault->from, fault->behind);
    return sn_arena_printf(arena, "%.*s%s%s", (int)(at - text), text, fault->to, at + strlen(fault->from));
}

/* The emulator complains, or the result is wrong. */
static bool is_noticed(Fixture *f, const Fault *fault) {
    static const Shape s = {"B, 2, T, 16", "B, 2, T, 16", "B, 2, T, 16", .scale = 0.25, .causal = true};
    Cases cases = {0};
    add_case(&cases, &s, fault->dtype, SN_PRECISION_HIGHEST, 80);
    Case *c = cases.at[0];
    Trial t = {.f = f, .c = c, .kernel = cases.kernel[0], .symbols = sizes[SIZES - 1], .order = EMU_FORWARD};
    void *unit = open_unit(sn_arena_printf(c->arena, "#include \"emulator.h\"\n%s\nEMU_KERNEL(%s)\n",
                                           plant(c->arena, t.kernel->source, fault), t.kernel->name));
    run_trial(&t, unit);
    Tensor got = {
        .dtype = fault->dtype, .count = t.truth[0]->count, .payload = SN_PAYLOAD_BYTES, .bytes = t.buffer[3]};
    bool noticed = !t.ran;
    for (int64_t i = 0; i < got.count && !noticed; i++)
        noticed = !(fabs(sn_tensor_get(&got, i) - t.truth[0]->f[i]) < 0.05);
    free_buffers(&t);
    dlclose(unit);
    sn_arena_free(c->arena);
    return noticed;
}

static void planted_faults_are_noticed(void **state) {
    static const Fault faults[] = {
        {SN_BF16, "Layout::multiply(queries", "sn_copy_wait(0);", ""},
        {SN_BF16, "Layout::multiply(queries", "__syncthreads();", ""},
        {SN_BF16, "const bool sees =", "__syncthreads();", ""},
        {SN_F32, "void gather(", "__syncwarp();", ""},
        {SN_F32, "void sn_attention_settle(", "p.offset + 1 - j", "p.offset - j"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        if (!is_noticed(*state, &faults[i])) fail_msg("fault %d is not noticed", (int)i);
}

static int64_t draw(uint64_t *at, int64_t from, int64_t to) {
    return from + (int64_t)(sn_random_uniform(11, (*at)++) * (double)(to - from + 1));
}

static void random_heads(void **state) {
    static const DType types[] = {SN_F32, SN_F32, SN_BF16, SN_F16};
    static const char *const biases[] = {NULL, "1, 1, T, %s", "B, 1, 1, %s", "B, %d, T, %s"};
    Arena *arena = sn_arena_new();
    Cases cases = {0};
    uint64_t at = 0;
    for (int i = 0; i < 4; i++) {
        int kv = (int)draw(&at, 1, 2), heads = kv * (int)draw(&at, 1, 3), D = (int)draw(&at, 1, 100);
        const char *columns = sn_arena_printf(arena, "T + %d", (int)draw(&at, 0, 99));
        const char *bias = biases[draw(&at, 0, 3)];
        Shape s = {.scale = 1 / sqrt(D), .causal = draw(&at, 0, 1), .masks = draw(&at, 0, 1)};
        s.q = sn_arena_printf(arena, "B, %d, T, %d", heads, D);
        s.k = sn_arena_printf(arena, "B, %d, %s, %d", kv, columns, D);
        s.v = sn_arena_printf(arena, "B, %d, %s, %d", kv, columns, (int)draw(&at, 1, 100));
        if (bias)
            s.bias = bias == biases[3]
                         ? sn_arena_printf(arena, biases[3], heads, columns)
                         : sn_arena_printf(arena, bias == biases[1] ? biases[1] : biases[2], columns);
        add_case(&cases, &s, types[i % 4], i % 4 == 1 ? SN_PRECISION_MEDIUM : SN_PRECISION_HIGHEST, 80);
    }
    run_cases(*state, &cases, 3, sizes + 1);
    sn_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_scores_weigh_the_same),
        cmocka_unit_test(gradients),
        cmocka_unit_test(products_in_f32),
        cmocka_unit_test(products_in_tf32),
        cmocka_unit_test(products_in_bf16),
        cmocka_unit_test(products_in_f16),
        cmocka_unit_test(few_rows),
        cmocka_unit_test(lowest_numbers),
        cmocka_unit_test(random_heads),
        cmocka_unit_test(planted_faults_are_noticed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
