/* Tuning files: their text, what is refused, and that kernels follow them and stay right. */
#include "fixture.h"
#include "onnx_writer.h"
#include "saved_facts.h"
#include "session.h"
#include "tune.h"
#include "tuning_file.h"

#include <math.h>
#include <stdio.h>

enum { M = 37, N = 200, K = 96 };

typedef struct Fixture {
    char folder[64];
    Arena *arena;
    float x[M * K];
} Fixture;

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof *f);
    if (make_test_folder(f->folder)) return -1;
    f->arena = sn_arena_new();
    for (int i = 0; i < M * K; i++) f->x[i] = (float)(i * 7919 % 1009) / 504.5F - 1;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    sn_arena_free(f->arena);
    int failed = remove_test_folder(f->folder);
    free(f);
    return failed;
}

/* ---- text ---- */

static const char sorted[] =
    "cpu/32/16/512 gemm f32 n=200 k=96 tile=4x2 heights=2 piece=64\n"
    "cpu/64/32/1024 facts dot_percent=100 stream_bytes=0 # measured elsewhere\n"
    "cpu/64/32/1024 gemm bf16 n=200 k=96 tile=8x3 heights=8 piece=32\n"
    "cpu/64/32/1024 gemm f32 n=200 k=96 tile=14x2 heights=4 piece=96 # 1.5 ms\n"
    "cpu/64/32/1024 gemm f32 n=768 k=96 tile=8x3 heights=8 piece=768\n"
    "cuda/80/108 product bf16 f32 nt rows=1024 n=768 k=3072 batch=1 with=bias+gelu+aux way=library algo=3 # "
    "9 "
    "us\n"
    "cuda/90/132 facts walk_waves=0\n"
    "cuda/90/132 product f32 f32 nn rows=16 n=768 k=768 batch=12 with=none way=kernel\n"
    "cuda/90/132 product tf32 f32 tn rows=16 n=768 k=768 batch=12 with=add+rest way=library algo=0\n";

static void text_is_read_and_printed(void **state) {
    Fixture *f = *state;
    static const char shuffled[] =
        "# all of them\n\n"
        "cuda/90/132 product tf32 f32 tn rows=16 n=768 k=768 batch=12 with=add+rest way=library algo=0\n"
        "cuda/90/132 product f32 f32 nn rows=16 n=768 k=768 batch=12 with=none way=kernel\n"
        "cuda/80/108 product bf16 f32 nt rows=1024 n=768 k=3072 batch=1 with=bias+gelu+aux way=library "
        "algo=3 # "
        "9 us\n"
        "cpu/64/32/1024 gemm bf16 n=200 k=96 tile=8x3 heights=8 piece=32  \n"
        "cpu/64/32/1024 gemm f32 n=768 k=96 tile=8x3 heights=8 piece=768 #\n"
        "cpu/64/32/1024 gemm f32 n=200 k=96 tile=14x2 heights=4 piece=96 # 1.5 ms\r\n"
        "   # a comment behind blanks\n"
        "cuda/90/132 facts walk_waves=0\n"
        "cpu/32/16/512 gemm f32 n=200 k=96 tile=4x2 heights=2 piece=64\n"
        "cpu/64/32/1024 facts dot_percent=100 stream_bytes=0 #measured elsewhere";
    const char *const texts[] = {sorted, shuffled};
    for (int i = 0; i < 2; i++) {
        Tuning *tuning;
        assert_ok(sn_tuning_parse(f->arena, "t", texts[i], &tuning));
        Text text = sn_text(f->arena);
        sn_tuning_print(&text, tuning);
        assert_string_equal(sn_text_string(&text), sorted);
    }
}

