/* For tests of generated code: clusters made by a builder, compiled by the system compiler, run in several
 * pieces and compared with the interpreter. */
#ifndef SN_CODEGEN_FIXTURE_H
#define SN_CODEGEN_FIXTURE_H

#include "cluster.h"
#include "codegen.h"
#include "eval.h"
#include "fixture.h"
#include "infer.h"
#include "number.h"
#include "text_form.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int KernelFunction(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end);

/* A cluster in the making. */
typedef struct Case {
    Arena *arena;
    Graph *graph;
    Node *cluster;
    Builder b;
    Target target;
    int64_t low, high; /* of random integers */
    double scale;      /* of random floats */
    bool positive;     /* random floats are made positive */
    double tolerance;  /* relative to the root mean square of the result */
} Case;

static inline Case *begin_case(ClusterKind kind) {
    Arena *arena = sn_arena_new();
    assert_non_null(arena);
    Case *c = SN_NEW(arena, Case);
    c->arena = arena;
    c->graph = sn_graph_new(arena, "test");
    AttrCluster *attr = SN_NEW(arena, AttrCluster);
    attr->kind = kind;
    c->cluster = sn_node_new(c->graph, SN_OP_CLUSTER, attr, 0, NULL, 0);
    c->cluster->body = sn_region_new(c->graph, c->cluster);
    c->b = (Builder){.graph = c->graph, .region = c->cluster->body};
    int bytes = __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") ? 64
                : __builtin_cpu_supports("avx2")                                         ? 32
                                                                                         : 16;
    sn_target_cpu(&c->target, bytes, bytes == 64 ? 32 : 16, 32768, 1 << 20);
    c->target.stream_bytes = 8192; /* some sizes store past the caches, others do not */
    c->low = -5, c->high = 5, c->scale = 1, c->tolerance = 4e-6;
    return c;
}

/* A shape from text: "B, T, 768". */
static inline Type shape(Case *c, DType dtype, const char *text) {
    Dim *dim = SN_ARRAY(c->arena, Dim, SN_MAX_RANK);
    int rank = 0;
    while (*text) {
        assert_ok(sn_dim_parse(c->graph->dims, &text, NULL, 0, &dim[rank++]));
        while (*text == ',' || *text == ' ') text++;
    }
    return (Type){dtype, rank, dim};
}

static inline Value *param_of(Case *c, Type type) {
    sn_graph_input(c->graph, "x", type);
    return sn_region_param(c->cluster->body, type, NULL);
}

static inline Value *param(Case *c, DType dtype, const char *text) {
    return param_of(c, shape(c, dtype, text));
}

static inline Value *apply(Case *c, OpCode op, const void *attr, Value *a, Value *b) {
    Value *result = b ? sn_build2(&c->b, op, attr, a, b) : sn_build1(&c->b, op, attr, a);
    assert_ok(c->b.status);
    return result;
}

static inline Value *one(Case *c, OpCode op, Value *a) {
    return apply(c, op, NULL, a, NULL);
}
static inline Value *two(Case *c, OpCode op, Value *a, Value *b) {
    return apply(c, op, NULL, a, b);
}

static inline Value *expand(Case *c, Value *a, const char *text) {
    Type type = shape(c, SN_F32, text);
    Value *result = sn_build_expand(&c->b, a, type.rank, type.dim);
    assert_ok(c->b.status);
    return result;
}

static inline Value *reshape(Case *c, Value *a, const char *text) {
    Type type = shape(c, SN_F32, text);
    Value *result = sn_build_reshape(&c->b, a, type.rank, type.dim);
    assert_ok(c->b.status);
    return result;
}

static inline Value *transpose(Case *c, Value *a, const int *permutation) {
    Value *result = sn_build_transpose(&c->b, a, permutation);
    assert_ok(c->b.status);
    return result;
}

static inline Value *slice(Case *c, Value *a, int axis, int64_t start, const char *count, int64_t step) {
    Dims *dims = c->graph->dims;
    Value *result = sn_build_slice(&c->b, a, axis, sn_dim(dims, start), shape(c, SN_F32, count).dim[0], step);
    assert_ok(c->b.status);
    return result;
}

static inline Value *cast(Case *c, Value *a, DType to) {
    return apply(c, SN_OP_CAST, &(AttrCast){.to = to}, a, NULL);
}

/* A scalar broadcast to a value's shape. */
static inline Value *number(Case *c, double x, const Value *like) {
    Value *scalar = sn_build_scalar(&c->b, like->type.dtype, x);
    Value *result = sn_build_expand(&c->b, scalar, like->type.rank, like->type.dim);
    assert_ok(c->b.status);
    return result;
}

