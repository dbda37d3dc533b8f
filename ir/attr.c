#include "attr.h"
#include "recurrent.h"

#include <stdint.h>
#include <string.h>

#define FIELD(type, member, kind)                                                                            \
    { #member, SN_FIELD_##kind, offsetof(type, member), 0, false }
#define OPTION(type, member, kind)                                                                           \
    { #member, SN_FIELD_##kind, offsetof(type, member), 0, true }
#define LIST(type, member, kind, count)                                                                      \
    { #member, SN_FIELD_##kind, offsetof(type, member), offsetof(type, count), false }
#define INFO(suffix, type)                                                                                   \
    const AttrInfo sn_attr_##suffix = {#suffix, sizeof(type),                                                \
                                       sizeof suffix##_field / sizeof *suffix##_field, suffix##_field}

const AttrInfo sn_attr_none = {"none", sizeof(AttrNone), 0, NULL};

static const Field constant_field[] = {FIELD(AttrConstant, tensor, TENSOR)};
INFO(constant, AttrConstant);

static const Field dims_field[] = {LIST(AttrDims, dim, DIMS, count), OPTION(AttrDims, scalar, BOOL)};
INFO(dims, AttrDims);

static const Field iota_field[] = {FIELD(AttrIota, dtype, DTYPE), FIELD(AttrIota, extent, DIM),
                                   FIELD(AttrIota, start, DIM), FIELD(AttrIota, step, DIM)};
INFO(iota, AttrIota);

static const Field cast_field[] = {FIELD(AttrCast, to, DTYPE), OPTION(AttrCast, elidable, BOOL)};
INFO(cast, AttrCast);

static const Field view_field[] = {LIST(AttrView, extent, DIMS, rank),
                                   LIST(AttrView, index, INDEX, source_rank)};
INFO(view, AttrView);

static const Field axis_field[] = {FIELD(AttrAxis, axis, INT)};
INFO(axis, AttrAxis);

static const Field append_field[] = {FIELD(AttrAppend, axis, INT), FIELD(AttrAppend, at, DIM)};
INFO(append, AttrAppend);

static const Field gather_nd_field[] = {FIELD(AttrGatherNd, batch_dims, INT)};
INFO(gather_nd, AttrGatherNd);

static const Field scatter_field[] = {FIELD(AttrScatter, rows, DIM)};
INFO(scatter, AttrScatter);

static const Field top_field[] = {FIELD(AttrTop, columns, DIM), OPTION(AttrTop, largest, BOOL)};
INFO(top, AttrTop);

static const Field recurrent_field[] = {
    FIELD(AttrRecurrent, kind, INT),      FIELD(AttrRecurrent, gate, INT),
    FIELD(AttrRecurrent, candidate, INT), FIELD(AttrRecurrent, output, INT),
    OPTION(AttrRecurrent, reverse, BOOL), OPTION(AttrRecurrent, late_reset, BOOL)};
INFO(recurrent, AttrRecurrent);

static const Field pad_field[] = {LIST(AttrPad, before, DIMS, rank), LIST(AttrPad, after, DIMS, rank),
                                  FIELD(AttrPad, value, FLOAT)};
INFO(pad, AttrPad);

static const Field scan_field[] = {FIELD(AttrScan, axis, INT), OPTION(AttrScan, exclusive, BOOL),
                                   OPTION(AttrScan, reverse, BOOL)};
INFO(scan, AttrScan);

static const Field reduce_field[] = {LIST(AttrReduce, axes, INT64S, count)};
INFO(reduce, AttrReduce);

static const Field norm_field[] = {FIELD(AttrNorm, axis, INT), FIELD(AttrNorm, epsilon, FLOAT)};
INFO(norm, AttrNorm);

static const Field cross_entropy_field[] = {OPTION(AttrCrossEntropy, ignores, BOOL),
                                            FIELD(AttrCrossEntropy, ignored, INT64),
                                            FIELD(AttrCrossEntropy, smoothing, FLOAT)};
INFO(cross_entropy, AttrCrossEntropy);

static const Field gelu_field[] = {OPTION(AttrGelu, tanh, BOOL)};
INFO(gelu, AttrGelu);

static const Field alpha_field[] = {FIELD(AttrAlpha, alpha, FLOAT)};
INFO(alpha, AttrAlpha);

static const Field random_field[] = {FIELD(AttrRandom, number, INT64)};
INFO(random, AttrRandom);

static const Field dropout_field[] = {FIELD(AttrDropout, ratio, FLOAT), FIELD(AttrDropout, number, INT64),
                                      OPTION(AttrDropout, always, BOOL), OPTION(AttrDropout, never, BOOL)};
INFO(dropout, AttrDropout);

static const Field trilu_field[] = {OPTION(AttrTrilu, upper, BOOL), FIELD(AttrTrilu, k, DIM)};
INFO(trilu, AttrTrilu);

static const Field rotary_field[] = {OPTION(AttrRotary, interleaved, BOOL)};
INFO(rotary, AttrRotary);

static const Field attention_field[] = {
    FIELD(AttrAttention, scale, FLOAT),    OPTION(AttrAttention, causal, BOOL),
    OPTION(AttrAttention, offset, DIM),    OPTION(AttrAttention, zero_rows, BOOL),
    OPTION(AttrAttention, softcap, FLOAT), OPTION(AttrAttention, dropout, FLOAT),
    OPTION(AttrAttention, number, INT64)};
INFO(attention, AttrAttention);

static const Field contract_field[] = {OPTION(AttrContract, packed, BOOL), OPTION(AttrContract, columns, DIM),
                                       OPTION(AttrContract, block, INT64), OPTION(AttrContract, halves, BOOL),
                                       OPTION(AttrContract, group, INT64)};
INFO(contract, AttrContract);

static const Field pack_field[] = {FIELD(AttrPack, panel, INT64), OPTION(AttrPack, group, INT64)};
INFO(pack, AttrPack);

static const Field cluster_field[] = {FIELD(AttrCluster, kind, CLUSTER)};
INFO(cluster, AttrCluster);

const char *sn_cluster_kind_name(ClusterKind kind) {
    static const char *const name[SN_CLUSTER_KIND_COUNT] = {
        [SN_CLUSTER_MAP] = "map",           [SN_CLUSTER_REDUCE] = "reduce",
        [SN_CLUSTER_CONTRACT] = "contract", [SN_CLUSTER_ATTENTION] = "attention",
        [SN_CLUSTER_SCAN] = "scan",         [SN_CLUSTER_PACK] = "pack",
        [SN_CLUSTER_SCATTER] = "scatter",   [SN_CLUSTER_RECURRENT] = "recurrent",
    };
    return name[kind];
}

/* ---- what each kind of field is: how it is hashed, checked and copied ---- */

enum { CONTENT_BYTES = 4096 };

/* What two equal tensors have in common, and only they. */
static Hash hash_tensor(Hash seed, const Tensor *tensor) {
    seed = sn_hash_u64(seed, (uint64_t)tensor->dtype);
    seed = sn_hash_u64(seed, (uint64_t)tensor->rank);
    for (int i = 0; i < tensor->rank; i++) seed = sn_hash_u64(seed, (uint64_t)tensor->extent[i]);
    seed = sn_hash_u64(seed, (uint64_t)tensor->payload);
    if (tensor->payload == SN_PAYLOAD_RECIPE) {
        seed = sn_hash_u64(seed, tensor->seed);
        seed = sn_hash(seed, &tensor->scale, sizeof tensor->scale);
        return sn_hash(seed, &tensor->offset, sizeof tensor->offset);
    }
    int64_t width = sn_dtype_bytes(tensor->dtype);
    if (tensor->count <= CONTENT_BYTES / width)
        return sn_hash(seed, tensor->bytes, (size_t)(tensor->count * width));
    return sn_hash_u64(seed, (uint64_t)(uintptr_t)tensor->bytes);
}

static Hash hash_dim(Hash seed, Dim dim) {
    return sn_hash_u64(seed, dim ? (uint64_t)dim->id + 1 : 0);
}

static Hash hash_scalar(Hash seed, const Field *field, const void *at) {
    switch (field->kind) {
    case SN_FIELD_INT:
        return sn_hash_u64(seed, (uint64_t) * (const int *)at);
    case SN_FIELD_INT64:
        return sn_hash_u64(seed, (uint64_t) * (const int64_t *)at);
    case SN_FIELD_FLOAT:
        return sn_hash(seed, at, sizeof(double));
    case SN_FIELD_BOOL:
        return sn_hash_u64(seed, *(const bool *)at);
    case SN_FIELD_DTYPE:
        return sn_hash_u64(seed, (uint64_t) * (const DType *)at);
    case SN_FIELD_CLUSTER:
        return sn_hash_u64(seed, (uint64_t) * (const ClusterKind *)at);
    case SN_FIELD_DIM:
        return hash_dim(seed, *(const Dim *)at);
    case SN_FIELD_TENSOR:
        return hash_tensor(seed, *(const Tensor *const *)at);
    default:
        return seed;
    }
}

static Hash hash_field(Hash seed, const Field *field, const void *attr) {
    const void *at = sn_attr_at(field, attr);
    if (field->kind == SN_FIELD_DIMS || field->kind == SN_FIELD_INDEX) {
        int count = sn_attr_count(field, attr);
        seed = sn_hash_u64(seed, (uint64_t)count);
        for (int i = 0; i < count; i++) seed = hash_dim(seed, (*(const Dim *const *)at)[i]);
        return seed;
    }
    if (field->kind == SN_FIELD_INT64S) {
        int count = sn_attr_count(field, attr);
        seed = sn_hash_u64(seed, (uint64_t)count);
        return count ? sn_hash(seed, *(const int64_t *const *)at, (size_t)count * sizeof(int64_t)) : seed;
    }
    return hash_scalar(seed, field, at);
}

Hash sn_attr_hash(const AttrInfo *info, const void *attr, Hash seed) {
    for (int i = 0; i < info->field_count; i++) seed = hash_field(seed, &info->field[i], attr);
    return seed;
}

static bool equal_tensors(const Tensor *a, const Tensor *b) {
    if (a == b) return true;
    if (a->dtype != b->dtype || a->rank != b->rank || a->payload != b->payload) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->extent[i] != b->extent[i]) return false;
    if (a->payload == SN_PAYLOAD_RECIPE)
        return a->seed == b->seed && memcmp(&a->scale, &b->scale, sizeof a->scale) == 0 &&
               memcmp(&a->offset, &b->offset, sizeof a->offset) == 0;
    if (a->bytes == b->bytes || a->count == 0) return true;
    int64_t width = sn_dtype_bytes(a->dtype);
    return a->count <= CONTENT_BYTES / width && memcmp(a->bytes, b->bytes, (size_t)(a->count * width)) == 0;
}

static size_t scalar_size(FieldKind kind) {
    switch (kind) {
    case SN_FIELD_INT:
        return sizeof(int);
    case SN_FIELD_INT64:
        return sizeof(int64_t);
    case SN_FIELD_FLOAT:
        return sizeof(double); /* compared as bits: a NaN equals itself, -0 is not 0 */
    case SN_FIELD_BOOL:
        return sizeof(bool);
    case SN_FIELD_DTYPE:
        return sizeof(DType);
    case SN_FIELD_CLUSTER:
        return sizeof(ClusterKind);
    case SN_FIELD_DIM:
        return sizeof(Dim);
    case SN_FIELD_DIMS:
    case SN_FIELD_INDEX:
        return sizeof(Dim);
    case SN_FIELD_INT64S:
        return sizeof(int64_t);
    case SN_FIELD_TENSOR:
        return sizeof(const Tensor *);
    }
    return 0;
}

static bool is_list(FieldKind kind) {
    return kind == SN_FIELD_DIMS || kind == SN_FIELD_INDEX || kind == SN_FIELD_INT64S;
}

static bool equal_field(const Field *field, const void *a, const void *b) {
    const void *x = sn_attr_at(field, a), *y = sn_attr_at(field, b);
    if (field->kind == SN_FIELD_TENSOR)
        return equal_tensors(*(const Tensor *const *)x, *(const Tensor *const *)y);
    if (!is_list(field->kind)) return memcmp(x, y, scalar_size(field->kind)) == 0;
    int count = sn_attr_count(field, a);
    if (count != sn_attr_count(field, b)) return false;
    return count == 0 || memcmp(*(const void *const *)x, *(const void *const *)y,
                                (size_t)count * scalar_size(field->kind)) == 0;
}

bool sn_attr_equal(const AttrInfo *info, const void *a, const void *b) {
    if (a == b) return true;
    for (int i = 0; i < info->field_count; i++)
        if (!equal_field(&info->field[i], a, b)) return false;
    return true;
}

static const Dim *copy_dims(Arena *arena, Dims *dims, const Dim *from, int count) {
    Dim *to = SN_ARRAY(arena, Dim, count);
    for (int i = 0; i < count; i++) to[i] = dims ? sn_dim_replace(dims, from[i], NULL, NULL, 0) : from[i];
    return to;
}

void *sn_attr_copy(Arena *arena, Dims *dims, const AttrInfo *info, const void *attr) {
    void *copy = sn_arena_alloc(arena, info->size);
    if (!attr) return copy;
    memcpy(copy, attr, info->size);
    for (int i = 0; i < info->field_count; i++) {
        const Field *field = &info->field[i];
        void *at = (char *)copy + field->offset;
        if (field->kind == SN_FIELD_DIM && dims && *(Dim *)at) {
            *(Dim *)at = sn_dim_replace(dims, *(Dim *)at, NULL, NULL, 0);
        } else if (field->kind == SN_FIELD_DIMS || field->kind == SN_FIELD_INDEX) {
            *(const Dim **)at = copy_dims(arena, dims, *(const Dim **)at, sn_attr_count(field, attr));
        } else if (field->kind == SN_FIELD_INT64S) {
            int count = sn_attr_count(field, attr);
            int64_t *list = SN_ARRAY(arena, int64_t, count);
            if (count) memcpy(list, *(const int64_t **)at, (size_t)count * sizeof *list);
            *(const int64_t **)at = list;
        }
    }
    return copy;
}

static Status check_list(const Field *field, const void *attr) {
    int count = sn_attr_count(field, attr);
    const void *list = *(const void *const *)sn_attr_at(field, attr);
    if (count < 0) return sn_fail(SN_INVALID, "attribute %s has a negative count", field->name);
    if (count > 0 && !list) return sn_fail(SN_INVALID, "attribute %s has no elements", field->name);
    if (field->kind == SN_FIELD_INT64S) return NULL;
    for (int i = 0; i < count; i++)
        if (!((const Dim *)list)[i])
            return sn_fail(SN_INVALID, "attribute %s[%d] is missing", field->name, i);
    return NULL;
}

static Status check_field(const Field *field, const void *attr) {
    if (is_list(field->kind)) return check_list(field, attr);
    const void *at = sn_attr_at(field, attr);
    bool ok = true;
    if (field->kind == SN_FIELD_DIM) ok = field->optional || *(const Dim *)at;
    if (field->kind == SN_FIELD_TENSOR) ok = *(const Tensor *const *)at != NULL;
    if (field->kind == SN_FIELD_DTYPE) ok = (unsigned)*(const DType *)at < SN_DTYPE_COUNT;
    if (field->kind == SN_FIELD_CLUSTER) ok = (unsigned)*(const ClusterKind *)at < SN_CLUSTER_KIND_COUNT;
    return ok ? NULL : sn_fail(SN_INVALID, "attribute %s is missing or out of range", field->name);
}

Status sn_attr_check(const AttrInfo *info, const void *attr) {
    if (!attr && info->field_count > 0) return sn_fail(SN_INVALID, "attributes are missing");
    for (int i = 0; i < info->field_count; i++) TRY(check_field(&info->field[i], attr));
    return NULL;
}

void sn_attr_each_dim(const AttrInfo *info, const void *attr, void (*visit)(void *user, Dim dim),
                      void *user) {
    for (int i = 0; i < info->field_count; i++) {
        const Field *field = &info->field[i];
        const void *at = sn_attr_at(field, attr);
        if (field->kind == SN_FIELD_DIM && *(const Dim *)at) visit(user, *(const Dim *)at);
        bool list = field->kind == SN_FIELD_DIMS || field->kind == SN_FIELD_INDEX;
        for (int k = 0; list && k < sn_attr_count(field, attr); k++)
            visit(user, (*(const Dim *const *)at)[k]);
    }
}
