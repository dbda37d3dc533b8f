/* The CUDA dialect: the entry of a kernel, which deals its blocks to the nests, and what nests share.
 *
 * Every value is a scalar of one thread. A nest's rows are dealt to blocks as schedule_cuda.c says (see Block in
 * kernel.h). Buffers of the launch may be the same memory where the memory pass lets a result take the place of an
 * operand, element by element: so no pointer is restrict, and loads come before stores by the order of the text. */
#include "emit_cuda.h"

#include "emit_template.h"
#include "pack.h"

static const Dialect cuda_dialect = {
    .fault = "sn_fault(args.fault, %d);",
    .goes_on = true,
    .symbol = "args.symbol[%d]",
    .buffer = "args.buffer[%d]",
    .kept = "r%d + q",
};

void sn_cuda_open(Emit *emit, const char *format, ...) {
    Text line = sn_text(emit->arena);
    va_list args;
    va_start(args, format);
    sn_text_addv(&line, format, args);
    va_end(args);
    sn_emit_line(emit, "%s {", sn_text_string(&line));
    emit->indent++;
}

void sn_cuda_close(Emit *emit) {
    emit->indent--;
    sn_emit_line(emit, "}");
}

void sn_cuda_axes(Emit *emit, const Axes *axes, const char *flat, bool few) {
    const char *type = few ? "uint32_t" : "int64_t", *cast = few ? "(uint32_t)" : "";
    if (axes->count > 1) sn_emit_line(emit, "%s rest_%s = %s%s;", type, flat, cast, flat);
    for (int i = axes->count - 1; i > 0; i--) {
        const char *extent = sn_emit_dim(emit, axes->at[i]->operand[0], NULL);
        sn_emit_line(emit, "const int64_t i%d = rest_%s %% %s%s;", (int)axes->at[i]->value, flat, cast,
                     extent);
        sn_emit_line(emit, "rest_%s /= %s%s;", flat, cast, extent);
    }
    if (axes->count)
        sn_emit_line(emit, "const int64_t i%d = %s%s;", (int)axes->at[0]->value,
                     axes->count > 1 ? "rest_" : "", flat);
}

void sn_cuda_function(Emit *emit, const char *name, const char *more, Text *out) {
    sn_text_add(out, "static __device__ void %s(const KERNEL_NAMEArgs &args, const int64_t block%s) {\n",
                name, more);
    sn_emit_locals(emit, out);
    sn_text_add(out, "%s}\n\n", sn_text_string(&emit->text));
}

void sn_cuda_walk(Emit *emit, const char *name, Text *out) {
    sn_text_add(
        out,
        "static __device__ int64_t %s(const KERNEL_NAMEArgs &args, int64_t block, const int64_t end) {\n",
        name);
    sn_emit_locals(emit, out);
    sn_text_add(out, "%s    return block;\n}\n\n", sn_text_string(&emit->text));
}

/* Whether a thread has 16 elements of a square. */
static bool has_large_square(const Block *block) {
    enum { EDGE = 32 };
    return block->tile > EDGE;
}

bool sn_cuda_walks(const KernelIr *kernel) {
    enum { ADDRESSES = 5 }; /* that rows and squares keep over their turns besides what they load */
    bool walks = !kernel->use;
    for (int i = 0; i < kernel->nest.count; i++) {
        const Block *block = &kernel->nest.at[i]->block;
        bool holds = block->each > 0 || (block->tile && !has_large_square(block));
        walks &= block->flows || (holds && kernel->buffer.count <= ADDRESSES);
    }
    return walks;
}

void sn_cuda_open_turns(Emit *emit) {
    if (!sn_cuda_walks(emit->kernel)) {
        sn_cuda_open(emit, " "); /* there are as many blocks as turns */
        return;
    }
    sn_emit_line(emit, "#pragma unroll 1");
    sn_cuda_open(emit, "for (; block < end; block += gridDim.x)");
}

void sn_cuda_declare_ahead(Emit *emit, const bool *ahead, int64_t count) {
    for (int i = 0; i < emit->nest->instr.count; i++)
        if (ahead[i])
            sn_emit_line(emit, "%s x%d[%lld];", sn_emit_storage(emit->nest->instr.at[i]->dtype), i,
                         (long long)count);
}

/* ---- packs ---- */

bool *sn_cuda_wide_loads(Emit *emit) {
    bool *wide = sn_pack_loads(emit->kernel, emit->nest, emit->nest->block.pack);
    const unsigned char *any = sn_emit_needed(emit, -1);
    for (int i = 0; i < emit->nest->instr.count; i++) wide[i] &= any[i];
    return wide;
}

