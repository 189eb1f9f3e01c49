// SPDX-License-Identifier: Apache-2.0
/*
 * The rules against circuit.md: loss, telemetry, evaluation and weights are those of the naive
 * network after every step. Then what follows from the equations: bp is the gradient, pairs of
 * weights converge, sal with identity laterals is kp.
 */
#include <stdio.h>

#include "naive.h"

static struct data data;

static void rules_follow_their_equations(void **state)
{
    (void)state;
    static const char *const activations[] = {"relu", "tanh", "identity"};
    for (int rule = 0; rule < TET_RULES; rule++)
        for (int phi_ = TET_RELU; phi_ <= TET_IDENTITY; phi_++)
            for (int loss = TET_CROSS_ENTROPY; loss <= TET_MSE; loss++)
                for (int variant = 0; variant < 4; variant++) {
                    const bool gate = variant % 2 == 0, labelled = variant < 2 || loss == 0;
                    if (!gate && !tet_rule_info((enum tet_rule_name)rule)->takes_gate)
                        continue;
                    char what[100];
                    snprintf(what, sizeof what, "%s, %s, %s, gate %d, variant %d",
                             tet_rule_info((enum tet_rule_name)rule)->name, activations[phi_],
                             loss == TET_MSE ? "mse" : "cross_entropy", gate, variant);
                    struct tet_plan p =
                        small_plan((enum tet_rule_name)rule, (enum tet_loss)loss,
                                   (enum tet_activation)phi_, variant < 2 ? 0.0f : 0.5f);
                    p.gate = gate;
                    make_data(&data, 1 + (uint64_t)variant, 31, 11, 12, 4, labelled);
                    follow(what, &p, &data);
                }
}

static void unequal_descending_widths(void **state)
{
    (void)state;
    for (int phi_ = TET_RELU; phi_ <= TET_TANH; phi_++)
        for (int momentum = 0; momentum < 2; momentum++) {
            struct tet_plan p = small_plan(TET_RULE_SAL, TET_CROSS_ENTROPY,
                                           (enum tet_activation)phi_, momentum ? 0.6f : 0.0f);
            p.gate = false;
            p.hidden[0].descending_units = 4;
            p.hidden[1].descending_units = 19;
            make_data(&data, 11, 31, 11, 12, 4, true);
            follow("unequal descending widths", &p, &data);
        }
}

/* Wider than a panel in every place, so that telemetry goes by several blocks. */
static void wide_network(void **state)
{
    (void)state;
    for (int rule = 0; rule < TET_RULES; rule++)
        for (int variant = 0; variant < 2; variant++) {
            struct tet_plan p =
                make_plan((enum tet_rule_name)rule, TET_CROSS_ENTROPY, 20, 10, 0.02f);
            const bool other = rule == TET_RULE_SAL && variant == 1;
            add_layer(&p, 70, other ? 131 : 70, TET_TANH);
            add_layer(&p, 129, other ? 66 : 129, variant == 0 ? TET_RELU : TET_TANH);
            p.gate = !other;
            p.record_every = 2;
            p.record_alignment = true;
            p.epochs = 2;
            make_data(&data, 12, 20, 0, 33, variant == 0 ? 67 : 5, true);
            follow("wide", &p, &data);
        }
}

static void deep_and_flat_networks(void **state)
{
    (void)state;
    for (int rule = 0; rule < TET_RULES; rule++)
        for (uint32_t depth = 0; depth <= 7; depth += 7) {
            struct tet_plan p =
                make_plan((enum tet_rule_name)rule, TET_CROSS_ENTROPY, 23, 6, 0.03f);
            for (uint32_t l = 0; l < depth; l++)
                add_layer(&p, 8 + l, 8 + l, l % 2 ? TET_RELU : TET_TANH);
            p.epochs = 6;
            p.record_every = 3;
            p.record_alignment = true;
            p.momentum = 0.3f;
            make_data(&data, 13, 23, 0, 12, 4, true);
            follow(depth == 0 ? "no hidden layer" : "deep", &p, &data);
        }
}

