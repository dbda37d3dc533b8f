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

/* x·sigmoid(x·(slope + 0.044715·slope·x²)), which is how the tanh form of GELU is expanded: x, or NULL. */
static const Instr *gelu_of(const Instr *instr) {
    const double slope = 2 * sqrt(2 / acos(-1));
    for (int k = 0; is_call(instr, "mul") && k < 2; k++) {
        const Instr *x = peel(instr->arg[k]), *gate = peel(instr->arg[1 - k]);
        if (!is_call(gate, "sigmoid")) continue;
        const Instr *sum = other(gate->arg[0], "mul", x);
        const Instr *scaled = with_number(sum, "add", slope);
        const Instr *square = with_number(scaled, "mul", 0.044715 * slope);
        if (square && other(square, "mul", x) == x) return x;
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

/* Whether the library stores the one result of the cluster as it is. */
static bool take_epilogue(const Gemm *gemm, LibraryProduct *out) {
    const Nest *nest = find_hole(gemm, "store", false)->nest;
    if (nest->step.count != 1 || nest->step.at[0].store.count != 1) return false;
    const Store *store = &nest->step.at[0].store.at[0];
    MatrixAxes axes = axes_of(gemm, gemm->M, gemm->N);
    if (store->guard || !matrix_of(gemm, store->offset, &axes, &out->d) || out->d.transposed) return false;
    out->d.buffer = store->buffer, out->d.dtype = store->dtype;
    const Instr *value = store->value;
    if (value->kind == SN_INSTR_CAST && value->dtype == store->dtype && sn_dtype_is_float(value->operand))
        value = value->arg[0]; /* the store rounds */
    value = peel(value);
    const Instr *rectified = with_number(value, "max", 0), *smooth = gelu_of(value);
    out->epilogue = rectified ? SN_LIBRARY_RELU : smooth ? SN_LIBRARY_GELU_TANH : SN_LIBRARY_NONE;
    int products = 0;
    return take_terms(gemm, rectified ? rectified : smooth ? smooth : value, out, &products) && products == 1;
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

LibraryProduct *sn_gemm_library(const Gemm *gemm, bool *whole) {
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
    product->c = product->bias = absent;
    if (product->a.buffer < 0 || product->b.buffer < 0 || product->a.dtype != product->b.dtype) return NULL;
    *whole = take_epilogue(gemm, product);
    if (*whole) return product;
    product->c = product->bias = product->d = absent;
    product->epilogue = SN_LIBRARY_NONE;
    return product;
}
