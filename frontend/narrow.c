#include "narrow.h"

/* The floats: Micikevicius et al., "FP8 formats for deep learning" (2022), and Noune et al., "8-bit numerical formats for deep
 * neural networks" (2022), and of blocks Rouhani et al., "Microscaling data formats for deep learning" (2023), as ONNX numbers
 * them. */
static const Narrow types[] = {
    {.onnx = 21, .bits = 4, .held = SN_U8},
    {.onnx = 22, .bits = 4, .held = SN_I8},
    {.onnx = 25, .bits = 2, .held = SN_U8},
    {.onnx = 26, .bits = 2, .held = SN_I8},
    {.onnx = 17, .bits = 8, .held = SN_U8, .mantissa = 3, .bias = 7, .largest = 0x7e},
    {.onnx = 18, .bits = 8, .held = SN_U8, .mantissa = 3, .bias = 8, .largest = 0x7f, .one_zero = true},
    {.onnx = 19, .bits = 8, .held = SN_U8, .mantissa = 2, .bias = 15, .largest = 0x7b, .infinite = true},
    {.onnx = 20, .bits = 8, .held = SN_U8, .mantissa = 2, .bias = 16, .largest = 0x7f, .one_zero = true},
    {.onnx = 23, .bits = 4, .held = SN_U8, .mantissa = 1, .bias = 1, .largest = 0x7},
    {.onnx = 24, .bits = 8, .held = SN_U8, .bias = 127, .largest = 0xfe, .power = true},
};

const Narrow *sn_narrow(int onnx) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].onnx == onnx) return &types[i];
    return NULL;
}

bool sn_narrow_held(int onnx, DType *out) {
    const Narrow *narrow = sn_narrow(onnx);
    if (narrow) *out = narrow->held;
    return narrow || sn_dtype_from_onnx(onnx, out);
}

int64_t sn_narrow_bytes(const Narrow *narrow, int64_t count) {
    int each = 8 / narrow->bits;
    return count / each + (count % each != 0);
}

void sn_narrow_unpack(const Narrow *narrow, const uint8_t *packed, int64_t count, uint8_t *out) {
    int bits = narrow->bits, each = 8 / bits, sign = narrow->held == SN_I8 ? 1 << (bits - 1) : 0;
    for (int64_t i = 0; i < count; i++) {
        int low = packed[i / each] >> (i % each * bits) & ((1 << bits) - 1);
        out[i] = (uint8_t)((low ^ sign) - sign);
    }
}