static void frozen_groups(void **state)
{
    (void)state;
    for (unsigned frozen = 1; frozen < 16; frozen++) {
        struct tet_plan p = small_plan(TET_RULE_SAL, TET_MSE, TET_TANH, frozen % 2 ? 0.0f : 0.5f);
        for (unsigned g = 0; g < TET_GROUPS; g++)
            p.group[g].plastic = !(frozen >> g & 1);
        make_data(&data, 14, 31, 11, 12, 4, false);
        follow("frozen", &p, &data);

        struct tet_trainer *t = make(&p, &data, NULL), *start = make(&p, &data, NULL);
        assert_int_equal(run(t), TET_FINISHED);
        for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
            struct tet_tensor tensor;
            float before[200], after[200];
            tet_trainer_tensor(t, i, &tensor);
            tet_trainer_get(t, i, after);
            tet_trainer_get(start, i, before);
            const char group = tensor.state ? tensor.name[9] : tensor.name[0];
            const unsigned g =
                (unsigned)(strchr("WBVUDb", group) - strchr("WBVUDb", 'W')) % TET_GROUPS;
            const bool same = memcmp(before, after, tensor.n * sizeof *after) == 0;
            if (same != (frozen >> g & 1))
                fail_msg("%s: frozen groups %u, changed: %d", tensor.name, frozen, !same);
            assert_false(tensor.state && (frozen >> g & 1));
        }
        tet_trainer_destroy(t);
        tet_trainer_destroy(start);
    }
}

/* bp's change of every weight is the negative gradient of the mean loss, by central differences. */
static void bp_is_the_gradient(void **state)
{
    (void)state;
    enum { N = 5 };
    for (int phi_ = TET_RELU; phi_ <= TET_IDENTITY; phi_++)
        for (int loss = TET_CROSS_ENTROPY; loss <= TET_MSE; loss++) {
            struct tet_plan p = make_plan(TET_RULE_BP, (enum tet_loss)loss, N, N, 1.0f);
            add_layer(&p, 6, 6, (enum tet_activation)phi_);
            add_layer(&p, 5, 5, (enum tet_activation)phi_);
            make_data(&data, 15, N, 0, 7, 3, loss == TET_CROSS_ENTROPY);
            struct tet_trainer *t = make(&p, &data, NULL);
            take_over(t, &p, &data);
            uint64_t n;
            float *before = state_of(t, &n), *after;
            assert_int_equal(tet_trainer_step(t), TET_STEPPED);
            after = state_of(t, &n);
            load(N, &data.set.train, 0);
            ascend(N);
            for (uint32_t l = 1; l < net.L && phi_ == TET_RELU; l++)
                for (uint32_t i = 0; i < N * WIDTH; i++)
                    if (i % WIDTH < net.d[l] && fabs(net.z[l][i]) < 1e-4)
                        fail_msg("too near a kink: z_%u is %g", l, net.z[l][i]);
            uint64_t at = 0, unused = 0;
            double largest = 0.0;
            for (uint64_t i = 0; i < n; i++)
                largest = fmax(largest, fabs((double)after[i] - before[i]));
            assert_true(largest > 1e-3);
            for (int kind = 0; kind < 2; kind++) // the trainer's order: all W, then all b
                for (uint32_t l = 1; l <= net.L; l++)
                    for (uint32_t r = 0; r < net.d[l]; r++)
                        for (uint32_t c = 0; c < (kind == 0 ? net.d[l - 1] : 1); c++, at++) {
                            double *w = kind == 0 ? &net.p[TET_W][l][r * WIDTH + c] : &net.b[l][r];
                            const double old = *w, h = 1e-5;
                            double value[2];
                            for (int side = 0; side < 2; side++) {
                                *w = side == 0 ? old - h : old + h;
                                ascend(N);
                                value[side] = judge(N, &data.set.train, 0, &unused) / N;
                            }
                            *w = old;
                            const double got = (double)after[at] - before[at];
                            close_to(kind == 0 ? "-dloss/dW" : "-dloss/db", r, l, got,
                                     -(value[1] - value[0]) / (2.0 * h), 2e-5 * (1.0 + largest));
                        }
            assert_int_equal(at, n);
            free(before);
            free(after);
            tet_trainer_destroy(t);
        }
}

