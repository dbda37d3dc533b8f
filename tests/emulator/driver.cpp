/* The emulated driver: its device, its context, its errors. */
#include "driver.h"

#include "engine.h"
#include "faults.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

Driver emu_driver;
static thread_local int current; /* how often this thread has the context on its stack */

static CuContext the_context() {
    return (CuContext)&emu_driver;
}

static CuResult find_refusal(int needs) {
    if (!emu_driver.initialised) return SN_CU_NOT_INITIALIZED;
    if (needs & EMU_CONTEXT) {
        if (!current || !emu_driver.retained) return SN_CU_INVALID_CONTEXT;
        if (emu_driver.lost) return emu_driver.lost;
    }
    CuStream captured = needs & EMU_NO_CAPTURE ? emu_captured_here() : NULL;
    if (!captured) return SN_CU_SUCCESS;
    captured->invalid = true;
    return SN_CU_STREAM_CAPTURE_UNSUPPORTED;
}

Call::Call(int needs) : lock(emu_driver.mutex), refused(find_refusal(needs)) {}

void emu_say(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("emulated CUDA: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

/* ---- device ---- */

/* CUDA C++ Programming Guide, "Technical Specifications per Compute Capability". */
size_t emu_block_shared() {
    switch (emu_setting("sm", 90)) {
    case 80:
    case 87:
        return 163 << 10;
    case 86:
    case 89:
    case 120:
    case 121:
        return 99 << 10;
    default:
        return 227 << 10;
    }
}

CuResult cuInit(unsigned flags) {
    std::lock_guard<std::recursive_mutex> lock(emu_driver.mutex);
    if (flags) return SN_CU_INVALID_VALUE;
    CuResult result = (CuResult)emu_setting("init", SN_CU_SUCCESS);
    emu_driver.initialised = result == SN_CU_SUCCESS;
    return result;
}

CuResult cuDriverGetVersion(int *version) {
    *version = (int)emu_setting("version", 13000);
    return SN_CU_SUCCESS;
}

CuResult cuDeviceGetCount(int *count) {
    Call call(EMU_INITIALISED);
    *count = (int)emu_setting("devices", 1);
    return call.refused;
}

CuResult cuDeviceGet(CuDevice *device, int ordinal) {
    Call call(EMU_INITIALISED);
    *device = 0;
    if (call.refused) return call.refused;
    return ordinal < 0 || ordinal >= emu_setting("devices", 1) ? CU_INVALID_DEVICE : (CuResult)SN_CU_SUCCESS;
}

CuResult cuDeviceGetName(char *name, int size, CuDevice) {
    Call call(EMU_INITIALISED);
    if (!call.refused) snprintf(name, (size_t)size, "Emulated GPU");
    return call.refused;
}

CuResult cuDeviceGetAttribute(int *value, unsigned attribute, CuDevice) {
    Call call(EMU_INITIALISED);
    int sm = (int)emu_setting("sm", 90);
    if (call.refused) return call.refused;
    switch (attribute) {
    case SN_CU_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *value = 1024;
        break;
    case SN_CU_ATTRIBUTE_WARP_SIZE:
        *value = 32;
        break;
    case SN_CU_ATTRIBUTE_MAX_PITCH:
        *value = (int)emu_setting("pitch", INT32_MAX);
        break;
    case SN_CU_ATTRIBUTE_CLOCK_RATE:
        *value = 1000000;
        break;
    case SN_CU_ATTRIBUTE_MULTIPROCESSOR_COUNT:
        *value = (int)emu_setting("processors", 4);
        break;
    case SN_CU_ATTRIBUTE_MEMORY_CLOCK_RATE:
        *value = 1000000;
        break;
    case SN_CU_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
        *value = 512;
        break;
    case SN_CU_ATTRIBUTE_L2_CACHE_SIZE:
        *value = 4 << 20;
        break;
    case SN_CU_ATTRIBUTE_UNIFIED_ADDRESSING:
        *value = 1;
        break;
    case SN_CU_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
        *value = sm / 10;
        break;
    case SN_CU_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
        *value = sm % 10;
        break;
    case SN_CU_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
        *value = (int)emu_block_shared() + (1 << 10);
        break;
    case SN_CU_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
        *value = (int)emu_block_shared();
        break;
    default:
        return SN_CU_INVALID_VALUE;
    }
    return SN_CU_SUCCESS;
}

static size_t total_memory() {
    return (size_t)emu_setting("memory", 4L << 30);
}

CuResult cuDeviceTotalMem_v2(size_t *bytes, CuDevice) {
    Call call(EMU_INITIALISED);
    *bytes = total_memory();
    return call.refused;
}

bool emu_has_context() {
    Call call(EMU_CONTEXT);
    return !call.refused;
}

CuResult cuMemGetInfo_v2(size_t *unused, size_t *total) {
    Call call(EMU_CONTEXT);
    *total = total_memory();
    *unused = *total - emu_device_bytes();
    return call.refused;
}

/* ---- context ---- */

/* What still lives when the context goes is a leak of the program, though a driver would release it in silence; not so
 * when the context was lost, and with it every way to release something. */
static void require_no_leaks() {
    const Driver *d = &emu_driver;
    size_t left = d->streams.size() + d->events.size() + d->modules.size() + d->graphs.size() +
                  d->execs.size() + d->device_memory.size() + d->host_memory.size();
    if (!left || d->lost) return;
    emu_say("the context is released before %zu streams, %zu events, %zu modules, %zu graphs, "
            "%zu executable graphs, %zu buffers of the device, %zu of the host",
            d->streams.size(), d->events.size(), d->modules.size(), d->graphs.size(), d->execs.size(),
            d->device_memory.size(), d->host_memory.size());
    abort();
}

static void forget_everything() {
    Driver *d = &emu_driver;
    for (void *memory : d->device_memory) emu_free(memory);
    for (void *memory : d->host_memory) emu_free(memory);
    d->device_memory.clear();
    d->host_memory.clear();
    d->streams.clear();
    d->events.clear();
    d->modules.clear();
    d->functions.clear();
    d->graphs.clear();
    d->execs.clear();
    d->known.clear();
    d->lost = SN_CU_SUCCESS;
}

CuResult cuDevicePrimaryCtxRetain(CuContext *context, CuDevice) {
    Call call(EMU_INITIALISED);
    *context = the_context();
    if (!call.refused) emu_driver.retained++;
    return call.refused;
}

/* A context that was lost, and what was in it, are gone with the last release. */
CuResult cuDevicePrimaryCtxRelease_v2(CuDevice) {
    Call call(EMU_INITIALISED);
    if (call.refused) return call.refused;
    if (!emu_driver.retained) return SN_CU_INVALID_CONTEXT;
    if (--emu_driver.retained) return SN_CU_SUCCESS;
    emu_finish_all();
    require_no_leaks();
    forget_everything();
    return SN_CU_SUCCESS;
}

CuResult cuCtxPushCurrent_v2(CuContext context) {
    Call call(EMU_INITIALISED);
    if (call.refused) return call.refused;
    if (context != the_context()) return SN_CU_INVALID_CONTEXT;
    current++;
    return SN_CU_SUCCESS;
}

CuResult cuCtxPopCurrent_v2(CuContext *context) {
    Call call(EMU_INITIALISED);
    if (call.refused) return call.refused;
    if (!current) return SN_CU_INVALID_CONTEXT;
    current--;
    if (context) *context = the_context();
    return SN_CU_SUCCESS;
}

/* ---- errors ---- */

struct ErrorName {
    CuResult error;
    const char *name, *text;
};
static const ErrorName error_names[] = {
    {SN_CU_SUCCESS, "CUDA_SUCCESS", "no error"},
    {SN_CU_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {SN_CU_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {SN_CU_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {SN_CU_STUB_LIBRARY, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {SN_CU_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CU_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {SN_CU_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {SN_CU_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {SN_CU_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {CU_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {SN_CU_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CU_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {SN_CU_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {SN_CU_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "too many resources requested for launch"},
    {SN_CU_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {SN_CU_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {SN_CU_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {SN_CU_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {SN_CU_STREAM_CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED",
     "capturing stream has unjoined work"},
    {SN_CU_STREAM_CAPTURE_ISOLATION, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
     "dependency created on uncaptured work in another stream"},
    {SN_CU_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {SN_CU_GRAPH_EXEC_UPDATE_FAILURE, "CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE",
     "the graph update was not performed because it included changes which violated constraints"},
};

static const ErrorName *find_error(CuResult error) {
    for (const ErrorName &entry : error_names)
        if (entry.error == error) return &entry;
    return NULL;
}

CuResult cuGetErrorName(CuResult error, const char **name) {
    const ErrorName *found = find_error(error);
    *name = found ? found->name : NULL;
    return found ? SN_CU_SUCCESS : SN_CU_INVALID_VALUE;
}

CuResult cuGetErrorString(CuResult error, const char **text) {
    const ErrorName *found = find_error(error);
    *text = found ? found->text : NULL;
    return found ? SN_CU_SUCCESS : SN_CU_INVALID_VALUE;
}
