/* Kernels from text to machine code for a kind of GPU, which need not be there. */
#ifndef SN_NVRTC_H
#define SN_NVRTC_H

#include "cpu/cache.h"
#include "cpu/threads.h"
#include "device.h"
#include "libraries.h"

/* The compiler. Loading it takes a tenth of a second, so it is loaded when there is something to compile:
 * what keys of the cache need of it is noted there, with the file that it was loaded from. */
typedef struct Nvrtc {
    const char *path; /* of the file */
    int major, minor;
    int driver; /* the version of the one that is to run what it makes; 0: not known */
    Cache cache;
} Nvrtc;

/* Finds NVRTC for a driver (libraries.h) and opens the kernel cache (`cache_dir` as in sn_CompileOptions).
 * SN_COMPILER when it is missing. */
Status sn_nvrtc_open(Arena *arena, const char *cache_dir, int driver, Nvrtc *out);

/* What the assembler says of a kernel. */
typedef struct KernelUse {
    int32_t registers;   /* of a thread */
    int32_t spilled;     /* bytes of registers that a thread stores to memory for want of them */
    int32_t shared;      /* static, bytes of a block */
    int32_t stack_frame; /* bytes of a thread */
} KernelUse;

/* Machine code of one kernel: an ELF file. */
typedef struct Cubin {
    const void *bytes;
    size_t size;
    KernelUse use;
} Cubin;

/* Compiles the kernels that the cache does not have for `architecture` ("sm_90a"), several at once on the
 * threads of `pool`; out[0 .. count) lie in `arena`. SN_COMPILER with the compiler's first lines. */
Status sn_nvrtc_compile(Arena *arena, const Nvrtc *nvrtc, Pool *pool, const char *architecture,
                        const Kernel *const *kernel, int count, CompileRecord *record, Cubin *out);

/* The numbers in the assembler's report. */
KernelUse sn_nvrtc_read_log(const char *log);

#endif
