#include "lower_template.h"

#include "cluster.h"
#include "view.h"

enum { ARGUMENT_AXIS = 100, VECTOR_AXIS = 110, LANE_AXIS = 111 };
enum { DOTS_PAY = 200 }; /* % of the rate of f32 */

HoleAxes sn_hole_axes(const KernelIr *kernel, const HoleSpec *spec, bool vector) {
    Dims *dims = kernel->dims;
    HoleAxes axes = {.lanes = NULL};
    int64_t lanes = kernel->target->vector_bytes / 4, extent;
    for (int i = 0; i < spec->count; i++)
        axes.argument[i] = sn_dim_axis(dims, ARGUMENT_AXIS + i, spec->extent[i]);
    if (!vector) return axes;
    axes.lanes = axes.argument[spec->lane];
    /* An aligned argument of known extent is lanes·q + l, which lets maps that cut it into heads stay affine.
     */
    if (spec->aligned && sn_dim_is(spec->extent[spec->lane], &extent) && extent >= lanes) {
        Dim q = sn_dim_axis(dims, VECTOR_AXIS, sn_dim(dims, extent / lanes));
        axes.lanes = sn_dim_axis(dims, LANE_AXIS, sn_dim(dims, lanes));
        axes.argument[spec->lane] = sn_dim_add(dims, sn_dim_mulc(dims, q, lanes), axes.lanes);
    }
    if (axes.lanes->kind != SN_DIM_AXIS) axes.lanes = NULL;
    return axes;
}

static const char *prepare_text(Arena *arena, const HoleSpec *spec, bool vector) {
    Text text = sn_text(arena);
    for (int i = 0; i < spec->count; i++)
        sn_text_add(&text, i ? ", i%d = %s" : "const int64_t i%d = %s", ARGUMENT_AXIS + i, spec->argument[i]);
    if (vector)
        sn_text_add(&text, ", i%d = %s / SN_LANES, i%d = 0", VECTOR_AXIS, spec->argument[spec->lane],
                    LANE_AXIS);
    if (spec->more) sn_text_add(&text, ", %s", spec->more);
    sn_text_add(&text, ";");
    return sn_text_string(&text);
}

/* Whether holes have v forms: threads of a GPU work at one element at a time. */
static bool has_vectors(const KernelIr *kernel) {
    return kernel->target->kind == SN_TARGET_CPU;
}

void sn_hole_add(Lower *lower, TemplateUse *use, const HoleSpec *spec, bool vector, const HoleAxes *axes,
                 Instr *value, const Dim *from, const Dim *to, int count) {
    Text arguments = sn_text(lower->arena);
    for (int i = 0; i < spec->count; i++) sn_text_add(&arguments, ", int64_t %s", spec->argument[i]);
    sn_schedule_hole(lower->kernel, lower->nest, from, to, count, axes->lanes);
    sn_push(lower->arena, &use->hole,
            ((Hole){.name = spec->name,
                    .arguments = sn_text_string(&arguments),
                    .prepare = prepare_text(lower->arena, spec, vector),
                    .vector = vector,
                    .nest = lower->nest,
                    .value = value,
                    .argument = spec->takes_value}));
}

void sn_hole_read(Lower *lower, TemplateUse *use, const HoleSpec *spec, const Value *value, const Dim *index,
                  const Dim *from, int count, void (*stand)(void *, const HoleAxes *, Dim *), void *user) {
    Dim *to = SN_ARRAY(lower->arena, Dim, count);
    for (int vector = 0; vector <= has_vectors(lower->kernel); vector++) {
        sn_lower_nest(lower);
        Instr *read = sn_lower_pull(lower, value, index);
        read = sn_lower_cast(lower, read, spec->integer ? SN_I32 : SN_F32, false);
        HoleAxes axes = sn_hole_axes(lower->kernel, spec, vector);
        stand(user, &axes, to);
        sn_hole_add(lower, use, spec, vector, &axes, read, from, to, count);
    }
}

/* Whether these lie as bf16. */
static bool are_pairs(Lower *lower, Value *const *operand, int count) {
    bool pairs = true;
    for (int i = 0; i < count && pairs; i++) {
        Type type = operand[i]->type;
        if (type.dtype != SN_BF16) return false;
        sn_lower_nest(lower);
        const Instr *load =
            sn_lower_pull(lower, operand[i], sn_view_axes(lower->dims, lower->arena, type.rank, type.dim));
        lower->kernel->nest.count--; /* only looked at */
        pairs = load->kind == SN_INSTR_LOAD && load->dtype == SN_BF16;
    }
    return pairs;
}

bool sn_hole_pairs(Lower *lower, Value *const *operand, int count) {
    return lower->kernel->target->dot_percent >= DOTS_PAY && are_pairs(lower, operand, count);
}

