// SPDX-License-Identifier: Apache-2.0
/* Log-normal weights, Dale's rule, noise, delay and the order of changes in convolutional networks:
 * they follow the naive one with each of them and with all. */
#include <stdio.h>

#include "naive_convolution.h"

static struct data data;

/* 20 examples in mini-batches of 6: the last has 2. */
static struct tet_plan plan_of(enum tet_rule_name rule, int variant)
{
    const bool other = rule == TET_RULE_SAL && variant == 1;
    struct tet_plan p = make_plan(rule, TET_CROSS_ENTROPY, 20, 6, 0.01f);
    add_convolution(&p, 5, other ? 3 : 5, TET_RELU, 3, 1, 1);
    add_pool(&p, variant == 0 ? TET_POOL_MAX : TET_POOL_AVG, 2, 1 + (uint32_t)variant);
    add_convolution(&p, 4, other ? 6 : 4, TET_TANH, 2, 1, 1);
    if (variant == 0)
        add_layer(&p, 7, 7, TET_RELU);
    p.gate = !other;
    p.momentum = variant == 0 ? 0.5f : 0.0f;
    p.epochs = 2;
    p.n_validation = p.n_test = 1;
    p.record_every = 2;
    p.record_alignment = true;
    return p;
}

static void rules_follow_their_equations(void **state)
{
    (void)state;
    static const int rules[] = {TET_RULE_BP, TET_RULE_KP, TET_RULE_SAL, TET_RULE_BRSF};
    for (size_t i = 0; i < COUNT(circuits); i++)
        for (size_t r = 0; r < COUNT(rules); r++)
            for (int variant = 0; variant < 2; variant++) {
                char what[80];
                struct tet_plan p = plan_of((enum tet_rule_name)rules[r], variant);
                snprintf(what, sizeof what, "%s, %s, variant %d", circuits[i].name,
                         tet_rule_info(p.rule)->name, variant);
                set_circuit(&p, &circuits[i]);
                make_data(&data, 60, 22, 0, 2 * 5 * 4, 4, true);
                make_images(&data, 2, 5, 4);
                follow(what, &p, &data);
            }
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_follow_their_equations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
