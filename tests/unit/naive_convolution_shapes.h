// SPDX-License-Identifier: Apache-2.0
/* The naive convolutional network's arrays, and what a stage looks at: see naive_convolution.h. */
#ifndef TESTS_NAIVE_CONVOLUTION_SHAPES_H
#define TESTS_NAIVE_CONVOLUTION_SHAPES_H

#include "naive_signs.h"
#include "naive_step.h"
#include "training.h"

enum { LAYERS = 6, WIDTH = 1200, BATCH = 35, WEIGHTS = 1 << 16, TAPS = 1 << 11 };

/* (example, channel, position), WIDTH for each example. */
typedef double activity[BATCH * WIDTH];

struct tap {
    uint32_t p, k, q;
};

struct taps {
    uint32_t n, kernel; // kernel: how many taps each coarse position has, those in the padding too
    struct tap tap[TAPS];
};

static struct network {
    struct tet_plan plan;
    uint32_t L, inputs, d[LAYERS], e[LAYERS];
    uint32_t z_positions[LAYERS], x_positions[LAYERS];
    bool flat[LAYERS];                       // a dense stage: B_l is (e_{l-1}, k, e_l)
    struct taps stage[LAYERS], pool[LAYERS]; // W_l's and B_l's; x_l's windows over a_l
    double p[TET_GROUPS][LAYERS][WEIGHTS], v[TET_GROUPS][LAYERS][WEIGHTS];
    double f[LAYERS][WEIGHTS]; // what carries s down: B, or made from W by the rule
    uint64_t step;             // mini-batches that descended
    double b[LAYERS][WIDTH];
    double power[LAYERS], factor[LAYERS]; // of what stage l sees, and on its rates
    activity z[LAYERS], a[LAYERS], x[LAYERS], g[LAYERS], s[LAYERS], m[LAYERS], u[LAYERS],
        bp[LAYERS];
} net;

#include "naive_telemetry.h"

/* ---- shapes ---- */

struct grid {
    uint32_t rows, columns;
};

/* A window of `rows` by `columns` that slides over `fine` with `padding` rings around it. Returns
 * the coarse grid. */
static inline struct grid slide(struct taps *t, struct grid fine, uint32_t rows, uint32_t columns,
                                uint32_t stride, uint32_t padding)
{
    struct grid coarse = {0, 0};
    while (coarse.rows * stride + rows <= fine.rows + 2 * padding)
        coarse.rows++;
    while (coarse.columns * stride + columns <= fine.columns + 2 * padding)
        coarse.columns++;
    t->n = 0;
    t->kernel = rows * columns;
    for (uint32_t p = 0; p < coarse.rows * coarse.columns; p++)
        for (uint32_t k = 0; k < t->kernel; k++) {
            const int64_t y = (int64_t)(p / coarse.columns * stride + k / columns) - padding;
            const int64_t x = (int64_t)(p % coarse.columns * stride + k % columns) - padding;
            if (y < 0 || x < 0 || y >= fine.rows || x >= fine.columns)
                continue;
            assert_true(t->n < TAPS);
            t->tap[t->n++] = (struct tap){p, k, (uint32_t)y * fine.columns + (uint32_t)x};
        }
    return coarse;
}

/* Sets the shape of layer l, given the images of layer l-1; returns its own. */
static inline struct grid shape_layer(uint32_t l, struct grid below)
{
    const struct tet_layer_plan *layer = l < net.L ? &net.plan.hidden[l - 1] : NULL;
    net.flat[l] = layer == NULL || layer->type == TET_DENSE;
    struct grid z = net.flat[l] ? slide(&net.stage[l], below, below.rows, below.columns, 1, 0)
                                : slide(&net.stage[l], below, layer->kernel, layer->kernel,
                                        layer->stride, layer->padding);
    struct grid x = z;
    net.z_positions[l] = z.rows * z.columns;
    if (layer != NULL && layer->pool != TET_POOL_NONE)
        x = slide(&net.pool[l], z, layer->pool_size, layer->pool_size, layer->pool_stride, 0);
    net.x_positions[l] = x.rows * x.columns;
    return x;
}

static inline void shape_network(const struct tet_shape *shape)
{
    struct grid at = {1, 1};
    net.L = net.plan.n_hidden + 1;
    assert_true(net.L < LAYERS);
    net.inputs = net.d[0] = shape->inputs;
    if (net.plan.n_hidden > 0 && net.plan.hidden[0].type == TET_CONV2D) {
        net.d[0] = shape->channels;
        at = (struct grid){shape->rows, shape->columns};
    }
    net.x_positions[0] = at.rows * at.columns;
    for (uint32_t l = 1; l <= net.L; l++) {
        net.d[l] = l < net.L ? net.plan.hidden[l - 1].units : shape->outputs;
        net.e[l] = l < net.L ? net.plan.hidden[l - 1].descending_units : shape->outputs;
        at = shape_layer(l, at);
        const struct tet_grid grid = tet_plan_grid(&net.plan, shape, l);
        assert_int_equal(grid.channels, net.d[l]);
        assert_int_equal(grid.rows * grid.columns, net.z_positions[l]);
        assert_int_equal(grid.pooled_rows, at.rows);
        assert_int_equal(grid.pooled_columns, at.columns);
        const uint32_t wider = net.d[l] > net.e[l] ? net.d[l] : net.e[l];
        assert_true(wider * net.z_positions[l] <= WIDTH);
    }
}

