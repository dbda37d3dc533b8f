/* NonMaxSuppression: of the boxes of each class in each batch the best ones that overlap no better one too much. What
 * scores enough is put in order, by class and then by score, and sifted as one list, where boxes of other classes
 * never hit one another. */
#include "import_compose.h"
#include "order.h"

typedef struct Boxes {
    Dim batches, classes, each; /* each: boxes of a batch */
    Value *scores;              /* of all, in one list */
    Value *candidate;           /* places in that list */
    Value *class;               /* of each candidate, counted through all batches */
} Boxes;

/* An optional input of one element as a scalar. */
static Value *setting(Call *c, int k, DType dtype) {
    Value *value = sn_call_input(c, k);
    if (!value) return sn_call_scalar(c, dtype, 0);
    if (value->type.dtype != dtype)
        return sn_call_invalid(c, "input %d of type %s", k, sn_dtype_name(value->type.dtype));
    return reshaped(c, value, 0, NULL);
}

static bool check_boxes(Call *c, Boxes *boxes) {
    Type box = c->input[0]->type, score = c->input[1]->type;
    if (box.rank != 3 || score.rank != 3 || box.dtype != SN_F32 || score.dtype != SN_F32)
        return sn_call_invalid(c, "boxes and scores of ranks %d and %d", box.rank, score.rank);
    const Dim want[3] = {score.dim[0], score.dim[2], sn_dim(c->dims, 4)};
    for (int k = 0; k < 3; k++) {
        Status status =
            sn_graph_check(c->import->graph, SN_CHECK_EQUAL, box.dim[k], want[k], c->builder->origin);
        if (status) return sn_call_latch(c, sn_status_prefix(status, "the boxes"));
    }
    Dim all = sn_type_count(c->dims, score);
    *boxes = (Boxes){box.dim[0], score.dim[1], box.dim[1], reshaped(c, c->input[1], 1, &all), NULL, NULL};
    return true;
}

static Value *whole_of(Call *c, Value *number, Dim size) {
    return op2(c, SN_OP_DIV, number, size_number(c, size, SN_I64));
}

/* What is left of `number` when `whole` times `size` is taken from it. */
static Value *rest_of(Call *c, Value *number, Value *whole, Dim size) {
    return op2(c, SN_OP_SUB, number, op2(c, SN_OP_MUL, whole, size_number(c, size, SN_I64)));
}

static void take(Call *c, Boxes *boxes, Value *order) {
    boxes->candidate = gathered(c, boxes->candidate, order, 0);
    boxes->class = gathered(c, boxes->class, order, 0);
}

static Value *order_by(Call *c, Value *key, bool largest) {
    return sn_call_failed(c) ? NULL : sn_call_top(c, key, key->type.dim[0], largest);
}

static void choose_candidates(Call *c, Boxes *boxes) {
    if (sn_call_input(c, 4)) {
        Value *least = setting(c, 4, SN_F32);
        boxes->candidate = sn_call_places(c, op2(c, SN_OP_LESS, least, boxes->scores));
    } else if (!sn_call_failed(c)) {
        boxes->candidate = count_up(c, SN_I64, boxes->scores->type.dim[0], 0);
    }
    Value *order = order_by(c, gathered(c, boxes->scores, boxes->candidate, 0), true);
    boxes->candidate = gathered(c, boxes->candidate, order, 0);
    boxes->class = whole_of(c, boxes->candidate, boxes->each);
    take(c, boxes, order_by(c, boxes->class, false));
}

/* Box `at` of all [M] -> its least and greatest coordinate on either axis, [M]. */
static void find_sides(Call *c, const Boxes *boxes, Value *at, Value *low[2], Value *high[2]) {
    bool centered = sn_call_int(c, "center_point_box", 0) != 0;
    Dim rows = sn_dim_mul(c->dims, boxes->batches, boxes->each), four = sn_dim(c->dims, 4),
        one = sn_dim(c->dims, 1);
    Value *box = gathered(c, reshaped(c, c->input[0], 2, (Dim[]){rows, four}), at, 0), *side[4];
    if (sn_call_failed(c)) return;
    Dim count = box->type.dim[0];
    for (int k = 0; k < 4; k++) side[k] = reshaped(c, sliced(c, box, 1, sn_dim(c->dims, k), one), 1, &count);
    for (int k = 0; k < 2; k++) {
        Value *half = op_number(c, SN_OP_MUL, side[2 + k], 0.5);
        low[k] = op2(c, centered ? SN_OP_SUB : SN_OP_MIN, side[k], centered ? half : side[2 + k]);
        high[k] = op2(c, centered ? SN_OP_ADD : SN_OP_MAX, side[k], centered ? half : side[2 + k]);
    }
}

static Value *area_of(Call *c, Value *const low[2], Value *const high[2]) {
    return op2(c, SN_OP_MUL, op2(c, SN_OP_SUB, high[0], low[0]), op2(c, SN_OP_SUB, high[1], low[1]));
}

