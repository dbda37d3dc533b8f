/* What rules read of their node, and small things they build. */
#include "eval.h"
#include "import.h"

#include <math.h>
#include <string.h>

enum {
    TYPE_FLOAT = 1,
    TYPE_INT = 2,
    TYPE_STRING = 3,
    TYPE_TENSOR = 4,
    TYPE_GRAPH = 5,
    TYPE_FLOATS = 6,
    TYPE_INTS = 7,
    TYPE_STRINGS = 8,
    TYPE_SPARSE_TENSOR = 11,
};

/* ---- failures ---- */

Value *sn_call_latch(Call *call, Status status) {
    if (call->builder->status)
        sn_error_free(status);
    else
        call->builder->status = status;
    return NULL;
}

Value *sn_call_unsupported(Call *call, const char *format, ...) {
    va_list args;
    va_start(args, format);
    sn_call_latch(call, sn_failv(SN_UNSUPPORTED, format, args));
    va_end(args);
    return NULL;
}

Value *sn_call_depends(Call *call, const Value *value, const char *what) {
    sn_import_deciding(call->import, value);
    return sn_call_unsupported(call, "data-dependent %s", what);
}

Value *sn_call_invalid(Call *call, const char *format, ...) {
    va_list args;
    va_start(args, format);
    sn_call_latch(call, sn_failv(SN_INVALID, format, args));
    va_end(args);
    return NULL;
}

/* ---- attributes ---- */

/* The attribute, marked as read; NULL where it is absent, and invalid where it has another type. */
static const Onnx__AttributeProto *attribute(Call *call, const char *name, int type) {
    const Onnx__AttributeProto *found = NULL;
    for (size_t i = 0; i < call->node->n_attribute; i++) {
        const Onnx__AttributeProto *at = call->node->attribute[i];
        if (strcmp(at->name, name) != 0) continue;
        call->read[i] = true;
        if (found) sn_call_invalid(call, "attribute \"%s\" is there twice", name);
        found = at;
    }
    found = sn_import_referred(call->import, found);
    if (!found || type == 0) return found;
    if (*found->ref_attr_name) sn_call_invalid(call, "attribute \"%s\" refers to no function's", name);
    if (found->type == type) return found;
    sn_call_invalid(call, "attribute \"%s\" has the wrong type (%d, not %d)", name, found->type, type);
    return NULL;
}

bool sn_call_has(Call *call, const char *name) {
    return attribute(call, name, 0) != NULL;
}

void sn_call_ignore(Call *call, const char *name) {
    attribute(call, name, 0);
}

int64_t sn_call_int(Call *call, const char *name, int64_t missing) {
    const Onnx__AttributeProto *found = attribute(call, name, TYPE_INT);
    return found ? found->i : missing;
}

double sn_call_float(Call *call, const char *name, double missing) {
    const Onnx__AttributeProto *found = attribute(call, name, TYPE_FLOAT);
    return found ? (double)found->f : missing;
}

static const char *text_of(Call *call, const char *name, const ProtobufCBinaryData *bytes) {
    if (bytes->len <= INT16_MAX && !(bytes->len > 0 && memchr(bytes->data, 0, bytes->len)))
        return sn_arena_printf(call->import->scratch, "%.*s", (int)bytes->len,
                               bytes->len ? (const char *)bytes->data : "");
    sn_call_invalid(call, "attribute \"%s\" is no text", name);
    return NULL;
}

const char *sn_call_string(Call *call, const char *name, const char *missing) {
    const Onnx__AttributeProto *found = attribute(call, name, TYPE_STRING);
    const char *text = found ? text_of(call, name, &found->s) : NULL;
    return text ? text : missing;
}

