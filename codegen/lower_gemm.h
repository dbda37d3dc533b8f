/* What the lowerings of a contraction to the CPU's and to the GPU's templates share (gemm_holes.c), and those lowerings. */
#ifndef SN_LOWER_GEMM_H
#define SN_LOWER_GEMM_H

#include "lower_template.h"

#include "cluster.h"

/* C[b][m][n] = sum over k of A[b][m][k] · B[b][k][n], with one number b for all batch axes. */
typedef struct Gemm {
    Lower lower;
    TemplateUse *use;
    const Node *node;
    const AttrContract *attr;
    int rank;  /* of the result */
    Type type; /* of the result */
    Dim batch, M, N, K;

    /* CPU */
    int mode;      /* SN_GEMM_B */
    int word;      /* elements of K that share a word, SN_GEMM_WORD */
    Dim depth;     /* the words that K fills */
    bool matrix;   /* SN_GEMM_MATRIX */
    int rows;      /* of a height, SN_GEMM_ROWS */
    int64_t panel; /* columns of a packed one */
    Tile tile;
    int panels, heights; /* of a work item: SN_GEMM_PANELS, and SN_GEMM_BLOCKS or SN_GEMM_HEIGHTS */
    int piece;           /* SN_GEMM_KC */
    int64_t stride;      /* SN_GEMM_A_STRIDE */
    int64_t run;         /* SN_GEMM_A_RUN */
    bool split;          /* many rows are multiplied by matrix tiles, gemm_split.h */
    bool row; /* a single row takes gemm_row.h; then driver and defines begin with what is for that */
} Gemm;

/* f32, f16 and bf16: what templates take, and accumulate in f32. */
bool sn_gemm_is_narrow(DType dtype);

/* The product of the first `count` extents. */
Dim sn_gemm_product(Dims *dims, Type type, int count);

/* The batch indices that the template's one batch number stands for, then the other two arguments. `gemm`: a Gemm. */
void sn_gemm_stand(void *gemm, const HoleAxes *axes, Dim *to);

/* Axes 0 .. rank-1 of a matrix operand with these last two extents. */
Dim *sn_gemm_axes(const Gemm *gemm, Dim rows, Dim columns);

/* Whether loads of `value` run along its second last axis rather than along its last. */
bool sn_gemm_runs_across(Gemm *gemm, const Value *value, const Dim *axes);

/* What of the cluster the target's library computes, see library.h: `whole` says that this is all. Otherwise d is absent,
 * and sn_gemm_rest adds it; and *full is Kernel.full. NULL: nothing. After the holes a, b and store have been made. */
LibraryProduct *sn_gemm_library(const Gemm *gemm, bool *whole, LibraryProduct **full);

/* Adds the scratch buffer of the library's product, after all others of the kernel, and lowers the rest of the cluster
 * to kernel->rest. */
Status sn_gemm_rest(const Gemm *gemm, LibraryProduct *product);

/* Whether the CPU's template can compute it: by its types, and by how the packed operand lies. */
bool sn_gemm_has_tiles(const Gemm *gemm);

/* The lowering to codegen/device/gemm.h. Its tiles are there. */
Status sn_lower_gemm_cpu(Gemm *gemm);

/* Adds the hole that reads `value` as A by runs (SN_GEMM_A_RUN, which is returned; 0: it has none, or they are too short). */
int64_t sn_gemm_runs(Gemm *gemm, const Value *value);

/* Whether B is data and there is a single row: for all sizes, or for some. */
bool sn_gemm_is_row(const Gemm *gemm);
bool sn_gemm_may_be_row(const Gemm *gemm);

/* What the template of a single row needs; `pointer`: SN_GEMM_B_POINTER. `items` are those of other numbers of rows; returns those of
 * all. After the results' holes. */
Dim sn_gemm_row(Gemm *gemm, bool along_k, int pointer, Dim items);

/* The lowering to codegen/device/gemm.cuh, of f32, f16 and bf16. */
Status sn_lower_gemm_cuda(Gemm *gemm);

#endif
