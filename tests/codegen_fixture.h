/* For tests of generated code: kernels of case_fixture.h's clusters, compiled by the system compiler, run in several
 * pieces and compared with the interpreter. */
#ifndef SN_CODEGEN_FIXTURE_H
#define SN_CODEGEN_FIXTURE_H

#include "case_fixture.h"
#include "compiler_fixture.h"
#include "number.h"

#include <dlfcn.h>
#include <math.h>

typedef int KernelFunction(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end);

/* ---- compiling ---- */

static inline KernelFunction *compile(const Kernel *kernel, void **handle) {
    static const char *const command[] = {"gcc",
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
                                          NULL},
                             *const link[] = {"-lm", NULL}, *const reads[] = {NULL};
    Arena *arena = sn_arena_new();
    *handle = dlopen(compile_kept(arena, command, link, reads, ".c", kernel->source), RTLD_NOW);
    if (!*handle) fail_msg("%s", dlerror());
    sn_arena_free(arena);
    return (KernelFunction *)dlsym(*handle, kernel->name);
}

/* ---- running ---- */

/* A normal number of input `seed`. Those behind the first few come from one list, whose length is prime so that rows of a tensor
 * differ: drawing each would take longer than everything that is done with them. */
static inline double drawn_normal(uint64_t seed, uint64_t index) {
    enum { DRAWN = 4096, LENGTH = 65521, BETWEEN = 10007 };
    static double list[LENGTH];
    static bool filled;
    if (index < DRAWN) return sn_random_normal(seed, index);
    for (int i = 0; i < LENGTH && !filled; i++) list[i] = sn_random_normal(1, (uint64_t)i);
    filled = true;
    return list[(seed * BETWEEN + index) % LENGTH];
}

static inline double drawn_float(const Case *c, uint64_t seed, uint64_t index) {
    double x = drawn_normal(seed, index) * c->scale;
    return c->positive ? fabs(x) + 0.01 : x;
}

static inline int64_t drawn_integer(const Case *c, DType dtype, uint64_t seed, uint64_t index) {
    double u = sn_random_uniform(seed, index);
    if (dtype == SN_BOOL) return u < 0.5;
    int64_t x = c->low + (int64_t)(u * (double)(c->high - c->low + 1));
    return !sn_dtype_is_signed(dtype) && x < 0 ? -x : x;
}

static inline Array *random_input(Case *c, const Value *value, const int64_t *symbols, uint64_t seed) {
    int64_t extent[SN_MAX_RANK];
    for (int i = 0; i < value->type.rank; i++)
        assert_ok(sn_dim_eval(value->type.dim[i], symbols, NULL, &extent[i]));
    Array *array = sn_array_new(c->arena, value->type.dtype, value->type.rank, extent);
    for (int64_t i = 0; i < array->count; i++) {
        if (array->f)
            array->f[i] = drawn_float(c, seed, (uint64_t)i);
        else
            array->i[i] = drawn_integer(c, array->dtype, seed, (uint64_t)i);
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
static inline void check_kernel(Case *c, const Kernel *kernel, int count, const int64_t *symbols) {
    void *handle;
    KernelFunction *function = compile(kernel, &handle);
    assert_non_null(function);
    int width = sn_dims_symbol_count(c->graph->dims);
    for (int i = 0; i < count; i++) check_with(c, kernel, function, symbols + i * width);
    dlclose(handle);
    sn_arena_free(c->arena);
}

static inline void check(Case *c, int count, const int64_t *symbols) {
    check_kernel(c, generate(c), count, symbols);
}

static inline bool mentions(const Kernel *kernel, const char *word) {
    return strstr(kernel->source, word) != NULL;
}

static inline int count_of(const Kernel *kernel, const char *word) {
    int count = 0;
    for (const char *at = kernel->source; (at = strstr(at, word)); at++) count++;
    return count;
}

/* The text of a kernel, which is then checked as any other. */
static inline void check_text(Case *c, const char *word, bool expected, int count, const int64_t *symbols) {
    const Kernel *kernel = generate(c);
    if (mentions(kernel, word) != expected) fail_msg("%s is %s the text", word, expected ? "not in" : "in");
    check_kernel(c, kernel, count, symbols);
}

#endif
