/* Elements taken for others of as many bits. */
#include "import_bits.h"

/* The unsigned integer of as many bytes. */
static DType unsigned_of(DType dtype) {
    static const DType of_bytes[] = {[1] = SN_U8, [2] = SN_U16, [4] = SN_U32, [8] = SN_U64};
    return of_bytes[sn_dtype_bytes(dtype)];
}

Value *sn_bits_of(Call *c, Value *x) {
    if (sn_call_failed(c)) return NULL;
    DType bits = unsigned_of(x->type.dtype);
    if (!sn_dtype_is_float(x->type.dtype)) return as_type(c, x, bits);
    return sn_build1(c->builder, SN_OP_BITCAST, &(AttrCast){.to = bits}, x);
}

static Value *of_bits(Call *c, Value *bits, DType to) {
    if (!sn_dtype_is_float(to)) return as_type(c, bits, to);
    return sn_build1(c->builder, SN_OP_BITCAST, &(AttrCast){.to = to}, bits);
}

/* The lowest bits of a byte as the byte that holds such an element: a signed one has its sign in all bits above. */
static Value *of_low_bits(Call *c, Value *bits, const Narrow *narrow) {
    if (narrow->bits < 8) bits = op_number(c, SN_OP_BIT_AND, bits, (1 << narrow->bits) - 1);
    if (narrow->held == SN_U8) return bits;
    double sign = 1 << (narrow->bits - 1);
    bits = op_number(c, SN_OP_BIT_XOR, as_type(c, bits, SN_I8), sign);
    return op_number(c, SN_OP_SUB, bits, sign);
}

Value *sn_import_bitcast(Call *c) {
    if (!sn_call_has(c, "to")) return sn_call_invalid(c, "attribute \"to\" is missing");
    int64_t code = sn_call_int(c, "to", 0);
    DType to;
    if (code < 0 || code > INT32_MAX || !sn_narrow_held((int)code, &to))
        return sn_call_unsupported(c, "element type %lld", (long long)code);
    const Narrow *from = c->narrow[0], *narrow = sn_narrow((int)code);
    int given = from ? from->bits : 8 * sn_dtype_bytes(c->input[0]->type.dtype);
    int wanted = narrow ? narrow->bits : 8 * sn_dtype_bytes(to);
    if (given != wanted) return sn_call_invalid(c, "elements of %d bits taken for ones of %d", given, wanted);
    c->says = true, c->made = narrow;
    Value *bits = sn_bits_of(c, c->input[0]);
    return narrow ? of_low_bits(c, bits, narrow) : of_bits(c, bits, to);
}
