/* Generated CUDA text, run on the emulator: equal to the interpreter in every order of the threads; and
 * planted faults, each of which has to be noticed. All kernels are compiled by one call of g++. */
#include "cluster_files.h"
#include "compiler_fixture.h"
#include "emulator/launch.h"
#include "eval.h"
#include "number.h"

#include <dlfcn.h>
#include <math.h>

/* A kernel's text with one edit, under a name of its own. */
typedef struct Planted {
    const char *name, *file, *from, *to;
} Planted;

static const Planted planted[] = {
    {"no_barrier", "rms_norm", "__syncthreads();", ""},
    {"some_barrier", "rms_norm", "__syncthreads();",
     "if (threadIdx.x < 32) __syncthreads(); __syncthreads();"},
    {"no_share", "rms_norm", "if (part % 32 == 0) m0[part / 32] = a0;", ""},
    {"no_turn_barrier", "squares", "_square(args, block);\n        __syncthreads();",
     "_square(args, block);"},
    {"overlapping_blocks", "elementwise", "row = block * 1024", "row = block * 1020"},
    {"store_beyond", "everything", "sn_store_f32_s(b1 + ", "sn_store_f32_s(b1 + 4 + "},
    {"store_beside", "everything", "sn_store_f32_s(b1 + ", "sn_store_f32_s(b1 + 1 + "},
    {"unaligned", "elementwise", "sn_load_pack<4>(w0 + k * 4, b0 + ",
     "sn_load_pack<4>(w0 + k * 4, b0 + 2 + "},
    {"load_before", "everything", "x0[q] = b0[", "x0[q] = b0[-1000 + "},
};
enum { PLANTED = sizeof planted / sizeof *planted };

typedef struct Fixture {
    ClusterFiles files;
    void *library;
    EmuLaunchFunction *launch;
    EmuAllocFunction *alloc;
    EmuFreeFunction *release;
} Fixture;

/* ---- the library of all kernels ---- */

static char *replace(Arena *arena, const char *text, const char *from, const char *to, bool all) {
    Text out = sn_text(arena);
    const char *next = strstr(text, from);
    assert_non_null(next);
    for (; next; next = all ? strstr(text, from) : NULL) {
        sn_text_put(&out, text, (size_t)(next - text));
        sn_text_add(&out, "%s", to);
        text = next + strlen(from);
    }
    sn_text_add(&out, "%s", text);
    return sn_arena_string(arena, sn_text_string(&out));
}

static void add_planted(Fixture *f, Text *unit) {
    for (int i = 0; i < PLANTED; i++) {
        const Kernel *kernel = find_cluster_file(&f->files, planted[i].file)->kernel.at[0];
        const char *text = replace(f->files.arena, kernel->source, kernel->name, planted[i].name, true);
        text = replace(f->files.arena, text, planted[i].from, planted[i].to, true);
        sn_text_add(unit, "%s\nEMU_KERNEL(%s)\n", text, planted[i].name);
    }
}

static const char *unit_text(Fixture *f) {
    Text unit = sn_text(f->files.arena);
    Map *seen = sn_map_new(f->files.arena);
    sn_text_add(&unit, "#include \"emulator.h\"\n");
    for (int i = 0; i < f->files.count; i++)
        for (int k = 0; k < f->files.file[i].kernel.count; k++)
            add_kernel(&unit, seen, f->files.file[i].kernel.at[k]);
    const void *name;
    size_t length;
    for (int i = 0; i < sn_map_count(seen); i++) {
        sn_map_entry(seen, i, &name, &length);
        sn_text_add(&unit, "EMU_KERNEL(%.*s)\n", (int)length, (const char *)name);
    }
    add_planted(f, &unit);
    return sn_text_string(&unit);
}

