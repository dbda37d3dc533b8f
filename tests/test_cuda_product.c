/* Products by cuBLASLt: the device's, and those of a plan's launches. */
#include "cuda_fixture.h"
#include "number.h"
#include "onnx_writer.h"
#include "tune.h"
#include <math.h>

enum { MATRICES = 7, AUX = 5, SUM = 6 };

/* A product with every part of its form drawn by lot, beside the same in double precision. */
typedef struct Form {
    LibraryProduct product;
    ProductArguments arguments;
    int64_t size[MATRICES]; /* elements of A, B, C, D, bias, aux, sum */
    float *data[MATRICES], *result[MATRICES];
} Form;

static int64_t draw(uint64_t seed, int *at, int64_t below) {
    ++*at;
    return (int64_t)(sn_random_uniform(seed, (uint64_t)*at) * (double)below);
}

static ProductMatrix draw_matrix(uint64_t seed, int *at, LibraryMatrix *form, int buffer, bool transposed,
                                 int64_t rows, int64_t columns, int64_t batch, int64_t *size) {
    int64_t run = transposed ? rows : columns, runs = transposed ? columns : rows;
    ProductMatrix made = {.offset = 4 * draw(seed, at, 3), .stride = run + 4 * draw(seed, at, 3)};
    made.batch_stride = runs * made.stride + 4 * draw(seed, at, 2);
    *form = (LibraryMatrix){.buffer = buffer, .dtype = SN_F32, .transposed = transposed};
    *size = made.offset + batch * made.batch_stride + 16;
    return made;
}

/* One of the epilogues that training has: an aux that is written, a slope, or the sums of an operand. */
static void draw_training(uint64_t seed, int *at, Form *f) {
    LibraryProduct *product = &f->product;
    ProductArguments *p = &f->arguments;
    bool slope = draw(seed, at, 2), sums = draw(seed, at, 2);
    product->bias.buffer = product->epilogue == SN_LIBRARY_NONE || slope ? -1 : product->bias.buffer;
    if (product->epilogue != SN_LIBRARY_NONE) {
        bool mask = product->epilogue == SN_LIBRARY_RELU;
        int64_t unit = mask ? SN_LIBRARY_MASK_UNIT : SN_LIBRARY_AUX_UNIT;
        product->aux = (LibraryMatrix){.buffer = AUX, .dtype = SN_F32};
        p->aux = (ProductMatrix){.stride = (p->N + unit - 1) / unit * unit};
        f->size[AUX] = p->M * p->aux.stride;
        if (slope) product->epilogue = mask ? SN_LIBRARY_RELU_SLOPE : SN_LIBRARY_GELU_SLOPE;
        product->sum_of = slope && sums ? SN_LIBRARY_SUM_D : SN_LIBRARY_NO_SUM;
    } else {
        product->c.buffer = -1;
        product->sum_of = sums ? SN_LIBRARY_SUM_A : SN_LIBRARY_SUM_B;
    }
    if (!product->sum_of) return;
    product->sum = (LibraryMatrix){.buffer = SUM, .dtype = SN_F32};
    p->sum.offset = 3 * draw(seed, at, 2);
    f->size[SUM] = p->sum.offset + (product->sum_of == SN_LIBRARY_SUM_A ? p->M : p->N);
}

