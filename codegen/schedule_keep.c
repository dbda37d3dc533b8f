/* Row scratch: which values of a row are kept for the loops over it that come later. */
#include "kernel.h"

enum {
    ROWS_IN_L1 = 4,               /* at most so large a part of it is kept of what is cheap to compute … */
    ROWS_IN_L2 = 8,               /* … or of that one, of rows that are stored while the next one is read */
    LOCAL_SCRATCH_BYTES = 1 << 20 /* on the stack; what does not fit is memory of every work item's own */
};

typedef struct Uses {
    int step;
    int *first, *last; /* by instruction: steps of the first and last use inside a loop */
} Uses;

static bool use_enters(void *user, const Instr *instr) {
    const Uses *uses = user;
    return instr->scratch < 0 || uses->step <= instr->kept;
}

static void note_use(void *user, Instr *instr) {
    Uses *uses = user;
    if (uses->first[instr->id] < 0) uses->first[instr->id] = uses->step;
    uses->last[instr->id] = uses->step;
}

static void find_uses(KernelIr *kernel, Nest *nest, Uses *uses) {
    for (int i = 0; i < nest->instr.count; i++) uses->first[i] = uses->last[i] = -1;
    for (int p = 0; p < nest->step.count; p++) {
        const Step *step = &nest->step.at[p];
        unsigned char *seen = SN_ARRAY(kernel->arena, unsigned char, nest->instr.count);
        uses->step = p;
        for (int i = 0; i < step->acc.count; i++)
            sn_instr_walk(nest, step->acc.at[i]->value, seen, use_enters, note_use, uses);
        for (int i = 0; i < step->store.count; i++) {
            sn_instr_walk(nest, step->store.at[i].value, seen, use_enters, note_use, uses);
            if (step->store.at[i].guard)
                sn_instr_walk(nest, step->store.at[i].guard, seen, use_enters, note_use, uses);
        }
    }
}

static bool worth_keeping(const KernelIr *kernel, const Nest *nest, Instr *instr) {
    if (kernel->target->kind == SN_TARGET_CUDA) return sn_schedule_block_keeps(nest, instr);
    return instr->kind == SN_INSTR_CALL && sn_function_is_costly(instr->function) && instr->reduced &&
           instr->varying == (nest->vector != SN_VECTOR_NONE) && sn_dtype_is_float(instr->dtype) &&
           instr->dtype != SN_F64;
}

/* Elements of local arrays so far. */
static int64_t local_scratch(const Nest *nest) {
    int64_t count = 0;
    for (int i = 0; i < nest->scratch.count; i++) count += nest->scratch.at[i].count;
    return count;
}

static void keep(KernelIr *kernel, Nest *nest, Instr *instr, int step) {
    int lanes = nest->vector == SN_VECTOR_PARALLEL ? kernel->target->vector_bytes / 4 : 1;
    Dim count = sn_dim_mulc(kernel->dims,
                            sn_schedule_product(kernel->dims, &nest->reduced, nest->reduced.count), lanes);
    Scratch scratch = {.each = sn_dim_mulc(kernel->dims, count, 4), .buffer = -1};
    int64_t length;
    if (kernel->target->kind == SN_TARGET_CUDA)
        scratch.count = nest->block.each;
    else if (sn_dim_is(count, &length) && length <= LOCAL_SCRATCH_BYTES / 4 - local_scratch(nest))
        scratch.count = length;
    else
        scratch.buffer =
            sn_kernel_scratch(kernel, SN_F32, scratch.each); /* times the work items, in cut_items */
    instr->scratch = nest->scratch.count;
    instr->kept = step;
    sn_push(kernel->arena, &nest->scratch, scratch);
}

/* Whether a row is known to be too long for local arrays: then it is in no near cache any more when it comes to the next
 * loop, and reading what was kept as well as writing it takes longer than computing it again. */
static bool is_endless(const KernelIr *kernel, const Nest *nest) {
    int64_t length;
    return kernel->target->kind == SN_TARGET_CPU && nest->vector == SN_VECTOR_REDUCED &&
           sn_dim_is(sn_schedule_product(kernel->dims, &nest->reduced, nest->reduced.count), &length) &&
           length > LOCAL_SCRATCH_BYTES / 4;
}

static void note_row(void *user, Instr *instr) {
    int *rows = user;
    *rows += instr->kind == SN_INSTR_LOAD && instr->rowwise && instr->varying;
}

/* Whether rows that are too long for the first cache, beside those that are fetched ahead, may be stored while the next one is
 * read (emit_lag.c), in whose place all that the last loop needs of them has then to be: nothing is dear, and the last loop
 * only stores. */
static bool may_lag(const Nest *nest) {
    const Step *last = &nest->step.at[nest->step.count - 1];
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *instr = nest->instr.at[i];
        if (instr->kind == SN_INSTR_CALL && instr->reduced && sn_function_is_costly(instr->function))
            return false;
    }
    return last->loop && last->store.count && !last->acc.count && nest->reduced.count == 1;
}

/* Whether a value is made of several rows, which a near cache may not hold beside those that are fetched ahead, while it
 * holds what is made of them; or, where not even that is near, of a row. */
static bool joins_rows(const KernelIr *kernel, const Nest *nest, Instr *instr) {
    int64_t length;
    int rows = 0;
    bool value = instr->kind == SN_INSTR_CALL || instr->kind == SN_INSTR_CAST || instr->kind == SN_INSTR_LOAD;
    if (kernel->target->kind != SN_TARGET_CPU || nest->vector != SN_VECTOR_REDUCED || !instr->varying ||
        !value || instr->ready || !sn_dtype_is_float(instr->dtype) || instr->dtype == SN_F64)
        return false;
    if (!sn_dim_is(sn_schedule_product(kernel->dims, &nest->reduced, nest->reduced.count), &length))
        return false;
    bool near = 4 * length <= kernel->target->l1_bytes / ROWS_IN_L1;
    if (near ? instr->kind != SN_INSTR_CALL
             : 4 * (length + local_scratch(nest)) > kernel->target->l2_bytes / ROWS_IN_L2 || !may_lag(nest))
        return false;
    int64_t least;
    const bool again =
        near || sn_kernel_fetches(kernel, &least); /* reading it again is as quick, or quicker */
    unsigned char *seen = SN_ARRAY(kernel->arena, unsigned char, nest->instr.count);
    sn_instr_walk(nest, instr, seen, NULL, note_row, &rows);
    return rows > again;
}

typedef bool Worth(const KernelIr *kernel, const Nest *nest, Instr *instr);

static void keep_values(KernelIr *kernel, Nest *nest, Worth *worth) {
    Uses uses = {0, SN_ARRAY(kernel->arena, int, nest->instr.count),
                 SN_ARRAY(kernel->arena, int, nest->instr.count)};
    find_uses(kernel, nest, &uses);
    for (int i = nest->instr.count - 1; i >= 0; i--) {
        Instr *instr = nest->instr.at[i];
        if (!worth(kernel, nest, instr) || uses.first[i] == uses.last[i]) continue;
        keep(kernel, nest, instr, uses.first[i]);
        find_uses(kernel, nest, &uses);
    }
}

void sn_schedule_keeps(KernelIr *kernel, Nest *nest) {
    if (nest->step.count < 2 || is_endless(kernel, nest)) return;
    keep_values(kernel, nest, worth_keeping);
    if (!nest->scratch.count) keep_values(kernel, nest, joins_rows);
}
