/* The emulated CUDA libraries themselves: that work happens when it is waited for, and that what a real driver, compiler or
 * library refuses is refused. */
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

static void plant(const char *what) {
    setenv("SINTER_EMULATOR", what, 1);
}

/* ---- the libraries ---- */

static void *open_library(const char *name) {
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
static void open_builtins(const NvrtcLibrary *nvrtc) {
    int major, minor;
    char name[64];
    assert_int_equal(nvrtc->nvrtcVersion(&major, &minor), 0);
    snprintf(name, sizeof name, "libnvrtc-builtins.so.%d.%d", major, minor);
    open_library(name);
}

static void open_libraries(Fixture *f) {
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
static NvrtcResult compile(const Fixture *f, const char *source, const char *architecture, char **out,
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

static int setup(void **state) {
    static Fixture fixture;
    Fixture *f = *state = &fixture;
    char *image, log[LOG];
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
static void release(const Fixture *f, CuResult lost) {
    assert_int_equal(f->cu.cuMemFree_v2(f->in), lost);
    assert_int_equal(f->cu.cuMemFree_v2(f->out), lost);
    assert_int_equal(f->cu.cuMemFreeHost(f->host), lost);
    assert_int_equal(f->cu.cuMemFreeHost(f->fault), lost);
    assert_int_equal(f->cu.cuModuleUnload(f->module), lost);
    assert_int_equal(f->cu.cuStreamDestroy_v2(f->stream), lost);
    assert_int_equal(f->cu.cuCtxPopCurrent_v2(NULL), 0);
    assert_int_equal(f->cu.cuDevicePrimaryCtxRelease_v2(0), 0);
}

static int teardown(void **state) {
    release(*state, 0);
    return 0;
}

static int teardown_lost(void **state) {
    Fixture *f = *state;
    plant("");
    release(f, f->cu.cuStreamSynchronize(f->stream));
    return 0;
}

/* ---- work ---- */

static AddArgs args_of(const Fixture *f, int64_t add) {
    *f->fault = 0;
    return (AddArgs){f->in, f->out, COUNT, add, f->fault};
}

static CuResult launch(const Fixture *f, AddArgs args, unsigned threads, unsigned shared) {
    size_t size = sizeof args;
    void *extra[] = {SN_CU_LAUNCH_BUFFER_POINTER, &args, SN_CU_LAUNCH_BUFFER_SIZE, &size, SN_CU_LAUNCH_END};
    return f->cu.cuLaunchKernel(f->add, (COUNT + threads - 1) / (threads ? threads : 1), 1, 1, threads, 1, 1,
                                shared, f->stream, NULL, extra);
}

static void upload(const Fixture *f, float first) {
    float values[COUNT];
    for (int i = 0; i < COUNT; i++) values[i] = first + (float)i;
    assert_int_equal(f->cu.cuMemcpyHtoDAsync_v2(f->in, values, BYTES, f->stream), 0);
    memset(values, 0, sizeof values); /* such memory has been read when the call returns */
}

static void assert_out(const Fixture *f, float first) {
    float values[COUNT];
    assert_int_equal(f->cu.cuMemcpyDtoHAsync_v2(values, f->out, BYTES, f->stream), 0);
    for (int i = 0; i < COUNT; i++) assert_true(values[i] == first + (float)i);
}

static void kernels_run(void **state) {
    Fixture *f = *state;
    upload(f, 1);
    assert_int_equal(launch(f, args_of(f, 10), 32, 0), 0);
    assert_out(f, 11);
    assert_int_equal(*f->fault, 0);
    upload(f, -5);
    assert_int_equal(launch(f, args_of(f, 10), 32, 0), 0);
    assert_int_equal(*f->fault, 0); /* nobody has waited */
    assert_int_equal(f->cu.cuStreamSynchronize(f->stream), 0);
    assert_int_equal(*f->fault, 3);
}

static void work_waits_for_somebody_to_wait(void **state) {
    Fixture *f = *state;
    upload(f, 1);
    f->host[0] = f->host[1] = 7;
    assert_int_equal(launch(f, args_of(f, 1), 32, 0), 0);
    assert_int_equal(f->cu.cuMemcpyDtoHAsync_v2(f->host, f->out, BYTES, f->stream), 0);
    assert_true(f->host[0] == 7);
    assert_int_equal(f->cu.cuStreamSynchronize(f->stream), 0);
    assert_true(f->host[0] == 2 && f->host[1] == 3);
    /* Memory that the device sees is read late: changing it before the wait is seen. */
    assert_int_equal(f->cu.cuMemcpyHtoDAsync_v2(f->in, f->host, BYTES, f->stream), 0);
    f->host[0] = 50;
    assert_int_equal(launch(f, args_of(f, 0), 32, 0), 0);
    assert_int_equal(f->cu.cuMemcpyDtoHAsync_v2(f->host, f->out, BYTES, f->stream), 0);
    assert_int_equal(f->cu.cuStreamSynchronize(f->stream), 0);
    assert_true(f->host[0] == 50);
}

static void events_give_times(void **state) {
    Fixture *f = *state;
    CuEvent before, after;
    float ms = -1;
    assert_int_equal(f->cu.cuEventCreate(&before, SN_CU_EVENT_DEFAULT), 0);
    assert_int_equal(f->cu.cuEventCreate(&after, SN_CU_EVENT_DEFAULT), 0);
    upload(f, 1);
    assert_int_equal(f->cu.cuEventRecord(before, f->stream), 0);
    assert_int_equal(launch(f, args_of(f, 1), 32, 0), 0);
    assert_int_equal(f->cu.cuEventRecord(after, f->stream), 0);
    assert_int_equal(f->cu.cuEventElapsedTime(&ms, before, after), 600); /* not ready */
    assert_int_equal(f->cu.cuEventSynchronize(after), 0);
    assert_int_equal(f->cu.cuEventElapsedTime(&ms, before, after), 0);
    assert_true(ms > 0 && ms < 1000);
    assert_int_equal(f->cu.cuEventDestroy_v2(before), 0);
    assert_int_equal(f->cu.cuEventDestroy_v2(after), 0);
}

static CuGraph capture(const Fixture *f, int64_t add, int launches) {
    CuGraph graph;
    assert_int_equal(f->cu.cuStreamBeginCapture_v2(f->stream, SN_CU_CAPTURE_THREAD_LOCAL), 0);
    for (int i = 0; i < launches; i++) assert_int_equal(launch(f, args_of(f, add), 32, 0), 0);
    assert_int_equal(f->cu.cuStreamEndCapture(f->stream, &graph), 0);
    return graph;
}

static void graphs_replay(void **state) {
    Fixture *f = *state;
    CuGraphExec exec;
    CuGraphUpdate update;
    CuGraph first = capture(f, 1, 1), second = capture(f, 2, 1), longer = capture(f, 2, 2);
    assert_int_equal(f->cu.cuGraphInstantiateWithFlags(&exec, first, 0), 0);
    upload(f, 1);
    assert_int_equal(f->cu.cuGraphLaunch(exec, f->stream), 0);
    assert_out(f, 2);
    assert_int_equal(f->cu.cuGraphExecUpdate_v2(exec, second, &update), 0);
    assert_int_equal(f->cu.cuGraphLaunch(exec, f->stream), 0);
    assert_out(f, 3);
    assert_int_equal(f->cu.cuGraphExecUpdate_v2(exec, longer, &update), SN_CU_GRAPH_EXEC_UPDATE_FAILURE);
    CuGraph all[] = {first, second, longer};
    for (int i = 0; i < 3; i++) assert_int_equal(f->cu.cuGraphDestroy(all[i]), 0);
    assert_int_equal(f->cu.cuGraphExecDestroy(exec), 0);
}

static void what_cannot_be_captured_spoils_it(void **state) {
    Fixture *f = *state;
    CuGraph graph;
    CuAddress more;
    assert_int_equal(f->cu.cuStreamBeginCapture_v2(f->stream, SN_CU_CAPTURE_THREAD_LOCAL), 0);
    assert_int_equal(f->cu.cuMemAlloc_v2(&more, 16), SN_CU_STREAM_CAPTURE_UNSUPPORTED);
    assert_int_equal(f->cu.cuStreamEndCapture(f->stream, &graph), SN_CU_STREAM_CAPTURE_INVALIDATED);
    assert_int_equal(f->cu.cuStreamBeginCapture_v2(f->stream, SN_CU_CAPTURE_THREAD_LOCAL), 0);
    assert_int_equal(f->cu.cuStreamSynchronize(f->stream), SN_CU_STREAM_CAPTURE_UNSUPPORTED);
    assert_int_equal(f->cu.cuStreamEndCapture(f->stream, &graph), SN_CU_STREAM_CAPTURE_INVALIDATED);
    assert_int_equal(f->cu.cuStreamSynchronize(f->stream), 0);
}

/* ---- what is refused ---- */

static void bounds_of_launches_are_kept(void **state) {
    Fixture *f = *state;
    int value;
    assert_int_equal(launch(f, args_of(f, 1), 65, 0), SN_CU_INVALID_VALUE); /* more than __launch_bounds__ */
    assert_int_equal(launch(f, args_of(f, 1), 0, 0), SN_CU_INVALID_VALUE);
    assert_int_equal(launch(f, args_of(f, 1), 32, 48 << 10),
                     SN_CU_INVALID_VALUE); /* with the static ones too many */
    assert_int_equal(f->cu.cuFuncSetAttribute(f->add, SN_CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES, 100 << 10),
                     0);
    assert_int_equal(launch(f, args_of(f, 1), 32, 100 << 10), 0);
    assert_int_equal(f->cu.cuFuncSetAttribute(f->add, SN_CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES, 227 << 10),
                     SN_CU_INVALID_VALUE);
    assert_int_equal(f->cu.cuFuncGetAttribute(&value, SN_CU_FUNC_SHARED_SIZE_BYTES, f->add), 0);
    assert_int_equal(value, 256);
    plant("sm=89"); /* has less */
    assert_int_equal(f->cu.cuFuncSetAttribute(f->add, SN_CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES, 99 << 10),
                     SN_CU_INVALID_VALUE);
    assert_int_equal(
        f->cu.cuFuncSetAttribute(f->add, SN_CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES, (99 << 10) - 256), 0);
    assert_int_equal(launch(f, args_of(f, 1), 32, 100 << 10), SN_CU_INVALID_VALUE);
    plant("");
    assert_int_equal(f->cu.cuStreamSynchronize(f->stream), 0);
}

static void copies_stay_in_their_buffers(void **state) {
    Fixture *f = *state;
    float host[COUNT] = {0};
    CuStream stream = f->stream;
    assert_int_equal(f->cu.cuMemcpyHtoDAsync_v2(f->in + 4, host, BYTES, stream), SN_CU_INVALID_VALUE);
    assert_int_equal(f->cu.cuMemcpyHtoDAsync_v2((CuAddress)(uintptr_t)host, host, 4, stream),
                     SN_CU_INVALID_VALUE);
    assert_int_equal(f->cu.cuMemcpyDtoHAsync_v2((void *)(uintptr_t)f->in, f->in, 4, stream),
                     SN_CU_INVALID_VALUE);
    assert_int_equal(f->cu.cuMemFree_v2(f->in + 4), SN_CU_INVALID_VALUE);
}

static void images_are_for_their_device(void **state) {
    Fixture *f = *state;
    CuModule module;
    CuFunction function;
    char *image, log[LOG], junk[64] = "\177ELF";
    assert_int_equal(compile(f, text, "sm_80", &image, log), 0);
    assert_int_equal(f->cu.cuModuleLoadData(&module, image), SN_CU_NO_BINARY_FOR_GPU);
    plant("sm=89");
    assert_int_equal(f->cu.cuModuleLoadData(&module, image), 0);
    plant("");
    free(image);
    assert_int_equal(f->cu.cuModuleGetFunction(&function, module, "other"), SN_CU_NOT_FOUND);
    assert_int_equal(f->cu.cuModuleUnload(module), 0);
    assert_int_equal(f->cu.cuModuleLoadData(&module, junk), SN_CU_INVALID_IMAGE);
    assert_int_equal(compile(f, "extern \"C\" __global__ void broken(", "sm_90a", &image, log),
                     NVRTC_COMPILATION);
    assert_non_null(strstr(log, "error"));
    assert_int_equal(compile(f, text, "sm_12", &image, log), 5); /* an option that is not valid */
}

/* A host that reads the device's memory dies. */
static void the_host_cannot_read_the_device(void **state) {
    Fixture *f = *state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        _exit(*(volatile char *)(uintptr_t)f->in & 1);
    }
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* ---- what loses the context ---- */

static void assert_lost(const Fixture *f, AddArgs args, CuResult code) {
    CuAddress more;
    assert_int_equal(launch(f, args, 32, 0), 0);
    assert_int_equal(f->cu.cuStreamSynchronize(f->stream), code);
    assert_int_equal(f->cu.cuMemAlloc_v2(&more, 4), code);
    assert_int_equal(launch(f, args, 32, 0), code);
}

static void a_kernel_with_a_host_pointer(void **state) {
    Fixture *f = *state;
    float host[COUNT] = {0};
    AddArgs args = args_of(f, 1);
    args.out = (CuAddress)(uintptr_t)host;
    assert_lost(f, args, SN_CU_ILLEGAL_ADDRESS);
}

static void a_kernel_out_of_bounds(void **state) {
    Fixture *f = *state;
    AddArgs args = args_of(f, 1);
    args.out += 4;
    assert_lost(f, args, SN_CU_ILLEGAL_ADDRESS);
}

static void a_kernel_misaligned(void **state) {
    Fixture *f = *state;
    AddArgs args = args_of(f, 1);
    args.in += 2;
    args.count = 32;
    assert_lost(f, args, SN_CU_MISALIGNED_ADDRESS);
}

static void a_planted_failure(void **state) {
    Fixture *f = *state;
    plant("launch=2");
    assert_int_equal(launch(f, args_of(f, 1), 32, 0), 0);
    assert_lost(f, args_of(f, 1), SN_CU_LAUNCH_FAILED);
}

static void planted_refusals(void **state) {
    Fixture *f = *state;
    CuAddress at;
    CuGraph graph;
    plant("alloc=2,refuse=1,capture=1,init=100");
    assert_int_equal(f->cu.cuMemAlloc_v2(&at, 4), 0);
    assert_int_equal(f->cu.cuMemFree_v2(at), 0);
    assert_int_equal(f->cu.cuMemAlloc_v2(&at, 4), SN_CU_OUT_OF_MEMORY);
    assert_int_equal(launch(f, args_of(f, 1), 32, 0), SN_CU_LAUNCH_OUT_OF_RESOURCES);
    assert_int_equal(launch(f, args_of(f, 1), 32, 0), 0);
    assert_int_equal(f->cu.cuStreamBeginCapture_v2(f->stream, SN_CU_CAPTURE_THREAD_LOCAL), 0);
    assert_int_equal(f->cu.cuStreamEndCapture(f->stream, &graph), SN_CU_STREAM_CAPTURE_INVALIDATED);
    assert_int_equal(f->cu.cuInit(0), SN_CU_NO_DEVICE);
    plant("memory=1000");
    assert_int_equal(f->cu.cuInit(0), 0);
    assert_int_equal(f->cu.cuMemAlloc_v2(&at, 201), SN_CU_OUT_OF_MEMORY);
    plant("");
}

/* ---- products ---- */

typedef struct Product {
    LtHandle handle;
    LtProduct product;
    LtLayout a, b, d;
    LtPreference preference;
} Product;

enum { ROWS = 3, COLUMNS = 4, DEPTH = 5 }; /* of D, by columns */

/* D = A^T B + bias, A (DEPTH, ROWS) and B (DEPTH, COLUMNS) by columns; all in `in`, D in `out`. */
static Product make_product(const Fixture *f, unsigned compute, uint32_t epilogue) {
    Product p;
    int32_t transposed = LT_OP_T;
    assert_int_equal(f->lt.cublasLtCreate(&p.handle), 0);
    assert_int_equal(f->lt.cublasLtMatmulDescCreate(&p.product, compute, LT_R_32F), 0);
    assert_int_equal(
        f->lt.cublasLtMatmulDescSetAttribute(p.product, LT_PRODUCT_TRANSA, &transposed, sizeof transposed),
        0);
    assert_int_equal(
        f->lt.cublasLtMatmulDescSetAttribute(p.product, LT_PRODUCT_EPILOGUE, &epilogue, sizeof epilogue), 0);
    assert_int_equal(f->lt.cublasLtMatrixLayoutCreate(&p.a, LT_R_32F, DEPTH, ROWS, DEPTH), 0);
    assert_int_equal(f->lt.cublasLtMatrixLayoutCreate(&p.b, LT_R_32F, DEPTH, COLUMNS, DEPTH), 0);
    assert_int_equal(f->lt.cublasLtMatrixLayoutCreate(&p.d, LT_R_32F, ROWS, COLUMNS, ROWS + 1), 0);
    assert_int_equal(f->lt.cublasLtMatmulPreferenceCreate(&p.preference), 0);
    for (unsigned i = LT_PREFERENCE_ALIGNMENT_A; i <= LT_PREFERENCE_ALIGNMENT_D; i++) {
        uint32_t alignment = 4;
        assert_int_equal(
            f->lt.cublasLtMatmulPreferenceSetAttribute(p.preference, i, &alignment, sizeof alignment), 0);
    }
    return p;
}

static void free_product(const Fixture *f, Product *p) {
    f->lt.cublasLtMatmulPreferenceDestroy(p->preference);
    f->lt.cublasLtMatrixLayoutDestroy(p->a);
    f->lt.cublasLtMatrixLayoutDestroy(p->b);
    f->lt.cublasLtMatrixLayoutDestroy(p->d);
    f->lt.cublasLtMatmulDescDestroy(p->product);
    f->lt.cublasLtDestroy(p->handle);
}

static LtStatus choose(const Fixture *f, const Product *p, LtChoice *choice) {
    int found;
    return f->lt.cublasLtMatmulAlgoGetHeuristic(p->handle, p->product, p->a, p->b, p->d, p->d, p->preference,
                                                1, choice, &found);
}

static LtStatus multiply(const Fixture *f, const Product *p, const LtChoice *choice, CuAddress b,
                         float beta) {
    float one = 1;
    void *out = (void *)(uintptr_t)f->out;
    return f->lt.cublasLtMatmul(p->handle, p->product, &one, (void *)(uintptr_t)f->in, p->a,
                                (void *)(uintptr_t)b, p->b, &beta, out, p->d, out, p->d, &choice->algorithm,
                                NULL, 0, f->stream);
}

static double gelu(double x) {
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

static void products_are_right(void **state) {
    Fixture *f = *state;
    LtChoice choice;
    CuAddress bias = f->in + 40 * sizeof(float);
    Product p = make_product(f, LT_COMPUTE_32F, LT_EPILOGUE_BIAS | LT_EPILOGUE_GELU);
    assert_int_equal(
        f->lt.cublasLtMatmulDescSetAttribute(p.product, LT_PRODUCT_BIAS_POINTER, &bias, sizeof bias), 0);
    assert_int_equal(choose(f, &p, &choice), 0);
    for (int i = 0; i < COUNT; i++) f->host[i] = (float)sin(i);
    assert_int_equal(f->cu.cuMemcpyHtoDAsync_v2(f->in, f->host, BYTES, f->stream), 0);
    assert_int_equal(multiply(f, &p, &choice, f->in + 15 * sizeof(float), 0), 0);
    assert_int_equal(f->cu.cuMemcpyDtoHAsync_v2(f->host, f->out, BYTES, f->stream), 0);
    assert_int_equal(f->cu.cuStreamSynchronize(f->stream), 0);
    for (int m = 0; m < ROWS; m++)
        for (int n = 0; n < COLUMNS; n++) {
            double sum = sin(40 + m);
            for (int k = 0; k < DEPTH; k++)
                sum += (float)sin(m * DEPTH + k) * (double)(float)sin(15 + n * DEPTH + k);
            assert_true(fabs(f->host[n * (ROWS + 1) + m] - gelu(sum)) < 1e-6);
        }
    assert_true(isnan(f->host[ROWS])); /* between the columns nothing is written */
    free_product(f, &p);
}

static void wrong_products_are_refused(void **state) {
    Fixture *f = *state;
    LtChoice choice;
    int32_t type = LT_R_16F, row = LT_ORDER_ROW;
    Product p = make_product(f, LT_COMPUTE_32F, LT_EPILOGUE_BIAS);
    plant("contradictions=1");
    assert_int_equal(choose(f, &p, &choice), 0);
    assert_int_equal(multiply(f, &p, &choice, f->in, 0), LT_INVALID_VALUE); /* no bias */
    assert_int_equal(
        f->lt.cublasLtMatmulDescSetAttribute(p.product, LT_PRODUCT_BIAS_DATA_TYPE, &type, sizeof type), 0);
    assert_int_equal(choose(f, &p, &choice), LT_NOT_SUPPORTED);
    free_product(f, &p);
    p = make_product(f, LT_COMPUTE_32F, 64);
    assert_int_equal(choose(f, &p, &choice), LT_NOT_SUPPORTED);
    free_product(f, &p);
    p = make_product(f, LT_COMPUTE_32F, LT_EPILOGUE_DEFAULT);
    assert_int_equal(f->lt.cublasLtMatrixLayoutSetAttribute(p.d, LT_LAYOUT_ORDER, &row, sizeof row), 0);
    assert_int_equal(choose(f, &p, &choice), LT_NOT_SUPPORTED);
    free_product(f, &p);
    p = make_product(f, LT_COMPUTE_32F, LT_EPILOGUE_DEFAULT);
    f->lt.cublasLtMatrixLayoutDestroy(p.b);
    assert_int_equal(f->lt.cublasLtMatrixLayoutCreate(&p.b, LT_R_32F, DEPTH, COLUMNS, DEPTH - 1), 0);
    assert_int_equal(choose(f, &p, &choice), LT_INVALID_VALUE);
    free_product(f, &p);
}

static void set_aux(const Fixture *f, const Product *p, CuAddress aux, int64_t stride) {
    assert_int_equal(
        f->lt.cublasLtMatmulDescSetAttribute(p->product, LT_PRODUCT_AUX_POINTER, &aux, sizeof aux), 0);
    assert_int_equal(
        f->lt.cublasLtMatmulDescSetAttribute(p->product, LT_PRODUCT_AUX_STRIDE, &stride, sizeof stride), 0);
}

/* As cublasLt.h has it: aux is there, with a stride by 128 bits or 8 elements; and as the algorithm was chosen for. */
static void wrong_aux_is_refused(void **state) {
    static const uint32_t cases[][4] = {/* epilogue, is there, stride, status */
                                        {LT_EPILOGUE_RELU | LT_EPILOGUE_AUX, 1, 128, 0},
                                        {LT_EPILOGUE_RELU | LT_EPILOGUE_AUX, 1, 64, LT_INVALID_VALUE},
                                        {LT_EPILOGUE_DRELU, 0, 128, LT_INVALID_VALUE},
                                        {LT_EPILOGUE_DGELU, 1, 8, 0},
                                        {LT_EPILOGUE_DGELU, 1, 9, LT_INVALID_VALUE},
                                        {LT_EPILOGUE_BGRADA | LT_EPILOGUE_RELU, 1, 8, LT_NOT_SUPPORTED}};
    Fixture *f = *state;
    LtChoice choice;
    plant("contradictions=1");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Product p = make_product(f, LT_COMPUTE_32F, cases[i][0]);
        set_aux(f, &p, cases[i][1] ? f->out : 0, cases[i][2]);
        assert_int_equal(choose(f, &p, &choice), cases[i][3]);
        set_aux(f, &p, f->out, 2 * cases[i][2]);
        if (!cases[i][3]) assert_int_equal(multiply(f, &p, &choice, f->in, 0), LT_INVALID_VALUE);
        free_product(f, &p);
    }
}

/* The result lies over an operand; a promised alignment is not kept. */
static void a_product_over_its_operand(void **state) {
    Fixture *f = *state;
    LtChoice choice;
    Product p = make_product(f, LT_COMPUTE_32F_FAST_TF32, LT_EPILOGUE_DEFAULT);
    assert_int_equal(choose(f, &p, &choice), 0);
    assert_int_equal(multiply(f, &p, &choice, f->in + 2, 0), LT_INVALID_VALUE);
    assert_int_equal(multiply(f, &p, &choice, f->out, 0), 0);
    assert_int_equal(f->cu.cuStreamSynchronize(f->stream), SN_CU_ILLEGAL_ADDRESS);
    free_product(f, &p);
}

/* ---- what is missing ---- */

static void an_old_driver_lacks_a_function(void **state) {
    (void)state;
    void *library = open_library("libemulated_cuda_old.so");
    assert_null(dlsym(library, "cuGraphExecUpdate_v2"));
    assert_non_null(dlsym(library, "cuGraphLaunch"));
    dlclose(library);
}

/* The first test: nothing has been initialised. */
static void nothing_works_before_init(void **state) {
    (void)state;
    Fixture f;
    CuDevice device;
    open_libraries(&f);
    assert_int_equal(f.cu.cuDeviceGet(&device, 0), SN_CU_NOT_INITIALIZED);
    plant("init=34");
    assert_int_equal(f.cu.cuInit(0), SN_CU_STUB_LIBRARY);
    assert_int_equal(f.cu.cuDeviceGet(&device, 0), SN_CU_NOT_INITIALIZED);
}

#define FRESH(test)      cmocka_unit_test_setup_teardown(test, setup, teardown)
#define FRESH_LOST(test) cmocka_unit_test_setup_teardown(test, setup, teardown_lost)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_works_before_init),
        cmocka_unit_test(an_old_driver_lacks_a_function),
        FRESH(kernels_run),
        FRESH(work_waits_for_somebody_to_wait),
        FRESH(events_give_times),
        FRESH(graphs_replay),
        FRESH(what_cannot_be_captured_spoils_it),
        FRESH(bounds_of_launches_are_kept),
        FRESH(copies_stay_in_their_buffers),
        FRESH(images_are_for_their_device),
        FRESH(the_host_cannot_read_the_device),
        FRESH_LOST(a_kernel_with_a_host_pointer),
        FRESH_LOST(a_kernel_out_of_bounds),
        FRESH_LOST(a_kernel_misaligned),
        FRESH_LOST(a_planted_failure),
        FRESH(planted_refusals),
        FRESH(products_are_right),
        FRESH(wrong_products_are_refused),
        FRESH(wrong_aux_is_refused),
        FRESH_LOST(a_product_over_its_operand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
