/* train: a model learns from a file of tokens, or from files of examples. */
#include "cli.h"
#include "clock.h"
#include "report.h"
#include "session.h"
#include "trainer.h"
#include <math.h>
#include <signal.h>

static const double held_out_usual = 0.1;

enum {
    STEPS_USUAL = 1000,
    BATCH_USUAL = 8,
    EVAL_BATCHES_USUAL = 10,
    EVALS_USUAL = 10, /* over the training */
};

/* What a training writes and prints. */
typedef struct Run {
    Cli *cli;
    const sn_Model *model;
    TrainerOptions options;
    Trainer *trainer;
    const char *out, *checkpoint; /* NULL: none */
    int64_t steps, eval_every, checkpoint_every;
    bool stop_on_nan, export_often, tables;
    const char *text; /* the options, as checkpoints keep them */
    Table table;
    double started, since; /* the clock at the first step, and at the last evaluation */
    double loss_sum;       /* of the steps since then */
    int64_t first, counted, skipped;
} Run;

/* ---- options ---- */

static const char *option_text(const Run *run, OptionId id) {
    return sn_option_text(&run->cli->options, id, NULL);
}

static int64_t option_integer(const Run *run, OptionId id, int64_t usual) {
    return sn_option_integer(&run->cli->options, id, usual);
}

static double option_number(const Run *run, OptionId id, double usual) {
    return sn_option_number(&run->cli->options, id, usual);
}

static const char *master_weights(const Run *run) {
    return sn_option_text(&run->cli->options, OPTION_MASTER, "yes");
}

/* In sn_TrainingOptions zero is the default, and what is negative is zero. */
static double chosen(const Run *run, OptionId id) {
    double value = option_number(run, id, 0);
    return sn_option_given(&run->cli->options, id) && value == 0 ? -1 : value;
}

static Status read_data(Run *run) {
    const Options *given = &run->cli->options;
    TrainerOptions *options = &run->options;
    bool tokens = sn_option_given(given, OPTION_TOKEN_DATA);
    TRY(sn_cli_specs(run->cli, OPTION_INPUT, &options->input_count, &options->input));
    TRY(sn_cli_specs(run->cli, OPTION_EXAMPLES, &options->example_count, &options->example));
    if (tokens && options->example_count)
        return sn_cli_usage(run->cli, "--data and --examples are two kinds of data");
    if (!tokens && !options->example_count)
        return sn_cli_usage(run->cli, "--data FILE is missing, or --examples NAME=@FILE.npy");
    options->training.loss = sn_cli_loss(run->cli);
    if (tokens && options->training.loss != SN_LOSS_CLASSES)
        return sn_cli_usage(run->cli,
                            "windows of --data have the tokens that follow as labels: --loss cross_entropy; "
                            "other losses go with --examples");
    return NULL;
}

static void read_training(Run *run) {
    TrainerOptions *options = &run->options;
    double rate = option_number(run, OPTION_LR, 1e-3);
    options->schedule = (Schedule){.peak = rate,
                                   .least = option_number(run, OPTION_MIN_LR, rate),
                                   .warmup = option_integer(run, OPTION_WARMUP_STEPS, 0),
                                   .steps = run->steps};
    options->training =
        (sn_TrainingOptions){.beta1 = chosen(run, OPTION_BETA1),
                             .beta2 = chosen(run, OPTION_BETA2),
                             .epsilon = chosen(run, OPTION_EPS),
                             .weight_decay = chosen(run, OPTION_WEIGHT_DECAY),
                             .clip_norm = option_number(run, OPTION_CLIP, 0),
                             .label_smoothing = option_number(run, OPTION_SMOOTHING, 0),
                             .memory_budget = option_integer(run, OPTION_MEMORY_BUDGET, 0),
                             .activation_share = option_number(run, OPTION_MEMORY_BUDGET, 0),
                             .has_ignore_index = sn_option_given(&run->cli->options, OPTION_IGNORE_INDEX),
                             .ignore_index = option_integer(run, OPTION_IGNORE_INDEX, 0),
                             .trained = option_text(run, OPTION_TRAINED),
                             .frozen = option_text(run, OPTION_FROZEN),
                             .no_master_weights = strcmp(master_weights(run), "no") == 0,
                             .seed = options->seed};
}

