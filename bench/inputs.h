/* Inputs for a run: shapes and values from what the user gave, and sensible random ones for the rest. */
#ifndef SN_INPUTS_H
#define SN_INPUTS_H

#include "graph.h"

/* "NAME=4x256": the shape of the input NAME or, with one number, the value of the symbol NAME. "NAME=" is a
 * scalar. */
typedef struct ShapeSpec {
    const char *name;
    int rank;
    int64_t extent[SN_MAX_RANK];
} ShapeSpec;

/* "NAME=@FILE" or "NAME=random[:SEED]". */
typedef struct InputSpec {
    const char *name;
    const char *file; /* .npy or .pb; NULL: random */
    uint64_t seed;
} InputSpec;

Status sn_shape_spec_parse(Arena *arena, const char *text, ShapeSpec *out);
Status sn_input_spec_parse(Arena *arena, const char *text, InputSpec *out);

typedef struct InputRequest {
    int shape_count, input_count;
    const ShapeSpec *shape;
    const InputSpec *input; /* of every input once at most; those not named are random with seed 0 */
    int state_count;
    const sn_State *state; /* their inputs are zero where `input` does not name them */
} InputRequest;

typedef struct Inputs {
    int count;
    sn_Tensor *tensor;     /* per input of the graph; memory is released with the arena */
    const char **file;     /* per input: where its elements are from, or NULL */
    const int64_t *symbol; /* per symbol of the graph */
    const char *chosen;    /* "B = 1, T = 16": symbols that nothing bound and what was taken; "" for none */
} Inputs;

/* Files bind symbols by their shapes, then `shape` does, then the model's checks; a symbol that is still free becomes 1 where
 * it is the first extent of an input (a batch), otherwise 16, or less where the model bounds it. A symbol
 * that only inputs of states have (the length of a cache) is 0, or the least that the model allows. What
 * contradicts is SN_INVALID.
 *
 * Random values: floats are standard normal; bools are true; integers that index a table (a gather's indices)
 * are uniform over its rows, labels over their classes, and all others are one, as masks are. */
Status sn_inputs_make(Arena *arena, const Graph *graph, const InputRequest *request, Inputs *out);

/* The inputs of the run behind the one that had `before`, when state s of the request has become extent[s]. Files and random
 * numbers are the request's, which may be another one than before (a file that the input was read from then is not read again); shapes are not, they were the first run's. A size that goes
 * with a state's and the new rows (that of a mask over a cache) grows as they do, others stay, and so does the memory of an
 * input that stays. */
Status sn_inputs_follow(Arena *arena, const Graph *graph, const InputRequest *request, const Inputs *before,
                        const int64_t *const *extent, Inputs *out);

/* The symbols of the graph that the inputs bind, by name. */
const sn_Extent *sn_inputs_extents(Arena *arena, const Graph *graph, const Inputs *inputs, int *count);

/* The rows of the smallest table that an integer input indexes, 0 where it indexes none whose rows are known. Tables
 * whose rows are symbolic count when `symbol` (may be NULL) has the values. */
int64_t sn_inputs_table_rows(const Graph *graph, int input, const int64_t *symbol);

#endif
