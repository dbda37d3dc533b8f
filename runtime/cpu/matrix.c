#include "matrix.h"
#include "features.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined __x86_64__ && defined __linux__
#include <sys/syscall.h>
#include <unistd.h>

/* Linux's asm/prctl.h, and the number of the tiles' state in XCR0. */
enum { REQUEST_STATE = 0x1023, TILE_DATA = 18 };

/* Threads that are there already, and those made later, are permitted too. */
static bool system_permits(void) {
    return syscall(SYS_arch_prctl, REQUEST_STATE, TILE_DATA) == 0;
}

#else

static bool system_permits(void) {
    return false;
}

#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *refusal;

static void ask(void) {
    if (!sn_features_matrix())
        refusal = "this processor, or its operating system, has none";
    else if (!system_permits())
        refusal = "the operating system refuses them to this process";
}

const char *sn_matrix_refusal(void) {
    const char *wish = getenv("SINTER_MATRIX");
    if (wish && strcmp(wish, "0") == 0) return "switched off by SINTER_MATRIX=0";
    pthread_once(&once, ask);
    return refusal;
}
