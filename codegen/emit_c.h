/* What the C dialect's files share: emit_c.c has the loops over rows, emit_rows.c what is inside a row. */
#ifndef SN_EMIT_C_H
#define SN_EMIT_C_H

#include "emit.h"

/* All steps of a row (or, in lanes, of SN_LANES rows): in the form that is set. */
void sn_c_steps(Emit *emit);

void sn_c_stores(Emit *emit, const Step *step);

/* One pass over the body of a loop step; accumulators go to copy `copy` of their variables. */
void sn_c_body(Emit *emit, const Step *step, const unsigned char *needed, int copy);

/* The accumulators' variables, `copies` of each; the results of one copy, as the values that later steps use. */
void sn_c_acc_starts(Emit *emit, const Step *step, int copies);
void sn_c_acc_ends(Emit *emit, const Step *step, int copy);

/* Opens a loop over each of the first `count` reduced axes; closes so many loops or blocks. */
void sn_c_open_reduced(Emit *emit, int count);
void sn_c_close_loops(Emit *emit, int count);

/* Where `store` is to be aligned, a partial vector comes before the whole ones as well as behind them: one loop around both
 * (open_vectors), so that its code is written once. open_partial begins the block of a partial vector of axis number k up
 * to `last`, close_partial ends it. */
void sn_c_open_vectors(Emit *emit, const Store *store);
void sn_c_open_partial(Emit *emit, const Store *store, int k, const char *last);
void sn_c_close_partial(Emit *emit, const Store *store, int k);

#endif
