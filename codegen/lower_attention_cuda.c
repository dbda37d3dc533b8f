/* Attention on a GPU: codegen/device/attention.cuh with queries, keys, values, scores and results as holes. */
#include "lower_attention.h"

/* SN_ATTENTION_THREADS and SN_ATTENTION_WARPS of attention.cuh. Rows of a head that are `few` are better off without
 * tiles, of which they would fill a part. */
enum { THREADS = 128, WARPS = 4, FEW = 8 };

/* How a block works: SnAttentionShape of attention.cuh and SnAttentionFew of attention_few.cuh. */
typedef struct Cut {
    AttentionKind kind;
    int height, width;       /* of the tiles; 0: there are none that fit */
    int share;               /* rows in the registers of a block of few rows */
    int64_t many, few;       /* bytes of shared memory: of a block; of a row of few */
    Dim shared;              /* rows that share a key head */
    Dim is_few;              /* 1 where a head's rows are few, 0 where they are many */
    Dim chunk, chunks, base; /* columns of a chunk of few rows; how many; blocks of few rows a chunk */
} Cut;

int sn_attention_hole_kind(const Attention *a) {
    return a->adds || a->cap != 0 ? 2 : a->bias ? 1 : 0;
}

AttentionKind sn_attention_kind(const Attention *a) {
    if (a->q.dtype == SN_BF16) return SN_ATTENTION_BF16;
    if (a->q.dtype == SN_F16) return SN_ATTENTION_F16;
    return a->lower.kernel->target->precision == SN_PRECISION_HIGHEST ? SN_ATTENTION_F32 : SN_ATTENTION_TF32;
}

static int64_t round_up(int64_t x, int64_t unit) {
    return (x + unit - 1) / unit * unit;
}

/* Bytes of shared memory of a block with such tiles. */
static int64_t tile_bytes(const Attention *a, AttentionKind kind, int height, int width) {
    int64_t element = kind < SN_ATTENTION_BF16 ? 4 : 2, piece = 16 / element;
    int64_t depth = round_up(a->D, 2 * piece), out = round_up(a->DV, kind == SN_ATTENTION_F32    ? 32
                                                                     : kind == SN_ATTENTION_TF32 ? 8
                                                                                                 : 16);
    int64_t rows = 64 * height, weights = kind == SN_ATTENTION_F32 ? rows * (width + 8) : 0;
    int64_t tiles = element * ((rows + width) * (depth + piece) + width * (out + piece) + weights);
    int64_t stage = 4 * WARPS * 16 * (out + 8);
    return tiles > stage ? tiles : stage;
}

/* Whether a thread has registers for its outputs, scores and the queries that it keeps (KEEPS of attention_tensor.cuh),
 * beside what operands and addresses take, and a score hole: for the older capabilities the assembler has what a hole
 * loads for all of a thread's scores in registers at once. */
static bool fits_registers(const Attention *a, AttentionKind kind, int height, int width) {
    int64_t step = kind == SN_ATTENTION_TF32 ? 8 : 16, steps = round_up(a->D, step) / step;
    bool full = kind == SN_ATTENTION_F32, old = a->lower.kernel->target->sm < 90;
    int64_t kept = !full && steps * height <= 8 ? 4 * steps * height : 0;
    int64_t held = height * (round_up(a->DV, full ? 32 : step) + width) / 2 + kept;
    bool scores = a->bias || a->cap != 0;
    int64_t score = !scores ? 0 : full && old ? height * width / 2 + 4 : 40;
    return held + score <= (full ? 160 : 176);
}

/* The largest tiles of which two blocks fit on a processor, or else one. */
static void choose_tiles(const Attention *a, Cut *cut) {
    static const int shape[][2] = {{2, 64}, {2, 32}, {1, 64}, {1, 32}, {1, 16}};
    int64_t all = a->lower.kernel->target->shared_bytes;
    for (int blocks = 2; blocks > 0 && !cut->height; blocks--)
        for (int i = 0; i < 5 && !cut->height; i++) {
            int height = shape[i][0], width = shape[i][1];
            int64_t bytes = tile_bytes(a, cut->kind, height, width);
            if (bytes * blocks > all || !fits_registers(a, cut->kind, height, width)) continue;
            cut->height = height, cut->width = width, cut->many = bytes;
        }
}

