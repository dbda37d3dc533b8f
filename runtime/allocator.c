#include "allocator.h"
#include <stdlib.h>

enum {
    GRAIN = 512,             /* blocks below LARGE are multiples of it */
    LARGE = 1 << 20,         /* from here on multiples of LARGE_GRAIN */
    LARGE_GRAIN = 64 * 1024, /* near sizes share blocks */
    WASTE = 4,               /* a spare block may be larger than needed by a fourth */
};

static Status block_size(int64_t bytes, int64_t *out) {
    int64_t grain = bytes < LARGE ? GRAIN : LARGE_GRAIN;
    if (bytes > INT64_MAX - grain) return sn_fail(SN_NO_MEMORY, "a tensor exceeds every address space");
    *out = bytes ? (bytes + grain - 1) / grain * grain : grain;
    return NULL;
}

/* The first spare block of at least `bytes`; spare_count if there is none. */
static int lower_bound(const Allocator *allocator, int64_t bytes) {
    int low = 0, high = allocator->spare_count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (allocator->spare[middle].bytes < bytes)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool take_spare(Allocator *allocator, int64_t bytes, Block *out) {
    int at = lower_bound(allocator, bytes);
    if (at == allocator->spare_count || allocator->spare[at].bytes > bytes + bytes / WASTE) return false;
    *out = allocator->spare[at];
    allocator->spare_count--;
    memmove(&allocator->spare[at], &allocator->spare[at + 1],
            (size_t)(allocator->spare_count - at) * sizeof *allocator->spare);
    return true;
}

void sn_allocator_trim(Allocator *allocator) {
    for (int i = 0; i < allocator->spare_count; i++) {
        Block *block = &allocator->spare[i];
        allocator->device->ops->free(allocator->device, block->at, block->bytes);
        allocator->held -= block->bytes;
    }
    allocator->spare_count = 0;
}

static bool over_limit(const Allocator *allocator, int64_t bytes) {
    return allocator->limit && bytes > allocator->limit - allocator->held;
}

static Status take_new(Allocator *allocator, int64_t bytes, Block *out) {
    if (over_limit(allocator, bytes)) sn_allocator_trim(allocator);
    if (over_limit(allocator, bytes))
        return sn_fail(SN_NO_MEMORY, "%lld bytes are in use, and %lld more exceed the limit of %lld",
                       (long long)allocator->held, (long long)bytes, (long long)allocator->limit);
    Status status = allocator->device->ops->alloc(allocator->device, bytes, &out->at);
    if (status && allocator->spare_count) {
        sn_error_free(status);
        sn_allocator_trim(allocator);
        status = allocator->device->ops->alloc(allocator->device, bytes, &out->at);
    }
    if (status) return status;
    out->bytes = bytes;
    allocator->held += bytes;
    return NULL;
}

Status sn_allocator_get(Allocator *allocator, int64_t bytes, Block *out) {
    TRY(block_size(bytes, &bytes));
    if (!take_spare(allocator, bytes, out)) TRY(take_new(allocator, bytes, out));
    allocator->used += out->bytes;
    if (allocator->used > allocator->peak) allocator->peak = allocator->used;
    return NULL;
}

void sn_allocator_put(Allocator *allocator, Block *block) {
    if (!block->at) return;
    allocator->used -= block->bytes;
    if (allocator->spare_count == allocator->spare_capacity) {
        int capacity = allocator->spare_capacity ? 2 * allocator->spare_capacity : 64;
        Block *spare = realloc(allocator->spare, (size_t)capacity * sizeof *spare);
        if (!spare) { /* no memory to remember it by: it goes back to the device */
            allocator->device->ops->free(allocator->device, block->at, block->bytes);
            allocator->held -= block->bytes;
            *block = (Block){0};
            return;
        }
        allocator->spare = spare;
        allocator->spare_capacity = capacity;
    }
    int at = lower_bound(allocator, block->bytes);
    memmove(&allocator->spare[at + 1], &allocator->spare[at],
            (size_t)(allocator->spare_count - at) * sizeof *allocator->spare);
    allocator->spare[at] = *block;
    allocator->spare_count++;
    *block = (Block){0};
}

void sn_allocator_free(Allocator *allocator) {
    sn_allocator_trim(allocator);
    free(allocator->spare);
    *allocator = (Allocator){0};
}
