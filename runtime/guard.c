#include "guard.h"
#include <fenv.h>

Status sn_guarded(Arena *root, Status (*body)(void *argument), void *argument) {
    jmp_buf guard;
    fenv_t host;
    fegetenv(&host);
    fesetenv(FE_DFL_ENV);
    sn_arena_guard(root, &guard);
    Status status =
        setjmp(guard) ? sn_fail(SN_NO_MEMORY, "out of memory for the compiler's own data") : body(argument);
    sn_arena_guard(root, NULL);
    fesetenv(&host);
    return status;
}
