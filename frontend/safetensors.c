#include "safetensors.h"

#include "files.h"
#include "number.h"
#include "tensor_write.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>

enum {
    LENGTH_BYTES = 8,
    HEADER_MOST = 1 << 24, /* a hundred thousand tensors; parsed JSON takes many times its text */
    ALIGNMENT = 8,
    NAME_MOST = 16, /* of an element type */
};

static const char metadata_key[] = "__metadata__";

/* ---- element types: "F32" is f32, "BOOL" is bool ---- */

static bool dtype_from(const char *text, DType *out) {
    char lower[NAME_MOST];
    size_t length = strlen(text);
    if (length >= sizeof lower) return false;
    for (size_t i = 0; i < length; i++) {
        if (islower((unsigned char)text[i])) return false;
        lower[i] = (char)tolower((unsigned char)text[i]);
    }
    return sn_dtype_from_name(lower, length, out);
}

static const char *dtype_text(Arena *arena, DType dtype) {
    char *text = sn_arena_string(arena, sn_dtype_name(dtype));
    for (char *at = text; *at; at++) *at = (char)toupper((unsigned char)*at);
    return text;
}

/* ---- reading ---- */

typedef struct Extent {
    int64_t begin, end;
} Extent;

typedef struct Reader {
    Arena *arena;
    const uint8_t *data; /* the elements */
    int64_t size;        /* of all of them, in bytes */
    Extent *extent;      /* per tensor: where it lies */
    SafeTensors *out;
} Reader;

static bool read_natural(const json_t *json, int64_t *out) {
    *out = json_is_integer(json) ? json_integer_value(json) : -1;
    return *out >= 0;
}

static Status read_shape(Arena *arena, const json_t *json, Tensor *tensor) {
    size_t rank = json_array_size(json);
    if (!json_is_array(json)) return sn_fail(SN_INVALID, "no \"shape\"");
    if (rank > SN_MAX_RANK)
        return sn_fail(SN_UNSUPPORTED, "unsupported: rank %zu, above %d", rank, SN_MAX_RANK);
    int64_t *extent = SN_ARRAY(arena, int64_t, rank);
    bool empty = false, fits = true;
    tensor->rank = (int)rank;
    tensor->extent = extent;
    tensor->count = 1;
    for (size_t k = 0; k < rank; k++) {
        if (!read_natural(json_array_get(json, k), &extent[k]))
            return sn_fail(SN_INVALID, "axis %zu has no extent", k);
        empty = empty || extent[k] == 0;
        fits = fits && sn_mul_i64(tensor->count, extent[k], &tensor->count);
    }
    if (empty) tensor->count = 0;
    return empty || fits ? NULL : sn_fail(SN_INVALID, "too many elements");
}

static Status read_place(const Reader *reader, const json_t *json, const Tensor *tensor, Extent *out) {
    int64_t need;
    if (json_array_size(json) != 2 || !read_natural(json_array_get(json, 0), &out->begin) ||
        !read_natural(json_array_get(json, 1), &out->end) || out->begin > out->end)
        return sn_fail(SN_INVALID, "no \"data_offsets\" from a beginning to an end");
    if (out->end > reader->size)
        return sn_fail(SN_INVALID, "it ends at byte %lld of %lld", (long long)out->end,
                       (long long)reader->size);
    if (!sn_mul_i64(tensor->count, sn_dtype_bytes(tensor->dtype), &need) || need != out->end - out->begin)
        return sn_fail(SN_INVALID, "%lld bytes are not its shape's", (long long)(out->end - out->begin));
    return NULL;
}

static Status read_tensor(const Reader *reader, const json_t *json, Extent *place, const Tensor **out) {
    Tensor *tensor = SN_NEW(reader->arena, Tensor);
    const char *dtype = json_string_value(json_object_get(json, "dtype"));
    if (!dtype) return sn_fail(SN_INVALID, "no \"dtype\"");
    if (!dtype_from(dtype, &tensor->dtype))
        return sn_fail(SN_UNSUPPORTED, "unsupported: an element type that Sinter has not");
    TRY(read_shape(reader->arena, json_object_get(json, "shape"), tensor));
    TRY(read_place(reader, json_object_get(json, "data_offsets"), tensor, place));
    tensor->bytes = reader->data + place->begin;
    /* A bool is 0 or 1 everywhere inside. */
    for (int64_t i = 0; tensor->dtype == SN_BOOL && i < tensor->count; i++)
        if (((const uint8_t *)tensor->bytes)[i] > 1)
            return sn_fail(SN_INVALID, "a bool that is neither 0 nor 1");
    *out = tensor;
    return NULL;
}

