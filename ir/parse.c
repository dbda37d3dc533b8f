#include "infer.h"
#include "loop.h"
#include "parser.h"
#include "text_form.h"
#include "text_parts.h"

#include <limits.h>

static Status parse_region(Parser *p, Region *region);

/* ---- values ---- */

static Status parse_id(Parser *p, int *id) {
    int64_t value;
    TRY(sn_parse_expect(p, '%'));
    TRY(sn_parse_int(p, 0, SN_PARSE_MAX_ID, &value));
    *id = (int)value;
    return NULL;
}

/* What stands where a value is defined: its id and, perhaps, its name. */
typedef struct Definition {
    int id;
    const char *name; /* or NULL */
    const char *at;
} Definition;

static Status parse_definition(Parser *p, Definition *out) {
    out->at = sn_parse_skip(p);
    TRY(parse_id(p, &out->id));
    out->name = NULL;
    return sn_parse_peek(p, '"') ? sn_parse_string(p, &out->name) : NULL;
}

static Status define(Parser *p, const Definition *definition, Value *value) {
    void **slot = sn_map_at(p->values, &definition->id, sizeof definition->id);
    if (*slot) return sn_parse_fail(p, definition->at, "%%%d is defined twice", definition->id);
    *slot = value;
    value->id = definition->id;
    value->name = definition->name;
    return NULL;
}

static Status parse_use(Parser *p, const Region *region, Value **out) {
    const char *start = sn_parse_skip(p);
    int id;
    TRY(parse_id(p, &id));
    *out = sn_map_get(p->values, &id, sizeof id);
    if (!*out) return sn_parse_fail(p, start, "%%%d is not defined", id);
    if ((*out)->region != region) return sn_parse_fail(p, start, "%%%d belongs to another region", id);
    return NULL;
}

typedef SN_VEC(Value *) Operands;

static Status parse_operands(Parser *p, const Region *region, Operands *operands) {
    if (!sn_parse_accept(p, '(')) return NULL;
    while (!sn_parse_peek(p, ')')) {
        Value *value = NULL;
        if (operands->count > 0) TRY(sn_parse_expect(p, ','));
        if (operands->count == SN_PARSE_MAX_LIST) return sn_parse_fail(p, p->at, "too many operands");
        if (!sn_parse_accept_word(p, "_")) TRY(parse_use(p, region, &value));
        sn_push(p->scratch, operands, value);
    }
    return sn_parse_expect(p, ')');
}

/* ---- origins ---- */

static Status parse_source(Parser *p, const Origin **out) {
    SourceNode node = {.name = "", .domain = ""};
    TRY(sn_parse_string(p, &node.name));
    if (sn_parse_peek(p, '"')) {
        TRY(sn_parse_string(p, &node.op_type));
        if (sn_parse_accept(p, '.')) {
            node.domain = node.op_type;
            node.op_type = NULL;
        }
    }
    if (!node.op_type && sn_parse_peek(p, '"')) TRY(sn_parse_string(p, &node.op_type));
    if (!node.op_type) {
        size_t length;
        const char *word = sn_parse_word(p, &length);
        if (length == 0) return sn_parse_fail(p, word, "a type of operator expected");
        node.op_type = sn_arena_printf(p->scratch, "%.*s", (int)length, word);
    }
    int64_t value;
    if (sn_parse_skip(p) < p->end && *p->at >= '0' && *p->at <= '9') {
        TRY(sn_parse_int(p, 0, INT_MAX, &value));
        node.opset = (int)value;
    }
    if (sn_parse_accept(p, '#')) {
        TRY(sn_parse_int(p, INT_MIN, INT_MAX, &value));
        node.index = (int)value;
    }
    *out = sn_origin(p->graph, &node);
    return NULL;
}

static Status parse_origin(Parser *p, const Origin **out) {
    TRY(parse_source(p, out));
    for (int count = 1; sn_parse_accept(p, ','); count++) {
        const Origin *more = NULL;
        if (count == SN_PARSE_MAX_SOURCES) return sn_parse_fail(p, p->at, "the origin is too long");
        TRY(parse_source(p, &more));
        *out = sn_origin_union(p->graph, *out, more);
    }
    return NULL;
}

