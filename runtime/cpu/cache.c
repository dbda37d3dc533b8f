#include "cache.h"
#include "map.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Stands behind the contents of every file; linkers and loaders ignore bytes past what they need. */
typedef struct Seal {
    char magic[8];
    uint64_t size; /* of the contents */
    Hash hash;
} Seal;

static const char seal_magic[8] = "sinter01";
static const char scratch_prefix[] = "new-";
enum { ABANDONED_SECONDS = 24 * 3600 };

/* ---- the folder ---- */

static Status default_directory(Arena *arena, const char **out) {
    const char *path = getenv("SINTER_CACHE");
    if (path && *path) return *out = path, NULL;
    path = getenv("XDG_CACHE_HOME");
    if (path && *path == '/') return *out = sn_arena_printf(arena, "%s/sinter", path), NULL;
    path = getenv("HOME");
    if (path && *path == '/') return *out = sn_arena_printf(arena, "%s/.cache/sinter", path), NULL;
    return sn_fail(SN_IO, "no place for the kernel cache: set SINTER_CACHE");
}

/* Makes every folder that leads to `path`, and itself. What exists stays as it is. */
static Status make_folders(Arena *arena, const char *path) {
    char *partial = sn_arena_string(arena, path);
    for (char *at = partial + 1;; at++) {
        if (*at && *at != '/') continue;
        char here = *at;
        *at = '\0';
        if (mkdir(partial, 0700) != 0 && errno != EEXIST)
            return sn_fail(SN_IO, "cache folder %s cannot be made: %s (SINTER_CACHE names another)", partial,
                           strerror(errno));
        *at = here;
        if (!here) return NULL;
    }
}

/* `mask`: the permissions that nobody else may have. */
static Status check_owner(const char *path, bool follow, mode_t mask) {
    struct stat info;
    if ((follow ? stat(path, &info) : lstat(path, &info)) != 0)
        return sn_fail(SN_IO, "cache folder %s: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode)) return sn_fail(SN_IO, "cache folder %s is not a folder", path);
    if (info.st_uid != geteuid()) return sn_fail(SN_IO, "cache folder %s belongs to another user", path);
    if (info.st_mode & mask) return sn_fail(SN_IO, "cache folder %s is not private to its owner", path);
    return NULL;
}

Status sn_cache_open(Arena *arena, const char *directory, Cache *out) {
    if (!directory || !*directory) TRY(default_directory(arena, &directory));
    if (*directory != '/') {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here)) return sn_fail(SN_IO, "working directory: %s", strerror(errno));
        directory = sn_arena_printf(arena, "%s/%s", here, directory);
    }
    out->path = sn_arena_printf(arena, "%s/kernels", directory);
    TRY(make_folders(arena, out->path));
    /* Who can write to the folder above could put another in the place of ours. */
    TRY(check_owner(directory, true, 0022));
    return check_owner(out->path, false, 0077);
}

const char *sn_cache_path(Arena *arena, const Cache *cache, const char *name) {
    return sn_arena_printf(arena, "%s/%s", cache->path, name);
}

/* ---- files ---- */

/* The whole of a file of ours, in `arena`, and a NUL; NULL when it is absent, empty or cannot be read. It is
 * not mapped: a file that is cut short or breaks while a mapping is read kills the process. */
