/* Symbols from the shapes of the inputs. */
#include "eval.h"
#include "loop.h"
#include "number.h"

#include <stdio.h>

enum { UNBOUND = -1 }; /* symbols are never negative */

typedef struct Bind {
    const Graph *graph;
    const int *rank;
    const int64_t *const *extent;
    int64_t *symbols;
} Bind;

static const Value *param_of(const Bind *bind, int input) {
    return bind->graph->body->param.at[input];
}

/* Messages need memory of their own: binding happens in runs, which have no arena for text. NULL without. */
typedef struct Message {
    Arena *arena;
    Text text;
} Message;

static Message message_new(void) {
    Message message = {.arena = sn_arena_new()};
    if (message.arena) message.text = sn_text(message.arena);
    return message;
}

static void add_quoted(Message *message, const char *name) {
    if (message->arena && name) sn_text_quote(&message->text, name, strlen(name));
}

static void add_dim(Message *message, const Graph *graph, Dim dim) {
    if (message->arena) sn_dim_print(&message->text, graph->dims, dim);
}

static void add(Message *message, const char *text) {
    if (message->arena) sn_text_add(&message->text, "%s", text);
}

static Status message_fail(Message *message) {
    Status status =
        sn_fail(SN_INVALID, "%s", message->arena ? sn_text_string(&message->text) : "the sizes disagree");
    sn_arena_free(message->arena);
    return status;
}

/* "input "x": axis 1 (T + 1) is not 5" */
static Status fail_at_axis(const Bind *bind, int input, int axis, const char *what, int64_t value) {
    char number[64];
    const Value *param = param_of(bind, input);
    Message message = message_new();
    add(&message, "input ");
    add_quoted(&message, param->name);
    snprintf(number, sizeof number, ": axis %d (", axis);
    add(&message, number);
    add_dim(&message, bind->graph, param->type.dim[axis]);
    snprintf(number, sizeof number, ") %s %lld", what, (long long)value);
    add(&message, number);
    return message_fail(&message);
}

static bool all_bound(const Bind *bind, Dim dim) {
    if (dim->kind == SN_DIM_SYMBOL) return bind->symbols[dim->value] != UNBOUND;
    for (int k = 0; k < dim->count; k++)
        if (!all_bound(bind, dim->operand[k])) return false;
    return true;
}

/* Σ coefficient·symbol + constant = value with one symbol unbound binds that one; true if it did. */
static bool solve(Bind *bind, Dim dim, int64_t value) {
    if (dim->kind == SN_DIM_SYMBOL) {
        if (bind->symbols[dim->value] != UNBOUND) return false;
        bind->symbols[dim->value] = value;
        return true;
    }
    if (dim->kind != SN_DIM_SUM || !sn_sub_i64(value, dim->value, &value)) return false;
    int unknown = -1;
    for (int k = 0; k < dim->count; k++) {
        Dim term = dim->operand[k];
        if (term->kind != SN_DIM_SYMBOL) return false;
        int64_t symbol = bind->symbols[term->value], product;
        if (symbol == UNBOUND) {
            if (unknown >= 0) return false;
            unknown = k;
        } else if (!sn_mul_i64(dim->coefficient[k], symbol, &product) ||
                   !sn_sub_i64(value, product, &value)) {
            return false;
        }
    }
    if (unknown < 0 || dim->coefficient[unknown] == 0) return false;
    int64_t coefficient = dim->coefficient[unknown], rest;
    if (!sn_mod_i64(value, coefficient, &rest) || rest != 0 || value / coefficient < 0) return false;
    bind->symbols[dim->operand[unknown]->value] = value / coefficient;
    return true;
}

static Status fail_rank(const Value *param, int rank) {
    char number[64];
    Message message = message_new();
    add(&message, "input ");
    add_quoted(&message, param->name);
    snprintf(number, sizeof number, ": its rank is %d, not %d", param->type.rank, rank);
    add(&message, number);
    return message_fail(&message);
}

