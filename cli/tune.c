/* tune: measures what no fact of the machine predicts, and writes it down for --tuning. */
#include "tune.h"
#include "cli.h"
#include "model_bench.h"
#include "parts.h"
#include "tuning_file.h"
#include <unistd.h>

static void show_progress(const char *what) {
    sn_cli_progress("measuring: %s", what);
}

static Status read_inputs(Cli *cli, const Graph *graph, Inputs *out) {
    const OptionValue *shape = &cli->options.value[OPTION_SHAPE];
    ShapeSpec *shapes = SN_ARRAY(cli->arena, ShapeSpec, shape->count);
    const InputSpec *inputs;
    int count;
    Status status = NULL;
    for (int i = 0; i < shape->count && !status; i++)
        status = sn_shape_spec_parse(cli->arena, shape->text[i], &shapes[i]);
    if (status) {
        cli->usage = true;
        return status;
    }
    TRY(sn_cli_input_specs(cli, &count, &inputs));
    InputRequest request = {
        .shape_count = shape->count, .shape = shapes, .input_count = count, .input = inputs};
    TRY(sn_inputs_make(cli->arena, graph, &request, out));
    if (*out->chosen) sn_cli_note("sizes taken: %s (--shape gives others)", out->chosen);
    return NULL;
}

static Status tune_model(Cli *cli, const sn_Model *model, const char *path) {
    Tuning *tuning = sn_tuning_new(cli->arena);
    if (path && access(path, F_OK) == 0) TRY(sn_tuning_read(cli->arena, path, &tuning));
    Inputs inputs;
    Graph *graph = model->graph;
    const Training *training = NULL;
    const char *device = sn_option_text(&cli->options, OPTION_DEVICE, NULL);
    bool gpu = device && strcmp(device, "cpu") != 0;
    if (sn_option_given(&cli->options, OPTION_LOSS)) {
        TRY(sn_cli_training(cli, &training));
        TRY(sn_training_inputs(cli->arena, model->graph, training, &graph));
    }
    TRY(sn_cli_check_text_place(cli, path));
    TRY(read_inputs(cli, graph, &inputs));
    if (training) sn_bench_set_rate(graph, &inputs);
    TuneRequest request = {.model = model,
                           .training = training,
                           .inputs = &inputs,
                           .device = device,
                           .precision = sn_option_precision(&cli->options),
                           .threads = (int)sn_option_integer(&cli->options, OPTION_THREADS, 0),
                           .iters = (int)sn_option_integer(&cli->options, OPTION_ITERS, 10),
                           .progress = show_progress};
    Table table = sn_tune_table(gpu);
    TRY((gpu ? sn_tune_products : sn_tune)(cli->arena, &request, tuning, &table));
    sn_cli_progress("%s", "");
    Text lines = sn_text(cli->arena), shown = sn_text(cli->arena);
    sn_tuning_print(&lines, tuning);
    TRY(sn_cli_write(cli, path, sn_text_string(&lines), lines.length));
    if (!path) return NULL;
    TRY(sn_report_print(&shown, SN_REPORT_MD, (const Table *const[]){&table}, 1));
    return sn_cli_write(cli, NULL, sn_text_string(&shown), shown.length);
}

Status sn_cli_tune(Cli *cli) {
    sn_Model *model;
    LoadOptions load;
    const char *path = cli->options.argument[0];
    if (sn_parts_is(path))
        return sn_cli_usage(cli, "%s is a compiled program; what is tuned is a model", path);
    TRY(sn_cli_load_options(cli, 0, NULL, &load));
    TRY(sn_session_open(path, &load, &model));
    Status status = tune_model(cli, model, sn_option_text(&cli->options, OPTION_OUT_FILE, NULL));
    sn_model_close(model);
    return status;
}
