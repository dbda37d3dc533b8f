/* Det: Gaussian elimination, a row and a column a step, whose pivot is the column's largest element. Rows are not exchanged: the
 * pivot's is left out, and the sign says from where. */
#include "import_compose.h"

#include <math.h>

enum { MOST_ROWS = 64 };

/* [..., m, m] to [..., m-1, m-1]; *det, of the steps before, becomes that of this one too. */
static Value *eliminate(Call *c, Value *a, int64_t m, Value **det) {
    int rows = a->type.rank - 2, columns = rows + 1;
    DType dtype = a->type.dtype;
    Dim zero = sn_dim(c->dims, 0), one = sn_dim(c->dims, 1), less = sn_dim(c->dims, m - 1);
    Value *column = sliced(c, a, columns, zero, one);
    /* What is no number is larger than all others, so that it is not lost. */
    Value *size =
        choose(c, op1(c, SN_OP_ISNAN, column), sn_call_scalar(c, dtype, INFINITY), op1(c, SN_OP_ABS, column));
    Value *hit = op2(c, SN_OP_EQUAL, size, reduce_axis(c, SN_OP_REDUCE_MAX, size, rows, true));
    Value *index = count_up(c, SN_I64, sn_dim(c->dims, m), 1);
    Value *found = choose(c, hit, index, sn_call_scalar(c, SN_I64, (double)m));
    Value *place = reduce_axis(c, SN_OP_REDUCE_MIN, found, rows, true);
    Value *chosen = choose(c, op2(c, SN_OP_EQUAL, index, place), a, sn_call_scalar(c, dtype, 0));
    Value *row = reduce_axis(c, SN_OP_REDUCE_SUM, chosen, rows, true);
    Value *pivot = sliced(c, row, columns, zero, one);
    Value *odd = as_type(c, op_number(c, SN_OP_MOD, place, 2), dtype);
    Value *sign = op_number(c, SN_OP_ADD, op_number(c, SN_OP_MUL, odd, -2), 1);
    *det = op2(c, SN_OP_MUL, *det, op2(c, SN_OP_MUL, pivot, sign));
    Value *before = op2(c, SN_OP_LESS, count_up(c, SN_I64, less, 1), place);
    Value *rest = choose(c, before, sliced(c, a, rows, zero, less), sliced(c, a, rows, one, less));
    /* A column of zeros needs no elimination. */
    Value *none = op_number(c, SN_OP_EQUAL, pivot, 0);
    Value *factor = op2(c, SN_OP_DIV, sliced(c, rest, columns, zero, one),
                        choose(c, none, sn_call_scalar(c, dtype, 1), pivot));
    Value *change = op2(c, SN_OP_MUL, factor, sliced(c, row, columns, one, less));
    return op2(c, SN_OP_SUB, sliced(c, rest, columns, one, less), change);
}

Value *sn_import_det(Call *c) {
    Value *a = c->input[0];
    DType dtype = a->type.dtype;
    int rank = a->type.rank;
    int64_t m;
    if (rank < 2) return sn_call_invalid(c, "matrices of rank %d", rank);
    Dim side = a->type.dim[rank - 1];
    Status status =
        sn_graph_check(c->import->graph, SN_CHECK_EQUAL, a->type.dim[rank - 2], side, c->builder->origin);
    if (status) return sn_call_latch(c, sn_status_prefix(status, "a matrix that is not square"));
    if (!sn_dim_is(side, &m) && !sn_dim_is(a->type.dim[rank - 2], &m))
        return sn_call_unsupported(c, "matrices of a size that is not known");
    if (m > MOST_ROWS) return sn_call_unsupported(c, "matrices of %lld rows", (long long)m);
    Dim extent[SN_MAX_RANK];
    for (int k = 0; k < rank; k++) extent[k] = k < rank - 2 ? a->type.dim[k] : sn_dim(c->dims, 1);
    Value *det = expanded(c, sn_call_scalar(c, wide_type(dtype), 1), rank, extent);
    a = as_type(c, a, wide_type(dtype));
    for (; m > 1 && !sn_call_failed(c); m--) a = eliminate(c, a, m, &det);
    if (m == 1) det = op2(c, SN_OP_MUL, det, a);
    return as_type(c, reshaped(c, det, rank - 2, extent), dtype);
}
