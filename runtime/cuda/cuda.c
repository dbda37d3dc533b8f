#include "clock.h"
#include "gpu.h"
#include <stdlib.h>

enum { LEAST_SM = 80 };

bool sn_cuda_name(const char *name, CudaName *out) {
    *out = (CudaName){0};
    if (strncmp(name, "cuda", 4) != 0) return false;
    if (!name[4]) return true;
    if (name[4] != ':') return false;
    const char *number = name + 5;
    bool kind = strncmp(number, "sm_", 3) == 0;
    if (kind) number += 3;
    char *end;
    long value = strtol(number, &end, 10);
    bool feature = kind && *end == 'a'; /* is part of the name from 9.0 on, and follows from the number */
    if (*number < '0' || *number > '9' || end[feature] || value > 999) return false;
    if (kind && value < LEAST_SM) return false;
    *(kind ? &out->sm : &out->ordinal) = (int)value;
    return true;
}

/* ---- facts ---- */

static Status attribute(Cuda *cuda, CuDevice gpu, unsigned which, int *out) {
    return SN_CU(cuda, cuDeviceGetAttribute, out, which, gpu);
}

/* The facts of a capability, which needs a name for what the table does not have. */
static void fill_capability(Arena *arena, int sm, Target *out) {
    sn_target_cuda(out, sm);
    if (*out->architecture) return;
    out->name = sn_arena_printf(arena, "cuda:sm_%d", sm);
    out->architecture = sn_arena_printf(arena, "sm_%d", sm);
}

static Status read_target(Arena *arena, Cuda *cuda, CuDevice gpu, Target *out) {
    int major, minor, shared, l2;
    TRY(attribute(cuda, gpu, SN_CU_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &major));
    TRY(attribute(cuda, gpu, SN_CU_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &minor));
    fill_capability(arena, 10 * major + minor, out);
    TRY(attribute(cuda, gpu, SN_CU_ATTRIBUTE_WARP_SIZE, &out->warp));
    TRY(attribute(cuda, gpu, SN_CU_ATTRIBUTE_MAX_THREADS_PER_BLOCK, &out->max_threads));
    TRY(attribute(cuda, gpu, SN_CU_ATTRIBUTE_MULTIPROCESSOR_COUNT, &out->processors));
    TRY(attribute(cuda, gpu, SN_CU_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, &shared));
    TRY(attribute(cuda, gpu, SN_CU_ATTRIBUTE_L2_CACHE_SIZE, &l2));
    out->shared_bytes = shared;
    out->l2_bytes = l2;
    return NULL;
}

/* The driver answers to nothing else before, and a missing GPU shows here. */
static Status start_driver(Cuda *cuda, int *count) {
    CuResult result = cuda->driver.cuInit(0);
    Status status = sn_cuda_check(cuda, result, "cuInit");
    if (!status) status = SN_CU(cuda, cuDriverGetVersion, &cuda->version);
    if (!status) status = SN_CU(cuda, cuDeviceGetCount, count);
    if (!status && !*count) status = sn_fail(SN_DEVICE, "the driver counts none");
    return status;
}

static Status need_gpu(Status status) {
    if (!status) return NULL;
    Status said = sn_fail(SN_DEVICE, "no usable GPU: %s", sn_error_message(status));
    sn_error_free(status);
    return said;
}

static Status find_gpu(Arena *arena, Cuda *cuda, int ordinal, Target *target) {
    const char *path;
    int count = 0;
    TRY(need_gpu(sn_cuda_open_driver(arena, &cuda->driver, &path)));
    TRY(need_gpu(start_driver(cuda, &count)));
    if (ordinal >= count)
        return sn_fail(SN_DEVICE, "no usable GPU: number %d was asked for, and there are %d", ordinal, count);
    TRY(SN_CU(cuda, cuDeviceGet, &cuda->gpu, ordinal));
    TRY(read_target(arena, cuda, cuda->gpu, target));
    if (target->sm < LEAST_SM)
        return sn_fail(SN_UNSUPPORTED, "compute capability %d.%d is unsupported: %d.%d is the least",
                       target->sm / 10, target->sm % 10, LEAST_SM / 10, LEAST_SM % 10);
    int unified;
    TRY(attribute(cuda, cuda->gpu, SN_CU_ATTRIBUTE_MAX_PITCH, &cuda->pitch));
    TRY(attribute(cuda, cuda->gpu, SN_CU_ATTRIBUTE_UNIFIED_ADDRESSING, &unified));
    return unified ? NULL : sn_fail(SN_UNSUPPORTED, "a GPU without unified addressing is unsupported");
}

/* ---- memory ---- */

static Status out_of_memory(Cuda *cuda, Status status, int64_t bytes) {
    size_t unused = 0, total = 0;
    if (sn_error_code(status) != SN_NO_MEMORY) return status;
    sn_error_free(status);
    cuda->driver.cuMemGetInfo_v2(&unused, &total);
    return sn_fail(SN_NO_MEMORY, "the GPU refuses %lld bytes: %zu of its %zu are unused", (long long)bytes,
                   unused, total);
}

