// SPDX-License-Identifier: Apache-2.0
/* The examples that a run sees: their order, standardising, bytes and floats, and the parts. */
#include "naive.h"

static struct data data;

/* ---- order ---- */

/* The order in which examples are trained on: example i has the i-th input alone, so that only
 * column i of W_1 changes. */
static void order_of(const struct tet_plan *p, uint32_t n, uint32_t *order)
{
    static float before[CAPACITY], after[CAPACITY];
    make_data(&data, 22, n, 0, n, 3, true);
    for (uint32_t i = 0; i < n * n; i++)
        data.x[i] = i % (n + 1) == 0 ? 1.0f : 0.0f;
    struct tet_trainer *t = make(p, &data, NULL);
    struct tet_tensor tensor;
    tet_trainer_tensor(t, index_of(t, "W1"), &tensor);
    for (uint64_t step = 0; step < tet_plan_steps(p); step++) {
        tet_trainer_get(t, index_of(t, "W1"), before);
        do
            (void)tet_trainer_step(t);
        while (tet_trainer_cursor(t).step == step);
        tet_trainer_get(t, index_of(t, "W1"), after);
        uint32_t changed = 0;
        order[step] = n;
        for (uint32_t c = 0; c < n; c++)
            for (uint32_t r = 0; r < tensor.shape[0]; r++)
                if (before[r * n + c] != after[r * n + c]) {
                    changed += order[step] != c;
                    order[step] = c;
                }
        if (changed != 1)
            fail_msg("step %llu: %u columns changed", (unsigned long long)step, changed);
    }
    tet_trainer_destroy(t);
}

static void order(void **state)
{
    (void)state;
    enum { N = 21 };
    uint32_t seen[TET_RULES + 2][2 * N];
    for (int rule = 0; rule < TET_RULES + 2; rule++) {
        struct tet_plan p =
            make_plan((enum tet_rule_name)(rule % TET_RULES), TET_CROSS_ENTROPY, N, 1, 0.05f);
        add_layer(&p, 5, 5, TET_TANH);
        p.epochs = 2;
        p.shuffle = rule != TET_RULES;            // one run keeps the order
        p.seed = rule == TET_RULES + 1 ? 8u : 7u; // one has another seed
        order_of(&p, N, seen[rule]);
    }
    for (uint32_t i = 0; i < 2 * N; i++)
        assert_int_equal(seen[TET_RULES][i], i % N);
    for (int rule = 1; rule < TET_RULES; rule++)
        assert_memory_equal(seen[0], seen[rule], sizeof seen[0]);
    assert_memory_not_equal(seen[0], seen[TET_RULES + 1], sizeof seen[0]);
    assert_memory_not_equal(seen[0], seen[0] + N, sizeof seen[0] / 2);
    assert_memory_not_equal(seen[0], seen[TET_RULES], sizeof seen[0] / 2);
    for (uint32_t epoch = 0; epoch < 2; epoch++) {
        uint64_t met = 0;
        for (uint32_t i = 0; i < N; i++)
            met |= UINT64_C(1) << seen[0][epoch * N + i];
        assert_true(met == (UINT64_C(1) << N) - 1);
    }
}

/* ---- examples ---- */

/* Inputs as the network sees them: with W = 0 and targets e_0, one step at rate 1 makes row 0 of
 * W_1 the input itself. Training examples one after the other. */
static void inputs_seen(struct tet_plan *p, float *seen)
{
    const uint32_t d = data.set.shape.inputs;
    const float zeros[64] = {0};
    float w[2 * 32];
    p->loss = TET_MSE;
    struct tet_trainer *t = make(p, &data, NULL);
    for (uint32_t i = 0; i < p->n_train; i++) {
        tet_trainer_set(t, 0, zeros);
        tet_trainer_set(t, 1, zeros);
        assert_int_equal(tet_trainer_step(t), TET_STEPPED);
        tet_trainer_get(t, 0, w);
        memcpy(seen + i * d, w, d * sizeof *w);
    }
    tet_trainer_destroy(t);
}

