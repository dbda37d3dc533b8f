/* Rows added up by target: scatter.h and scatter.cuh, with the targets and the rows as holes. Sums of doubles and
 * integers are a reduction of all rows for each element, which is slow and needs no template. */
#include "lower_template.h"

enum {
    CHUNKS = 64,           /* at most so many on the CPU: each looks at all targets */
    CHUNK_BYTES = 1 << 18, /* at least so much of the result each */
    BLOCKS = 8,            /* CUDA: a processor */
    THREADS = 256,         /* SN_SCATTER_THREADS, and the bytes of SnScatterList */
    LIST_BYTES = THREADS * 16 + THREADS / 32 * 4,
};

typedef struct Scatter {
    Lower lower;
    const Node *node;
    Dim count, rows, columns;
} Scatter;

static void stand(void *user, const HoleAxes *axes, Dim *to) {
    const int *count = user;
    for (int i = 0; i < *count; i++) to[i] = axes->argument[i];
}

static bool is_cuda(const Scatter *s) {
    return s->lower.kernel->target->kind == SN_TARGET_CUDA;
}

/* The checked target of a row. */
static void read_target(Scatter *s, TemplateUse *use) {
    Lower *lower = &s->lower;
    HoleSpec spec = {
        .name = is_cuda(s) ? "at" : "sn_scatter_at", .count = 1, .argument = {"i"}, .extent = {s->count}};
    HoleAxes axes = sn_hole_axes(lower->kernel, &spec, false);
    Dim from = sn_dim_axis(lower->dims, 0, s->count), to = axes.argument[0];
    sn_lower_nest(lower);
    Instr *target = sn_lower_index(lower, s->node, s->node->input[0], &from, s->rows);
    sn_hole_add(lower, use, &spec, false, &axes, target, &from, &to, 1);
    use->hole.at[use->hole.count - 1].integer = true;
}

static void read_rows(Scatter *s, TemplateUse *use) {
    Lower *lower = &s->lower;
    HoleSpec spec = {.name = is_cuda(s) ? "x" : "sn_scatter_x",
                     .count = 2,
                     .argument = {"i", "c"},
                     .extent = {s->count, s->columns},
                     .lane = 1,
                     .aligned = true};
    Dim *axes = sn_view_axes(lower->dims, lower->arena, 2, (Dim[]){s->count, s->columns});
    sn_hole_read(lower, use, &spec, s->node->input[1], axes, axes, 2, stand, &spec.count);
}

/* The rows of a chunk, a run-time number, and how many chunks there are. */
static Dim choose_chunk(Scatter *s, Dim *items) {
    Dims *dims = s->lower.dims;
    const KernelIr *kernel = s->lower.kernel;
    int64_t most = is_cuda(s) ? (int64_t)kernel->target->processors * BLOCKS : CHUNKS;
    Dim chunk = sn_dim_ceildiv(dims, s->rows, sn_dim(dims, most));
    Dim bytes = sn_dim_max(dims, sn_dim_mulc(dims, s->columns, 4), sn_dim(dims, 1));
    Dim least = sn_dim_ceildiv(dims, sn_dim(dims, is_cuda(s) ? THREADS * 4 : CHUNK_BYTES), bytes);
    chunk = sn_dim_max(dims, sn_dim_max(dims, chunk, least), sn_dim(dims, 1));
    *items = sn_dim_ceildiv(dims, s->rows, chunk);
    return chunk;
}

static Status lower_template(Scatter *s) {
    KernelIr *kernel = s->lower.kernel;
    TemplateUse *use = SN_NEW(kernel->arena, TemplateUse);
    read_target(s, use);
    read_rows(s, use);
    TRY(s->lower.status);
    Dim chunk = choose_chunk(s, &use->items);
    const char *number[4];
    Dim each[4] = {s->count, s->rows, s->columns, chunk};
    for (int i = 0; i < 4; i++) number[i] = sn_template_number(kernel, use, each[i]);
    const char *out =
        is_cuda(s) ? sn_arena_printf(kernel->arena, "use, (float *)args.buffer[%d]", kernel->input_count)
                   : sn_arena_printf(kernel->arena, "context, buffers[%d]", kernel->input_count);
    use->driver = sn_arena_printf(kernel->arena, "sn_scatter_run(%s, %s, %s, %s, %s, %s);", out, number[0],
                                  number[1], number[2], number[3], is_cuda(s) ? "block" : "begin, end");
    use->defines = "";
    use->file[0] = is_cuda(s) ? "scatter.cuh" : "scatter.h";
    use->threads = THREADS;
    if (is_cuda(s)) use->shared = sn_dim(s->lower.dims, LIST_BYTES);
    kernel->use = use;
    return NULL;
}

