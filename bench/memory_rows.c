/* What runs and steps of training take of memory, as planned and as the system gave it, and of what most of it is at its peak. */
#include "bench_rows.h"
#include "text_parts.h"

typedef enum MemoryColumn {
    MEMORY_MODEL,
    MEMORY_MODE,
    MEMORY_AUTOCAST,
    MEMORY_BUDGET,
    MEMORY_SHAPES,
    MEMORY_KEPT,
    MEMORY_FORWARD,
    MEMORY_BACKWARD,
    MEMORY_UPDATE,
    MEMORY_CONSTANTS,
    MEMORY_STATES,
    MEMORY_GRADIENTS,
    MEMORY_ACTIVATIONS,
    MEMORY_ARENA,
    MEMORY_PLANNED,
    MEMORY_MEASURED,
    MEMORY_OPERATIONS,
    MEMORY_MOVED,
    MEMORY_LOST,
    MEMORY_COLUMNS
} MemoryColumn;

static const Column columns[MEMORY_COLUMNS] = {
    [MEMORY_MODEL] = {"model", "model", SN_CELL_TEXT},
    [MEMORY_MODE] = {"mode", "mode", SN_CELL_TEXT},
    [MEMORY_AUTOCAST] = {"autocast", "autocast", SN_CELL_TEXT},
    [MEMORY_BUDGET] = {"memory_budget", "memory budget", SN_CELL_TEXT},
    [MEMORY_SHAPES] = {"shapes", "shapes", SN_CELL_TEXT},
    [MEMORY_KEPT] = {"kept_bytes", "kept for backward", SN_CELL_BYTES},
    [MEMORY_FORWARD] = {"forward_bytes", "peak in forward", SN_CELL_BYTES},
    [MEMORY_BACKWARD] = {"backward_bytes", "peak in backward", SN_CELL_BYTES},
    [MEMORY_UPDATE] = {"update_bytes", "peak in updates", SN_CELL_BYTES},
    [MEMORY_CONSTANTS] = {"constant_bytes", "constants", SN_CELL_BYTES},
    [MEMORY_STATES] = {"state_bytes", "weights and moments", SN_CELL_BYTES},
    [MEMORY_GRADIENTS] = {"gradient_bytes", "gradients", SN_CELL_BYTES},
    [MEMORY_ACTIVATIONS] = {"activation_bytes", "activations", SN_CELL_BYTES},
    [MEMORY_ARENA] = {"arena_bytes", "arena of both", SN_CELL_BYTES},
    [MEMORY_PLANNED] = {"planned_bytes", "planned in all", SN_CELL_BYTES},
    [MEMORY_MEASURED] = {"measured_bytes", "measured", SN_CELL_BYTES},
    [MEMORY_OPERATIONS] = {"operations_again", "operations done again", SN_CELL_SHARE},
    [MEMORY_MOVED] = {"moved_again", "bytes moved besides", SN_CELL_SHARE},
    [MEMORY_LOST] = {"time_lost", "time lost", SN_CELL_SHARE},
};

typedef enum BufferColumn {
    BUFFER_MODEL,
    BUFFER_MODE,
    BUFFER_AUTOCAST,
    BUFFER_BUDGET,
    BUFFER_SHAPES,
    BUFFER_BYTES,
    BUFFER_SHARE,
    BUFFER_FIRST,
    BUFFER_LAST,
    BUFFER_PHASE,
    BUFFER_WHAT,
    BUFFER_ORIGIN,
    BUFFER_COLUMNS
} BufferColumn;

static const Column buffer_columns[BUFFER_COLUMNS] = {
    [BUFFER_MODEL] = {"model", "model", SN_CELL_TEXT},
    [BUFFER_MODE] = {"mode", "mode", SN_CELL_TEXT},
    [BUFFER_AUTOCAST] = {"autocast", "autocast", SN_CELL_TEXT},
    [BUFFER_BUDGET] = {"memory_budget", "memory budget", SN_CELL_TEXT},
    [BUFFER_SHAPES] = {"shapes", "shapes", SN_CELL_TEXT},
    [BUFFER_BYTES] = {"bytes", "at the peak", SN_CELL_BYTES},
    [BUFFER_SHARE] = {"share", "of the peak", SN_CELL_SHARE},
    [BUFFER_FIRST] = {"first_launch", "from launch", SN_CELL_COUNT},
    [BUFFER_LAST] = {"last_launch", "to", SN_CELL_COUNT},
    [BUFFER_PHASE] = {"phase", "made in", SN_CELL_TEXT},
    [BUFFER_WHAT] = {"summary", "by", SN_CELL_TEXT},
    [BUFFER_ORIGIN] = {"origin", "of", SN_CELL_TEXT},
};

enum { BUFFERS_MOST = 10 }; /* rows of a setting */

Table sn_bench_memory_table(void) {
    return (Table){
        .name = "memory", .column = columns, .column_count = MEMORY_COLUMNS, .labels = MEMORY_KEPT};
}

Table sn_bench_buffer_table(void) {
    return (Table){
        .name = "buffers", .column = buffer_columns, .column_count = BUFFER_COLUMNS, .labels = BUFFER_BYTES};
}