const char *const *sn_call_string_list(Call *call, const char *name, int *count) {
    const Onnx__AttributeProto *found = attribute(call, name, TYPE_STRINGS);
    *count = found ? (int)found->n_strings : 0;
    if (!found) return NULL;
    const char **list = SN_ARRAY(call->import->scratch, const char *, *count);
    for (int i = 0; i < *count; i++) {
        const char *text = text_of(call, name, &found->strings[i]);
        list[i] = text ? text : "";
    }
    return list;
}

const int64_t *sn_call_int_list(Call *call, const char *name, int *count) {
    const Onnx__AttributeProto *found = attribute(call, name, TYPE_INTS);
    *count = found ? (int)found->n_ints : 0;
    if (!found) return NULL;
    /* Not NULL, however few there are. */
    int64_t *list = SN_ARRAY(call->import->scratch, int64_t, found->n_ints);
    for (size_t i = 0; i < found->n_ints; i++) list[i] = found->ints[i];
    return list;
}

const int64_t *sn_call_checked_list(Call *c, const char *name, int wanted, int64_t least) {
    int count;
    const int64_t *list = sn_call_int_list(c, name, &count);
    if (!list) return NULL;
    if (count != wanted) sn_call_invalid(c, "%d %s instead of %d", count, name, wanted);
    for (int k = 0; k < count && !sn_call_failed(c); k++)
        if (list[k] < least || list[k] > INT32_MAX)
            sn_call_invalid(c, "%lld in %s", (long long)list[k], name);
    return sn_call_failed(c) ? NULL : list;
}

const Onnx__TensorProto *sn_call_tensor_proto(Call *call, const char *name) {
    const Onnx__AttributeProto *found = attribute(call, name, TYPE_TENSOR);
    if (found && !found->t) sn_call_invalid(call, "attribute \"%s\" has no tensor", name);
    return found ? found->t : NULL;
}

Tensor *sn_call_tensor(Call *call, const char *name) {
    const Onnx__TensorProto *proto = sn_call_tensor_proto(call, name);
    Tensor *tensor = NULL;
    if (!proto) return NULL;
    sn_call_latch(call, sn_tensor_import(call->import->weights, proto, &tensor));
    return sn_call_failed(call) ? NULL : tensor;
}

Tensor *sn_call_sparse_tensor(Call *call, const char *name, const Onnx__TensorProto **values) {
    const Onnx__AttributeProto *found = attribute(call, name, TYPE_SPARSE_TENSOR);
    Tensor *tensor = NULL;
    if (!found) return NULL;
    if (!found->sparse_tensor) return (void *)sn_call_invalid(call, "attribute \"%s\" has no tensor", name);
    sn_call_latch(call, sn_tensor_import_sparse(call->import->weights, found->sparse_tensor, &tensor));
    *values = found->sparse_tensor->values;
    return sn_call_failed(call) ? NULL : tensor;
}

Onnx__GraphProto *sn_call_graph(Call *call, const char *name) {
    const Onnx__AttributeProto *found = attribute(call, name, TYPE_GRAPH);
    if (!found || !found->g) sn_call_invalid(call, "attribute \"%s\" has no graph", name);
    return found ? found->g : NULL;
}

Tensor *sn_call_list_tensor(Call *call, const char *name, bool floats) {
    const Onnx__AttributeProto *found = attribute(call, name, floats ? TYPE_FLOATS : TYPE_INTS);
    if (!found) return NULL;
    int64_t count = (int64_t)(floats ? found->n_floats : found->n_ints);
    void *bytes;
    Tensor *tensor = sn_tensor_new(call->import->graph->arena, floats ? SN_F32 : SN_I64, 1, &count, &bytes);
    if (count > 0)
        memcpy(bytes, floats ? (const void *)found->floats : found->ints, (size_t)count * (floats ? 4 : 8));
    return tensor;
}

/* ---- inputs ---- */

bool sn_call_wants(const Call *call, int k) {
    if (k >= call->output_count) return false;
    const char *name = call->node->output[k];
    return *name && sn_map_get_string(call->import->used, name) != NULL;
}

