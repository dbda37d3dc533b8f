/* ONNX file -> graph. */
#ifndef SN_LOAD_H
#define SN_LOAD_H

#include "graph.h"

typedef struct LoadOptions {
    /* Reserved growth: limits for hostile files. Zero: the defaults. */
    int64_t max_nodes, max_depth;
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
/* Writes a .npy (version 1.0) or, when the path ends in .pb, a TensorProto. */
Status sn_save_tensor(const char *path, const Tensor *tensor, const char *name);

#endif
