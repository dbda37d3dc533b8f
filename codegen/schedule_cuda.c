/* How CUDA blocks walk the rows of a nest. */
#include "pack.h"

enum {
    WARP = 32,
    MAP_THREADS = 256,
    MAP_RESULTS = 16, /* of a thread, which wait in registers to be stored */
    MAP_ALONE = 4,    /* elements of a thread where there are no packs */
    MAP_BYTES =
        32, /* that a thread should have under way: 2048 threads then have 64 KB, and 40 keep an H200 busy */
    TILE = 32,           /* edge of a square of a transposition, twice that of elements of two bytes; */
    LEAST_TILE = 16,     /* axes that are known to be shorter are not worth one */
    FEW_ROWS = 64 << 10, /* which are better spread over all processors */
    FEW_TEAMS = 64,      /* which leave most processors idle, so that a row may have a whole block */
    SCAN_THREADS = 64,   /* one row each: few, so that a scan of few rows still reaches many processors */
    COLUMNS = 32,        /* rows side by side, a warp's width, and */
    COLUMN_TEAM = 8,     /* how many threads share each of them */
    SHORT_COLUMN = 16,   /* reduced elements that one thread may as well do alone */
    WARP_ROW = 1024,     /* reduced elements up to which a warp does a row */
    BLOCK_ROW = 8192,    /* and up to which a block of ROW_THREADS does */
    ROW_THREADS = 256,
    LONG_THREADS = 512, /* of which each may have 128 registers */
    MAX_EACH = 32,      /* elements of a row that a thread may keep in registers */
    AHEAD_BYTES = 32,   /* that a thread of a looped walk loads before it uses any */
    MAX_AHEAD = 8,      /* packs, and */
    MOST_AHEAD =
        16, /* elements, each of which a thread has registers for; fewer where results wait besides */
    MOST_SCATTERED =
        16,            /* elements that a thread of a map loads one by one, each from an address of its own */
    RESULT_BYTES = 64, /* of a thread that is made wider for more loads under way */
    FLOW_BYTES = 112,  /* of a thread's loads for the next turn and results of the present one */
    SHARED_BYTES = 48 << 10,
};

static Dim product(KernelIr *kernel, const Axes *axes) {
    return sn_schedule_product(kernel->dims, axes, axes->count);
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

/* Bytes that an element of the nest loads from places of its own. */
static int64_t element_bytes(const Nest *nest, bool reduced) {
    int64_t bytes = 0;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        if (instr->kind == SN_INSTR_LOAD && (reduced ? instr->reduced : instr->varying))
            bytes += sn_dtype_bytes(instr->dtype);
    }
    return bytes;
}

/* Loads along the vector axis that are not of whole packs. */
static int scattered_loads(KernelIr *kernel, const Nest *nest, int pack) {
    const bool *wide = sn_pack_loads(kernel, nest, pack);
    int count = 0;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        count += instr->kind == SN_INSTR_LOAD && instr->varying && !wide[i];
    }
    return count;
}

static bool is_short(Dim axis) {
    int64_t length;
    return sn_dim_is(axis->operand[0], &length) && length < LEAST_TILE;
}

/* The edge of the square that goes through shared memory; 0: none does. */
static int tile_edge(KernelIr *kernel, const Nest *nest) {
    int64_t widest = 0;
    if (!nest->tile || is_short(nest->tile) || is_short(nest->parallel.at[nest->parallel.count - 1]))
        return 0;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        bool tiled = sn_schedule_tiled(kernel->dims, nest, instr, NULL);
        if (tiled && sn_dtype_bytes(instr->dtype) > widest) widest = sn_dtype_bytes(instr->dtype);
    }
    return widest <= 2 && nest->step.at[0].store.count == 1 ? 2 * TILE : TILE;
}

/* Whether values of eight bytes take nearly all the registers that there are: dear functions of them, or many of them in
 * each element. */
