#include "tensor_write.h"

enum { CHUNK_BYTES = 1 << 18 };

void sn_tensor_write_varint(Text *text, uint64_t value) {
    for (; value >= 0x80; value >>= 7) sn_text_put(text, (const char[]){(char)(value | 0x80)}, 1);
    sn_text_put(text, (const char[]){(char)value}, 1);
}

void sn_tensor_write_key(Text *text, int field, int wire) {
    sn_tensor_write_varint(text, (uint64_t)field << 3 | (uint64_t)wire);
}

static void put_string(Text *text, int field, const char *string) {
    sn_tensor_write_key(text, field, 2);
    sn_tensor_write_varint(text, strlen(string));
    sn_text_put(text, string, strlen(string));
}

/* dims, data_type and name (fields: onnx.proto). */
static void put_type(Text *text, const Tensor *tensor, const char *name) {
    for (int k = 0; k < tensor->rank; k++) {
        sn_tensor_write_key(text, 1, 0);
        sn_tensor_write_varint(text, (uint64_t)tensor->extent[k]);
    }
    sn_tensor_write_key(text, 2, 0);
    sn_tensor_write_varint(text, (uint64_t)sn_dtype_onnx(tensor->dtype));
    if (name && *name) put_string(text, 8, name);
}

void sn_tensor_write_header(Text *text, const Tensor *tensor, const char *name) {
    put_type(text, tensor, name);
    sn_tensor_write_key(text, 9, 2);
    sn_tensor_write_varint(text, (uint64_t)tensor->count * (uint64_t)sn_dtype_bytes(tensor->dtype));
}

static void put_entry(Text *text, const char *key, const char *value) {
    Text entry = sn_text(text->arena);
    put_string(&entry, 1, key);
    put_string(&entry, 2, value);
    sn_tensor_write_key(text, 13, 2);
    sn_tensor_write_varint(text, entry.length);
    sn_text_put(text, sn_text_string(&entry), entry.length);
}

void sn_tensor_write_outside(Text *text, const Tensor *tensor, const char *name, const char *location,
                             int64_t offset) {
    int64_t bytes = tensor->count * sn_dtype_bytes(tensor->dtype);
    put_type(text, tensor, name);
    put_entry(text, "location", location);
    put_entry(text, "offset", sn_arena_printf(text->arena, "%lld", (long long)offset));
    put_entry(text, "length", sn_arena_printf(text->arena, "%lld", (long long)bytes));
    sn_tensor_write_key(text, 14, 0);
    sn_tensor_write_varint(text, 1);
}

Status sn_tensor_write_elements(NewFile *file, const Tensor *tensor) {
    int64_t width = sn_dtype_bytes(tensor->dtype), step = CHUNK_BYTES / width;
    if (tensor->payload == SN_PAYLOAD_BYTES)
        return sn_new_file_put(file, tensor->bytes, (size_t)(tensor->count * width));
    char chunk[CHUNK_BYTES];
    for (int64_t begin = 0; begin < tensor->count; begin += step) {
        int64_t end = begin + step < tensor->count ? begin + step : tensor->count;
        sn_tensor_copy(tensor, begin, end, chunk);
        TRY(sn_new_file_put(file, chunk, (size_t)((end - begin) * width)));
    }
    return NULL;
}

Status sn_tensor_write_floats(NewFile *file, const Tensor *tensor) {
    float chunk[CHUNK_BYTES / sizeof(float)];
    int64_t step = CHUNK_BYTES / (int64_t)sizeof *chunk;
    for (int64_t begin = 0; begin < tensor->count; begin += step) {
        int64_t end = begin + step < tensor->count ? begin + step : tensor->count;
        for (int64_t i = begin; i < end; i++) chunk[i - begin] = (float)sn_tensor_get(tensor, i);
        TRY(sn_new_file_put(file, chunk, (size_t)(end - begin) * sizeof *chunk));
    }
    return NULL;
}
