// SPDX-License-Identifier: Apache-2.0
/* Feedback with the signs of W transposed: see signs.h. */
#include "rules/signs.h"

#include "philox.h"
#include "rules/rules.h"
#include "team.h"

struct forming {
    const struct tet_net *net;
    uint32_t l;
};

/* Gives the weights in a panel's column, n of them, the rule's magnitudes. Of weights that are not
 * there, 0, come zeros. */
static void give_magnitudes(const struct forming *f, size_t column, size_t r, size_t n, float *w)
{
    float magnitude[TET_PANEL];
    f->net->rule->magnitudes(f->net, f->l, column, r, n, magnitude);
    for (size_t k = 0; k < n; k += TET_LANES)
        for (size_t i = k; i < k + TET_LANES; i++)
            w[i] = magnitude[i] * (float)((w[i] > 0.0f) - (w[i] < 0.0f));
}

/* Turns the weights of sixteen neurons above, o.., which lie side by side, tap by tap into the
 * columns of a panel of B, rows r..; there they get their magnitudes. */
static void form(const struct forming *f, size_t o, size_t r)
{
    const struct tet_packed *b = &f->net->feedback[f->l], *w = &f->net->p[TET_W][f->l];
    const size_t taps = tet_net_taps(f->net, f->l), wide = tet_panel_width(b->rows, r);
    const size_t step = taps * tet_panel_width(w->rows, o / TET_PANEL * TET_PANEL);
    const size_t rows = b->rows - r < wide ? b->rows - r : wide;
    const size_t neurons = w->rows - o < TET_LANES ? w->rows - o : TET_LANES;
    for (size_t tap = 0; tap < taps; tap++)
        f->net->kernels->transpose(
            rows, neurons, w->w + tet_packed_at(w->rows, w->columns, o, r * taps + tap), step,
            b->w + tet_packed_at(b->rows, b->columns, r, o * taps + tap), taps * wide, wide);
    for (size_t i = o * taps; i < (o + neurons) * taps; i++)
        give_magnitudes(f, i, r, wide, b->w + tet_packed_at(b->rows, b->columns, r, i));
}

static void form_share(void *context, const struct tet_share *share)
{
    const struct forming *f = context;
    size_t first, last;
    tet_share_range(share, f->net->p[TET_W][f->l].rows, TET_LANES, &first, &last);
    for (size_t o = first; o < last; o += TET_LANES)
        for (size_t r = 0; r < f->net->feedback[f->l].rows; r += TET_PANEL)
            form(f, o, r);
}

void tet_rule_descend_by_signs_to(struct tet_net *net, uint32_t l)
{
    tet_net_look(net, net->feedback[l + 1].w, true);
    tet_team_run(net->team, form_share, &(struct forming){net, l + 1});
    tet_net_look(net, net->feedback[l + 1].w, false);
    tet_rule_descend_by_feedback_to(net, l);
}

void tet_rule_descend_by_signs(struct tet_net *net)
{
    for (uint32_t l = net->L - 1; l >= 1; l--)
        tet_rule_descend_by_signs_to(net, l);
}

void tet_half_normal(float *out)
{
    const uint32_t wide = 0x80000000u / TET_QUANTILES;
    for (uint32_t q = 0; q < TET_QUANTILES; q++)
        out[q] = (float)tet_normal_from_u32(0x80000000u + q * wide + wide / 2);
}