bool sn_hole_matrix(Lower *lower, Value *const *operand, int count) {
    return lower->kernel->target->matrix_percent >= DOTS_PAY && are_pairs(lower, operand, count);
}

/* The anchor's value is the first argument of the epilogue. */
static Instr *hole_argument(Lower *lower, const Value *value, const Dim *index) {
    const ClusterFrame *frame = lower->user;
    if (value->producer != frame->anchor) return NULL;
    for (int i = 0; i < frame->domain.rank; i++)
        if (index[i] != frame->full[i]) {
            sn_lower_fail(lower, "the %s's result read at another element", sn_op(value->producer->op)->text);
            return NULL;
        }
    return sn_instr(lower->kernel, lower->nest,
                    &(Instr){.kind = SN_INSTR_HOLE_ARG, .dtype = value->type.dtype, .buffer = 0});
}

static Status store_results(Lower *lower, const ClusterFrame *frame) {
    const Region *body = lower->cluster->body;
    Step *step = sn_nest_step(lower->kernel, lower->nest, false);
    for (int i = 0; i < body->result.count; i++) {
        const Dim *at;
        bool row;
        if (sn_cluster_is_statistic(body->result.at[i])) continue;
        if (!sn_cluster_place(lower->dims, lower->arena, frame, body->result.at[i], &at, &row))
            return sn_fail(SN_UNSUPPORTED, "a result that is no invertible view of the anchor's result");
        sn_lower_store(lower, step, i, body->result.at[i], at, at);
    }
    return lower->status;
}

/* One form of the hole that stores the cluster's results. */
static Status add_stores(Lower *lower, TemplateUse *use, const HoleSpec *spec, bool vector,
                         void (*stand)(void *, const HoleAxes *, Dim *), void *user, HoleAxes *axes) {
    ClusterFrame frame;
    const char *reason = sn_cluster_frame(lower->dims, lower->arena, lower->cluster, &frame);
    if (reason) return sn_fail(SN_UNSUPPORTED, "%s", reason);
    Dim *to = SN_ARRAY(lower->arena, Dim, frame.domain.rank);
    sn_lower_nest(lower);
    lower->anchor = hole_argument;
    lower->user = &frame;
    TRY(store_results(lower, &frame));
    *axes = sn_hole_axes(lower->kernel, spec, vector);
    stand(user, axes, to);
    sn_hole_add(lower, use, spec, vector, axes, NULL, frame.full, to, frame.domain.rank);
    lower->anchor = NULL;
    return lower->status;
}

Status sn_hole_store(Lower *lower, TemplateUse *use, const HoleSpec *spec,
                     void (*stand)(void *, const HoleAxes *, Dim *), void *user) {
    HoleAxes axes;
    TRY(add_stores(lower, use, spec, false, stand, user, &axes));
    return has_vectors(lower->kernel) ? add_stores(lower, use, spec, true, stand, user, &axes) : NULL;
}

Status sn_hole_ahead(Lower *lower, TemplateUse *use, const HoleSpec *spec,
                     void (*stand)(void *, const HoleAxes *, Dim *), void *user) {
    HoleAxes axes;
    TRY(add_stores(lower, use, spec, false, stand, user, &axes));
    use->hole.at[use->hole.count - 1].ahead = axes.argument[spec->count - 2];
    return NULL;
}

void sn_hole_scratch(Lower *lower, TemplateUse *use, const char *name, Dim floats) {
    HoleSpec spec = {.name = name, .count = 1, .argument = {"at"}, .extent = {floats}};
    sn_lower_nest(lower);
    HoleAxes stands = sn_hole_axes(lower->kernel, &spec, false);
    Instr *load = sn_instr(
        lower->kernel, lower->nest,
        &(Instr){.kind = SN_INSTR_LOAD,
                 .dtype = SN_F32,
                 .dim = stands.argument[0],
                 .buffer = sn_kernel_scratch(lower->kernel, SN_F32, sn_dim_mulc(lower->dims, floats, 4))});
    sn_hole_add(lower, use, &spec, false, &stands, load, stands.argument, stands.argument, 1);
    use->hole.at[use->hole.count - 1].address = true;
}

const char *sn_template_number(KernelIr *kernel, TemplateUse *use, Dim dim) {
    int64_t value;
    if (sn_dim_is(dim, &value)) return sn_arena_printf(kernel->arena, "INT64_C(%lld)", (long long)value);
    int k = 0;
    while (k < use->number.count && use->number.at[k] != dim) k++;
    if (k == use->number.count) sn_push(kernel->arena, &use->number, dim);
    return sn_arena_printf(kernel->arena, "n%d", k);
}

const char *sn_template_size(KernelIr *kernel, TemplateUse *use, Dim dim) {
    sn_push(kernel->arena, &use->size, dim);
    return sn_arena_printf(kernel->arena, "context->symbols[%d]", use->size.count - 1);
}
