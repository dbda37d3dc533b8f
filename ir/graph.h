/* The graph: typed SSA values, nodes, regions.
 *
 * Everything lives in the graph's arena; a removed node is simply no longer linked. Node order inside a
 * region is execution order and always topological. Regions are isolated: a node uses values of its own
 * region only, so a cluster's captures are its operands. Ids are handed out in order of creation and never
 * reused: iteration and printing are deterministic.
 */
#ifndef SN_GRAPH_H
#define SN_GRAPH_H

#include "op.h"

typedef struct Graph Graph;
typedef struct Region Region;
typedef struct Node Node;
typedef struct Value Value;

/* A node of the ONNX file, for messages, profiles and `explain`. */
typedef struct SourceNode {
    const char *name; /* the node's own name, or "" */
    const char *op_type;
    const char *domain; /* "" for ai.onnx */
    int opset;          /* of its domain, as the model imports it */
    int index;          /* position in the file */
} SourceNode;

/* An interned set of source nodes: equal sets are equal pointers. */
typedef struct Origin {
    const SourceNode *primary;
    int count;
    const SourceNode *const *node; /* sorted by index */
} Origin;

struct Value {
    Type type;
    Node *producer; /* NULL: a parameter of `region` */
    Region *region;
    int index;        /* which output or parameter */
    int id;           /* prints as %id */
    const char *name; /* the ONNX name, or NULL */

    /* Shape values: for an integer (or bool) tensor with a concrete, small element count, what each element
     * is as a Dim, row-major; NULL when not known. Set by inference. */
    const Dim *known;

    /* One entry per use as an operand, plus NULL entries for each use as a region's result. */
    struct {
        Node **at;
        int count, capacity;
    } users;
};

typedef enum Phase { SN_PHASE_FORWARD, SN_PHASE_BACKWARD, SN_PHASE_UPDATE, SN_PHASE_COUNT } Phase;

struct Node {
    OpCode op;
    int id;
    const void *attr; /* the struct of sn_op(op)->attr; immutable and shareable */
    int input_count, output_count;
    Value **input; /* NULL: an absent optional input */
    Value **output;
    Region *body; /* of a cluster; NULL otherwise */
    Region *region;
    Node *previous, *next;
    const Origin *origin;
    int group; /* nodes that eager treats as one operator share it; 0: none was given */
    Phase phase;
    bool setup; /* depends on constants and state alone: runs once per state version, before the first run */
};

struct Region {
    Graph *graph;
    Node *owner; /* NULL for the graph's body */
    SN_VEC(Value *) param;
    SN_VEC(Value *) result;
    Node *first, *last;
};

/* What bind verifies before a run with given symbol values. */
typedef enum CheckKind {
    SN_CHECK_EQUAL,     /* a == b */
    SN_CHECK_BROADCAST, /* a == b, or one of them is 1 */
    SN_CHECK_AT_MOST,   /* a <= b */
} CheckKind;

typedef struct Check {
    CheckKind kind;
    Dim a, b;
    const Origin *origin; /* may be NULL: an input's declared shape */
} Check;

/* A tensor that a program keeps from run to run and owns: a parameter, a moment, a count of steps. A parameter of the
 * body is its value, a result of the body what the next run finds. Such parameters and results are the last of the
 * body. */
typedef struct GraphState {
    const char *name;
    int input, result;     /* positions in body->param and body->result */
    const Tensor *initial; /* what the first run finds */
    int copy_count;
    const char *const *copy; /* initializers that were its transpose, and stay so (passes/tied.c) */
} GraphState;

/* A symbol that data decide: once a run has made the result, an i64 scalar, that is the symbol's value. What mentions the
 * symbol comes behind what makes the result. These results are no outputs of the model and follow those that are. */
typedef struct GraphSize {
    Dim symbol;
    int result;           /* position in body->result; -1 while a model is being imported */
    Dim most;             /* an upper bound, of which there is a check; NULL: none is known */
    const Origin *origin; /* whose size it is */
} GraphSize;

/* An extent that a loop decides: of one of its results, the carried ones first; of result -1, how many turns it made. */
typedef struct LoopExtent {
    int result, axis;
} LoopExtent;

/* A loop whose turns only a run counts. What it takes are results of the body and what it makes are params of it, neither of
 * which are the model's: a run makes the turns, of a graph of its own, as soon as it has the former (see loop.h). */
typedef struct GraphLoop {
    Graph *turn;
    int carried, captured,
        kept;  /* values that go from turn to turn, that every turn reads, of which each turn's is kept */
    int taken; /* position in body->result of the first: turns at most (i64), whether there is one (bool), carried, captured */
    int made;  /* position in body->param of the first: carried, kept (turns first), extents (each an i64) */
    int extent_count, size_count;
    const LoopExtent *extent;
    const Dim *size; /* symbols that mean the same in `turn`, by their names */
    const Origin *origin;
} GraphLoop;

typedef enum Stage {
    SN_STAGE_IMPORTED, /* composites and primitives, numpy broadcasting */
    SN_STAGE_EXPANDED, /* primitives and direct composites; pointwise inputs have the output's shape */
    SN_STAGE_FUSED,    /* the body holds constants and clusters only; clusters hold primitives */
} Stage;

