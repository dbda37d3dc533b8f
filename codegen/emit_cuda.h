/* Inside the CUDA dialect: emit_cuda.c has the entry and what forms of nests share, emit_cuda_map.c the nests
 * whose elements have nothing to do with one another, emit_cuda_tile.c those of them that transpose, emit_cuda_rows.c those
 * that walk rows. Each writes the device function `int64_t name(args, block, end)` of a nest, which does the blocks
 * block, block + gridDim.x, ... below `end` and gives the first one that is not: a grid has as many blocks as there are, or
 * fewer, each of which has several turns. All threads of a block have the same turns. */
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

/* Puts the function's head and locals, and its body, emit->text, into `out`: of one block, `void name(args, block)` with
 * `more` parameters (", ..." or ""), or of all turns, whose body leaves `block` at the first that is not done. */
void sn_cuda_function(Emit *emit, const char *name, const char *more, Text *out);
void sn_cuda_walk(Emit *emit, const char *name, Text *out);

/* Whether blocks of the kernel have several turns: where that saves loads or lets them be under way. Others have one: what does
 * not change from turn to turn would only take registers. */
bool sn_cuda_walks(const KernelIr *kernel);

/* Opens the loop over the turns that are left, or the only one. */
void sn_cuda_open_turns(Emit *emit);

/* Loads that schedule_cuda.c says can be read before anything else: x<id>[] holds what is stored there. Declares these
 * arrays for `count` elements. */
void sn_cuda_declare_ahead(Emit *emit, const bool *ahead, int64_t count);

/* wide[id]: the load is needed, and one of whole packs. */
bool *sn_cuda_wide_loads(Emit *emit);

/* The condition that all accesses along the vector axis are of aligned packs: "true", or terms joined by &&. `wide` says
 * which loads are. */
const char *sn_cuda_aligned(Emit *emit, const bool *wide);

#endif
