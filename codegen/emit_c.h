/* What the C dialect's files share: emit_c.c has the loops over rows, emit_rows.c what is inside a row. */
#ifndef SN_EMIT_C_H
#define SN_EMIT_C_H

#include "emit.h"

/* All steps of a row (or, in lanes, of SN_LANES rows): in the form that is set. */
void sn_c_steps(Emit *emit);

/* A loop step over a row in vectors: how many copies its accumulators have, what joins these and their lanes to the values
 * that later steps use, and all of it. */
int sn_c_copies(const Emit *emit, const Step *step, const unsigned char *needed);
void sn_c_folds(Emit *emit, const Step *step, int copies);
void sn_c_row_step(Emit *emit, const Step *step, const unsigned char *needed, const RowShares *shares);

/* Counts the axes on to the next row. */
void sn_c_next_row(Emit *emit);

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

/* ---- emit_lead.c: rows that are gone over for the first time while the one before is computed ---- */

/* Whether the nest is one of those. */
bool sn_emit_leads(Emit *emit);

/* Before the loop over rows: does the first row. At the beginning of a row: what was found of it, as later steps know it,
 * and the next row's axes. */
void sn_emit_lead_begin(Emit *emit);
void sn_emit_lead_row(Emit *emit);

/* Of the loop that goes over the next row as well, and nothing in others: before it, at `vectors` vectors of it, behind it. */
void sn_emit_lead_starts(Emit *emit);
void sn_emit_lead(Emit *emit, int vectors);
void sn_emit_lead_ends(Emit *emit);

#endif
