#include "parser.h"

#include "number.h"
#include "text_form.h"
#include "view.h"

#include <limits.h>

/* ---- tensors ---- */

static Status parse_shape(Parser *p, Tensor *tensor) {
    TRY(sn_parse_dtype(p, &tensor->dtype));
    const char *start = sn_parse_skip(p);
    const Dim *dim;
    TRY(sn_parse_dims(p, 0, NULL, &tensor->rank, &dim));
    if (tensor->rank > SN_MAX_RANK) return sn_parse_fail(p, start, "more than %d axes", SN_MAX_RANK);
    int64_t *extent = SN_ARRAY(p->arena, int64_t, tensor->rank), bytes;
    tensor->extent = extent;
    tensor->count = 1;
    for (int i = 0; i < tensor->rank; i++) {
        if (!sn_dim_is(dim[i], &extent[i]) || extent[i] < 0)
            return sn_parse_fail(p, start, "the extents of a tensor are constants");
        if (!sn_mul_i64(tensor->count, extent[i], &tensor->count))
            return sn_parse_fail(p, start, "the tensor is too large");
    }
    if (!sn_mul_i64(tensor->count, sn_dtype_bytes(tensor->dtype), &bytes))
        return sn_parse_fail(p, start, "the tensor is too large");
    return NULL;
}

static Status parse_element(Parser *p, DType dtype, void *bytes, int64_t i) {
    if (sn_dtype_is_float(dtype)) {
        double value;
        TRY(sn_parse_float(p, &value));
        sn_element_set(dtype, bytes, i, value);
        return NULL;
    }
    int64_t value;
    if (dtype == SN_U64) {
        uint64_t element;
        TRY(sn_parse_u64(p, 10, &element));
        value = (int64_t)element;
    } else {
        TRY(sn_parse_int(p, INT64_MIN, INT64_MAX, &value));
    }
    sn_element_set_int(dtype, bytes, i, value);
    return NULL;
}

static Status parse_elements(Parser *p, const Tensor *shape, const Tensor **out) {
    if (shape->count > SN_PARSE_MAX_INLINE)
        return sn_parse_fail(p, p->at, "a tensor of more than %d elements is not written out",
                             SN_PARSE_MAX_INLINE);
    void *bytes;
    *out = sn_tensor_new(p->arena, shape->dtype, shape->rank, shape->extent, &bytes);
    TRY(sn_parse_expect(p, '('));
    for (int64_t i = 0; i < shape->count; i++) {
        if (i > 0) TRY(sn_parse_expect(p, ','));
        TRY(parse_element(p, shape->dtype, bytes, i));
    }
    return sn_parse_expect(p, ')');
}

static Status parse_elided(Parser *p, Tensor *tensor) {
    const char *start = sn_parse_skip(p);
    TRY(sn_parse_u64(p, 16, &tensor->seed));
    const Payload *payload = p->payloads ? sn_map_get(p->payloads, &tensor->seed, sizeof tensor->seed) : NULL;
    if (!payload) return NULL;
    if (tensor->count > INT64_MAX / 16 ||
        (uint64_t)tensor->count * (uint64_t)sn_dtype_bytes(tensor->dtype) != payload->size)
        return sn_parse_fail(p, start, "the tensor does not have the %zu bytes that belong to it",
                             payload->size);
    tensor->payload = SN_PAYLOAD_BYTES;
    tensor->bytes = payload->bytes;
    return NULL;
}

Status sn_parse_tensor(Parser *p, const Tensor **out) {
    Tensor *tensor = SN_NEW(p->arena, Tensor);
    TRY(parse_shape(p, tensor));
    *out = tensor;
    tensor->payload = SN_PAYLOAD_RECIPE;
    if (sn_parse_accept_word(p, "elided")) return parse_elided(p, tensor);
    if (!sn_parse_accept_word(p, "recipe")) return parse_elements(p, tensor, out);
    TRY(sn_parse_u64(p, 10, &tensor->seed));
    TRY(sn_parse_expect_word(p, "scale"));
    TRY(sn_parse_float(p, &tensor->scale));
    TRY(sn_parse_expect_word(p, "offset"));
    return sn_parse_float(p, &tensor->offset);
}

/* ---- attributes ---- */

static Status parse_int64s(Parser *p, int *count, const int64_t **out) {
    SN_VEC(int64_t) list = {0};
    TRY(sn_parse_expect(p, '['));
    while (!sn_parse_peek(p, ']')) {
        int64_t value;
        if (list.count > 0) TRY(sn_parse_expect(p, ','));
        if (list.count == SN_PARSE_MAX_LIST) return sn_parse_fail(p, p->at, "the list is too long");
        TRY(sn_parse_int(p, INT64_MIN, INT64_MAX, &value));
        sn_push(p->arena, &list, value);
    }
    *count = list.count;
    *out = list.at;
    return sn_parse_expect(p, ']');
}

/* Lists that share a count (pad's before and after) must agree on it. */
static Status set_count(Parser *p, const char *start, const AttrInfo *info, const Field *field, void *attr,
                        unsigned seen, int count) {
    int *place = (int *)(void *)((char *)attr + field->count_offset);
    for (int i = 0; i < info->field_count; i++) {
        const Field *other = &info->field[i];
        if (other == field || !(seen & 1u << i) || other->count_offset != field->count_offset) continue;
        bool list = other->kind == SN_FIELD_DIMS || other->kind == SN_FIELD_INT64S;
        if (list && *place != count)
            return sn_parse_fail(p, start, "%s and %s differ in length", other->name, field->name);
    }
    *place = count;
    return NULL;
}

