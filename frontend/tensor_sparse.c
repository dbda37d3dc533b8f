/* SparseTensorProto: values, and where each is. */
#include "tensor.h"

#include "number.h"

#include <string.h>

static const int64_t MOST_BYTES = INT64_C(1) << 30; /* a file of a few bytes can say any shape */

/* The dense shape; every extent and their product are small enough to be multiplied. */
static Status read_extents(const Onnx__SparseTensorProto *proto, DType dtype, int64_t *count) {
    int64_t bytes = sn_dtype_bytes(dtype);
    if (proto->n_dims > SN_MAX_RANK)
        return sn_fail(SN_UNSUPPORTED, "unsupported: a sparse tensor of rank %zu, above %d", proto->n_dims,
                       SN_MAX_RANK);
    *count = 1;
    for (size_t k = 0; k < proto->n_dims; k++) {
        if (proto->dims[k] < 1)
            return sn_fail(SN_INVALID, "a sparse tensor with extent %lld", (long long)proto->dims[k]);
        if (!sn_mul_i64(*count, proto->dims[k], count) || *count > MOST_BYTES / bytes)
            return sn_fail(SN_UNSUPPORTED, "unsupported: a sparse tensor of more than %lld bytes",
                           (long long)MOST_BYTES);
    }
    return NULL;
}

/* The place of value i: the index says it as one number or as one an axis. */
static Status place_of(const Onnx__SparseTensorProto *proto, const Tensor *index, int64_t count, int64_t i,
                       int64_t *out) {
    int axes = index->rank == 2 ? (int)proto->n_dims : 1;
    *out = 0;
    for (int k = 0; k < axes; k++) {
        int64_t extent = index->rank == 2 ? proto->dims[k] : count;
        int64_t at = sn_tensor_get_int(index, i * axes + k);
        if (at < 0 || at >= extent)
            return sn_fail(SN_INVALID, "a sparse tensor with a value at %lld of %lld", (long long)at,
                           (long long)extent);
        *out = *out * extent + at;
    }
    return NULL;
}

Status sn_tensor_import_sparse(Weights *weights, const Onnx__SparseTensorProto *proto, Tensor **out) {
    Tensor *value, *index;
    int64_t count;
    if (!proto->values || !proto->indices) return sn_fail(SN_INVALID, "a sparse tensor without values");
    TRY(sn_tensor_import(weights, proto->values, &value));
    TRY(sn_tensor_import(weights, proto->indices, &index));
    TRY(read_extents(proto, value->dtype, &count));
    bool by_axis = index->rank == 2 && index->extent[1] == (int64_t)proto->n_dims;
    if (index->dtype != SN_I64 || value->rank != 1 || (index->rank != 1 && !by_axis) ||
        index->extent[0] != value->count)
        return sn_fail(SN_INVALID, "a sparse tensor whose indices do not fit its values");
    size_t width = (size_t)sn_dtype_bytes(value->dtype);
    void *bytes;
    *out = sn_tensor_new(weights->tensors, value->dtype, (int)proto->n_dims, proto->dims, &bytes);
    memset(bytes, 0, (size_t)count * width);
    for (int64_t i = 0; i < value->count; i++) {
        int64_t at;
        TRY(place_of(proto, index, count, i, &at));
        sn_tensor_copy(value, i, i + 1, (uint8_t *)bytes + (size_t)at * width);
    }
    return NULL;
}
