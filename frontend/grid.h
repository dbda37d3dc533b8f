/* Index tensors whose elements follow a formula: grids made by ranges, expansions and sums, or constants that are such. */
#ifndef SN_GRID_H
#define SN_GRID_H

#include "import.h"

/* Element `at` (a Dim for each axis, over axes and symbols) of an integer value as a Dim, or NULL where it is not known. */
Dim sn_grid_element(Call *call, const Value *value, const Dim *at);

/* `data` with updates at the places that the index tuples name, where these are a box of data: made of parts that are moved,
 * with nothing looked up. NULL where they are not known to be a box, and after a failure. The shapes fit, as ScatterND
 * has them. */
Value *sn_grid_assign(Call *call, Value *data, const Value *index, Value *updates);

#endif
