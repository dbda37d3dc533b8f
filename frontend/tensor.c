#include "tensor.h"

#include "narrow.h"
#include "number.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LOCATION_EXTERNAL = 1 };

/* Rank, extents and count, which fits in memory's terms: count × bytes is an int64. */
static Status read_shape(Arena *arena, const Onnx__TensorProto *proto, DType dtype, Tensor *tensor) {
    if (proto->n_dims > SN_MAX_RANK)
        return sn_fail(SN_UNSUPPORTED, "unsupported: a tensor of rank %zu, above %d", proto->n_dims,
                       SN_MAX_RANK);
    tensor->dtype = dtype;
    tensor->rank = (int)proto->n_dims;
    int64_t *extent = SN_ARRAY(arena, int64_t, proto->n_dims);
    tensor->extent = extent;
    int64_t count = 1, bytes;
    bool empty = false, fits = true;
    for (size_t k = 0; k < proto->n_dims; k++) {
        extent[k] = proto->dims[k];
        if (extent[k] < 0) return sn_fail(SN_INVALID, "a tensor with extent %lld", (long long)extent[k]);
        empty = empty || extent[k] == 0;
        fits = fits && sn_mul_i64(count, extent[k], &count);
    }
    if (empty) count = 0, fits = true;
    if (!fits || !sn_mul_i64(count, sn_dtype_bytes(dtype), &bytes))
        return sn_fail(SN_INVALID, "a tensor of more than 2^63 bytes");
    tensor->count = count;
    return NULL;
}

/* ---- typed fields ---- */

typedef struct Typed {
    size_t count;
    const void *at;
    size_t width; /* bytes of an element of the field */
} Typed;

static Typed typed_field(const Onnx__TensorProto *proto, DType dtype) {
    switch (dtype) {
    case SN_F32:
        return (Typed){proto->n_float_data, proto->float_data, 4};
    case SN_F64:
        return (Typed){proto->n_double_data, proto->double_data, 8};
    case SN_I64:
        return (Typed){proto->n_int64_data, proto->int64_data, 8};
    case SN_U32:
    case SN_U64:
        return (Typed){proto->n_uint64_data, proto->uint64_data, 8};
    default:
        return (Typed){proto->n_int32_data, proto->int32_data, 4};
    }
}

/* The low bytes of each element: that narrows integers, and f16 and bf16 are stored as their bits. */
static Status import_typed(Weights *weights, const Onnx__TensorProto *proto, Tensor *tensor) {
    Typed typed = typed_field(proto, tensor->dtype);
    size_t all = proto->n_float_data + proto->n_double_data + proto->n_int64_data + proto->n_uint64_data +
                 proto->n_int32_data + proto->n_string_data;
    if (typed.count != all) return sn_fail(SN_INVALID, "data in a field of another element type");
    if (typed.count != (size_t)tensor->count)
        return sn_fail(SN_INVALID, "%zu elements where the shape has %lld", typed.count,
                       (long long)tensor->count);
    size_t width = (size_t)sn_dtype_bytes(tensor->dtype);
    uint8_t *bytes = sn_arena_array(weights->tensors, typed.count, width);
    if (width == typed.width && typed.count > 0)
        memcpy(bytes, typed.at, typed.count * width);
    else
        for (size_t i = 0; i < typed.count; i++)
            memcpy(bytes + i * width, (const uint8_t *)typed.at + i * typed.width, width);
    tensor->bytes = bytes;
    return NULL;
}

/* ---- external data ---- */

static const char *entry(const Onnx__TensorProto *proto, const char *key) {
    for (size_t i = 0; i < proto->n_external_data; i++)
        if (strcmp(proto->external_data[i]->key, key) == 0) return proto->external_data[i]->value;
    return NULL;
}

/* A decimal number without a sign; `missing` where there is no such entry. */
static Status entry_u64(const Onnx__TensorProto *proto, const char *key, uint64_t missing, uint64_t *out) {
    const char *text = entry(proto, key);
    *out = missing;
    if (!text) return NULL;
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno)
        return sn_fail(SN_INVALID, "external data whose \"%s\" is no number", key);
    return NULL;
}

static Status entry_double(const Onnx__TensorProto *proto, const char *key, double missing, double *out) {
    const char *text = entry(proto, key);
    *out = missing;
    if (!text) return NULL;
    char *end;
    *out = strtod(text, &end);
    if (!*text || *end) return sn_fail(SN_INVALID, "external data whose \"%s\" is no number", key);
    return NULL;
}

static Status import_recipe(const Onnx__TensorProto *proto, Tensor *tensor) {
    tensor->payload = SN_PAYLOAD_RECIPE;
    TRY(entry_u64(proto, "seed", 0, &tensor->seed));
    TRY(entry_double(proto, "scale", 1, &tensor->scale));
    return entry_double(proto, "offset_value", 0, &tensor->offset);
}

