/* The learning rate over a training. */
#ifndef SN_SCHEDULE_H
#define SN_SCHEDULE_H

#include <stdint.h>

typedef struct Schedule {
    double peak, least; /* least: at the last step; equal to the peak: no decay */
    int64_t warmup;     /* steps in which the rate grows, in equal steps, to its peak */
    int64_t steps;      /* of the whole training */
} Schedule;

/* The rate of step `step` (from 0): a linear warm-up, then half a cosine from the peak to the least (Loshchilov and
 * Hutter, 2017, without restarts). */
double sn_schedule_rate(const Schedule *schedule, int64_t step);

#endif