static void *find(Fixture *f, const char *name) {
    void *symbol = dlsym(f->library, name);
    if (!symbol) fail_msg("%s: %s", name, dlerror());
    return symbol;
}

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof *f);
    *state = f;
    read_cluster_files(&f->files, 90);
    const char *kernels = emulated_object(f->files.arena, unit_text(f));
    /* Global: kernels find it there. */
    void *emulator = dlopen(SN_EMULATED "/libemulated_cuda.so", RTLD_NOW | RTLD_GLOBAL);
    f->library = emulator ? dlopen(kernels, RTLD_NOW) : NULL;
    if (!f->library) fail_msg("%s", dlerror());
    *(void **)&f->launch = dlsym(emulator, "emu_launch");
    *(void **)&f->alloc = dlsym(emulator, "emu_alloc");
    *(void **)&f->release = dlsym(emulator, "emu_free");
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    if (f->library) dlclose(f->library);
    sn_arena_free(f->files.arena);
    free(f);
    return 0;
}

/* ---- running a graph ---- */

/* One run of a graph on given inputs. */
typedef struct Run {
    Fixture *f;
    Arena *arena;
    const ClusterFile *file;
    const int64_t *symbols;
    EmuOrder order;
    unsigned
        most; /* blocks of a grid, where a kernel's blocks may have several turns; 0: as many as there are */
    const char *instead; /* a planted kernel in the place of the graph's first one, or NULL */
    void **buffer;       /* by value id */
    int fault;
    char message[256]; /* what the emulator said, or "" */
} Run;

static int64_t number(Run *run, Dim dim) {
    int64_t value;
    must(sn_dim_eval(dim, run->symbols, NULL, &value), "a size");
    return value;
}

static void *make_buffer(Run *run, const Value *value) {
    int64_t count = number(run, sn_type_count(run->file->graph->dims, value->type));
    void *buffer = run->f->alloc((size_t)count * (size_t)sn_dtype_bytes(value->type.dtype));
    assert_non_null(buffer);
    return run->buffer[value->id] = buffer;
}

enum { MAX_WORDS = 96, MAX_SCRATCH = 16 };

/* Buffers, symbols; the fault word and the number of the first block follow. Gives their count. */
static int make_words(Run *run, const Kernel *kernel, const Node *node, uint64_t *words, void **scratch) {
    int count = 0;
    assert_true(kernel->scratch_count <= MAX_SCRATCH);
    assert_true(node->input_count + node->output_count + MAX_SCRATCH + kernel->param_count + 2 <= MAX_WORDS);
    for (int i = 0; i < node->input_count; i++)
        words[count++] = (uint64_t)(uintptr_t)run->buffer[node->input[i]->id];
    for (int i = 0; i < node->output_count; i++)
        words[count++] = (uint64_t)(uintptr_t)make_buffer(run, node->output[i]);
    for (int i = 0; i < kernel->scratch_count; i++) {
        scratch[i] = run->f->alloc((size_t)number(run, kernel->scratch_bytes[i]));
        assert_non_null(scratch[i]);
        words[count++] = (uint64_t)(uintptr_t)scratch[i];
    }
    for (int i = 0; i < kernel->param_count; i++) words[count++] = (uint64_t)number(run, kernel->param[i]);
    return count;
}

/* The blocks, and then those that come when they have ended. False when the emulator found something. */
static unsigned grid_blocks(const Run *run, const Kernel *kernel, int64_t blocks) {
    return kernel->walks && run->most && blocks > run->most ? run->most : (unsigned)blocks;
}

static bool launch_kernel(Run *run, const Kernel *kernel, const Node *node) {
    uint64_t words[MAX_WORDS];
    void *scratch[MAX_SCRATCH];
    int count = make_words(run, kernel, node, words, scratch);
    int64_t blocks = number(run, kernel->items), after = kernel->after ? number(run, kernel->after) : 0;
    int *fault = run->f->alloc(sizeof *fault);
    assert_non_null(fault);
    *fault = 0;
    words[count] = (uint64_t)(uintptr_t)fault;
    const char *name = run->instead ? run->instead : kernel->name;
    bool ran = true;
    for (int round = 0; round < 2 && ran; round++) {
        words[count + 1] = round ? (uint64_t)blocks : 0;
        EmuLaunch launch = {.args = words,
                            .grid = {grid_blocks(run, kernel, round ? after : blocks), 1, 1},
                            .block = {(unsigned)kernel->threads, 1, 1},
                            .shared = (size_t)number(run, kernel->shared),
                            .order = run->order,
                            .seed = 7};
        *(void **)&launch.kernel = find(run->f, sn_arena_printf(run->arena, "%s_call", name));
        ran = run->f->launch(&launch) == 0;
        strcpy(run->message, launch.message);
    }
    run->instead = NULL;
    run->fault = *fault;
    run->f->release(fault);
    for (int i = 0; i < kernel->scratch_count; i++) run->f->release(scratch[i]);
    return ran;
}

