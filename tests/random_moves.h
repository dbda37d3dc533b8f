/* Steps that move elements, and those that make positions and sizes. */
#ifndef SN_RANDOM_MOVES_H
#define SN_RANDOM_MOVES_H

#include "random_graph.h"

static inline void step_reshape(Maker *m) {
    Item x;
    if (!draw(m, is_any, 1, &x)) return;
    Type type = x.value->type;
    Dim dim[SN_MAX_RANK];
    int rank = 0, at = pick(m, type.rank), kind = pick(m, 4);
    for (int i = 0; i < type.rank; i++) {
        int64_t extent;
        if (i == at && kind == 0) dim[rank++] = number(m, 1); /* unsqueeze */
        if (i == at && kind == 1 && rank > 0) {               /* merge with the axis before */
            dim[rank - 1] = sn_dim_mul(m->graph->dims, dim[rank - 1], type.dim[i]);
            continue;
        }
        if (kind == 2 && sn_dim_equals(type.dim[i], 1)) continue; /* squeeze */
        if (i == at && kind == 3 && sn_dim_is(type.dim[i], &extent) && extent % 2 == 0) {
            bool first = chance(m, 50);
            dim[rank++] = number(m, first ? 2 : extent / 2);
            dim[rank++] = number(m, first ? extent / 2 : 2);
            continue;
        }
        dim[rank++] = type.dim[i];
    }
    keep(m, sn_build_reshape(&m->b, x.value, rank, dim), x.bound, x.exact);
}

static inline void step_transpose(Maker *m) {
    Item x;
    if (!draw(m, is_any, 2, &x)) return;
    int permutation[SN_MAX_RANK], rank = x.value->type.rank;
    for (int i = 0; i < rank; i++) permutation[i] = i;
    for (int i = rank - 1; i > 0; i--) {
        int j = pick(m, i + 1), old = permutation[i];
        permutation[i] = permutation[j], permutation[j] = old;
    }
    keep(m, sn_build_transpose(&m->b, x.value, permutation), x.bound, x.exact);
}

static inline void step_slice(Maker *m) {
    Item x;
    if (!draw(m, is_any, 1, &x)) return;
    Dims *dims = m->graph->dims;
    int axis = pick(m, x.value->type.rank);
    Dim extent = x.value->type.dim[axis], start = number(m, 0), count = extent;
    int64_t size, step = 1, least = 0;
    if (sn_dim_is(extent, &size) && size > 1) {
        int64_t first = pick(m, (int)size), last = first + pick(m, (int)(size - first));
        step = chance(m, 30) ? 2 : 1;
        start = number(m, first), count = number(m, (last - first) / step + 1);
        if (chance(m, 25)) start = number(m, last), step = -step;
    } else if (sn_dim_lower(dims, extent, &least) && least >= 1) {
        bool back = chance(m, 30);
        start = back ? sn_dim_addc(dims, extent, -1) : number(m, 1);
        count = sn_dim_addc(dims, extent, -1), step = back ? -1 : 1;
    }
    keep(m, sn_build_slice(&m->b, x.value, axis, start, count, step), x.bound, x.exact);
}

static inline void step_expand(Maker *m) {
    Item x;
    if (!draw(m, is_any, 0, &x)) return;
    Type type = x.value->type;
    int more = pick(m, 2);
    Dim dim[SN_MAX_RANK];
    for (int i = 0; i < more; i++) dim[i] = random_extent(m);
    for (int i = 0; i < type.rank; i++)
        dim[more + i] = sn_dim_equals(type.dim[i], 1) ? random_extent(m) : type.dim[i];
    keep(m, sn_build_expand(&m->b, x.value, type.rank + more, dim), x.bound, x.exact);
}

