// SPDX-License-Identifier: Apache-2.0
/*
 * Runs with many interventions: the same bits with any number of threads and from wherever they
 * were saved; streams of their own; and interventions that cannot be.
 */
#include <stdio.h>

#include "interventions.h"

/* Of every kind, before the first mini-batch, at ends of epochs, twice at one step, at the last. */
static struct tet_plan busy_plan(int variant)
{
    struct tet_plan p = plan_of(TET_RULE_SAL, variant);
    p.record_every = 2;
    add(&p, 0, TET_LESION, TET_V, 0, 0.2f);
    add(&p, 0, TET_NOISE, TET_U, 1, 0.1f);
    add(&p, 2, TET_FREEZE, TET_W, 1, 0.0f);
    add(&p, 3, TET_RATE, TET_GROUPS, 0, 0.9f);
    add(&p, 5, TET_SILENCE_ASCENDING, TET_W, 1, 0.3f);
    add(&p, 5, TET_SHUFFLE, TET_B, 0, 0.0f);
    add(&p, 8, TET_SILENCE_DESCENDING, TET_W, 0, 0.2f);
    add(&p, 9, TET_UNFREEZE, TET_W, 0, 0.0f);
    add(&p, 10, TET_RERANDOMISE, TET_V, 2, 0.0f);
    add(&p, 10, TET_SILENCE_ASCENDING, TET_W, 0, 0.5f);
    add(&p, 12, TET_SCALE, TET_U, 0, -0.5f);
    add(&p, 13, TET_LESION, TET_V, 1, 0.5f);
    add(&p, 14, TET_RATE, TET_V, 0, 0.3f);
    add(&p, 14, TET_LESION, TET_W, 2, 0.1f);
    return p;
}

static void threads(void **state)
{
    (void)state;
    for (int variant = 0; variant < ODD_PLANS; variant++) {
        static struct log one, many;
        struct tet_plan p = busy_plan(variant);
        struct tet_trainer *t = make(&p, &data, &one);
        assert_int_equal(run(t), TET_FINISHED);
        uint64_t n;
        float *expected = state_of(t, &n);
        tet_trainer_destroy(t);
        for (p.threads = 2; p.threads <= 4; p.threads += 2) {
            t = make(&p, &data, &many);
            assert_int_equal(run(t), TET_FINISHED);
            same_state("threads", t, expected, n);
            assert_int_equal(one.n, many.n);
            same_records("threads", many.record, one.record, one.n);
            tet_trainer_destroy(t);
        }
        free(expected);
    }
}

/* Saved after every piece of work, and gone on with in a fresh trainer or one that was further. */
static void save_anywhere(void **state)
{
    (void)state;
    for (int variant = 2; variant < 4; variant++) {
        const struct tet_plan p = busy_plan(variant);
        struct tet_trainer *t = make(&p, &data, NULL);
        assert_int_equal(run(t), TET_FINISHED);
        uint64_t n, m;
        float *expected = state_of(t, &n);
        tet_trainer_destroy(t);
        struct tet_trainer *first = make(&p, &data, NULL), *used = make(&p, &data, NULL);
        for (bool more = true; more; more = tet_trainer_step(first) != TET_FINISHED) {
            char what[64];
            const struct tet_cursor cursor = tet_trainer_cursor(first);
            float *saved = state_of(first, &m);
            snprintf(what, sizeof what, "variant %d, saved at step %llu", variant,
                     (unsigned long long)cursor.step);
            struct tet_trainer *both[] = {make(&p, &data, NULL), used};
            for (int i = 0; i < 2; i++) {
                assert_int_equal(tet_trainer_seek(both[i], &cursor, NULL), TET_OK);
                set_state(both[i], saved);
                same_state(what, both[i], saved, m);
                assert_int_equal(run(both[i]), TET_FINISHED);
                same_state(what, both[i], expected, n);
            }
            free(saved);
            tet_trainer_destroy(both[0]);
        }
        free(expected);
        tet_trainer_destroy(first);
        tet_trainer_destroy(used);
    }
}

