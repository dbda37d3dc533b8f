/* What the importers of quantised tensors and of their products share. Private to the frontend. A failure is latched in
 * the call, and gives NULL. */
#ifndef SN_IMPORT_QUANTIZE_H
#define SN_IMPORT_QUANTIZE_H

#include "import.h"
#include "view.h"

typedef struct Quantised {
    Value *q, *scale, *zero;
} Quantised;

/* A scale or zero point (NULL stays NULL) as it broadcasts onto a tensor of type `to`; `axis` as it was given; in blocks of
 * `block` neighbours along it where that is not 0. */
Value *sn_quant_spread(Call *c, Value *value, Type to, int64_t axis, int64_t block);

/* (q - zero)·scale in f32; zero may be NULL, and both broadcast. */
Value *sn_quant_open(Call *c, Value *q, Value *scale, Value *zero);

/* The least and largest integer of a quantised tensor, of at most 16 bits; others are unsupported. */
bool sn_quant_range(Call *c, DType dtype, const Narrow *narrow, double *least, double *most);

/* saturate(round half to even(ratio) + zero) as `dtype`; zero may be NULL and otherwise broadcasts. */
Value *sn_quant_close(Call *c, Value *ratio, Value *zero, DType dtype, const Narrow *narrow);

/* q - zero in `to`, which holds it; zero may be NULL and otherwise broadcasts. */
Value *sn_quant_centre(Call *c, Value *q, Value *zero, DType to);

/* The integers of `bits` that lie packed along the last axis of bytes, the first `count` of each row. */
Value *sn_quant_unpack(Call *c, Value *bytes, int bits, Dim count);

/* An f32 tensor as u8 by its own range: ONNX's DynamicQuantizeLinear. */
Quantised sn_quant_dynamic(Call *c, Value *x);

#endif
