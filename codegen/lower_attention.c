/* Attention on the CPU: the template with queries, keys, values, scores and results as holes. */
#include "lower_attention.h"

#include "cluster.h"
#include "view.h"

/* Rows of a head that are read without packing, and how many of those an item shares: SN_ATTENTION_FEW and
 * SN_ATTENTION_SHARE of attention.h. */
enum { FEW = 8, SHARE = 16 };

/* How a work item is cut. Its rows share the packing of keys and values; their sums stay in the second-level cache
 * beside those. */
typedef struct Cut {
    Tile tile;
    int blocks;     /* heights of the tile: SN_ATTENTION_BLOCKS of attention.h */
    int chunk;      /* columns of an item of few rows: SN_ATTENTION_CHUNK */
    int64_t padded; /* DV in whole panels */
} Cut;

static Cut cut_of(const Target *target, int64_t D, int64_t DV) {
    Cut cut = {.tile = sn_target_tile(target, DV)};
    int64_t rows = 65536 / (D + DV);
    rows = rows > 256 ? 256 : rows < 64 ? 64 : rows;
    cut.blocks = (int)((rows + cut.tile.rows - 1) / cut.tile.rows);
    int64_t columns = 32768 / (D + DV) / 16 * 16, panel = cut.tile.vectors * (target->vector_bytes / 4);
    cut.chunk = (int)(columns > 512 ? 512 : columns < 16 ? 16 : columns);
    cut.padded = (DV + panel - 1) / panel * panel;
    return cut;
}

void sn_attention_stand(void *user, const HoleAxes *axes, Dim *to) {
    (void)user;
    for (int i = 0; i < 4; i++) to[i] = axes->argument[i];
}

HoleSpec sn_attention_spec(const char *name, const char *head, const char *row, const char *column,
                           const Dim *extent, bool aligned) {
    return (HoleSpec){.name = name,
                      .count = 4,
                      .argument = {"b", head, row, column},
                      .extent = {extent[0], extent[1], extent[2], extent[3]},
                      .lane = 3,
                      .aligned = aligned};
}

void sn_attention_read(Attention *attention, const AttentionOperand *operand) {
    Lower *lower = &attention->lower;
    const Value *value = attention->node->input[operand->input];
    HoleSpec spec = sn_attention_spec(operand->read, operand->head, operand->row, "d", value->type.dim, true);
    Dim *axes = sn_view_axes(lower->dims, lower->arena, 4, value->type.dim);
    sn_hole_read(lower, attention->use, &spec, value, axes, axes, 4, sn_attention_stand, NULL);
}

/* Affine: offset = d + a sum of products of one axis and a size each + a size. */
static AttentionAddress address_kind(Dims *dims, DType dtype, Dim offset, const Dim *axes) {
    AttentionAddress kind = SN_ADDRESS_PIECES;
    Dim piece = sn_dim(dims, 16 / sn_dtype_bytes(dtype)), quotient;
    for (int i = 0; i < 4; i++) {
        Dim step;
        if (axes[i]->kind != SN_DIM_AXIS) continue; /* of a single element */
        if (!sn_dim_affine(dims, offset, axes[i], &step, &offset) || sn_dim_has_axis(step))
            return SN_ADDRESS_PLAIN;
        if (i == 3 && !sn_dim_equals(step, 1)) return SN_ADDRESS_PLAIN;
        if (i < 3 && !sn_dim_divides(dims, piece, step, &quotient)) kind = SN_ADDRESS_AFFINE;
    }
    if (sn_dim_has_axis(offset)) return SN_ADDRESS_PLAIN;
    return sn_dim_divides(dims, piece, offset, &quotient) ? kind : SN_ADDRESS_AFFINE;
}

AttentionAddress sn_attention_address(Attention *attention, const AttentionOperand *operand,
                                      AttentionAddress least) {
    Lower *lower = &attention->lower;
    TemplateUse *use = attention->use;
    const Value *value = attention->node->input[operand->input];
    HoleSpec spec =
        sn_attention_spec(operand->address, operand->head, operand->row, "d", value->type.dim, true);
    Dim *axes = sn_view_axes(lower->dims, lower->arena, 4, value->type.dim), to[4];
    sn_lower_nest(lower);
    Instr *load = sn_lower_pull(lower, value, axes);
    AttentionAddress kind = SN_ADDRESS_NONE;
    if (load->kind == SN_INSTR_LOAD && !load->guard && !lower->status)
        kind = address_kind(lower->dims, value->type.dtype, load->dim, axes);
    if (kind == SN_ADDRESS_NONE || kind < least) {
        lower->kernel->nest.count--;
        return SN_ADDRESS_NONE;
    }
    HoleAxes stands = sn_hole_axes(lower->kernel, &spec, false);
    sn_attention_stand(NULL, &stands, to);
    sn_hole_add(lower, use, &spec, false, &stands, load, axes, to, 4);
    use->hole.at[use->hole.count - 1].address = true;
    return kind;
}

