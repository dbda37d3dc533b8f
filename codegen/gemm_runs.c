/* A left operand whose rows are runs of elements that lie side by side somewhere, as windows do: a hole by runs, so that what
 * a whole run has in common, where it begins and whether it is padding, is found once for it. */
#include "lower_gemm.h"

enum { RUN_ARGUMENT = 2, WITHIN_ARGUMENT = 3 };

static HoleSpec spec_of(const Gemm *gemm, int64_t run, Dim runs) {
    Dims *dims = gemm->lower.dims;
    return (HoleSpec){.name = "sn_gemm_a_run",
                      .count = 4,
                      .argument = {"batch", "m", "run", "within"},
                      .extent = {gemm->batch, gemm->M, runs, sn_dim(dims, run)},
                      .lane = WITHIN_ARGUMENT};
}

/* The longest runs of k in which no index of what is read, nor what it is read under, is divided. */
static int64_t find_run(Gemm *gemm, const Value *value) {
    Lower *lower = &gemm->lower;
    Dim *axes = sn_gemm_axes(gemm, gemm->M, gemm->K), k = axes[gemm->rank - 1];
    sn_lower_nest(lower);
    const Instr *load = sn_lower_pull(lower, value, axes);
    const Nest *nest = lower->nest;
    int64_t run = 0;
    lower->kernel->nest.count--; /* only looked at */
    if (load->kind != SN_INSTR_LOAD || load->dtype != SN_F32 || load->which || lower->status) return 0;
    if (k->kind != SN_DIM_AXIS) return 0;
    for (int i = 0; i < nest->instr.count; i++) {
        if (nest->instr.at[i]->dim) run = sn_dim_divisors(nest->instr.at[i]->dim, k, run);
        if (nest->instr.at[i]->limit) run = sn_dim_divisors(nest->instr.at[i]->limit, k, run);
    }
    return run;
}

/* Pulls the element at (row, run, within), of a new nest; NULL where it is no load of elements side by side. */
static Instr *pull_run(Gemm *gemm, const Value *value, const HoleSpec *spec, const HoleAxes *at) {
    Lower *lower = &gemm->lower;
    Dims *dims = lower->dims;
    HoleAxes whole = *at;
    Dim *index = SN_ARRAY(lower->arena, Dim, gemm->rank), one, rest, within = at->argument[WITHIN_ARGUMENT];
    Dim begins = sn_dim_mul(dims, at->argument[RUN_ARGUMENT], spec->extent[WITHIN_ARGUMENT]);
    whole.argument[2] = sn_dim_add(dims, begins, within);
    sn_gemm_stand(gemm, &whole, index);
    sn_lower_nest(lower);
    Instr *load = sn_lower_pull(lower, value, index);
    bool side = load->kind == SN_INSTR_LOAD && !lower->status && within->kind == SN_DIM_AXIS &&
                sn_dim_affine(dims, load->dim, within, &one, &rest) && sn_dim_equals(one, 1);
    if (!side) lower->kernel->nest.count--;
    return side ? load : NULL;
}

/* The same, not beyond the end of the run, which may be the end of memory. */
static Instr *within_run(Gemm *gemm, const HoleSpec *spec, const HoleAxes *at, const Instr *load) {
    Lower *lower = &gemm->lower;
    Dim within = at->argument[WITHIN_ARGUMENT];
    Instr *less = sn_instr(
        lower->kernel, lower->nest,
        &(Instr){
            .kind = SN_INSTR_LESS, .dtype = SN_BOOL, .dim = within, .limit = spec->extent[WITHIN_ARGUMENT]});
    Instr guarded = *load;
    guarded.guard = sn_lower_and(lower, load->guard, less);
    return sn_instr(lower->kernel, lower->nest, &guarded);
}

int64_t sn_gemm_runs(Gemm *gemm, const Value *value) {
    Lower *lower = &gemm->lower;
    int64_t run = find_run(gemm, value), K, lanes = lower->kernel->target->vector_bytes / 4;
    if (run < lanes / 4 || run < 2 || !sn_dim_is(gemm->K, &K) || K % run) return 0;
    HoleSpec spec = spec_of(gemm, run, sn_dim(lower->dims, K / run));
    for (int vector = 0; vector < 2; vector++) {
        HoleAxes at = sn_hole_axes(lower->kernel, &spec, vector);
        Instr *load = pull_run(gemm, value, &spec, &at);
        if (!load) return 0; /* so it is in neither form */
        if (vector && run % lanes) load = within_run(gemm, &spec, &at, load);
        sn_hole_add(lower, gemm->use, &spec, vector, &at, load, NULL, NULL, 0);
    }
    return run;
}
