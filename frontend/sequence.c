#include "sequence.h"

const Sequence *sn_sequence_of(const Import *import, const Value *value) {
    return value ? sn_map_get(import->sequences, &value, sizeof value) : NULL;
}
