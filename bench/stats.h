/* Statistics of repeated measurements. */
#ifndef SN_STATS_H
#define SN_STATS_H

typedef struct Stats {
    double mean, median, min, max;
    double p90, p99; /* percentiles: the least value that so many per cent of all are not above */
    double std;      /* of the sample (n - 1 in the divisor); 0 for one value */
} Stats;

/* Of value[0..count), count >= 1. The values are sorted in place. */
Stats sn_stats(double *value, int count);

#endif
