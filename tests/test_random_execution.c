/* Random graphs compiled and run on the CPU, in both modes, against the interpreter in double precision.
 *
 * Eager must come close to it; compiled may be no worse than eager: RMSE ≤ m · RMSE(eager) + 4·eps·max|ref|,
 * m 2, or 3 for bf16 or under 1,000 elements. NaN and infinities stand in the same places. The same for graphs with the
 * gradients of their results; these may be differences of almost equal numbers, so errors are counted as those of a 1.
 * SN_SEED=first[:count] runs other seeds. */
#include "compile.h"
#include "execute_fixture.h"
#include "gradient_fixture.h"

#include <float.h>

/* The second binding is large enough for whole vectors and what remains of them. */
enum { GRAPHS = 16, DIFFERENTIATED = 4, MOST_OUTPUTS = 3, LARGE_SYMBOL = 37 };

typedef struct Accuracy {
    double rmse, worst, largest; /* of the finite elements */
} Accuracy;

static DType dtype_of_seed(uint64_t seed) {
    static const DType dtypes[] = {SN_F32, SN_F32, SN_F16, SN_F32, SN_BF16, SN_F32, SN_F64, SN_F32};
    return dtypes[seed % 8];
}

static double epsilon_of(DType dtype) {
    return dtype == SN_F16 ? 0x1p-11 : dtype == SN_BF16 ? 0x1p-8 : FLT_EPSILON;
}

/* Where an output is no float it is compared exactly; floats go into *accuracy. */
static const char *measure(Arena *arena, const sn_Tensor *got, const Array *expected, Accuracy *accuracy) {
    if (got->element_type != sn_dtype_onnx(expected->dtype)) return "another element type";
    if (got->rank != expected->rank) return "another rank";
    for (int i = 0; i < got->rank; i++)
        if (got->extent[i] != expected->extent[i]) return "another shape";
    Tensor tensor = {.dtype = expected->dtype, .count = expected->count, .bytes = got->data};
    double square = 0;
    *accuracy = (Accuracy){0};
    for (int64_t i = 0; i < expected->count; i++) {
        if (!expected->f) {
            if (sn_tensor_get_int(&tensor, i) != expected->i[i])
                return sn_arena_printf(arena, "element %lld is %lld, not %lld", (long long)i,
                                       (long long)sn_tensor_get_int(&tensor, i), (long long)expected->i[i]);
            continue;
        }
        double x = sn_tensor_get(&tensor, i), y = expected->f[i];
        if (isnan(x) != isnan(y) || isinf(x) != isinf(y) || (isinf(x) && x != y))
            return sn_arena_printf(arena, "element %lld is %g, not %g", (long long)i, x, y);
        if (!isfinite(y)) continue;
        square += (x - y) * (x - y);
        accuracy->worst = fmax(accuracy->worst, fabs(x - y));
        accuracy->largest = fmax(accuracy->largest, fabs(y));
    }
    accuracy->rmse = sqrt(square / (double)(expected->count + !expected->count));
    return NULL;
}

typedef struct Run {
    sn_Program *program;
    sn_Context *context;
} Run;

static const char *start(Maker *m, const char *cache, bool eager, Run *run) {
    Arena *arena = sn_arena_new();
    Ledger ledger = {0};
    PipelineOptions options = {.eager = eager, .verify = true};
    Plan *plan;
    Status status = sn_program_open(arena, getenv("SN_DEVICE"), 1, cache, &run->program);
    if (!status)
        status =
            sn_compile_plan(arena, m->graph, &run->program->device->target, &options, NULL, &ledger, &plan);
    if (!status) status = sn_program_load(run->program, plan);
    if (!status) status = sn_context_new(run->program, NULL, &run->context);
    return status ? sn_error_message(status) : NULL;
}

static void stop(Run *run) {
    sn_context_free(run->context);
    sn_program_free(run->program);
}

static void *bytes_of(Maker *m, const Array *array) {
    void *bytes = sn_arena_alloc(m->arena, (size_t)(array->count * sn_dtype_bytes(array->dtype)) + 1);
    for (int64_t i = 0; i < array->count; i++) {
        if (array->f)
            sn_element_set(array->dtype, bytes, i, array->f[i]);
        else
            sn_element_set_int(array->dtype, bytes, i, array->i[i]);
    }
    return bytes;
}

static const char *run_mode(Maker *m, Run *run, const Array **inputs, Array **expected, Accuracy *accuracy) {
    const Region *body = m->graph->body;
    for (int i = 0; i < body->param.count; i++) {
        const Array *array = inputs[i];
        sn_Tensor tensor = {sn_dtype_onnx(array->dtype), array->rank, array->extent, bytes_of(m, array)};
        must(sn_context_set_input(run->context, i, &tensor), "input");
    }
    Status status = sn_context_run(run->context);
    if (status) return sn_error_message(status);
    for (int i = 0; i < output_count(m->graph); i++) {
        sn_Tensor got;
        must(sn_context_output(run->context, i, &got), "output");
        const char *reason = measure(m->arena, &got, expected[i], &accuracy[i]);
        if (reason) return sn_arena_printf(m->arena, "output %d: %s", i, reason);
    }
    return NULL;
}

