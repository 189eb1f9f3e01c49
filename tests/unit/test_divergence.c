// SPDX-License-Identifier: Apache-2.0
/* Divergence: found in a loss or in an array, said where, and final. */
#include "training.h"

static struct data data;

static void stays_diverged(struct tet_trainer *t)
{
    uint64_t n;
    float *values = state_of(t, &n);
    const struct tet_cursor before = tet_trainer_cursor(t);
    const struct tet_divergence found = *tet_trainer_divergence(t);
    for (int i = 0; i < 5; i++)
        assert_int_equal(tet_trainer_step(t), TET_DIVERGED);
    same_state("diverged", t, values, n);
    const struct tet_cursor now = tet_trainer_cursor(t);
    assert_true(now.step == before.step && now.records == before.records);
    assert_int_equal(tet_trainer_divergence(t)->step, found.step);
    assert_string_equal(tet_trainer_divergence(t)->tensor, found.tensor);
    free(values);
}

/* Trains until it diverges; returns how many mini-batches were trained, and the last loss. */
static uint64_t until_diverged(struct tet_trainer *t, double *last)
{
    enum tet_event event;
    *last = NAN;
    for (int i = 0; i < 10000; i++) {
        event = tet_trainer_step(t);
        if (event == TET_DIVERGED)
            return tet_trainer_cursor(t).step;
        assert_int_not_equal(event, TET_FINISHED);
        *last = tet_trainer_loss(t);
    }
    fail_msg("did not diverge");
    return 0;
}

static void divergence(void **state)
{
    (void)state;
    static struct log log;
    double last;
    for (int rule = 0; rule < TET_RULES; rule++) {
        struct tet_plan p = small_plan((enum tet_rule_name)rule, TET_MSE, TET_RELU, 0.5f);
        for (int g = 0; g < TET_GROUPS; g++)
            p.group[g].lr = 1e4f;
        make_data(&data, 32, 31, 11, 12, 4, true);
        struct tet_trainer *t = make(&p, &data, &log);
        assert_int_equal(tet_trainer_divergence(t)->step, 0);
        const uint64_t trained = until_diverged(t, &last);
        const struct tet_divergence *d = tet_trainer_divergence(t);
        assert_true(d->step == trained || d->step == trained + 1);
        assert_true(trained >= 1);
        assert_int_equal(d->last_step, trained);
        assert_true(isfinite(d->last_loss) && d->last_loss == last);
        stays_diverged(t);
        tet_trainer_destroy(t);
    }
}

static void divergence_of_arrays(void **state)
{
    (void)state;
    double last, unused;
    static struct log log;
    // a loss that is not a number at once: nothing was trained
    struct tet_plan p = make_plan(TET_RULE_BP, TET_MSE, 6, 2, 0.1f);
    add_layer(&p, 4, 4, TET_TANH);
    make_data(&data, 33, 6, 0, 3, 2, false);
    data.t[0] = NAN;
    struct tet_trainer *t = make(&p, &data, &log);
    assert_int_equal(tet_trainer_step(t), TET_DIVERGED);
    const struct tet_divergence *d = tet_trainer_divergence(t);
    assert_int_equal(d->step, 1);
    assert_int_equal(d->last_step, 0);
    assert_true(isnan(d->last_loss));
    assert_string_equal(d->tensor, "");
    stays_diverged(t);
    tet_trainer_destroy(t);

    // the third mini-batch's loss
    make_data(&data, 33, 6, 0, 3, 2, false);
    data.t[4 * 2] = INFINITY;
    t = make(&p, &data, &log);
    assert_int_equal(until_diverged(t, &last), 2);
    d = tet_trainer_divergence(t);
    assert_int_equal(d->step, 3);
    assert_int_equal(d->last_step, 2);
    assert_true(d->last_loss == last);
    assert_string_equal(d->tensor, "");
    tet_trainer_destroy(t);

    // an update overflows, and no further mini-batch shows it: the evaluation finds the array
    static const char *const names[] = {"W1", "b1", "W2", "b2", "B2", "V1", "U1", "velocity/V1"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct tet_plan q = small_plan(TET_RULE_SAL, TET_MSE, TET_TANH, 0.5f);
        q.n_train = 6; // one mini-batch an epoch
        q.n_validation = q.n_test = q.record_every = 0;
        make_data(&data, 34, 31, 11, 12, 4, true);
        t = make(&q, &data, &log);
        assert_int_equal(tet_trainer_step(t), TET_STEPPED);
        struct tet_tensor tensor;
        static float values[200];
        const uint32_t at = index_of(t, names[i]);
        tet_trainer_tensor(t, at, &tensor);
        tet_trainer_get(t, at, values);
        values[tensor.n - 1] = i % 2 ? INFINITY : NAN;
        tet_trainer_set(t, at, values);
        assert_int_equal(tet_trainer_step(t), TET_DIVERGED);
        d = tet_trainer_divergence(t);
        assert_int_equal(d->step, 1);
        assert_int_equal(d->last_step, 1);
        assert_string_equal(d->tensor, names[i] + (tensor.state ? 9 : 0));
        assert_false(find(&log, 1, TET_SERIES_TRAIN_LOSS, 0, &unused));
        stays_diverged(t);
        tet_trainer_destroy(t);
    }
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divergence),
        cmocka_unit_test(divergence_of_arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