/* What a loop will make has no shape yet. */
static bool is_made(const Bind *bind, int input) {
    return sn_loop_of_param(bind->graph, input) != NULL;
}

static Status check_inputs(const Bind *bind, int input_count) {
    if (input_count != bind->graph->body->param.count)
        return sn_fail(SN_INVALID, "%d inputs given, the model has %d", input_count,
                       bind->graph->body->param.count);
    for (int i = 0; i < input_count; i++) {
        const Value *param = param_of(bind, i);
        if (is_made(bind, i)) continue;
        if (bind->rank[i] != param->type.rank) return fail_rank(param, bind->rank[i]);
        for (int k = 0; k < param->type.rank; k++)
            if (bind->extent[i][k] < 0) return fail_at_axis(bind, i, k, "cannot be", bind->extent[i][k]);
    }
    return NULL;
}

/* One pass over all inputs; true if a symbol was bound. */
static bool bind_some(Bind *bind, int input_count) {
    bool any = false;
    for (int i = 0; i < input_count; i++)
        for (int k = 0; k < param_of(bind, i)->type.rank && !is_made(bind, i); k++)
            if (solve(bind, param_of(bind, i)->type.dim[k], bind->extent[i][k])) any = true;
    return any;
}

static Status check_extents(const Bind *bind, int input_count) {
    for (int i = 0; i < input_count; i++) {
        Type type = param_of(bind, i)->type;
        for (int k = 0; k < type.rank && !is_made(bind, i); k++) {
            int64_t expected;
            if (!all_bound(bind, type.dim[k]))
                return fail_at_axis(bind, i, k, "cannot be solved for its symbols from", bind->extent[i][k]);
            TRY(sn_dim_eval(type.dim[k], bind->symbols, NULL, &expected));
            if (expected != bind->extent[i][k]) return fail_at_axis(bind, i, k, "is not", bind->extent[i][k]);
        }
    }
    return NULL;
}

static Status fail_bound(const char *symbol, int64_t value, const char *relation, int64_t bound) {
    char number[80];
    Message message = message_new();
    add(&message, "the size ");
    add_quoted(&message, symbol);
    snprintf(number, sizeof number, " is %lld, but %s %lld", (long long)value, relation, (long long)bound);
    add(&message, number);
    return message_fail(&message);
}

/* What proofs took for granted about a symbol. */
static Status check_bound(const Graph *graph, int symbol, int64_t value) {
    const char *name = sn_dims_symbol_name(graph->dims, symbol);
    int64_t least, most;
    sn_dims_symbol_bounds(graph->dims, symbol, &least, &most);
    if (value > most) return fail_bound(name, value, "at most", most);
    return value < least ? fail_bound(name, value, "at least", least) : NULL;
}

static Status check_bounds(const Bind *bind) {
    for (int s = 0; s < sn_dims_symbol_count(bind->graph->dims); s++)
        if (bind->symbols[s] != UNBOUND) TRY(check_bound(bind->graph, s, bind->symbols[s]));
    return NULL;
}

static bool holds(CheckKind kind, int64_t a, int64_t b) {
    if (kind == SN_CHECK_AT_MOST) return a <= b;
    return a == b || (kind == SN_CHECK_BROADCAST && (a == 1 || b == 1));
}

static void add_source(Message *message, const SourceNode *source) {
    if (message->arena) add(message, sn_source_text(message->arena, source));
}

