/* Saved programs: what is written is what is run, and every file that is not whole is refused with a reason. */
#include "cpu/features.h"
#include "execute_fixture.h"
#include "load.h"
#include "number.h"
#include "saved.h"
#include "text_form.h"
#include "training.h"
#include "tuning.h"
#include <fcntl.h>
#include <unistd.h>

#define MODEL SN_TESTS "/models/gpt2_op17_fixed"

enum { MUTATIONS = 900 };

typedef struct Files {
    char folder[64], program[96], step[96], copy[96];
} Files;

static const sn_TrainingOptions step_options = {.size = sizeof step_options,
                                                .loss = SN_LOSS_CLASSES,
                                                .clip_norm = 1,
                                                .skip_nonfinite = 1,
                                                .accumulate = 2};

static int make_files(void **state) {
    Files *files = calloc(1, sizeof *files);
    void *folder;
    if (make_cache(&folder)) return -1;
    strcpy(files->folder, folder);
    sprintf(files->program, "%s/program.sinter", files->folder);
    sprintf(files->step, "%s/step.sinter", files->folder);
    sprintf(files->copy, "%s/copy.sinter", files->folder);
    sn_Model *model;
    sn_Program *program;
    assert_ok(sn_model_open(MODEL "/model.onnx", &model));
    sn_CompileOptions options = {.size = sizeof options, .threads = 2, .cache_dir = files->folder};
    assert_ok(sn_compile(model, &options, &program));
    assert_ok(sn_program_save(program, files->program));
    sn_program_free(program);
    assert_ok(sn_compile_training(model, &options, &step_options, &program));
    assert_ok(sn_program_save(program, files->step));
    sn_program_free(program);
    sn_model_close(model);
    *state = files;
    return 0;
}

static int remove_files(void **state) {
    Files *files = *state;
    void *folder = files->folder;
    int removed = remove_cache(&folder);
    free(files);
    return removed;
}

