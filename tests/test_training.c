/* Training steps: optimizers against their formulas, clipping, accumulation, steps that do not count, and what a run that
 * fails leaves. */
#include "training_fixture.h"

static void adamw(Model *model, const Training *t, double rate, const double *gradient) {
    model->step++;
    double first = 1 - pow(t->beta1, (double)model->step), second = 1 - pow(t->beta2, (double)model->step);
    for (int i = 0; i < PARAMETERS; i++) {
        double g = gradient[i], *p = &model->p[i], *m = &model->m[i], *v = &model->v[i];
        if (i < WEIGHTS) *p -= rate * t->decay * *p;
        *m = t->beta1 * *m + (1 - t->beta1) * g;
        *v = t->beta2 * *v + (1 - t->beta2) * g * g;
        *p -= rate / first * *m / (sqrt(*v) / sqrt(second) + t->epsilon);
    }
}

static void clip(const Training *t, double *gradient) {
    double square = 0;
    for (int i = 0; i < PARAMETERS; i++) square += gradient[i] * gradient[i];
    double ratio = t->clip ? t->clip / (sqrt(square) + 1e-6) : 1;
    for (int i = 0; i < PARAMETERS && ratio < 1; i++) gradient[i] *= ratio;
}

static void steps_follow_the_formula(void **state) {
    Training form[5];
    for (int i = 0; i < 5; i++) form[i] = squared();
    form[1].clip = 0.5;
    form[2].clip = 0.5, form[2].skip = true, form[2].beta1 = 0.8;
    form[3].optimizer = form[4].optimizer = SN_OPTIMIZER_SGD;
    form[4].momentum = 0.9, form[4].nesterov = true, form[4].clip = 1e6;
    for (int i = 0; i < 10; i++) {
        const Training *training = &form[i % 5];
        sn_Program *program = program_of(regression, training, i >= 5, 2, *state);
        assert_int_equal(sn_program_plan(program)->hidden_outputs, training->optimizer == SN_OPTIMIZER_ADAMW
                                                                       ? 7
                                                                   : training->momentum ? 4
                                                                                        : 2);
        sn_Context *context = context_of(program);
        Model model = first_model;
        for (int step = 0; step < 12; step++) {
            double gradient[PARAMETERS];
            random_batch((uint64_t)step);
            rate = 0.05f / (float)(1 + step);
            double expected = gradient_of(&model, x, target, gradient);
            assert_ok(sn_context_run(context));
            assert_near(loss_of(context), expected, 1e-5);
            clip(training, gradient);
            (training->optimizer == SN_OPTIMIZER_ADAMW ? adamw : sgd)(&model, training, (double)rate,
                                                                      gradient);
            assert_parameters(context, &model, 2e-5);
        }
        const Plan *plan = program->plan;
        for (int k = 0; k < plan->state_count; k++)
            if (plan->update[k].launch < 0) fail_msg("state %d: %s", k, plan->update[k].reason);
        sn_context_free(context);
        sn_program_free(program);
    }
}

static void gradients_of_several_runs_make_a_step(void **state) {
    Training training = squared();
    training.accumulate = 3;
    sn_Program *program = program_of(regression, &training, false, 1, *state);
    sn_Context *context = context_of(program);
    Model model = first_model;
    double sum[PARAMETERS] = {0}, gradient[PARAMETERS];
    rate = 0.05f;
    for (int run = 1; run <= 9; run++) {
        random_batch((uint64_t)run);
        assert_near((assert_ok(sn_context_run(context)), loss_of(context)),
                    gradient_of(&model, x, target, gradient), 1e-5);
        for (int i = 0; i < PARAMETERS; i++) sum[i] += gradient[i] / 3;
        if (run % 3 == 0) {
            adamw(&model, &training, (double)rate, sum);
            memset(sum, 0, sizeof sum);
        }
        assert_parameters(context, &model, 2e-5);
    }
    sn_context_free(context);
    sn_program_free(program);
}

