// SPDX-License-Identifier: Apache-2.0
/*
 * circuit.md once more: a naive network in double, written here from the equations, that follows a
 * trainer (follow.h).
 */
#ifndef TESTS_NAIVE_H
#define TESTS_NAIVE_H

#include "naive_mirror.h"
#include "naive_signs.h"
#include "naive_step.h"
#include "training.h"

/* ---- the naive network ---- */

enum { LAYERS = 9, WIDTH = 140, BATCH = 24 };

/* Matrices (rows, columns) with row stride WIDTH. */
typedef double matrix[WIDTH * WIDTH];
typedef double activity[BATCH * WIDTH];

static struct network {
    struct tet_plan plan;
    uint32_t L, inputs, d[LAYERS], e[LAYERS];
    matrix p[TET_GROUPS][LAYERS], v[TET_GROUPS][LAYERS], f[LAYERS];
    uint64_t step; // mini-batches that descended
    double b[LAYERS][WIDTH];
    double power[LAYERS], factor[LAYERS]; // of what stage l sees, and on its rates
    activity z[LAYERS], x[LAYERS], g[LAYERS], s[LAYERS], m[LAYERS], u[LAYERS], bp[LAYERS];
} net;

#include "naive_telemetry.h"

static matrix left, right; // of telemetry

static inline void size_of(int g, uint32_t l, uint32_t *rows, uint32_t *columns)
{
    *rows = g == TET_B ? net.e[l - 1] : g == TET_U ? net.e[l] : net.d[l];
    *columns = g == TET_W   ? net.d[l - 1]
               : g == TET_U ? net.d[l]
               : g == TET_D ? net.d[net.L]
                            : net.e[l];
}

static inline bool has(int g, uint32_t l)
{
    const enum tet_rule_name rule = net.plan.rule;
    return g == TET_W   ? l >= 1 && l <= net.L
           : g == TET_B ? naive_has_feedback(rule) && l >= 2 && l <= net.L
                        : rule == (g == TET_D ? TET_RULE_DFA : TET_RULE_SAL) && l >= 1 && l < net.L;
}

/* Takes the trainer's weights over. */
static inline void take_over(const struct tet_trainer *t, const struct tet_plan *plan,
                             const struct data *data)
{
    memset(&net, 0, sizeof net);
    net.plan = *plan;
    net.L = plan->n_hidden + 1;
    net.d[0] = net.inputs = data->set.shape.inputs;
    for (uint32_t l = 1; l < net.L; l++) {
        net.d[l] = plan->hidden[l - 1].units;
        net.e[l] = plan->hidden[l - 1].descending_units;
    }
    net.d[net.L] = net.e[net.L] = data->set.shape.outputs;
    uint32_t met = 0;
    for (uint32_t i = 0; i < circuit_tensors(t); i++) {
        struct tet_tensor tensor;
        static float values[WIDTH * WIDTH];
        tet_trainer_tensor(t, i, &tensor);
        if (strncmp(tensor.name, "state/", 6) == 0)
            continue;
        assert_true(tensor.n <= COUNT(values));
        tet_trainer_get(t, i, values);
        if (tensor.state) {
            for (uint64_t k = 0; k < tensor.n; k++)
                assert_true(values[k] == 0.0f);
            continue;
        }
        const uint32_t l = (uint32_t)atoi(tensor.name + 1);
        const char *kind = strchr("WBVUDb", tensor.name[0]);
        assert_non_null(kind);
        const int g = (int)(kind - strchr("WBVUDb", 'W'));
        if (tensor.name[0] == 'b') {
            assert_int_equal(tensor.rank, 1);
            assert_int_equal(tensor.n, net.d[l]);
            for (uint32_t k = 0; k < net.d[l]; k++)
                net.b[l][k] = values[k];
            continue;
        }
        uint32_t rows, columns;
        size_of(g, l, &rows, &columns);
        assert_true(has(g, l));
        assert_int_equal(tensor.rank, 2);
        assert_int_equal(tensor.shape[0], rows);
        assert_int_equal(tensor.shape[1], columns);
        for (uint32_t r = 0; r < rows; r++)
            for (uint32_t c = 0; c < columns; c++)
                net.p[g][l][r * WIDTH + c] = values[r * columns + c];
        met++;
    }
    for (int g = 0; g < TET_GROUPS; g++)
        for (uint32_t l = 0; l <= net.L; l++)
            met -= has(g, l);
    assert_int_equal(met, 0);
}

