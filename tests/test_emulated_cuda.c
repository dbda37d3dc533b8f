/* The emulated driver and compiler themselves: that work happens when it is waited for, and that what real ones refuse is
 * refused. */
#include "emulated_cuda_fixture.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
