// SPDX-License-Identifier: Apache-2.0
/*
 * circuit.md with convolutions: a naive network in double, written here from the equations, that
 * follows a trainer (follow.h).
 *
 * A stage's kernel slides over the images of x_{l-1}; a dense stage is one whose kernel is as large
 * as those images, so that it stops once. What a stage looks at is a list of taps: coarse position
 * p of z_l, tap k, fine position q of x_{l-1}. With sums over the taps,
 *
 *     z_l[o][p]          = b[o] + sum W_l[o][c][k] x_{l-1}[c][q]
 *     (B_l s_l)[c][q]    = sum B_l[c][o][k] s_l[o][p]             on the grid of x_{l-1}
 *     drive of W_l[o][c][k] = sum m_l[o][p] x_{l-1}[c][q]
 *     drive of B_l[c][o][k] = sum u_{l-1}[c][q] s_l[o][p]         kp: x_{l-1}, m_l
 *
 * and V_l, U_l act on the channels at each position, of the grid of z_l, U_l for u_l on that of
 * x_l.
 */
#ifndef TESTS_NAIVE_CONVOLUTION_H
#define TESTS_NAIVE_CONVOLUTION_H

#include "naive_convolution_shapes.h"
#include "naive_mirror.h"

/* ---- activity ---- */

static inline double *unit(double *a, uint32_t i, uint32_t c, uint32_t positions)
{
    return a + i * WIDTH + c * positions;
}

static inline enum tet_pool pool_of(uint32_t l)
{
    return l < net.L ? net.plan.hidden[l - 1].pool : TET_POOL_NONE;
}

/* x (of a channel) from a, on the way up; of the window at p. */
static inline double pooled(uint32_t l, const double *a, uint32_t p)
{
    const struct taps *t = &net.pool[l];
    double largest = -INFINITY, sum = 0.0;
    for (uint32_t i = 0; i < t->n; i++)
        if (t->tap[i].p == p) {
            largest = fmax(largest, a[t->tap[i].q]);
            sum += a[t->tap[i].q];
        }
    return pool_of(l) == TET_POOL_MAX ? largest : sum / t->kernel;
}

/* to (of a channel, on the grid of z_l) from above, on that of x_l. */
static inline void unpool(uint32_t l, const double *a, const double *x, const double *above,
                          double *to)
{
    const struct taps *t = &net.pool[l];
    if (pool_of(l) == TET_POOL_NONE) {
        memcpy(to, above, net.z_positions[l] * sizeof *to);
        return;
    }
    memset(to, 0, net.z_positions[l] * sizeof *to);
    for (uint32_t i = 0, won = UINT32_MAX; i < t->n; i++) { // taps go by p, then by k
        const uint32_t p = t->tap[i].p, q = t->tap[i].q;
        if (pool_of(l) == TET_POOL_AVG)
            to[q] += above[p] / t->kernel;
        else if (p != won && a[q] == x[p]) {
            to[q] += above[p];
            won = p;
        }
    }
}

static inline void activate(uint32_t l, uint32_t i, uint32_t c)
{
    const enum tet_activation phi = l < net.L ? net.plan.hidden[l - 1].activation : TET_IDENTITY;
    const uint32_t n = net.z_positions[l];
    const double *z = unit(net.z[l], i, c, n);
    double *a = unit(net.a[l], i, c, n), *g = unit(net.g[l], i, c, n);
    for (uint32_t q = 0; q < n; q++) {
        const double h = tanh(z[q]);
        a[q] = phi == TET_RELU ? fmax(z[q], 0.0) : phi == TET_TANH ? h : z[q];
        g[q] = phi == TET_RELU ? z[q] > 0.0 : phi == TET_TANH ? 1.0 - h * h : 1.0;
    }
    double *x = unit(net.x[l], i, c, net.x_positions[l]);
    for (uint32_t p = 0; p < net.x_positions[l]; p++)
        x[p] = pool_of(l) == TET_POOL_NONE ? a[p] : pooled(l, a, p);
}

