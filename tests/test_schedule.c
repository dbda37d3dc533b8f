/* The learning rate over a training. */
#include "schedule.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void near(double got, double want) {
    if (fabs(got - want) > 1e-12) fail_msg("%.15g is not %.15g", got, want);
}

static void it_grows_and_falls_along_half_a_cosine(void **state) {
    (void)state;
    const Schedule schedule = {.peak = 1, .least = 0.2, .warmup = 4, .steps = 13};
    near(sn_schedule_rate(&schedule, 0), 0.25);
    near(sn_schedule_rate(&schedule, 3), 1);
    near(sn_schedule_rate(&schedule, 4), 1);
    near(sn_schedule_rate(&schedule, 6), 0.2 + 0.4 * (1 + sqrt(0.5)));
    near(sn_schedule_rate(&schedule, 8), 0.6);
    near(sn_schedule_rate(&schedule, 12), 0.2);
    near(sn_schedule_rate(&schedule, 100), 0.2);
    for (int step = 4; step < 12; step++)
        assert_true(sn_schedule_rate(&schedule, step) > sn_schedule_rate(&schedule, step + 1));
}

static void it_may_stay_where_it_is(void **state) {
    (void)state;
    const Schedule constant = {.peak = 3, .least = 3, .steps = 10};
    for (int step = 0; step < 12; step++) near(sn_schedule_rate(&constant, step), 3);
    const Schedule single = {.peak = 3, .least = 1, .steps = 1},
                   growing = {.peak = 3, .least = 1, .warmup = 5, .steps = 5};
    near(sn_schedule_rate(&single, 0), 3);
    near(sn_schedule_rate(&growing, 4), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_grows_and_falls_along_half_a_cosine),
        cmocka_unit_test(it_may_stay_where_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
