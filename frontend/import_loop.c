/* Loops: each turn's nodes are written out, where that is possible. Where a run decides which of a few turns is the last one,
 * all that there may be are computed, and those behind it change nothing. Of other loops a run counts the turns (turns.h). */
#include "either.h"
#include "import_compose.h"
#include "turns.h"

enum {
    MOST_TURNS = 1 << 16,     /* that are written out */
    MOST_NODES = 1 << 16,     /* of the file, that the turns which surely count are written out as */
    MOST_CHANCES = 1024,      /* turns of a loop that a run may end before, where there is a bound */
    FEW_CHANCES = 16,         /* the same where there is none */
    MOST_CHANCE_NODES = 8192, /* of the file, that turns are written out as which a run may end before */
    MOST_DEPTH = 8            /* conditions of conditions */
};

/* One parameter or result of a body for each; a body says how many. */
typedef struct Loop {
    Call *c;
    const Onnx__GraphProto *body;
    Value *limit;      /* turns, where only a run knows how many of those below; or NULL */
    Value *active;     /* whether this turn counts; NULL: it does */
    Value *count;      /* turns that counted, since `active` is there */
    int surely;        /* turns before */
    int carried, kept; /* values that go from turn to turn, and those of which each turn's is kept */
    Value **in, **out; /* of the body */
    int first;         /* the number of the body's first node */
    bool
        counted; /* a run has to count the turns: there are too many to be written out, or they do not fit one another */
    Value **left; /* what the turns that counted have left of the carried values */
    struct {
        Value **at;
        int count, capacity;
    } * list; /* `kept` of them */
} Loop;

static bool start_loop(Loop *loop, int carried, int kept) {
    Arena *scratch = loop->c->import->scratch;
    loop->carried = carried, loop->kept = kept;
    loop->in = SN_ARRAY(scratch, Value *, loop->body->n_input + 1);
    loop->out = SN_ARRAY(scratch, Value *, loop->body->n_output + 1);
    loop->left = SN_ARRAY(scratch, Value *, carried + 1);
    loop->list = sn_arena_alloc(scratch, sizeof *loop->list * (size_t)(kept + 1));
    for (int k = 0; k < kept; k++) loop->list[k].at = NULL, loop->list[k].count = loop->list[k].capacity = 0;
    return true;
}

/* False after a failure, and where the body has a node that is not supported. */
static bool run_body(Loop *loop, int first_kept) {
    Call *c = loop->c;
    Builder builder = *c->builder;
    int refused = c->import->refused;
    bool chance = c->import->chance;
    c->import->chance = chance || loop->active;
    Status status =
        sn_import_subgraph(c->import, loop->body, NULL, (int)loop->body->n_input, loop->in, loop->out);
    *c->builder = builder;
    c->import->chance = chance;
    if (status) sn_call_latch(c, status);
    if (status || c->import->refused > refused) return false;
    for (int k = 0; k < loop->kept; k++)
        sn_push(c->import->scratch, &loop->list[k], loop->out[first_kept + k]);
    return true;
}

/* The turns' values side by side along a new axis. */
static Value *stacked(Loop *loop, int k, int64_t axis, bool reverse) {
    Call *c = loop->c;
    int count = loop->list[k].count;
    if (count == 0) return sn_call_unsupported(c, "results of no turns");
    Value **part = SN_ARRAY(c->import->scratch, Value *, count);
    int at = sn_call_axis(c, axis, loop->list[k].at[0]->type.rank + 1);
    for (int i = 0; i < count && !sn_call_failed(c); i++)
        part[reverse ? count - 1 - i : i] = sn_call_unsqueeze(c, loop->list[k].at[i], at, 1);
    return joined(c, at, count, part);
}

/* ---- Loop ---- */

/* Whether the import is for a training, which no loops can be part of. */
static bool is_trained(const Import *import) {
    return import->options && import->options->both_branches;
}

/* Another condition for a turn to count. */
static void need(Loop *loop, Value *condition) {
    Call *c = loop->c;
    condition = reshaped(c, condition, 0, NULL);
    loop->active = loop->active ? op2(c, SN_OP_AND, loop->active, condition) : condition;
}

