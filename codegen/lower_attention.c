/* Attention on the CPU: the template with queries, keys, values, scores and results as holes. */
#include "lower_template.h"

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

static void stand(void *user, const HoleAxes *axes, Dim *to) {
    (void)user;
    for (int i = 0; i < 4; i++) to[i] = axes->argument[i];
}

static HoleSpec spec_of(const char *name, const char *head, const char *row, const char *column,
                        const Dim *extent, bool aligned) {
    return (HoleSpec){.name = name,
                      .count = 4,
                      .argument = {"b", head, row, column},
                      .extent = {extent[0], extent[1], extent[2], extent[3]},
                      .lane = 3,
                      .aligned = aligned};
}

static void read_operand(Lower *lower, TemplateUse *use, const Value *value, const char *name,
                         const char *head, const char *row) {
    HoleSpec spec = spec_of(name, head, row, "d", value->type.dim, true);
    Dim *axes = sn_view_axes(lower->dims, lower->arena, 4, value->type.dim);
    sn_hole_read(lower, use, &spec, value, axes, axes, 4, stand, NULL);
}

/* The address of an operand's elements, to fetch them ahead. Returns whether they are plain loads. */
static bool read_address(Lower *lower, TemplateUse *use, const Value *value, const char *name,
                         const char *head, const char *row) {
    HoleSpec spec = spec_of(name, head, row, "d", value->type.dim, true);
    Dim *axes = sn_view_axes(lower->dims, lower->arena, 4, value->type.dim), to[4];
    sn_lower_nest(lower);
    Instr *load = sn_lower_pull(lower, value, axes);
    if (load->kind != SN_INSTR_LOAD || load->guard || lower->status) {
        lower->kernel->nest.count--;
        return false;
    }
    HoleAxes stands = sn_hole_axes(lower->kernel, &spec, false);
    stand(NULL, &stands, to);
    sn_hole_add(lower, use, &spec, false, &stands, load, axes, to, 4);
    use->hole.at[use->hole.count - 1].address = true;
    return true;
}

