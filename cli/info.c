/* info: what a model is, what it costs, and everything about it that is unsupported. */
#include "cli.h"
#include "load.h"
#include "report.h"
#include "session.h"

typedef enum ModelColumn {
    MODEL_FILE,
    MODEL_PRODUCER,
    MODEL_IR_VERSION,
    MODEL_OPSETS,
    MODEL_NODES,
    MODEL_PARAMETERS,
    MODEL_BYTES,
    MODEL_FLOPS,
    MODEL_TRAFFIC,
    MODEL_LAUNCHES,
    MODEL_COLUMNS
} ModelColumn;

static const Column model_columns[MODEL_COLUMNS] = {
    [MODEL_FILE] = {"file", "file", SN_CELL_TEXT},
    [MODEL_PRODUCER] = {"producer", "producer", SN_CELL_TEXT},
    [MODEL_IR_VERSION] = {"ir_version", "IR version", SN_CELL_COUNT},
    [MODEL_OPSETS] = {"opsets", "opsets", SN_CELL_TEXT},
    [MODEL_NODES] = {"nodes", "nodes", SN_CELL_COUNT},
    [MODEL_PARAMETERS] = {"parameters", "parameters", SN_CELL_COUNT},
    [MODEL_BYTES] = {"parameter_bytes", "parameters", SN_CELL_BYTES},
    [MODEL_FLOPS] = {"flops", "FLOPs of a run", SN_CELL_TEXT},
    [MODEL_TRAFFIC] = {"bytes", "bytes moved in a run", SN_CELL_TEXT},
    [MODEL_LAUNCHES] = {"launches", "kernel launches of a compiled run", SN_CELL_COUNT},
};

typedef enum TensorColumn { TENSOR_NAME, TENSOR_TYPE, TENSOR_COLUMNS } TensorColumn;

static const Column input_columns[TENSOR_COLUMNS] = {{"name", "input", SN_CELL_TEXT},
                                                     {"type", "type", SN_CELL_TEXT}};
static const Column output_columns[TENSOR_COLUMNS] = {{"name", "output", SN_CELL_TEXT},
                                                      {"type", "type", SN_CELL_TEXT}};

typedef enum OperatorColumn { OPERATOR_NAME, OPERATOR_COUNT, OPERATOR_COLUMNS } OperatorColumn;

static const Column operator_columns[OPERATOR_COLUMNS] = {{"operator", "operator", SN_CELL_TEXT},
                                                          {"count", "count", SN_CELL_COUNT}};

typedef enum SizeColumn { SIZE_SYMBOL, SIZE_NODE, SIZE_MOST, SIZE_COLUMNS } SizeColumn;

static const Column size_columns[SIZE_COLUMNS] = {{"size", "size", SN_CELL_TEXT},
                                                  {"node", "decided by data of", SN_CELL_TEXT},
                                                  {"most", "at most", SN_CELL_TEXT}};

typedef struct Info {
    Arena *arena;
    Table model, inputs, outputs, operators;
    Table sizes; /* that data decide; others are those of the inputs */
    Cell *row;   /* of `model` */
} Info;

static void fill_file(Info *info, const char *path, const ModelInfo *model) {
    Arena *arena = info->arena;
    Text opsets = sn_text(arena);
    for (int i = 0; i < model->opset_count; i++) {
        const char *domain = model->opset[i].domain;
        sn_text_add(&opsets, "%s%s %d", i ? ", " : "", domain && *domain ? domain : "ai.onnx",
                    model->opset[i].version);
    }
    info->row[MODEL_FILE] = sn_cell_text(arena, path);
    if (model->producer && *model->producer) info->row[MODEL_PRODUCER] = sn_cell_text(arena, model->producer);
    info->row[MODEL_IR_VERSION] = sn_cell_number(model->ir_version);
    info->row[MODEL_OPSETS] = sn_cell_text(arena, sn_text_string(&opsets));
    info->row[MODEL_NODES] = sn_cell_number(model->node_count);
    info->row[MODEL_PARAMETERS] = sn_cell_number((double)model->parameter_count);
    info->row[MODEL_BYTES] = sn_cell_number((double)model->parameter_bytes);
    for (int i = 0; i < model->operator_count; i++) {
        Cell *row = sn_table_row(arena, &info->operators);
        const char *domain = model->operator[i].domain;
        bool named = domain && *domain;
        row[OPERATOR_NAME] =
            sn_cell_text(arena, sn_arena_printf(arena, "%s%s%s", named ? domain : "", named ? "." : "",
                                                model->operator[i].op_type));
        row[OPERATOR_COUNT] = sn_cell_number(model->operator[i].count);
    }
}

static void add_tensor(Info *info, Table *table, const Dims *dims, const char *name, Type type) {
    Text text = sn_text(info->arena);
    sn_type_print(&text, dims, type);
    Cell *row = sn_table_row(info->arena, table);
    row[TENSOR_NAME] = sn_cell_text(info->arena, name ? name : "");
    row[TENSOR_TYPE] = sn_cell_text(info->arena, sn_text_string(&text));
}

