/* Loaded kernels, and their image: a count, the size of each, then the machine code of each, on multiples of
 * 16 bytes. */
#include "clock.h"
#include "gpu.h"
#include "guard.h"
#include <stdio.h>
#include <stdlib.h>

enum {
    CODE_ALIGNMENT = 16,
    SHARED_UNASKED = 48 << 10, /* bytes of dynamic shared memory that a kernel gets without asking */
};

typedef struct CudaModule {
    char *image;
    size_t size;
    int count;
    CuModule *module; /* NULL: the GPU is absent */
    CuFunction *function;
    int *
        resident; /* blocks of each that the GPU holds at once, where fewer blocks may do the work; 0: they may not */
    CuFunction *group; /* the second entry of a grouped form … */
    int *group_most;   /* … and of how many launches; 0: there is none */
} CudaModule;

static size_t aligned(size_t bytes) {
    return (bytes + CODE_ALIGNMENT - 1) / CODE_ALIGNMENT * CODE_ALIGNMENT;
}

static Status new_module(int count, size_t size, CudaModule **out) {
    CudaModule *module = calloc(1, sizeof *module);
    char *image = calloc(1, size + CODE_ALIGNMENT);
    if (!module || !image) {
        free(module);
        free(image);
        return sn_fail(SN_NO_MEMORY, "out of memory for %d kernels", count);
    }
    *module = (CudaModule){.image = image, .size = size, .count = count};
    *out = module;
    return NULL;
}

/* ---- images ---- */

static size_t table_bytes(int count) {
    return aligned(sizeof(uint64_t) * ((size_t)count + 1));
}

static Status join_image(const Cubin *cubin, int count, CudaModule **out) {
    size_t size = table_bytes(count), at = size;
    for (int i = 0; i < count; i++) size += aligned(cubin[i].size);
    TRY(new_module(count, size, out));
    uint64_t *table = (uint64_t *)(void *)(*out)->image;
    table[0] = (uint64_t)count;
    for (int i = 0; i < count; i++) {
        table[i + 1] = cubin[i].size;
        memcpy((*out)->image + at, cubin[i].bytes, cubin[i].size);
        at += aligned(cubin[i].size);
    }
    return NULL;
}

/* Where the code of each kernel begins; false when the table contradicts the size. */
static bool find_code(const CudaModule *module, size_t *start) {
    const uint64_t *table = (const uint64_t *)(const void *)module->image;
    size_t at = table_bytes(module->count);
    if (module->size < at || table[0] != (uint64_t)module->count) return false;
    for (int i = 0; i < module->count; i++) {
        start[i] = at;
        if (table[i + 1] > module->size - at) return false;
        at += aligned((size_t)table[i + 1]);
        if (at > module->size) return false;
    }
    return at == module->size;
}

/* ---- loading ---- */

/* What is asked for at a launch may exceed what a kernel gets unasked: allowed once, to the most that there
 * is. */
static Status allow_shared(Cuda *cuda, const Kernel *kernel, CuFunction function) {
    int64_t bytes;
    if (!kernel->shared || (sn_dim_is(kernel->shared, &bytes) && bytes <= SHARED_UNASKED)) return NULL;
    int used = 0;
    TRY(SN_CU(cuda, cuFuncGetAttribute, &used, SN_CU_FUNC_SHARED_SIZE_BYTES, function));
    return SN_CU(cuda, cuFuncSetAttribute, function, SN_CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                 (int)cuda->device.target.shared_bytes - used);
}

static Status find_resident(Cuda *cuda, const Kernel *kernel, CuFunction function, int *resident) {
    int of_processor = 0;
    if (!kernel->walks) return NULL;
    TRY(SN_CU(cuda, cuOccupancyMaxActiveBlocksPerMultiprocessor, &of_processor, function, kernel->threads,
              0));
    *resident = of_processor * cuda->device.target.processors;
    return NULL;
}