static char *read_file(Arena *arena, const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = sn_arena_alloc(arena, *size + 1);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static void write_file(const char *path, const char *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* ---- whole files ---- */

static Tensor *stored(Arena *arena, const char *path) {
    Tensor *tensor;
    assert_ok(sn_load_tensor(arena, path, &tensor, NULL));
    return tensor;
}

/* The output of a run, in the arena. */
static const float *run(Arena *arena, const sn_Program *program, int64_t *count) {
    Tensor *tensor = stored(arena, MODEL "/b2_t7/input_0.pb");
    sn_Tensor input = {sn_dtype_onnx(tensor->dtype), tensor->rank, tensor->extent,
                       (void *)(uintptr_t)tensor->bytes},
              output;
    sn_Context *context = make_context(program, 0);
    assert_ok(sn_context_set_input(context, 0, &input));
    assert_ok(sn_context_run(context));
    assert_ok(sn_context_output(context, 0, &output));
    *count = 1;
    for (int i = 0; i < output.rank; i++) *count *= output.extent[i];
    float *copy = SN_ARRAY(arena, float, *count);
    memcpy(copy, output.data, (size_t)*count * sizeof *copy);
    sn_context_free(context);
    return copy;
}

/* The saved program, where neither a compiler nor a cache is there. */
static sn_Program *open_alone(const Files *files, sn_CompileOptions *options) {
    sn_Program *loaded;
    setenv("SINTER_CC", "/nonexistent", 1);
    options->cache_dir = "/nonexistent/cache";
    Status status = sn_program_open_file(files->copy, options, &loaded);
    unsetenv("SINTER_CC");
    assert_ok(status);
    return loaded;
}

static void a_saved_program_gives_the_same_bits(void **state) {
    const Files *files = *state;
    Arena *arena = sn_arena_new();
    sn_Model *model;
    assert_ok(sn_model_open(MODEL "/model.onnx", &model));
    for (int mode = SN_COMPILED; mode <= SN_EAGER; mode++) {
        sn_CompileOptions options = {
            .size = sizeof options, .mode = (sn_Mode)mode, .threads = 2, .cache_dir = files->folder};
        sn_Program *program, *loaded;
        int64_t count, loaded_count;
        assert_ok(sn_compile(model, &options, &program));
        assert_ok(sn_program_save(program, files->copy));
        const float *expected = run(arena, program, &count);
        sn_program_free(program);
        loaded = open_alone(files, &options);
        assert_string_equal(sn_program_input(loaded, 0).name, sn_model_input(model, 0).name);
        assert_int_equal(sn_program_input(loaded, 0).extent[1], 7);
        assert_string_equal(sn_program_output(loaded, 0).name, sn_model_output(model, 0).name);
        assert_string_equal(sn_program_output(loaded, sn_program_output_count(loaded)).name, "");
        assert_int_equal(sn_program_input_count(loaded), 1);
        assert_int_equal(sn_program_ledger(loaded)->kernels.compiled, 0);
        const float *got = run(arena, loaded, &loaded_count);
        assert_int_equal(count, loaded_count);
        assert_memory_equal(got, expected, (size_t)count * sizeof *got);
        assert_fails(sn_program_save(loaded, files->copy), SN_UNSUPPORTED, "copy the file");
        sn_program_free(loaded);
    }
    sn_model_close(model);
    sn_arena_free(arena);
}

/* ---- steps of training ---- */

enum { STEPS = 4 };

typedef struct Trained {
    float loss[STEPS];
    int states;
    const char *name[200];
    const void *bytes[200];
    size_t size[200];
} Trained;

static Trained *train(Arena *arena, const sn_Program *program) {
    Trained *out = SN_NEW(arena, Trained);
    Tensor *tokens = stored(arena, MODEL "/b2_t7/input_0.pb");
    float rate = 0.01F;
    sn_Tensor ids = {sn_dtype_onnx(tokens->dtype), tokens->rank, tokens->extent,
                     (void *)(uintptr_t)tokens->bytes};
    sn_Tensor scalar = {sn_dtype_onnx(SN_F32), 0, NULL, &rate}, output;
    sn_Context *context = make_context(program, 0);
    assert_ok(sn_context_set_input(context, 0, &ids));
    assert_ok(sn_context_set_input(context, 1, &ids)); /* labels */
    assert_ok(sn_context_set_input(context, 2, &scalar));
    for (int i = 0; i < STEPS; i++) {
        assert_ok(sn_context_run(context));
        assert_ok(sn_context_output(context, 0, &output));
        out->loss[i] = *(const float *)output.data;
    }
    out->states = sn_context_state_count(context);
    assert_in_range(out->states, 10, 200);
    for (int i = 0; i < out->states; i++) {
        assert_ok(sn_context_state_get(context, i, &output));
        DType dtype;
        assert_true(sn_dtype_from_onnx(output.element_type, &dtype));
        int64_t count = 1;
        for (int k = 0; k < output.rank; k++) count *= output.extent[k];
        out->size[i] = (size_t)(count * sn_dtype_bytes(dtype));
        void *copy = sn_arena_alloc(arena, out->size[i]);
        memcpy(copy, output.data, out->size[i]);
        out->bytes[i] = copy;
        out->name[i] = sn_arena_string(arena, sn_context_state_name(context, i));
    }
    sn_context_free(context);
    return out;
}

static void a_saved_step_trains_to_the_same_bits(void **state) {
    const Files *files = *state;
    Arena *arena = sn_arena_new();
    sn_Model *model;
    assert_ok(sn_model_open(MODEL "/model.onnx", &model));
    for (int mode = SN_COMPILED; mode <= SN_EAGER; mode++) {
        sn_CompileOptions options = {
            .size = sizeof options, .mode = (sn_Mode)mode, .threads = 2, .cache_dir = files->folder};
        sn_Program *program, *loaded;
        assert_ok(sn_compile_training(model, &options, &step_options, &program));
        assert_ok(sn_program_save(program, files->copy));
        const Trained *expected = train(arena, program);
        sn_program_free(program);
        assert_true(expected->loss[STEPS - 1] < expected->loss[0]);
        loaded = open_alone(files, &options);
        assert_int_equal(sn_program_input_count(loaded), 3);
        assert_string_equal(sn_program_input(loaded, 1).name, "labels");
        assert_int_equal(sn_program_output_count(loaded), 1);
        const Trained *got = train(arena, loaded);
        assert_memory_equal(got->loss, expected->loss, sizeof got->loss);
        assert_int_equal(got->states, expected->states);
        for (int i = 0; i < got->states; i++) {
            assert_string_equal(got->name[i], expected->name[i]);
            assert_int_equal(got->size[i], expected->size[i]);
            assert_memory_equal(got->bytes[i], expected->bytes[i], got->size[i]);
        }
        options.state_count = 1;
        options.state = &(sn_State){0, 0};
        sn_program_free(loaded);
        assert_fails(sn_program_open_file(files->copy, &options, &loaded), SN_INVALID, "its own states");
    }
    sn_model_close(model);
    sn_arena_free(arena);
}

static Status put_payload(PartsWriter *writer, void *user) {
    const Part *payload = user;
    return sn_parts_put(writer, 0, payload->bytes, payload->size);
}

/* A choice for the first product that has one. */
static bool find_product(const Plan *plan, GemmKey *key) {
    for (const Node *cluster = plan->graph->body->first; cluster; cluster = cluster->next)
        for (const Node *node = cluster->body ? cluster->body->first : NULL; node; node = node->next)
            if (node->op == SN_OP_CONTRACT && sn_tuning_gemm_key(node, key)) return true;
    return false;
}

static sn_Program *compile_tuned(const Files *files, const Tuning *tuning) {
    sn_Model *model;
    sn_Program *program;
    sn_CompileOptions options = {.size = sizeof options, .threads = 2, .cache_dir = files->folder};
    SessionOptions session = {.tuning = tuning};
    assert_ok(sn_model_open(MODEL "/model.onnx", &model));
    assert_ok(sn_session_compile(model, &options, &session, &program));
    sn_model_close(model);
    return program;
}

static void tuning_is_kept(void **state) {
    const Files *files = *state;
    Arena *arena = sn_arena_new();
    sn_Program *plain = compile_tuned(files, NULL), *program, *loaded;
    GemmKey key;
    assert_true(find_product(sn_program_plan(plain), &key));
    const Target *target = sn_program_plan(plain)->target;
    GemmChoice choice = {.tile = {2, 2}, .heights = 2, .piece = 32};
    assert_null(sn_tuning_gemm_problem(target->vector_bytes, target->vector_registers, &choice));
    Tuning *tuning = sn_tuning_new(arena);
    sn_tuning_set_gemm(arena, tuning, target, key, choice, "");
    program = compile_tuned(files, tuning);
    assert_ok(sn_program_save(program, files->copy));
    assert_ok(sn_program_open_file(files->copy, NULL, &loaded));
    int64_t count;
    const float *expected = run(arena, program, &count);
    assert_memory_equal(run(arena, loaded, &count), expected, (size_t)count * sizeof *expected);
    sn_program_free(loaded);
    sn_program_free(program);
    sn_program_free(plain);
    /* The choice matters: without it, the kernels would be others. */
    Part part[SN_PART_COUNT];
    assert_ok(sn_parts_open(arena, files->copy, part));
    const char *text = sn_arena_printf(arena, "%.*s", (int)part[0].size, (const char *)part[0].bytes);
    const char *line = strstr(text, "tuning ");
    assert_non_null(line);
    text = sn_arena_printf(arena, "%.*s%s", (int)(line - text), text, strchr(line, '\n') + 1);
    part[SN_PART_FACTS] = (Part){(const uint8_t *)text, strlen(text)};
    assert_ok(sn_parts_write(arena, files->copy, part, put_payload, &part[SN_PART_PAYLOAD]));
    assert_fails(sn_program_open_file(files->copy, NULL, &loaded), SN_INVALID, "compile it again");
    sn_arena_free(arena);
}

/* Two at once, of which the loader must not take one for the other; and the file may be replaced meanwhile. */
static void programs_of_files_live_side_by_side(void **state) {
    const Files *files = *state;
    Arena *arena = sn_arena_new();
    sn_Model *model;
    sn_Program *first, *second, *eager;
    int64_t count;
    sn_CompileOptions options = {.size = sizeof options, .mode = SN_EAGER, .cache_dir = files->folder};
    assert_ok(sn_model_open(MODEL "/model.onnx", &model));
    assert_ok(sn_compile(model, &options, &eager));
    assert_ok(sn_program_save(eager, files->copy));
    sn_program_free(eager);
    sn_model_close(model);
    assert_ok(sn_program_open_file(files->program, NULL, &first));
    assert_ok(sn_program_open_file(files->copy, NULL, &eager));
    assert_ok(sn_program_open_file(files->program, NULL, &second));
    sn_program_free(eager);
    const float *expected = run(arena, first, &count);
    sn_program_free(first);
    assert_ok(sn_program_open_file(files->program, NULL, &first));
    assert_memory_equal(run(arena, second, &count), expected, (size_t)count * sizeof *expected);
    assert_memory_equal(run(arena, first, &count), expected, (size_t)count * sizeof *expected);
    sn_program_free(second);
    sn_program_free(first);
    sn_arena_free(arena);
}

static void setup_is_not_done_again(void **state) {
    const Files *files = *state;
    sn_Program *program;
    assert_ok(sn_program_open_file(files->program, NULL, &program));
    const Plan *plan = sn_program_plan(program);
    assert_true(plan->setup_count > 0);
    for (int i = 0; i < plan->value_count; i++)
        if (plan->value[i].storage == SN_STORAGE_SETUP) assert_false(program->resident[i].owned);
    sn_program_free(program);
}

static void models_and_programs_are_not_confused(void **state) {
    const Files *files = *state;
    sn_Model *model;
    sn_Program *program;
    assert_fails(sn_model_open(files->program, &model), SN_INVALID, "contains code");
    assert_fails(sn_program_open_file(MODEL "/model.onnx", NULL, &program), SN_INVALID, "not a saved");
    assert_fails(sn_program_open_file("/nonexistent", NULL, &program), SN_IO, "nonexistent");
    assert_false(sn_parts_is(MODEL "/model.onnx") || sn_parts_is("/nonexistent") || sn_parts_is("/tmp"));
    assert_true(sn_parts_is(files->program));
}

/* ---- damaged files ---- */

static void files_that_are_cut_short_are_refused(void **state) {
    const Files *files = *state;
    Arena *arena = sn_arena_new();
    size_t size;
    const char *bytes = read_file(arena, files->program, &size);
    write_file(files->copy, bytes, size);
    for (size_t length = size - 1; length < size; length -= length < 400 ? 1 : 997) {
        sn_Program *program;
        assert_int_equal(truncate(files->copy, (off_t)length), 0);
        if (!length) break;
        Status status = sn_program_open_file(files->copy, NULL, &program);
        assert_int_equal(sn_error_code(status), SN_INVALID);
        assert_non_null(strstr(sn_error_message(status), length < 8 ? "not a saved" : "saved program"));
        sn_error_free(status);
    }
    sn_arena_free(arena);
}

/* Every bit of the header, and one of each byte of what is hashed. */
static void damage_is_noticed(void **state) {
    const Files *files = *state;
    Arena *arena = sn_arena_new();
    Part part[SN_PART_COUNT];
    size_t size;
    char *bytes = read_file(arena, files->program, &size);
    assert_ok(sn_parts_open(arena, files->program, part));
    size_t header = 24 + SN_PART_COUNT * 32 + 16;
    size_t hashed = size - part[SN_PART_PAYLOAD].size, unnoticed = 0;
    write_file(files->copy, bytes, size);
    int file = open(files->copy, O_RDWR);
    assert_true(file >= 0);
    for (size_t at = 0; at < hashed; at += at < header ? 1 : 131) {
        for (int bit = at < header ? 0 : (int)(at % 8); bit < 8; bit += at < header ? 1 : 8) {
            Arena *mapping = sn_arena_new();
            char damaged = (char)(bytes[at] ^ 1 << bit);
            assert_int_equal(pwrite(file, &damaged, 1, (off_t)at), 1);
            Status status = sn_parts_open(mapping, files->copy, part);
            sn_arena_free(mapping);
            assert_int_equal(pwrite(file, &bytes[at], 1, (off_t)at), 1);
            if (!status) unnoticed++;
            if (at < header) assert_int_equal(sn_error_code(status), SN_INVALID);
            sn_error_free(status);
        }
    }
    close(file);
    assert_true(unnoticed < 40); /* the gaps between the parts: below two pages, one in 131 */
    sn_arena_free(arena);
}

/* The file with one part replaced, and every hash right again. */
static void rewrite(Arena *arena, const Files *files, PartKind kind, const char *bytes, size_t size) {
    Part part[SN_PART_COUNT];
    assert_ok(sn_parts_open(arena, files->program, part));
    part[kind] = (Part){(const uint8_t *)bytes, size};
    assert_ok(sn_parts_write(arena, files->copy, part, put_payload, &part[SN_PART_PAYLOAD]));
}

/* The facts with the line of `name` replaced. */
static void rewrite_fact(Arena *arena, const Files *files, const char *name, const char *line) {
    Part part[SN_PART_COUNT];
    assert_ok(sn_parts_open(arena, files->program, part));
    const char *text = sn_arena_printf(arena, "%.*s", (int)part[0].size, (const char *)part[0].bytes);
    const char *at = strstr(text, name);
    assert_non_null(at);
    char *changed = sn_arena_printf(arena, "%.*s%s%s", (int)(at - text), text, line, strchr(at, '\n') + 1);
    rewrite(arena, files, SN_PART_FACTS, changed, strlen(changed));
}

static void what_does_not_fit_this_machine_is_refused(void **state) {
    const Files *files = *state;
    static const struct {
        const char *name, *line, *fragment;
        sn_Code code;
    } cases[] = {
        {"sinter ", "sinter 0.0.1\n", "saved by Sinter 0.0.1", SN_INVALID},
        {"mode ", "mode hasty\n", "malformed", SN_INVALID},
        {"machine ", "machine vax\n", "saved for vax", SN_UNSUPPORTED},
        {"requires ", "requires sse3 teleport\n", "a processor with teleport", SN_UNSUPPORTED},
        {"target ", "target tpu\n", "\"tpu\" is unsupported", SN_UNSUPPORTED},
        {"target ", "target cuda:sm_90\n", "malformed", SN_INVALID}, /* with a processor's numbers */
        {"vector_bytes ", "vector_bytes 8x\n", "vector_bytes", SN_INVALID},
        {"vector_bytes ", "vector_bytes 99999999999\n", "vector_bytes", SN_INVALID},
        {"vector_bytes ", "vector_bytes 0\n", "its target", SN_INVALID},
        {"l1_bytes ", "", "l1_bytes", SN_INVALID},
        {"l2_bytes ", "l2_bytes 9223372036854775807\n", "its target", SN_INVALID},
        {"tile_rows ", "tile_rows 0\n", "its target", SN_INVALID},
        {"panel ", "panel 0\n", "its target", SN_INVALID},
        {"kernel ", "kernel 00000000000000000000000000000000\n", "compile it again", SN_INVALID},
        {"kernel ", "", "compile it again", SN_INVALID},
        {"kernel ", "kernel 0\n", "malformed", SN_INVALID},
        {"kernel ", "state 0\n", "malformed", SN_INVALID},
        {"kernel ", "state 0 99\n", "", SN_INVALID},
        {"kernel ", "fry\n", "unknown name", SN_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Arena *arena = sn_arena_new();
        sn_Program *program;
        rewrite_fact(arena, files, cases[i].name, cases[i].line);
        assert_fails(sn_program_open_file(files->copy, NULL, &program), cases[i].code, cases[i].fragment);
        sn_arena_free(arena);
    }
}

/* None is saved: a file whose graph has some was made by hand. */
static void loops_are_refused(void **state) {
    static const char text[] = "graph \"g\" stage fused\n"
                               "input %0 \"n\": i64[]\n"
                               "input %3: i64[]\n"
                               "%2 = constant {tensor = bool[] (1)} : bool[] ; group 1 setup\n"
                               "output %0 \"y\"\n"
                               "output %0 \"\"\n"
                               "output %2 \"\"\n"
                               "loop output 1 input 1 carried 0 captured 0 kept 0 extent -1 0 {\n"
                               "graph \"turn\" stage imported\n"
                               "input %0: i64[]\n"
                               "input %1: bool[]\n"
                               "output %1 \"\"\n"
                               "}\n";
    Arena *arena = sn_arena_new();
    Saved *saved;
    Graph *graph;
    assert_ok(sn_graph_parse(arena, text, strlen(text), &graph));
    rewrite(arena, *state, SN_PART_GRAPH, text, strlen(text));
    assert_fails(sn_saved_open(arena, ((const Files *)*state)->copy, &saved, &graph), SN_INVALID, "loops");
    sn_arena_free(arena);
}

/* Matrix tiles are asked for beside what the processor has. */
static void matrix_tiles_are_refused_by_name(void **state) {
    const Files *files = *state;
    Arena *arena = sn_arena_new();
    sn_Program *program;
    assert_int_equal(*sn_features_missing(arena, "amx-tile amx-bf16 amx-int8") == '\0', sn_features_matrix());
    rewrite_fact(arena, files, "requires ", "requires sse3 amx-tile amx-bf16\n");
    assert_int_equal(setenv("SINTER_MATRIX", "0", 1), 0);
    assert_fails(sn_program_open_file(files->copy, NULL, &program), SN_UNSUPPORTED,
                 sn_features_matrix() ? "use matrix tiles, which are unsupported here: switched off" : "amx");
    assert_int_equal(unsetenv("SINTER_MATRIX"), 0);
    sn_arena_free(arena);
}

/* Whatever the text says, opening ends in a graph that is legal or in an error, and never in code: the hashes
 * of the kernels come first. */
static void hostile_text_is_refused(void **state) {
    const Files *files = *state;
    static const PartKind kinds[] = {SN_PART_FACTS, SN_PART_GRAPH, SN_PART_INDEX};
    uint32_t random[4];
    for (int i = 0; i < MUTATIONS; i++) {
        Arena *arena = sn_arena_new();
        Part part[SN_PART_COUNT];
        sn_philox(7, (uint64_t)i, random);
        PartKind kind = kinds[i % 3];
        Files from = *files;
        if (i % 2) strcpy(from.program, files->step);
        assert_ok(sn_parts_open(arena, from.program, part));
        size_t size = part[kind].size, at = random[0] % size;
        /* Of a step's graph, every second time among its states, which are the last of it. */
        if (kind == SN_PART_GRAPH && i % 4 == 1) at = size - 1 - random[0] % (size / 8);
        char *bytes = sn_arena_alloc(arena, size);
        memcpy(bytes, part[kind].bytes, size);
        if (random[1] % 4 == 0)
            size = at; /* the rest is missing */
        else if (random[1] % 4 == 1 && at + 8 < size)
            memmove(bytes + at, bytes + at + 8, size - at - 8), size -= 8;
        else
            bytes[at] = (char)random[2];
        rewrite(arena, &from, kind, bytes, size);
        Saved *saved;
        Graph *graph;
        Status status = sn_saved_open(arena, files->copy, &saved, &graph);
        if (!status && kind == SN_PART_INDEX) status = sn_saved_check_weights(saved);
        sn_error_free(status);
        sn_arena_free(arena);
    }
}

static void damaged_weights_can_be_found(void **state) {
    const Files *files = *state;
    Arena *arena = sn_arena_new();
    size_t size;
    char *bytes = read_file(arena, files->program, &size);
    Saved *saved;
    Graph *graph;
    assert_ok(sn_saved_open(arena, files->program, &saved, &graph));
    assert_ok(sn_saved_check_weights(saved));
    bytes[size - 1] ^= 1; /* of the last weight */
    write_file(files->copy, bytes, size);
    assert_ok(sn_saved_open(arena, files->copy, &saved, &graph));
    assert_fails(sn_saved_check_weights(saved), SN_INVALID, "weight");
    sn_arena_free(arena);
}

/* ---- facts ---- */

#if defined __has_builtin
#if __has_builtin(__builtin_clear_padding)
#define CAN_COMPARE_STRUCTS
#endif
#endif

#ifdef CAN_COMPARE_STRUCTS
/* Every number of a target is written: one that is not would come back as zero. */
static void all_numbers_of_a_target_are_kept(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    SavedFacts facts = {.version = sn_version(), .machine = "m", .requires = "a b", .kernel_count = 0}, back;
    memset(&facts.target, 0x11, sizeof facts.target);
    __builtin_clear_padding(&facts.target);
    facts.target.kind = SN_TARGET_CPU;
    facts.target.name = "cpu";
    facts.target.isa = "isa";
    facts.target.architecture = NULL; /* a part of the name */
    facts.target.library = true;
    facts.target.tuning = NULL; /* see tuning_is_kept */
    Text text = sn_text(arena);
    sn_saved_facts_print(&text, &facts);
    assert_ok(sn_saved_facts_parse(arena, sn_text_string(&text), text.length, &back));
    assert_string_equal(back.target.name, "cpu");
    assert_string_equal(back.target.isa, "isa");
    back.target.name = facts.target.name;
    back.target.isa = facts.target.isa;
    __builtin_clear_padding(&back.target);
    assert_memory_equal(&back.target, &facts.target, sizeof facts.target);
    assert_string_equal(back.requires, "a b");
    sn_arena_free(arena);
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_saved_program_gives_the_same_bits),
        cmocka_unit_test(a_saved_step_trains_to_the_same_bits),
        cmocka_unit_test(tuning_is_kept),
        cmocka_unit_test(programs_of_files_live_side_by_side),
        cmocka_unit_test(setup_is_not_done_again),
        cmocka_unit_test(models_and_programs_are_not_confused),
        cmocka_unit_test(files_that_are_cut_short_are_refused),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(what_does_not_fit_this_machine_is_refused),
        cmocka_unit_test(matrix_tiles_are_refused_by_name),
        cmocka_unit_test(loops_are_refused),
        cmocka_unit_test(hostile_text_is_refused),
        cmocka_unit_test(damaged_weights_can_be_found),
#ifdef CAN_COMPARE_STRUCTS
        cmocka_unit_test(all_numbers_of_a_target_are_kept),
#endif
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
