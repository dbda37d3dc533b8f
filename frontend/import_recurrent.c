/* RNN, GRU and LSTM: one product of all inputs, and one of the state a step. A known number of steps is written out; where
 * only a run knows how many there are, or they are many, `recurrent` walks them. */
#include "import_compose.h"
#include "recurrent.h"

#include <string.h>

enum { MOST_STEPS = 512 /* that are written out */ };

/* The row's parameter. */
enum { SIMPLE = SN_RECURRENT_SIMPLE, GATED = SN_RECURRENT_GATED, LONG_SHORT = SN_RECURRENT_LONG_SHORT };

typedef struct Cell Cell;
typedef void StepFunction(Cell *cell, Value *x);

/* One direction. The products' columns are the gates, `hidden` each. */
struct Cell {
    Call *c;
    int64_t hidden;
    StepFunction *step;
    Value *input;                   /* [T, B, gates]: of all steps, with both biases but for those below */
    Value *recurrent, *bias;        /* [H, gates]; [gates], added to the state's product */
    Value *peep[3];                 /* LSTM: [H] of the input, output and forget gates, or NULL */
    Value *h, *s;                   /* the state [B, H], and LSTM's cell */
    OpCode gate, candidate, output; /* activations */
    bool late_reset;                /* GRU: linear_before_reset */
};

static Value *add(Call *c, Value *a, Value *b) {
    return op2(c, SN_OP_ADD, a, b);
}

static Value *multiply(Call *c, Value *a, Value *b) {
    return op2(c, SN_OP_MUL, a, b);
}

/* Gate k of a last axis that has several. */
static Value *gate_of(const Cell *cell, Value *x, int k) {
    if (sn_call_failed(cell->c)) return NULL;
    Dims *dims = cell->c->dims;
    return sliced(cell->c, x, x->type.rank - 1, sn_dim(dims, cell->hidden * k), sn_dim(dims, cell->hidden));
}

/* h·R + bias of `count` gates from the first one on. */
static Value *of_state(const Cell *cell, Value *h, int first, int count) {
    Dims *dims = cell->c->dims;
    Dim start = sn_dim(dims, cell->hidden * first), width = sn_dim(dims, cell->hidden * count);
    Value *weight = sliced(cell->c, cell->recurrent, 1, start, width);
    Value *product = op2(cell->c, SN_OP_MATMUL, h, weight);
    return cell->bias ? add(cell->c, product, sliced(cell->c, cell->bias, 0, start, width)) : product;
}

/* ---- steps: x is the product of the step's input, [B, gates] ---- */

static void simple_step(Cell *cell, Value *x) {
    cell->h = op1(cell->c, cell->candidate, add(cell->c, x, of_state(cell, cell->h, 0, 1)));
}

/* Gates: update, reset, candidate. After Cho et al. (2014). */
static void gated_step(Cell *cell, Value *x) {
    Call *c = cell->c;
    Value *both = of_state(cell, cell->h, 0, 2);
    Value *update = op1(c, cell->gate, add(c, gate_of(cell, x, 0), gate_of(cell, both, 0)));
    Value *reset = op1(c, cell->gate, add(c, gate_of(cell, x, 1), gate_of(cell, both, 1)));
    Value *state = cell->late_reset ? multiply(c, reset, of_state(cell, cell->h, 2, 1))
                                    : of_state(cell, multiply(c, reset, cell->h), 2, 1);
    Value *candidate = op1(c, cell->candidate, add(c, gate_of(cell, x, 2), state));
    Value *kept = multiply(c, update, op2(c, SN_OP_SUB, cell->h, candidate));
    cell->h = add(c, candidate, kept);
}

static Value *peeped(Cell *cell, Value *sum, int k) {
    return cell->peep[k] ? add(cell->c, sum, multiply(cell->c, cell->peep[k], cell->s)) : sum;
}

/* Gates: input, output, forget, candidate. After Hochreiter and Schmidhuber (1997) and Gers et al. (2002). */
static void long_short_step(Cell *cell, Value *x) {
    Call *c = cell->c;
    Value *all = add(c, x, of_state(cell, cell->h, 0, 4));
    Value *input = op1(c, cell->gate, peeped(cell, gate_of(cell, all, 0), 0));
    Value *forget = op1(c, cell->gate, peeped(cell, gate_of(cell, all, 2), 2));
    Value *candidate = op1(c, cell->candidate, gate_of(cell, all, 3));
    cell->s = add(c, multiply(c, forget, cell->s), multiply(c, input, candidate));
    Value *output = op1(c, cell->gate, peeped(cell, gate_of(cell, all, 1), 1));
    cell->h = multiply(c, output, op1(c, cell->output, cell->s));
}

