/* Segments of a plan: what is known before each of them. */
#include "plan.h"

typedef struct Lists {
    SN_VEC(int) size, dim, check, loop;
} Lists;

static int of_check(const Levels *levels, const Check *check) {
    int a = sn_levels_dim(levels, check->a), b = sn_levels_dim(levels, check->b);
    return a > b ? a : b;
}

static int *find_ends(Arena *arena, const Plan *plan) {
    int *end = SN_ARRAY(arena, int, plan->segment_count);
    for (int i = 0; i < plan->segment_count; i++) end[i] = plan->setup_count;
    for (int i = plan->setup_count; i < plan->launch_count; i++) end[plan->launch[i].segment] = i + 1;
    for (int i = 1; i < plan->segment_count; i++)
        if (end[i] < end[i - 1]) end[i] = end[i - 1];
    return end;
}

void sn_plan_segments(Arena *arena, Plan *plan, const Levels *levels) {
    const Graph *graph = plan->graph;
    plan->segment_count = levels->most + 1;
    Lists *lists = SN_ARRAY(arena, Lists, plan->segment_count);
    int *known = SN_ARRAY(arena, int, plan->dim_count), *end = find_ends(arena, plan);
    for (int i = 0; i < graph->sizes.count; i++)
        sn_push(arena, &lists[levels->symbol[graph->sizes.at[i].symbol->value]].size, i);
    for (int i = 0; i < plan->dim_count; i++) {
        known[i] = sn_levels_dim(levels, plan->dim[i]);
        sn_push(arena, &lists[known[i]].dim, i);
    }
    for (int i = 0; i < graph->checks.count; i++)
        sn_push(arena, &lists[of_check(levels, &graph->checks.at[i])].check, i);
    for (int i = 0; i < graph->loops.count; i++)
        sn_push(arena, &lists[levels->param[graph->loops.at[i].made]].loop, i);
    PlanSegment *segment = SN_ARRAY(arena, PlanSegment, plan->segment_count);
    for (int i = 0; i < plan->segment_count; i++)
        segment[i] = (PlanSegment){.end = end[i],
                                   .size_count = lists[i].size.count,
                                   .dim_count = lists[i].dim.count,
                                   .check_count = lists[i].check.count,
                                   .loop_count = lists[i].loop.count,
                                   .loop = lists[i].loop.at,
                                   .size = lists[i].size.at,
                                   .dim = lists[i].dim.at,
                                   .check = lists[i].check.at};
    plan->known = known;
    plan->segment = segment;
}