static void steps_that_are_not_finite_do_not_count(void **state) {
    Training training = squared();
    training.skip = true;
    sn_Program *program = program_of(regression, &training, false, 1, *state);
    sn_Context *context = context_of(program);
    Model model = first_model;
    double gradient[PARAMETERS];
    rate = 0.05f;
    for (int run = 0; run < 6; run++) {
        random_batch((uint64_t)run);
        if (run % 2)
            x[run] = run == 3 ? NAN : INFINITY;
        else
            gradient_of(&model, x, target, gradient), adamw(&model, &training, (double)rate, gradient);
        assert_ok(sn_context_run(context));
        if (run % 2) assert_false(isfinite(loss_of(context)));
        assert_parameters(context, &model, 2e-5);
    }
    sn_Tensor step;
    assert_ok(sn_context_state_get(context, state_named(context, "optimizer.step"), &step));
    assert_int_equal(*(const int64_t *)step.data, 3);
    sn_context_free(context);
    sn_program_free(program);
}

static void states_are_read_and_set(void **state) {
    Training training = squared();
    sn_Program *program = program_of(regression, &training, false, 1, *state);
    sn_Context *context = context_of(program), *other = context_of(program);
    random_batch(1);
    rate = 0.1f;
    assert_parameters(context, &first_model, 0); /* before the first run */
    for (int i = 0; i < 3; i++) assert_ok(sn_context_run(context));
    for (int i = 0; i < sn_context_state_count(context); i++) {
        sn_Tensor value;
        assert_ok(sn_context_state_get(context, i, &value));
        assert_ok(sn_context_state_set(other, i, &value));
    }
    assert_ok(sn_context_run(context));
    assert_ok(sn_context_run(other));
    assert_true(loss_of(context) == loss_of(other));
    sn_Tensor wrong = {.element_type = 1, .rank = 1, .extent = (int64_t[]){3}, .data = x};
    assert_fails(sn_context_state_set(other, 0, &wrong), SN_INVALID, "another type");
    assert_fails(sn_context_state_set(other, 99, &wrong), SN_INVALID, "state 99");
    sn_context_reset_states(context);
    assert_parameters(context, &first_model, 0);
    assert_fails(set_f32(context, 3, 1, (int64_t[]){3}, x), SN_INVALID, "input 3 of a model with 3");
    sn_context_free(context);
    sn_context_free(other);
    sn_program_free(program);
}

static void phases_leave_out_updates(void **state) {
    Training training = squared();
    for (int eager = 0; eager < 2; eager++) {
        sn_Program *program = program_of(regression, &training, eager, 1, *state);
        sn_Context *context = context_of(program);
        double seconds[SN_PHASE_COUNT];
        random_batch(1);
        rate = 0.1f;
        for (Phase last = SN_PHASE_FORWARD; last < SN_PHASE_COUNT; last++) {
            assert_ok(sn_context_run_phases(context, last, seconds));
            for (Phase phase = SN_PHASE_FORWARD; phase < SN_PHASE_COUNT; phase++)
                assert_true(phase <= last ? seconds[phase] > 0 : seconds[phase] == 0);
            if (last < SN_PHASE_UPDATE) assert_parameters(context, &first_model, 0);
        }
        double before = loss_of(context);
        assert_ok(sn_context_run(context));
        assert_true(loss_of(context) < before);
        sn_context_free(context);
        sn_program_free(program);
    }
}

static void options_are_checked(void **state) {
    (void)state;
    Training training;
    sn_TrainingOptions good = {.size = sizeof good, .weight_decay = -1, .epsilon = 1e-6};
    assert_ok(sn_training_read(&good, &training));
    assert_true(training.decay == 0 && training.beta2 == 0.999 && training.epsilon == 1e-6);
    static const sn_TrainingOptions bad[] = {{.loss = 7},       {.optimizer = 7},
                                             {.beta1 = 1},      {.label_smoothing = 1},
                                             {.clip_norm = -1}, {.accumulate = -1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sn_TrainingOptions options = bad[i];
        options.size = sizeof options;
        assert_fails(sn_training_read(&options, &training), SN_INVALID, "");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_follow_the_formula),
        cmocka_unit_test(gradients_of_several_runs_make_a_step),
        cmocka_unit_test(steps_that_are_not_finite_do_not_count),
        cmocka_unit_test(states_are_read_and_set),
        cmocka_unit_test(phases_leave_out_updates),
        cmocka_unit_test(options_are_checked),
    };
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}
