/* dump: the model at any stage of its compilation, as text. */
#include "cli.h"
#include "cpu/cpu.h"
#include "cuda/cuda.h"
#include "session.h"
#include "text_form.h"
#include "tuning_file.h"

typedef struct Dump {
    Text text;
    bool dot;
    const char *before, *after; /* passes, or NULL */
    bool after_all;
} Dump;

static void print_graph(Dump *dump, const Graph *graph) {
    if (dump->dot)
        sn_graph_print_dot(&dump->text, graph);
    else
        sn_graph_print(&dump->text, graph);
}

static bool is_named(const char *wanted, const char *pass) {
    return wanted && strcmp(wanted, pass) == 0;
}

static void observe(void *user, const char *pass, bool after, const Graph *graph) {
    Dump *dump = user;
    bool wanted = after ? dump->after_all || is_named(dump->after, pass) : is_named(dump->before, pass);
    if (!wanted) return;
    sn_text_add(&dump->text, "// %s %s\n", after ? "after" : "before", pass);
    print_graph(dump, graph);
}

static void print_remarks(Arena *arena, Text *text, const PipelineResult *result) {
    for (int i = 0; i < result->remarks.list.count; i++) {
        const Remark *remark = &result->remarks.list.at[i];
        sn_text_add(text, "// %s: %s%s%s%s%s\n", remark->pass, remark->done ? "" : "declined: ", remark->text,
                    remark->origin ? " [" : "", sn_origin_text(arena, remark->origin),
                    remark->origin ? "]" : "");
    }
}

static Status read_target(Cli *cli, Target *target) {
    const char *name = sn_option_text(&cli->options, OPTION_TARGET, "cpu");
    const char *file = sn_option_text(&cli->options, OPTION_TUNING, NULL);
    if (strcmp(name, "cpu") == 0) {
        TRY(sn_cpu_target(cli->arena, NULL, target));
        Tuning *tuning = NULL;
        if (file) TRY(sn_tuning_read(cli->arena, file, &tuning));
        sn_tuning_apply(target, tuning);
        return NULL;
    }
    if (file) return sn_cli_usage(cli, "--tuning goes with --target cpu");
    CudaName cuda;
    if (!sn_cuda_name(name, &cuda) || !cuda.sm)
        return sn_cli_usage(cli, "--target: '%s' is neither cpu nor cuda:sm_NN, from cuda:sm_80 on", name);
    sn_target_cuda(target, cuda.sm);
    target->precision = sn_option_precision(&cli->options);
    return NULL;
}

/* A stage whose form is a graph, and the pass that it ends with. */
static const struct {
    const char *stage, *last_pass;
} graph_stages[] = {
    {"recognised", "recognise"}, {"autocast", "autocast"}, {"expanded", "expand"}, {"fused", NULL}};

static bool is_graph_stage(const char *stage, const char **last_pass) {
    for (size_t i = 0; i < sizeof graph_stages / sizeof *graph_stages; i++) {
        if (strcmp(graph_stages[i].stage, stage) != 0) continue;
        *last_pass = graph_stages[i].last_pass;
        return true;
    }
    return false;
}

/* The loop nests of every distinct kernel. */
static Status print_loops(Arena *arena, Text *text, const Plan *plan) {
    for (int k = 0, next = 0; k < plan->launch_count; k++) {
        const PlanLaunch *launch = &plan->launch[k];
        if (launch->unique != next) continue;
        next++;
        sn_text_add(text, "// %s: %s\n", launch->kernel->name,
                    sn_origin_text(arena, launch->cluster->origin));
        TRY(sn_codegen_print(arena, plan->graph->dims, launch->cluster, plan->target, text));
    }
    return NULL;
}

/* The kernels of a target that cannot run all clusters yet: what it has no kernel for says so in its place.
 */
static Status print_clusters(Cli *cli, Dump *dump, bool loops, const Graph *graph, const Target *target) {
    Map *seen = sn_map_new(cli->arena);
    for (const Node *node = graph->body->first; node; node = node->next) {
        Kernel *kernel;
        if (node->op != SN_OP_CLUSTER) continue;
        const char *origin = sn_origin_text(cli->arena, node->origin);
        Status status = sn_codegen(cli->arena, graph->dims, node, target, &kernel);
        if (sn_error_code(status) == SN_UNSUPPORTED) {
            sn_text_add(&dump->text, "// %s: unsupported: %s\n\n", origin, sn_error_message(status));
            sn_error_free(status);
            continue;
        }
        TRY(status);
        void **slot = sn_map_at_string(seen, kernel->name);
        if (*slot) continue;
        *slot = kernel;
        sn_text_add(&dump->text, "// %s: %s\n", kernel->name, origin);
        if (loops)
            TRY(sn_codegen_print(cli->arena, graph->dims, node, target, &dump->text));
        else
            sn_text_add(&dump->text, "%s\n", kernel->source);
    }
    return NULL;
}

static Status print_planned(Cli *cli, Dump *dump, const char *stage, const Plan *plan) {
    if (strcmp(stage, "plan") == 0)
        sn_plan_print(&dump->text, plan);
    else if (strcmp(stage, "kernels") == 0)
        sn_plan_print_kernels(&dump->text, plan);
    else
        TRY(print_loops(cli->arena, &dump->text, plan));
    return NULL;
}

static Status print_plan(Cli *cli, Dump *dump, const char *stage, const Graph *imported, const Target *target,
                         const PipelineOptions *pipeline, PipelineResult *result) {
    Plan *plan;
    Ledger ledger = {0};
    if (target->kind == SN_TARGET_CUDA && strcmp(stage, "plan") != 0) {
        Graph *graph;
        TRY(sn_compile_graph(cli->arena, imported, target, pipeline, result, &ledger, &graph));
        return print_clusters(cli, dump, strcmp(stage, "loops") == 0, graph, target);
    }
    TRY(sn_compile_plan(cli->arena, imported, target, pipeline, result, &ledger, &plan));
    return print_planned(cli, dump, stage, plan);
}

