/* What is computed again grows step by step. First by what a byte costs: everything up to the cheapest cost that makes a
 * difference, then up to the next one. Then by how much lies between values that are kept in any case: every second of
 * those that separate the parts of the network goes, then three of four. Within a step the number of parts grows that
 * take it, while the others keep to the step before. They begin with the first, which is computed again last, when most
 * of what backward needs is gone.
 *
 * More does not always need less, for what is computed again lies somewhere while it is used. So every step is tried at a
 * few numbers of parts, and where one fits, those between it and the one before are searched. */
#include "budget.h"
#include <math.h>

typedef struct Attempt {
    Arena *arena; /* of everything about it; NULL: there was none */
    Recompute recompute;
    RematReport remat;
    PipelineResult result;
    Plan *plan;
    Needs needs;
} Attempt;

typedef struct Search {
    Arena *arena;
    const Graph *imported;
    const Target *target;
    const PipelineOptions *options;
    const Budget *budget;
    const NeedsOf *of;
    Ledger *ledger;
    BudgetReport *report;
    Attempt best;     /* that fits */
    Needs least;      /* of those that do not */
    RematReport last; /* of the last attempt */
} Search;

static const double mib = 1024 * 1024;

/* ---- texts ---- */

const char *sn_budget_text(Arena *arena, const Budget *budget) {
    return budget->bytes ? sn_arena_printf(arena, "%.6g MiB", (double)budget->bytes / mib)
                         : sn_arena_printf(arena, "%.6g%% of activations", 100 * budget->share);
}

const char *sn_budget_report_text(Arena *arena, const BudgetReport *report) {
    const Needs *with = &report->with, *without = &report->without;
    return sn_arena_printf(
        arena,
        "a step takes %.4g MiB (states and constants %.4g, gradients %.4g, activations %.4g) instead of %.4g "
        "(activations %.4g), for %.1f %% more operations and %.1f %% more bytes moved",
        (double)sn_needs_whole(with) / mib, (double)(with->states + with->constants) / mib,
        (double)with->gradients / mib, (double)with->activations / mib, (double)sn_needs_whole(without) / mib,
        (double)without->activations / mib, 100 * (with->flops / without->flops - 1),
        100 * (with->moved / without->moved - 1));
}

/* ---- attempts ---- */

/* Without a plan when the step is the one before over again. */
static Status plan_step(Search *s, Recompute recompute, Attempt *out) {
    Graph *graph;
    *out = (Attempt){.arena = sn_arena_child(s->arena), .recompute = recompute};
    PipelineOptions options = *s->options;
    options.recompute = &out->recompute;
    options.remat = &out->remat;
    TRY(sn_compile_graph(out->arena, s->imported, s->target, &options, &out->result, s->ledger, &graph));
    bool same = s->report->attempts && out->remat.kept == s->last.kept && out->remat.again == s->last.again;
    s->last = out->remat;
    if (same) return NULL;
    s->report->attempts++;
    TRY(sn_compile_launches(out->arena, graph, s->target, &options, s->ledger, &out->plan));
    int64_t *symbol = SN_ARRAY(out->arena, int64_t, sn_dims_symbol_count(graph->dims));
    sn_extents_assume(graph->dims, options.extent_count, options.extent, symbol);
    NeedsOf of = *s->of;
    of.symbol = symbol;
    return sn_plan_needs(out->plan, &of, &out->needs);
}

static double wanted(const Search *s, const Needs *needs) {
    return s->budget->bytes ? (double)sn_needs_whole(needs) : (double)needs->activations;
}

static double allowed(const Search *s) {
    const Budget *budget = s->budget;
    if (!sn_budget_given(budget)) return INFINITY;
    return budget->bytes ? (double)budget->bytes : budget->share * (double)s->report->without.activations;
}

/* Tries, and takes over what fits. *fits is false also for the step before over again, which did not. */
static Status attempt(Search *s, Recompute recompute, bool *fits) {
    Attempt made;
    TRY(plan_step(s, recompute, &made));
    *fits = made.plan && wanted(s, &made.needs) <= allowed(s);
    if (*fits) {
        sn_arena_free(s->best.arena);
        s->best = made;
        return NULL;
    }
    if (made.plan && wanted(s, &made.needs) < wanted(s, &s->least)) s->least = made.needs;
    sn_arena_free(made.arena);
    return NULL;
}