/* Index of a bias, aligned at the last axis, whose extents are 1 or the scores'. */
static Dim *bias_index(Lower *lower, Type bias, const Dim *axes, const Dim *extent) {
    Dim *at = SN_ARRAY(lower->arena, Dim, bias.rank);
    for (int i = 0; i < bias.rank; i++) {
        int k = 4 - bias.rank + i;
        at[i] = bias.dim[i] == extent[k]
                    ? axes[k]
                    : sn_dim_min(lower->dims, axes[k], sn_dim_addc(lower->dims, bias.dim[i], -1));
    }
    return at;
}

static Instr *score(Attention *attention, const Dim *axes, bool causal) {
    Lower *lower = &attention->lower;
    const Value *bias = attention->bias;
    Instr *now = sn_instr(lower->kernel, lower->nest, &(Instr){.kind = SN_INSTR_HOLE_ARG, .dtype = SN_F32});
    Instr *minus = sn_lower_literal(lower, SN_F32, -__builtin_inf(), 0), *keep = NULL;
    if (causal) {
        Dim bound = sn_dim_addc(lower->dims, sn_dim_add(lower->dims, axes[2], attention->attr->offset), 1);
        keep = sn_lower_less(lower, axes[3], bound);
    }
    Instr *value = sn_lower_pull(lower, bias, bias_index(lower, bias->type, axes, attention->extent));
    if (attention->adds)
        now = sn_lower_call(lower, "add", SN_F32, SN_F32, 2,
                            (Instr *[]){now, sn_lower_cast(lower, value, SN_F32, false)});
    else
        keep = sn_lower_and(lower, keep, value);
    return keep ? sn_lower_call(lower, "where", SN_F32, SN_F32, 3, (Instr *[]){keep, now, minus}) : now;
}

void sn_attention_score(Attention *attention, const char *name, bool causal) {
    Lower *lower = &attention->lower;
    const Dim *extent = attention->extent;
    HoleSpec spec = sn_attention_spec(name, "h", "i", "j", extent, false);
    spec.takes_value = true;
    Dim *axes = sn_view_axes(lower->dims, lower->arena, 4, extent), to[4];
    for (int vector = 0; vector <= (lower->kernel->target->kind == SN_TARGET_CPU); vector++) {
        sn_lower_nest(lower);
        Instr *value = score(attention, axes, causal);
        HoleAxes stands = sn_hole_axes(lower->kernel, &spec, vector);
        sn_attention_stand(NULL, &stands, to);
        sn_hole_add(lower, attention->use, &spec, vector, &stands, value, axes, to, 4);
    }
}

/* The result of the cluster that is output `index` of its anchor; -1: it is not stored. */
static int find_output(const Lower *lower, int index) {
    const Region *body = lower->cluster->body;
    for (int i = 0; i < body->result.count; i++) {
        const Value *value = body->result.at[i];
        if (sn_cluster_is_statistic(value) && value->index == index) return i;
    }
    return -1;
}

bool sn_attention_store(Attention *attention, int output, const HoleSpec *spec) {
    Lower *lower = &attention->lower;
    int result = find_output(lower, output);
    if (result < 0) return false;
    const Value *value = lower->cluster->body->result.at[result];
    Dim *axes = sn_view_axes(lower->dims, lower->arena, 4, value->type.dim), to[4];
    for (int vector = 0; vector <= (lower->kernel->target->kind == SN_TARGET_CPU); vector++) {
        sn_lower_nest(lower);
        HoleAxes stands = sn_hole_axes(lower->kernel, spec, vector);
        sn_attention_stand(NULL, &stands, to);
        Instr *number = sn_instr(lower->kernel, lower->nest,
                                 &(Instr){.kind = SN_INSTR_HOLE_ARG, .dtype = value->type.dtype});
        Store store = {.buffer = lower->kernel->input_count + result,
                       .dtype = value->type.dtype,
                       .offset = sn_lower_linear(lower, value->type, axes),
                       .value = number};
        Step *step = sn_nest_step(lower->kernel, lower->nest, false);
        sn_push(lower->arena, &step->store, store);
        sn_hole_add(lower, attention->use, spec, vector, &stands, NULL, axes, to, 4);
    }
    return true;
}

