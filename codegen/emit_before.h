/* What the files share that store rows of the C dialect later than they are computed, each calling those behind it: emit_lag.c one
 * row later, emit_fours.c four rows by turns, emit_before.c what is stored of a row of before. */
#ifndef SN_EMIT_BEFORE_H
#define SN_EMIT_BEFORE_H

#include "emit.h"

/* The step that stores, and the length of its rows. */
int sn_before_step(const Emit *emit);
const char *sn_before_length(Emit *emit);

/* Whether that step, which needs needed[], needs instruction `id` of its row, whose value has to be kept until then. */
bool sn_before_needs(const Emit *emit, const unsigned char *needed, int id);

/* Bytes that `rows` rows have which are gone over at once, and what all rows have in common. Negative: not known, or too many. */
int64_t sn_before_bytes(const Emit *emit, int rows);

/* With the row's names defined: stores elements from `done` on up to at least element `limit`, or all where that is the length:
 * elements up to the first whole line one by one, then vectors, at the row's end the rest. */
void sn_before_until(Emit *emit, const unsigned char *needed);

/* Whether two vectors of it are a line and are stored at once; one vector from element `done` on, or two, which are counted there. */
bool sn_before_has_halves(const Emit *emit);
void sn_before_vector(Emit *emit, const unsigned char *needed);
void sn_before_two(Emit *emit, const unsigned char *needed);

/* ---- emit_wide.c: what rows that go beside each other have in common ---- */

/* Sets emit->wide. Before the loop over rows, where it is set: makes what it says. */
void sn_wide_choose(Emit *emit);
void sn_wide_begin(Emit *emit);

/* ---- emit_fours.c ---- */

enum { SN_FOURS = 4 };

/* Whether rows that go beside each other, whose last loop but one hosts the stores, are stored so. */
bool sn_fours_fit(Emit *emit);

/* Before the loop over rows, at the end of a row, and at each vector of the hosting loop: as sn_emit_lag_begin, _row, _vector. */
void sn_fours_begin(Emit *emit);
void sn_fours_row(Emit *emit);
void sn_fours_vector(Emit *emit);

#endif
