/* The CUDA dialect: what a thread does of a row, how the threads of a row join their parts, and the entry.
 *
 * Every value is a scalar of one thread. A nest's rows are dealt to blocks as schedule_cuda.c says (see Block
 * in kernel.h): each thread walks every `team`-th element of its row, and joins what it has accumulated with
 * the rest of the team by shuffles, through shared memory, or both, always in the same order. */
#include "emit_template.h"

static const Dialect cuda_dialect = {
    .fault = "sn_fault(args.fault, %d);",
    .goes_on = true,
    .symbol = "args.symbol[%d]",
    .buffer = "args.buffer[%d]",
    .kept = "r%d + j",
};

enum { WARP = 32 };

static const char *extent_text(Emit *emit, Dim axis) {
    return sn_emit_dim(emit, axis->operand[0], NULL);
}

static Dim product(Emit *emit, const Axes *axes) {
    Dim result = sn_dim(emit->kernel->dims, 1);
    for (int i = 0; i < axes->count; i++)
        result = sn_dim_mul(emit->kernel->dims, result, axes->at[i]->operand[0]);
    return result;
}

static void enter(Emit *emit) {
    emit->indent++;
}

static void leave(Emit *emit) {
    emit->indent--;
    sn_emit_line(emit, "}");
}

/* The axes from the flat, row-major position `flat`; the last one runs fastest. */
static void emit_axes(Emit *emit, const Axes *axes, const char *flat) {
    if (axes->count > 1) sn_emit_line(emit, "int64_t rest_%s = %s;", flat, flat);
    for (int i = axes->count - 1; i > 0; i--) {
        const char *extent = extent_text(emit, axes->at[i]);
        sn_emit_line(emit, "const int64_t i%d = rest_%s %% %s;", (int)axes->at[i]->value, flat, extent);
        sn_emit_line(emit, "rest_%s /= %s;", flat, extent);
    }
    if (axes->count)
        sn_emit_line(emit, "const int64_t i%d = %s%s;", (int)axes->at[0]->value,
                     axes->count > 1 ? "rest_" : "", flat);
}

/* ---- rows ---- */

/* Rows past the end: whole warps of them leave, but where the block meets at a barrier their threads stay,
 * work on the last row again and store nothing. */
static bool rows_stay(const Nest *nest) {
    return nest->block.beside && nest->block.team > 1;
}

static void emit_row(Emit *emit) {
    const Nest *nest = emit->nest;
    const Block *block = &nest->block;
    const char *rows = sn_emit_dim(emit, product(emit, &nest->parallel), NULL);
    if (block->team == 1) {
        sn_emit_line(emit, "int64_t row = block * %d + threadIdx.x;", block->rows);
    } else if (block->beside) {
        sn_emit_line(emit, "const int part = threadIdx.x / %d;", block->rows);
        sn_emit_line(emit, "int64_t row = block * %d + threadIdx.x %% %d;", block->rows, block->rows);
    } else {
        sn_emit_line(emit, "const int part = threadIdx.x %% %d;", block->team);
        sn_emit_line(emit, "int64_t row = block * %d + threadIdx.x / %d;", block->rows, block->team);
    }
    if (rows_stay(nest)) {
        sn_emit_line(emit, "const bool live = row < %s;", rows);
        sn_emit_line(emit, "if (!live) row = %s - 1;", rows);
    } else if (block->rows > 1) {
        sn_emit_line(emit, "if (row >= %s) return;", rows);
    }
    emit_axes(emit, &nest->parallel, "row");
}

/* ---- loops over a row ---- */

/* Opens the walk over this thread's elements of the row: `j` counts them where they are unrolled. Gives the
 * number of braces to close. */