static bool is_wide(const Nest *nest) {
    enum { MANY = 4 };
    int count = 0;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        bool call = instr->kind == SN_INSTR_CALL, costly = call && sn_function_is_costly(instr->function);
        if (instr->dtype == SN_F64 || (costly && sn_dtype_is_int(instr->dtype))) return true;
        count += call && instr->varying && sn_dtype_bytes(instr->dtype) == 8;
    }
    return count >= MANY;
}

/* Elements that have nothing to do with one another. */
static Block map_block(KernelIr *kernel, const Nest *nest, Dim rows) {
    Block block = {.team = 1, .rows = MAP_THREADS, .beside = true, .pack = 1};
    int64_t count, bytes = element_bytes(nest, false);
    bool few = sn_dim_is(rows, &count) && count <= FEW_ROWS;
    int stores = nest->step.at[0].store.count;
    int64_t stored = 0;
    for (int i = 0; i < stores; i++) stored += sn_dtype_bytes(nest->step.at[0].store.at[i].dtype);
    if (nest->step.count != 1 || nest->vector != SN_VECTOR_PARALLEL) return block;
    block.tile = stores * (TILE * TILE / MAP_THREADS) <= MAP_RESULTS ? tile_edge(kernel, nest) : 0;
    if (block.tile) return block;
    block.pack = sn_pack_width(kernel, nest);
    while (block.pack > 1 && block.pack * stores > MAP_RESULTS) block.pack /= 2;
    if (few && block.pack == 1) return block;
    block.wide = block.pack > 1 || few ? block.pack : MAP_ALONE;
    while (block.wide * stores > MAP_RESULTS) block.wide /= 2;
    int scattered = scattered_loads(kernel, nest, block.pack);
    while (!few && 2 * block.wide * stores <= MAP_RESULTS && block.wide * bytes < MAP_BYTES &&
           2 * block.wide * stored <= RESULT_BYTES && 2 * block.wide * scattered <= MOST_SCATTERED &&
           block.pack > 1)
        block.wide *= 2;
    block.flows = block.pack > 1 && bytes > 0 && !scattered && !is_wide(nest) &&
                  block.wide * (bytes + stored) <= FLOW_BYTES;
    return block;
}

/* Neighbouring threads take neighbouring rows: the vector axis is a parallel one. */
static Block columns(int accs, bool constant, int64_t length) {
    Block alone = {.team = 1, .rows = COLUMNS * COLUMN_TEAM, .beside = true, .pack = 1};
    bool fits = accs * COLUMNS * COLUMN_TEAM * (int)sizeof(double) <= SHARED_BYTES;
    if (!fits || (constant && length <= SHORT_COLUMN)) return alone;
    return (Block){.team = COLUMN_TEAM, .rows = COLUMNS, .beside = true, .pack = 1};
}

/* Scans: neighbouring threads are at neighbouring elements where the row lies in one piece, else in neighbouring rows. */
static Block scan_block(KernelIr *kernel, const Nest *nest) {
    Block alone = {.team = 1, .rows = SCAN_THREADS, .beside = true, .pack = 1};
    const Step *step = &nest->step.at[0];
    if (nest->reduced.count != 1 || nest->step.count != 1) return alone;
    for (int i = 0; i < step->store.count; i++) {
        Dim stride, rest;
        if (!sn_dim_affine(kernel->dims, step->store.at[i].offset, nest->reduced.at[0], &stride, &rest) ||
            !(sn_dim_equals(stride, 1) || sn_dim_equals(stride, -1)))
            return alone;
    }
    return (Block){.team = WARP, .rows = ROW_THREADS / WARP, .scans = true, .pack = 1};
}

/* Whether all that comes of the row is one number or a few, so that it may be split into pieces. */
static bool only_reduces(const Nest *nest) {
    for (int p = 0; p < nest->step.count; p++)
        if (nest->step.at[p].loop && (p > 0 || nest->step.at[p].store.count)) return false;
    return true;
}

/* Elements of a row that a thread loads as one, fewer where the row's length and places, which only a run knows, and results
 * that wait to be stored take registers, too. */
