/* What the C dialect's files share, each calling those behind it: emit_c.c has the loops over rows, emit_rows.c what is inside a
 * row, emit_lead.c what is done of the next one there, emit_row_body.c what all of it is made of. */
#ifndef SN_EMIT_C_H
#define SN_EMIT_C_H

#include "emit.h"

enum { SN_ROW_UNROLL = 4 }; /* vectors of a row that a loop does at a time */

/* An axis's number; its extent as text. */
int sn_c_axis(Dim axis);
const char *sn_c_extent(Emit *emit, Dim axis);

/* All steps of a row (or, in lanes, of SN_LANES rows): in the form that is set. */
void sn_c_steps(Emit *emit);

/* Before a loop over rows that lead (emit_lead.c): goes over the first row. */
void sn_c_lead_begin(Emit *emit);

/* A loop step over a row in vectors: how many copies its accumulators have, what joins these and their lanes to the values
 * that later steps use. */
int sn_c_copies(const Emit *emit, const Step *step, const unsigned char *needed);
void sn_c_folds(Emit *emit, const Step *step, int copies);

/* How long a loop's body is, in instructions; a dear function counts as too many, since it hides the accumulators' latency by
 * itself. */
int sn_c_loop_size(const Emit *emit, const unsigned char *needed);

/* Where a loop over a reduced axis ends. */
const char *sn_c_end(Emit *emit, Dim axis);

/* How many axes rows have; how many rows an axis moves on by, as text (NULL: one); counts the axes on to the next row. */
int sn_c_outer_axes(const Nest *nest);
const char *sn_c_stride(const Nest *nest, Dim axis);
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

/* ---- emit_columns.c: columns that are reduced ---- */

/* Reduces the columns from `first` on, or those in groups of vectors, and stores what they come to, `any` being needed in all;
 * the vector axis is then at the first column that is left. */
void sn_c_fold_columns(Emit *emit, const unsigned char *any);

/* ---- emit_beside.c: rows of such columns that are reduced side by side ---- */

/* If the nest has such rows: all that is to be done of nest->beside of them, where there are so many, in a branch whose other one is
 * opened for the row at hand. Whether it was, and has to be closed. *always: there are so many everywhere, and no other branch. */
bool sn_c_rows_beside(Emit *emit, const unsigned char *any, bool *always);

/* ---- emit_lead.c: rows that are gone over for the first time while the one before is computed ---- */

/* Whether the nest is one of those. */
bool sn_emit_leads(Emit *emit);

/* Whether an instruction is of a row as a whole, and the first loop needs it: the next row's is next_v<id>. */
bool sn_emit_leads_row(const Instr *instr, const unsigned char *needed);

/* Whether its rows are so short that the next one is gone over in a loop of its own, before this one. */
bool sn_emit_leads_apart(const Emit *emit);

/* What the first loop needs; keeps its results for the next row, where its accumulators' last values are known. */
unsigned char *sn_emit_lead_needs(Emit *emit);
void sn_emit_lead_take(Emit *emit);

/* Of the loop that goes over the next row as well, and nothing in others: before it, at a vector that is of copy `copy` of its
 * accumulators, at `vectors` vectors of it in one piece, behind it. */
void sn_emit_lead_starts(Emit *emit);
void sn_emit_lead(Emit *emit, int copy);
void sn_emit_lead_group(Emit *emit, int vectors);
void sn_emit_lead_ends(Emit *emit);

#endif