static int open_walk(Emit *emit) {
    const Nest *nest = emit->nest;
    const Block *block = &nest->block;
    Dim length = product(emit, &nest->reduced);
    const char *text = sn_emit_dim(emit, length, NULL);
    int64_t count;
    int braces = 1;
    if (block->each && sn_dim_is(length, &count)) {
        sn_emit_line(emit, "#pragma unroll");
        sn_emit_line(emit, "for (int j = 0; j < %lld; j++) {", (long long)block->each);
        enter(emit);
        sn_emit_line(emit, "const int64_t at = j * %d + part;", block->team);
        if (count % block->team) {
            sn_emit_line(emit, "if (at < %s) {", text);
            enter(emit);
            braces++;
        }
    } else {
        sn_emit_line(emit, "for (int64_t at = %s; at < %s; at += %d) {", block->team > 1 ? "part" : "0", text,
                     block->team);
        enter(emit);
    }
    emit_axes(emit, &nest->reduced, "at");
    return braces;
}

static void emit_stores(Emit *emit, const Step *step) {
    const Nest *nest = emit->nest;
    bool shared = !step->loop && nest->block.team > 1, stays = rows_stay(nest);
    if (!step->store.count) return;
    if (shared || stays) {
        sn_emit_line(emit, "if (%s%s%s) {", stays ? "live" : "", stays && shared ? " && " : "",
                     shared ? "part == 0" : "");
        enter(emit);
    }
    for (int i = 0; i < step->store.count; i++) sn_emit_store(emit, &step->store.at[i]);
    if (shared || stays) leave(emit);
}

static const char *acc_name(Emit *emit, const Acc *acc) {
    return sn_arena_printf(emit->arena, "a%d", acc->number);
}

static void emit_loop(Emit *emit, const Step *step) {
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        sn_emit_line(emit, "%s %s = %s;", sn_emit_type(acc->dtype, false), acc_name(emit, acc),
                     sn_emit_identity(emit, acc->function, acc->dtype, false));
    }
    int braces = open_walk(emit);
    sn_emit_place(emit, SN_PLACE_LOOP, 0, sn_emit_needed(emit, emit->step));
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        if (acc->running) continue;
        const char *value = sn_emit_use(emit, acc->value, false), *name = acc_name(emit, acc);
        sn_emit_line(emit, "%s = %s;", name,
                     sn_emit_combine(emit, acc->function, acc->dtype, false, name, value));
    }
    emit_stores(emit, step);
    while (braces--) leave(emit);
}

/* ---- joining the parts of a team ---- */

/* Narrow integers accumulate in 32 bits and wrap once. */
static const char *wrapped(Emit *emit, DType dtype, const char *value) {
    if (!sn_dtype_is_int(dtype) || sn_dtype_bytes(dtype) >= 4) return value;
    return sn_arena_printf(emit->arena, "sn_wrap_%s_s(%s)", sn_dtype_name(dtype), value);
}

/* A part of each accumulator into shared memory, whose arrays no other step uses, so that one barrier is
 * enough. */
static void emit_share(Emit *emit, const Step *step) {
    const Block *block = &emit->nest->block;
    int parts = block->team / WARP;
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        sn_emit_line(emit, "__shared__ %s m%d[%d];", sn_emit_type(acc->dtype, false), acc->number,
                     block->beside ? block->team * block->rows : parts);
        if (block->beside)
            sn_emit_line(emit, "m%d[threadIdx.x] = a%d;", acc->number, acc->number);
        else
            sn_emit_line(emit, "if (part %% %d == 0) m%d[part / %d] = a%d;", WARP, acc->number, WARP,
                         acc->number);
    }
    sn_emit_line(emit, "__syncthreads();");
}

static void emit_join(Emit *emit, const Step *step) {
    const Block *block = &emit->nest->block;
    bool shares = block->beside ? block->team > 1 : block->team > WARP;
    if (!step->acc.count || step->acc.at[0]->running) return;
    for (int i = 0; i < step->acc.count && block->team > 1 && !block->beside; i++) {
        const Acc *acc = step->acc.at[i];
        sn_emit_line(emit, "a%d = sn_warp_%s_%s(a%d);", acc->number, acc->function,
                     sn_emit_compute(acc->dtype), acc->number);
    }
    if (shares) emit_share(emit, step);
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        const char *value = acc_name(emit, acc), *type = sn_emit_compute(acc->dtype);
        if (shares && block->beside)
            value = sn_arena_printf(emit->arena, "sn_fold_%s_%s(m%d + threadIdx.x %% %d, %d, %d)",
                                    acc->function, type, acc->number, block->rows, block->team, block->rows);
        else if (shares)
            value = sn_arena_printf(emit->arena, "sn_fold_%s_%s(m%d, %d, 1)", acc->function, type,
                                    acc->number, block->team / WARP);
        sn_emit_line(emit, "const %s v%d = %s;", sn_emit_type(acc->dtype, false), acc->result->id,
                     wrapped(emit, acc->dtype, value));
    }
}

