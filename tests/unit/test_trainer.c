// SPDX-License-Identifier: Apache-2.0
/*
 * A run as a whole: the same bits whatever the instruction set and whether anybody watches; initial
 * weights, schedules, the last step, tensors.
 */
#include "naive.h"

static struct data data;

/* ---- the same bits ---- */

static void every_instruction_set(void **state)
{
    (void)state;
    static const char *const isas[] = {"avx2", "avx512", "neon"};
    static struct log expected, got;
    int compared = 0;
    for (int rule = 0; rule < TET_RULES; rule++)
        for (int variant = 0; variant < ODD_PLANS; variant++) {
            const struct tet_plan p = odd_plan((enum tet_rule_name)rule, variant);
            odd_data(&data, 18, variant);
            setenv("TETRAD_ISA", "scalar", 1);
            struct tet_trainer *t = make(&p, &data, &expected);
            assert_int_equal(run(t), TET_FINISHED);
            uint64_t n;
            float *values = state_of(t, &n);
            tet_trainer_destroy(t);
            for (size_t i = 0; i < COUNT(isas); i++) {
                setenv("TETRAD_ISA", isas[i], 1);
                got.n = 0;
                if (tet_trainer_create(&t, &p, &data.set, keep, &got, NULL) != TET_OK)
                    continue; // the processor lacks it
                compared++;
                assert_int_equal(run(t), TET_FINISHED);
                same_state(isas[i], t, values, n);
                assert_int_equal(got.n, expected.n);
                same_records(isas[i], got.record, expected.record, got.n);
                tet_trainer_destroy(t);
            }
            free(values);
            unsetenv("TETRAD_ISA");
        }
    print_message("%d runs compared with scalar ones\n", compared);
}

static void bad_instruction_set(void **state)
{
    (void)state;
    struct tet_plan p = make_plan(TET_RULE_BP, TET_CROSS_ENTROPY, 5, 2, 0.1f);
    struct tet_error error = {0};
    make_data(&data, 19, 5, 0, 3, 2, true);
    struct tet_trainer *t = (void *)&p;
    setenv("TETRAD_ISA", "altivec", 1);
    assert_int_equal(tet_trainer_create(&t, &p, &data.set, NULL, NULL, &error), TET_BAD_REQUEST);
    unsetenv("TETRAD_ISA");
    assert_null(t);
    assert_non_null(strstr(error.message, "altivec"));
}

/* A run without telemetry, or without anybody to report to, ends in the same weights. */
static void telemetry_only_looks(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * TET_RULES; i++) {
        const int variant = i < TET_RULES ? 0 : ODD_DENSE;
        struct tet_plan p = odd_plan((enum tet_rule_name)(i % TET_RULES), variant), q = p;
        q.record_every = 0;
        q.record_assembly = q.record_spectrum = false;
        odd_data(&data, 36, variant);
        static struct log log;
        struct tet_trainer *t = make(&p, &data, NULL), *u = make(&q, &data, &log);
        assert_int_equal(run(t), TET_FINISHED);
        assert_int_equal(run(u), TET_FINISHED);
        uint64_t n, m;
        float *values = state_of(u, &n), *observed = state_of(t, &m);
        assert_true(m >= n); // the states of telemetry come last
        assert_memory_equal(observed, values, n * sizeof *values);
        free(observed);
        assert_int_equal(log.n, 6);
        assert_true(tet_trainer_cursor(t).records > log.n);
        free(values);
        tet_trainer_destroy(t);
        tet_trainer_destroy(u);
        p.record_alignment = false; // norms alone
        t = make(&p, &data, &log);
        assert_int_equal(run(t), TET_FINISHED);
        double value;
        assert_true(find(&log, 1, TET_SERIES_NORM_W, 1, &value));
        assert_false(find(&log, 1, TET_SERIES_ALIGNMENT_MODULATION, 1, &value));
        tet_trainer_destroy(t);
    }
}

/* ---- initial weights ---- */