static Status external_file(Weights *weights, const char *location, Mapping *out) {
    void **known = sn_map_at_string(weights->mapped, location);
    if (!*known) {
        Mapping *mapping = SN_NEW(weights->arena, Mapping);
        if (weights->folder < 0) TRY(sn_file_folder(weights->arena, weights->path, &weights->folder));
        TRY(sn_file_map_below(weights->arena, weights->folder, location, mapping));
        *known = mapping;
    }
    *out = *(const Mapping *)*known;
    return NULL;
}

static Status import_external(Weights *weights, const Onnx__TensorProto *proto, Tensor *tensor) {
    const char *location = entry(proto, "location");
    if (!weights->external) return sn_fail(SN_INVALID, "external data is not allowed here");
    if (!location || !*location) return sn_fail(SN_INVALID, "external data without a location");
    if (strcmp(location, "recipe") == 0 && entry(proto, "seed")) return import_recipe(proto, tensor);
    Mapping file;
    TRY(external_file(weights, location, &file));
    uint64_t offset, length, need = (uint64_t)(tensor->count * sn_dtype_bytes(tensor->dtype));
    TRY(entry_u64(proto, "offset", 0, &offset));
    TRY(entry_u64(proto, "length", need, &length));
    if (length != need)
        return sn_fail(SN_INVALID, "external data of %llu bytes where the shape needs %llu",
                       (unsigned long long)length, (unsigned long long)need);
    if (offset > file.size || length > file.size - offset)
        return sn_file_explain(sn_fail(SN_INVALID,
                                       "external data beyond the end of %s (offset %llu, %llu bytes, of %zu)",
                                       sn_quoted(weights->arena, location), (unsigned long long)offset,
                                       (unsigned long long)length, file.size),
                               &file);
    tensor->bytes = file.bytes + offset;
    return NULL;
}

/* ---- one tensor ---- */

static Status import_raw(const Weights *weights, const Onnx__TensorProto *proto, Tensor *tensor) {
    uint64_t need = (uint64_t)(tensor->count * sn_dtype_bytes(tensor->dtype));
    if (proto->raw_length != need)
        return sn_fail(SN_INVALID, "%llu bytes of data where the shape needs %llu",
                       (unsigned long long)proto->raw_length, (unsigned long long)need);
    tensor->bytes = weights->file.bytes + proto->raw_offset;
    return NULL;
}

/* A bool is 0 or 1 everywhere inside; a file may hold other bytes. */
static Status check_bools(const Tensor *tensor) {
    if (tensor->dtype != SN_BOOL) return NULL;
    if (tensor->payload != SN_PAYLOAD_BYTES) return sn_fail(SN_INVALID, "a recipe of bools");
    const uint8_t *bytes = tensor->bytes;
    for (int64_t i = 0; i < tensor->count; i++)
        if (bytes[i] > 1) return sn_fail(SN_INVALID, "a bool that is neither 0 nor 1");
    return NULL;
}

static Status import_payload(Weights *weights, const Onnx__TensorProto *proto, Tensor *tensor) {
    bool typed = proto->n_float_data || proto->n_double_data || proto->n_int64_data || proto->n_uint64_data ||
                 proto->n_int32_data || proto->n_string_data;
    bool external = proto->data_location == LOCATION_EXTERNAL;
    if (proto->has_raw + typed + external > 1)
        return sn_fail(SN_INVALID, "a tensor with data in several places");
    if (external) return import_external(weights, proto, tensor);
    return proto->has_raw ? import_raw(weights, proto, tensor) : import_typed(weights, proto, tensor);
}

/* Several elements lie in a byte; an element of the typed field is such a byte. */
static Status import_narrow(Weights *weights, const Onnx__TensorProto *proto, const Narrow *narrow,
                            Tensor *tensor) {
    Tensor packed = {.dtype = SN_U8, .count = sn_narrow_bytes(narrow, tensor->count)};
    TRY(import_payload(weights, proto, &packed));
    if (packed.payload != SN_PAYLOAD_BYTES) return sn_fail(SN_INVALID, "a recipe of %d bits", narrow->bits);
    uint8_t *bytes = sn_arena_array(weights->tensors, (size_t)tensor->count, 1);
    sn_narrow_unpack(narrow, packed.bytes, tensor->count, bytes);
    tensor->bytes = bytes;
    return NULL;
}

Status sn_tensor_import(Weights *weights, const Onnx__TensorProto *proto, Tensor **out) {
    DType dtype;
    const Narrow *narrow = sn_narrow(proto->data_type);
    if (!sn_narrow_held(proto->data_type, &dtype))
        return sn_fail(SN_UNSUPPORTED, "unsupported: tensors of element type %d", proto->data_type);
    if (proto->segment) return sn_fail(SN_UNSUPPORTED, "unsupported: a tensor in segments");
    Tensor *tensor = SN_NEW(weights->tensors, Tensor);
    TRY(read_shape(weights->tensors, proto, dtype, tensor));
    TRY(narrow ? import_narrow(weights, proto, narrow, tensor) : import_payload(weights, proto, tensor));
    TRY(check_bools(tensor));
    *out = tensor;
    return NULL;
}