/* y (n, rows) = x (n, columns) P^T, or with `transposed` y (n, columns) = x (n, rows) P */
static inline void times(uint32_t n, const double *p, uint32_t rows, uint32_t columns,
                         bool transposed, const double *x, double *y)
{
    const uint32_t outs = transposed ? columns : rows, ins = transposed ? rows : columns;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t o = 0; o < outs; o++) {
            double sum = 0.0;
            for (uint32_t k = 0; k < ins; k++)
                sum += x[i * WIDTH + k] * (transposed ? p[k * WIDTH + o] : p[o * WIDTH + k]);
            y[i * WIDTH + o] = sum;
        }
}

static inline enum tet_activation phi(uint32_t l)
{
    return l < net.L ? net.plan.hidden[l - 1].activation : TET_IDENTITY;
}

static inline void ascend(uint32_t n)
{
    for (uint32_t l = 1; l <= net.L; l++) {
        times(n, net.p[TET_W][l], net.d[l], net.d[l - 1], false, net.x[l - 1], net.z[l]);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t c = 0; c < net.d[l]; c++) {
                const uint32_t at = i * WIDTH + c;
                net.z[l][at] += naive_activity_noise(&net.plan, l, net.plan.batch, i, net.d[l], c);
                const double z = net.z[l][at] += net.b[l][c];
                const double h = tanh(z);
                net.x[l][at] = phi(l) == TET_RELU ? fmax(z, 0.0) : phi(l) == TET_TANH ? h : z;
                net.g[l][at] = phi(l) == TET_RELU ? z > 0.0 : phi(l) == TET_TANH ? 1.0 - h * h : 1;
            }
    }
}

static inline void multiply(uint32_t n, uint32_t d, const double *a, double *y) // y *= a
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t c = 0; c < d; c++)
            y[i * WIDTH + c] *= a[i * WIDTH + c];
}

/* What carries s_l down, (e_{l-1}, e_l). */
static inline const double *feedback(uint32_t l)
{
    if (!naive_is_signs(net.plan.rule))
        return net.p[TET_B][l];
    const uint32_t rows = net.d[l - 1], columns = net.d[l];
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < columns; c++)
            net.f[l][r * WIDTH + c] =
                naive_signed(&net.plan, l, l == net.L, net.step, rows, columns, rows, columns, r, c,
                             net.p[TET_W][l][c * WIDTH + r], net.p[TET_B][l][r * WIDTH + c]);
    return net.f[l];
}

/* A batch of noise into every hidden layer. */
static inline void mirror(uint64_t batch, double rate)
{
    static matrix drive;
    const uint32_t n = net.plan.batch;
    for (uint32_t l = 1; l < net.L; l++) {
        const uint32_t d = net.d[l], above = net.d[l + 1];
        static activity xi, delta;
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t u = 0; u < d; u++)
                xi[i * WIDTH + u] = naive_noise(&net.plan, l, batch, i, d, u);
        times(n, net.p[TET_W][l + 1], above, d, false, xi, delta);
        memset(drive, 0, sizeof drive);
        for (uint32_t r = 0; r < d; r++)
            for (uint32_t c = 0; c < above; c++)
                for (uint32_t i = 0; i < n; i++)
                    drive[r * WIDTH + c] += xi[i * WIDTH + r] * delta[i * WIDTH + c] / n;
        naive_change(&net.plan, &(struct naive_array){TET_B, l + 1, d, above, WIDTH, 1, 1}, rate,
                     1.0, 0.0, drive, net.p[TET_B][l + 1], net.v[TET_B][l + 1]);
    }
}

