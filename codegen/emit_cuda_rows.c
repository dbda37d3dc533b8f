/* CUDA: rows that are walked, to reduce or to scan them. Each thread of a row's team takes elements of it, `pack` neighbours
 * at a time, and joins what it has accumulated with the rest of the team by shuffles, through shared memory, or
 * both, always in the same order.
 *
 * A walk goes in groups of some packs: what they load is loaded first, so that enough is under way, then one element
 * after the other is computed. Where addresses are not aligned, `step` makes neighbouring threads take neighbouring
 * elements instead. */
#include "emit_cuda.h"
#include "pack.h"

enum { WARP = 32 };

static const Block *block_of(const Emit *emit) {
    return &emit->nest->block;
}

static Dim product(const Emit *emit, const Axes *axes) {
    return sn_schedule_product(emit->kernel->dims, axes, axes->count);
}

/* Whether the threads of a row join what they have through shared memory. */
static bool shares(const Emit *emit) {
    const Block *block = block_of(emit);
    return block->beside ? block->team > 1 : block->team > WARP;
}

/* ---- rows ---- */

/* Rows past the end: whole warps of them leave, but where threads of other rows wait for them they stay, at the last
 * row, of which they have no element. */
static bool rows_stay(const Emit *emit) {
    const Block *block = block_of(emit);
    return block->team > 1 && (block->beside || block->team < WARP);
}

static void emit_row(Emit *emit) {
    const Block *block = block_of(emit);
    const char *rows = sn_emit_dim(emit, product(emit, &emit->nest->parallel), NULL);
    if (block->narrow) {
        sn_emit_line(emit, "const bool narrow = %s <= %d;",
                     sn_emit_dim(emit, product(emit, &emit->nest->reduced), NULL), SN_NARROW_ROW);
        sn_emit_line(emit, "const int team = narrow ? %d : %d, part = threadIdx.x %% team;", WARP,
                     block->team);
        sn_emit_line(emit, "int64_t row = narrow ? block * %d + threadIdx.x / %d : block;",
                     block->team / WARP, WARP);
        sn_emit_line(emit, "if (row >= %s) return;", rows);
    } else if (block->team == 1) {
        sn_emit_line(emit, "const int team = 1, part = 0;");
        sn_emit_line(emit, "int64_t row = block * %d + threadIdx.x;", block->rows);
    } else if (block->beside) {
        sn_emit_line(emit, "const int team = %d, part = threadIdx.x / %d;", block->team, block->rows);
        sn_emit_line(emit, "int64_t row = block * %d + threadIdx.x %% %d;", block->rows, block->rows);
    } else {
        sn_emit_line(emit, "const int team = %d, part = threadIdx.x %% %d;", block->team, block->team);
        sn_emit_line(emit, "int64_t row = block * %d + threadIdx.x / %d;", block->rows, block->team);
    }
    if (rows_stay(emit)) {
        sn_emit_line(emit, "const bool live = row < %s;", rows);
        sn_emit_line(emit, "if (!live) row = %s - 1;", rows);
    } else if (block->rows > 1) {
        sn_emit_line(emit, "if (row >= %s) return;", rows);
    }
    sn_cuda_axes(emit, &emit->nest->parallel, "row", false);
}

/* `length` elements of a row, less in the last piece of a split one, and with packs how they lie. `stays`: there may be none
 * for this thread. */
static void emit_length(Emit *emit, const bool *wide, bool stays) {
    const Nest *nest = emit->nest;
    Dims *dims = emit->kernel->dims;
    const char *length = sn_emit_dim(emit, product(emit, &nest->reduced), NULL);
    if (nest->cut) {
        Dim before = sn_dim_mul(dims, nest->piece, nest->cut->operand[0]), inner = sn_dim(dims, 1);
        for (int i = 0; i < nest->reduced.count; i++)
            if (nest->reduced.at[i] != nest->cut)
                inner = sn_dim_mul(dims, inner, nest->reduced.at[i]->operand[0]);
        length = sn_arena_printf(
            emit->arena, "sn_least_of(%s, %s) * %s", sn_emit_dim(emit, nest->cut->operand[0], NULL),
            sn_emit_dim(emit, sn_dim_sub(dims, nest->whole, before), NULL), sn_emit_dim(emit, inner, NULL));
    }
    sn_emit_line(emit, "const int64_t length = %s%s;", stays ? "!live ? 0 : " : "", length);
    if (nest->block.pack > 1) {
        const char *whole =
            nest->cut ? sn_arena_printf(emit->arena, "length %% %d == 0 && ", nest->block.pack) : "";
        sn_emit_line(emit, "const bool wide = %s%s;", whole, sn_cuda_aligned(emit, wide));
        sn_emit_line(emit, "const int origin = wide ? part * %d : part, step = wide ? 1 : team;",
                     nest->block.pack);
    } else {
        sn_emit_line(emit, "const int origin = part;");
    }
}