static inline void ascend(uint32_t n)
{
    for (uint32_t l = 1; l <= net.L; l++) {
        const struct taps *t = &net.stage[l];
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t o = 0; o < net.d[l]; o++) {
                double *z = unit(net.z[l], i, o, net.z_positions[l]);
                for (uint32_t p = 0; p < net.z_positions[l]; p++)
                    z[p] = net.b[l][o];
                for (uint32_t c = 0; c < net.d[l - 1]; c++) {
                    const double *x = unit(net.x[l - 1], i, c, net.x_positions[l - 1]);
                    for (uint32_t k = 0; k < t->n; k++)
                        z[t->tap[k].p] +=
                            net.p[TET_W][l][w_at(l, o, c, t->tap[k].k)] * x[t->tap[k].q];
                }
                const uint32_t places = net.z_positions[l], batch = net.plan.batch;
                for (uint32_t p = 0; p < places; p++)
                    z[p] += net.flat[l] ? naive_activity_noise(&net.plan, l, batch, i, net.d[l], o)
                                        : naive_activity_noise(&net.plan, l, net.d[l] * places,
                                                               o * places + p, batch, i);
                activate(l, i, o);
            }
    }
}

/* y, channel c of example i on the grid of z_l, from `below` on that of x_l. */
static inline void come_down(uint32_t l, uint32_t i, uint32_t c, const double *below, double *y)
{
    const uint32_t winner = pool_of(l) == TET_POOL_MAX ? c : 0;
    unpool(l, unit(net.a[l], i, winner, net.z_positions[l]),
           unit(net.x[l], i, winner, net.x_positions[l]), below, unit(y, i, c, net.z_positions[l]));
}

/* y, likewise = what comes from s_L through D_l. */
static inline void send_directly(uint32_t n, uint32_t l, double *y)
{
    const uint32_t positions = net.x_positions[l], outputs = net.d[net.L];
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t c = 0; c < net.d[l]; c++) {
            double below[WIDTH] = {0};
            for (uint32_t q = 0; q < positions; q++)
                for (uint32_t o = 0; o < outputs; o++)
                    below[q] += net.p[TET_D][l][(c * positions + q) * outputs + o] *
                                net.s[net.L][i * WIDTH + o];
            come_down(l, i, c, below, y);
        }
}

/* y, channels of the grid of z_l = what comes down from s, of layer l+1, through B_{l+1} or, in
 * place of it, W_{l+1}^T. */
static inline void send_down(uint32_t n, uint32_t l, bool by_w, double *s, double *y)
{
    const struct taps *t = &net.stage[l + 1];
    const uint32_t to = by_w ? net.d[l] : net.e[l], from = by_w ? net.d[l + 1] : net.e[l + 1];
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t c = 0; c < to; c++) {
            double below[WIDTH] = {0};
            for (uint32_t o = 0; o < from; o++) {
                const double *signal = unit(s, i, o, net.z_positions[l + 1]);
                for (uint32_t k = 0; k < t->n; k++) {
                    const struct tap at = t->tap[k];
                    below[at.q] +=
                        signal[at.p] * (by_w ? net.p[TET_W][l + 1][w_at(l + 1, o, c, at.k)]
                                             : net.f[l + 1][b_at(l + 1, c, o, at.k)]);
                }
            }
            come_down(l, i, c, below, y);
        }
}

/* y (rows) = P x (columns), at each of `positions`. */
static inline void mix(uint32_t n, const double *p, uint32_t rows, uint32_t columns,
                       uint32_t positions, double *x, double *y)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t r = 0; r < rows; r++)
            for (uint32_t q = 0; q < positions; q++) {
                double sum = 0.0;
                for (uint32_t c = 0; c < columns; c++)
                    sum += p[r * columns + c] * unit(x, i, c, positions)[q];
                unit(y, i, r, positions)[q] = sum;
            }
}

static inline void gate(uint32_t n, uint32_t l, double *y)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < net.d[l] * net.z_positions[l]; k++)
            y[i * WIDTH + k] *= net.g[l][i * WIDTH + k];
}

static inline void form_feedback(uint32_t l)
{
    const uint32_t kernel = net.stage[l].kernel, low = net.d[l - 1], high = net.d[l];
    memcpy(net.f[l], net.p[TET_B][l], sizeof net.f[l]);
    if (!naive_is_signs(net.plan.rule))
        return;
    const uint32_t rows = net.flat[l] ? low * kernel : low,
                   columns = net.flat[l] ? high : high * kernel;
    const double in = (double)low * kernel, out = net.flat[l] ? high : (double)high * kernel;
    for (uint32_t c = 0; c < low; c++)
        for (uint32_t o = 0; o < high; o++)
            for (uint32_t k = 0; k < kernel; k++) {
                const size_t at = b_at(l, c, o, k);
                net.f[l][at] = naive_signed(&net.plan, l, l == net.L, net.step, rows, columns, in,
                                            out, (uint32_t)(at / columns), (uint32_t)(at % columns),
                                            net.p[TET_W][l][w_at(l, o, c, k)], net.p[TET_B][l][at]);
            }
}

