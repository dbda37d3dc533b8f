#include "tuning_file.h"
#include <errno.h>
#include <stdio.h>

enum { BYTES_MOST = 1 << 20 };

static Status read_text(Arena *arena, const char *path, const char **out) {
    FILE *file = fopen(path, "re");
    if (!file) return sn_fail(SN_IO, "%s cannot be read: %s", path, strerror(errno));
    char *text = sn_arena_alloc(arena, BYTES_MOST + 1);
    size_t size = fread(text, 1, BYTES_MOST, file);
    bool whole = size < BYTES_MOST || fgetc(file) == EOF, good = !ferror(file);
    fclose(file);
    if (!good) return sn_fail(SN_IO, "%s cannot be read", path);
    if (!whole || strlen(text) != size) return sn_fail(SN_INVALID, "%s is no tuning file", path);
    *out = text;
    return NULL;
}

Status sn_tuning_read(Arena *arena, const char *path, Tuning **out) {
    Arena *scratch = sn_arena_child(arena);
    const char *text = NULL;
    Status status = read_text(scratch, path, &text);
    if (!status) status = sn_tuning_parse(arena, path, text, out);
    sn_arena_free(scratch);
    return status;
}
