/* CUDA: elements that have nothing to do with one another. A thread does several of them, and has loaded everything
 * before it stores anything: loads cannot move over stores that may be to the same memory, and one load at a time
 * waits long.
 *
 * Packs are neighbours along the vector axis, loaded and stored at once; a block whose addresses are not aligned, or
 * whose elements are not all there, goes element by element. Where the block flows (kernel.h), what its next turn needs
 * is loaded between the results of a turn and their stores: no element of it is one that is stored. */
#include "emit_cuda.h"
#include "pack.h"

static Dim all_elements(Emit *emit) {
    const Axes *axes = &emit->nest->parallel;
    return sn_schedule_product(emit->kernel->dims, axes, axes->count);
}

/* ---- element by element ---- */

/* In the place of an element past the end the thread's first one is computed again, which no other thread writes. */
static void emit_results(Emit *emit, const Step *step, int count, bool few, const unsigned char *any) {
    const char *elements = sn_emit_dim(emit, all_elements(emit), NULL);
    for (int i = 0; i < step->store.count; i++)
        sn_emit_line(emit, "%s o%d[%d]; int64_t p%d[%d];", sn_emit_type(step->store.at[i].dtype, false), i,
                     count, i, count);
    sn_emit_line(emit, "#pragma unroll");
    sn_cuda_open(emit, "for (int k = 0; k < %d; k++)", count);
    sn_emit_line(emit, "int64_t row = first + k * %d;", emit->nest->block.rows);
    sn_emit_line(emit, "if (row >= %s) row = first;", elements);
    sn_cuda_axes(emit, &emit->nest->parallel, "row", few);
    sn_emit_place(emit, SN_PLACE_ROW, 0, any);
    sn_emit_place(emit, SN_PLACE_VECTOR, 0, any);
    for (int i = 0; i < step->store.count; i++) {
        const Store *store = &step->store.at[i];
        sn_emit_line(emit, "o%d[k] = %s;", i, sn_emit_use(emit, store->value, false));
        sn_emit_line(emit, "p%d[k] = %s;", i, sn_emit_dim(emit, store->offset, NULL));
    }
    sn_cuda_close(emit);
}

/* Block number `block` of those that have `count` elements a thread. `few`: see sn_cuda_axes. */
static void emit_elements(Emit *emit, const char *name, int count, bool few, Text *out) {
    sn_emit_function(emit, emit->nest);
    const unsigned char *any = sn_emit_needed(emit, -1);
    const Step *step = &emit->nest->step.at[0];
    int threads = emit->nest->block.rows;
    const char *elements = sn_emit_dim(emit, all_elements(emit), NULL);
    sn_emit_line(emit, "const int64_t first = block * %d + threadIdx.x;", count * threads);
    sn_emit_line(emit, "if (first >= %s) return;", elements);
    sn_emit_place(emit, SN_PLACE_ITEM, 0, any);
    emit_results(emit, step, count, few, any);
    sn_emit_line(emit, "#pragma unroll");
    sn_cuda_open(emit, "for (int k = 0; k < %d; k++)", count);
    sn_emit_line(emit, "if (first + k * %d >= %s) break;", threads, elements);
    for (int i = 0; i < step->store.count; i++) {
        const Store *store = &step->store.at[i];
        sn_emit_line(emit, "sn_store_%s_s(%s + p%d[k], o%d[k]);", sn_dtype_name(store->dtype),
                     sn_emit_buffer(emit, store->buffer), i, i);
    }
    sn_cuda_close(emit);
    sn_cuda_function(emit, name, "", out);
}

/* ---- packs ---- */

/* Opens what is done for pack k of the thread. */
static void open_pack(Emit *emit) {
    const Block *block = &emit->nest->block;
    const Axes *axes = &emit->nest->parallel;
    sn_emit_line(emit, "#pragma unroll");
    sn_cuda_open(emit, "for (int k = 0; k < %d; k++)", block->wide / block->pack);
    sn_emit_line(emit, "const int64_t row = block * %d + (k * %d + threadIdx.x) * %d;",
                 block->wide * block->rows, block->rows, block->pack);
    sn_cuda_axes(emit, axes, "row", axes->count > 1);
}

