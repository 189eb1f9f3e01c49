// SPDX-License-Identifier: Apache-2.0
/* Selection by the validation part: see selection.h. */
#include "selection.h"

#include <string.h>
#include <tetrad/trainer.h>

enum { METRIC, EPOCH, PHASE }; // places in the state; epochs are below 2^24, exact in a float

enum tet_phase tet_selection_phase(const struct tet_net *net)
{
    const float phase = net->selection == NULL ? (float)TET_GOING_ON : net->selection[PHASE];
    /* It may be of a checkpoint from elsewhere. */
    return phase == (float)TET_ENDED    ? TET_ENDED
           : phase == (float)TET_ENDING ? TET_ENDING
                                        : TET_GOING_ON;
}

bool tet_selection_is_over(const float *selection)
{
    return selection[PHASE] != (float)TET_GOING_ON;
}

void tet_selection_set_phase(struct tet_net *net, enum tet_phase phase)
{
    net->selection[PHASE] = (float)phase;
}

uint32_t tet_selection_epoch(const struct tet_net *net)
{
    const float epoch = net->selection == NULL ? 0.0f : net->selection[EPOCH];
    return epoch >= 0.0f && epoch <= (float)TET_MAX_JUDGED ? (uint32_t)epoch : 0;
}

/* All weights into the copy, or back; with copy NULL only counts. Returns the floats. */
static size_t copy_weights(const struct tet_net *net, float *copy, bool back)
{
    size_t used = 0;
    for (uint32_t l = 1; l <= net->L; l++) {
        if (copy != NULL)
            memcpy(back ? net->b[l] : copy + used, back ? copy + used : net->b[l],
                   net->d[l] * sizeof *copy);
        used += net->d[l];
    }
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        tet_net_range(net, g, &first, &last);
        for (uint32_t l = first; l <= last; l++) {
            const struct tet_packed *p = &net->p[g][l];
            const size_t n = tet_packed_floats(p->rows, p->columns);
            if (copy != NULL)
                memcpy(back ? p->w : copy + used, back ? copy + used : p->w, n * sizeof *copy);
            used += n;
        }
    }
    return used;
}

size_t tet_selection_floats(const struct tet_net *net)
{
    return copy_weights(net, NULL, false);
}

bool tet_selection_judge(struct tet_net *net, uint32_t epoch, double metric)
{
    const struct tet_selection_plan *plan = &net->plan.selection;
    float *state = net->selection;
    const double best = state[METRIC],
                 gain = plan->metric == TET_METRIC_LOSS ? best - metric : metric - best;
    if (state[EPOCH] == 0.0f || gain > plan->min_delta) {
        state[METRIC] = (float)metric;
        state[EPOCH] = (float)epoch;
        if (plan->best)
            (void)copy_weights(net, net->selected, false);
    }
    return plan->patience > 0 && epoch - tet_selection_epoch(net) >= plan->patience;
}

void tet_selection_restore(struct tet_net *net)
{
    (void)copy_weights(net, net->selected, true);
}