static Form draw_form(uint64_t seed) {
    Form f = {0};
    int at = 0;
    ProductArguments *p = &f.arguments;
    *p = (ProductArguments){.batch = 1 + draw(seed, &at, 3),
                            .M = 1 + draw(seed, &at, 20),
                            .N = 4 * (1 + draw(seed, &at, 5)),
                            .K = 1 + draw(seed, &at, 20)};
    p->a = draw_matrix(seed, &at, &f.product.a, 0, draw(seed, &at, 2), p->M, p->K, p->batch, &f.size[0]);
    p->b = draw_matrix(seed, &at, &f.product.b, 1, draw(seed, &at, 2), p->K, p->N, p->batch, &f.size[1]);
    if (draw(seed, &at, 2)) p->b.batch_stride = 0;
    p->c = draw_matrix(seed, &at, &f.product.c, 2, false, p->M, p->N, p->batch, &f.size[2]);
    p->d = draw_matrix(seed, &at, &f.product.d, 3, false, p->M, p->N, p->batch, &f.size[3]);
    p->bias.offset = 3 * draw(seed, &at, 3); /* less aligned than D */
    f.product.bias = (LibraryMatrix){.buffer = 4, .dtype = SN_F32};
    f.size[4] = p->bias.offset + p->N;
    if (draw(seed, &at, 2)) f.product.c.buffer = -1;
    if (draw(seed, &at, 2)) f.product.bias.buffer = -1;
    f.product.epilogue = (LibraryEpilogue)draw(seed, &at, 3);
    f.product.aux.buffer = f.product.sum.buffer = -1;
    f.size[AUX] = f.size[SUM] = 1;
    if (p->batch == 1) draw_training(seed, &at, &f);
    for (int i = 0; i < MATRICES; i++) {
        f.data[i] = malloc((size_t)f.size[i] * sizeof(float));
        for (int64_t k = 0; k < f.size[i]; k++)
            f.data[i][k] = (float)sn_random_normal(seed + 1000, (uint64_t)(1000 * i + k));
    }
    return f;
}

static double element(const Form *f, int which, const LibraryMatrix *form, const ProductMatrix *at, int64_t b,
                      int64_t r, int64_t c) {
    int64_t place = form->transposed ? c * at->stride + r : r * at->stride + c;
    return f->data[which][at->offset + b * at->batch_stride + place];
}

static double gelu(double x) {
    double cubic = 0.7978845608028654 * (x + 0.044715 * x * x * x);
    return 0.5 * x * (1 + (1 - 2 / (exp(2 * cubic) + 1)));
}

/* *before: without the epilogue's function. */
static double expected(const Form *f, int64_t b, int64_t m, int64_t n, double *before) {
    const ProductArguments *p = &f->arguments;
    double sum = 0;
    for (int64_t k = 0; k < p->K; k++)
        sum += element(f, 0, &f->product.a, &p->a, b, m, k) * element(f, 1, &f->product.b, &p->b, b, k, n);
    if (f->product.c.buffer >= 0) sum += element(f, 2, &f->product.c, &p->c, b, m, n);
    if (f->product.bias.buffer >= 0) sum += f->data[4][p->bias.offset + n];
    *before = sum;
    double h = 1e-4, at = f->product.aux.buffer >= 0 ? f->data[AUX][m * p->aux.stride + n] : 0;
    switch (f->product.epilogue) {
    case SN_LIBRARY_RELU:
    case SN_LIBRARY_RELU_SLOPE: /* of the same product */
        return sum > 0 ? sum : 0;
    case SN_LIBRARY_GELU_TANH:
        return gelu(sum);
    case SN_LIBRARY_GELU_SLOPE:
        return sum * (gelu(at + h) - gelu(at - h)) / (2 * h);
    default:
        return sum;
    }
}

static void compare_element(double wanted, double got, int64_t row, int64_t column) {
    if (!(fabs(got - wanted) <= 1e-4 * (1 + fabs(wanted))))
        fail_msg("%d, %d: %g is not %g", (int)row, (int)column, got, wanted);
}

static void check_sums(const Form *f) {
    const ProductArguments *p = &f->arguments;
    LibrarySum of = f->product.sum_of;
    int64_t count = of == SN_LIBRARY_SUM_A ? p->M : of ? p->N : 0;
    for (int64_t i = 0; i < count; i++) {
        double sum = 0, before;
        for (int64_t k = 0; k < p->K && of != SN_LIBRARY_SUM_D; k++)
            sum += of == SN_LIBRARY_SUM_A ? element(f, 0, &f->product.a, &p->a, 0, i, k)
                                          : element(f, 1, &f->product.b, &p->b, 0, k, i);
        for (int64_t m = 0; m < p->M && of == SN_LIBRARY_SUM_D; m++) sum += expected(f, 0, m, i, &before);
        compare_element(sum, f->result[SUM][p->sum.offset + i], -1, i);
    }
}