static void fill_needs(Cell *row, const Needs *needs) {
    row[MEMORY_CONSTANTS] = sn_cell_number((double)needs->constants);
    if (needs->states) row[MEMORY_STATES] = sn_cell_number((double)needs->states);
    if (needs->gradients) row[MEMORY_GRADIENTS] = sn_cell_number((double)needs->gradients);
    row[MEMORY_ACTIVATIONS] = sn_cell_number((double)needs->activations);
    row[MEMORY_ARENA] = sn_cell_number((double)needs->arena);
    row[MEMORY_PLANNED] = sn_cell_number((double)sn_needs_whole(needs));
}

static void fill_report(Cell *row, const BudgetReport *report) {
    if (report->without.flops > 0)
        row[MEMORY_OPERATIONS] = sn_cell_number(report->with.flops / report->without.flops - 1);
    if (report->without.moved > 0)
        row[MEMORY_MOVED] = sn_cell_number(report->with.moved / report->without.moved - 1);
}

static const char *budget_text(const Bench *bench, const Subject *subject) {
    if (!sn_program_budget(subject->program)) return NULL;
    return sn_budget_text(bench->arena, &bench->request->budget);
}

static void add_buffer(Bench *bench, const Subject *subject, const PlanValue *value, double bytes,
                       double peak) {
    Arena *arena = bench->arena;
    const PlanLaunch *launch = &sn_program_plan(subject->program)->launch[value->first];
    const char *budget = budget_text(bench, subject);
    Cell *row = sn_table_row(arena, &bench->result->buffers);
    row[BUFFER_MODEL] = sn_cell_text(arena, sn_bench_file_name(bench->path));
    row[BUFFER_MODE] = sn_cell_text(arena, sn_bench_mode_name(subject->mode));
    row[BUFFER_AUTOCAST] = sn_cell_text(arena, sn_autocast_name(bench->autocast));
    if (budget) row[BUFFER_BUDGET] = sn_cell_text(arena, budget);
    row[BUFFER_SHAPES] = sn_cell_text(arena, bench->shapes);
    row[BUFFER_BYTES] = sn_cell_number(bytes);
    row[BUFFER_SHARE] = sn_cell_number(bytes / peak);
    row[BUFFER_FIRST] = sn_cell_number(value->first);
    row[BUFFER_LAST] = sn_cell_number(value->last);
    row[BUFFER_PHASE] = sn_cell_text(arena, sn_phase_word[launch->cluster->phase]);
    row[BUFFER_WHAT] = sn_cell_text(arena, launch->summary);
    row[BUFFER_ORIGIN] = sn_cell_text(arena, sn_origin_text(arena, launch->cluster->origin));
}

/* Peaks of the phases, and the largest buffers at the highest. */
static Status add_live(Bench *bench, const Subject *subject, Cell *row, int count, const sn_Extent *extent) {
    Live live;
    const int64_t *dim;
    const Plan *plan = sn_program_plan(subject->program);
    TRY(sn_program_live(subject->program, bench->scratch, count, extent, &live, &dim));
    double peak = 0;
    if (live.kept) row[MEMORY_KEPT] = sn_cell_number((double)live.kept);
    for (Phase phase = 0; phase < SN_PHASE_COUNT; phase++) {
        if (live.most[phase]) row[MEMORY_FORWARD + phase] = sn_cell_number((double)live.most[phase]);
        if ((double)live.most[phase] > peak) peak = (double)live.most[phase];
    }
    for (int i = 0; i < live.count && i < BUFFERS_MOST; i++) {
        const PlanValue *value = &plan->value[live.value[i]];
        add_buffer(bench, subject, value, (double)dim[value->bytes], peak);
    }
    return NULL;
}

void sn_bench_add_memory(Bench *bench, const Subject *subject, double slower) {
    Arena *arena = bench->arena;
    Cell *row = sn_table_row(arena, &bench->result->memory);
    const BudgetReport *report = sn_program_budget(subject->program);
    bool on_cpu = sn_program_plan(subject->program)->target->kind == SN_TARGET_CPU;
    row[MEMORY_MODEL] = sn_cell_text(arena, sn_bench_file_name(bench->path));
    row[MEMORY_MODE] = sn_cell_text(arena, sn_bench_mode_name(subject->mode));
    row[MEMORY_AUTOCAST] = sn_cell_text(arena, sn_autocast_name(bench->autocast));
    row[MEMORY_SHAPES] = sn_cell_text(arena, bench->shapes);
    if (on_cpu && subject->grown > 0)
        row[MEMORY_MEASURED] =
            sn_cell_number((double)subject->grown + (double)sn_program_constant_bytes(subject->program));
    int count;
    Needs needs;
    const sn_Extent *extent = sn_inputs_extents(bench->scratch, bench->graph, &bench->inputs, &count);
    Status status = add_live(bench, subject, row, count, extent);
    if (!status && subject->mode != SN_EAGER) { /* which plans nothing */
        status = sn_program_needs(subject->program, count, extent, &needs);
        if (!status) fill_needs(row, &needs);
    }
    if (status) sn_bench_note(bench, "%s: no table of memory: %s", bench->path, sn_error_message(status));
    sn_error_free(status);
    if (!report) return;
    fill_report(row, report);
    row[MEMORY_BUDGET] = sn_cell_text(arena, budget_text(bench, subject));
    if (slower > 0) row[MEMORY_LOST] = sn_cell_number(slower - 1);
}
