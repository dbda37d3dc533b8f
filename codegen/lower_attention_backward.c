/* The gradients of attention on the CPU: their template with operands, scores and results as holes. */
#include "lower_attention.h"

/* How the work is cut. All are numbers of attention_backward.h. */
typedef struct Cut {
    Tile tile;
    int64_t columns; /* SN_BACKWARD_COLUMNS */
    int64_t padded;  /* SN_BACKWARD_PD */
    Dim parts;
} Cut;

enum {
    BLOCKS =
        4, /* SN_BACKWARD_BLOCKS: products over so many rows are long enough to keep the sums of a tile */
    ITEMS = 16, /* more are not made of what is not cut by batch and head; each costs memory for sums of dQ */
};

static int64_t common_multiple(int64_t a, int64_t b) {
    int64_t x = a, y = b;
    while (y) {
        int64_t rest = x % y;
        x = y, y = rest;
    }
    return a / x * b;
}

static int64_t round_up(int64_t x, int64_t unit) {
    return (x + unit - 1) / unit * unit;
}

/* Columns of a step: with their sums, and scores by some rows, they take half of the second-level cache. Best is a multiple
 * of the tile's rows too. */
static int64_t choose_columns(const Attention *a, Tile tile, int64_t panel) {
    enum { LEAST_CACHE = 1 << 19, MOST_CACHE = 1 << 21, MOST = 512 };
    const Target *target = a->lower.kernel->target;
    int64_t cache = target->l2_bytes > LEAST_CACHE ? target->l2_bytes : LEAST_CACHE;
    if (cache > MOST_CACHE) cache = MOST_CACHE; /* all of it lies on the stack */
    int64_t each = 4 * (3 * a->D + 2 * a->DV + 2 * BLOCKS * tile.rows);
    int64_t columns = cache / 2 / each, unit = common_multiple(panel, tile.rows);
    if (columns > MOST) columns = MOST;
    if (columns >= unit) return columns / unit * unit;
    return columns < panel ? panel : columns / panel * panel;
}

static Cut cut_of(const Attention *a) {
    Dims *dims = a->lower.dims;
    const Target *target = a->lower.kernel->target;
    Cut cut = {.tile = sn_target_tile(target, a->DV)};
    int64_t panel = cut.tile.vectors * (target->vector_bytes / 4);
    cut.columns = choose_columns(a, cut.tile, panel);
    cut.padded = round_up(a->D, panel);
    Dim one = sn_dim(dims, 1), heads = sn_dim_mul(dims, a->k.dim[0], a->k.dim[1]);
    Dim steps = sn_dim_max(dims, one, sn_dim_ceildiv(dims, a->k.dim[2], sn_dim(dims, cut.columns)));
    Dim wanted = sn_dim_ceildiv(dims, sn_dim(dims, ITEMS), sn_dim_max(dims, one, heads));
    cut.parts = sn_dim_min(dims, wanted, steps);
    return cut;
}

/* Work items of both rounds, and the floats that pass between them. */
static Dim count_items(Attention *a, const Cut *cut) {
    Dims *dims = a->lower.dims;
    Dim heads = sn_dim_mul(dims, a->q.dim[0], a->q.dim[1]), rows = sn_dim_mul(dims, heads, a->q.dim[2]);
    Dim several = sn_dim_min(dims, sn_dim(dims, 1), sn_dim_addc(dims, cut->parts, -1));
    a->use->items = sn_dim_mul(dims, sn_dim_mul(dims, a->k.dim[0], a->k.dim[1]), cut->parts);
    a->use->after = sn_dim_mul(dims, several, rows);
    return sn_dim_mulc(dims, sn_dim_mul(dims, rows, cut->parts), cut->padded);
}

static void set_driver(Attention *a, const Cut *cut, int stores) {
    KernelIr *kernel = a->lower.kernel;
    TemplateUse *use = a->use;
    const char *number[6];
    const Dim size[6] = {a->q.dim[0], a->q.dim[1], a->k.dim[1], a->q.dim[2], a->k.dim[2], cut->parts};
    for (int i = 0; i < 6; i++) number[i] = sn_template_number(kernel, use, size[i]);
    use->file[0] = "attention_score.h", use->file[1] = "attention_backward.h";
    use->file[2] = "attention_backward_step.h";
    use->defines = sn_arena_printf(
        kernel->arena,
        "#define SN_TILE_MR %d\n#define SN_TILE_NV %d\n#define SN_ATTENTION_D %lld\n#define SN_ATTENTION_DV "
        "%lld\n#define SN_ATTENTION_SCORE %d\n#define SN_ATTENTION_CAPPED %d\n#define SN_ATTENTION_DROPS "
        "%d\n#define SN_BACKWARD_COLUMNS "
        "%lld\n"
        "#define SN_BACKWARD_BLOCKS %d\n#define SN_BACKWARD_STORES %d\n",
        cut->tile.rows, cut->tile.vectors, (long long)a->D, (long long)a->DV, sn_attention_score_kind(a),
        a->cap != 0, a->state != NULL, (long long)cut->columns, BLOCKS, stores);
    use->driver = sn_arena_printf(
        kernel->arena,
        "const SnAttention attention = {.batch = %s, .heads = %s, .kv_heads = %s, .rows = %s, .columns = "
        "%s, %s};\n    sn_backward_run(context, &attention, %s, begin, end);",
        number[0], number[1], number[2], number[3], number[4], sn_attention_factors(a), number[5]);
}

Status sn_lower_attention_backward(Attention *a) {
    static const AttentionOperand operand[] = {
        {0, "sn_query", NULL, "h", "i"}, {1, "sn_key", NULL, "g", "j"},       {2, "sn_value", NULL, "g", "j"},
        {3, "sn_slope", NULL, "h", "i"}, {4, "sn_statistic", NULL, "h", "i"}, {5, "sn_sum", NULL, "h", "i"}};
    static const char *const result[3] = {"sn_output", "sn_key_slope", "sn_value_slope"};
    if (a->D > SN_ATTENTION_BACKWARD_WIDEST || a->DV > SN_ATTENTION_BACKWARD_WIDEST)
        return sn_fail(SN_UNSUPPORTED, "attention_backward with a head that is more than %d wide",
                       SN_ATTENTION_BACKWARD_WIDEST);
    int stores;
    for (int i = 0; i < 6; i++) sn_attention_read(a, &operand[i]);
    if (a->bias) sn_attention_score(a, "sn_score", a->attr->causal);
    if (a->state) sn_attention_keep(a);
    TRY(a->lower.status);
    TRY(sn_attention_slopes(a, result, &stores));
    a->use->masks = a->use->maths = true;
    a->use->causal = a->attr->causal ? a->attr->offset : NULL;
    a->use->unmasked = a->bias == NULL;
    Cut cut = cut_of(a);
    sn_hole_scratch(&a->lower, a->use, "sn_backward_partial", count_items(a, &cut));
    TRY(a->lower.status);
    set_driver(a, &cut, stores);
    return NULL;
}
