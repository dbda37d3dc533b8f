/* Choices that no fact of a machine predicts, measured by `tune` and kept in a text file that can be committed. What a
 * file does not have is chosen from the target's facts; equal inputs, machine kind and file give equal bits. */
#ifndef SN_TUNING_H
#define SN_TUNING_H

#include "graph.h"
#include "target.h"

/* A contraction whose right operand (K, N) lies packed as `dtype`. Rows are not known when compiling, and sums
 * must not depend on how many threads there are: neither is part of a key. */
typedef struct GemmKey {
    DType dtype;
    int64_t N, K;
} GemmKey;

/* How it is computed: see codegen/device/gemm.h. */
typedef struct GemmChoice {
    Tile tile;
    int heights; /* of the tile, in a block of rows */
    int piece;   /* K is cut into equal pieces of at most this: a multiple of 32 */
} GemmChoice;

/* A product on a GPU that has a library for them, by its sizes in a run. */
typedef struct ProductKey {
    DType operands, result;
    bool tf32;          /* operands of f32 are rounded to TF32 */
    bool transposed[2]; /* the left and the right operand, as they lie in memory */
    int64_t batch, rows, N,
        K;         /* rows: of the result; products with rows up to the same power of two are one */
    unsigned with; /* SN_PRODUCT_...: what belongs to it */
} ProductKey;

enum {
    SN_PRODUCT_ADDS = 1, /* another matrix */
    SN_PRODUCT_BIAS = 2,
    SN_PRODUCT_RELU = 4,
    SN_PRODUCT_GELU = 8,
    SN_PRODUCT_REST = 16, /* what the library does not do, and the generated kernel does */
    SN_PRODUCT_AUX = 32,  /* what the slope in the backward pass goes by is written too */
    SN_PRODUCT_DRELU = 64,
    SN_PRODUCT_DGELU = 128, /* times that slope */
    SN_PRODUCT_SUM = 256,   /* a bias's gradient is summed too */
    SN_PROPOSALS_MOST = 8   /* of the library, that are looked at */
};

/* Who computes it. */
typedef struct ProductWay {
    bool library; /* otherwise the generated kernel */
    int proposal; /* the library's algorithm: its n-th proposal, from 0 */
} ProductWay;

/* What a file is read into; entries are sorted. */
typedef struct Tuning Tuning;

/* An empty one, in `arena`. */
Tuning *sn_tuning_new(Arena *arena);

/* The text of a file:
 *
 *   # a comment
 *   cpu/64/32/1024 gemm f32 n=768 k=3072 tile=8x3 heights=8 piece=768 # and another
 *   cpu/64/32/1024 facts dot_percent=200 stream_bytes=16777216
 *   cuda/90/132 facts walk_waves=2
 *   cuda/90/132 product bf16 f32 nt rows=1024 n=768 k=3072 batch=1 with=bias+gelu way=library algo=3
 *   cuda/90/132 product tf32 f32 nn rows=16 n=768 k=768 batch=1 with=none way=kernel
 *
 * A line begins with the kind of machine that it is for: bytes and number of vector registers, KiB of L2 cache; or
 * compute capability and number of processors. Of a product there are the types of operands and result, which operands
 * are transposed (t), and what goes with it: add, bias, relu, gelu, rest, aux, drelu, dgelu, sum.
 * SN_INVALID says "FILE:LINE: ..." for what is no such line, out of range, or there twice. */
Status sn_tuning_parse(Arena *arena, const char *file, const char *text, Tuning **out);
void sn_tuning_print(Text *text, const Tuning *tuning);

/* "cpu/64/32/1024" or "cuda/90/132": what lines for this kind of machine begin with. */
const char *sn_tuning_machine(Arena *arena, const Target *target);

/* From now on the target's choices are those of `tuning`, which must live as long; its facts for this kind of
 * machine replace what was measured. */
void sn_tuning_apply(Target *target, const Tuning *tuning);

/* Puts the entry for this kind of machine, in place of one that is there; `comment` is one line, or "". */
void sn_tuning_set_gemm(Arena *arena, Tuning *tuning, const Target *target, GemmKey key, GemmChoice choice,
                        const char *comment);

/* Takes out the entry, if there is one. */
void sn_tuning_drop_gemm(Tuning *tuning, const Target *target, GemmKey key);

/* The same for products on a GPU, whose rows may be any. */
void sn_tuning_set_product(Arena *arena, Tuning *tuning, const Target *target, const ProductKey *key,
                           ProductWay way, const char *comment);
void sn_tuning_drop_product(Tuning *tuning, const Target *target, const ProductKey *key);

/* True, and *way, when the target's tuning has an entry. */
bool sn_tuning_product(const Target *target, const ProductKey *key, ProductWay *way);

/* Whether the tuning leaves products of that many columns and that depth to the generated kernel, whatever their other
 * sizes: it then is one for large products too. */
bool sn_tuning_wants_kernel(const Target *target, Dim N, Dim K);

/* Of the line, as "bf16 f32 nt rows=1024 ... with=bias". */
void sn_tuning_product_print(Text *text, const ProductKey *key);

/* True, and *choice, when the target's tuning has an entry for a weight (K, N) of that type. */
bool sn_tuning_gemm(const Target *target, DType dtype, Dim N, Dim K, GemmChoice *choice);

/* The width of the panels that it is packed into. */
int64_t sn_tuning_panel(const Target *target, DType dtype, Dim N, Dim K);

/* The key of a contraction; false where it is not packed, or its sizes are not known when compiling. */
bool sn_tuning_gemm_key(const Node *contract, GemmKey *out);

/* NULL, or why kernels cannot be made that way for vectors of that size and number. */
const char *sn_tuning_gemm_problem(int vector_bytes, int vector_registers, const GemmChoice *choice);

#endif
