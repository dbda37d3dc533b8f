/* A fuzz target for ONNX files: whatever the bytes, loading ends with a graph that verifies or with a
 * message.
 *
 *   clang -g -fsanitize=fuzzer,address,undefined … tests/fuzz_onnx.c <the sources of base, ir and frontend>
 *
 * test_frontend_mutations.c feeds it changed models in every test run. */
#include "load.h"
#include "verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Status load_bytes(Arena *arena, const uint8_t *data, size_t size) {
    int file = memfd_create("fuzz", MFD_CLOEXEC);
    if (file < 0 || write(file, data, size) != (ssize_t)size) abort();
    const char *path = sn_arena_printf(arena, "/proc/self/fd/%d", file);
    Graph *graph;
    ModelInfo info;
    LoadOptions options = {.max_nodes = 10000};
    Status status = sn_load_onnx(arena, path, &options, &graph, &info);
    if (!status) status = sn_verify(graph);
    close(file);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *arena = sn_arena_new();
    if (!arena) return 0;
    jmp_buf guard;
    sn_arena_guard(arena, &guard);
    sn_arena_limit(arena, (size_t)1 << 30);
    Status status = NULL;
    if (!setjmp(guard)) {
        status = load_bytes(arena, data, size);
        if (sn_error_code(status) == SN_INTERNAL) {
            fprintf(stderr, "%s\n", sn_error_message(status));
            abort();
        }
    }
    sn_error_free(status);
    sn_arena_free(arena);
    return 0;
}
