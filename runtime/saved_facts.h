/* What a saved program says of itself, as text: a line each, "name value". */
#ifndef SN_SAVED_FACTS_H
#define SN_SAVED_FACTS_H

#include "map.h"
#include "target.h"
#include "text.h"

typedef struct SavedFacts {
    const char *version; /* of Sinter */
    bool eager;          /* the mode */
    sn_Autocast autocast;
    const char *machine;  /* see cpu/features.h */
    const char *requires; /* likewise */
    Target target;        /* what the graph was fused and its kernels were generated for */
    int state_count;
    const sn_State *state;
    int kernel_count;
    const Hash *kernel; /* of each kernel of the plan, in its order */
} SavedFacts;

void sn_saved_facts_print(Text *text, const SavedFacts *facts);

/* SN_INVALID where a line is missing, unknown or malformed, or when another version wrote it. Strings lie in
 * `arena`. */
Status sn_saved_facts_parse(Arena *arena, const void *bytes, size_t size, SavedFacts *out);

#endif