static void mistakes_have_a_line(void **state) {
    Fixture *f = *state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"gemm f32 n=1 k=1 tile=8x3 heights=8 piece=32\n", "t:1: it does not begin with"},
        {"\n# x\ncpu/64/32/1024 gem f32\n", "t:3: neither"},
        {"cpu/64/32/1024gemm f32 n=1 k=1 tile=8x3 heights=8 piece=32\n", "t:1: it does not begin with"},
        {"cpu/64/32/1024 gemm f32 n=1 k=1 tile=8x3 heights=8\n", "t:1: not 'gemm"},
        {"cpu/64/32/1024 gemm f32 n=1 k=1 tile=8x3 heights=8 piece=32 more\n", "t:1: not 'gemm"},
        {"cpu/64/32/1024 gemm f99 n=1 k=1 tile=8x3 heights=8 piece=32\n", "t:1: no such element type"},
        {"cpu/64/32/1024 gemm f32 n=0 k=1 tile=8x3 heights=8 piece=32\n", "t:1: n and k"},
        {"cpu/64/32/1024 gemm f32 n=1 k=1 tile=17x1 heights=8 piece=32\n", "t:1: a tile has"},
        {"cpu/64/16/1024 gemm f32 n=1 k=1 tile=8x3 heights=8 piece=32\n", "t:1: the tile"},
        {"cpu/64/32/1024 gemm f32 n=1 k=1 tile=8x3 heights=0 piece=32\n", "t:1: heights"},
        {"cpu/64/32/1024 gemm f32 n=1 k=1 tile=8x3 heights=8 piece=33\n", "t:1: a piece"},
        {"cpu/64/32/1024 gemm f32 n=1 k=1 tile=8x3 heights=60 piece=2048\n", "t:1: a block"},
        {"cpu/48/32/1024 gemm f32 n=1 k=1 tile=8x3 heights=8 piece=32\n", "t:1: vectors"},
        {"cpu/64/32/1024 facts dot_percent=-1 stream_bytes=0\n", "t:1: a fact"},
        {"cuda/90 product f32\n", "t:1: it does not begin with"},
        {"cuda/90/132 facts dot_percent=1 stream_bytes=0\n", "t:1: not 'facts walk_waves=W'"},
        {"cuda/90/132 facts walk_waves=-1\n", "t:1: a fact"},
        {"cuda/90/132 gemm f32 n=1 k=1 tile=8x3 heights=8 piece=32\n", "t:1: neither 'product'"},
        {"cuda/90/132 product f32 f32 nn rows=16 n=8 k=8 batch=1 with=none\n", "t:1: not 'product TYPE"},
        {"cuda/90/132 product f32 f32 n rows=16 n=8 k=8 batch=1 with=none way=kernel\n",
         "t:1: not 'product TYPE"},
        {"cuda/90/132 product f32 tf32 nn rows=16 n=8 k=8 batch=1 with=none way=kernel\n",
         "t:1: no such element"},
        {"cuda/90/132 product f32 f32 nn rows=16 n=0 k=8 batch=1 with=none way=kernel\n", "t:1: rows, n, k"},
        {"cuda/90/132 product f32 f32 nn rows=17 n=8 k=8 batch=1 with=none way=kernel\n",
         "t:1: rows are a power"},
        {"cuda/90/132 product f32 f32 nn rows=16 n=8 k=8 batch=1 with=gelu+bias way=kernel\n",
         "t:1: with= is"},
        {"cuda/90/132 product f32 f32 nn rows=16 n=8 k=8 batch=1 with=none way=library\n", "t:1: way= is"},
        {"cuda/90/132 product f32 f32 nn rows=16 n=8 k=8 batch=1 with=none way=kernel algo=1\n",
         "t:1: way= is"},
        {"cuda/90/132 product f32 f32 nn rows=16 n=8 k=8 batch=1 with=none way=library algo=8\n",
         "t:1: algo is"},
        {"cpu/64/32/1024 gemm f32 n=1 k=1 tile=8x3 heights=8 piece=32\n"
         "cpu/64/32/1024 gemm f32 n=1 k=1 tile=8x2 heights=8 piece=32\n",
         "t:2: the same as line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Tuning *tuning = NULL;
        Status status = sn_tuning_parse(f->arena, "t", cases[i].text, &tuning);
        if (sn_error_code(status) != SN_INVALID || !strstr(sn_error_message(status), cases[i].message))
            fail_msg("'%s' gives '%s'", cases[i].text, sn_error_message(status));
        sn_error_free(status);
    }
}

