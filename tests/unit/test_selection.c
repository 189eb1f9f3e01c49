// SPDX-License-Identifier: Apache-2.0
/* Early stopping and the best epoch: against a run that has neither, watched epoch by epoch; and
 * saved at any place. */
#include <stdio.h>

#include "training.h"

enum { EPOCHS = 14 };

static struct data data;

/* What an unselecting run was like after each epoch. */
struct history {
    float *weights[EPOCHS + 1]; // from 1
    uint64_t n_weights;
    struct log log;
    uint64_t per_epoch, steps;
};

static struct history plain;

/* All weights and biases, one after the other. */
static float *weights_of(const struct tet_trainer *t, uint64_t *n)
{
    struct tet_tensor tensor;
    uint64_t total = 0;
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
        tet_trainer_tensor(t, i, &tensor);
        total += tensor.state ? 0 : tensor.n;
    }
    float *values = malloc(total * sizeof *values), *at = values;
    assert_non_null(values);
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
        tet_trainer_tensor(t, i, &tensor);
        if (tensor.state)
            continue;
        tet_trainer_get(t, i, at);
        at += tensor.n;
    }
    *n = total;
    return values;
}

static struct tet_plan plan_of(enum tet_rule_name rule, int variant)
{
    struct tet_plan p = odd_plan(rule, variant);
    p.epochs = EPOCHS;
    p.momentum = variant == 0 ? 0.5f : 0.0f;
    for (int g = 0; g < TET_GROUPS; g++) // bp overfits soon: its best epoch is not the last
        p.group[g].lr *= rule == TET_RULE_BP ? 3.0f : 1.0f;
    odd_data(&data, 40, variant);
    return p;
}

static void watch(const struct tet_plan *p)
{
    struct tet_trainer *t = make(p, &data, &plain.log);
    enum tet_event event = TET_STEPPED;
    plain.per_epoch = tet_plan_steps_per_epoch(p);
    plain.steps = tet_plan_steps(p);
    while (event != TET_FINISHED) {
        event = tet_trainer_step(t);
        assert_int_not_equal(event, TET_DIVERGED);
        if (event != TET_STEPPED)
            plain.weights[tet_trainer_cursor(t).epoch] = weights_of(t, &plain.n_weights);
    }
    tet_trainer_destroy(t);
}

static void forget(void)
{
    for (int e = 1; e <= EPOCHS; e++) {
        free(plain.weights[e]);
        plain.weights[e] = NULL;
    }
}

static double value_at(const struct log *log, uint64_t step, enum tet_series series)
{
    double value = NAN;
    if (!find(log, step, series, 0, &value))
        fail_msg("no %s at step %llu", tet_series_definition(series), (unsigned long long)step);
    return value;
}

static uint64_t step_of(uint32_t epoch)
{
    const uint64_t step = epoch * plain.per_epoch;
    return step < plain.steps ? step : plain.steps;
}

/* By its definition: walks through the epochs. */
static void expect_choice(const struct tet_plan *p, uint32_t epochs, uint32_t *best, uint32_t *last)
{
    const struct tet_selection_plan *s = &p->selection;
    const bool loss = s->metric == TET_METRIC_LOSS;
    const enum tet_series series =
        loss ? TET_SERIES_VALIDATION_LOSS : TET_SERIES_VALIDATION_ACCURACY;
    float top = 0.0f;
    *best = 0;
    for (*last = 1; *last <= epochs; ++*last) {
        const double value = value_at(&plain.log, step_of(*last), series);
        if (*best == 0 || (loss ? top - value : value - top) > s->min_delta) {
            *best = *last;
            top = (float)value;
        }
        if (s->patience > 0 && *last - *best >= s->patience)
            return;
    }
    *last = epochs;
}