static Status cuda_alloc(Device *device, int64_t bytes, void **out) {
    Cuda *cuda = (Cuda *)device;
    CuAddress at = 0;
    *out = NULL;
    TRY(sn_cuda_enter(cuda));
    Status status = SN_CU(cuda, cuMemAlloc_v2, &at, (size_t)bytes);
    if (status) status = out_of_memory(cuda, status, bytes);
    sn_cuda_leave(cuda);
    if (!status) *out = (void *)(uintptr_t)at;
    return status;
}

static void cuda_free(Device *device, void *at, int64_t bytes) {
    Cuda *cuda = (Cuda *)device;
    (void)bytes;
    if (!at || !sn_cuda_enter_to_free(cuda)) return;
    cuda->driver.cuMemFree_v2((CuAddress)(uintptr_t)at);
    sn_cuda_leave(cuda);
}

/* Pinned, so that kernels reach it at the same address. */
static Status cuda_alloc_host(Device *device, int64_t bytes, void **out) {
    Cuda *cuda = (Cuda *)device;
    TRY(sn_cuda_enter(cuda));
    Status status = SN_CU(cuda, cuMemHostAlloc, out, (size_t)bytes, SN_CU_MEMHOSTALLOC_PORTABLE);
    sn_cuda_leave(cuda);
    if (!status) memset(*out, 0, (size_t)bytes);
    return status;
}

static void cuda_free_host(Device *device, void *at) {
    Cuda *cuda = (Cuda *)device;
    if (!at || !sn_cuda_enter_to_free(cuda)) return;
    cuda->driver.cuMemFreeHost(at);
    sn_cuda_leave(cuda);
}

/* ---- the device ---- */

static double cuda_clock(Device *device) {
    sn_error_free(sn_cuda_sync(device));
    return sn_clock();
}

static void cuda_close(Device *device) {
    Cuda *cuda = (Cuda *)device;
    if (cuda->context) {
        if (sn_cuda_enter_to_free(cuda)) {
            sn_cuda_products_free(cuda);
            sn_cuda_lanes_free(cuda);
            sn_cuda_leave(cuda);
        }
        cuda->driver.cuDevicePrimaryCtxRelease_v2(cuda->gpu);
        cuda->context = NULL;
    }
    pthread_mutex_destroy(&cuda->lock);
}

static const DeviceOps cuda_ops = {
    .alloc = cuda_alloc,
    .free = cuda_free,
    .upload = sn_cuda_upload,
    .download = sn_cuda_download,
    .copy_rows = sn_cuda_copy_rows,
    .alloc_host = cuda_alloc_host,
    .free_host = cuda_free_host,
    .compile = sn_cuda_compile,
    .unload = sn_cuda_unload,
    .image = sn_cuda_image,
    .load = sn_cuda_load,
    .launch = sn_cuda_launch,
    .launch_group = sn_cuda_launch_group,
    .library = sn_cuda_library,
    .product = sn_cuda_product,
    .lane = sn_cuda_turn,
    .post = sn_cuda_post,
    .await = sn_cuda_await,
    .record = sn_cuda_record,
    .recorded = sn_cuda_recorded,
    .replay = sn_cuda_replay,
    .forget = sn_cuda_forget,
    .marks_new = sn_cuda_marks_new,
    .mark = sn_cuda_mark,
    .elapsed = sn_cuda_elapsed,
    .marks_free = sn_cuda_marks_free,
    .sync = sn_cuda_sync,
    .clock = cuda_clock,
    .close = cuda_close,
};

static Cuda *new_cuda(Arena *arena, Pool *pool) {
    Cuda *cuda = SN_NEW(arena, Cuda);
    cuda->device.ops = &cuda_ops;
    cuda->pool = pool;
    pthread_mutex_init(&cuda->lock, NULL);
    return cuda;
}

/* Whether machine code for `architecture` runs on a GPU of capability `sm`: that of one with features of its
 * own on that one alone, other code on later ones of the same major number too (CUDA C++ Programming Guide,
 * "Binary Compatibility"). */
static bool runs_on(const char *architecture, int sm) {
    char *end;
    if (strncmp(architecture, "sm_", 3) != 0) return false;
    long made_for = strtol(architecture + 3, &end, 10);
    return *end ? made_for == sm : made_for / 10 == sm / 10 && made_for <= sm;
}

static Status check_compiled(const Target *compiled, const Target *found) {
    if (!runs_on(compiled->architecture, found->sm))
        return sn_fail(SN_UNSUPPORTED,
                       "its kernels were compiled for %s, which is unsupported by this GPU: it is %s",
                       compiled->architecture, found->architecture);
    if (compiled->shared_bytes > found->shared_bytes)
        return sn_fail(
            SN_UNSUPPORTED,
            "its kernels take up to %lld bytes of shared memory, which is unsupported by this GPU: "
            "it has %lld",
            (long long)compiled->shared_bytes, (long long)found->shared_bytes);
    return NULL;
}

