// SPDX-License-Identifier: Apache-2.0
/* Sparse groups: which synapses are there, how they begin, and that the others stay 0; log-normal
 * weights; neurons that are excitatory or inhibitory. */
#include "naive.h"

static struct data data;

static void rules_follow_their_equations(void **state)
{
    (void)state;
    for (int rule = 0; rule < TET_RULES; rule++)
        for (int phi_ = TET_RELU; phi_ <= TET_TANH; phi_++)
            for (int momentum = 0; momentum < 2; momentum++) {
                struct tet_plan p = small_plan((enum tet_rule_name)rule, TET_CROSS_ENTROPY,
                                               (enum tet_activation)phi_, momentum ? 0.5f : 0.0f);
                make_sparse(&p);
                make_data(&data, 40, 31, 11, 12, 4, true);
                follow("sparse", &p, &data);
            }
}

/* Wide enough for statistics, and ends of panels. */
static struct tet_plan wide_plan(void)
{
    struct tet_plan p = make_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, 40, 10, 0.05f);
    add_layer(&p, 130, 130, TET_TANH);
    add_layer(&p, 75, 75, TET_TANH);
    p.momentum = 0.5f;
    p.seed = 3;
    make_data(&data, 41, 40, 0, 90, 33, true);
    return p;
}

/* Shares within four standard deviations; what is there is what a full group has, over sqrt(p). */
static void shares_and_spreads(void **state)
{
    (void)state;
    struct tet_plan p = wide_plan();
    struct tet_trainer *full = make(&p, &data, NULL);
    make_sparse(&p);
    struct tet_trainer *t = make(&p, &data, NULL);
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
        static float all[WIDTH * WIDTH], some[WIDTH * WIDTH];
        struct tet_tensor tensor;
        tet_trainer_tensor(t, i, &tensor);
        if (tensor.state || tensor.rank == 1)
            continue;
        tet_trainer_get(full, i, all);
        tet_trainer_get(t, i, some);
        const int g = (int)(strchr("WBVUD", tensor.name[0]) - strchr("WBVUD", 'W'));
        const double probability = (double)p.group[g].probability, n = (double)tensor.n;
        double there = 0.0;
        for (uint64_t k = 0; k < tensor.n; k++) {
            const double expected = (double)all[k] / sqrt(probability);
            there += some[k] != 0.0f;
            if (some[k] != 0.0f && !(fabs((double)some[k] - expected) <= 1e-6 * fabs(expected)))
                fail_msg("%s[%llu] is %.9g, expected %.9g", tensor.name, (unsigned long long)k,
                         (double)some[k], expected);
        }
        close_to(tensor.name, 0, 0, there / n, probability,
                 4.0 * sqrt(probability * (1.0 - probability) / n));
    }
    tet_trainer_destroy(full);
    tet_trainer_destroy(t);
}

/* The logarithm of a magnitude is normal, of standard deviation 1; signs are a coin's. */
static void log_normal(void **state)
{
    (void)state;
    struct tet_plan p = wide_plan();
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g].init = TET_INIT_LOG_NORMAL;
    static const char *const names[] = {"W1", "V1", "U2"};
    struct tet_trainer *t = make(&p, &data, NULL);
    for (uint32_t i = 0; i < COUNT(names); i++) {
        static float values[WIDTH * WIDTH];
        struct tet_tensor tensor;
        tet_trainer_tensor(t, index_of(t, names[i]), &tensor);
        tet_trainer_get(t, index_of(t, names[i]), values);
        const double n = (double)tensor.n, rows = tensor.shape[0], columns = tensor.shape[1];
        const double spread = i == 0 ? sqrt(2.0 / (rows + columns)) : 0.5 / sqrt(columns);
        double sum = 0.0, square = 0.0, positive = 0.0;
        for (uint64_t k = 0; k < tensor.n; k++) { // of spread times e^(z - 1)
            const double z = log(fabs((double)values[k]) / spread) + 1.0;
            sum += z;
            square += z * z;
            positive += values[k] > 0.0f;
        }
        close_to("mean of logarithms", 0, i, sum / n, 0.0, 5.0 / sqrt(n));
        close_to("their spread", 0, i, sqrt(square / n), 1.0, 5.0 / sqrt(2.0 * n));
        close_to("positive", 0, i, positive / n, 0.5, 2.5 / sqrt(n));
    }
    tet_trainer_destroy(t);
}

