#include "tokens.h"
#include "files.h"
#include "load.h"
#include "number.h"

/* ---- files ---- */

static bool ends_with(const char *path, const char *suffix) {
    size_t length = strlen(path), tail = strlen(suffix);
    return length >= tail && strcmp(path + length - tail, suffix) == 0;
}

static Status id_type(const TokenRequest *request, DType *out) {
    int bytes = request->bytes;
    if (!bytes) bytes = request->vocabulary > 0 && request->vocabulary <= 1 << 16 ? 2 : 4;
    *out = bytes == 1 ? SN_U8 : bytes == 2 ? SN_U16 : SN_U32;
    if (bytes == 1 || bytes == 2 || bytes == 4) return NULL;
    return sn_fail(SN_INVALID, "ids of %d bytes; there are 1, 2 and 4", bytes);
}

/* Nothing but ids, to the end of the file. */
static Status map_plain(Arena *arena, const char *path, DType dtype, Tensor *out) {
    Mapping file;
    TRY(sn_file_map(arena, path, &file));
    int64_t *extent = SN_ARRAY(arena, int64_t, 1), width = sn_dtype_bytes(dtype);
    if ((int64_t)file.size % width)
        return sn_fail(SN_INVALID, "%s: %zu bytes are no number of ids of %d bytes", path, file.size,
                       (int)width);
    *extent = (int64_t)file.size / width;
    *out = (Tensor){.dtype = dtype, .rank = 1, .extent = extent, .count = *extent, .bytes = file.bytes};
    return NULL;
}

static Status map_npy(Arena *arena, const char *path, Tensor *out) {
    TRY(sn_map_npy(arena, path, out));
    if (out->rank == 1 && sn_dtype_is_int(out->dtype)) return NULL;
    return sn_fail(SN_INVALID, "%s: ids are integers along one axis, not %s of rank %d", path,
                   sn_dtype_name(out->dtype), out->rank);
}

/* Ids of which every bit pattern is in the vocabulary need no look. */
static bool always_inside(const Tensor *ids, int64_t vocabulary) {
    int bits = 8 * sn_dtype_bytes(ids->dtype);
    bool natural = !sn_dtype_is_signed(ids->dtype);
    return natural && bits < 63 && (vocabulary <= 0 || (int64_t)1 << bits <= vocabulary);
}

static Status check_ids(const Tokens *tokens, int64_t vocabulary) {
    const Tensor *ids = &tokens->ids;
    if (always_inside(ids, vocabulary)) return NULL;
    int64_t most = vocabulary > 0 ? vocabulary - 1 : INT64_MAX;
    for (int64_t i = 0; i < ids->count; i++) {
        int64_t id = sn_tensor_get_int(ids, i);
        if (id < 0 || id > most)
            return sn_fail(SN_INVALID, "%s: id %lld, at position %lld, is out of the vocabulary of %lld",
                           tokens->path, (long long)id, (long long)i, (long long)vocabulary);
    }
    return NULL;
}

Status sn_tokens_open(Arena *arena, const char *path, const TokenRequest *request, Tokens *out) {
    *out = (Tokens){.path = sn_arena_string(arena, path)};
    DType dtype;
    TRY(id_type(request, &dtype));
    if (request->text || ends_with(path, ".txt"))
        TRY(map_plain(arena, path, SN_U8, &out->ids));
    else if (ends_with(path, ".npy"))
        TRY(map_npy(arena, path, &out->ids));
    else if (ends_with(path, ".bin"))
        TRY(map_plain(arena, path, dtype, &out->ids));
    else
        return sn_fail(SN_UNSUPPORTED,
                       "%s: tokens are read from .bin, .npy and .txt files; --text takes any file's bytes",
                       path);
    return check_ids(out, request->vocabulary);
}

/* ---- parts ---- */

static Status check_part(const TokenPart *part, const char *what) {
    int64_t count = part->end - part->begin;
    if (count > part->length) return NULL;
    return sn_fail(
        SN_INVALID, "%s: %s has %lld ids, and a window needs %lld (%lld and the label of the last)",
        part->tokens->path, what, (long long)count, (long long)part->length + 1, (long long)part->length);
}

Status sn_tokens_split(const Tokens *tokens, double held_out, int64_t length, TokenPart *train,
                       TokenPart *held) {
    int64_t count = tokens->ids.count, kept = (int64_t)(held_out * (double)count);
    *train = (TokenPart){tokens, 0, count - kept, length};
    *held = (TokenPart){tokens, count - kept, count, length};
    TRY(check_part(train, held_out > 0 ? "the part to train on" : "the file"));
    return held_out > 0 ? check_part(held, "the part that is held out") : NULL;
}

static int64_t starts(const TokenPart *part) {
    return part->end - part->begin - part->length;
}

int64_t sn_tokens_random_start(const TokenPart *part, uint64_t seed, uint64_t index) {
    return part->begin + sn_random_below(seed, index, starts(part));
}

int64_t sn_tokens_even_start(const TokenPart *part, int64_t index, int64_t count) {
    int64_t all = starts(part), whole = all / count, rest = all % count;
    return part->begin + whole * index + rest * index / count;
}

void sn_tokens_window(const TokenPart *part, int64_t start, int64_t at, DType dtype, void *inputs,
                      int64_t *labels) {
    const Tensor *ids = &part->tokens->ids;
    for (int64_t i = 0; i < part->length; i++) {
        sn_element_set_int(dtype, inputs, at + i, sn_tensor_get_int(ids, start + i));
        labels[at + i] = sn_tensor_get_int(ids, start + i + 1);
    }
}
