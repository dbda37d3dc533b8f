#include "columns.h"
#include "lower_template.h"

enum {
    ITEM_ELEMENTS = 16384,
    ITEM_COLUMNS = 256,
    SCATTERED_COLUMNS = 64,
    TILE_ITEMS = 4, /* work items of bands of the source: two of them stay in the second-level cache */
    MAX_AXES = 16
};

static Dim extent(Dim axis) {
    return axis->operand[0];
}

int sn_schedule_free_number(const Nest *nest) {
    int64_t number = 0;
    for (int i = 0; i < nest->parallel.count; i++)
        if (nest->parallel.at[i]->value >= number) number = nest->parallel.at[i]->value + 1;
    for (int i = 0; i < nest->reduced.count; i++)
        if (nest->reduced.at[i]->value >= number) number = nest->reduced.at[i]->value + 1;
    return (int)number;
}

/* ---- splitting: addresses with (a floordiv c) and (a mod c) become affine ---- */

static int64_t weight(Dim dim) {
    int64_t value;
    return sn_dim_is(dim, &value) ? value : INT64_MAX;
}

/* The smallest divisor of `axis` itself anywhere in `dim` that divides its extent exactly. */
static void find_divisor(Dims *dims, Dim dim, Dim axis, Dim *best) {
    bool divides = dim->kind == SN_DIM_FLOORDIV || dim->kind == SN_DIM_MOD;
    Dim quotient;
    if (divides && dim->operand[0] == axis && !sn_dim_has_axis(dim->operand[1]) &&
        (!*best || weight(dim->operand[1]) < weight(*best)) &&
        sn_dim_divides(dims, dim->operand[1], extent(axis), &quotient))
        *best = dim->operand[1];
    if (dim->kind == SN_DIM_AXIS) return;
    for (int i = 0; i < dim->count; i++) find_divisor(dims, dim->operand[i], axis, best);
}

/* Puts the axes `outer` and `inner` (constants, if of extent 1, are left out) where at[k] was. */
static void put_axes(Arena *arena, Axes *axes, int k, Dim outer, Dim inner) {
    Axes now = {0};
    for (int i = 0; i < axes->count; i++) {
        if (i != k) {
            sn_push(arena, &now, axes->at[i]);
            continue;
        }
        if (outer && outer->kind == SN_DIM_AXIS) sn_push(arena, &now, outer);
        if (inner && inner->kind == SN_DIM_AXIS) sn_push(arena, &now, inner);
    }
    *axes = now;
}

/* The same for comparisons of `axis` itself: behind the split they compare the outer axis, and so are the same in all
 * lanes. Short vectors are not worth it. */
static void find_limit(Dims *dims, const Nest *nest, Dim axis, Dim *best) {
    enum { SHORT = 16 };
    Dim quotient;
    int64_t limit;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        if (instr->kind == SN_INSTR_LESS && instr->dim == axis && sn_dim_is(instr->limit, &limit) &&
            limit >= SHORT && (!*best || limit < weight(*best)) &&
            sn_dim_divides(dims, instr->limit, extent(axis), &quotient))
            *best = instr->limit;
    }
}

/* whole < limit, where whole = outer · divisor + something below the divisor. */
static void split_limits(Dims *dims, Nest *nest, Dim whole, Dim outer, Dim divisor) {
    Dim quotient;
    for (int i = 0; i < nest->instr.count; i++) {
        Instr *instr = nest->instr.at[i];
        if (instr->kind != SN_INSTR_LESS || instr->dim != whole ||
            !sn_dim_divides(dims, divisor, instr->limit, &quotient))
            continue;
        instr->dim = outer;
        instr->limit = quotient;
    }
}

static bool split_once(KernelIr *kernel, Nest *nest, NestDims slots, Axes *axes) {
    for (int k = 0; k < axes->count && axes->count < MAX_AXES; k++) {
        Dim axis = axes->at[k], divisor = NULL, quotient;
        for (int i = 0; i < slots.count; i++) find_divisor(kernel->dims, *slots.at[i], axis, &divisor);
        if (!divisor && kernel->target->kind == SN_TARGET_CPU) find_limit(kernel->dims, nest, axis, &divisor);
        if (!divisor || !sn_dim_divides(kernel->dims, divisor, extent(axis), &quotient)) continue;
        if (quotient->kind == SN_DIM_CONST && quotient->value <= 1) continue; /* nothing is split off */
        int number = sn_schedule_free_number(nest);
        Dim outer = sn_dim_axis(kernel->dims, number, quotient);
        Dim inner = sn_dim_axis(kernel->dims, number + 1, divisor);
        Dim whole = sn_dim_add(kernel->dims, sn_dim_mul(kernel->dims, outer, divisor), inner);
        sn_nest_dims_replace(kernel->dims, slots, &axis, &whole, 1);
        split_limits(kernel->dims, nest, whole, outer, divisor);
        put_axes(kernel->arena, axes, k, outer, inner);
        return true;
    }
    return false;
}

