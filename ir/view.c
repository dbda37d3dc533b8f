#include "view.h"
#include <assert.h>

Dim *sn_view_axes(Dims *dims, Arena *arena, int rank, const Dim *extent) {
    Dim *axis = SN_ARRAY(arena, Dim, rank);
    for (int i = 0; i < rank; i++) axis[i] = sn_dim_axis(dims, i, extent[i]);
    return axis;
}

static Dim *copy_dims(Arena *arena, int count, const Dim *from) {
    Dim *copy = SN_ARRAY(arena, Dim, count);
    for (int i = 0; i < count; i++) copy[i] = from[i];
    return copy;
}

IndexMap sn_view_identity(Dims *dims, Arena *arena, int rank, const Dim *extent) {
    Dim *index = sn_view_axes(dims, arena, rank, extent);
    return (IndexMap){rank, copy_dims(arena, rank, extent), rank, index};
}

IndexMap sn_view_transpose(Dims *dims, Arena *arena, int rank, const Dim *source, const int *perm) {
    Dim *extent = SN_ARRAY(arena, Dim, rank), *index = SN_ARRAY(arena, Dim, rank);
    for (int i = 0; i < rank; i++) extent[i] = source[perm[i]];
    for (int i = 0; i < rank; i++) index[perm[i]] = sn_dim_axis(dims, i, extent[i]);
    return (IndexMap){rank, extent, rank, index};
}

IndexMap sn_view_slice(Dims *dims, Arena *arena, int rank, const Dim *start, const Dim *step,
                       const Dim *extent) {
    Dim *index = SN_ARRAY(arena, Dim, rank);
    for (int i = 0; i < rank; i++) {
        Dim along = sn_dim_mul(dims, step[i], sn_dim_axis(dims, i, extent[i]));
        index[i] = sn_dim_add(dims, start[i], along);
    }
    return (IndexMap){rank, copy_dims(arena, rank, extent), rank, index};
}

/* The index along one axis of a source that is broadcast to `target`. */
static Dim expand_axis(Dims *dims, Dim source, Dim target, Dim axis, bool *check) {
    if (sn_dim_equals(source, 1)) return sn_dim(dims, 0);
    if (source == target) return axis;
    if (check) *check = true;
    if (sn_dim_ne(dims, source, sn_dim(dims, 1))) return axis;
    return sn_dim_min(dims, axis, sn_dim_addc(dims, source, -1));
}

IndexMap sn_view_expand(Dims *dims, Arena *arena, int source_rank, const Dim *source, int rank,
                        const Dim *target, bool *check) {
    assert(source_rank <= rank);
    Dim *index = SN_ARRAY(arena, Dim, source_rank);
    for (int i = 0; i < source_rank; i++) {
        int at = i + rank - source_rank;
        index[i] = expand_axis(dims, source[i], target[at], sn_dim_axis(dims, at, target[at]), check);
    }
    return (IndexMap){rank, copy_dims(arena, rank, target), source_rank, index};
}

/* ---- reshape ---- */

/* Source axes [source_from, source_to) hold what target axes [target_from, target_to) hold. */
typedef struct Group {
    int source_from, source_to, target_from, target_to;
} Group;

/* index of the group's source axes: its target axes linearised, then split. */
static void reshape_group(Dims *dims, const Dim *source, const Dim *target, Group g, Dim *index) {
    Dim linear = sn_dim(dims, 0), stride = sn_dim(dims, 1);
    for (int j = g.target_to - 1; j >= g.target_from; j--) {
        linear = sn_dim_add(dims, linear, sn_dim_mul(dims, sn_dim_axis(dims, j, target[j]), stride));
        stride = sn_dim_mul(dims, stride, target[j]);
    }
    for (int i = g.source_to - 1; i >= g.source_from; i--) {
        bool first = i == g.source_from;   /* its quotient is in range because both products are equal */
        if (sn_dim_equals(source[i], 0)) { /* empty: nothing is read, and nothing may be divided by it */
            index[i] = sn_dim(dims, 0);
            continue;
        }
        index[i] = first ? linear : sn_dim_mod(dims, linear, source[i]);
        if (!first) linear = sn_dim_floordiv(dims, linear, source[i]);
    }
}

