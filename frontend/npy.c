/* NumPy's array files: magic, version, a header that is a Python literal, the elements. */
#include "tensor.h"

#include "number.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

typedef struct NpyType {
    const char *descr; /* without the byte order */
    DType dtype;
} NpyType;

static const NpyType types[] = {
    {"b1", SN_BOOL}, {"u1", SN_U8},  {"i1", SN_I8},  {"u2", SN_U16}, {"i2", SN_I16}, {"u4", SN_U32},
    {"i4", SN_I32},  {"u8", SN_U64}, {"i8", SN_I64}, {"f2", SN_F16}, {"f4", SN_F32}, {"f8", SN_F64},
};

enum { TYPE_COUNT = sizeof types / sizeof types[0], HEADER_MAX = 1 << 16 };

/* What follows `key` and its colon in the header, or NULL. */
static const char *value_of(const char *header, const char *key) {
    const char *at = strstr(header, key);
    if (!at) return NULL;
    at += strlen(key);
    while (isspace((unsigned char)*at)) at++;
    if (*at++ != ':') return NULL;
    while (isspace((unsigned char)*at)) at++;
    return at;
}

static Status parse_descr(const char *header, DType *out) {
    const char *at = value_of(header, "'descr'");
    if (!at || *at != '\'') return sn_fail(SN_INVALID, "an .npy header without a simple descr");
    at++;
    for (int i = 0; i < TYPE_COUNT; i++) {
        bool one_byte = types[i].descr[1] == '1';
        if (!*at || strncmp(at + 1, types[i].descr, 2) != 0 || at[3] != '\'') continue;
        if (*at != '<' && !(one_byte && (*at == '|' || *at == '='))) break;
        *out = types[i].dtype;
        return NULL;
    }
    return sn_fail(SN_UNSUPPORTED, "unsupported: .npy files of this descr: '%.4s'", at);
}

static Status parse_shape(const char *header, int *rank, int64_t *extent) {
    const char *at = value_of(header, "'shape'");
    if (!at || *at != '(') return sn_fail(SN_INVALID, "an .npy header without a shape");
    at++;
    *rank = 0;
    while (true) {
        while (isspace((unsigned char)*at)) at++;
        if (*at == ')') return NULL;
        if (*rank == SN_MAX_RANK)
            return sn_fail(SN_UNSUPPORTED, "unsupported: an .npy of rank above %d", SN_MAX_RANK);
        if (!isdigit((unsigned char)*at)) return sn_fail(SN_INVALID, "an .npy header with a broken shape");
        int64_t value = 0;
        for (; isdigit((unsigned char)*at); at++)
            if (!sn_mul_i64(value, 10, &value) || !sn_add_i64(value, *at - '0', &value))
                return sn_fail(SN_INVALID, "an .npy extent beyond 64 bits");
        extent[(*rank)++] = value;
        while (isspace((unsigned char)*at)) at++;
        if (*at == ',')
            at++;
        else if (*at != ')')
            return sn_fail(SN_INVALID, "an .npy header with a broken shape");
    }
}

/* The header's text and where the elements begin. */
static Status find_header(Arena *arena, const uint8_t *bytes, size_t size, const char **header,
                          size_t *data) {
    if (size < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0) return sn_fail(SN_INVALID, "not an .npy file");
    int version = bytes[6];
    if (version < 1 || version > 3) return sn_fail(SN_UNSUPPORTED, "unsupported: .npy version %d", version);
    size_t before = version == 1 ? 10 : 12, length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    if (size < before) return sn_fail(SN_INVALID, "a truncated .npy file");
    if (version > 1) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (length > HEADER_MAX || length > size - before) return sn_fail(SN_INVALID, "a truncated .npy header");
    *header = sn_arena_printf(arena, "%.*s", (int)length, (const char *)bytes + before);
    *data = before + length;
    return NULL;
}

