#include "schedule.h"
#include <math.h>

double sn_schedule_rate(const Schedule *schedule, int64_t step) {
    int64_t warmup = schedule->warmup, falling = schedule->steps - warmup;
    if (step < warmup) return schedule->peak * (double)(step + 1) / (double)warmup;
    if (falling <= 1 || step >= schedule->steps) return falling <= 1 ? schedule->peak : schedule->least;
    double way = (double)(step - warmup) / (double)(falling - 1);
    return schedule->least + 0.5 * (schedule->peak - schedule->least) * (1 + cos(acos(-1) * way));
}
