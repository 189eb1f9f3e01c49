// SPDX-License-Identifier: Apache-2.0
/*
 * Convolutional networks against circuit.md: loss, telemetry, evaluation and weights are those of
 * the naive network after every step. Then what follows from the equations: bp is the gradient, kp
 * makes B the transpose of W.
 */
#include <stdio.h>

#include "naive_convolution.h"

static struct data data;

enum { CHANNELS = 2, ROWS = 7, COLUMNS = 6, INPUTS = CHANNELS * ROWS * COLUMNS, OUTPUTS = 4 };

static void images(uint64_t from, uint32_t n, uint32_t n_test, bool labelled)
{
    make_data(&data, from, n, n_test, INPUTS, OUTPUTS, labelled);
    make_images(&data, CHANNELS, ROWS, COLUMNS);
}

/* ---- networks ---- */

static void direct(struct tet_plan *p, enum tet_activation phi)
{
    add_convolution(p, 5, 5, phi, 3, 1, 0);
}

static void strided(struct tet_plan *p, enum tet_activation phi)
{
    add_convolution(p, 6, 6, phi, 3, 2, 1);
    add_layer(p, 7, 7, phi);
}

static void two(struct tet_plan *p, enum tet_activation phi)
{
    add_convolution(p, 6, 6, phi, 3, 1, 1);
    add_convolution(p, 5, 5, phi, 4, 2, 2);
    add_layer(p, 7, 7, phi);
}

static void largest(struct tet_plan *p, enum tet_activation phi)
{
    add_convolution(p, 6, 6, phi, 3, 1, 1);
    add_pool(p, TET_POOL_MAX, 2, 2);
    add_convolution(p, 5, 5, phi, 2, 1, 1);
    add_layer(p, 7, 7, phi);
}

static void overlapping_largest(struct tet_plan *p, enum tet_activation phi)
{
    add_convolution(p, 5, 5, phi, 2, 1, 0);
    add_pool(p, TET_POOL_MAX, 3, 1);
    add_convolution(p, 6, 6, phi, 3, 2, 2);
    add_pool(p, TET_POOL_MAX, 2, 1);
    add_layer(p, 8, 8, phi);
    add_layer(p, 5, 5, phi);
}

static void mean(struct tet_plan *p, enum tet_activation phi)
{
    add_convolution(p, 5, 5, phi, 3, 1, 2);
    add_pool(p, TET_POOL_AVG, 2, 2);
    add_convolution(p, 7, 7, phi, 3, 1, 1);
    add_pool(p, TET_POOL_AVG, 3, 1);
}

/* Windows that leave positions out, kernels of a single tap, an image of a single position. */
static void gaps(struct tet_plan *p, enum tet_activation phi)
{
    add_convolution(p, 6, 6, phi, 1, 2, 0);
    add_pool(p, TET_POOL_MAX, 1, 2);
    add_convolution(p, 5, 5, phi, 2, 3, 1);
    add_pool(p, TET_POOL_AVG, 1, 1);
    add_layer(p, 7, 7, phi);
}

static const struct {
    const char *name;
    void (*add)(struct tet_plan *p, enum tet_activation phi);
} networks[] = {{"direct", direct},
                {"strided", strided},
                {"two", two},
                {"largest", largest},
                {"overlapping largest", overlapping_largest},
                {"mean", mean},
                {"gaps", gaps}};

/* 23 examples in batches of 6: the last has 5; 3 epochs of 4 steps. */
static struct tet_plan plan_of(enum tet_rule_name rule, enum tet_loss loss, float momentum)
{
    struct tet_plan p = make_plan(rule, loss, 23, 6, 0.05f);
    p.epochs = 3;
    p.schedule = (struct tet_schedule_plan){TET_SCHEDULE_STEP, 2, {1, 2}, 0.5f};
    p.momentum = momentum;
    p.n_validation = 8;
    p.n_test = 9;
    p.record_every = 1;
    p.record_alignment = true;
    for (int g = 0; g < TET_GROUPS; g++) {
        p.group[g].decay = 0.01f + 0.02f * (float)g;
        p.group[g].lr = (loss == TET_MSE ? 0.2f : 1.0f) * (0.005f - 0.001f * (float)g);
    }
    p.group[TET_B].scale = 0.5f;  // many windows meet on the way down
    p.group[TET_D].scale = 0.25f; // or many outputs
    return p;
}

/* ---- the same as the naive network ---- */