static inline void step_concat(Maker *m) {
    Item x;
    if (!draw(m, is_any, 1, &x)) return;
    Type type = x.value->type;
    AttrAxis attr = {pick(m, type.rank)};
    Dim *dim = SN_ARRAY(m->arena, Dim, type.rank);
    for (int i = 0; i < type.rank; i++)
        dim[i] = i == attr.axis && chance(m, 50) ? random_extent(m) : type.dim[i];
    type.dim = dim;
    Value *input[3] = {x.value, chance(m, 30) ? x.value : fresh(m, type), x.value};
    int count = 1 + pick(m, 3);
    if (chance(m, 50)) input[0] = input[1], input[1] = x.value;
    keep(m, sn_build(&m->b, SN_OP_CONCAT, &attr, count, input), fmax(x.bound, 8), x.exact);
}

static inline void step_pad(Maker *m) {
    Item x;
    if (!draw(m, is_any, 1, &x)) return;
    int rank = x.value->type.rank;
    Dim *before = SN_ARRAY(m->arena, Dim, rank), *after = SN_ARRAY(m->arena, Dim, rank);
    for (int i = 0; i < rank; i++) before[i] = number(m, pick(m, 2)), after[i] = number(m, pick(m, 3) == 0);
    AttrPad attr = {rank, before, after, pick(m, 2)};
    keep(m, sn_build1(&m->b, SN_OP_PAD, &attr, x.value), fmax(x.bound, 1), x.exact);
}

/* Positions below `limit`, as a constant. */
static inline Value *positions(Maker *m, int64_t limit, int rank, const int64_t *extent) {
    void *bytes;
    Tensor *tensor = sn_tensor_new(m->graph->arena, SN_I64, rank, extent, &bytes);
    for (int64_t i = 0; i < tensor->count; i++) sn_element_set_int(SN_I64, bytes, i, pick(m, (int)limit));
    return sn_build_constant(&m->b, tensor);
}

static inline void step_gather(Maker *m) {
    Item x;
    int64_t size, extent[2] = {2 + pick(m, 3), 1 + pick(m, 3)};
    if (!draw(m, is_any, 1, &x)) return;
    AttrAxis attr = {pick(m, x.value->type.rank)};
    Dim along = x.value->type.dim[attr.axis];
    Value *index;
    if (sn_dim_is(along, &size) && size > 0)
        index = positions(m, size, pick(m, 3), extent);
    else
        index = sn_build(&m->b, SN_OP_IOTA, &(AttrIota){SN_I64, along, number(m, 0), number(m, 1)}, 0, NULL);
    keep(m, sn_build2(&m->b, SN_OP_GATHER, &attr, x.value, index), x.bound, x.exact);
}

static inline void step_gather_many(Maker *m) {
    Item x;
    int64_t size, extent[SN_MAX_RANK];
    if (!draw(m, is_any, 1, &x) || !is_concrete(x.value->type)) return;
    Type type = x.value->type;
    if (!sn_dim_is(type.dim[0], &size) || size == 0) return;
    if (chance(m, 50)) {
        AttrGatherNd attr = {0};
        Value *index = positions(m, size, 2, (int64_t[]){1 + pick(m, 4), 1});
        keep(m, sn_build2(&m->b, SN_OP_GATHER_ND, &attr, x.value, index), x.bound, x.exact);
        return;
    }
    for (int i = 0; i < type.rank; i++) extent[i] = type.dim[i]->value;
    extent[0] = 1 + pick(m, 4);
    Value *index = positions(m, size, type.rank, extent);
    keep(m, sn_build2(&m->b, SN_OP_GATHER_ELEMENTS, &(AttrAxis){0}, x.value, index), x.bound, x.exact);
}

static inline void step_source(Maker *m) {
    Dims *dims = m->graph->dims;
    Dim symbol = m->symbol[pick(m, SYMBOLS)];
    if (chance(m, 40)) {
        Dim list[2] = {symbol, sn_dim_addc(dims, sn_dim_mulc(dims, symbol, 2), 1)};
        keep(m, sn_build_dims(&m->b, 1 + pick(m, 2), list, false), 2 * LARGEST_SYMBOL + 1, true);
        return;
    }
    AttrIota attr = {chance(m, 70) ? SN_I64 : SN_F32, random_extent(m), number(m, pick(m, 3)), number(m, 1)};
    if (m->dtype == SN_F64) attr.dtype = SN_I64;
    if (chance(m, 30)) attr.start = symbol;
    keep(m, sn_build(&m->b, SN_OP_IOTA, &attr, 0, NULL), 2 * LARGEST_SYMBOL + 8, true);
}