/* out[r, c] = Σ_i (target of i is r ? x[i, c] : 0) */
static Status lower_plain(Scatter *s) {
    Lower *lower = &s->lower;
    Dims *dims = lower->dims;
    const Value *out = s->node->output[0];
    DType dtype = out->type.dtype;
    sn_lower_nest(lower);
    Dim r = sn_dim_axis(dims, 0, s->rows), c = sn_dim_axis(dims, 1, s->columns);
    Dim i = sn_dim_axis(dims, 2, s->count);
    if (r->kind == SN_DIM_AXIS) sn_push(lower->arena, &lower->nest->parallel, r);
    if (c->kind == SN_DIM_AXIS) sn_push(lower->arena, &lower->nest->parallel, c);
    if (i->kind == SN_DIM_AXIS) sn_push(lower->arena, &lower->nest->reduced, i);
    Instr *target = sn_lower_index(lower, s->node, s->node->input[0], &i, s->rows);
    Instr *hit =
        sn_lower_call(lower, "equal", SN_BOOL, SN_I64, 2, (Instr *[]){target, sn_lower_dim(lower, r)});
    Instr *x = sn_lower_pull(lower, s->node->input[1], (Dim[]){i, c});
    Instr *none = sn_lower_literal(lower, dtype, 0, 0);
    Acc *acc = SN_NEW(lower->arena, Acc);
    *acc = (Acc){.function = "add",
                 .dtype = dtype,
                 .value = sn_lower_call(lower, "where", dtype, dtype, 3, (Instr *[]){hit, x, none})};
    acc->result =
        sn_instr(lower->kernel, lower->nest, &(Instr){.kind = SN_INSTR_REDUCED, .dtype = dtype, .acc = acc});
    Step *loop = sn_nest_step(lower->kernel, lower->nest, true);
    sn_push(lower->arena, &loop->acc, acc);
    Step *step = sn_nest_step(lower->kernel, lower->nest, false);
    Store store = {.buffer = lower->kernel->input_count,
                   .dtype = dtype,
                   .offset = sn_lower_linear(lower, out->type, (Dim[]){r, c}),
                   .value = acc->result};
    sn_push(lower->arena, &step->store, store);
    TRY(lower->status);
    return sn_schedule_nest(lower->kernel, lower->nest);
}

/* What has a template of its own. */
static const struct {
    OpCode op;
    Status (*lower)(KernelIr *kernel, const Node *node);
} listed[] = {{SN_OP_PLACES, sn_lower_places}, {SN_OP_TOP, sn_lower_top}, {SN_OP_SIFT, sn_lower_sift}};

Status sn_lower_scatter(KernelIr *kernel) {
    const Region *body = kernel->cluster->body;
    const Node *node = body->result.at[0]->producer;
    if (!node || sn_op(node->op)->class != SN_CLASS_SCATTER || body->result.count != 1)
        return sn_fail(SN_UNSUPPORTED, "a scatter that is not stored as it is");
    for (size_t i = 0; i < sizeof listed / sizeof *listed; i++)
        if (node->op == listed[i].op) return listed[i].lower(kernel, node);
    Scatter s = {.lower = sn_lower(kernel),
                 .node = node,
                 .count = node->input[0]->type.dim[0],
                 .rows = node->output[0]->type.dim[0],
                 .columns = node->output[0]->type.dim[1]};
    return node->output[0]->type.dtype == SN_F32 ? lower_template(&s) : lower_plain(&s);
}
