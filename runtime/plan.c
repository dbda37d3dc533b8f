#include "plan.h"
#include "cluster_key.h"
#include "plan_order.h"

typedef struct Planner {
    Arena *arena;
    const Graph *graph;
    const Target *target;
    CodegenFunction *codegen;
    int *index_of; /* by value id: position in `value` */
    SN_VEC(PlanValue) value;
    SN_VEC(PlanLaunch) launch;
    SN_VEC(const Kernel *) kernel;
    SN_VEC(PlanStep) step;
    SN_VEC(Dim) dim;
    Map *dim_at, *kernel_at; /* position + 1 */
    Map *by_key;             /* kernels by sn_cluster_key */
    int *local;              /* for sn_cluster_key */
    int *mask_of;            /* by node id: position in `value` of the mask that its launch writes */
    int *launch_of;          /* by node id: of its launch */
    int *summed_by;          /* by node id: the launch whose product makes its sum, too; -1: none */
    int param_count;
    Levels levels;
} Planner;

static int remember_dim(Planner *p, Dim dim) {
    if (!dim) return -1;
    void **slot = sn_map_at(p->dim_at, &dim, sizeof dim);
    if (!*slot) {
        sn_push(p->arena, &p->dim, dim);
        *slot = (void *)(intptr_t)p->dim.count;
    }
    return (int)(intptr_t)*slot - 1;
}

static const int *remember_dims(Planner *p, int count, const Dim *dim) {
    int *at = SN_ARRAY(p->arena, int, count);
    for (int i = 0; i < count; i++) at[i] = remember_dim(p, dim[i]);
    return at;
}

static int remember_kernel(Planner *p, const Kernel *kernel) {
    void **slot = sn_map_at(p->kernel_at, &kernel->hash, sizeof kernel->hash);
    if (!*slot) {
        sn_push(p->arena, &p->kernel, kernel);
        *slot = (void *)(intptr_t)p->kernel.count;
    }
    return (int)(intptr_t)*slot - 1;
}

/* ---- values ---- */

static int add_value(Planner *p, const Value *value, Type type, Storage storage, int first) {
    Dims *dims = p->graph->dims;
    Dim bytes = sn_dim_mulc(dims, sn_type_count(dims, type), sn_dtype_bytes(type.dtype));
    PlanValue made = {.value = value,
                      .type = type,
                      .storage = storage,
                      .bytes = remember_dim(p, bytes),
                      .first = first,
                      .last = first,
                      .input = -1,
                      .over = -1};
    sn_push(p->arena, &p->value, made);
    if (value) p->index_of[value->id] = p->value.count - 1;
    return p->value.count - 1;
}

static int add_scratch(Planner *p, Dim bytes, int launch) {
    Dim *extent = SN_NEW(p->arena, Dim);
    *extent = bytes;
    return add_value(p, NULL, (Type){SN_U8, 1, extent}, SN_STORAGE_SCRATCH, launch);
}

static void add_inputs_and_constants(Planner *p) {
    const Region *body = p->graph->body;
    for (int i = 0; i < body->param.count; i++) {
        const Value *value = body->param.at[i];
        int at = add_value(p, value, value->type, SN_STORAGE_INPUT, -1);
        p->value.at[at].input = i;
    }
    for (const Node *node = body->first; node; node = node->next) {
        if (node->op != SN_OP_CONSTANT) continue;
        const Value *value = node->output[0];
        int at = add_value(p, value, value->type, SN_STORAGE_CONSTANT, -1);
        p->value.at[at].tensor = ((const AttrConstant *)node->attr)->tensor;
    }
}

/* ---- launches ---- */

/* The operators of a cluster's body, each once, in order of first use. */
static const char *summary(Arena *arena, const Node *cluster) {
    Text text = sn_text(arena);
    const Node *first = cluster->body->first;
    for (const Node *node = first; node; node = node->next) {
        OpClass class = sn_op(node->op)->class;
        if (class == SN_CLASS_SOURCE || node->op == SN_OP_VIEW) continue;
        bool met = false;
        for (const Node *before = first; before != node && !met; before = before->next)
            met = before->op == node->op;
        if (!met) sn_text_add(&text, "%s%s", text.length ? " " : "", sn_op(node->op)->text);
    }
    return text.length ? sn_text_string(&text) : "view";
}

