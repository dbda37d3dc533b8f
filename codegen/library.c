/* What of a contraction's cluster a GPU's library computes: the product itself, where its operands are matrices with
 * one stride, and the epilogues that the library has. */
#include "lower_gemm.h"

#include <math.h>

enum { LEAST_ROWS = 16 }; /* below that many the library is not asked */

/* The axes of a hole's arguments. */
typedef struct MatrixAxes {
    Dim batch, row, column;
    Dim rows, columns; /* extents */
} MatrixAxes;

static MatrixAxes axes_of(const Gemm *gemm, Dim rows, Dim columns) {
    HoleSpec spec = {.count = 3, .extent = {gemm->batch, rows, columns}};
    HoleAxes hole = sn_hole_axes(gemm->lower.kernel, &spec, false);
    return (MatrixAxes){hole.argument[0], hole.argument[1], hole.argument[2], rows, columns};
}

/* `offset` as a matrix; false when it is none, or one whose rows are not proven to lie apart. */
static bool matrix_of(const Gemm *gemm, Dim offset, const MatrixAxes *axes, LibraryMatrix *out) {
    Dims *dims = gemm->lower.dims;
    Dim batch, row, column, rest;
    if (!sn_dim_affine(dims, offset, axes->batch, &batch, &rest) ||
        !sn_dim_affine(dims, rest, axes->row, &row, &rest) ||
        !sn_dim_affine(dims, rest, axes->column, &column, &rest))
        return false;
    if (sn_dim_has_axis(batch) || sn_dim_has_axis(row) || sn_dim_has_axis(column) || sn_dim_has_axis(rest))
        return false;
    bool one_row = sn_dim_equals(axes->rows, 1), one_column = sn_dim_equals(axes->columns, 1);
    out->transposed =
        !(sn_dim_equals(column, 1) || one_column) || (one_column && sn_dim_equals(row, 1) && !one_row);
    if (out->transposed && !sn_dim_equals(row, 1) && !one_row) return false;
    Dim length = out->transposed ? axes->rows : axes->columns;
    bool lone = out->transposed ? one_column : one_row;
    out->stride = lone ? sn_dim_max(dims, length, sn_dim(dims, 1)) : out->transposed ? column : row;
    out->offset = rest;
    out->batch_stride = batch;
    return sn_dim_le(dims, length, out->stride);
}

static const Hole *find_hole(const Gemm *gemm, const char *name, bool address) {
    for (int i = 0; i < gemm->use->hole.count; i++) {
        const Hole *hole = &gemm->use->hole.at[i];
        if (hole->address == address && strcmp(hole->name, name) == 0) return hole;
    }
    return NULL;
}

/* A matrix that `load` reads; absent (buffer -1) when it reads none. */
static LibraryMatrix loaded(const Gemm *gemm, const Instr *load, MatrixAxes axes) {
    LibraryMatrix matrix = {.buffer = -1};
    if (load->kind != SN_INSTR_LOAD || load->guard || load->which) return matrix;
    if (!matrix_of(gemm, load->dim, &axes, &matrix)) return matrix;
    matrix.buffer = load->buffer;
    matrix.dtype = load->dtype;
    return matrix;
}

/* ---- epilogues ---- */

/* The value before casts that change nothing where everything is computed in f32. */
static const Instr *peel(const Instr *instr) {
    while (instr->kind == SN_INSTR_CAST && sn_dtype_is_float(instr->dtype) &&
           sn_dtype_is_float(instr->operand) &&
           (!instr->exact || sn_dtype_bytes(instr->dtype) >= sn_dtype_bytes(instr->operand)))
        instr = instr->arg[0];
    return instr;
}

static bool is_call(const Instr *instr, const char *function) {
    return instr->kind == SN_INSTR_CALL && strcmp(instr->function, function) == 0;
}

static bool is_number(const Instr *instr, double number) {
    return instr->kind == SN_INSTR_LITERAL && fabs(instr->number - number) <= 1e-6 * fabs(number);
}

/* The other operand of function(known, …) or function(…, known), or NULL. */
static const Instr *other(const Instr *instr, const char *function, const Instr *known) {
    instr = peel(instr);
    for (int k = 0; is_call(instr, function) && k < 2; k++)
        if (peel(instr->arg[k]) == known) return peel(instr->arg[1 - k]);
    return NULL;
}

