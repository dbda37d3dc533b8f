/* Tensors to files. */
#include "load.h"

#include "tensor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK = 1 << 16 /* elements written at a time */ };

/* A protobuf number, and a field's key with it. */
static void put_varint(Text *text, uint64_t value) {
    for (; value >= 0x80; value >>= 7) sn_text_put(text, (const char[]){(char)(value | 0x80)}, 1);
    sn_text_put(text, (const char[]){(char)value}, 1);
}

static void put_key(Text *text, int field, int wire) {
    put_varint(text, (uint64_t)field << 3 | (uint64_t)wire);
}

/* Everything of a TensorProto up to the bytes of raw_data (fields: onnx.proto). */
static void proto_header(Text *text, const Tensor *tensor, const char *name) {
    for (int k = 0; k < tensor->rank; k++) {
        put_key(text, 1, 0);
        put_varint(text, (uint64_t)tensor->extent[k]);
    }
    put_key(text, 2, 0);
    put_varint(text, (uint64_t)sn_dtype_onnx(tensor->dtype));
    if (name && *name) {
        put_key(text, 8, 2);
        put_varint(text, strlen(name));
        sn_text_put(text, name, strlen(name));
    }
    put_key(text, 9, 2);
    put_varint(text, (uint64_t)tensor->count * (uint64_t)sn_dtype_bytes(tensor->dtype));
}

/* The elements; NumPy has no bfloat16, whose values are written as floats. */
static bool write_elements(FILE *file, char *chunk, const Tensor *tensor, bool widen) {
    size_t width = (size_t)sn_dtype_bytes(tensor->dtype);
    for (int64_t begin = 0; begin < tensor->count; begin += CHUNK) {
        int64_t end = begin + CHUNK < tensor->count ? begin + CHUNK : tensor->count;
        size_t count = (size_t)(end - begin), size = widen ? sizeof(float) : width;
        if (widen)
            for (int64_t i = begin; i < end; i++)
                sn_element_set(SN_F32, chunk, i - begin, sn_tensor_get(tensor, i));
        else
            sn_tensor_copy(tensor, begin, end, chunk);
        if (fwrite(chunk, size, count, file) != count) return false;
    }
    return true;
}

static Status save(Arena *scratch, const char *path, const Tensor *tensor, const char *name) {
    size_t length = strlen(path);
    bool proto = length >= 3 && strcmp(path + length - 3, ".pb") == 0;
    bool widen = !proto && tensor->dtype == SN_BF16;
    Text header = sn_text(scratch);
    if (proto)
        proto_header(&header, tensor, name);
    else
        sn_npy_header(&header, widen ? SN_F32 : tensor->dtype, tensor->rank, tensor->extent);
    char *chunk = sn_arena_array(scratch, CHUNK, 8);
    FILE *file = fopen(path, "wb");
    if (!file) return sn_fail(SN_IO, "%s: %s", path, strerror(errno));
    bool good = fwrite(header.at, 1, header.length, file) == header.length;
    good = good && write_elements(file, chunk, tensor, widen);
    int error = errno;
    if (fclose(file) != 0 && good) {
        good = false;
        error = errno;
    }
    return good ? NULL : sn_fail(SN_IO, "%s: %s", path, strerror(error));
}

Status sn_save_tensor(const char *path, const Tensor *tensor, const char *name) {
    Arena *scratch = sn_arena_new();
    if (!scratch) return sn_fail(SN_NO_MEMORY, "out of memory");
    jmp_buf guard;
    sn_arena_guard(scratch, &guard);
    Status status =
        setjmp(guard) ? sn_fail(SN_NO_MEMORY, "out of memory") : save(scratch, path, tensor, name);
    sn_arena_free(scratch);
    return status;
}
