/* Sequences whose tensors are all known by name at import. They are no values of the graph: where the importer holds a value,
 * an empty constant stands for each. */
#ifndef SN_SEQUENCE_H
#define SN_SEQUENCE_H

#include "import.h"

typedef struct Sequence {
    int count;
    Value **element;
} Sequence;

/* What a value stands for, or NULL: it is a tensor. */
const Sequence *sn_sequence_of(const Import *import, const Value *value);

#endif