/* function(…, number): the other operand, or NULL. */
static const Instr *with_number(const Instr *instr, const char *function, double number) {
    for (int k = 0; instr && is_call(instr, function) && k < 2; k++)
        if (is_number(peel(instr->arg[k]), number)) return peel(instr->arg[1 - k]);
    return NULL;
}

/* Whether it is slope + times·slope·x², slope = 2·√(2/π). */
static bool is_quadratic(const Instr *instr, const Instr *x, double times) {
    const double slope = 2 * sqrt(2 / acos(-1));
    const Instr *scaled = with_number(instr, "add", slope);
    const Instr *square = with_number(scaled, "mul", times * slope);
    return square && other(square, "mul", x) == x;
}

/* sigmoid(x·(slope + 0.044715·slope·x²)): x, or NULL. */
static const Instr *gate_of(const Instr *gate) {
    const Instr *product = is_call(gate, "sigmoid") ? peel(gate->arg[0]) : gate;
    for (int k = 0; product != gate && is_call(product, "mul") && k < 2; k++) {
        const Instr *x = peel(product->arg[k]);
        if (is_quadratic(peel(product->arg[1 - k]), x, 0.044715)) return x;
    }
    return NULL;
}

/* x·gate(x), which is how the tanh form of GELU is expanded: x, or NULL. */
static const Instr *gelu_of(const Instr *instr) {
    for (int k = 0; is_call(instr, "mul") && k < 2; k++) {
        const Instr *x = peel(instr->arg[k]);
        if (gate_of(peel(instr->arg[1 - k])) == x) return x;
    }
    return NULL;
}

/* The factors of a product, `count` of which are there already; more than SLOPE_FACTORS where there are more. */
enum { SLOPE_FACTORS = 4 };

static int take_factors(const Instr *instr, const Instr **factor, int count) {
    instr = peel(instr);
    if (is_call(instr, "mul") && count <= SLOPE_FACTORS) {
        count = take_factors(instr->arg[0], factor, count);
        return take_factors(instr->arg[1], factor, count);
    }
    if (count < SLOPE_FACTORS) factor[count] = instr;
    return count + 1;
}

/* gate + x·gate·(1 − gate)·(slope + 3·0.044715·slope·x²), the slope of x·gate(x): x, or NULL. */
static const Instr *gelu_slope_at(const Instr *instr) {
    for (int k = 0; is_call(instr, "add") && k < 2; k++) {
        const Instr *gate = peel(instr->arg[k]), *x = gate_of(gate), *factor[SLOPE_FACTORS];
        if (!x || take_factors(instr->arg[1 - k], factor, 0) != SLOPE_FACTORS) continue;
        bool found[SLOPE_FACTORS] = {false};
        for (int i = 0; i < SLOPE_FACTORS; i++) {
            found[0] |= factor[i] == x;
            found[1] |= factor[i] == gate;
            found[2] |= is_call(factor[i], "sub") && is_number(peel(factor[i]->arg[0]), 1) &&
                        peel(factor[i]->arg[1]) == gate;
            found[3] |= is_quadratic(factor[i], x, 3 * 0.044715);
        }
        if (found[0] && found[1] && found[2] && found[3]) return x;
    }
    return NULL;
}

/* Takes the terms of a sum apart: the product itself, and at most a bias along N and a matrix. */
static bool take_terms(const Gemm *gemm, const Instr *instr, LibraryProduct *out, int *products) {
    instr = peel(instr);
    if (is_call(instr, "add"))
        return take_terms(gemm, instr->arg[0], out, products) &&
               take_terms(gemm, instr->arg[1], out, products);
    if (instr->kind == SN_INSTR_HOLE_ARG) return ++*products == 1;
    MatrixAxes axes = axes_of(gemm, gemm->M, gemm->N);
    bool along = instr->kind == SN_INSTR_LOAD && !sn_dim_depends(instr->dim, axes.batch) &&
                 !sn_dim_depends(instr->dim, axes.row);
    LibraryMatrix matrix = loaded(gemm, instr, axes), *to = along ? &out->bias : &out->c;
    if (along && matrix.buffer < 0) { /* its rows, of which there is one, do not lie apart */
        axes.rows = sn_dim(gemm->lower.dims, 1);
        matrix = loaded(gemm, instr, axes);
    }
    if (matrix.buffer < 0 || matrix.transposed || to->buffer >= 0 || matrix.dtype != out->d.dtype)
        return false;
    *to = matrix;
    return true;
}

