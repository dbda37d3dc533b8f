/* For tests of the device `cuda`: it is on the emulated libraries (see emulator/README.md), or with
 * SINTER_TEST_GPU=1 on the GPU that there is, where the tests of planted faults are left out. */
#ifndef SN_CUDA_FIXTURE_H
#define SN_CUDA_FIXTURE_H

#include "cuda/cuda.h"
#include "eval.h"
#include "execute_fixture.h"

static inline bool on_gpu(void) {
    const char *told = getenv("SINTER_TEST_GPU");
    return told && strcmp(told, "1") == 0;
}

static inline void plant(const char *what) {
    setenv("SINTER_EMULATOR", what, 1);
}

static inline int use_libraries(void **state) {
    if (!on_gpu()) {
        setenv("SINTER_LIBCUDA", SN_EMULATED "/libemulated_cuda.so", 1);
        setenv("SINTER_LIBNVRTC", SN_EMULATED "/libemulated_nvrtc.so", 1);
        setenv("SINTER_LIBCUBLASLT", SN_EMULATED "/libemulated_cublaslt.so", 1);
    }
    return make_cache(state);
}

static inline sn_Program *open_device(const char *cache) {
    sn_Program *program;
    assert_ok(sn_program_open(sn_arena_new(), "cuda", 2, cache, &program));
    return program;
}

/* Every output of the last run, beside the interpreter's on the same graph. */
static inline void compare_with(const Graph *graph, const sn_Context *context, int rank,
                                const int64_t *extent, const float *x) {
    Arena *arena = sn_arena_new();
    Array *input = sn_array_new(arena, SN_F32, rank, extent), *expected[2];
    for (int64_t i = 0; i < input->count; i++) input->f[i] = x[i];
    const Array *inputs[] = {input};
    assert_ok(sn_eval_graph(arena, graph, false, inputs, expected));
    for (int k = 0; k < graph->body->result.count; k++) {
        sn_Tensor got;
        assert_ok(sn_context_output(context, k, &got));
        for (int64_t i = 0; i < expected[k]->count; i++) {
            double a = ((const float *)got.data)[i], b = expected[k]->f[i];
            if (!((a - b) * (a - b) <= 1e-9 * (1 + b * b)))
                fail_msg("output %d, element %d: %g is not %g", k, (int)i, a, b);
        }
    }
    sn_arena_free(arena);
}

#endif