static Value *is_positive(Call *c, Value *x) {
    return sn_call_failed(c) ? NULL : op2(c, SN_OP_LESS, sn_call_scalar(c, x->type.dtype, 0), x);
}

/* [M, M]: whether two candidates of one class share more than `most` of what they cover together. */
static Value *overlaps(Call *c, const Boxes *boxes, Value *most) {
    Value *low[2] = {0}, *high[2] = {0}, *both_low[2], *both_high[2];
    Value *place = rest_of(c, boxes->candidate, boxes->class, boxes->each);
    Value *batch = whole_of(c, boxes->class, boxes->classes);
    Value *at = op2(c, SN_OP_ADD, op2(c, SN_OP_MUL, batch, size_number(c, boxes->each, SN_I64)), place);
    find_sides(c, boxes, at, low, high);
    Value *area = area_of(c, low, high);
    if (sn_call_failed(c)) return NULL;
    for (int k = 0; k < 2; k++) {
        both_low[k] = op2(c, SN_OP_MAX, low[k], sn_call_unsqueeze(c, low[k], 1, 1));
        both_high[k] = op2(c, SN_OP_MIN, high[k], sn_call_unsqueeze(c, high[k], 1, 1));
    }
    Value *hit = op2(c, SN_OP_AND, is_positive(c, area), is_positive(c, sn_call_unsqueeze(c, area, 1, 1)));
    for (int k = 0; k < 2; k++) hit = op2(c, SN_OP_AND, hit, op2(c, SN_OP_LESS, both_low[k], both_high[k]));
    Value *other = sn_call_unsqueeze(c, area, 1, 1), *shared = area_of(c, both_low, both_high);
    Value *covered = op2(c, SN_OP_SUB, op2(c, SN_OP_ADD, area, other), shared);
    return op2(c, SN_OP_AND, hit, op2(c, SN_OP_LESS, most, op2(c, SN_OP_DIV, shared, covered)));
}

/* [M]: of each candidate how many of those that `counts` [M] of i32 counts are of its class or earlier ones, or with `earlier` of
 * earlier ones. */
static Value *counted(Call *c, const Boxes *boxes, Value *counts, bool earlier) {
    Value *class = as_type(c, boxes->class, SN_I32);
    Value *all = count_up(c, SN_I32, sn_dim_mul(c->dims, boxes->batches, boxes->classes), 1);
    Value *of_these = op2(c, earlier ? SN_OP_LESS : SN_OP_LESS_EQUAL, class, all);
    Value *number = choose(c, of_these, counts, sn_call_scalar(c, SN_I32, 0));
    return gathered(c, reduce_axis(c, SN_OP_REDUCE_SUM, number, 1, false), class, 0);
}

/* What no better box hits: of its class, where the list goes on with others. */
static Value *sifted(Call *c, const Boxes *boxes, Value *hits) {
    if (sn_call_failed(c)) return NULL;
    Value *one = expanded(c, sn_call_scalar(c, SN_I32, 1), 1, hits->type.dim);
    return op2(c, SN_OP_SIFT, hits, as_type(c, counted(c, boxes, one, false), SN_I64));
}

/* Of what stays the first `most` of each class: those before it in the list less those of earlier classes. */
static Value *limited(Call *c, const Boxes *boxes, Value *stays) {
    Value *most = setting(c, 2, SN_I64);
    Dim known = sn_call_failed(c) ? NULL : sn_call_known_dim(c, most);
    if (sn_call_failed(c) || (known && sn_dim_le(c->dims, boxes->each, known))) return stays;
    Value *number = as_type(c, stays, SN_I32), *earlier = counted(c, boxes, number, true);
    Value *running = sn_build1(c->builder, SN_OP_CUMSUM, &(AttrScan){.axis = 0}, number);
    most = as_type(c, op_number(c, SN_OP_MIN, most, INT32_MAX), SN_I32);
    return op2(c, SN_OP_AND, stays, op2(c, SN_OP_LESS_EQUAL, op2(c, SN_OP_SUB, running, earlier), most));
}

Value *sn_import_nms(Call *c) {
    Boxes boxes = {0};
    Value *most = setting(c, 3, SN_F32);
    if (sn_call_failed(c) || !check_boxes(c, &boxes)) return NULL;
    choose_candidates(c, &boxes);
    Value *stays = limited(c, &boxes, sifted(c, &boxes, overlaps(c, &boxes, most)));
    take(c, &boxes, sn_call_places(c, stays));
    Value *batch = whole_of(c, boxes.class, boxes.classes);
    Value *part[3] = {batch, rest_of(c, boxes.class, batch, boxes.classes),
                      rest_of(c, boxes.candidate, boxes.class, boxes.each)};
    for (int k = 0; k < 3 && !sn_call_failed(c); k++) part[k] = sn_call_unsqueeze(c, part[k], 1, 1);
    return joined(c, 1, 3, part);
}
