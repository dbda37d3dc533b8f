/* Types of products and what stands around them. */
#include "infer_rules.h"

/* Batch extents of a matmul broadcast; a vector operand is a matrix with one row (a) or column (b), and that
 * axis is not in the result: numpy.matmul. */
Status sn_infer_matmul(Infer *infer, Node *node) {
    Graph *graph = infer->graph;
    Type a = node->input[0]->type, b = node->input[1]->type;
    TRY(sn_infer_one_dtype(node));
    if (a.rank < 1 || b.rank < 1) return sn_fail(SN_INVALID, "a product with a scalar");
    Dim inner = b.dim[b.rank >= 2 ? b.rank - 2 : 0];
    TRY(sn_infer_equal_dim(infer, node, "the inner extents", a.dim[a.rank - 1], inner, NULL));

    int a_batch = a.rank > 2 ? a.rank - 2 : 0, b_batch = b.rank > 2 ? b.rank - 2 : 0;
    int rank = a_batch > b_batch ? a_batch : b_batch;
    Dim *dim = SN_ARRAY(graph->arena, Dim, rank + 2);
    for (int k = 0; k < rank; k++) {
        Dim one = sn_dim(graph->dims, 1);
        int in_a = k - (rank - a_batch), in_b = k - (rank - b_batch);
        TRY(sn_infer_broadcast_dim(graph, in_a < 0 ? one : a.dim[in_a], in_b < 0 ? one : b.dim[in_b],
                                   node->origin, &dim[k]));
    }
    if (a.rank >= 2) dim[rank++] = a.dim[a.rank - 2];
    if (b.rank >= 2) dim[rank++] = b.dim[b.rank - 1];
    return sn_infer_set(node, 0, a.dtype, rank, dim);
}

/* The panel width P of a packed operand whose N is `columns`, and whose axes begin with `at`: ceildiv(N, P), K, P, or
 * ceildiv(N, P), ceildiv(K, group), P, group. */
static Status check_packed(Infer *infer, const Node *node, Type b, int at) {
    const AttrContract *attr = node->attr;
    int64_t panel, group;
    if (!attr->columns || !sn_dim_is(b.dim[at + 2], &panel) || panel < 1)
        return sn_fail(SN_INVALID, "a packed operand needs its columns and a constant panel");
    if (attr->group && (!sn_dim_is(b.dim[at + 3], &group) || group != attr->group))
        return sn_fail(SN_INVALID, "a packed operand in other groups than %lld", (long long)attr->group);
    Dims *dims = infer->graph->dims;
    Dim panels = sn_dim_ceildiv(dims, attr->columns, b.dim[at + 2]);
    return sn_infer_equal_dim(infer, node, "the panels", panels, b.dim[at], NULL);
}

/* Products of bytes, in groups of rows: a of u8, a packed b of i8 and a result of i32. */
static Status check_group(const AttrContract *attr, Type a, Type b) {
    if (attr->halves && attr->group == 4 && attr->packed) return NULL; /* check_factors looks at the rest */
    bool bytes = a.dtype == SN_U8 && b.dtype == SN_I8;
    if (attr->group < 1 || !attr->packed || attr->block || !bytes)
        return sn_fail(SN_INVALID, "groups of %lld rows, of %s by %s", (long long)attr->group,
                       sn_dtype_name(a.dtype), sn_dtype_name(b.dtype));
    return NULL;
}

/* Panels may be narrower than an a of f32: of two bytes, or integers of one. */
static bool is_narrower(DType a, DType b) {
    return a == SN_F32 && (b == SN_BF16 || b == SN_F16 || b == SN_I8);
}

/* One factor for each column of a packed b and each `block` of its rows. */
static Status check_factors(Infer *infer, const Node *node) {
    const AttrContract *attr = node->attr;
    bool given = node->input_count > 2;
    if (given != (attr->block > 0) || (given && !attr->packed) || (attr->halves && !given))
        return sn_fail(SN_INVALID, "blocks of %lld rows, and %s factors", (long long)attr->block,
                       given ? "with" : "without");
    if (!given) return NULL;
    Type b = node->input[1]->type, factors = node->input[2]->type;
    int grouped = attr->group > 0;
    if (attr->halves && (b.dtype != SN_I8 || attr->block % 8 != 0 || attr->group != 4))
        return sn_fail(SN_INVALID, "halves of %s in blocks of %lld rows", sn_dtype_name(b.dtype),
                       (long long)attr->block);
    if (factors.dtype != SN_F32 || factors.rank != b.rank - grouped)
        return sn_fail(SN_INVALID, "factors of rank %d for a matrix of rank %d", factors.rank, b.rank);
    Dims *dims = infer->graph->dims;
    for (int k = 0; k < factors.rank; k++) {
        Dim wanted = b.dim[k];
        if (k == factors.rank - 2)
            wanted = sn_dim_ceildiv(dims, sn_dim_mulc(dims, wanted, attr->halves ? 8 : 1),
                                    sn_dim(dims, attr->block));
        TRY(sn_infer_equal_dim(infer, node, "the factors", wanted, factors.dim[k], NULL));
    }
    return NULL;
}

