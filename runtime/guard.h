/* The border between the compiler and its callers: exhaustion becomes an error here, and what the host has
 * made of rounding, small numbers and traps ends here. */
#ifndef SN_GUARD_H
#define SN_GUARD_H

#include "arena.h"
#include "status.h"

/* body(argument), or SN_NO_MEMORY when an allocation from `root` or its children failed on the way. What body
 * took besides arena memory must by then be known to `argument` or deferred on an arena. */
Status sn_guarded(Arena *root, Status (*body)(void *argument), void *argument);

#endif