static void expect_run(const char *what, const struct tet_plan *p, uint32_t epochs)
{
    static struct log log;
    uint32_t best, last;
    expect_choice(p, epochs, &best, &last);
    const uint32_t chosen = p->selection.best ? best : last;
    struct tet_trainer *t = make(p, &data, &log);
    assert_int_equal(run(t), TET_FINISHED);
    assert_int_equal(tet_trainer_step(t), TET_FINISHED);
    const struct tet_cursor cursor = tet_trainer_cursor(t);
    const struct tet_selection selection = tet_trainer_selection(t);
    if (cursor.epoch != last || cursor.step != step_of(last) || selection.epoch != best ||
        selection.early != (step_of(last) < plain.steps))
        fail_msg("%s: ended after epoch %u, step %llu, best %u, early %d; expected %u, %llu, %u",
                 what, cursor.epoch, (unsigned long long)cursor.step, selection.epoch,
                 selection.early, last, (unsigned long long)step_of(last), best);
    uint64_t n;
    float *weights = weights_of(t, &n);
    assert_int_equal(n, plain.n_weights);
    if (memcmp(weights, plain.weights[chosen], n * sizeof *weights) != 0)
        fail_msg("%s: the weights are not those of epoch %u", what, chosen);
    free(weights);
    tet_trainer_destroy(t);
    for (uint32_t e = 1; e <= last; e++) {
        double value;
        const bool tested = find(&log, step_of(e), TET_SERIES_TEST_LOSS, 0, &value);
        assert_int_equal(tested, !p->test_at_end || e == last);
        assert_true(same_double(value_at(&log, step_of(e), TET_SERIES_VALIDATION_LOSS),
                                value_at(&plain.log, step_of(e), TET_SERIES_VALIDATION_LOSS)));
        if (tested && !same_double(value, value_at(&plain.log, step_of(e == last ? chosen : e),
                                                   TET_SERIES_TEST_LOSS)))
            fail_msg("%s: test loss %.17g of epoch %u is not that of the weights", what, value, e);
    }
    double epoch;
    assert_int_equal(find(&log, step_of(last), TET_SERIES_SELECTED_EPOCH, 0, &epoch),
                     p->selection.best);
    if (p->selection.best)
        assert_true(epoch == best);
}

static const struct tet_selection_plan choices[] = {
    {TET_METRIC_LOSS, 2, 0.0f, true},      {TET_METRIC_LOSS, 3, 0.0f, false},
    {TET_METRIC_ACCURACY, 0, 0.0f, true},  {TET_METRIC_ACCURACY, 4, 0.1f, true},
    {TET_METRIC_LOSS, 1, 0.05f, true},     {TET_METRIC_LOSS, 100, 0.0f, true},
    {TET_METRIC_ACCURACY, 1, 0.0f, false},
};

static void against_plain(void **state)
{
    (void)state;
    static const enum tet_rule_name rules[] = {TET_RULE_BP, TET_RULE_SAL, TET_RULE_BRSF};
    int early = 0, not_last = 0;
    for (size_t r = 0; r < COUNT(rules); r++)
        for (int variant = 0; variant <= 2; variant += 2) {
            struct tet_plan p = plan_of(rules[r], variant);
            watch(&p);
            for (size_t c = 0; c < COUNT(choices); c++) {
                char what[64];
                uint32_t best, last;
                p.selection = choices[c];
                p.test_at_end = c % 2 == 0;
                snprintf(what, sizeof what, "%s, variant %d, choice %zu",
                         tet_rule_info(rules[r])->name, variant, c);
                expect_run(what, &p, EPOCHS);
                expect_choice(&p, EPOCHS, &best, &last);
                early += last < EPOCHS;
                not_last += best < last;
            }
            forget();
        }
    if (early < 10 || not_last < 20) // or nothing has been tested
        fail_msg("%d runs ended early, %d best epochs were not the last", early, not_last);
}

/* The last epoch is cut short: its steps count, not where it would have ended. */
static void cut_short(void **state)
{
    (void)state;
    struct tet_plan p = plan_of(TET_RULE_KP, 0);
    p.max_steps = 5 * tet_plan_steps_per_epoch(&p) - 2;
    watch(&p);
    for (size_t c = 0; c < COUNT(choices); c++) {
        p.selection = choices[c];
        expect_run("cut short", &p, 5);
    }
    forget();
}

/* A test part that is looked at once changes nothing else. */
static void test_once(void **state)
{
    (void)state;
    static struct log log;
    struct tet_plan p = plan_of(TET_RULE_FA, 1);
    watch(&p);
    p.test_at_end = true;
    struct tet_trainer *t = make(&p, &data, &log);
    assert_int_equal(run(t), TET_FINISHED);
    size_t n = 0;
    for (size_t i = 0; i < plain.log.n; i++) {
        const struct tet_record *r = &plain.log.record[i];
        if ((r->series == TET_SERIES_TEST_LOSS || r->series == TET_SERIES_TEST_ACCURACY) &&
            r->step < plain.steps)
            continue;
        same_records("tested once", &log.record[n++], r, 1);
    }
    assert_int_equal(n, log.n);
    assert_int_equal(tet_trainer_selection(t).epoch, 0);
    tet_trainer_destroy(t);
    forget();
}

