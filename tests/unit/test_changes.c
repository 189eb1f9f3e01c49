// SPDX-License-Identifier: Apache-2.0
/* Dense networks whose rates are normalised, drives centred or clipped, learned groups scaled. */
#include <stdio.h>

#include "naive.h"

static struct data data;

static void rules_follow_their_equations(void **state)
{
    (void)state;
    for (unsigned how = 1; how < CHANGE_PLANS; how++)
        for (int rule = 0; rule < TET_RULES; rule++)
            for (int phi_ = TET_RELU; phi_ <= TET_TANH; phi_++) {
                char what[80];
                const float momentum = (how + (unsigned)rule) % 2 ? 0.5f : 0.0f;
                struct tet_plan p = small_plan((enum tet_rule_name)rule, TET_CROSS_ENTROPY,
                                               (enum tet_activation)phi_, momentum);
                set_changes(&p, how);
                snprintf(what, sizeof what, "%s, changes %u", tet_rule_info(p.rule)->name, how);
                make_data(&data, 50, 31, 11, 12, 4, true);
                follow(what, &p, &data);
            }
}

/* Norms of B go by the synapses that there are; drives' by those too. */
static void sparse_and_unequal_groups(void **state)
{
    (void)state;
    for (unsigned how = 1; how < CHANGE_PLANS; how++)
        for (int sparse = 0; sparse < 2; sparse++) {
            struct tet_plan p = small_plan(TET_RULE_SAL, TET_MSE, TET_TANH, 0.5f);
            p.gate = false;
            p.hidden[0].descending_units = 4;
            p.hidden[1].descending_units = 11;
            if (sparse)
                make_sparse(&p);
            set_changes(&p, how);
            make_data(&data, 51, 31, 11, 12, 4, false);
            follow(sparse ? "sparse" : "unequal", &p, &data);
        }
}

/* Wider than a panel, so that norms are sums of several. */
static void wide_networks(void **state)
{
    (void)state;
    for (int rule = 0; rule < TET_RULES; rule++) {
        struct tet_plan p = make_plan((enum tet_rule_name)rule, TET_CROSS_ENTROPY, 40, 20, 0.02f);
        add_layer(&p, 130, 130, TET_TANH);
        add_layer(&p, 75, 75, TET_RELU);
        set_changes(&p, CHANGE_PLANS - 1);
        make_data(&data, 52, 40, 0, 90, 33, true);
        follow("wide", &p, &data);
    }
}

/* The assembly argument: with equal rates and decays dU = dV^T, centred or not, so that where U
 * starts as V^T it stays that. */
static void laterals_stay_each_others_transpose(void **state)
{
    (void)state;
    static float u[WIDTH * WIDTH], v[WIDTH * WIDTH];
    for (int center = 0; center < 2; center++) {
        struct tet_plan p = small_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, TET_RELU, 0.5f);
        p.center = center == 1;
        p.group[TET_V] = p.group[TET_U];
        p.group[TET_V].init = p.group[TET_U].init = TET_INIT_IDENTITY;
        make_data(&data, 53, 31, 11, 12, 4, true);
        struct tet_trainer *t = make(&p, &data, NULL);
        assert_int_equal(run(t), TET_FINISHED);
        tet_trainer_get(t, index_of(t, "V1"), v);
        tet_trainer_get(t, index_of(t, "U1"), u);
        double off = 0.0;
        for (size_t r = 0; r < 9; r++)
            for (size_t c = 0; c < 9; c++) {
                close_to("U1", r, (uint32_t)c, (double)u[c * 9 + r], (double)v[r * 9 + c], 1e-6);
                off = fmax(off, r == c ? 0.0 : fabs((double)v[r * 9 + c]));
            }
        assert_true(off > 1e-3); // they learned
        tet_trainer_destroy(t);
    }
}

