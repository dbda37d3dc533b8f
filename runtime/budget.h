/* Compiling a training step so that it stays within a budget of memory: the least is computed again that lets it fit. */
#ifndef SN_BUDGET_H
#define SN_BUDGET_H

#include "compile.h"
#include "needs.h"
#include "remat.h"

typedef struct Budget {
    int64_t bytes; /* the most that a program and one context of it may take together; 0: any */
    double share;  /* the most that activations may take, of what they take without a budget; 0: any */
} Budget;

/* What it came to. */
typedef struct BudgetReport {
    Needs without, with; /* a step that nothing limits, and the one that was made */
    Recompute recompute;
    int attempts;
} BudgetReport;

static inline bool sn_budget_given(const Budget *budget) {
    return budget->bytes || budget->share > 0;
}

/* "1536 MiB" or "50% of activations"; and a line of what it came to. */
const char *sn_budget_text(Arena *arena, const Budget *budget);
const char *sn_budget_report_text(Arena *arena, const BudgetReport *report);

/* sn_compile_plan under a budget, for the sizes of options->extent. Settings of remat are tried in the order of what they
 * cost, by planning all of the step. SN_NO_MEMORY when none fits, with the least that is possible; SN_UNSUPPORTED for
 * what is no compiled training step. of->symbol is not looked at. */
Status sn_compile_within(Arena *arena, const Graph *imported, const Target *target,
                         const PipelineOptions *options, const Budget *budget, const NeedsOf *of,
                         PipelineResult *result, Ledger *ledger, BudgetReport *report, Plan **out);

#endif
