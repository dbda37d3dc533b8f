#include "cache.h"
#include "map.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Stands behind the contents of every file; linkers and loaders ignore bytes past what they need. */
typedef struct Seal {
    char magic[8];
    uint64_t size; /* of the contents */
    Hash hash;
} Seal;

static const char seal_magic[8] = "sinter01";

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
            return sn_fail(SN_IO, "cache folder %s cannot be made: %s", partial, strerror(errno));
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

typedef struct Mapping {
    const char *at; /* NULL: the file is absent or empty */
    size_t size;
} Mapping;

static Mapping map_file(const char *path) {
    Mapping mapping = {0};
    struct stat info;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return mapping;
    if (fstat(file, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() && info.st_size > 0) {
        void *at = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        if (at != MAP_FAILED) mapping = (Mapping){at, (size_t)info.st_size};
    }
    close(file);
    return mapping;
}

static void unmap(Mapping mapping) {
    if (mapping.at) munmap((void *)mapping.at, mapping.size);
}

static bool sealed(Mapping mapping) {
    Seal seal;
    if (mapping.size < sizeof seal) return false;
    size_t size = mapping.size - sizeof seal;
    memcpy(&seal, mapping.at + size, sizeof seal);
    return memcmp(seal.magic, seal_magic, sizeof seal_magic) == 0 && seal.size == size &&
           sn_hash_equal(seal.hash, sn_hash((Hash){0}, mapping.at, size));
}

bool sn_cache_has(Arena *arena, const Cache *cache, const char *name) {
    Mapping mapping = map_file(sn_cache_path(arena, cache, name));
    bool whole = mapping.at && sealed(mapping);
    unmap(mapping);
    return whole;
}

const char *sn_cache_read(Arena *arena, const Cache *cache, const char *name) {
    const char *path = sn_cache_path(arena, cache, name);
    /* The first look is only for the size: no memory is taken while the file is mapped. */
    struct stat info;
    if (lstat(path, &info) != 0 || info.st_size < (off_t)sizeof(Seal)) return NULL;
    size_t size = (size_t)info.st_size - sizeof(Seal);
    char *contents = sn_arena_alloc(arena, size + 1);
    Mapping mapping = map_file(path);
    bool whole = mapping.at && mapping.size == size + sizeof(Seal) && sealed(mapping);
    if (whole) memcpy(contents, mapping.at, size);
    unmap(mapping);
    return whole ? contents : NULL;
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
    Mapping mapping = map_file(path);
    if (!mapping.at) return sn_fail(SN_IO, "%s was not written", path);
    Seal seal = {.size = mapping.size, .hash = sn_hash((Hash){0}, mapping.at, mapping.size)};
    memcpy(seal.magic, seal_magic, sizeof seal_magic);
    unmap(mapping);
    if (!append(path, &seal, sizeof seal) || rename(path, target) != 0)
        return sn_fail(SN_IO, "%s cannot be written: %s", target, strerror(errno));
    return NULL;
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

Status sn_cache_scratch(Arena *arena, const Cache *cache, const char **out) {
    char *path = sn_arena_printf(arena, "%s/new-XXXXXX", cache->path);
    if (!mkdtemp(path)) return sn_fail(SN_IO, "%s: %s", path, strerror(errno));
    sn_arena_defer(arena, remove_scratch, path);
    *out = path;
    return NULL;
}