/* What is stored, before the store rounds it, and where, as a matrix; NULL where it is none. */
static const Instr *take_store(const Gemm *gemm, const Store *store, LibraryMatrix *out) {
    MatrixAxes axes = axes_of(gemm, gemm->M, gemm->N);
    if (store->guard || !matrix_of(gemm, store->offset, &axes, out) || out->transposed) return NULL;
    out->buffer = store->buffer, out->dtype = store->dtype;
    const Instr *value = store->value;
    if (value->kind == SN_INSTR_CAST && value->dtype == store->dtype && sn_dtype_is_float(value->operand))
        value = value->arg[0];
    return peel(value);
}

/* The stores of the cluster's results: how many, of at most `most`; 0: there are more, or other steps. */
static int find_stores(const Gemm *gemm, int most, const Store **out) {
    const Nest *nest = find_hole(gemm, "store", false)->nest;
    if (nest->step.count != 1 || nest->step.at[0].store.count > most) return 0;
    *out = nest->step.at[0].store.at;
    return nest->step.at[0].store.count;
}

/* Whether the library stores the one result of the cluster as it is. */
static bool take_epilogue(const Gemm *gemm, LibraryProduct *out) {
    const Store *store;
    const Instr *value = find_stores(gemm, 1, &store) ? take_store(gemm, store, &out->d) : NULL;
    if (!value) return false;
    const Instr *rectified = with_number(value, "max", 0), *smooth = gelu_of(value);
    out->epilogue = rectified ? SN_LIBRARY_RELU : smooth ? SN_LIBRARY_GELU_TANH : SN_LIBRARY_NONE;
    int products = 0;
    return take_terms(gemm, rectified ? rectified : smooth ? smooth : value, out, &products) && products == 1;
}

/* ---- epilogues of training ---- */

/* GELU with what it is applied to as a second result. */
static bool take_gelu(const Gemm *gemm, const Store *store, LibraryProduct *out) {
    for (int k = 0; k < 2; k++) {
        const Instr *value = take_store(gemm, &store[k], &out->d),
                    *before = take_store(gemm, &store[1 - k], &out->aux);
        const Instr *x = value ? gelu_of(value) : NULL;
        int products = 0;
        if (!x || x != before) continue;
        out->epilogue = SN_LIBRARY_GELU_TANH;
        return take_terms(gemm, x, out, &products) && products == 1;
    }
    return false;
}

/* where(0 < r, product, 0): r, or NULL. */
static const Instr *rectified_by(const Instr *value) {
    if (!is_call(value, "where") || !is_call(value->arg[0], "less")) return NULL;
    const Instr *test = value->arg[0], *product = peel(value->arg[1]);
    bool slope = is_number(peel(test->arg[0]), 0) && is_number(peel(value->arg[2]), 0);
    return slope && product->kind == SN_INSTR_HOLE_ARG ? peel(test->arg[1]) : NULL;
}

/* The product times the slope of GELU at x: x, or NULL. */
static const Instr *bent_by(const Instr *value) {
    for (int k = 0; is_call(value, "mul") && k < 2; k++)
        if (peel(value->arg[k])->kind == SN_INSTR_HOLE_ARG) return gelu_slope_at(peel(value->arg[1 - k]));
    return NULL;
}

static bool take_slope(const Gemm *gemm, const Store *store, LibraryProduct *out) {
    const Instr *value = take_store(gemm, store, &out->d);
    const Instr *relu = value ? rectified_by(value) : NULL, *gelu = value ? bent_by(value) : NULL;
    if (!relu && !gelu) return false;
    out->epilogue = relu ? SN_LIBRARY_RELU_SLOPE : SN_LIBRARY_GELU_SLOPE;
    out->aux = loaded(gemm, relu ? relu : gelu, axes_of(gemm, gemm->M, gemm->N));
    return out->aux.buffer >= 0;
}

