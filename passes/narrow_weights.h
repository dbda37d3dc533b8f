/* Constant matrices that setup would widen, found as the narrow elements that they are made of, so that products read these
 * bytes and widen them in registers: elements of bf16 or f16 as they are, and integers with a factor for
 * each column, or for each column and block of rows.
 * Arithmetic that setup does on them (zero points, transposes, joins) is done there still. */
#ifndef SN_NARROW_WEIGHTS_H
#define SN_NARROW_WEIGHTS_H

#include "pass.h"

typedef struct NarrowWeights {
    DType dtype; /* BF16, F16 or I8: each element, without its factor, is one of this type */
    /* Times a factor for each column, or one for each column and each `block` rows; 0 and false: neither. */
    bool scaled;
    int64_t block;
    double least, most; /* of the elements, where these are known to be whole numbers; otherwise 0 */
} NarrowWeights;

/* Whether every element of the value is a whole number, of an element type that has it exactly, and between which two. */
bool sn_whole_range(const Value *value, double *least, double *most);

/* Whether all elements along `axis` are equal. */
bool sn_uniform_along(const Graph *graph, Arena *arena, const Value *value, int axis);

/* The axis of a view's source that its `axis` runs along: -1: none; -2: not one alone. */
int sn_source_axis(const Graph *graph, Arena *arena, const AttrView *attr, int axis);

/* Whether the f32 value b [batch…, K, N] is that. Says nothing about what is gained. */
bool sn_narrow_weights(Pass *pass, const Graph *graph, const Value *b, NarrowWeights *out);

/* The elements, in out->dtype; and the factors, f32 [batch…, 1 or as many as there are blocks, N], where there are any. */
Value *sn_narrow_elements(Builder *builder, Value *b, const NarrowWeights *weights);
Value *sn_narrow_factors(Builder *builder, Value *b, const NarrowWeights *weights);

#endif