static void standardizing(void **state)
{
    (void)state;
    enum { N = 30, VALIDATION = 10, D = 19, FLAT = 5 };
    static float seen[N * D];
    for (int bytes = 0; bytes < 2; bytes++)
        for (int how = TET_STANDARDIZE_NONE; how <= TET_STANDARDIZE_FEATURE; how++) {
            make_data(&data, 27, N + VALIDATION, 0, D, 2, false);
            double value[N * D], sum[D + 1] = {0}, square[D + 1] = {0};
            for (uint32_t i = 0; i < (N + VALIDATION) * D; i++) {
                data.bytes[i] = i % D == FLAT ? 77 : (uint8_t)(draw() >> 40);
                data.x[i] = i % D == FLAT ? 3.25f : data.x[i] * 5.0f + (float)(i % D);
                if (i >= N * D) // validation examples count for nothing
                    data.x[i] *= 1000.0f;
                if (i < N * D) {
                    value[i] = bytes ? data.bytes[i] : (double)data.x[i];
                    sum[i % D] += value[i];
                    square[i % D] += value[i] * value[i];
                    sum[D] += value[i];
                    square[D] += value[i] * value[i];
                }
            }
            for (uint32_t i = 0; i < N + VALIDATION; i++) {
                data.t[2 * i] = 1.0f;
                data.t[2 * i + 1] = 0.0f;
            }
            if (bytes) {
                data.set.train.floats = NULL;
                data.set.train.bytes = data.bytes;
            }
            struct tet_plan p = make_plan(TET_RULE_BP, TET_MSE, N, 1, 1.0f);
            p.n_validation = VALIDATION;
            p.standardize = (enum tet_standardize)how;
            inputs_seen(&p, seen);
            for (uint32_t i = 0; i < N * D; i++) {
                const uint32_t c = how == TET_STANDARDIZE_ALL ? D : i % D;
                const double n = how == TET_STANDARDIZE_ALL ? N * D : N, mean = sum[c] / n;
                const double spread = sqrt(square[c] / n - mean * mean);
                double expected = (value[i] - mean) / spread;
                if (how == TET_STANDARDIZE_NONE)
                    expected = bytes ? value[i] / 255.0 : value[i];
                if (how == TET_STANDARDIZE_FEATURE && c == FLAT)
                    expected = 0.0;
                close_to(bytes ? "bytes" : "floats", i, (uint32_t)how, seen[i], expected,
                         how == TET_STANDARDIZE_NONE ? 1.2e-7 * fabs(expected) : 1e-5);
            }
        }
}

/* Bytes and floats of the same value train alike. */
static void bytes_are_values(void **state)
{
    (void)state;
    make_data(&data, 28, 30, 0, 21, 4, true);
    for (uint32_t i = 0; i < 30 * 21; i++) {
        data.bytes[i] = (uint8_t)(draw() >> 40);
        data.x[i] = data.bytes[i];
    }
    struct tet_plan p = make_plan(TET_RULE_KP, TET_CROSS_ENTROPY, 20, 6, 0.05f);
    add_layer(&p, 9, 9, TET_RELU);
    p.standardize = TET_STANDARDIZE_ALL;
    p.n_validation = 4;
    p.n_test = 6;
    static struct log logs[2];
    struct tet_trainer *t = make(&p, &data, &logs[0]);
    assert_int_equal(run(t), TET_FINISHED);
    uint64_t n;
    float *expected = state_of(t, &n);
    tet_trainer_destroy(t);
    data.set.train.floats = NULL;
    data.set.train.bytes = data.bytes;
    t = make(&p, &data, &logs[1]);
    assert_int_equal(run(t), TET_FINISHED);
    same_state("bytes", t, expected, n);
    assert_int_equal(logs[0].n, logs[1].n);
    same_records("bytes", logs[1].record, logs[0].record, logs[0].n);
    free(expected);
    tet_trainer_destroy(t);
}

static void parts(void **state)
{
    (void)state;
    struct tet_plan p = small_plan(TET_RULE_KP, TET_CROSS_ENTROPY, TET_TANH, 0.0f);
    p.epochs = 2;
    for (uint32_t n_test = 0; n_test <= 9; n_test += 3) { // from the end of the training examples
        p.n_test = n_test;
        make_data(&data, 29, 40, 0, 12, 4, true);
        follow("test part at the end", &p, &data);
    }
    const struct {
        uint32_t train, validation, test, n, n_test; // plan, then dataset
        bool fits;
    } cases[] = {
        {20, 5, 10, 25, 10, true},         {20, 5, 10, 24, 10, false},
        {20, 5, 11, 25, 10, false},        {20, 5, 10, 35, 0, true},
        {20, 5, 10, 34, 0, false},         {20, UINT32_MAX, 0, 30, 0, false},
        {20, 5, UINT32_MAX, 30, 0, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tet_error error = {0};
        struct tet_trainer *t = NULL;
        p.n_train = cases[i].train;
        p.n_validation = cases[i].validation;
        p.n_test = cases[i].test;
        make_data(&data, 30, cases[i].n, cases[i].n_test, 12, 4, true);
        const enum tet_err err = tet_trainer_create(&t, &p, &data.set, NULL, NULL, &error);
        if (err != (cases[i].fits ? TET_OK : TET_BAD_DATASET))
            fail_msg("case %zu: got %d (%s)", i, (int)err, error.message);
        assert_true((t != NULL) == cases[i].fits);
        tet_trainer_destroy(t);
    }
    make_data(&data, 31, 40, 0, 12, 4, false); // real targets
    struct tet_error error = {0};
    struct tet_trainer *t = NULL;
    p = small_plan(TET_RULE_KP, TET_CROSS_ENTROPY, TET_TANH, 0.0f);
    assert_int_equal(tet_trainer_create(&t, &p, &data.set, NULL, NULL, &error), TET_BAD_DATASET);
    assert_null(t);
    p.batch = 0;
    assert_int_equal(tet_trainer_create(&t, &p, &data.set, NULL, NULL, NULL), TET_BAD_DEFINITION);
    assert_null(t);
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),
        cmocka_unit_test(standardizing),
        cmocka_unit_test(bytes_are_values),
        cmocka_unit_test(parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
