/* What this machine can do at most, measured: what results are held against. */
#ifndef SN_PEAKS_H
#define SN_PEAKS_H

#include "status.h"
#include <stdbool.h>

typedef struct Peaks {
    int threads;
    double fma;     /* float32 multiply-adds, FLOP/s (two FLOPs each), or what sn_peak_meter_dots says */
    double copy;    /* bytes/s, read and written, of a copy between buffers larger than caches usually are */
    double read;    /* bytes/s of a sum over such a buffer */
    double balance; /* of the try that `fma` is from: what the least busy thread did, by an even share; 1 is
                       even, 0 means that a thread took no part */
} Peaks;

/* The kernels, threads and buffers of measurements that are spread over a benchmark: each call measures for a few
 * milliseconds and the best so far is kept. Loops have two forms, of which the quicker counts: what is read is
 * fetched ahead by the processor alone, or besides into the second-level cache. A figure of one moment is worth
 * little where other programs run, or where a thread may be late. One thread at a time. */
typedef struct PeakMeter PeakMeter;

/* For `threads` threads (0: as many as the process may use), with kernels that the CPU device compiles.
 * `cache_dir` as in sn_CompileOptions. Takes 192 MB of memory until it is freed. */
Status sn_peak_meter_new(int threads, const char *cache_dir, PeakMeter **out);
void sn_peak_meter_free(PeakMeter *meter); /* NULL is allowed */

/* From now on multiply-adds are those of bf16: by matrix tiles, where they are quicker, or by dot products.
 * SN_UNSUPPORTED where the processor has neither. */
Status sn_peak_meter_dots(PeakMeter *meter);

/* From now on what loops read is put out of all caches before: there are last-level caches that hold all of it. */
void sn_peak_meter_past_caches(PeakMeter *meter);

/* One measurement of the multiply-adds, or of both memory rates (of reading alone: `copies` false). A burst
 * in which a thread came late is repeated a few times. *rate (may be NULL): of this one, FLOP/s or bytes/s
 * read. */
Status sn_peak_meter_fma(PeakMeter *meter, double *rate);
Status sn_peak_meter_memory(PeakMeter *meter, bool copies, double *rate);

/* One measurement of the copy. *rate: of this one, bytes/s read and written. */
Status sn_peak_meter_copy(PeakMeter *meter, double *rate);

/* One measurement of a loop that writes `written` of every SN_PEAK_MIX lines past the caches and reads the others.
 * *rate: of this one, bytes/s read and written. */
enum { SN_PEAK_MIX = 12 };
Status sn_peak_meter_mix(PeakMeter *meter, int written, double *rate);

/* One measurement of a copy past the caches of rows of `row_bytes`, a multiple of 64, that lie anywhere in
 * `table_bytes` or in what the meter has; each with one of the table's first `beside` rows added, by turns (0: with none). *rate: of
 * this one, bytes/s read and written, but for these. */
Status sn_peak_meter_rows(PeakMeter *meter, int64_t row_bytes, int64_t table_bytes, int64_t beside,
                          double *rate);

/* One measurement of what transposing rows of so many floats reads and writes, `positions` rows (of which so many as are a multiple
 * of 32) or all that the meter has at a time, without exchanging elements: what it makes depends on how far the results' rows are
 * from each other. *rate: of this one, bytes/s read and written. */
Status sn_peak_meter_bands(PeakMeter *meter, int64_t columns, int64_t positions, double *rate);

/* One measurement of a copy past the caches of rows of `row_bytes`, a multiple of 256, each of which is stored while the next
 * one is read: from where it was read, or (`kept`) from a copy of its own. *rate: of this one, bytes/s read and written. */
Status sn_peak_meter_again(PeakMeter *meter, int64_t row_bytes, bool kept, double *rate);

/* Several of each, with pauses: a third of a second. */
Status sn_peak_meter_all(PeakMeter *meter);

/* The best of all measurements so far. */
const Peaks *sn_peak_meter_best(const PeakMeter *meter);

/* A meter for one moment: sn_peak_meter_all and its best. */
Status sn_peaks_measure(int threads, const char *cache_dir, Peaks *out);

#endif
