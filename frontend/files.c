#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct OwnedMapping {
    void *bytes;
    size_t size;
} OwnedMapping;

static void unmap(void *object) {
    OwnedMapping *mapping = object;
    munmap(mapping->bytes, mapping->size);
}

/* A quoted path for messages: a model's path may hold anything. */
static const char *quoted(Arena *arena, const char *path) {
    Text text = sn_text(arena);
    sn_text_quote(&text, path, strlen(path));
    return sn_text_string(&text);
}

/* Maps what is open as `descriptor`; the caller closes it. Only a file of the folder's own may have been put
 * there by whoever wrote the model, so a second name for it is refused where `one_link`. */
static Status map_descriptor(Arena *owner, int descriptor, const char *path, bool one_link, Mapping *out) {
    struct stat info;
    if (fstat(descriptor, &info) != 0) return sn_fail(SN_IO, "%s: %s", quoted(owner, path), strerror(errno));
    if (!S_ISREG(info.st_mode)) return sn_fail(SN_IO, "%s: not a regular file", quoted(owner, path));
    if (one_link && info.st_nlink > 1)
        return sn_fail(SN_INVALID, "%s: a file with several hard links", quoted(owner, path));
    *out = (Mapping){(const uint8_t *)"", 0};
    if (info.st_size == 0) return NULL;
    /* Memory first: once mapped, nothing may fail before the release is registered. */
    OwnedMapping *mapping = SN_NEW(owner, OwnedMapping);
    size_t size = (size_t)info.st_size;
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (bytes == MAP_FAILED) return sn_fail(SN_IO, "%s: %s", quoted(owner, path), strerror(errno));
    *mapping = (OwnedMapping){bytes, size};
    sn_arena_defer(owner, unmap, mapping);
    *out = (Mapping){bytes, size};
    return NULL;
}

static void close_owned(void *object) {
    int *descriptor = object;
    if (*descriptor >= 0) close(*descriptor);
}

/* A place for a descriptor that is closed with `owner`, -1 so far. */
static int *hold_descriptor(Arena *owner) {
    int *descriptor = SN_NEW(owner, int);
    *descriptor = -1;
    sn_arena_defer(owner, close_owned, descriptor);
    return descriptor;
}

Status sn_file_map(Arena *owner, const char *path, Mapping *out) {
    Arena *scratch = sn_arena_child(owner);
    int *descriptor = hold_descriptor(scratch);
    /* O_NONBLOCK: opening a pipe must not wait for a writer. */
    *descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    Status status = *descriptor < 0 ? sn_fail(SN_IO, "%s: %s", quoted(scratch, path), strerror(errno))
                                    : map_descriptor(owner, *descriptor, path, false, out);
    sn_arena_free(scratch);
    return status;
}

Status sn_file_folder(Arena *owner, const char *path, int *folder) {
    const char *slash = strrchr(path, '/');
    const char *name = slash == path ? "/" : ".";
    if (slash && slash != path) name = sn_arena_printf(owner, "%.*s", (int)(slash - path), path);
    int *descriptor = hold_descriptor(owner);
    *descriptor = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*descriptor < 0) return sn_fail(SN_IO, "%s: %s", quoted(owner, name), strerror(errno));
    *folder = *descriptor;
    return NULL;
}

int sn_file_open_resolved(int folder, const char *path) {
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
}

int sn_file_open_stepwise(int folder, const char *path) {
    int at = folder;
    while (true) {
        size_t length = strcspn(path, "/");
        char name[NAME_MAX + 1];
        bool last = path[length] == 0, fits = length <= NAME_MAX;
        if (fits) memcpy(name, path, length), name[length] = 0;
        int next = -1;
        if (!fits || length == 0 || strcmp(name, "..") == 0)
            errno = fits ? EXDEV : ENAMETOOLONG;
        else
            next =
                openat(at, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (last ? 0 : O_DIRECTORY));
        int error = errno;
        if (at != folder) close(at);
        errno = error;
        if (next < 0 || last) return next;
        at = next;
        path += length + 1;
    }
}

Status sn_file_map_below(Arena *owner, int folder, const char *path, Mapping *out) {
    Arena *scratch = sn_arena_child(owner);
    int *descriptor = hold_descriptor(scratch);
    *descriptor = sn_file_open_resolved(folder, path);
    /* Old kernels lack the call, and sandboxes forbid it. */
    if (*descriptor < 0 && (errno == ENOSYS || errno == EPERM))
        *descriptor = sn_file_open_stepwise(folder, path);
    Status status;
    if (*descriptor >= 0)
        status = map_descriptor(owner, *descriptor, path, true, out);
    else if (errno == EXDEV || errno == ELOOP)
        status = sn_fail(SN_INVALID, "%s: external data must lie below the model's folder, without links",
                         quoted(scratch, path));
    else
        status = sn_fail(SN_IO, "%s: %s", quoted(scratch, path), strerror(errno));
    sn_arena_free(scratch);
    return status;
}