static Status read_options(Run *run) {
    const Options *given = &run->cli->options;
    TrainerOptions *options = &run->options;
    run->out = option_text(run, OPTION_OUT_FILE);
    run->checkpoint = option_text(run, OPTION_CHECKPOINT);
    run->steps = option_integer(run, OPTION_TRAIN_STEPS, STEPS_USUAL);
    run->eval_every = option_integer(run, OPTION_EVAL_EVERY, (run->steps + EVALS_USUAL - 1) / EVALS_USUAL);
    run->checkpoint_every = option_integer(run, OPTION_CHECKPOINT_EVERY, run->steps);
    run->stop_on_nan = strcmp(sn_option_text(given, OPTION_ON_NAN, "stop"), "skip") != 0;
    run->export_often = sn_option_given(given, OPTION_EXPORT);
    run->tables = sn_option_given(given, OPTION_TRAIN_FORMAT);
    *options = (TrainerOptions){.data = option_text(run, OPTION_TOKEN_DATA),
                                .text = sn_option_given(given, OPTION_TEXT),
                                .token_bytes = (int)option_integer(run, OPTION_TOKEN_BYTES, 0),
                                .held_out = option_number(run, OPTION_HELD_OUT, held_out_usual),
                                .batch = option_integer(run, OPTION_BATCH, BATCH_USUAL),
                                .length = option_integer(run, OPTION_WINDOW, 0),
                                .accumulate = option_integer(run, OPTION_ACCUMULATE, 1),
                                .eval_batches = option_integer(run, OPTION_EVAL_BATCHES, EVAL_BATCHES_USUAL),
                                .seed = (uint64_t)option_integer(run, OPTION_SEED, 0),
                                .late = strcmp(sn_option_text(given, OPTION_ON_NAN, ""), "late") == 0,
                                .logits = option_text(run, OPTION_LOGITS)};
    options->compile = sn_option_compile(given);
    if (!run->out && !run->checkpoint)
        return sn_cli_usage(run->cli, "-o FILE is missing, or --checkpoint FILE: nothing would be left");
    if (run->out && run->checkpoint && strcmp(run->out, run->checkpoint) == 0)
        return sn_cli_usage(run->cli, "-o and --checkpoint are one file: the model would replace the states");
    if (options->held_out >= 1) return sn_cli_usage(run->cli, "--held-out: everything but a part");
    read_training(run);
    TRY(sn_cli_dropout(run->cli, &options->training.dropout));
    TRY(read_data(run));
    return NULL;
}

/* A line an option: what a checkpoint was made with. */
static const char *describe_options(const Run *run) {
    const TrainerOptions *o = &run->options;
    const sn_TrainingOptions *t = &o->training;
    return sn_arena_printf(
        run->cli->arena,
        "steps %lld\nbatch %lld\ncontext %lld\naccumulate %lld\nseed %llu\nheld-out %.17g\n"
        "lr %.17g\nmin-lr %.17g\nwarmup-steps %lld\nbeta1 %.17g\nbeta2 %.17g\neps %.17g\n"
        "weight-decay %.17g\nclip %.17g\nlabel-smoothing %.17g\ndropout %s\nloss %s\nmemory-budget %s\n"
        "trained %s\nfrozen %s\nignore-index %s\nmaster-weights %s\nautocast %s\n",
        (long long)run->steps, (long long)o->batch, (long long)sn_trainer_length(run->trainer),
        (long long)o->accumulate, (unsigned long long)o->seed, o->held_out, o->schedule.peak,
        o->schedule.least, (long long)o->schedule.warmup, t->beta1, t->beta2, t->epsilon, t->weight_decay,
        t->clip_norm, t->label_smoothing, sn_option_text(&run->cli->options, OPTION_DROPOUT, "model"),
        sn_option_text(&run->cli->options, OPTION_LOSS, "cross_entropy"),
        sn_option_text(&run->cli->options, OPTION_MEMORY_BUDGET, "none"),
        sn_option_text(&run->cli->options, OPTION_TRAINED, "usual"),
        sn_option_text(&run->cli->options, OPTION_FROZEN, "none"),
        t->has_ignore_index ? sn_arena_printf(run->cli->arena, "%lld", (long long)t->ignore_index) : "none",
        master_weights(run), sn_autocast_name(o->compile.autocast));
}