static int64_t constant_count(Type type) {
    int64_t count = 1, extent;
    for (int k = 0; k < type.rank; k++) count *= sn_dim_is(type.dim[k], &extent) ? extent : 0;
    return count;
}

const int64_t *sn_call_constants(Call *call, const Value *value, const char *what, int *count) {
    *count = 0;
    if (sn_call_failed(call)) return NULL;
    if (!value->known) {
        sn_call_depends(call, value, what);
        return NULL;
    }
    const Dim *dim = value->known;
    *count = (int)constant_count(value->type);
    int64_t *list = SN_ARRAY(call->import->scratch, int64_t, *count);
    for (int i = 0; i < *count; i++) {
        if (sn_dim_is(dim[i], &list[i])) continue;
        sn_call_unsupported(call, "%s that depend on a run's sizes", what);
        *count = 0;
        return NULL;
    }
    return list;
}

/* Integers up to this one are all in the float type. */
static int64_t largest_whole(DType dtype) {
    int bits = dtype == SN_F64 ? 53 : dtype == SN_F32 ? 24 : dtype == SN_F16 ? 11 : 8;
    return INT64_C(1) << bits;
}

/* What a chain of casts to floats starts from; *most: up to there none of them rounds. */
static const Value *before_casts(const Value *value, int64_t *most) {
    *most = largest_whole(SN_F64);
    for (const Node *node = value->producer; node && node->op == SN_OP_CAST; node = value->producer) {
        if (!sn_dtype_is_float(value->type.dtype)) break;
        int64_t largest = largest_whole(value->type.dtype);
        if (largest < *most) *most = largest;
        value = node->input[0];
    }
    return value;
}

Dim sn_call_known_dim(Call *call, const Value *value) {
    int64_t most, constant;
    double number;
    const Value *start = before_casts(value, &most);
    if (start->known && constant_count(start->type) == 1) {
        Dim dim = start->known[0];
        if (start == value) return dim;
        if (sn_dim_is(dim, &constant)) return constant >= -most && constant <= most ? dim : NULL;
        Graph *graph = call->import->graph;
        const Origin *origin = call->builder->origin;
        sn_call_latch(call, sn_graph_check(graph, SN_CHECK_AT_MOST, dim, sn_dim(call->dims, most), origin));
        sn_call_latch(call, sn_graph_check(graph, SN_CHECK_AT_MOST, sn_dim(call->dims, -most), dim, origin));
        return dim;
    }
    if (start->known || !sn_value_is_splat(start, &number)) return NULL;
    if (!(number >= (double)-most && number <= (double)most) || number != trunc(number)) return NULL;
    return sn_dim(call->dims, (int64_t)number);
}

enum { DEEPEST = 8, MOST_ELEMENTS = 1 << 16 };

/* What is computed of constants of `most` elements each, in few steps, or NULL. */
static const Array *computed(Call *call, const Value *value, int most, int depth) {
    Arena *arena = call->import->scratch;
    const Node *node = value ? value->producer : NULL;
    if (!node || depth == DEEPEST) return NULL;
    if (node->op == SN_OP_CONSTANT) {
        const Tensor *tensor = ((const AttrConstant *)node->attr)->tensor;
        bool small = tensor->count <= most && tensor->payload == SN_PAYLOAD_BYTES;
        return small ? sn_array_of_tensor(arena, tensor) : NULL;
    }
    if (node->body || node->output_count > 1 || node->input_count < 1 || node->input_count > 3) return NULL;
    const Array *input[3];
    for (int k = 0; k < node->input_count; k++)
        if (!(input[k] = computed(call, node->input[k], most, depth + 1))) return NULL;
    Array *output = NULL;
    Status status = sn_eval_node(arena, call->import->graph, node, input, &output);
    if (!status) return output->count <= most ? output : NULL;
    sn_error_free(status);
    return NULL;
}

