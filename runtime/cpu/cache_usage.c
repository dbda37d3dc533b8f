/* What the kernel cache holds, and making room in it. */
#include "cache.h"
#include "text.h"
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { IN_USE_SECONDS = 60 };

typedef struct Entry {
    const char *path;
    int64_t bytes, used;
} Entry;

typedef SN_VEC(Entry) Entries;

static bool ends_with(const char *name, const char *ending) {
    size_t length = strlen(name), tail = strlen(ending);
    return length >= tail && strcmp(name + length - tail, ending) == 0;
}

static void close_folder(void *object) {
    DIR **folder = object;
    if (*folder) closedir(*folder);
}

/* The folder is closed with `arena`, whatever fails in between. */
static Entries list_entries(Arena *arena, const Cache *cache, const char *ending) {
    Entries entries = {0};
    DIR **folder = SN_NEW(arena, DIR *);
    sn_arena_defer(arena, close_folder, folder);
    *folder = opendir(cache->path);
    for (struct dirent *entry; *folder && (entry = readdir(*folder));) {
        struct stat info;
        if (!ends_with(entry->d_name, ending)) continue;
        const char *path = sn_cache_path(arena, cache, entry->d_name);
        if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode)) continue;
        Entry one = {path, info.st_size, info.st_mtim.tv_sec};
        sn_push(arena, &entries, one);
    }
    return entries;
}

CacheUsage sn_cache_usage(Arena *arena, const Cache *cache, const char *ending) {
    Arena *scratch = sn_arena_child(arena);
    Entries entries = list_entries(scratch, cache, ending);
    CacheUsage usage = {.files = entries.count};
    for (int i = 0; i < entries.count; i++) {
        const Entry *entry = &entries.at[i];
        usage.bytes += entry->bytes;
        if (!usage.oldest || entry->used < usage.oldest) usage.oldest = entry->used;
        if (entry->used > usage.newest) usage.newest = entry->used;
    }
    sn_arena_free(scratch);
    return usage;
}

static int by_use(const void *a, const void *b) {
    const Entry *x = a, *y = b;
    if (x->used != y->used) return x->used < y->used ? -1 : 1;
    return strcmp(x->path, y->path);
}

int sn_cache_limit(Arena *arena, const Cache *cache, int64_t bytes) {
    Arena *scratch = sn_arena_child(arena);
    Entries entries = list_entries(scratch, cache, "");
    if (entries.count) qsort(entries.at, (size_t)entries.count, sizeof *entries.at, by_use);
    int64_t total = 0, recent = bytes ? (int64_t)time(NULL) - IN_USE_SECONDS : INT64_MAX;
    for (int i = 0; i < entries.count; i++) total += entries.at[i].bytes;
    int removed = 0;
    for (int i = 0; i < entries.count && total > bytes && entries.at[i].used < recent; i++) {
        if (unlink(entries.at[i].path) != 0) continue;
        total -= entries.at[i].bytes;
        removed++;
    }
    sn_arena_free(scratch);
    return removed;
}
