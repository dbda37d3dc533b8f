/* ModelProto -> Graph: what the importer's files share. Private to the frontend.
 *
 * A rule (a row of onnx.def) makes the values of one ONNX node. It reads inputs and attributes through a Call
 * and builds with the call's builder, whose status latches the first failure; so a rule is a plain
 * expression, and gives NULL after a failure. Inputs that the row requires are never NULL. What a rule builds
 * may be NULL: it looks at such a value's type only after `sn_call_failed`.
 */
#ifndef SN_IMPORT_H
#define SN_IMPORT_H

#include "graph.h"
#include "infer.h"
#include "load.h"
#include "narrow.h"
#include "tensor.h"

typedef struct Call Call;
typedef Value *(*ImportRule)(Call *call);

/* The parameter of rows whose inputs may be sequences. */
enum { SN_ROW_SEQUENCES = -1 };

/* A row of onnx.def. */
typedef struct ImportRow {
    const char *domain, *op_type;
    int since, until; /* opsets, both included */
    ImportRule rule;
    int parameter; /* what the rule makes of it: most often an OpCode */
    int in_min, in_max, out_max;
} ImportRow;

/* What a name of the file stands for. */
typedef struct Binding {
    Value *value;
    const Onnx__TensorProto *initializer;  /* made a constant at its first use */
    const Onnx__SparseTensorProto *sparse; /* of a sparse one; then `initializer` is its values */
    bool defined;                          /* else a node that has not been imported will */
    bool unknown;                          /* made by a node that is not supported */
    bool absent;                           /* an input of a function that its caller left out */
    const Narrow *narrow; /* what the value's bytes hold, where that is narrower than a byte */
} Binding;

typedef struct Taken Taken;
typedef struct Turn Turn;

typedef struct Scope {
    struct Scope *parent;
    Map *names;   /* Binding * */
    Taken *taken; /* what its nodes read from outside goes through this (taken.h), or NULL */
    Turn *turn;   /* its nodes are of another graph than what is outside (turns.h), or NULL */
    /* With a turn: what is imported outside, and what the turn has of a value from there. */
    struct Import *outside;
    Status (*capture)(Turn *turn, Value *value, Value **out);
} Scope;

/* The node whose function is being imported: what attributes inside refer to. */
typedef struct Caller {
    const struct Caller *outer;
    const Onnx__NodeProto *node;
    const Onnx__FunctionProto *function;
} Caller;

/* A loop of the graph, with the values that it takes and makes: they get their places at the end. */
typedef struct ImportLoop {
    GraphLoop loop;
    Value *const *taken, *const *made;
} ImportLoop;

typedef struct Import {
    Arena *scratch; /* dies when the import ends */
    Graph *graph;
    Builder builder;
    Weights *weights;
    const Onnx__ModelProto *model;
    SN_VEC(Value *) size_values; /* parallel to graph->sizes: what each is the value of */
    SN_VEC(ImportLoop) loops;
    Map *made;      /* Value *: all that loops make, also those that were gone back from */
    Map *sequences; /* Value * -> Sequence * (sequence.h) */
    Map *opsets;    /* domain -> const int64_t * */
    Map *used;      /* names that a node reads or that are outputs */
    Scope *scope;
    Taken *taken;          /* the innermost branch that a run may leave out, or NULL */
    Turn *turn;            /* the graph is of a turn of a loop (turns.h); NULL: of the model */
    struct Import *around; /* of a turn: the import of what is around it … */
    Map *captures;         /* … and Value * -> const Value *: what the turn has -> what that is there */
    bool chance;           /* in a turn of a loop that a run may leave out: data decide no size there */
    Map *decided;          /* const Onnx__NodeProto *, an If -> what was decided of it (import_branch.c) */
    const Caller *caller;
    const LoadOptions *options; /* may be NULL */
    int64_t max_nodes;          /* functions count each time they are called */
    int depth, node_index;
    int64_t draws; /* random nodes without a seed so far */
    int refused;   /* nodes and inputs that are not supported */
    Map *problems; /* why, a line for each distinct reason: const char * */
    Map *deciding; /* names of inputs that what was refused as data-dependent comes of */
    Map *walked;   /* Value *: those whose inputs are among them already */
    bool *needed;  /* of each constant of the options that is one if needed: it is */
} Import;

struct Call {
    Import *import;
    Builder *builder; /* import's */
    Dims *dims;       /* the graph's */
    const Onnx__NodeProto *node;
    const ImportRow *row;
    const SourceNode *source;
    int opset;
    Value **input; /* input_count entries; NULL: absent */
    int input_count;
    const Narrow **narrow; /* of each input */
    const Narrow *made;    /* of the outputs, where a rule says so; otherwise what input 0 is */
    bool says;
    const Narrow **given; /* of each output, where a function of the model makes them; else NULL */
    Value **output;       /* a rule gives output 0 back and sets the others here; n_output entries */
    int output_count;
    bool *read; /* attributes that the rule asked for */
};