/* ---- the walk ---- */

/* Packs of a thread in a group. */
static int group_packs(const Emit *emit) {
    const Block *block = block_of(emit);
    return block->each ? (int)(block->each / block->pack) : block->ahead;
}

/* Whether all elements of a thread are there always. */
static bool is_full(const Emit *emit) {
    const Nest *nest = emit->nest;
    int64_t length;
    return !rows_stay(emit) && !nest->cut && sn_dim_is(product(emit, &nest->reduced), &length) &&
           length == nest->block.each * nest->block.team;
}

/* Opens what is done for the element, or with `packs` the pack, q or j of a group: `at` is its place in the row. Gives the
 * number of braces to close. */
static int open_element(Emit *emit, bool packs) {
    const Nest *nest = emit->nest;
    const Block *block = &nest->block;
    int pack = block->pack, braces = 1;
    sn_emit_line(emit, "#pragma unroll");
    sn_cuda_open(emit, "for (int %s = 0; %s < %d; %s++)", packs ? "j" : "q", packs ? "j" : "q",
                 packs ? group_packs(emit) : group_packs(emit) * pack, packs ? "j" : "q");
    if (packs)
        sn_emit_line(emit, "const int place = j * (team * %d) + origin;", pack);
    else if (pack > 1)
        sn_emit_line(emit, "const int place = q / %d * (team * %d) + origin + q %% %d * step;", pack, pack,
                     pack);
    else
        sn_emit_line(emit, "const int place = q * team + origin;");
    if (block->scans) { /* all lanes go on: they are needed */
        sn_emit_line(emit, "const bool in = place < left;");
        sn_emit_line(emit, "const int64_t at = in ? base + place : length - 1;");
    } else {
        if (!is_full(emit)) {
            sn_cuda_open(emit, "if (place < left)");
            braces++;
        }
        sn_emit_line(emit, "const int64_t at = base + place;");
    }
    sn_cuda_axes(emit, &nest->reduced, "at", false);
    return braces;
}

static void close_all(Emit *emit, int braces) {
    while (braces--) sn_cuda_close(emit);
}

/* What a step loads that can be loaded before anything is computed: it depends on no index found on the way. */
typedef struct Early {
    bool early;
    int step;
} Early;

static void index_is_late(void *user, Instr *instr) {
    Early *early = user;
    early->early &= !instr->reduced && !instr->varying && instr->ready <= early->step;
}

static bool *early_loads(Emit *emit, const unsigned char *needed) {
    const Nest *nest = emit->nest;
    bool *result = SN_ARRAY(emit->arena, bool, nest->instr.count);
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        Early early = {needed[i] && instr->kind == SN_INSTR_LOAD && instr->reduced && !instr->guard,
                       emit->step};
        if (instr->scratch >= 0 && emit->step > instr->kept) early.early = false;
        if (early.early) sn_dim_indices(nest, instr->dim, index_is_late, &early);
        result[i] = early.early;
    }
    return result;
}

/* Loads of the nest that are the same in all rows, as many as there are registers for: they are done once for all turns of
 * a block. */
static bool *kept_loads(Emit *emit) {
    enum {
        FEW = 8,
        FEW_BYTES = 64,
        MANY_BYTES = 192
    }; /* elements; bytes of a thread with so many, and with more */
    const Nest *nest = emit->nest;
    const Block *block = &nest->block;
    bool *kept = SN_ARRAY(emit->arena, bool, nest->instr.count);
    int64_t room = block->each > FEW ? MANY_BYTES : FEW_BYTES;
    if (!block->each || nest->cut || !sn_cuda_walks(emit->kernel)) return kept;
    for (emit->step = 0; emit->step < nest->step.count; emit->step++) {
        if (!nest->step.at[emit->step].loop) continue;
        const bool *early = early_loads(emit, sn_emit_needed(emit, emit->step));
        for (int i = 0; i < nest->instr.count; i++) {
            const Instr *instr = nest->instr.at[i];
            int64_t bytes = block->each * sn_dtype_bytes(instr->dtype);
            Early constant = {true, -1};
            if (!early[i] || kept[i] || instr->rowwise || bytes > room ||
                emit->kernel->buffer.at[instr->buffer].written)
                continue;
            sn_dim_indices(nest, instr->dim, index_is_late, &constant);
            kept[i] = constant.early;
            if (kept[i]) room -= bytes;
        }
    }
    return kept;
}

