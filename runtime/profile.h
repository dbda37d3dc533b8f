/* Time per launch of a context, when asked for. */
#ifndef SN_PROFILE_H
#define SN_PROFILE_H

#include "plan.h"

/* Sums over the runs since profiling was enabled. */
typedef struct LaunchTime {
    int64_t calls;
    double seconds, flops, bytes; /* flops and bytes: -1 when the kernel does not tell */
} LaunchTime;

typedef struct Profile {
    const Plan *plan;
    LaunchTime *time; /* per launch of the plan */
} Profile;

typedef struct ProfileRow {
    int launch;   /* position in the plan; of the first one when launches are taken together */
    int launches; /* how many were taken together */
    LaunchTime time;
    double share;       /* of the time of all rows, 0 to 1 */
    const char *origin; /* sn_origin_text of `launch` */
} ProfileRow;

/* From now on every launch of the context is timed, which costs a wait behind each. Calling it again starts
 * the sums anew. */
Status sn_profile_enable(sn_Context *context);

/* The sums, NULL while profiling is off. */
const Profile *sn_context_profile(const sn_Context *context);

/* The operations that the kernels of the last run declare; negative when one does not, or there was none. */
double sn_context_flops(const sn_Context *context);

/* Where the seconds of a run went. Outputs come to the host when they are asked for, which is no part of it. */
typedef struct RunTime {
    double host;   /* binding, and starting launches */
    double upload; /* of inputs; where the device has memory of its own they may still be under way */
    double device; /* from the start of the last launch until all had ended */
} RunTime;

/* Of the last run. */
RunTime sn_context_time(const sn_Context *context);

/* Adds one call of launch `index`, or of the group that it is the first of, that took `seconds`; dim as in a binding. */
void sn_profile_add(Profile *profile, int index, double seconds, const int64_t *dim);

/* Rows of what was called, the most expensive first, in `arena`; *count of them. `by_kernel` takes launches
 * of one kernel together. */
const ProfileRow *sn_profile_rows(Arena *arena, const Profile *profile, bool by_kernel, int *count);

#endif
