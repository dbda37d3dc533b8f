/* A branch that a run may leave out. Where it does, what the branch reads from outside has no elements: so nothing in it is
 * computed, and sizes that its operators want to be equal are, as all of them are 0. */
#ifndef SN_TAKEN_H
#define SN_TAKEN_H

#include "import.h"

struct Taken {
    Value *flag;    /* a scalar of bool: whether a run takes the branch */
    Dim once;       /* a size: 1 where it does, and 0 where it does not */
    Map *captured;  /* Value * -> Value *: what the branch has of it */
    Map *sizes;     /* Value * -> Value *, in the branch: what of it is a size */
    int first, end; /* those of the graph's sizes that the branch has made */
};

/* `flag` as far as what is around is taken; `stem` names the symbol. */
Taken sn_taken(Call *call, Value *flag, const char *stem);

/* What a branch has of a value from outside; NULL after a failure of the builder. */
Value *sn_taken_capture(Import *import, Taken *taken, Value *value);

/* Whether the checks from `first` on hold in runs that do not take the branch. */
bool sn_taken_checks_hold(const Import *import, const Taken *taken, int first);

/* Whether no node from `first` on reads by indices what has no elements in runs that do not take the branch: of no elements it
 * makes none. */
bool sn_taken_reads_hold(const Import *import, const Taken *taken, const Node *first);

/* The result of the branch that is taken, of two that are of one type and rank, which is at least 1. */
Value *sn_taken_choose(Call *call, const Taken *taken, Value *const *result);

#endif