typedef struct Indices {
    Emit *emit;
    unsigned char *needed;
} Indices;

static void need_index(void *user, Instr *instr) {
    Indices *indices = user;
    sn_emit_need(indices->emit, instr, indices->needed);
}

/* Of the block that `block` says. */
static void emit_loads(Emit *emit, const bool *wide) {
    const Nest *nest = emit->nest;
    bool any = false;
    for (int i = 0; i < nest->instr.count; i++) any |= wide[i];
    if (!any) return;
    Indices indices = {emit, SN_ARRAY(emit->arena, unsigned char, nest->instr.count)};
    for (int i = 0; i < nest->instr.count; i++)
        if (wide[i]) sn_dim_indices(nest, nest->instr.at[i]->dim, need_index, &indices);
    open_pack(emit);
    sn_emit_place(emit, SN_PLACE_ROW, 0, indices.needed);
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        if (wide[i])
            sn_emit_line(emit, "sn_load_pack<%d>(w%d + k * %d, %s + %s);", nest->block.pack, i,
                         nest->block.pack, sn_emit_buffer(emit, instr->buffer),
                         sn_emit_dim(emit, instr->dim, NULL));
    }
    sn_cuda_close(emit);
}

/* The elements of each pack one after the other, which find at q what was loaded. */
static void emit_computed(Emit *emit, const Step *step, const bool *wide, const unsigned char *any) {
    const Nest *nest = emit->nest;
    int pack = nest->block.pack, axis = (int)emit->vector_axis->value;
    open_pack(emit);
    sn_emit_place(emit, SN_PLACE_ROW, 0, any);
    for (int i = 0; i < nest->instr.count; i++)
        if (wide[i])
            sn_emit_line(emit, "const %s *const x%d = w%d + k * %d;",
                         sn_emit_storage(nest->instr.at[i]->dtype), i, i, pack);
    for (int i = 0; i < step->store.count; i++)
        sn_emit_line(emit, "p%d[k] = %s;", i, sn_emit_dim(emit, step->store.at[i].offset, NULL));
    sn_emit_line(emit, "const int64_t start = i%d;", axis);
    sn_emit_line(emit, "#pragma unroll");
    sn_cuda_open(emit, "for (int q = 0; q < %d; q++)", pack);
    sn_emit_line(emit, "const int64_t i%d = start + q;", axis);
    sn_emit_place(emit, SN_PLACE_VECTOR, 0, any);
    for (int i = 0; i < step->store.count; i++) {
        const Store *store = &step->store.at[i];
        sn_emit_line(emit, "sn_store_%s_s(o%d + k * %d + q, %s);", sn_dtype_name(store->dtype), i, pack,
                     sn_emit_stored(emit, store, false));
    }
    sn_cuda_close(emit);
    sn_cuda_close(emit);
}

static void emit_stores(Emit *emit, const Step *step) {
    int pack = emit->nest->block.pack;
    sn_emit_line(emit, "#pragma unroll");
    sn_cuda_open(emit, "for (int k = 0; k < %d; k++)", emit->nest->block.wide / pack);
    for (int i = 0; i < step->store.count; i++)
        sn_emit_line(emit, "sn_store_pack<%d>(%s + p%d[k], o%d + k * %d);", pack,
                     sn_emit_buffer(emit, step->store.at[i].buffer), i, i, pack);
    sn_cuda_close(emit);
}

