/* Rows that are exchanged between two axes, as attention's heads and positions are: in an order in which memory is read
 * as it lies. Processors fetch ahead along what is read, whereas pieces that are stored past the caches may go anywhere. */
#include "kernel.h"

static Dim extent(Dim axis) {
    return axis->operand[0];
}

static void note_index(void *user, Instr *instr) {
    (void)instr;
    *(bool *)user = true;
}

/* Whether a load or store is of vectors, and how far it moves along two axes. */
static bool moves(Dims *dims, const Nest *nest, Dim offset, const Dim axis[2], Dim stride[2]) {
    Dim unit, rest;
    bool indexed = false;
    sn_dim_indices(nest, offset, note_index, &indexed);
    return !indexed &&
           sn_dim_affine(dims, offset, nest->parallel.at[nest->parallel.count - 1], &unit, &rest) &&
           sn_dim_equals(unit, 1) && sn_dim_affine(dims, rest, axis[0], &stride[0], &rest) &&
           sn_dim_affine(dims, rest, axis[1], &stride[1], &rest);
}

/* Which of two axes moves the load and the store less; -1: not known. */
static int near_axis(const Dim load[2], const Dim store[2]) {
    int64_t by[2] = {0, 0};
    for (int k = 0; k < 2; k++) {
        int64_t a, b;
        if (!sn_dim_is(load[k], &a) || !sn_dim_is(store[k], &b))
            by[k] = INT64_MAX;
        else
            by[k] = a > b ? a : b;
    }
    return by[0] == by[1] ? -1 : by[0] < by[1] ? 0 : 1;
}

/* Whether two strides are known to be in this order; one of run-time extents counts as large. */
static bool is_less(Dim a, Dim b) {
    int64_t x, y;
    if (!sn_dim_is(a, &x) || x == 0) return false;
    return !sn_dim_is(b, &y) || x < y;
}

/* How two axes of rows are worked on that a load and a store disagree about. */
typedef struct Order {
    Dim near; /* the axis along which both move less; NULL: they do not disagree, or it is not known */
    bool
        strips; /* in strips of it, because what is read lies together for whole strips; otherwise it becomes the faster
                    one, as for the load: what is read goes on where it is, and pieces are stored */
} Order;

static Order order_of(Dims *dims, const Nest *nest, const Instr *load, const Store *store,
                      const Dim axis[2]) {
    Dim from[2], to[2];
    if (load->kind != SN_INSTR_LOAD || load->which || !moves(dims, nest, load->dim, axis, from) ||
        !moves(dims, nest, store->offset, axis, to))
        return (Order){NULL, false};
    bool crossed = (is_less(from[0], from[1]) && is_less(to[1], to[0])) ||
                   (is_less(from[1], from[0]) && is_less(to[0], to[1]));
    int near = crossed ? near_axis(from, to) : -1;
    return near < 0 ? (Order){NULL, false} : (Order){axis[near], is_less(from[1 - near], from[near])};
}

/* Puts at[k] and at[last] one after the other where at[last] was, the near one first if it is in strips. */
static void put_order(Nest *nest, int k, int last, Order order) {
    Dim *at = nest->parallel.at, far = at[k] == order.near ? at[last] : at[k];
    for (; k + 1 < last; k++) at[k] = at[k + 1];
    at[last - 1] = order.strips ? order.near : far;
    at[last] = order.strips ? far : order.near;
    if (order.strips) nest->strip = order.near;
}

void sn_schedule_strip(KernelIr *kernel, Nest *nest) {
    enum { RUN = 1024 }; /* elements that lie together and are enough by themselves */
    int64_t width = 1, more;
    nest->strip = NULL;
    if (nest->vector != SN_VECTOR_PARALLEL || nest->reduced.count || nest->tile || nest->step.count != 1 ||
        !nest->step.at[0].store.count)
        return;
    for (int last = nest->parallel.count - 2; last > 0; last--) {
        if (!sn_dim_is(extent(nest->parallel.at[last + 1]), &more) || more > RUN / width) return;
        width *= more;
        for (int i = 0; i < nest->instr.count; i++)
            for (int k = last - 1; k >= 0; k--) {
                Dim axis[2] = {nest->parallel.at[k], nest->parallel.at[last]};
                Order order =
                    order_of(kernel->dims, nest, nest->instr.at[i], &nest->step.at[0].store.at[0], axis);
                if (!order.near) continue;
                put_order(nest, k, last, order);
                return;
            }
    }
}
