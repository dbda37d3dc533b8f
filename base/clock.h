/* The clock that everything is timed with. */
#ifndef SN_CLOCK_H
#define SN_CLOCK_H

#include <time.h>

/* Seconds since some fixed moment, never going back. */
static inline double sn_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
