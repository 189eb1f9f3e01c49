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

static float sign(float w)
{
    return (float)((w > 0.0f) - (w < 0.0f));
}

/* Sixteen neurons above at a time: their weights lie side by side, and the rows of a panel that
 * they lead to stay in the nearest cache. */
static void form_share(void *context, const struct tet_rank *share)
{
    const struct forming *f = context;
    const struct tet_packed *b = &f->net->feedback[f->l], *w = &f->net->p[TET_W][f->l];
    const size_t taps = tet_net_taps(f->net, f->l);
    size_t first, last;
    tet_share(share, w->rows, TET_LANES, &first, &last);
    for (size_t o = first; o < last; o += TET_LANES)
        for (size_t r = 0; r < b->rows; r += TET_LANES)
            for (size_t i = o * taps; i < (o + TET_LANES) * taps && i < last * taps; i++) {
                float magnitude[TET_LANES];
                float *out = b->w + tet_packed_at(b->rows, b->columns, r, i);
                f->net->rule->magnitudes(f->net, f->l, i, r, magnitude);
                for (size_t k = 0; k < TET_LANES && r + k < b->rows; k++)
                    out[k] = magnitude[k] * sign(w->w[tet_packed_at(w->rows, w->columns, i / taps,
                                                                    (r + k) * taps + i % taps)]);
            }
}

void tet_rule_descend_by_signs(struct tet_net *net)
{
    for (uint32_t l = 2; l <= net->L; l++) {
        tet_net_look(net, net->feedback[l].w, true);
        tet_team_run(net->team, form_share, &(struct forming){net, l});
        tet_net_look(net, net->feedback[l].w, false);
    }
    tet_rule_descend_by_feedback(net);
}

void tet_half_normal(float *out)
{
    const uint32_t wide = 0x80000000u / TET_QUANTILES;
    for (uint32_t q = 0; q < TET_QUANTILES; q++)
        out[q] = (float)tet_normal_from_u32(0x80000000u + q * wide + wide / 2);
}