static inline bool has(int g, uint32_t l)
{
    const enum tet_rule_name rule = net.plan.rule;
    return g == TET_W   ? l >= 1 && l <= net.L
           : g == TET_B ? naive_has_feedback(rule) && l >= 2 && l <= net.L
                        : rule == (g == TET_D ? TET_RULE_DFA : TET_RULE_SAL) && l >= 1 && l < net.L;
}

static inline size_t count(int g, uint32_t l) // synapses
{
    const size_t k = net.stage[l].kernel;
    return g == TET_W   ? net.d[l] * net.d[l - 1] * k
           : g == TET_B ? net.e[l - 1] * net.e[l] * k
           : g == TET_D ? net.d[l] * net.x_positions[l] * net.d[net.L]
                        : net.d[l] * net.e[l];
}

/* Where W_l[o][c][k] and B_l[c][o][k] are. */
static inline size_t w_at(uint32_t l, uint32_t o, uint32_t c, uint32_t k)
{
    return (o * net.d[l - 1] + c) * net.stage[l].kernel + k;
}

static inline size_t b_at(uint32_t l, uint32_t c, uint32_t o, uint32_t k)
{
    const uint32_t kernel = net.stage[l].kernel, e = net.e[l];
    return net.flat[l] ? (c * kernel + k) * e + o : (c * e + o) * kernel + k;
}

/* The shape that the trainer should give an array. */
static inline void check_shape(const struct tet_tensor *t, int g, uint32_t l)
{
    uint32_t rows = g == TET_B   ? net.e[l - 1]
                    : g == TET_U ? net.e[l]
                    : g == TET_D ? net.d[l] * net.x_positions[l]
                                 : net.d[l];
    uint32_t columns = g == TET_W   ? net.d[l - 1]
                       : g == TET_U ? net.d[l]
                       : g == TET_D ? net.d[net.L]
                                    : net.e[l];
    const bool kernel = (g == TET_W || g == TET_B) && !net.flat[l];
    if (net.flat[l] && (g == TET_W || g == TET_B))
        *(g == TET_W ? &columns : &rows) *= net.stage[l].kernel;
    assert_int_equal(t->rank, kernel ? 4 : 2);
    assert_int_equal(t->shape[0], rows);
    assert_int_equal(t->shape[1], columns);
    if (kernel) {
        assert_int_equal(t->shape[2], net.plan.hidden[l - 1].kernel);
        assert_int_equal(t->shape[3], net.plan.hidden[l - 1].kernel);
    }
    assert_int_equal(t->n, count(g, l));
}

/* Array i of the trainer: its values, its group (TET_GROUPS: a bias), its layer. NULL: a state. */
static inline const float *array_of(const struct tet_trainer *t, uint32_t i,
                                    struct tet_tensor *tensor, int *g, uint32_t *l)
{
    static float values[WEIGHTS];
    tet_trainer_tensor(t, i, tensor);
    if (strncmp(tensor->name, "state/", 6) == 0)
        return NULL;
    assert_true(tensor->n <= WEIGHTS);
    tet_trainer_get(t, i, values);
    const char *name = tensor->name + (tensor->state ? strlen("velocity/") : 0);
    const char *kind = strchr("WBVUDb", name[0]);
    assert_non_null(kind);
    *g = (int)(kind - strchr("WBVUDb", 'W'));
    *l = (uint32_t)atoi(name + 1);
    return values;
}

static inline void take_over(const struct tet_trainer *t, const struct tet_plan *plan,
                             const struct data *data)
{
    memset(&net, 0, sizeof net);
    net.plan = *plan;
    shape_network(&data->set.shape);
    uint32_t met = 0;
    for (uint32_t i = 0; i < circuit_tensors(t); i++) {
        struct tet_tensor tensor;
        int g;
        uint32_t l;
        tet_trainer_tensor(t, i, &tensor);
        if (strcmp(tensor.name, "state/power") == 0)
            continue;
        const float *values = array_of(t, i, &tensor, &g, &l);
        if (values == NULL)
            continue;
        if (g == TET_GROUPS) {
            assert_int_equal(tensor.rank, 1);
            assert_int_equal(tensor.n, net.d[l]);
        } else {
            assert_true(has(g, l));
            check_shape(&tensor, g, l);
            met += !tensor.state;
        }
        for (uint64_t k = 0; k < tensor.n; k++)
            if (tensor.state)
                assert_true(values[k] == 0.0f);
            else
                *(g == TET_GROUPS ? &net.b[l][k] : &net.p[g][l][k]) = values[k];
    }
    for (int g = 0; g < TET_GROUPS; g++)
        for (uint32_t l = 0; l <= net.L; l++)
            met -= has(g, l);
    assert_int_equal(met, 0);
}

#endif
