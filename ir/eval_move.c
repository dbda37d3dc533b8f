/* Sources and movements. */
#include "eval_rules.h"
#include "index.h"

/* ---- sources ---- */

Status sn_eval_constant(Eval *eval, const Node *node) {
    const Tensor *tensor = ((const AttrConstant *)node->attr)->tensor;
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    for (int64_t i = 0; i < out->count; i++) {
        if (out->f)
            out->f[i] = sn_tensor_get(tensor, i);
        else
            out->i[i] = sn_tensor_get_int(tensor, i);
    }
    return NULL;
}

Status sn_eval_dims(Eval *eval, const Node *node) {
    const AttrDims *attr = node->attr;
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    for (int k = 0; k < attr->count; k++) TRY(sn_eval_dim(eval, attr->dim[k], &out->i[k]));
    return NULL;
}

Status sn_eval_iota(Eval *eval, const Node *node) {
    const AttrIota *attr = node->attr;
    int64_t start, step;
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    TRY(sn_eval_dim(eval, attr->start, &start));
    TRY(sn_eval_dim(eval, attr->step, &step));
    for (int64_t i = 0; i < out->count; i++) {
        int64_t value = (int64_t)((uint64_t)start + (uint64_t)i * (uint64_t)step);
        if (out->f)
            out->f[i] = (double)value;
        else
            out->i[i] = value;
    }
    return NULL;
}

/* ---- view ---- */

/* An index over the output's axes: constant + Σ coefficient·axis when it is of that form (most are, and there
 * are many elements), else the Dim itself. */
typedef struct ViewIndex {
    bool linear;
    int64_t constant, coefficient[SN_MAX_RANK];
    Dim dim;
} ViewIndex;

/* SN_MAX_RANK of these times SN_EVAL_MAX_COUNT stay within 64 bits. */
static bool is_small(int64_t value) {
    return value >= INT32_MIN && value <= INT32_MAX;
}

static bool add_term(const Eval *eval, ViewIndex *index, Dim atom, int64_t coefficient) {
    if (atom->kind == SN_DIM_AXIS) {
        index->coefficient[atom->value] = coefficient;
        return is_small(coefficient);
    }
    int64_t product;
    return atom->kind == SN_DIM_SYMBOL && sn_mul_i64(coefficient, eval->symbols[atom->value], &product) &&
           sn_add_i64(index->constant, product, &index->constant) && is_small(index->constant);
}

/* The symbols in `dim` are bound. */
static ViewIndex view_index(const Eval *eval, Dim dim) {
    ViewIndex index = {.linear = true, .dim = dim};
    if (dim->kind == SN_DIM_CONST) {
        index.constant = dim->value;
    } else if (dim->kind == SN_DIM_SUM) {
        index.constant = dim->value;
        index.linear = is_small(dim->value);
        for (int k = 0; k < dim->count && index.linear; k++)
            index.linear = add_term(eval, &index, dim->operand[k], dim->coefficient[k]);
    } else {
        index.linear = add_term(eval, &index, dim, 1);
    }
    return index;
}

static Status index_at(const Eval *eval, const ViewIndex *index, int rank, const int64_t *at, int64_t *out) {
    if (!index->linear) return sn_dim_eval(index->dim, eval->symbols, at, out);
    *out = index->constant;
    for (int k = 0; k < rank; k++) *out += index->coefficient[k] * at[k];
    return NULL;
}

Status sn_eval_view(Eval *eval, const Node *node) {
    const AttrView *attr = node->attr;
    const Array *x = sn_eval_input(eval, node, 0);
    ViewIndex index[SN_MAX_RANK];
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    for (int k = 0; k < x->rank; k++) {
        TRY(sn_eval_bound(eval, attr->index[k]));
        index[k] = view_index(eval, attr->index[k]);
    }
    if (out->count == 0) return NULL;
    Walk walk = sn_walk_start(out->rank, out->extent, 0, NULL);
    do {
        int64_t from[SN_MAX_RANK];
        for (int k = 0; k < x->rank; k++) {
            TRY(index_at(eval, &index[k], out->rank, walk.index, &from[k]));
            if (from[k] < 0 || from[k] >= x->extent[k])
                return sn_fail(SN_FAULT, "index %lld on axis %d of extent %lld", (long long)from[k], k,
                               (long long)x->extent[k]);
        }
        sn_array_copy(out, walk.at, x, sn_index_join(x->rank, x->extent, from));
    } while (sn_walk_next(&walk));
    return NULL;
}

