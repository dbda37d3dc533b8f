/* CUDA: accesses of several neighbouring elements at once. */
#ifndef SN_PACK_H
#define SN_PACK_H

#include "kernel.h"

/* When an access of neighbours along the vector axis is aligned: each Dim of `multiple` is a multiple of `elements`.
 * Buffers themselves are aligned (codegen.h). */
typedef struct PackTest {
    Axes multiple;
    int64_t elements;
} PackTest;

/* Bytes of the widest access. */
enum { SN_PACK_BYTES = 16 };

/* Whether neighbours along the vector axis are neighbours at `offset` too, and packs of `pack` elements of `dtype` may
 * be aligned at it: *test says when they are. */
bool sn_pack_test(KernelIr *kernel, const Nest *nest, Dim offset, DType dtype, int pack, PackTest *test);

/* wide[id]: the load is one of whole packs. */
bool *sn_pack_loads(KernelIr *kernel, const Nest *nest, int pack);

/* Whether all stores of a step are of whole packs. */
bool sn_pack_stores(KernelIr *kernel, const Nest *nest, const Step *step, int pack);

/* The widest pack that makes the widest of the nest's narrowest accesses SN_PACK_BYTES wide, and that divides the vector
 * axis as far as that is known; 1: there is nothing to gain. */
int sn_pack_width(KernelIr *kernel, const Nest *nest);

#endif
