// SPDX-License-Identifier: Apache-2.0
/*
 * Telemetry beyond cosines and norms. Signals and activities: against the naive network, for every
 * rule (convolutions: test_convolutional.c). Spectra: against Jacobi's rotations, and against what
 * theory says of their decay. Traces: against the arrays. And the elementary functions and
 * eigenvalues that it is made of.
 */
#include <float.h>
#include <stdio.h>

#include "eigenvalues.h"
#include "exact.h"
#include "naive.h"

static struct data data;
static struct log logged;

/* ---- elementary functions ---- */

static void functions_are_those_of_libm(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        const double u = (double)uniform(), c = 1.0 - ldexp(fabs(u), -i % 50);
        const double x = ldexp(1.0 + fabs(u), i % 2000 - 1000), y = 600.0 * u;
        close_to("log", (uint64_t)i, 0, tet_exact_log(x), log(x), 1e-15 * (1e-3 + fabs(log(x))));
        close_to("exp", (uint64_t)i, 0, tet_exact_exp(y) / exp(y), 1.0, 1e-14);
        close_to("angle", (uint64_t)i, 0, tet_exact_degrees(u), acos(u) * 180.0 / acos(-1.0),
                 1e-12);
        close_to("small angle", (uint64_t)i, 0, tet_exact_degrees(c), acos(c) * 180.0 / acos(-1.0),
                 1e-12);
    }
    assert_true(tet_exact_degrees(1.0) == 0.0 && tet_exact_degrees(-1.0) == 180.0);
    assert_true(tet_exact_degrees(1.0000001) == 0.0 && tet_exact_degrees(-1.5) == 180.0);
    assert_true(isnan(tet_exact_degrees(NAN)));
    close_to("right angle", 0, 0, tet_exact_degrees(0.0), 90.0, 1e-13);
    assert_true(tet_exact_log(1.0) == 0.0 && tet_exact_exp(0.0) == 1.0);
}

/* ---- eigenvalues ---- */

enum { MOST = 140 };
static double a[MOST * MOST], copy[MOST * MOST], values[MOST], expected[MOST], scratch[2 * MOST];

static int by_value(const void *x, const void *y)
{
    const double u = *(const double *)x, v = *(const double *)y;
    return (u > v) - (u < v);
}

/* By Jacobi's rotations (1846), two-sided; ascending. */
static void jacobi(double *m, uint32_t n, double *out)
{
    for (int round = 0; round < 30; round++)
        for (uint32_t p = 0; p < n; p++)
            for (uint32_t q = p + 1; q < n; q++) {
                if (m[p * n + q] == 0.0)
                    continue;
                const double tau = (m[q * n + q] - m[p * n + p]) / (2.0 * m[p * n + q]);
                const double t = (tau < 0.0 ? -1.0 : 1.0) / (fabs(tau) + sqrt(1.0 + tau * tau));
                const double c = 1.0 / sqrt(1.0 + t * t), s = t * c;
                for (uint32_t k = 0; k < n; k++) {
                    const double x = m[k * n + p], y = m[k * n + q];
                    m[k * n + p] = c * x - s * y;
                    m[k * n + q] = s * x + c * y;
                }
                for (uint32_t k = 0; k < n; k++) {
                    const double x = m[p * n + k], y = m[q * n + k];
                    m[p * n + k] = c * x - s * y;
                    m[q * n + k] = s * x + c * y;
                }
            }
    for (uint32_t i = 0; i < n; i++)
        out[i] = m[i * n + i];
    qsort(out, n, sizeof *out, by_value);
}

static void check_eigenvalues(const char *what, uint32_t n, double size)
{
    assert_true(tet_eigenvalues(a, n, values, scratch));
    for (uint32_t i = 0; i < n; i++)
        close_to(what, n, i, values[i], expected[i], 4e-15 * n * size);
}