/* Panels of few columns waste little, and have tiles that the registers hold; those of many are the usual ones. */
static void few_columns_have_narrow_panels(void **state) {
    (void)state;
    static const struct {
        int64_t columns, panel;
    } expected[] = {{0, 48},  {16, 16},  {24, 32},  {32, 32},  {48, 48},  {64, 64},
                    {96, 48}, {128, 64}, {144, 48}, {255, 64}, {256, 48}, {768, 48}};
    Target wide, narrow;
    sn_target_cpu(&wide, 64, 32, 32 << 10, 1 << 20);
    sn_target_cpu(&narrow, 32, 16, 32 << 10, 1 << 20);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        GemmChoice choice = {.heights = 1, .piece = 32};
        assert_int_equal(sn_target_panel(&wide, expected[i].columns, 768), expected[i].panel);
        assert_true(sn_target_panel_tile(&wide, expected[i].panel, &choice.tile));
        assert_int_equal(choice.tile.vectors * 16, expected[i].panel);
        assert_null(sn_tuning_gemm_problem(64, 32, &choice));
        int64_t panel = sn_target_panel(&narrow, expected[i].columns, 768);
        assert_true(sn_target_panel_tile(&narrow, panel, &choice.tile) && choice.tile.vectors * 8 == panel);
        assert_null(sn_tuning_gemm_problem(32, 16, &choice));
    }
    Tile tile;
    assert_false(sn_target_panel_tile(&wide, 40, &tile));
}

/* What is split for matrix tiles lies as it is split, in panels of a side; what is too small for that lies as ever. */
static void weights_that_are_split_are_one_stream(void **state) {
    (void)state;
    static const struct {
        int64_t columns, depth, panel;
    } expected[] = {{256, 256, 32}, {768, 3072, 32}, {255, 768, 64},
                    {768, 255, 48}, {768, 0, 48},    {0, 768, 48}};
    Target target;
    sn_target_cpu(&target, 64, 32, 48 << 10, 2 << 20);
    for (int percent = 400; percent <= 800; percent *= 2) {
        target.matrix_percent = percent;
        for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
            bool splits = percent == 800 && expected[i].panel == 32;
            assert_int_equal(sn_target_splits(&target, expected[i].columns, expected[i].depth), splits);
            int64_t usual = expected[i].panel == 32 ? 48 : expected[i].panel;
            assert_int_equal(sn_target_panel(&target, expected[i].columns, expected[i].depth),
                             splits ? 32 : usual);
        }
    }
}

static void entries_are_for_one_kind_of_machine(void **state) {
    Fixture *f = *state;
    Tuning *tuning;
    assert_ok(sn_tuning_parse(f->arena, "t", sorted, &tuning));
    Target wide, narrow;
    sn_target_cpu(&wide, 64, 32, 32 << 10, 1 << 20);
    sn_target_cpu(&narrow, 32, 16, 32 << 10, 1 << 20);
    int64_t stream = narrow.stream_bytes;
    Dims *dims = sn_dims_new(f->arena);
    Dim n = sn_dim(dims, N), k = sn_dim(dims, K);
    GemmChoice choice;
    assert_false(sn_tuning_gemm(&wide, SN_F32, n, k, &choice));
    assert_int_equal(sn_tuning_panel(&wide, SN_F32, n, k), wide.panel);
    sn_tuning_apply(&wide, tuning);
    sn_tuning_apply(&narrow, tuning);
    assert_true(wide.dot_percent == 100 && wide.stream_bytes == 0);
    assert_true(narrow.dot_percent == 0 && narrow.stream_bytes == stream);
    assert_true(sn_tuning_gemm(&wide, SN_F32, n, k, &choice));
    assert_true(choice.tile.rows == 14 && choice.tile.vectors == 2 && choice.heights == 4 &&
                choice.piece == 96);
    assert_int_equal(sn_tuning_panel(&wide, SN_F32, n, k), 32);
    assert_false(sn_tuning_gemm(&narrow, SN_F32, n, k, &choice)); /* its cache is another */
    assert_false(sn_tuning_gemm(&wide, SN_F32, k, n, &choice));
    assert_false(sn_tuning_gemm(&wide, SN_F16, n, k, &choice));
    assert_false(sn_tuning_gemm(&wide, SN_F32, sn_dim_symbol(dims, "S"), k, &choice));
    ProductKey product = {SN_F32, SN_F32, .batch = 12, .rows = 9, .N = 768, .K = 768};
    ProductWay way;
    Target gpu, other;
    sn_target_cuda(&gpu, 90);
    sn_target_cuda(&other, 80);
    sn_tuning_apply(&gpu, tuning);
    sn_tuning_apply(&other, tuning);
    assert_true(sn_tuning_product(&gpu, &product, &way) && !way.library);
    assert_false(sn_tuning_product(&other, &product, &way));
    product.rows = 17; /* more than the 16 of the line */
    assert_false(sn_tuning_product(&gpu, &product, &way));
    sn_tuning_set_product(f->arena, tuning, &gpu, &product, (ProductWay){true, 5}, "");
    product.rows = 32;
    assert_true(sn_tuning_product(&gpu, &product, &way) && way.library && way.proposal == 5);
    sn_tuning_drop_product(tuning, &gpu, &product);
    assert_false(sn_tuning_product(&gpu, &product, &way));
    GemmKey key = {SN_F32, N, K};
    sn_tuning_set_gemm(f->arena, tuning, &wide, key, (GemmChoice){{8, 3}, 2, 64}, "");
    assert_true(sn_tuning_gemm(&wide, SN_F32, n, k, &choice) && choice.piece == 64);
    sn_tuning_drop_gemm(tuning, &wide, key);
    sn_tuning_drop_gemm(tuning, &wide, key);
    assert_false(sn_tuning_gemm(&wide, SN_F32, n, k, &choice));
}