/* ---- the search ---- */

/* Fewer parts that take the best step, as far as that fits; `too_few` do not. */
static Status take_fewer(Search *s, int too_few) {
    while (s->best.recompute.parts - too_few > 1) {
        Recompute recompute = s->best.recompute;
        bool fits;
        recompute.parts = too_few + (recompute.parts - too_few) / 2;
        TRY(attempt(s, recompute, &fits));
        if (!fits) too_few = recompute.parts;
    }
    return NULL;
}

static Status take_step(Search *s, Effort less, Effort more, int parts, bool *fits) {
    enum { TRIED = 4 };
    for (int i = 1, before = 0; i <= TRIED; i++) {
        Recompute recompute = {.less = less, .more = more, .parts = parts * i / TRIED};
        if (recompute.parts == before) continue;
        TRY(attempt(s, recompute, fits));
        if (*fits) return take_fewer(s, before);
        before = recompute.parts;
    }
    return NULL;
}

/* The steps, in the order of what they cost. */
static int list_efforts(Arena *arena, const RematReport *remat, const Effort **out) {
    SN_VEC(Effort) list = {0};
    for (int i = 0; i < remat->cost_count; i++)
        sn_push(arena, &list, ((Effort){.operations = remat->cost[i], .apart = 1}));
    double all = remat->cost_count ? remat->cost[remat->cost_count - 1] : 0;
    for (int apart = 2; apart < remat->parts; apart *= 2)
        sn_push(arena, &list, ((Effort){.operations = all, .apart = apart}));
    *out = list.at;
    return list.count;
}

static Status too_small(const Search *s) {
    const Needs *least = &s->least;
    if (!s->budget->bytes)
        return sn_fail(SN_NO_MEMORY,
                       "activations take %.4g MiB at the least that was found, and %.4g MiB, %g %% of what "
                       "they take without a "
                       "budget, are allowed",
                       (double)least->activations / mib, allowed(s) / mib, 100 * s->budget->share);
    return sn_fail(SN_NO_MEMORY,
                   "a step takes %.4g MiB at the least that was found (states and constants %.4g, gradients "
                   "%.4g, activations %.4g), and the memory budget is %.4g MiB",
                   (double)sn_needs_whole(least) / mib, (double)(least->states + least->constants) / mib,
                   (double)least->gradients / mib, (double)least->activations / mib, allowed(s) / mib);
}

static Status check(const PipelineOptions *options) {
    if (!options->training)
        return sn_fail(SN_UNSUPPORTED, "unsupported: a memory budget of what is no step of training");
    if (options->eager)
        return sn_fail(SN_UNSUPPORTED, "unsupported: a memory budget of eager execution, which keeps all");
    return NULL;
}

Status sn_compile_within(Arena *arena, const Graph *imported, const Target *target,
                         const PipelineOptions *options, const Budget *budget, const NeedsOf *of,
                         PipelineResult *result, Ledger *ledger, BudgetReport *report, Plan **out) {
    Search s = {.arena = arena,
                .imported = imported,
                .target = target,
                .options = options,
                .budget = budget,
                .of = of,
                .ledger = ledger,
                .report = report};
    TRY(check(options));
    *report = (BudgetReport){0};
    Attempt first;
    TRY(plan_step(&s, (Recompute){0}, &first));
    report->without = s.least = first.needs;
    const Effort *effort;
    int steps = list_efforts(arena, &first.remat, &effort), parts = first.remat.parts;
    bool fits = wanted(&s, &first.needs) <= allowed(&s);
    if (fits)
        s.best = first;
    else
        sn_arena_free(first.arena);
    for (int i = 0; i < steps && !fits; i++)
        TRY(take_step(&s, i ? effort[i - 1] : (Effort){0}, effort[i], parts, &fits));
    if (!s.best.plan) return too_small(&s);
    report->with = s.best.needs;
    report->recompute = s.best.recompute;
    if (result) *result = s.best.result;
    *out = s.best.plan;
    return NULL;
}
