#include "plan_order.h"

typedef struct Steps {
    Arena *arena;
    Dims *dims;
    PlanStep *step;
    int count;
} Steps;

static int buffers_of(const Kernel *kernel) {
    return kernel->input_count + kernel->output_count + kernel->scratch_count;
}

static PlanStep *step_of(const Steps *s, const Node *cluster) {
    for (int i = 0; i < s->count; i++)
        if (s->step[i].cluster == cluster) return &s->step[i];
    return NULL;
}

/* What lies in a buffer of the step's kernel that is no scratch. */
static const Value *value_in(const PlanStep *step, int buffer) {
    int inputs = step->kernel->input_count;
    return buffer < inputs ? step->cluster->input[buffer] : step->cluster->output[buffer - inputs];
}

static bool is_made_by(const PlanStep *step, int buffer) {
    int output = buffer - step->kernel->input_count;
    return output >= 0 && output < step->kernel->output_count;
}

static LibraryProduct *copy_of(const Steps *s, const LibraryProduct *product) {
    LibraryProduct *copy = SN_NEW(s->arena, LibraryProduct);
    *copy = *product;
    return copy;
}

/* ---- masks ---- */

static bool lie_alike(const LibraryProduct *relu, const LibraryProduct *slope) {
    return sn_dim_equals(relu->batch, 1) && relu->M == slope->M && relu->N == slope->N &&
           relu->d.offset == slope->aux.offset && relu->d.stride == slope->aux.stride;
}

/* The library's layout of a mask is not known, so a mask is what two of its products share or nothing. */
static void share_mask(const Steps *s, PlanStep *step) {
    const LibraryProduct *slope = step->kernel->full;
    const Value *result = value_in(step, slope->aux.buffer);
    PlanStep *relu = result->producer ? step_of(s, result->producer) : NULL;
    const LibraryProduct *made = relu ? relu->kernel->library : NULL;
    if (!made || relu->kernel->rest || made->epilogue != SN_LIBRARY_RELU || !lie_alike(made, slope) ||
        value_in(relu, made->d.buffer) != result)
        return;
    Dim unit = sn_dim(s->dims, SN_LIBRARY_MASK_UNIT), zero = sn_dim(s->dims, 0);
    LibraryMatrix mask = {.dtype = SN_U8,
                          .offset = zero,
                          .batch_stride = zero,
                          .stride = sn_dim_mul(s->dims, sn_dim_ceildiv(s->dims, made->N, unit), unit)};
    if (!relu->full) {
        LibraryProduct *masking = copy_of(s, made);
        masking->aux = mask;
        masking->aux.buffer = buffers_of(relu->kernel);
        relu->full = masking;
        relu->mask = relu->cluster;
    }
    LibraryProduct *masked = copy_of(s, slope);
    masked->aux = mask;
    masked->aux.buffer = buffers_of(step->kernel);
    step->full = masked;
    step->mask = relu->cluster;
}

/* ---- sums ---- */

/* The sum over all axes but the last one of `of`, in rows as they lie in memory. */
typedef struct Sum {
    const Value *of;
    Dim rows, columns;
    DType dtype;
} Sum;

static bool is_taken(const Steps *s, const Node *cluster) {
    for (int i = 0; i < s->count; i++)
        if (s->step[i].sum == cluster) return true;
    return false;
}

/* Whether the cluster makes that and nothing else: what is summed is its one operand, perhaps widened. */
static bool is_sum(const Steps *s, const Node *cluster, Sum *out) {
    const Region *body = cluster->body;
    const Node *sum = body->result.count == 1 ? body->result.at[0]->producer : NULL;
    if (cluster->setup || cluster->input_count != 1 || !sum || sum->op != SN_OP_REDUCE_SUM) return false;
    const Value *operand = sum->input[0];
    Type type = operand->type;
    const AttrReduce *attr = sum->attr;
    if (operand->producer && operand->producer->op == SN_OP_CAST) operand = operand->producer->input[0];
    bool widened = sn_dtype_bytes(operand->type.dtype) <= sn_dtype_bytes(type.dtype);
    if (operand->producer || !widened || type.rank < 2 || attr->count != type.rank - 1) return false;
    out->rows = sn_dim(s->dims, 1);
    for (int i = 0; i < attr->count; i++) {
        if (attr->axes[i] != i) return false;
        out->rows = sn_dim_mul(s->dims, out->rows, type.dim[i]);
    }
    out->of = cluster->input[0];
    out->columns = type.dim[type.rank - 1];
    out->dtype = body->result.at[0]->type.dtype;
    return sn_dtype_is_float(operand->type.dtype);
}