/* `columns`: whether the first index is the one that runs fastest. */
static Status read_view(Arena *arena, const uint8_t *bytes, size_t size, Tensor *out, bool *columns) {
    const char *header = NULL;
    size_t data = 0;
    TRY(find_header(arena, bytes, size, &header, &data));
    int64_t *extent = SN_ARRAY(arena, int64_t, SN_MAX_RANK), count = 1, need;
    *out = (Tensor){.dtype = SN_F32, .extent = extent};
    TRY(parse_descr(header, &out->dtype));
    TRY(parse_shape(header, &out->rank, extent));
    const char *order = value_of(header, "'fortran_order'");
    bool fits = true, empty = false;
    for (int k = 0; k < out->rank; k++) {
        empty = empty || extent[k] == 0;
        fits = fits && sn_mul_i64(count, extent[k], &count);
    }
    if (empty) count = 0, fits = true;
    if (!fits || !sn_mul_i64(count, sn_dtype_bytes(out->dtype), &need) || (uint64_t)need != size - data)
        return sn_fail(SN_INVALID, "an .npy file whose size is not its shape's");
    if (!order) return sn_fail(SN_INVALID, "an .npy header without fortran_order");
    *columns = strncmp(order, "False", 5) != 0 && out->rank > 1;
    out->count = count;
    out->bytes = bytes + data;
    for (int64_t i = 0; out->dtype == SN_BOOL && i < count; i++)
        if (bytes[data + (size_t)i] > 1) return sn_fail(SN_INVALID, "a bool that is neither 0 nor 1");
    return NULL;
}

Status sn_npy_view(Arena *arena, const uint8_t *bytes, size_t size, Tensor *out) {
    bool columns = false;
    TRY(read_view(arena, bytes, size, out, &columns));
    if (!columns) return NULL;
    return sn_fail(SN_UNSUPPORTED, "unsupported here: an .npy file in column-major order, as NumPy writes a "
                                   "transposed array; save numpy.ascontiguousarray of it");
}

/* Elements in the order of the file, each to its place in row-major order: the first index runs fastest. */
static void copy_columns(const Tensor *view, char *to) {
    int64_t size = sn_dtype_bytes(view->dtype), index[SN_MAX_RANK] = {0}, stride[SN_MAX_RANK], place = 0;
    int rank = view->rank;
    stride[rank - 1] = 1;
    for (int k = rank - 1; k > 0; k--) stride[k - 1] = stride[k] * view->extent[k];
    for (int64_t i = 0; i < view->count; i++) {
        memcpy(to + place * size, (const char *)view->bytes + i * size, (size_t)size);
        for (int k = 0; k < rank; k++) {
            place += stride[k];
            if (++index[k] < view->extent[k]) break;
            place -= stride[k] * view->extent[k];
            index[k] = 0;
        }
    }
}

Status sn_npy_parse(Arena *arena, const uint8_t *bytes, size_t size, Tensor **out) {
    Tensor view;
    bool columns = false;
    TRY(read_view(arena, bytes, size, &view, &columns));
    void *copy;
    *out = sn_tensor_new(arena, view.dtype, view.rank, view.extent, &copy);
    if (columns && view.count > 0)
        copy_columns(&view, copy);
    else if (view.count > 0)
        memcpy(copy, view.bytes, (size_t)(view.count * sn_dtype_bytes(view.dtype)));
    return NULL;
}

void sn_npy_header(Text *text, DType dtype, int rank, const int64_t *extent) {
    const char *descr = "f4";
    for (int i = 0; i < TYPE_COUNT; i++)
        if (types[i].dtype == dtype) descr = types[i].descr;
    Text header = sn_text(text->arena);
    sn_text_add(&header, "{'descr': '%c%s', 'fortran_order': False, 'shape': (", descr[1] == '1' ? '|' : '<',
                descr);
    for (int k = 0; k < rank; k++) sn_text_add(&header, "%lld, ", (long long)extent[k]);
    sn_text_add(&header, "), }");
    /* The elements begin at a multiple of 64, after a newline. */
    while ((10 + header.length + 1) % 64 != 0) sn_text_add(&header, " ");
    sn_text_add(&header, "\n");
    char length[2] = {(char)(header.length & 0xff), (char)(header.length >> 8)};
    sn_text_put(text, "\x93NUMPY\x01\x00", 8);
    sn_text_put(text, length, 2);
    sn_text_put(text, header.at, header.length);
}