static Status use_inputs(Planner *p, const Node *cluster, int launch, int *buffer) {
    for (int i = 0; i < cluster->input_count; i++) {
        const Value *value = cluster->input[i];
        if (!value) return sn_fail(SN_INTERNAL, "a cluster with an absent input");
        int at = p->index_of[value->id];
        if (at < 0) return sn_fail(SN_INTERNAL, "a cluster uses %%%d, which nothing makes", value->id);
        PlanValue *used = &p->value.at[at];
        if (cluster->setup && used->storage != SN_STORAGE_CONSTANT && used->storage != SN_STORAGE_SETUP)
            return sn_fail(SN_INTERNAL, "a setup cluster depends on the run through %%%d", value->id);
        used->last = launch;
        buffer[i] = at;
    }
    return NULL;
}

static Status check_kernel(const Kernel *kernel, const Node *cluster) {
    bool right = kernel->input_count == cluster->input_count &&
                 kernel->output_count == cluster->output_count && kernel->items;
    return right ? NULL : sn_fail(SN_INTERNAL, "kernel %s does not fit its cluster", kernel->name);
}

/* A launch of the kernel with these buffers. */
static PlanLaunch kernel_launch(Planner *p, const Node *cluster, const Kernel *kernel, int count,
                                const int *buffer) {
    PlanLaunch launch = {.cluster = cluster,
                         .kernel = kernel,
                         .unique = remember_kernel(p, kernel),
                         .summary = summary(p->arena, cluster),
                         .buffer_count = count,
                         .output_count = kernel->output_count,
                         .group = 1,
                         .buffer = buffer,
                         .summed_by = -1,
                         .param_start = p->param_count,
                         .param = remember_dims(p, kernel->param_count, kernel->param),
                         .items = remember_dim(p, kernel->items),
                         .after = remember_dim(p, kernel->after),
                         .together = remember_dim(p, kernel->together),
                         .shared = remember_dim(p, kernel->shared),
                         .flops = remember_dim(p, kernel->flops),
                         .bytes = remember_dim(p, kernel->bytes)};
    p->param_count += kernel->param_count;
    return launch;
}

static PlanMatrix plan_matrix(Planner *p, const LibraryMatrix *matrix) {
    bool there = matrix->buffer >= 0;
    return (PlanMatrix){there ? remember_dim(p, matrix->offset) : -1,
                        there ? remember_dim(p, matrix->stride) : -1,
                        there ? remember_dim(p, matrix->batch_stride) : -1};
}

static PlanProduct *plan_form(Planner *p, const LibraryProduct *form) {
    PlanProduct *product = SN_NEW(p->arena, PlanProduct);
    *product = (PlanProduct){.form = form,
                             .batch = remember_dim(p, form->batch),
                             .M = remember_dim(p, form->M),
                             .N = remember_dim(p, form->N),
                             .K = remember_dim(p, form->K),
                             .a = plan_matrix(p, &form->a),
                             .b = plan_matrix(p, &form->b),
                             .c = plan_matrix(p, &form->c),
                             .d = plan_matrix(p, &form->d),
                             .bias = plan_matrix(p, &form->bias),
                             .aux = plan_matrix(p, &form->aux),
                             .sum = plan_matrix(p, &form->sum),
                             .needs = -1};
    return product;
}

/* The buffers that a product with an epilogue of training has besides, in the order of the step's. */
static void add_more(Planner *p, const PlanStep *step, int at, PlanLaunch *launch) {
    const Node *cluster = step->cluster;
    if (step->mask == cluster) {
        Dims *dims = p->graph->dims;
        Dim bits = sn_dim_mul(dims, step->full->M, step->full->aux.stride);
        Dim bytes = sn_dim_floordiv(dims, bits, sn_dim(dims, 8));
        p->mask_of[cluster->id] = add_scratch(p, bytes, at);
    }
    if (step->mask) {
        int mask = p->mask_of[step->mask->id];
        p->value.at[mask].last = at;
        launch->more[launch->more_count++] = mask;
    }
    if (step->sum) {
        const Value *sum = step->sum->output[0];
        p->summed_by[step->sum->id] = at;
        launch->more[launch->more_count++] = add_value(p, sum, sum->type, SN_STORAGE_ACTIVATION, at);
    }
}

static const PlanProduct *plan_product(Planner *p, const PlanStep *step, int at, PlanLaunch *launch) {
    const LibraryProduct *form = launch->kernel->library;
    if (!form) return NULL;
    PlanProduct *product = plan_form(p, form);
    if (step->full) {
        PlanProduct *full = plan_form(p, step->full);
        add_more(p, step, at, launch);
        if (step->mask && step->mask != step->cluster) full->needs = p->launch_of[step->mask->id];
        product->full = full;
    }
    if (launch->kernel->rest) {
        PlanLaunch *rest = SN_NEW(p->arena, PlanLaunch);
        *rest = kernel_launch(p, launch->cluster, launch->kernel->rest, launch->buffer_count, launch->buffer);
        product->rest = rest;
    }
    return product;
}

