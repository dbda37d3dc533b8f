/* Clusters around reductions or a scan.
 *
 * Every reduction of the cluster reduces the same axes of the same shape, the domain. A reduction that needs
 * another one's result comes in a later step: each step walks the row once, with whatever it needs of the
 * full shape computed again (or kept, see schedule.c). Results are stored where they are of the domain's
 * shape, of the shape that is left, or a view of either that can be inverted. */
#include "lower.h"

#include "cluster.h"
#include "view.h"

enum { MAX_REDUCTIONS = 64 };

typedef struct Reduction {
    const Node *node;
    int level; /* number of reductions that come before it in a chain, itself included */
    Acc *acc;
} Reduction;

typedef struct Reduce {
    Reduction at[MAX_REDUCTIONS];
    int count, levels;
    ClusterFrame frame;
    Map *levels_of; /* value id -> level, as a pointer */
} Reduce;

static Reduction *reduction_of(Reduce *reduce, const Node *node) {
    for (int i = 0; i < reduce->count; i++)
        if (reduce->at[i].node == node) return &reduce->at[i];
    return NULL;
}

static int level_of(const Reduce *reduce, const Value *value) {
    return (int)(intptr_t)sn_map_get(reduce->levels_of, &value->id, sizeof value->id);
}

/* Levels in order of the body, which is topological. */
static Status find_levels(const Node *cluster, Reduce *reduce) {
    for (const Node *node = cluster->body->first; node; node = node->next) {
        int level = 0;
        for (int i = 0; i < node->input_count; i++) {
            int below = node->input[i] ? level_of(reduce, node->input[i]) : 0;
            if (below > level) level = below;
        }
        if (sn_op(node->op)->class == SN_CLASS_REDUCE || node == reduce->frame.anchor) {
            level++;
            if (reduce->count == MAX_REDUCTIONS)
                return sn_fail(SN_UNSUPPORTED, "more than %d reductions in one cluster", MAX_REDUCTIONS);
            reduce->at[reduce->count++] = (Reduction){node, level, NULL};
            if (level > reduce->levels) reduce->levels = level;
        }
        for (int i = 0; i < node->output_count; i++)
            *sn_map_at(reduce->levels_of, &node->output[i]->id, sizeof(int)) = (void *)(intptr_t)level;
    }
    return NULL;
}

/* The value of a reduction at `index`: its accumulator, when `index` is the row that the nest is at. */
static Instr *reduction_at(Lower *lower, const Value *value, const Dim *index) {
    Reduce *reduce = lower->user;
    Reduction *reduction = reduction_of(reduce, value->producer);
    if (!reduction) return NULL;
    bool running = value->producer->op == SN_OP_CUMSUM;
    const Dim *here = running ? reduce->frame.full : reduce->frame.left;
    for (int i = 0; i < reduce->frame.domain.rank; i++)
        if (index[i] != here[i]) {
            sn_lower_fail(lower, "%s read at another row than its own", sn_op(value->producer->op)->text);
            return NULL;
        }
    return reduction->acc->result;
}

static void add_acc(Lower *lower, const Reduce *reduce, Reduction *reduction, Step *step,
                    const char *function) {
    Acc *acc = SN_NEW(lower->arena, Acc);
    acc->function = function;
    acc->dtype = reduction->node->output[0]->type.dtype;
    for (int p = 0; p < lower->nest->step.count; p++) acc->number += lower->nest->step.at[p].acc.count;
    acc->value = sn_lower_pull(lower, reduction->node->input[0], reduce->frame.full);
    acc->running = reduction->node->op == SN_OP_CUMSUM;
    acc->exclusive = acc->running && ((const AttrScan *)reduction->node->attr)->exclusive;
    acc->result = sn_instr(lower->kernel, lower->nest,
                           &(Instr){.kind = acc->running ? SN_INSTR_RUNNING : SN_INSTR_REDUCED,
                                    .dtype = acc->dtype,
                                    .acc = acc});
    reduction->acc = acc;
    sn_push(lower->arena, &step->acc, acc);
}