static inline Value *reduce(Case *c, OpCode op, Value *a, int64_t axis) {
    int64_t *axes = SN_ARRAY(c->arena, int64_t, 1);
    axes[0] = axis;
    return apply(c, op, &(AttrReduce){1, axes}, a, NULL);
}

/* Expands a reduction's result to the shape of `like`. */
static inline Value *spread(Case *c, Value *a, const Value *like) {
    Value *result = sn_build_expand(&c->b, a, like->type.rank, like->type.dim);
    assert_ok(c->b.status);
    return result;
}

static inline void result(Case *c, Value *value) {
    sn_region_result(c->cluster->body, value);
}

/* The cluster as a node of the graph. */
static inline void finish_graph(Case *c) {
    Region *body = c->cluster->body;
    Node *node = sn_node_new(c->graph, SN_OP_CLUSTER, c->cluster->attr, body->param.count,
                             c->graph->body->param.at, body->result.count);
    node->body = body;
    body->owner = node;
    sn_node_append(c->graph->body, node);
    assert_ok(sn_infer_node(c->graph, node));
    for (int i = 0; i < body->result.count; i++) sn_graph_output(c->graph, "y", node->output[i]);
    c->cluster = node;
}

static inline Kernel *generate(Case *c) {
    Kernel *kernel = NULL;
    finish_graph(c);
    Status status = sn_codegen(c->arena, c->graph->dims, c->cluster, &c->target, &kernel);
    if (status) {
        Text text = sn_text(c->arena);
        sn_node_print(&text, c->graph, c->cluster);
        fail_msg("%s in\n%s", sn_error_message(status), sn_text_string(&text));
    }
    const char *reason = sn_cluster_legal(c->graph->dims, c->cluster);
    if (reason) fail_msg("not legal: %s", reason);
    return kernel;
}

/* ---- compiling ---- */

static inline int run_program(const char *const *argv) {
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    int state = -1;
    assert_int_equal(waitpid(child, &state, 0), child);
    return state;
}

static inline KernelFunction *compile(const Kernel *kernel, void **handle) {
    char folder[] = "/tmp/sinter-codegen-XXXXXX", source[64], object[64];
    assert_non_null(mkdtemp(folder));
    snprintf(source, sizeof source, "%s/k.c", folder);
    snprintf(object, sizeof object, "%s/k.so", folder);
    FILE *file = fopen(source, "w");
    assert_non_null(file);
    assert_true(fputs(kernel->source, file) >= 0);
    assert_int_equal(fclose(file), 0);
    const char *const argv[] = {"gcc",
                                "-w",
                                "-Wno-psabi",
                                "-std=gnu11",
                                "-O1",
                                "-march=native",
                                "-fwrapv",
                                "-fno-math-errno",
                                "-ffp-contract=fast",
                                "-fno-trapping-math",
                                "-fno-strict-aliasing",
                                "-fPIC",
                                "-shared",
                                "-o",
                                object,
                                source,
                                "-lm",
                                NULL};
    if (run_program(argv) != 0) fail_msg("kernel does not compile: %s", source);
    *handle = dlopen(object, RTLD_NOW);
    if (!*handle) fail_msg("%s", dlerror());
    if (getenv("SINTER_KEEP_KERNELS"))
        fprintf(stderr, "%s\n", source);
    else
        unlink(source), unlink(object), rmdir(folder);
    return (KernelFunction *)dlsym(*handle, kernel->name);
}

/* ---- running ---- */

static inline Array *random_input(Case *c, const Value *value, const int64_t *symbols, uint64_t seed) {
    int64_t extent[SN_MAX_RANK];
    for (int i = 0; i < value->type.rank; i++)
        assert_ok(sn_dim_eval(value->type.dim[i], symbols, NULL, &extent[i]));
    Array *array = sn_array_new(c->arena, value->type.dtype, value->type.rank, extent);
    for (int64_t i = 0; i < array->count; i++) {
        double x = sn_random_normal(seed, (uint64_t)i) * c->scale, u = sn_random_uniform(seed, (uint64_t)i);
        if (array->f)
            array->f[i] = c->positive ? fabs(x) + 0.01 : x;
        else if (array->dtype == SN_BOOL)
            array->i[i] = u < 0.5;
        else
            array->i[i] = c->low + (int64_t)(u * (double)(c->high - c->low + 1));
        if (array->i && !sn_dtype_is_signed(array->dtype) && array->i[i] < 0) array->i[i] = -array->i[i];
    }
    return array;
}

