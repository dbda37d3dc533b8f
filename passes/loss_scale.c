/* The scale of a loss whose gradients are f16: small ones would be zeros. It grows until gradients overflow, whose step is
 * left out; the numbers are those of PyTorch's GradScaler. */
#include "expand.h"
#include "train.h"

enum { GROW_AFTER = 2000 }; /* steps in turn whose gradients were finite */
static const double first_scale = 65536, least_scale = 1, most_scale = 0x1p24;

static Value *new_state(Graph *graph, const char *name, DType dtype, double initial) {
    void *bytes;
    Tensor *tensor = sn_tensor_new(graph->arena, dtype, 0, NULL, &bytes);
    if (sn_dtype_is_float(dtype))
        sn_element_set(dtype, bytes, 0, initial);
    else
        sn_element_set_int(dtype, bytes, 0, (int64_t)initial);
    return sn_state_add(graph, name, (Type){dtype, 0, NULL}, tensor);
}

Status sn_loss_scale_start(Graph *graph, Value *loss, Value **scale, Value **scaled) {
    Builder b = {.graph = graph, .region = graph->body, .phase = SN_PHASE_BACKWARD};
    b.group = graph->next_group++;
    *scale = new_state(graph, "optimizer.loss_scale", SN_F32, first_scale);
    *scaled = op2(&b, SN_OP_MUL, loss, sn_build_cast(&b, *scale, loss->type.dtype));
    return b.status;
}

Status sn_loss_scale_undo(Builder *b, Value *scale, int count, Value **gradient) {
    Value *inverse = op1(b, SN_OP_RECIPROCAL, scale);
    for (int i = 0; i < count && inverse; i++)
        gradient[i] = op2(b, SN_OP_MUL, gradient[i], sn_build_cast(b, inverse, gradient[i]->type.dtype));
    return b->status;
}

static Value *where(Builder *b, Value *condition, Value *x, Value *y) {
    return condition ? sn_build3(b, SN_OP_WHERE, NULL, condition, x, y) : x;
}

Status sn_loss_scale_next(Builder *b, Value *scale, Value *fine, Value *last) {
    Graph *graph = b->graph;
    Value *before = new_state(graph, "optimizer.steps_in_scale", SN_I64, 0);
    Value *steps = op_scalar(b, SN_OP_ADD, before, 1), *zero = sn_build_scalar(b, SN_I64, 0);
    Value *grows = op_scalar(b, SN_OP_EQUAL, steps, GROW_AFTER);
    Value *larger = op_scalar(b, SN_OP_MIN, op_scalar(b, SN_OP_MUL, scale, 2), most_scale);
    Value *smaller = op_scalar(b, SN_OP_MAX, op_scalar(b, SN_OP_MUL, scale, 0.5), least_scale);
    if (b->status) return b->status;
    Value *next = where(b, fine, where(b, grows, larger, scale), smaller);
    Value *counted = where(b, fine, where(b, grows, zero, steps), zero);
    if (last) next = where(b, last, next, scale), counted = where(b, last, counted, before);
    if (b->status) return b->status;
    sn_state_next(graph, scale, next);
    sn_state_next(graph, before, counted);
    return NULL;
}