static void eigenvalues_of_known_matrices(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 2, 3, 4, 17, 64, 129};
    for (size_t k = 0; k < COUNT(sizes); k++) {
        const uint32_t n = sizes[k];
        memset(a, 0, sizeof a);
        memset(expected, 0, sizeof expected);
        check_eigenvalues("zero", n, 1.0);
        for (uint32_t i = 0; i < n; i++) { // a chain: 2 - 2 cos(pi k / (n + 1))
            memset(a + i * n, 0, n * sizeof *a);
            a[i * n + i] = 2.0;
            if (i > 0)
                a[i * n + i - 1] = -1.0;
            if (i + 1 < n)
                a[i * n + i + 1] = -1.0;
            expected[i] = 2.0 - 2.0 * cos(acos(-1.0) * (i + 1) / (n + 1));
        }
        check_eigenvalues("chain", n, 4.0);
        for (uint32_t i = 0; i < n * n; i++) // all ones: n, and 0 n - 1 times
            a[i] = 1.0;
        memset(expected, 0, sizeof expected);
        expected[n - 1] = n;
        check_eigenvalues("ones", n, n);
        for (uint32_t i = 0; i < n; i++) { // diagonal, of very different sizes
            for (uint32_t j = 0; j < n; j++)
                a[i * n + j] = i == j ? ldexp(i % 2 ? -1.0 : 1.0, (int)(i * 7 % 60)) : 0.0;
            expected[i] = a[i * n + i];
        }
        qsort(expected, n, sizeof *expected, by_value);
        check_eigenvalues("diagonal", n, 0.0);
    }
}

static void eigenvalues_of_random_matrices(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {2, 3, 5, 16, 40, 65};
    for (size_t k = 0; k < COUNT(sizes); k++)
        for (int variant = 0; variant < 3; variant++) { // full; of rank n / 3; graded
            const uint32_t n = sizes[k], rank = variant == 1 ? n / 3 : n;
            double size = 0.0;
            for (uint32_t i = 0; i < n; i++)
                for (uint32_t j = 0; j < n; j++)
                    copy[i * n + j] = ldexp((double)uniform(), variant == 2 ? -(int)j : 0);
            for (uint32_t i = 0; i < n; i++)
                for (uint32_t j = 0; j <= i; j++) {
                    double sum = 0.0;
                    for (uint32_t c = 0; c < rank; c++)
                        sum += (c % 2 ? -1.0 : 1.0) * copy[i * n + c] * copy[j * n + c];
                    a[i * n + j] = a[j * n + i] = sum;
                    size += sum * sum;
                }
            memcpy(copy, a, sizeof a);
            jacobi(copy, n, expected);
            check_eigenvalues("random", n, sqrt(size));
        }
}

static void no_eigenvalues_of_what_is_not_finite(void **state)
{
    (void)state;
    for (int i = 0; i < 9; i++) {
        for (int k = 0; k < 9; k++)
            a[k] = k == i ? (i % 2 ? NAN : INFINITY) : 1.0;
        assert_false(tet_eigenvalues(a, 3, values, scratch));
    }
}

/* ---- signals and activities ---- */

static void rules_as_the_naive_network(void **state)
{
    (void)state;
    for (int rule = 0; rule < TET_RULES; rule++)
        for (int phi_ = TET_RELU; phi_ <= TET_IDENTITY; phi_++) {
            struct tet_plan p = small_plan((enum tet_rule_name)rule, TET_CROSS_ENTROPY,
                                           (enum tet_activation)phi_, 0.5f);
            p.record_assembly = p.record_activity = true;
            make_data(&data, 3, 31, 11, 12, 4, true);
            follow(tet_rule_info((enum tet_rule_name)rule)->name, &p, &data);
        }
    struct tet_plan p = small_plan(TET_RULE_SAL, TET_MSE, TET_TANH, 0.0f);
    p.gate = false;
    p.hidden[0].descending_units = 4;
    p.record_assembly = p.record_activity = true;
    make_data(&data, 4, 31, 11, 12, 4, false);
    follow("unequal widths", &p, &data);
}

/* One switch does not need the others. */
static void switches(void **state)
{
    (void)state;
    for (unsigned set = 0; set < 8; set++) {
        struct tet_plan p = small_plan(TET_RULE_SAL, TET_CROSS_ENTROPY, TET_RELU, 0.0f);
        double value;
        p.epochs = 1;
        p.record_alignment = false;
        p.record_assembly = set & 1u;
        p.record_activity = (set & 2u) != 0;
        p.record_spectrum = (set & 4u) != 0;
        make_data(&data, 5, 31, 11, 12, 4, true);
        struct tet_trainer *t = make(&p, &data, &logged);
        assert_int_equal(run(t), TET_FINISHED);
        tet_trainer_destroy(t);
        assert_false(find(&logged, 1, TET_SERIES_ALIGNMENT_MODULATION, 1, &value));
        assert_int_equal(find(&logged, 1, TET_SERIES_ALIGNMENT_CONSISTENCY, 2, &value),
                         p.record_assembly);
        assert_int_equal(find(&logged, 1, TET_SERIES_ACTIVITY_EFFECTIVE_RANK, 2, &value),
                         p.record_activity);
        assert_false(find(&logged, 1, TET_SERIES_SPECTRUM_NORM, 1, &value));
        assert_int_equal(find(&logged, 4, TET_SERIES_SPECTRUM_NORM, 2, &value), p.record_spectrum);
    }
}

