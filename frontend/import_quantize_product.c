/* Products of quantised tensors, and of numbers with quantised weights. Sums of products of integers are made in i32. */
#include "import_attention.h"
#include "import_quantize.h"

/* A scale or zero point of a matrix: one, one for each row (`rows`) or column, or as it broadcasts already. */
static Value *beside(Call *c, Value *value, bool rows) {
    if (!value || sn_call_failed(c) || value->type.rank != 1) return value;
    if (sn_dim_equals(value->type.dim[0], 1)) return sn_build_reshape(c->builder, value, 0, NULL);
    return rows ? sn_call_unsqueeze(c, value, 1, 1) : value;
}

static bool is_narrow_int(Call *c, const Value *value) {
    DType dtype = value->type.dtype;
    if (dtype == SN_U8 || dtype == SN_I8 || dtype == SN_I16 || dtype == SN_U16) return true;
    return sn_call_unsupported(c, "a product of %s", sn_dtype_name(dtype));
}

/* (a - its zero point)·(b - its zero point), in i32. */
static Value *integer_product(Call *c, Value *a, Value *a_zero, Value *b, Value *b_zero) {
    if (sn_call_failed(c) || !is_narrow_int(c, a) || !is_narrow_int(c, b)) return NULL;
    Value *left = sn_quant_centre(c, a, beside(c, a_zero, true), SN_I32);
    Value *right = sn_quant_centre(c, b, beside(c, b_zero, false), SN_I32);
    return sn_build2(c->builder, SN_OP_MATMUL, NULL, left, right);
}

Value *sn_import_matmul_integer(Call *c) {
    return integer_product(c, c->input[0], sn_call_input(c, 2), c->input[1], sn_call_input(c, 3));
}

/* A sum of products of integers as a number. */
static Value *times(Call *c, Value *sum, Value *scale_a, Value *scale_b) {
    Builder *b = c->builder;
    if (sn_call_failed(c)) return NULL;
    Value *scale =
        sn_build2(b, SN_OP_MUL, NULL, sn_build_cast(b, scale_a, SN_F32), sn_build_cast(b, scale_b, SN_F32));
    return sn_build2(b, SN_OP_MUL, NULL, sn_build_cast(b, sum, SN_F32), scale);
}

/* The same quantised: one factor for all three scales. */
static Value *requantised(Call *c, Value *sum, Value *scale_a, Value *scale_b, Value *scale, Value *zero) {
    Builder *b = c->builder;
    if (sn_call_failed(c)) return NULL;
    Value *factor =
        sn_build2(b, SN_OP_MUL, NULL, sn_build_cast(b, scale_a, SN_F32), sn_build_cast(b, scale_b, SN_F32));
    factor = sn_build2(b, SN_OP_DIV, NULL, factor, sn_build_cast(b, scale, SN_F32));
    Value *ratio = sn_build2(b, SN_OP_MUL, NULL, sn_build_cast(b, sum, SN_F32), factor);
    return sn_quant_close(c, ratio, zero, zero->type.dtype, NULL);
}

Value *sn_import_qlinear_matmul(Call *c) {
    Value *sum = integer_product(c, c->input[0], c->input[2], c->input[3], c->input[5]);
    return requantised(c, sum, beside(c, c->input[1], true), beside(c, c->input[4], false),
                       beside(c, c->input[6], true), beside(c, c->input[7], true));
}

/* ---- convolutions ---- */

/* What belongs to the filters, beside weights [M, C, ...]. */
static Value *of_filters(Call *c, Value *value, int behind) {
    if (!value || sn_call_failed(c) || value->type.rank == 0) return value;
    if (value->type.rank != 1) return sn_call_invalid(c, "a vector of rank %d", value->type.rank);
    if (sn_dim_equals(value->type.dim[0], 1)) return sn_build_reshape(c->builder, value, 0, NULL);
    return sn_call_unsqueeze(c, value, 1, behind);
}

static Value *integer_conv(Call *c, Value *x, Value *x_zero, Value *weight, Value *weight_zero, Value *bias) {
    if (!is_narrow_int(c, x) || !is_narrow_int(c, weight)) return NULL;
    Value *left = sn_quant_centre(c, x, of_filters(c, x_zero, 0), SN_I32);
    Value *right = sn_quant_centre(c, weight, of_filters(c, weight_zero, weight->type.rank - 1), SN_I32);
    return sn_call_failed(c) ? NULL : sn_call_conv(c, left, right, bias);
}