static void put_array(Run *run, const Value *value, const Array *array) {
    void *bytes = make_buffer(run, value);
    for (int64_t i = 0; i < array->count; i++)
        array->f ? sn_element_set(array->dtype, bytes, i, array->f[i])
                 : sn_element_set_int(array->dtype, bytes, i, array->i[i]);
}

static bool run_graph(Run *run, Array *const *inputs) {
    const Graph *graph = run->file->graph;
    int kernel = 0;
    run->buffer = SN_ARRAY(run->arena, void *, graph->next_value);
    for (int i = 0; i < graph->body->param.count; i++) put_array(run, graph->body->param.at[i], inputs[i]);
    for (const Node *node = graph->body->first; node; node = node->next) {
        if (node->op == SN_OP_CONSTANT)
            put_array(run, node->output[0],
                      sn_array_of_tensor(run->arena, ((const AttrConstant *)node->attr)->tensor));
        else if (!launch_kernel(run, run->file->kernel.at[kernel++], node) || run->fault)
            return false;
    }
    return true;
}

static void free_buffers(Run *run) {
    for (int i = 0; i < run->file->graph->next_value; i++) run->f->release(run->buffer[i]);
}

/* ---- comparing ---- */

/* Random elements as their dtype holds them; small integers, which are indices within their range too. */
static Array *random_array(Run *run, const Value *value, uint64_t seed) {
    int64_t extent[SN_MAX_RANK];
    for (int i = 0; i < value->type.rank; i++) extent[i] = number(run, value->type.dim[i]);
    Array *array = sn_array_new(run->arena, value->type.dtype, value->type.rank, extent);
    for (int64_t i = 0; i < array->count; i++) {
        double u = sn_random_uniform(seed, (uint64_t)i), x = sn_random_normal(seed, (uint64_t)i);
        if (array->dtype == SN_F16) x = sn_f16_to(sn_f16_from(x));
        if (array->dtype == SN_BF16) x = sn_bf16_to(sn_bf16_from(x));
        if (array->f)
            array->f[i] = array->dtype == SN_F32 ? (double)(float)x : x;
        else if (array->dtype == SN_BOOL)
            array->i[i] = u < 0.5;
        else
            array->i[i] = array->dtype == SN_U8 ? (int64_t)(u * 256) : (int64_t)(u * 9) - 4;
    }
    return array;
}

static Array **random_inputs(Run *run) {
    const Region *body = run->file->graph->body;
    Array **inputs = SN_ARRAY(run->arena, Array *, body->param.count);
    for (int i = 0; i < body->param.count; i++)
        inputs[i] = random_array(run, body->param.at[i], (uint64_t)i + 1);
    return inputs;
}

/* The first element of `bytes` that is not `truth` within its dtype's tolerance; -1: none. */
static int64_t first_difference(const Array *truth, const void *bytes) {
    static const double tolerance[SN_DTYPE_COUNT] = {
        [SN_F16] = 3e-3, [SN_BF16] = 2e-2, [SN_F32] = 2e-5, [SN_F64] = 1e-12};
    Tensor got = {.dtype = truth->dtype, .count = truth->count, .payload = SN_PAYLOAD_BYTES, .bytes = bytes};
    for (int64_t i = 0; i < truth->count; i++) {
        if (!truth->f && sn_tensor_get_int(&got, i) != truth->i[i]) return i;
        if (!truth->f) continue;
        double x = sn_tensor_get(&got, i), y = truth->f[i];
        bool same =
            (isnan(x) && isnan(y)) || x == y || fabs(x - y) <= tolerance[truth->dtype] * (1 + fabs(y));
        if (!same) return i;
    }
    return -1;
}

