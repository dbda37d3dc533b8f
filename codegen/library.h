/* A product as a GPU's library (cuBLASLt) computes it: what codegen finds expressible, in Dims over the graph's
 * symbols, and runtime/cuda hands on.
 *
 *   D[b] = epilogue(A[b] · B[b] + C[b] + bias)      A: (M, K), B: (K, N), C and D: (M, N), bias: (N)
 *
 * with b < batch. All sizes, offsets and strides count elements. Sums are accumulated in f32. */
#ifndef SN_LIBRARY_H
#define SN_LIBRARY_H

#include "dim.h"
#include "type.h"

typedef enum LibraryEpilogue {
    SN_LIBRARY_NONE,
    SN_LIBRARY_RELU,
    SN_LIBRARY_GELU_TANH, /* the tanh form: the only one that the library has */
} LibraryEpilogue;

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
} LibraryProduct;

#endif