/* Checks that a - b^T shrinks by 1 - lr decay at every step. */
static void check_pair(const struct tet_trainer *t, const char *a, const char *b, double *start,
                       uint64_t step, double factor)
{
    struct tet_tensor tensor;
    static float p[WIDTH * WIDTH], q[WIDTH * WIDTH];
    tet_trainer_tensor(t, index_of(t, a), &tensor);
    tet_trainer_get(t, index_of(t, a), p);
    tet_trainer_get(t, index_of(t, b), q);
    const uint32_t rows = tensor.shape[0], columns = tensor.shape[1];
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < columns; c++) {
            const double apart = (double)p[r * columns + c] - q[c * rows + r];
            double *first = &start[r * columns + c];
            if (step == 0)
                *first = apart;
            close_to(a, step, c, apart, *first * pow(factor, (double)step), 2e-5);
        }
}

static void pairs_converge(void **state)
{
    (void)state;
    static double start[4][WIDTH * WIDTH];
    for (int rule = TET_RULE_KP; rule <= TET_RULE_SAL; rule++) {
        struct tet_plan p = make_plan((enum tet_rule_name)rule, TET_CROSS_ENTROPY, 40, 5, 0.05f);
        add_layer(&p, 13, 13, TET_TANH);
        add_layer(&p, 18, 18, TET_RELU);
        p.epochs = 8;
        p.shuffle = true;
        for (int g = 0; g < TET_GROUPS; g++)
            p.group[g].decay = 0.5f;
        make_data(&data, 16, 40, 0, 12, 4, true);
        struct tet_trainer *t = make(&p, &data, NULL);
        const double factor = 1.0 - (double)0.05f * (double)0.5f;
        do {
            const uint64_t step = tet_trainer_cursor(t).step;
            check_pair(t, rule == TET_RULE_KP ? "B2" : "U1", rule == TET_RULE_KP ? "W2" : "V1",
                       start[0], step, factor);
            check_pair(t, rule == TET_RULE_KP ? "B3" : "U2", rule == TET_RULE_KP ? "W3" : "V2",
                       start[1], step, factor);
        } while (tet_trainer_step(t) != TET_FINISHED);
        assert_int_equal(tet_trainer_cursor(t).step, 64);
        tet_trainer_destroy(t);
    }
}

/* With relu and V = U = I held fixed, sal is kp (circuit.md). */
static void identity_laterals(void **state)
{
    (void)state;
    make_data(&data, 17, 23, 0, 12, 4, true);
    struct tet_plan p = make_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, 23, 6, 0.05f);
    add_layer(&p, 65, 65, TET_RELU);
    add_layer(&p, 7, 7, TET_RELU);
    p.epochs = 5;
    for (int g = TET_V; g <= TET_U; g++) {
        p.group[g].init = TET_INIT_IDENTITY;
        p.group[g].scale = 1.0f;
        p.group[g].plastic = false;
    }
    struct tet_plan q = p;
    q.rule = TET_RULE_KP;
    struct tet_trainer *sal = make(&p, &data, NULL), *kp = make(&q, &data, NULL);
    static float a[65 * 65], b[65 * 65];
    tet_trainer_get(sal, index_of(sal, "V1"), a);
    for (int i = 0; i < 65 * 65; i++)
        assert_true(a[i] == (i % 66 == 0 ? 1.0f : 0.0f));
    assert_int_equal(run(sal), TET_FINISHED);
    assert_int_equal(run(kp), TET_FINISHED);
    for (uint32_t i = 0; i < tet_trainer_tensors(kp); i++) {
        struct tet_tensor tensor;
        tet_trainer_tensor(kp, i, &tensor);
        tet_trainer_get(kp, i, a);
        tet_trainer_get(sal, index_of(sal, tensor.name), b);
        for (uint64_t k = 0; k < tensor.n; k++)
            if (a[k] != b[k])
                fail_msg("%s[%llu]: kp %a, sal %a", tensor.name, (unsigned long long)k,
                         (double)a[k], (double)b[k]);
    }
    tet_trainer_destroy(sal);
    tet_trainer_destroy(kp);
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_follow_their_equations),
        cmocka_unit_test(unequal_descending_widths),
        cmocka_unit_test(wide_network),
        cmocka_unit_test(deep_and_flat_networks),
        cmocka_unit_test(frozen_groups),
        cmocka_unit_test(bp_is_the_gradient),
        cmocka_unit_test(pairs_converge),
        cmocka_unit_test(identity_laterals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