/* The 128 first of a larger batch: with orthogonal examples of one length their number. */
static void ranks_of_a_large_batch(void **state)
{
    (void)state;
    enum { N = 150 };
    for (uint32_t batch = 100; batch <= N; batch += 50) {
        struct tet_plan p = make_plan(TET_RULE_BP, TET_CROSS_ENTROPY, batch, batch, 0.1f);
        double rank = 0.0;
        make_data(&data, 6, N, 0, N, 3, true);
        for (uint32_t i = 0; i < N * N; i++)
            data.x[i] = i % (N + 1) == 0 ? 1.0f : 0.0f;
        add_layer(&p, N, N, TET_IDENTITY);
        p.record_every = 1;
        p.record_activity = true;
        struct tet_trainer *t = make(&p, &data, &logged);
        float *w = calloc((size_t)N * N, sizeof *w);
        assert_non_null(w);
        for (uint32_t i = 0; i < N; i++)
            w[i * (N + 1)] = 2.0f;
        tet_trainer_set(t, index_of(t, "W1"), w);
        free(w);
        (void)tet_trainer_step(t);
        assert_true(find(&logged, 1, TET_SERIES_ACTIVITY_EFFECTIVE_RANK, 1, &rank));
        close_to("rank", 1, 1, rank, batch < 128 ? batch : 128, 1e-9);
        tet_trainer_destroy(t);
    }
}

/* ---- spectra ---- */

static double quantile_of(uint32_t n, double q)
{
    const double at = q * (n - 1);
    const uint32_t i = (uint32_t)floor(at);
    return i + 1 < n ? expected[i] * (i + 1 - at) + expected[i + 1] * (at - i) : expected[i];
}

static void check_spectrum(const struct tet_trainer *t, uint64_t step, uint32_t l)
{
    static const double quantiles[] = {0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0};
    static float w[1 << 14];
    char name[24];
    double size = 0.0, sum = 0.0;
    uint32_t d = 0;
    memset(a, 0, sizeof a);
    for (int sign = 1; sign >= -1; sign -= 2) {
        struct tet_tensor tensor;
        snprintf(name, sizeof name, "%c%u", sign > 0 ? 'W' : 'V', l);
        tet_trainer_tensor(t, index_of(t, name), &tensor);
        assert_true(tensor.n <= COUNT(w));
        tet_trainer_get(t, index_of(t, name), w);
        d = tensor.shape[0];
        const uint32_t columns = (uint32_t)(tensor.n / d);
        for (uint32_t r = 0; r < d; r++)
            for (uint32_t c = 0; c < d; c++)
                for (uint32_t k = 0; k < columns; k++)
                    a[r * d + c] += sign * (double)w[r * columns + k] * (double)w[c * columns + k];
        for (uint32_t r = 0; r < d && sign > 0; r++)
            size += a[r * d + r];
    }
    jacobi(a, d, expected);
    for (uint32_t i = 0; i < d; i++)
        sum += expected[i] * expected[i];
    check_record(&logged, step, TET_SERIES_SPECTRUM_NORM, l, sqrt(sum), 2e-6 * size);
    for (int q = 0; q < 7; q++)
        check_record(&logged, step, (enum tet_series)(TET_SERIES_SPECTRUM_Q00 + q), l,
                     quantile_of(d, quantiles[q]), 2e-6 * size);
}

static void spectra(void **state)
{
    (void)state;
    for (int variant = 2; variant < ODD_PLANS; variant++) {
        struct tet_plan p = odd_plan(TET_RULE_SAL, variant);
        p.epochs = 2;
        p.record_every = 0;
        odd_data(&data, 8, variant);
        struct tet_trainer *t = make(&p, &data, &logged);
        enum tet_event event;
        do {
            event = tet_trainer_step(t);
            for (uint32_t l = 1; event != TET_STEPPED && l <= p.n_hidden; l++)
                check_spectrum(t, tet_trainer_cursor(t).step, l);
        } while (event != TET_FINISHED);
        tet_trainer_destroy(t);
    }
}

/* Of a linear stage with equal rates the difference shrinks by (1 - lr decay)^2 a step, but for
 * terms of lr^2, whatever is learned meanwhile. */
