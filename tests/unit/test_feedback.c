// SPDX-License-Identifier: Apache-2.0
/*
 * What follows from the equations of dfa and wm: where D starts, that it stays, and that with the
 * right D dfa is backpropagation; that a weight mirror's B goes to W transposed, of its size, in
 * mirror phases alone, and that their noise is new in each.
 */
#include <stdio.h>

#include "training.h"

static struct data data;

enum { VALUES = 1 << 16 };

static const float *values_of(const struct tet_trainer *t, const char *name, float *values,
                              struct tet_tensor *tensor)
{
    tet_trainer_tensor(t, index_of(t, name), tensor);
    assert_true(tensor->n <= VALUES);
    tet_trainer_get(t, index_of(t, name), values);
    return values;
}

/* ---- dfa ---- */

static double spread_of(const float *values, uint64_t n)
{
    double square = 0.0;
    for (uint64_t i = 0; i < n; i++)
        square += (double)values[i] * values[i];
    return sqrt(square / (double)n);
}

/* Shape and spread of D as if the output stood directly above the layer, behind its pooling; within
 * 5 standard errors. */
static void direct_synapses(void **state)
{
    (void)state;
    static float values[VALUES];
    make_data(&data, 31, 2, 0, 3 * 9 * 9, 50, true);
    make_images(&data, 3, 9, 9);
    struct tet_plan p = make_plan(TET_RULE_DFA, TET_CROSS_ENTROPY, 2, 2, 0.1f);
    add_convolution(&p, 8, 8, TET_RELU, 3, 1, 1);
    add_pool(&p, TET_POOL_MAX, 3, 3);             // 3 x 3
    add_convolution(&p, 7, 7, TET_TANH, 2, 1, 1); // 4 x 4
    add_layer(&p, 60, 60, TET_RELU);
    p.group[TET_D].scale = 0.5f;
    struct tet_trainer *t = make(&p, &data, NULL);
    const double spread[] = {sqrt(2.0 / (8 * 9)), sqrt(2.0 / (7 * 16 + 50)), sqrt(2.0 / 60)};
    const uint32_t rows[] = {8 * 9, 7 * 16, 60};
    for (uint32_t l = 1; l <= 3; l++) {
        char name[8];
        struct tet_tensor tensor;
        snprintf(name, sizeof name, "D%u", l);
        values_of(t, name, values, &tensor);
        assert_int_equal(tensor.rank, 2);
        assert_int_equal(tensor.shape[0], rows[l - 1]);
        assert_int_equal(tensor.shape[1], 50);
        const double expected = 0.5 * spread[l - 1];
        close_to(name, 0, l, spread_of(values, tensor.n), expected,
                 5.0 * expected / sqrt(2.0 * (double)tensor.n));
    }
    tet_trainer_destroy(t);
}

/* With one hidden layer and D_1 = W_2^T the first step is that of backpropagation. */
static void right_synapses_make_the_gradient(void **state)
{
    (void)state;
    enum { D1 = 70, OUT = 6 };
    static float w[VALUES], d[VALUES];
    make_data(&data, 32, 20, 0, 12, OUT, true);
    struct tet_plan p = make_plan(TET_RULE_DFA, TET_CROSS_ENTROPY, 20, 20, 0.5f), q;
    add_layer(&p, D1, D1, TET_TANH);
    q = p;
    q.rule = TET_RULE_BP;
    struct tet_trainer *dfa = make(&p, &data, NULL), *bp = make(&q, &data, NULL);
    struct tet_tensor tensor;
    values_of(dfa, "W2", w, &tensor);
    for (uint32_t r = 0; r < D1; r++)
        for (uint32_t c = 0; c < OUT; c++)
            d[r * OUT + c] = w[c * D1 + r];
    tet_trainer_set(dfa, index_of(dfa, "D1"), d);
    assert_int_equal(tet_trainer_step(dfa), TET_STEPPED);
    assert_int_equal(tet_trainer_step(bp), TET_STEPPED);
    for (uint32_t i = 0; i < tet_trainer_tensors(bp); i++) {
        tet_trainer_tensor(bp, i, &tensor);
        tet_trainer_get(bp, i, w);
        tet_trainer_get(dfa, index_of(dfa, tensor.name), d);
        for (uint64_t k = 0; k < tensor.n; k++)
            close_to(tensor.name, k, 0, (double)d[k], (double)w[k], 1e-6);
    }
    tet_trainer_destroy(dfa);
    tet_trainer_destroy(bp);
}

