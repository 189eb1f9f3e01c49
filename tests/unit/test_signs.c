// SPDX-License-Identifier: Apache-2.0
/*
 * The feedback that usf, frsf and brsf form from W: its signs are those of W transposed and its
 * magnitudes what they should be; brsf's are half-normal, drawn anew for every mini-batch, and the
 * same again for the same mini-batch.
 */
#include "network.h"
#include "philox.h"
#include "rules/rules.h"
#include "rules/signs.h"
#include "training.h"

static struct tet_net net;

static char *lay_out(enum tet_rule_name rule)
{
    struct tet_plan p = make_plan(rule, TET_CROSS_ENTROPY, 8, 4, 0.05f);
    add_layer(&p, 70, 70, TET_RELU);
    add_layer(&p, 90, 90, TET_TANH);
    const struct tet_shape shape = {.inputs = 12, .outputs = 5};
    memset(&net, 0, sizeof net);
    const size_t bytes = tet_net_layout(&net, &p, &shape, NULL);
    char *base = aligned_alloc(64, bytes);
    assert_non_null(base);
    memset(base, 0, bytes);
    tet_net_layout(&net, &p, &shape, base);
    net.kernels = &tet_kernels_scalar;
    tet_net_draw(&net);
    net.p[TET_W][3].w[0] = 0.0f; // W_3[0][0]
    net.n = p.batch;
    return base;
}

static float feedback(uint32_t l, size_t r, size_t c)
{
    const struct tet_packed *f = &net.feedback[l];
    return f->w[tet_packed_at(f->rows, f->columns, r, c)];
}

static float weight(enum tet_group g, uint32_t l, size_t r, size_t c)
{
    const struct tet_packed *p = &net.p[g][l];
    return p->w[tet_packed_at(p->rows, p->columns, r, c)];
}

static void signs_are_those_of_w(void **state)
{
    (void)state;
    for (int rule = TET_RULE_USF; rule <= TET_RULE_BRSF; rule++) {
        char *base = lay_out((enum tet_rule_name)rule);
        tet_rule_descend_by_signs(&net);
        for (uint32_t l = 2; l <= 3; l++)
            for (size_t r = 0; r < net.d[l - 1]; r++)
                for (size_t c = 0; c < net.d[l]; c++) {
                    const float f = feedback(l, r, c), w = weight(TET_W, l, c, r);
                    if ((f > 0.0f) != (w > 0.0f) || (f < 0.0f) != (w < 0.0f))
                        fail_msg("rule %d, layer %u: %g for a weight of %g", rule, l, (double)f,
                                 (double)w);
                    if (rule == TET_RULE_FRSF && w != 0.0f)
                        assert_true(fabsf(f) == fabsf(weight(TET_B, l, r, c)));
                }
        assert_true(feedback(3, 0, 0) == 0.0f);
        free(base);
    }
}

static void magnitudes_are_half_normal(void **state)
{
    (void)state;
    char *base = lay_out(TET_RULE_BRSF);
    double sum = 0.0, squares = 0.0, below = 0.0;
    const double spread = tet_net_spread(&net, 2);
    const size_t steps = 20, n = 70 * 90;
    for (net.step = 0; net.step < steps; net.step++) {
        tet_rule_descend_by_signs(&net);
        for (size_t r = 0; r < 70; r++)
            for (size_t c = 0; c < 90; c++) {
                const double x = fabs((double)feedback(2, r, c)) / spread;
                sum += x;
                squares += x * x;
                below += x < 0.67448975; // the quartile of the normal distribution
            }
    }
    const double all = (double)(steps * n); // standard errors: 0.0017, 0.004, 0.0014
    close_to("mean", 0, 0, sum / all, sqrt(2.0 / 3.14159265358979), 0.007);
    close_to("mean square", 0, 0, squares / all, 1.0, 0.016);
    close_to("median", 0, 0, below / all, 0.5, 0.006);
    free(base);
}

static void drawn_anew_for_every_batch(void **state)
{
    (void)state;
    char *base = lay_out(TET_RULE_BRSF);
    static float first[70][90], second[70][90];
    size_t same = 0;
    for (int pass = 0; pass < 3; pass++) {
        net.step = pass == 1 ? 8 : 7;
        tet_rule_descend_by_signs(&net);
        for (size_t r = 0; r < 70; r++)
            for (size_t c = 0; c < 90; c++) {
                const float f = feedback(2, r, c);
                if (pass == 0)
                    first[r][c] = f;
                else if (pass == 1)
                    same += f == first[r][c];
                else
                    second[r][c] = f;
            }
    }
    if (same > 20) // about 6300 / 4096 by chance
        fail_msg("%zu magnitudes are those of the mini-batch before", same);
    assert_memory_equal(first, second, sizeof first);
    free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_are_those_of_w),
        cmocka_unit_test(magnitudes_are_half_normal),
        cmocka_unit_test(drawn_anew_for_every_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