static Status plan_step(Planner *p, const PlanStep *step) {
    const Node *cluster = step->cluster;
    const Kernel *kernel = step->kernel;
    TRY(check_kernel(kernel, cluster));
    int at = p->launch.count, inputs = kernel->input_count, outputs = kernel->output_count;
    int count = inputs + outputs + kernel->scratch_count;
    int *buffer = SN_ARRAY(p->arena, int, count);
    TRY(use_inputs(p, cluster, at, buffer));
    for (int i = 0; i < outputs; i++) {
        const Value *value = cluster->output[i];
        int made =
            p->index_of[value->id]; /* there is already what another launch makes in this one's place */
        if (made < 0)
            made = add_value(p, value, value->type, cluster->setup ? SN_STORAGE_SETUP : SN_STORAGE_ACTIVATION,
                             at);
        p->value.at[made].last = at;
        buffer[inputs + i] = made;
    }
    for (int i = 0; i < kernel->scratch_count; i++)
        buffer[inputs + outputs + i] = add_scratch(p, kernel->scratch_bytes[i], at);
    PlanLaunch launch = kernel_launch(p, cluster, kernel, count, buffer);
    launch.segment = p->levels.node[cluster->id];
    launch.fails = step->fails;
    launch.product = plan_product(p, step, at, &launch);
    launch.summed_by = p->summed_by[cluster->id];
    p->launch_of[cluster->id] = at;
    sn_push(p->arena, &p->launch, launch);
    return NULL;
}

/* Layers repeat: a cluster that is like an earlier one has its kernel. */
static Status make_kernel(Planner *p, const Node *cluster, const Kernel **out) {
    Hash key = sn_cluster_key(cluster, p->local);
    void **slot = sn_map_at(p->by_key, &key, sizeof key);
    if (!*slot) {
        Kernel *made;
        TRY(p->codegen(p->arena, p->graph->dims, cluster, p->target, &made));
        *slot = made;
    }
    *out = *slot;
    return NULL;
}

static Status add_steps(Planner *p, bool setup, Phase phase) {
    for (const Node *node = p->graph->body->first; node; node = node->next) {
        if (node->op == SN_OP_CONSTANT) continue;
        if (node->op != SN_OP_CLUSTER)
            return sn_fail(SN_INTERNAL, "%s outside of a cluster in a fused graph", sn_op(node->op)->text);
        if (node->setup != setup || (!setup && node->phase != phase)) continue;
        PlanStep step = {.cluster = node};
        Status status = make_kernel(p, node, &step.kernel);
        if (status) return sn_status_prefix(status, "%s", sn_origin_text(p->arena, node->origin));
        sn_push(p->arena, &p->step, step);
    }
    return NULL;
}

/* What waits for a size comes behind all that does not; otherwise the order stays. Training has no such sizes, and what
 * the library does for a training step is left alone. */
static void order_levels(Planner *p, int first) {
    PlanStep *copy = SN_ARRAY(p->arena, PlanStep, p->step.count);
    int placed = first;
    for (int i = 0; i < p->step.count; i++) copy[i] = p->step.at[i];
    for (int level = 0; level <= p->levels.most; level++)
        for (int i = first; i < p->step.count; i++)
            if (p->levels.node[copy[i].cluster->id] == level) p->step.at[placed++] = copy[i];
}

/* No phase depends on a later one. */
static Status add_launches(Planner *p, Plan *plan) {
    TRY(add_steps(p, true, SN_PHASE_FORWARD));
    plan->setup_count = p->step.count;
    for (Phase phase = SN_PHASE_FORWARD; phase <= SN_PHASE_UPDATE; phase++) TRY(add_steps(p, false, phase));
    if (p->levels.most) order_levels(p, plan->setup_count);
    sn_plan_find_failures(p->arena, p->step.at, p->step.count);
    if (!plan->eager && !p->levels.most)
        sn_plan_find_epilogues(p->arena, p->graph->dims, p->step.at, p->step.count);
    if (!plan->eager) sn_plan_order(p->arena, p->graph, p->step.at, p->step.count);
    for (int i = 0; i < p->step.count; i++) {
        Status status = plan_step(p, &p->step.at[i]);
        const Origin *origin = p->step.at[i].cluster->origin;
        if (status) return sn_status_prefix(status, "%s", sn_origin_text(p->arena, origin));
    }
    return NULL;
}

/* ---- ends ---- */