bool sn_attention_statistic(Attention *attention, const char *name) {
    const Dim *q = attention->q.dim;
    Dim shape[4] = {q[0], q[1], q[2], sn_dim(attention->lower.dims, 2)};
    HoleSpec spec = sn_attention_spec(name, "h", "i", "which", shape, false);
    spec.takes_value = true;
    return sn_attention_store(attention, 1, &spec);
}

/* Work items of both rounds, and the floats that pass between them: sn_attention_items, sn_attention_after and
 * SN_ATTENTION_PARTIAL of attention.h. */
static Dim count_items(const KernelIr *kernel, TemplateUse *use, Type q, Type k, Cut cut) {
    Dims *dims = kernel->dims;
    Dim one = sn_dim(dims, 1), heads = q.dim[1], rows = q.dim[2];
    Dim many = sn_dim_min(dims, one, sn_dim_floordiv(dims, rows, sn_dim(dims, FEW + 1)));
    Dim few = sn_dim_sub(dims, one, many);
    Dim group = heads == k.dim[1] ? one : sn_dim_floordiv(dims, heads, k.dim[1]);
    Dim chunks = sn_dim_max(dims, one, sn_dim_ceildiv(dims, k.dim[2], sn_dim(dims, cut.chunk)));
    Dim shares = sn_dim_ceildiv(dims, sn_dim_mul(dims, rows, group), sn_dim(dims, SHARE));
    Dim blocks = sn_dim_ceildiv(dims, rows, sn_dim(dims, (int64_t)cut.blocks * cut.tile.rows));
    Dim of_many = sn_dim_mul(dims, heads, blocks);
    Dim of_few = sn_dim_mul(dims, k.dim[1], sn_dim_mul(dims, shares, chunks));
    Dim items = sn_dim_add(dims, sn_dim_mul(dims, many, of_many), sn_dim_mul(dims, few, of_few));
    use->items = sn_dim_mul(dims, q.dim[0], items);
    Dim several = sn_dim_mul(dims, few, sn_dim_min(dims, one, sn_dim_addc(dims, chunks, -1)));
    use->after = sn_dim_mul(dims, several, sn_dim_mul(dims, q.dim[0], sn_dim_mul(dims, heads, rows)));
    return sn_dim_mulc(dims, sn_dim_mul(dims, use->after, chunks), cut.padded + 16);
}