static void rules_share_initial_weights(void **state)
{
    (void)state;
    static float a[WIDTH * WIDTH], b[WIDTH * WIDTH];
    make_data(&data, 23, 10, 0, 12, 4, true);
    struct tet_plan p = make_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, 10, 5, 0.1f);
    add_layer(&p, 9, 9, TET_RELU);
    add_layer(&p, 8, 8, TET_TANH);
    struct tet_trainer *sal = make(&p, &data, NULL);
    for (int rule = 0; rule < TET_RULE_SAL; rule++) {
        struct tet_plan q = p;
        q.rule = (enum tet_rule_name)rule;
        struct tet_trainer *t = make(&q, &data, NULL);
        for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
            struct tet_tensor tensor;
            tet_trainer_tensor(t, i, &tensor);
            tet_trainer_get(t, i, a);
            tet_trainer_get(sal, index_of(sal, tensor.name), b);
            assert_memory_equal(a, b, tensor.n * sizeof *a);
        }
        tet_trainer_destroy(t);
    }
    p.seed++;
    struct tet_trainer *other = make(&p, &data, NULL);
    tet_trainer_get(sal, 0, a);
    tet_trainer_get(other, 0, b);
    assert_memory_not_equal(a, b, 9 * 12 * sizeof *a);
    tet_trainer_destroy(other);
    tet_trainer_destroy(sal);
}

/* Mean and spread of the initial values: of n values within 5 standard errors. */
static void initial_spread(void **state)
{
    (void)state;
    enum { D0 = 120, D1 = 110, E1 = 90, D2 = 100 };
    static float values[WIDTH * WIDTH];
    make_data(&data, 24, 2, 0, D0, D2, true);
    for (int phi_ = TET_RELU; phi_ <= TET_TANH; phi_++)
        for (int init = TET_INIT_NORMAL; init <= TET_INIT_UNIFORM; init++) {
            struct tet_plan p = make_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, 2, 2, 0.1f);
            add_layer(&p, D1, E1, (enum tet_activation)phi_);
            p.gate = false;
            for (int g = 0; g < TET_GROUPS; g++) {
                p.group[g].init = (enum tet_init)init;
                p.group[g].scale = 0.5f + (float)g;
            }
            const bool he = phi_ == TET_RELU;
            const double w2 = sqrt(2.0 / (he ? D1 : D1 + D2));
            const struct {
                const char *name;
                double spread;
            } expected[] = {{"W1", 0.5 * sqrt(2.0 / (he ? D0 : D0 + D1))},
                            {"W2", 0.5 * w2},
                            {"B2", 1.5 * w2},
                            {"V1", 2.5 / sqrt(E1)},
                            {"U1", 3.5 / sqrt(D1)}};
            struct tet_trainer *t = make(&p, &data, NULL);
            for (size_t i = 0; i < COUNT(expected); i++) {
                struct tet_tensor tensor;
                const uint32_t at = index_of(t, expected[i].name);
                tet_trainer_tensor(t, at, &tensor);
                tet_trainer_get(t, at, values);
                double sum = 0.0, square = 0.0, largest = 0.0;
                for (uint64_t k = 0; k < tensor.n; k++) {
                    sum += values[k];
                    square += (double)values[k] * values[k];
                    largest = fmax(largest, fabs((double)values[k]));
                }
                const double n = (double)tensor.n, spread = expected[i].spread;
                close_to("mean", 0, (uint32_t)i, sum / n, 0.0, 5.0 * spread / sqrt(n));
                close_to("spread", 0, (uint32_t)i, sqrt(square / n), spread,
                         5.0 * spread / sqrt(2.0 * n));
                assert_true(init == TET_INIT_NORMAL ? largest > 3.0 * spread
                                                    : largest <= spread * sqrt(3.0) * 1.000001);
            }
            tet_trainer_destroy(t);
        }
}

/* ---- schedules ---- */