/* Says what is different from how the checkpoint was made: the training goes on, but not as it would have. */
static void compare_options(const Run *run, const char *before) {
    const char *now = run->text;
    while (*before && *now) {
        int old_length = (int)strcspn(before, "\n"), new_length = (int)strcspn(now, "\n");
        if (old_length != new_length || memcmp(before, now, (size_t)old_length) != 0)
            sn_cli_note("the checkpoint was made with '%.*s', and this goes on with '%.*s'", old_length,
                        before, new_length, now);
        before += old_length + (before[old_length] == '\n');
        now += new_length + (now[new_length] == '\n');
    }
}

/* ---- interruptions ----
 *
 * The signals stay blocked, here and in all threads that are made from now on, and are looked for between steps. */

static void hold_signals(sigset_t *signals) {
    sigemptyset(signals);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGTERM);
    sigprocmask(SIG_BLOCK, signals, NULL);
}

static bool is_interrupted(const sigset_t *signals) {
    static const struct timespec now = {0, 0};
    return sigtimedwait(signals, NULL, &now) > 0;
}

/* ---- what is printed ---- */

typedef enum TrainColumn {
    COLUMN_STEP,
    COLUMN_LOSS,
    COLUMN_HELD_OUT,
    COLUMN_RATE,
    COLUMN_TOKENS,
    COLUMN_SECONDS,
    COLUMN_SKIPPED,
    COLUMN_COUNT
} TrainColumn;

static const Column columns[COLUMN_COUNT] = {
    [COLUMN_STEP] = {"step", "step", SN_CELL_COUNT},
    [COLUMN_LOSS] = {"loss", "loss", SN_CELL_NUMBER},
    [COLUMN_HELD_OUT] = {"held_out_loss", "held-out loss", SN_CELL_NUMBER},
    [COLUMN_RATE] = {"learning_rate", "learning rate", SN_CELL_NUMBER},
    [COLUMN_TOKENS] = {"tokens_s", "tokens/s", SN_CELL_COUNT},
    [COLUMN_SECONDS] = {"seconds", "seconds", SN_CELL_NUMBER},
    [COLUMN_SKIPPED] = {"skipped", "steps skipped", SN_CELL_COUNT},
};

static const char *unit(const Run *run) {
    return run->options.data ? "tokens" : "examples";
}

static double per_second(const Run *run, int64_t steps, double seconds) {
    return seconds > 0 ? (double)(steps * sn_trainer_step_size(run->trainer)) / seconds : 0;
}

static void show_progress(const Run *run, double loss) {
    int64_t done = sn_trainer_step(run->trainer);
    double spent = sn_clock() - run->started,
           left = spent / (double)(done - run->first) * (double)(run->steps - done);
    sn_cli_progress("step %lld of %lld  loss %.4f  %.0f %s/s  %lld:%02lld left", (long long)done,
                    (long long)run->steps, loss, per_second(run, done - run->first, spent), unit(run),
                    (long long)left / 60, (long long)left % 60);
}