/* The widest rounding between the inputs and an output. */
static double epsilon_of_graph(const Graph *graph) {
    double epsilon = 0;
    for (const Node *node = graph->body->first; node; node = node->next)
        epsilon = fmax(epsilon, epsilon_of(node->output[0]->type.dtype));
    return epsilon;
}

static const char *judge(Maker *m, const Accuracy *compiled, const Accuracy *eager, Array **expected,
                         double least) {
    double epsilon = epsilon_of_graph(m->graph);
    for (int i = 0; i < output_count(m->graph); i++) {
        double largest = fmax(eager[i].largest, least);
        double bound = fmin(2000 * epsilon, 0.25) * (largest + epsilon);
        double times = epsilon == 0x1p-8 || expected[i]->count < 1000 ? 3 : 2;
        double rounding = 4 * epsilon * largest + epsilon * epsilon;
        if (!(eager[i].worst <= bound))
            return sn_arena_printf(m->arena, "output %d: eager is off by %g of %g", i, eager[i].worst,
                                   eager[i].largest);
        if (!(compiled[i].rmse <= times * eager[i].rmse + rounding) ||
            !(compiled[i].worst <= 2 * times * eager[i].worst + 8 * rounding))
            return sn_arena_printf(
                m->arena, "output %d: compiled is off by %g (RMSE %g), eager by %g (%g), of %g", i,
                compiled[i].worst, compiled[i].rmse, eager[i].worst, eager[i].rmse, eager[i].largest);
    }
    return NULL;
}

static const char *run_both(Maker *m, Run *run, uint64_t seed, double least) {
    int count = m->graph->body->result.count;
    Array **expected = SN_ARRAY(m->arena, Array *, count);
    Accuracy *accuracy[2] = {SN_ARRAY(m->arena, Accuracy, count), SN_ARRAY(m->arena, Accuracy, count)};
    for (int setting = 0; setting < 2; setting++) {
        int64_t symbols[64];
        Maker random = {.seed = seed, .at = 900 + 7 * (uint64_t)setting};
        int most = setting ? LARGE_SYMBOL : LARGEST_SYMBOL;
        for (int s = 0; s < 64; s++) symbols[s] = m->least + pick(&random, most + 1 - (int)m->least);
        const Array **inputs = random_inputs(m, symbols, seed + (uint64_t)setting);
        Status status = sn_eval_graph(m->arena, m->graph, false, inputs, expected);
        if (status) { /* a fault of the graph itself, or a check that these sizes break */
            sn_error_free(status);
            continue;
        }
        const char *reason = NULL;
        for (int eager = 0; eager < 2 && !reason; eager++) {
            reason = run_mode(m, &run[eager], inputs, expected, accuracy[eager]);
            if (reason) reason = sn_arena_printf(m->arena, "%s: %s", eager ? "eager" : "compiled", reason);
        }
        if (!reason) reason = judge(m, accuracy[0], accuracy[1], expected, least);
        if (reason)
            return sn_arena_printf(m->arena, "A = %lld, B = %lld: %s", (long long)symbols[0],
                                   (long long)symbols[1], reason);
    }
    return NULL;
}

static bool run_seed(const char *cache, uint64_t seed, int length, bool gradients, bool print) {
    Arena *arena = sn_arena_new();
    Maker *m =
        random_graph(arena, seed, gradients ? SN_F32 : dtype_of_seed(seed), length, MOST_OUTPUTS, !gradients);
    Run run[2] = {0};
    const char *reason = NULL;
    m->special &= !gradients; /* derivatives at infinity depend on how they are spelled */
    if (output_count(m->graph) > 0 && !(gradients && differentiated(m).error)) {
        reason = start(m, cache, false, &run[0]);
        if (!reason) reason = start(m, cache, true, &run[1]);
        if (!reason) reason = run_both(m, run, seed, gradients);
    }
    if (reason && print) {
        Text text = sn_text(arena);
        sn_graph_print(&text, m->graph);
        fprintf(stderr, "seed %llu, %d steps: %s\n%s", (unsigned long long)seed, length, reason,
                sn_text_string(&text));
    }
    stop(&run[0]), stop(&run[1]);
    sn_arena_free(arena);
    return !reason;
}

static void run_seeds(void **state, int graphs, bool gradients) {
    unsigned long long first = 1, count = (unsigned long long)graphs;
    const char *other = getenv("SN_SEED");
    if (other && sscanf(other, "%llu:%llu", &first, &count) == 1) count = 1;
    for (uint64_t seed = first; seed < first + count; seed++) {
        int length = 4 + (int)(seed * 2654435761u % 8), shorter = 1;
        if (run_seed(*state, seed, length, gradients, false)) continue;
        while (shorter < length && run_seed(*state, seed, shorter, gradients, false)) shorter++;
        run_seed(*state, seed, shorter, gradients, true);
        fail();
    }
}

static void kernels_keep_the_meaning(void **state) {
    run_seeds(state, GRAPHS, false);
}

static void gradients_keep_the_meaning(void **state) {
    run_seeds(state, DIFFERENTIATED, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(kernels_keep_the_meaning),
                                       cmocka_unit_test(gradients_keep_the_meaning)};
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}
