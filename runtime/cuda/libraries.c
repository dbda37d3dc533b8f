#include "libraries.h"
#include <dlfcn.h>
#include <stdlib.h>

typedef struct Symbol {
    const char *name;
    size_t offset; /* of the pointer in the library's struct */
} Symbol;

typedef struct LibraryKind {
    const char *what, *variable;
    const char *name[4]; /* of the toolkit the newest first */
    bool toolkit;        /* it may lie in the toolkit's folders, which the loader does not know */
    sn_Code code;
    const char *needs; /* what has all of the functions */
    const Symbol *symbol;
    size_t symbol_count;
} LibraryKind;

#define DRIVER_SYMBOL(result, name, parameters) {#name, offsetof(DriverLibrary, name)},
#define NVRTC_SYMBOL(result, name, parameters)  {#name, offsetof(NvrtcLibrary, name)},
#define LT_SYMBOL(result, name, parameters)     {#name, offsetof(LtLibrary, name)},
static const Symbol driver_symbols[] = {SN_CUDA_DRIVER(DRIVER_SYMBOL)};
static const Symbol nvrtc_symbols[] = {SN_CUDA_NVRTC(NVRTC_SYMBOL)};
static const Symbol lt_symbols[] = {SN_CUDA_CUBLASLT(LT_SYMBOL)};

static const LibraryKind driver_kind = {.what = "the NVIDIA driver",
                                        .variable = "SINTER_LIBCUDA",
                                        .name = {"libcuda.so.1"},
                                        .code = SN_DEVICE,
                                        .needs = "a driver of CUDA 12.0 or later",
                                        .symbol = driver_symbols,
                                        .symbol_count = sizeof driver_symbols / sizeof *driver_symbols};
static const LibraryKind nvrtc_kind = {.what = "NVRTC",
                                       .variable = "SINTER_LIBNVRTC",
                                       .name = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"},
                                       .toolkit = true,
                                       .code = SN_COMPILER,
                                       .needs = "NVRTC 12 or 13",
                                       .symbol = nvrtc_symbols,
                                       .symbol_count = sizeof nvrtc_symbols / sizeof *nvrtc_symbols};
static const LibraryKind lt_kind = {.what = "cuBLASLt",
                                    .variable = "SINTER_LIBCUBLASLT",
                                    .name = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"},
                                    .toolkit = true,
                                    .code = SN_DEVICE,
                                    .needs = "cuBLASLt 12 or 13",
                                    .symbol = lt_symbols,
                                    .symbol_count = sizeof lt_symbols / sizeof *lt_symbols};

static void *try_path(Arena *arena, const char *path, const char **found, const char **reason) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle)
        *found = sn_arena_string(arena, path);
    else if (!*reason)
        *reason = sn_arena_string(arena, dlerror()); /* the first name's is the one to read */
    return handle;
}

/* The k-th name to try. A driver need not run what a toolkit of a later major number makes, so that before a driver of
 * CUDA 13 the names of 13 and 12 change places. */
static const char *name_at(const LibraryKind *kind, int driver, int k) {
    enum { NEWEST = 13 };
    bool older = kind->toolkit && driver && driver / 1000 < NEWEST;
    return kind->name[older && k < 2 ? 1 - k : k];
}

static void *find_library(Arena *arena, const LibraryKind *kind, int driver, const char **found,
                          const char **reason) {
    static const char *const folders[] = {"", "/usr/local/cuda/lib64/", "/usr/lib/x86_64-linux-gnu/"};
    const char *told = secure_getenv(kind->variable);
    if (told) return try_path(arena, told, found, reason);
    for (int k = 0; k < 4 && kind->name[k]; k++)
        for (int i = 0; i < (kind->toolkit ? 3 : 1); i++) {
            const char *path = sn_arena_printf(arena, "%s%s", folders[i], name_at(kind, driver, k));
            void *handle = try_path(arena, path, found, reason);
            if (handle) return handle;
        }
    return NULL;
}

static Status open_library(Arena *arena, const LibraryKind *kind, int driver, void *out, const char **path) {
    const char *reason = NULL;
    void *handle = find_library(arena, kind, driver, path, &reason);
    if (!handle) return sn_fail(kind->code, "%s is missing: %s", kind->what, reason);
    for (size_t i = 0; i < kind->symbol_count; i++) {
        void *symbol = dlsym(handle, kind->symbol[i].name);
        if (!symbol)
            return sn_fail(kind->code, "%s lacks %s: %s is needed", *path, kind->symbol[i].name, kind->needs);
        memcpy((char *)out + kind->symbol[i].offset, &symbol, sizeof symbol);
    }
    return NULL;
}

const char *sn_cuda_nvrtc_file(Arena *arena, const NvrtcLibrary *nvrtc) {
    Dl_info info;
    void *inside;
    memcpy(&inside, &nvrtc->nvrtcVersion, sizeof inside);
    char *real = dladdr(inside, &info) ? realpath(info.dli_fname, NULL) : NULL;
    const char *file = real ? sn_arena_string(arena, real) : NULL;
    free(real);
    return file;
}

/* NVRTC opens its builtins by their bare name when it compiles, and the loader does not look for that beside NVRTC. What
 * has been opened by a path is found by its name too; where nothing lies there, NVRTC says what it misses. */
static void open_builtins(Arena *arena, const NvrtcLibrary *nvrtc) {
    int major, minor;
    const char *file = sn_cuda_nvrtc_file(arena, nvrtc), *end = file ? strrchr(file, '/') : NULL;
    if (!end || nvrtc->nvrtcVersion(&major, &minor)) return;
    const char *path =
        sn_arena_printf(arena, "%.*s/libnvrtc-builtins.so.%d.%d", (int)(end - file), file, major, minor);
    dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

Status sn_cuda_open_driver(Arena *arena, DriverLibrary *out, const char **path) {
    return open_library(arena, &driver_kind, 0, out, path);
}

Status sn_cuda_open_nvrtc(Arena *arena, int driver, NvrtcLibrary *out, const char **path) {
    TRY(open_library(arena, &nvrtc_kind, driver, out, path));
    open_builtins(arena, out);
    return NULL;
}

Status sn_cuda_open_cublaslt(Arena *arena, int driver, LtLibrary *out, const char **path) {
    return open_library(arena, &lt_kind, driver, out, path);
}
