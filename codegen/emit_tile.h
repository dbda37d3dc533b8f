/* Transposed loads of the C dialect: they go through tiles, or, where rows are stored four at a time, straight from registers. */
#ifndef SN_EMIT_TILE_H
#define SN_EMIT_TILE_H

#include "emit.h"

/* Chooses emit->direct; defines, for every load through a tile, room for one or two tiles and what follows the item's
 * rows in memory. Axes are at its first row. */
void sn_emit_bands(Emit *emit);

/* Makes t<id> of every load through a tile what it needs, from `first` to where the rows of `store` (may be NULL) end,
 * and defines `whole`: there are SN_LANES rows, of whole vectors. If emit->direct only p<id>, from which that is loaded,
 * and `whole`: rows are of whole vectors. */
void sn_emit_tiles(Emit *emit, const Store *store);

/* If emit->direct, for rows that begin where vectors do and for those that do not (`odd`), and have a store: opens a
 * loop over each four rows from j on of a whole tile, which makes of every load through it what these need, and in it
 * one over them, r. The second one opens the loop over the vectors of a row, v, the third one makes the tiles of the
 * rows that are left. */
void sn_emit_tile_fours(Emit *emit, const Store *store, bool odd);
void sn_emit_four_begin(Emit *emit, bool odd);
void sn_emit_tiles_rest(Emit *emit);

/* Opens a loop over the rows j of a whole tile, or of any other. */
void sn_emit_tile_rows(Emit *emit, const Store *store, bool whole);

/* At a row of a whole tile: makes its share of the next tile, with `made` squares so far, and sn_emit_bands_ahead. */
void sn_emit_tiles_ahead(Emit *emit);

/* At a row of a tile: fetches its share of what follows the item's rows in memory. */
void sn_emit_bands_ahead(Emit *emit);

/* Opens the loop over the vectors of a row of a whole tile. */
void sn_emit_tile_begin(Emit *emit, const Store *store);

/* At a row of any tile: defines where it begins, as the vector axis, and ends: `end`. */
void sn_emit_tile_range(Emit *emit, const Store *store);

#endif