/* ---- merging: axes that are one in every address become one loop ---- */

static bool mergeable(KernelIr *kernel, NestDims slots, Dim outer, Dim inner) {
    for (int i = 0; i < slots.count; i++) {
        Dim a, b, rest;
        if (!sn_dim_affine(kernel->dims, *slots.at[i], outer, &a, &rest)) return false;
        if (!sn_dim_affine(kernel->dims, rest, inner, &b, &rest)) return false;
        if (a != sn_dim_mul(kernel->dims, b, extent(inner))) return false;
    }
    return true;
}

static bool merge_once(KernelIr *kernel, Nest *nest, NestDims slots, Axes *axes) {
    for (int i = 0; i < axes->count; i++)
        for (int j = 0; j < axes->count; j++) {
            Dim outer = axes->at[i], inner = axes->at[j];
            if (i == j || !mergeable(kernel, slots, outer, inner)) continue;
            Dim both = sn_dim_axis(kernel->dims, sn_schedule_free_number(nest),
                                   sn_dim_mul(kernel->dims, extent(outer), extent(inner)));
            sn_nest_dims_replace(kernel->dims, slots, (Dim[]){outer, inner},
                                 (Dim[]){sn_dim(kernel->dims, 0), both}, 2);
            put_axes(kernel->arena, axes, j, both, NULL);
            put_axes(kernel->arena, axes, i, NULL, NULL);
            return true;
        }
    return false;
}

/* ---- which instructions depend on an axis ---- */

typedef struct Depends {
    const bool *flag;
    bool result;
} Depends;

static void index_depends(void *user, Instr *instr) {
    Depends *depends = user;
    depends->result |= depends->flag[instr->id];
}

static bool dim_depends(const Nest *nest, const bool *flag, Dim dim, Dim axis) {
    Depends depends = {flag, sn_dim_depends(dim, axis)};
    sn_dim_indices(nest, dim, index_depends, &depends);
    return depends.result;
}

/* flag[id] of every instruction: its value depends on `axis`, not through accumulators. */
static bool *instr_depends(KernelIr *kernel, const Nest *nest, Dim axis) {
    bool *flag = SN_ARRAY(kernel->arena, bool, nest->instr.count);
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        for (int k = 0; k < instr->arg_count; k++) flag[i] |= flag[instr->arg[k]->id];
        if (instr->guard) flag[i] |= flag[instr->guard->id];
        if (instr->dim && instr->kind != SN_INSTR_INDEX) flag[i] |= dim_depends(nest, flag, instr->dim, axis);
        if (instr->limit && instr->kind == SN_INSTR_LESS)
            flag[i] |= dim_depends(nest, flag, instr->limit, axis);
        if (instr->which) flag[i] |= sn_dim_depends(instr->which, axis);
    }
    return flag;
}

/* ---- the vector axis ---- */

static int access_score(KernelIr *kernel, const Nest *nest, const bool *flag, Dim offset, Dim axis,
                        bool store) {
    Dim coefficient, rest;
    if (!dim_depends(nest, flag, offset, axis)) return store ? -4 : 1;
    bool affine = sn_dim_affine(kernel->dims, offset, axis, &coefficient, &rest);
    if (affine && sn_dim_equals(coefficient, 1) && !dim_depends(nest, flag, rest, axis)) return store ? 4 : 2;
    return store ? -4 : -2;
}

/* How well the accesses suit vectors along `axis`. A reduction along it cannot store what it has reduced, so
 * those stores do not count against it. */