/* Whether no run finds the condition true, as far as what it is put together of tells: a while whose condition is "a and b" is
 * written as an If of a, with b and false as its branches. */
static bool is_never(const Value *condition, int depth) {
    double value;
    if (sn_value_is_splat(condition, &value)) return value == 0;
    const Node *node = condition->producer;
    if (!node || depth-- == 0) return false;
    Value *const *of = node->input;
    if (node->op == SN_OP_VIEW || node->op == SN_OP_CAST) return is_never(of[0], depth);
    if (node->op == SN_OP_AND) return is_never(of[0], depth) || is_never(of[1], depth);
    return node->op == SN_OP_WHERE && is_never(of[1], depth) && is_never(of[2], depth);
}

/* Whether a turn is one more than can be written out, or the first one has shown that all will be. */
static bool too_many(const Loop *loop, int64_t turn, int64_t turns) {
    const Import *import = loop->c->import;
    int64_t made = import->node_index - loop->first;
    if (!loop->active)
        return turn == MOST_TURNS || made > MOST_NODES || import->node_index >= import->max_nodes;
    if (is_trained(import)) return turn >= MOST_CHANCES;
    return turn >= (turns <= MOST_CHANCES ? turns : FEW_CHANCES) || made > MOST_CHANCE_NODES;
}

/* False where the loop has certainly ended, where a run has to count its turns, and after a failure. */
static bool goes_on(Loop *loop, int64_t turn, int64_t turns, Value *condition) {
    Call *c = loop->c;
    double value;
    if (sn_call_failed(c) || (condition && is_never(condition, MOST_DEPTH))) return false;
    if (condition && !sn_value_is_splat(condition, &value)) need(loop, condition);
    loop->counted = too_many(loop, turn, turns);
    return !loop->counted && !sn_call_failed(c);
}

static Value *turn_number(Call *c, int64_t turn) {
    Dim number = sn_dim(c->dims, turn);
    return sn_build_dims(c->builder, 1, &number, true);
}

/* A turn that may not count. It does not fail, and the next turn goes on from it, which does not count either then: so numbers
 * that are known in each turn stay so. */
static bool run_chance(Loop *loop) {
    Call *c = loop->c;
    Region *region = c->builder->region;
    Node *before = region->last;
    Value *one = as_type(c, loop->active, SN_I64);
    int sizes = c->import->graph->sizes.count, checks = c->import->graph->checks.count;
    loop->count = loop->count ? op2(c, SN_OP_ADD, loop->count, one) : one;
    if (sn_call_failed(c) || !run_body(loop, 1 + loop->carried)) return false;
    if (c->import->graph->sizes.count > sizes)
        return sn_call_unsupported(c, "sizes that depend on data, in a turn that a run may leave out");
    if (!sn_either_guard(c, before ? before->next : region->first, loop->active)) return false;
    for (int k = 0; k < loop->carried; k++)
        if (sn_call_wants(c, k))
            loop->left[k] = sn_either_choose(c, loop->active, loop->out[1 + k], loop->left[k]);
    /* Sizes of a turn that is not made may be wrong, and those of one that is may change: neither is to be refused. */
    loop->counted = c->import->graph->checks.count > checks && !is_trained(c->import);
    return !loop->counted && !sn_call_failed(c);
}

static bool run_turns(Loop *loop, int64_t turns, Value *condition) {
    Call *c = loop->c;
    for (int64_t turn = 0; turn < turns; turn++) {
        if (!goes_on(loop, turn, turns, condition)) return !sn_call_failed(c);
        Value *go = condition ? condition : sn_build_scalar(c->builder, SN_BOOL, 1);
        loop->in[0] = sn_turn_declared(c->builder, loop->body, 0, turn_number(c, turn));
        loop->in[1] = sn_turn_declared(c->builder, loop->body, 1, go);
        if (loop->limit) need(loop, op2(c, SN_OP_LESS, loop->in[0], loop->limit));
        if (!loop->active) loop->surely++;
        if (sn_call_failed(c) || !(loop->active ? run_chance(loop) : run_body(loop, 1 + loop->carried)))
            return false;
        condition = loop->out[0];
        for (int k = 0; k < loop->carried; k++) loop->in[2 + k] = loop->out[1 + k];
        for (int k = 0; k < loop->carried && !loop->active; k++) loop->left[k] = loop->out[1 + k];
    }
    return true;
}