static void rules_follow_their_equations(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(networks); i++)
        for (int rule = 0; rule < TET_RULES; rule++)
            for (int phi = TET_RELU; phi <= TET_TANH; phi++)
                for (int variant = 0; variant < 4; variant++) {
                    const struct tet_rule_info *info = tet_rule_info((enum tet_rule_name)rule);
                    const bool gate = variant % 2 == 0, mse = variant >= 2;
                    if (!gate && !info->takes_gate)
                        continue;
                    char what[100];
                    snprintf(what, sizeof what, "%s, %s, %s, variant %d", networks[i].name,
                             info->name, phi == TET_RELU ? "relu" : "tanh", variant);
                    struct tet_plan p =
                        plan_of((enum tet_rule_name)rule, mse ? TET_MSE : TET_CROSS_ENTROPY,
                                (i + (size_t)variant) % 3 == 0 ? 0.0f : 0.5f);
                    networks[i].add(&p, (enum tet_activation)phi);
                    p.gate = gate;
                    images(1 + (uint64_t)variant, 31, 11, variant < 3);
                    follow(what, &p, &data);
                }
}

static void sparse_networks(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(networks); i++)
        for (int rule = 0; rule < TET_RULES; rule++) {
            struct tet_plan p = plan_of((enum tet_rule_name)rule, TET_CROSS_ENTROPY, 0.5f);
            networks[i].add(&p, TET_TANH);
            make_sparse(&p);
            p.record_assembly = p.record_activity = true;
            images(5, 31, 11, true);
            follow(networks[i].name, &p, &data);
        }
}

/* Descending channels of their own need no gate, and no maximum. */
static void unequal_descending_channels(void **state)
{
    (void)state;
    for (int phi = TET_RELU; phi <= TET_TANH; phi++)
        for (int variant = 0; variant < 4; variant++) {
            struct tet_plan p = plan_of(TET_RULE_SAL, TET_CROSS_ENTROPY, variant % 2 ? 0.6f : 0.0f);
            p.gate = false;
            add_convolution(&p, 5, 8, (enum tet_activation)phi, 3, 1, 1);
            if (variant < 2)
                add_pool(&p, TET_POOL_AVG, 3, 2);
            add_convolution(&p, 6, 2, (enum tet_activation)phi, 2, variant < 2 ? 1 : 2, 1);
            if (variant >= 2)
                add_pool(&p, TET_POOL_AVG, 2, 1);
            if (variant != 1)
                add_layer(&p, 5, 9, (enum tet_activation)phi);
            images(11, 31, 11, true);
            follow("unequal descending channels", &p, &data);
        }
}

/* Wider than a panel in every place, so that products and telemetry go by several blocks. */
static void wide_network(void **state)
{
    (void)state;
    for (int rule = 0; rule < TET_RULES; rule++)
        for (int variant = 0; variant < 2; variant++) {
            struct tet_plan p = make_plan((enum tet_rule_name)rule, TET_CROSS_ENTROPY, 9, 5, 2e-3f);
            const bool other = rule == TET_RULE_SAL && variant == 1;
            add_convolution(&p, 66, other ? 70 : 66, TET_TANH, 3, 3, 1);
            add_convolution(&p, 67, other ? 3 : 67, TET_RELU, 2, 1, 1);
            if (variant == 1)
                add_pool(&p, TET_POOL_AVG, 2, 2);
            add_layer(&p, 70, other ? 66 : 70, TET_TANH);
            p.gate = !other;
            p.record_every = 1;
            p.record_alignment = true;
            make_data(&data, 12, 9, 0, INPUTS, variant == 0 ? 67 : 5, true);
            make_images(&data, CHANNELS, ROWS, COLUMNS);
            follow("wide", &p, &data);
        }
}

/* 35 examples and then 15 lie in 48 columns and in 16 of them. */
static void large_batches(void **state)
{
    (void)state;
    for (int rule = 0; rule < TET_RULES; rule++)
        for (size_t i = 0; i < COUNT(networks); i++) {
            struct tet_plan p = plan_of((enum tet_rule_name)rule, TET_CROSS_ENTROPY, 0.5f);
            networks[i].add(&p, i % 2 ? TET_RELU : TET_TANH);
            p.n_train = 50;
            p.batch = 35;
            p.record_assembly = p.record_activity = true;
            images(13, 58, 9, true);
            follow(networks[i].name, &p, &data);
        }
}

static void frozen_groups(void **state)
{
    (void)state;
    for (unsigned frozen = 1; frozen < 16; frozen++) {
        struct tet_plan p = plan_of(TET_RULE_SAL, TET_CROSS_ENTROPY, frozen % 2 ? 0.0f : 0.5f);
        largest(&p, TET_TANH);
        for (unsigned g = 0; g < TET_GROUPS; g++)
            p.group[g].plastic = !(frozen >> g & 1);
        images(14, 31, 11, true);
        follow("frozen", &p, &data);
    }
}

/* ---- initial weights ---- */

