// SPDX-License-Identifier: Apache-2.0
/* A run that is saved at any place and goes on in another trainer, and cursors that cannot be. */
#include <stdio.h>

#include "training.h"

static struct data data;

/* Saves after every single call, mini-batch or piece of an evaluation, and goes on in another
 * trainer, fresh or used: after 8 calls one is in the midst of an evaluation. */
static void save_one(enum tet_rule_name rule, int variant, const struct circuit *circuit)
{
    static struct log whole, first, second;
    struct tet_plan p = odd_plan(rule, variant);
    if (circuit != NULL)
        set_circuit(&p, circuit);
    p.epochs = 3;
    p.max_steps = 13; // in the midst of the third epoch
    p.schedule = (struct tet_schedule_plan){TET_SCHEDULE_STEP, 1, {1}, 0.5f};
    odd_data(&data, 20, variant);
    struct tet_trainer *t = make(&p, &data, &whole);
    assert_int_equal(run(t), TET_FINISHED);
    uint64_t n, m;
    float *expected = state_of(t, &n);
    const struct tet_cursor end = tet_trainer_cursor(t);
    tet_trainer_destroy(t);

    bool more = true;
    for (int calls = 0; more; calls++) {
        char what[64];
        snprintf(what, sizeof what, "%s, variant %d, saved after %d calls",
                 tet_rule_info(rule)->name, variant, calls);
        t = make(&p, &data, &first);
        for (int i = 0; i < calls && more; i++)
            more = tet_trainer_step(t) != TET_FINISHED;
        float *saved = state_of(t, &m);
        const struct tet_cursor cursor = tet_trainer_cursor(t);
        tet_trainer_destroy(t);
        assert_int_equal(cursor.records, first.n);
        same_records(what, first.record, whole.record, first.n);

        t = make(&p, &data, &second);
        for (int i = 0; i < calls % 3 * 4; i++)
            (void)tet_trainer_step(t);
        second.n = 0;
        assert_int_equal(tet_trainer_seek(t, &cursor, NULL), TET_OK);
        set_state(t, saved);
        same_state(what, t, saved, m);
        assert_true(same_double(tet_trainer_loss(t), cursor.last_loss));
        assert_int_equal(run(t), TET_FINISHED);
        same_state(what, t, expected, n);
        if (first.n + second.n != whole.n)
            fail_msg("%s: %zu + %zu records, expected %zu", what, first.n, second.n, whole.n);
        same_records(what, second.record, whole.record + first.n, second.n);
        const struct tet_cursor now = tet_trainer_cursor(t);
        assert_true(now.step == end.step && now.records == end.records && now.epoch == end.epoch &&
                    now.batch == end.batch && same_double(now.last_loss, end.last_loss));
        free(saved);
        tet_trainer_destroy(t);
    }
    free(expected);
}

static void save_anywhere(void **state)
{
    (void)state;
    for (int rule = 0; rule < TET_RULES; rule++) {
        save_one((enum tet_rule_name)rule, rule == TET_RULE_SAL ? 2 : 0, NULL);
        save_one((enum tet_rule_name)rule, rule == TET_RULE_SAL ? 4 : 3, NULL);
    }
}

/* With noise, signs, what waits, and in the other order. */
static void save_circuits(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(circuits); i++)
        if (circuits[i].delay.batches > 1 || circuits[i].noise.activity > 0.0f) {
            save_one(TET_RULE_SAL, 2, &circuits[i]);
            save_one(TET_RULE_KP, 3, &circuits[i]);
        }
}

static void impossible_cursors(void **state)
{
    (void)state;
    struct tet_plan p = make_plan(TET_RULE_BP, TET_CROSS_ENTROPY, 10, 3, 0.1f); // 4 steps an epoch
    p.epochs = 2;
    make_data(&data, 21, 10, 0, 3, 2, true);
    const struct tet_cursor bad[] = {
        {.step = 9, .epoch = 2},             // past the end
        {.step = 8, .epoch = 3},             //
        {.step = 5, .epoch = 0, .batch = 5}, // past the epoch
        {.step = 3, .epoch = 0, .batch = 2}, // step and position do not agree
        {.step = 3, .epoch = 1, .batch = 0}, //
        {.step = 4, .epoch = 0, .batch = 3}, //
        {.step = 8, .epoch = 2, .batch = 1}, // a mini-batch after the last epoch
        {.step = 8, .epoch = UINT32_MAX, .batch = 1},
    };
    const struct tet_cursor good[] = {{0},
                                      {.step = 4, .batch = 4},
                                      {.step = 4, .epoch = 1},
                                      {.step = 8, .epoch = 1, .batch = 4},
                                      {.step = 8, .epoch = 2}};
    struct tet_trainer *t = make(&p, &data, NULL);
    for (size_t i = 0; i < COUNT(good); i++)
        assert_int_equal(tet_trainer_seek(t, &good[i], NULL), TET_OK);
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct tet_error error = {0};
        const struct tet_cursor before = tet_trainer_cursor(t);
        const enum tet_err err = tet_trainer_seek(t, &bad[i], &error);
        if (err != TET_BAD_DEFINITION)
            fail_msg("cursor %zu (step %llu, epoch %u, batch %u): got %d, expected %d", i,
                     (unsigned long long)bad[i].step, bad[i].epoch, bad[i].batch, (int)err,
                     (int)TET_BAD_DEFINITION);
        assert_true(error.message[0] != '\0');
        assert_int_equal(tet_trainer_cursor(t).step, before.step);
    }
    tet_trainer_destroy(t);
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(save_anywhere),
        cmocka_unit_test(save_circuits),
        cmocka_unit_test(impossible_cursors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