static int row_pack(KernelIr *kernel, const Nest *nest, bool constant) {
    int pack = nest->vector == SN_VECTOR_REDUCED ? sn_pack_width(kernel, nest) : 1;
    if (constant || only_reduces(nest)) return pack;
    while (pack > 1 && pack * element_bytes(nest, true) > AHEAD_BYTES) pack /= 2;
    return pack;
}

/* Neighbouring threads share a row. The team of a short one is a part of a warp. */
static Block row_team(KernelIr *kernel, const Nest *nest, bool constant, int64_t length) {
    Block block = {.team = ROW_THREADS, .rows = 1, .pack = row_pack(kernel, nest, constant)};
    int64_t rows = 0, turn = (int64_t)WARP * block.pack;
    bool few = sn_dim_is(product(kernel, &nest->parallel), &rows) && rows <= FEW_TEAMS;
    if (!constant) {
        block.narrow = true;
    } else if (length <= (few ? turn : WARP_ROW)) {
        block.team = WARP;
        while (block.team > 1 && length <= (int64_t)block.team / 2 * block.pack) block.team /= 2;
        block.rows = ROW_THREADS / block.team;
    } else if (length > BLOCK_ROW && !only_reduces(nest)) {
        block.team = LONG_THREADS;
    }
    int64_t packs = (int64_t)block.team * block.pack;
    if (constant && length > 0 && length <= (int64_t)MAX_EACH * block.team)
        block.each = (length + packs - 1) / packs * block.pack;
    return block;
}

/* Packs of a looped walk that are loaded together. */
static int ahead(const Nest *nest) {
    int64_t bytes = element_bytes(nest, true) * nest->block.pack;
    int count = 1, most = MOST_AHEAD;
    for (int p = 0; p < nest->step.count; p++)
        if (nest->step.at[p].loop && nest->step.at[p].store.count) most = MOST_AHEAD / 2;
    while (count < MAX_AHEAD && 2 * count * bytes <= AHEAD_BYTES && 2 * count * nest->block.pack <= most)
        count *= 2;
    return count;
}

/* The squares of all transpositions. */
static Dim squares(KernelIr *kernel, const Nest *nest) {
    Dims *dims = kernel->dims;
    int last = nest->parallel.count - 1;
    Dim edge = sn_dim(dims, nest->block.tile), count = sn_schedule_product(dims, &nest->parallel, last - 1);
    for (int i = last - 1; i <= last; i++)
        count = sn_dim_mul(dims, count, sn_dim_ceildiv(dims, nest->parallel.at[i]->operand[0], edge));
    return count;
}

void sn_schedule_block(KernelIr *kernel, Nest *nest) {
    bool running = false;
    int accs = acc_count(nest, &running);
    int64_t length = 0;
    bool constant = sn_dim_is(product(kernel, &nest->reduced), &length);
    Dims *dims = kernel->dims;
    Dim rows = product(kernel, &nest->parallel);
    if (!has_loop(nest))
        nest->block = map_block(kernel, nest, rows);
    else if (running)
        nest->block = scan_block(kernel, nest);
    else if (nest->vector == SN_VECTOR_PARALLEL)
        nest->block = columns(accs, constant, length);
    else
        nest->block = row_team(kernel, nest, constant, length);
    Block *block = &nest->block;
    block->ahead = ahead(nest);
    nest->rows = rows;
    int wide = block->wide ? block->wide : 1;
    Dim each = sn_dim(dims, (int64_t)block->rows * wide);
    if (block->narrow) { /* as many rows as warps, or one */
        Dim long_row =
            sn_dim_floordiv(dims, product(kernel, &nest->reduced), sn_dim(dims, SN_NARROW_ROW + 1));
        Dim is_long = sn_dim_min(dims, long_row, sn_dim(dims, 1));
        int warps = block->team / WARP;
        each = sn_dim_sub(dims, sn_dim(dims, warps), sn_dim_mulc(dims, is_long, warps - 1));
    }
    nest->items = block->tile ? squares(kernel, nest) : sn_dim_ceildiv(dims, rows, each);
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