static void check_form(Device *device, Form *f) {
    ProductArguments *p = &f->arguments;
    void *buffer[MATRICES], *workspace;
    assert_ok(device->ops->alloc(device, SN_WORKSPACE_BYTES, &workspace));
    for (int i = 0; i < MATRICES; i++) {
        assert_ok(device->ops->alloc(device, f->size[i] * 4, &buffer[i]));
        assert_ok(device->ops->upload(device, buffer[i], f->data[i], f->size[i] * 4));
    }
    LibraryProduct forward = f->product;
    p->buffer = buffer;
    p->workspace = workspace;
    p->workspace_bytes = SN_WORKSPACE_BYTES;
    /* Only the library knows a mask: it is that of the same product. */
    bool done = true, masked = f->product.epilogue == SN_LIBRARY_RELU_SLOPE;
    forward.epilogue = SN_LIBRARY_RELU;
    forward.sum_of = SN_LIBRARY_NO_SUM;
    p->product = &forward;
    if (masked) assert_ok(device->ops->product(device, p, &done));
    p->product = &f->product;
    for (int again = 0; again < 2 && done; again++) assert_ok(device->ops->product(device, p, &done));
    for (int i = 3; i < MATRICES; i++) {
        f->result[i] = malloc((size_t)f->size[i] * sizeof(float));
        assert_ok(device->ops->download(device, f->result[i], buffer[i], f->size[i] * 4));
    }
    bool training = f->product.aux.buffer >= 0 || f->product.sum_of;
    assert_true(done || (on_gpu() && training)); /* of those a real library may lack some */
    for (int64_t b = 0; b < p->batch && done; b++)
        for (int64_t m = 0; m < p->M; m++)
            for (int64_t n = 0; n < p->N; n++) {
                double before, wanted = expected(f, b, m, n, &before);
                compare_element(
                    wanted, f->result[3][p->d.offset + b * p->d.batch_stride + m * p->d.stride + n], m, n);
                if (f->product.epilogue == SN_LIBRARY_GELU_TANH && f->product.aux.buffer >= 0)
                    compare_element(before, f->result[AUX][m * p->aux.stride + n], m, n);
            }
    if (done) check_sums(f);
    for (int i = 0; i < MATRICES; i++) {
        device->ops->free(device, buffer[i], f->size[i] * 4);
        free(f->data[i]);
        free(f->result[i]);
    }
    device->ops->free(device, workspace, SN_WORKSPACE_BYTES);
}

static void products_of_the_library_are_right(void **state) {
    sn_Program *program = open_device(*state);
    assert_true(program->device->ops->library(program->device));
    for (uint64_t seed = 1; seed <= 80; seed++) {
        Form form = draw_form(seed);
        check_form(program->device, &form);
    }
    sn_program_free(program);
}

/* ---- launches by the library ---- */

static const char two_products[] =
    "graph \"products\" stage fused\n"
    "symbol T at_least 1\n"
    "input %0 \"x\": f32[T, 24]\n"
    "%1 \"w\" = constant {tensor = f32[24, 24] recipe 1 scale 0.2 offset 0} : f32[24, 24]\n"
    "%2 = cluster(%0, %1) {kind = contract} {\n"
    "  param %3: f32[T, 24]\n"
    "  param %4: f32[24, 24]\n"
    "  %5 = contract(%3, %4) : f32[T, 24]\n"
    "  return %5\n"
    "} : f32[T, 24] ; group 1\n"
    "%6 = cluster(%2, %1) {kind = contract} {\n"
    "  param %7: f32[T, 24]\n"
    "  param %8: f32[24, 24]\n"
    "  %9 = contract(%7, %8) : f32[T, 24]\n"
    "  %10 = neg(%9) : f32[T, 24]\n"
    "  return %10\n"
    "} : f32[T, 24] ; group 2\n"
    "output %6 \"y\"\n";

/* A kernel of one thread an element i < limit·each of the result y, which `value` is stored to. `limit` is its
 * param. */