/* The bytes of an array in its dtype, exactly as long as they are, so that a checker sees what is read
 * beyond. Floats of the array become what the bytes hold. */
static inline void *bytes_of(Array *array) {
    void *bytes = malloc((size_t)(array->count * sn_dtype_bytes(array->dtype)) + 1);
    assert_non_null(bytes);
    for (int64_t i = 0; i < array->count; i++) {
        if (array->f)
            sn_element_set(array->dtype, bytes, i, array->f[i]);
        else
            sn_element_set_int(array->dtype, bytes, i, array->i[i]);
    }
    Tensor tensor = {
        .dtype = array->dtype, .count = array->count, .payload = SN_PAYLOAD_BYTES, .bytes = bytes};
    for (int64_t i = 0; i < array->count && array->f; i++) array->f[i] = sn_tensor_get(&tensor, i);
    return bytes;
}

typedef struct Run {
    int fault;
    int buffer_count;
    void *buffer[32];
    int64_t param[64];
    int64_t items;
} Run;

/* One launch cut into pieces of `piece` items. Outputs are filled with 0x5a first; output i with place[i] >= 0 lies in
 * that input's memory. */
static inline void launch_at(Case *c, const Kernel *kernel, KernelFunction *function, const int64_t *symbols,
                             Run *run, int64_t piece, const int *place) {
    for (int i = 0; i < kernel->param_count; i++)
        assert_ok(sn_dim_eval(kernel->param[i], symbols, NULL, &run->param[i]));
    assert_ok(sn_dim_eval(kernel->items, symbols, NULL, &run->items));
    for (int i = 0; i < kernel->output_count; i++) {
        const Value *value = c->cluster->output[i];
        int64_t count;
        assert_ok(sn_dim_eval(sn_type_count(c->graph->dims, value->type), symbols, NULL, &count));
        size_t bytes = (size_t)(count * sn_dtype_bytes(value->type.dtype));
        if (place && place[i] >= 0)
            run->buffer[kernel->input_count + i] = run->buffer[place[i]];
        else
            memset(run->buffer[kernel->input_count + i] = malloc(bytes + 1), 0x5a, bytes + 1);
    }
    for (int i = 0; i < kernel->scratch_count; i++) {
        int64_t bytes;
        assert_ok(sn_dim_eval(kernel->scratch_bytes[i], symbols, NULL, &bytes));
        run->buffer[kernel->input_count + kernel->output_count + i] = malloc((size_t)bytes + 1);
    }
    run->buffer_count = kernel->input_count + kernel->output_count + kernel->scratch_count;
    assert_true(run->buffer_count <= 32 && kernel->param_count <= 64);
    run->fault = 0;
    for (int64_t at = (run->items - 1) / piece * piece; at >= 0 && run->items;
         at -= piece) { /* the last one first */
        int fault = function(run->buffer, run->param, at, at + piece < run->items ? at + piece : run->items);
        if (fault) run->fault = fault;
    }
    int64_t after = 0;
    if (kernel->after) assert_ok(sn_dim_eval(kernel->after, symbols, NULL, &after));
    if (after && !run->fault) run->fault = function(run->buffer, run->param, run->items, run->items + after);
}

static inline void launch(Case *c, const Kernel *kernel, KernelFunction *function, const int64_t *symbols,
                          Run *run, int64_t piece) {
    launch_at(c, kernel, function, symbols, run, piece, NULL);
}

static inline void compare(Case *c, const Array *truth, const void *bytes, const char *what) {
    Tensor tensor = {
        .dtype = truth->dtype, .count = truth->count, .payload = SN_PAYLOAD_BYTES, .bytes = bytes};
    double square = 0, error = 0, worst = 0;
    int64_t counted = 0, at = 0;
    for (int64_t i = 0; i < truth->count; i++) {
        if (!truth->f) {
            if (sn_tensor_get_int(&tensor, i) != truth->i[i])
                fail_msg("%s: element %lld is %lld, not %lld", what, (long long)i,
                         (long long)sn_tensor_get_int(&tensor, i), (long long)truth->i[i]);
            continue;
        }
        double x = sn_tensor_get(&tensor, i), y = truth->f[i], e = fabs(x - y);
        if (isnan(x) != isnan(y) || (isinf(x) != isinf(y) && fabs(y) < 3e38))
            fail_msg("%s: element %lld is %g, not %g", what, (long long)i, x, y);
        if (!isfinite(x) || !isfinite(y)) continue;
        square += y * y, error += e * e, counted++;
        if (e > worst) worst = e, at = i;
    }
    if (!counted) return;
    double rms = sqrt(square / (double)counted), rmse = sqrt(error / (double)counted);
    double tolerance = c->tolerance;
    if (truth->dtype == SN_F16) tolerance += 1e-3;
    if (truth->dtype == SN_BF16) tolerance += 8e-3;
    double least = truth->dtype == SN_F16 ? 0x1p-24 : 1e-30; /* halves are subnormal below 2^-14 */
    if (!(rmse <= tolerance * rms + least) || !(worst <= 30 * tolerance * rms + least))
        fail_msg("%s: RMSE %g of RMS %g, worst %g at %lld", what, rmse, rms, worst, (long long)at);
}

