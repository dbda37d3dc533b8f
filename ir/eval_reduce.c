/* Reductions, scans, softmax and normalisation. */
#include "eval_rules.h"

/* ---- reductions ---- */

typedef double (*FloatFold)(double total, double next);
typedef int64_t (*IntFold)(DType dtype, int64_t total, int64_t next);

/* Every element of the output starts as the fold's neutral value; an empty axis leaves it. Reduced axes have
 * extent 1 in the output, so "what an element broadcasts from" is "where it is reduced to". */
static Status reduce(Eval *eval, const Node *node, FloatFold of_float, double float_start, IntFold of_int,
                     int64_t int_start, Array **result) {
    const Array *x = sn_eval_input(eval, node, 0);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    *result = out;
    for (int64_t i = 0; i < out->count; i++) {
        if (out->f)
            out->f[i] = float_start;
        else
            out->i[i] = int_start;
    }
    if (x->count == 0) return NULL;
    const Array *to = out;
    Walk walk = sn_walk_start(x->rank, x->extent, 1, &to);
    do {
        int64_t at = walk.in[0];
        if (out->f)
            out->f[at] = of_float(out->f[at], x->f[walk.at]);
        else
            out->i[at] = of_int(out->dtype, out->i[at], x->i[walk.at]);
    } while (sn_walk_next(&walk));
    return NULL;
}

static double float_sum(double total, double next) {
    return total + next;
}
static double float_product(double total, double next) {
    return total * next;
}
static int64_t int_sum(DType dtype, int64_t total, int64_t next) {
    (void)dtype;
    return (int64_t)((uint64_t)total + (uint64_t)next);
}
static int64_t int_product(DType dtype, int64_t total, int64_t next) {
    (void)dtype;
    return (int64_t)((uint64_t)total * (uint64_t)next);
}
static int64_t int_least(DType dtype, int64_t total, int64_t next) {
    return sn_scalar_less(dtype, next, total) ? next : total;
}
static int64_t int_greatest(DType dtype, int64_t total, int64_t next) {
    return sn_scalar_less(dtype, total, next) ? next : total;
}

Status sn_eval_reduce_sum(Eval *eval, const Node *node) {
    Array *out;
    return reduce(eval, node, float_sum, 0, int_sum, 0, &out);
}

Status sn_eval_reduce_prod(Eval *eval, const Node *node) {
    Array *out;
    return reduce(eval, node, float_product, 1, int_product, 1, &out);
}

Status sn_eval_reduce_max(Eval *eval, const Node *node) {
    Array *out;
    int64_t start = sn_scalar_least(node->output[0]->type.dtype);
    return reduce(eval, node, sn_scalar_max, -INFINITY, int_greatest, start, &out);
}

Status sn_eval_reduce_min(Eval *eval, const Node *node) {
    Array *out;
    int64_t start = sn_scalar_greatest(node->output[0]->type.dtype);
    return reduce(eval, node, sn_scalar_min, INFINITY, int_least, start, &out);
}

/* Integers wrap while they are summed and truncate when divided; a mean of nothing is NaN. */
Status sn_eval_reduce_mean(Eval *eval, const Node *node) {
    Array *out;
    TRY(reduce(eval, node, float_sum, 0, int_sum, 0, &out));
    int64_t count = out->count ? sn_eval_input(eval, node, 0)->count / out->count : 0;
    for (int64_t i = 0; i < out->count; i++) {
        if (out->f) {
            out->f[i] /= (double)count;
            continue;
        }
        if (count == 0) return sn_fail(SN_FAULT, "the mean of no integers");
        int64_t total = sn_scalar_wrap(out->dtype, out->i[i]);
        out->i[i] = out->dtype == SN_U64 ? (int64_t)((uint64_t)total / (uint64_t)count) : total / count;
    }
    return NULL;
}

/* ---- rows along an axis ---- */

/* The rows along one axis of a tensor: row r has `length` elements `stride` apart, from row_start(r) on. */
typedef struct Rows {
    int64_t count, length, stride;
} Rows;

static Rows rows_of(const Array *array, int axis) {
    Rows rows = {.length = array->extent[axis], .stride = 1};
    for (int k = axis + 1; k < array->rank; k++) rows.stride *= array->extent[k];
    rows.count = array->count ? array->count / rows.length : 0;
    return rows;
}

