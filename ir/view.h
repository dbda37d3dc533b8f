/* Index maps: how a movement (transpose, reshape, slice, expand) reads its source.
 *
 * A map says, for each axis of the SOURCE, which element the output element reads there, as a Dim over the
 * axes of the OUTPUT: axis i of the output is sn_dim_axis(dims, i, extent[i]). Moves are composed by
 * substitution, so a chain of any length is one map, and a map whose linear address equals the output's moves
 * nothing at all.
 *
 * Every function that takes `dims` makes its Dims there, and every array it returns lies in `arena`. Shapes
 * that are passed in (`source`, `target`) are arrays of extents; they are copied where the map keeps them. An
 * axis of extent 1 is the constant 0 (see sn_dim_axis), so maps of equal meaning are equal whichever way a 1
 * was added or dropped.
 */
#ifndef SN_VIEW_H
#define SN_VIEW_H

#include "dim.h"

typedef struct IndexMap {
    int rank;          /* of the output */
    const Dim *extent; /* rank entries: the output's shape */
    int source_rank;
    const Dim *index; /* source_rank entries: Dims over the output's axes */
} IndexMap;

/* The axes of a shape: sn_dim_axis(dims, i, extent[i]) for each i < rank. */
Dim *sn_view_axes(Dims *dims, Arena *arena, int rank, const Dim *extent);

IndexMap sn_view_identity(Dims *dims, Arena *arena, int rank, const Dim *extent);

/* ONNX Transpose: axis i of the output is axis perm[i] of the source. `perm` is a permutation of 0..rank-1.
 */
IndexMap sn_view_transpose(Dims *dims, Arena *arena, int rank, const Dim *source, const int *perm);

/* Row-major reshape; also squeeze and unsqueeze. The caller has proven, or checks at bind time, that the two
 * shapes hold equally many elements. Only groups of axes whose products differ from axis to axis are
 * linearised. */
IndexMap sn_view_reshape(Dims *dims, Arena *arena, int source_rank, const Dim *source, int rank,
                         const Dim *target);

/* index[i] = start[i] + step[i]·axis i, with `extent` the output's shape. Starts are already clamped into the
 * source (start of a negative step: the last element read first); steps may be negative. */
IndexMap sn_view_slice(Dims *dims, Arena *arena, int rank, const Dim *start, const Dim *step,
                       const Dim *extent);

/* numpy broadcasting of `source` to `target` (the result's shape), aligned at the last axis; source_rank <=
 * rank. A source extent proven 1 reads element 0. Where equality with the target is not proven, *check is set
 * (it is never cleared): the caller checks at bind time that the source extent is 1 or equals the target's;
 * the index is right in both cases. `check` may be NULL. */
IndexMap sn_view_expand(Dims *dims, Arena *arena, int source_rank, const Dim *source, int rank,
                        const Dim *target, bool *check);

/* The view `outer` of the view `inner`: outer's source is inner's output (outer.source_rank == inner.rank).
 */
IndexMap sn_view_compose(Dims *dims, Arena *arena, const IndexMap *outer, const IndexMap *inner);

/* The same map in another table (symbols by name, axes by number). */
IndexMap sn_view_carry(Dims *dims, Arena *arena, const IndexMap *map);

/* The same extents and the same indices (of one table). */
bool sn_view_equal(const IndexMap *a, const IndexMap *b);

/* The output is the source: equal shapes, each index its axis. `source` is the source's shape. */
bool sn_view_is_identity(Dims *dims, const IndexMap *map, const Dim *source);

/* Nothing moves: the row-major address in the source is the row-major address in the output, and both hold
 * equally many elements (proven). The identity is one of them. */
bool sn_view_is_reshape(Dims *dims, const IndexMap *map, const Dim *source);

/* The row-major element offset in a dense source, over the output's axes. */
Dim sn_view_linear(Dims *dims, const IndexMap *map, const Dim *source);

/* The same as *offset + Σ stride[i]·axis i, in elements; `stride` has map->rank entries, 0 for broadcast axes
 * and for axes of extent 1. False (outputs unspecified) when the offset is not affine in the axes. */
bool sn_view_strided(Dims *dims, const IndexMap *map, const Dim *source, Dim *offset, Dim *stride);

/* The inverse: *out has the source's shape as its output, and per axis of map's output its Dim over the
 * source's axes. False when the map is not recognised as a bijection built of permutations, splits and
 * merges, or as a reshape. compose(map, *out) and compose(*out, map) are identities. */
bool sn_view_invert(Dims *dims, Arena *arena, const IndexMap *map, const Dim *source, IndexMap *out);

#endif
