/* Loops whose turns only a run counts: each turn is a run of a program of its own, in a context of its own. */
#ifndef SN_LOOPS_H
#define SN_LOOPS_H

#include "context.h"

/* Of programs whose plans have loops (sn_Program.loops). */
extern const LoopOps sn_loops;

#endif
