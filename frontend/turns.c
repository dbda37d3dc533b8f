#include "turns.h"

#include "import_compose.h"
#include "sequence.h"
#include "sizes.h"
#include "taken.h"

#include <string.h>

enum { TURNS_ROOM = 1 << 20 /* between the numbers of a loop's turns in turns of the loop around it */ };

/* The graph of a turn, while its nodes are imported. A carried sequence that is only added to is none: what each turn adds
 * is kept. */
struct Turn {
    Import *outer;
    Import import;
    Map *captured;        /* Value * -> Value *: what the turn has of it */
    SN_VEC(Value *) from; /* what it is given besides the carried values, in the order of its params */
    int symbols;          /* of the graph outside, which the turn's has under the same numbers */
    bool *used;           /* those of them that the turn mentions */
    bool **varies;        /* per carried value: the axes whose extents change from turn to turn */
    Value **out;          /* whether another turn follows, carried, kept */
};

/* ---- what comes in ---- */

static void use_symbol(void *user, int symbol) {
    ((Turn *)user)->used[symbol] = true;
}

static Dim carry(Turn *turn, Dim dim) {
    sn_dim_symbols(dim, use_symbol, turn);
    return sn_dim_replace(turn->import.graph->dims, dim, NULL, NULL, 0);
}

static Type carry_type(Turn *turn, Type type) {
    Dim *extent = SN_ARRAY(turn->import.graph->arena, Dim, type.rank);
    for (int k = 0; k < type.rank; k++) extent[k] = carry(turn, type.dim[k]);
    return (Type){type.dtype, type.rank, extent};
}

/* Sizes, as numbers. */
static Value *capture_known(Turn *turn, Builder *builder, const Value *value, int64_t count) {
    Type type = carry_type(turn, value->type);
    Dim *element = SN_ARRAY(turn->import.scratch, Dim, count);
    for (int64_t i = 0; i < count; i++) element[i] = carry(turn, value->known[i]);
    Value *made = sn_build_dims(builder, (int)count, element, type.rank == 0);
    if (made && type.rank > 1) made = sn_build_reshape(builder, made, type.rank, type.dim);
    return made ? sn_build_cast(builder, made, type.dtype) : NULL;
}

static Value *capture(Turn *turn, Builder *builder, Value *value) {
    int64_t count;
    const Node *producer = value->producer;
    Value *made;
    if (producer && producer->op == SN_OP_CONSTANT)
        made = sn_build_constant(builder, ((const AttrConstant *)producer->attr)->tensor);
    else if (value->known && value->type.dtype != SN_BOOL &&
             sn_dim_is(sn_type_count(turn->outer->graph->dims, value->type), &count))
        return capture_known(turn, builder, value, count);
    else {
        made = sn_graph_input(turn->import.graph, NULL, carry_type(turn, value->type));
        sn_push(turn->import.scratch, &turn->from, value);
    }
    if (made && value->name) made->name = sn_arena_string(turn->import.graph->arena, value->name);
    return made;
}

/* What a turn has of a value from outside. */
static Status capture_value(Turn *turn, Value *value, Value **out) {
    if (sn_sequence_of(turn->outer, value))
        return sn_fail(SN_UNSUPPORTED, "a sequence from outside of a loop whose turns only a run counts");
    void **slot = sn_map_at(turn->captured, &value, sizeof value);
    Builder builder = {.graph = turn->import.graph, .region = turn->import.graph->body};
    builder.group = builder.graph->next_group++;
    if (!*slot) *slot = capture(turn, &builder, value);
    *out = *slot;
    if (*out) *sn_map_at(turn->import.captures, out, sizeof *out) = value;
    return builder.status;
}

Value *sn_turn_number(Turn *turn) {
    Builder *builder = &turn->import.builder;
    Value *own = turn->import.graph->body->param.at[0];
    Value *around = turn->outer->turn ? sn_turn_number(turn->outer->turn) : NULL, *captured;
    if (!around) return own;
    Status status = capture_value(turn, around, &captured);
    if (!builder->status)
        builder->status = status;
    else
        sn_error_free(status);
    if (builder->status) return NULL;
    Value *room = sn_build_scalar(builder, SN_I64, TURNS_ROOM);
    return sn_build2(builder, SN_OP_ADD, NULL, own, sn_build2(builder, SN_OP_MUL, NULL, captured, room));
}