/* ---- what a node says ---- */

typedef struct Network {
    int kind, gates, directions;
    bool reverse, batch_first;
    int64_t hidden, steps; /* steps to be written out, or 0 */
    Value *x, *lengths;    /* [T, B, I]; i64 [B, 1] or NULL */
} Network;

static OpCode activation_of(Call *c, const char *name) {
    if (strcmp(name, "Sigmoid") == 0) return SN_OP_SIGMOID;
    if (strcmp(name, "Tanh") == 0) return SN_OP_TANH;
    if (strcmp(name, "Relu") != 0) sn_call_unsupported(c, "activation %.16s", name);
    return SN_OP_RELU;
}

static void read_activations(Call *c, const Network *n, int direction, Cell *cell) {
    static const int wanted[] = {[SIMPLE] = 1, [GATED] = 2, [LONG_SHORT] = 3};
    int count, each = wanted[n->kind];
    const char *const *names = sn_call_string_list(c, "activations", &count);
    if (names && count != each * n->directions) sn_call_invalid(c, "%d activations", count);
    cell->gate = SN_OP_SIGMOID, cell->candidate = cell->output = SN_OP_TANH;
    if (!names || sn_call_failed(c)) return;
    names += each * direction;
    if (n->kind != SIMPLE) cell->gate = activation_of(c, names[0]);
    cell->candidate = activation_of(c, names[n->kind != SIMPLE]);
    if (n->kind == LONG_SHORT) cell->output = activation_of(c, names[2]);
}

/* Whether an operand, if it is there, has the network's directions, and behind them `count` columns of all gates or units: what
 * is cut out of it lies inside. */
static bool fits(Call *c, const Network *n, const Value *x, int rank, int64_t count) {
    if (!x || sn_call_failed(c)) return !x;
    if (x->type.rank != rank) return sn_call_invalid(c, "operands of ranks that do not fit");
    Dim wanted[2] = {sn_dim(c->dims, n->directions), sn_dim_mulc(c->dims, sn_dim(c->dims, n->hidden), count)};
    for (int k = 0; k < 2; k++) {
        Status status =
            sn_graph_check(c->import->graph, SN_CHECK_EQUAL, x->type.dim[k], wanted[k], c->builder->origin);
        if (status) return sn_call_latch(c, sn_status_prefix(status, "weights and biases"));
    }
    return true;
}

static bool fit_operands(Call *c, const Network *n) {
    return fits(c, n, c->input[1], 3, n->gates) && fits(c, n, c->input[2], 3, n->gates) &&
           fits(c, n, sn_call_input(c, 3), 2, 2 * n->gates) &&
           (n->kind != LONG_SHORT || fits(c, n, sn_call_input(c, 7), 2, 3));
}

static bool read_network(Call *c, Network *n) {
    const char *direction = sn_call_string(c, "direction", "forward");
    *n = (Network){.kind = (int)c->row->parameter, .x = c->input[0]};
    n->gates = sn_recurrent_gates(n->kind);
    n->directions = 1 + (strcmp(direction, "bidirectional") == 0);
    n->reverse = strcmp(direction, "reverse") == 0;
    n->batch_first = sn_call_int(c, "layout", 0) != 0;
    if (sn_call_has(c, "clip")) return sn_call_unsupported(c, "clip");
    if (n->kind == LONG_SHORT && sn_call_int(c, "input_forget", 0) != 0)
        return sn_call_unsupported(c, "coupled gates");
    if (n->x->type.rank != 3 || c->input[1]->type.rank != 3 || c->input[2]->type.rank != 3)
        return sn_call_invalid(c, "operands of ranks that do not fit");
    if (n->batch_first) n->x = sn_call_swap(c, n->x, 0, 1);
    if (!sn_dim_is(c->input[2]->type.dim[2], &n->hidden))
        return sn_call_unsupported(c, "weights of a size that is not known");
    if (sn_call_int(c, "hidden_size", n->hidden) != n->hidden)
        return sn_call_invalid(c, "hidden_size is not the weights'");
    if (!fit_operands(c, n)) return false;
    if (!sn_dim_is(n->x->type.dim[0], &n->steps) || n->steps < 1 || n->steps > MOST_STEPS) n->steps = 0;
    if (!n->steps && n->hidden > SN_RECURRENT_UNITS)
        return sn_call_unsupported(c, "%lld units, with steps that are not written out",
                                   (long long)n->hidden);
    Value *lengths = sn_call_input(c, 4);
    n->lengths = lengths ? sn_call_unsqueeze(c, as_type(c, lengths, SN_I64), 1, 1) : NULL;
    return !sn_call_failed(c);
}

