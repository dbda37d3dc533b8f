/* The gradients of attention on a GPU: codegen/device/attention_backward.cuh with operands, scores and results as holes. */
#include "lower_attention.h"

/* Of attention_backward.cuh: threads of a block, its own rows, and warps. */
enum { THREADS = 128, ROWS = 64, WARPS = 4 };

/* SnBackwardShape of attention_backward.cuh. */
typedef struct Cut {
    AttentionKind kind;
    int width, stages; /* 0: none fit */
    int64_t bytes;     /* of shared memory */
} Cut;

static int64_t round_up(int64_t x, int64_t unit) {
    return (x + unit - 1) / unit * unit;
}

static int64_t padded(AttentionKind kind, int64_t size) {
    return round_up(size, kind == SN_ATTENTION_F32 ? 32 : kind == SN_ATTENTION_TF32 ? 8 : 16);
}

static int64_t shared_bytes(const Attention *a, AttentionKind kind, int width, int stages) {
    int64_t element = kind < SN_ATTENTION_BF16 ? 4 : 2, piece = 16 / element;
    int64_t depth = padded(kind, a->D), out = padded(kind, a->DV), wide = depth > out ? depth : out;
    int64_t weights = kind == SN_ATTENTION_F32 ? ROWS * (width + 8) : 0, numbers = 4 * 6 * ROWS;
    int64_t operands = (ROWS + stages * width) * (depth + out + 2 * piece);
    int64_t tiles = element * (operands + weights) + numbers, stage = 4 * WARPS * 16 * (wide + 8);
    return tiles > stage ? tiles : stage;
}

/* Whether a thread has registers for its sums, both kinds of scores, and the operands that it keeps, beside what addresses
 * and a score hole take. */
static bool fits_registers(const Attention *a, AttentionKind kind, int width) {
    int64_t depth = padded(kind, a->D), out = padded(kind, a->DV);
    int64_t unit = kind == SN_ATTENTION_TF32 ? 8 : 16, kept = 0; /* SnAttentionKeeps */
    if (kind != SN_ATTENTION_F32)
        kept = (depth / unit <= 4 ? depth / unit * 4 : 0) + (out / unit <= 4 ? out / unit * 4 : 0);
    int64_t held = (depth + out) / 2 + width + kept;
    return held + (a->bias || a->cap != 0 ? 24 : 0) <= 184;
}

/* The widest tiles of which two blocks fit on a processor, or else one. */
static Cut cut_of(const Attention *a) {
    static const int shape[][2] = {{64, 2}, {32, 2}, {64, 1}, {32, 1}, {16, 2}, {16, 1}};
    Cut cut = {.kind = sn_attention_kind(a)};
    for (int blocks = 2; blocks > 0 && !cut.width; blocks--)
        for (int i = 0; i < 6 && !cut.width; i++) {
            int64_t bytes = shared_bytes(a, cut.kind, shape[i][0], shape[i][1]);
            if (bytes * blocks > a->lower.kernel->target->shared_bytes ||
                !fits_registers(a, cut.kind, shape[i][0]))
                continue;
            cut.width = shape[i][0], cut.stages = shape[i][1], cut.bytes = bytes;
        }
    return cut;
}

static Dim count_blocks(const Attention *a, int stores) {
    Dims *dims = a->lower.dims;
    Dim rows = sn_dim(dims, ROWS), none = sn_dim(dims, 0);
    Dim keys =
        sn_dim_mul(dims, sn_dim_mul(dims, a->k.dim[0], a->k.dim[1]), sn_dim_ceildiv(dims, a->k.dim[2], rows));
    Dim queries =
        sn_dim_mul(dims, sn_dim_mul(dims, a->q.dim[0], a->q.dim[1]), sn_dim_ceildiv(dims, a->q.dim[2], rows));
    return sn_dim_add(dims, stores & 6 ? keys : none, stores & 1 ? queries : none);
}

static void set_driver(Attention *a, const Cut *cut, int pointers, int pieces, int stores) {
    KernelIr *kernel = a->lower.kernel;
    TemplateUse *use = a->use;
    Dim zero = sn_dim(kernel->dims, 0);
    const Dim size[8] = {a->q.dim[0], a->q.dim[1], a->k.dim[1],
                         a->q.dim[2], a->k.dim[2], a->attr->causal ? a->attr->offset : zero,
                         zero,        zero};
    Text numbers = sn_text(kernel->arena);
    for (int i = 0; i < 8; i++) sn_text_add(&numbers, "%s, ", sn_template_number(kernel, use, size[i]));
    bool tensor = cut->kind != SN_ATTENTION_F32;
    const char *const file[5] = {"tensor.cuh", "attention.cuh", "attention_many.cuh",
                                 tensor ? "attention_tensor.cuh" : "attention_fma.cuh",
                                 "attention_backward.cuh"};
    for (int i = 0; i < 5; i++) use->file[i] = file[i];
    use->defines = sn_arena_printf(
        a->lower.arena,
        "    static constexpr int KIND = %d, D = %lld, DV = %lld, HEIGHT = 1, WIDTH = %d, STAGES = %d, "
        "STORES = "
        "%d;\n    static constexpr int CAUSAL = %d, SCORE = %d;\n    static constexpr float CAP = %af;\n    "
        "static constexpr int POINTER = %d, PIECES = %d;\n",
        (int)cut->kind, (long long)a->D, (long long)a->DV, cut->width, cut->stages, stores, a->attr->causal,
        sn_attention_hole_kind(a), (double)(float)a->cap, pointers, pieces);
    use->driver = sn_arena_printf(kernel->arena,
                                  "const SnAttention attention = {%s%af};\n    "
                                  "sn_backward_run<KERNEL_NAMEUse, %s>(use, attention, block);",
                                  sn_text_string(&numbers), (double)(float)a->attr->scale,
                                  tensor ? "SnAttentionTensor" : "SnAttentionFma");
}

Status sn_lower_attention_backward_cuda(Attention *a) {
    static const AttentionOperand operand[] = {
        {0, "query", "query_pointer", "h", "i"}, {1, "key", "key_pointer", "g", "j"},
        {2, "value", "value_pointer", "g", "j"}, {3, "slope", "slope_pointer", "h", "i"},
        {4, "statistic", NULL, "h", "i"},        {5, "sum", NULL, "h", "i"}};
    static const char *const result[3] = {"output", "key_slope", "value_slope"};
    int pointers = 0, pieces = 0, stores;
    for (int i = 0; i < 6; i++) {
        sn_attention_read(a, &operand[i]);
        if (!operand[i].address) continue;
        AttentionAddress address = sn_attention_address(a, &operand[i], SN_ADDRESS_AFFINE);
        if (address >= SN_ADDRESS_AFFINE) pointers |= 1 << i;
        if (address == SN_ADDRESS_PIECES) pieces |= 1 << i;
    }
    if (sn_attention_hole_kind(a)) sn_attention_score(a, "score", false);
    TRY(a->lower.status);
    TRY(sn_attention_slopes(a, result, &stores));
    Cut cut = cut_of(a);
    if (!cut.width)
        return sn_fail(SN_UNSUPPORTED, "attention_backward with heads %lld and %lld wide on this GPU",
                       (long long)a->D, (long long)a->DV);
    a->use->threads = THREADS;
    a->use->items = count_blocks(a, stores);
    a->use->shared = sn_dim(a->lower.dims, cut.bytes);
    TRY(a->lower.status);
    set_driver(a, &cut, pointers, pieces, stores);
    return NULL;
}