static Value *carried_param(Turn *turn, const Value *initial, const bool *varies) {
    Graph *graph = turn->import.graph;
    Type type = initial->type;
    Dim *extent = SN_ARRAY(graph->arena, Dim, type.rank);
    for (int k = 0; k < type.rank; k++)
        extent[k] = varies[k] ? sn_dim_fresh(graph->dims, "carried") : carry(turn, type.dim[k]);
    return sn_graph_input(graph, NULL, (Type){type.dtype, type.rank, extent});
}

static bool is_list(const Import *outer, const TurnsOf *of, int k) {
    return sn_sequence_of(outer, of->initial[k]) != NULL;
}

static Value *scanned_element(Turn *turn, const TurnsOf *of, const Scanned *scan, Value *number) {
    Builder *builder = &turn->import.builder;
    Value *whole;
    Status status = capture_value(turn, scan->value, &whole);
    if (status) {
        sn_error_free(builder->status);
        builder->status = status;
        return NULL;
    }
    if (scan->reverse) {
        Dim last = sn_dim_addc(builder->graph->dims, carry(turn, of->length), -1);
        number = sn_build2(builder, SN_OP_SUB, NULL, sn_build_dims(builder, 1, &last, true), number);
    }
    return number ? sn_build2(builder, SN_OP_GATHER, &(AttrAxis){scan->axis}, whole, number) : NULL;
}

/* ---- one turn ---- */

static Turn *new_turn(Call *c, const TurnsOf *of, bool **varies) {
    Arena *scratch = c->import->scratch;
    const Graph *around = c->import->graph;
    Turn *turn = SN_NEW(scratch, Turn);
    *turn =
        (Turn){.outer = c->import, .import = *c->import, .captured = sn_map_new(scratch), .varies = varies};
    Import *import = &turn->import;
    import->graph = sn_graph_new(around->arena, "turn");
    import->graph->file = around->file;
    import->builder = (Builder){.graph = import->graph, .region = import->graph->body};
    import->size_values.at = NULL, import->size_values.count = import->size_values.capacity = 0;
    import->loops.at = NULL, import->loops.count = import->loops.capacity = 0;
    import->decided = sn_map_new(scratch);
    import->made = sn_map_new(scratch);
    import->sequences = sn_map_new(scratch);
    import->taken = NULL;
    import->turn = turn;
    import->around = c->import;
    import->captures = sn_map_new(scratch);
    import->chance = false;
    import->scope = sn_scope_new(import, c->import->scope);
    import->scope->turn = turn;
    import->scope->outside = turn->outer;
    import->scope->capture = capture_value;
    turn->symbols = sn_dims_symbol_count(around->dims);
    turn->used = SN_ARRAY(scratch, bool, turn->symbols);
    turn->out = SN_ARRAY(scratch, Value *, 1 + of->carried + of->kept);
    sn_dims_copy_symbols(import->graph->dims, around->dims);
    return turn;
}

Value *sn_turn_declared(Builder *builder, const Onnx__GraphProto *body, int k, Value *value) {
    const Onnx__TypeProto *type = body->input[k]->type;
    const Onnx__TensorShapeProto *shape = type && type->tensor_type ? type->tensor_type->shape : NULL;
    if (!value || !shape || shape->n_dim > 1 || (int)shape->n_dim == value->type.rank) return value;
    Dim one = sn_dim(builder->graph->dims, 1);
    return sn_build_reshape(builder, value, (int)shape->n_dim, &one);
}

static Status import_turn(Turn *turn, const TurnsOf *of) {
    Import *import = &turn->import;
    Graph *graph = import->graph;
    int inputs = (of->length ? 0 : 2) + of->carried + of->scanned, at = 0;
    Value **in = SN_ARRAY(import->scratch, Value *, inputs + 2);
    Value *number = sn_graph_input(graph, NULL, (Type){SN_I64, 0, NULL});
    Value *condition = sn_graph_input(graph, NULL, (Type){SN_BOOL, 0, NULL});
    for (int k = 0; k < 2 && !of->length; k++)
        in[at++] = sn_turn_declared(&import->builder, of->body, k, k ? condition : number);
    for (int k = 0; k < of->carried; k++)
        in[at++] = is_list(turn->outer, of, k) ? sn_sequence_stand(import, (Sequence){.open = 1 + k})
                                               : carried_param(turn, of->initial[k], turn->varies[k]);
    for (int k = 0; k < of->scanned; k++) in[at++] = scanned_element(turn, of, &of->scan[k], number);
    TRY(import->builder.status);
    TRY(sn_import_subgraph(import, of->body, NULL, inputs, in, turn->out + (of->length ? 1 : 0)));
    if (of->length) turn->out[0] = sn_build_scalar(&import->builder, SN_BOOL, 1);
    return import->builder.status;
}