/* The loss of the steps since the last time, and of the held-out part now. */
static Status report(Run *run) {
    int64_t step = sn_trainer_step(run->trainer);
    double seconds = sn_clock() - run->since, loss = run->loss_sum / (double)run->counted, held = NAN;
    double rate = sn_schedule_rate(&run->options.schedule, step ? step - 1 : 0);
    double speed = per_second(run, run->counted, seconds);
    if (run->options.held_out > 0) TRY(sn_trainer_evaluate(run->trainer, &held));
    Cell *row = sn_table_row(run->cli->arena, &run->table);
    row[COLUMN_STEP] = sn_cell_number((double)step);
    if (run->counted) row[COLUMN_LOSS] = sn_cell_number(loss);
    if (run->options.held_out > 0) row[COLUMN_HELD_OUT] = sn_cell_number(held);
    row[COLUMN_RATE] = sn_cell_number(rate);
    row[COLUMN_TOKENS] = sn_cell_number(floor(speed));
    row[COLUMN_SECONDS] = sn_cell_number(seconds);
    row[COLUMN_SKIPPED] = sn_cell_number((double)run->skipped);
    if (!run->tables) {
        sn_cli_progress("%s", "");
        printf("step %lld", (long long)step);
        if (run->counted) printf("  loss %.4f", loss);
        if (run->options.held_out > 0) printf("  held-out %.4f", held);
        printf("  rate %.3g  %.0f %s/s\n", rate, speed, unit(run));
        fflush(stdout);
    }
    run->loss_sum = 0;
    run->counted = 0;
    run->since = sn_clock();
    return NULL;
}

static Status show_table(Run *run) {
    if (run->skipped)
        sn_cli_note("%lld %s skipped", (long long)run->skipped,
                    run->skipped == 1 ? "step was" : "steps were");
    if (!run->tables) return NULL;
    ReportFormat format;
    Column column[COLUMN_COUNT];
    memcpy(column, columns, sizeof column);
    column[COLUMN_TOKENS].key = sn_arena_printf(run->cli->arena, "%s_s", unit(run));
    column[COLUMN_TOKENS].heading = sn_arena_printf(run->cli->arena, "%s/s", unit(run));
    run->table.column = column;
    sn_report_format(option_text(run, OPTION_TRAIN_FORMAT), &format);
    Text text = sn_text(run->cli->arena);
    TRY(sn_report_print(&text, format, (const Table *const[]){&run->table}, 1));
    return sn_cli_write(run->cli, NULL, sn_text_string(&text), text.length);
}

/* ---- the training ---- */

static Status save(Run *run) {
    if (run->checkpoint)
        TRY(sn_status_prefix(sn_trainer_save(run->trainer, run->checkpoint, run->text), "step %lld",
                             (long long)sn_trainer_step(run->trainer)));
    if (run->out && (run->export_often || sn_trainer_step(run->trainer) >= run->steps))
        TRY(sn_trainer_export(run->trainer, run->cli->options.argument[0], run->out));
    return NULL;
}

static Status stop(Run *run) {
    TRY(save(run));
    long long step = (long long)sn_trainer_step(run->trainer);
    if (!run->checkpoint)
        return sn_fail(SN_INVALID, "interrupted behind step %lld; there is no checkpoint to go on from",
                       step);
    return sn_fail(SN_INVALID, "interrupted behind step %lld; --resume %s goes on from there", step,
                   run->checkpoint);
}

/* The states are those of the last step that counted, and so is the checkpoint. */
static Status stop_at_nan(Run *run, double loss) {
    long long step = (long long)sn_trainer_step(run->trainer);
    if (run->options.late)
        return sn_fail(
            SN_FAULT,
            "step %lld: the loss (%g) is not finite, and the weights are lost: --on-nan late keeps "
            "none but those of earlier checkpoints",
            step, loss);
    if (run->checkpoint) TRY(sn_trainer_save(run->trainer, run->checkpoint, run->text));
    const char *further =
        run->checkpoint ? sn_arena_printf(run->cli->arena, ", --resume %s goes on behind it", run->checkpoint)
                        : "";
    return sn_fail(
        SN_FAULT,
        "step %lld: the loss (%g) or a gradient is not finite; --on-nan skip leaves such steps out%s", step,
        loss, further);
}