static void spectrum_decays_as_theory_says(void **state)
{
    (void)state;
    enum { EPOCHS = 40 };
    struct tet_plan p = make_plan(TET_RULE_SAL, TET_MSE, 20, 5, 0.01f);
    double first = 0.0, norm = 0.0;
    add_layer(&p, 9, 9, TET_IDENTITY);
    add_layer(&p, 7, 7, TET_IDENTITY);
    p.epochs = EPOCHS;
    p.record_spectrum = true;
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g].decay = 0.3f;
    make_data(&data, 9, 20, 0, 6, 3, false);
    struct tet_trainer *t = make(&p, &data, &logged);
    assert_int_equal(run(t), TET_FINISHED);
    tet_trainer_destroy(t);
    for (uint32_t l = 1; l <= 2; l++)
        for (uint32_t epoch = 1; epoch <= EPOCHS; epoch++) {
            assert_true(find(&logged, epoch * 4, TET_SERIES_SPECTRUM_NORM, l, &norm));
            if (epoch == 1)
                first = norm;
            const double theory = exp(-2.0 * 0.01 * 0.3 * 4.0 * (epoch - 1));
            close_to("norm", epoch * 4, l, norm / first, theory, 0.02 * theory);
        }
}

/* ---- traces ---- */

static uint32_t count_traces(uint64_t step, int g, uint32_t layer)
{
    uint32_t n = 0;
    for (size_t i = 0; i < logged.n; i++)
        n += logged.record[i].step == step && logged.record[i].layer == layer &&
             logged.record[i].series == (enum tet_series)(TET_SERIES_TRACE_W + g);
    return n;
}

/* Every trace of a step is what its array held before it, no two of the same synapse, none of a
 * synapse that is not there. */
static void check_traces(const struct tet_trainer *t, uint64_t step, bool sparse)
{
    static float w[1 << 14];
    for (size_t i = 0; i < logged.n; i++) {
        const struct tet_record *r = &logged.record[i];
        struct tet_tensor tensor;
        char name[TET_SERIES_NAME], array[24];
        if (r->step != step || tet_series_kind(r->series) != TET_OF_SYNAPSE)
            continue;
        snprintf(array, sizeof array, "%c%u", "WBVUD"[r->series - TET_SERIES_TRACE_W], r -> layer);
        tet_trainer_tensor(t, index_of(t, array), &tensor);
        const uint32_t columns = (uint32_t)(tensor.n / tensor.shape[0]);
        assert_true(tensor.n <= COUNT(w) && r->row < tensor.shape[0] && r->column < columns);
        tet_trainer_get(t, index_of(t, array), w);
        assert_true(r->value == (double)w[r->row * columns + r->column]);
        assert_true(!sparse || r->value != 0.0);
        tet_record_text(r, name);
        char text[TET_SERIES_NAME];
        snprintf(text, sizeof text, "trace/%s/%u/%u", array, r->row, r->column);
        assert_string_equal(name, text);
        for (size_t k = 0; k < i; k++)
            assert_false(logged.record[k].step == step && logged.record[k].series == r->series &&
                         logged.record[k].layer == r->layer && logged.record[k].row == r->row &&
                         logged.record[k].column == r->column);
    }
}

static void traces(void **state)
{
    (void)state;
    for (int variant = 0; variant < ODD_PLANS; variant++) {
        struct tet_plan p = odd_plan(TET_RULE_SAL, variant);
        const bool sparse = p.group[TET_W].probability > 0.0f;
        memset(p.trace_group, 1, sizeof p.trace_group);
        p.traces = 7;
        p.n_synapses = 2;
        p.synapse[0] = (struct tet_synapse){TET_V, 2, 3, 1};
        p.synapse[1] = (struct tet_synapse){TET_B, 2, 0, 2};
        p.record_every = 1;
        for (int g = 0; g < TET_GROUPS; g++)
            p.group[g].probability = sparse && g != TET_V && g != TET_B ? 0.5f : 1.0f;
        odd_data(&data, 10, variant);
        struct tet_trainer *t = make(&p, &data, &logged);
        struct tet_trainer *before = make(&p, &data, NULL); // one step behind
        for (uint64_t step = 1; step <= 3; step++) {
            (void)tet_trainer_step(t);
            check_traces(before, step, sparse);
            assert_int_equal(count_traces(step, TET_W, 1), 7);
            assert_int_equal(count_traces(step, TET_V, 2), 8);
            assert_int_equal(count_traces(step, TET_U, 1), 7);
            assert_int_equal(count_traces(step, TET_B, 1), 0);
            (void)tet_trainer_step(before);
        }
        tet_trainer_destroy(t);
        tet_trainer_destroy(before);
    }
}