/* What is wrong with what turn makes of carried value k, or NULL. */
static const char *carried_fault(const Turn *turn, const TurnsOf *of, int k) {
    const Sequence *list = sn_sequence_of(&turn->import, turn->out[1 + k]);
    if (is_list(turn->outer, of, k) && sn_sequence_of(turn->outer, of->initial[k])->nothing)
        return "an optional value without an element before the first turn";
    if (is_list(turn->outer, of, k)) {
        bool fits = list && list->open == 1 + k && list->count == 1 &&
                    !sn_sequence_of(&turn->import, list->element[0]);
        return fits ? NULL : "a sequence to whose end a turn does not add one tensor";
    }
    Type before = of->initial[k]->type, after = turn->out[1 + k]->type;
    if (list) return "a tensor that becomes a sequence";
    if (before.dtype != after.dtype) return "a value that changes its type from turn to turn";
    return before.rank != after.rank ? "a value that changes its rank from turn to turn" : NULL;
}

static const char *turn_fault(const Turn *turn, const TurnsOf *of) {
    for (int k = 0; k < of->carried; k++) {
        const char *fault = carried_fault(turn, of, k);
        if (fault) return fault;
    }
    for (int k = 0; k < of->kept; k++)
        if (sn_sequence_of(&turn->import, turn->out[1 + of->carried + k])) return "sequences that are kept";
    return sn_sequence_of(&turn->import, turn->out[0]) ? "a sequence as a condition" : NULL;
}

/* Notes the axes whose extents turn out to change; true where there are new ones. */
static bool note_changes(const Turn *turn, const TurnsOf *of) {
    bool any = false;
    for (int k = 0, param = 2; k < of->carried; k++) {
        if (is_list(turn->outer, of, k)) continue;
        Type before = turn->import.graph->body->param.at[param++]->type, after = turn->out[1 + k]->type;
        for (int axis = 0; axis < before.rank; axis++) {
            if (before.dim[axis] == after.dim[axis] || turn->varies[k][axis]) continue;
            turn->varies[k][axis] = any = true;
        }
    }
    return any;
}

/* Imports the body with the extents of the carried values as they are at first, and again where some of them change. What was
 * made for nothing is not counted. */
static bool find_turn(Call *c, const TurnsOf *of, Turn **out) {
    Import *import = c->import;
    Arena *scratch = import->scratch;
    int refused = import->refused, first = import->node_index;
    bool **varies = SN_ARRAY(scratch, bool *, of->carried);
    for (int k = 0; k < of->carried; k++) varies[k] = SN_ARRAY(scratch, bool, of->initial[k]->type.rank);
    do {
        import->node_index = first;
        Turn *turn = *out = new_turn(c, of, varies);
        Status status = import_turn(turn, of);
        import->node_index = turn->import.node_index;
        import->draws = turn->import.draws;
        import->refused = turn->import.refused;
        if (status) sn_call_latch(c, status);
        if (status || import->refused > refused) return false;
        const char *fault = turn_fault(turn, of);
        if (fault) sn_call_unsupported(c, "%s", fault);
        if (fault) return false;
    } while (note_changes(*out, of));
    return true;
}

/* ---- the loop ---- */

/* The carriers of the symbols that the turn shares with what is around it. */
static void add_carriers(const Turn *turn, GraphLoop *loop) {
    const Graph *around = turn->outer->graph;
    Graph *graph = turn->import.graph;
    Dim *size = SN_ARRAY(around->arena, Dim, turn->symbols);
    for (int i = 0; i < turn->symbols; i++)
        if (turn->used[i])
            size[loop->size_count++] = sn_dim_symbol(around->dims, sn_dims_symbol_name(around->dims, i));
    loop->size = size;
    for (int k = 0; k < sn_loop_carriers(loop); k++) {
        int count = sn_loop_carrier_sizes(loop, k);
        Dim *extent = SN_ARRAY(graph->arena, Dim, count + 1);
        extent[0] = sn_dim(graph->dims, 0); /* first: the product of the others may be no number */
        for (int i = 0; i < count; i++)
            extent[1 + i] = sn_dim_replace(graph->dims, size[k * SN_CARRIER_SIZES + i], NULL, NULL, 0);
        sn_graph_input(graph, NULL, (Type){SN_U8, count + 1, extent});
    }
}