/* ---- nodes ---- */

static Status parse_tail(Parser *p, Node *node) {
    if (!sn_parse_accept(p, ';')) return NULL;
    if (sn_parse_accept_word(p, "group")) {
        int64_t group;
        TRY(sn_parse_int(p, 0, SN_PARSE_MAX_ID, &group));
        node->group = (int)group;
        if (node->group >= p->graph->next_group) p->graph->next_group = node->group + 1;
    }
    if (sn_parse_accept_word(p, "phase")) {
        int phase;
        TRY(sn_parse_choice(p, "phase", sn_phase_word, SN_PHASE_WORDS, &phase));
        node->phase = (Phase)phase;
    }
    node->setup = sn_parse_accept_word(p, "setup");
    return sn_parse_accept(p, '@') ? parse_origin(p, &node->origin) : NULL;
}

/* The params of a cluster's body stand for its operands, one to one. */
static Status check_params(Parser *p, const char *start, const Node *node) {
    if (node->body->param.count != node->input_count)
        return sn_parse_fail(p, start, "the body has %d params for %d operands", node->body->param.count,
                             node->input_count);
    for (int i = 0; i < node->input_count; i++)
        if (!node->input[i] || !sn_type_equal(node->input[i]->type, node->body->param.at[i]->type))
            return sn_parse_fail(p, start, "operand %d and its param have different types", i);
    return NULL;
}

static Status parse_body(Parser *p, Node *node) {
    const char *start = sn_parse_skip(p);
    if (p->nesting == SN_PARSE_MAX_NESTING) return sn_parse_fail(p, start, "regions are nested too deep");
    p->nesting++;
    TRY(sn_parse_expect(p, '{'));
    Region *body = sn_region_new(p->graph, node);
    TRY(parse_region(p, body));
    TRY(sn_parse_expect_word(p, "return"));
    if (sn_parse_peek(p, '%')) {
        do {
            Value *value;
            TRY(parse_use(p, body, &value));
            sn_region_result(body, value);
        } while (sn_parse_accept(p, ','));
    }
    TRY(sn_parse_expect(p, '}'));
    p->nesting--;
    if (body->result.count != node->output_count)
        return sn_parse_fail(p, start, "the body returns %d values for %d results", body->result.count,
                             node->output_count);
    return check_params(p, start, node);
}

/* What inference gives is what the node has; a type that is written must agree with it. */
static Status parse_types(Parser *p, Node *node, const char *start) {
    Status status = sn_infer_node(p->graph, node);
    if (status) {
        Status located = sn_parse_fail(p, start, "%s", sn_error_message(status));
        sn_error_free(status);
        return located;
    }
    if (!sn_parse_accept(p, ':')) return NULL;
    for (int i = 0; i < node->output_count; i++) {
        Type written, inferred = node->output[i]->type;
        if (i > 0) TRY(sn_parse_expect(p, ','));
        const char *at = sn_parse_skip(p);
        TRY(sn_parse_type(p, &written));
        if (sn_type_equal(written, inferred)) continue;
        Text text = sn_text(p->scratch);
        sn_type_print(&text, p->graph->dims, inferred);
        return sn_parse_fail(p, at, "result %d is %s", i, sn_text_string(&text));
    }
    return NULL;
}

typedef SN_VEC(Definition) Definitions;

static Status parse_definitions(Parser *p, Definitions *definitions) {
    do {
        Definition definition;
        if (definitions->count == SN_PARSE_MAX_LIST) return sn_parse_fail(p, p->at, "too many results");
        TRY(parse_definition(p, &definition));
        sn_push(p->scratch, definitions, definition);
    } while (sn_parse_accept(p, ','));
    return sn_parse_expect(p, '=');
}