/* ---- concat, pad, trilu ---- */

Status sn_eval_concat(Eval *eval, const Node *node) {
    int axis = ((const AttrAxis *)node->attr)->axis;
    int64_t begin = 0;
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    for (int k = 0; k < node->input_count; k++) {
        const Array *x = sn_eval_input(eval, node, k);
        for (int64_t i = 0; i < x->count; i++) {
            int64_t index[SN_MAX_RANK];
            sn_index_split(x->rank, x->extent, i, index);
            index[axis] += begin;
            sn_array_copy(out, sn_index_join(out->rank, out->extent, index), x, i);
        }
        begin += x->extent[axis];
    }
    return NULL;
}

Status sn_eval_append(Eval *eval, const Node *node) {
    const AttrAppend *attr = node->attr;
    const Array *cache = sn_eval_input(eval, node, 0), *x = sn_eval_input(eval, node, 1);
    int64_t begin;
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    TRY(sn_eval_dim(eval, attr->at, &begin));
    if (begin < 0 || begin > out->extent[attr->axis] - x->extent[attr->axis])
        return sn_fail(SN_INVALID, "%lld elements behind %lld do not fit into %lld",
                       (long long)x->extent[attr->axis], (long long)begin,
                       (long long)out->extent[attr->axis]);
    for (int64_t i = 0; i < cache->count; i++) sn_array_copy(out, i, cache, i);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t index[SN_MAX_RANK];
        sn_index_split(x->rank, x->extent, i, index);
        index[attr->axis] += begin;
        sn_array_copy(out, sn_index_join(out->rank, out->extent, index), x, i);
    }
    return NULL;
}

Status sn_eval_pad(Eval *eval, const Node *node) {
    const AttrPad *attr = node->attr;
    const Array *x = sn_eval_input(eval, node, 0);
    int64_t before[SN_MAX_RANK], value = 0;
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    for (int k = 0; k < attr->rank; k++) TRY(sn_eval_dim(eval, attr->before[k], &before[k]));
    if (out->i && out->dtype != SN_BOOL && !sn_scalar_from_float(out->dtype, attr->value, &value))
        return sn_fail(SN_INVALID, "%g does not fit %s", attr->value, sn_dtype_name(out->dtype));
    if (out->dtype == SN_BOOL) value = attr->value != 0;
    for (int64_t i = 0; i < out->count; i++) {
        if (out->f)
            out->f[i] = attr->value;
        else
            out->i[i] = value;
    }
    for (int64_t i = 0; i < x->count; i++) {
        int64_t index[SN_MAX_RANK];
        sn_index_split(x->rank, x->extent, i, index);
        for (int k = 0; k < x->rank; k++) index[k] += before[k];
        sn_array_copy(out, sn_index_join(out->rank, out->extent, index), x, i);
    }
    return NULL;
}

Status sn_eval_trilu(Eval *eval, const Node *node) {
    const AttrTrilu *attr = node->attr;
    const Array *x = sn_eval_input(eval, node, 0);
    int64_t diagonal;
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    TRY(sn_eval_dim(eval, attr->k, &diagonal));
    int64_t rows = out->extent[out->rank - 2], columns = out->extent[out->rank - 1];
    for (int64_t i = 0; i < out->count; i++) {
        int64_t row = i / columns % rows, column = i % columns;
        /* Not row + diagonal, which could overflow. */
        bool kept = attr->upper ? column - row >= diagonal : column - row <= diagonal;
        if (kept) sn_array_copy(out, i, x, i); /* new arrays are zero */
    }
    return NULL;
}

/* ---- gathers ---- */