/* A batch of noise into layer l: what stage l+1 makes of it, and how its B changes. */
static inline void mirror(uint32_t l, uint64_t batch, double rate)
{
    const struct taps *t = &net.stage[l + 1];
    const uint32_t low = net.x_positions[l], high = net.z_positions[l + 1], d = net.d[l],
                   above = net.d[l + 1];
    static double mean[WEIGHTS];
    memset(mean, 0, sizeof mean);
    for (uint32_t i = 0; i < net.plan.batch; i++) {
        double xi[WIDTH], delta[WIDTH] = {0};
        for (uint32_t u = 0; u < d * low; u++)
            xi[u] = naive_noise(&net.plan, l, batch, i, d * low, u);
        for (int pass = 0; pass < 2; pass++) // delta, then the drive
            for (uint32_t o = 0; o < above; o++)
                for (uint32_t c = 0; c < d; c++)
                    for (uint32_t k = 0; k < t->n; k++) {
                        const struct tap at = t->tap[k];
                        double *answer = &delta[o * high + at.p], in = xi[c * low + at.q];
                        if (pass == 0)
                            *answer += net.p[TET_W][l + 1][w_at(l + 1, o, c, at.k)] * in;
                        else
                            mean[b_at(l + 1, c, o, at.k)] +=
                                in * *answer / (net.plan.batch * (double)high);
                    }
    }
    const uint32_t taps = net.flat[l + 1] ? 1 : t->kernel;
    struct naive_array at = {.g = TET_B, .l = l + 1, .taps = taps, .of_neuron = taps};
    at.rows = d * (net.flat[l + 1] ? t->kernel : 1);
    at.columns = at.stride = (uint32_t)count(TET_B, l + 1) / at.rows;
    naive_change(&net.plan, &at, rate, 1.0, 0.0, mean, net.p[TET_B][l + 1], net.v[TET_B][l + 1]);
}

static inline void mirror_phase(void)
{
    uint64_t first;
    const uint32_t batches = naive_phase(&net.plan, net.step, &first);
    for (uint32_t i = 0; i < batches; i++)
        for (uint32_t l = 1; l < net.L; l++)
            mirror(l, first + i, naive_rate(&net.plan, net.step));
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
            mix(n, net.p[TET_U][k], net.e[k], net.d[k], net.x_positions[k], net.x[k], net.u[k]);
        return;
    }
    send_down(n, l, true, net.bp[l + 1], net.bp[l]);
    gate(n, l, net.bp[l]);
    if (rule == TET_RULE_BP) {
        memcpy(net.s[l], net.bp[l], size);
        memcpy(net.m[l], net.bp[l], size);
        return;
    }
    form_feedback(l + 1);
    if (rule == TET_RULE_DFA)
        send_directly(n, l, net.s[l]);
    else
        send_down(n, l, false, net.s[l + 1], net.s[l]);
    if (net.plan.gate)
        gate(n, l, net.s[l]);
    if (rule == TET_RULE_SAL) {
        mix(n, net.p[TET_V][l], net.d[l], net.e[l], net.z_positions[l], net.s[l], net.m[l]);
        gate(n, l, net.m[l]);
    } else {
        memcpy(net.m[l], net.s[l], size);
        if (!net.plan.gate)
            gate(n, l, net.m[l]);
    }
}

/* ---- synapses ---- */

static double drives[WEIGHTS]; // of the group at hand, summed over the batch

/* The norm that homeostasis gives B: the root mean square of W's synapses. */
static inline double norm_of_b(int g, uint32_t l)
{
    if (g != TET_B)
        return 0.0;
    return naive_norm(net.p[TET_W][l], count(TET_W, l)) *
           sqrt((double)count(TET_B, l) * naive_probability(&net.plan, TET_B) /
                ((double)count(TET_W, l) * naive_probability(&net.plan, TET_W)));
}

static inline void move(int g, uint32_t l, uint32_t n, double rate)
{
    const uint32_t kernel = net.stage[l].kernel;
    struct naive_array at = {.g = g, .l = l};
    at.rows = g == TET_W || g == TET_V ? net.d[l]
              : g == TET_U             ? net.e[l]
                                       : net.e[l - 1] * (net.flat[l] ? kernel : 1);
    at.columns = at.stride = (uint32_t)count(g, l) / at.rows;
    at.taps = (g == TET_W || g == TET_B) && !net.flat[l] ? kernel : 1;
    at.of_neuron = g == TET_W ? kernel : at.taps;
    for (size_t i = 0; i < count(g, l); i++)
        drives[i] /= n;
    if (net.plan.group[g].plastic)
        naive_change(&net.plan, &at, rate, net.factor[g == TET_U ? l + 1 : l], norm_of_b(g, l),
                     drives, net.p[g][l], net.v[g][l]);
}