static void add_term(Emit *emit, Map *seen, Text *text, const char *term) {
    void **slot = sn_map_at_string(seen, term);
    if (*slot) return;
    *slot = emit;
    sn_text_add(text, "%s%s", sn_map_count(seen) > 1 ? " && " : "", term);
}

static void add_access(Emit *emit, Map *seen, Text *text, Dim offset, DType dtype) {
    PackTest test;
    if (!sn_pack_test(emit->kernel, emit->nest, offset, dtype, emit->nest->block.pack, &test)) return;
    for (int i = 0; i < test.multiple.count; i++)
        add_term(emit, seen, text,
                 sn_arena_printf(emit->arena, "%s == 0", sn_emit_dim(emit, test.multiple.at[i], NULL)));
}

const char *sn_cuda_aligned(Emit *emit, const bool *wide) {
    const Nest *nest = emit->nest;
    Dims *dims = emit->kernel->dims;
    Text text = sn_text(emit->arena);
    Map *seen = sn_map_new(emit->arena);
    bool one_axis = nest->parallel.count == 1 && nest->reduced.count == 0;
    Dim beyond = sn_dim_mod(dims, emit->vector_axis->operand[0], sn_dim(dims, nest->block.pack));
    if (!one_axis && !sn_dim_equals(beyond, 0))
        add_term(emit, seen, &text, sn_arena_printf(emit->arena, "%s == 0", sn_emit_dim(emit, beyond, NULL)));
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        if (wide[i]) add_access(emit, seen, &text, instr->dim, instr->dtype);
    }
    for (int p = 0; p < nest->step.count; p++)
        for (int i = 0; i < nest->step.at[p].store.count; i++) {
            const Store *store = &nest->step.at[p].store.at[i];
            if (nest->step.at[p].loop || nest->reduced.count == 0)
                add_access(emit, seen, &text, store->offset, store->dtype);
        }
    return sn_map_count(seen) ? sn_text_string(&text) : "true";
}

static void emit_nest(Emit *emit, int number, Text *out) {
    const char *name = sn_arena_printf(emit->arena, "KERNEL_NAME_nest%d", number);
    emit->nest = emit->kernel->nest.at[number];
    const Block *block = &emit->nest->block;
    (block->tile ? sn_cuda_tile : block->wide ? sn_cuda_map : sn_cuda_rows)(emit, name, out);
}

/* ---- the kernel ---- */

/* All nests have as many threads, but for those that are alone. */
static int kernel_threads(const KernelIr *kernel) {
    const Block *block = &kernel->nest.at[0]->block;
    return block->team * block->rows;
}

/* Blocks that a processor should hold at least: half of the threads that it can, or a quarter where each has much of a
 * row in registers, or many values at once, or where blocks are large, and three eighths for large squares. */
static int kernel_blocks(const KernelIr *kernel) {
    enum { HALF = 1024, LESS = 768, QUARTER = 512, MUCH = 8, MANY = 48 };
    int block = kernel_threads(kernel), threads = block > HALF / 4 ? QUARTER : HALF;
    for (int i = 0; i < kernel->nest.count; i++) {
        const Nest *nest = kernel->nest.at[i];
        if (has_large_square(&nest->block) && threads == HALF) threads = LESS;
        if (nest->block.each > MUCH || nest->instr.count > MANY) threads = QUARTER;
    }
    return threads / block;
}

/* Nests [first, last): of each a block has every gridDim.x-th block, or it has one block of one of them. */
static void emit_nests(Emit *emit, int first, int last) {
    bool walks = sn_cuda_walks(emit->kernel);
    for (int i = first; i < last; i++) {
        const char *items = sn_emit_dim(emit, emit->kernel->nest.at[i]->items, NULL);
        if (i + 1 == last) {
            sn_emit_line(emit, "KERNEL_NAME_nest%d(args, block, %s);", i, items);
        } else if (walks) {
            sn_emit_line(emit, "block = KERNEL_NAME_nest%d(args, block, %s) - %s;", i, items, items);
        } else {
            sn_cuda_open(emit, "if (block < %s)", items);
            sn_emit_line(emit, "KERNEL_NAME_nest%d(args, block, %s);", i, items);
            sn_emit_line(emit, "return;");
            sn_cuda_close(emit);
            sn_emit_line(emit, "block -= %s;", items);
        }
    }
}

/* Told nothing, the assembler would rather spill than use more registers than a full processor has for each. */
static void emit_head(const KernelIr *kernel, Text *out) {
    sn_text_add(out, "extern \"C\" __global__ void __launch_bounds__(%d, %d) ", kernel_threads(kernel),
                kernel_blocks(kernel));
}