struct Graph {
    Arena *arena;
    Dims *dims;
    const char *file; /* for messages; "" if none */
    const char *name;
    Stage stage;
    Region *body; /* its params are the model's inputs, its results the outputs */
    SN_VEC(Check) checks;
    SN_VEC(const char *) output_name; /* parallel to body->result */
    SN_VEC(GraphState) states;        /* of a training step */
    SN_VEC(GraphSize) sizes;          /* each one's result needs those before it at most */
    SN_VEC(GraphLoop) loops;
    Map *origins; /* intern table */
    int next_value, next_node, next_group;
};

Graph *sn_graph_new(Arena *arena, const char *name);

/* A deep copy (constants' payloads shared) into another arena, with its own Dims. */
Graph *sn_graph_clone(Arena *arena, const Graph *graph);

Value *sn_graph_input(Graph *graph, const char *name, Type type);
void sn_graph_output(Graph *graph, const char *name, Value *value);

/* The inputs become the present ones param[0], param[1] …, and the outputs result[0] …; inputs that are left out have no
 * users. The states' positions are the caller's to keep right. */
void sn_graph_arrange(Graph *graph, int param_count, const int *param, int result_count, const int *result);

/* How messages name a node of the file: node "/layer/Add" (Add, opset 17). */
const char *sn_source_text(Arena *arena, const SourceNode *node);

const Origin *sn_origin(Graph *graph, const SourceNode *node);
/* The union; the primary one is a's (b's where a is NULL). Either may be NULL. */
const Origin *sn_origin_union(Graph *graph, const Origin *a, const Origin *b);

/* A check is added once; checks proven true are dropped; one proven false fails with SN_INVALID. */
Status sn_graph_check(Graph *graph, CheckKind kind, Dim a, Dim b, const Origin *origin);

/* ---- rewriting ---- */

Region *sn_region_new(Graph *graph, Node *owner);
Value *sn_region_param(Region *region, Type type, const char *name);
void sn_region_result(Region *region, Value *value);
void sn_region_set_result(Region *region, int index, Value *value);

/* A node that is linked nowhere yet, with fresh outputs whose types are not set. `attr` is kept, not copied.
 */
Node *sn_node_new(Graph *graph, OpCode op, const void *attr, int input_count, Value *const *input,
                  int output_count);
void sn_node_insert_before(Node *node, Node *position); /* links it in position's region */
void sn_node_append(Region *region, Node *node);
void sn_node_set_input(Node *node, int index, Value *value);

/* Unlinks a node whose outputs have no users. */
void sn_node_remove(Node *node);

/* Every use of `from` (operands and results) becomes a use of `to`, in from's region. A name moves along when
 * `to` has none. */
void sn_value_replace(Value *from, Value *to);

int sn_value_use_count(const Value *value);

/* Re-sorts the nodes of a region topologically, what mentions a size of the graph behind what makes it, keeping the present
 * order where it can (stable); false if there is a cycle. */
bool sn_region_sort(Region *region);

/* Removes nodes whose results nobody uses; true if any was. */
bool sn_region_sweep(Region *region);

/* ---- builder ----
 *
 * Creates a node, infers its output types and known values, and links it. The first failure latches in
 * `status` and every later call returns NULL at once, so chains need one check at their end. */
typedef struct Builder {
    Graph *graph;
    Region *region;
    Node *before; /* NULL: append */
    const Origin *origin;
    int group;
    Phase phase;
    Status status; /* owned by whoever made the builder */
} Builder;

/* A builder that inserts before `node`, with its origin, group and phase. */
Builder sn_builder_before(Graph *graph, Node *node);

/* `attr` is copied into the graph's arena (with sn_op(op)->attr->size). NULL means all zero. */
Value *sn_build(Builder *builder, OpCode op, const void *attr, int count, Value *const *input);
Node *sn_build_node(Builder *builder, OpCode op, const void *attr, int count, Value *const *input,
                    int output_count); /* with its optional outputs */
Value *sn_build1(Builder *builder, OpCode op, const void *attr, Value *a);
Value *sn_build2(Builder *builder, OpCode op, const void *attr, Value *a, Value *b);
Value *sn_build3(Builder *builder, OpCode op, const void *attr, Value *a, Value *b, Value *c);

Value *sn_build_constant(Builder *builder, const Tensor *tensor);
Value *sn_build_scalar(Builder *builder, DType dtype, double value); /* shape [] */
/* 0, 1, … extent − 1 along one axis, with `after` axes of extent 1 behind it, so that it broadcasts along its own. */
Value *sn_build_positions(Builder *builder, DType dtype, Dim extent, int after);
Value *sn_build_dims(Builder *builder, int count, const Dim *dim, bool scalar);
Value *sn_build_cast(Builder *builder, Value *value, DType to); /* the value itself when it has that dtype */

/* Movements as views; an identity gives the value itself. Extents are Dims of the graph's table. `reshape`
 * adds the check that counts agree where that is not proven; `expand` adds broadcast checks. */
Value *sn_build_reshape(Builder *builder, Value *value, int rank, const Dim *extent);
Value *sn_build_transpose(Builder *builder, Value *value, const int *permutation);
Value *sn_build_expand(Builder *builder, Value *value, int rank,
                       const Dim *extent); /* right-aligned, numpy */
Value *sn_build_slice(Builder *builder, Value *value, int axis, Dim start, Dim count, int64_t step);

/* The scalar constant's value when `value` is a constant (or known values) whose elements are all equal. */
bool sn_value_is_splat(const Value *value, double *out);

#endif