/* An index as ONNX has it: a negative one counts from the end, once. */
static Status wrapped(const Array *indices, int64_t at, int64_t extent, int64_t *out) {
    *out = indices->i[at];
    bool negative = *out < 0 && indices->dtype != SN_U64;
    if (negative) *out += extent;
    if (*out >= 0 && *out < extent) return NULL;
    return sn_fail(SN_FAULT, "index %lld is out of range for an extent of %lld", (long long)indices->i[at],
                   (long long)extent);
}

/* out[before…, indices…, after…] = data[before…, index, after…] */
Status sn_eval_gather(Eval *eval, const Node *node) {
    int axis = ((const AttrAxis *)node->attr)->axis;
    const Array *data = sn_eval_input(eval, node, 0), *indices = sn_eval_input(eval, node, 1);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    for (int64_t i = 0; i < out->count; i++) {
        int64_t at[SN_MAX_RANK], from[SN_MAX_RANK];
        sn_index_split(out->rank, out->extent, i, at);
        for (int k = 0; k < axis; k++) from[k] = at[k];
        int64_t which = sn_index_join(indices->rank, indices->extent, at + axis);
        TRY(wrapped(indices, which, data->extent[axis], &from[axis]));
        for (int k = axis + 1; k < data->rank; k++) from[k] = at[k + indices->rank - 1];
        sn_array_copy(out, i, data, sn_index_join(data->rank, data->extent, from));
    }
    return NULL;
}

/* out[batch…, rest…, after…] = data[batch…, indices[batch…, rest…, 0], indices[…, 1], …, after…] */
Status sn_eval_gather_nd(Eval *eval, const Node *node) {
    int batch = ((const AttrGatherNd *)node->attr)->batch_dims;
    const Array *data = sn_eval_input(eval, node, 0), *indices = sn_eval_input(eval, node, 1);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    int lead = indices->rank - 1, depth = (int)indices->extent[lead];
    for (int64_t i = 0; i < out->count; i++) {
        int64_t at[SN_MAX_RANK], from[SN_MAX_RANK];
        sn_index_split(out->rank, out->extent, i, at);
        for (int k = 0; k < batch; k++) from[k] = at[k];
        int64_t first = sn_index_join(lead, indices->extent, at) * depth;
        for (int k = 0; k < depth; k++)
            TRY(wrapped(indices, first + k, data->extent[batch + k], &from[batch + k]));
        for (int k = batch + depth; k < data->rank; k++) from[k] = at[lead + k - batch - depth];
        sn_array_copy(out, i, data, sn_index_join(data->rank, data->extent, from));
    }
    return NULL;
}

Status sn_eval_gather_elements(Eval *eval, const Node *node) {
    int axis = ((const AttrAxis *)node->attr)->axis;
    const Array *data = sn_eval_input(eval, node, 0), *indices = sn_eval_input(eval, node, 1);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    for (int64_t i = 0; i < out->count; i++) {
        int64_t at[SN_MAX_RANK];
        sn_index_split(out->rank, out->extent, i, at);
        TRY(wrapped(indices, i, data->extent[axis], &at[axis]));
        sn_array_copy(out, i, data, sn_index_join(data->rank, data->extent, at));
    }
    return NULL;
}

Status sn_eval_scatter_add(Eval *eval, const Node *node) {
    const Array *indices = sn_eval_input(eval, node, 0), *x = sn_eval_input(eval, node, 1);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    int64_t columns = out->extent[1], row;
    for (int64_t i = 0; i < indices->count; i++) {
        TRY(wrapped(indices, i, out->extent[0], &row));
        for (int64_t c = 0; c < columns; c++) {
            if (out->f)
                out->f[row * columns + c] += x->f[i * columns + c];
            else
                out->i[row * columns + c] =
                    (int64_t)((uint64_t)out->i[row * columns + c] + (uint64_t)x->i[i * columns + c]);
        }
    }
    return NULL;
}

Status sn_eval_places(Eval *eval, const Node *node) {
    const Array *running = sn_eval_input(eval, node, 0);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    int64_t found = 0;
    for (int64_t i = 0; i < running->count && found < out->count; i++)
        if (running->i[i] > found) out->i[found++] = i;
    return found == out->count ? NULL
                               : sn_fail(SN_FAULT, "%lld places where %lld are wanted", (long long)found,
                                         (long long)out->count);
}