/* How many turns there are at most: a constant, a size with a bound, or a minimum with a constant. Where a run may say any
 * number, it counts the turns. */
static int64_t find_turns(Loop *loop) {
    Call *c = loop->c;
    Value *limit = sn_call_input(c, 0);
    int64_t turns = INT64_MAX;
    if (!limit) return turns;
    limit = reshaped(c, limit, 0, NULL);
    if (sn_call_failed(c)) return 0;
    Dim known = sn_call_known_dim(c, limit);
    if (known && sn_dim_is(known, &turns)) return turns;
    loop->limit = as_type(c, limit, SN_I64);
    if (known && sn_dim_upper(c->dims, known, &turns)) return turns;
    const Node *node = limit->producer;
    for (int k = 0; node && node->op == SN_OP_MIN && k < 2; k++) {
        Dim bound = sn_call_known_dim(c, node->input[k]);
        if (bound && sn_dim_is(bound, &turns)) return turns;
    }
    loop->counted = true;
    return 0;
}

/* What a turn would keep of its shape only a turn tells: of none, where one is never made, a run does. */
static bool keeps_nothing(Loop *loop) {
    for (int k = 0; k < loop->kept; k++)
        if (loop->list[k].count == 0 && sn_call_wants(loop->c, loop->carried + k)) loop->counted = true;
    return loop->counted;
}

/* What was kept of the turns that counted. */
static Value *kept_values(Loop *loop, int k) {
    Call *c = loop->c;
    Value *all = stacked(loop, k, 0, false);
    if (!loop->count || sn_call_failed(c)) return all;
    Value *count = op_number(c, SN_OP_ADD, loop->count, loop->surely);
    Dim turns = sn_call_size(c, count, "turns", sn_dim(c->dims, loop->list[k].count));
    return sliced(c, all, 0, sn_dim(c->dims, 0), turns);
}

/* False after a failure, and where a run has to count the turns. */
static bool write_out(Loop *loop, int64_t turns) {
    Call *c = loop->c;
    if (loop->counted || !run_turns(loop, turns, sn_call_input(c, 1)) || loop->counted) return false;
    for (int k = 0; k < loop->carried; k++) c->output[k] = loop->left[k];
    if (keeps_nothing(loop)) return false;
    for (int k = 0; k < loop->kept; k++)
        if (sn_call_wants(c, loop->carried + k)) c->output[loop->carried + k] = kept_values(loop, k);
    return !sn_call_failed(c);
}

/* Turns that fit one another where a run counts them may not fit where it leaves some out. */
static bool is_to_be_counted(const Loop *loop, ImportMark before) {
    const Call *c = loop->c;
    bool failed = sn_call_failed(c) || c->import->refused > before.refused;
    return loop->counted || (loop->active && failed && !c->import->chance);
}

/* What is not supported of turns that are written out is noted, unless a run counts them in their place. */
static void note_all(Import *import, const Map *problems) {
    for (int i = 0; i < sn_map_count(problems); i++) {
        const void *key;
        size_t bytes;
        const char *line = sn_map_entry(problems, i, &key, &bytes);
        void **slot = sn_map_at(import->problems, key, bytes);
        if (!*slot) *slot = (void *)line;
    }
}

/* In places of their own, to be gone back from. */
static bool write_out_alone(Loop *loop, int64_t turns) {
    Import *import = loop->c->import;
    Map *problems = import->problems, *own = import->problems = sn_map_new(import->scratch);
    ImportMark before = sn_import_mark(import);
    bool done = write_out(loop, turns);
    import->problems = problems;
    loop->counted = !done && is_to_be_counted(loop, before);
    if (!loop->counted) note_all(import, own);
    if (!loop->counted) return done;
    sn_error_free(loop->c->builder->status);
    loop->c->builder->status = NULL;
    sn_import_go_back(import, before);
    import->node_index = loop->first;
    return false;
}