/* What happens to W happens to it whatever happens to V. */
static void groups_have_streams_of_their_own(void **state)
{
    (void)state;
    struct tet_plan p = plan_of(TET_RULE_SAL, 0), other = p;
    add(&p, 0, TET_LESION, TET_V, 0, 0.5f);
    add(&p, 0, TET_LESION, TET_W, 1, 0.5f);
    add(&other, 0, TET_LESION, TET_W, 1, 0.5f);
    struct tet_trainer *a = train_to(&p, 1), *b = train_to(&other, 1);
    static float x[1 << 15], y[1 << 15];
    struct tet_tensor tensor;
    tet_trainer_tensor(a, 0, &tensor);
    assert_string_equal(tensor.name, "W1");
    tet_trainer_get(a, 0, x);
    tet_trainer_get(b, 0, y);
    uint64_t lost = 0;
    for (uint64_t i = 0; i < tensor.n; i++) {
        assert_true((x[i] == 0.0f) == (y[i] == 0.0f));
        lost += x[i] == 0.0f;
    }
    assert_int_equal(lost, (tensor.n + 1) / 2);
    tet_trainer_destroy(a);
    tet_trainer_destroy(b);
}

static void impossible(void **state)
{
    (void)state;
    const struct {
        enum tet_rule_name rule;
        struct tet_intervention v;
    } bad[] = {
        {TET_RULE_SAL, {STEPS, TET_LESION, TET_V, 0, 0.5f}}, // past the end
        {TET_RULE_SAL, {1, TET_INTERVENTION_TYPES, TET_V, 0, 0.5f}},
        {TET_RULE_SAL, {1, TET_LESION, TET_V, 3, 0.5f}},
        {TET_RULE_SAL, {1, TET_LESION, TET_B, 1, 0.5f}},
        {TET_RULE_SAL, {1, TET_LESION, TET_V, 0, 0.0f}},
        {TET_RULE_SAL, {1, TET_LESION, TET_V, 0, 1.5f}},
        {TET_RULE_SAL, {1, TET_LESION, TET_V, 0, NAN}},
        {TET_RULE_SAL, {1, TET_LESION, TET_GROUPS, 0, 0.5f}},
        {TET_RULE_SAL, {1, TET_SILENCE_ASCENDING, TET_W, 3, 0.5f}}, // the output
        {TET_RULE_SAL, {1, TET_NOISE, TET_W, 0, -1.0f}},
        {TET_RULE_SAL, {1, TET_SCALE, TET_W, 0, INFINITY}},
        {TET_RULE_SAL, {1, TET_RATE, TET_W, 0, -1.0f}},
        {TET_RULE_SAL, {1, TET_RATE, TET_W, 1, 1.0f}},
        {TET_RULE_BP, {1, TET_LESION, TET_V, 0, 0.5f}},
        {TET_RULE_BP, {1, TET_SILENCE_DESCENDING, TET_W, 0, 0.5f}},
        {TET_RULE_FA, {1, TET_UNFREEZE, TET_B, 0, 0.5f}},
        {TET_RULE_DFA, {1, TET_UNFREEZE, TET_D, 0, 0.5f}},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct tet_plan p = plan_of(bad[i].rule, 0);
        struct tet_error error = {0};
        p.interventions[p.n_interventions++] = bad[i].v;
        if (tet_plan_check(&p, &data.set.shape, &error) != TET_BAD_DEFINITION)
            fail_msg("intervention %zu was accepted", i);
        assert_true(error.message[0] != '\0');
    }
    struct tet_plan p = plan_of(TET_RULE_SAL, 0);
    add(&p, 3, TET_FREEZE, TET_V, 0, 0.0f);
    add(&p, 2, TET_FREEZE, TET_V, 0, 0.0f);
    assert_int_equal(tet_plan_check(&p, &data.set.shape, NULL), TET_BAD_DEFINITION);
    p.n_interventions = TET_MAX_INTERVENTIONS + 1;
    assert_int_equal(tet_plan_check(&p, &data.set.shape, NULL), TET_BAD_DEFINITION);
    p = plan_of(TET_RULE_SAL, 0);
    p.n_hidden = 0;
    add(&p, 0, TET_LESION, TET_V, 0, 0.5f); // nothing there
    assert_int_equal(tet_plan_check(&p, &data.set.shape, NULL), TET_BAD_DEFINITION);
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads),
        cmocka_unit_test(save_anywhere),
        cmocka_unit_test(groups_have_streams_of_their_own),
        cmocka_unit_test(impossible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
