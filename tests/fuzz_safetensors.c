/* A fuzz target for safetensors files: whatever the bytes, reading ends with tensors whose every byte can be
 * read, or with a message. */
#include "safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Status read_bytes(Arena *arena, const uint8_t *data, size_t size, double *sum) {
    int file = memfd_create("fuzz", MFD_CLOEXEC);
    if (file < 0 || write(file, data, size) != (ssize_t)size) abort();
    SafeTensors read;
    Status status = sn_safetensors_read(arena, sn_arena_printf(arena, "/proc/self/fd/%d", file), &read);
    for (int i = 0; !status && i < read.count; i++)
        for (int64_t k = 0; k < read.tensor[i].tensor->count; k++)
            *sum += sn_tensor_get(read.tensor[i].tensor, k);
    close(file);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *arena = sn_arena_new();
    if (!arena) return 0;
    jmp_buf guard;
    double sum = 0;
    sn_arena_guard(arena, &guard);
    sn_arena_limit(arena, (size_t)1 << 28);
    Status status = NULL;
    if (!setjmp(guard)) status = read_bytes(arena, data, size, &sum);
    if (sn_error_code(status) == SN_INTERNAL) abort();
    sn_error_free(status);
    sn_arena_free(arena);
    return sum == 0.125 ? -1 : 0; /* so that the sum is computed */
}