/* W_l from coarse (d_l) and fine (d_{l-1}), or B_l from coarse (e_l) and fine (e_{l-1}). */
static inline void change_kernels(int g, uint32_t l, uint32_t n, double rate, double *coarse,
                                  double *fine)
{
    const struct taps *t = &net.stage[l];
    const uint32_t high = g == TET_W ? net.d[l] : net.e[l];
    const uint32_t low = g == TET_W ? net.d[l - 1] : net.e[l - 1];
    memset(drives, 0, sizeof drives);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t o = 0; o < high; o++)
            for (uint32_t c = 0; c < low; c++)
                for (uint32_t k = 0; k < t->n; k++) {
                    const struct tap at = t->tap[k];
                    drives[g == TET_W ? w_at(l, o, c, at.k) : b_at(l, c, o, at.k)] +=
                        unit(coarse, i, o, net.z_positions[l])[at.p] *
                        unit(fine, i, c, net.x_positions[l - 1])[at.q];
                }
    move(g, l, n, rate);
}

/* V_l or U_l from two activities on the grid of z_l. */
static inline void change_lateral(int g, uint32_t l, uint32_t n, double rate, double *to,
                                  double *from)
{
    const uint32_t rows = g == TET_V ? net.d[l] : net.e[l];
    const uint32_t columns = g == TET_V ? net.e[l] : net.d[l];
    memset(drives, 0, sizeof drives);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t r = 0; r < rows; r++)
            for (uint32_t c = 0; c < columns; c++)
                for (uint32_t q = 0; q < net.z_positions[l]; q++)
                    drives[r * columns + c] += unit(to, i, r, net.z_positions[l])[q] *
                                               unit(from, i, c, net.z_positions[l])[q];
    move(g, l, n, rate);
}

static inline void change_bias(uint32_t l, uint32_t n, double rate)
{
    static double none[WIDTH];
    const struct naive_array at = {-1, l, 1, WIDTH, WIDTH, 1, 1};
    double drive[WIDTH] = {0};
    for (uint32_t o = 0; o < net.d[l]; o++)
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t p = 0; p < net.z_positions[l]; p++)
                drive[o] += unit(net.m[l], i, o, net.z_positions[l])[p] / n;
    if (net.plan.group[TET_W].plastic)
        naive_change(&net.plan, &at, rate, net.factor[l], 0.0, drive, net.b[l], none);
}

/* Less the mean of each unit, which has some of the positions of an example. */
static inline void centre(uint32_t n, double *x, uint32_t positions)
{
    for (uint32_t c = 0; c < WIDTH / positions && net.plan.center; c++) {
        double sum = 0.0;
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t p = 0; p < positions; p++)
                sum += unit(x, i, c, positions)[p];
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t p = 0; p < positions; p++)
                unit(x, i, c, positions)[p] -= sum / n / positions;
    }
}

static inline void weigh(uint32_t n, uint32_t l)
{
    const uint32_t positions = net.x_positions[l - 1];
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < net.d[l - 1] * positions; k++)
            sum += net.x[l - 1][i * WIDTH + k] * net.x[l - 1][i * WIDTH + k];
    const double looks = (double)net.z_positions[l] * net.stage[l].kernel / positions;
    net.factor[l] = naive_weigh(&net.plan, &net.power[l], sum * looks / n / 256.0);
    centre(n, net.x[l - 1], net.flat[l] ? 1 : positions);
    centre(n, net.u[l - 1], net.flat[l] ? 1 : positions);
    if (l > 1)
        centre(n, net.a[l - 1], net.z_positions[l - 1]);
}

static inline void change_stage(uint32_t n, uint32_t l, double rate)
{
    const enum tet_rule_name rule = net.plan.rule;
    change_kernels(TET_W, l, n, rate, net.m[l], net.x[l - 1]);
    change_bias(l, n, rate);
    if (rule == TET_RULE_KP && l >= 2)
        change_kernels(TET_B, l, n, rate, net.m[l], net.x[l - 1]);
    if (rule == TET_RULE_SAL && l >= 2)
        change_kernels(TET_B, l, n, rate, net.s[l], net.u[l - 1]);
    if (rule == TET_RULE_SAL && l < net.L) {
        change_lateral(TET_V, l, n, rate, net.a[l], net.s[l]);
        change_lateral(TET_U, l, n, rate, net.s[l], net.a[l]);
    }
}

#include "naive_convolution_telemetry.h"

#endif