static void schedules(void **state)
{
    (void)state;
    const struct tet_schedule_plan cases[] = {
        {.type = TET_SCHEDULE_CONSTANT, .factor = 0.5f},
        {TET_SCHEDULE_STEP, 3, {1, 2, 4}, 0.5f},
        {TET_SCHEDULE_STEP, 1, {12}, 0.5f},
        {.type = TET_SCHEDULE_COSINE, .factor = 0.0f},
        {.type = TET_SCHEDULE_COSINE, .factor = 0.25f},
    };
    for (size_t s = 0; s < COUNT(cases); s++) {
        struct tet_plan p = make_plan(TET_RULE_BP, TET_MSE, 4, 4, 0.5f);
        p.schedule = cases[s];
        p.epochs = 6;
        p.group[TET_W].decay = 0.5f;
        make_data(&data, 25, 4, 0, 3, 2, false);
        memset(data.x, 0, sizeof data.x); // nothing drives W_1, it only decays
        struct tet_trainer *t = make(&p, &data, NULL);
        float before[6], after[6];
        for (uint32_t epoch = 0; epoch < p.epochs; epoch++) {
            double rate = 1.0;
            for (uint32_t i = 0; i < p.schedule.n_epochs; i++)
                rate *= p.schedule.epochs[i] <= epoch ? 0.5 : 1.0;
            if (p.schedule.type == TET_SCHEDULE_COSINE) {
                const double f = p.schedule.factor;
                rate = f + (1.0 - f) * (1.0 + cos(3.14159265358979323846 * epoch / 6.0)) / 2.0;
            }
            tet_trainer_get(t, 0, before);
            enum tet_event event;
            while ((event = tet_trainer_step(t)) == TET_STEPPED)
                ;
            assert_int_equal(event, epoch + 1 < p.epochs ? TET_EPOCH : TET_FINISHED);
            tet_trainer_get(t, 0, after);
            for (int i = 0; i < 6; i++)
                close_to("schedule", epoch, (uint32_t)s, after[i], before[i] * (1.0 - 0.25 * rate),
                         1e-6 * (double)fabsf(before[i]));
        }
        tet_trainer_destroy(t);
    }
}

static void max_steps(void **state)
{
    (void)state;
    for (uint64_t most = 1; most <= 12; most++) {
        struct tet_plan p = small_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, TET_RELU, 0.0f);
        p.epochs = 3; // of 4 steps
        p.max_steps = most;
        make_data(&data, 26, 31, 11, 12, 4, true);
        follow("max_steps", &p, &data);
    }
    struct tet_plan p = small_plan(TET_RULE_BP, TET_CROSS_ENTROPY, TET_RELU, 0.0f);
    p.epochs = 1;
    p.max_steps = 100;
    assert_int_equal(tet_plan_steps(&p), 4);
    follow("max_steps beyond the epochs", &p, &data);
}

/* ---- tensors ---- */

static void tensors(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "W1",          "W2",          "W3",          "b1",          "b2",          "b3",
        "B2",          "B3",          "V1",          "V2",          "U1",          "U2",
        "velocity/W1", "velocity/W2", "velocity/W3", "velocity/B2", "velocity/B3", "velocity/V1",
        "velocity/V2", "velocity/U1", "velocity/U2"};
    struct tet_plan p = small_plan(TET_RULE_SAL, TET_MSE, TET_TANH, 0.5f);
    p.hidden[0] =
        (struct tet_layer_plan){.units = 66, .descending_units = 3, .activation = TET_TANH};
    p.gate = false;
    make_data(&data, 35, 31, 11, 12, 4, true);
    struct tet_trainer *t = make(&p, &data, NULL);
    struct tet_tensor tensor;
    assert_int_equal(tet_trainer_tensors(t), COUNT(expected));
    for (uint32_t i = 0; i < COUNT(expected); i++) {
        static float values[WIDTH * WIDTH], back[WIDTH * WIDTH];
        tet_trainer_tensor(t, i, &tensor);
        assert_string_equal(tensor.name, expected[i]);
        assert_int_equal(tensor.state, i >= 12);
        for (uint64_t k = 0; k < tensor.n; k++)
            values[k] = (float)(1000 * i) + (float)k;
        tet_trainer_set(t, i, values);
        tet_trainer_get(t, i, back);
        assert_memory_equal(values, back, tensor.n * sizeof *values);
    }
    for (uint32_t i = 0; i < COUNT(expected); i++) { // none lies over another
        float values[WIDTH * 70];
        tet_trainer_tensor(t, i, &tensor);
        tet_trainer_get(t, i, values);
        for (uint64_t k = 0; k < tensor.n; k++)
            assert_true(values[k] == (float)(1000 * i) + (float)k);
    }
    tet_trainer_destroy(t);
    tet_trainer_destroy(NULL);
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_set),
        cmocka_unit_test(bad_instruction_set),
        cmocka_unit_test(telemetry_only_looks),
        cmocka_unit_test(rules_share_initial_weights),
        cmocka_unit_test(initial_spread),
        cmocka_unit_test(schedules),
        cmocka_unit_test(max_steps),
        cmocka_unit_test(tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
