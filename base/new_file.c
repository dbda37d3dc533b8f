#include "new_file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ATTEMPTS = 100, LINKS = 40, PATH_BYTES = 4096 };

/* Between the path and the numbers of a temporary's name: nothing that a user's file would be called. */
static const char mark[] = ".sinter-new.";

static Status failed(const NewFile *file) {
    return sn_fail(SN_IO, "%s cannot be written: %s", file->path, strerror(errno));
}

/* The folder that the path is in; "" where it is too long. */
static void folder_of(const char *path, char folder[PATH_BYTES]) {
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    bool root = slash == path;
    snprintf(folder, PATH_BYTES, "%.*s", (int)(length < PATH_BYTES ? length : 0), path);
    if (!slash || root) strcpy(folder, root ? "/" : ".");
}

/* ---- what was left of processes that were killed ----
 *
 * Whoever writes a temporary holds its lock until it has its name, and a process that ends leaves all locks: one whose
 * lock can be had is nobody's. Where a file system has no locks, none can be had. */

static bool is_temporary(const char *name, const char *base) {
    static const char digits[] = "0123456789";
    size_t length = strlen(base);
    if (strncmp(name, base, length) != 0 || strncmp(name + length, mark, sizeof mark - 1) != 0) return false;
    const char *number = name + length + sizeof mark - 1;
    size_t process = strspn(number, digits), attempt;
    if (!process || number[process] != '-') return false;
    attempt = strspn(number + process + 1, digits);
    return attempt && !number[process + 1 + attempt];
}

static void remove_stale(int folder, const char *name) {
    struct stat held, there;
    int file = openat(folder, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) return;
    /* The name may be another file's by now. */
    if (fstat(file, &held) == 0 && S_ISREG(held.st_mode) && held.st_uid == geteuid() &&
        flock(file, LOCK_EX | LOCK_NB) == 0 && fstatat(folder, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
        there.st_dev == held.st_dev && there.st_ino == held.st_ino)
        unlinkat(folder, name, 0);
    close(file);
}

static void sweep(const char *path) {
    char name[PATH_BYTES];
    const char *slash = strrchr(path, '/');
    folder_of(path, name);
    DIR *folder = opendir(name);
    if (!folder) return;
    for (const struct dirent *entry; (entry = readdir(folder));)
        if (is_temporary(entry->d_name, slash ? slash + 1 : path)) remove_stale(dirfd(folder), entry->d_name);
    closedir(folder);
}

/* ---- files in the making ---- */

/* False: somebody swept it away before it was locked. */
static bool hold(int file) {
    struct stat info;
    flock(file, LOCK_EX);
    return fstat(file, &info) != 0 || info.st_nlink > 0;
}

/* With the permissions that files of this process usually have. */
static int make_beside(Arena *arena, const char *path, const char **out) {
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        *out = sn_arena_printf(arena, "%s%s%ld-%d", path, mark, (long)getpid(), attempt);
        int file = open(*out, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file >= 0 && hold(file)) return file;
        if (file < 0 && errno != EEXIST) return file;
        if (file >= 0) close(file);
    }
    return -1;
}

/* ---- which file a path names ---- */

/* Whether a link says what a process has open, as /dev/stdout does: a file that took its place would be in its way ever after. */
static bool is_open_file(const char *target) {
    static const char names[] = "/proc/";
    return strncmp(target, names, sizeof names - 1) == 0;
}

/* Follows symbolic links, which stay as they are, to the file, which need not be there. */
static Status follow(Arena *arena, const char **path) {
    for (int links = 0; links < LINKS; links++) {
        char target[PATH_BYTES], folder[PATH_BYTES];
        ssize_t length = readlink(*path, target, sizeof target - 1);
        if (length < 0) return NULL;
        target[length] = 0;
        if (is_open_file(target)) return sn_fail(SN_IO, "%s is not a regular file", *path);
        folder_of(*path, folder);
        *path =
            *target == '/' ? sn_arena_string(arena, target) : sn_arena_printf(arena, "%s/%s", folder, target);
    }
    return sn_fail(SN_IO, "%s cannot be written: %s", *path, strerror(ELOOP));
}

Status sn_new_file_begin(Arena *arena, const char *path, NewFile *out) {
    struct stat info;
    *out = (NewFile){.path = sn_arena_string(arena, path), .file = -1};
    TRY(follow(arena, &out->path));
    bool there = stat(out->path, &info) == 0;
    if (there && !S_ISREG(info.st_mode)) return sn_fail(SN_IO, "%s is not a regular file", path);
    sweep(out->path);
    out->file = make_beside(arena, out->path, &out->temporary);
    if (out->file < 0) return failed(out);
    if (!there || fchmod(out->file, info.st_mode & 0777) == 0) return NULL;
    return sn_new_file_end(out, failed(out));
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
    char folder[PATH_BYTES];
    folder_of(path, folder);
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) return;
    fsync(file);
    close(file);
}

Status sn_new_file_end(NewFile *file, Status status) {
    if (file->file < 0) return status;
    if (!status && fsync(file->file) != 0) status = failed(file);
    if (!status && rename(file->temporary, file->path) != 0) status = failed(file);
    if (status)
        unlink(file->temporary);
    else
        sync_folder(file->path);
    close(file->file); /* synchronised before; the lock was needed until the name was right */
    file->file = -1;
    return status;
}