Value *sn_import_conv_integer(Call *c) {
    return integer_conv(c, c->input[0], sn_call_input(c, 2), c->input[1], sn_call_input(c, 3), NULL);
}

Value *sn_import_qlinear_conv(Call *c) {
    Value *sum = integer_conv(c, c->input[0], c->input[2], c->input[3], c->input[5], sn_call_input(c, 8));
    if (sn_call_failed(c)) return NULL;
    return requantised(c, sum, of_filters(c, c->input[1], 0), of_filters(c, c->input[4], sum->type.rank - 2),
                       of_filters(c, c->input[6], 0), of_filters(c, c->input[7], 0));
}

/* ---- com.microsoft ---- */

static Value *with_bias(Call *c, Value *y, Value *bias) {
    if (sn_call_failed(c) || !bias) return y;
    return sn_build2(c->builder, SN_OP_ADD, NULL, y, bias);
}

/* A, B, scales and zero points of both, bias. */
Value *sn_import_matmul_integer_to_float(Call *c) {
    Value *sum = integer_product(c, c->input[0], sn_call_input(c, 4), c->input[1], sn_call_input(c, 5));
    Value *y = times(c, sum, beside(c, c->input[2], true), beside(c, c->input[3], false));
    return with_bias(c, y, sn_call_input(c, 6));
}

/* A, B, scale and zero point of B, bias. */
Value *sn_import_dynamic_quantize_matmul(Call *c) {
    Quantised a = sn_quant_dynamic(c, c->input[0]);
    if (sn_call_failed(c)) return NULL;
    Value *sum = integer_product(c, a.q, a.zero, c->input[1], sn_call_input(c, 3));
    Value *y = times(c, sum, a.scale, beside(c, c->input[2], false));
    return with_bias(c, y, sn_call_input(c, 4));
}

/* x, weights, bias, the scales of both, mask, the zero points of both, past. */
Value *sn_import_qattention(Call *c) {
    Value *sum = integer_product(c, c->input[0], sn_call_input(c, 6), c->input[1], sn_call_input(c, 7));
    Value *product = times(c, sum, beside(c, c->input[3], true), beside(c, c->input[4], false));
    return sn_attention_packed(c, with_bias(c, product, c->input[2]), sn_call_input(c, 5),
                               sn_call_input(c, 8), NULL);
}

/* A, its scale and zero point, B, its scale and zero point, C in steps of alpha and both scales; scale and zero point of the
 * result, which otherwise is a number. */
Value *sn_import_qgemm(Call *c) {
    Value *a = c->input[0], *b = c->input[3], *bias = sn_call_input(c, 6), *zero = sn_call_input(c, 8);
    double alpha = sn_call_float(c, "alpha", 1);
    if (a->type.rank != 2 || b->type.rank != 2)
        return sn_call_invalid(c, "operands of rank %d and %d", a->type.rank, b->type.rank);
    if (sn_call_int(c, "transA", 0) != 0) a = sn_call_swap(c, a, 0, 1);
    if (sn_call_int(c, "transB", 0) != 0) b = sn_call_swap(c, b, 0, 1);
    Value *sum = with_bias(c, integer_product(c, a, c->input[2], b, c->input[5]), bias);
    if (sn_call_failed(c)) return NULL;
    Value *scale = sn_build2(c->builder, SN_OP_MUL, NULL, beside(c, c->input[1], true),
                             sn_call_scalar(c, SN_F32, alpha));
    Value *scale_b = beside(c, c->input[4], false), *scale_y = sn_call_input(c, 7);
    if (!scale_y) return times(c, sum, scale, scale_b);
    if (!zero) return sn_call_unsupported(c, "a scale without a zero point");
    return requantised(c, sum, scale, scale_b, beside(c, scale_y, true), beside(c, zero, true));
}

/* ---- com.microsoft: weights of few bits in blocks along K ---- */

typedef struct Blocks {
    int64_t K, N, bits, size, count; /* `count` blocks of `size` along K */
} Blocks;

