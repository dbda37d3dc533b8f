/* Physical memory of mapped files. */
#ifndef SN_PAGES_H
#define SN_PAGES_H

#include "arena.h"
#include <stdint.h>

typedef struct FileRange {
    uintptr_t begin, end;
} FileRange;

/* The address ranges of this process that are read-only views of files. */
typedef struct FilePages {
    int count;
    const FileRange *range;
} FilePages;

/* As /proc/self/maps tells them now; none where it cannot be read. */
FilePages sn_pages_find(Arena *arena);

/* Lets go of the physical pages that lie wholly in [at, at + bytes), if they belong to a range that was found
 * and is still mapped; they are read from the file again when they are next touched. Other memory stays as it
 * is. */
void sn_pages_release(const FilePages *pages, const void *at, int64_t bytes);

/* A thread that asks the system for pages of files before they are touched. */
typedef struct ReadAhead ReadAhead;

/* Starts on `count` ranges, in order; they are read until the end. NULL where there is nothing to do, or no thread
 * to do it: it is a wish. */
ReadAhead *sn_pages_read_ahead(const FilePages *pages, const FileRange *range, int count);

/* Waits for it; what it has not asked for yet is left alone. NULL is allowed. */
void sn_pages_read_end(ReadAhead *ahead);

#endif