/* Saved after every call, in the last evaluation too, and gone on with in another trainer. */
static void save_all(const struct tet_plan *p, const char *what)
{
    static struct log whole, first, second;
    uint64_t n, m;
    struct tet_trainer *t = make(p, &data, &whole);
    assert_int_equal(run(t), TET_FINISHED);
    float *expected = state_of(t, &n);
    const struct tet_cursor end = tet_trainer_cursor(t);
    tet_trainer_destroy(t);
    bool more = true;
    for (int calls = 0; more; calls++) {
        t = make(p, &data, &first);
        for (int i = 0; i < calls && more; i++)
            more = tet_trainer_step(t) != TET_FINISHED;
        float *saved = state_of(t, &m);
        const struct tet_cursor cursor = tet_trainer_cursor(t);
        tet_trainer_destroy(t);
        t = make(p, &data, &second);
        for (int i = 0; i < calls % 3 * 7; i++)
            (void)tet_trainer_step(t);
        second.n = 0;
        set_state(t, saved);
        assert_int_equal(tet_trainer_seek(t, &cursor, NULL), TET_OK);
        assert_int_equal(run(t), TET_FINISHED);
        same_state(what, t, expected, n);
        if (first.n + second.n != whole.n)
            fail_msg("%s, after %d calls: %zu + %zu records, expected %zu", what, calls, first.n,
                     second.n, whole.n);
        same_records(what, first.record, whole.record, first.n);
        same_records(what, second.record, whole.record + first.n, second.n);
        const struct tet_cursor now = tet_trainer_cursor(t);
        assert_true(now.step == end.step && now.records == end.records && now.epoch == end.epoch);
        free(saved);
        tet_trainer_destroy(t);
    }
    free(expected);
}

static void save_anywhere(void **state)
{
    (void)state;
    for (size_t c = 0; c < 5; c++)
        for (int at_end = 0; at_end < 2; at_end++) {
            struct tet_plan p = plan_of(c % 2 ? TET_RULE_SAL : TET_RULE_BP, c % 2 ? 2 : 0);
            p.epochs = 4;
            p.record_every = 0;
            p.selection = choices[c];
            p.test_at_end = at_end;
            save_all(&p, c % 2 ? "sal" : "bp");
        }
}

static void refused(void **state)
{
    (void)state;
    const struct tet_plan good = plan_of(TET_RULE_BP, 0);
    const struct tet_selection_plan bad[] = {
        {TET_METRIC_NONE, 1, 0.0f, false},    {TET_METRIC_NONE, 0, 0.0f, true},
        {TET_METRIC_LOSS, 1, -1.0f, false},   {TET_METRIC_LOSS, 1, NAN, false},
        {(enum tet_metric)7, 1, 0.0f, false},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct tet_plan p = good;
        p.selection = bad[i];
        assert_int_equal(tet_plan_check(&p, &data.set.shape, NULL), TET_BAD_DEFINITION);
    }
    struct tet_plan p = good;
    p.selection = choices[0];
    assert_int_equal(tet_plan_check(&p, &data.set.shape, NULL), TET_OK);
    assert_true(tet_plan_memory(&p, &data.set.shape) >
                tet_plan_memory(&good, &data.set.shape) + 4 * 37 * 65);
    p.epochs = TET_MAX_JUDGED + 1;
    assert_int_equal(tet_plan_check(&p, &data.set.shape, NULL), TET_BAD_DEFINITION);
    p.epochs = 1;
    p.n_validation = 0;
    assert_int_equal(tet_plan_check(&p, &data.set.shape, NULL), TET_BAD_DEFINITION);

    make_data(&data, 41, 70, 31, 37, 11, false);
    struct tet_trainer *t;
    p = good;
    p.loss = TET_MSE;
    p.selection = choices[2];
    assert_int_equal(tet_trainer_create(&t, &p, &data.set, NULL, NULL, NULL), TET_BAD_DATASET);
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_plain), cmocka_unit_test(cut_short), cmocka_unit_test(test_once),
        cmocka_unit_test(save_anywhere), cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
