#include "new_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ATTEMPTS = 100 };

static Status failed(const NewFile *file) {
    return sn_fail(SN_IO, "%s cannot be written: %s", file->path, strerror(errno));
}

/* With the permissions that files of this process usually have. */
static int make_beside(Arena *arena, const char *path, const char **out) {
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        *out = sn_arena_printf(arena, "%s.%ld-%d", path, (long)getpid(), attempt);
        int file = open(*out, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file >= 0 || errno != EEXIST) return file;
    }
    return -1;
}

Status sn_new_file_begin(Arena *arena, const char *path, NewFile *out) {
    struct stat info;
    *out = (NewFile){.path = sn_arena_string(arena, path), .file = -1};
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return sn_fail(SN_IO, "%s is not a regular file", path);
    out->file = make_beside(arena, path, &out->temporary);
    return out->file < 0 ? failed(out) : NULL;
}

Status sn_new_file_put_at(const NewFile *file, uint64_t offset, const void *bytes, size_t size) {
    const char *at = bytes;
    while (size) {
        ssize_t written = pwrite(file->file, at, size, (off_t)offset);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return failed(file);
        at += written;
        offset += (uint64_t)written;
        size -= (size_t)written;
    }
    return NULL;
}

Status sn_new_file_put(NewFile *file, const void *bytes, size_t size) {
    TRY(sn_new_file_put_at(file, file->length, bytes, size));
    file->length += size;
    return NULL;
}

/* The name is only safe on disk when the folder is; a folder that cannot be opened for that is left alone. */
static void sync_folder(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof folder) return;
    memcpy(folder, path, length);
    folder[length] = 0;
    int file = open(!slash ? "." : length ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) return;
    fsync(file);
    close(file);
}

Status sn_new_file_end(NewFile *file, Status status) {
    if (file->file < 0) return status;
    if (!status && fsync(file->file) != 0) status = failed(file);
    if (close(file->file) != 0 && !status) status = failed(file);
    if (!status && rename(file->temporary, file->path) != 0) status = failed(file);
    if (status)
        unlink(file->temporary);
    else
        sync_folder(file->path);
    file->file = -1;
    return status;
}
