/* The emulated CUDA libraries, opened, with a kernel and memory of each kind, for tests of these libraries themselves. */
#ifndef SN_EMULATED_CUDA_FIXTURE_H
#define SN_EMULATED_CUDA_FIXTURE_H

#include "cuda/abi.h"

#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* out[i] = in[i] + add, by blocks of 32; fault 3 where in[i] is negative. */
static const char text[] =
    "struct addArgs { void *buffer[2]; long long symbol[2]; int *fault; };\n"
    "extern \"C\" __global__ void __launch_bounds__(64) add(const __grid_constant__ addArgs args) {\n"
    "    __shared__ float kept[64];\n"
    "    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;\n"
    "    if (i >= args.symbol[0]) return;\n"
    "    kept[threadIdx.x] = ((const float *)args.buffer[0])[i];\n"
    "    if (kept[threadIdx.x] < 0) *args.fault = 3;\n"
    "    ((float *)args.buffer[1])[i] = kept[threadIdx.x] + args.symbol[1];\n"
    "}\n";

typedef struct AddArgs {
    CuAddress in, out;
    int64_t count, add;
    int *fault;
} AddArgs;

enum { LOG = 1 << 16, COUNT = 100, BYTES = COUNT * sizeof(float) };

typedef struct Fixture {
    DriverLibrary cu;
    NvrtcLibrary nvrtc;
    LtLibrary lt;
    CuContext context;
    CuStream stream;
    CuModule module;
    CuFunction add;
    CuAddress in, out;
    float *host; /* pinned */
    int *fault;  /* pinned */
} Fixture;

static inline void plant(const char *what) {
    setenv("SINTER_EMULATOR", what, 1);
}

/* ---- the libraries ---- */

static inline void *open_library(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", SN_EMULATED, name);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) fail_msg("%s", dlerror());
    return library;
}

#define FIND(result, name, parameters)                                                                       \
    *(void **)&table->name = dlsym(library, #name);                                                          \
    assert_non_null(table->name);

/* Which the compiler finds when somebody has opened them. */
static inline void open_builtins(const NvrtcLibrary *nvrtc) {
    int major, minor;
    char name[64];
    assert_int_equal(nvrtc->nvrtcVersion(&major, &minor), 0);
    snprintf(name, sizeof name, "libnvrtc-builtins.so.%d.%d", major, minor);
    open_library(name);
}

static inline void open_libraries(Fixture *f) {
    void *library = open_library("libemulated_cuda.so");
    DriverLibrary *cu = &f->cu;
    {
        DriverLibrary *table = cu;
        SN_CUDA_DRIVER(FIND)
    }
    library = open_library("libemulated_nvrtc.so");
    {
        NvrtcLibrary *table = &f->nvrtc;
        SN_CUDA_NVRTC(FIND)
    }
    open_builtins(&f->nvrtc);
    library = open_library("libemulated_cublaslt.so");
    {
        LtLibrary *table = &f->lt;
        SN_CUDA_CUBLASLT(FIND)
    }
}

/* The result of the compiler; with 0, the image in *out (malloc). */
static inline NvrtcResult compile(const Fixture *f, const char *source, const char *architecture, char **out,
                                  char *log) {
    NvrtcProgram program;
    char option[64];
    size_t size = 0;
    snprintf(option, sizeof option, "--gpu-architecture=%s", architecture);
    const char *const options[] = {option, "--std=c++17", "--ptxas-options=-v"};
    assert_int_equal(f->nvrtc.nvrtcCreateProgram(&program, source, "add.cu", 0, NULL, NULL), 0);
    NvrtcResult result = f->nvrtc.nvrtcCompileProgram(program, 3, options);
    assert_int_equal(f->nvrtc.nvrtcGetProgramLogSize(program, &size), 0);
    assert_true(size < LOG);
    assert_int_equal(f->nvrtc.nvrtcGetProgramLog(program, log), 0);
    if (!result) {
        assert_int_equal(f->nvrtc.nvrtcGetCUBINSize(program, &size), 0);
        *out = malloc(size);
        assert_non_null(*out);
        assert_int_equal(f->nvrtc.nvrtcGetCUBIN(program, *out), 0);
    }
    assert_int_equal(f->nvrtc.nvrtcDestroyProgram(&program), 0);
    return result;
}

static inline int setup(void **state) {
    static Fixture fixture;
    Fixture *f = *state = &fixture;
    char *image = NULL, log[LOG];
    plant("");
    open_libraries(f);
    assert_int_equal(f->cu.cuInit(0), 0);
    assert_int_equal(f->cu.cuMemAlloc_v2(&f->in, BYTES), SN_CU_INVALID_CONTEXT);
    assert_int_equal(f->cu.cuDevicePrimaryCtxRetain(&f->context, 0), 0);
    assert_int_equal(f->cu.cuCtxPushCurrent_v2(f->context), 0);
    assert_int_equal(f->cu.cuStreamCreateWithPriority(&f->stream, SN_CU_STREAM_NON_BLOCKING, 0), 0);
    assert_int_equal(compile(f, text, "sm_90a", &image, log), 0);
    assert_non_null(strstr(log, "Compiling entry function 'add' for 'sm_90a'"));
    assert_non_null(strstr(log, "0 bytes spill stores"));
    assert_int_equal(f->cu.cuModuleLoadData(&f->module, image), 0);
    free(image);
    assert_int_equal(f->cu.cuModuleGetFunction(&f->add, f->module, "add"), 0);
    assert_int_equal(f->cu.cuMemAlloc_v2(&f->in, BYTES), 0);
    assert_int_equal(f->cu.cuMemAlloc_v2(&f->out, BYTES), 0);
    assert_int_equal(f->cu.cuMemHostAlloc((void **)&f->host, BYTES, SN_CU_MEMHOSTALLOC_PORTABLE), 0);
    assert_int_equal(f->cu.cuMemHostAlloc((void **)&f->fault, sizeof(int), SN_CU_MEMHOSTALLOC_PORTABLE), 0);
    return 0;
}

/* Every call succeeds, or gives `lost` when the context is. */
static inline void release(const Fixture *f, CuResult lost) {
    assert_int_equal(f->cu.cuMemFree_v2(f->in), lost);
    assert_int_equal(f->cu.cuMemFree_v2(f->out), lost);
    assert_int_equal(f->cu.cuMemFreeHost(f->host), lost);
    assert_int_equal(f->cu.cuMemFreeHost(f->fault), lost);
    assert_int_equal(f->cu.cuModuleUnload(f->module), lost);
    assert_int_equal(f->cu.cuStreamDestroy_v2(f->stream), lost);
    assert_int_equal(f->cu.cuCtxPopCurrent_v2(NULL), 0);
    assert_int_equal(f->cu.cuDevicePrimaryCtxRelease_v2(0), 0);
}

static inline int teardown(void **state) {
    release(*state, 0);
    return 0;
}

static inline int teardown_lost(void **state) {
    Fixture *f = *state;
    plant("");
    release(f, f->cu.cuStreamSynchronize(f->stream));
    return 0;
}

#define FRESH(test)      cmocka_unit_test_setup_teardown(test, setup, teardown)
#define FRESH_LOST(test) cmocka_unit_test_setup_teardown(test, setup, teardown_lost)

#endif