/* Spread of the initial values within 5 standard errors: a kernel's taps all feed a neuron. */
static void initial_spread(void **state)
{
    (void)state;
    enum { SIDE = 9, INPUT = 3, D1 = 40, E1 = 30, D2 = 35, E2 = 25, OUT = 50 };
    make_data(&data, 24, 2, 0, INPUT * SIDE * SIDE, OUT, true);
    make_images(&data, INPUT, SIDE, SIDE);
    for (int phi = TET_RELU; phi <= TET_TANH; phi++) {
        struct tet_plan p = make_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, 2, 2, 0.1f);
        p.gate = false;
        add_convolution(&p, D1, E1, (enum tet_activation)phi, 5, 1, 0); // to 5 x 5
        add_convolution(&p, D2, E2, (enum tet_activation)phi, 3, 1, 0); // to 3 x 3
        add_pool(&p, TET_POOL_AVG, 2, 1);                               // to 2 x 2
        for (int g = 0; g < TET_GROUPS; g++)
            p.group[g].scale = 0.5f + (float)g;
        const bool he = phi == TET_RELU;
        const double w2 = sqrt(2.0 / (he ? D1 * 9 : D1 * 9 + D2 * 9));
        const double w3 = sqrt(2.0 / (he ? D2 * 4 : D2 * 4 + OUT));
        const struct {
            const char *name;
            double spread;
        } expected[] = {{"W1", 0.5 * sqrt(2.0 / (he ? INPUT * 25 : INPUT * 25 + D1 * 25))},
                        {"W2", 0.5 * w2},
                        {"W3", 0.5 * w3},
                        {"B2", 1.5 * w2},
                        {"B3", 1.5 * w3},
                        {"V1", 2.5 / sqrt(E1)},
                        {"U2", 3.5 / sqrt(D2)}};
        struct tet_trainer *t = make(&p, &data, NULL);
        for (size_t i = 0; i < COUNT(expected); i++) {
            struct tet_tensor tensor;
            int g;
            uint32_t l;
            const float *values = array_of(t, index_of(t, expected[i].name), &tensor, &g, &l);
            double square = 0.0;
            for (uint64_t k = 0; k < tensor.n; k++)
                square += (double)values[k] * values[k];
            const double n = (double)tensor.n, spread = expected[i].spread;
            close_to(expected[i].name, 0, l, sqrt(square / n), spread,
                     5.0 * spread / sqrt(2.0 * n));
        }
        tet_trainer_destroy(t);
    }
}

/* ---- what follows from the equations ---- */

/* Whether a small change of a weight changes which taps are on: a relu near its kink, or a maximum
 * with a rival near it. */
static void check_smooth(uint32_t n)
{
    const double near = 1e-5;
    for (uint32_t l = 1; l < net.L; l++) {
        const enum tet_activation phi = net.plan.hidden[l - 1].activation;
        const uint32_t positions = net.z_positions[l];
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t c = 0; c < net.d[l]; c++) {
                const double *z = unit(net.z[l], i, c, positions);
                const double *a = unit(net.a[l], i, c, positions);
                const double *x = unit(net.x[l], i, c, net.x_positions[l]);
                for (uint32_t q = 0; q < positions && phi == TET_RELU; q++)
                    if (fabs(z[q]) < near)
                        fail_msg("too near a kink: z_%u is %g", l, z[q]);
                const struct taps *t = &net.pool[l];
                uint32_t rivals[WIDTH] = {0};
                for (uint32_t k = 0; k < t->n && pool_of(l) == TET_POOL_MAX; k++) {
                    const double largest = x[t->tap[k].p];
                    if ((phi != TET_RELU || largest > 0.0) && a[t->tap[k].q] > largest - near &&
                        ++rivals[t->tap[k].p] > 1)
                        fail_msg("two near the maximum %g of x_%u", largest, l);
                }
            }
    }
}

/* Minus the change of the mean loss with a weight, by central differences. */
static double slope(double *weight, uint32_t n)
{
    const double old = *weight, h = 1e-6;
    uint64_t unused = 0;
    double value[2];
    for (int side = 0; side < 2; side++) {
        *weight = side == 0 ? old - h : old + h;
        ascend(n);
        value[side] = judge(n, &data.set.train, 0, &unused) / n;
    }
    *weight = old;
    return -(value[1] - value[0]) / (2.0 * h);
}

