/* What the lowerings of contractions to all targets ask of their operands. */
#include "lower_gemm.h"

#include "view.h"

bool sn_gemm_is_narrow(DType dtype) {
    return dtype == SN_F32 || dtype == SN_F16 || dtype == SN_BF16;
}

void sn_gemm_stand(void *user, const HoleAxes *axes, Dim *to) {
    const Gemm *gemm = user;
    Dims *dims = gemm->lower.dims;
    Dim rest = axes->argument[0];
    for (int i = gemm->rank - 3; i >= 0; i--) {
        Dim extent = gemm->type.dim[i];
        if (sn_dim_equals(extent, 0))
            extent = sn_dim(dims, 1); /* nothing is run, but nothing is divided by 0 */
        to[i] = sn_dim_mod(dims, rest, extent);
        rest = sn_dim_floordiv(dims, rest, extent);
    }
    to[gemm->rank - 2] = axes->argument[1];
    to[gemm->rank - 1] = axes->argument[2];
}

Dim sn_gemm_product(Dims *dims, Type type, int count) {
    Dim result = sn_dim(dims, 1);
    for (int i = 0; i < count; i++) result = sn_dim_mul(dims, result, type.dim[i]);
    return result;
}

Dim *sn_gemm_axes(const Gemm *gemm, Dim rows, Dim columns) {
    Dim *extent = SN_ARRAY(gemm->lower.arena, Dim, gemm->rank);
    for (int i = 0; i < gemm->rank - 2; i++) extent[i] = gemm->type.dim[i];
    extent[gemm->rank - 2] = rows, extent[gemm->rank - 1] = columns;
    return sn_view_axes(gemm->lower.dims, gemm->lower.arena, gemm->rank, extent);
}

bool sn_gemm_runs_across(Gemm *gemm, const Value *value, const Dim *axes) {
    sn_lower_nest(&gemm->lower);
    sn_lower_pull(&gemm->lower, value, axes);
    Nest *nest = gemm->lower.nest;
    gemm->lower.kernel->nest.count--; /* only looked at */
    Dim across = axes[gemm->rank - 2], along = axes[gemm->rank - 1];
    if (across->kind != SN_DIM_AXIS) return false;
    if (along->kind != SN_DIM_AXIS) return true;
    return sn_schedule_score(gemm->lower.kernel, nest, across) >
           sn_schedule_score(gemm->lower.kernel, nest, along);
}
