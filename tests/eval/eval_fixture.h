/* What the tests of the interpreter share. They are one program, as its last test asks whether every row of the
 * operator table was evaluated by some test with an expected value. Those were computed apart from it (numpy and
 * Python's math, or by hand). */
#ifndef SN_EVAL_FIXTURE_H
#define SN_EVAL_FIXTURE_H

#include "arena_fixture.h"
#include "eval.h"
#include "infer.h"

#include <float.h>
#include <math.h>

extern bool evaluated[SN_OP_COUNT]; /* by some test, with an expected value */

/* ---- arrays: ARRAY(SN_F32, "2 3", 1, 2, 3, 4, 5, 6) ---- */

Array *array_of(Arena *arena, DType dtype, const char *shape, const double *value);

#define ARRAY(dtype, shape, ...) array_of(arena, dtype, shape, (const double[]){__VA_ARGS__})
#define F(shape, ...)            ARRAY(SN_F64, shape, __VA_ARGS__)
#define I(shape, ...)            ARRAY(SN_I64, shape, __VA_ARGS__)
#define B(shape, ...)            ARRAY(SN_BOOL, shape, __VA_ARGS__)

/* Of the same type and shape, and close to 1e-11 in each element; `what` names them in the message. */
void assert_same(const Array *got, const Array *want, const char *what);

/* ---- one operator on concrete inputs ---- */

typedef struct Call {
    Arena *arena;
    Graph *graph;
    Builder builder;
    const Array *input[6];
    Value *value[6];
    int count;
} Call;

/* A graph with a parameter of exactly the shape of each array; NULL is an absent input. */
Call call_of(Arena *arena, int count, const Array *const *input);

/* Evaluates the call's graph, whose output is `result`; `round`: to the dtype after each node. */
Status finish(Call *call, Value *result, bool round, Array **out);
Status run(Arena *arena, OpCode op, const void *attr, bool round, int count, const Array *const *input,
           Array **out);

/* The operator on up to three inputs gives `want`, or a fault. */
void expect(Arena *arena, OpCode op, const void *attr, const Array *want, const Array *a, const Array *b,
            const Array *c);
void expect_fault(Arena *arena, OpCode op, const void *attr, const Array *a, const Array *b);

/* ---- the groups; each gives the number of its tests that failed ---- */

int test_pointwise(void);
int test_move(void);
int test_rows(void);
int test_heavy(void);
int test_graphs(void); /* last: asks for the whole table */

#endif