/* ---- kernels ---- */

static const char *path_of(Fixture *f, const char *name) {
    return sn_arena_printf(f->arena, "%s/%s", f->folder, name);
}

/* y = x (M, K) * w (K, N), M a symbol. */
static sn_Model *product_model(Fixture *f) {
    static const char *const dims[2] = {"rows", ""};
    static const int64_t x[2] = {-1, K}, y[2] = {-1, N}, w[2] = {K, N};
    Writer *writer = sn_writer_new(f->arena, "product", 17);
    sn_writer_input(writer, "x", SN_F32, 2, x, dims);
    sn_writer_op2(writer, "MatMul", "y", "x", sn_writer_weight(writer, "w", SN_F32, 2, w, 1, 0));
    sn_writer_output(writer, "y", SN_F32, 2, y, dims);
    assert_ok(sn_writer_save(writer, path_of(f, "m.onnx"), false, NULL, NULL));
    sn_Model *model;
    assert_ok(sn_model_open(path_of(f, "m.onnx"), &model));
    return model;
}

/* A file with one line for this machine's kind. */
static const char *write_tuning(Fixture *f, const Target *target, const char *name, const char *choice) {
    const char *path = path_of(f, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%s gemm f32 n=%d k=%d %s\n", sn_tuning_machine(f->arena, target), N, K, choice);
    fclose(file);
    return path;
}

static void run(Fixture *f, const sn_Program *program, float *out) {
    static const int64_t extent[2] = {M, K};
    sn_Tensor x = {.element_type = 1, .rank = 2, .extent = extent, .data = f->x}, y;
    sn_Context *context;
    assert_ok(sn_context_new(program, NULL, &context));
    assert_ok(sn_context_set_input(context, 0, &x));
    assert_ok(sn_context_run(context));
    assert_ok(sn_context_output(context, 0, &y));
    memcpy(out, y.data, sizeof(float) * M * N);
    sn_context_free(context);
}

static bool some_kernel_has(const sn_Program *program, const char *text) {
    const Plan *plan = sn_program_plan(program);
    for (int i = 0; i < plan->kernel_count; i++)
        if (strstr(plan->kernel[i]->source, text)) return true;
    return false;
}

static sn_Program *compiled(Fixture *f, const sn_Model *model, const char *tuning) {
    sn_CompileOptions options = {
        .size = sizeof options, .threads = 2, .cache_dir = path_of(f, "cache"), .tuning = tuning};
    sn_Program *program;
    assert_ok(sn_compile(model, &options, &program));
    return program;
}

static void assert_close(const float *got, const float *want) {
    for (int i = 0; i < M * N; i++) assert_true(fabsf(got[i] - want[i]) <= 1e-4F * (1 + fabsf(want[i])));
}

static void kernels_follow_the_file(void **state) {
    Fixture *f = *state;
    static float usual[M * N], tuned[M * N], again[M * N];
    sn_Model *model = product_model(f);
    sn_Program *program = compiled(f, model, NULL);
    assert_false(some_kernel_has(program, "#define SN_GEMM_KC 32\n"));
    run(f, program, usual);
    Target target = *sn_program_plan(program)->target;
    sn_program_free(program);
    static const struct {
        const char *choice, *tile;
    } cases[] = {
        {"tile=4x2 heights=3 piece=32", "#define SN_TILE_MR 4\n#define SN_TILE_NV 2\n"},
        {"tile=12x1 heights=1 piece=32", "#define SN_TILE_MR 12\n#define SN_TILE_NV 1\n"},
        {"tile=3x3 heights=5 piece=32", "#define SN_TILE_MR 3\n#define SN_TILE_NV 3\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *file = write_tuning(f, &target, "tuning", cases[i].choice);
        program = compiled(f, model, file);
        assert_true(some_kernel_has(program, "#define SN_GEMM_KC 32\n"));
        assert_true(some_kernel_has(program, cases[i].tile));
        run(f, program, tuned);
        assert_close(tuned, usual);
        /* Saved, its kernels are still those; more choices come too late. */
        const char *saved = path_of(f, "m.sinter");
        sn_Program *loaded;
        assert_ok(sn_program_save(program, saved));
        assert_ok(sn_program_open_file(saved, NULL, &loaded));
        run(f, loaded, again);
        assert_memory_equal(again, tuned, sizeof tuned);
        sn_program_free(loaded);
        sn_program_free(program);
        sn_CompileOptions options = {.size = sizeof options, .tuning = file};
        Status status = sn_program_open_file(saved, &options, &loaded);
        assert_int_equal(sn_error_code(status), SN_INVALID);
        sn_error_free(status);
    }
    sn_model_close(model);
}

static void broken_files_are_named(void **state) {
    Fixture *f = *state;
    sn_Model *model = product_model(f);
    Target target;
    sn_target_cpu(&target, 64, 32, 32 << 10, 1 << 20);
    static const struct {
        const char *name, *choice, *message;
        sn_Code code;
    } cases[] = {
        {"broken", "tile=8x3 heights=8", "/broken:1: not 'gemm", SN_INVALID},
        {NULL, NULL, "/absent cannot be read", SN_IO},
    };
    for (int i = 0; i < 2; i++) {
        const char *path =
            cases[i].name ? write_tuning(f, &target, cases[i].name, cases[i].choice) : path_of(f, "absent");
        sn_CompileOptions options = {
            .size = sizeof options, .threads = 1, .cache_dir = path_of(f, "cache"), .tuning = path};
        sn_Program *program;
        Status status = sn_compile(model, &options, &program);
        if (sn_error_code(status) != cases[i].code || !strstr(sn_error_message(status), cases[i].message))
            fail_msg("%s", sn_error_message(status));
        sn_error_free(status);
    }
    sn_model_close(model);
}

/* Measuring finds the product, whatever is quicker, and leaves other machines' lines alone. */
static void tuning_measures_products(void **state) {
    Fixture *f = *state;
    setenv("SINTER_CACHE", path_of(f, "cache"), 1);
    sn_Model *model = product_model(f);
    Inputs inputs;
    ShapeSpec shape = {"rows", 1, {M}};
    InputRequest wanted = {.shape_count = 1, .shape = &shape};
    assert_ok(sn_inputs_make(f->arena, model->graph, &wanted, &inputs));
    static const char other[] = "cpu/16/16/77 gemm f32 n=200 k=96 tile=4x2 heights=2 piece=64\n";
    Tuning *tuning, *again;
    assert_ok(sn_tuning_parse(f->arena, "t", other, &tuning));
    TuneRequest request = {.model = model, .inputs = &inputs, .threads = 1, .iters = 1};
    Table table = sn_tune_table(false);
    assert_ok(sn_tune(f->arena, &request, tuning, &table));
    assert_int_equal(table.row.count, 1);
    Text text = sn_text(f->arena);
    sn_tuning_print(&text, tuning);
    assert_memory_equal(sn_text_string(&text), other, sizeof other - 1);
    assert_ok(sn_tuning_parse(f->arena, "t", sn_text_string(&text), &again));
    unsetenv("SINTER_CACHE");
    sn_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(text_is_read_and_printed, setup, teardown),
        cmocka_unit_test_setup_teardown(mistakes_have_a_line, setup, teardown),
        cmocka_unit_test(few_columns_have_narrow_panels),
        cmocka_unit_test(weights_that_are_split_are_one_stream),
        cmocka_unit_test_setup_teardown(entries_are_for_one_kind_of_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(kernels_follow_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_files_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(tuning_measures_products, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
