#include "guard.h"

Status sn_guarded(Arena *root, Status (*body)(void *argument), void *argument) {
    jmp_buf guard;
    sn_arena_guard(root, &guard);
    Status status =
        setjmp(guard) ? sn_fail(SN_NO_MEMORY, "out of memory for the compiler's own data") : body(argument);
    sn_arena_guard(root, NULL);
    return status;
}
