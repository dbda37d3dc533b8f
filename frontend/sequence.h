/* Sequences. They are no values of the graph: where the importer holds a value, an empty constant stands for each. Their
 * tensors are known by name at import, or, of one that a loop has made whose turns only a run counts, lie one after another.
 * An optional value is its element, and one of nothing stands as sequences do. */
#ifndef SN_SEQUENCE_H
#define SN_SEQUENCE_H

#include "import.h"

typedef struct Sequence {
    int count;
    Value **element;
    int open; /* k + 1: carried value k of a turn: what the turns before have added, then those that are known */
    Value *whole; /* all elements along its first axis, as many as a run has; NULL: those that are known */
    bool nothing; /* none: an optional value without an element */
} Sequence;

/* What a value stands for, or NULL: it is a tensor. */
const Sequence *sn_sequence_of(const Import *import, const Value *value);

/* The value that stands for a sequence, which is copied; NULL after a failure of the import's builder. */
Value *sn_sequence_stand(Import *import, Sequence sequence);

#endif
