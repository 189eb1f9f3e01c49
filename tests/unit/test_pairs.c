// SPDX-License-Identifier: Apache-2.0
/* Runs of one seed are pairs by construction: whatever the rule and the width of the descending
 * stream, they begin with the same W and see the same mini-batches. */
#include <stdio.h>

#include "training.h"

enum { STEPS = 12 }; // three epochs of four: the order is new in each

static struct data data;
static float initial[1 << 13], weights[1 << 13];

/* The rates are 0, so that the loss of a mini-batch tells which examples it has. */
static struct tet_plan plan_of(enum tet_rule_name rule, uint32_t descending, uint64_t of_seed)
{
    struct tet_plan p = make_plan(rule, TET_CROSS_ENTROPY, 40, 10, 0.0f);
    add_layer(&p, 21, descending, TET_RELU);
    add_layer(&p, 13, descending == 21 ? 13 : descending, TET_TANH);
    p.gate = descending == 21;
    p.shuffle = true;
    p.seed = of_seed;
    p.epochs = 3;
    return p;
}

/* W of all layers, row by row; then the losses, one a step. */
static void follow_run(const struct tet_plan *p, float *w, double *losses)
{
    struct tet_trainer *t = make(p, &data, NULL);
    size_t used = 0;
    for (uint32_t l = 1; l <= 3; l++) {
        struct tet_tensor tensor;
        char name[8];
        snprintf(name, sizeof name, "W%u", l);
        tet_trainer_tensor(t, index_of(t, name), &tensor);
        assert_true(used + tensor.n <= COUNT(initial));
        tet_trainer_get(t, index_of(t, name), w + used);
        used += tensor.n;
    }
    assert_int_equal(used, 17 * 21 + 21 * 13 + 13 * 5);
    for (uint64_t step = 1; step <= STEPS; step++) {
        while (tet_trainer_cursor(t).step < step)
            (void)tet_trainer_step(t);
        losses[step - 1] = tet_trainer_loss(t);
    }
    tet_trainer_destroy(t);
}

static void paired(void **state)
{
    (void)state;
    static const uint32_t widths[] = {21, 5, 64};
    double expected[STEPS], losses[STEPS];
    make_data(&data, 60, 40, 0, 17, 5, true);
    struct tet_plan p = plan_of(TET_RULE_BP, 21, 3);
    follow_run(&p, initial, expected);
    int compared = 0;
    for (int rule = 0; rule < TET_RULES; rule++)
        for (size_t k = 0; k < COUNT(widths); k++) {
            p = plan_of((enum tet_rule_name)rule, widths[k], 3);
            if (tet_plan_check(&p, &data.set.shape, NULL) != TET_OK)
                continue; // a rule without laterals has one width
            memset(weights, 0, sizeof weights);
            follow_run(&p, weights, losses);
            if (memcmp(weights, initial, sizeof weights) != 0)
                fail_msg("%s, %u descending: another W", tet_rule_info(p.rule)->name, widths[k]);
            for (int i = 0; i < STEPS; i++)
                if (!same_double(losses[i], expected[i]))
                    fail_msg("%s, %u descending: loss %.17g of mini-batch %d, expected %.17g",
                             tet_rule_info(p.rule)->name, widths[k], losses[i], i + 1, expected[i]);
            compared++;
        }
    assert_true(compared >= TET_RULES + 2); // sal with all widths
    p = plan_of(TET_RULE_BP, 21, 4);
    follow_run(&p, weights, losses);
    assert_memory_not_equal(weights, initial, sizeof weights);
    for (int i = 0; i < STEPS; i++)
        assert_false(same_double(losses[i], expected[i]));
    for (int i = 0; i < 4; i++) // the epochs' orders differ
        assert_false(same_double(expected[i], expected[i + 4]));
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {cmocka_unit_test(paired)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