Status sn_infer_contract(Infer *infer, Node *node) {
    const AttrContract *attr = node->attr;
    Type a = node->input[0]->type, b = node->input[1]->type;
    if (attr->group)
        TRY(check_group(attr, a, b));
    else if (!attr->packed || !is_narrower(a.dtype, b.dtype))
        TRY(sn_infer_one_dtype(node));
    TRY(check_factors(infer, node));
    if (a.rank < 2 || b.rank != a.rank + attr->packed + (attr->group > 0))
        return sn_fail(SN_INVALID, "operands of rank %d and %d%s", a.rank, b.rank,
                       attr->packed ? ", the second packed" : "");
    if (attr->packed) TRY(check_packed(infer, node, b, a.rank - 2));
    Dim *dim = SN_ARRAY(infer->graph->arena, Dim, a.rank), inner = a.dim[a.rank - 1];
    if (attr->group && !attr->halves)
        inner = sn_dim_ceildiv(infer->graph->dims, inner, sn_dim(infer->graph->dims, attr->group));
    Dim rows = b.dim[a.rank - 2 + attr->packed];
    if (attr->halves) rows = sn_dim_mulc(infer->graph->dims, rows, 8);
    for (int k = 0; k < a.rank - 2; k++)
        TRY(sn_infer_equal_dim(infer, node, "the batch extents", a.dim[k], b.dim[k], &dim[k]));
    TRY(sn_infer_equal_dim(infer, node, "the inner extents", inner, rows, NULL));
    dim[a.rank - 2] = a.dim[a.rank - 2];
    dim[a.rank - 1] = attr->packed ? attr->columns : b.dim[b.rank - 1];
    return sn_infer_set(node, 0, attr->group && !attr->halves ? SN_I32 : a.dtype, a.rank, dim);
}

Status sn_infer_pack(Infer *infer, Node *node) {
    int64_t panel = ((const AttrPack *)node->attr)->panel, group = ((const AttrPack *)node->attr)->group;
    Type type = node->input[0]->type;
    Dims *dims = infer->graph->dims;
    if (type.rank < 2) return sn_fail(SN_INVALID, "its input is no matrix");
    if (panel < 1) return sn_fail(SN_INVALID, "panels of %lld columns", (long long)panel);
    if (group < 0) return sn_fail(SN_INVALID, "groups of %lld rows", (long long)group);
    if (type.rank + 2 > SN_MAX_RANK) return sn_fail(SN_INVALID, "its input has rank %d", type.rank);
    Dim *dim = SN_ARRAY(infer->graph->arena, Dim, type.rank + 2);
    for (int k = 0; k < type.rank - 2; k++) dim[k] = type.dim[k];
    dim[type.rank - 2] = sn_dim_ceildiv(dims, type.dim[type.rank - 1], sn_dim(dims, panel));
    dim[type.rank - 1] = type.dim[type.rank - 2];
    dim[type.rank] = sn_dim(dims, panel);
    if (!group) return sn_infer_set(node, 0, type.dtype, type.rank + 1, dim);
    dim[type.rank - 1] = sn_dim_ceildiv(dims, dim[type.rank - 1], sn_dim(dims, group));
    dim[type.rank + 1] = sn_dim(dims, group);
    return sn_infer_set(node, 0, type.dtype, type.rank + 2, dim);
}

/* cos and sin hold one angle for each pair that is turned: at most half of x's last extent. */
Status sn_infer_rotary(Infer *infer, Node *node) {
    Dims *dims = infer->graph->dims;
    Type x = node->input[0]->type, cosine = node->input[1]->type, sine = node->input[2]->type;
    TRY(sn_infer_one_dtype(node));
    if (x.rank < 1 || cosine.rank < 1 || sine.rank < 1) return sn_fail(SN_INVALID, "an input is a scalar");
    Dim half;
    TRY(sn_infer_equal_dim(infer, node, "the last extents of cos and sin", cosine.dim[cosine.rank - 1],
                           sine.dim[sine.rank - 1], &half));
    Dim turned = sn_dim_mulc(dims, half, 2);
    if (sn_dim_lt(dims, x.dim[x.rank - 1], turned))
        return sn_fail(SN_INVALID, "more angles than pairs to turn");
    TRY(sn_graph_check(infer->graph, SN_CHECK_AT_MOST, turned, x.dim[x.rank - 1], node->origin));
    Dim *onto = SN_ARRAY(infer->graph->arena, Dim, x.rank);
    for (int k = 0; k < x.rank; k++) onto[k] = k == x.rank - 1 ? half : x.dim[k];
    for (int k = 1; k <= 2; k++)
        TRY(sn_infer_onto(infer, node, k == 1 ? "cos" : "sin", node->input[k], x.rank, onto));
    return sn_infer_same(infer, node);
}
