/* Attention on the CPU: the template with queries, keys, values, scores and results as holes. */
#include "lower_attention.h"

/* Rows of a head that are read without packing, and how many of those an item shares: SN_ATTENTION_FEW and
 * SN_ATTENTION_SHARE of attention.h. */
enum {
    FEW = 8,
    SHARE = 16,
    PAIRS = 6,        /* SN_TILE_B of words of two bf16 */
    MATRIX_ROWS = 32, /* of a height, by matrix tiles */
};

/* How a work item is cut. Its rows share the packing of keys and values; their sums stay in the second-level cache
 * beside those. */
typedef struct Cut {
    Tile tile;
    bool matrix;    /* many rows are multiplied by matrix tiles, attention_matrix.h */
    bool pairs;     /* they are read as words of two bf16 */
    int rows;       /* of a height */
    int blocks;     /* heights of an item: SN_ATTENTION_BLOCKS of attention.h */
    int chunk;      /* columns of an item of few rows: SN_ATTENTION_CHUNK */
    int64_t padded; /* DV in whole panels */
} Cut;

static Cut cut_of(Attention *a) {
    const Target *target = a->lower.kernel->target;
    const int64_t D = a->D, DV = a->DV;
    Cut cut = {.tile = sn_target_tile(target, DV)};
    cut.matrix = target->vector_bytes == 64 && sn_hole_matrix(&a->lower, a->node->input, 3);
    cut.pairs = cut.matrix || (D % 2 == 0 && sn_hole_pairs(&a->lower, a->node->input, 3));
    if (cut.matrix) cut.tile.vectors = 2;
    cut.rows = cut.matrix ? MATRIX_ROWS : cut.tile.rows;
    int64_t rows = 65536 / (D + DV);
    rows = rows > 256 ? 256 : rows < 64 ? 64 : rows;
    cut.blocks = (int)((rows + cut.rows - 1) / cut.rows);
    int64_t columns = 32768 / (D + DV) / 16 * 16, panel = cut.tile.vectors * (target->vector_bytes / 4);
    cut.chunk = (int)(columns > 512 ? 512 : columns < 16 ? 16 : columns);
    cut.padded = (DV + panel - 1) / panel * panel;
    return cut;
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
    Dim blocks = sn_dim_ceildiv(dims, rows, sn_dim(dims, (int64_t)cut.blocks * cut.rows));
    Dim of_many = sn_dim_mul(dims, heads, blocks);
    Dim of_few = sn_dim_mul(dims, k.dim[1], sn_dim_mul(dims, shares, chunks));
    Dim items = sn_dim_add(dims, sn_dim_mul(dims, many, of_many), sn_dim_mul(dims, few, of_few));
    use->items = sn_dim_mul(dims, q.dim[0], items);
    Dim several = sn_dim_mul(dims, few, sn_dim_min(dims, one, sn_dim_addc(dims, chunks, -1)));
    use->after = sn_dim_mul(dims, several, sn_dim_mul(dims, q.dim[0], sn_dim_mul(dims, heads, rows)));
    return sn_dim_mulc(dims, sn_dim_mul(dims, use->after, chunks), cut.padded + 16);
}