static inline void mirror_phase(void)
{
    uint64_t first;
    const uint32_t batches = naive_phase(&net.plan, net.step, &first);
    for (uint32_t i = 0; i < batches; i++)
        mirror(first + i, naive_rate(&net.plan, net.step));
}

static inline void descend_to(uint32_t n, uint32_t l)
{
    const enum tet_rule_name rule = net.plan.rule;
    const size_t size = sizeof(activity);
    if (l == net.L) {
        mirror_phase();
        memcpy(net.bp[l], net.s[l], size);
        memcpy(net.m[l], net.s[l], size);
        for (uint32_t k = 1; k < l && rule == TET_RULE_SAL; k++)
            times(n, net.p[TET_U][k], net.e[k], net.d[k], false, net.x[k], net.u[k]);
        return;
    }
    const uint32_t d = net.d[l], e = net.e[l], above = net.d[l + 1];
    times(n, net.p[TET_W][l + 1], above, d, true, net.bp[l + 1], net.bp[l]);
    multiply(n, d, net.g[l], net.bp[l]);
    if (rule == TET_RULE_BP) {
        memcpy(net.s[l], net.bp[l], size);
        memcpy(net.m[l], net.bp[l], size);
        return;
    }
    if (rule == TET_RULE_DFA)
        times(n, net.p[TET_D][l], d, net.d[net.L], false, net.s[net.L], net.s[l]);
    else
        times(n, feedback(l + 1), e, net.e[l + 1], false, net.s[l + 1], net.s[l]);
    if (net.plan.gate)
        multiply(n, e, net.g[l], net.s[l]);
    if (rule == TET_RULE_SAL) {
        times(n, net.p[TET_V][l], d, e, false, net.s[l], net.m[l]);
        multiply(n, d, net.g[l], net.m[l]);
    } else {
        memcpy(net.m[l], net.s[l], size);
        if (!net.plan.gate)
            multiply(n, d, net.g[l], net.m[l]);
    }
}

/* The norm that homeostasis gives B: the root mean square of W's synapses. */
static inline double norm_of_b(int g, uint32_t l)
{
    uint32_t r, c, rows, columns;
    if (g != TET_B)
        return 0.0;
    size_of(TET_W, l, &rows, &columns);
    size_of(TET_B, l, &r, &c);
    return naive_norm(net.p[TET_W][l], COUNT(net.p[TET_W][l])) *
           sqrt(r * c * naive_probability(&net.plan, TET_B) /
                (rows * columns * naive_probability(&net.plan, TET_W)));
}

/* P of group g by the batch mean of a x^T. */
static inline void change_one(int g, uint32_t l, uint32_t n, double rate, const double *a,
                              const double *x)
{
    static matrix drive;
    uint32_t rows, columns;
    size_of(g, l, &rows, &columns);
    memset(drive, 0, sizeof drive);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < columns; c++) {
            for (uint32_t i = 0; i < n; i++)
                drive[r * WIDTH + c] += a[i * WIDTH + r] * x[i * WIDTH + c];
            drive[r * WIDTH + c] /= n;
        }
    if (net.plan.group[g].plastic)
        naive_change(&net.plan, &(struct naive_array){g, l, rows, columns, WIDTH, 1, 1}, rate,
                     net.factor[g == TET_U ? l + 1 : l], norm_of_b(g, l), drive, net.p[g][l],
                     net.v[g][l]);
}

static inline void change_bias(uint32_t l, uint32_t n, double rate)
{
    static double none[WIDTH];
    const struct naive_array at = {-1, l, 1, WIDTH, WIDTH, 1, 1};
    double drive[WIDTH] = {0};
    for (uint32_t r = 0; r < net.d[l]; r++)
        for (uint32_t i = 0; i < n; i++)
            drive[r] += net.m[l][i * WIDTH + r] / n;
    if (net.plan.group[TET_W].plastic)
        naive_change(&net.plan, &at, rate, net.factor[l], 0.0, drive, net.b[l], none);
}