static void emit_single_loads(Emit *emit, const bool *ahead, const bool *but) {
    int braces = open_element(emit, false);
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = emit->nest->instr.at[i];
        if (ahead[i] && !(but && but[i]))
            sn_emit_line(emit, "x%d[q] = %s%s[%s];", i, block_of(emit)->scans ? "!in ? 0 : " : "",
                         sn_emit_buffer(emit, instr->buffer), sn_emit_dim(emit, instr->dim, NULL));
    }
    close_all(emit, braces);
}

static bool any_of(const Emit *emit, const bool *flag, const bool *but) {
    for (int i = 0; i < emit->nest->instr.count; i++)
        if (flag[i] && !(but && but[i])) return true;
    return false;
}

static void emit_wide_loads(Emit *emit, const bool *ahead, const bool *wide) {
    int pack = block_of(emit)->pack, braces = open_element(emit, true);
    for (int i = 0; i < emit->nest->instr.count; i++) {
        const Instr *instr = emit->nest->instr.at[i];
        if (ahead[i] && wide[i])
            sn_emit_line(emit, "sn_load_pack<%d>(x%d + j * %d, %s + %s);", pack, i, pack,
                         sn_emit_buffer(emit, instr->buffer), sn_emit_dim(emit, instr->dim, NULL));
    }
    close_all(emit, braces);
}

static void emit_loads(Emit *emit, const bool *ahead, const bool *wide) {
    const Block *block = block_of(emit);
    if (!any_of(emit, ahead, NULL)) return;
    sn_cuda_declare_ahead(emit, ahead, (int64_t)group_packs(emit) * block->pack);
    if (block->pack == 1) {
        emit_single_loads(emit, ahead, NULL);
        return;
    }
    sn_cuda_open(emit, "if (wide)");
    emit_wide_loads(emit, ahead, wide);
    if (any_of(emit, ahead, wide)) emit_single_loads(emit, ahead, wide);
    sn_cuda_close(emit);
    sn_cuda_open(emit, "else");
    emit_single_loads(emit, ahead, NULL);
    sn_cuda_close(emit);
}

/* ---- stores ---- */

/* Results of a group wait in y<i>[] to be stored in packs. */
static void emit_wait(Emit *emit, const Step *step) {
    for (int i = 0; i < step->store.count; i++)
        sn_emit_line(emit, "sn_store_%s_s(y%d + q, %s);", sn_dtype_name(step->store.at[i].dtype), i,
                     sn_emit_stored(emit, &step->store.at[i], false));
}

static void emit_waiting(Emit *emit, const Step *step) {
    int pack = block_of(emit)->pack;
    if (rows_stay(emit)) sn_cuda_open(emit, "if (live)");
    sn_cuda_open(emit, "if (wide)");
    int braces = open_element(emit, true);
    for (int i = 0; i < step->store.count; i++)
        sn_emit_line(emit, "sn_store_pack<%d>(%s + %s, y%d + j * %d);", pack,
                     sn_emit_buffer(emit, step->store.at[i].buffer),
                     sn_emit_dim(emit, step->store.at[i].offset, NULL), i, pack);
    close_all(emit, braces);
    sn_cuda_close(emit);
    sn_cuda_open(emit, "else");
    braces = open_element(emit, false);
    for (int i = 0; i < step->store.count; i++)
        sn_emit_line(emit, "%s[%s] = y%d[q];", sn_emit_buffer(emit, step->store.at[i].buffer),
                     sn_emit_dim(emit, step->store.at[i].offset, NULL), i);
    close_all(emit, braces);
    sn_cuda_close(emit);
    if (rows_stay(emit)) sn_cuda_close(emit);
}