/* Takes axes from the front until two products agree: pa and pb grow alternately, whichever divides the
 * other. */
static bool front_group(Dims *dims, const Dim *source, const Dim *target, Group left, Group *g) {
    int i = left.source_from, j = left.target_from;
    Dim pa = source[i++], pb = target[j++], quotient;
    while (pa != pb) {
        bool grow_a = i < left.source_to && sn_dim_divides(dims, pa, pb, &quotient);
        bool grow_b = !grow_a && j < left.target_to && sn_dim_divides(dims, pb, pa, &quotient);
        if (!grow_a && !grow_b) return false;
        if (grow_a)
            pa = sn_dim_mul(dims, pa, source[i++]);
        else
            pb = sn_dim_mul(dims, pb, target[j++]);
    }
    *g = (Group){left.source_from, i, left.target_from, j};
    return true;
}

static bool back_group(Dims *dims, const Dim *source, const Dim *target, Group left, Group *g) {
    int i = left.source_to, j = left.target_to;
    Dim pa = source[--i], pb = target[--j], quotient;
    while (pa != pb) {
        bool grow_a = i > left.source_from && sn_dim_divides(dims, pa, pb, &quotient);
        bool grow_b = !grow_a && j > left.target_from && sn_dim_divides(dims, pb, pa, &quotient);
        if (!grow_a && !grow_b) return false;
        if (grow_a)
            pa = sn_dim_mul(dims, pa, source[--i]);
        else
            pb = sn_dim_mul(dims, pb, target[--j]);
    }
    *g = (Group){i, left.source_to, j, left.target_to};
    return true;
}

static bool group_left(Group g) {
    return g.source_from < g.source_to && g.target_from < g.target_to;
}

/* The axes whose extent is not 1, in order; *count of them. */
static int *long_axes(Arena *arena, int rank, const Dim *extent, int *count) {
    int *axis = SN_ARRAY(arena, int, rank);
    *count = 0;
    for (int i = 0; i < rank; i++)
        if (!sn_dim_equals(extent[i], 1)) axis[(*count)++] = i;
    return axis;
}

/* Groups of the axes that are left when those of extent 1 are gone; numbered among themselves. */
static void reshape_long(Dims *dims, int source_rank, const Dim *source, int rank, const Dim *target,
                         Dim *index) {
    Group left = {0, source_rank, 0, rank}, g;
    while (group_left(left) && front_group(dims, source, target, left, &g)) {
        reshape_group(dims, source, target, g, index);
        left.source_from = g.source_to;
        left.target_from = g.target_to;
    }
    while (group_left(left) && back_group(dims, source, target, left, &g)) {
        reshape_group(dims, source, target, g, index);
        left.source_to = g.source_from;
        left.target_to = g.target_from;
    }
    reshape_group(dims, source, target, left, index);
}

IndexMap sn_view_reshape(Dims *dims, Arena *arena, int source_rank, const Dim *source, int rank,
                         const Dim *target) {
    int from_count, to_count;
    int *from = long_axes(arena, source_rank, source, &from_count);
    int *to = long_axes(arena, rank, target, &to_count);
    Dim *a = SN_ARRAY(arena, Dim, from_count), *b = SN_ARRAY(arena, Dim, to_count);
    for (int i = 0; i < from_count; i++) a[i] = source[from[i]];
    for (int i = 0; i < to_count; i++) b[i] = target[to[i]];
    Dim *some = SN_ARRAY(arena, Dim, from_count), *index = SN_ARRAY(arena, Dim, source_rank);
    reshape_long(dims, from_count, a, to_count, b, some);
    /* axis k among the long ones is axis to[k] of the output */
    Dim *numbered = sn_view_axes(dims, arena, to_count, b), *meant = SN_ARRAY(arena, Dim, to_count);
    for (int i = 0; i < to_count; i++) meant[i] = sn_dim_axis(dims, to[i], b[i]);
    for (int i = 0; i < source_rank; i++) index[i] = sn_dim(dims, 0);
    for (int i = 0; i < from_count; i++)
        index[from[i]] = sn_dim_replace(dims, some[i], numbered, meant, to_count);
    return (IndexMap){rank, copy_dims(arena, rank, target), source_rank, index};
}

