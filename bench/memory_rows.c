/* What steps of training take of memory: as planned, and as the system gave it. */
#include "bench_rows.h"

typedef enum MemoryColumn {
    MEMORY_MODEL,
    MEMORY_MODE,
    MEMORY_BUDGET,
    MEMORY_SHAPES,
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
    [MEMORY_BUDGET] = {"memory_budget", "memory budget", SN_CELL_TEXT},
    [MEMORY_SHAPES] = {"shapes", "shapes", SN_CELL_TEXT},
    [MEMORY_CONSTANTS] = {"constant_bytes", "constants", SN_CELL_BYTES},
    [MEMORY_STATES] = {"state_bytes", "weights and moments", SN_CELL_BYTES},
    [MEMORY_GRADIENTS] = {"gradient_bytes", "gradients", SN_CELL_BYTES},
    [MEMORY_ACTIVATIONS] = {"activation_bytes", "activations", SN_CELL_BYTES},
    [MEMORY_ARENA] = {"arena_bytes", "both, sharing", SN_CELL_BYTES},
    [MEMORY_PLANNED] = {"planned_bytes", "planned in all", SN_CELL_BYTES},
    [MEMORY_MEASURED] = {"measured_bytes", "measured", SN_CELL_BYTES},
    [MEMORY_OPERATIONS] = {"operations_again", "operations done again", SN_CELL_SHARE},
    [MEMORY_MOVED] = {"moved_again", "bytes moved besides", SN_CELL_SHARE},
    [MEMORY_LOST] = {"time_lost", "time lost", SN_CELL_SHARE},
};

Table sn_bench_memory_table(void) {
    return (Table){.name = "memory", .column = columns, .column_count = MEMORY_COLUMNS};
}

static void fill_needs(Cell *row, const Needs *needs) {
    row[MEMORY_CONSTANTS] = sn_cell_number((double)needs->constants);
    row[MEMORY_STATES] = sn_cell_number((double)needs->states);
    row[MEMORY_GRADIENTS] = sn_cell_number((double)needs->gradients);
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

void sn_bench_add_memory(Bench *bench, const Subject *subject, double slower) {
    Arena *arena = bench->arena;
    Cell *row = sn_table_row(arena, &bench->result->memory);
    const BudgetReport *report = sn_program_budget(subject->program);
    bool on_cpu = sn_program_plan(subject->program)->target->kind == SN_TARGET_CPU;
    row[MEMORY_MODEL] = sn_cell_text(arena, sn_bench_file_name(bench->path));
    row[MEMORY_MODE] = sn_cell_text(arena, sn_bench_mode_name(subject->mode));
    row[MEMORY_SHAPES] = sn_cell_text(arena, bench->shapes);
    if (on_cpu && subject->grown > 0)
        row[MEMORY_MEASURED] =
            sn_cell_number((double)subject->grown + (double)sn_program_constant_bytes(subject->program));
    if (subject->mode == SN_EAGER) return; /* it plans nothing */
    int count;
    Needs needs;
    const sn_Extent *extent = sn_inputs_extents(bench->scratch, bench->graph, &bench->inputs, &count);
    Status status = sn_program_needs(subject->program, count, extent, &needs);
    if (!status) fill_needs(row, &needs);
    sn_error_free(status);
    if (!report) return;
    fill_report(row, report);
    row[MEMORY_BUDGET] = sn_cell_text(arena, sn_budget_text(arena, &bench->request->budget));
    if (slower > 0) row[MEMORY_LOST] = sn_cell_number(slower - 1);
}
