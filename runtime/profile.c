#include "profile.h"
#include <stdlib.h>

void sn_profile_add(Profile *profile, int index, double seconds, const int64_t *dim) {
    const PlanLaunch *launch = &profile->plan->launch[index];
    LaunchTime *time = &profile->time[index];
    time->calls++;
    time->seconds += seconds;
    for (int i = 0; i < launch->group; i++) {
        time->flops =
            launch[i].flops < 0 || time->flops < 0 ? -1 : time->flops + (double)dim[launch[i].flops];
        time->bytes =
            launch[i].bytes < 0 || time->bytes < 0 ? -1 : time->bytes + (double)dim[launch[i].bytes];
    }
}

static void merge(LaunchTime *into, const LaunchTime *time) {
    into->calls += time->calls;
    into->seconds += time->seconds;
    into->flops = into->flops < 0 || time->flops < 0 ? -1 : into->flops + time->flops;
    into->bytes = into->bytes < 0 || time->bytes < 0 ? -1 : into->bytes + time->bytes;
}

static int by_time(const void *a, const void *b) {
    const ProfileRow *x = a, *y = b;
    if (x->time.seconds != y->time.seconds) return x->time.seconds < y->time.seconds ? 1 : -1;
    return x->launch - y->launch;
}

const ProfileRow *sn_profile_rows(Arena *arena, const Profile *profile, bool by_kernel, int *count) {
    const Plan *plan = profile->plan;
    ProfileRow *row = SN_ARRAY(arena, ProfileRow, plan->launch_count);
    int *row_of = SN_ARRAY(arena, int, plan->kernel_count); /* + 1 */
    double total = 0;
    *count = 0;
    for (int i = 0; i < plan->launch_count; i++) {
        const LaunchTime *time = &profile->time[i];
        if (!time->calls) continue;
        total += time->seconds;
        int *at = &row_of[plan->launch[i].unique];
        if (by_kernel && *at) {
            merge(&row[*at - 1].time, time);
            row[*at - 1].launches++;
            continue;
        }
        row[*count] = (ProfileRow){.launch = i,
                                   .launches = 1,
                                   .time = *time,
                                   .origin = sn_origin_text(arena, plan->launch[i].cluster->origin)};
        *at = ++*count;
    }
    for (int i = 0; i < *count; i++) row[i].share = total > 0 ? row[i].time.seconds / total : 0;
    qsort(row, (size_t)*count, sizeof *row, by_time);
    return row;
}
