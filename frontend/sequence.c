#include "sequence.h"

const Sequence *sn_sequence_of(const Import *import, const Value *value) {
    return value ? sn_map_get(import->sequences, &value, sizeof value) : NULL;
}

Value *sn_sequence_stand(Import *import, Sequence sequence) {
    Value *stand = sn_build_dims(&import->builder, 0, NULL, false);
    if (!stand) return NULL;
    Sequence *made = SN_NEW(import->scratch, Sequence);
    *made = sequence;
    *sn_map_at(import->sequences, &stand, sizeof stand) = made;
    return stand;
}
