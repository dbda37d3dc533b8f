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

/* Maps what is open as `descriptor`; the caller closes it. Only a file of the folder's own may have been put
 * there by whoever wrote the model, so a second name for it is refused where `one_link`. */
static Status map_descriptor(Arena *owner, int descriptor, const char *path, bool one_link, Mapping *out) {
    struct stat info;
    if (fstat(descriptor, &info) != 0)
        return sn_fail(SN_IO, "%s: %s", sn_quoted(owner, path), strerror(errno));
    if (!S_ISREG(info.st_mode)) return sn_fail(SN_IO, "%s: not a regular file", sn_quoted(owner, path));
    if (one_link && info.st_nlink > 1)
        return sn_fail(SN_INVALID, "%s: a file with several hard links", sn_quoted(owner, path));
    *out = (Mapping){(const uint8_t *)"", 0};
    if (info.st_size == 0) return NULL;
    /* Memory first: once mapped, nothing may fail before the release is registered. */
    OwnedMapping *mapping = SN_NEW(owner, OwnedMapping);
    size_t size = (size_t)info.st_size;
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (bytes == MAP_FAILED) return sn_fail(SN_IO, "%s: %s", sn_quoted(owner, path), strerror(errno));
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
    Status status = *descriptor < 0 ? sn_fail(SN_IO, "%s: %s", sn_quoted(scratch, path), strerror(errno))
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
    if (*descriptor < 0) return sn_fail(SN_IO, "%s: %s", sn_quoted(owner, name), strerror(errno));
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
                         sn_quoted(scratch, path));
    else
        status =
            sn_fail(SN_IO, "%s, below the model's folder: %s", sn_quoted(scratch, path), strerror(errno));
    sn_arena_free(scratch);
    return status;
}

/* ---- files that are something else ---- */

static bool begins_with(const Mapping *file, const char *bytes, size_t length) {
    return file->size >= length && memcmp(file->bytes, bytes, length) == 0;
}

/* Eight bytes of a length, then JSON. */
static bool is_safetensors(const Mapping *file) {
    return file->size > 9 && file->bytes[8] == '{' && file->bytes[6] == 0 && file->bytes[7] == 0;
}

static bool is_text(const Mapping *file) {
    enum { LOOKED_AT = 256 };
    size_t count = file->size < LOOKED_AT ? file->size : LOOKED_AT;
    for (size_t i = 0; i < count; i++)
        if (file->bytes[i] == 127 || (file->bytes[i] < ' ' && !memchr("\t\n\r", file->bytes[i], 3)))
            return false;
    return true;
}

static const char *kind_of(const Mapping *file) {
    static const struct {
        const char *bytes, *kind;
    } known[] = {
        {"version https://git-lfs", "a pointer of Git LFS: `git lfs pull` fetches the file itself"},
        {"PK\3\4", "a zip archive, as PyTorch's checkpoints are: torch.onnx.export writes models"},
        {"\x1f\x8b", "compressed by gzip"},
        {"\x93NUMPY", "an .npy file"},
        {"\x89HDF\r\n", "an HDF5 file"},
    };
    if (file->size == 0) return "empty";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (begins_with(file, known[i].bytes, strlen(known[i].bytes))) return known[i].kind;
    if (is_safetensors(file)) return "weights in the safetensors format, without a graph";
    return is_text(file) ? "a text" : NULL;
}

Status sn_file_explain(Status status, const Mapping *file) {
    const char *kind = status ? kind_of(file) : NULL;
    if (!kind) return status;
    Status explained = sn_fail(sn_error_code(status), "%s; it is %s", sn_error_message(status), kind);
    sn_error_free(status);
    return explained;
}
