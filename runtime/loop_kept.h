/* What the loops of a context hold between their turns, and the memory that it takes. */
#ifndef SN_LOOP_KEPT_H
#define SN_LOOP_KEPT_H

#include "context.h"
#include "loop.h"

/* One turn's result after another, in host memory. */
typedef struct Kept {
    char *bytes;
    int64_t size, room;
    int64_t extent[SN_MAX_RANK]; /* of one turn's */
} Kept;

/* A loop of a context. */
struct LoopRun {
    const GraphLoop *loop;
    sn_Context *turn[2]; /* that take turns, so that one reads what the other one has made where it lies */
    void **host;         /* copies of what the loop takes, where the device's memory is not the host's */
    sn_Tensor *carried;  /* at present */
    int64_t (*extent)[SN_MAX_RANK]; /* of what the loop takes */
    Kept *kept;
    int64_t turns, peak;
};

/* The bytes of the device's memory that hold what turns have made, one after another. */
int64_t sn_loops_kept_bytes(const sn_Context *context);
/* Frees it: what it is for has been done. */
void sn_loops_free_kept(sn_Context *context);

/* The most bytes that the turns of the last run took at once. */
int64_t sn_loops_peak(const sn_Context *context);

#endif
