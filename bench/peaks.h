/* What this machine can do at most, measured: what results are held against. */
#ifndef SN_PEAKS_H
#define SN_PEAKS_H

#include "status.h"

typedef struct Peaks {
    int threads;
    double fma;  /* float32 multiply-adds, FLOP/s (two FLOPs each) */
    double copy; /* bytes/s, read and written, of a copy between buffers larger than caches usually are */
    double read; /* bytes/s of a sum over such a buffer */
} Peaks;

/* Measures on `threads` threads (0: as many as the process may use), with kernels that the CPU device
 * compiles; about half a second. The best of several tries counts. `cache_dir` as in sn_CompileOptions. */
Status sn_peaks_measure(int threads, const char *cache_dir, Peaks *out);

#endif
