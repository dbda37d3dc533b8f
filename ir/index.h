/* Positions in dense row-major tensors of concrete shape. */
#ifndef SN_INDEX_H
#define SN_INDEX_H

#include "dim.h"
#include "number.h"

/* The product of the extents. False when one is negative or when the product of those that are not 0
 * overflows: strides are products of some of them, so they fit too. */
static inline bool sn_index_count(int rank, const int64_t *extent, int64_t *count) {
    bool empty = false;
    *count = 1;
    for (int k = 0; k < rank; k++) {
        if (extent[k] < 0) return false;
        empty = empty || extent[k] == 0;
        if (extent[k] != 0 && !sn_mul_i64(*count, extent[k], count)) return false;
    }
    if (empty) *count = 0;
    return true;
}

/* The index per axis of element `position`. */
static inline void sn_index_split(int rank, const int64_t *extent, int64_t position, int64_t *index) {
    for (int k = rank - 1; k >= 0; k--) {
        index[k] = position % extent[k];
        position /= extent[k];
    }
}

/* The position of the element at `index`. */
static inline int64_t sn_index_join(int rank, const int64_t *extent, const int64_t *index) {
    int64_t position = 0;
    for (int k = 0; k < rank; k++) position = position * extent[k] + index[k];
    return position;
}

/* Whether evaluating the Dim takes the values of symbols. */
static inline bool sn_index_has_symbol(Dim dim) {
    if (dim->kind == SN_DIM_SYMBOL) return true;
    if (dim->kind == SN_DIM_AXIS) return false; /* its operand is its extent, which is not evaluated */
    for (int k = 0; k < dim->count; k++)
        if (sn_index_has_symbol(dim->operand[k])) return true;
    return false;
}

/* The position, in a tensor of `rank` extents that broadcasts as numpy does to a result of `to_rank` axes, of
 * what the result's element at `index` reads. */
static inline int64_t sn_index_broadcast(int rank, const int64_t *extent, int to_rank, const int64_t *index) {
    int64_t position = 0;
    for (int k = 0; k < rank; k++)
        position = position * extent[k] + (extent[k] == 1 ? 0 : index[to_rank - rank + k]);
    return position;
}

#endif
