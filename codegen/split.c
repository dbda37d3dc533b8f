/* Reductions of few rows that are long: in pieces that go to different threads, then over the pieces. */
#include "kernel.h"

enum {
    PIECE_ELEMENTS = 1 << 16, /* that a work item should at least reduce */
    PIECE_ROWS = 64,          /* and a piece of rows, as its results are written and read again */
    MANY_ITEMS = 64,          /* as many as keep all threads busy; more pieces are not made */
    PIECE_BLOCK = 8192,       /* elements that a CUDA block should at least reduce, */
    PIECE_ROUND = 32,     /* elements of which a piece there has some times as many: pieces begin aligned */
    PROCESSOR_BLOCKS = 4, /* and blocks that keep a processor busy: half of what it holds of 256 threads */
};

static Dim extent(Dim axis) {
    return axis->operand[0];
}

/* The rows that one work item has, which share what it costs. */
static Dim item_rows(KernelIr *kernel, const Nest *nest) {
    if (kernel->target->kind == SN_TARGET_CUDA) return sn_dim(kernel->dims, nest->block.rows);
    if (nest->sums) return sn_dim(kernel->dims, nest->sums);
    bool columns = nest->vector == SN_VECTOR_PARALLEL && nest->chunk;
    return columns ? nest->chunk : sn_dim(kernel->dims, 1);
}

/* How many pieces: of the elements that a work item would reduce, and of the work items that there would be. */
static Dim piece_count(KernelIr *kernel, const Nest *nest) {
    Dims *dims = kernel->dims;
    const Target *target = kernel->target;
    bool cuda = target->kind == SN_TARGET_CUDA;
    int64_t least = cuda ? PIECE_BLOCK : PIECE_ELEMENTS;
    int64_t many = cuda ? (int64_t)target->processors * PROCESSOR_BLOCKS : MANY_ITEMS;
    Dim rows =
        sn_dim_max(dims, sn_schedule_product(dims, &nest->parallel, nest->parallel.count), sn_dim(dims, 1));
    Dim length = sn_schedule_product(dims, &nest->reduced, nest->reduced.count), one = sn_dim(dims, 1);
    Dim work = sn_dim_mul(dims, length, sn_dim_min(dims, rows, item_rows(kernel, nest)));
    Dim wanted = sn_dim_floordiv(dims, work, sn_dim(dims, least));
    if (nest->sums)
        wanted = sn_dim_min(dims, wanted, sn_dim_floordiv(dims, length, sn_dim(dims, PIECE_ROWS)));
    Dim items =
        nest->sums ? nest->rows : nest->items; /* columns are cut only where there are too few pieces */
    Dim idle = sn_dim_floordiv(dims, sn_dim(dims, many), sn_dim_max(dims, items, one));
    Dim count = sn_dim_min(dims, wanted, sn_dim_min(dims, idle, extent(nest->reduced.at[0])));
    return sn_dim_max(dims, count, one);
}

/* The results' dtype in scratch: what they are computed in. */
static DType kept_dtype(DType dtype) {
    if (sn_dtype_is_float(dtype)) return dtype == SN_F64 ? SN_F64 : SN_F32;
    return dtype == SN_BOOL || sn_dtype_bytes(dtype) >= 4 ? dtype : SN_I32;
}

static Dim row_number(Dims *dims, const Axes *parallel) {
    Dim row = sn_dim(dims, 0);
    for (int i = 0; i < parallel->count; i++)
        row = sn_dim_add(dims, sn_dim_mul(dims, row, extent(parallel->at[i])), parallel->at[i]);
    return row;
}

typedef struct Copy {
    KernelIr *kernel;
    Nest *to;
    Instr **made; /* by the id of what it copies */
} Copy;

static void copy_instr(void *user, Instr *instr) {
    Copy *copy = user;
    if (copy->made[instr->id]) return;
    Instr *made = SN_NEW(copy->kernel->arena, Instr);
    *made = *instr;
    made->id = copy->to->instr.count;
    made->rowwise = made->reduced = made->varying = false;
    for (int i = 0; i < made->arg_count; i++) made->arg[i] = copy->made[instr->arg[i]->id];
    if (made->guard) made->guard = copy->made[instr->guard->id];
    sn_push(copy->kernel->arena, &copy->to->instr, made);
    copy->made[instr->id] = made;
}