static Cell dim_cell(Info *info, const Graph *graph, Dim dim) {
    Text text = sn_text(info->arena);
    sn_dim_print(&text, graph->dims, dim);
    return sn_cell_text(info->arena, sn_text_string(&text));
}

static void add_size(Info *info, const Graph *graph, const GraphSize *size) {
    Cell *row = sn_table_row(info->arena, &info->sizes);
    row[SIZE_SYMBOL] = dim_cell(info, graph, size->symbol);
    row[SIZE_NODE] = sn_cell_text(info->arena, sn_origin_text(info->arena, size->origin));
    if (size->most) row[SIZE_MOST] = dim_cell(info, graph, size->most);
}

static void fill_graph(Info *info, const Graph *graph) {
    for (int i = 0; i < graph->sizes.count; i++) add_size(info, graph, &graph->sizes.at[i]);
    const Region *body = graph->body;
    for (int i = 0; i < body->param.count - sn_graph_hidden_inputs(graph); i++)
        add_tensor(info, &info->inputs, graph->dims, body->param.at[i]->name, body->param.at[i]->type);
    for (int i = 0; i < body->result.count - sn_graph_hidden_results(graph); i++)
        add_tensor(info, &info->outputs, graph->dims, graph->output_name.at[i], body->result.at[i]->type);
}

/* The sum of one Dim of every launch of a run, as a formula; nothing when a kernel does not tell its own, or a run counts turns. */
static Cell formula(Info *info, const Plan *plan, bool flops) {
    Dims *dims = plan->graph->dims;
    Dim sum = sn_dim(dims, 0);
    if (plan->graph->loops.count) return (Cell){0};
    for (int i = plan->setup_count; i < plan->launch_count; i++) {
        int at = flops ? plan->launch[i].flops : plan->launch[i].bytes;
        if (at < 0) return (Cell){0};
        sum = sn_dim_add(dims, sum, plan->dim[at]);
    }
    if (sn_dims_overflowed(dims)) return (Cell){0};
    Text text = sn_text(info->arena);
    sn_dim_print(&text, dims, sum);
    return sn_cell_text(info->arena, sn_text_string(&text));
}

/* The facts are those of no machine in particular, so that the answer is the same on all. */
static Status fill_work(Info *info, const Graph *graph) {
    Target target;
    sn_target_cpu(&target, 32, 16, 32 << 10, 1 << 20);
    Plan *plan;
    Ledger ledger = {0};
    const PipelineOptions options = {.no_dropout = true}; /* what is to be trained is told about, too */
    TRY(sn_compile_plan(info->arena, graph, &target, &options, NULL, &ledger, &plan));
    info->row[MODEL_FLOPS] = formula(info, plan, true);
    info->row[MODEL_TRAFFIC] = formula(info, plan, false);
    info->row[MODEL_LAUNCHES] = sn_cell_number(sn_plan_run_launches(plan));
    return NULL;
}

static Status print(Cli *cli, const Info *info) {
    const Table *const tables[] = {&info->model, &info->inputs, &info->outputs, &info->operators,
                                   &info->sizes};
    int count = (int)(sizeof tables / sizeof *tables) - (info->sizes.row.count == 0);
    ReportFormat format;
    sn_report_format(sn_option_text(&cli->options, OPTION_OUT_FORMAT, NULL), &format);
    Text text = sn_text(cli->arena);
    TRY(sn_report_print(&text, format, tables, count));
    return sn_cli_write(cli, NULL, sn_text_string(&text), text.length);
}

Status sn_cli_info(Cli *cli) {
    const char *path = cli->options.argument[0];
    if (sn_parts_is(path) && sn_option_given(&cli->options, OPTION_CONSTANT))
        return sn_cli_usage(cli, "--constant is decided when a model is compiled");
    if (sn_parts_is(path)) return sn_cli_info_saved(cli);
    Info info = {
        .arena = cli->arena,
        .model = {.name = "model", .column = model_columns, .column_count = MODEL_COLUMNS, .single = true},
        .inputs = {.name = "inputs", .column = input_columns, .column_count = TENSOR_COLUMNS},
        .outputs = {.name = "outputs", .column = output_columns, .column_count = TENSOR_COLUMNS},
        .operators = {.name = "operators", .column = operator_columns, .column_count = OPERATOR_COLUMNS},
        .sizes = {.name = "sizes", .column = size_columns, .column_count = SIZE_COLUMNS}};
    Graph *graph;
    ModelInfo model = {0};
    LoadOptions options;
    TRY(sn_cli_load_options(cli, 0, NULL, &options));
    Status status = sn_load_onnx(cli->arena, path, &options, &graph, &model);
    if (status && sn_error_code(status) != SN_UNSUPPORTED) return status;
    info.row = sn_table_row(cli->arena, &info.model);
    fill_file(&info, path, &model);
    if (!status) {
        fill_graph(&info, graph);
        status = fill_work(&info, graph);
    }
    /* What is unsupported stands below what is known. */
    Status printed = print(cli, &info);
    if (!status) return printed;
    sn_error_free(printed);
    fflush(stdout);
    return status;
}