/* ---- one direction ---- */

/* [directions, …] of one direction, without the first axis. */
static Value *of_direction(Call *c, Value *x, int direction) {
    if (sn_call_failed(c) || !x) return NULL;
    Value *part = sliced(c, x, 0, sn_dim(c->dims, direction), sn_dim(c->dims, 1));
    return reshaped(c, part, x->type.rank - 1, x->type.dim + 1);
}

static Value *first_state(Call *c, const Network *n, int input, int direction) {
    Value *given = sn_call_input(c, input);
    Dim extent[2] = {n->x->type.dim[1], sn_dim(c->dims, n->hidden)};
    if (!given) return expanded(c, sn_call_scalar(c, n->x->type.dtype, 0), 2, extent);
    return of_direction(c, n->batch_first ? sn_call_swap(c, given, 0, 1) : given, direction);
}

static Cell start_cell(Call *c, const Network *n, int direction) {
    static StepFunction *const step[] = {simple_step, gated_step, long_short_step};
    Cell cell = {.c = c, .hidden = n->hidden, .step = step[n->kind]};
    Dim gates = sn_dim(c->dims, n->hidden * n->gates);
    Value *bias = of_direction(c, sn_call_input(c, 3), direction),
          *weight = of_direction(c, c->input[1], direction);
    cell.input = op2(c, SN_OP_MATMUL, n->x, sn_call_swap(c, weight, 0, 1));
    if (bias) cell.input = add(c, cell.input, sliced(c, bias, 0, sn_dim(c->dims, 0), gates));
    if (bias) cell.bias = sliced(c, bias, 0, gates, gates);
    weight = of_direction(c, c->input[2], direction);
    cell.recurrent = sn_call_swap(c, weight, 0, 1);
    cell.h = first_state(c, n, 5, direction);
    if (n->kind == LONG_SHORT) {
        Value *peep = of_direction(c, sn_call_input(c, 7), direction);
        cell.s = first_state(c, n, 6, direction);
        for (int k = 0; peep && k < 3; k++) cell.peep[k] = gate_of(&cell, peep, k);
    }
    if (n->kind == GATED) cell.late_reset = sn_call_int(c, "linear_before_reset", 0) != 0;
    read_activations(c, n, direction, &cell);
    return cell;
}

/* Steps beyond a sequence's length leave the state as it is, and give 0. y: [1, B, H] of each step. */
static void run_cell(Cell *cell, const Network *n, bool reverse, Value **y) {
    Call *c = cell->c;
    for (int64_t i = 0; i < n->steps && !sn_call_failed(c); i++) {
        int64_t t = reverse ? n->steps - 1 - i : i;
        Value *h = cell->h, *s = cell->s;
        Value *x = sliced(c, cell->input, 0, sn_dim(c->dims, t), sn_dim(c->dims, 1));
        cell->step(cell, sn_call_failed(c) ? NULL : reshaped(c, x, 2, x->type.dim + 1));
        Value *given = cell->h;
        if (n->lengths) {
            Value *live = op2(c, SN_OP_LESS, sn_call_scalar(c, SN_I64, (double)t), n->lengths);
            given = choose(c, live, given, sn_call_scalar(c, n->x->type.dtype, 0));
            cell->h = choose(c, live, cell->h, h);
            if (s) cell->s = choose(c, live, cell->s, s);
        }
        y[t] = sn_call_unsqueeze(c, given, 0, 1);
    }
}

/* ---- steps that only a run knows ---- */

static int function_of(OpCode op) {
    return op == SN_OP_SIGMOID ? SN_RECURRENT_SIGMOID
           : op == SN_OP_TANH  ? SN_RECURRENT_TANH
                               : SN_RECURRENT_RELU;
}