static int axis_score(KernelIr *kernel, const Nest *nest, Dim axis, bool reduced) {
    bool *flag = instr_depends(kernel, nest, axis);
    int score = 0;
    int64_t length;
    for (int i = 0; i < nest->instr.count; i++)
        if (nest->instr.at[i]->kind == SN_INSTR_LOAD)
            score += nest->instr.at[i]->which && sn_dim_depends(nest->instr.at[i]->which, axis)
                         ? -16
                         : access_score(kernel, nest, flag, nest->instr.at[i]->dim, axis, false);
    for (int p = 0; p < nest->step.count; p++)
        for (int i = 0; i < nest->step.at[p].store.count; i++)
            if (!reduced || nest->step.at[p].loop)
                score += access_score(kernel, nest, flag, nest->step.at[p].store.at[i].offset, axis, true);
    int lanes = kernel->target->vector_bytes / 4;
    if (sn_dim_is(extent(axis), &length) && length < (lanes ? lanes : 16) / 2) score -= 16;
    return score;
}

static int best_axis(KernelIr *kernel, const Nest *nest, const Axes *axes, bool reduced, int *score) {
    int best = -1;
    for (int i = axes->count - 1; i >= 0; i--) {
        int now = axis_score(kernel, nest, axes->at[i], reduced);
        if (best < 0 || now > *score) best = i, *score = now;
    }
    return best;
}

static void move_last(Axes *axes, int k) {
    Dim axis = axes->at[k];
    for (int i = k; i + 1 < axes->count; i++) axes->at[i] = axes->at[i + 1];
    axes->at[axes->count - 1] = axis;
}

static bool has_running(const Nest *nest) {
    for (int p = 0; p < nest->step.count; p++)
        for (int i = 0; i < nest->step.at[p].acc.count; i++)
            if (nest->step.at[p].acc.at[i]->running) return true;
    return false;
}

/* An axis that is known to be empty leaves nothing to choose by: it is no factor of any address. */
static bool has_empty(const Axes *axes) {
    for (int i = 0; i < axes->count; i++)
        if (sn_dim_equals(extent(axes->at[i]), 0)) return true;
    return false;
}

void sn_schedule_vector(KernelIr *kernel, Nest *nest) {
    int parallel_score = 0, reduced_score = 0;
    int parallel = best_axis(kernel, nest, &nest->parallel, false, &parallel_score);
    int reduced = has_running(nest) ? -1 : best_axis(kernel, nest, &nest->reduced, true, &reduced_score);
    bool empty = has_empty(&nest->parallel) || has_empty(&nest->reduced);
    if (empty || (parallel < 0 && reduced < 0)) {
        nest->vector = SN_VECTOR_NONE;
    } else if (reduced >= 0 && (parallel < 0 || reduced_score >= parallel_score)) {
        nest->vector = SN_VECTOR_REDUCED;
        move_last(&nest->reduced, reduced);
    } else {
        nest->vector = SN_VECTOR_PARALLEL;
        move_last(&nest->parallel, parallel);
    }
}

/* ---- placing instructions ---- */

typedef struct Ready {
    int ready;
} Ready;

static void index_ready(void *user, Instr *instr) {
    Ready *ready = user;
    if (instr->ready > ready->ready) ready->ready = instr->ready;
}

static void set_results(Nest *nest) {
    for (int p = 0; p < nest->step.count; p++)
        for (int i = 0; i < nest->step.at[p].acc.count; i++) {
            Instr *result = nest->step.at[p].acc.at[i]->result;
            result->ready = nest->step.at[p].acc.at[i]->running ? p : p + 1;
        }
}

static void place_instr(Nest *nest, Instr *instr) {
    bool own = instr->kind == SN_INSTR_REDUCED || instr->kind == SN_INSTR_RUNNING ||
               instr->kind == SN_INSTR_HOLE_ARG;
    if (own) {
        instr->rowwise = true;
        instr->varying = nest->vector == SN_VECTOR_PARALLEL;
        instr->reduced = instr->kind == SN_INSTR_RUNNING;
        return;
    }
    Ready ready = {0};
    const Instr *needs[4] = {instr->guard};
    for (int k = 0; k < instr->arg_count; k++) needs[1 + k] = instr->arg[k];
    for (int k = 0; k < 4; k++) {
        if (!needs[k]) continue;
        index_ready(&ready, (Instr *)needs[k]);
        instr->rowwise |= needs[k]->rowwise;
        instr->reduced |= needs[k]->reduced;
        instr->varying |= needs[k]->varying;
    }
    if (instr->dim && instr->kind != SN_INSTR_INDEX) sn_dim_indices(nest, instr->dim, index_ready, &ready);
    instr->ready = ready.ready;
}

