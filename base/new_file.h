/* Files that appear under their name when they are complete, so that a crash or a full disk leaves what was
 * there before. */
#ifndef SN_NEW_FILE_H
#define SN_NEW_FILE_H

#include "arena.h"
#include "status.h"
#include <stdint.h>

/* A file in the making: it lies beside `path`, where links have led, under a name of its own. */
typedef struct NewFile {
    const char *path, *temporary;
    int file;        /* descriptor */
    uint64_t length; /* where sn_new_file_put goes on */
} NewFile;

/* Begins a file that sn_new_file_end ends, whatever happens between, and removes what processes that were killed have left of
 * it in the making. Symbolic links are followed and stay; the file has the permissions of the one that it replaces. The strings
 * lie in `arena`. SN_IO when it cannot be made, or when `path` is there and is no regular file (a device, a pipe, a link as
 * /dev/stdout is). */
Status sn_new_file_begin(Arena *arena, const char *path, NewFile *out);

/* Appends, or writes at an offset. SN_IO names the path. */
Status sn_new_file_put(NewFile *file, const void *bytes, size_t size);
Status sn_new_file_put_at(const NewFile *file, uint64_t offset, const void *bytes, size_t size);

/* With a `status` of NULL the file is synchronised and takes its place; otherwise it is removed. Returns the
 * status, or what went wrong here. */
Status sn_new_file_end(NewFile *file, Status status);

#endif