static bool equals_interpreter(Run *run, Array *const *inputs, bool loud) {
    const Region *body = run->file->graph->body;
    Array **truth = SN_ARRAY(run->arena, Array *, body->result.count);
    must(sn_eval_graph(run->arena, run->file->graph, false, (const Array *const *)inputs, truth),
         run->file->name);
    for (int k = 0; k < body->result.count; k++) {
        const void *bytes = run->buffer[body->result.at[k]->id];
        int64_t at = first_difference(truth[k], bytes);
        if (at < 0) continue;
        Tensor got = {
            .dtype = truth[k]->dtype, .count = truth[k]->count, .payload = SN_PAYLOAD_BYTES, .bytes = bytes};
        if (loud)
            fail_msg("%s, order %d, output %d, element %d: %.9g is not %.9g", run->file->name,
                     (int)run->order, k, (int)at, sn_tensor_get(&got, at),
                     truth[k]->f ? truth[k]->f[at] : (double)truth[k]->i[at]);
        return false;
    }
    return true;
}

/* ---- tests ---- */

/* Rows of the second symbol's length are no whole packs, but for the last, which are also more than a warp does. */
static const int64_t sizes[][4] = {{1, 1, 1, 1}, {5, 37, 3, 2}, {9, 150, 3, 2}, {2, 1032, 3, 2}};

/* The results, one behind the other. */
static Hash hash_results(Run *run) {
    const Region *body = run->file->graph->body;
    Hash hash = {0};
    for (int k = 0; k < body->result.count; k++) {
        const Value *value = body->result.at[k];
        int64_t count = number(run, sn_type_count(run->file->graph->dims, value->type));
        hash = sn_hash(hash, run->buffer[value->id], (size_t)(count * sn_dtype_bytes(value->type.dtype)));
    }
    return hash;
}

/* With all blocks, and with one or two, which have several turns. */
static void kernels_equal_the_interpreter(void **state) {
    Fixture *f = *state;
    for (int i = 0; i < f->files.count; i++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            Hash first = {0};
            for (int order = 0; order < EMU_ORDER_COUNT; order++) {
                Run run = {.f = f, .arena = sn_arena_new(), .file = &f->files.file[i], .symbols = sizes[s]};
                run.order = (EmuOrder)order, run.most = (unsigned)order;
                Array **inputs = random_inputs(&run);
                if (!run_graph(&run, inputs))
                    fail_msg("%s: fault %d %s", run.file->name, run.fault, run.message);
                equals_interpreter(&run, inputs, true);
                Hash hash = hash_results(&run);
                if (order == 0) first = hash;
                if (!sn_hash_equal(hash, first))
                    fail_msg("%s: other bits with %d blocks", run.file->name, order);
                free_buffers(&run);
                sn_arena_free(run.arena);
            }
        }
}

static void same_cluster_same_text(void **state) {
    Fixture *f = *state;
    ClusterFiles again = {0};
    read_cluster_files(&again, 90);
    for (int i = 0; i < again.count; i++)
        for (int k = 0; k < again.file[i].kernel.count; k++) {
            const Kernel *a = f->files.file[i].kernel.at[k], *b = again.file[i].kernel.at[k];
            assert_string_equal(a->source, b->source);
            assert_string_equal(a->name, b->name);
        }
    sn_arena_free(again.arena);
}