static void same_with_any_threads(void **state)
{
    (void)state;
    static struct log one, more;
    for (unsigned how = 1; how < CHANGE_PLANS; how++)
        for (int variant = 0; variant < ODD_PLANS; variant++) {
            uint64_t n;
            struct tet_plan p = odd_plan(TET_RULE_SAL, variant);
            set_changes(&p, how);
            odd_data(&data, 54, variant);
            struct tet_trainer *t = make(&p, &data, &one);
            assert_int_equal(run(t), TET_FINISHED);
            float *expected = state_of(t, &n);
            tet_trainer_destroy(t);
            for (p.threads = 2; p.threads <= 4; p.threads += 2) {
                t = make(&p, &data, &more);
                assert_int_equal(run(t), TET_FINISHED);
                same_state("threads", t, expected, n);
                assert_int_equal(more.n, one.n);
                same_records("threads", more.record, one.record, one.n);
                tet_trainer_destroy(t);
            }
            free(expected);
        }
}

/* In another trainer from any step on: the running means are part of what is kept. */
static void resumes_anywhere(void **state)
{
    (void)state;
    for (int variant = 0; variant < ODD_PLANS; variant++) {
        uint64_t n, m;
        struct tet_plan p = odd_plan(TET_RULE_SAL, variant);
        set_changes(&p, CHANGE_PLANS - 1);
        odd_data(&data, 55, variant);
        struct tet_trainer *t = make(&p, &data, NULL);
        assert_int_equal(run(t), TET_FINISHED);
        float *expected = state_of(t, &n);
        tet_trainer_destroy(t);
        for (int steps = 0; steps < 5; steps++) {
            t = make(&p, &data, NULL);
            for (int i = 0; i < steps; i++)
                assert_int_equal(tet_trainer_step(t), TET_STEPPED);
            float *saved = state_of(t, &m);
            const struct tet_cursor cursor = tet_trainer_cursor(t);
            tet_trainer_destroy(t);
            t = make(&p, &data, NULL);
            assert_int_equal(tet_trainer_seek(t, &cursor, NULL), TET_OK);
            set_state(t, saved);
            assert_int_equal(run(t), TET_FINISHED);
            same_state("resumed", t, expected, n);
            tet_trainer_destroy(t);
            free(saved);
        }
        free(expected);
    }
}

/* Silent neurons, a silent network: nothing is divided by nothing. */
static void silence(void **state)
{
    (void)state;
    for (unsigned how = 1; how < CHANGE_PLANS; how++) {
        uint64_t n;
        struct tet_plan p = small_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, TET_RELU, 0.0f);
        for (int g = 0; g < TET_GROUPS; g++)
            p.group[g].scale = 0.0f;
        set_changes(&p, how);
        make_data(&data, 56, 31, 11, 12, 4, true);
        for (size_t i = 0; i < COUNT(data.x); i++)
            data.x[i] = data.test_x[i] = 0.0f;
        struct tet_trainer *t = make(&p, &data, NULL);
        assert_int_equal(run(t), TET_FINISHED);
        float *values = state_of(t, &n);
        for (uint64_t i = 0; i < n; i++)
            assert_true(isfinite(values[i]));
        free(values);
        tet_trainer_destroy(t);
    }
}

static void bad_plans(void **state)
{
    (void)state;
    const struct tet_plan good = small_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, TET_RELU, 0.0f);
    make_data(&data, 57, 31, 11, 12, 4, true);
    for (int i = 0; i < 6; i++) {
        struct tet_plan p = good;
        struct tet_error error = {0};
        if (i < 2)
            p.normalize = (enum tet_normalize)(i == 0 ? -1 : 2);
        else if (i < 4)
            p.homeostasis = i == 2 ? 1.5f : NAN;
        else
            p.clip = i == 4 ? -1.0f : INFINITY;
        assert_int_equal(tet_plan_check(&good, &data.set.shape, NULL), TET_OK);
        assert_int_equal(tet_plan_check(&p, &data.set.shape, &error), TET_BAD_DEFINITION);
        assert_non_null(strstr(error.message, "homeostasis"));
    }
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_follow_their_equations),
        cmocka_unit_test(sparse_and_unequal_groups),
        cmocka_unit_test(wide_networks),
        cmocka_unit_test(laterals_stay_each_others_transpose),
        cmocka_unit_test(same_with_any_threads),
        cmocka_unit_test(resumes_anywhere),
        cmocka_unit_test(silence),
        cmocka_unit_test(bad_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