static Status load_code(Cuda *cuda, const void *code, CuModule *out) {
    CuResult result = cuda->driver.cuModuleLoadData(out, code);
    const Nvrtc *nvrtc = &cuda->nvrtc;
    int major = cuda->version / 1000, minor = cuda->version % 1000 / 10;
    if (result != SN_CU_INVALID_IMAGE || nvrtc->major <= major)
        return sn_cuda_check(cuda, result, "cuModuleLoadData");
    return sn_fail(
        SN_DEVICE,
        "the driver, which is of CUDA %d.%d, does not load what NVRTC %d.%d (%s) makes: NVRTC %d or a "
        "newer driver is needed",
        major, minor, nvrtc->major, nvrtc->minor, nvrtc->path, major);
}

static Status load_kernel(Cuda *cuda, const Kernel *kernel, CudaModule *module, int index, size_t start) {
    TRY(load_code(cuda, module->image + start, &module->module[index]));
    CuFunction *function = &module->function[index];
    TRY(SN_CU(cuda, cuModuleGetFunction, function, module->module[index], kernel->name));
    TRY(find_resident(cuda, kernel, *function, &module->resident[index]));
    module->group_most[index] = kernel->group_most;
    if (kernel->group_most) {
        char name[80];
        snprintf(name, sizeof name, "%s_group", kernel->name);
        TRY(SN_CU(cuda, cuModuleGetFunction, &module->group[index], module->module[index], name));
    }
    return allow_shared(cuda, kernel, *function);
}

static Status load_kernels(Cuda *cuda, const Kernel *const *kernel, CudaModule *module) {
    size_t *start = calloc((size_t)module->count + 1, sizeof *start);
    module->module = calloc((size_t)module->count + 1, sizeof *module->module);
    module->function = calloc((size_t)module->count + 1, sizeof *module->function);
    module->resident = calloc((size_t)module->count + 1, sizeof *module->resident);
    module->group = calloc((size_t)module->count + 1, sizeof *module->group);
    module->group_most = calloc((size_t)module->count + 1, sizeof *module->group_most);
    Status status =
        start && module->module && module->function && module->resident && module->group && module->group_most
            ? NULL
            : sn_fail(SN_NO_MEMORY, "out of memory for %d kernels", module->count);
    if (!status && !find_code(module, start))
        status = sn_fail(SN_INVALID, "malformed machine code of kernels");
    for (int i = 0; i < module->count && !status; i++)
        status =
            sn_status_prefix(load_kernel(cuda, kernel[i], module, i, start[i]), "kernel %s", kernel[i]->name);
    free(start);
    return status;
}

/* Loads the code of `module`, which becomes *out's or is freed. */
static Status load(Cuda *cuda, const Kernel *const *kernel, CudaModule *module, CompileRecord *record,
                   Module **out) {
    double start = sn_clock();
    Status status = cuda->device.absent ? NULL : sn_cuda_enter(cuda);
    if (!status && !cuda->device.absent) {
        status = load_kernels(cuda, kernel, module);
        sn_cuda_leave(cuda);
    }
    record->load += sn_clock() - start;
    if (status)
        sn_cuda_unload(&cuda->device, (Module *)module);
    else
        *out = (Module *)module;
    return status;
}

void sn_cuda_unload(Device *device, Module *opaque) {
    Cuda *cuda = (Cuda *)device;
    CudaModule *module = (CudaModule *)opaque;
    if (!module) return;
    if (module->module && sn_cuda_enter_to_free(cuda)) {
        for (int i = 0; i < module->count; i++)
            if (module->module[i]) cuda->driver.cuModuleUnload(module->module[i]);
        sn_cuda_leave(cuda);
    }
    free(module->module);
    free(module->function);
    free(module->resident);
    free(module->group);
    free(module->group_most);
    free(module->image);
    free(module);
}

/* ---- compiling ---- */

typedef struct Build {
    Cuda *cuda;
    Arena *arena;
    const Kernel *const *kernel;
    int count;
    CompileRecord *record;
    CudaModule *module;
} Build;

static Status build(void *argument) {
    Build *request = argument;
    Cuda *cuda = request->cuda;
    Cubin *cubin = SN_ARRAY(request->arena, Cubin, request->count);
    TRY(sn_nvrtc_compile(request->arena, &cuda->nvrtc, cuda->pool, cuda->device.target.architecture,
                         request->kernel, request->count, request->record, cubin));
    return join_image(cubin, request->count, &request->module);
}

