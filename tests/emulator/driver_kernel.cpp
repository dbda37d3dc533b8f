/* Modules and launches of the emulated driver. */
#include "driver.h"

#include "engine.h"
#include "faults.h"
#include "image.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { USUAL_SHARED = 48 << 10, MAX_THREADS = 1024, REGISTERS = 32 };
enum { PROCESSOR_THREADS = 2048 };

struct CUmod_st {
    void *library;
    std::set<CuFunction> functions;
};

struct CUfunc_st {
    std::string name;
    const EmuEntry *entry;
    const EmuModule *module;
    size_t dynamic_limit;
};

/* ---- modules ---- */

/* Kernels find the emulator in this library, whichever way the process has opened it. */
static void be_global() {
    Dl_info self;
    if (dladdr((void *)be_global, &self)) dlopen(self.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
}

/* The size of a shared object of the host, whose last part is the table of its sections; 0: it is none. */
static size_t image_size(const void *image) {
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)image;
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_machine != EM_X86_64) return 0;
    return header->e_shoff + (size_t)header->e_shnum * header->e_shentsize;
}

/* Through a file, whose name is another one each time: dlopen knows libraries by their names. */
static void *open_image(const void *image, size_t size) {
    char path[] = "/tmp/sinter-emulated-XXXXXX";
    int file = mkstemp(path);
    if (file < 0) return NULL;
    bool written = write(file, image, size) == (ssize_t)size;
    close(file);
    void *library = written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!library) emu_say("%s", written ? dlerror() : "a module cannot be written");
    unlink(path);
    return library;
}

/* Code for "sm_90a" runs on 9.0 alone, that for "sm_80" on every 8.x from there on. */
static bool runs_here(const EmuImage *image) {
    char *end;
    long built = strtol(image->architecture + 3, &end, 10), sm = emu_setting("sm", 90);
    return *end ? built == sm : built / 10 == sm / 10 && built <= sm;
}

CuResult cuModuleLoadData(CuModule *module, const void *image) {
    Call call(EMU_CONTEXT | EMU_NO_CAPTURE);
    *module = NULL;
    if (call.refused) return call.refused;
    size_t size = image_size(image);
    if (!size) return SN_CU_INVALID_IMAGE;
    if (emu_planted("module")) return (CuResult)emu_setting("module_code", SN_CU_OUT_OF_MEMORY);
    be_global();
    void *library = open_image(image, size);
    const EmuImage *facts = library ? (const EmuImage *)dlsym(library, "emu_image") : NULL;
    if (!facts || !runs_here(facts)) {
        if (library) dlclose(library);
        return facts ? SN_CU_NO_BINARY_FOR_GPU : SN_CU_INVALID_IMAGE;
    }
    *module = new CUmod_st{library, {}};
    emu_driver.modules.insert(*module);
    return SN_CU_SUCCESS;
}

CuResult cuModuleUnload(CuModule module) {
    Call call(EMU_CONTEXT | EMU_NO_CAPTURE);
    if (!emu_driver.modules.count(module)) return call.refused ? call.refused : (CuResult)CU_INVALID_HANDLE;
    emu_finish_all();
    emu_driver.modules.erase(module);
    for (CuFunction function : module->functions) {
        emu_driver.functions.erase(function);
        delete function;
    }
    dlclose(module->library);
    delete module;
    return emu_driver.lost;
}

CuResult cuModuleGetFunction(CuFunction *function, CuModule module, const char *name) {
    Call call(EMU_CONTEXT);
    *function = NULL;
    if (call.refused) return call.refused;
    if (!emu_driver.modules.count(module)) return CU_INVALID_HANDLE;
    const void *entry = dlsym(module->library, (std::string(name) + "_entry").c_str());
    if (!entry) return SN_CU_NOT_FOUND;
    const EmuModule *of = emu_module_at(entry);
    *function = new CUfunc_st{name, (const EmuEntry *)entry, of, USUAL_SHARED};
    module->functions.insert(*function);
    emu_driver.functions.insert(*function);
    return SN_CU_SUCCESS;
}

/* ---- functions ---- */

static size_t static_shared(CuFunction function) {
    return (size_t)(function->module->shared_end - function->module->shared_start);
}

static int thread_limit(CuFunction function) {
    return function->entry->max_threads ? function->entry->max_threads : MAX_THREADS;
}

CuResult cuFuncGetAttribute(int *value, unsigned attribute, CuFunction function) {
    Call call(EMU_CONTEXT);
    *value = 0;
    if (call.refused) return call.refused;
    if (!emu_driver.functions.count(function)) return CU_INVALID_HANDLE;
    switch (attribute) {
    case SN_CU_FUNC_MAX_THREADS_PER_BLOCK:
        *value = thread_limit(function);
        break;
    case SN_CU_FUNC_SHARED_SIZE_BYTES:
        *value = (int)static_shared(function);
        break;
    case SN_CU_FUNC_LOCAL_SIZE_BYTES:
        *value = 0;
        break;
    case SN_CU_FUNC_NUM_REGS:
        *value = REGISTERS;
        break;
    case SN_CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *value = (int)function->dynamic_limit;
        break;
    default:
        return SN_CU_INVALID_VALUE;
    }
    return SN_CU_SUCCESS;
}

CuResult cuFuncSetAttribute(CuFunction function, unsigned attribute, int value) {
    Call call(EMU_CONTEXT);
    if (call.refused) return call.refused;
    if (!emu_driver.functions.count(function)) return CU_INVALID_HANDLE;
    if (attribute != SN_CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 ||
        (size_t)value + static_shared(function) > emu_block_shared())
        return SN_CU_INVALID_VALUE;
    function->dynamic_limit = (size_t)value;
    return SN_CU_SUCCESS;
}