/* Rules, and the table: the row for an operator at an opset, or NULL; *known tells whether any opset has it.
 */
const ImportRow *sn_import_row(const char *domain, const char *op_type, int opset, bool *known);

/* ---- failures: latched in the builder, NULL for the caller to return ---- */

Value *sn_call_unsupported(Call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "data-dependent `what`", which `value` is; the inputs that it comes of are noted. */
Value *sn_call_depends(Call *call, const Value *value, const char *what);
Value *sn_call_invalid(Call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
Value *sn_call_latch(Call *call, Status status);
static inline bool sn_call_failed(const Call *call) {
    return call->builder->status != NULL;
}

/* ---- inputs ---- */

/* Input k, or NULL when it is absent or empty. */
static inline Value *sn_call_input(const Call *call, int k) {
    return k < call->input_count ? call->input[k] : NULL;
}
/* Output k has a name that something reads. */
bool sn_call_wants(const Call *call, int k);

/* The elements of an integer input as Dims, row-major; *count is their number. Those that are not known become sizes that
 * a run reads; of a large tensor: NULL, and unsupported as a data-dependent `what`. */
const Dim *sn_call_dims(Call *call, const Value *value, const char *what, int *count);
/* The same of elements that may be negative. */
const Dim *sn_call_signed_dims(Call *call, const Value *value, const char *what, int *count);
/* The same where each must be a constant. */
const int64_t *sn_call_constants(Call *call, const Value *value, const char *what, int *count);
/* What is known, before any run, of an input of one element; else NULL. It may be a whole number in a float: what ranges of
 * floats are mostly given. */
Dim sn_call_known_dim(Call *call, const Value *value);
/* An input of one element. `value` may be a float that was cast from an integer. */
Dim sn_call_dim(Call *call, const Value *value, const char *what);
/* The integer that is computed of constants alone, in few steps, or NULL. */
Dim sn_call_constant_size(Call *call, const Value *value);
/* A constant of one element or of equal ones. */
double sn_call_number(Call *call, const Value *value, const char *what);

/* A symbol for a scalar i64 that a run computes, named after `stem`, at most `most` (may be NULL); the same value has the
 * same symbol. A run in which it is negative fails. What small constants alone decide is known now. */
Dim sn_call_size(Call *call, Value *value, const char *stem, Dim most);
/* The elements of a small tensor of integers, those that are not known as such sizes, or with `negative` as differences of
 * two. NULL where the tensor is not small. */
const Dim *sn_call_data_dims(Call *call, const Value *value, bool negative, int *count);
/* Element i of a list of integers as a scalar i64; known where it is known by itself. */
Value *sn_call_element(Call *call, const Value *list, int i);
/* Whether data decide it. */
bool sn_call_from_data(const Call *call, Dim dim);

/* An axis in [-rank, rank) made non-negative; otherwise 0, and invalid. */
int sn_call_axis(Call *call, int64_t axis, int rank);
/* Axes sorted and made non-negative, each once. */
int64_t *sn_call_axes(Call *call, const int64_t *axes, int count, int rank);

/* ---- attributes: the wrong type is invalid ---- */

bool sn_call_has(Call *call, const char *name);
int64_t sn_call_int(Call *call, const char *name, int64_t missing);
double sn_call_float(Call *call, const char *name, double missing);
const char *sn_call_string(Call *call, const char *name, const char *missing);
/* NULL and *count 0 where there is none. */
const char *const *sn_call_string_list(Call *call, const char *name, int *count);
/* NULL and *count 0 where there is none. */
const int64_t *sn_call_int_list(Call *call, const char *name, int *count);
/* The same of `wanted` entries, each at least `least`; NULL where it is absent or wrong. */
const int64_t *sn_call_checked_list(Call *call, const char *name, int wanted, int64_t least);
const Onnx__TensorProto *sn_call_tensor_proto(Call *call, const char *name);
Tensor *sn_call_tensor(Call *call, const char *name);
/* The dense form of a sparse tensor, and its values; NULL where there is none. */
Tensor *sn_call_sparse_tensor(Call *call, const char *name, const Onnx__TensorProto **values);
/* A list of floats or integers as a tensor, f32 or i64; NULL where there is none. */
Tensor *sn_call_list_tensor(Call *call, const char *name, bool floats);
Onnx__GraphProto *sn_call_graph(Call *call, const char *name);
/* An attribute that changes nothing here. */
void sn_call_ignore(Call *call, const char *name);
/* A list of constants that is input k where the row takes so many inputs, and was an attribute before. NULL
 * and *count 0 where there is none. */
const int64_t *sn_call_list(Call *call, const char *name, int k, int *count);
/* The same for Dims. */
const Dim *sn_call_dim_list(Call *call, const char *name, int k, int *count);

/* ---- building ---- */

Value *sn_call_scalar(Call *call, DType dtype, double value);
/* Inserts axes of extent 1 at `axis`, `count` of them. */
Value *sn_call_unsqueeze(Call *call, Value *value, int axis, int count);
Value *sn_call_swap(Call *call, Value *value, int a, int b);
/* A reduction that drops its axes. */
Value *sn_call_reduce(Call *call, OpCode op, Value *value, int count, const int64_t *axes, bool keep);

/* The node's convolution, of operands of one type; bias [M] or NULL (import_window.c). */
Value *sn_call_conv(Call *call, Value *x, Value *weight, Value *bias);

/* Pad where mode is not "constant": pads as there, of `axes` or (NULL) of all. */
Value *sn_import_pad_repeating(Call *call, const char *mode, const Dim *pads, int count, const int64_t *axes);

/* The graph of import->model into import->graph; the caller sets scratch, graph, weights and model. */
Status sn_import_graph(Import *import);
Status sn_import_inputs(Import *import, const Onnx__GraphProto *graph);

/* ---- inputs that decide (deciding.c) ---- */

/* What the options have as the constant of an input, or NULL. */
const Tensor *sn_constant_of_input(const Import *import, const char *name);
/* Notes the inputs that a value comes of. */
void sn_import_deciding(Import *import, const Value *value);

/* What a graph holds beside nodes, to go back to. Nodes that were made since are used by nobody then. */
typedef struct ImportMark {
    int checks, sizes, loops, refused;
} ImportMark;

ImportMark sn_import_mark(const Import *import);
void sn_import_go_back(Import *import, ImportMark mark);

/* At the end, when all outputs are there: the sizes that they depend on and what loops take become results of the graph, and
 * what loops make its last inputs. */
void sn_import_ends(Import *import);

/* ---- names (scope.c) ---- */

Scope *sn_scope_new(Import *import, Scope *parent);
Binding *sn_scope_find(const Import *import, const char *name);
/* A name is defined once in its scope. */
Status sn_scope_define(Import *import, const char *name, Binding **out);
/* The names that nodes will make, not defined yet. */
Status sn_scope_results(Import *import, size_t count, Onnx__NodeProto *const *nodes);
/* An initializer that is an input too (of all, before IR version 4) is a default: here a constant, unless the options say
 * that it is given. */
Status sn_scope_initializers(Import *import, const Onnx__GraphProto *graph);
/* A constant that is no node's. With a name (else NULL) it is a parameter to a training. */
Status sn_scope_constant(Import *import, const Tensor *tensor, const char *name, Value **out);
/* The value of a name: an initializer becomes a constant when it is first asked for. *out is NULL for what
 * was not made because a node is not supported, and for what is absent. */
Status sn_scope_resolve(Import *import, const char *name, Value **out);

/* ---- what is not supported (problems.c) ---- */

/* Notes once, under `key`, the line of a report of what is not supported. */
void sn_import_note(Import *import, const char *key, const char *line);
/* One line for each operator, opset and reason, with the first node as an example; the status is freed. */
void sn_import_problem(Import *import, const SourceNode *node, Status status);
/* Everything that was noted as one failure, if an input or what an output depends on is among it. */
Status sn_import_report(Import *import, const Onnx__GraphProto *graph);
/* A failure without the node's name in front, where the builder has put it there. */
Status sn_import_bare(Import *import, const SourceNode *node, Status status);

/* ---- functions (functions.c) ---- */

/* The function of the model that a node calls, or NULL. */
const Onnx__FunctionProto *sn_import_find_function(const Import *import, const Onnx__NodeProto *node);
/* What an attribute that refers to the caller's stands for: NULL where the caller has none. */
const Onnx__AttributeProto *sn_import_referred(const Import *import, const Onnx__AttributeProto *attribute);
Map *sn_import_opsets(Import *import, size_t count, Onnx__OperatorSetIdProto *const *opset);
/* ONNX's own operators may be written with the domain spelled out. */
const char *sn_import_domain(const char *domain);

/* ---- bodies (node_order.c, body.c) ---- */

/* The nodes such that each comes behind those that make what it and its bodies read, where that can be; in the file's
 * order otherwise. Lies in `arena`, or is `nodes`. */
Onnx__NodeProto *const *sn_import_order(Arena *arena, int count, Onnx__NodeProto *const *nodes);
/* The nodes of a list, in the scope that was entered, each behind what it reads. */
Status sn_import_nodes(Import *import, size_t count, Onnx__NodeProto *const *node);
/* The nodes of a subgraph in a scope of its own, which sees the names around it, by way of `taken` (may be NULL); `count`
 * inputs, none of them NULL; its outputs go to `out`. */
Status sn_import_subgraph(Import *import, const Onnx__GraphProto *graph, Taken *taken, int count,
                          Value *const *input, Value **out);

#define ONNX(domain, op, since, until, rule, ...) Value *rule(Call *call);
#include "onnx.def"
#undef ONNX

#endif