static Status read_texts(const Reader *reader, json_t *json) {
    const char *key;
    json_t *value;
    SafeTensors *out = reader->out;
    if (!json_is_object(json)) return sn_fail(SN_INVALID, "\"%s\" is no object", metadata_key);
    out->text = SN_ARRAY(reader->arena, NamedText, json_object_size(json));
    json_object_foreach(json, key, value) {
        if (!json_is_string(value)) return sn_fail(SN_INVALID, "\"%s\" holds no text", metadata_key);
        out->text[out->text_count++] = (NamedText){sn_arena_string(reader->arena, key),
                                                   sn_arena_string(reader->arena, json_string_value(value))};
    }
    return NULL;
}

static int by_place(const void *a, const void *b) {
    const Extent *left = a, *right = b;
    if (left->begin != right->begin) return left->begin < right->begin ? -1 : 1;
    return (left->end > right->end) - (left->end < right->end);
}

/* Bytes that belong to two tensors, or to none, could hide something. */
static Status check_places(const Reader *reader) {
    int count = reader->out->count;
    int64_t at = 0;
    if (count) qsort(reader->extent, (size_t)count, sizeof *reader->extent, by_place);
    for (int i = 0; i < count; i++) {
        if (reader->extent[i].begin != at)
            return sn_fail(SN_INVALID, "tensors overlap, or leave a gap, at byte %lld", (long long)at);
        at = reader->extent[i].end;
    }
    if (at == reader->size) return NULL;
    return sn_fail(SN_INVALID, "the tensors have %lld bytes, and the file %lld", (long long)at,
                   (long long)reader->size);
}

static Status read_object(Reader *reader, json_t *json) {
    const char *key;
    json_t *value;
    SafeTensors *out = reader->out;
    Map *by_name = sn_map_new(reader->arena);
    out->tensor = SN_ARRAY(reader->arena, NamedTensor, json_object_size(json));
    reader->extent = SN_ARRAY(reader->arena, Extent, json_object_size(json));
    out->by_name = by_name;
    json_object_foreach(json, key, value) {
        if (strcmp(key, metadata_key) == 0) {
            TRY(read_texts(reader, value));
            continue;
        }
        NamedTensor *tensor = &out->tensor[out->count];
        Text name = sn_text(reader->arena);
        sn_text_quote(&name, key, strlen(key));
        tensor->name = sn_arena_string(reader->arena, key);
        TRY(sn_status_prefix(read_tensor(reader, value, &reader->extent[out->count], &tensor->tensor),
                             "tensor %s", sn_text_string(&name)));
        *sn_map_at_string(by_name, key) = (void *)(uintptr_t)tensor->tensor;
        out->count++;
    }
    return check_places(reader);
}

static void release_json(void *json) {
    json_decref(json);
}

