// SPDX-License-Identifier: Apache-2.0
/* Plans: what tet_plan_check refuses, how long a run is, its rates, and the table of rules. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <tetrad/plan.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const struct tet_shape shape = {.inputs = 784, .outputs = 10};

static struct tet_plan good_plan(void)
{
    struct tet_plan p = {
        .hidden = {{.units = 256, .descending_units = 256, .activation = TET_RELU},
                   {.units = 128, .descending_units = 128, .activation = TET_TANH}},
        .n_hidden = 2,
        .rule = TET_RULE_SAL,
        .gate = true,
        .momentum = 0.9f,
        .schedule = {.type = TET_SCHEDULE_STEP, .n_epochs = 2, .epochs = {3, 5}, .factor = 0.1f},
        .epochs = 6,
        .batch = 64,
        .n_train = 1000,
        .record_every = 10,
        .record_alignment = true};
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g] =
            (struct tet_group_plan){.lr = 0.1f, .decay = 0.001f, .scale = 1.0f, .plastic = true};
    return p;
}

static void accepted(const char *what, const struct tet_plan *p, const struct tet_shape *s)
{
    struct tet_error error = {0};
    if (tet_plan_check(p, s, &error) != TET_OK || error.err != TET_OK)
        fail_msg("%s: refused: %s", what, error.message);
}

static void refused(const char *what, const struct tet_plan *p, const struct tet_shape *s,
                    const char *word)
{
    struct tet_error error = {0};
    const enum tet_err err = tet_plan_check(p, s, &error);
    if (err != TET_BAD_DEFINITION || error.err != TET_BAD_DEFINITION)
        fail_msg("%s: got %d, expected %d", what, (int)err, (int)TET_BAD_DEFINITION);
    if (strstr(error.message, word) == NULL)
        fail_msg("%s: message \"%s\" does not speak of \"%s\"", what, error.message, word);
    assert_int_equal(tet_plan_check(p, s, NULL), TET_BAD_DEFINITION);
}

/* One fault in an otherwise good plan. */
#define REFUSED(change, word)                                                                      \
    do {                                                                                           \
        struct tet_plan p = good_plan();                                                           \
        change;                                                                                    \
        refused(#change, &p, &shape, word);                                                        \
    } while (0)

#define ACCEPTED(change)                                                                           \
    do {                                                                                           \
        struct tet_plan p = good_plan();                                                           \
        change;                                                                                    \
        accepted(#change, &p, &shape);                                                             \
    } while (0)

static void faults(void **state)
{
    (void)state;
    const struct tet_plan good = good_plan();
    accepted("good", &good, &shape);
    REFUSED(p.rule = TET_RULES, "rule");
    REFUSED(p.rule = (enum tet_rule_name)77, "rule");
    REFUSED(p.n_hidden = TET_MAX_HIDDEN + 1, "hidden");
    REFUSED(p.n_hidden = UINT32_MAX, "hidden");
    REFUSED(p.hidden[0].units = 0, "hidden layer 1");
    REFUSED(p.hidden[1].units = TET_MAX_UNITS + 1, "hidden layer 2");
    REFUSED(p.hidden[1].descending_units = 0, "hidden layer 2");
    REFUSED(p.hidden[1].descending_units = TET_MAX_UNITS + 1, "hidden layer 2");
    REFUSED(p.hidden[1].descending_units = 127, "hidden layer 2");
    REFUSED((p.hidden[1].descending_units = 127, p.gate = false, p.rule = TET_RULE_KP), "layer 2");
    REFUSED((p.gate = false, p.rule = TET_RULE_BP), "bp");
    for (int g = 0; g < TET_GROUPS; g++) {
        const char *const name = tet_group_name((enum tet_group)g);
        static const float bad[] = {-1.0f, NAN, INFINITY, -INFINITY, 2e30f};
        for (size_t i = 0; i < COUNT(bad); i++) {
            REFUSED(p.group[g].lr = bad[i], name);
            REFUSED(p.group[g].decay = bad[i], name);
            REFUSED(p.group[g].scale = bad[i], name);
            REFUSED(p.group[g].probability = bad[i], name);
        }
        REFUSED(p.group[g].excitatory = NAN, name);
        REFUSED(p.group[g].excitatory = -0.5f, name);
        REFUSED(p.group[g].excitatory = 1.0f, name);
        REFUSED(p.group[g].probability = 1.001f, name);
        ACCEPTED(p.group[g].probability = 0.001f);
    }
    REFUSED(p.noise.activity = -0.1f, "noise");
    REFUSED(p.noise.teaching = NAN, "noise");
    REFUSED(p.noise.synapses = INFINITY, "noise");
    REFUSED(p.delay.batches = TET_MAX_DELAY + 1, "delay");
    REFUSED((p.delay = (struct tet_delay_plan){1, true}, p.top_down = true), "top down");
    REFUSED((p.delay = (struct tet_delay_plan){1, true}, p.batch = p.n_train = TET_MAX_BATCH,
             p.hidden[0].units = p.hidden[0].descending_units = TET_MAX_UNITS),
            "delay");
    const struct tet_mirror_plan mirror = {.every = 1, .batches = TET_MAX_MIRROR, .noise = 0.0f};
    ACCEPTED((p.rule = TET_RULE_WM, p.mirror = mirror));
    REFUSED(p.rule = TET_RULE_WM, "mirror");
    REFUSED((p.rule = TET_RULE_WM, p.mirror = mirror, p.mirror.every = 0), "mirror");
    REFUSED((p.rule = TET_RULE_WM, p.mirror = mirror, p.mirror.every = TET_MAX_MIRROR + 1),
            "mirror");
    REFUSED((p.rule = TET_RULE_WM, p.mirror = mirror, p.mirror.batches = 0), "mirror");
    REFUSED((p.rule = TET_RULE_WM, p.mirror = mirror, p.mirror.batches = UINT32_MAX), "mirror");
    REFUSED((p.rule = TET_RULE_WM, p.mirror = mirror, p.mirror.noise = NAN), "mirror");
    REFUSED((p.rule = TET_RULE_WM, p.mirror = mirror, p.mirror.noise = -1.0f), "mirror");
    REFUSED(p.momentum = 1.0f, "momentum");
    REFUSED(p.momentum = -0.1f, "momentum");
    REFUSED(p.momentum = NAN, "momentum");
    REFUSED(p.batch = 0, "batch");
    REFUSED((p.batch = TET_MAX_BATCH + 1, p.n_train = TET_MAX_BATCH + 1), "batch");
    REFUSED(p.batch = 1001, "batch");
    REFUSED(p.n_train = 0, "batch");
    REFUSED(p.epochs = 0, "epochs");
    REFUSED(p.schedule.n_epochs = TET_MAX_DROPS + 1, "schedule");
    REFUSED(p.schedule.factor = 1.5f, "factor");
    REFUSED(p.schedule.factor = -0.5f, "factor");
    REFUSED(p.schedule.factor = NAN, "factor");
}

static void bounds(void **state)
{
    (void)state;
    ACCEPTED(p.n_hidden = 0);
    ACCEPTED(p.batch = 1);
    ACCEPTED(p.batch = p.n_train);
    ACCEPTED((p.batch = TET_MAX_BATCH, p.n_train = TET_MAX_BATCH));
    ACCEPTED((p.delay = (struct tet_delay_plan){TET_MAX_DELAY, true}));
    ACCEPTED((p.delay = (struct tet_delay_plan){1, false}, p.top_down = true));
    ACCEPTED((p.delay.eligibility = true, p.top_down = true)); // of no delay
    ACCEPTED(p.group[TET_U].excitatory = 0.999f);
    ACCEPTED(p.noise = ((struct tet_noise_plan){1e30f, 0.0f, 1.0f}));
    ACCEPTED(p.momentum = 0.0f);
    ACCEPTED(p.momentum = 0.999f);
    ACCEPTED(p.group[TET_W].lr = 0.0f);
    ACCEPTED(p.group[TET_W].lr = 1e30f);
    ACCEPTED(
        (p.gate = false, p.hidden[0].descending_units = 1, p.hidden[1].descending_units = 999));
    ACCEPTED((p.gate = false, p.rule = TET_RULE_KP));
    ACCEPTED((p.gate = false, p.rule = TET_RULE_FA));
    ACCEPTED(p.schedule.factor = 0.0f);
    ACCEPTED(p.schedule.factor = 1.0f);
    ACCEPTED(p.n_train = UINT32_MAX);
    ACCEPTED(p.epochs = UINT32_MAX);
}

/* Values that would be used as an index or fall through every case. */
static void unknown_names(void **state)
{
    (void)state;
    REFUSED(p.hidden[1].activation = (enum tet_activation)3, "activation");
    REFUSED(p.loss = (enum tet_loss)2, "loss");
    REFUSED(p.group[TET_V].init = (enum tet_init)4, "init");
    REFUSED(p.schedule.type = (enum tet_schedule_type)3, "schedule");
    REFUSED(p.standardize = (enum tet_standardize)3, "standardi");
}

static void shapes(void **state)
{
    (void)state;
    static const struct tet_shape bad[] = {{.inputs = 0, .outputs = 10},
                                           {.inputs = 784, .outputs = 0},
                                           {.inputs = TET_MAX_UNITS + 1, .outputs = 10},
                                           {.inputs = 784, .outputs = TET_MAX_UNITS + 1},
                                           {.inputs = UINT32_MAX, .outputs = 10}};
    const struct tet_plan p = good_plan();
    for (size_t i = 0; i < COUNT(bad); i++)
        refused("shape", &p, &bad[i], "puts");
    accepted("smallest", &p, &(struct tet_shape){.inputs = 1, .outputs = 1});
    accepted("largest", &p, &(struct tet_shape){.inputs = TET_MAX_UNITS, .outputs = TET_MAX_UNITS});
}

/* ---- convolutions ---- */

static const struct tet_shape image = {
    .inputs = 3 * 28 * 20, .outputs = 10, .channels = 3, .rows = 28, .columns = 20};

/* 8 channels of 14 x 10, pooled to 7 x 5; 16 of 4 x 3; a dense layer. */
static struct tet_plan convolutional(void)
{
    struct tet_plan p = good_plan();
    p.n_hidden = 3;
    p.hidden[0] = (struct tet_layer_plan){.units = 8,
                                          .descending_units = 8,
                                          .type = TET_CONV2D,
                                          .kernel = 5,
                                          .stride = 2,
                                          .padding = 2,
                                          .pool = TET_POOL_MAX,
                                          .pool_size = 2,
                                          .pool_stride = 2};
    p.hidden[1] = (struct tet_layer_plan){.units = 16,
                                          .descending_units = 16,
                                          .type = TET_CONV2D,
                                          .kernel = 3,
                                          .stride = 2,
                                          .padding = 1};
    p.hidden[2] = (struct tet_layer_plan){.units = 32, .descending_units = 32};
    return p;
}

static void window_counts(void **state)
{
    (void)state;
    static const struct {
        uint32_t n, kernel, stride, padding, expected;
    } cases[] = {{28, 5, 1, 2, 28},
                 {28, 5, 2, 2, 14},
                 {28, 2, 2, 0, 14},
                 {27, 2, 2, 0, 13},
                 {5, 5, 3, 0, 1},
                 {4, 5, 1, 0, 0},
                 {4, 5, 1, 1, 2},
                 {1, 1, 64, 0, 1},
                 {1, 64, 1, 63, 64},
                 {7, 3, 5, 0, 1},
                 {8, 3, 5, 0, 2},
                 {0, 1, 1, 0, 0},
                 {UINT32_MAX, 1, 1, 0, UINT32_MAX}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const uint32_t got =
            tet_window_count(cases[i].n, cases[i].kernel, cases[i].stride, cases[i].padding);
        if (got != cases[i].expected)
            fail_msg("window %u over %u, stride %u, padding %u: got %u, expected %u",
                     cases[i].kernel, cases[i].n, cases[i].stride, cases[i].padding, got,
                     cases[i].expected);
    }
}

static void check_grid(const struct tet_plan *p, const struct tet_shape *s, uint32_t l,
                       struct tet_grid expected)
{
    const struct tet_grid g = tet_plan_grid(p, s, l);
    if (memcmp(&g, &expected, sizeof g) != 0)
        fail_msg("layer %u: got %u x %u x %u, pooled %u x %u; expected %u x %u x %u, pooled %u x "
                 "%u",
                 l, g.channels, g.rows, g.columns, g.pooled_rows, g.pooled_columns,
                 expected.channels, expected.rows, expected.columns, expected.pooled_rows,
                 expected.pooled_columns);
}

static void grids(void **state)
{
    (void)state;
    const struct tet_plan p = convolutional(), dense = good_plan();
    accepted("convolutional", &p, &image);
    check_grid(&p, &image, 0, (struct tet_grid){3, 28, 20, 28, 20});
    check_grid(&p, &image, 1, (struct tet_grid){8, 14, 10, 7, 5});
    check_grid(&p, &image, 2, (struct tet_grid){16, 4, 3, 4, 3});
    check_grid(&p, &image, 3, (struct tet_grid){32, 1, 1, 1, 1});
    check_grid(&p, &image, 4, (struct tet_grid){10, 1, 1, 1, 1});
    check_grid(&dense, &shape, 0, (struct tet_grid){784, 1, 1, 1, 1});
    check_grid(&dense, &shape, 2, (struct tet_grid){128, 1, 1, 1, 1});
    check_grid(&dense, &shape, 3, (struct tet_grid){10, 1, 1, 1, 1});
}

/* One change to the convolutional plan, and to the shape of its images. */
#define CONVOLUTION_REFUSED(change, word)                                                          \
    do {                                                                                           \
        struct tet_plan p = convolutional();                                                       \
        struct tet_shape s = image;                                                                \
        change;                                                                                    \
        s.outputs = image.outputs;                                                                 \
        refused(#change, &p, &s, word);                                                            \
    } while (0)

#define CONVOLUTION_ACCEPTED(change)                                                               \
    do {                                                                                           \
        struct tet_plan p = convolutional();                                                       \
        struct tet_shape s = image;                                                                \
        change;                                                                                    \
        s.outputs = image.outputs;                                                                 \
        accepted(#change, &p, &s);                                                                 \
    } while (0)

static void convolutions(void **state)
{
    (void)state;
    CONVOLUTION_REFUSED(p.hidden[0].type = (enum tet_layer_type)2, "hidden layer 1: type");
    CONVOLUTION_REFUSED(p.hidden[0].type = TET_DENSE, "hidden layer 1: a dense layer cannot");
    CONVOLUTION_REFUSED((p.hidden[0].type = TET_DENSE, p.hidden[0].pool = TET_POOL_NONE),
                        "hidden layer 2: a convolution above");
    CONVOLUTION_REFUSED(s.channels = 4, "needs images");
    CONVOLUTION_REFUSED(s.channels = s.rows = s.columns = 0, "needs images");
    CONVOLUTION_REFUSED((s.channels = UINT32_MAX, s.rows = UINT32_MAX, s.columns = UINT32_MAX),
                        "needs images");
    CONVOLUTION_REFUSED(p.hidden[0].kernel = 0, "kernel 0");
    CONVOLUTION_REFUSED(p.hidden[0].kernel = TET_MAX_WINDOW + 1, "kernel 65");
    CONVOLUTION_REFUSED(p.hidden[0].stride = 0, "stride 0");
    CONVOLUTION_REFUSED(p.hidden[0].stride = TET_MAX_WINDOW + 1, "stride 65");
    CONVOLUTION_REFUSED(p.hidden[0].padding = 5, "padding 5");
    CONVOLUTION_REFUSED(p.hidden[0].padding = UINT32_MAX, "padding");
    CONVOLUTION_REFUSED(p.hidden[0].pool = (enum tet_pool)3, "pool 3");
    CONVOLUTION_REFUSED(p.hidden[0].pool_size = 0, "size 0");
    CONVOLUTION_REFUSED(p.hidden[0].pool_size = TET_MAX_WINDOW + 1, "size 65");
    CONVOLUTION_REFUSED(p.hidden[0].pool_stride = 0, "stride 0");
    CONVOLUTION_REFUSED(p.hidden[0].pool_stride = TET_MAX_WINDOW + 1, "stride 65");
    CONVOLUTION_REFUSED((p.gate = false, p.hidden[0].descending_units = 7), "maximum");
    CONVOLUTION_REFUSED(p.hidden[1].descending_units = 7, "hidden layer 2: units 16");
    CONVOLUTION_REFUSED(p.hidden[1].activation = (enum tet_activation)3, "hidden layer 2");
    CONVOLUTION_REFUSED(p.hidden[0].pool_size = 11, "hidden layer 1: its window does not fit");
    CONVOLUTION_REFUSED((p.hidden[1].kernel = 8, p.hidden[1].padding = 1),
                        "does not fit the 7 x 5");
    CONVOLUTION_REFUSED(p.hidden[0].units = p.hidden[0].descending_units = TET_MAX_UNITS,
                        "too many"); // activities
    CONVOLUTION_REFUSED(
        (p.gate = false, p.hidden[1].kernel = 5, p.hidden[1].descending_units = TET_MAX_UNITS),
        "too many"); // synapses
    CONVOLUTION_ACCEPTED(p.hidden[0].padding = 4);
    CONVOLUTION_ACCEPTED(p.hidden[0].pool_size = 10);
    CONVOLUTION_ACCEPTED((p.hidden[1].kernel = 7, p.hidden[1].padding = 1));
    CONVOLUTION_ACCEPTED((p.hidden[0].pool = TET_POOL_NONE, p.hidden[0].pool_size = 0));
    CONVOLUTION_ACCEPTED((p.gate = false, p.hidden[0].pool = TET_POOL_AVG,
                          p.hidden[0].descending_units = 7, p.hidden[1].descending_units = 99));
    CONVOLUTION_ACCEPTED(p.n_hidden = 1);
}

/* Two for each multiplication and addition of the products, one example. */
static void flops(void **state)
{
    (void)state;
    struct tet_plan p = good_plan();
    const double dense[] = {784 * 256, 256 * 128, 128 * 10};
    p.rule = TET_RULE_BP; // up, down but for the first, change
    assert_true(tet_plan_flops(&p, &shape) == 2 * (2 * dense[0] + 3 * dense[1] + 3 * dense[2]));
    p.group[TET_W].plastic = false;
    assert_true(tet_plan_flops(&p, &shape) == 2 * (dense[0] + 2 * dense[1] + 2 * dense[2]));

    p = convolutional();
    const double z1 = 14 * 10, x1 = 7 * 5, z2 = 4 * 3; // positions
    const double w[] = {8 * 3 * 25 * z1, 16 * 8 * 9 * z2, 32 * 16 * z2, 10 * 32};
    p.rule = TET_RULE_BP;
    assert_true(tet_plan_flops(&p, &image) == 2 * (2 * w[0] + 3 * (w[1] + w[2] + w[3])));
    p.rule = TET_RULE_FA; // B carries down and does not change
    for (int g = TET_B; g <= TET_U; g++)
        p.group[g].plastic = false;
    assert_true(tet_plan_flops(&p, &image) == 2 * (2 * w[0] + 3 * (w[1] + w[2] + w[3])));
    p.rule = TET_RULE_DFA; // D carries down from the output
    const double direct = (8 * x1 + 16 * z2 + 32) * 10;
    p.group[TET_D].plastic = false;
    assert_true(tet_plan_flops(&p, &image) == 2 * (2 * (w[0] + w[1] + w[2] + w[3]) + direct));
    p.rule = TET_RULE_WM; // noise goes up and changes B, half a batch for each mini-batch
    p.group[TET_B].plastic = true;
    p.mirror = (struct tet_mirror_plan){.every = 10, .batches = 5, .noise = 1.0f};
    assert_true(tet_plan_flops(&p, &image) == 2 * (2 * w[0] + (3 + 1) * (w[1] + w[2] + w[3])));
    p.rule = TET_RULE_SAL;
    for (int g = TET_B; g <= TET_U; g++)
        p.group[g].plastic = true;
    const double v = 8 * 8 * z1 + 16 * 16 * z2 + 32 * 32; // V, and U where it changes
    const double u = 8 * 8 * x1 + 16 * 16 * z2 + 32 * 32; // U where it serves B
    assert_true(tet_plan_flops(&p, &image) ==
                2 * (2 * w[0] + 4 * (w[1] + w[2] + w[3]) + 3 * v + u));
}

/* The first fault stays. */
static void first_error_wins(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct tet_plan p = good_plan();
    p.batch = 0;
    assert_int_equal(tet_plan_check(&p, &shape, &error), TET_BAD_DEFINITION);
    struct tet_error first = error;
    p = good_plan();
    p.momentum = 7.0f;
    assert_int_equal(tet_plan_check(&p, &shape, &error), TET_BAD_DEFINITION);
    assert_string_equal(error.message, first.message);
}

static void steps(void **state)
{
    (void)state;
    static const struct {
        uint32_t n_train, batch, epochs;
        uint64_t max_steps, per_epoch, all;
    } cases[] = {
        {1000, 64, 6, 0, 16, 96},
        {1024, 64, 6, 0, 16, 96},
        {1025, 64, 6, 0, 17, 102},
        {64, 64, 1, 0, 1, 1},
        {65, 64, 1, 0, 2, 2},
        {1, 1, 3, 0, 1, 3},
        {1000, 64, 6, 95, 16, 95},
        {1000, 64, 6, 96, 16, 96},
        {1000, 64, 6, 97, 16, 96},
        {1000, 64, 6, 1, 16, 1},
        {1000, 64, 6, UINT64_MAX, 16, 96},
        {UINT32_MAX, 1, UINT32_MAX, 0, UINT32_MAX, (uint64_t)UINT32_MAX * UINT32_MAX},
        {UINT32_MAX, 2, 1, 0, UINT64_C(1) << 31, UINT64_C(1) << 31},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tet_plan p = good_plan();
        p.n_train = cases[i].n_train;
        p.batch = cases[i].batch;
        p.epochs = cases[i].epochs;
        p.max_steps = cases[i].max_steps;
        const uint64_t per_epoch = tet_plan_steps_per_epoch(&p), all = tet_plan_steps(&p);
        if (per_epoch != cases[i].per_epoch || all != cases[i].all)
            fail_msg("case %zu: got %llu and %llu, expected %llu and %llu", i,
                     (unsigned long long)per_epoch, (unsigned long long)all,
                     (unsigned long long)cases[i].per_epoch, (unsigned long long)cases[i].all);
    }
}

static void rate_is(const struct tet_plan *p, uint32_t epoch, double expected)
{
    const float got = tet_plan_rate(p, epoch);
    if (!(fabs((double)got - expected) <= 1.2e-7 * fabs(expected) + 1e-12))
        fail_msg("epoch %u: got %.9g, expected %.9g", epoch, (double)got, expected);
}

static void rates(void **state)
{
    (void)state;
    struct tet_plan p = good_plan();
    static const double drops[] = {1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01};
    for (uint32_t epoch = 0; epoch < COUNT(drops); epoch++)
        rate_is(&p, epoch, drops[epoch]);
    p.schedule.epochs[0] = 0; // at once
    rate_is(&p, 0, 0.1);
    p.schedule = (struct tet_schedule_plan){TET_SCHEDULE_STEP, 3, {2, 2, 2}, 0.5f};
    rate_is(&p, 1, 1.0);
    rate_is(&p, 2, 0.125);
    p.schedule = (struct tet_schedule_plan){.type = TET_SCHEDULE_STEP, .factor = 0.5f};
    rate_is(&p, 5, 1.0);
    p.schedule = (struct tet_schedule_plan){TET_SCHEDULE_CONSTANT, 1, {0}, 0.5f};
    rate_is(&p, 5, 1.0);
    static const float factors[] = {0.0f, 0.1f, 1.0f};
    static const uint32_t epochs[] = {1, 2, 15, 1000};
    for (size_t f = 0; f < COUNT(factors); f++)
        for (size_t e = 0; e < COUNT(epochs); e++)
            for (uint32_t epoch = 0; epoch < epochs[e]; epoch++) {
                p.epochs = epochs[e];
                p.schedule =
                    (struct tet_schedule_plan){.type = TET_SCHEDULE_COSINE, .factor = factors[f]};
                const double t = (double)epoch / epochs[e], rest = 1.0 - (double)factors[f];
                rate_is(&p, epoch,
                        (double)factors[f] + rest * (1.0 + cos(3.14159265358979323846 * t)) / 2.0);
            }
    p.epochs = 10;
    p.schedule.factor = 0.0f;
    assert_true(tet_plan_rate(&p, 0) == 1.0f);
}

/* Memory grows with every size, and does not overflow at the largest. */
static void memory(void **state)
{
    (void)state;
    const struct tet_plan good = good_plan();
    const uint64_t base = tet_plan_memory(&good, &shape);
    // W, b and velocity alone: two times 4 bytes for each weight of the four groups
    const uint64_t weights = 784 * 256 + 256 * 128 + 128 * 10 + // W
                             256 * 128 + 128 * 10 +             // B
                             2 * (256 * 256 + 128 * 128);       // V, U
    assert_true(base > 8 * weights);
    assert_true(base < 8 * weights * 2);
    struct tet_plan p = good;
    p.momentum = 0.0f;
    assert_true(tet_plan_memory(&p, &shape) + 4 * weights <= base);
    p = good;
    p.rule = TET_RULE_BP;
    assert_true(tet_plan_memory(&p, &shape) < base);
    p = good;
    p.batch = 4096;
    assert_true(tet_plan_memory(&p, &shape) > base);
    p = good;
    p.gate = false;
    p.n_hidden = TET_MAX_HIDDEN;
    p.batch = TET_MAX_BATCH;
    p.n_train = UINT32_MAX;
    p.shuffle = true;
    p.loss = TET_MSE;
    for (uint32_t l = 0; l < TET_MAX_HIDDEN; l++)
        p.hidden[l] = (struct tet_layer_plan){
            .units = TET_MAX_UNITS, .descending_units = TET_MAX_UNITS, .activation = TET_TANH};
    const struct tet_shape largest = {.inputs = TET_MAX_UNITS, .outputs = TET_MAX_UNITS};
    accepted("largest", &p, &largest);
    const double matrices = 65.0 + 64.0 + 2 * 64.0, each = 8.0 * TET_MAX_UNITS * TET_MAX_UNITS;
    const double expected = matrices * each, got = (double)tet_plan_memory(&p, &largest);
    if (!(got > expected && got < 1.2 * expected))
        fail_msg("got %g bytes, expected over %g", got, expected);
}

static void rule_table(void **state)
{
    (void)state;
    static const char *const names[TET_RULES] = {"bp",   "fa",   "kp",  "sal", "usf",
                                                 "frsf", "brsf", "dfa", "wm"};
    static const bool groups[TET_RULES][TET_GROUPS] = {
        {true},      {true, true}, {true, true}, {true, true, true, true},
        {true},      {true, true}, {true},       {[TET_W] = true, [TET_D] = true},
        {true, true}};
    for (int r = 0; r < TET_RULES; r++) {
        const struct tet_rule_info *info = tet_rule_info((enum tet_rule_name)r);
        assert_string_equal(info->name, names[r]);
        assert_memory_equal(info->group, groups[r], sizeof groups[r]);
        assert_int_equal(info->takes_gate, r != TET_RULE_BP);
        assert_int_equal(info->fixed[TET_B], r == TET_RULE_FA || r == TET_RULE_FRSF);
        assert_int_equal(info->fixed[TET_D], r == TET_RULE_DFA);
        assert_int_equal(info->mirrors, r == TET_RULE_WM);
        assert_true(*info->title != '\0' && *info->equation != '\0' && *info->source != '\0');
        assert_null(strchr(info->equation, '\n'));
    }
    for (int g = 0; g < TET_GROUPS; g++)
        assert_int_equal(tet_group_name((enum tet_group)g)[0], "WBVUD"[g]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults),
        cmocka_unit_test(bounds),
        cmocka_unit_test(unknown_names),
        cmocka_unit_test(shapes),
        cmocka_unit_test(window_counts),
        cmocka_unit_test(grids),
        cmocka_unit_test(convolutions),
        cmocka_unit_test(flops),
        cmocka_unit_test(first_error_wins),
        cmocka_unit_test(steps),
        cmocka_unit_test(rates),
        cmocka_unit_test(memory),
        cmocka_unit_test(rule_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