/* Number i of the stream is the i-th weight, row by row; its lowest bit is the sign. */
static void log_normal_numbers(void **state)
{
    (void)state;
    struct tet_plan p = wide_plan();
    p.group[TET_V].init = TET_INIT_LOG_NORMAL;
    struct tet_trainer *t = make(&p, &data, NULL);
    static float values[WIDTH * WIDTH];
    tet_trainer_get(t, index_of(t, "V2"), values);
    const struct tet_stream stream = tet_stream_make(p.seed, TET_STREAM_V, 2);
    for (uint32_t k = 0; k < 75 * 75; k++) {
        const uint32_t word = tet_stream_u32(&stream, k);
        const double size = 0.5 / sqrt(75.0) * exp(tet_normal_from_u32(word)) / exp(1.0);
        close_to("V2", 0, k, values[k], word % 2 == 1 ? -size : size, 1e-7 * size);
    }
    tet_trainer_destroy(t);
}

/* Each column's weights have one sign, its neuron's, from the start, after training, and whatever
 * is set; magnitudes begin as without signs. */
static void neurons_keep_their_signs(void **state)
{
    (void)state;
    struct tet_plan p = wide_plan();
    struct tet_trainer *plain = make(&p, &data, NULL);
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g].excitatory = 0.7f;
    struct tet_trainer *t = make(&p, &data, NULL);
    static float all[WIDTH * WIDTH], end[WIDTH * WIDTH], set[WIDTH * WIDTH];
    uint64_t n, excitatory = 0, neurons = 0, silent = 0;
    float *start = state_of(t, &n), *at = start;
    assert_int_equal(run(t), TET_FINISHED);
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
        struct tet_tensor tensor;
        tet_trainer_tensor(t, i, &tensor);
        if (!tensor.state && tensor.rank == 2) {
            tet_trainer_get(plain, i, all);
            tet_trainer_get(t, i, end);
            tet_trainer_set(t, i, all);
            tet_trainer_get(t, i, set);
            const int g = (int)(strchr("WBVUD", tensor.name[0]) - strchr("WBVUD", 'W'));
            const uint32_t columns = tensor.shape[1], l = (uint32_t)atoi(tensor.name + 1);
            for (uint64_t k = 0; k < tensor.n; k++) {
                const float sign = (float)naive_sign(&p, g, l, k % columns);
                assert_true(at[k] == sign * fabsf(all[k]));
                assert_true(sign * end[k] >= 0.0f);
                assert_true(set[k] == (sign * all[k] > 0.0f ? all[k] : 0.0f));
                silent += end[k] == 0.0f;
                excitatory += k < columns && sign > 0.0f;
                neurons += k < columns;
            }
        }
        at += tensor.n;
    }
    assert_true(silent > 0);
    close_to("excitatory", 0, 0, (double)excitatory / (double)neurons, 0.7,
             4.0 * sqrt(0.7 * 0.3 / (double)neurons));
    free(start);
    tet_trainer_destroy(plain);
    tet_trainer_destroy(t);
}

/* How many places of two matrices of one size agree in whether there is a synapse. */
static double agreement(const struct tet_trainer *a, const char *name, const struct tet_trainer *b,
                        const char *other)
{
    static float x[WIDTH * WIDTH], y[WIDTH * WIDTH];
    struct tet_tensor tensor;
    uint64_t agree = 0;
    tet_trainer_tensor(a, index_of(a, name), &tensor);
    tet_trainer_get(a, index_of(a, name), x);
    tet_trainer_get(b, index_of(b, other), y);
    for (uint64_t k = 0; k < tensor.n; k++)
        agree += (x[k] != 0.0f) == (y[k] != 0.0f);
    return (double)agree / (double)tensor.n;
}

