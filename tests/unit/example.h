// SPDX-License-Identifier: Apache-2.0
/* What the trainer's tests train on: datasets of random values, and plans. */
#ifndef TESTS_EXAMPLE_H
#define TESTS_EXAMPLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <tetrad/trainer.h>

#include "random.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- datasets ---- */

enum { CAPACITY = 1 << 16 };

struct data {
    struct tet_dataset set;
    float x[CAPACITY], test_x[CAPACITY];
    float t[CAPACITY], test_t[CAPACITY];
    uint8_t bytes[CAPACITY];
    int32_t labels[1024], test_labels[1024];
};

static inline void fill_part(float *x, float *t, int32_t *labels, uint32_t n, uint32_t inputs,
                             uint32_t outputs)
{
    for (size_t i = 0; i < (size_t)n * inputs; i++)
        x[i] = uniform() * 1.7f;
    for (size_t i = 0; i < (size_t)n * outputs; i++)
        t[i] = uniform();
    for (size_t i = 0; i < n; i++)
        labels[i] = (int32_t)(draw() % outputs);
}

/* The examples are images. */
static inline void make_images(struct data *d, uint32_t channels, uint32_t rows, uint32_t columns)
{
    assert_int_equal(channels * rows * columns, d->set.shape.inputs);
    d->set.shape.channels = channels;
    d->set.shape.rows = rows;
    d->set.shape.columns = columns;
}

/* Random float examples; with labels or targets. */
static inline void make_data(struct data *d, uint64_t from, uint32_t n, uint32_t n_test,
                             uint32_t inputs, uint32_t outputs, bool labelled)
{
    draws = from << 32;
    const uint32_t most = n > n_test ? n : n_test;
    assert_true(most * inputs <= CAPACITY && most * outputs <= CAPACITY && most <= 1024);
    fill_part(d->x, d->t, d->labels, n, inputs, outputs);
    fill_part(d->test_x, d->test_t, d->test_labels, n_test, inputs, outputs);
    d->set = (struct tet_dataset){
        .shape = {inputs, outputs, 1, 1, inputs},
        .train = {n, NULL, d->x, labelled ? d->labels : NULL, labelled ? NULL : d->t},
    };
    if (n_test > 0)
        d->set.test = (struct tet_examples){
            n_test, NULL, d->test_x, labelled ? d->test_labels : NULL, labelled ? NULL : d->test_t};
}

/* ---- plans ---- */

static inline void add_layer(struct tet_plan *p, uint32_t units, uint32_t descending,
                             enum tet_activation activation)
{
    p->hidden[p->n_hidden++] = (struct tet_layer_plan){
        .units = units, .descending_units = descending, .activation = activation};
}

static inline void add_convolution(struct tet_plan *p, uint32_t units, uint32_t descending,
                                   enum tet_activation activation, uint32_t kernel, uint32_t stride,
                                   uint32_t padding)
{
    p->hidden[p->n_hidden++] = (struct tet_layer_plan){.units = units,
                                                       .descending_units = descending,
                                                       .activation = activation,
                                                       .type = TET_CONV2D,
                                                       .kernel = kernel,
                                                       .stride = stride,
                                                       .padding = padding};
}

/* Of the layer added last. */
static inline void add_pool(struct tet_plan *p, enum tet_pool pool, uint32_t size, uint32_t stride)
{
    struct tet_layer_plan *layer = &p->hidden[p->n_hidden - 1];
    layer->pool = pool;
    layer->pool_size = size;
    layer->pool_stride = stride;
}

/* Another share of the synapses for each group. */
static inline void make_sparse(struct tet_plan *p)
{
    for (int g = 0; g < TET_GROUPS; g++)
        p->group[g].probability = 0.8f - 0.15f * (float)g;
}

/* What a circuit has besides its rule: each alone, then all that go together. */
static const struct circuit {
    const char *name;
    struct tet_noise_plan noise;
    struct tet_delay_plan delay;
    bool top_down, sparse;
    enum tet_init init;
    float excitatory;
} circuits[] = {
    {"log-normal", .init = TET_INIT_LOG_NORMAL},
    {"dale", .excitatory = 0.6f},
    {"sparse dale", .excitatory = 0.4f, .sparse = true, .init = TET_INIT_UNIFORM},
    {"noise on activity", .noise = {.activity = 0.2f}},
    {"noise on teaching", .noise = {.teaching = 0.3f}},
    {"noise on synapses", .noise = {.synapses = 0.01f}},
    {"sparse, with noise", .noise = {.synapses = 0.02f}, .sparse = true},
    {"delay 1", .delay = {1, true}},
    {"delay 3", .delay = {3, true}},
    {"signal's delay 1", .delay = {1, false}},
    {"signal's delay 3", .delay = {3, false}},
    {"top down", .top_down = true},
    {"top down, signal's delay 2", .top_down = true, .delay = {2, false}},
    {"all, at once", {0.1f, 0.2f, 0.01f}, {2, true}, false, true, TET_INIT_LOG_NORMAL, 0.5f},
    {"all, top down", {0.1f, 0.2f, 0.01f}, {2, false}, true, true, TET_INIT_UNIFORM, 0.5f},
};