static inline void step_trilu(Maker *m) {
    Item x;
    if (!draw(m, is_any, 2, &x)) return;
    AttrTrilu attr = {chance(m, 50), chance(m, 25) ? m->symbol[0] : number(m, pick(m, 4) - 2)};
    keep(m, sn_build1(&m->b, SN_OP_TRILU, &attr, x.value), x.bound, x.exact);
}

/* ---- sizes that data decide ---- */

static inline Dim random_size(Maker *m, Value *scalar, Dim most) {
    Dim size;
    must(sn_graph_size(m->graph, "n", most, NULL, &size), "a size");
    sn_push(m->arena, &m->size_value, scalar);
    return size;
}

/* The elements of a list that are true, or above 0, and where they are. */
static inline void step_select(Maker *m) {
    Item x;
    if (!m->sized || !draw(m, is_any, 1, &x) || !x.exact || most_elements(m, x.value->type) > 300) return;
    DType dtype = x.value->type.dtype;
    Dim all = sn_type_count(m->graph->dims, x.value->type);
    AttrReduce sum = {1, (int64_t[]){0}};
    Value *list = sn_build_reshape(&m->b, x.value, 1, &all);
    Value *flags = dtype == SN_BOOL ? list : apply2(m, SN_OP_LESS, scalar(m, list, 0), list);
    Value *one = sn_build_cast(&m->b, flags, SN_I64);
    Value *total = sn_build_reshape(&m->b, sn_build1(&m->b, SN_OP_REDUCE_SUM, &sum, one), 0, NULL);
    AttrScatter found = {random_size(m, total, all)};
    Value *place = sn_build1(&m->b, SN_OP_CUMSUM, &(AttrScan){.axis = 0}, one);
    place = sn_build1(&m->b, SN_OP_PLACES, &found, place);
    keep(m, sn_build2(&m->b, SN_OP_GATHER, &(AttrAxis){0}, list, place), x.bound, true);
    keep(m, place, 300, true);
}

/* A few more rows, or positions, or a cut, as many as an integer says. */
static inline void step_size(Maker *m) {
    Item n, x;
    if (!m->sized || !draw(m, is_any, 0, &n) || n.value->type.dtype != SN_I64 || !draw(m, is_any, 0, &x))
        return;
    Dims *dims = m->graph->dims;
    Dim all = sn_type_count(dims, n.value->type), size;
    AttrReduce sum = {1, (int64_t[]){0}};
    Value *asked = sn_build1(&m->b, SN_OP_REDUCE_SUM, &sum, sn_build_reshape(&m->b, n.value, 1, &all));
    asked = sn_build_reshape(&m->b, asked, 0, NULL);
    asked = apply2(m, SN_OP_MOD, asked, scalar(m, asked, 5));
    size = random_size(m, asked, NULL);
    Type type = x.value->type;
    if (type.rank > 0 && chance(m, 50)) {
        Dim count = sn_dim_min(dims, size, type.dim[0]), start = sn_dim_sub(dims, type.dim[0], count);
        keep(m, sn_build_slice(&m->b, x.value, 0, start, count, 1), x.bound, x.exact);
    } else if (chance(m, 50)) {
        Dim dim[SN_MAX_RANK] = {size};
        memcpy(dim + 1, type.dim, (size_t)type.rank * sizeof *dim);
        if (type.rank < 4) keep(m, sn_build_expand(&m->b, x.value, type.rank + 1, dim), x.bound, x.exact);
    } else {
        AttrIota attr = {SN_I64, size, number(m, 0), number(m, 1)};
        keep(m, sn_build(&m->b, SN_OP_IOTA, &attr, 0, NULL), 5, true);
    }
}

#endif
