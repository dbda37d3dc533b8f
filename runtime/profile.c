#include "profile.h"
#include <fnmatch.h>
#include <stdlib.h>

static Status keep(LaunchTime *time, double seconds) {
    if (time->calls == time->room) {
        int64_t room = time->room ? 2 * time->room : 16;
        double *each = realloc(time->each, (size_t)room * sizeof *each);
        if (!each) return sn_fail(SN_NO_MEMORY, "out of memory for a profile");
        time->each = each;
        time->room = room;
    }
    time->each[time->calls++] = seconds;
    time->seconds += seconds;
    return NULL;
}

Status sn_profile_add(Profile *profile, int index, double seconds, const int64_t *dim) {
    const PlanLaunch *launch = &profile->plan->launch[index];
    LaunchTime *time = &profile->time[index];
    TRY(keep(time, seconds));
    for (int i = 0; i < launch->group; i++) {
        time->flops =
            launch[i].flops < 0 || time->flops < 0 ? -1 : time->flops + (double)dim[launch[i].flops];
        time->bytes =
            launch[i].bytes < 0 || time->bytes < 0 ? -1 : time->bytes + (double)dim[launch[i].bytes];
    }
    return NULL;
}

void sn_profile_free(Profile *profile) {
    if (!profile) return;
    for (int i = 0; i < profile->plan->launch_count; i++) free(profile->time[i].each);
    free(profile->time);
    free(profile);
}

static void merge(LaunchTime *into, const LaunchTime *time) {
    into->calls += time->calls;
    into->seconds += time->seconds;
    into->flops = into->flops < 0 || time->flops < 0 ? -1 : into->flops + time->flops;
    into->bytes = into->bytes < 0 || time->bytes < 0 ? -1 : into->bytes + time->bytes;
}

static bool matches(const char *range, const char *text) {
    return text && fnmatch(range, text, 0) == 0;
}

static bool is_in_range(const char *range, const Origin *origin) {
    for (int i = 0; origin && i < origin->count; i++)
        if (matches(range, origin->node[i]->name) || matches(range, origin->node[i]->op_type)) return true;
    return false;
}

static int by_time(const void *a, const void *b) {
    const ProfileRow *x = a, *y = b;
    if (x->time.seconds != y->time.seconds) return x->time.seconds < y->time.seconds ? 1 : -1;
    return x->launch - y->launch;
}

/* The seconds of every call of the launches of `row`, which are those of `row_of` (+ 1). */
static void collect(Arena *arena, const Profile *profile, ProfileRow *row, int number, const int *row_of) {
    double *each = SN_ARRAY(arena, double, row->time.calls);
    int64_t at = 0;
    for (int i = 0; i < profile->plan->launch_count; i++) {
        const LaunchTime *time = &profile->time[i];
        for (int64_t k = 0; row_of[i] == number && k < time->calls; k++) each[at++] = time->each[k];
    }
    row->time.each = each;
    row->time.room = at;
}

static LaunchTime total(const Profile *profile) {
    LaunchTime all = {0};
    for (int i = 0; i < profile->plan->launch_count; i++)
        if (profile->time[i].calls) merge(&all, &profile->time[i]);
    return all;
}

const ProfileRow *sn_profile_rows(Arena *arena, const Profile *profile, const ProfileQuery *query,
                                  int *count) {
    const Plan *plan = profile->plan;
    ProfileRow *row = SN_ARRAY(arena, ProfileRow, plan->launch_count);
    int *of_kernel = SN_ARRAY(arena, int, plan->kernel_count *SN_PHASE_COUNT); /* + 1 */
    int *of_launch = SN_ARRAY(arena, int, plan->launch_count);                 /* + 1 */
    LaunchTime all = total(profile);
    *count = 0;
    for (int i = 0; i < plan->launch_count; i++) {
        const LaunchTime *time = &profile->time[i];
        const Node *cluster = plan->launch[i].cluster;
        if (!time->calls || (query->range && !is_in_range(query->range, cluster->origin))) continue;
        int *at = &of_kernel[plan->launch[i].unique * SN_PHASE_COUNT + cluster->phase];
        if (!query->by_kernel || !*at) {
            row[*count] = (ProfileRow){
                .launch = i, .phase = cluster->phase, .origin = sn_origin_text(arena, cluster->origin)};
            *at = ++*count;
        }
        merge(&row[*at - 1].time, time);
        row[*at - 1].launches++;
        of_launch[i] = *at;
    }
    for (int i = 0; i < *count; i++) {
        row[i].share = all.seconds > 0 ? row[i].time.seconds / all.seconds : 0;
        row[i].flop_share = all.flops > 0 ? row[i].time.flops / all.flops : -1;
        collect(arena, profile, &row[i], i + 1, of_launch);
    }
    qsort(row, (size_t)*count, sizeof *row, by_time);
    return row;
}
