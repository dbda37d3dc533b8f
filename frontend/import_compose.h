/* Short forms for rules that write an operator as arithmetic of others. Each gives NULL after a failure, as the builder
 * does, and takes a NULL that came of one. Private to import_*.c. */
#ifndef SN_IMPORT_COMPOSE_H
#define SN_IMPORT_COMPOSE_H

#include "import.h"

static inline Value *op1(Call *c, OpCode op, Value *x) {
    return sn_build1(c->builder, op, NULL, x);
}
static inline Value *op2(Call *c, OpCode op, Value *a, Value *b) {
    return sn_build2(c->builder, op, NULL, a, b);
}
static inline Value *choose(Call *c, Value *condition, Value *yes, Value *no) {
    return sn_build3(c->builder, SN_OP_WHERE, NULL, condition, yes, no);
}
/* x op number, the number in the type of x. */
static inline Value *op_number(Call *c, OpCode op, Value *x, double number) {
    return sn_call_failed(c) ? NULL : op2(c, op, x, sn_call_scalar(c, x->type.dtype, number));
}
static inline Value *as_type(Call *c, Value *x, DType to) {
    return sn_call_failed(c) ? NULL : sn_build_cast(c->builder, x, to);
}
static inline Value *reshaped(Call *c, Value *x, int rank, const Dim *extent) {
    return sn_call_failed(c) ? NULL : sn_build_reshape(c->builder, x, rank, extent);
}
static inline Value *expanded(Call *c, Value *x, int rank, const Dim *extent) {
    return sn_call_failed(c) ? NULL : sn_build_expand(c->builder, x, rank, extent);
}
static inline Value *transposed(Call *c, Value *x, const int *order) {
    return sn_call_failed(c) ? NULL : sn_build_transpose(c->builder, x, order);
}
static inline Value *sliced(Call *c, Value *x, int axis, Dim start, Dim count) {
    return sn_call_failed(c) ? NULL : sn_build_slice(c->builder, x, axis, start, count, 1);
}
static inline Value *joined(Call *c, int axis, int count, Value *const *part) {
    if (sn_call_failed(c) || count == 1) return count == 1 ? part[0] : NULL;
    return sn_build(c->builder, SN_OP_CONCAT, &(AttrAxis){axis}, count, part);
}
static inline Value *gathered(Call *c, Value *x, Value *index, int axis) {
    return sn_build2(c->builder, SN_OP_GATHER, &(AttrAxis){axis}, x, index);
}
/* A row with optional inputs among the first ones says nothing of those behind them. */
static inline bool has_input(Call *c, int k) {
    return sn_call_input(c, k) || sn_call_invalid(c, "input %d is missing", k);
}
/* 0, 1, … of an axis, with `after` axes of extent 1 behind it, so that it broadcasts along its axis. */
static inline Value *count_up(Call *c, DType dtype, Dim extent, int after) {
    return sn_build_positions(c->builder, dtype, extent, after);
}
/* A size as a number of `dtype`. */
static inline Value *size_number(Call *c, Dim size, DType dtype) {
    return as_type(c, sn_build_dims(c->builder, 1, &size, true), dtype);
}
/* The sum, maximum … over one axis, which stays with extent 1 where `keep`. */
static inline Value *reduce_axis(Call *c, OpCode op, Value *x, int axis, bool keep) {
    return sn_call_reduce(c, op, x, 1, (int64_t[]){axis}, keep);
}
/* The type that sums of floats are computed in. */
static inline DType wide_type(DType dtype) {
    return dtype == SN_F64 ? SN_F64 : SN_F32;
}

#endif
