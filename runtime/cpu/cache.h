/* The private folder where compiled kernels are kept between runs.
 *
 * It belongs to this user alone (mode 0700, owner checked), because what lies in it is executed. Files appear
 * in it under their final name in one step, with a seal behind their contents; a file whose seal does not fit
 * (a crash, a full disk, a bad block) counts as absent, and is replaced. Names are made of hashes only.
 */
#ifndef SN_CACHE_H
#define SN_CACHE_H

#include "arena.h"
#include "status.h"
#include <stdint.h>

typedef struct Cache {
    const char *path; /* absolute, in the arena it was opened with */
} Cache;

/* Opens the folder, making it and what leads to it. `directory` may be NULL: $SINTER_CACHE, else
 * $XDG_CACHE_HOME/sinter, else ~/.cache/sinter. SN_IO when it cannot be made or is not private. */
Status sn_cache_open(Arena *arena, const char *directory, Cache *out);

const char *sn_cache_path(Arena *arena, const Cache *cache, const char *name);

/* True when `name` is there and whole. */
bool sn_cache_has(Arena *arena, const Cache *cache, const char *name);

/* The contents of `name` without the seal, NUL-terminated in `arena`; NULL when sn_cache_has would be false.
 */
const char *sn_cache_read(Arena *arena, const Cache *cache, const char *name);
const char *sn_cache_read_sized(Arena *arena, const Cache *cache, const char *name, size_t *size);

/* Makes `text` the contents of `name`. */
Status sn_cache_write(Arena *arena, const Cache *cache, const char *name, const char *text);
Status sn_cache_write_sized(Arena *arena, const Cache *cache, const char *name, const void *bytes,
                            size_t size);

/* Notes that `name` was of use just now: what was not for longest goes first. */
void sn_cache_touch(Arena *arena, const Cache *cache, const char *name);

/* Seals the file at `path` (on the same file system) and moves it to `name`. */
Status sn_cache_keep(Arena *arena, const Cache *cache, const char *path, const char *name);

/* A new empty folder inside the cache for files in the making. sn_cache_scratch_remove deletes it with the
 * files in it, and is deferred on `arena`. */
Status sn_cache_scratch(Arena *arena, const Cache *cache, const char **out);

/* ---- what is in it ---- */

#define SN_CACHE_BYTES (INT64_C(2) << 30) /* the most that is kept, unless the user says otherwise */

typedef struct CacheUsage {
    int files;
    int64_t bytes;
    int64_t oldest, newest; /* times of last use, seconds since 1970; 0: there is no file */
} CacheUsage;

/* Counts the kept files whose names end in `ending` ("": all). */
CacheUsage sn_cache_usage(Arena *arena, const Cache *cache, const char *ending);

/* Removes the files that were not of use for longest until the rest takes at most `bytes`; returns how many
 * went. What somebody may be using this very minute stays, unless `bytes` is 0: then all goes. A program that
 * is running keeps what it has loaded. */
int sn_cache_limit(Arena *arena, const Cache *cache, int64_t bytes);

#endif