Dim sn_call_constant_size(Call *call, const Value *value) {
    const Array *array = computed(call, value, MOST_ELEMENTS, 0);
    return array && array->i && array->count == 1 ? sn_dim(call->dims, array->i[0]) : NULL;
}

double sn_call_number(Call *call, const Value *value, const char *what) {
    double number = 0;
    if (sn_call_failed(call) || sn_value_is_splat(value, &number)) return number;
    /* Quantisers write numbers so. */
    const Array *array = sn_dtype_is_float(value->type.dtype) ? computed(call, value, 1, 0) : NULL;
    if (array && array->count == 1) return array->f[0];
    sn_call_depends(call, value, what);
    return 0;
}

const int64_t *sn_call_list(Call *call, const char *name, int k, int *count) {
    *count = 0;
    if (call->row->in_max <= k) return sn_call_int_list(call, name, count);
    const Value *value = sn_call_input(call, k);
    return value ? sn_call_constants(call, value, name, count) : NULL;
}

int sn_call_axis(Call *call, int64_t axis, int rank) {
    if (axis >= -rank && axis < rank) return (int)(axis < 0 ? axis + rank : axis);
    sn_call_invalid(call, "axis %lld of a tensor of rank %d", (long long)axis, rank);
    return 0;
}

int64_t *sn_call_axes(Call *call, const int64_t *axes, int count, int rank) {
    bool named[SN_MAX_RANK * 2] = {false};
    int64_t *sorted = SN_ARRAY(call->import->scratch, int64_t, rank);
    if (rank > SN_MAX_RANK) sn_call_unsupported(call, "rank %d", rank);
    if (count > rank) sn_call_invalid(call, "%d axes of a tensor of rank %d", count, rank);
    for (int i = 0; i < count && !sn_call_failed(call); i++) {
        int axis = sn_call_axis(call, axes[i], rank);
        if (named[axis]) sn_call_invalid(call, "axis %d is there twice", axis);
        named[axis] = true;
    }
    int kept = 0;
    for (int axis = 0; axis < rank && !sn_call_failed(call); axis++)
        if (named[axis]) sorted[kept++] = axis;
    return sorted;
}

/* ---- building ---- */

Value *sn_call_scalar(Call *call, DType dtype, double value) {
    return sn_build_scalar(call->builder, dtype, value);
}

Value *sn_call_unsqueeze(Call *call, Value *value, int axis, int count) {
    if (sn_call_failed(call)) return NULL;
    if (value->type.rank < axis) return sn_call_invalid(call, "an input of rank %d", value->type.rank);
    if (value->type.rank + count > SN_MAX_RANK)
        return sn_call_unsupported(call, "rank %d", value->type.rank + count);
    Dim extent[SN_MAX_RANK];
    for (int k = 0; k < value->type.rank + count; k++)
        extent[k] = k < axis           ? value->type.dim[k]
                    : k < axis + count ? sn_dim(call->dims, 1)
                                       : value->type.dim[k - count];
    return sn_build_reshape(call->builder, value, value->type.rank + count, extent);
}

Value *sn_call_swap(Call *call, Value *value, int a, int b) {
    if (sn_call_failed(call)) return NULL;
    int order[SN_MAX_RANK];
    for (int k = 0; k < value->type.rank; k++) order[k] = k == a ? b : k == b ? a : k;
    return sn_build_transpose(call->builder, value, order);
}

Value *sn_call_reduce(Call *call, OpCode op, Value *value, int count, const int64_t *axes, bool keep) {
    if (sn_call_failed(call)) return NULL;
    if (count > 0) value = sn_build1(call->builder, op, &(AttrReduce){count, axes}, value);
    if (keep || !value) return value;
    Dim extent[SN_MAX_RANK];
    int rank = 0;
    for (int k = 0, next = 0; k < value->type.rank; k++) {
        if (next < count && axes[next] == k)
            next++;
        else
            extent[rank++] = value->type.dim[k];
    }
    return sn_build_reshape(call->builder, value, rank, extent);
}
