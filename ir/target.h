/* Plain facts about the machine that code is generated for. Passes and codegen read these; neither ever looks
 * at a processor's name. Measured facts are rounded to coarse classes so that noise flips no choice. */
#ifndef SN_TARGET_H
#define SN_TARGET_H

#include "attr.h"

typedef enum TargetKind { SN_TARGET_CPU, SN_TARGET_CUDA } TargetKind;

typedef sn_Precision Precision;

typedef struct Target {
    TargetKind kind;
    const char *name; /* "cpu", "cuda:sm_90a": for printing and cache keys */

    /* CPU; saved programs keep these numbers, and those of the tile: see runtime/saved_facts.c */
    int vector_bytes;     /* 64, 32 or 16 */
    int vector_registers; /* 32 with AVX-512, else 16 */
    int64_t l1_bytes, l2_bytes;
    int64_t stream_bytes; /* a kernel that writes at least that much stores past the caches; 0: never */
    int fetch_bytes; /* measured: streams that are too large for the caches are fetched so far ahead into the second-level one;
                        0: the processor does that well enough */
    int dot_percent; /* measured: FLOP of bf16 dot products by those of f32 multiply-adds, 50, 100 or 200; 0:
                        there are none */
    int byte_percent; /* measured: multiply-adds of bytes by integer dot products, by those of f32: 100, 200 or 400;
                         0: there are none */
    int matrix_percent; /* measured: FLOP of products of bf16 by matrix tiles (device/matrix.h), by those of f32 multiply-adds,
                                100 times a power of two; 0: there are none, or this process may not use them */
    int matrix_byte_percent; /* multiply-adds of bytes by them; likewise */
    const char *isa; /* compiler flags' key, e.g. what -march=native resolved to; part of the cache key */

    /* CUDA; likewise */
    int sm;                   /* 80, 89, 90 */
    const char *architecture; /* what NVRTC compiles for: "sm_90a" */
    int warp, max_threads;    /* max_threads: of a block */
    int processors;           /* streaming multiprocessors */
    int walk_waves; /* a grid of more blocks than so many times those that the device holds at once has as many as these, which
                       have several turns each; 0: all grids have all blocks. Changes no result */
    int64_t shared_bytes; /* that a block may ask for */
    bool library;         /* there is cuBLASLt */
    Precision precision;  /* of products of f32 */

    /* contraction: register tile and packed panel width (elements), chosen from the above */
    int tile_rows, tile_vectors;
    int64_t panel;

    const struct Tuning *tuning; /* measured choices, see tuning.h; NULL: none */
} Target;

/* Facts of the CPU this process runs on (cpuid-free: from the compiler's predefined macros that
 * runtime/cpu asked for, or defaults), with tiles chosen. */
void sn_target_cpu(Target *target, int vector_bytes, int vector_registers, int64_t l1, int64_t l2);

typedef struct Tile {
    int rows, vectors;
} Tile;

/* The register tile of a CPU's product with that many columns (0: not known when compiling), for right
 * operands that are packed as they are read: the usual one, or one whose narrower panels waste less. */
Tile sn_target_tile(const Target *target, int64_t columns);

enum { SN_SPLIT_COLUMNS = 256, SN_SPLIT_DEPTH = 256 };

/* Whether many rows of f32 by a B of so many columns and rows (`depth`) are multiplied by matrix tiles, as six products of parts of
 * 16 bits (codegen/device/gemm_split.h): these then have to be quicker than multiply-adds by more than what splitting the operands
 * takes. A's split is shared by the columns, and sums go to memory behind every piece of K: hence the least numbers. */
bool sn_target_splits(const Target *target, int64_t columns, int64_t depth);

/* The width of the panels of f32 that weights of so many columns and rows (`depth`; 0: not known) are packed into: the usual one,
 * for few columns one that fills the registers of a tile with less waste, or, where they are split for matrix tiles, what is split
 * at once, so that it is one stream. */
int64_t sn_target_panel(const Target *target, int64_t columns, int64_t depth);

/* The tile of panels of that width; false: there is none. */
bool sn_target_panel_tile(const Target *target, int64_t panel, Tile *out);

/* Facts of a GPU of that compute capability (90: 9.0) as far as it determines them, and those of the capability's
 * largest usual card for the rest; a device that is there replaces the latter by its own. */
void sn_target_cuda(Target *target, int sm);

/* "none", "bf16" or "f16"; false where it is none of them. */
const char *sn_autocast_name(sn_Autocast autocast);
bool sn_autocast_from_name(const char *name, sn_Autocast *out);

/* What an anchor lets `fuse` put around it; read by fuse and codegen alike. */
typedef struct AnchorAccepts {
    bool prologue_views;     /* affine index maps on its data operands */
    bool prologue_pointwise; /* arithmetic on its data operands */
    bool epilogue_pointwise; /* arithmetic on its result, with further operands */
    bool epilogue_views;     /* invertible index maps on its result */
    bool several_outputs;
} AnchorAccepts;

const AnchorAccepts *sn_target_accepts(const Target *target, ClusterKind kind);

#endif