static void emit_stores(Emit *emit, const Step *step) {
    const Block *block = block_of(emit);
    const char *test[3];
    int count = 0;
    if (!step->store.count) return;
    if (rows_stay(emit)) test[count++] = "live";
    if (!step->loop && block->team > 1) test[count++] = "part == 0";
    if (step->loop && block->scans) test[count++] = "in";
    if (count) sn_cuda_open(emit, "if (%s%s%s)", test[0], count > 1 ? " && " : "", count > 1 ? test[1] : "");
    for (int i = 0; i < step->store.count; i++) sn_emit_store(emit, &step->store.at[i]);
    if (count) sn_cuda_close(emit);
}

/* ---- a step that walks ---- */

static const char *acc_name(Emit *emit, const Acc *acc) {
    return sn_arena_printf(emit->arena, "a%d", acc->number);
}

static void emit_elements(Emit *emit, const Step *step, const unsigned char *needed) {
    bool waits = block_of(emit)->pack > 1;
    int braces = open_element(emit, false);
    sn_emit_place(emit, SN_PLACE_LOOP, 0, needed);
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        if (acc->running) continue;
        const char *value = sn_emit_use(emit, acc->value, false), *name = acc_name(emit, acc);
        sn_emit_line(emit, "%s = %s;", name,
                     sn_emit_combine(emit, acc->function, acc->dtype, false, name, value));
    }
    if (waits)
        emit_wait(emit, step);
    else
        emit_stores(emit, step);
    close_all(emit, braces);
    if (waits && step->store.count) emit_waiting(emit, step);
}

/* What has been loaded for all turns is at hand: `kept`. */
static void emit_loop(Emit *emit, const Step *step, const bool *wide, const bool *kept) {
    const Block *block = block_of(emit);
    const unsigned char *needed = sn_emit_needed(emit, emit->step);
    int count = group_packs(emit) * block->pack;
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        sn_emit_line(emit, "%s %s = %s;", sn_emit_type(acc->dtype, false), acc_name(emit, acc),
                     sn_emit_identity(emit, acc->function, acc->dtype, false));
    }
    if (block->each) {
        sn_cuda_open(emit, " ");
        sn_emit_line(emit, "const int64_t base = 0;");
    } else {
        sn_cuda_open(emit, "for (int64_t base = 0; base < length; base += %d * team)", count);
    }
    /* Places in a group are of 32 bits: each of its elements has one. */
    if (block->scans || !is_full(emit)) sn_emit_line(emit, "const int64_t left = length - base;");
    bool *missing = early_loads(emit, needed);
    emit->ahead = early_loads(emit, needed);
    for (int i = 0; i < emit->nest->instr.count; i++) missing[i] &= !kept[i];
    emit_loads(emit, missing, wide);
    for (int i = 0; i < step->store.count && block->pack > 1; i++)
        sn_emit_line(emit, "%s y%d[%d];", sn_emit_storage(step->store.at[i].dtype), i, count);
    emit_elements(emit, step, needed);
    emit->ahead = NULL;
    sn_cuda_close(emit);
}

/* ---- joining the parts of a team ---- */

/* Narrow integers accumulate in 32 bits and wrap once. */
static const char *wrapped(Emit *emit, DType dtype, const char *value) {
    if (!sn_dtype_is_int(dtype) || sn_dtype_bytes(dtype) >= 4) return value;
    return sn_arena_printf(emit->arena, "sn_wrap_%s_s(%s)", sn_dtype_name(dtype), value);
}

/* A part of each accumulator through shared memory, whose arrays no other step uses, so that one barrier is enough. */
static void emit_share(Emit *emit, const Step *step) {
    const Block *block = block_of(emit);
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        sn_emit_line(emit, "__shared__ %s m%d[%d];", sn_emit_type(acc->dtype, false), acc->number,
                     block->beside ? block->team * block->rows : block->team / WARP);
        if (block->beside)
            sn_emit_line(emit, "m%d[threadIdx.x] = a%d;", acc->number, acc->number);
        else
            sn_emit_line(emit, "if (part %% %d == 0) m%d[part / %d] = a%d;", WARP, acc->number, WARP,
                         acc->number);
    }
    sn_emit_line(emit, "__syncthreads();");
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        const char *type = sn_emit_compute(acc->dtype);
        if (block->beside)
            sn_emit_line(emit, "a%d = sn_fold_%s_%s(m%d + threadIdx.x %% %d, %d, %d);", acc->number,
                         acc->function, type, acc->number, block->rows, block->team, block->rows);
        else
            sn_emit_line(emit, "a%d = sn_fold_%s_%s(m%d, %d, 1);", acc->number, acc->function, type,
                         acc->number, block->team / WARP);
    }
}