static int64_t row_start(Rows rows, int64_t row) {
    return row / rows.stride * rows.stride * rows.length + row % rows.stride;
}

Status sn_eval_cumsum(Eval *eval, const Node *node) {
    const AttrScan *attr = node->attr;
    const Array *x = sn_eval_input(eval, node, 0);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    Rows rows = rows_of(out, attr->axis);
    for (int64_t row = 0; row < rows.count; row++) {
        double sum = 0;
        uint64_t total = 0;
        for (int64_t k = 0; k < rows.length; k++) {
            int64_t along = attr->reverse ? rows.length - 1 - k : k;
            int64_t at = row_start(rows, row) + along * rows.stride;
            double before = sum;
            uint64_t earlier = total;
            if (x->f) {
                sum += x->f[at];
                out->f[at] = attr->exclusive ? before : sum;
            } else {
                total += (uint64_t)x->i[at];
                out->i[at] = (int64_t)(attr->exclusive ? earlier : total);
            }
        }
    }
    return NULL;
}

/* Σ exp(x - max) of a row, whose maximum goes to *max. A row of -inf alone gives NaN. */
static double exp_sum(const Array *x, Rows rows, int64_t start, double *max) {
    double sum = 0;
    *max = -INFINITY;
    for (int64_t k = 0; k < rows.length; k++) *max = sn_scalar_max(*max, x->f[start + k * rows.stride]);
    for (int64_t k = 0; k < rows.length; k++) sum += exp(x->f[start + k * rows.stride] - *max);
    return sum;
}

static Status softmax(Eval *eval, const Node *node, bool logarithm) {
    const Array *x = sn_eval_input(eval, node, 0);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    Rows rows = rows_of(out, ((const AttrAxis *)node->attr)->axis);
    for (int64_t row = 0; row < rows.count; row++) {
        int64_t start = row_start(rows, row);
        double max, sum = exp_sum(x, rows, start, &max);
        for (int64_t k = 0; k < rows.length; k++) {
            double shifted = x->f[start + k * rows.stride] - max;
            out->f[start + k * rows.stride] = logarithm ? shifted - log(sum) : exp(shifted) / sum;
        }
    }
    return NULL;
}

Status sn_eval_softmax(Eval *eval, const Node *node) {
    return softmax(eval, node, false);
}

Status sn_eval_log_softmax(Eval *eval, const Node *node) {
    return softmax(eval, node, true);
}

/* ---- normalisation ---- */

/* out = x·scale + bias, both broadcast to x; `bias` may be NULL. In place on `out`. */
static void scale_and_shift(Array *out, const Array *scale, const Array *bias) {
    if (out->count == 0) return;
    const Array *operand[2] = {scale, bias};
    Walk walk = sn_walk_start(out->rank, out->extent, bias ? 2 : 1, operand);
    do {
        out->f[walk.at] = out->f[walk.at] * scale->f[walk.in[0]] + (bias ? bias->f[walk.in[1]] : 0);
    } while (sn_walk_next(&walk));
}

/* Rows are what follows the axis, contiguous. */
static Status normalise(Eval *eval, const Node *node, bool centre) {
    const AttrNorm *attr = node->attr;
    const Array *x = sn_eval_input(eval, node, 0);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    int64_t length = 1;
    for (int k = attr->axis; k < x->rank; k++) length *= x->extent[k];
    for (int64_t start = 0; start < x->count; start += length) {
        double mean = 0, square = 0;
        for (int64_t k = 0; k < length && centre; k++) mean += x->f[start + k] / (double)length;
        for (int64_t k = 0; k < length; k++) {
            double deviation = x->f[start + k] - mean;
            square += deviation * deviation / (double)length;
        }
        for (int64_t k = 0; k < length; k++)
            out->f[start + k] = (x->f[start + k] - mean) / sqrt(square + attr->epsilon);
    }
    scale_and_shift(out, sn_eval_input(eval, node, 1), sn_eval_input(eval, node, 2));
    return NULL;
}

Status sn_eval_layer_norm(Eval *eval, const Node *node) {
    return normalise(eval, node, true);
}

Status sn_eval_rms_norm(Eval *eval, const Node *node) {
    return normalise(eval, node, false);
}