static const char *const reduce_function[SN_OP_COUNT] = {
    [SN_OP_REDUCE_SUM] = "add",  [SN_OP_REDUCE_MAX] = "max", [SN_OP_REDUCE_MIN] = "min",
    [SN_OP_REDUCE_PROD] = "mul", [SN_OP_CUMSUM] = "add",
};

static Status lower_accs(Lower *lower, Reduce *reduce) {
    for (int level = 1; level <= reduce->levels; level++) {
        Step *step = sn_nest_step(lower->kernel, lower->nest, true);
        for (int i = 0; i < reduce->count; i++) {
            if (reduce->at[i].level != level) continue;
            const char *function = reduce_function[reduce->at[i].node->op];
            if (!function)
                return sn_fail(SN_UNSUPPORTED, "%s inside a cluster", sn_op(reduce->at[i].node->op)->text);
            add_acc(lower, reduce, &reduce->at[i], step, function);
        }
    }
    return lower->status;
}

static Status lower_results(Lower *lower, const Reduce *reduce) {
    const Region *body = lower->cluster->body;
    bool scan = reduce->at[0].node->op == SN_OP_CUMSUM, any_row = false, last_loop = false;
    int ends = reduce->levels; /* the step of row results: after all loops */
    const Dim **at = SN_ARRAY(lower->arena, const Dim *, body->result.count);
    bool *row = SN_ARRAY(lower->arena, bool, body->result.count);
    for (int i = 0; i < body->result.count; i++) {
        const Value *value = body->result.at[i];
        if (!sn_cluster_place(lower->dims, lower->arena, &reduce->frame, value, &at[i], &row[i]))
            return sn_fail(SN_UNSUPPORTED, "a result that is no invertible view of the reduction's domain");
        any_row |= row[i];
        last_loop |= !row[i] && level_of(reduce, value) >= reduce->levels && !scan;
    }
    if (last_loop) sn_nest_step(lower->kernel, lower->nest, true), ends++;
    if (any_row) sn_nest_step(lower->kernel, lower->nest, false);
    for (int i = 0; i < body->result.count; i++) {
        const Value *value = body->result.at[i];
        int p = row[i] ? ends : scan ? 0 : level_of(reduce, value);
        sn_lower_store(lower, &lower->nest->step.at[p], i, value, at[i], at[i]);
    }
    return lower->status;
}

/* A new nest over the domain; a reversed scan walks its axis from the end. */
static void start(Lower *lower, Reduce *reduce) {
    ClusterFrame *frame = &reduce->frame;
    bool scan = frame->anchor->op == SN_OP_CUMSUM;
    bool reverse = scan && ((const AttrScan *)frame->anchor->attr)->reverse;
    sn_lower_nest(lower);
    lower->anchor = reduction_at;
    lower->user = reduce;
    for (int i = 0; i < frame->domain.rank; i++) {
        if (frame->full[i]->kind != SN_DIM_AXIS) continue;
        sn_push(lower->arena, frame->reduced[i] ? &lower->nest->reduced : &lower->nest->parallel,
                frame->full[i]);
        if (!reverse || !frame->reduced[i]) continue;
        Dim last = sn_dim_addc(lower->dims, frame->domain.dim[i], -1);
        frame->full[i] = frame->left[i] = sn_dim_sub(lower->dims, last, frame->full[i]);
    }
}

Status sn_lower_reduce(KernelIr *kernel) {
    Lower lower = sn_lower(kernel);
    Reduce *reduce = SN_NEW(kernel->arena, Reduce);
    reduce->levels_of = sn_map_new(kernel->arena);
    const char *reason = sn_cluster_frame(kernel->dims, kernel->arena, kernel->cluster, &reduce->frame);
    if (reason) return sn_fail(SN_UNSUPPORTED, "%s", reason);
    TRY(find_levels(kernel->cluster, reduce));
    start(&lower, reduce);
    TRY(lower_accs(&lower, reduce));
    TRY(lower_results(&lower, reduce));
    TRY(sn_schedule_nest(kernel, lower.nest));
    sn_schedule_split(kernel, lower.nest);
    return NULL;
}