/* ---- maps of maps ---- */

IndexMap sn_view_compose(Dims *dims, Arena *arena, const IndexMap *outer, const IndexMap *inner) {
    assert(outer->source_rank == inner->rank);
    Dim *middle = sn_view_axes(dims, arena, inner->rank, inner->extent);
    Dim *index = SN_ARRAY(arena, Dim, inner->source_rank);
    for (int i = 0; i < inner->source_rank; i++)
        index[i] = sn_dim_replace(dims, inner->index[i], middle, outer->index, inner->rank);
    return (IndexMap){outer->rank, outer->extent, inner->source_rank, index};
}

IndexMap sn_view_carry(Dims *dims, Arena *arena, const IndexMap *map) {
    Dim *extent = SN_ARRAY(arena, Dim, map->rank), *index = SN_ARRAY(arena, Dim, map->source_rank);
    for (int i = 0; i < map->rank; i++) extent[i] = sn_dim_replace(dims, map->extent[i], NULL, NULL, 0);
    for (int i = 0; i < map->source_rank; i++) index[i] = sn_dim_replace(dims, map->index[i], NULL, NULL, 0);
    return (IndexMap){map->rank, extent, map->source_rank, index};
}

bool sn_view_equal(const IndexMap *a, const IndexMap *b) {
    if (a->rank != b->rank || a->source_rank != b->source_rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->extent[i] != b->extent[i]) return false;
    for (int i = 0; i < a->source_rank; i++)
        if (a->index[i] != b->index[i]) return false;
    return true;
}

bool sn_view_is_identity(Dims *dims, const IndexMap *map, const Dim *source) {
    if (map->rank != map->source_rank) return false;
    for (int i = 0; i < map->rank; i++)
        if (map->extent[i] != source[i] || map->index[i] != sn_dim_axis(dims, i, source[i])) return false;
    return true;
}

Dim sn_view_linear(Dims *dims, const IndexMap *map, const Dim *source) {
    Dim linear = sn_dim(dims, 0), stride = sn_dim(dims, 1);
    for (int i = map->source_rank - 1; i >= 0; i--) {
        linear = sn_dim_add(dims, linear, sn_dim_mul(dims, map->index[i], stride));
        if (i > 0) stride = sn_dim_mul(dims, stride, source[i]);
    }
    return linear;
}

bool sn_view_is_reshape(Dims *dims, const IndexMap *map, const Dim *source) {
    Dim linear = sn_dim(dims, 0), count = sn_dim(dims, 1), held = sn_dim(dims, 1);
    for (int i = map->rank - 1; i >= 0; i--) {
        Dim axis = sn_dim_axis(dims, i, map->extent[i]);
        linear = sn_dim_add(dims, linear, sn_dim_mul(dims, axis, count));
        count = sn_dim_mul(dims, count, map->extent[i]);
    }
    for (int i = 0; i < map->source_rank; i++) held = sn_dim_mul(dims, held, source[i]);
    return count == held && linear == sn_view_linear(dims, map, source);
}

bool sn_view_strided(Dims *dims, const IndexMap *map, const Dim *source, Dim *offset, Dim *stride) {
    *offset = sn_view_linear(dims, map, source);
    for (int i = 0; i < map->rank; i++) {
        Dim axis = sn_dim_axis(dims, i, map->extent[i]);
        if (!sn_dim_affine(dims, *offset, axis, &stride[i], offset) || sn_dim_has_axis(stride[i]))
            return false;
    }
    return !sn_dim_has_axis(*offset);
}