static bool read_blocks(Call *c, Blocks *blocks) {
    *blocks = (Blocks){sn_call_int(c, "K", 0), sn_call_int(c, "N", 0), sn_call_int(c, "bits", 4),
                       sn_call_int(c, "block_size", 0), 0};
    sn_call_ignore(c, "accuracy_level"); /* the least that is asked for; products are of f32 */
    sn_call_ignore(c, "weight_prepacked");
    if (sn_call_failed(c)) return false;
    if (blocks->K < 1 || blocks->N < 1 || blocks->size < 1 || blocks->K > INT32_MAX ||
        blocks->N > INT32_MAX || blocks->size > INT32_MAX)
        return sn_call_invalid(c, "K %lld, N %lld, blocks of %lld", (long long)blocks->K,
                               (long long)blocks->N, (long long)blocks->size);
    if (blocks->bits != 2 && blocks->bits != 4 && blocks->bits != 8)
        return sn_call_unsupported(c, "weights of %lld bits", (long long)blocks->bits);
    if (sn_call_input(c, 4)) return sn_call_unsupported(c, "an order of the rows (g_idx)");
    blocks->count = (blocks->K + blocks->size - 1) / blocks->size;
    return true;
}

/* A number for each block, [N, blocks] in whatever shape, at each weight [N, K]. */
static Value *at_weights(Call *c, const Blocks *blocks, Value *value) {
    Dim N = sn_dim(c->dims, blocks->N), K = sn_dim(c->dims, blocks->K);
    if (!value || sn_call_failed(c)) return NULL;
    value = sn_build_reshape(c->builder, value, 2, (Dim[]){N, sn_dim(c->dims, blocks->count)});
    Arena *arena = c->import->graph->arena;
    Dim *extent = SN_ARRAY(arena, Dim, 2);
    extent[0] = N, extent[1] = K;
    Dim *index = sn_view_axes(c->dims, arena, 2, extent);
    index[1] = sn_dim_floordiv(c->dims, index[1], sn_dim(c->dims, blocks->size));
    return value ? sn_build1(c->builder, SN_OP_VIEW, &(AttrView){2, extent, 2, index}, value) : NULL;
}

/* Zero points: packed as the weights are, each row from a byte of its own, or of a float type; in the middle if absent. */
static Value *block_zeros(Call *c, const Blocks *blocks, Value *zeros) {
    if (!zeros) return sn_call_scalar(c, SN_U8, 1 << (blocks->bits - 1));
    if (zeros->type.dtype == SN_U8) {
        int64_t bytes = (blocks->count * blocks->bits + 7) / 8;
        zeros = sn_build_reshape(c->builder, zeros, 2,
                                 (Dim[]){sn_dim(c->dims, blocks->N), sn_dim(c->dims, bytes)});
        zeros = zeros ? sn_quant_unpack(c, zeros, (int)blocks->bits, sn_dim(c->dims, blocks->count)) : NULL;
    }
    return at_weights(c, blocks, zeros);
}

/* A [..., K], B [N, blocks, bytes], scales [N, blocks], zero points, no order, bias [N]. */
Value *sn_import_matmul_nbits(Call *c) {
    Builder *b = c->builder;
    Blocks blocks;
    Value *a = c->input[0], *q = c->input[1];
    if (!read_blocks(c, &blocks)) return NULL;
    if (q->type.dtype != SN_U8) return sn_call_unsupported(c, "weights of %s", sn_dtype_name(q->type.dtype));
    int64_t row = blocks.count * ((blocks.size * blocks.bits + 7) / 8);
    Dim extent[2] = {sn_dim(c->dims, blocks.N), sn_dim(c->dims, row)};
    q = sn_build_reshape(b, q, 2, extent);
    q = q ? sn_quant_unpack(c, q, (int)blocks.bits, sn_dim(c->dims, blocks.K)) : NULL;
    Value *weight = sn_quant_centre(c, q, block_zeros(c, &blocks, sn_call_input(c, 3)), SN_F32);
    Value *scale = at_weights(c, &blocks, c->input[2]);
    if (sn_call_failed(c)) return NULL;
    weight = sn_build2(b, SN_OP_MUL, NULL, weight, sn_build_cast(b, scale, SN_F32));
    weight = weight ? sn_call_swap(c, weight, 0, 1) : NULL;
    Value *y = sn_build2(b, SN_OP_MATMUL, NULL, sn_build_cast(b, a, SN_F32), weight);
    Value *bias = sn_call_input(c, 5);
    y = with_bias(c, y, bias ? sn_build_cast(b, bias, SN_F32) : NULL);
    return sn_call_failed(c) ? NULL : sn_build_cast(b, y, a->type.dtype);
}
