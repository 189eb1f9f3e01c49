// SPDX-License-Identifier: Apache-2.0
/* What the naive convolutional network says of a record: see naive_convolution.h. */
#ifndef TESTS_NAIVE_CONVOLUTION_TELEMETRY_H
#define TESTS_NAIVE_CONVOLUTION_TELEMETRY_H

#include "naive_convolution_shapes.h"

struct cosine {
    double ab, aa, bb;
};

static inline void gather(struct cosine *c, double a, double b)
{
    c->ab += a * b;
    c->aa += a * a;
    c->bb += b * b;
}

static inline double value_of(const struct cosine *c)
{
    return c->aa * c->bb == 0.0 ? 0.0 : c->ab / sqrt(c->aa * c->bb);
}

static inline double modulation_cosine(uint32_t l, uint32_t n)
{
    struct cosine sum = {0};
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < net.d[l] * net.z_positions[l]; k++)
            gather(&sum, net.m[l][i * WIDTH + k], net.bp[l][i * WIDTH + k]);
    return value_of(&sum);
}

/* usf alone: where all of a neuron's feedback has one sign, it sums the teaching signal of cross
 * entropy, which is 0. What rounding leaves of that has no direction. */
static inline bool modulation_cancels(uint32_t l, uint32_t n)
{
    double m = 0.0, bp = 0.0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < net.d[l] * net.z_positions[l]; k++) {
            m = fmax(m, fabs(net.m[l][i * WIDTH + k]));
            bp = fmax(bp, fabs(net.bp[l][i * WIDTH + k]));
        }
    return net.plan.rule == TET_RULE_USF && m < 1e-12 * bp;
}

/* Whether all layers above l are dense. */
static inline bool is_flat_above(uint32_t l)
{
    bool flat = true;
    for (uint32_t k = l + 1; k <= net.L; k++)
        flat = flat && net.flat[k];
    return flat;
}

/* D_l with the product of all W above, transposed: what comes down from each output. */
static inline double direct_cosine(uint32_t l)
{
    struct cosine sum = {0};
    const uint32_t width = net.d[l] * net.x_positions[l];
    for (uint32_t o = 0; o < net.d[net.L]; o++) {
        double path[WIDTH] = {0}, below[WIDTH];
        path[o] = 1.0;
        for (uint32_t k = net.L; k > l; k--) {
            const uint32_t in = net.d[k - 1] * net.x_positions[k - 1];
            for (uint32_t i = 0; i < in; i++) {
                below[i] = 0.0;
                for (uint32_t r = 0; r < net.d[k]; r++)
                    below[i] += net.p[TET_W][k][r * in + i] * path[r];
            }
            memcpy(path, below, in * sizeof *path);
        }
        for (uint32_t i = 0; i < width; i++)
            gather(&sum, net.p[TET_D][l][i * net.d[net.L] + o], path[i]);
    }
    return value_of(&sum);
}

/* V_l B_{l+1} with W_{l+1}^T V_{l+1} at every tap, the identity in place of what is not there. */
static inline double feedback_cosine(uint32_t l)
{
    const uint32_t up = l + 1, d = net.d[l], e = net.e[l], above = net.d[up];
    const bool sal = net.plan.rule == TET_RULE_SAL;
    struct cosine sum = {0};
    for (uint32_t k = 0; k < net.stage[up].kernel; k++)
        for (uint32_t r = 0; r < d; r++)
            for (uint32_t c = 0; c < net.e[up]; c++) {
                double left = 0.0, right = 0.0;
                for (uint32_t i = 0; i < e; i++)
                    left +=
                        (sal ? net.p[TET_V][l][r * e + i] : r == i) * net.f[up][b_at(up, i, c, k)];
                for (uint32_t i = 0; i < above; i++)
                    right += net.p[TET_W][up][w_at(up, i, r, k)] *
                             (sal && up < net.L ? net.p[TET_V][up][i * net.e[up] + c] : i == c);
                gather(&sum, left, right);
            }
    return value_of(&sum);
}

/* Row r of group g as a list of `length` values. */
static inline uint32_t row_of(int g, uint32_t l, uint32_t r, double *row)
{
    const uint32_t kernel = net.stage[l].kernel, one = g == TET_V || g == TET_U ? 1 : kernel;
    const uint32_t columns = g == TET_W ? net.d[l - 1] : g == TET_U ? net.d[l] : net.e[l];
    for (uint32_t c = 0; c < columns; c++)
        for (uint32_t k = 0; k < one; k++)
            row[c * one + k] = net.p[g][l][g == TET_W   ? w_at(l, r, c, k)
                                           : g == TET_B ? b_at(l, r, c, k)
                                                        : r * columns + c];
    return columns * one;
}