static void direct_synapses_are_fixed(void **state)
{
    (void)state;
    static float before[2][VALUES], after[VALUES];
    static const char *const names[] = {"D1", "D2"};
    for (int variant = 0; variant < ODD_PLANS; variant++) {
        struct tet_plan p = odd_plan(TET_RULE_DFA, variant);
        struct tet_tensor tensor;
        odd_data(&data, 33, variant);
        struct tet_trainer *t = make(&p, &data, NULL);
        for (int i = 0; i < 2; i++)
            values_of(t, names[i], before[i], &tensor);
        assert_int_equal(run(t), TET_FINISHED);
        for (int i = 0; i < 2; i++) {
            values_of(t, names[i], after, &tensor);
            assert_memory_equal(before[i], after, tensor.n * sizeof *after);
        }
        tet_trainer_destroy(t);
    }
}

/* ---- wm ---- */

struct pair {
    double cosine, ratio; // of B_l with W_l, its channels exchanged; of their norms
};

static struct pair compare(const struct tet_trainer *t, uint32_t l)
{
    static float w[VALUES], b[VALUES];
    struct tet_tensor tw, tb;
    char name[8];
    snprintf(name, sizeof name, "W%u", l);
    values_of(t, name, w, &tw);
    name[0] = 'B';
    values_of(t, name, b, &tb);
    const uint32_t high = tw.shape[0], low = tw.shape[1],
                   taps = tw.rank == 4 ? tw.shape[2] * tw.shape[3] : 1;
    assert_true(tb.shape[0] == low && tb.shape[1] == high && tb.n == tw.n);
    double bw = 0.0, ww = 0.0, bb = 0.0;
    for (uint32_t o = 0; o < high; o++)
        for (uint32_t c = 0; c < low; c++)
            for (uint32_t k = 0; k < taps; k++) {
                const double x = w[(o * low + c) * taps + k], y = b[(c * high + o) * taps + k];
                bw += x * y;
                ww += x * x;
                bb += y * y;
            }
    return (struct pair){bw / sqrt(ww * bb), sqrt(bb / ww)};
}

/* 120 batches of noise before the first mini-batch, lr times decay 0.05 each: what is left of the
 * start is 0.95^120 = 0.002; of the noise, a share of sqrt(0.05 / 2 * width / batch) of W. */
static struct tet_plan mirror_plan(float noise)
{
    struct tet_plan p = make_plan(TET_RULE_WM, TET_CROSS_ENTROPY, 40, 40, 0.0f);
    p.mirror = (struct tet_mirror_plan){.every = 1000, .batches = 120, .noise = noise};
    p.group[TET_B].decay = noise * noise;
    p.group[TET_B].lr = 0.05f / (noise * noise);
    p.momentum = 0.9f; // of W; B has none
    return p;
}

static void check_mirror(const char *what, const struct tet_plan *p, double size)
{
    struct tet_trainer *t = make(p, &data, NULL);
    for (uint32_t l = 2; l <= p->n_hidden + 1; l++)
        if (fabs(compare(t, l).cosine) > 0.3)
            fail_msg("%s: B%u starts near W%u", what, l, l);
    assert_int_equal(tet_trainer_step(t), TET_STEPPED);
    for (uint32_t l = 2; l <= p->n_hidden + 1; l++) {
        const struct pair pair = compare(t, l);
        if (!(pair.cosine > 0.9))
            fail_msg("%s: cosine of B%u with W%u transposed is %g", what, l, l, pair.cosine);
        close_to(what, 1, l, pair.ratio, size, 0.15 * size);
    }
    tet_trainer_destroy(t);
}

static void feedback_mirrors_weights(void **state)
{
    (void)state;
    static const float noises[] = {1.0f, 0.3f, 4.0f};
    make_data(&data, 34, 40, 0, 20, 40, true);
    for (size_t i = 0; i < COUNT(noises); i++) {
        struct tet_plan p = mirror_plan(noises[i]);
        add_layer(&p, 70, 70, TET_RELU);
        add_layer(&p, 65, 65, TET_TANH);
        check_mirror("dense", &p, 1.0);
        p.group[TET_B].decay /= 2.0f;
        p.group[TET_B].lr *= 2.0f;
        check_mirror("half the decay", &p, 2.0);
    }
}

static void kernels_mirror_kernels(void **state)
{
    (void)state;
    make_data(&data, 35, 40, 0, 2 * 12 * 12, 40, true);
    make_images(&data, 2, 12, 12);
    struct tet_plan p = mirror_plan(1.0f);
    add_convolution(&p, 16, 16, TET_RELU, 3, 1, 1);
    add_pool(&p, TET_POOL_MAX, 2, 2);               // 6 x 6
    add_convolution(&p, 20, 20, TET_TANH, 3, 1, 0); // 4 x 4
    add_convolution(&p, 18, 18, TET_RELU, 2, 2, 0); // 2 x 2
    check_mirror("convolutional", &p, 1.0);
}