static void bp_is_the_gradient(void **state)
{
    (void)state;
    enum { N = 3 };
    for (size_t i = 0; i < COUNT(networks); i++)
        for (int phi = TET_RELU; phi <= TET_IDENTITY; phi++) {
            struct tet_plan p =
                make_plan(TET_RULE_BP, i % 2 ? TET_MSE : TET_CROSS_ENTROPY, N, N, 1.0f);
            networks[i].add(&p, (enum tet_activation)phi);
            images(15 + i, 4, 0, true);
            struct tet_trainer *t = make(&p, &data, NULL);
            take_over(t, &p, &data);
            load(N, &data.set.train, 0);
            ascend(N);
            check_smooth(N);
            uint64_t n, at = 0;
            float *before = state_of(t, &n), *after;
            assert_int_equal(tet_trainer_step(t), TET_STEPPED);
            after = state_of(t, &n);
            double most = 0.0;
            for (uint64_t k = 0; k < n; k++)
                most = fmax(most, fabs((double)after[k] - before[k]));
            assert_true(most > 1e-3);
            for (int bias = 0; bias < 2; bias++) // the trainer's order: all W, then all b
                for (uint32_t l = 1; l <= net.L; l++)
                    for (size_t k = 0; k < (bias ? net.d[l] : count(TET_W, l)); k++, at++)
                        close_to(networks[i].name, k, l, (double)after[at] - before[at],
                                 slope(bias ? &net.b[l][k] : &net.p[TET_W][l][k], N),
                                 2e-5 * (1.0 + most));
            assert_int_equal(at, n);
            free(before);
            free(after);
            tet_trainer_destroy(t);
        }
}

/* kp: B_l less W_l with its channels exchanged shrinks by 1 - lr decay at every step. */
static void kp_makes_the_transpose(void **state)
{
    (void)state;
    struct tet_plan p = make_plan(TET_RULE_KP, TET_CROSS_ENTROPY, 20, 5, 0.01f);
    overlapping_largest(&p, TET_TANH);
    p.epochs = 8;
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g].decay = 2.0f;
    images(16, 20, 0, true);
    struct tet_trainer *t = make(&p, &data, NULL);
    take_over(t, &p, &data); // for its shape, and where it began
    static float w[WEIGHTS], b[WEIGHTS];
    do {
        const uint64_t step = tet_trainer_cursor(t).step;
        const double factor = pow(1.0 - (double)0.01f * (double)2.0f, (double)step);
        for (uint32_t l = 2; l <= net.L; l++) {
            char name[8];
            snprintf(name, sizeof name, "W%u", l);
            tet_trainer_get(t, index_of(t, name), w);
            name[0] = 'B';
            tet_trainer_get(t, index_of(t, name), b);
            for (uint32_t o = 0; o < net.d[l]; o++)
                for (uint32_t c = 0; c < net.d[l - 1]; c++)
                    for (uint32_t k = 0; k < net.stage[l].kernel; k++) {
                        const size_t at_w = w_at(l, o, c, k), at_b = b_at(l, c, o, k);
                        const double start = net.p[TET_B][l][at_b] - net.p[TET_W][l][at_w];
                        close_to(name, step, l, (double)b[at_b] - w[at_w], start * factor, 2e-5);
                    }
        }
    } while (tet_trainer_step(t) != TET_FINISHED);
    assert_int_equal(tet_trainer_cursor(t).step, 32);
    tet_trainer_destroy(t);
}

/* With relu and V = U = I held fixed, sal is kp (circuit.md), pooling or none. */
static void identity_laterals(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(networks); i++) {
        struct tet_plan p = plan_of(TET_RULE_SAL, TET_CROSS_ENTROPY, 0.5f);
        networks[i].add(&p, TET_RELU);
        for (int g = TET_V; g <= TET_U; g++) {
            p.group[g].init = TET_INIT_IDENTITY;
            p.group[g].scale = 1.0f;
            p.group[g].plastic = false;
        }
        struct tet_plan q = p;
        q.rule = TET_RULE_KP;
        images(17, 31, 11, true);
        struct tet_trainer *sal = make(&p, &data, NULL), *kp = make(&q, &data, NULL);
        assert_int_equal(run(sal), TET_FINISHED);
        assert_int_equal(run(kp), TET_FINISHED);
        static float a[WEIGHTS], b[WEIGHTS];
        for (uint32_t k = 0; k < tet_trainer_tensors(kp); k++) {
            struct tet_tensor tensor;
            tet_trainer_tensor(kp, k, &tensor);
            tet_trainer_get(kp, k, a);
            tet_trainer_get(sal, index_of(sal, tensor.name), b);
            for (uint64_t at = 0; at < tensor.n; at++)
                if (a[at] != b[at])
                    fail_msg("%s, %s[%llu]: kp %a, sal %a", networks[i].name, tensor.name,
                             (unsigned long long)at, (double)a[at], (double)b[at]);
        }
        tet_trainer_destroy(sal);
        tet_trainer_destroy(kp);
    }
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_follow_their_equations),
        cmocka_unit_test(sparse_networks),
        cmocka_unit_test(unequal_descending_channels),
        cmocka_unit_test(wide_network),
        cmocka_unit_test(large_batches),
        cmocka_unit_test(frozen_groups),
        cmocka_unit_test(initial_spread),
        cmocka_unit_test(bp_is_the_gradient),
        cmocka_unit_test(kp_makes_the_transpose),
        cmocka_unit_test(identity_laterals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
