/* Sizes that nodes take, and those of them that data decide: symbols that a run gives their values (see ir/sizes.h). */
#include "import_compose.h"
#include "sizes.h"
#include "taken.h"

/* What a run reads as a size in a branch: 0 where it is not taken. */
static Value *size_if_taken(Call *c, Taken *taken, Value *value) {
    void **slot = sn_map_at(taken->sizes, &value, sizeof value);
    if (!*slot) *slot = choose(c, taken->flag, value, sn_call_scalar(c, value->type.dtype, 0));
    return *slot;
}

Dim sn_call_size(Call *c, Value *value, const char *stem, Dim most) {
    Import *import = c->import;
    if (!sn_call_failed(c) && value->type.rank > 0) value = reshaped(c, value, 0, NULL);
    if (sn_call_failed(c)) return sn_dim(c->dims, 0);
    Dim constant = sn_call_constant_size(c, value);
    if (constant && constant->value < 0) sn_call_invalid(c, "a size of %lld", (long long)constant->value);
    if (constant) return constant;
    if (import->taken) value = size_if_taken(c, import->taken, value);
    if (sn_call_failed(c)) return sn_dim(c->dims, 0);
    for (int i = 0; i < import->size_values.count; i++)
        if (import->size_values.at[i] == value) return import->graph->sizes.at[i].symbol;
    Dim symbol = sn_dim(c->dims, 0);
    sn_call_latch(c, sn_graph_size(import->graph, stem, most, c->builder->origin, &symbol));
    sn_push(import->scratch, &import->size_values, value);
    return symbol;
}

/* The part of a joined list that element *i is of, which becomes its place there. */
static const Value *find_part(const Value *value, int *i) {
    while (value->producer && value->producer->op == SN_OP_CONCAT) {
        const Node *join = value->producer;
        int k = 0;
        int64_t extent;
        for (; sn_dim_is(join->input[k]->type.dim[0], &extent) && *i >= extent; k++) *i -= (int)extent;
        if (join->input[k]->type.dim[0]->kind != SN_DIM_CONST) break;
        value = join->input[k];
    }
    return value;
}

Value *sn_call_element(Call *c, const Value *list, int i) {
    if (list->type.rank == 1) list = find_part(list, &i);
    Dim all = sn_type_count(c->dims, list->type), one = sn_dim(c->dims, 1);
    Value *value = reshaped(c, (Value *)list, 1, &all);
    value = sliced(c, value, 0, sn_dim(c->dims, i), one);
    return as_type(c, reshaped(c, value, 0, NULL), SN_I64);
}

/* A number that may be negative is the difference of two sizes, one of which is 0. The least number of 64 bits, which stands for
 * "to the front", has no negative: it is raised. */
static Dim signed_size(Call *c, Value *value) {
    Value *zero = sn_call_scalar(c, SN_I64, 0);
    value = op_number(c, SN_OP_MAX, value, -0x1p62);
    Dim above = sn_call_size(c, op2(c, SN_OP_MAX, value, zero), "data", NULL);
    Dim below = sn_call_size(c, op2(c, SN_OP_MAX, op1(c, SN_OP_NEG, value), zero), "data", NULL);
    return sn_dim_sub(c->dims, above, below);
}

const Dim *sn_call_data_dims(Call *c, const Value *value, bool negative, int *count) {
    Type type = value->type;
    int64_t elements;
    *count = 0;
    bool small = sn_dim_is(sn_type_count(c->dims, type), &elements) && elements <= 2 * SN_MAX_RANK;
    if (sn_dtype_is_float(type.dtype) || type.dtype == SN_BOOL || !small) return NULL;
    Dim *dim = SN_ARRAY(c->import->scratch, Dim, elements);
    for (int i = 0; i < elements; i++) {
        Value *one = sn_call_element(c, value, i);
        /* Of a list some elements may well be known, each by itself. */
        if (!sn_call_failed(c) && one->known)
            dim[i] = one->known[0];
        else
            dim[i] = negative ? signed_size(c, one) : sn_call_size(c, one, "data", NULL);
    }
    *count = (int)elements;
    return dim;
}

bool sn_call_from_data(const Call *c, Dim dim) {
    const Graph *graph = c->import->graph;
    for (int i = 0; i < graph->sizes.count; i++)
        if (sn_dim_depends(dim, graph->sizes.at[i].symbol)) return true;
    return false;
}

/* ---- what a node takes as sizes ---- */

static const Dim *find_dims(Call *call, const Value *value, bool negative, const char *what, int *count) {
    *count = 0;
    if (sn_call_failed(call)) return NULL;
    if (!value->known) {
        const Dim *found = sn_call_data_dims(call, value, negative, count);
        if (!found) sn_call_depends(call, value, what);
        return found;
    }
    int64_t elements = 0;
    sn_dim_is(sn_type_count(call->dims, value->type), &elements);
    *count = (int)elements;
    return value->known;
}

const Dim *sn_call_dims(Call *call, const Value *value, const char *what, int *count) {
    return find_dims(call, value, false, what, count);
}

const Dim *sn_call_signed_dims(Call *call, const Value *value, const char *what, int *count) {
    return find_dims(call, value, true, what, count);
}

Dim sn_call_dim(Call *call, const Value *value, const char *what) {
    Dim dim = sn_call_failed(call) ? NULL : sn_call_known_dim(call, value);
    int count = 0;
    if (!dim && sn_dtype_is_float(value->type.dtype))
        value = sn_build_cast(call->builder, (Value *)value, SN_I64);
    const Dim *data = dim || sn_call_failed(call) ? NULL : sn_call_data_dims(call, value, false, &count);
    if (data && count == 1) dim = data[0];
    if (!dim) sn_call_depends(call, value, what);
    return dim ? dim : sn_dim(call->dims, 0);
}

const Dim *sn_call_dim_list(Call *call, const char *name, int k, int *count) {
    *count = 0;
    if (call->row->in_max > k) {
        const Value *value = sn_call_input(call, k);
        return value ? sn_call_dims(call, value, name, count) : NULL;
    }
    const int64_t *list = sn_call_int_list(call, name, count);
    if (!list) return NULL;
    Dim *dim = SN_ARRAY(call->import->scratch, Dim, *count);
    for (int i = 0; i < *count; i++) dim[i] = sn_dim(call->dims, list[i]);
    return dim;
}