void sn_attention_scratch(Attention *attention, const char *name, Dim floats) {
    Lower *lower = &attention->lower;
    TemplateUse *use = attention->use;
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

int sn_attention_score_kind(const Attention *a) {
    return a->adds ? 2 : a->bias ? 1 : a->attr->causal ? 3 : 0;
}

static void set_driver(Attention *a, Cut cut, bool pointers, bool statistics) {
    KernelIr *kernel = a->lower.kernel;
    TemplateUse *use = a->use;
    const char *number[5];
    const Dim size[5] = {a->q.dim[0], a->q.dim[1], a->k.dim[1], a->q.dim[2], a->k.dim[2]};
    for (int i = 0; i < 5; i++) number[i] = sn_template_number(kernel, use, size[i]);
    use->file[0] = "attention_score.h", use->file[1] = "attention.h";
    use->file[2] = "attention_few.h", use->file[3] = "attention_many.h";
    use->defines = sn_arena_printf(
        kernel->arena,
        "#define SN_TILE_MR %d\n#define SN_TILE_NV %d\n#define SN_ATTENTION_D %lld\n#define SN_ATTENTION_DV "
        "%lld\n#define SN_ATTENTION_SCORE %d\n#define SN_ATTENTION_EMPTY_ZERO %d\n"
        "#define SN_ATTENTION_BLOCKS %d\n#define SN_ATTENTION_FEW %d\n#define SN_ATTENTION_SHARE %d\n"
        "#define SN_ATTENTION_CHUNK %d\n#define SN_ATTENTION_POINTER %d\n#define SN_ATTENTION_STATISTICS "
        "%d\n",
        cut.tile.rows, cut.tile.vectors, (long long)a->D, (long long)a->DV, sn_attention_score_kind(a),
        a->attr->zero_rows, cut.blocks, FEW, SHARE, cut.chunk, pointers, statistics);
    use->driver =
        sn_arena_printf(kernel->arena,
                        "const SnAttention attention = {.batch = %s, .heads = %s, .kv_heads = %s, .rows = "
                        "%s, .columns = %s, .scale = "
                        "%af};\n    sn_attention_run(context, &attention, begin, end);",
                        number[0], number[1], number[2], number[3], number[4], (double)(float)a->attr->scale);
}

static Status lower_cpu(Attention *a) {
    static const AttentionOperand operand[3] = {{0, "sn_query", "sn_query_pointer", "h", "i"},
                                                {1, "sn_key", "sn_key_pointer", "g", "j"},
                                                {2, "sn_value", "sn_value_pointer", "g", "j"}};
    TemplateUse *use = a->use;
    bool pointers = true;
    for (int i = 0; i < 3; i++) sn_attention_read(a, &operand[i]);
    if (a->bias) sn_attention_score(a, "sn_score", a->attr->causal);
    TRY(a->lower.status);
    HoleSpec output = sn_attention_spec("sn_output", "h", "i", "d", a->node->output[0]->type.dim, true);
    output.takes_value = true;
    TRY(sn_hole_store(&a->lower, use, &output, sn_attention_stand, NULL));
    bool statistics = sn_attention_statistic(a, "sn_attention_statistics");
    use->masks = use->maths = true;
    use->causal = a->attr->causal ? a->attr->offset : NULL;
    use->unmasked = a->bias == NULL;
    Cut cut = cut_of(a->lower.kernel->target, a->D, a->DV);
    sn_attention_scratch(a, "sn_attention_partial", count_items(a->lower.kernel, use, a->q, a->k, cut));
    for (int i = 0; i < 3 && pointers; i++) pointers = sn_attention_address(a, &operand[i], SN_ADDRESS_PLAIN);
    TRY(a->lower.status);
    set_driver(a, cut, pointers, statistics);
    return NULL;
}

static Status begin(KernelIr *kernel, Attention *a) {
    const Node *node = kernel->cluster->body->first;
    while (node && sn_op(node->op)->class != SN_CLASS_ATTENTION) node = node->next;
    if (!node) return sn_fail(SN_UNSUPPORTED, "an attention cluster without attention");
    *a = (Attention){.lower = sn_lower(kernel), .node = node, .attr = node->attr};
    a->use = SN_NEW(kernel->arena, TemplateUse);
    a->q = node->input[0]->type, a->k = node->input[1]->type, a->v = node->input[2]->type;
    int bias = node->op == SN_OP_ATTENTION ? 3 : 6; /* the operand */
    a->bias = node->input_count > bias ? node->input[bias] : NULL;
    a->adds = a->bias && a->bias->type.dtype != SN_BOOL;
    for (int i = 0; i < 4; i++) a->extent[i] = i < 3 ? a->q.dim[i] : a->k.dim[2];
    if (!sn_dim_is(a->q.dim[3], &a->D) || !sn_dim_is(a->v.dim[3], &a->DV))
        return sn_fail(SN_UNSUPPORTED, "attention with a head size that is not known when compiling");
    if (a->D < 1 || a->DV < 1 || a->D > SN_ATTENTION_WIDEST || a->DV > SN_ATTENTION_WIDEST)
        return sn_fail(SN_UNSUPPORTED, "attention with a head that is not 1 to %d wide", SN_ATTENTION_WIDEST);
    if (a->q.dtype == SN_F64) return sn_fail(SN_UNSUPPORTED, "attention in f64");
    return NULL;
}

/* Operations of the products: of scores and outputs, or of scores, dO·vᵀ, dV, dK and dQ. */
static Dim operations(const Attention *a) {
    Dims *dims = a->lower.dims;
    Dim pairs = sn_dim_mul(dims, sn_dim_mul(dims, a->extent[0], a->extent[1]),
                           sn_dim_mul(dims, a->extent[2], a->extent[3]));
    int64_t each = a->node->op == SN_OP_ATTENTION ? a->D + a->DV : 3 * a->D + 2 * a->DV;
    return sn_dim_mulc(dims, pairs, a->attr->causal ? each : 2 * each);
}

Status sn_lower_attention(KernelIr *kernel) {
    Attention a;
    TRY(begin(kernel, &a));
    bool cpu = kernel->target->kind == SN_TARGET_CPU;
    if (a.node->op == SN_OP_ATTENTION)
        TRY(cpu ? lower_cpu(&a) : sn_lower_attention_cuda(&a));
    else
        TRY(cpu ? sn_lower_attention_backward(&a) : sn_lower_attention_backward_cuda(&a));
    kernel->use = a.use;
    kernel->flops = operations(&a);
    return NULL;
}
