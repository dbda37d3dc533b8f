#include "text_parts.h"

#include "text_form.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const char *const sn_stage_word[] = {"imported", "expanded", "fused"};
const char *const sn_check_word[] = {"equal", "broadcast", "at_most"};
const char *const sn_phase_word[] = {"forward", "backward", "update"};

typedef struct Printer {
    Text *text;
    const Graph *graph;
    const Notes *notes; /* or NULL */
    int indent;
} Printer;

/* ---- numbers and tensors ---- */

static bool rounds_to(DType dtype, const char *digits, double value) {
    uint64_t a = 0, b = 0;
    sn_element_set(dtype, &a, 0, strtod(digits, NULL));
    sn_element_set(dtype, &b, 0, value);
    return a == b;
}

void sn_float_print(Text *text, DType dtype, double value) {
    if (isnan(value) || isinf(value)) {
        sn_text_add(text, "%s", isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    char digits[48];
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (rounds_to(dtype, digits, value)) break;
    }
    for (char *c = digits; *c; c++)
        if (!strchr("0123456789+-e", *c)) *c = '.';
    sn_text_add(text, "%s", digits);
}

uint64_t sn_tensor_elided_hash(const Tensor *tensor) {
    if (tensor->payload == SN_PAYLOAD_RECIPE) return tensor->seed;
    return sn_hash((Hash){0}, tensor->bytes, (size_t)(tensor->count * sn_dtype_bytes(tensor->dtype))).lo;
}

static void print_elements(Text *text, const Tensor *tensor) {
    sn_text_add(text, " (");
    for (int64_t i = 0; i < tensor->count; i++) {
        if (i > 0) sn_text_add(text, ", ");
        if (sn_dtype_is_float(tensor->dtype))
            sn_float_print(text, tensor->dtype, sn_tensor_get(tensor, i));
        else if (tensor->dtype == SN_U64)
            sn_text_add(text, "%" PRIu64, (uint64_t)sn_tensor_get_int(tensor, i));
        else
            sn_text_add(text, "%" PRId64, sn_tensor_get_int(tensor, i));
    }
    sn_text_add(text, ")");
}

static void print_tensor(Text *text, const Tensor *tensor) {
    sn_text_add(text, "%s[", sn_dtype_name(tensor->dtype));
    for (int i = 0; i < tensor->rank; i++)
        sn_text_add(text, "%s%" PRId64, i > 0 ? ", " : "", tensor->extent[i]);
    sn_text_add(text, "]");
    bool recipe = tensor->payload == SN_PAYLOAD_RECIPE;
    if (recipe && (tensor->scale != 0 || tensor->offset != 0)) {
        sn_text_add(text, " recipe %" PRIu64 " scale ", tensor->seed);
        sn_float_print(text, SN_F64, tensor->scale);
        sn_text_add(text, " offset ");
        sn_float_print(text, SN_F64, tensor->offset);
    } else if (recipe || tensor->count > SN_TEXT_TENSOR_MAX) {
        sn_text_add(text, " elided %016" PRIx64, sn_tensor_elided_hash(tensor));
    } else {
        print_elements(text, tensor);
    }
}

/* ---- attributes ---- */

static bool is_default(const Field *field, const void *at) {
    if (!field->optional) return false;
    if (field->kind == SN_FIELD_DIM) return !*(const Dim *)at;
    if (field->kind == SN_FIELD_FLOAT) return *(const double *)at == 0;
    if (field->kind == SN_FIELD_INT64) return *(const int64_t *)at == 0;
    return !*(const bool *)at;
}

static void print_list(Printer *p, const Field *field, const void *attr) {
    const void *list = *(const void *const *)sn_attr_at(field, attr);
    sn_text_add(p->text, "[");
    for (int i = 0; i < sn_attr_count(field, attr); i++) {
        if (i > 0) sn_text_add(p->text, ", ");
        if (field->kind == SN_FIELD_INT64S)
            sn_text_add(p->text, "%" PRId64, ((const int64_t *)list)[i]);
        else
            sn_dim_print(p->text, p->graph->dims, ((const Dim *)list)[i]);
    }
    sn_text_add(p->text, "]");
}

static void print_field(Printer *p, const Field *field, const void *attr) {
    const void *at = sn_attr_at(field, attr);
    switch (field->kind) {
    case SN_FIELD_INT:
        sn_text_add(p->text, "%d", *(const int *)at);
        break;
    case SN_FIELD_INT64:
        sn_text_add(p->text, "%" PRId64, *(const int64_t *)at);
        break;
    case SN_FIELD_FLOAT:
        sn_float_print(p->text, SN_F64, *(const double *)at);
        break;
    case SN_FIELD_BOOL:
        sn_text_add(p->text, "%s", *(const bool *)at ? "true" : "false");
        break;
    case SN_FIELD_DTYPE:
        sn_text_add(p->text, "%s", sn_dtype_name(*(const DType *)at));
        break;
    case SN_FIELD_DIM:
        sn_dim_print(p->text, p->graph->dims, *(const Dim *)at);
        break;
    case SN_FIELD_DIMS:
    case SN_FIELD_INDEX:
    case SN_FIELD_INT64S:
        print_list(p, field, attr);
        break;
    case SN_FIELD_TENSOR:
        print_tensor(p->text, *(const Tensor *const *)at);
        break;
    case SN_FIELD_CLUSTER:
        sn_text_add(p->text, "%s", sn_cluster_kind_name(*(const ClusterKind *)at));
        break;
    }
}

static void print_attr(Printer *p, const AttrInfo *info, const void *attr) {
    const char *separator = " {";
    for (int i = 0; i < info->field_count; i++) {
        const Field *field = &info->field[i];
        if (is_default(field, sn_attr_at(field, attr))) continue;
        sn_text_add(p->text, "%s%s = ", separator, field->name);
        print_field(p, field, attr);
        separator = ", ";
    }
    if (*separator == ',') sn_text_add(p->text, "}");
}

/* ---- nodes ---- */

static void start_line(Printer *p) {
    sn_text_add(p->text, "%*s", p->indent * 2, "");
}

static void print_notes(Printer *p, const void *about) {
    for (int i = 0; p->notes && i < p->notes->list.count; i++) {
        if (p->notes->list.at[i].about != about) continue;
        start_line(p);
        sn_text_add(p->text, "// ^ %s\n", p->notes->list.at[i].message);
    }
}

static void quote(Text *text, const char *string) {
    sn_text_quote(text, string, strlen(string));
}

static void print_definition(Printer *p, const Value *value) {
    sn_text_add(p->text, "%%%d", value->id);
    if (!value->name) return;
    sn_text_add(p->text, " ");
    quote(p->text, value->name);
}

static void print_operand(Printer *p, const Value *value) {
    if (value)
        sn_text_add(p->text, "%%%d", value->id);
    else
        sn_text_add(p->text, "_");
}

/* A plain word as it is, anything else in quotes. */
static void print_word(Text *text, const char *word) {
    bool plain = *word && strspn(word, "0123456789") == 0;
    for (const char *c = word; *c; c++)
        plain = plain && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_", *c);
    if (plain)
        sn_text_add(text, "%s", word);
    else
        quote(text, word);
}

static void print_source(Text *text, const SourceNode *node) {
    quote(text, node->name);
    sn_text_add(text, " ");
    if (*node->domain) {
        quote(text, node->domain);
        sn_text_add(text, ".");
    }
    print_word(text, node->op_type);
    sn_text_add(text, " %d #%d", node->opset, node->index);
}

static void print_origin(Text *text, const Origin *origin) {
    sn_text_add(text, " @ ");
    print_source(text, origin->primary);
    for (int i = 0; i < origin->count; i++) {
        if (origin->node[i] == origin->primary) continue;
        sn_text_add(text, ", ");
        print_source(text, origin->node[i]);
    }
}

static void print_tail(Printer *p, const Node *node) {
    if (!node->group && !node->phase && !node->setup && !node->origin) return;
    sn_text_add(p->text, " ;");
    if (node->group) sn_text_add(p->text, " group %d", node->group);
    if (node->phase) sn_text_add(p->text, " phase %s", sn_phase_word[node->phase]);
    if (node->setup) sn_text_add(p->text, " setup");
    if (node->origin) print_origin(p->text, node->origin);
}

static void print_node(Printer *p, const Node *node);

static void print_body(Printer *p, const Region *body) {
    sn_text_add(p->text, " {\n");
    p->indent++;
    for (int i = 0; i < body->param.count; i++) {
        const Value *param = body->param.at[i];
        start_line(p);
        sn_text_add(p->text, "param ");
        print_definition(p, param);
        sn_text_add(p->text, ": ");
        sn_type_print(p->text, p->graph->dims, param->type);
        sn_text_add(p->text, "\n");
        print_notes(p, param);
    }
    for (const Node *node = body->first; node; node = node->next) print_node(p, node);
    start_line(p);
    sn_text_add(p->text, "return");
    for (int i = 0; i < body->result.count; i++) {
        sn_text_add(p->text, i > 0 ? ", " : " ");
        print_operand(p, body->result.at[i]);
    }
    sn_text_add(p->text, "\n");
    print_notes(p, body);
    p->indent--;
    start_line(p);
    sn_text_add(p->text, "}");
}

static void print_node(Printer *p, const Node *node) {
    const OpInfo *info = sn_op(node->op);
    start_line(p);
    for (int i = 0; i < node->output_count; i++) {
        if (i > 0) sn_text_add(p->text, ", ");
        print_definition(p, node->output[i]);
    }
    sn_text_add(p->text, " = %s", info->text);
    if (node->input_count > 0 || info->in_max != 0) {
        sn_text_add(p->text, "(");
        for (int i = 0; i < node->input_count; i++) {
            if (i > 0) sn_text_add(p->text, ", ");
            print_operand(p, node->input[i]);
        }
        sn_text_add(p->text, ")");
    }
    if (node->attr) print_attr(p, info->attr, node->attr);
    if (node->body) print_body(p, node->body);
    for (int i = 0; i < node->output_count; i++) {
        sn_text_add(p->text, i > 0 ? ", " : " : ");
        sn_type_print(p->text, p->graph->dims, node->output[i]->type);
    }
    print_tail(p, node);
    sn_text_add(p->text, "\n");
    print_notes(p, node);
}

void sn_node_print(Text *text, const Graph *graph, const Node *node) {
    print_node(&(Printer){.text = text, .graph = graph}, node);
}

/* ---- graphs ---- */

static void print_symbols(Printer *p) {
    Dims *dims = p->graph->dims;
    for (int i = 0; i < sn_dims_symbol_count(dims); i++) {
        Dim symbol = sn_dim_symbol(dims, sn_dims_symbol_name(dims, i));
        sn_text_add(p->text, "symbol ");
        sn_dim_print(p->text, dims, symbol);
        int64_t bound;
        if (sn_dim_lower(dims, symbol, &bound) && bound != 0)
            sn_text_add(p->text, " at_least %" PRId64, bound);
        if (sn_dim_upper(dims, symbol, &bound)) sn_text_add(p->text, " at_most %" PRId64, bound);
        sn_text_add(p->text, "\n");
    }
}

static void print_checks(Printer *p) {
    for (int i = 0; i < p->graph->checks.count; i++) {
        const Check *check = &p->graph->checks.at[i];
        sn_text_add(p->text, "check %s ", sn_check_word[check->kind]);
        sn_dim_print(p->text, p->graph->dims, check->a);
        sn_text_add(p->text, ", ");
        sn_dim_print(p->text, p->graph->dims, check->b);
        if (check->origin) print_origin(p->text, check->origin);
        sn_text_add(p->text, "\n");
    }
}

static void print_facts(Printer *p) {
    Dims *dims = p->graph->dims;
    for (int i = 0; i < sn_dims_fact_count(dims); i++) {
        Dim from, to;
        sn_dims_fact(dims, i, &from, &to);
        sn_text_add(p->text, "fact ");
        sn_dim_print(p->text, dims, from);
        sn_text_add(p->text, ", ");
        sn_dim_print(p->text, dims, to);
        sn_text_add(p->text, "\n");
    }
}

static void print_interface(Printer *p) {
    const Region *body = p->graph->body;
    for (int i = 0; i < body->param.count; i++) {
        sn_text_add(p->text, "input ");
        print_definition(p, body->param.at[i]);
        sn_text_add(p->text, ": ");
        sn_type_print(p->text, p->graph->dims, body->param.at[i]->type);
        sn_text_add(p->text, "\n");
        print_notes(p, body->param.at[i]);
    }
}

static void print_sizes(Printer *p) {
    for (int i = 0; i < p->graph->sizes.count; i++) {
        const GraphSize *size = &p->graph->sizes.at[i];
        sn_text_add(p->text, "size ");
        sn_dim_print(p->text, p->graph->dims, size->symbol);
        sn_text_add(p->text, " output %d", size->result);
        if (size->most) {
            sn_text_add(p->text, " most ");
            sn_dim_print(p->text, p->graph->dims, size->most);
        }
        if (size->origin) print_origin(p->text, size->origin);
        sn_text_add(p->text, "\n");
    }
}

static void print_loops(Printer *p) {
    for (int i = 0; i < p->graph->loops.count; i++) {
        const GraphLoop *loop = &p->graph->loops.at[i];
        sn_text_add(p->text, "loop output %d input %d carried %d captured %d kept %d", loop->taken,
                    loop->made, loop->carried, loop->captured, loop->kept);
        for (int k = 0; k < loop->extent_count; k++)
            sn_text_add(p->text, " extent %d %d", loop->extent[k].result, loop->extent[k].axis);
        for (int k = 0; k < loop->size_count; k++) {
            sn_text_add(p->text, " size ");
            sn_dim_print(p->text, p->graph->dims, loop->size[k]);
        }
        if (loop->origin) print_origin(p->text, loop->origin);
        sn_text_add(p->text, " {\n");
        sn_graph_print(p->text, loop->turn);
        sn_text_add(p->text, "}\n");
    }
}

static void print_states(Printer *p) {
    for (int i = 0; i < p->graph->states.count; i++) {
        const GraphState *state = &p->graph->states.at[i];
        bool there =
            state->input >= 0 && state->input < p->graph->body->param.count; /* broken graphs print too */
        sn_text_add(p->text, "state ");
        print_operand(p, there ? p->graph->body->param.at[state->input] : NULL);
        sn_text_add(p->text, " ");
        quote(p->text, state->name);
        if (state->result >= 0) sn_text_add(p->text, " next %d", state->result);
        sn_text_add(p->text, " first ");
        print_tensor(p->text, state->initial);
        for (int k = 0; k < state->copy_count; k++) {
            sn_text_add(p->text, k > 0 ? ", " : " copies ");
            quote(p->text, state->copy[k]);
        }
        sn_text_add(p->text, "\n");
    }
}

void sn_graph_print_notes(Text *text, const Graph *graph, const Notes *notes) {
    Printer p = {.text = text, .graph = graph, .notes = notes};
    const Region *body = graph->body;
    sn_text_add(text, "graph ");
    quote(text, graph->name);
    sn_text_add(text, " stage %s\n", sn_stage_word[graph->stage]);
    print_notes(&p, graph);
    print_symbols(&p);
    print_checks(&p);
    print_facts(&p);
    print_interface(&p);
    for (const Node *node = body->first; node; node = node->next) print_node(&p, node);
    for (int i = 0; i < body->result.count; i++) {
        sn_text_add(text, "output ");
        print_operand(&p, body->result.at[i]);
        if (i < graph->output_name.count) {
            sn_text_add(text, " ");
            quote(text, graph->output_name.at[i]);
        }
        sn_text_add(text, "\n");
    }
    print_sizes(&p);
    print_loops(&p);
    print_states(&p);
    print_notes(&p, body);
}

void sn_graph_print(Text *text, const Graph *graph) {
    sn_graph_print_notes(text, graph, NULL);
}
