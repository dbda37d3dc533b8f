/* Inside the CUDA dialect: emit_cuda.c has the entry and what forms of nests share, emit_cuda_map.c the nests
 * whose elements have nothing to do with one another, emit_cuda_tile.c those of them that transpose, emit_cuda_rows.c those
 * that walk rows. Each writes the device
 * function `void name(args, block)` of a nest. */
#ifndef SN_EMIT_CUDA_H
#define SN_EMIT_CUDA_H

#include "emit.h"

void sn_cuda_map(Emit *emit, const char *name, Text *out);
void sn_cuda_tile(Emit *emit, const char *name, Text *out);
void sn_cuda_rows(Emit *emit, const char *name, Text *out);

/* Lines of braces. */
void sn_cuda_open(Emit *emit, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sn_cuda_close(Emit *emit);

/* The axes at the flat, row-major position that the variable `flat` is; the last one runs fastest. `few`: the position
 * fits 32 bits, in which divisions are three times as quick. */
void sn_cuda_axes(Emit *emit, const Axes *axes, const char *flat, bool few);

/* Puts the function's head and locals, and its body, emit->text, into `out`. */
void sn_cuda_function(Emit *emit, const char *name, Text *out);

/* Loads that schedule_cuda.c says can be read before anything else: x<id>[] holds what is stored there. Declares these
 * arrays for `count` elements. */
void sn_cuda_declare_ahead(Emit *emit, const bool *ahead, int64_t count);

/* wide[id]: the load is needed, and one of whole packs. */
bool *sn_cuda_wide_loads(Emit *emit);

/* The condition that all accesses along the vector axis are of aligned packs: "true", or terms joined by &&. `wide` says
 * which loads are. */
const char *sn_cuda_aligned(Emit *emit, const bool *wide);

#endif