/* Rows of a block of few rows, whose sums, of all threads, lie in shared memory: 32 KB of them. */
static void choose_share(const Attention *a, Cut *cut) {
    enum { MOST = 8, FLOATS = 64 }; /* rows; outputs of a thread */
    int64_t piece = cut->kind < SN_ATTENTION_BF16 ? 4 : 8, wide = a->D > a->DV ? a->D : a->DV, lanes = 1;
    while (lanes < 32 && lanes * piece < wide) lanes *= 2;
    int64_t key = round_up(a->D, lanes * piece), value = round_up(a->DV, lanes * piece) / lanes;
    int64_t share = FLOATS / value;
    cut->share = share > MOST ? MOST : share < 1 ? 1 : (int)share;
    cut->few = 4 * (key + (value + 2) * THREADS + 8);
}

/* Chunks are so many that all processors have blocks, and so long that a block has something to do. They depend on the
 * target and the shape. */
static void choose_chunks(const Attention *a, Cut *cut) {
    enum { BLOCKS = 4, LEAST = 64 }; /* of a processor; columns */
    Dims *dims = a->lower.dims;
    Dim one = sn_dim(dims, 1), columns = a->k.dim[2];
    Dim group = a->q.dim[1] == a->k.dim[1] ? one : sn_dim_floordiv(dims, a->q.dim[1], a->k.dim[1]);
    cut->shared = sn_dim_mul(dims, a->q.dim[2], group);
    Dim shares = sn_dim_ceildiv(dims, cut->shared, sn_dim(dims, cut->share));
    cut->base = sn_dim_mul(dims, sn_dim_mul(dims, a->q.dim[0], a->k.dim[1]), shares);
    Dim blocks = sn_dim(dims, (int64_t)BLOCKS * a->lower.kernel->target->processors);
    Dim wanted = sn_dim_ceildiv(dims, blocks, sn_dim_max(dims, one, cut->base));
    Dim units = sn_dim_ceildiv(dims, sn_dim_ceildiv(dims, columns, wanted), sn_dim(dims, LEAST));
    cut->chunk = sn_dim_mulc(dims, sn_dim_max(dims, one, units), LEAST);
    cut->chunks = sn_dim_max(dims, one, sn_dim_ceildiv(dims, columns, cut->chunk));
    Dim many = sn_dim_min(dims, one, sn_dim_floordiv(dims, a->q.dim[2], sn_dim(dims, FEW + 1)));
    cut->is_few = cut->height ? sn_dim_sub(dims, one, many) : one;
}

/* Blocks of both rounds and their shared memory; the floats that pass between the rounds. */
static Dim count_blocks(Attention *a, const Cut *cut) {
    Dims *dims = a->lower.dims;
    TemplateUse *use = a->use;
    Dim one = sn_dim(dims, 1), few = cut->is_few, many = sn_dim_sub(dims, one, few);
    Dim heads = sn_dim_mul(dims, a->q.dim[0], a->q.dim[1]), rows = sn_dim_mul(dims, heads, a->q.dim[2]);
    Dim of_many = sn_dim_mul(
        dims, heads, sn_dim_ceildiv(dims, a->q.dim[2], sn_dim(dims, 64 * (cut->height ? cut->height : 1))));
    use->items = sn_dim_add(dims, sn_dim_mul(dims, many, of_many),
                            sn_dim_mul(dims, few, sn_dim_mul(dims, cut->base, cut->chunks)));
    Dim several = sn_dim_mul(dims, few, sn_dim_min(dims, one, sn_dim_addc(dims, cut->chunks, -1)));
    use->after = sn_dim_mul(dims, several, sn_dim_ceildiv(dims, rows, sn_dim(dims, WARPS)));
    Dim share = sn_dim_min(dims, cut->shared, sn_dim(dims, cut->share));
    use->shared = sn_dim_add(dims, sn_dim_mulc(dims, many, cut->many),
                             sn_dim_mulc(dims, sn_dim_mul(dims, few, share), cut->few));
    return sn_dim_mulc(dims, sn_dim_mul(dims, sn_dim_mul(dims, several, rows), cut->chunks), a->DV + 2);
}