static inline double product_of(int g, uint32_t l, uint32_t r, uint32_t c)
{
    static double a[WEIGHTS], b[WEIGHTS];
    double sum = 0.0;
    const uint32_t n = row_of(g, l, r, a);
    row_of(g, l, c, b);
    for (uint32_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Of P P^T with Q Q^T, both `rows` wide. */
static inline double gram_cosine(uint32_t rows, int g, uint32_t l, int h, uint32_t m)
{
    struct cosine sum = {0};
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < rows; c++)
            gather(&sum, product_of(g, l, r, c), product_of(h, m, r, c));
    return value_of(&sum);
}

static inline double frobenius(int g, uint32_t l)
{
    double sum = 0.0;
    for (size_t i = 0; i < count(g, l); i++)
        sum += net.p[g][l][i] * net.p[g][l][i];
    return sqrt(sum);
}

static inline size_t check_telemetry(const struct log *log, uint64_t step, uint32_t n)
{
    size_t records = 0;
    for (uint32_t l = 1; l < net.L; l++) {
        check_record(log, step, TET_SERIES_ALIGNMENT_MODULATION, l, modulation_cosine(l, n),
                     modulation_cancels(l, n) ? 2.0 : 1e-4);
        records++;
        records += check_more_telemetry(
            log, step, n, l, net.z_positions[l], net.d[l] * net.x_positions[l],
            net.d[l - 1] * net.x_positions[l - 1], net.flat[l], modulation_cosine(l, n));
        const bool direct = net.plan.rule == TET_RULE_DFA;
        if (direct && is_flat_above(l)) {
            check_record(log, step, TET_SERIES_ALIGNMENT_FEEDBACK, l, direct_cosine(l), 1e-4);
            records++;
        }
        if (net.plan.rule != TET_RULE_BP && !direct) {
            check_record(log, step, TET_SERIES_ALIGNMENT_FEEDBACK, l, feedback_cosine(l), 1e-4);
            records++;
        }
        if (has(TET_V, l)) {
            check_record(log, step, TET_SERIES_ALIGNMENT_LATERAL, l,
                         gram_cosine(net.d[l], TET_W, l, TET_V, l), 1e-4);
            check_record(log, step, TET_SERIES_ALIGNMENT_LATERAL_DESCENDING, l,
                         gram_cosine(net.e[l], TET_B, l + 1, TET_U, l), 1e-4);
            records += 2;
        }
    }
    for (int g = 0; g < TET_GROUPS; g++)
        for (uint32_t l = 1; l <= net.L; l++)
            if (has(g, l)) {
                const double norm = frobenius(g, l), ratio = norm / frobenius(TET_W, l);
                check_record(log, step, (enum tet_series)(TET_SERIES_NORM_W + g), l, norm,
                             1e-4 * norm);
                if (g == TET_B)
                    check_record(log, step, TET_SERIES_NORM_RATIO, l, ratio, 1e-4 * ratio);
                records += g == TET_B ? 2 : 1;
            }
    return records;
}

/* Largest difference of any array to the naive one, as a share of the array's largest value. */
static inline void check_weights(const char *what, const struct tet_trainer *t, uint64_t step,
                                 double allowed)
{
    for (uint32_t i = 0; i < circuit_tensors(t); i++) {
        struct tet_tensor tensor;
        int g;
        uint32_t l;
        tet_trainer_tensor(t, i, &tensor);
        if (strcmp(tensor.name, "state/power") == 0) {
            float power[LAYERS];
            assert_int_equal(tensor.n, net.L);
            tet_trainer_get(t, i, power);
            for (uint32_t k = 1; k <= net.L; k++)
                close_to(tensor.name, step, k, (double)power[k - 1], net.power[k],
                         1e-4 * net.power[k]);
            continue;
        }
        const float *values = array_of(t, i, &tensor, &g, &l);
        if (values == NULL)
            continue;
        const double *expected = g == TET_GROUPS ? net.b[l]
                                 : tensor.state  ? net.v[g][l]
                                                 : net.p[g][l];
        double largest = 0.0, apart = 0.0;
        uint64_t worst = 0;
        for (uint64_t k = 0; k < tensor.n; k++) {
            largest = fmax(largest, fabs(expected[k]));
            if (!(fabs(values[k] - expected[k]) <= apart)) {
                apart = fabs(values[k] - expected[k]);
                worst = k;
            }
        }
        if (!(apart <= allowed * largest))
            fail_msg("%s, step %llu: %s[%llu] is %.9g, apart by %.3g of %.3g", what,
                     (unsigned long long)step, tensor.name, (unsigned long long)worst,
                     (double)values[worst], apart, largest);
    }
}

#endif