/* Whether the buffer has the summed value, as a matrix of rows one behind the other. */
static bool has_rows(const PlanStep *step, const LibraryMatrix *matrix, const Sum *sum, Dim rows,
                     Dim columns) {
    return value_in(step, matrix->buffer) == sum->of && sn_dim_equals(matrix->offset, 0) &&
           matrix->stride == sum->columns && rows == sum->rows && columns == sum->columns;
}

/* What of the step's product the sum is of. */
static LibrarySum sum_in(const PlanStep *step, const Sum *sum) {
    const LibraryProduct *full = step->full, *bare = step->kernel->library;
    if (full) {
        bool slope = full->epilogue == SN_LIBRARY_RELU_SLOPE || full->epilogue == SN_LIBRARY_GELU_SLOPE;
        bool summed = slope && !step->sum && full->d.dtype == sum->dtype && is_made_by(step, full->d.buffer);
        return summed && has_rows(step, &full->d, sum, full->M, full->N) ? SN_LIBRARY_SUM_D
                                                                         : SN_LIBRARY_NO_SUM;
    }
    if (!bare || step->kernel->rest || bare->epilogue != SN_LIBRARY_NONE || bare->bias.buffer >= 0 ||
        bare->c.buffer >= 0 || bare->d.dtype != sum->dtype || !sn_dim_equals(bare->batch, 1))
        return SN_LIBRARY_NO_SUM;
    if (!bare->b.transposed && has_rows(step, &bare->b, sum, bare->K, bare->N)) return SN_LIBRARY_SUM_B;
    return bare->a.transposed && has_rows(step, &bare->a, sum, bare->K, bare->M) ? SN_LIBRARY_SUM_A
                                                                                 : SN_LIBRARY_NO_SUM;
}

/* Where the sum may go to, when that is behind a step: nothing between may read it. */
static bool may_wait(const Steps *s, int from, int behind) {
    const Value *result = s->step[from].cluster->output[0];
    for (int i = from + 1; i <= behind; i++)
        for (int k = 0; k < s->step[i].cluster->input_count; k++)
            if (s->step[i].cluster->input[k] == result) return false;
    return true;
}

static void move_behind(Steps *s, int from, int behind) {
    PlanStep moved = s->step[from];
    for (int i = from; i < behind; i++) s->step[i] = s->step[i + 1];
    s->step[behind] = moved;
}

static void give_sum(Steps *s, const Node *cluster, PlanStep *step, LibrarySum of) {
    LibraryProduct *full = copy_of(s, step->full ? step->full : step->kernel->library);
    Dim zero = sn_dim(s->dims, 0);
    full->sum_of = of;
    full->sum = (LibraryMatrix){.buffer = buffers_of(step->kernel) + (step->mask != NULL),
                                .dtype = full->d.dtype,
                                .offset = zero,
                                .stride = zero,
                                .batch_stride = zero};
    step->full = full;
    step->sum = cluster;
}

/* By the product that makes what is summed, which then is read no more; otherwise by one that reads it. Returns whether the
 * step at `index` has been moved. */
static bool place_sum(Steps *s, int index) {
    Sum sum;
    const Node *cluster = s->step[index].cluster;
    LibrarySum of = SN_LIBRARY_NO_SUM;
    int found = -1;
    if (!is_sum(s, cluster, &sum) || is_taken(s, cluster)) return false;
    for (int i = 0; i < s->count; i++) {
        PlanStep *step = &s->step[i];
        bool possible = step->cluster->phase == cluster->phase && !step->cluster->setup;
        LibrarySum here = possible ? sum_in(step, &sum) : SN_LIBRARY_NO_SUM;
        if (here == SN_LIBRARY_NO_SUM || (found >= 0 && here != SN_LIBRARY_SUM_D)) continue;
        if (i > index && !may_wait(s, index, i)) continue;
        found = i, of = here;
    }
    if (found < 0) return false;
    give_sum(s, cluster, &s->step[found], of);
    if (found < index) return false;
    move_behind(s, index, found);
    return true;
}

void sn_plan_find_epilogues(Arena *arena, Dims *dims, PlanStep *step, int count) {
    Steps s = {arena, dims, step, count};
    for (int i = 0; i < count; i++) {
        const LibraryProduct *full = step[i].kernel->full;
        if (!full) continue;
        if (full->epilogue == SN_LIBRARY_RELU_SLOPE)
            share_mask(&s, &step[i]);
        else
            step[i].full = full;
    }
    /* What comes to the place of one that was moved has not been looked at. */
    for (int i = 0; i < count; i++)
        if (place_sum(&s, i)) i--;
}