/* [T + 1, B, parts·H]: the first state and that after each step. */
static Value *walk_steps(Cell *cell, const Network *n, int direction, bool reverse) {
    Call *c = cell->c;
    Value *peep = n->kind == LONG_SHORT ? of_direction(c, sn_call_input(c, 7), direction) : NULL;
    Value *state = cell->s ? joined(c, 1, 2, (Value *[]){cell->h, cell->s}) : cell->h;
    if (sn_call_failed(c)) return NULL;
    AttrRecurrent attr = {.kind = n->kind,
                          .gate = function_of(cell->gate),
                          .candidate = function_of(cell->candidate),
                          .output = function_of(cell->output),
                          .reverse = reverse,
                          .late_reset = cell->late_reset};
    DType wide = wide_type(n->x->type.dtype);
    Value *operand[SN_RECURRENT_OPERANDS] = {cell->input, cell->recurrent, state, cell->bias, peep};
    for (int k = 0; k < SN_RECURRENT_LENGTH; k++)
        if (operand[k]) operand[k] = as_type(c, operand[k], wide);
    if (n->lengths) operand[SN_RECURRENT_LENGTH] = reshaped(c, n->lengths, 1, n->lengths->type.dim);
    if (sn_call_failed(c)) return NULL;
    int count = SN_RECURRENT_OPERANDS;
    while (!operand[count - 1]) count--;
    return sn_build(c->builder, SN_OP_RECURRENT, &attr, count, operand);
}

/* Part k of states [T', B, parts·H], in the type of the network. */
static Value *part_of(const Cell *cell, const Network *n, Value *states, int k) {
    return as_type(cell->c, gate_of(cell, states, k), n->x->type.dtype);
}

/* Leaves the last states in the cell; gives [T, B, H], 0 beyond a sequence's length. */
static Value *walk_cell(Cell *cell, const Network *n, int direction, bool reverse) {
    Call *c = cell->c;
    Value *states = walk_steps(cell, n, direction, reverse);
    if (sn_call_failed(c)) return NULL;
    Dim steps = n->x->type.dim[0], none = sn_dim(c->dims, 0), one = sn_dim(c->dims, 1);
    Value *last = sliced(c, states, 0, reverse ? none : steps, one);
    Value *all = part_of(cell, n, sliced(c, states, 0, reverse ? none : one, steps), 0);
    if (sn_call_failed(c)) return NULL;
    last = reshaped(c, last, 2, last->type.dim + 1);
    cell->h = part_of(cell, n, last, 0);
    if (cell->s) cell->s = part_of(cell, n, last, 1);
    if (!n->lengths) return all;
    Value *live = op2(c, SN_OP_LESS, count_up(c, SN_I64, steps, 2), n->lengths);
    return choose(c, live, all, sn_call_scalar(c, n->x->type.dtype, 0));
}

/* Leaves the last states in the cell; gives [T, B, H] of all steps. */
static Value *write_cell(Cell *cell, const Network *n, bool reverse) {
    Value **y = SN_ARRAY(cell->c->import->scratch, Value *, n->steps);
    run_cell(cell, n, reverse, y);
    return joined(cell->c, 0, (int)n->steps, y);
}

/* The directions' values [B, H] side by side, [D, B, H], or [B, D, H]. */
static Value *final_state(Call *c, const Network *n, Value *const *state) {
    Value *part[2];
    for (int d = 0; d < n->directions; d++) part[d] = sn_call_unsqueeze(c, state[d], n->batch_first, 1);
    return joined(c, n->batch_first, n->directions, part);
}

Value *sn_import_recurrent(Call *c) {
    Network n;
    Value *h[2], *s[2], *all[2];
    if (!read_network(c, &n)) return NULL;
    for (int d = 0; d < n.directions; d++) {
        Cell cell = start_cell(c, &n, d);
        if (sn_call_failed(c)) return NULL;
        bool reverse = n.reverse || d == 1;
        Value *y = n.steps ? write_cell(&cell, &n, reverse) : walk_cell(&cell, &n, d, reverse);
        h[d] = cell.h, s[d] = cell.s;
        all[d] = sn_call_unsqueeze(c, y, 1, 1);
    }
    Value *result = joined(c, 1, n.directions, all); /* [T, D, B, H] */
    if (n.batch_first) result = transposed(c, result, (int[]){2, 0, 1, 3});
    if (c->output_count > 1) c->output[1] = final_state(c, &n, h);
    if (c->output_count > 2) c->output[2] = final_state(c, &n, s);
    return result;
}
