/* The single row of a contraction on the CPU by a B that is data: what device/gemm_row.h is told. */
#include "lower_gemm.h"

enum {
    COLUMNS = 65536, /* of a block at most: SN_GEMM_ROW_COLUMNS */
    DOTS = 64,       /* the same of a B that lies along k */
    PARTS = 16,      /* items that a matrix is worth at least, if these are */
    LEAST = 32768,   /* so many elements of it each: more than what adding up the parts takes */
    JOINED = 4096,   /* columns of an item that adds parts: SN_GEMM_ROW_JOINED */
    WIDTH = 16,      /* columns of a block are a multiple of it */
};

/* 1 where there is one row, otherwise 0. */
static Dim is_single(const Gemm *gemm) {
    Dims *dims = gemm->lower.dims;
    Dim most = sn_dim_sub(dims, sn_dim(dims, 2), gemm->M);
    return sn_dim_max(dims, sn_dim(dims, 0), sn_dim_min(dims, gemm->M, most));
}

bool sn_gemm_is_row(const Gemm *gemm) {
    return !gemm->mode && sn_dim_equals(gemm->M, 1);
}

bool sn_gemm_may_be_row(const Gemm *gemm) {
    return !gemm->mode && !sn_dim_equals(is_single(gemm), 0);
}

/* Pieces of K, so that there are PARTS items of a large matrix. */
static Dim count_pieces(const Gemm *gemm, Dim blocks) {
    Dims *dims = gemm->lower.dims;
    Dim worth = sn_dim_floordiv(dims, sn_dim_mul(dims, gemm->N, gemm->K), sn_dim(dims, LEAST));
    Dim items = sn_dim_min(dims, worth, sn_dim(dims, PARTS));
    return sn_dim_max(dims, sn_dim(dims, 1), sn_dim_ceildiv(dims, items, blocks));
}

/* The scratch where pieces leave their sums, and the items that add these. False where there never are several. */
static bool add_partial(Gemm *gemm, Dim single, Dim blocks, Dim pieces) {
    Lower *lower = &gemm->lower;
    Dims *dims = lower->dims;
    Dim several = sn_dim_mul(dims, single, sn_dim_min(dims, sn_dim(dims, 1), sn_dim_addc(dims, pieces, -1)));
    if (sn_dim_equals(several, 0)) return false;
    Dim of_all = sn_dim_mul(dims, several, sn_dim_mul(dims, gemm->batch, blocks));
    Dim columns = sn_dim_ceildiv(dims, gemm->N, blocks);
    Dim width = sn_dim_mulc(dims, sn_dim_ceildiv(dims, columns, sn_dim(dims, WIDTH)), WIDTH);
    gemm->use->after = sn_dim_mul(dims, of_all, sn_dim_ceildiv(dims, columns, sn_dim(dims, JOINED)));
    sn_hole_scratch(lower, gemm->use, "sn_gemm_partial",
                    sn_dim_mul(dims, sn_dim_mul(dims, of_all, pieces), width));
    return true;
}

Dim sn_gemm_row(Gemm *gemm, bool along_k, int pointer, Dim items) {
    Lower *lower = &gemm->lower;
    Dims *dims = lower->dims;
    KernelIr *kernel = lower->kernel;
    Dim one = sn_dim(dims, 1), single = is_single(gemm);
    gemm->row = true;
    Dim blocks = sn_dim_max(dims, one, sn_dim_ceildiv(dims, gemm->N, sn_dim(dims, along_k ? DOTS : COLUMNS)));
    Dim pieces = along_k ? one : count_pieces(gemm, blocks);
    bool partial = add_partial(gemm, single, blocks, pieces);
    gemm->use->defines = sn_arena_printf(
        kernel->arena, "#define SN_GEMM_B_POINTER %d\n#define SN_GEMM_PARTIAL %d\n", pointer, partial);
    const Dim size[] = {gemm->N, gemm->K, gemm->batch, blocks, pieces};
    const char *number[5];
    for (int i = 0; i < 5; i++) number[i] = sn_template_number(kernel, gemm->use, size[i]);
    gemm->use->driver = sn_arena_printf(
        kernel->arena, "if (%s == 1) sn_gemm_row_run(context, %s, %s, %s, %s, %s, begin, end);\n    else ",
        sn_template_number(kernel, gemm->use, gemm->M), number[0], number[1], number[2], number[3],
        number[4]);
    Dim of_row = sn_dim_mul(dims, gemm->batch, sn_dim_mul(dims, blocks, pieces));
    return sn_dim_add(dims, items, sn_dim_mul(dims, single, sn_dim_sub(dims, of_row, items)));
}