static void emit_join(Emit *emit, const Step *step) {
    const Block *block = block_of(emit);
    if (!step->acc.count || step->acc.at[0]->running) return;
    for (int i = 0; i < step->acc.count && block->team > 1 && !block->beside; i++) {
        const Acc *acc = step->acc.at[i];
        sn_emit_line(emit, "a%d = sn_warp_%s_%s(a%d, %d);", acc->number, acc->function,
                     sn_emit_compute(acc->dtype), acc->number, block->team < WARP ? block->team : WARP);
    }
    if (shares(emit) && block->narrow) sn_cuda_open(emit, "if (!narrow)");
    if (shares(emit)) emit_share(emit, step);
    if (shares(emit) && block->narrow) sn_cuda_close(emit);
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        sn_emit_line(emit, "const %s v%d = %s;", sn_emit_type(acc->dtype, false), acc->result->id,
                     wrapped(emit, acc->dtype, acc_name(emit, acc)));
    }
}

/* ---- a nest ---- */

static void emit_rowwise(Emit *emit, int ready, const unsigned char *any) {
    sn_emit_place(emit, SN_PLACE_ROW, ready, any);
    if (emit->nest->vector == SN_VECTOR_PARALLEL) sn_emit_place(emit, SN_PLACE_VECTOR, ready, any);
}

/* Steps join their parts in different arrays of shared memory; with a single one, a turn must not begin to write there
 * before all have read what they have of the turn before. */
static void emit_turns(Emit *emit, const char *name, const char *rows, const bool *wide, const bool *kept,
                       Text *out) {
    const Nest *nest = emit->nest;
    Text given = sn_text(emit->arena);
    int joins = 0;
    for (int i = 0; i < nest->step.count; i++) {
        const Step *step = &nest->step.at[i];
        joins += step->loop && step->acc.count && !step->acc.at[0]->running;
    }
    sn_emit_function(emit, nest);
    for (int i = 0; i < nest->instr.count; i++)
        if (kept[i]) sn_text_add(&given, ", x%d", i);
    if (any_of(emit, kept, NULL)) {
        sn_emit_line(emit, "const int team = %d, part = threadIdx.x %% %d;", nest->block.team,
                     nest->block.team);
        emit_length(emit, wide, false);
        sn_emit_line(emit, "const int64_t base = 0, left = length;");
        emit_loads(emit, kept, wide);
    }
    sn_cuda_open_turns(emit);
    sn_emit_line(emit, "%s(args, block%s);", rows, sn_text_string(&given));
    if (shares(emit) && joins == 1 && sn_cuda_walks(emit->kernel)) sn_emit_line(emit, "__syncthreads();");
    sn_cuda_close(emit);
    sn_cuda_walk(emit, name, out);
}

/* The parameters of what is kept. */
static const char *kept_parameters(Emit *emit, const bool *kept) {
    Text text = sn_text(emit->arena);
    for (int i = 0; i < emit->nest->instr.count; i++)
        if (kept[i])
            sn_text_add(&text, ", const %s *const x%d", sn_emit_storage(emit->nest->instr.at[i]->dtype), i);
    return sn_text_string(&text);
}

void sn_cuda_rows(Emit *emit, const char *name, Text *out) {
    const Nest *nest = emit->nest;
    const char *some = sn_arena_printf(emit->arena, "%s_rows", name);
    sn_emit_function(emit, nest);
    const unsigned char *any = sn_emit_needed(emit, -1);
    const bool *wide = sn_cuda_wide_loads(emit), *kept = kept_loads(emit);
    emit_row(emit);
    emit_length(emit, wide, rows_stay(emit));
    for (int i = 0; i < nest->scratch.count; i++)
        sn_emit_line(emit, "float r%d[%lld];", i, (long long)nest->scratch.at[i].count);
    sn_emit_place(emit, SN_PLACE_ITEM, 0, any);
    emit_rowwise(emit, 0, any);
    for (int i = 0; i < nest->step.count; i++) {
        const Step *step = &nest->step.at[i];
        emit->step = i;
        if (step->loop) {
            emit_loop(emit, step, wide, kept);
            emit_join(emit, step);
        } else {
            emit_stores(emit, step);
        }
        emit_rowwise(emit, i + 1, any);
    }
    sn_cuda_function(emit, some, kept_parameters(emit, kept), out);
    emit_turns(emit, name, some, wide, kept, out);
}