static Status finish_turn(Turn *turn, const TurnsOf *of) {
    Import *import = &turn->import;
    if (turn->out[0]->type.dtype != SN_BOOL) return sn_fail(SN_INVALID, "a condition that is no bool");
    turn->out[0] = sn_build_reshape(&import->builder, turn->out[0], 0, NULL);
    TRY(import->builder.status);
    for (int k = 0; k < 1 + of->carried + of->kept; k++) sn_graph_output(import->graph, "", turn->out[k]);
    sn_import_ends(import);
    return NULL;
}

/* What the loop makes: its results, whose extents are those around where they are the same in all turns. */
typedef struct Making {
    Call *c;
    const Turn *turn;
    SN_VEC(LoopExtent) extent;
    SN_VEC(Value *) extent_value;
    SN_VEC(Value *) result;
} Making;

static Value *made_value(Making *m, Type type) {
    Import *import = m->c->import;
    Value *value = sn_graph_input(import->graph, NULL, type);
    *sn_map_at(import->made, &value, sizeof value) = value;
    return value;
}

static Dim decided(Making *m, int result, int axis) {
    Value *value = made_value(m, (Type){SN_I64, 0, NULL});
    sn_push(m->c->import->graph->arena, &m->extent, ((LoopExtent){result, axis}));
    sn_push(m->c->import->scratch, &m->extent_value, value);
    return sn_call_size(m->c, value, result < 0 ? "turns" : "extent", NULL);
}

static bool is_outside(Dim dim, int symbols) {
    if (dim->kind == SN_DIM_SYMBOL) return dim->value < symbols;
    for (int k = 0; k < dim->count; k++)
        if (!is_outside(dim->operand[k], symbols)) return false;
    return true;
}

static void make_carried(Making *m, const TurnsOf *of, int k) {
    Type type = of->initial[k]->type;
    Dim *extent = SN_ARRAY(m->c->import->graph->arena, Dim, type.rank);
    for (int axis = 0; axis < type.rank; axis++)
        extent[axis] = m->turn->varies[k][axis] ? decided(m, k, axis) : type.dim[axis];
    sn_push(m->c->import->scratch, &m->result, made_value(m, (Type){type.dtype, type.rank, extent}));
}

static void make_kept(Making *m, const TurnsOf *of, int k, Dim turns) {
    Call *c = m->c;
    Type type = m->turn->out[1 + of->carried + k]->type;
    if (type.rank == SN_MAX_RANK) {
        sn_call_unsupported(c, "results of more than %d axes", SN_MAX_RANK);
        return;
    }
    Dim *extent = SN_ARRAY(c->import->graph->arena, Dim, type.rank + 1);
    extent[0] = turns;
    for (int axis = 0; axis < type.rank; axis++)
        extent[1 + axis] = is_outside(type.dim[axis], m->turn->symbols)
                               ? sn_dim_replace(c->dims, type.dim[axis], NULL, NULL, 0)
                               : decided(m, of->carried + k, 1 + axis);
    sn_push(c->import->scratch, &m->result, made_value(m, (Type){type.dtype, type.rank + 1, extent}));
}

/* In a branch that a run may leave out it makes no turns then. */
static Value *most_turns(Call *c, const TurnsOf *of) {
    Value *limit = of->length  ? size_number(c, of->length, SN_I64)
                   : of->limit ? of->limit
                               : sn_call_scalar(c, SN_I64, 0x1p62);
    const Taken *taken = c->import->taken;
    return taken ? choose(c, taken->flag, limit, sn_call_scalar(c, SN_I64, 0)) : limit;
}

static Value **list_taken(Call *c, const TurnsOf *of, const Turn *turn) {
    Value **list = SN_ARRAY(c->import->scratch, Value *, 2 + of->carried + turn->from.count), **next = list;
    *next++ = most_turns(c, of);
    *next++ = of->condition ? of->condition : sn_build_scalar(c->builder, SN_BOOL, 1);
    for (int k = 0; k < of->carried; k++) *next++ = of->initial[k];
    for (int k = 0; k < turn->from.count; k++) *next++ = turn->from.at[k];
    return list;
}

