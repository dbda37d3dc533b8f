#include "narrow.h"

static const Narrow types[] = {{21, 4, SN_U8}, {22, 4, SN_I8}, {25, 2, SN_U8}, {26, 2, SN_I8}};

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