static Kernel *write_kernel(Arena *arena, Dim count, Dim limit, int each, int buffers, const char *value,
                            Dim scratch_bytes) {
    char hex[33];
    Kernel *kernel = SN_NEW(arena, Kernel);
    kernel->hash = sn_hash_u64(sn_hash_string((Hash){0}, value), (uint64_t)buffers);
    sn_hash_hex(kernel->hash, hex);
    kernel->name = sn_arena_printf(arena, "k_%s", hex);
    kernel->source = sn_arena_printf(
        arena,
        "struct %sArgs { void *buffer[%d]; long long symbol[1]; int *fault; long long first; };\n"
        "extern \"C\" __global__ void %s(const __grid_constant__ %sArgs args) {\n"
        "    long long i = args.first + blockIdx.x;\n"
        "    const float *x = (const float *)args.buffer[0], *w = (const float *)args.buffer[1];\n"
        "    float *y = (float *)args.buffer[2], *scratch = (float *)args.buffer[%d], sum = 0;\n"
        "    if (i < args.symbol[0] * %d) for (int k = 0; k < 24; k++) sum += x[i / 24 * 24 + k] * w[k * 24 "
        "+ i "
        "%% 24];\n"
        "    if (i < args.symbol[0] * %d) y[i] = %s;\n"
        "    (void)scratch;\n"
        "}\n",
        kernel->name, buffers, kernel->name, kernel->name, buffers - 1, each, each, value);
    Dim *param = SN_NEW(arena, Dim), *bytes = SN_NEW(arena, Dim);
    *param = limit;
    *bytes = scratch_bytes;
    kernel->input_count = 2;
    kernel->output_count = 1;
    kernel->scratch_count = buffers - 3;
    kernel->scratch_bytes = bytes;
    kernel->param_count = 1;
    kernel->param = param;
    kernel->items = count;
    kernel->threads = 1;
    return kernel;
}

static Status write_product(Arena *arena, Dims *dims, const Node *cluster, const Target *target,
                            Kernel **out) {
    (void)target;
    Dim rows = cluster->input[0]->type.dim[0], width = sn_dim(dims, 24), none = sn_dim(dims, 0);
    Dim count = sn_dim_mul(dims, rows, width), bytes = sn_dim_mulc(dims, count, 4);
    bool negates = cluster->body->result.at[0]->producer->op == SN_OP_NEG;
    int buffers = negates ? 4 : 3;
    LibraryMatrix a = {.dtype = SN_F32, .offset = none, .stride = width, .batch_stride = none}, b = a, d = a;
    b.buffer = 1;
    d.buffer = buffers - 1;
    LibraryProduct *product = SN_NEW(arena, LibraryProduct);
    *product =
        (LibraryProduct){.batch = sn_dim(dims, 1), .M = rows, .N = width, .K = width, .a = a, .b = b, .d = d};
    product->c.buffer = product->bias.buffer = product->aux.buffer = product->sum.buffer = -1;
    *out = write_kernel(arena, count, rows, 24, buffers, negates ? "-sum" : "sum", bytes);
    (*out)->library = product;
    if (negates) (*out)->rest = write_kernel(arena, count, count, 1, buffers, "-scratch[i]", bytes);
    return NULL;
}

static sn_Program *make_products(const char *cache, bool eager) {
    sn_Program *program = open_device(cache);
    Plan *plan;
    assert_ok(sn_plan_new(program->arena, parse_fused(program->arena, two_products), &program->device->target,
                          eager, write_product, &plan));
    assert_ok(sn_program_load(program, plan));
    return program;
}

static Status run_rows(sn_Context *context, int64_t rows, uint64_t seed, float *x) {
    for (int64_t i = 0; i < rows * 24; i++) x[i] = (float)sn_random_normal(seed, (uint64_t)i);
    assert_ok(set_f32(context, 0, 2, (int64_t[]){rows, 24}, x));
    return sn_context_run(context);
}

static void compare_rows(const sn_Context *context, int64_t rows, const float *x) {
    compare_with(context->program->plan->graph, context, 2, (int64_t[]){rows, 24}, x);
}