/* The product with all of the cluster as an epilogue of training; NULL: it is none. */
static LibraryProduct *find_full(const Gemm *gemm, const LibraryProduct *bare) {
    Dims *dims = gemm->lower.dims;
    LibraryProduct *full = SN_NEW(gemm->lower.kernel->arena, LibraryProduct);
    const Store *store;
    int stores = find_stores(gemm, 2, &store);
    *full = *bare;
    bool found = stores == 2 ? take_gelu(gemm, store, full) : stores == 1 && take_slope(gemm, store, full);
    if (!found || !sn_dim_equals(gemm->batch, 1) || full->aux.transposed) return NULL;
    Dim quotient, unit = sn_dim(dims, SN_LIBRARY_AUX_UNIT);
    bool fits = full->aux.dtype == full->d.dtype && sn_dim_divides(dims, unit, full->aux.stride, &quotient);
    return fits || full->epilogue == SN_LIBRARY_RELU_SLOPE ? full : NULL;
}

/* ---- the rest ---- */

/* The product's elements where the library left them: dense, in the last scratch buffer. */
static Instr *stored_product(Lower *lower, const Value *value, const Dim *index) {
    if (!value->producer || value->producer->op != SN_OP_CONTRACT) return NULL;
    return sn_instr(lower->kernel, lower->nest,
                    &(Instr){.kind = SN_INSTR_LOAD,
                             .dtype = value->type.dtype,
                             .buffer = lower->kernel->buffer.count - 1,
                             .dim = sn_lower_linear(lower, value->type, index)});
}

Status sn_gemm_rest(const Gemm *gemm, LibraryProduct *product) {
    KernelIr *kernel = gemm->lower.kernel, *rest = SN_NEW(kernel->arena, KernelIr);
    Dims *dims = kernel->dims;
    Dim elements = sn_dim_mul(dims, gemm->M, gemm->N), count = sn_dim_mul(dims, gemm->batch, elements);
    DType dtype = gemm->type.dtype;
    int buffer = sn_kernel_scratch(kernel, dtype, sn_dim_mulc(dims, count, sn_dtype_bytes(dtype)));
    product->d = (LibraryMatrix){.buffer = buffer,
                                 .dtype = dtype,
                                 .offset = sn_dim(dims, 0),
                                 .stride = gemm->N,
                                 .batch_stride = elements};
    *rest = (KernelIr){.arena = kernel->arena,
                       .dims = dims,
                       .cluster = kernel->cluster,
                       .target = kernel->target,
                       .input_count = kernel->input_count,
                       .output_count = kernel->output_count};
    for (int i = 0; i < kernel->buffer.count; i++) {
        Buffer same = kernel->buffer.at[i];
        same.written = i >= kernel->input_count && i < kernel->input_count + kernel->output_count;
        sn_push(rest->arena, &rest->buffer, same);
    }
    kernel->rest = rest;
    return sn_lower_map_from(rest, stored_product, NULL);
}

LibraryProduct *sn_gemm_library(const Gemm *gemm, bool *whole, LibraryProduct **full) {
    KernelIr *kernel = gemm->lower.kernel;
    const Hole *a = find_hole(gemm, "a", true), *b = find_hole(gemm, "b", true);
    const LibraryMatrix absent = {.buffer = -1};
    int64_t most;
    bool few = sn_dim_upper(kernel->dims, sn_dim_mul(kernel->dims, gemm->batch, gemm->M), &most) &&
               most < LEAST_ROWS;
    if (!kernel->target->library || !a || !b || few) return NULL;
    LibraryProduct *product = SN_NEW(kernel->arena, LibraryProduct);
    *product = (LibraryProduct){.batch = gemm->batch, .M = gemm->M, .N = gemm->N, .K = gemm->K};
    product->a = loaded(gemm, a->value, axes_of(gemm, gemm->M, gemm->K));
    product->b = loaded(gemm, b->value, axes_of(gemm, gemm->K, gemm->N));
    product->c = product->bias = product->d = product->aux = product->sum = absent;
    if (product->a.buffer < 0 || product->b.buffer < 0 || product->a.dtype != product->b.dtype) return NULL;
    *whole = take_epilogue(gemm, product);
    if (*whole) return product;
    product->c = product->bias = product->d = absent;
    product->epilogue = SN_LIBRARY_NONE;
    *full = find_full(gemm, product);
    return product;
}
