#include "order.h"

#include "import_compose.h"

Value *sn_call_growths(Call *c, Value *running, Dim count) {
    return sn_build1(c->builder, SN_OP_PLACES, &(AttrScatter){count}, running);
}

Value *sn_call_places(Call *c, Value *flags) {
    if (sn_call_failed(c)) return NULL;
    Value *one = as_type(c, flags, SN_I64);
    Value *total = reduce_axis(c, SN_OP_REDUCE_SUM, one, 0, false);
    Value *running = sn_build1(c->builder, SN_OP_CUMSUM, &(AttrScan){.axis = 0}, one);
    if (sn_call_failed(c)) return NULL;
    return sn_call_growths(c, running, sn_call_size(c, total, "found", flags->type.dim[0]));
}

Value *sn_call_top(Call *c, Value *x, Dim columns, bool largest) {
    if (sn_call_failed(c)) return NULL;
    if (x->type.dtype == SN_BOOL) x = as_type(c, x, SN_U8);
    Type type = x->type;
    Dim shape[SN_MAX_RANK], rows = sn_dim(c->dims, 1);
    for (int k = 0; k < type.rank - 1; k++)
        shape[k] = type.dim[k], rows = sn_dim_mul(c->dims, rows, shape[k]);
    x = reshaped(c, x, 2, (Dim[]){rows, type.dim[type.rank - 1]});
    shape[type.rank - 1] = columns;
    Value *place = sn_build1(c->builder, SN_OP_TOP, &(AttrTop){columns, largest}, x);
    return reshaped(c, place, type.rank, shape);
}