static Status read_file(Reader *reader, Arena *scratch, const Mapping *file) {
    uint64_t length = 0;
    if (file->size < LENGTH_BYTES) return sn_fail(SN_INVALID, "too short for a safetensors file");
    for (int i = 0; i < LENGTH_BYTES; i++) length |= (uint64_t)file->bytes[i] << (8 * i);
    if (length > HEADER_MOST || length > file->size - LENGTH_BYTES)
        return sn_fail(
            SN_INVALID,
            "not a safetensors file, or not all of it: %llu bytes, and a header of %llu is announced",
            (unsigned long long)file->size, (unsigned long long)length);
    json_error_t error;
    json_t *json =
        json_loadb((const char *)file->bytes + LENGTH_BYTES, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        return sn_fail(SN_INVALID, "not a safetensors file: its header is no JSON at byte %d",
                       error.position);
    sn_arena_defer(scratch, release_json, json);
    if (!json_is_object(json)) return sn_fail(SN_INVALID, "not a safetensors file: its header is no object");
    reader->data = file->bytes + LENGTH_BYTES + length;
    reader->size = (int64_t)(file->size - LENGTH_BYTES - length);
    return read_object(reader, json);
}

Status sn_safetensors_read(Arena *arena, const char *path, SafeTensors *out) {
    *out = (SafeTensors){0};
    Mapping file;
    TRY(sn_file_map(arena, path, &file));
    Arena *scratch = sn_arena_child(arena);
    Reader reader = {.arena = arena, .out = out};
    Text quoted = sn_text(scratch);
    sn_text_quote(&quoted, path, strlen(path));
    Status status = sn_status_prefix(read_file(&reader, scratch, &file), "%s", sn_text_string(&quoted));
    sn_arena_free(scratch);
    return status;
}

const Tensor *sn_safetensors_tensor(const SafeTensors *file, const char *name) {
    return sn_map_get_string(file->by_name, name);
}

const char *sn_safetensors_text(const SafeTensors *file, const char *name) {
    for (int i = 0; i < file->text_count; i++)
        if (strcmp(file->text[i].name, name) == 0) return file->text[i].text;
    return NULL;
}

/* ---- writing ---- */

typedef struct Place {
    const NamedTensor *tensor;
    const char *dtype;
    int width, order;
} Place;

static int wide_first(const void *a, const void *b) {
    const Place *left = a, *right = b;
    return left->width != right->width ? right->width - left->width : left->order - right->order;
}

static Place *make_order(Arena *arena, int count, const NamedTensor *tensor) {
    Place *place = SN_ARRAY(arena, Place, count);
    for (int i = 0; i < count; i++)
        place[i] = (Place){&tensor[i], dtype_text(arena, tensor[i].tensor->dtype),
                           sn_dtype_bytes(tensor[i].tensor->dtype), i};
    if (count) qsort(place, (size_t)count, sizeof *place, wide_first);
    return place;
}

static json_t *describe(const Place *place, int64_t begin) {
    const Tensor *tensor = place->tensor->tensor;
    int64_t end = begin + tensor->count * place->width;
    json_t *shape = json_array();
    for (int i = 0; i < tensor->rank; i++) json_array_append_new(shape, json_integer(tensor->extent[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", place->dtype, "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)end);
}

/* NULL where memory is short or a name is no UTF-8. Nothing here allocates from an arena, whose exhaustion
 * would lose what the JSON library holds. */
static json_t *make_header(int count, const Place *place, int text_count, const NamedText *text) {
    json_t *header = json_object(), *texts = json_object();
    int64_t at = 0;
    bool good = header && texts;
    for (int i = 0; i < text_count && good; i++)
        good = json_object_set_new(texts, text[i].name, json_string(text[i].text)) == 0;
    if (text_count && good) good = json_object_set(header, metadata_key, texts) == 0;
    json_decref(texts);
    for (int i = 0; i < count && good; i++) {
        good = json_object_set_new(header, place[i].tensor->name, describe(&place[i], at)) == 0;
        at += place[i].tensor->tensor->count * place[i].width;
    }
    if (good) return header;
    json_decref(header);
    return NULL;
}

static Status write_all(NewFile *file, const char *header, int count, const Place *place) {
    static const char spaces[] = "        ";
    size_t length = strlen(header), padding = (size_t)(-length & (ALIGNMENT - 1));
    uint8_t head[LENGTH_BYTES];
    for (int i = 0; i < LENGTH_BYTES; i++) head[i] = (uint8_t)((uint64_t)(length + padding) >> (8 * i));
    TRY(sn_new_file_put(file, head, sizeof head));
    TRY(sn_new_file_put(file, header, length));
    TRY(sn_new_file_put(file, spaces, padding));
    for (int i = 0; i < count; i++) TRY(sn_tensor_write_elements(file, place[i].tensor->tensor));
    return NULL;
}

Status sn_safetensors_write(Arena *arena, const char *path, int count, const NamedTensor *tensor,
                            int text_count, const NamedText *text) {
    Place *place = make_order(arena, count, tensor);
    json_t *json = make_header(count, place, text_count, text);
    char *header = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!header) return sn_fail(SN_INVALID, "%s: a name that is no UTF-8, or no memory", path);
    NewFile file;
    Status status = sn_new_file_begin(arena, path, &file);
    if (!status) status = write_all(&file, header, count, place);
    free(header);
    return sn_new_file_end(&file, status);
}