/* 1: only many rows occur; 2: only few; 3: both. */
static int forms_of(const Cut *cut) {
    return sn_dim_equals(cut->is_few, 1) ? 2 : sn_dim_equals(cut->is_few, 0) ? 1 : 3;
}

static void set_numbers(Attention *a, const Cut *cut, int pointers, int pieces, bool statistics) {
    double scale = a->attr->scale;
    a->use->defines = sn_arena_printf(
        a->lower.arena,
        "    static constexpr int KIND = %d, D = %lld, DV = %lld, HEIGHT = %d, "
        "WIDTH = %d, FORMS = %d, FEW = %d, "
        "SHARE = %d;\n    static constexpr int CAUSAL = %d, SCORE = %d, SCALED "
        "= %d, ZERO = %d, POINTER = %d, PIECES = %d, "
        "STATISTICS = %d;\n",
        (int)cut->kind, (long long)a->D, (long long)a->DV, cut->height, cut->width, forms_of(cut), FEW,
        cut->share, a->attr->causal, sn_attention_hole_kind(a),
        sn_attention_hole_kind(a) == 2 || !(scale > 0), a->attr->zero_rows, pointers, pieces, statistics);
}

static void set_driver(Attention *a, const Cut *cut) {
    KernelIr *kernel = a->lower.kernel;
    TemplateUse *use = a->use;
    Dim offset = a->attr->causal ? a->attr->offset : sn_dim(kernel->dims, 0);
    const Dim size[8] = {a->q.dim[0], a->q.dim[1], a->k.dim[1], a->q.dim[2],
                         a->k.dim[2], offset,      cut->chunk,  cut->chunks};
    Text numbers = sn_text(kernel->arena);
    for (int i = 0; i < 8; i++) sn_text_add(&numbers, "%s, ", sn_template_number(kernel, use, size[i]));
    bool tensor = cut->kind != SN_ATTENTION_F32;
    const char *const file[5] = {"tensor.cuh", "attention.cuh", "attention_many.cuh",
                                 tensor ? "attention_tensor.cuh" : "attention_fma.cuh", "attention_few.cuh"};
    for (int i = 0; i < 5; i++) use->file[i] = file[i];
    use->driver = sn_arena_printf(kernel->arena,
                                  "const SnAttention attention = {%s%af};\n    "
                                  "sn_attention_run<KERNEL_NAMEUse, %s<KERNEL_NAMEUse>>(use, "
                                  "attention, block);",
                                  sn_text_string(&numbers), (double)(float)a->attr->scale,
                                  tensor ? "SnAttentionTensor" : "SnAttentionFma");
}

Status sn_lower_attention_cuda(Attention *a) {
    static const AttentionOperand operand[3] = {{0, "query", "query_pointer", "h", "i"},
                                                {1, "key", "key_pointer", "g", "j"},
                                                {2, "value", "value_pointer", "g", "j"}};
    int pointers = 0, pieces = 0;
    for (int i = 0; i < 3; i++) {
        sn_attention_read(a, &operand[i]);
        AttentionAddress address = sn_attention_address(a, &operand[i], SN_ADDRESS_AFFINE);
        if (address >= SN_ADDRESS_AFFINE) pointers |= 1 << i;
        if (address == SN_ADDRESS_PIECES) pieces |= 1 << i;
    }
    if (sn_attention_hole_kind(a)) sn_attention_score(a, "score", false);
    TRY(a->lower.status);
    HoleSpec output = sn_attention_spec("output", "h", "i", "d", a->node->output[0]->type.dim, true);
    output.takes_value = true;
    TRY(sn_hole_store(&a->lower, a->use, &output, sn_attention_stand, NULL));
    bool statistics = sn_attention_statistic(a, "statistics");
    Cut cut = {.kind = sn_attention_kind(a)};
    choose_tiles(a, &cut);
    choose_share(a, &cut);
    choose_chunks(a, &cut);
    a->use->threads = THREADS;
    sn_hole_scratch(&a->lower, a->use, "partial", count_blocks(a, &cut));
    TRY(a->lower.status);
    set_numbers(a, &cut, pointers, pieces, statistics);
    set_driver(a, &cut);
    return NULL;
}
