/* Where each buffer of a plan lies: packing of lifetimes into one block. */
#ifndef SN_MEMORY_H
#define SN_MEMORY_H

#include "status.h"

enum { SN_ALIGNMENT = 64 }; /* of every buffer: a cache line, and the widest vector */

/* A buffer that is needed from launch `first` to launch `last`, both included. */
typedef struct Life {
    int64_t bytes; /* >= 0 */
    int first, last;
    int64_t offset; /* set by packing: a multiple of SN_ALIGNMENT */
    /* NULL, or the life of the same array whose memory this one takes over in place: as large, and with its last launch
     * the first one of this. No life is taken over twice. */
    const struct Life *over;
} Life;

/* Gives each life an offset such that lives which overlap in time share no byte, but for one that takes over
 * another's (it has the same offset), and *total, the bytes in all. Largest first, each into the smallest gap that
 * holds it (Pisarchyk and Lee, 2020, "Efficient memory management for deep neural net inference", greedy by size).
 * The same lives give the same offsets. SN_NO_MEMORY when the total overflows or there is no memory to work in. */
Status sn_memory_pack(Life *life, int count, int64_t *total);

#endif
