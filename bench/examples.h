/* Examples for training: files whose first axis counts them, one for each input of a step that has another value in each
 * example. */
#ifndef SN_EXAMPLES_H
#define SN_EXAMPLES_H

#include "inputs.h"

typedef struct ExampleFile {
    int input; /* of the step */
    Tensor tensor;
} ExampleFile;

typedef struct Examples {
    int count;
    ExampleFile *file;
    ShapeSpec *shape; /* of each file's input, for a batch */
    int64_t rows;     /* examples */
    int64_t trained;  /* the first so many are trained on, the others held out */
} Examples;

/* Opens the files that `spec` names (.npy files are mapped until `arena` ends) for inputs of `graph`. SN_INVALID where a name
 * or a type does not fit, files have another number of examples, or a part that is asked for has none. `held_out` as
 * for sn_tokens_split. */
Status sn_examples_open(Arena *arena, const Graph *graph, int count, const InputSpec *spec, int64_t batch,
                        double held_out, Examples *out);

/* Copies example `from` into place `to` of the batch. */
void sn_examples_put(const Examples *examples, int64_t from, int64_t to, const Inputs *inputs);

/* Which example is number `index` of the stream `seed`, of those that are trained on. */
int64_t sn_examples_random(const Examples *examples, uint64_t seed, uint64_t index);

/* Which one is number `index` of `count` that are spread evenly over those that are held out. */
int64_t sn_examples_even(const Examples *examples, int64_t index, int64_t count);

#endif
