/* The orders of the passes, and the runner. */
#include "clock.h"
#include "pass.h"
#include "verify.h"

typedef struct Row {
    const char *name;
    PassFunction *function;
} Row;

static const Row compiled_order[] = {
    {"differentiate", sn_differentiate},
    {"simplify", sn_simplify},
    {"append", sn_append},
    {"recognise", sn_recognise},
    {"merge", sn_merge},
    {"autocast", sn_autocast},
    {"simplify", sn_simplify},
    {"expand", sn_expand},
    {"simplify", sn_simplify},
    {"layout", sn_layout},
    {"integers", sn_integers},
    {"remat", sn_remat},
    {"pack", sn_pack},
    {"fuse", sn_fuse},
    {0},
};

/* Eager is the same program with each operator kept to itself: no merging of siblings, no packed weights;
 * fuse joins only what one operator of the model is made of. States that grow do so in place, as they do
 * where eager frameworks write into caches that they allocated beforehand. */
static const Row eager_order[] = {
    {"differentiate", sn_differentiate},
    {"simplify", sn_simplify},
    {"append", sn_append},
    {"recognise", sn_recognise},
    {"autocast", sn_autocast},
    {"simplify", sn_simplify},
    {"expand", sn_expand},
    {"simplify", sn_simplify},
    {"layout", sn_layout},
    {"integers", sn_integers},
    {"fuse", sn_fuse},
    {0},
};

/* A training step. Weights change from run to run, so nothing is merged or packed of them. */
static const Row training_order[] = {
    {"differentiate", sn_differentiate},
    {"parameters", sn_parameters},
    {"simplify", sn_simplify},
    {"recognise", sn_recognise},
    {"autocast", sn_autocast},
    {"step", sn_make_step},
    {"simplify", sn_simplify},
    {"expand", sn_expand},
    {"simplify", sn_simplify},
    {"layout", sn_layout},
    {"remat", sn_remat},
    {"pack", sn_pack},
    {"fuse", sn_fuse},
    {0},
};

static const Row eager_training_order[] = {
    {"differentiate", sn_differentiate},
    {"parameters", sn_parameters},
    {"simplify", sn_simplify},
    {"recognise", sn_recognise},
    {"autocast", sn_autocast},
    {"step", sn_make_step},
    {"simplify", sn_simplify},
    {"expand", sn_expand},
    {"simplify", sn_simplify},
    {"layout", sn_layout},
    {"fuse", sn_fuse},
    {0},
};

static const Row *order_of(bool eager, bool training) {
    if (training) return eager ? eager_training_order : training_order;
    return eager ? eager_order : compiled_order;
}

const char *sn_pipeline_name(bool eager, bool training, int index) {
    return order_of(eager, training)[index].name;
}

static bool find_pass(const Row *order, const char *name, PassFunction **function) {
    for (const Row *row = order; row->name; row++) {
        if (strcmp(row->name, name) != 0) continue;
        *function = row->function;
        return true;
    }
    return false;
}

bool sn_pass_by_name(const char *name, PassFunction **function) {
    return find_pass(compiled_order, name, function) || find_pass(training_order, name, function);
}

static Status run_pass(Arena *arena, Graph *graph, const Row *row, Pass *pass, const PipelineOptions *options,
                       PipelineResult *result) {
    pass->name = row->name;
    pass->arena = sn_arena_child(arena);
    pass->rewrites = 0;
    if (options->observe) options->observe(options->user, row->name, false, graph);
    double start = sn_clock();
    bool changed = row->function(pass, graph);
    PassRecord record = {row->name, sn_clock() - start, pass->rewrites, changed};
    sn_push(arena, &result->record, record);
    sn_arena_free(pass->arena);
    /* What the model or its user did needs no pass to be understood. */
    if (sn_error_code(pass->status) == SN_INVALID) return pass->status;
    if (pass->status) return sn_status_prefix(pass->status, "pass %s", row->name);
    if (sn_dims_overflowed(graph->dims))
        return sn_fail(SN_INVALID, "pass %s: a size of the model overflows 64 bits", row->name);
    if (options->verify) TRY(sn_status_prefix(sn_verify(graph), "after pass %s", row->name));
    if (options->observe) options->observe(options->user, row->name, true, graph);
    return NULL;
}

/* The last pass named `name` counts, so that "simplify" means the graph as the next stage sees it. */
static bool is_last(const Row *row, const char *name) {
    if (!name || strcmp(row->name, name) != 0) return false;
    for (const Row *later = row + 1; later->name; later++)
        if (strcmp(later->name, name) == 0) return false;
    return true;
}

Status sn_pipeline(Arena *arena, Graph *graph, const Target *target, const PipelineOptions *options,
                   PipelineResult *result) {
    int64_t spent = 0;
    result->remarks.arena = arena;
    if (options->no_dropout) sn_dropout_ignore(graph);
    Pass pass = {.target = target,
                 .eager = options->eager,
                 .limit = options->limit ? options->limit : INT64_MAX,
                 .spent = &spent,
                 .autocast = options->autocast,
                 .state_count = options->state_count,
                 .state = options->state,
                 .training = options->training,
                 .recompute = options->recompute,
                 .remat = options->remat,
                 .extent_count = options->extent_count,
                 .extent = options->extent,
                 .remarks = &result->remarks};
    for (const Row *row = order_of(options->eager, options->training); row->name; row++) {
        TRY(run_pass(arena, graph, row, &pass, options, result));
        if (is_last(row, options->stop_after)) return NULL;
    }
    return NULL;
}