/* An index that is out of range: the code of the node, and no access with it. */
static void indices_out_of_range_are_faults(void **state) {
    Fixture *f = *state;
    for (int order = 0; order < EMU_ORDER_COUNT; order++) {
        Run run = {.f = f, .arena = sn_arena_new(), .file = find_cluster_file(&f->files, "gather")};
        run.symbols = sizes[1], run.order = (EmuOrder)order;
        Array **inputs = random_inputs(&run);
        inputs[1]->i[17] = 1 << 20;
        assert_false(run_graph(&run, inputs));
        assert_string_equal(run.message, "");
        const Node *node = run.file->graph->body->first;
        while (node->op != SN_OP_CLUSTER) node = node->next;
        int position = 1;
        const Node *inner = node->body->first;
        for (; inner->op != SN_OP_GATHER; inner = inner->next) position++;
        assert_int_equal(run.fault, position);
        free_buffers(&run);
        sn_arena_free(run.arena);
    }
}

/* Runs a planted kernel in all orders: how many were noticed, by the emulator (`said` is in its message) or,
 * with `said` NULL, by a wrong result. `most`: as in Run. */
static int count_noticed_in(Fixture *f, const char *name, const int64_t *symbols, unsigned most,
                            const char *said) {
    const Planted *plant = planted;
    int noticed = 0;
    while (strcmp(plant->name, name) != 0) plant++;
    for (int order = 0; order < EMU_ORDER_COUNT; order++) {
        Run run = {.f = f, .arena = sn_arena_new(), .file = find_cluster_file(&f->files, plant->file)};
        run.symbols = symbols, run.order = (EmuOrder)order, run.most = most, run.instead = name;
        Array **inputs = random_inputs(&run);
        bool ran = run_graph(&run, inputs);
        if (said)
            noticed += !ran && strstr(run.message, said) != NULL;
        else
            noticed += ran && !equals_interpreter(&run, inputs, false);
        free_buffers(&run);
        sn_arena_free(run.arena);
    }
    return noticed;
}

static int count_noticed(Fixture *f, const char *name, const int64_t *symbols, const char *said) {
    return count_noticed_in(f, name, symbols, 0, said);
}

static void races_are_reported(void **state) {
    /* As a race, or as a load that comes before the store. */
    assert_int_equal(count_noticed(*state, "no_barrier", sizes[1], "shared memory"), EMU_ORDER_COUNT);
    /* A block that begins to fill its square again while some of its threads read it. */
    assert_int_equal(count_noticed_in(*state, "no_turn_barrier", sizes[2], 1, "race"), EMU_ORDER_COUNT);
    /* Two blocks store the same values, so that no result shows it. */
    assert_int_equal(count_noticed(*state, "overlapping_blocks", sizes[1], "race"), EMU_ORDER_COUNT);
}
static void a_divergent_barrier_is_reported(void **state) {
    assert_int_equal(count_noticed(*state, "some_barrier", sizes[1], "divergent barrier"), EMU_ORDER_COUNT);
}
static void uninitialised_shared_memory_is_reported(void **state) {
    assert_int_equal(count_noticed(*state, "no_share", sizes[1], "nothing has been stored"), EMU_ORDER_COUNT);
}
static void accesses_out_of_bounds_are_reported(void **state) {
    assert_int_equal(count_noticed(*state, "store_beyond", sizes[1], "of a buffer of 4"), EMU_ORDER_COUNT);
    assert_int_equal(count_noticed(*state, "store_beside", sizes[1], "a store out of bounds at 4"),
                     EMU_ORDER_COUNT);
    assert_int_equal(count_noticed(*state, "load_before", sizes[1], "a load out of bounds at -"),
                     EMU_ORDER_COUNT);
}

static void unaligned_packs_are_reported(void **state) {
    assert_int_equal(count_noticed(*state, "unaligned", sizes[1], "not a multiple of 16"), EMU_ORDER_COUNT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_equal_the_interpreter),
        cmocka_unit_test(same_cluster_same_text),
        cmocka_unit_test(indices_out_of_range_are_faults),
        cmocka_unit_test(races_are_reported),
        cmocka_unit_test(a_divergent_barrier_is_reported),
        cmocka_unit_test(uninitialised_shared_memory_is_reported),
        cmocka_unit_test(accesses_out_of_bounds_are_reported),
        cmocka_unit_test(unaligned_packs_are_reported),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