Status sn_cuda_compile(Device *device, const Kernel *const *kernel, int count, CompileRecord *record,
                       Module **out) {
    Cuda *cuda = (Cuda *)device;
    if (!cuda->nvrtc.path)
        return sn_fail(SN_COMPILER, "a GPU that was opened without NVRTC compiles nothing");
    Build request = {cuda, sn_arena_new(), kernel, count, record, NULL};
    if (!request.arena) return sn_fail(SN_NO_MEMORY, "out of memory");
    Status status = sn_guarded(request.arena, build, &request);
    sn_arena_free(request.arena);
    TRY(status);
    return load(cuda, kernel, request.module, record, out);
}

Status sn_cuda_load(Device *device, const Kernel *const *kernel, int count, const ModuleImage *image,
                    CompileRecord *record, Module **out) {
    CudaModule *module;
    TRY(new_module(count, image->size, &module));
    if (image->size) memcpy(module->image, image->bytes, image->size);
    record->kernels += count;
    return load((Cuda *)device, kernel, module, record, out);
}

Status sn_cuda_image(Device *device, Arena *arena, const Module *opaque, ModuleImage *out) {
    const CudaModule *module = (const CudaModule *)opaque;
    char *copy = sn_arena_alloc(arena, module->size);
    memcpy(copy, module->image, module->size);
    *out = (ModuleImage){"cuda", device->target.architecture, copy, module->size};
    return NULL;
}

/* ---- launching ---- */

typedef struct Words {
    uint64_t at[SN_ARGUMENT_BYTES / sizeof(uint64_t)];
    size_t count;
} Words;

/* Whether a grid that walks does that many blocks' work. */
static bool walks(const Cuda *cuda, const CudaModule *module, int kernel, int64_t blocks) {
    int64_t waves = cuda->device.target.walk_waves, resident = module->resident[kernel];
    return waves && resident && blocks > waves * resident;
}

/* A grid of `blocks` blocks. */
static Status start_grid(Cuda *cuda, CuFunction function, const LaunchArguments *arguments, Words *words,
                         int64_t blocks, CuStream stream) {
    size_t bytes = words->count * sizeof *words->at;
    void *extra[] = {SN_CU_LAUNCH_BUFFER_POINTER, words->at, SN_CU_LAUNCH_BUFFER_SIZE, &bytes,
                     SN_CU_LAUNCH_END};
    return SN_CU(cuda, cuLaunchKernel, function, (unsigned)blocks, 1, 1, (unsigned)arguments->threads, 1, 1,
                 (unsigned)arguments->shared, stream, NULL, extra);
}

/* { void *buffer[]; long long symbol[]; int *fault; long long first } */
static void add_arguments(const LaunchArguments *arguments, int *fault, int64_t first, Words *words) {
    for (int i = 0; i < arguments->buffer_count; i++)
        words->at[words->count++] = (uintptr_t)arguments->buffer[i];
    for (int i = 0; i < arguments->symbol_count; i++)
        words->at[words->count++] = (uint64_t)arguments->symbol[i];
    words->at[words->count++] = (uintptr_t)fault;
    words->at[words->count++] = (uint64_t)first;
}

/* A grid for `blocks` blocks, the first of which has the number `first`. */
static Status start_blocks(Cuda *cuda, const CudaModule *module, const LaunchArguments *arguments, int *fault,
                           int64_t first, int64_t blocks) {
    int kernel = arguments->kernel;
    Words words;
    Lane *lane;
    words.count = 0;
    add_arguments(arguments, fault, first, &words);
    TRY(sn_cuda_lane(cuda, &lane));
    if (walks(cuda, module, kernel, blocks)) blocks = module->resident[kernel];
    return start_grid(cuda, module->function[kernel], arguments, &words, blocks, sn_cuda_lane_stream(lane));
}

static Status start(Cuda *cuda, const CudaModule *module, const LaunchArguments *arguments, int *fault) {
    TRY(start_blocks(cuda, module, arguments, fault, 0, arguments->items));
    if (arguments->after <= 0) return NULL;
    return start_blocks(cuda, module, arguments, fault, arguments->items, arguments->after);
}

