/* Tensors of files: TensorProto with its bytes in the model, in typed fields, in external files, or as a
 * recipe. */
#ifndef SN_TENSOR_FILE_H
#define SN_TENSOR_FILE_H

#include "files.h"
#include "map.h"
#include "type.h"

#include "onnx.pb-c.h"

/* Where the bytes of a model's tensors are. */
typedef struct Weights {
    Arena *arena;     /* of the mappings */
    Arena *tensors;   /* of the tensors and of what typed fields decode to */
    const char *path; /* the model's */
    Mapping file;     /* the model itself: raw_offset counts from its start */
    int folder;    /* descriptor of its folder; -1 until external data is asked for, or where there is none */
    bool external; /* external data is allowed */
    Map *mapped;   /* external files, by location; values are Mapping * */
} Weights;

/* The tensor, its payload left where it is; typed fields are copied into the arena. SN_UNSUPPORTED for
 * element types that Sinter has not, SN_INVALID where count, offset or length contradict each other. */
Status sn_tensor_import(Weights *weights, const Onnx__TensorProto *proto, Tensor **out);

/* The dense tensor that is zero where the sparse one says nothing, of 1 GiB at most: it is written out in the arena. */
Status sn_tensor_import_sparse(Weights *weights, const Onnx__SparseTensorProto *proto, Tensor **out);

/* NumPy's format: `bytes` is the whole file, in which the elements stay (SN_UNSUPPORTED where they are in column-major order);
 * and with a copy of them, in row-major order. */
Status sn_npy_view(Arena *arena, const uint8_t *bytes, size_t size, Tensor *out);
Status sn_npy_parse(Arena *arena, const uint8_t *bytes, size_t size, Tensor **out);

/* The header of version 1.0, up to the first element's byte, for `dtype` (bf16 has none: it is written as
 * f32). */
void sn_npy_header(Text *text, DType dtype, int rank, const int64_t *extent);

#endif