static void set_driver(Attention *a, Cut cut, bool pointers, bool lines, bool statistics) {
    KernelIr *kernel = a->lower.kernel;
    TemplateUse *use = a->use;
    const char *number[5];
    const Dim size[5] = {a->q.dim[0], a->q.dim[1], a->k.dim[1], a->q.dim[2], a->k.dim[2]};
    for (int i = 0; i < 5; i++) number[i] = sn_template_number(kernel, use, size[i]);
    use->file[0] = "attention_score.h", use->file[1] = "attention.h";
    static const char *const rest[3][4] = {
        {"attention_item.h", "attention_many.h", "attention_pack.h"},
        {"attention_item.h", "attention_many.h", "attention_words.h"},
        {"matrix.h", "attention_item.h", "attention_matrix.h", "attention_matrix_pack.h"}};
    use->file[2] = "attention_few.h";
    int files = 3;
    for (int i = 0; i < 4 && rest[cut.matrix + cut.pairs][i]; i++)
        use->file[files++] = rest[cut.matrix + cut.pairs][i];
    use->file[files] = "attention_run.h";
    use->needs = cut.matrix ? "amx-tile amx-bf16" : NULL;
    use->defines = sn_arena_printf(
        kernel->arena,
        "#define SN_TILE_MR %d\n#define SN_TILE_NV %d\n#define SN_TILE_B %d\n#define SN_ATTENTION_D "
        "%lld\n#define SN_ATTENTION_DV "
        "%lld\n#define SN_ATTENTION_SCORE %d\n#define SN_ATTENTION_CAPPED %d\n#define SN_ATTENTION_DROPS "
        "%d\n#define "
        "SN_ATTENTION_EMPTY_ZERO %d\n"
        "#define SN_ATTENTION_MATRIX %d\n#define SN_ATTENTION_LINES %d\n#define SN_ATTENTION_BLOCKS "
        "%d\n#define SN_ATTENTION_FEW "
        "%d\n#define SN_ATTENTION_SHARE %d\n"
        "#define SN_ATTENTION_CHUNK %d\n#define SN_ATTENTION_POINTER %d\n#define SN_ATTENTION_STREAM "
        "%d\n#define SN_ATTENTION_STATISTICS %d\n",
        cut.tile.rows, cut.tile.vectors, cut.pairs ? PAIRS : 1, (long long)a->D, (long long)a->DV,
        sn_attention_score_kind(a), a->cap != 0, a->state != NULL, a->attr->zero_rows, cut.matrix, lines,
        cut.blocks, FEW, SHARE, cut.chunk, pointers, kernel->target->fetch_bytes, statistics);
    use->driver =
        sn_arena_printf(kernel->arena,
                        "const SnAttention attention = {.batch = %s, .heads = %s, .kv_heads = %s, .rows = "
                        "%s, .columns = %s, %s};\n    sn_attention_run(context, &attention, begin, end);",
                        number[0], number[1], number[2], number[3], number[4], sn_attention_factors(a));
}

Status sn_lower_attention_cpu(Attention *a) {
    static const AttentionOperand operand[3] = {{0, "sn_query", "sn_query_pointer", "h", "i"},
                                                {1, "sn_key", "sn_key_pointer", "g", "j"},
                                                {2, "sn_value", "sn_value_pointer", "g", "j"}};
    TemplateUse *use = a->use;
    bool pointers = true, lines = true; /* addresses are known; elements lie one behind another along d */
    for (int i = 0; i < 3; i++) sn_attention_read(a, &operand[i]);
    if (a->bias) sn_attention_score(a, "sn_score", a->attr->causal);
    if (a->state) sn_attention_keep(a);
    TRY(a->lower.status);
    HoleSpec output = sn_attention_spec("sn_output", "h", "i", "d", a->node->output[0]->type.dim, true);
    output.takes_value = true;
    TRY(sn_hole_store(&a->lower, use, &output, sn_attention_stand, NULL));
    output.name = "sn_output_ahead", output.takes_value = false;
    TRY(sn_hole_ahead(&a->lower, use, &output, sn_attention_stand, NULL));
    bool statistics = sn_attention_statistic(a, "sn_attention_statistics");
    use->masks = use->maths = true;
    use->causal = a->attr->causal ? a->attr->offset : NULL;
    use->unmasked = a->bias == NULL;
    Cut cut = cut_of(a);
    sn_hole_scratch(&a->lower, use, "sn_attention_partial",
                    count_items(a->lower.kernel, use, a->q, a->k, cut));
    for (int i = 0; i < 3 && pointers; i++) {
        AttentionAddress kind = sn_attention_address(a, &operand[i], SN_ADDRESS_PLAIN);
        pointers = kind >= SN_ADDRESS_PLAIN, lines = lines && kind >= SN_ADDRESS_AFFINE;
    }
    TRY(a->lower.status);
    set_driver(a, cut, pointers, lines, statistics);
    return NULL;
}