/* A run that fails on its data leaves the states as they were: they are kept, unless they hold gradients of a step that is
 * not complete. */
static Status stop_at_fault(Run *run, Status fault) {
    long long step = (long long)sn_trainer_step(run->trainer) + 1;
    bool kept = sn_error_code(fault) == SN_FAULT && run->checkpoint && run->options.accumulate == 1;
    Status saved = kept ? sn_trainer_save(run->trainer, run->checkpoint, run->text) : NULL;
    const char *further =
        kept && !saved ? sn_arena_printf(run->cli->arena, "; %s has the steps before", run->checkpoint) : "";
    Status status = sn_fail(sn_error_code(fault), "step %lld: %s%s", step, sn_error_message(fault), further);
    sn_error_free(saved);
    sn_error_free(fault);
    return status;
}

static Status make_step(Run *run) {
    double loss;
    bool updated;
    Status fault = sn_trainer_run(run->trainer, &loss, &updated);
    if (fault) return stop_at_fault(run, fault);
    bool scales = false;
    if (!updated && isfinite(loss)) TRY(sn_trainer_scales(run->trainer, &scales));
    if (!updated && run->stop_on_nan && !scales) return stop_at_nan(run, loss);
    run->skipped += !updated;
    if (updated) run->loss_sum += loss, run->counted++;
    show_progress(run, loss);
    return NULL;
}

static Status train(Run *run, const sigset_t *signals) {
    run->started = run->since = sn_clock();
    run->first = sn_trainer_step(run->trainer);
    for (int64_t step = run->first; step < run->steps;) {
        TRY(make_step(run));
        step = sn_trainer_step(run->trainer);
        if (is_interrupted(signals)) return stop(run);
        if (step % run->eval_every == 0 || step == run->steps) TRY(report(run));
        if (step % run->checkpoint_every == 0 || step == run->steps) TRY(save(run));
    }
    if (run->first >= run->steps) TRY(save(run));
    return show_table(run);
}

static Status train_model(Run *run) {
    Arena *arena = run->cli->arena;
    const char *resume = option_text(run, OPTION_RESUME), *before;
    sigset_t signals;
    TRY(sn_cli_check_place(run->cli, run->checkpoint));
    TRY(sn_cli_check_place(run->cli, run->out));
    hold_signals(&signals);
    sn_cli_progress("compiling");
    TRY(sn_trainer_open(arena, run->model, &run->options, &run->trainer));
    sn_cli_progress("%s", "");
    const BudgetReport *budget = sn_trainer_budget(run->trainer);
    if (budget) sn_cli_note("%s", sn_budget_report_text(arena, budget));
    run->text = describe_options(run);
    if (resume) {
        TRY(sn_trainer_resume(run->trainer, resume, &before));
        compare_options(run, before);
    }
    Status status = train(run, &signals);
    sn_trainer_close(run->trainer);
    return status;
}

Status sn_cli_train(Cli *cli) {
    Run run = {.cli = cli, .table = {.name = "steps", .column = columns, .column_count = COLUMN_COUNT}};
    sn_Model *model;
    LoadOptions load;
    TRY(read_options(&run));
    if (sn_parts_is(cli->options.argument[0]))
        return sn_cli_usage(cli, "%s is a compiled program; what is trained is a model",
                            cli->options.argument[0]);
    TRY(sn_cli_load_options(cli, 0, NULL, &load));
    TRY(sn_session_open(cli->options.argument[0], &load, &model));
    run.model = model;
    Status status = train_model(&run);
    sn_model_close(model);
    return status;
}