CuResult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *count, CuFunction function, int threads,
                                                     size_t shared) {
    Call call(EMU_CONTEXT);
    *count = 0;
    if (call.refused) return call.refused;
    if (!emu_driver.functions.count(function)) return CU_INVALID_HANDLE;
    if (threads < 1 || threads > thread_limit(function)) return SN_CU_INVALID_VALUE;
    size_t bytes = shared + static_shared(function);
    int by_threads = PROCESSOR_THREADS / threads,
        by_shared = bytes ? (int)(emu_block_shared() / bytes) : by_threads;
    *count = (int)emu_setting("resident", by_threads < by_shared ? by_threads : by_shared);
    return SN_CU_SUCCESS;
}

/* ---- launches ---- */

struct Launch {
    CuFunction function;
    unsigned grid[3], block[3];
    size_t shared;
    std::vector<char> args;
};

/* All pointers of the arguments must be to memory that the device sees. */
static bool pointers_are_seen(const Launch *launch) {
    const EmuEntry *entry = launch->function->entry;
    for (size_t i = 0; i <= entry->pointers; i++) {
        size_t at = i < entry->pointers ? i * sizeof(void *) : entry->fault_at;
        void *pointer;
        if (i == entry->pointers && !entry->fault_at) continue;
        memcpy(&pointer, launch->args.data() + at, sizeof pointer);
        if (emu_device_sees(pointer, 0)) continue;
        emu_say("kernel %s: argument word %zu, %p, is no address of the device",
                launch->function->name.c_str(), at / sizeof(void *), pointer);
        return false;
    }
    return true;
}

static CuResult run_kernel(const Launch *launch) {
    if (!pointers_are_seen(launch)) return SN_CU_ILLEGAL_ADDRESS;
    if (emu_planted("launch")) return (CuResult)emu_setting("launch_code", SN_CU_LAUNCH_FAILED);
    EmuLaunch run = {};
    run.kernel = launch->function->entry->kernel;
    run.args = launch->args.data();
    memcpy(run.grid, launch->grid, sizeof run.grid);
    memcpy(run.block, launch->block, sizeof run.block);
    run.shared = launch->shared;
    run.order = (EmuOrder)(emu_setting("order", EMU_FORWARD) % EMU_ORDER_COUNT);
    run.seed = 7;
    if (emu_launch(&run) == 0) return SN_CU_SUCCESS;
    emu_say("kernel %s: %s", launch->function->name.c_str(), run.message);
    return run.failure == EMU_ILLEGAL_ADDRESS ? SN_CU_ILLEGAL_ADDRESS
           : run.failure == EMU_MISALIGNED    ? SN_CU_MISALIGNED_ADDRESS
                                              : SN_CU_LAUNCH_FAILED;
}

/* The argument struct, from either of the two ways to pass it; false: neither is right. */
static bool read_args(const EmuEntry *entry, void **parameters, void **extra, std::vector<char> *args) {
    const char *bytes = parameters && !extra ? (const char *)parameters[0] : NULL;
    size_t size = entry->args_bytes;
    for (; extra && *extra != SN_CU_LAUNCH_END; extra += 2) {
        if (extra[0] == SN_CU_LAUNCH_BUFFER_POINTER)
            bytes = (const char *)extra[1];
        else if (extra[0] == SN_CU_LAUNCH_BUFFER_SIZE)
            size = *(const size_t *)extra[1];
        else
            return false;
    }
    if (!bytes || size != entry->args_bytes) return false;
    args->assign(bytes, bytes + size);
    return true;
}

static CuResult find_excess(const Launch *launch) {
    CuFunction function = launch->function;
    const unsigned *grid = launch->grid, *block = launch->block;
    if (!grid[0] || !grid[1] || !grid[2] || grid[0] > 0x7fffffffu || grid[1] > 65535 || grid[2] > 65535)
        return SN_CU_INVALID_VALUE;
    if (!block[0] || !block[1] || !block[2] || block[2] > 64 || block[0] > MAX_THREADS ||
        block[1] > MAX_THREADS)
        return SN_CU_INVALID_VALUE;
    if (block[0] * block[1] * block[2] > (unsigned)thread_limit(function)) return SN_CU_INVALID_VALUE;
    if (launch->shared > function->dynamic_limit || launch->shared + static_shared(function) > emu_block_shared())
        return SN_CU_INVALID_VALUE;
    /* What needs more than is usual must have asked for it. */
    if (function->dynamic_limit == USUAL_SHARED && launch->shared + static_shared(function) > USUAL_SHARED)
        return SN_CU_INVALID_VALUE;
    return emu_planted("refuse") ? SN_CU_LAUNCH_OUT_OF_RESOURCES : SN_CU_SUCCESS;
}

CuResult cuLaunchKernel(CuFunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                        CuStream stream, void **parameters, void **extra) {
    Call call(EMU_CONTEXT);
    if (call.refused) return call.refused;
    if (!emu_driver.functions.count(function)) return CU_INVALID_HANDLE;
    Launch launch = {function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared, {}};
    CuResult excess = find_excess(&launch);
    if (!excess && !read_args(function->entry, parameters, extra, &launch.args)) excess = SN_CU_INVALID_VALUE;
    if (excess) {
        emu_say("kernel %s cannot be launched: grid %u %u %u, block %u %u %u of at most %d, %u bytes of "
                "shared memory and "
                "%zu static ones of at most %zu, %zu bytes of arguments",
                function->name.c_str(), grid_x, grid_y, grid_z, block_x, block_y, block_z,
                thread_limit(function), shared, static_shared(function), function->dynamic_limit,
                function->entry->args_bytes);
        return excess;
    }
    return emu_enqueue(
        stream, "kernel", [=]() -> CuResult { return run_kernel(&launch); }, function->name);
}
