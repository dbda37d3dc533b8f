/* Recurrent networks of run-time length: recurrent.h and recurrent.cuh, with every operand as a hole. */
#include "lower_template.h"
#include "recurrent.h"

enum {
    THREADS = 256, /* SN_RECURRENT_THREADS */
    ROWS = 4,      /* sequences of a work item … */
    SHARED = 4096, /* … where their gates are no more than so many numbers each */
};

static const struct {
    const char *name, *cuda;
    int count;
    const char *argument[3];
} holes[SN_RECURRENT_OPERANDS] = {
    [SN_RECURRENT_X] = {"sn_recurrent_x", "x", 3, {"t", "b", "c"}},
    [SN_RECURRENT_WEIGHT] = {"sn_recurrent_weight", "weight", 2, {"k", "c"}},
    [SN_RECURRENT_STATE] = {"sn_recurrent_state", "state", 2, {"b", "c"}},
    [SN_RECURRENT_BIAS] = {"sn_recurrent_bias", "bias", 1, {"c"}},
    [SN_RECURRENT_PEEP] = {"sn_recurrent_peep", "peep", 1, {"c"}},
    [SN_RECURRENT_LENGTH] = {"sn_recurrent_length", "length", 1, {"b"}},
};

static bool has(const Node *node, int operand) {
    return operand < node->input_count && node->input[operand];
}

static void stand(void *user, const HoleAxes *axes, Dim *to) {
    const int *count = user;
    for (int i = 0; i < *count; i++) to[i] = axes->argument[i];
}

/* The s form, and with `lanes` also the v form along the last axis. */
static void read_operand(Lower *lower, TemplateUse *use, const Node *node, int operand, bool cuda,
                         bool lanes) {
    const Value *x = node->input[operand];
    HoleSpec spec = {.name = cuda ? holes[operand].cuda : holes[operand].name,
                     .count = holes[operand].count,
                     .lane = holes[operand].count - 1};
    Dim from[3];
    for (int i = 0; i < spec.count; i++) {
        spec.argument[i] = holes[operand].argument[i];
        spec.extent[i] = x->type.dim[i];
        from[i] = sn_dim_axis(lower->dims, i, spec.extent[i]);
    }
    if (lanes) {
        sn_hole_read(lower, use, &spec, x, from, from, spec.count, stand, &spec.count);
        return;
    }
    HoleAxes axes = sn_hole_axes(lower->kernel, &spec, false);
    sn_lower_nest(lower);
    Instr *element = sn_lower_pull(lower, x, from);
    sn_hole_add(lower, use, &spec, false, &axes, element, from, axes.argument, spec.count);
    use->hole.at[use->hole.count - 1].integer = operand == SN_RECURRENT_LENGTH;
}

static const char *spell_defines(const KernelIr *kernel, const Node *node, int64_t units, int rows,
                                 bool cuda) {
    static const char *const function[] = {"sigmoid", "tanh", "relu"};
    const AttrRecurrent *attr = node->attr;
    bool wide = node->input[SN_RECURRENT_X]->type.dtype == SN_F64;
    int bias = has(node, SN_RECURRENT_BIAS), peep = has(node, SN_RECURRENT_PEEP);
    int length = has(node, SN_RECURRENT_LENGTH);
    if (cuda)
        return sn_arena_printf(
            kernel->arena,
            "    typedef %s Real;\n    static constexpr int KIND = %d, UNITS = %lld, GATE = %d, CANDIDATE = "
            "%d, OUTPUT "
            "= %d;\n    static constexpr bool REVERSE = %d, LATE = %d, BIAS = %d, PEEP = %d, LENGTH = %d;\n",
            wide ? "double" : "float", attr->kind, (long long)units, attr->gate, attr->candidate,
            attr->output, attr->reverse, attr->late_reset, bias, peep, length);
    return sn_arena_printf(
        kernel->arena,
        "#define SN_RECURRENT_REAL %s\n#define SN_RECURRENT_TYPE %s\n#define SN_RECURRENT_LANES %d\n"
        "#define SN_RECURRENT_KIND %d\n#define SN_RECURRENT_UNITS %lld\n#define SN_RECURRENT_ROWS %d\n"
        "#define SN_RECURRENT_GATE %s\n#define SN_RECURRENT_CANDIDATE %s\n#define SN_RECURRENT_OUTPUT %s\n"
        "#define SN_RECURRENT_REVERSE %d\n#define SN_RECURRENT_LATE %d\n#define SN_RECURRENT_BIAS %d\n"
        "#define SN_RECURRENT_PEEP %d\n#define SN_RECURRENT_LENGTH %d\n",
        wide ? "double" : "float", wide ? "f64" : "f32", !wide, attr->kind, (long long)units, rows,
        function[attr->gate], function[attr->candidate], function[attr->output], attr->reverse,
        attr->late_reset, bias, peep, length);
}

Status sn_lower_recurrent(KernelIr *kernel) {
    const Region *body = kernel->cluster->body;
    const Node *node = body->result.at[0]->producer;
    if (!node || node->op != SN_OP_RECURRENT || body->result.count != 1)
        return sn_fail(SN_UNSUPPORTED, "a recurrent network that is not stored as it is");
    Lower lower = sn_lower(kernel);
    TemplateUse *use = SN_NEW(kernel->arena, TemplateUse);
    bool cuda = kernel->target->kind == SN_TARGET_CUDA;
    Type x = node->input[SN_RECURRENT_X]->type;
    int64_t units;
    if (!sn_dim_is(node->input[SN_RECURRENT_WEIGHT]->type.dim[0], &units))
        return sn_fail(SN_UNSUPPORTED, "a number of units that is not known");
    for (int k = 0; k < SN_RECURRENT_OPERANDS; k++)
        if (has(node, k))
            read_operand(&lower, use, node, k, cuda, !cuda && k == SN_RECURRENT_WEIGHT && x.dtype == SN_F32);
    TRY(lower.status);
    const AttrRecurrent *attr = node->attr;
    int rows = units * sn_recurrent_gates(attr->kind) <= SHARED ? ROWS : 1;
    use->defines = spell_defines(kernel, node, units, rows, cuda);
    const char *steps = sn_template_number(kernel, use, x.dim[0]);
    const char *batch = sn_template_number(kernel, use, x.dim[1]);
    const char *real = x.dtype == SN_F64 ? "double" : "float";
    const char *out =
        sn_arena_printf(kernel->arena, cuda ? "use, (%s *)args.buffer" : "context, (%s *)buffers", real);
    use->driver = sn_arena_printf(kernel->arena, "sn_recurrent_run(%s[%d], %s, %s, %s);", out,
                                  kernel->input_count, steps, batch, cuda ? "block" : "begin, end");
    use->items = cuda ? x.dim[1] : sn_dim_ceildiv(lower.dims, x.dim[1], sn_dim(lower.dims, rows));
    use->file[0] = cuda ? "recurrent.cuh" : "recurrent.h";
    use->maths = true;
    use->threads = THREADS;
    if (cuda) use->shared = sn_dim(lower.dims, units * sn_dtype_bytes(x.dtype));
    kernel->use = use;
    return NULL;
}
