/* The CUDA libraries, opened while the program runs.
 *
 * Where each is looked for is told by a variable of the environment (SINTER_LIBCUDA, SINTER_LIBNVRTC,
 * SINTER_LIBCUBLASLT: a path, and then nowhere else), or else the usual names in the loader's folders and,
 * of the toolkit, in /usr/local/cuda/lib64 and /usr/lib/x86_64-linux-gnu. They stay loaded until the process
 * ends: unloading them loses memory of theirs. */
#ifndef SN_CUDA_LIBRARIES_H
#define SN_CUDA_LIBRARIES_H

#include "abi.h"
#include "arena.h"
#include "status.h"

/* Opens a library and looks up all of its functions. *path is what was opened, in `arena`. SN_DEVICE (of
 * NVRTC: SN_COMPILER) says which library is missing, or which function a library lacks that is too old. */
Status sn_cuda_open_driver(Arena *arena, DriverLibrary *out, const char **path);
Status sn_cuda_open_nvrtc(Arena *arena, NvrtcLibrary *out, const char **path);
Status sn_cuda_open_cublaslt(Arena *arena, LtLibrary *out, const char **path);

#endif
