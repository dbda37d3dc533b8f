/* Kernels that do nothing but what a machine is rated by: multiply-adds, bf16 dot products, matrix tiles, copies,
 * reads, mixes of these, copies of rows from anywhere, lines of transpositions, rows that are walked twice. They are
 * compiled as every other kernel is. */
#ifndef SN_RATES_H
#define SN_RATES_H

#include "codegen.h"

typedef enum RateKernel {
    SN_RATE_FMA,   /* f32 multiply-adds */
    SN_RATE_DOT,   /* bf16 dot products of pairs, accumulated in f32; does nothing where there are none */
    SN_RATE_BYTES, /* products of bytes, four of which are added to an i32; likewise */
    SN_RATE_MATRIX, /* products of bf16 by matrix tiles, accumulated in f32; likewise. For those who may use them */
    SN_RATE_MATRIX_BYTES,        /* and of bytes */
    SN_RATE_STREAM,              /* a copy with stores past the caches */
    SN_RATE_COPY,                /* a copy with ordinary stores */
    SN_RATE_READ,                /* a sum */
    SN_RATE_EVICT,               /* puts what it is given out of the caches */
    SN_RATE_FACTS,               /* those above are what a target's facts are measured with */
    SN_RATE_MIX = SN_RATE_FACTS, /* so many lines read, so many stored past the caches */
    SN_RATE_ROWS,                /* a copy of rows that lie anywhere */
    SN_RATE_BANDS,               /* what a transposition reads and writes, without exchanging elements */
    SN_RATE_AGAIN,               /* a copy of rows that goes over each of them twice */
    SN_RATE_COUNT
} RateKernel;

enum {
    SN_RATE_RESULT = 16, /* floats between the results of two work items of FMA, DOT, BYTES and READ */
    SN_RATE_CHAINS = 24, /* the most that FMA, DOT and BYTES have */
    SN_RATE_LINE = 64,   /* bytes */
    SN_RATE_BAND = 32,   /* rows of BANDS */
    SN_RATE_MATRIX_FLOP = 2 * 16 * 16 * 32, /* of a MATRIX chain's step */
    SN_RATE_AHEAD = 3072,                   /* bytes that a stream is fetched ahead, where it is */
};

/* All of them, in `arena`, by RateKernel.
 *
 * FMA, DOT, BYTES: buffer 0 begins with two factors and the first values of SN_RATE_CHAINS chains, all different;
 * symbol 0 is the number of rounds. Item i leaves three things at float SN_RATE_RESULT * i of buffer 1: a
 * result, how many chains of vectors there are (0: no such instruction), and from float 2 on 8 bytes that tell
 * the thread. A round is, a chain, one multiply-add a lane (FMA), two (DOT) or four (BYTES).
 *
 * MATRIX, MATRIX_BYTES: the same, but that a round is SN_RATE_MATRIX_FLOP a chain, or twice as many, of operands that
 * are loaded from the first-level cache as products load them, two by two.
 *
 * STREAM, COPY: item i writes bytes [i * s, (i + 1) * s) of buffer 1, with the other sign, from those of buffer
 * 0; READ sums those of buffer 0 and leaves a float in buffer 1. s is symbol 0, a multiple of 256. What is read is
 * fetched into the second-level cache symbol 1 bytes ahead, a multiple of 64; 0: it is not.
 *
 * EVICT: item i puts bytes [i * s, (i + 1) * s) of buffer 0 out of all caches, where the processor lets programs do so; s, symbol
 * 0, is a multiple of SN_RATE_LINE.
 *
 * MIX: item i is symbol 0 rounds of symbol 1 lines read of buffer 0 and symbol 2 lines written to buffer 1, both
 * going on from item to item; each line written holds a sum of those that the round has read, plus 1. Symbol 3 as symbol 1 of
 * READ.
 *
 * ROWS: item i writes rows [i * symbol 0, (i + 1) * symbol 0) of buffer 1, past the caches; a row is symbol 1 lines and
 * comes from a row of buffer 0 below symbol 2 that a hash chooses, fetched two rows ahead;
 * where symbol 4 is not 0, into the second-level cache. Where symbol 3 is not 0, one of so many rows at the beginning of buffer 0
 * is added to each, by turns.
 *
 * BANDS: item i reads SN_RATE_BAND rows of symbol 0 floats from row SN_RATE_BAND * i of buffer 0 on, by columns of
 * lines, while the next band is fetched as it lies, and writes their lines to buffer 1 where the transposed ones of
 * each symbol 1 rows, a multiple of SN_RATE_BAND, would be. What is behind the last whole line of a row is left
 * alone. What symbol 2 is, is symbol 4 of ROWS.
 *
 * AGAIN: item i writes row i of buffer 1 past the caches, from that of buffer 0; a row is symbol 0 lines, a multiple of 4. It is
 * stored while the next one is read, from where it was read (symbol 1 is 0) or from a copy of the thread's. Symbol 2 as symbol 1
 * of READ. */
void sn_rate_kernels(Arena *arena, const Kernel *out[SN_RATE_COUNT]);

/* Fills a buffer whose reading and copying is to be measured: there are processors that store lines of zeros in half
 * the time of others, so a copy of untouched memory tells nothing about data. */
void sn_rate_fill(void *buffer, int64_t bytes);

#endif
