/* A caching allocator: what eager execution takes its tensors from, one by one, as eager frameworks do.
 *
 * Freed blocks are kept and given out again, best fit first. One per context; not for several threads.
 */
#ifndef SN_ALLOCATOR_H
#define SN_ALLOCATOR_H

#include "device.h"

typedef struct Block {
    void *at; /* NULL: no block */
    int64_t bytes;
} Block;

typedef struct Allocator {
    Device *device;
    int64_t limit; /* most bytes to hold of the device, cached ones included; 0: no limit */
    int64_t held;  /* bytes held of the device */
    int64_t used, peak;
    Block *spare; /* sorted by size */
    int spare_count, spare_capacity;
} Allocator;

/* A block of at least `bytes` >= 0. When device or limit refuse, the spare blocks are given back and it is
 * tried once more; then SN_NO_MEMORY. */
Status sn_allocator_get(Allocator *allocator, int64_t bytes, Block *out);

/* Takes the block back and clears it. A block of NULL is allowed. */
void sn_allocator_put(Allocator *allocator, Block *block);

/* Gives every spare block back to the device. */
void sn_allocator_trim(Allocator *allocator);

/* Trims and releases; no block is in use. */
void sn_allocator_free(Allocator *allocator);

#endif
