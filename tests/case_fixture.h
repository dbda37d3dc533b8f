/* For tests of generated code: clusters made by a builder, one call a node, and their kernels. */
#ifndef SN_CASE_FIXTURE_H
#define SN_CASE_FIXTURE_H

#include "cluster.h"
#include "codegen.h"
#include "eval.h"
#include "fixture.h"
#include "infer.h"
#include "text_form.h"

/* A cluster in the making. */
typedef struct Case {
    Arena *arena;
    Graph *graph;
    Node *cluster;
    Builder b;
    Target target;
    int64_t low, high; /* of random integers */
    double scale;      /* of random floats */
    bool positive;     /* random floats are made positive */
    double tolerance;  /* relative to the root mean square of the result */
} Case;

static inline Case *begin_case(ClusterKind kind) {
    Arena *arena = sn_arena_new();
    assert_non_null(arena);
    Case *c = SN_NEW(arena, Case);
    c->arena = arena;
    c->graph = sn_graph_new(arena, "test");
    AttrCluster *attr = SN_NEW(arena, AttrCluster);
    attr->kind = kind;
    c->cluster = sn_node_new(c->graph, SN_OP_CLUSTER, attr, 0, NULL, 0);
    c->cluster->body = sn_region_new(c->graph, c->cluster);
    c->b = (Builder){.graph = c->graph, .region = c->cluster->body};
    int bytes = __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") ? 64
                : __builtin_cpu_supports("avx2")                                         ? 32
                                                                                         : 16;
    sn_target_cpu(&c->target, bytes, bytes == 64 ? 32 : 16, 32768, 1 << 20);
    c->target.stream_bytes = 8192; /* some sizes store past the caches, others do not */
    c->low = -5, c->high = 5, c->scale = 1, c->tolerance = 4e-6;
    return c;
}

/* A shape from text: "B, T, 768". */
static inline Type shape(Case *c, DType dtype, const char *text) {
    Dim *dim = SN_ARRAY(c->arena, Dim, SN_MAX_RANK);
    int rank = 0;
    while (*text) {
        assert_ok(sn_dim_parse(c->graph->dims, &text, NULL, 0, &dim[rank++]));
        while (*text == ',' || *text == ' ') text++;
    }
    return (Type){dtype, rank, dim};
}

static inline Value *param_of(Case *c, Type type) {
    sn_graph_input(c->graph, "x", type);
    return sn_region_param(c->cluster->body, type, NULL);
}

static inline Value *param(Case *c, DType dtype, const char *text) {
    return param_of(c, shape(c, dtype, text));
}

static inline Value *apply(Case *c, OpCode op, const void *attr, Value *a, Value *b) {
    Value *result = b ? sn_build2(&c->b, op, attr, a, b) : sn_build1(&c->b, op, attr, a);
    assert_ok(c->b.status);
    return result;
}

static inline Value *one(Case *c, OpCode op, Value *a) {
    return apply(c, op, NULL, a, NULL);
}
static inline Value *two(Case *c, OpCode op, Value *a, Value *b) {
    return apply(c, op, NULL, a, b);
}

static inline Value *expand(Case *c, Value *a, const char *text) {
    Type type = shape(c, SN_F32, text);
    Value *result = sn_build_expand(&c->b, a, type.rank, type.dim);
    assert_ok(c->b.status);
    return result;
}

static inline Value *reshape(Case *c, Value *a, const char *text) {
    Type type = shape(c, SN_F32, text);
    Value *result = sn_build_reshape(&c->b, a, type.rank, type.dim);
    assert_ok(c->b.status);
    return result;
}

static inline Value *transpose(Case *c, Value *a, const int *permutation) {
    Value *result = sn_build_transpose(&c->b, a, permutation);
    assert_ok(c->b.status);
    return result;
}

static inline Value *slice(Case *c, Value *a, int axis, int64_t start, const char *count, int64_t step) {
    Dims *dims = c->graph->dims;
    Value *result = sn_build_slice(&c->b, a, axis, sn_dim(dims, start), shape(c, SN_F32, count).dim[0], step);
    assert_ok(c->b.status);
    return result;
}

static inline Value *cast(Case *c, Value *a, DType to) {
    return apply(c, SN_OP_CAST, &(AttrCast){.to = to}, a, NULL);
}

/* A scalar broadcast to a value's shape. */
static inline Value *number(Case *c, double x, const Value *like) {
    Value *scalar = sn_build_scalar(&c->b, like->type.dtype, x);
    Value *result = sn_build_expand(&c->b, scalar, like->type.rank, like->type.dim);
    assert_ok(c->b.status);
    return result;
}

static inline Value *reduce(Case *c, OpCode op, Value *a, int64_t axis) {
    int64_t *axes = SN_ARRAY(c->arena, int64_t, 1);
    axes[0] = axis;
    return apply(c, op, &(AttrReduce){1, axes}, a, NULL);
}

/* Expands a reduction's result to the shape of `like`. */
static inline Value *spread(Case *c, Value *a, const Value *like) {
    Value *result = sn_build_expand(&c->b, a, like->type.rank, like->type.dim);
    assert_ok(c->b.status);
    return result;
}

static inline void result(Case *c, Value *value) {
    sn_region_result(c->cluster->body, value);
}

/* The cluster as a node of the graph. */
static inline void finish_graph(Case *c) {
    Region *body = c->cluster->body;
    Node *node = sn_node_new(c->graph, SN_OP_CLUSTER, c->cluster->attr, body->param.count,
                             c->graph->body->param.at, body->result.count);
    node->body = body;
    body->owner = node;
    sn_node_append(c->graph->body, node);
    assert_ok(sn_infer_node(c->graph, node));
    for (int i = 0; i < body->result.count; i++) sn_graph_output(c->graph, "y", node->output[i]);
    c->cluster = node;
}

static inline Kernel *generate(Case *c) {
    Kernel *kernel = NULL;
    finish_graph(c);
    Status status = sn_codegen(c->arena, c->graph->dims, c->cluster, &c->target, &kernel);
    if (status) {
        Text text = sn_text(c->arena);
        sn_node_print(&text, c->graph, c->cluster);
        fail_msg("%s in\n%s", sn_error_message(status), sn_text_string(&text));
    }
    const char *reason = sn_cluster_legal(c->graph->dims, c->cluster);
    if (reason) fail_msg("not legal: %s", reason);
    return kernel;
}

#endif