static Value *count_turns(Loop *loop) {
    Call *c = loop->c;
    Value *limit = sn_call_input(c, 0), *condition = sn_call_input(c, 1);
    TurnsOf of = {.body = loop->body, .carried = loop->carried, .kept = loop->kept, .initial = c->input + 2};
    if (limit) of.limit = as_type(c, reshaped(c, limit, 0, NULL), SN_I64);
    if (condition) of.condition = reshaped(c, condition, 0, NULL);
    if (condition && !sn_call_failed(c) && condition->type.dtype != SN_BOOL)
        return sn_call_invalid(c, "a condition that is no bool");
    return !sn_call_failed(c) && sn_import_turns(c, &of, c->output) ? c->output[0] : NULL;
}

Value *sn_import_loop(Call *c) {
    Loop loop = {.c = c, .body = sn_call_graph(c, "body"), .first = c->import->node_index};
    if (sn_call_failed(c)) return NULL;
    int carried = c->input_count > 2 ? c->input_count - 2 : 0, outputs = (int)loop.body->n_output;
    if ((int)loop.body->n_input != carried + 2 || outputs < 1 + carried || c->output_count != outputs - 1)
        return sn_call_invalid(c, "a body of %zu inputs and %d outputs", loop.body->n_input, outputs);
    int64_t turns = find_turns(&loop);
    if (sn_call_failed(c)) return NULL;
    if (!start_loop(&loop, carried, outputs - 1 - carried)) return NULL;
    for (int k = 0; k < carried; k++) {
        loop.in[2 + k] = loop.left[k] = c->input[2 + k];
        if (!loop.in[2 + k]) return sn_call_invalid(c, "input %d is missing", 2 + k);
    }
    if (write_out_alone(&loop, turns)) return c->output[0];
    return loop.counted ? count_turns(&loop) : NULL;
}

/* ---- Scan ---- */

/* Entry k of an attribute with `count` entries; 0 where it is absent. */
static int64_t entry(Call *c, const char *name, int count, int k) {
    int given;
    const int64_t *list = sn_call_int_list(c, name, &given);
    if (list && given != count) sn_call_invalid(c, "%d %s instead of %d", given, name, count);
    return list && k < given ? list[k] : 0;
}

static Value *element_of(Call *c, Value *x, int axis, int64_t turn) {
    x = sliced(c, x, axis, sn_dim(c->dims, turn), sn_dim(c->dims, 1));
    if (sn_call_failed(c)) return NULL;
    Dim extent[SN_MAX_RANK];
    for (int k = 0; k < x->type.rank; k++)
        if (k != axis) extent[k - (k > axis)] = x->type.dim[k];
    return reshaped(c, x, x->type.rank - 1, extent);
}

/* The axis of input k of those that are scanned. */
static int scanned_axis(Loop *loop, int scanned, int k) {
    Call *c = loop->c;
    int64_t axis = entry(c, "scan_input_axes", scanned, k);
    return sn_call_failed(c) ? 0 : sn_call_axis(c, axis, c->input[loop->carried + k]->type.rank);
}

/* Every input that is scanned has as many elements. Where they are many or only known in a run, it counts them. */
static int64_t scan_length(Loop *loop, int scanned) {
    Call *c = loop->c;
    int64_t length = 0, own;
    for (int k = 0; k < scanned && !sn_call_failed(c) && !loop->counted; k++) {
        const Value *x = c->input[loop->carried + k];
        int axis = scanned_axis(loop, scanned, k);
        if (sn_call_failed(c)) return 0;
        loop->counted = !sn_dim_is(x->type.dim[axis], &own) || own > MOST_TURNS;
        if (k > 0 && !loop->counted && own != length) sn_call_invalid(c, "inputs of different lengths");
        length = own;
    }
    return length;
}

/* False after a failure, and where a run has to count the turns. */
static bool run_scan(Loop *loop, int scanned) {
    Call *c = loop->c;
    int states = loop->carried;
    int64_t length = scan_length(loop, scanned);
    for (int k = 0; k < states; k++) loop->in[k] = c->input[k];
    for (int64_t turn = 0; turn < length && !loop->counted; turn++) {
        for (int k = 0; k < scanned && !sn_call_failed(c); k++) {
            bool reverse = entry(c, "scan_input_directions", scanned, k) != 0;
            loop->in[states + k] = element_of(c, c->input[states + k], scanned_axis(loop, scanned, k),
                                              reverse ? length - 1 - turn : turn);
        }
        if (sn_call_failed(c) || !run_body(loop, states)) return false;
        for (int k = 0; k < states; k++) loop->in[k] = loop->out[k];
        loop->counted = too_many(loop, turn, length);
    }
    return !loop->counted && !sn_call_failed(c);
}

