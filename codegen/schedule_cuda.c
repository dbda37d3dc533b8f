/* How a CUDA block walks the rows of a nest. */
#include "kernel.h"

enum {
    WARP = 32,
    MAP_THREADS = 256,
    MAP_WIDE = 4,        /* elements of a thread: enough loads under way to cover the memory's latency */
    MAP_RESULTS = 16,    /* of a thread, which wait in registers to be stored */
    FEW_ROWS = 64 << 10, /* which are better spread over all processors */
    SCAN_THREADS = 64,   /* one row each: few, so that a scan of few rows still reaches many processors */
    COLUMNS = 32,        /* rows side by side, a warp's width, and */
    COLUMN_TEAM = 8,     /* how many threads share each of them */
    SHORT_COLUMN = 16,   /* reduced elements that one thread may as well do alone */
    WARP_ROW = 1024,     /* reduced elements up to which a warp does a row */
    BLOCK_ROW = 8192,    /* and up to which a block of ROW_THREADS does */
    ROW_THREADS = 256,
    UNKNOWN_THREADS = 128,
    LONG_THREADS = 1024,
    MAX_EACH = 32, /* elements of a row that a thread may keep in registers */
    SHARED_BYTES = 48 << 10,
};

static Dim product(KernelIr *kernel, const Axes *axes) {
    Dim result = sn_dim(kernel->dims, 1);
    for (int i = 0; i < axes->count; i++) result = sn_dim_mul(kernel->dims, result, axes->at[i]->operand[0]);
    return result;
}

static int acc_count(const Nest *nest, bool *running) {
    int count = 0;
    for (int p = 0; p < nest->step.count; p++)
        for (int i = 0; i < nest->step.at[p].acc.count; i++, count++)
            *running |= nest->step.at[p].acc.at[i]->running;
    return count;
}

static bool has_loop(const Nest *nest) {
    for (int p = 0; p < nest->step.count; p++)
        if (nest->step.at[p].loop) return true;
    return false;
}

/* Elements that have nothing to do with one another. */
static Block map_block(const Nest *nest, Dim rows) {
    Block block = {.team = 1, .rows = MAP_THREADS, .beside = true, .wide = MAP_WIDE};
    int64_t count;
    int stores = 0;
    for (int p = 0; p < nest->step.count; p++) stores += nest->step.at[p].store.count;
    while (block.wide * stores > MAP_RESULTS) block.wide /= 2;
    if (nest->step.count != 1 || (sn_dim_is(rows, &count) && count <= FEW_ROWS)) block.wide = 0;
    return block;
}

/* Neighbouring threads take neighbouring rows: the vector axis is a parallel one. */
static Block columns(int accs, bool constant, int64_t length) {
    Block alone = {.team = 1, .rows = COLUMNS * COLUMN_TEAM, .beside = true};
    bool fits = accs * COLUMNS * COLUMN_TEAM * (int)sizeof(double) <= SHARED_BYTES;
    if (!fits || (constant && length <= SHORT_COLUMN)) return alone;
    return (Block){.team = COLUMN_TEAM, .rows = COLUMNS, .beside = true};
}

/* Neighbouring threads share a row. */
static Block row_team(bool single, bool constant, int64_t length) {
    Block block = {.team = UNKNOWN_THREADS, .rows = 1};
    if (single) block.team = LONG_THREADS;
    if (constant && length <= WARP_ROW)
        block = (Block){.team = WARP, .rows = ROW_THREADS / WARP};
    else if (constant)
        block.team = length <= BLOCK_ROW ? ROW_THREADS : LONG_THREADS;
    if (constant && length > 0 && length <= (int64_t)block.team * MAX_EACH)
        block.each = (length + block.team - 1) / block.team;
    return block;
}

void sn_schedule_block(KernelIr *kernel, Nest *nest) {
    bool running = false;
    int accs = acc_count(nest, &running);
    int64_t length = 0;
    bool constant = sn_dim_is(product(kernel, &nest->reduced), &length);
    Dim rows = product(kernel, &nest->parallel);
    if (!has_loop(nest))
        nest->block = map_block(nest, rows);
    else if (running)
        nest->block = (Block){.team = 1, .rows = SCAN_THREADS, .beside = true};
    else if (nest->vector == SN_VECTOR_PARALLEL)
        nest->block = columns(accs, constant, length);
    else
        nest->block = row_team(sn_dim_equals(rows, 1), constant, length);
    nest->rows = rows;
    int wide = nest->block.wide ? nest->block.wide : 1;
    nest->items = sn_dim_ceildiv(kernel->dims, rows, sn_dim(kernel->dims, (int64_t)nest->block.rows * wide));
}

/* Registers hold what comes from memory or is dear; the rest is as quickly computed again. */
bool sn_schedule_block_keeps(const Nest *nest, const Instr *instr) {
    enum { KEPT = 2 }; /* arrays of `each` registers */
    bool computed =
        instr->kind == SN_INSTR_CALL || instr->kind == SN_INSTR_CAST || instr->kind == SN_INSTR_LOAD;
    bool dear = instr->ready == 0 || (instr->kind == SN_INSTR_CALL && sn_function_is_costly(instr->function));
    return nest->block.each && nest->scratch.count < KEPT && computed && dear && instr->reduced &&
           sn_dtype_is_float(instr->dtype) && instr->dtype != SN_F64;
}
