/* Loops whose turns only a run counts: a turn is a graph of its own (ir/loop.h). */
#ifndef SN_TURNS_H
#define SN_TURNS_H

#include "import.h"
#include "loop.h"

/* A scanned input, of which each turn has one element along `axis`. */
typedef struct Scanned {
    Value *value;
    int axis;
    bool reverse;
} Scanned;

typedef struct TurnsOf {
    const Onnx__GraphProto *body;
    Value *limit;     /* the most turns, a scalar i64; NULL: there is no such number */
    Value *condition; /* whether there is a turn, a scalar of bool; NULL: there is */
    Dim length; /* not NULL: of a scan, how many turns there are; its body has neither number nor condition */
    int carried, kept, scanned;
    Value *const *initial; /* of the carried values */
    const Scanned *scan;
} TurnsOf;

/* The loop's results, the carried ones first, in `out`. False after a failure, and where the body has a node that is not
 * supported. */
bool sn_import_turns(Call *call, const TurnsOf *of, Value **out);

/* A scalar i64 of the turn's graph that tells the turn from those before and after it, also in loops around it; NULL after
 * a failure of the import's builder. */
Value *sn_turn_number(Turn *turn);

/* The number of a turn (0) or its condition (1) in the shape that the body declares: writers have a list of one element, too. */
Value *sn_turn_declared(Builder *builder, const Onnx__GraphProto *body, int k, Value *value);

#endif