/* What remains where what turns add to sequences is kept: tensors are carried, and the sequences' elements kept last. */
static TurnsOf without_lists(Turn *turn, const TurnsOf *of) {
    Arena *scratch = turn->import.scratch;
    TurnsOf flat = *of;
    Value **initial = SN_ARRAY(scratch, Value *, of->carried),
          **list = SN_ARRAY(scratch, Value *, of->carried);
    Value **out = SN_ARRAY(scratch, Value *, 1 + of->carried + of->kept), **next = out;
    int lists = flat.carried = 0;
    *next++ = turn->out[0];
    for (int k = 0; k < of->carried; k++) {
        if (is_list(turn->outer, of, k)) {
            list[lists++] = sn_sequence_of(&turn->import, turn->out[1 + k])->element[0];
            continue;
        }
        turn->varies[flat.carried] = turn->varies[k];
        initial[flat.carried++] = of->initial[k];
        *next++ = turn->out[1 + k];
    }
    for (int k = 0; k < of->kept; k++) *next++ = turn->out[1 + of->carried + k];
    for (int k = 0; k < lists; k++) *next++ = list[k];
    turn->out = out;
    flat.kept += lists;
    flat.initial = initial;
    return flat;
}

/* What was in the sequence before, then what the turns have added. */
static Value *whole_sequence(Call *c, const Sequence *before, Value *added) {
    Value **part = SN_ARRAY(c->import->scratch, Value *, before->count + 2), **next = part;
    if (before->open) return sn_call_unsupported(c, "a sequence to which turns within turns add");
    if (before->whole) *next++ = before->whole;
    for (int k = 0; k < before->count; k++) *next++ = sn_call_unsqueeze(c, before->element[k], 0, 1);
    *next++ = added;
    Value *whole = joined(c, 0, (int)(next - part), part);
    return whole ? sn_sequence_stand(c->import, (Sequence){.whole = whole}) : NULL;
}

/* The results as the node has them, of those that remained without the sequences. */
static void give_out(Call *c, const TurnsOf *of, const TurnsOf *flat, Value *const *result, Value **out) {
    Value *const *kept = result + flat->carried, *const *list = kept + of->kept;
    for (int k = 0; k < of->carried; k++)
        out[k] = is_list(c->import, of, k)
                     ? whole_sequence(c, sn_sequence_of(c->import, of->initial[k]), *list++)
                     : *result++;
    for (int k = 0; k < of->kept; k++) out[of->carried + k] = kept[k];
}

/* Whether no run can ever end the loop. */
static bool is_endless(const Turn *turn, const TurnsOf *of) {
    double value;
    const Value *again = turn->out[0];
    bool as_given = again == turn->import.graph->body->param.at[1];
    if (of->limit || of->length) return false;
    if (as_given) return !of->condition || (sn_value_is_splat(of->condition, &value) && value != 0);
    return sn_value_is_splat(again, &value) && value != 0;
}

bool sn_import_turns(Call *c, const TurnsOf *given, Value **out) {
    Import *import = c->import;
    Turn *turn;
    if (import->chance)
        sn_call_unsupported(c, "turns that only a run counts, in a turn that a run may leave out");
    if (sn_call_failed(c) || !find_turn(c, given, &turn)) return false;
    if (is_endless(turn, given)) return sn_call_invalid(c, "turns without an end");
    TurnsOf flat = without_lists(turn, given), *of = &flat;
    GraphLoop loop = {.turn = turn->import.graph,
                      .carried = of->carried,
                      .captured = turn->from.count,
                      .kept = of->kept,
                      .origin = c->builder->origin};
    add_carriers(turn, &loop);
    Status status = finish_turn(turn, of);
    if (status) sn_call_latch(c, status);
    ImportLoop made = {.taken = list_taken(c, of, turn)}; /* before anything that reads what is made */
    Making m = {.c = c, .turn = turn};
    Dim turns = decided(&m, -1, 0);
    for (int k = 0; k < of->carried; k++) make_carried(&m, of, k);
    /* A scan in a branch that a run may leave out makes no turns then, however long it is. */
    Dim length = of->length && !import->taken ? of->length : turns;
    for (int k = 0; k < of->kept; k++) make_kept(&m, of, k, length);
    if (sn_call_failed(c)) return false;
    loop.extent = m.extent.at;
    loop.extent_count = m.extent.count;
    give_out(c, given, of, m.result.at, out);
    for (int i = 0; i < m.extent.count; i++) sn_push(import->scratch, &m.result, m.extent_value.at[i]);
    made.loop = loop;
    made.made = m.result.at;
    sn_push(import->scratch, &import->loops, made);
    return !sn_call_failed(c);
}
