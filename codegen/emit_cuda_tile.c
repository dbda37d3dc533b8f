/* CUDA: transpositions. What is loaded along one axis and stored along another goes through a square of shared memory: a
 * block loads rows of one, and computes and stores rows of the other, so that neighbouring threads are at neighbouring
 * elements both times. A column of the square lies in different banks, since its rows are one bank longer than it is
 * wide. */
#include "emit_cuda.h"

enum { MOST = 4, BANK = 4 }; /* squares; bytes */

typedef struct Square {
    bool *tiled;       /* by id: loads that go through shared memory */
    int edge, threads; /* of the block */
    int each;          /* elements of a thread */
    Dim along, across; /* the axis of loads and that of stores */
} Square;

static Square make_square(Emit *emit, const unsigned char *any) {
    const Nest *nest = emit->nest;
    const Block *block = &nest->block;
    Square square = {SN_ARRAY(emit->arena, bool, nest->instr.count),
                     block->tile,
                     block->rows,
                     0,
                     nest->tile,
                     emit->vector_axis};
    square.each = block->tile * block->tile / block->rows;
    int count = 0;
    for (int i = 0; i < nest->instr.count && count < MOST; i++) {
        square.tiled[i] = any[i] && sn_schedule_tiled(emit->kernel->dims, nest, nest->instr.at[i], NULL);
        count += square.tiled[i];
    }
    return square;
}

/* Elements from one row of the square in shared memory to the next. */
static int pitch(const Square *square, const Instr *instr) {
    int bytes = (int)sn_dtype_bytes(instr->dtype);
    return square->edge + (bytes < BANK ? BANK / bytes : 1);
}

/* The first element of the block's square, and the axes outside of it. */
static void emit_place_of_block(Emit *emit, const Square *square) {
    Dims *dims = emit->kernel->dims;
    Axes outer = emit->nest->parallel;
    const Dim axis[2] = {square->across, square->along};
    outer.count -= 2;
    sn_emit_line(emit, "int64_t rest = block;");
    for (int i = 0; i < 2; i++) {
        Dim squares = sn_dim_ceildiv(dims, axis[i]->operand[0], sn_dim(dims, square->edge));
        const char *count = sn_emit_dim(emit, squares, NULL);
        sn_emit_line(emit, "const int64_t first%d = rest %% %s * %d;", (int)axis[i]->value, count,
                     square->edge);
        sn_emit_line(emit, "rest /= %s;", count);
    }
    sn_emit_line(emit, "const int64_t outer = rest;");
    sn_cuda_axes(emit, &outer, "outer", false);
}

/* Opens what is done for element k of the thread: `column` runs with the threads along `fast`, `line` along the other. */
static void open_element(Emit *emit, const Square *square, Dim fast, Dim slow) {
    int f = (int)fast->value, s = (int)slow->value;
    sn_emit_line(emit, "#pragma unroll");
    sn_cuda_open(emit, "for (int k = 0; k < %d; k++)", square->each);
    sn_emit_line(emit, "const int column = threadIdx.x %% %d, line = threadIdx.x / %d + k * %d;",
                 square->edge, square->edge, square->threads / square->edge);
    sn_emit_line(emit, "const int64_t i%d = first%d + column, i%d = first%d + line;", f, f, s, s);
    sn_cuda_open(emit, "if (i%d < %s && i%d < %s)", f, sn_emit_dim(emit, fast->operand[0], NULL), s,
                 sn_emit_dim(emit, slow->operand[0], NULL));
}

static void close_element(Emit *emit) {
    sn_cuda_close(emit);
    sn_cuda_close(emit);
}

static void emit_loads(Emit *emit, const Square *square) {
    const Nest *nest = emit->nest;
    for (int i = 0; i < nest->instr.count; i++)
        if (square->tiled[i])
            sn_emit_line(emit, "__shared__ %s m%d[%d];", sn_emit_storage(nest->instr.at[i]->dtype), i,
                         square->edge * pitch(square, nest->instr.at[i]));
    sn_cuda_declare_ahead(emit, square->tiled, square->each);
    open_element(emit, square, square->along, square->across);
    for (int i = 0; i < nest->instr.count; i++)
        if (square->tiled[i])
            sn_emit_line(emit, "x%d[k] = %s[%s];", i, sn_emit_buffer(emit, nest->instr.at[i]->buffer),
                         sn_emit_dim(emit, nest->instr.at[i]->dim, NULL));
    close_element(emit);
    open_element(emit, square, square->along, square->across);
    for (int i = 0; i < nest->instr.count; i++)
        if (square->tiled[i])
            sn_emit_line(emit, "m%d[line * %d + column] = x%d[k];", i, pitch(square, nest->instr.at[i]), i);
    close_element(emit);
    sn_emit_line(emit, "__syncthreads();");
}

static void emit_results(Emit *emit, const Square *square, const unsigned char *any) {
    const Nest *nest = emit->nest;
    const Step *step = &nest->step.at[0];
    for (int i = 0; i < step->store.count; i++)
        sn_emit_line(emit, "%s o%d[%d];", sn_emit_storage(step->store.at[i].dtype), i, square->each);
    open_element(emit, square, square->across, square->along);
    sn_emit_line(emit, "const int q = 0;");
    for (int i = 0; i < nest->instr.count; i++)
        if (square->tiled[i])
            sn_emit_line(emit, "const %s *const x%d = m%d + column * %d + line;",
                         sn_emit_storage(nest->instr.at[i]->dtype), i, i, pitch(square, nest->instr.at[i]));
    sn_emit_place(emit, SN_PLACE_ROW, 0, any);
    sn_emit_place(emit, SN_PLACE_VECTOR, 0, any);
    for (int i = 0; i < step->store.count; i++)
        sn_emit_line(emit, "sn_store_%s_s(o%d + k, %s);", sn_dtype_name(step->store.at[i].dtype), i,
                     sn_emit_stored(emit, &step->store.at[i], false));
    close_element(emit);
    open_element(emit, square, square->across, square->along);
    for (int i = 0; i < step->store.count; i++)
        sn_emit_line(emit, "%s[%s] = o%d[k];", sn_emit_buffer(emit, step->store.at[i].buffer),
                     sn_emit_dim(emit, step->store.at[i].offset, NULL), i);
    close_element(emit);
}

static void emit_turns(Emit *emit, const char *name, const char *square, Text *out) {
    sn_emit_function(emit, emit->nest);
    sn_cuda_open_turns(emit);
    sn_emit_line(emit, "%s(args, block);", square);
    if (sn_cuda_walks(emit->kernel)) sn_emit_line(emit, "__syncthreads();");
    sn_cuda_close(emit);
    sn_cuda_walk(emit, name, out);
}

void sn_cuda_tile(Emit *emit, const char *name, Text *out) {
    const char *one = sn_arena_printf(emit->arena, "%s_square", name);
    sn_emit_function(emit, emit->nest);
    const unsigned char *any = sn_emit_needed(emit, -1);
    Square square = make_square(emit, any);
    emit_place_of_block(emit, &square);
    sn_emit_place(emit, SN_PLACE_ITEM, 0, any);
    emit_loads(emit, &square);
    emit->ahead = square.tiled;
    emit_results(emit, &square, any);
    sn_cuda_function(emit, one, "", out);
    emit_turns(emit, name, one, out);
}