/* What was kept, turn after turn along the first axis, as the node wants it. */
static Value *arranged(Call *c, Value *all, int64_t axis, bool reverse) {
    int order[SN_MAX_RANK], rank = all->type.rank, to = sn_call_axis(c, axis, rank);
    Dim turns = all->type.dim[0];
    if (reverse) all = sn_build_slice(c->builder, all, 0, sn_dim_addc(c->dims, turns, -1), turns, -1);
    for (int k = 0; k < rank; k++) order[k] = k == to ? 0 : k < to ? k + 1 : k;
    return transposed(c, all, order);
}

static bool count_scan(Loop *loop, int scanned) {
    Call *c = loop->c;
    Scanned *scan = SN_ARRAY(c->import->scratch, Scanned, scanned);
    Dim length = NULL;
    for (int k = 0; k < scanned; k++) {
        Value *x = c->input[loop->carried + k];
        int axis = scanned_axis(loop, scanned, k);
        bool reverse = entry(c, "scan_input_directions", scanned, k) != 0;
        if (sn_call_failed(c)) return false;
        scan[k] = (Scanned){x, axis, reverse};
        if (!length) length = x->type.dim[axis];
        Status status =
            sn_graph_check(c->import->graph, SN_CHECK_EQUAL, x->type.dim[axis], length, c->builder->origin);
        if (status) sn_call_latch(c, status);
    }
    TurnsOf of = {.body = loop->body,
                  .length = length,
                  .carried = loop->carried,
                  .kept = loop->kept,
                  .scanned = scanned,
                  .initial = c->input,
                  .scan = scan};
    if (sn_call_failed(c) || !sn_import_turns(c, &of, c->output)) return false;
    for (int k = 0; k < loop->kept; k++) {
        Value **kept = &c->output[loop->carried + k];
        int64_t axis = entry(c, "scan_output_axes", loop->kept, k);
        bool reverse = entry(c, "scan_output_directions", loop->kept, k) != 0;
        *kept = sn_call_failed(c) ? NULL : arranged(c, *kept, axis, reverse);
    }
    return !sn_call_failed(c);
}

static bool write_out_scan(Loop *loop, int scanned) {
    Call *c = loop->c;
    if (!run_scan(loop, scanned) || keeps_nothing(loop)) return false;
    for (int k = 0; k < loop->carried; k++) c->output[k] = loop->in[k];
    for (int k = 0; k < loop->kept; k++) {
        int64_t axis = entry(c, "scan_output_axes", loop->kept, k);
        bool reverse = entry(c, "scan_output_directions", loop->kept, k) != 0;
        if (sn_call_wants(c, loop->carried + k))
            c->output[loop->carried + k] = stacked(loop, k, axis, reverse);
    }
    return !sn_call_failed(c);
}

Value *sn_import_scan(Call *c) {
    Import *import = c->import;
    Loop loop = {.c = c, .body = sn_call_graph(c, "body"), .first = import->node_index};
    int64_t scanned = sn_call_int(c, "num_scan_inputs", 0);
    if (sn_call_failed(c)) return NULL;
    int64_t states = c->input_count - scanned;
    int outputs = (int)loop.body->n_output;
    if (scanned < 1 || states < 0 || (int)loop.body->n_input != c->input_count || outputs < states ||
        c->output_count != outputs)
        return sn_call_invalid(c, "a body of %zu inputs and %d outputs", loop.body->n_input, outputs);
    ImportMark before = sn_import_mark(import);
    if (!start_loop(&loop, (int)states, outputs - (int)states)) return NULL;
    if (write_out_scan(&loop, (int)scanned)) return c->output[0];
    if (!loop.counted || sn_call_failed(c)) return NULL;
    sn_import_go_back(import, before);
    import->node_index = loop.first;
    return count_scan(&loop, (int)scanned) ? c->output[0] : NULL;
}