static Status parse_node(Parser *p, Region *region) {
    const char *start = sn_parse_skip(p);
    Definitions results = {0};
    Operands operands = {0};
    OpCode op;
    size_t length;
    void *attr;
    TRY(parse_definitions(p, &results));
    const char *word = sn_parse_word(p, &length);
    if (!sn_op_from_text(word, length, &op)) return sn_parse_fail(p, word, "an operator expected");
    TRY(parse_operands(p, region, &operands));
    bool cluster = op == SN_OP_CLUSTER;
    TRY(sn_parse_attr(p, sn_op(op)->attr, &attr));
    Node *node = sn_node_new(p->graph, op, attr, operands.count, operands.at, results.count);
    if (cluster) TRY(parse_body(p, node));
    for (int i = 0; i < results.count; i++) TRY(define(p, &results.at[i], node->output[i]));
    TRY(parse_types(p, node, start));
    TRY(parse_tail(p, node));
    sn_node_append(region, node);
    return NULL;
}

static Status parse_param(Parser *p, Region *region) {
    Definition definition;
    Type type;
    TRY(parse_definition(p, &definition));
    TRY(sn_parse_expect(p, ':'));
    TRY(sn_parse_type(p, &type));
    return define(p, &definition, sn_region_param(region, type, NULL));
}

/* Params, then nodes, until something else stands there. */
static Status parse_region(Parser *p, Region *region) {
    const char *word = region->owner ? "param" : "input";
    while (sn_parse_accept_word(p, word)) TRY(parse_param(p, region));
    while (sn_parse_peek(p, '%')) TRY(parse_node(p, region));
    return NULL;
}

/* ---- graphs ---- */

static Status parse_symbol(Parser *p) {
    const char *start = sn_parse_skip(p);
    Dims *dims = p->graph->dims;
    Dim symbol;
    int64_t bound;
    TRY(sn_parse_dim(p, 0, NULL, &symbol));
    if (symbol->kind != SN_DIM_SYMBOL) return sn_parse_fail(p, start, "a symbol expected");
    if (sn_parse_accept_word(p, "at_least")) {
        TRY(sn_parse_int(p, 0, INT64_MAX, &bound));
        sn_dims_symbol_at_least(dims, symbol, bound);
    }
    if (sn_parse_accept_word(p, "at_most")) {
        TRY(sn_parse_int(p, 0, INT64_MAX, &bound));
        sn_dims_symbol_at_most(dims, symbol, bound);
    }
    return NULL;
}

/* Checks are kept as they are written, also where a bound that was learnt later proves them. */
static Status parse_check(Parser *p) {
    Check check = {0};
    int kind;
    TRY(sn_parse_choice(p, "kind of check", sn_check_word, SN_CHECK_WORDS, &kind));
    check.kind = (CheckKind)kind;
    TRY(sn_parse_dim(p, 0, NULL, &check.a));
    TRY(sn_parse_expect(p, ','));
    TRY(sn_parse_dim(p, 0, NULL, &check.b));
    if (sn_parse_accept(p, '@')) TRY(parse_origin(p, &check.origin));
    sn_push(p->arena, &p->graph->checks, check);
    return NULL;
}

static Status parse_fact(Parser *p) {
    Dim from, to;
    TRY(sn_parse_dim(p, 0, NULL, &from));
    TRY(sn_parse_expect(p, ','));
    TRY(sn_parse_dim(p, 0, NULL, &to));
    sn_dims_equate(p->graph->dims, from, to);
    return NULL;
}

static Status parse_output(Parser *p) {
    Value *value;
    const char *name = "";
    TRY(parse_use(p, p->graph->body, &value));
    if (sn_parse_peek(p, '"')) TRY(sn_parse_string(p, &name));
    sn_graph_output(p->graph, name, value);
    return NULL;
}