static char *read_whole(Arena *arena, const char *path, size_t *size) {
    struct stat info;
    /* The first look is only for the size: no memory is taken while the file is open. */
    if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size <= 0) return NULL;
    *size = (size_t)info.st_size;
    char *contents = sn_arena_alloc(arena, *size + 1);
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return NULL;
    size_t at = 0;
    bool ours = fstat(file, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
                (size_t)info.st_size == *size;
    while (ours && at < *size) {
        ssize_t got = read(file, contents + at, *size - at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        at += (size_t)got;
    }
    close(file);
    return ours && at == *size ? contents : NULL;
}

const char *sn_cache_read_sized(Arena *arena, const Cache *cache, const char *name, size_t *size) {
    Seal seal;
    char *contents = read_whole(arena, sn_cache_path(arena, cache, name), size);
    if (!contents || *size < sizeof seal) return NULL;
    *size -= sizeof seal;
    memcpy(&seal, contents + *size, sizeof seal);
    contents[*size] = '\0';
    bool whole = memcmp(seal.magic, seal_magic, sizeof seal_magic) == 0 && seal.size == *size &&
                 sn_hash_equal(seal.hash, sn_hash((Hash){0}, contents, *size));
    return whole ? contents : NULL;
}

const char *sn_cache_read(Arena *arena, const Cache *cache, const char *name) {
    size_t size;
    return sn_cache_read_sized(arena, cache, name, &size);
}

bool sn_cache_has(Arena *arena, const Cache *cache, const char *name) {
    Arena *scratch = sn_arena_child(arena);
    bool whole = sn_cache_read(scratch, cache, name) != NULL;
    sn_arena_free(scratch);
    return whole;
}

static bool write_all(int file, const void *data, size_t bytes) {
    const char *at = data;
    while (bytes) {
        ssize_t written = write(file, at, bytes);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        at += written;
        bytes -= (size_t)written;
    }
    return true;
}

static bool append(const char *path, const void *data, size_t bytes) {
    int file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return false;
    bool ok = write_all(file, data, bytes);
    return close(file) == 0 && ok;
}

Status sn_cache_keep(Arena *arena, const Cache *cache, const char *path, const char *name) {
    const char *target = sn_cache_path(arena, cache, name);
    Arena *scratch = sn_arena_child(arena);
    Seal seal = {0};
    size_t size;
    const char *contents = read_whole(scratch, path, &size);
    if (contents) seal = (Seal){.size = size, .hash = sn_hash((Hash){0}, contents, size)};
    memcpy(seal.magic, seal_magic, sizeof seal_magic);
    sn_arena_free(scratch);
    if (!contents) return sn_fail(SN_IO, "%s cannot be read back", path);
    if (!append(path, &seal, sizeof seal) || rename(path, target) != 0)
        return sn_fail(SN_IO, "%s cannot be written: %s", target, strerror(errno));
    return NULL;
}

Status sn_cache_write(Arena *arena, const Cache *cache, const char *name, const char *text) {
    return sn_cache_write_sized(arena, cache, name, text, strlen(text));
}

Status sn_cache_write_sized(Arena *arena, const Cache *cache, const char *name, const void *bytes,
                            size_t size) {
    Arena *scratch = sn_arena_child(arena);
    const char *folder;
    Status status = sn_cache_scratch(scratch, cache, &folder);
    if (!status) {
        const char *path = sn_arena_printf(scratch, "%s/text", folder);
        int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        bool written = file >= 0 && write_all(file, bytes, size);
        if (file >= 0 && close(file) != 0) written = false;
        status = written ? sn_cache_keep(scratch, cache, path, name)
                         : sn_fail(SN_IO, "%s cannot be written: %s", path, strerror(errno));
    }
    sn_arena_free(scratch);
    return status;
}

void sn_cache_touch(Arena *arena, const Cache *cache, const char *name) {
    utimensat(AT_FDCWD, sn_cache_path(arena, cache, name), NULL, AT_SYMLINK_NOFOLLOW);
}

/* ---- scratch ---- */

static void remove_scratch(void *object) {
    const char *path = object;
    DIR *folder = opendir(path);
    if (folder) {
        for (struct dirent *entry; (entry = readdir(folder));)
            if (entry->d_name[0] != '.') unlinkat(dirfd(folder), entry->d_name, 0);
        closedir(folder);
    }
    rmdir(path);
}

/* What processes left behind that were killed: folders that nothing was put into for a day. */
static void remove_abandoned(Arena *arena, const Cache *cache) {
    char *path = sn_arena_alloc(arena, strlen(cache->path) + NAME_MAX + 2);
    DIR *folder = opendir(cache->path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        struct stat info;
        if (strncmp(entry->d_name, scratch_prefix, strlen(scratch_prefix)) != 0) continue;
        sprintf(path, "%s/%s", cache->path, entry->d_name);
        if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode) &&
            time(NULL) - info.st_mtime > ABANDONED_SECONDS)
            remove_scratch(path);
    }
    if (folder) closedir(folder);
}

Status sn_cache_scratch(Arena *arena, const Cache *cache, const char **out) {
    remove_abandoned(arena, cache);
    char *path = sn_arena_printf(arena, "%s/%sXXXXXX", cache->path, scratch_prefix);
    if (!mkdtemp(path))
        return sn_fail(SN_IO, "kernel cache %s cannot be written: %s (SINTER_CACHE names another)",
                       cache->path, strerror(errno));
    sn_arena_defer(arena, remove_scratch, path);
    *out = path;
    return NULL;
}