static Status add_outputs(Planner *p, Plan *plan) {
    const Region *body = p->graph->body;
    PlanOutput *output = SN_ARRAY(p->arena, PlanOutput, body->result.count);
    for (int i = 0; i < body->result.count; i++) {
        const Value *result = body->result.at[i];
        int at = p->index_of[result->id];
        if (at < 0) return sn_fail(SN_INTERNAL, "nothing makes the output %%%d", result->id);
        PlanValue *value = &p->value.at[at];
        if (value->storage == SN_STORAGE_ACTIVATION) value->storage = SN_STORAGE_OUTPUT;
        value->last = p->launch.count;
        output[i] = (PlanOutput){.value = at,
                                 .copied = value->storage != SN_STORAGE_OUTPUT && !sn_loop_takes(p->graph, i),
                                 .dim = remember_dims(p, result->type.rank, result->type.dim)};
    }
    plan->output = output;
    plan->output_count = body->result.count;
    return NULL;
}

/* Whether nobody needs the value after launch `last`. Inputs are the caller's; outputs, and what the setup
 * leaves to the runs, stay. */
static bool dies(const Planner *p, const PlanValue *value, int setup_count) {
    if (value->storage == SN_STORAGE_INPUT || value->last < 0) return false;
    bool made_in_run = value->storage == SN_STORAGE_ACTIVATION || value->storage == SN_STORAGE_SCRATCH;
    return value->last < (made_in_run ? p->launch.count : setup_count);
}

/* Lists under each launch what dies after it. */
static void bury(Planner *p, int setup_count) {
    int *room = SN_ARRAY(p->arena, int, p->launch.count);
    for (int i = 0; i < p->value.count; i++)
        if (dies(p, &p->value.at[i], setup_count)) room[p->value.at[i].last]++;
    int **dead = SN_ARRAY(p->arena, int *, p->launch.count);
    for (int i = 0; i < p->launch.count; i++)
        p->launch.at[i].dead = dead[i] = SN_ARRAY(p->arena, int, room[i]);
    for (int i = 0; i < p->value.count; i++) {
        if (!dies(p, &p->value.at[i], setup_count)) continue;
        int last = p->value.at[i].last;
        dead[last][p->launch.at[last].dead_count++] = i;
    }
}

static void finish(Planner *p, Plan *plan) {
    const Region *body = p->graph->body;
    int *input = SN_ARRAY(p->arena, int, body->param.count);
    for (int i = 0; i < body->param.count; i++) input[i] = p->index_of[body->param.at[i]->id];
    plan->input = input;
    plan->input_count = body->param.count;
    plan->value = p->value.at;
    plan->value_count = p->value.count;
    plan->launch = p->launch.at;
    plan->launch_count = plan->update_first = p->launch.count;
    plan->kernel = p->kernel.at;
    plan->kernel_count = p->kernel.count;
    plan->dim = p->dim.at;
    plan->dim_count = p->dim.count;
    plan->param_count = p->param_count;
    plan->group_most = 1;
    for (int i = 0; i < plan->launch_count; i++)
        if (plan->launch[i].buffer_count + plan->launch[i].more_count > plan->buffer_most)
            plan->buffer_most = plan->launch[i].buffer_count + plan->launch[i].more_count;
}

Status sn_plan_new(Arena *arena, const Graph *graph, const Target *target, bool eager,
                   CodegenFunction *codegen, Plan **out) {
    if (graph->stage != SN_STAGE_FUSED) return sn_fail(SN_INTERNAL, "only a fused graph can be planned");
    Planner p = {.arena = arena, .graph = graph, .target = target, .codegen = codegen};
    p.dim_at = sn_map_new(arena);
    p.kernel_at = sn_map_new(arena);
    p.by_key = sn_map_new(arena);
    p.local = SN_ARRAY(arena, int, graph->next_value);
    p.index_of = SN_ARRAY(arena, int, graph->next_value);
    for (int i = 0; i < graph->next_value; i++) p.index_of[i] = -1;
    p.mask_of = SN_ARRAY(arena, int, graph->next_node);
    p.launch_of = SN_ARRAY(arena, int, graph->next_node);
    p.summed_by = SN_ARRAY(arena, int, graph->next_node);
    for (int i = 0; i < graph->next_node; i++) p.summed_by[i] = -1;

    TRY(sn_levels_find(arena, graph, &p.levels));
    Plan *plan = SN_NEW(arena, Plan);
    plan->graph = graph;
    plan->target = target;
    plan->eager = eager;
    add_inputs_and_constants(&p);
    TRY(add_launches(&p, plan));
    TRY(add_outputs(&p, plan));
    if (sn_dims_overflowed(graph->dims)) return sn_fail(SN_INVALID, "a size of the model exceeds 64 bits");
    bury(&p, plan->setup_count);
    finish(&p, plan);
    sn_plan_segments(arena, plan, &p.levels);
    sn_plan_in_place(arena, plan);
    *out = plan;
    return NULL;
}
