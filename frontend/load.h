/* ONNX file -> graph. */
#ifndef SN_LOAD_H
#define SN_LOAD_H

#include "graph.h"

/* An input that is a constant, and no input of the graph, which refers to the tensor: it is of the type and shape that the
 * model declares. */
typedef struct ConstantInput {
    const char *name;
    const Tensor *tensor;
    bool if_needed; /* only where it decides what would be refused as data-dependent */
} ConstantInput;

typedef struct LoadOptions {
    /* Reserved growth: limits for hostile files. Zero: the defaults. */
    int64_t max_nodes, max_depth;
    /* Initializers that are declared as inputs too, and so only defaults: these are inputs here, and what the file holds is
     * not looked at. Other names change nothing. */
    int given_count;
    const char *const *given;
    /* A name that no input has is SN_INVALID, if it is needed always, and so is one that is there twice. */
    int constant_count;
    const ConstantInput *constant;
    /* Of an If whose branches need checks both are computed, with these, as long as their sizes are the same: no size comes to
     * hang on data so. */
    bool both_branches;
} LoadOptions;

/* What `info` reports beside the graph. */
typedef struct ModelInfo {
    int ir_version;
    int opset_count;
    struct {
        const char *domain;
        int version;
    } * opset;
    const char *producer;
    double parse_seconds, import_seconds; /* of the file's structure, and of its graph */
    int node_count;
    int64_t parameter_count, parameter_bytes; /* initializers */
    int operator_count;                       /* distinct, sorted by name */
    struct {
        const char *domain, *op_type;
        int count;
    } *operator;
} ModelInfo;

/* Maps the file and imports it. The graph and the mapping live in `arena` (the mapping is deferred on it);
 * weights are referenced in place (so the files must stay as they are), external data below the model's
 * folder only. Everything unsupported is one SN_UNSUPPORTED error that lists each distinct (operator, opset,
 * reason) with a node's name, one a line. `info` may be NULL, and is filled as far as possible also when the
 * import fails with SN_UNSUPPORTED.
 *
 * Weights that are only a rule: external data whose location is "recipe" and which has a `seed` (an unsigned
 * 64-bit decimal) is no file but SN_PAYLOAD_RECIPE: element i = scale·normal(seed, i) + offset_value, with
 * the decimals `scale` (1 where absent) and `offset_value` (0 where absent) in entries of those names. */
Status sn_load_onnx(Arena *arena, const char *path, const LoadOptions *options, Graph **out, ModelInfo *info);

/* A TensorProto file (.pb) or a NumPy file (.npy) as a tensor in `arena`; `name` (may be NULL) gets the
 * TensorProto's. */
Status sn_load_tensor(Arena *arena, const char *path, Tensor **out, const char **name);
/* A NumPy file whose elements stay in it: it is mapped until `arena` ends. */
Status sn_map_npy(Arena *arena, const char *path, Tensor *out);
/* Writes a .npy (version 1.0) or, when the path ends in .pb, a TensorProto. */
Status sn_save_tensor(const char *path, const Tensor *tensor, const char *name);

typedef struct NamedTensor {
    const char *name;
    const Tensor *tensor;
} NamedTensor;

/* Writes the model at `from` again at `to`, which appears when it is complete, with other values for the
 * initializers that `weight` names; these have the type and shape that they had. Weights that were outside of the
 * model, or only a rule, come into it, or, where all that is written anew takes more than 1 GiB, into a file beside
 * it whose name tells its contents. What is made for it lies in `arena`. SN_INVALID names an initializer whose new
 * values do not fit; a name that the model has not is ignored. */
Status sn_save_onnx(Arena *arena, const char *from, const char *to, int count, const NamedTensor *weight);

#endif