/* From 16 rows on, and with what the library does not do behind it; directly, recorded and replayed. */
static void many_rows_are_the_librarys(void **state) {
    float x[40 * 24];
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = make_products(*state, eager);
        sn_Context *context = make_context(program, 0);
        for (int64_t rows = 15; rows <= 40; rows += rows == 15 ? 1 : 24)
            for (int run = 0; run < 4; run++) {
                assert_ok(run_rows(context, rows, (uint64_t)run, x));
                compare_rows(context, rows, x);
            }
        for (int64_t rows = 14; rows <= 17 && !on_gpu(); rows += 3) {
            plant("product=2");
            Status status = run_rows(context, rows, 9, x);
            if (rows < 16) assert_ok(status);
            if (rows >= 16)
                assert_fails(status, SN_NO_MEMORY,
                             "a product of 17 x 24 x 24 by the library: cublasLtMatmul");
            plant("");
            assert_ok(sn_context_run(context));
            compare_rows(context, rows, x);
        }
        sn_context_free(context);
        sn_program_free(program);
    }
}

/* The kernels do what the library has no algorithm for, and it is not asked again. */
static void what_the_library_lacks_is_the_kernels(void **state) {
    static const char *const lacking[] = {"heuristic=1,product=1", "heuristic=1,heuristic_code=7,product=1"};
    float x[23 * 24];
    if (on_gpu()) skip();
    sn_Program *program = make_products(*state, false);
    sn_Context *context = make_context(program, 0);
    for (int i = 0; i < 2; i++) {
        plant(lacking[i]);
        for (int run = 0; run < 3; run++) {
            assert_ok(run_rows(context, 20 + i, (uint64_t)run, x));
            compare_rows(context, 20 + i, x);
        }
    }
    plant("heuristic=1,heuristic_code=1");
    assert_fails(run_rows(context, 23, 1, x), SN_DEVICE, "cublasLtMatmulAlgoGetHeuristic gave 1");
    plant("");
    sn_context_free(context);
    sn_program_free(program);
}

/* ---- tuning ---- */

/* Lines "ROWS WITH WAY" for the products of `two_products`. */
static void apply_lines(sn_Program *program, int count, const char *const (*line)[3]) {
    Text text = sn_text(program->arena);
    Target *target = &program->device->target;
    Tuning *tuning;
    for (int i = 0; i < count; i++)
        sn_text_add(&text, "%s product f32 f32 nn rows=%s n=24 k=24 batch=1 with=%s way=%s\n",
                    sn_tuning_machine(program->arena, target), line[i][0], line[i][1], line[i][2]);
    assert_ok(sn_tuning_parse(program->arena, "t", sn_text_string(&text), &tuning));
    sn_tuning_apply(target, tuning);
}

/* Of the library's algorithms 0, 2 and 3 can be used, and some are refused, so that it is seen who computes. */
static void tuning_decides_who_computes(void **state) {
    static const char *const line[][3] = {
        {"32", "none", "kernel"}, {"32", "rest", "library algo=1"}, {"16", "none", "library algo=2"}};
    static const char *const lacking[][3] = {{"32", "none", "library algo=7"}, {"32", "rest", "kernel"}};
    float x[20 * 24];
    if (on_gpu()) skip();
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = make_products(*state, eager);
        apply_lines(program, 3, line);
        sn_Context *context = make_context(program, 0);
        for (int64_t rows = 14; rows <= 20; rows += 6) {
            plant("refused_algorithm=0");
            assert_ok(run_rows(context, rows, 1, x));
            compare_rows(context, rows, x);
            plant(rows == 20 ? "refused_algorithm=2" : "refused_algorithm=3");
            assert_fails(run_rows(context, rows, 1, x), SN_DEVICE, "by the library: cublasLtMatmul gave 15");
        }
        sn_context_free(context);
        apply_lines(program, 2, lacking);
        context = make_context(program, 0);
        plant("refused_algorithm=0"); /* the first is taken where there is no eighth */
        assert_fails(run_rows(context, 20, 1, x), SN_DEVICE, "NOT_SUPPORTED");
        plant("");
        assert_ok(run_rows(context, 20, 1, x));
        compare_rows(context, 20, x);
        sn_context_free(context);
        sn_program_free(program);
    }
}