static Status parse_size(Parser *p) {
    const char *start = sn_parse_skip(p);
    const Graph *graph = p->graph;
    GraphSize size = {0};
    int64_t result;
    TRY(sn_parse_dim(p, 0, NULL, &size.symbol));
    if (size.symbol->kind != SN_DIM_SYMBOL) return sn_parse_fail(p, start, "a symbol expected");
    TRY(sn_parse_expect_word(p, "output"));
    TRY(sn_parse_int(p, 0, (int64_t)graph->body->result.count - 1, &result));
    size.result = (int)result;
    if (sn_parse_accept_word(p, "most")) TRY(sn_parse_dim(p, 0, NULL, &size.most));
    if (sn_parse_accept(p, '@')) TRY(parse_origin(p, &size.origin));
    sn_push(p->arena, &p->graph->sizes, size);
    return NULL;
}

static Status parse_count(Parser *p, const char *word, int most, int *out) {
    int64_t count;
    TRY(sn_parse_expect_word(p, word));
    TRY(sn_parse_int(p, 0, most, &count));
    *out = (int)count;
    return NULL;
}

static Status parse_extents(Parser *p, GraphLoop *loop) {
    SN_VEC(LoopExtent) list = {0};
    while (sn_parse_accept_word(p, "extent")) {
        int64_t result, axis;
        if (list.count == SN_PARSE_MAX_LIST) return sn_parse_fail(p, p->at, "too many extents");
        TRY(sn_parse_int(p, -1, SN_PARSE_MAX_ID, &result));
        TRY(sn_parse_int(p, 0, SN_MAX_RANK, &axis));
        sn_push(p->arena, &list, ((LoopExtent){(int)result, (int)axis}));
    }
    loop->extent = list.at;
    loop->extent_count = list.count;
    return NULL;
}

static Status parse_loop_sizes(Parser *p, GraphLoop *loop) {
    SN_VEC(Dim) list = {0};
    while (sn_parse_accept_word(p, "size")) {
        Dim size;
        if (list.count == SN_PARSE_MAX_LIST) return sn_parse_fail(p, p->at, "too many sizes");
        TRY(sn_parse_dim(p, 0, NULL, &size));
        sn_push(p->arena, &list, size);
    }
    loop->size = list.at;
    loop->size_count = list.count;
    return NULL;
}

static Status parse_graph(Parser *p);
static void reserve_ids(Parser *p);

/* The graph of a turn, which knows nothing of the one around it. */
static Status parse_turn(Parser *p, Graph **out) {
    Graph *outer = p->graph;
    Map *values = p->values;
    if (p->nesting == SN_PARSE_MAX_NESTING) return sn_parse_fail(p, p->at, "loops are nested too deep");
    p->nesting++;
    p->values = sn_map_new(p->scratch);
    TRY(sn_parse_expect(p, '{'));
    TRY(parse_graph(p));
    TRY(sn_parse_expect(p, '}'));
    reserve_ids(p);
    *out = p->graph;
    p->graph = outer;
    p->values = values;
    p->nesting--;
    return NULL;
}

static Status parse_loop(Parser *p) {
    const char *start = p->at;
    const Region *body = p->graph->body;
    GraphLoop loop = {0};
    TRY(parse_count(p, "output", body->result.count, &loop.taken));
    TRY(parse_count(p, "input", body->param.count, &loop.made));
    TRY(parse_count(p, "carried", body->param.count, &loop.carried));
    TRY(parse_count(p, "captured", body->result.count, &loop.captured));
    TRY(parse_count(p, "kept", body->param.count, &loop.kept));
    TRY(parse_extents(p, &loop));
    TRY(parse_loop_sizes(p, &loop));
    if (sn_parse_accept(p, '@')) TRY(parse_origin(p, &loop.origin));
    TRY(parse_turn(p, &loop.turn));
    sn_push(p->arena, &p->graph->loops, loop);
    const char *fault = sn_loop_fault(p->graph, &p->graph->loops.at[p->graph->loops.count - 1]);
    return fault ? sn_parse_fail(p, start, "%s", fault) : NULL;
}

