/* A product as a GPU's library (cuBLASLt) computes it: what codegen finds expressible, in Dims over the graph's
 * symbols, and runtime/cuda hands on.
 *
 *   D[b] = epilogue(A[b] · B[b] + C[b] + bias)      A: (M, K), B: (K, N), C and D: (M, N), bias: (N)
 *
 * with b < batch. All sizes, offsets and strides count elements. Sums are accumulated in f32.
 *
 * What training has besides, with one batch: `aux`, (M, N), which a forward epilogue writes and the slope in the backward pass
 * reads, and `sum`, a row of sums of an operand or of the result: the gradient of a bias. Of GELU, aux is what it is
 * applied to, in D's type with a stride that is a multiple of 8. Of ReLU it is a mask of one bit an element in a layout
 * that is the library's own: nobody else can read or write it. Its stride counts bits, and is a multiple of 128. */
#ifndef SN_LIBRARY_H
#define SN_LIBRARY_H

#include "dim.h"
#include "type.h"

typedef enum LibraryEpilogue {
    SN_LIBRARY_NONE,
    SN_LIBRARY_RELU,
    SN_LIBRARY_GELU_TANH,  /* the tanh form: the only one that the library has */
    SN_LIBRARY_RELU_SLOPE, /* times 1 or 0, as the mask says */
    SN_LIBRARY_GELU_SLOPE, /* times the slope of the tanh form at aux */
} LibraryEpilogue;

typedef enum LibrarySum {
    SN_LIBRARY_NO_SUM,
    SN_LIBRARY_SUM_A, /* over k, for each of M */
    SN_LIBRARY_SUM_B, /* over k, for each of N */
    SN_LIBRARY_SUM_D, /* over m, for each of N; only of a product with a slope */
} LibrarySum;

enum { SN_LIBRARY_MASK_UNIT = 128, SN_LIBRARY_AUX_UNIT = 8 }; /* of strides of aux */

typedef struct LibraryMatrix {
    int buffer; /* of the launch; -1: absent */
    DType dtype;
    bool transposed; /* false: element (r, c) at offset + r·stride + c; true: at offset + c·stride + r */
    Dim offset, stride, batch_stride; /* batch_stride 0: every b reads the same */
} LibraryMatrix;

typedef struct LibraryProduct {
    Dim batch, M, N, K;
    LibraryMatrix a, b, c, d; /* c: absent, or what is added; c and d are not transposed and of one dtype */
    LibraryMatrix bias;       /* absent, or a row of N elements at its offset, the same for every b and m */
    LibraryEpilogue epilogue;
    LibraryMatrix aux, sum; /* absent, or as above; sum: D's type */
    LibrarySum sum_of;
} LibraryProduct;

#endif
