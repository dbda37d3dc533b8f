/* Writes an ONNX file node by node: what `make` builds its models with.
 *
 * Values are named by strings in the writer's arena; every function that makes one returns its name. Weights
 * are recipes (a seed and a scale that stand in the file, filled in when the model is loaded) or, with
 * `stored`, bytes in "<file>.data" beside the model. */
#ifndef SN_ONNX_WRITER_H
#define SN_ONNX_WRITER_H

#include "safetensors.h"

typedef struct Writer Writer;

Writer *sn_writer_new(Arena *arena, const char *graph_name, int opset);

/* An input or output of the graph. extent -1: symbolic, called dim_name[i]. */
void sn_writer_input(Writer *writer, const char *name, DType dtype, int rank, const int64_t *extent,
                     const char *const *dim_name);
void sn_writer_output(Writer *writer, const char *name, DType dtype, int rank, const int64_t *extent,
                      const char *const *dim_name);

/* A weight of floats: uniform around `offset` with deviation `scale`, each weight with a seed of its own. */
const char *sn_writer_weight(Writer *writer, const char *name, DType dtype, int rank, const int64_t *extent,
                             double scale, double offset);

/* Small constants, written into the file. */
const char *sn_writer_floats(Writer *writer, int count, const float *value);
const char *sn_writer_float(Writer *writer, DType dtype, float value); /* shape [] */
const char *sn_writer_ints(Writer *writer, int count, const int64_t *value);
const char *sn_writer_int(Writer *writer, int64_t value); /* shape [] */

/* One node named `name` with one output of the same name. */
const char *sn_writer_node(Writer *writer, const char *op, const char *name, int count,
                           const char *const *input);
const char *sn_writer_op1(Writer *writer, const char *op, const char *name, const char *a);
const char *sn_writer_op2(Writer *writer, const char *op, const char *name, const char *a, const char *b);

/* Attributes of the node made last. */
void sn_writer_attr_int(Writer *writer, const char *name, int64_t value);
void sn_writer_attr_ints(Writer *writer, const char *name, int count, const int64_t *value);

/* Renames the output of the node made last (to that of a graph output). */
void sn_writer_rename(Writer *writer, const char *name);

/* The weights get the values that `file` has under their names, rounded to their own dtype, which are stored when the
 * model is saved. SN_INVALID lists every weight that is missing there or has another shape. */
Status sn_writer_take_weights(Writer *writer, const SafeTensors *file);

/* Writes `path` (and `path`.data when `stored`), each complete or not at all. `progress` (may be NULL) is
 * called with bytes done and in all while weights are stored. */
Status sn_writer_save(Writer *writer, const char *path, bool stored,
                      void (*progress)(void *user, int64_t done, int64_t total), void *user);

#endif
