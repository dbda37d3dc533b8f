/* Integers of 2 and 4 bits, and floats of 4 and 8. Inside they are held in bytes, one each, so that what follows from them has an
 * element type of Sinter; what they were is known of a name while importing, where a result is to be one of them. */
#ifndef SN_NARROW_H
#define SN_NARROW_H

#include "type.h"

typedef struct Narrow {
    int onnx; /* TensorProto.DataType */
    int bits;
    DType held;
    int mantissa, bias; /* of floats, whose bytes are codes */
    int largest;        /* code of the largest finite float; 0 for integers */
    bool infinite;      /* largest + 1 is infinity; otherwise there is none */
    bool one_zero;      /* what would be -0 is the only NaN */
    bool power;         /* a power of two without a sign; largest + 1 is NaN */
} Narrow;

/* NULL: an element type that Sinter has, or none. */
const Narrow *sn_narrow(int onnx);

/* The element type that tensors of a file's element type have inside; false: there is none. */
bool sn_narrow_held(int onnx, DType *out);

/* The bytes of `count` elements where they lie packed, the first in the lowest bits. */
int64_t sn_narrow_bytes(const Narrow *narrow, int64_t count);

/* `out` holds one element a byte, with its sign. */
void sn_narrow_unpack(const Narrow *narrow, const uint8_t *packed, int64_t count, uint8_t *out);

#endif