typedef struct IndexFlags {
    bool rowwise, reduced, varying;
} IndexFlags;

static void index_flags(void *user, Instr *instr) {
    IndexFlags *flags = user;
    flags->rowwise |= instr->rowwise;
    flags->reduced |= instr->reduced;
    flags->varying |= instr->varying;
}

static void place_dim(const Nest *nest, Instr *instr, Dim dim) {
    IndexFlags flags = {0};
    sn_dim_indices(nest, dim, index_flags, &flags);
    instr->rowwise |= flags.rowwise;
    instr->reduced |= flags.reduced;
    instr->varying |= flags.varying;
    for (int i = 0; i < nest->parallel.count; i++) {
        if (!sn_dim_depends(dim, nest->parallel.at[i])) continue;
        if (nest->vector == SN_VECTOR_PARALLEL && i == nest->parallel.count - 1)
            instr->varying = true;
        else
            instr->rowwise = true;
    }
    for (int i = 0; i < nest->reduced.count; i++) {
        if (!sn_dim_depends(dim, nest->reduced.at[i])) continue;
        instr->reduced = true;
        if (nest->vector == SN_VECTOR_REDUCED && i == nest->reduced.count - 1) instr->varying = true;
    }
}

static void place(Nest *nest) {
    set_results(nest);
    for (int i = 0; i < nest->instr.count; i++) {
        Instr *instr = nest->instr.at[i];
        instr->rowwise = instr->reduced = instr->varying = false;
        if (instr->dim && instr->kind != SN_INSTR_INDEX) place_dim(nest, instr, instr->dim);
        if (instr->limit && instr->kind == SN_INSTR_LESS) place_dim(nest, instr, instr->limit);
        if (instr->which) place_dim(nest, instr, instr->which);
        place_instr(nest, instr);
    }
}

/* ---- tiles ---- */

/* Makes the axis along which the first scattered load is of vectors the last one of rows. */
static void choose_tile(KernelIr *kernel, Nest *nest) {
    Dim stride;
    nest->tile = NULL;
    if (nest->vector != SN_VECTOR_PARALLEL || nest->reduced.count) return;
    for (int i = 0; i < nest->instr.count; i++)
        for (int k = 0; k + 1 < nest->parallel.count; k++) {
            if (!sn_schedule_crosses(kernel->dims, nest, nest->instr.at[i], nest->parallel.at[k], &stride))
                continue;
            nest->tile = nest->parallel.at[k];
            for (; k + 2 < nest->parallel.count; k++) nest->parallel.at[k] = nest->parallel.at[k + 1];
            nest->parallel.at[nest->parallel.count - 2] = nest->tile;
            return;
        }
}

/* ---- work items ---- */

static Dim at_least_one(KernelIr *kernel, Dim dim) {
    return sn_dim_max(kernel->dims, dim, sn_dim(kernel->dims, 1));
}

/* Whether some load has its lanes far apart: a transposition. Then neighbouring rows share what it reads. */
static bool has_scattered_load(KernelIr *kernel, const Nest *nest, Dim axis) {
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        Dim stride, rest;
        if (instr->kind != SN_INSTR_LOAD || !sn_dim_depends(instr->dim, axis)) continue;
        if (!sn_dim_affine(kernel->dims, instr->dim, axis, &stride, &rest)) continue;
        if (!sn_dim_equals(stride, 1)) return true;
    }
    return false;
}

static int64_t chunk_elements(KernelIr *kernel, const Nest *nest, bool columns) {
    if (nest->reduced.count) return ITEM_COLUMNS;
    if (nest->tile) return sn_schedule_band(nest);
    Dim last = columns ? nest->parallel.at[nest->parallel.count - 1] : NULL;
    return last && has_scattered_load(kernel, nest, last) ? SCATTERED_COLUMNS : ITEM_ELEMENTS;
}