/* Each group, layer and seed has a wiring of its own; one seed has one. */
static void wirings_are_independent(void **state)
{
    (void)state;
    struct tet_plan p = wide_plan();
    p.hidden[1].units = p.hidden[1].descending_units = 130;
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g].probability = 0.5f;
    struct tet_trainer *t = make(&p, &data, NULL), *again = make(&p, &data, NULL);
    p.seed = 4;
    struct tet_trainer *other = make(&p, &data, NULL);
    assert_true(agreement(t, "V1", again, "V1") == 1.0);
    close_to("seeds", 0, 1, agreement(t, "V1", other, "V1"), 0.5, 0.02);
    close_to("layers", 0, 1, agreement(t, "V1", t, "V2"), 0.5, 0.02);
    close_to("V and U", 0, 1, agreement(t, "V1", t, "U1"), 0.5, 0.02);
    close_to("W and B", 0, 2, agreement(t, "W2", t, "B2"), 0.5, 0.02);
    tet_trainer_destroy(t);
    tet_trainer_destroy(again);
    tet_trainer_destroy(other);
}

/* All taps of a kernel or none; neither learning nor whoever sets values wires anything. */
static void absent_synapses_stay_away(void **state)
{
    (void)state;
    struct tet_plan p = odd_plan(TET_RULE_SAL, 3);
    odd_data(&data, 42, 3);
    struct tet_trainer *t = make(&p, &data, NULL);
    uint64_t n;
    float *start = state_of(t, &n), *ones = malloc(n * sizeof *ones);
    assert_non_null(ones);
    assert_int_equal(run(t), TET_FINISHED);
    float *end = state_of(t, &n), *set;
    for (uint64_t i = 0; i < n; i++)
        ones[i] = 1.0f;
    set_state(t, ones);
    set = state_of(t, &n);
    uint64_t at = 0, absent = 0;
    for (uint32_t i = 0; i < tet_trainer_tensors(t); i++) {
        struct tet_tensor tensor;
        tet_trainer_tensor(t, i, &tensor);
        const uint64_t taps = tensor.rank == 4 ? tensor.shape[2] * tensor.shape[3] : 1;
        for (uint64_t k = 0; k < tensor.n && tensor.rank > 1; k++) {
            const bool there = set[at + k] == 1.0f;
            absent += !there;
            assert_true(there || (end[at + k] == 0.0f && start[at + k] == 0.0f));
            assert_true(!there || end[at + k] != 0.0f);
            assert_true(there == (set[at + k / taps * taps] == 1.0f));
        }
        at += tensor.n;
    }
    assert_true(absent > n / 10);
    free(start);
    free(ones);
    free(end);
    free(set);
    tet_trainer_destroy(t);
}

/* A bit for each packed weight, and nothing where all are there. */
static void memory(void **state)
{
    (void)state;
    struct tet_plan p = wide_plan();
    const uint64_t full = tet_plan_memory(&p, &data.set.shape);
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g].probability = 1.0f;
    assert_int_equal(tet_plan_memory(&p, &data.set.shape), full);
    make_sparse(&p);
    const uint64_t packed = 144 * 90 + 80 * 130 + 48 * 75 + // W
                            144 * 75 + 80 * 33 +            // B
                            2 * (144 * 130 + 80 * 75);      // V, U
    const uint64_t more = tet_plan_memory(&p, &data.set.shape) - full;
    assert_in_range(more, packed / 8, packed / 8 + 9 * 64);
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_follow_their_equations),
        cmocka_unit_test(shares_and_spreads),
        cmocka_unit_test(log_normal),
        cmocka_unit_test(log_normal_numbers),
        cmocka_unit_test(neurons_keep_their_signs),
        cmocka_unit_test(wirings_are_independent),
        cmocka_unit_test(absent_synapses_stay_away),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
