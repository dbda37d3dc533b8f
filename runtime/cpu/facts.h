/* What no feature bit tells about a processor: rates and bandwidths, measured once on one thread and kept in the kernel
 * cache for as long as compiler and processor stay the same. They are rounded to powers of two, so that noise
 * seldom flips a figure, and once kept they do not change. */
#ifndef SN_FACTS_H
#define SN_FACTS_H

#include "text.h"
#include "toolchain.h"

typedef struct CpuFacts {
    int fma_gflops;  /* f32 multiply-adds, two FLOP each, 10^9/s */
    int dot_percent; /* FLOP of bf16 dot products by those of f32 multiply-adds: 50, 100, 200; 0: none */
    int byte_percent; /* multiply-adds of bytes by integer dot products, by those of f32: 100, 200, 400; 0: none */
    int matrix_percent; /* FLOP of products of bf16 by matrix tiles, by the same: a power of two times 100; 0: none */
    int matrix_byte_percent; /* multiply-adds of bytes by them; likewise */
    int read_gbytes;         /* from memory, 10^9/s */
    int copy_gbytes;         /* the same read and written, with stores past the caches */
    int stream_pays;         /* 1: such stores are not slower than ordinary ones; 0: they are, clearly */
    int fetch_pays; /* 1: a copy is clearly quicker that fetches what it reads into the second-level cache; 0: it is not */
} CpuFacts;

/* The kept facts; where there are none, they are measured, those of matrix tiles where this process may use them (a
 * third of a second with compiling, 128 MB of memory) and kept. */
Status sn_cpu_facts(Arena *arena, const Toolchain *tools, CpuFacts *out);

/* The power of two, at least 1, that is nearest to `value` by ratio; 0 for 0. */
int sn_cpu_class(double value);

/* "fma_gflops 256\n...", and back: false when `text` is not that. */
void sn_cpu_facts_print(Text *text, const CpuFacts *facts);
bool sn_cpu_facts_parse(const char *text, CpuFacts *out);

#endif