static Status check_pass(Cli *cli, OptionId id, bool eager, bool training) {
    const char *pass = sn_option_text(&cli->options, id, NULL);
    if (!pass) return NULL;
    Text names = sn_text(cli->arena);
    for (int i = 0; sn_pipeline_name(eager, training, i); i++) {
        if (strcmp(sn_pipeline_name(eager, training, i), pass) == 0) return NULL;
        sn_text_add(&names, " %s", sn_pipeline_name(eager, training, i));
    }
    return sn_cli_usage(cli, "there is no pass '%s' in this mode; there are:%s", pass,
                        sn_text_string(&names));
}

static Status dump_model(Cli *cli, Dump *dump, const Graph *imported) {
    const Options *options = &cli->options;
    bool observed = dump->before || dump->after || dump->after_all;
    bool remarks = sn_option_given(options, OPTION_REMARKS);
    const char *stage = sn_option_text(options, OPTION_STAGE, observed || remarks ? NULL : "fused");
    PipelineOptions pipeline = {.eager = strcmp(sn_option_text(options, OPTION_MODE, ""), "eager") == 0,
                                .autocast = sn_option_autocast(options),
                                .verify = true,
                                .observe = observed ? observe : NULL,
                                .user = dump};
    bool training = sn_option_given(options, OPTION_LOSS);
    if (training) TRY(sn_cli_training(cli, &pipeline.training));
    TRY(check_pass(cli, OPTION_BEFORE, pipeline.eager, training));
    TRY(check_pass(cli, OPTION_AFTER, pipeline.eager, training));
    Target target;
    TRY(read_target(cli, &target));
    PipelineResult result = {0};
    if (stage && strcmp(stage, "import") == 0 && !observed && !remarks) {
        print_graph(dump, imported);
    } else if (!stage || is_graph_stage(stage, &pipeline.stop_after)) {
        Graph *graph;
        Ledger ledger = {0};
        TRY(sn_compile_graph(cli->arena, imported, &target, &pipeline, &result, &ledger, &graph));
        if (stage) print_graph(dump, graph);
    } else if (strcmp(stage, "import") == 0 || dump->dot) {
        return sn_cli_usage(cli, "--stage %s goes together with none of %s", stage,
                            dump->dot ? "--format dot" : "--before, --after, --print-after-all, --remarks");
    } else {
        TRY(print_plan(cli, dump, stage, imported, &target, &pipeline, &result));
    }
    if (remarks) print_remarks(cli->arena, &dump->text, &result);
    return NULL;
}

/* A saved program has its last stages only, of the target that it was compiled for. */
static Status dump_saved(Cli *cli, Dump *dump) {
    static const OptionId passes[] = {OPTION_BEFORE, OPTION_AFTER,   OPTION_PRINT_AFTER_ALL,
                                      OPTION_TARGET, OPTION_REMARKS, OPTION_MODE,
                                      OPTION_CAST,   OPTION_CONSTANT};
    const Options *options = &cli->options;
    const char *stage = sn_option_text(options, OPTION_STAGE, "fused");
    bool graph_stage = strcmp(stage, "fused") == 0;
    bool there = graph_stage || (!dump->dot && (strcmp(stage, "plan") == 0 || strcmp(stage, "loops") == 0 ||
                                                strcmp(stage, "kernels") == 0));
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
        there = there && !sn_option_given(options, passes[i]);
    if (!there)
        return sn_cli_usage(cli, "a saved program has --stage fused, plan, loops and kernels, no more");
    Saved *saved;
    Graph *graph;
    Plan *plan;
    TRY(sn_saved_open(cli->arena, options->argument[0], &saved, &graph));
    if (graph_stage) {
        print_graph(dump, graph);
        return NULL;
    }
    const SavedFacts *facts = &saved->facts;
    TRY(sn_plan_new(cli->arena, graph, &facts->target, facts->eager, sn_codegen, &plan));
    TRY(sn_plan_add_states(cli->arena, plan, facts->state_count, facts->state));
    return print_planned(cli, dump, stage, plan);
}

static Status dump_file(Cli *cli, Dump *dump) {
    if (sn_parts_is(cli->options.argument[0])) return dump_saved(cli, dump);
    Graph *imported;
    LoadOptions load;
    TRY(sn_cli_load_options(cli, 0, NULL, &load));
    TRY(sn_load_onnx(cli->arena, cli->options.argument[0], &load, &imported, NULL));
    return dump_model(cli, dump, imported);
}

Status sn_cli_dump(Cli *cli) {
    const Options *options = &cli->options;
    Dump dump = {.text = sn_text(cli->arena),
                 .dot = strcmp(sn_option_text(options, OPTION_FORMAT, "text"), "dot") == 0,
                 .before = sn_option_text(options, OPTION_BEFORE, NULL),
                 .after = sn_option_text(options, OPTION_AFTER, NULL),
                 .after_all = sn_option_given(options, OPTION_PRINT_AFTER_ALL)};
    Status status = dump_file(cli, &dump);
    /* What was dumped before a pass failed is what one wants to see then. */
    const char *text = sn_text_string(&dump.text);
    if (dump.text.length && !cli->usage) {
        Status written =
            sn_cli_write(cli, sn_option_text(options, OPTION_OUT_FILE, NULL), text, dump.text.length);
        if (!status) return written;
        sn_error_free(written);
    }
    return status;
}
