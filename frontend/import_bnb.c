/* Weights as bitsandbytes stores them: codes of 4 bits of the numbers that a table has, by their place in all of the weights. */
#include "import_compose.h"
#include "import_quantize.h"

#include <math.h>

/* Dettmers et al., "QLoRA: efficient finetuning of quantized LLMs" (2023): a sign and 4, 2 or 1 bits between, and quantiles of the
 * normal distribution. */
static const float fp4[8] = {0, 0.0052083333f, 0.66666667f, 1, 0.33333333f, 0.5f, 0.16666667f, 0.25f};
static const float nf4[16] = {
    -1,          -0.69619280f, -0.52507305f, -0.39491749f, -0.28444138f, -0.18477343f, -0.09105004f, 0,
    0.07958030f, 0.16093020f,  0.24611230f,  0.33791524f,  0.44070983f,  0.56261700f,  0.72295684f,  1};

static Value *table_of(Call *c, bool normal) {
    void *bytes;
    Tensor *table = sn_tensor_new(c->import->graph->arena, SN_F32, 1, (int64_t[]){16}, &bytes);
    for (int k = 0; k < 16; k++)
        ((float *)bytes)[k] = normal ? nf4[k] : copysignf(fp4[k % 8], k < 8 ? 1.0f : -1.0f);
    return sn_build_constant(c->builder, table);
}

/* The codes one behind the other; of each byte the upper one is first. */
static Value *codes_of(Call *c, Value *bytes, Dim count) {
    Value *upper = op_number(c, SN_OP_DIV, bytes, 16), *lower = op_number(c, SN_OP_MUL, bytes, 16);
    Dim extent[2] = {sn_dim(c->dims, 1), bytes->type.dim[0]};
    Value *turned = reshaped(c, op2(c, SN_OP_BIT_OR, upper, lower), 2, extent);
    Value *codes = turned ? sn_quant_unpack(c, turned, 4, count) : NULL;
    return reshaped(c, codes, 1, &count);
}

/* A number for each block at each of `count` weights. */
static Value *at_weights(Call *c, Value *scale, Dim count, int64_t block) {
    Dim *index = sn_view_axes(c->dims, c->import->graph->arena, 1, &count);
    index[0] = sn_dim_floordiv(c->dims, index[0], sn_dim(c->dims, block));
    return sn_build1(c->builder, SN_OP_VIEW, &(AttrView){1, &count, 1, index}, scale);
}

/* A [..., K], B, the largest size in each block: A times the transpose of the weights [N, K]. */
Value *sn_import_matmul_bnb4(Call *c) {
    Value *a = c->input[0], *bytes = c->input[1], *scale = c->input[2];
    int64_t K = sn_call_int(c, "K", 0), N = sn_call_int(c, "N", 0), block = sn_call_int(c, "block_size", 0),
            kind = sn_call_int(c, "quant_type", -1);
    sn_call_ignore(c, "training_mode");
    if (sn_call_int(c, "transB", 1) != 1) return sn_call_unsupported(c, "transB");
    if (kind != 0 && kind != 1) return sn_call_unsupported(c, "quant_type %lld", (long long)kind);
    if (K < 1 || N < 1 || block < 1 || K > INT32_MAX || N > INT32_MAX || block > INT32_MAX)
        return sn_call_invalid(c, "K %lld, N %lld, blocks of %lld", (long long)K, (long long)N,
                               (long long)block);
    if (bytes->type.dtype != SN_U8)
        return sn_call_unsupported(c, "weights of %s", sn_dtype_name(bytes->type.dtype));
    Dim count = sn_dim(c->dims, N * K), packed = sn_dim(c->dims, (N * K + 1) / 2),
        blocks = sn_dim(c->dims, (N * K + block - 1) / block);
    bytes = reshaped(c, bytes, 1, &packed);
    if (sn_call_failed(c)) return NULL;
    Value *weight = gathered(c, table_of(c, kind == 1), as_type(c, codes_of(c, bytes, count), SN_I32), 0);
    scale = as_type(c, reshaped(c, scale, 1, &blocks), SN_F32);
    if (sn_call_failed(c)) return NULL;
    weight = op2(c, SN_OP_MUL, weight, at_weights(c, scale, count, block));
    weight = reshaped(c, weight, 2, (Dim[]){sn_dim(c->dims, N), sn_dim(c->dims, K)});
    weight = sn_call_failed(c) ? NULL : sn_call_swap(c, weight, 0, 1);
    return as_type(c, op2(c, SN_OP_MATMUL, as_type(c, a, SN_F32), weight), a->type.dtype);
}