static bool read_addresses(Lower *lower, TemplateUse *use, const Node *node) {
    return read_address(lower, use, node->input[0], "sn_query_pointer", "h", "i") &&
           read_address(lower, use, node->input[1], "sn_key_pointer", "g", "j") &&
           read_address(lower, use, node->input[2], "sn_value_pointer", "g", "j");
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

static Instr *score(Lower *lower, const Node *node, const Dim *axes, const Dim *extent) {
    const AttrAttention *attr = node->attr;
    Instr *now = sn_instr(lower->kernel, lower->nest, &(Instr){.kind = SN_INSTR_HOLE_ARG, .dtype = SN_F32});
    Instr *minus = sn_lower_literal(lower, SN_F32, -__builtin_inf(), 0), *keep = NULL;
    if (attr->causal) {
        Dim bound = sn_dim_addc(lower->dims, sn_dim_add(lower->dims, axes[2], attr->offset), 1);
        keep = sn_lower_less(lower, axes[3], bound);
    }
    const Value *bias = node->input_count > 3 ? node->input[3] : NULL;
    if (bias) {
        Instr *value = sn_lower_pull(lower, bias, bias_index(lower, bias->type, axes, extent));
        if (bias->type.dtype == SN_BOOL)
            keep = sn_lower_and(lower, keep, value);
        else
            now = sn_lower_call(lower, "add", SN_F32, SN_F32, 2,
                                (Instr *[]){now, sn_lower_cast(lower, value, SN_F32, false)});
    }
    return keep ? sn_lower_call(lower, "where", SN_F32, SN_F32, 3, (Instr *[]){keep, now, minus}) : now;
}

static void lower_score(Lower *lower, TemplateUse *use, const Node *node, const Dim *extent) {
    HoleSpec spec = spec_of("sn_score", "h", "i", "j", extent, false);
    spec.takes_value = true;
    Dim *axes = sn_view_axes(lower->dims, lower->arena, 4, extent), to[4];
    for (int vector = 0; vector < 2; vector++) {
        sn_lower_nest(lower);
        Instr *value = score(lower, node, axes, extent);
        HoleAxes stands = sn_hole_axes(lower->kernel, &spec, vector);
        stand(NULL, &stands, to);
        sn_hole_add(lower, use, &spec, vector, &stands, value, axes, to, 4);
    }
}

/* The second result of the cluster that is the attention's; -1: it is not stored. */
static int find_statistic(const Lower *lower) {
    const Region *body = lower->cluster->body;
    for (int i = 0; i < body->result.count; i++)
        if (sn_cluster_is_statistic(body->result.at[i])) return i;
    return -1;
}

static void store_statistic(Lower *lower, TemplateUse *use, int result) {
    const Value *value = lower->cluster->body->result.at[result];
    HoleSpec spec = {.name = "sn_attention_statistics",
                     .count = 3,
                     .argument = {"b", "h", "i"},
                     .extent = {value->type.dim[0], value->type.dim[1], value->type.dim[2]},
                     .takes_value = true};
    Dim *axes = sn_view_axes(lower->dims, lower->arena, 3, value->type.dim);
    sn_lower_nest(lower);
    HoleAxes stands = sn_hole_axes(lower->kernel, &spec, false);
    Instr *logarithm =
        sn_instr(lower->kernel, lower->nest, &(Instr){.kind = SN_INSTR_HOLE_ARG, .dtype = SN_F32});
    Store store = {.buffer = lower->kernel->input_count + result,
                   .dtype = value->type.dtype,
                   .offset = sn_lower_linear(lower, value->type, axes),
                   .value = logarithm};
    Step *step = sn_nest_step(lower->kernel, lower->nest, false);
    sn_push(lower->arena, &step->store, store);
    sn_hole_add(lower, use, &spec, false, &stands, NULL, axes, stands.argument, 3);
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

/* Memory for what the items of few rows leave to the second round. */
static void add_partial(Lower *lower, TemplateUse *use, Dim floats) {
    HoleSpec spec = {.name = "sn_attention_partial", .count = 1, .argument = {"at"}, .extent = {floats}};
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

static void set_driver(KernelIr *kernel, TemplateUse *use, const Node *node, Cut cut, int scores,
                       bool pointers, bool statistics) {
    const AttrAttention *attr = node->attr;
    Type q = node->input[0]->type, k = node->input[1]->type, v = node->input[2]->type;
    const char *number[5];
    const Dim size[5] = {q.dim[0], q.dim[1], k.dim[1], q.dim[2], k.dim[2]};
    for (int i = 0; i < 5; i++) number[i] = sn_template_number(kernel, use, size[i]);
    use->file[0] = "attention.h", use->file[1] = "attention_few.h", use->file[2] = "attention_many.h";
    use->defines = sn_arena_printf(
        kernel->arena,
        "#define SN_TILE_MR %d\n#define SN_TILE_NV %d\n#define SN_ATTENTION_D %lld\n#define SN_ATTENTION_DV "
        "%lld\n#define SN_ATTENTION_SCORE %d\n#define SN_ATTENTION_EMPTY_ZERO %d\n"
        "#define SN_ATTENTION_BLOCKS %d\n#define SN_ATTENTION_FEW %d\n#define SN_ATTENTION_SHARE %d\n"
        "#define SN_ATTENTION_CHUNK %d\n#define SN_ATTENTION_POINTER %d\n#define SN_ATTENTION_STATISTICS "
        "%d\n",
        cut.tile.rows, cut.tile.vectors, (long long)q.dim[3]->value, (long long)v.dim[3]->value, scores,
        attr->zero_rows, cut.blocks, FEW, SHARE, cut.chunk, pointers, statistics);
    use->driver =
        sn_arena_printf(kernel->arena,
                        "const SnAttention attention = {.batch = %s, .heads = %s, .kv_heads = %s, .rows = "
                        "%s, .columns = %s, .scale = "
                        "%af};\n    sn_attention_run(context, &attention, begin, end);",
                        number[0], number[1], number[2], number[3], number[4], (double)(float)attr->scale);
}

Status sn_lower_attention(KernelIr *kernel) {
    const Node *node = kernel->cluster->body->first;
    while (node && node->op != SN_OP_ATTENTION) node = node->next;
    if (!node) return sn_fail(SN_UNSUPPORTED, "an attention cluster without attention");
    if (kernel->target->kind != SN_TARGET_CPU) return sn_fail(SN_UNSUPPORTED, "attention on this target");
    const AttrAttention *attr = node->attr;
    Type q = node->input[0]->type, k = node->input[1]->type, v = node->input[2]->type;
    int64_t D, E;
    if (!sn_dim_is(q.dim[3], &D) || !sn_dim_is(v.dim[3], &E))
        return sn_fail(SN_UNSUPPORTED, "attention with a head size that is not known when compiling");
    if (D < 1 || E < 1 || D > SN_ATTENTION_WIDEST || E > SN_ATTENTION_WIDEST)
        return sn_fail(SN_UNSUPPORTED, "attention with a head that is not 1 to %d wide", SN_ATTENTION_WIDEST);
    if (q.dtype == SN_F64) return sn_fail(SN_UNSUPPORTED, "attention in f64");
    Lower lower = sn_lower(kernel);
    TemplateUse *use = SN_NEW(kernel->arena, TemplateUse);
    const Value *bias = node->input_count > 3 ? node->input[3] : NULL;
    bool adds = bias && bias->type.dtype != SN_BOOL;
    const Dim extent[4] = {q.dim[0], q.dim[1], q.dim[2], k.dim[2]};
    read_operand(&lower, use, node->input[0], "sn_query", "h", "i");
    read_operand(&lower, use, node->input[1], "sn_key", "g", "j");
    read_operand(&lower, use, node->input[2], "sn_value", "g", "j");
    if (bias) lower_score(&lower, use, node, extent);
    TRY(lower.status);
    HoleSpec output = spec_of("sn_output", "h", "i", "d", node->output[0]->type.dim, true);
    output.takes_value = true;
    TRY(sn_hole_store(&lower, use, &output, stand, NULL));
    int statistic = find_statistic(&lower);
    if (statistic >= 0) store_statistic(&lower, use, statistic);
    use->masks = use->maths = true;
    use->causal = attr->causal ? attr->offset : NULL;
    use->unmasked = bias == NULL;
    Cut cut = cut_of(kernel->target, D, E);
    add_partial(&lower, use, count_items(kernel, use, q, k, cut));
    bool pointers = read_addresses(&lower, use, node);
    TRY(lower.status);
    set_driver(kernel, use, node, cut, adds ? 2 : bias ? 1 : attr->causal ? 3 : 0, pointers, statistic >= 0);
    kernel->use = use;
    Dim pairs = sn_dim_mul(kernel->dims, sn_dim_mul(kernel->dims, extent[0], extent[1]),
                           sn_dim_mul(kernel->dims, extent[2], extent[3]));
    kernel->flops = sn_dim_mulc(kernel->dims, pairs, attr->causal ? D + E : 2 * (D + E));
    return NULL;
}