static inline void set_circuit(struct tet_plan *p, const struct circuit *c)
{
    p->noise = c->noise;
    p->delay = c->delay;
    p->top_down = c->top_down;
    if (c->sparse)
        make_sparse(p);
    for (int g = 0; g < TET_GROUPS; g++) {
        p->group[g].init = c->init;
        p->group[g].excitatory = c->excitatory;
    }
}

/* The ways in which drives become changes, each by itself and together; 0: none. */
enum { CHANGE_PLANS = 7 }; // 0: none

static inline void set_changes(struct tet_plan *p, unsigned how)
{
    if (how == 1 || how >= 5)
        p->normalize = TET_NORMALIZE_STAGE;
    if (how == 2 || how >= 5)
        p->center = true;
    if (how == 3 || how == 6)
        p->homeostasis = 0.02f;
    if (how == 4 || how >= 5)
        p->clip = 0.1f; // below some of the drives' norms and above others
}

/* No hidden layer yet; trains on all of n_train in the dataset's order. */
static inline struct tet_plan make_plan(enum tet_rule_name rule, enum tet_loss loss,
                                        uint32_t n_train, uint32_t batch, float lr)
{
    struct tet_plan p = {.loss = loss,
                         .rule = rule,
                         .gate = true,
                         .schedule = {.factor = 1.0f},
                         .epochs = 1,
                         .batch = batch,
                         .mirror = {.every = 3, .batches = 2, .noise = 0.7f},
                         .seed = 7,
                         .n_train = n_train};
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g] = (struct tet_group_plan){
            .lr = lr, .scale = g == TET_V || g == TET_U ? 0.5f : 1.0f, .plastic = true};
    return p;
}

/* 23 examples in batches of 6: the last has 5; 6 epochs of 4 steps. */
static inline struct tet_plan small_plan(enum tet_rule_name rule, enum tet_loss loss,
                                         enum tet_activation activation, float momentum)
{
    struct tet_plan p = make_plan(rule, loss, 23, 6, 0.05f);
    add_layer(&p, 9, 9, activation);
    add_layer(&p, 7, 7, activation);
    p.epochs = 6;
    p.schedule = (struct tet_schedule_plan){TET_SCHEDULE_STEP, 2, {2, 4}, 0.5f};
    p.momentum = momentum;
    p.n_validation = 8;
    p.n_test = 9;
    p.record_every = 1;
    p.record_alignment = true;
    for (int g = 0; g < TET_GROUPS; g++) {
        p.group[g].decay = 0.01f + 0.02f * (float)g;
        p.group[g].lr = (loss == TET_MSE ? 0.4f : 1.0f) * (0.05f - 0.01f * (float)g);
    }
    return p;
}

/* 61 examples in batches of 13: the last has 9; dense variants, then convolutional ones. */
enum { ODD_DENSE = 3, ODD_PLANS = 5 };

static inline struct tet_plan odd_plan(enum tet_rule_name rule, int variant)
{
    struct tet_plan p = make_plan(rule, variant % 2 ? TET_MSE : TET_CROSS_ENTROPY, 61, 13,
                                  variant < ODD_DENSE ? 0.03f : 0.003f);
    const enum tet_activation phi = variant % 2 ? TET_TANH : TET_RELU;
    const bool other = rule == TET_RULE_SAL && (variant == 2 || variant == 4);
    if (variant < ODD_DENSE) {
        add_layer(&p, 65, other ? 31 : 65, phi);
        add_layer(&p, 19, other ? 70 : 19, variant == 0 ? TET_RELU : TET_TANH);
    } else if (variant == 3) {
        add_convolution(&p, 5, 5, phi, 3, 1, 1);
        add_pool(&p, TET_POOL_MAX, 2, 2);
        add_convolution(&p, 6, 6, phi, 2, 1, 1);
        add_layer(&p, 19, 19, TET_RELU);
    } else {
        add_convolution(&p, 5, other ? 7 : 5, phi, 3, 1, 2);
        add_pool(&p, TET_POOL_AVG, 3, 2);
        add_convolution(&p, 6, other ? 3 : 6, TET_TANH, 2, 2, 1);
    }
    p.gate = !other;
    p.momentum = variant == 1 ? 0.0f : 0.7f;
    p.shuffle = true;
    p.standardize = (enum tet_standardize)(variant % 3);
    p.n_validation = 9;
    p.n_test = 30;
    p.record_every = 2;
    p.record_alignment = true;
    for (int g = 0; g < TET_GROUPS; g++) {
        p.group[g].decay = 0.01f;
        p.group[g].init = (enum tet_init)(variant % 2);
    }
    if (variant == 2 || variant == 3)
        make_sparse(&p);
    p.record_assembly = p.record_spectrum = variant >= 2;
    p.record_activity = variant % 2 == 0;
    p.trace_group[TET_W] = p.trace_group[TET_V] = variant % 2 != 0;
    p.traces = 3;
    p.augment_crop = variant == 3;
    p.augment_flip = variant >= ODD_DENSE;
    return p;
}

/* What an odd plan trains on. */
static inline void odd_data(struct data *d, uint64_t from, int variant)
{
    make_data(d, from, 70, 31, variant < ODD_DENSE ? 37 : 2 * 7 * 6, 11, true);
    if (variant >= ODD_DENSE)
        make_images(d, 2, 7, 6);
}

#endif
