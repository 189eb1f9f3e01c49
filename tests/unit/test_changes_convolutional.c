// SPDX-License-Identifier: Apache-2.0
/* Convolutional networks whose rates are normalised, drives centred or clipped, learned groups
 * scaled. */
#include <stdio.h>

#include "naive_convolution.h"

static struct data data;

enum { CHANNELS = 2, ROWS = 7, COLUMNS = 6, INPUTS = CHANNELS * ROWS * COLUMNS, OUTPUTS = 4 };

/* 50 examples in batches of 35, which lie in 48 columns, and of 15, in 16 of them. */
static struct tet_plan plan_of(enum tet_rule_name rule, unsigned how)
{
    struct tet_plan p = make_plan(rule, TET_CROSS_ENTROPY, 50, 35, 0.005f);
    p.epochs = 2;
    p.schedule = (struct tet_schedule_plan){TET_SCHEDULE_STEP, 1, {1}, 0.5f};
    p.momentum = how % 2 ? 0.5f : 0.0f;
    p.n_test = 9;
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g].decay = 0.01f + 0.02f * (float)g;
    p.group[TET_B].scale = 0.5f; // many windows meet on the way down
    set_changes(&p, how);
    make_data(&data, 60, 50, 11, INPUTS, OUTPUTS, true);
    make_images(&data, CHANNELS, ROWS, COLUMNS);
    return p;
}

static void add_padded(struct tet_plan *p)
{
    add_convolution(p, 6, 6, TET_RELU, 3, 2, 1);
    add_convolution(p, 5, 5, TET_TANH, 2, 1, 1);
    add_layer(p, 7, 7, TET_RELU);
}

static void add_pooled(struct tet_plan *p)
{
    add_convolution(p, 5, 5, TET_TANH, 3, 1, 1);
    add_pool(p, TET_POOL_MAX, 3, 1);
    add_convolution(p, 6, 6, TET_RELU, 2, 2, 1);
    add_pool(p, TET_POOL_AVG, 2, 1);
}

static void add_unequal(struct tet_plan *p) // descending channels of its own
{
    p->gate = false;
    add_convolution(p, 5, 8, TET_RELU, 3, 2, 2);
    add_pool(p, TET_POOL_AVG, 2, 2);
    add_convolution(p, 6, 3, TET_RELU, 2, 1, 0);
    add_layer(p, 5, 9, TET_TANH);
}

static void rules_follow_their_equations(void **state)
{
    (void)state;
    for (unsigned how = 1; how < CHANGE_PLANS; how++)
        for (int rule = 0; rule < TET_RULES; rule++)
            for (int pool = 0; pool < 2; pool++) {
                char what[80];
                struct tet_plan p = plan_of((enum tet_rule_name)rule, how);
                (pool ? add_pooled : add_padded)(&p);
                if ((how + (unsigned)rule) % 3 == 0)
                    make_sparse(&p);
                snprintf(what, sizeof what, "%s, %s, changes %u", tet_rule_info(p.rule)->name,
                         pool ? "pooled" : "padded", how);
                follow(what, &p, &data);
            }
}

static void unequal_descending_channels(void **state)
{
    (void)state;
    for (unsigned how = 1; how < CHANGE_PLANS; how++) {
        struct tet_plan p = plan_of(TET_RULE_SAL, how);
        add_unequal(&p);
        follow("unequal descending channels", &p, &data);
    }
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_follow_their_equations),
        cmocka_unit_test(unequal_descending_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
