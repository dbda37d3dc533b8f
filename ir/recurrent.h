/* Recurrent networks over a number of steps that only a run knows: the operator `recurrent`.
 *
 * recurrent(x, weight, state, bias?, peep?, length?): x [T, B, G·H] are the products of the inputs, weight [H, G·H] is the
 * state's, state [B, P·H] the first one; G gates of H units, P parts of a state: h and, of long_short, the cell s behind it.
 * bias [G·H] is added to the state's product; peep [3·H] has what s weighs in the input, output and forget gates; from step
 * length[b] (i64 [B]) on a sequence's state stays as it is. The result [T + 1, B, P·H] is the first state and that after
 * each step; in reverse, where the last step comes first, the first state is its last row.
 *   simple      h' = candidate(x + hR)                                    gates: that one
 *   gated       h' = c + z·(h - c), c = candidate(x_c + (r·h)R_c)         gates: z, r, c
 *               or, with late_reset, c = candidate(x_c + r·(hR_c))
 *   long_short  s' = f·s + i·candidate(c), h' = o·output(s')              gates: i, o, f, c
 * z, r, i, o and f are what `gate` gives. After Cho et al. (2014), Hochreiter and Schmidhuber (1997), Gers et al. (2002). */
#ifndef SN_RECURRENT_H
#define SN_RECURRENT_H

#include <stdbool.h>

typedef enum RecurrentKind {
    SN_RECURRENT_SIMPLE,
    SN_RECURRENT_GATED,
    SN_RECURRENT_LONG_SHORT,
    SN_RECURRENT_KINDS
} RecurrentKind;

typedef enum RecurrentFunction {
    SN_RECURRENT_SIGMOID,
    SN_RECURRENT_TANH,
    SN_RECURRENT_RELU,
    SN_RECURRENT_FUNCTIONS
} RecurrentFunction;

typedef enum RecurrentOperand {
    SN_RECURRENT_X,
    SN_RECURRENT_WEIGHT,
    SN_RECURRENT_STATE,
    SN_RECURRENT_BIAS,
    SN_RECURRENT_PEEP,
    SN_RECURRENT_LENGTH,
    SN_RECURRENT_OPERANDS
} RecurrentOperand;

typedef struct AttrRecurrent {
    int kind;                    /* RecurrentKind */
    int gate, candidate, output; /* RecurrentFunction */
    bool reverse, late_reset;
} AttrRecurrent;

enum { SN_RECURRENT_UNITS = 4096 /* H at most: kernels keep what a step makes beside them */ };

static inline int sn_recurrent_gates(int kind) {
    return kind == SN_RECURRENT_SIMPLE ? 1 : kind == SN_RECURRENT_GATED ? 3 : 4;
}

static inline int sn_recurrent_parts(int kind) {
    return kind == SN_RECURRENT_LONG_SHORT ? 2 : 1;
}

#endif