/* Runs once more with every pair of in-place buffers that do not exclude each other, `from` on: the same bits. */
static inline void check_in_place(Case *c, const Kernel *kernel, KernelFunction *function,
                                  const int64_t *symbols, Array *const *inputs, const Run *expected,
                                  int from) {
    Run run = {0};
    int place[32];
    bool taken[32] = {0};
    for (int i = 0; i < kernel->input_count; i++) run.buffer[i] = bytes_of(inputs[i]);
    for (int i = 0; i < kernel->output_count; i++) place[i] = -1;
    for (int i = from; i < kernel->in_place_count; i++) {
        const InPlace *pair = &kernel->in_place[i];
        if (taken[pair->input] || place[pair->output] >= 0) continue;
        taken[pair->input] = true;
        place[pair->output] = pair->input;
    }
    launch_at(c, kernel, function, symbols, &run, 1, place);
    for (int i = 0; i < kernel->output_count; i++) {
        int64_t count;
        const Value *value = c->cluster->output[i];
        assert_ok(sn_dim_eval(sn_type_count(c->graph->dims, value->type), symbols, NULL, &count));
        size_t length = (size_t)(count * sn_dtype_bytes(value->type.dtype));
        assert_memory_equal(run.buffer[kernel->input_count + i], expected->buffer[kernel->input_count + i],
                            length);
    }
    for (int i = 0; i < run.buffer_count; i++) {
        int output = i - kernel->input_count;
        if (output < 0 || output >= kernel->output_count || place[output] < 0) free(run.buffer[i]);
    }
}

/* Runs with the given symbols (in order of their numbers) and compares all outputs; other cuts of the work
 * must give the same bits. */
static inline void check_with(Case *c, const Kernel *kernel, KernelFunction *function,
                              const int64_t *symbols) {
    const Region *body = c->graph->body;
    Array **inputs = SN_ARRAY(c->arena, Array *, body->param.count),
          **outputs = SN_ARRAY(c->arena, Array *, body->result.count);
    Run run[2] = {0};
    for (int i = 0; i < body->param.count; i++) {
        inputs[i] = random_input(c, body->param.at[i], symbols, (uint64_t)i + 1);
        run[0].buffer[i] = run[1].buffer[i] = bytes_of(inputs[i]);
    }
    assert_ok(sn_eval_graph(c->arena, c->graph, false, (const Array *const *)inputs, outputs));
    launch(c, kernel, function, symbols, &run[0], INT64_MAX / 2);
    launch(c, kernel, function, symbols, &run[1], 1);
    assert_int_equal(run[0].fault, 0);
    for (int i = 0; i < body->result.count; i++) {
        char what[64];
        snprintf(what, sizeof what, "output %d", i);
        const void *bytes = run[0].buffer[kernel->input_count + i];
        compare(c, outputs[i], bytes, what);
        size_t length = (size_t)(outputs[i]->count * sn_dtype_bytes(outputs[i]->dtype));
        assert_memory_equal(bytes, run[1].buffer[kernel->input_count + i], length);
        assert_int_equal(((const unsigned char *)bytes)[length], 0x5a);
    }
    for (int i = 0; i < kernel->in_place_count; i++)
        check_in_place(c, kernel, function, symbols, inputs, &run[0], i);
    for (int r = 0; r < 2; r++)
        for (int i = r ? kernel->input_count : 0; i < run[r].buffer_count; i++) free(run[r].buffer[i]);
}

/* Generates, compiles and checks with each binding: `count` rows of as many symbols as there are. Ends the
 * case. */
static inline void check(Case *c, int count, const int64_t *symbols) {
    void *handle;
    const Kernel *kernel = generate(c);
    KernelFunction *function = compile(kernel, &handle);
    assert_non_null(function);
    int width = sn_dims_symbol_count(c->graph->dims);
    for (int i = 0; i < count; i++) check_with(c, kernel, function, symbols + i * width);
    dlclose(handle);
    sn_arena_free(c->arena);
}

#endif