/* Walks: those of the blocks from `block` on below `end` that are this one's turns. */
static void emit_packs(Emit *emit, const char *name, const bool *wide, Text *out) {
    sn_emit_function(emit, emit->nest);
    emit->ahead = wide;
    const unsigned char *any = sn_emit_needed(emit, -1);
    const Step *step = &emit->nest->step.at[0];
    const Block *block = &emit->nest->block;
    sn_emit_line(emit, "if (block >= end) return block;");
    sn_emit_place(emit, SN_PLACE_ITEM, 0, any);
    for (int i = 0; i < emit->nest->instr.count; i++)
        if (wide[i])
            sn_emit_line(emit, "%s w%d[%d];", sn_emit_storage(emit->nest->instr.at[i]->dtype), i,
                         block->wide);
    bool walks = sn_cuda_walks(emit->kernel);
    if (walks) emit_loads(emit, wide);
    if (walks) sn_emit_line(emit, "#pragma unroll 1");
    sn_cuda_open(emit, walks ? "do" : " ");
    for (int i = 0; i < step->store.count; i++)
        sn_emit_line(emit, "%s o%d[%d]; int64_t p%d[%d];", sn_emit_storage(step->store.at[i].dtype), i,
                     block->wide, i, block->wide / block->pack);
    if (!walks) emit_loads(emit, wide);
    emit_computed(emit, step, wide, any);
    sn_emit_line(emit, "block += gridDim.x;");
    if (walks) {
        sn_cuda_open(emit, "if (block < end)");
        emit_loads(emit, wide);
        sn_cuda_close(emit);
    }
    emit_stores(emit, step);
    sn_cuda_close(emit);
    if (walks) sn_emit_line(emit, "while (block < end);");
    sn_cuda_walk(emit, name, out);
}

/* Turns of blocks that consist of `wide / count` smaller ones each. */
static void emit_turns(Emit *emit, const char *name, int count) {
    int calls = emit->nest->block.wide / count;
    sn_cuda_open_turns(emit);
    if (calls == 1)
        sn_emit_line(emit, "%s(args, block);", name);
    else
        sn_emit_line(emit, "for (int k = 0; k < %d; k++) %s(args, block * %d + k);", calls, name, calls);
    sn_cuda_close(emit);
}

/* The forms of a nest: packs, elements at positions of 32 bits (ALONE at once), and of more. */
typedef struct Forms {
    const bool *wide; /* NULL: no packs */
    const char *packs, *elements, *many;
    int alone;
} Forms;

/* Blocks whose elements are all there come first. */
static void emit_choice(Emit *emit, const char *name, const Forms *forms, Text *out) {
    Dims *dims = emit->kernel->dims;
    const Block *block = &emit->nest->block;
    sn_emit_function(emit, emit->nest);
    if (forms->many) {
        sn_cuda_open(emit, "if (%s >= INT64_C(%lld))", sn_emit_dim(emit, all_elements(emit), NULL),
                     1ll << 32);
        emit_turns(emit, forms->many, 1);
        sn_emit_line(emit, "return block;");
        sn_cuda_close(emit);
    }
    if (forms->wide) {
        Dim whole =
            sn_dim_floordiv(dims, all_elements(emit), sn_dim(dims, (int64_t)block->wide * block->rows));
        sn_emit_line(emit, "if (%s) block = %s(args, block, %s);", sn_cuda_aligned(emit, forms->wide),
                     forms->packs, sn_emit_dim(emit, whole, NULL));
    }
    emit_turns(emit, forms->elements, forms->alone);
    sn_cuda_walk(emit, name, out);
}

void sn_cuda_map(Emit *emit, const char *name, Text *out) {
    enum { ALONE = 4 };
    const Block *block = &emit->nest->block;
    bool divides = emit->nest->parallel.count > 1 && !sn_dim_le(emit->kernel->dims, all_elements(emit),
                                                                sn_dim(emit->kernel->dims, INT64_C(1) << 32));
    Forms forms = {.elements = sn_arena_printf(emit->arena, "%s_elements", name),
                   .alone = block->wide < ALONE ? block->wide : ALONE};
    sn_emit_function(emit, emit->nest);
    if (block->pack > 1) {
        forms.wide = sn_cuda_wide_loads(emit);
        forms.packs = sn_arena_printf(emit->arena, "%s_packs", name);
        emit_packs(emit, forms.packs, forms.wide, out);
    }
    emit_elements(emit, forms.elements, forms.alone, emit->nest->parallel.count > 1, out);
    if (divides) {
        forms.many = sn_arena_printf(emit->arena, "%s_many", name);
        emit_elements(emit, forms.many, 1, false, out);
    }
    emit_choice(emit, name, &forms, out);
}