/* How many nests there are before those that run when the others have ended. */
static int first_nests(const KernelIr *kernel) {
    int first = kernel->nest.count;
    while (first > 0 && kernel->nest.at[first - 1]->last) first--;
    return first;
}

/* The blocks of the first nest, then those of the next; nests that run when the others have ended are the last
 * ones, in a launch of their own. */
static void emit_entry(Emit *emit, Text *out) {
    KernelIr *kernel = emit->kernel;
    int count = kernel->nest.count, first = first_nests(kernel);
    sn_emit_function(emit, kernel->nest.at[0]);
    sn_emit_line(emit, "int64_t block = blockIdx.x;");
    if (first < count) {
        sn_cuda_open(emit, "if (args.first)");
        emit_nests(emit, first, count);
        sn_emit_line(emit, "return;");
        sn_cuda_close(emit);
    }
    emit_nests(emit, 0, first);
    emit_head(kernel, out);
    sn_text_add(out, "KERNEL_NAME(const __grid_constant__ KERNEL_NAMEArgs args) {\n");
    sn_emit_locals(emit, out);
    sn_text_add(out, "%s}\n", sn_text_string(&emit->text));
}

/* The entry of a group: see Kernel.grouped. A block finds its member by halves, then goes on as in a launch of that; it has
 * one turn, as the grid has no fewer blocks than any of its members. */
static void emit_group(Emit *emit, int most, Text *out) {
    static const char find[] = "    int low = 0, high = (int)group.count;\n"
                               "    while (high - low > 1) {\n"
                               "        const int middle = (low + high) / 2;\n"
                               "        if (group.member[middle].first + blockIdx.x >= 0)\n"
                               "            low = middle;\n"
                               "        else\n"
                               "            high = middle;\n"
                               "    }\n"
                               "    const KERNEL_NAMEArgs &args = group.member[low];\n";
    sn_emit_function(emit, emit->kernel->nest.at[0]);
    sn_emit_line(emit, "int64_t block = args.first + blockIdx.x;");
    emit_nests(emit, 0, emit->kernel->nest.count);
    sn_text_add(
        out,
        "\nstruct KERNEL_NAME_groupArgs {\n    long long count;\n    KERNEL_NAMEArgs member[%d];\n};\n\n",
        most);
    emit_head(emit->kernel, out);
    sn_text_add(out, "KERNEL_NAME_group(const __grid_constant__ KERNEL_NAME_groupArgs group) {\n%s", find);
    sn_emit_locals(emit, out);
    sn_text_add(out, "%s}\n", sn_text_string(&emit->text));
}

/* All members are eight bytes, so that a launcher can fill in an array of words. */
static void emit_args(const Emit *emit, Text *out) {
    sn_text_add(out, "struct KERNEL_NAMEArgs {\n    void *buffer[%d];\n", emit->kernel->buffer.count);
    if (emit->param.count) sn_text_add(out, "    long long symbol[%d];\n", emit->param.count);
    sn_text_add(out, "    int *fault;\n    long long first;\n};\n\n");
}

static void emit_prelude(const KernelIr *kernel, Text *out) {
    sn_text_add(out, "%s\n", sn_device_text("prelude.cuh"));
    if (sn_emit_calls(kernel, "bits")) sn_text_add(out, "%s\n", sn_device_text("bits.cuh"));
}

Status sn_emit_cuda(KernelIr *kernel, Kernel *out) {
    Emit emit = {.arena = kernel->arena, .dialect = &cuda_dialect, .kernel = kernel};
    Text text = sn_text(kernel->arena), functions = sn_text(kernel->arena);
    if (kernel->use) {
        emit_prelude(kernel, &text);
        return sn_emit_template_cuda(&emit, &text, emit_args, out);
    }
    for (int i = 0; i < kernel->nest.count; i++) {
        emit_nest(&emit, i, &functions);
        const Nest *nest = kernel->nest.at[i];
        Dim *blocks = nest->last ? &out->after : &out->items;
        *blocks = *blocks ? sn_dim_add(kernel->dims, *blocks, nest->items) : nest->items;
    }
    emit_entry(&emit, &functions);
    out->threads = kernel_threads(kernel);
    out->walks = sn_cuda_walks(kernel);
    emit_prelude(kernel, &text);
    emit_args(&emit, &text);
    sn_text_add(&text, "%s", sn_text_string(&functions));
    sn_emit_finish(kernel, &emit, sn_text_string(&text), out);
    int most = sn_group_most(kernel->buffer.count, emit.param.count);
    if (most < 2 || out->after) return NULL;
    emit_group(&emit, most, &text);
    kernel->group_text = sn_text_string(&text);
    return NULL;
}
