#include "pages.h"
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
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

/* Whether the range belongs to a file that was found, once it is cut to whole pages: those inside of it, or those
 * that it touches. */
static bool cut(const FilePages *pages, FileRange *range, bool inside) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    range->begin = (range->begin + (inside ? page - 1 : 0)) / page * page;
    range->end = (range->end + (inside ? 0 : page - 1)) / page * page;
    for (int i = 0; range->begin < range->end && i < pages->count; i++)
        if (pages->range[i].begin <= range->begin && range->end <= pages->range[i].end) return true;
    return false;
}

void sn_pages_release(const FilePages *pages, const void *at, int64_t bytes) {
    FileRange range = {(uintptr_t)at, (uintptr_t)at + (uintptr_t)bytes};
    if (cut(pages, &range, true))
        madvise((void *)range.begin, range.end - range.begin, MADV_DONTNEED); /* a wish */
}

/* ---- reading ahead ---- */

enum { AHEAD_BYTES = 4 << 20 }; /* of a request: the system allocates its pages at once */

struct ReadAhead {
    pthread_t thread;
    atomic_bool stop;
    int count;
    FileRange range[];
};

static void *read_ahead(void *argument) {
    ReadAhead *ahead = argument;
    for (int i = 0; i < ahead->count; i++)
        for (uintptr_t at = ahead->range[i].begin; at < ahead->range[i].end && !atomic_load(&ahead->stop);
             at += AHEAD_BYTES) {
            size_t left = ahead->range[i].end - at;
            madvise((void *)at, left < AHEAD_BYTES ? left : AHEAD_BYTES, MADV_WILLNEED);
        }
    return NULL;
}

ReadAhead *sn_pages_read_ahead(const FilePages *pages, const FileRange *range, int count) {
    ReadAhead *ahead = calloc(1, sizeof *ahead + (size_t)count * sizeof *range);
    if (!ahead) return NULL;
    for (int i = 0; i < count; i++) {
        ahead->range[ahead->count] = range[i];
        ahead->count += cut(pages, &ahead->range[ahead->count], false);
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = ahead->count ? pthread_create(&ahead->thread, NULL, read_ahead, ahead) : -1;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error) return ahead;
    free(ahead);
    return NULL;
}

void sn_pages_read_end(ReadAhead *ahead) {
    if (!ahead) return;
    atomic_store(&ahead->stop, true);
    pthread_join(ahead->thread, NULL);
    free(ahead);
}
