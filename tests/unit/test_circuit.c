// SPDX-License-Identifier: Apache-2.0
/*
 * Log-normal weights, Dale's rule, noise, delay and the order of changes: dense networks follow the
 * naive one with each of them and with all; every number of threads and set of instructions gives
 * the same bits.
 */
#include <stdio.h>

#include "noise.h" // before the naive `net`

#include "naive.h"

static struct data data;

static void rules_follow_their_equations(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(circuits); i++)
        for (int rule = 0; rule < TET_RULES; rule++)
            for (int variant = 0; variant < 2; variant++) {
                char what[80];
                /* Signs of one kind sum what cross-entropy teaches to 0: usf has no direction
                 * then. */
                const enum tet_loss loss = rule == TET_RULE_USF ? TET_MSE : TET_CROSS_ENTROPY;
                struct tet_plan p =
                    small_plan((enum tet_rule_name)rule, loss, variant % 2 ? TET_TANH : TET_RELU,
                               variant == 0 ? 0.0f : 0.5f);
                p.epochs = 3;
                p.n_validation = p.n_test = variant == 0 ? 8 : 1;
                set_circuit(&p, &circuits[i]);
                snprintf(what, sizeof what, "%s, %s, variant %d", circuits[i].name,
                         tet_rule_info(p.rule)->name, variant);
                make_data(&data, 50, 40, 31, 12, 4, true);
                follow(what, &p, &data);
            }
}

/* Without hidden layers, with other widths of the descending stream and ends of panels. */
static void other_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(circuits); i++) {
        struct tet_plan p = make_plan(TET_RULE_SAL, TET_MSE, 20, 6, 0.02f);
        make_data(&data, 51, 20, 0, 33, 5, true);
        set_circuit(&p, &circuits[i]);
        follow(circuits[i].name, &p, &data);
        add_layer(&p, 65, 31, TET_TANH);
        add_layer(&p, 19, 70, TET_RELU);
        p.gate = false;
        p.momentum = 0.5f;
        p.epochs = 2;
        p.group[TET_V].plastic = p.group[TET_B].plastic = i % 2 == 0;
        follow(circuits[i].name, &p, &data);
    }
}

static void same_bits_everywhere(void **state)
{
    (void)state;
    static const struct {
        const char *isa;
        uint32_t threads;
    } others[] = {{"avx2", 1}, {"avx2", 4}, {"avx512", 1}, {"avx512", 2}, {"neon", 1}, {"neon", 4}};
    static const int rules[] = {TET_RULE_SAL, TET_RULE_KP};
    for (size_t i = 0; i < COUNT(circuits); i++)
        for (int variant = 2; variant < ODD_PLANS; variant++) {
            struct tet_plan p = odd_plan((enum tet_rule_name)rules[variant % 2], variant);
            p.epochs = 2;
            p.max_steps = 8; // of 5 an epoch
            p.record_every = 0;
            p.n_test = 1;
            odd_data(&data, 52, variant);
            set_circuit(&p, &circuits[i]);
            setenv("TETRAD_ISA", "scalar", 1);
            struct tet_trainer *t = make(&p, &data, NULL);
            assert_int_equal(run(t), TET_FINISHED);
            uint64_t n;
            float *expected = state_of(t, &n);
            tet_trainer_destroy(t);
            for (size_t s = 0; s < COUNT(others); s++) {
                p.threads = others[s].threads;
                setenv("TETRAD_ISA", others[s].isa, 1);
                if (tet_trainer_create(&t, &p, &data.set, NULL, NULL, NULL) != TET_OK)
                    continue; // this processor lacks it
                assert_int_equal(run(t), TET_FINISHED);
                same_state(circuits[i].name, t, expected, n);
                tet_trainer_destroy(t);
            }
            free(expected);
            unsetenv("TETRAD_ISA");
        }
}

/* ---- what is particular to each ---- */

static void noise_is_normal(void **state)
{
    (void)state;
    static float table[TET_NORMALS];
    double sum = 0.0, squares = 0.0, fourths = 0.0;
    tet_noise_table(table);
    for (size_t i = 0; i < TET_NORMALS; i++) {
        const double z = (double)table[i];
        assert_true(i == 0 || table[i] > table[i - 1]);
        sum += z;
        squares += z * z;
        fourths += z * z * z * z;
    }
    close_to("mean", 0, 0, sum / TET_NORMALS, 0.0, 1e-7);
    close_to("variance", 0, 0, squares / TET_NORMALS, 1.0, 1e-6);
    close_to("kurtosis", 0, 0, fourths / TET_NORMALS, 3.0, 0.02);
    close_to("largest", 0, 0, (double)table[TET_NORMALS - 1], 3.67, 0.02);
}

/* Synapses that nothing drives move by noise alone: of the given spread, of no mean, not the same
 * from step to step, group to group or neuron to neuron. */