static Status parse_copies(Parser *p, GraphState *state) {
    SN_VEC(const char *) list = {0};
    if (!sn_parse_accept_word(p, "copies")) return NULL;
    do {
        const char *name;
        if (list.count == SN_PARSE_MAX_LIST) return sn_parse_fail(p, p->at, "too many copies");
        TRY(sn_parse_string(p, &name));
        sn_push(p->arena, &list, name);
    } while (sn_parse_accept(p, ','));
    state->copy = list.at;
    state->copy_count = list.count;
    return NULL;
}

static Status parse_state(Parser *p) {
    const char *start = sn_parse_skip(p);
    const Region *body = p->graph->body;
    GraphState state = {.result = -1};
    Value *value;
    int64_t result;
    TRY(parse_use(p, body, &value));
    if (value->producer) return sn_parse_fail(p, start, "a state is an input");
    state.input = value->index;
    TRY(sn_parse_string(p, &state.name));
    if (sn_parse_accept_word(p, "next")) {
        TRY(sn_parse_int(p, 0, (int64_t)body->result.count - 1, &result));
        state.result = (int)result;
    }
    TRY(sn_parse_expect_word(p, "first"));
    TRY(sn_parse_tensor(p, &state.initial));
    TRY(parse_copies(p, &state));
    sn_push(p->arena, &p->graph->states, state);
    return NULL;
}

static Status parse_graph(Parser *p) {
    const char *name;
    int stage;
    TRY(sn_parse_expect_word(p, "graph"));
    TRY(sn_parse_string(p, &name));
    p->graph = sn_graph_new(p->arena, name);
    TRY(sn_parse_expect_word(p, "stage"));
    TRY(sn_parse_choice(p, "stage", sn_stage_word, SN_STAGE_WORDS, &stage));
    p->graph->stage = (Stage)stage;
    while (sn_parse_accept_word(p, "symbol")) TRY(parse_symbol(p));
    while (sn_parse_accept_word(p, "check")) TRY(parse_check(p));
    while (sn_parse_accept_word(p, "fact")) TRY(parse_fact(p));
    TRY(parse_region(p, p->graph->body));
    while (sn_parse_accept_word(p, "output")) TRY(parse_output(p));
    while (sn_parse_accept_word(p, "size")) TRY(parse_size(p));
    while (sn_parse_accept_word(p, "loop")) TRY(parse_loop(p));
    while (sn_parse_accept_word(p, "state")) TRY(parse_state(p));
    return NULL;
}

/* Ids that inference and the builder hand out from now on lie above those of the text. */
static void reserve_ids(Parser *p) {
    for (int i = 0; i < sn_map_count(p->values); i++) {
        const void *key;
        size_t bytes;
        const Value *value = sn_map_entry(p->values, i, &key, &bytes);
        if (value->id >= p->graph->next_value) p->graph->next_value = value->id + 1;
    }
}

static void release_locale(void *locale) {
    freelocale((locale_t)locale);
}

Status sn_graph_parse(Arena *arena, const char *source, size_t length, Graph **out) {
    return sn_graph_parse_with(arena, source, length, NULL, out);
}

Status sn_graph_parse_with(Arena *arena, const char *source, size_t length, const Map *payloads,
                           Graph **out) {
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c_locale) return sn_fail(SN_NO_MEMORY, "no memory for a locale");
    Arena *scratch = sn_arena_child(arena);
    sn_arena_defer(scratch, release_locale, (void *)c_locale);
    char *copy = sn_arena_alloc(scratch, length + 1);
    if (length > 0) memcpy(copy, source, length);
    Parser parser = {
        .source = copy,
        .end = copy + length,
        .at = copy,
        .c_locale = c_locale,
        .arena = arena,
        .scratch = scratch,
        .values = sn_map_new(scratch),
        .payloads = payloads,
    };
    Status status = parse_graph(&parser);
    if (!status && !sn_parse_at_end(&parser))
        status = sn_parse_fail(&parser, parser.at, "a statement expected");
    if (!status) {
        reserve_ids(&parser);
        *out = parser.graph;
    }
    sn_arena_free(scratch);
    return status;
}
