/* Files of a model: the model itself, and what lies below its folder. */
#ifndef SN_FILES_H
#define SN_FILES_H

#include "arena.h"
#include "status.h"
#include "text.h"

/* Read-only bytes of a whole file; `bytes` is valid (and not NULL) for an empty file too. */
typedef struct Mapping {
    const uint8_t *bytes;
    size_t size;
} Mapping;

/* Maps a regular file. The mapping ends with `owner`. SN_IO when it cannot be opened or is no regular file.
 */
Status sn_file_map(Arena *owner, const char *path, Mapping *out);

/* The folder that holds `path`, as a descriptor that is closed with `owner`. */
Status sn_file_folder(Arena *owner, const char *path, int *folder);

/* Maps `path`, which a model names, relative to `folder`: a regular file strictly below it, reached without
 * symbolic links, "..", an absolute path or another mount's magic links, and with no second hard link (which
 * could be a file from elsewhere). SN_INVALID for a path that leaves the folder, SN_IO otherwise. */
Status sn_file_map_below(Arena *owner, int folder, const char *path, Mapping *out);

/* Adds to a failure to read `file` as a model, a tensor or weights what the file seems to be instead, by its first
 * bytes, where that is known: a pointer of Git LFS, a text, an archive. NULL stays NULL. */
Status sn_file_explain(Status status, const Mapping *file);

/* How the path is opened: by the kernel's own rule (openat2; *descriptor is -1 with errno ENOSYS where it has
 * none), and component by component where it has not. Both give -1 and errno. Apart for the sake of tests. */
int sn_file_open_resolved(int folder, const char *path);
int sn_file_open_stepwise(int folder, const char *path);

#endif
