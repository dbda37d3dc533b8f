/* Contractions on a GPU: codegen/device/gemm.cuh with operands and results as holes. */
#include "lower_gemm.h"

enum { TILE = 64, DEPTH = 16, THREADS = 256 };

static void read_operand(Gemm *gemm, int input, const char *name, const char *rows, Dim row_extent,
                         const char *columns, Dim column_extent) {
    Dim *axes = sn_gemm_axes(gemm, row_extent, column_extent);
    HoleSpec spec = {.name = name,
                     .count = 3,
                     .argument = {"batch", rows, columns},
                     .extent = {gemm->batch, row_extent, column_extent}};
    sn_hole_read(&gemm->lower, gemm->use, &spec, gemm->node->input[input], axes, axes, gemm->rank,
                 sn_gemm_stand, gemm);
}

Status sn_lower_gemm_cuda(Gemm *gemm) {
    Lower *lower = &gemm->lower;
    KernelIr *kernel = lower->kernel;
    Dims *dims = lower->dims;
    read_operand(gemm, 0, "a", "m", gemm->M, "k", gemm->K);
    read_operand(gemm, 1, "b", "k", gemm->K, "n", gemm->N);
    TRY(lower->status);
    HoleSpec epilogue = {.name = "store",
                         .count = 3,
                         .argument = {"batch", "m", "n"},
                         .extent = {gemm->batch, gemm->M, gemm->N},
                         .takes_value = true};
    TRY(sn_hole_store(lower, gemm->use, &epilogue, sn_gemm_stand, gemm));
    gemm->use->defines = "";
    gemm->use->file[0] = "gemm.cuh";
    gemm->use->driver = sn_arena_printf(
        kernel->arena, "sn_gemm_run(use, %s, %s, %s, block);", sn_template_number(kernel, gemm->use, gemm->M),
        sn_template_number(kernel, gemm->use, gemm->N), sn_template_number(kernel, gemm->use, gemm->K));
    Dim tile = sn_dim(dims, TILE);
    gemm->use->items = sn_dim_mul(
        dims, gemm->batch,
        sn_dim_mul(dims, sn_dim_ceildiv(dims, gemm->M, tile), sn_dim_ceildiv(dims, gemm->N, tile)));
    gemm->use->threads = THREADS;
    gemm->use->shared = sn_dim(dims, 2 * TILE * DEPTH * 4);
    kernel->use = gemm->use;
    return NULL;
}
