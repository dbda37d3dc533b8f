/* "past=present": states as a user names them. */
#ifndef SN_STATES_H
#define SN_STATES_H

#include "arena.h"
#include "status.h"

/* "INPUT=OUTPUT". One `*` on both sides stands for the same characters, so that "past.*=present.*" is every
 * input whose name fits and the output of the name that results. */
typedef struct StateSpec {
    const char *input, *output;
} StateSpec;

typedef struct StateSpecs {
    int count;
    StateSpec *at;
} StateSpecs;

/* Of texts that are comma-separated lists of specs. */
Status sn_state_specs_parse(Arena *arena, int count, const char *const *text, StateSpecs *out);

typedef struct States {
    int count;
    sn_State *at;
} States;

/* What the specs mean in a model; without any, a saved program's own. SN_INVALID when one names nothing. */
Status sn_states_find(Arena *arena, const sn_Model *model, const StateSpecs *specs, States *out);

#endif