/* "node "/layer/Add" (Add, opset 17): 5 (T) is not equal to 4 (S)" */
static Status fail_check(const Graph *graph, const Check *check, int64_t a, int64_t b) {
    static const char *const relation[] = {
        [SN_CHECK_EQUAL] = "is not equal to",
        [SN_CHECK_BROADCAST] = "does not broadcast with",
        [SN_CHECK_AT_MOST] = "is greater than",
    };
    char number[80];
    const SourceNode *source = check->origin ? check->origin->primary : NULL;
    Message message = message_new();
    if (source)
        add_source(&message, source);
    else
        add(&message, "the declared shapes");
    snprintf(number, sizeof number, ": %lld (", (long long)a);
    add(&message, number);
    add_dim(&message, graph, check->a);
    snprintf(number, sizeof number, ") %s %lld (", relation[check->kind], (long long)b);
    add(&message, number);
    add_dim(&message, graph, check->b);
    add(&message, ")");
    return message_fail(&message);
}

Status sn_bind_check(const Graph *graph, const Check *check, const int64_t *symbols) {
    int64_t a, b;
    TRY(sn_dim_eval(check->a, symbols, NULL, &a));
    TRY(sn_dim_eval(check->b, symbols, NULL, &b));
    return holds(check->kind, a, b) ? NULL : fail_check(graph, check, a, b);
}

static Status check_checks(const Bind *bind) {
    const Graph *graph = bind->graph;
    for (int c = 0; c < graph->checks.count; c++) {
        const Check *check = &graph->checks.at[c];
        /* A size that data decides is not known yet. */
        if (!all_bound(bind, check->a) || !all_bound(bind, check->b)) continue;
        TRY(sn_bind_check(graph, check, bind->symbols));
    }
    return NULL;
}

static bool is_size(const Graph *graph, int symbol) {
    for (int i = 0; i < graph->sizes.count; i++)
        if (graph->sizes.at[i].symbol->value == symbol) return true;
    return false;
}

static bool will_be_bound(const Bind *bind, Dim dim) {
    if (dim->kind == SN_DIM_SYMBOL)
        return bind->symbols[dim->value] != UNBOUND || is_size(bind->graph, (int)dim->value);
    for (int k = 0; k < dim->count; k++)
        if (!will_be_bound(bind, dim->operand[k])) return false;
    return true;
}

/* A symbol that neither an input nor data bind must not be the extent of anything. */
static Status check_uses(const Bind *bind) {
    int unbound = 0;
    for (int s = 0; s < sn_dims_symbol_count(bind->graph->dims); s++) unbound += bind->symbols[s] == UNBOUND;
    if (unbound == bind->graph->sizes.count) return NULL;
    for (const Node *node = bind->graph->body->first; node; node = node->next)
        for (int k = 0; k < node->output_count; k++) {
            Type type = node->output[k]->type;
            for (int axis = 0; axis < type.rank; axis++)
                if (!will_be_bound(bind, type.dim[axis]))
                    return sn_fail(SN_INVALID, "%s: no input tells the extent of axis %d of %%%d",
                                   sn_op(node->op)->text, axis, node->output[k]->id);
        }
    return NULL;
}

Status sn_bind_size(const Graph *graph, int index, int64_t value, int64_t *symbols) {
    const GraphSize *size = &graph->sizes.at[index];
    int symbol = (int)size->symbol->value;
    if (value < 0) {
        char number[64];
        Message message = message_new();
        if (size->origin) add_source(&message, size->origin->primary);
        snprintf(number, sizeof number, "%s a size of %lld", size->origin ? ":" : "", (long long)value);
        add(&message, number);
        return message_fail(&message);
    }
    TRY(check_bound(graph, symbol, value));
    symbols[symbol] = value;
    return NULL;
}

Status sn_bind_symbols(const Graph *graph, int input_count, const int *rank, const int64_t *const *extent,
                       int64_t *symbols) {
    Bind bind = {graph, rank, extent, symbols};
    for (int s = 0; s < sn_dims_symbol_count(graph->dims); s++) symbols[s] = UNBOUND;
    TRY(check_inputs(&bind, input_count));
    while (bind_some(&bind, input_count)) continue;
    TRY(check_extents(&bind, input_count));
    TRY(check_bounds(&bind));
    TRY(check_checks(&bind));
    return check_uses(&bind);
}
