// SPDX-License-Identifier: Apache-2.0
/* What a checkpoint of the trainer holds: its tensors and its cursor. */
#include <stdio.h>
#include <string.h>

#include "interventions.h"
#include "selection.h"
#include "trainer_private.h"

/* An array: packed (a group's weights or velocities), or as it is (a bias, a state). */
struct place {
    enum tet_group group; // TET_GROUPS: not packed
    uint32_t layer;       // of a bias; 0: a state
    const struct tet_packed *packed;
    float *values; // packed, or n of them
    uint64_t n;    // not packed
    const char *name;
};

/* The place of group g's matrix of layer l, or with velocity of how it changes. */
static struct place packed_place(const struct tet_net *net, enum tet_group g, uint32_t l,
                                 bool velocity)
{
    const struct tet_packed *p = &net->p[g][l];
    return (struct place){.group = g, .layer = l, .packed = p, .values = velocity ? p->v : p->w};
}

/* The i-th array: weights, biases behind W's, then velocities, then states; false past the end. */
static bool locate(const struct tet_trainer *t, uint32_t i, struct place *place)
{
    const struct tet_net *net = &t->net;
    for (int velocity = 0; velocity < 2; velocity++)
        for (enum tet_group g = 0; g < TET_GROUPS; g++) {
            uint32_t first, last;
            tet_net_range(net, g, &first, &last);
            for (uint32_t l = first; l <= last; l++) {
                *place = packed_place(net, g, l, velocity == 1);
                if (place->values != NULL && i-- == 0)
                    return true;
            }
            for (uint32_t l = 1; l <= net->L && g == TET_W && velocity == 0; l++) {
                *place = (struct place){
                    .group = TET_GROUPS, .layer = l, .values = net->b[l], .n = net->d[l]};
                if (i-- == 0)
                    return true;
            }
        }
    if (i >= net->n_states)
        return false;
    const struct tet_state *state = &net->state[i];
    *place = (struct place){
        .group = TET_GROUPS, .values = state->values, .n = state->n, .name = state->name};
    return true;
}

uint32_t tet_trainer_tensors(const struct tet_trainer *t)
{
    struct place place;
    uint32_t n = 0;
    while (locate(t, n, &place))
        n++;
    return n;
}

void tet_trainer_tensor(const struct tet_trainer *t, uint32_t i, struct tet_tensor *tensor)
{
    struct place place;
    memset(tensor, 0, sizeof *tensor);
    if (!locate(t, i, &place))
        return;
    const enum tet_group g = place.group;
    const uint32_t l = place.layer;
    if (g == TET_GROUPS) {
        if (l > 0)
            snprintf(tensor->name, sizeof tensor->name, "b%u", l);
        else
            snprintf(tensor->name, sizeof tensor->name, "state/%s", place.name);
        tensor->state = l == 0;
        tensor->rank = 1;
        tensor->n = place.n;
        tensor->shape[0] = (uint32_t)place.n;
        return;
    }
    const struct tet_packed *p = place.packed;
    const uint32_t taps = g == TET_W || g == TET_B ? tet_net_taps(&t->net, l) : 1;
    tensor->state = place.values == p->v;
    snprintf(tensor->name, sizeof tensor->name, "%s%s%u", tensor->state ? "velocity/" : "",
             tet_group_name(g), l);
    tensor->rank = 2;
    tensor->shape[0] = p->rows;
    tensor->shape[1] = p->columns / taps;
    if ((g == TET_W || g == TET_B) && t->net.layer[l].image) {
        tensor->rank = 4;
        tensor->shape[2] = tensor->shape[3] = t->net.layer[l].window.kernel;
    }
    tensor->n = (uint64_t)p->rows * p->columns;
}

void tet_trainer_get(const struct tet_trainer *t, uint32_t i, float *values)
{
    struct place place;
    if (!locate(t, i, &place))
        return;
    if (place.packed == NULL)
        memcpy(values, place.values, place.n * sizeof *values);
    else
        tet_net_unpack(place.packed, place.values, values);
}

/* A run that is ending holds the best epoch's weights, of which later lesions took nothing: they come
 * once more from their copy, whose turn is after the weights and the phase. */
void tet_trainer_set(struct tet_trainer *t, uint32_t i, const float *values)
{
    struct place place;
    if (!locate(t, i, &place))
        return;
    if (place.packed == NULL) {
        memcpy(place.values, values, place.n * sizeof *values);
        if (place.layer > 0 && place.layer < t->net.L)
            tet_net_cut_biases(&t->net, place.layer);
        if (place.values == t->net.selected && tet_selection_phase(&t->net) != TET_GOING_ON)
            tet_selection_restore(&t->net);
    } else {
        tet_net_pack(place.packed, place.values, values);
        tet_net_restrict(&t->net, place.group, place.layer);
    }
}

struct tet_cursor tet_trainer_cursor(const struct tet_trainer *t)
{
    return t->cursor;
}

enum tet_err tet_cursor_check(const struct tet_plan *p, const struct tet_cursor *cursor,
                              struct tet_error *error)
{
    const uint64_t per_epoch = tet_plan_steps_per_epoch(p), steps = tet_plan_steps(p);
    const uint64_t full = per_epoch * cursor->epoch + cursor->batch;
    if (cursor->step > steps || cursor->epoch > p->epochs || cursor->batch > per_epoch ||
        (cursor->epoch == p->epochs && cursor->batch > 0) ||
        cursor->step != (full < steps ? full : steps))
        return tet_error_set(
            error, TET_BAD_DEFINITION,
            "a cursor at step %llu, epoch %u, mini-batch %u does not belong to this plan",
            (unsigned long long)cursor->step, cursor->epoch, cursor->batch);
    return TET_OK;
}

enum tet_err tet_trainer_seek(struct tet_trainer *t, const struct tet_cursor *cursor,
                              struct tet_error *error)
{
    const struct tet_plan *p = &t->net.plan;
    const enum tet_err err = tet_cursor_check(p, cursor, error);
    if (err != TET_OK)
        return err;
    t->cursor = *cursor;
    t->ordered = false;
    t->diverged = false;
    t->evaluated = TRAIN;
    t->intervened = 0;
    if (p->n_interventions > 0)
        tet_net_begin(&t->net);
    if (cursor->step > 0) // those before the next mini-batch are yet to happen
        tet_trainer_intervene(t, cursor->step - 1, true);
    return TET_OK;
}
