#include "pages.h"
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RANGES_MOST = 1024 }; /* a model with more files than that keeps the rest of its pages */

FilePages sn_pages_find(Arena *arena) {
    FileRange *range = SN_ARRAY(arena, FileRange, RANGES_MOST);
    FilePages pages = {.range = range};
    FILE *file = fopen("/proc/self/maps", "re");
    char line[512], mode[8];
    while (file && pages.count < RANGES_MOST && fgets(line, sizeof line, file)) {
        FileRange *next = &range[pages.count];
        unsigned long inode;
        int fields =
            sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s %*s %*s %lu", &next->begin, &next->end, mode, &inode);
        if (fields == 4 && inode && mode[0] == 'r' && mode[1] == '-') pages.count++;
    }
    if (file) fclose(file);
    return pages;
}

void sn_pages_release(const FilePages *pages, const void *at, int64_t bytes) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)at + page - 1) / page * page,
              end = ((uintptr_t)at + (uintptr_t)bytes) / page * page;
    if (begin >= end) return;
    for (int i = 0; i < pages->count; i++)
        if (pages->range[i].begin <= begin && end <= pages->range[i].end)
            madvise((void *)begin, end - begin, MADV_DONTNEED); /* a wish */
}