/* The axes that an INDEX field is written over: those of the DIMS field before it. */
static const Dim *index_axes(Parser *p, const AttrInfo *info, const Field *field, const void *attr,
                             int *count) {
    const Field *extent = field;
    while (extent > info->field && extent->kind != SN_FIELD_DIMS) extent--;
    *count = sn_attr_count(extent, attr);
    const Dim *list = *(const Dim *const *)sn_attr_at(extent, attr);
    return sn_view_axes(p->graph->dims, p->scratch, *count, list);
}

static Status parse_list(Parser *p, const AttrInfo *info, const Field *field, unsigned seen, void *attr) {
    const char *start = sn_parse_skip(p);
    void *at = (char *)attr + field->offset;
    int count = 0, axis_count = 0;
    const Dim *axes = NULL;
    if (field->kind == SN_FIELD_INDEX) axes = index_axes(p, info, field, attr, &axis_count);
    if (field->kind == SN_FIELD_INT64S)
        TRY(parse_int64s(p, &count, at));
    else
        TRY(sn_parse_dims(p, axis_count, axes, &count, at));
    if (count > SN_MAX_RANK && field->kind == SN_FIELD_DIMS && info != &sn_attr_dims)
        return sn_parse_fail(p, start, "more than %d axes", SN_MAX_RANK);
    return set_count(p, start, info, field, attr, seen, count);
}

static Status parse_bool(Parser *p, bool *out) {
    static const char *const words[] = {"false", "true"};
    int index;
    TRY(sn_parse_choice(p, "truth value", words, 2, &index));
    *out = index == 1;
    return NULL;
}

static Status parse_cluster_kind(Parser *p, ClusterKind *out) {
    const char *words[SN_CLUSTER_KIND_COUNT];
    for (int kind = 0; kind < SN_CLUSTER_KIND_COUNT; kind++)
        words[kind] = sn_cluster_kind_name((ClusterKind)kind);
    int index;
    TRY(sn_parse_choice(p, "kind of cluster", words, SN_CLUSTER_KIND_COUNT, &index));
    *out = (ClusterKind)index;
    return NULL;
}

static Status parse_field(Parser *p, const AttrInfo *info, const Field *field, unsigned seen, void *attr) {
    void *at = (char *)attr + field->offset;
    int64_t value;
    switch (field->kind) {
    case SN_FIELD_INT:
        TRY(sn_parse_int(p, INT_MIN, INT_MAX, &value));
        *(int *)at = (int)value;
        return NULL;
    case SN_FIELD_INT64:
        return sn_parse_int(p, INT64_MIN, INT64_MAX, at);
    case SN_FIELD_FLOAT:
        return sn_parse_float(p, at);
    case SN_FIELD_BOOL:
        return parse_bool(p, at);
    case SN_FIELD_DTYPE:
        return sn_parse_dtype(p, at);
    case SN_FIELD_DIM:
        return sn_parse_dim(p, 0, NULL, at);
    case SN_FIELD_TENSOR:
        return sn_parse_tensor(p, at);
    case SN_FIELD_CLUSTER:
        return parse_cluster_kind(p, at);
    default:
        return parse_list(p, info, field, seen, attr);
    }
}

/* "name = value" of one field; `seen` gets its bit. An INDEX needs the extents before it. */
static Status parse_assignment(Parser *p, const AttrInfo *info, unsigned *seen, void *attr) {
    size_t length;
    const char *word = sn_parse_word(p, &length);
    for (int i = 0; i < info->field_count; i++) {
        const Field *field = &info->field[i];
        if (strlen(field->name) != length || memcmp(field->name, word, length) != 0) continue;
        if (*seen & 1u << i) return sn_parse_fail(p, word, "%s is given twice", field->name);
        if (field->kind == SN_FIELD_INDEX && !(*seen & 1u << (i - 1)))
            return sn_parse_fail(p, word, "%s must come before %s", info->field[i - 1].name, field->name);
        TRY(sn_parse_expect(p, '='));
        TRY(parse_field(p, info, field, *seen, attr));
        *seen |= 1u << i;
        return NULL;
    }
    return sn_parse_fail(p, word, "an attribute of this operator expected");
}

Status sn_parse_attr(Parser *p, const AttrInfo *info, void **out) {
    void *attr = sn_arena_alloc(p->arena, info->size);
    const char *start = sn_parse_skip(p);
    unsigned seen = 0;
    *out = attr;
    if (sn_parse_accept(p, '{') && !sn_parse_accept(p, '}')) {
        do TRY(parse_assignment(p, info, &seen, attr));
        while (sn_parse_accept(p, ','));
        TRY(sn_parse_expect(p, '}'));
    }
    for (int i = 0; i < info->field_count; i++)
        if (!info->field[i].optional && !(seen & 1u << i))
            return sn_parse_fail(p, start, "attribute %s is missing", info->field[i].name);
    return NULL;
}
