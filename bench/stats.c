#include "stats.h"
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Nearest rank, of sorted values. */
static double percentile(const double *value, int count, int percent) {
    int64_t rank = ((int64_t)count * percent + 99) / 100;
    return value[rank > 0 ? rank - 1 : 0];
}

Stats sn_stats(double *value, int count) {
    qsort(value, (size_t)count, sizeof *value, ascending);
    double sum = 0, squares = 0;
    for (int i = 0; i < count; i++) sum += value[i];
    double mean = sum / count;
    for (int i = 0; i < count; i++) squares += (value[i] - mean) * (value[i] - mean);
    return (Stats){.mean = mean,
                   .median = 0.5 * (value[(count - 1) / 2] + value[count / 2]),
                   .min = value[0],
                   .max = value[count - 1],
                   .p90 = percentile(value, count, 90),
                   .p99 = percentile(value, count, 99),
                   .std = count > 1 ? sqrt(squares / (count - 1)) : 0};
}