/* ---- elements, several a thread ---- */

/* All results of a thread are computed before one is stored: loads cannot move over stores that may be to the
 * same memory, and one load at a time waits long. In the place of an element past the end the thread's first
 * one is computed again, which no other thread writes. */
static void emit_results(Emit *emit, const Step *step, const unsigned char *any, const char *rows) {
    const Block *block = &emit->nest->block;
    for (int i = 0; i < step->store.count; i++)
        sn_emit_line(emit, "%s o%d[%d]; int64_t p%d[%d];", sn_emit_type(step->store.at[i].dtype, false), i,
                     block->wide, i, block->wide);
    sn_emit_line(emit, "#pragma unroll");
    sn_emit_line(emit, "for (int k = 0; k < %d; k++) {", block->wide);
    enter(emit);
    sn_emit_line(emit, "int64_t row = first + k * %d;", block->rows);
    sn_emit_line(emit, "if (row >= %s) row = first;", rows);
    emit_axes(emit, &emit->nest->parallel, "row");
    sn_emit_place(emit, SN_PLACE_ROW, 0, any);
    sn_emit_place(emit, SN_PLACE_VECTOR, 0, any);
    for (int i = 0; i < step->store.count; i++) {
        const Store *store = &step->store.at[i];
        sn_emit_line(emit, "o%d[k] = %s;", i, sn_emit_use(emit, store->value, false));
        sn_emit_line(emit, "p%d[k] = %s;", i, sn_emit_dim(emit, store->offset, NULL));
    }
    leave(emit);
}

static void emit_elements(Emit *emit, const Step *step, const unsigned char *any) {
    const Block *block = &emit->nest->block;
    const char *rows = sn_emit_dim(emit, product(emit, &emit->nest->parallel), NULL);
    sn_emit_line(emit, "const int64_t first = block * %d + threadIdx.x;", block->wide * block->rows);
    sn_emit_line(emit, "if (first >= %s) return;", rows);
    sn_emit_place(emit, SN_PLACE_ITEM, 0, any);
    emit_results(emit, step, any, rows);
    sn_emit_line(emit, "#pragma unroll");
    sn_emit_line(emit, "for (int k = 0; k < %d; k++) {", block->wide);
    enter(emit);
    sn_emit_line(emit, "if (first + k * %d >= %s) break;", block->rows, rows);
    for (int i = 0; i < step->store.count; i++) {
        const Store *store = &step->store.at[i];
        sn_emit_line(emit, "sn_store_%s_s(%s + p%d[k], o%d[k]);", sn_dtype_name(store->dtype),
                     sn_emit_buffer(emit, store->buffer), i, i);
    }
    leave(emit);
}

/* ---- a nest ---- */

static void emit_rowwise(Emit *emit, int ready, const unsigned char *any) {
    sn_emit_place(emit, SN_PLACE_ROW, ready, any);
    if (emit->nest->vector == SN_VECTOR_PARALLEL) sn_emit_place(emit, SN_PLACE_VECTOR, ready, any);
}

