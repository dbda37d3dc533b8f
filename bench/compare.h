/* Whether a result is what was expected. */
#ifndef SN_COMPARE_H
#define SN_COMPARE_H

#include "type.h"

typedef struct Expectation {
    int output; /* position among the model's */
    const Tensor *tensor;
    const char *file; /* where it came from, for messages */
} Expectation;

/* NULL when `got` is `want`: same dtype and shape and, element by element, |got - want| <= atol + rtol·|want|
 * for floats, with NaN equal to NaN and an infinity equal to itself; integers and bools are equal. Otherwise
 * what the difference is, in `arena`. */
const char *sn_compare(Arena *arena, const Tensor *got, const Tensor *want, double rtol, double atol);

#endif