static void noise_of_synapses(void **state)
{
    (void)state;
    struct tet_plan p = make_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, 20, 10, 0.0f);
    add_layer(&p, 100, 100, TET_TANH);
    p.noise.synapses = 0.25f;
    make_data(&data, 53, 20, 0, 100, 100, true);
    static float before[WIDTH * WIDTH], first[2][WIDTH * WIDTH], after[WIDTH * WIDTH];
    struct tet_trainer *t = make(&p, &data, NULL);
    for (int g = 0; g < 2; g++)
        tet_trainer_get(t, index_of(t, g == 0 ? "W1" : "V1"), first[g]);
    assert_int_equal(tet_trainer_step(t), TET_STEPPED);
    for (int g = 0; g < 2; g++) {
        tet_trainer_get(t, index_of(t, g == 0 ? "W1" : "V1"), before);
        for (size_t i = 0; i < 10000; i++)
            first[g][i] = before[i] - first[g][i];
    }
    assert_int_equal(tet_trainer_step(t), TET_STEPPED); // before: of V1
    tet_trainer_get(t, index_of(t, "V1"), after);
    double sum = 0.0, square = 0.0, steps = 0.0, groups = 0.0, rows = 0.0, columns = 0.0;
    for (size_t i = 0; i < 10000; i++) {
        const double v = (double)first[1][i];
        sum += v;
        square += v * v;
        steps += v * (double)(after[i] - before[i]);
        groups += v * (double)first[0][i];
        rows += v * (double)first[1][(i + 100) % 10000];
        columns += v * (double)first[1][(i + 1) % 10000];
    }
    const double n = 10000.0, sd = 0.25;
    close_to("mean", 0, 0, sum / n, 0.0, 5.0 * sd / sqrt(n));
    close_to("spread", 0, 0, sqrt(square / n), sd, 5.0 * sd / sqrt(2.0 * n));
    const double cross[] = {steps, groups, rows, columns};
    for (uint32_t i = 0; i < 4; i++)
        close_to("correlation", 0, i, cross[i] / n / sd / sd, 0.0, 5.0 / sqrt(n));
    tet_trainer_destroy(t);
}

/* A run without noise, delay and so on allocates nothing for them; a delay as much as waits. */
static void memory(void **state)
{
    (void)state;
    struct tet_plan p = small_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, TET_RELU, 0.0f);
    make_data(&data, 54, 40, 0, 12, 4, true);
    const struct tet_shape *shape = &data.set.shape;
    const uint64_t none = tet_plan_memory(&p, shape);
    p.delay.eligibility = p.top_down = true;
    assert_int_equal(tet_plan_memory(&p, shape), none);
    p.top_down = false;
    const uint64_t row = 16 * 4; // bytes: 16 floats
    for (uint32_t k = 1; k <= TET_MAX_DELAY; k += 5) {
        p.delay = (struct tet_delay_plan){k, false};
        assert_int_equal(tet_plan_memory(&p, shape), none + k * p.batch * row);
        p.delay.eligibility = true; // x_0..x_3, s_1..s_3, m_1, m_2, u_1, u_2
        assert_int_equal(tet_plan_memory(&p, shape), none + k * p.batch * row * 11);
    }
    p.delay.batches = 0;
    p.noise.teaching = 1.0f;
    assert_int_equal(tet_plan_memory(&p, shape), none + 4 * TET_NORMALS);
}

/* The first mini-batches change nothing, not even by decay or noise. */
static void delay_waits(void **state)
{
    (void)state;
    for (int eligibility = 0; eligibility < 2; eligibility++) {
        struct tet_plan p = odd_plan(TET_RULE_SAL, 4);
        p.delay = (struct tet_delay_plan){3, eligibility != 0};
        p.noise.synapses = 0.1f;
        odd_data(&data, 55, 4);
        struct tet_trainer *t = make(&p, &data, NULL);
        static float start[WIDTH * WIDTH], now[WIDTH * WIDTH];
        struct tet_tensor tensor;
        const uint32_t v1 = index_of(t, "V1");
        tet_trainer_tensor(t, v1, &tensor);
        tet_trainer_get(t, v1, start);
        for (int step = 0; step < 5; step++) {
            assert_int_equal(tet_trainer_step(t), TET_STEPPED);
            tet_trainer_get(t, v1, now);
            assert_true((memcmp(now, start, tensor.n * sizeof *now) == 0) == (step < 3));
        }
        tet_trainer_tensor(t, index_of(t, "state/delay2"), &tensor);
        assert_true(tensor.state && tensor.rank == 1 && tensor.n == tensor.shape[0]);
        tet_trainer_destroy(t);
    }
}

/* Where what carries the signal down is fixed, the order means nothing. */
static void order_of_fixed_feedback(void **state)
{
    (void)state;
    for (int rule = 0; rule < 2; rule++) {
        struct tet_plan p = odd_plan(rule == 0 ? TET_RULE_FA : TET_RULE_KP, 0);
        odd_data(&data, 56, 0);
        struct tet_trainer *t = make(&p, &data, NULL);
        assert_int_equal(run(t), TET_FINISHED);
        uint64_t n;
        float *expected = state_of(t, &n);
        tet_trainer_destroy(t);
        p.top_down = true;
        t = make(&p, &data, NULL);
        assert_int_equal(run(t), TET_FINISHED);
        float *got = state_of(t, &n);
        assert_true((memcmp(got, expected, n * sizeof *got) == 0) == (rule == 0));
        tet_trainer_destroy(t);
        free(expected);
        free(got);
    }
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_follow_their_equations),
        cmocka_unit_test(other_shapes),
        cmocka_unit_test(same_bits_everywhere),
        cmocka_unit_test(noise_is_normal),
        cmocka_unit_test(noise_of_synapses),
        cmocka_unit_test(memory),
        cmocka_unit_test(delay_waits),
        cmocka_unit_test(order_of_fixed_feedback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