static void cut_items(KernelIr *kernel, Nest *nest) {
    Dims *dims = kernel->dims;
    bool columns = nest->vector == SN_VECTOR_PARALLEL;
    Dim length = sn_schedule_product(kernel->dims, &nest->reduced, nest->reduced.count);
    Dim width = columns ? extent(nest->parallel.at[nest->parallel.count - 1]) : sn_dim(dims, 1);
    Axes outer = {0};
    for (int i = 0; i + columns < nest->parallel.count; i++)
        if (nest->parallel.at[i] != nest->tile && nest->parallel.at[i] != nest->strip)
            sn_push(kernel->arena, &outer, nest->parallel.at[i]);
    nest->rows = sn_schedule_product(kernel->dims, &outer, outer.count);
    int64_t chunk = chunk_elements(kernel, nest, columns), lanes = kernel->target->vector_bytes / 4;
    Dim row = sn_dim_mul(dims, sn_dim_min(dims, width, sn_dim(dims, chunk)), length);
    if (nest->tile) {
        nest->rows =
            sn_dim_mul(dims, nest->rows, sn_dim_ceildiv(dims, extent(nest->tile), sn_dim(dims, lanes)));
        row = sn_dim_mulc(dims, row, lanes);
    }
    if (nest->strip) {
        Dim strips = sn_dim_ceildiv(dims, extent(nest->strip), sn_dim(dims, SN_STRIP_ROWS));
        nest->rows = sn_dim_mul(dims, nest->rows, strips);
        row = sn_dim_mulc(dims, row, SN_STRIP_ROWS);
    }
    Dim work = at_least_one(kernel, row), most = sn_dim(dims, ITEM_ELEMENTS * (nest->tile ? TILE_ITEMS : 1));
    nest->grain = at_least_one(kernel, sn_dim_floordiv(dims, most, work));
    if (nest->tile) { /* columns that lie together */
        Dim squares = sn_dim_ceildiv(dims, extent(nest->tile), sn_dim(dims, lanes));
        nest->grain = sn_dim_min(dims, nest->grain, at_least_one(kernel, squares));
    }
    nest->items = sn_dim_ceildiv(dims, nest->rows, nest->grain);
    nest->chunk = columns && !sn_dim_le(dims, width, sn_dim(dims, chunk)) ? sn_dim(dims, chunk) : NULL;
    sn_schedule_beside(kernel, nest);
    if (!nest->beside) sn_schedule_sums(kernel, nest);
    if (nest->chunk) nest->items = sn_dim_mul(dims, nest->items, sn_dim_ceildiv(dims, width, nest->chunk));
    for (int i = 0; i < nest->scratch.count; i++) {
        if (nest->scratch.at[i].count) continue;
        Buffer *buffer = &kernel->buffer.at[nest->scratch.at[i].buffer];
        buffer->bytes = sn_dim_mul(dims, buffer->bytes, nest->items);
    }
}

Status sn_schedule_nest(KernelIr *kernel, Nest *nest) {
    NestDims slots = sn_nest_dims(kernel->arena, nest);
    while (split_once(kernel, nest, slots, &nest->parallel)) continue;
    while (split_once(kernel, nest, slots, &nest->reduced)) continue;
    while (merge_once(kernel, nest, slots, &nest->parallel)) continue;
    if (!has_running(nest))
        while (merge_once(kernel, nest, slots, &nest->reduced)) continue;
    if (sn_dims_overflowed(kernel->dims))
        return sn_fail(SN_UNSUPPORTED, "an index expression too large for 64 bits");
    sn_schedule_dense(kernel, nest);
    sn_schedule_vector(kernel, nest);
    sn_schedule_items(kernel, nest);
    return NULL;
}

void sn_schedule_items(KernelIr *kernel, Nest *nest) {
    bool cuda = kernel->target->kind == SN_TARGET_CUDA;
    if (!cuda || nest->step.count == 1) choose_tile(kernel, nest);
    if (!cuda) sn_schedule_strip(kernel, nest);
    place(nest);
    if (cuda) sn_schedule_block(kernel, nest);
    sn_schedule_keeps(kernel, nest);
    if (!cuda) cut_items(kernel, nest);
}

void sn_schedule_hole(KernelIr *kernel, Nest *nest, const Dim *from, const Dim *to, int count, Dim lanes) {
    sn_schedule_replace(kernel, nest, from, to, count);
    nest->parallel.count = 0;
    nest->vector = lanes ? SN_VECTOR_PARALLEL : SN_VECTOR_NONE;
    if (lanes) sn_push(kernel->arena, &nest->parallel, lanes);
    place(nest);
}

int sn_schedule_score(KernelIr *kernel, const Nest *nest, Dim axis) {
    return axis_score(kernel, nest, axis, false);
}