static Status open_gpu(Arena *arena, Cuda *cuda, const char *cache_dir, int ordinal, const Target *compiled) {
    Target found;
    TRY(find_gpu(arena, cuda, ordinal, &found));
    cuda->device.target = compiled ? *compiled : found;
    if (compiled) TRY(check_compiled(compiled, &found));
    if (!compiled) TRY(sn_nvrtc_open(arena, cache_dir, cuda->version, &cuda->nvrtc));
    return SN_CU(cuda, cuDevicePrimaryCtxRetain, &cuda->context, cuda->gpu);
}

static Status open_device(Arena *arena, const char *cache_dir, int ordinal, const Target *compiled,
                          Pool *pool, Device **out) {
    Cuda *cuda = new_cuda(arena, pool);
    Status status = open_gpu(arena, cuda, cache_dir, ordinal, compiled);
    if (status)
        pthread_mutex_destroy(&cuda->lock);
    else
        *out = &cuda->device;
    return status;
}

Status sn_cuda_device_open(Arena *arena, const char *cache_dir, int ordinal, Pool *pool, Device **out) {
    return open_device(arena, cache_dir, ordinal, NULL, pool, out);
}

Status sn_cuda_device_compiled(Arena *arena, const Target *target, int ordinal, Pool *pool, Device **out) {
    return open_device(arena, NULL, ordinal, target, pool, out);
}

Status sn_cuda_device_absent(Arena *arena, const char *cache_dir, int sm, Pool *pool, Device **out) {
    Nvrtc nvrtc = {0};
    TRY(sn_nvrtc_open(arena, cache_dir, 0, &nvrtc));
    Cuda *cuda = new_cuda(arena, pool);
    cuda->nvrtc = nvrtc;
    cuda->device.absent = true;
    fill_capability(arena, sm, &cuda->device.target);
    *out = &cuda->device;
    return NULL;
}

/* ---- for people ---- */

static const char *told(Arena *arena, Status status) {
    const char *text = sn_arena_string(arena, sn_error_message(status));
    sn_error_free(status);
    return text;
}

static Status check_first_gpu(Arena *arena, const Target *target) {
    Cuda *cuda = SN_NEW(arena, Cuda); /* for its driver alone */
    Target found;
    TRY(find_gpu(arena, cuda, 0, &found));
    return check_compiled(target, &found);
}

const char *sn_cuda_missing(Arena *arena, const Target *target) {
    return told(arena, check_first_gpu(arena, target));
}

static Status read_gpu(Arena *arena, Cuda *cuda, int ordinal, CudaGpu *out) {
    CuDevice gpu;
    char name[256] = "";
    size_t memory;
    TRY(SN_CU(cuda, cuDeviceGet, &gpu, ordinal));
    TRY(SN_CU(cuda, cuDeviceGetName, name, (int)sizeof name - 1, gpu));
    TRY(SN_CU(cuda, cuDeviceTotalMem_v2, &memory, gpu));
    TRY(read_target(arena, cuda, gpu, &out->target));
    TRY(attribute(cuda, gpu, SN_CU_ATTRIBUTE_CLOCK_RATE, &out->clock_mhz));
    TRY(attribute(cuda, gpu, SN_CU_ATTRIBUTE_MEMORY_CLOCK_RATE, &out->memory_clock_mhz));
    TRY(attribute(cuda, gpu, SN_CU_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, &out->bus_bits));
    out->clock_mhz /= 1000;
    out->memory_clock_mhz /= 1000;
    out->name = sn_arena_string(arena, name);
    out->memory = (int64_t)memory;
    return NULL;
}

static Status find_gpus(Arena *arena, CudaFinding *out) {
    Cuda *cuda = SN_NEW(arena, Cuda); /* for its driver alone */
    int count = 0;
    TRY(sn_cuda_open_driver(arena, &cuda->driver, &out->driver));
    cuda->driver.cuDriverGetVersion(&out->driver_version);
    TRY(start_driver(cuda, &count));
    CudaGpu *gpu = SN_ARRAY(arena, CudaGpu, count);
    out->gpu = gpu;
    for (; out->gpu_count < count; out->gpu_count++)
        TRY(read_gpu(arena, cuda, out->gpu_count, &gpu[out->gpu_count]));
    return NULL;
}

void sn_cuda_find(Arena *arena, CudaFinding *out) {
    *out = (CudaFinding){.driver = "", .nvrtc = "", .cublaslt = ""};
    NvrtcLibrary nvrtc;
    LtLibrary lt;
    out->driver_missing = told(arena, find_gpus(arena, out));
    Status status = sn_cuda_open_nvrtc(arena, out->driver_version, &nvrtc, &out->nvrtc);
    if (!status) nvrtc.nvrtcVersion(&out->nvrtc_major, &out->nvrtc_minor);
    out->nvrtc_missing = told(arena, status);
    status = sn_cuda_open_cublaslt(arena, out->driver_version, &lt, &out->cublaslt);
    if (!status) out->cublaslt_version = lt.cublasLtGetVersion();
    out->cublaslt_missing = told(arena, status);
}