/* An array that has fewer is followed whole; a seed decides which of a larger one. */
static void traces_are_drawn_from_the_seed(void **state)
{
    (void)state;
    static struct log first;
    uint32_t same = 0, n = 0;
    for (uint64_t from = 7; from <= 9; from++) {
        struct tet_plan p = make_plan(TET_RULE_KP, TET_CROSS_ENTROPY, 20, 5, 0.1f);
        add_layer(&p, 40, 40, TET_RELU);
        p.seed = from == 9 ? 7 : from;
        p.record_every = 100;
        p.trace_group[TET_W] = true;
        p.traces = 120;
        make_data(&data, 11, 20, 0, 30, 3, true);
        struct tet_trainer *t = make(&p, &data, &logged);
        (void)tet_trainer_step(t);
        tet_trainer_destroy(t);
        assert_int_equal(count_traces(1, TET_W, 1), 120);
        assert_int_equal(count_traces(1, TET_W, 2), 120); // 3 x 40
        if (from == 7)
            first = logged;
        if (from == 9)
            same_records("the same seed", logged.record, first.record, first.n);
        for (size_t i = 0; i < logged.n && from == 8; i++) {
            const struct tet_record *r = &logged.record[i], *s = &first.record[i];
            if (r->series != TET_SERIES_TRACE_W || r->layer != 1)
                continue;
            assert_true(s->series == r->series);
            same += r->row == s->row && r->column == s->column;
            n++;
        }
    }
    assert_int_equal(n, 120);
    assert_true(same < 10);
}

/* ---- plans that ask for too much ---- */

static void refused_plans(void **state)
{
    (void)state;
    const struct tet_plan good = small_plan(TET_RULE_KP, TET_CROSS_ENTROPY, TET_RELU, 0.0f);
    const struct tet_shape flat = {12, 4, 1, 1, 12}, images = {12, 4, 1, 3, 4};
    for (int i = 0; i < 11; i++) {
        struct tet_plan p = good;
        struct tet_error error = {0};
        p.n_synapses = i < 6;
        p.synapse[0] = (struct tet_synapse){TET_W, 2, 0, 0};
        switch (i) {
        case 0:
            p.synapse[0].layer = 4;
            break;
        case 1:
            p.synapse[0].group = TET_V;
            break;
        case 2:
            p.synapse[0].row = 7;
            break;
        case 3:
            p.synapse[0].column = 9;
            break;
        case 4:
            p.synapse[0].group = TET_B, p.synapse[0].layer = 1;
            break;
        case 5:
            p.n_synapses = TET_MAX_TRACES + 1;
            break;
        case 6:
            p.trace_group[TET_W] = true, p.traces = 86;
            break; // three arrays
        case 7:
            p.record_spectrum = true, p.hidden[1].units = p.hidden[1].descending_units = 1025;
            break;
        case 8:
            p.augment_flip = true;
            break;
        case 9:
            p.augment_crop = 1;
            break;
        default:
            p.augment_crop = 9;
            break;
        }
        assert_int_equal(tet_plan_check(&p, i == 10 ? &images : &flat, &error), TET_BAD_DEFINITION);
        assert_true(error.message[0] != '\0');
    }
    struct tet_plan p = good;
    p.trace_group[TET_W] = true;
    p.traces = 85;
    p.n_synapses = 1;
    p.synapse[0] = (struct tet_synapse){TET_B, 3, 6, 3};
    p.record_spectrum = p.augment_flip = true;
    p.augment_crop = 8;
    assert_int_equal(tet_plan_check(&p, &images, NULL), TET_OK);
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_those_of_libm),
        cmocka_unit_test(eigenvalues_of_known_matrices),
        cmocka_unit_test(eigenvalues_of_random_matrices),
        cmocka_unit_test(no_eigenvalues_of_what_is_not_finite),
        cmocka_unit_test(rules_as_the_naive_network),
        cmocka_unit_test(switches),
        cmocka_unit_test(ranks_of_a_large_batch),
        cmocka_unit_test(spectra),
        cmocka_unit_test(spectrum_decays_as_theory_says),
        cmocka_unit_test(traces),
        cmocka_unit_test(traces_are_drawn_from_the_seed),
        cmocka_unit_test(refused_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