/* Whether B2 changes with a mini-batch, which it does with the first of every three. */
static void changes_in_phases_alone(void **state)
{
    (void)state;
    enum { STEPS = 10 };
    static float before[VALUES], after[VALUES];
    make_data(&data, 36, 23, 0, 12, 4, true);
    for (int plastic = 0; plastic < 2; plastic++) {
        struct tet_plan p = make_plan(TET_RULE_WM, TET_CROSS_ENTROPY, 23, 6, 0.05f);
        add_layer(&p, 9, 9, TET_RELU);
        p.epochs = 3;
        p.group[TET_B].plastic = plastic == 1;
        struct tet_trainer *t = make(&p, &data, NULL);
        for (uint64_t step = 0; step < STEPS;) {
            struct tet_tensor tensor;
            values_of(t, "B2", before, &tensor);
            (void)tet_trainer_step(t);
            values_of(t, "B2", after, &tensor);
            const bool trained = tet_trainer_cursor(t).step > step;
            const bool changed = memcmp(before, after, tensor.n * sizeof *before) != 0;
            if (changed != (trained && plastic == 1 && step % 3 == 0))
                fail_msg("step %llu, plastic %d: B2 changed: %d", (unsigned long long)step, plastic,
                         changed);
            step = tet_trainer_cursor(t).step;
        }
        tet_trainer_destroy(t);
    }
}

/* With decay 0 and W held fixed a phase adds lr <xi delta^T>: two that agreed would have one
 * noise. */
static void noise_is_new_in_every_phase(void **state)
{
    (void)state;
    enum { PHASES = 6, N = 9 * 4 };
    static float b[PHASES + 1][VALUES];
    make_data(&data, 37, 24, 0, 12, 4, true);
    struct tet_plan p = make_plan(TET_RULE_WM, TET_CROSS_ENTROPY, 24, 6, 0.05f);
    add_layer(&p, 9, 9, TET_RELU);
    p.epochs = 3;
    p.group[TET_W].plastic = false;
    p.mirror = (struct tet_mirror_plan){.every = 1, .batches = 1, .noise = 1.0f};
    struct tet_trainer *t = make(&p, &data, NULL);
    struct tet_tensor tensor;
    values_of(t, "B2", b[0], &tensor);
    for (uint64_t i = 1; i <= PHASES; i++) {
        while (tet_trainer_cursor(t).step < i)
            (void)tet_trainer_step(t);
        values_of(t, "B2", b[i], &tensor);
    }
    assert_int_equal(tensor.n, N);
    for (int i = 1; i <= PHASES; i++)
        for (int k = 1; k < i; k++) {
            double apart = 0.0, size = 0.0;
            for (int at = 0; at < N; at++) {
                const double x = (double)b[i][at] - b[i - 1][at],
                             y = (double)b[k][at] - b[k - 1][at];
                apart += (x - y) * (x - y);
                size += x * x;
            }
            if (!(apart > 0.01 * size))
                fail_msg("phases %d and %d have one noise: %g of %g apart", i, k, apart, size);
        }
    tet_trainer_destroy(t);
}

/* A mirror that does not learn leaves no trace: the run is that of feedback alignment, to the
 * bit. */
static void mirror_leaves_no_trace(void **state)
{
    (void)state;
    for (int variant = 0; variant < ODD_PLANS; variant++) {
        struct tet_plan p = odd_plan(TET_RULE_WM, variant), q;
        odd_data(&data, 38, variant);
        p.group[TET_B].lr = 0.0f;
        q = p;
        q.rule = TET_RULE_FA;
        q.group[TET_B].plastic = false;
        struct tet_trainer *wm = make(&p, &data, NULL), *fa = make(&q, &data, NULL);
        assert_int_equal(run(wm), TET_FINISHED);
        assert_int_equal(run(fa), TET_FINISHED);
        uint64_t n;
        float *expected = state_of(fa, &n);
        same_state("a mirror that does not learn", wm, expected, n);
        free(expected);
        tet_trainer_destroy(wm);
        tet_trainer_destroy(fa);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(direct_synapses),
        cmocka_unit_test(right_synapses_make_the_gradient),
        cmocka_unit_test(direct_synapses_are_fixed),
        cmocka_unit_test(feedback_mirrors_weights),
        cmocka_unit_test(kernels_mirror_kernels),
        cmocka_unit_test(changes_in_phases_alone),
        cmocka_unit_test(noise_is_new_in_every_phase),
        cmocka_unit_test(mirror_leaves_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
