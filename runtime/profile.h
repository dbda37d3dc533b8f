/* Time per launch of a context, when asked for. */
#ifndef SN_PROFILE_H
#define SN_PROFILE_H

#include "plan.h"

/* Sums over the runs since profiling was enabled. */
typedef struct LaunchTime {
    int64_t calls;
    double seconds, flops, bytes; /* flops and bytes: -1 when the kernel does not tell */
    double *each;                 /* seconds of every call, malloc'd, of `room` */
    int64_t room;
} LaunchTime;

typedef struct Profile {
    const Plan *plan;
    LaunchTime *time; /* per launch of the plan */
} Profile;

typedef struct ProfileRow {
    int launch;        /* position in the plan; of the first one when launches are taken together */
    int launches;      /* how many were taken together */
    LaunchTime time;   /* `each` is in the rows' arena */
    double share;      /* of the time of all launches, 0 to 1 */
    double flop_share; /* of the operations of all launches; -1 when a kernel does not tell */
    Phase phase;
    const char *origin; /* sn_origin_text of `launch` */
} ProfileRow;

/* Which rows there are. */
typedef struct ProfileQuery {
    bool by_kernel; /* launches of one kernel and phase are taken together */
    const char *
        range; /* NULL, or a pattern as of fnmatch: only launches one of whose nodes has such a name or operator */
} ProfileQuery;

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

/* Adds one call of launch `index`, or of the group that it is the first of, that took `seconds`; dim as in a binding.
 * SN_NO_MEMORY leaves it as it was. */
Status sn_profile_add(Profile *profile, int index, double seconds, const int64_t *dim);

/* Rows of what was called, the most expensive first, in `arena`; *count of them. */
const ProfileRow *sn_profile_rows(Arena *arena, const Profile *profile, const ProfileQuery *query,
                                  int *count);

void sn_profile_free(Profile *profile); /* NULL is allowed */

#endif