static void emit_rows(Emit *emit, const unsigned char *any) {
    const Nest *nest = emit->nest;
    emit_row(emit);
    for (int i = 0; i < nest->scratch.count; i++)
        sn_emit_line(emit, "float r%d[%lld];", i, (long long)nest->scratch.at[i].count);
    sn_emit_place(emit, SN_PLACE_ITEM, 0, any);
    emit_rowwise(emit, 0, any);
    for (int i = 0; i < nest->step.count; i++) {
        const Step *step = &nest->step.at[i];
        emit->step = i;
        if (step->loop) {
            emit_loop(emit, step);
            emit_join(emit, step);
        } else {
            emit_stores(emit, step);
        }
        emit_rowwise(emit, i + 1, any);
    }
}

static void emit_nest(Emit *emit, int number, Text *out) {
    const Nest *nest = emit->kernel->nest.at[number];
    sn_emit_function(emit, nest);
    const unsigned char *any = sn_emit_needed(emit, -1);
    if (nest->block.wide)
        emit_elements(emit, &nest->step.at[0], any);
    else
        emit_rows(emit, any);
    sn_text_add(
        out,
        "static __device__ void KERNEL_NAME_nest%d(const KERNEL_NAMEArgs &args, const int64_t block) {\n",
        number);
    sn_emit_locals(emit, out);
    sn_text_add(out, "%s}\n\n", sn_text_string(&emit->text));
}

/* ---- the kernel ---- */

/* The blocks of the first nest, then those of the next. */
static void emit_entry(Emit *emit, Text *out) {
    KernelIr *kernel = emit->kernel;
    Dim start = sn_dim(kernel->dims, 0);
    int last = kernel->nest.count - 1;
    sn_emit_function(emit, kernel->nest.at[0]);
    sn_emit_line(emit, "const int64_t block = blockIdx.x;");
    for (int i = 0; i <= last; i++) {
        Dim end = sn_dim_add(kernel->dims, start, kernel->nest.at[i]->items);
        const char *from = sn_emit_dim(emit, start, NULL);
        const char *test =
            i < last ? sn_arena_printf(emit->arena, "if (block < %s) ", sn_emit_dim(emit, end, NULL)) : "";
        sn_emit_line(emit, "%s%sKERNEL_NAME_nest%d(args, block - %s);", i ? "else " : "", test, i, from);
        start = end;
    }
    sn_text_add(out, "extern \"C\" __global__ void __launch_bounds__(%d) ",
                kernel->nest.at[0]->block.team * kernel->nest.at[0]->block.rows);
    sn_text_add(out, "KERNEL_NAME(const __grid_constant__ KERNEL_NAMEArgs args) {\n");
    sn_emit_locals(emit, out);
    sn_text_add(out, "%s}\n", sn_text_string(&emit->text));
}

/* All members are eight bytes, so that a launcher can fill in an array of words. */
static void emit_args(const Emit *emit, Text *out) {
    sn_text_add(out, "struct KERNEL_NAMEArgs {\n    void *buffer[%d];\n", emit->kernel->buffer.count);
    if (emit->param.count) sn_text_add(out, "    long long symbol[%d];\n", emit->param.count);
    sn_text_add(out, "    int *fault;\n};\n\n");
}

Status sn_emit_cuda(KernelIr *kernel, Kernel *out) {
    Emit emit = {.arena = kernel->arena, .dialect = &cuda_dialect, .kernel = kernel};
    Text text = sn_text(kernel->arena), functions = sn_text(kernel->arena);
    if (kernel->use) {
        sn_text_add(&text, "%s\n", sn_device_text("prelude.cuh"));
        return sn_emit_template_cuda(&emit, &text, emit_args, out);
    }
    out->items = sn_dim(kernel->dims, 0);
    for (int i = 0; i < kernel->nest.count; i++) {
        emit_nest(&emit, i, &functions);
        out->items = sn_dim_add(kernel->dims, out->items, kernel->nest.at[i]->items);
    }
    emit_entry(&emit, &functions);
    out->threads = kernel->nest.at[0]->block.team * kernel->nest.at[0]->block.rows;
    sn_text_add(&text, "%s\n", sn_device_text("prelude.cuh"));
    emit_args(&emit, &text);
    sn_text_add(&text, "%s", sn_text_string(&functions));
    sn_emit_finish(kernel, &emit, sn_text_string(&text), out);
    return NULL;
}
