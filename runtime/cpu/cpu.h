/* The processor this process runs on, as a device. */
#ifndef SN_CPU_H
#define SN_CPU_H

#include "device.h"
#include "threads.h"

/* The target facts, from the system compiler and the system. `cache_dir` as in sn_CompileOptions. The
 * strings lie in `arena`. */
Status sn_cpu_target(Arena *arena, const char *cache_dir, Target *out);

/* Kernels run on the threads of `pool`, which must outlive the device. What the device keeps lies in `arena`;
 * close releases the rest. */
Status sn_cpu_open(Arena *arena, const char *cache_dir, Pool *pool, Device **out);

/* The same without a compiler, for kernels that were generated for `target`: it loads images only. */
Status sn_cpu_open_compiled(Arena *arena, const Target *target, Pool *pool, Device **out);

#endif
