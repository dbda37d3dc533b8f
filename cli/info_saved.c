/* info of a saved program: what it is, what it needs, and whether it is whole. */
#include "cli.h"
#include "cpu/features.h"
#include "cuda/cuda.h"
#include "report.h"
#include "session.h"

typedef enum SavedColumn {
    SAVED_FILE,
    SAVED_VERSION,
    SAVED_MODE,
    SAVED_AUTOCAST,
    SAVED_MACHINE,
    SAVED_REQUIRES,
    SAVED_MISSING,
    SAVED_KERNELS,
    SAVED_CODE,
    SAVED_WEIGHTS,
    SAVED_RESULTS,
    SAVED_STATES,
    SAVED_STATE_BYTES,
    SAVED_COLUMNS
} SavedColumn;

static const Column saved_columns[SAVED_COLUMNS] = {
    [SAVED_FILE] = {"file", "file", SN_CELL_TEXT},
    [SAVED_VERSION] = {"sinter", "saved by Sinter", SN_CELL_TEXT},
    [SAVED_MODE] = {"mode", "mode", SN_CELL_TEXT},
    [SAVED_AUTOCAST] = {"autocast", "autocast", SN_CELL_TEXT},
    [SAVED_MACHINE] = {"machine", "machine", SN_CELL_TEXT},
    [SAVED_REQUIRES] = {"requires", "requires", SN_CELL_TEXT},
    [SAVED_MISSING] = {"missing", "missing here", SN_CELL_TEXT},
    [SAVED_KERNELS] = {"kernels", "kernels", SN_CELL_COUNT},
    [SAVED_CODE] = {"code_bytes", "code", SN_CELL_BYTES},
    [SAVED_WEIGHTS] = {"weight_bytes", "weights", SN_CELL_BYTES},
    [SAVED_RESULTS] = {"result_bytes", "of them packed or cast", SN_CELL_BYTES},
    [SAVED_STATES] = {"states", "states of a training step", SN_CELL_COUNT},
    [SAVED_STATE_BYTES] = {"state_bytes", "of each context", SN_CELL_BYTES},
};

typedef enum TensorColumn { TENSOR_NAME, TENSOR_TYPE, TENSOR_COLUMNS } TensorColumn;

static const Column input_columns[TENSOR_COLUMNS] = {{"name", "input", SN_CELL_TEXT},
                                                     {"type", "type", SN_CELL_TEXT}};
static const Column output_columns[TENSOR_COLUMNS] = {{"name", "output", SN_CELL_TEXT},
                                                      {"type", "type", SN_CELL_TEXT}};

static void fill_states(Cell *row, const Graph *graph) {
    double bytes = 0;
    for (int i = 0; i < graph->states.count; i++) {
        const Tensor *initial = graph->states.at[i].initial;
        bytes += (double)initial->count * (double)sn_dtype_bytes(initial->dtype);
    }
    if (!graph->states.count) return;
    row[SAVED_STATES] = sn_cell_number(graph->states.count);
    row[SAVED_STATE_BYTES] = sn_cell_number(bytes);
}

static void fill_row(Arena *arena, Cell *row, const char *path, const Saved *saved) {
    const SavedFacts *facts = &saved->facts;
    bool on_gpu = facts->target.kind == SN_TARGET_CUDA;
    const char *missing =
        on_gpu ? sn_cuda_missing(arena, &facts->target) : sn_features_missing(arena, facts->requires);
    double results = 0;
    for (int i = 0; i < saved->row_count; i++)
        if (saved->row[i].kind == SN_SAVED_SETUP) results += (double)saved->row[i].size;
    row[SAVED_FILE] = sn_cell_text(arena, path);
    row[SAVED_VERSION] = sn_cell_text(arena, facts->version);
    row[SAVED_MODE] = sn_cell_text(arena, facts->eager ? "eager" : "compiled");
    row[SAVED_AUTOCAST] = sn_cell_text(arena, sn_autocast_name(facts->autocast));
    row[SAVED_MACHINE] = sn_cell_text(arena, facts->machine);
    row[SAVED_REQUIRES] = sn_cell_text(arena, facts->requires);
    if (*missing) row[SAVED_MISSING] = sn_cell_text(arena, missing);
    row[SAVED_KERNELS] = sn_cell_number(facts->kernel_count);
    row[SAVED_CODE] = sn_cell_number((double)saved->part[SN_PART_CODE].size);
    row[SAVED_WEIGHTS] = sn_cell_number((double)saved->part[SN_PART_PAYLOAD].size);
    row[SAVED_RESULTS] = sn_cell_number(results);
}

static void add_tensor(Arena *arena, Table *table, const Dims *dims, const char *name, Type type) {
    Text text = sn_text(arena);
    sn_type_print(&text, dims, type);
    Cell *row = sn_table_row(arena, table);
    row[TENSOR_NAME] = sn_cell_text(arena, name ? name : "");
    row[TENSOR_TYPE] = sn_cell_text(arena, sn_text_string(&text));
}

Status sn_cli_info_saved(Cli *cli) {
    Arena *arena = cli->arena;
    Saved *saved;
    Graph *graph;
    TRY(sn_saved_open(arena, cli->options.argument[0], &saved, &graph));
    Table program = {
        .name = "program", .column = saved_columns, .column_count = SAVED_COLUMNS, .single = true};
    Table inputs = {.name = "inputs", .column = input_columns, .column_count = TENSOR_COLUMNS};
    Table outputs = {.name = "outputs", .column = output_columns, .column_count = TENSOR_COLUMNS};
    Cell *row = sn_table_row(arena, &program);
    fill_row(arena, row, cli->options.argument[0], saved);
    fill_states(row, graph);
    const Region *body = graph->body;
    for (int i = 0; i < body->param.count - sn_graph_hidden_inputs(graph); i++)
        add_tensor(arena, &inputs, graph->dims, body->param.at[i]->name, body->param.at[i]->type);
    for (int i = 0; i < body->result.count - sn_graph_hidden_results(graph); i++)
        add_tensor(arena, &outputs, graph->dims, graph->output_name.at[i], body->result.at[i]->type);
    ReportFormat format;
    sn_report_format(sn_option_text(&cli->options, OPTION_OUT_FORMAT, NULL), &format);
    Text text = sn_text(arena);
    TRY(sn_report_print(&text, format, (const Table *const[]){&program, &inputs, &outputs}, 3));
    TRY(sn_cli_write(cli, NULL, sn_text_string(&text), text.length));
    return sn_saved_check_weights(saved);
}