static inline void centre(uint32_t n, double *x)
{
    for (uint32_t c = 0; c < WIDTH && net.plan.center; c++) {
        double sum = 0.0;
        for (uint32_t i = 0; i < n; i++)
            sum += x[i * WIDTH + c];
        for (uint32_t i = 0; i < n; i++)
            x[i * WIDTH + c] -= sum / n;
    }
}

static inline void weigh(uint32_t n, uint32_t l)
{
    const double size = naive_norm(net.x[l - 1], (size_t)n * WIDTH);
    net.factor[l] = naive_weigh(&net.plan, &net.power[l], size * size / n / 256.0);
    centre(n, net.x[l - 1]);
    centre(n, net.u[l - 1]);
}

static inline void change_stage(uint32_t n, uint32_t l, double rate)
{
    const enum tet_rule_name rule = net.plan.rule;
    change_one(TET_W, l, n, rate, net.m[l], net.x[l - 1]);
    change_bias(l, n, rate);
    if (rule == TET_RULE_KP && l >= 2)
        change_one(TET_B, l, n, rate, net.x[l - 1], net.m[l]);
    if (rule == TET_RULE_SAL && l >= 2)
        change_one(TET_B, l, n, rate, net.u[l - 1], net.s[l]);
    if (rule == TET_RULE_SAL && l < net.L) {
        change_one(TET_V, l, n, rate, net.x[l], net.s[l]);
        change_one(TET_U, l, n, rate, net.s[l], net.x[l]);
    }
}

static inline double cosine(const double *a, const double *b, uint32_t rows, uint32_t columns)
{
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < columns; c++) {
            const uint32_t i = r * WIDTH + c;
            ab += a[i] * b[i];
            aa += a[i] * a[i];
            bb += b[i] * b[i];
        }
    return aa * bb == 0.0 ? 0.0 : ab / sqrt(aa * bb);
}

static inline double frobenius(int g, uint32_t l)
{
    uint32_t rows, columns;
    double sum = 0.0;
    size_of(g, l, &rows, &columns);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < columns; c++)
            sum += net.p[g][l][r * WIDTH + c] * net.p[g][l][r * WIDTH + c];
    return sqrt(sum);
}

/* out (rows, columns) = a b, inner sum over k; each may be taken transposed. */
static inline void product(uint32_t rows, uint32_t inner, uint32_t columns, const double *a,
                           bool a_t, const double *b, bool b_t, double *out)
{
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < columns; c++) {
            double sum = 0.0;
            for (uint32_t k = 0; k < inner; k++)
                sum += (a_t ? a[k * WIDTH + r] : a[r * WIDTH + k]) *
                       (b_t ? b[c * WIDTH + k] : b[k * WIDTH + c]);
            out[r * WIDTH + c] = sum;
        }
}

/* D_l with the product of all W above, transposed. */
static inline double direct_cosine(uint32_t l)
{
    static matrix path;
    memset(path, 0, sizeof path);
    for (uint32_t i = 0; i < net.d[l]; i++)
        path[i * WIDTH + i] = 1.0;
    for (uint32_t k = l + 1; k <= net.L; k++) {
        product(net.d[l], net.d[k - 1], net.d[k], path, false, net.p[TET_W][k], true, right);
        memcpy(path, right, sizeof path);
    }
    return cosine(net.p[TET_D][l], path, net.d[l], net.d[net.L]);
}

static inline double feedback_cosine(uint32_t l)
{
    if (net.plan.rule == TET_RULE_DFA)
        return direct_cosine(l);
    const double *w = net.p[TET_W][l + 1];
    const double *b = net.p[TET_B][l + 1];
    const uint32_t d = net.d[l], above = net.d[l + 1], e = net.e[l + 1];
    if (net.plan.rule != TET_RULE_SAL) {
        for (uint32_t r = 0; r < d; r++)
            for (uint32_t c = 0; c < above; c++)
                right[r * WIDTH + c] = w[c * WIDTH + r];
        return cosine(naive_is_signs(net.plan.rule) ? net.f[l + 1] : b, right, d, above);
    }
    static matrix one; // V_L
    for (uint32_t i = 0; i < above; i++)
        one[i * WIDTH + i] = 1.0;
    product(d, net.e[l], e, net.p[TET_V][l], false, b, false, left);
    product(d, above, e, w, true, l + 1 < net.L ? net.p[TET_V][l + 1] : one, false, right);
    return cosine(left, right, d, e);
}

