/* NVIDIA GPUs as devices. */
#ifndef SN_CUDA_H
#define SN_CUDA_H

#include "cpu/threads.h"
#include "device.h"

/* What a device is asked for by: "cuda" (the first GPU) or "cuda:1"; and "cuda:sm_90a", a kind of GPU that
 * need not be there. */
typedef struct CudaName {
    int ordinal;
    int sm; /* 0: a GPU that is there */
} CudaName;

/* False when `name` names no GPU. */
bool sn_cuda_name(const char *name, CudaName *out);

/* A GPU of this machine, with NVRTC. Kernels are compiled on the threads of `pool`, which outlives the
 * device, and kept in the kernel cache (`cache_dir` as in sn_CompileOptions). What the device keeps lies in
 * `arena`; close releases the rest. SN_DEVICE says what is missing: driver, GPU, NVRTC. */
Status sn_cuda_device_open(Arena *arena, const char *cache_dir, int ordinal, Pool *pool, Device **out);

/* The same for kernels that were compiled for `target` before: it loads images only. SN_UNSUPPORTED when the
 * GPU is none that runs them. */
Status sn_cuda_device_compiled(Arena *arena, const Target *target, int ordinal, Pool *pool, Device **out);

/* A kind of GPU that need not be there: kernels can be compiled and made an image of, and nothing runs. */
Status sn_cuda_device_absent(Arena *arena, const char *cache_dir, int sm, Pool *pool, Device **out);

/* ---- for people ---- */

/* "", or why kernels that were compiled for `target` do not run on this machine's first GPU, in `arena`. */
const char *sn_cuda_missing(Arena *arena, const Target *target);

typedef struct CudaGpu {
    const char *name;
    Target target;
    int64_t memory; /* bytes */
    int clock_mhz, memory_clock_mhz, bus_bits;
} CudaGpu;

/* What there is of CUDA on this machine. Strings lie in an arena; a `missing` is "" where all is well. */
typedef struct CudaFinding {
    const char *driver, *driver_missing; /* path; why it is not usable */
    int driver_version;                  /* 1000·major + 10·minor; 0: not known */
    const char *nvrtc, *nvrtc_missing;
    int nvrtc_major, nvrtc_minor;
    const char *cublaslt, *cublaslt_missing;
    size_t cublaslt_version; /* 10000·major + 100·minor + patch */
    int gpu_count;
    const CudaGpu *gpu;
} CudaFinding;

void sn_cuda_find(Arena *arena, CudaFinding *out);

#endif