/* What comes after the loop of `from`, in `to`. An INDEX keeps its number, which its axis tells. */
static void copy_rest(KernelIr *kernel, const Nest *from, Nest *to, Copy *copy) {
    unsigned char *seen = SN_ARRAY(kernel->arena, unsigned char, from->instr.count);
    for (int p = 1; p < from->step.count; p++)
        for (int i = 0; i < from->step.at[p].store.count; i++) {
            const Store *store = &from->step.at[p].store.at[i];
            sn_instr_walk(from, store->value, seen, NULL, copy_instr, copy);
            if (store->guard) sn_instr_walk(from, store->guard, seen, NULL, copy_instr, copy);
        }
    for (int i = 0; i < from->index.count; i++) {
        Instr *index = copy->made[from->index.at[i]->id];
        sn_push(kernel->arena, &to->index, index ? index : from->index.at[i]);
    }
    for (int p = 1; p < from->step.count; p++) {
        Step *step = sn_nest_step(kernel, to, false);
        for (int i = 0; i < from->step.at[p].store.count; i++) {
            Store store = from->step.at[p].store.at[i];
            store.value = copy->made[store.value->id];
            if (store.guard) store.guard = copy->made[store.guard->id];
            sn_push(kernel->arena, &step->store, store);
        }
    }
}

/* An accumulator over the pieces' results, which are at `offset` of `buffer`. */
static Acc *make_acc(KernelIr *kernel, Nest *nest, const Acc *of, Instr *result, int buffer, Dim offset) {
    Acc *acc = SN_NEW(kernel->arena, Acc);
    *acc = *of;
    acc->value = sn_instr(
        kernel, nest,
        &(Instr){.kind = SN_INSTR_LOAD, .dtype = kept_dtype(of->dtype), .buffer = buffer, .dim = offset});
    acc->result = result;
    result->acc = acc;
    return acc;
}

/* Cuts the first reduced axis into `count` pieces along the new axis, which becomes the outermost of rows. */
static void cut(KernelIr *kernel, Nest *nest, Dim count, int number) {
    Dims *dims = kernel->dims;
    Dim axis = nest->reduced.at[0],
        round = sn_dim(dims, kernel->target->kind == SN_TARGET_CUDA ? PIECE_ROUND : 1);
    Dim each = sn_dim_mul(dims, sn_dim_ceildiv(dims, extent(axis), sn_dim_mul(dims, count, round)), round);
    Dim piece = sn_dim_axis(dims, number, count), inner = sn_dim_axis(dims, number + 1, each);
    Dim whole = sn_dim_add(dims, sn_dim_mul(dims, piece, each), inner);
    sn_schedule_replace(kernel, nest, &axis, &whole, 1);
    nest->piece = piece;
    nest->cut = inner;
    nest->whole = extent(axis);
    nest->reduced.at[0] = inner;
    Axes parallel = {0};
    sn_push(kernel->arena, &parallel, piece);
    for (int i = 0; i < nest->parallel.count; i++) sn_push(kernel->arena, &parallel, nest->parallel.at[i]);
    nest->parallel = parallel;
    nest->step.count = 1;
}

void sn_schedule_split(KernelIr *kernel, Nest *nest) {
    Dims *dims = kernel->dims;
    int64_t pieces;
    if (nest->vector == SN_VECTOR_NONE || !sn_nest_folds(nest)) return;
    Dim count = piece_count(kernel, nest),
        rows = sn_schedule_product(dims, &nest->parallel, nest->parallel.count);
    if (sn_dim_is(count, &pieces) && pieces <= 1) return;
    Nest *last = sn_nest_new(kernel);
    Copy copy = {kernel, last, SN_ARRAY(kernel->arena, Instr *, nest->instr.count)};
    Step *loop = sn_nest_step(kernel, last, true);
    for (int i = 0; i < nest->parallel.count; i++)
        sn_push(kernel->arena, &last->parallel, nest->parallel.at[i]);
    for (int i = 0; i < nest->step.at[0].acc.count; i++)
        copy_instr(&copy, nest->step.at[0].acc.at[i]->result);
    copy_rest(kernel, nest, last, &copy);
    cut(kernel, nest, count, sn_schedule_free_number(nest));
    sn_push(kernel->arena, &last->reduced, nest->piece);
    Step *ends = sn_nest_step(kernel, nest, false);
    Dim row = row_number(dims, &last->parallel);
    Dim at = sn_dim_add(dims, sn_dim_mul(dims, nest->piece, rows), row);
    loop = &last->step.at[0];
    for (int i = 0; i < nest->step.at[0].acc.count; i++) {
        Acc *acc = nest->step.at[0].acc.at[i];
        DType dtype = kept_dtype(acc->dtype);
        Dim bytes = sn_dim_mulc(dims, sn_dim_mul(dims, rows, count), sn_dtype_bytes(dtype));
        int buffer = sn_kernel_scratch(kernel, dtype, bytes);
        sn_push(kernel->arena, &ends->store, ((Store){buffer, dtype, at, acc->result, NULL}));
        Acc *over = make_acc(kernel, last, acc, copy.made[acc->result->id], buffer, at);
        sn_push(kernel->arena, &loop->acc, over);
    }
    last->last = true;
    sn_schedule_items(kernel, nest);
    sn_schedule_vector(kernel, last);
    sn_schedule_items(kernel, last);
}