static Status check_blocks(int64_t blocks) {
    if (blocks <= INT32_MAX) return NULL;
    return sn_fail(SN_UNSUPPORTED, "a launch of %lld blocks is unsupported: the most are %d",
                   (long long)blocks, INT32_MAX);
}

/* What all launches of a kernel have in common. */
static Status check_kernel(const Device *device, const LaunchArguments *arguments) {
    if (arguments->shared > device->target.shared_bytes)
        return sn_fail(SN_UNSUPPORTED, "a block with %lld bytes of shared memory is unsupported: %s has %lld",
                       (long long)arguments->shared, device->target.name,
                       (long long)device->target.shared_bytes);
    if ((arguments->buffer_count + arguments->symbol_count + 2) * (int)sizeof(uint64_t) > SN_ARGUMENT_BYTES)
        return sn_fail(SN_UNSUPPORTED,
                       "a kernel of %d buffers and %d sizes is unsupported: they exceed %d bytes",
                       arguments->buffer_count, arguments->symbol_count, SN_ARGUMENT_BYTES);
    return NULL;
}

Status sn_cuda_launch(Device *device, Module *module, const LaunchArguments *arguments, int *fault) {
    Cuda *cuda = (Cuda *)device;
    TRY(check_blocks(arguments->items > arguments->after ? arguments->items : arguments->after));
    TRY(check_kernel(device, arguments));
    TRY(sn_cuda_enter(cuda));
    Status status = start(cuda, (const CudaModule *)module, arguments, fault);
    sn_cuda_leave(cuda);
    return status;
}

/* ---- groups ---- */

/* One grid: { long long count; struct { … } member[most] }, of which `count` are given. */
typedef struct Table {
    Words words;
    int count;
    int64_t blocks;
} Table;

static Status start_table(Cuda *cuda, const CudaModule *module, const LaunchArguments *of, Table *table) {
    int most = module->group_most[of->kernel];
    size_t each = (table->words.count - 1) / (size_t)(table->count ? table->count : 1);
    Lane *lane;
    TRY(check_blocks(table->blocks));
    TRY(sn_cuda_lane(cuda, &lane));
    table->words.at[0] = (uint64_t)table->count;
    table->words.count = 1 + each * (size_t)most;
    Status status = table->blocks ? start_grid(cuda, module->group[of->kernel], of, &table->words,
                                               table->blocks, sn_cuda_lane_stream(lane))
                                  : NULL;
    *table = (Table){.words.count = 1};
    return status;
}

/* Whether a member walks its grid so long that the beginning and the end of a launch of its own do not count. */
static bool is_alone(const Cuda *cuda, const CudaModule *module, const LaunchArguments *member) {
    enum { TURNS = 32 };
    return walks(cuda, module, member->kernel, member->items) &&
           member->items >= (int64_t)TURNS * module->resident[member->kernel];
}

/* As many members in a grid as fit among its arguments: these are what a recording keeps. */
static Status start_group(Cuda *cuda, const CudaModule *module, const LaunchArguments *member, int count,
                          int *fault) {
    Table table = {.words.count = 1};
    for (int i = 0; i < count; i++) {
        TRY(check_blocks(member[i].items));
        if (is_alone(cuda, module, &member[i])) {
            TRY(start(cuda, module, &member[i], &fault[i]));
            continue;
        }
        add_arguments(&member[i], &fault[i], -table.blocks, &table.words);
        table.blocks += member[i].items;
        if (++table.count == module->group_most[member->kernel])
            TRY(start_table(cuda, module, member, &table));
    }
    return start_table(cuda, module, member, &table);
}

Status sn_cuda_launch_group(Device *device, Module *module, const LaunchArguments *member, int count,
                            int *fault) {
    Cuda *cuda = (Cuda *)device;
    TRY(check_kernel(device, member));
    TRY(sn_cuda_enter(cuda));
    Status status = start_group(cuda, (const CudaModule *)module, member, count, fault);
    sn_cuda_leave(cuda);
    return status;
}