/* y = relu(x (rows, 16) * w (16, 24) + b) */
static sn_Model *product_model(Arena *arena, const char *folder) {
    static const char *const dims[2] = {"rows", ""};
    static const int64_t x[2] = {-1, 16}, y[2] = {-1, 24}, w[2] = {16, 24}, b[1] = {24};
    Writer *writer = sn_writer_new(arena, "product", 17);
    sn_Model *model;
    sn_writer_input(writer, "x", SN_F32, 2, x, dims);
    sn_writer_op2(writer, "MatMul", "xw", "x", sn_writer_weight(writer, "w", SN_F32, 2, w, 1, 0));
    sn_writer_op2(writer, "Add", "sum", "xw", sn_writer_weight(writer, "b", SN_F32, 1, b, 1, 0));
    sn_writer_op1(writer, "Relu", "y", "sum");
    sn_writer_output(writer, "y", SN_F32, 2, y, dims);
    const char *path = sn_arena_printf(arena, "%s/product.onnx", folder);
    assert_ok(sn_writer_save(writer, path, false, NULL, NULL));
    assert_ok(sn_model_open(path, &model));
    return model;
}

static bool has_wide_tiles(const sn_Model *model, const Tuning *tuning) {
    sn_CompileOptions options = {.size = sizeof options, .device = "cuda", .threads = 1};
    SessionOptions session = {.tuning = tuning};
    sn_Program *program;
    bool wide = false;
    assert_ok(sn_session_compile(model, &options, &session, &program));
    for (int i = 0; i < program->plan->kernel_count; i++)
        wide |= strstr(program->plan->kernel[i]->source, "sn_gemm_tile<128, 128>(") != NULL;
    sn_program_free(program);
    return wide;
}

/* Every way is launched; which is the quickest is a matter of luck here. */
static void tuning_measures_products(void **state) {
    Arena *arena = sn_arena_new();
    setenv("SINTER_CACHE", *state, 1);
    sn_Model *model = product_model(arena, *state);
    Inputs inputs;
    ShapeSpec shape = {"rows", 1, {40}};
    InputRequest wanted = {.shape_count = 1, .shape = &shape};
    assert_ok(sn_inputs_make(arena, model->graph, &wanted, &inputs));
    TuneRequest request = {.model = model, .inputs = &inputs, .device = "cuda", .threads = 1, .iters = 1};
    Tuning *tuning = sn_tuning_new(arena), *again;
    Table table = sn_tune_table(true);
    assert_ok(sn_tune_products(arena, &request, tuning, &table));
    assert_int_equal(table.row.count, 1);
    const Cell *row = table.row.at[0];
    assert_string_equal(row[0].text, "f32 f32 nn rows=64 n=24 k=16 batch=1 with=bias+relu");
    for (int i = 2; i < 6; i++) assert_true(row[i].number > 0 && isfinite(row[i].number));
    Text text = sn_text(arena);
    sn_tuning_print(&text, tuning);
    assert_ok(sn_tuning_parse(arena, "t", sn_text_string(&text), &again));
    /* A kernel that is to compute has a form for many rows, which one beside the library lacks. */
    assert_false(has_wide_tiles(model, sn_tuning_new(arena)));
    Target target;
    sn_target_cuda(&target, 90);
    target.processors = 4;
    ProductKey key = {SN_F32, SN_F32, .batch = 1, .rows = 64, .N = 24, .K = 16};
    sn_tuning_set_product(arena, tuning, &target, &key, (ProductWay){false, 0}, "");
    if (!on_gpu()) assert_true(has_wide_tiles(model, tuning));
    if (!on_gpu()) {
        plant("refused_algorithm=3");
        assert_fails(sn_tune_products(arena, &request, tuning, &table), SN_DEVICE, "NOT_SUPPORTED");
        plant("");
    }
    unsetenv("SINTER_CACHE");
    sn_model_close(model);
    sn_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_the_library_are_right),
        cmocka_unit_test(many_rows_are_the_librarys),
        cmocka_unit_test(what_the_library_lacks_is_the_kernels),
        cmocka_unit_test(tuning_decides_who_computes),
        cmocka_unit_test(tuning_measures_products),
    };
    return cmocka_run_group_tests(tests, use_libraries, remove_cache);
}
