/* The CUDA libraries, opened while the program runs.
 *
 * Where each is looked for is told by a variable of the environment (SINTER_LIBCUDA, SINTER_LIBNVRTC,
 * SINTER_LIBCUBLASLT: a path, and then nowhere else), or else the usual names in the loader's folders and,
 * of the toolkit, in /usr/local/cuda/lib64 and /usr/lib/x86_64-linux-gnu: those of the driver's major number before
 * newer ones. They stay loaded until the process ends: unloading them loses memory of theirs. */
#ifndef SN_CUDA_LIBRARIES_H
#define SN_CUDA_LIBRARIES_H

#include "abi.h"
#include "arena.h"
#include "status.h"

/* Opens a library and looks up all of its functions. *path is what was opened, in `arena`; `driver` is the version of
 * the driver that it is for, 1000·major + 10·minor, 0: not known. SN_DEVICE (of NVRTC: SN_COMPILER) says which library
 * is missing, or which function a library lacks that is too old. */
Status sn_cuda_open_driver(Arena *arena, DriverLibrary *out, const char **path);
Status sn_cuda_open_nvrtc(Arena *arena, int driver, NvrtcLibrary *out, const char **path);
Status sn_cuda_open_cublaslt(Arena *arena, int driver, LtLibrary *out, const char **path);

/* The file that NVRTC was loaded from, links resolved; NULL when it cannot be told. */
const char *sn_cuda_nvrtc_file(Arena *arena, const NvrtcLibrary *nvrtc);

#endif