static inline double gram_cosine(int g, uint32_t l, int h, uint32_t m)
{
    uint32_t rows, columns, h_rows, h_columns;
    size_of(g, l, &rows, &columns);
    size_of(h, m, &h_rows, &h_columns);
    assert_int_equal(rows, h_rows);
    product(rows, columns, rows, net.p[g][l], false, net.p[g][l], true, left);
    product(rows, h_columns, rows, net.p[h][m], false, net.p[h][m], true, right);
    return cosine(left, right, rows, rows);
}

/* ---- comparing the two ---- */

/* Returns how many records a step's telemetry has. */
static inline size_t check_telemetry(const struct log *log, uint64_t step, uint32_t n)
{
    size_t count = 0;
    for (uint32_t l = 1; l < net.L; l++) {
        const double modulation = cosine(net.m[l], net.bp[l], n, net.d[l]);
        check_record(log, step, TET_SERIES_ALIGNMENT_MODULATION, l, modulation, 1e-4);
        count++;
        count += check_more_telemetry(log, step, n, l, 1, net.d[l], net.d[l - 1], true, modulation);
        if (net.plan.rule != TET_RULE_BP) {
            check_record(log, step, TET_SERIES_ALIGNMENT_FEEDBACK, l, feedback_cosine(l), 1e-4);
            count++;
        }
        if (has(TET_V, l)) {
            check_record(log, step, TET_SERIES_ALIGNMENT_LATERAL, l,
                         gram_cosine(TET_W, l, TET_V, l), 1e-4);
            check_record(log, step, TET_SERIES_ALIGNMENT_LATERAL_DESCENDING, l,
                         gram_cosine(TET_B, l + 1, TET_U, l), 1e-4);
            count += 2;
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
                count += g == TET_B ? 2 : 1;
            }
    return count;
}

/* Largest difference of any array to the naive one, as a share of the array's largest value. */
static inline void check_weights(const char *what, const struct tet_trainer *t, uint64_t step,
                                 double allowed)
{
    for (uint32_t i = 0; i < circuit_tensors(t); i++) {
        struct tet_tensor tensor;
        static float values[WIDTH * WIDTH];
        tet_trainer_tensor(t, i, &tensor);
        if (strncmp(tensor.name, "state/", 6) == 0)
            continue;
        tet_trainer_get(t, i, values);
        if (strcmp(tensor.name, "state/power") == 0) {
            assert_int_equal(tensor.n, net.L);
            for (uint32_t k = 1; k <= net.L; k++)
                close_to(tensor.name, step, k, (double)values[k - 1], net.power[k],
                         1e-4 * net.power[k]);
            continue;
        }
        const char *name = tensor.name + (tensor.state ? strlen("velocity/") : 0);
        const uint32_t l = (uint32_t)atoi(name + 1);
        const int g = (int)(strchr("WBVUDb", name[0]) - strchr("WBVUDb", 'W'));
        const uint32_t columns = tensor.rank == 2 ? tensor.shape[1] : 1;
        double largest = 0.0, apart = 0.0;
        uint64_t worst = 0;
        for (uint64_t k = 0; k < tensor.n; k++) {
            const uint64_t at = k / columns * WIDTH + k % columns;
            const double expected = tensor.rank == 1 ? net.b[l][k]
                                    : tensor.state   ? net.v[g][l][at]
                                                     : net.p[g][l][at];
            largest = fmax(largest, fabs(expected));
            if (!(fabs(values[k] - expected) <= apart)) {
                apart = fabs(values[k] - expected);
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
