// SPDX-License-Identifier: Apache-2.0
/* Interventions: see interventions.h. They are rare, so one thread does them. */
#include "interventions.h"

#include <math.h>
#include <string.h>

#include "philox.h"
#include "rules/rules.h"

enum { TARGET_ASCENDING = 254, TARGET_DESCENDING = 255 };

/* The synapses of a silenced neuron of layer l: rows or columns of a group's array of layer
 * l + above. A descending neuron of a rule with D is where D_l leads to. */
struct reach {
    enum tet_group group;
    uint32_t above;
    bool columns;
};
enum { REACHES = 5 };
static const struct reach reaches[2][REACHES] = {
    {{TET_W, 0, false}, {TET_V, 0, false}, {TET_W, 1, true}, {TET_U, 0, true}}, // ascending
    {{TET_B, 1, false}, {TET_U, 0, false}, {TET_B, 0, true}, {TET_V, 0, true}, {TET_D, 0, false}},
};

static bool is_neurons(const struct tet_intervention *v)
{
    return v->type == TET_SILENCE_ASCENDING || v->type == TET_SILENCE_DESCENDING;
}

static unsigned target_of(const struct tet_intervention *v)
{
    return v->type == TET_SILENCE_ASCENDING    ? TARGET_ASCENDING
           : v->type == TET_SILENCE_DESCENDING ? TARGET_DESCENDING
                                               : (unsigned)v->group;
}

static bool concerns(const struct tet_intervention *v, uint32_t l)
{
    return v->layer == 0 || v->layer == l;
}

/* ---- what a plan holds ---- */

static enum tet_err check_place(const struct tet_net *net, uint32_t i, struct tet_error *error)
{
    const struct tet_intervention *v = &net->plan.interventions[i];
    uint32_t first = 1, last = net->L - 1;
    const bool all = v->group == TET_GROUPS && v->type == TET_RATE;
    if (is_neurons(v)) {
        if (v->type == TET_SILENCE_DESCENDING && !tet_rule_descends(&net->rule->info))
            return tet_error_set(error, TET_BAD_DEFINITION,
                                 "intervention %u: rule %s has no descending neurons", i,
                                 net->rule->info.name);
    } else if (!all) {
        if ((unsigned)v->group >= TET_GROUPS || !net->rule->info.group[v->group])
            return tet_error_set(error, TET_BAD_DEFINITION,
                                 "intervention %u: group %d is not one of rule %s", i,
                                 (int)v->group, net->rule->info.name);
        tet_net_range(net, v->group, &first, &last);
        if (v->type == TET_UNFREEZE && net->rule->info.fixed[v->group])
            return tet_error_set(error, TET_BAD_DEFINITION,
                                 "intervention %u: group %s of rule %s is fixed", i,
                                 tet_group_name(v->group), net->rule->info.name);
    }
    const bool layered = v->type != TET_RATE;
    if ((layered && first > last) || (!layered && v->layer != 0) ||
        (v->layer != 0 && (v->layer < first || v->layer > last)))
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "intervention %u: layer %u: allowed 0 (all) or %u to %u", i, v->layer,
                             first, last);
    return TET_OK;
}

static bool is_amount(const struct tet_intervention *v)
{
    switch (v->type) {
    case TET_LESION:
    case TET_SILENCE_ASCENDING:
    case TET_SILENCE_DESCENDING:
        return v->amount > 0.0f && v->amount <= 1.0f;
    case TET_SCALE:
        return v->amount >= -1e30f && v->amount <= 1e30f;
    case TET_NOISE:
    case TET_RATE:
        return v->amount >= 0.0f && v->amount <= 1e30f;
    default:
        return true;
    }
}

enum tet_err tet_interventions_check(const struct tet_plan *p, struct tet_error *error)
{
    if (p->n_interventions == 0)
        return TET_OK;
    if (p->n_interventions > TET_MAX_INTERVENTIONS)
        return tet_error_set(error, TET_BAD_DEFINITION, "%u interventions: allowed at most %d",
                             p->n_interventions, TET_MAX_INTERVENTIONS);
    struct tet_net net = {.plan = *p, .rule = tet_rule(p->rule), .L = p->n_hidden + 1};
    for (uint32_t i = 0; i < p->n_interventions; i++) {
        const struct tet_intervention *v = &p->interventions[i];
        if ((unsigned)v->type >= TET_INTERVENTION_TYPES)
            return tet_error_set(error, TET_BAD_DEFINITION, "intervention %u: type %d is unknown",
                                 i, (int)v->type);
        if (v->step >= tet_plan_steps(p) || (i > 0 && v->step < v[-1].step))
            return tet_error_set(error, TET_BAD_DEFINITION,
                                 "intervention %u: step %llu: allowed, in the order of time, less "
                                 "than the run's %llu",
                                 i, (unsigned long long)v->step,
                                 (unsigned long long)tet_plan_steps(p));
        if (!is_amount(v))
            return tet_error_set(error, TET_BAD_DEFINITION,
                                 "intervention %u: %g is not a fraction, factor or deviation", i,
                                 (double)v->amount);
        const enum tet_err err = check_place(&net, i, error);
        if (err != TET_OK)
            return err;
    }
    return TET_OK;
}

bool tet_may_silence_neurons(const struct tet_net *net, bool descending, uint32_t l)
{
    const enum tet_intervention_type type =
        descending ? TET_SILENCE_DESCENDING : TET_SILENCE_ASCENDING;
    for (uint32_t i = 0; i < net->plan.n_interventions; i++) {
        const struct tet_intervention *v = &net->plan.interventions[i];
        if (v->type == type && concerns(v, l) && l >= 1 && l < net->L)
            return true;
    }
    return false;
}

bool tet_may_silence(const struct tet_net *net, enum tet_group g, uint32_t l)
{
    for (uint32_t i = 0; i < net->plan.n_interventions; i++) {
        const struct tet_intervention *v = &net->plan.interventions[i];
        if (v->type == TET_LESION && v->group == g && concerns(v, l))
            return true;
    }
    for (int descending = 0; descending < 2; descending++)
        for (int k = 0; k < REACHES; k++) {
            const struct reach *r = &reaches[descending][k];
            if (r->group == g && tet_may_silence_neurons(net, descending == 1, l - r->above))
                return true;
        }
    return false;
}

static bool has(const struct tet_net *net, enum tet_intervention_type type, enum tet_group g,
                uint32_t l)
{
    for (uint32_t i = 0; i < net->plan.n_interventions; i++) {
        const struct tet_intervention *v = &net->plan.interventions[i];
        if (v->type == type && v->group == g && (l == 0 || concerns(v, l)))
            return true;
    }
    return false;
}

bool tet_may_change(const struct tet_net *net, enum tet_group g)
{
    return net->plan.group[g].plastic || has(net, TET_UNFREEZE, g, 0);
}

bool tet_may_shuffle(const struct tet_net *net, enum tet_group g, uint32_t l)
{
    return has(net, TET_SHUFFLE, g, l);
}

/* ---- the synapses of an array ---- */

/* Rows r.. and columns c.., as many of each. */
static void silence(struct tet_net *net, enum tet_group g, uint32_t l, size_t r, size_t rows,
                    size_t c, size_t columns)
{
    const struct tet_packed *p = &net->p[g][l];
    for (size_t i = r; i < r + rows; i++)
        for (size_t j = c; j < c + columns; j++) {
            const size_t at = tet_packed_at(p->rows, p->columns, i, j);
            uint16_t *bits = &net->mask[g][l][at / TET_LANES];
            *bits = (uint16_t)(*bits & ~(1u << at % TET_LANES));
        }
}

static struct tet_stream stream_of(const struct tet_net *net, const struct tet_intervention *v,
                                   uint32_t l)
{
    uint32_t nth = 0;
    for (const struct tet_intervention *u = net->plan.interventions; u < v; u++)
        nth += target_of(u) == target_of(v);
    return tet_stream_make(net->plan.seed, TET_STREAM_INTERVENTION,
                           nth << 16 | target_of(v) << 8 | l);
}

/* As tet_below, for any n. */
static uint64_t below(const struct tet_stream *stream, uint64_t i, uint64_t n)
{
    uint32_t out[4];
    if (n <= UINT32_MAX)
        return tet_below(stream, i, (uint32_t)n);
    tet_philox(stream, i, out);
    const uint64_t high = n >> 32, low = n & UINT32_MAX;
    const uint64_t middle = out[1] * low + (out[0] * low >> 32);
    const uint64_t rest = out[0] * high + (middle & UINT32_MAX);
    return out[1] * high + (middle >> 32) + (rest >> 32);
}

/* Which of n things are chosen, the nearest whole number to fraction n of them, each set of so many
 * as likely as any other (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S). */
struct choice {
    struct tet_stream stream;
    uint64_t asked, left, needed;
};

static struct choice choice_of(struct tet_stream stream, uint64_t n, float fraction)
{
    const uint64_t needed = (uint64_t)((double)fraction * (double)n + 0.5);
    return (struct choice){.stream = stream, .left = n, .needed = needed < n ? needed : n};
}

static bool choose(struct choice *c)
{
    const bool chosen = below(&c->stream, c->asked, c->left) < c->needed;
    c->asked++;
    c->left--;
    c->needed -= chosen;
    return chosen;
}

/* ---- lesions ---- */

/* All taps of a kernel or none. */
static void lesion(struct tet_net *net, const struct tet_intervention *v, uint32_t l)
{
    const enum tet_group g = v->group;
    const struct tet_packed *p = &net->p[g][l];
    const size_t taps = g == TET_W || g == TET_B ? tet_net_taps(net, l) : 1;
    uint64_t n = 0;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->columns; c += taps)
            n += tet_net_is_there(net, g, l, r, c);
    struct choice choice = choice_of(stream_of(net, v, l), n, v->amount);
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->columns; c += taps)
            if (tet_net_is_there(net, g, l, r, c) && choose(&choice))
                silence(net, g, l, r, 1, c, taps);
}

/* Whatever leads to or from the neuron, in a layer below a convolution or a dense one: a neuron of
 * a convolutional layer is a channel. */
static void silence_neuron(struct tet_net *net, bool descending, uint32_t l, uint32_t neuron)
{
    const uint32_t units = descending ? net->e[l] : net->d[l];
    for (int k = 0; k < REACHES; k++) {
        const struct reach *reach = &reaches[descending][k];
        const uint32_t at = l + reach->above;
        const struct tet_packed *p = &net->p[reach->group][at];
        uint32_t first, last;
        tet_net_range(net, reach->group, &first, &last);
        if (at < first || at > last)
            continue;
        const size_t each = (reach->columns ? p->columns : p->rows) / units;
        if (reach->columns)
            silence(net, reach->group, at, 0, p->rows, neuron * each, each);
        else
            silence(net, reach->group, at, neuron * each, each, 0, p->columns);
    }
}

static void lesion_neurons(struct tet_net *net, const struct tet_intervention *v, uint32_t l)
{
    const bool descending = v->type == TET_SILENCE_DESCENDING;
    const uint32_t units = descending ? net->e[l] : net->d[l];
    uint8_t *alive = net->alive[descending][l];
    uint64_t n = 0;
    for (uint32_t i = 0; i < units; i++)
        n += alive[i];
    struct choice choice = choice_of(stream_of(net, v, l), n, v->amount);
    for (uint32_t i = 0; i < units; i++)
        if (alive[i] && choose(&choice)) {
            alive[i] = 0;
            silence_neuron(net, descending, l, i);
        }
}

void tet_net_cut_biases(struct tet_net *net, uint32_t l)
{
    for (uint32_t i = 0; net->alive[0][l] != NULL && i < net->d[l]; i++)
        if (!net->alive[0][l][i])
            net->b[l][i] = 0.0f;
}

static void cut_all(struct tet_net *net)
{
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        tet_net_range(net, g, &first, &last);
        for (uint32_t l = first; l <= last; l++)
            tet_net_restrict(net, g, l);
    }
    for (uint32_t l = 1; l < net->L; l++)
        tet_net_cut_biases(net, l);
}

/* ---- values ---- */

static void forget_velocity(struct tet_packed *p)
{
    if (p->v != NULL)
        memset(p->v, 0, tet_packed_floats(p->rows, p->columns) * sizeof *p->v);
}

/* Fisher and Yates, as tet_shuffle, on the values that are there, row by row. */
static void shuffle(struct tet_net *net, enum tet_group g, uint32_t l,
                    const struct tet_stream *stream)
{
    struct tet_packed *p = &net->p[g][l];
    float *values = net->shuffled;
    uint64_t n = 0;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->columns; c++)
            if (tet_net_is_there(net, g, l, r, c))
                values[n++] = p->w[tet_packed_at(p->rows, p->columns, r, c)];
    for (uint64_t i = n; i-- > 1;) {
        const uint64_t j = below(stream, i, i + 1);
        const float kept = values[i];
        values[i] = values[j];
        values[j] = kept;
    }
    n = 0;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->columns; c++)
            if (tet_net_is_there(net, g, l, r, c))
                p->w[tet_packed_at(p->rows, p->columns, r, c)] = values[n++];
    forget_velocity(p);
}

/* Root of the mean square of the values that are there, summed row by row. */
static double root_mean_square(const struct tet_net *net, enum tet_group g, uint32_t l)
{
    const struct tet_packed *p = &net->p[g][l];
    double sum = 0.0, n = 0.0;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->columns; c++)
            if (tet_net_is_there(net, g, l, r, c)) {
                const double w = p->w[tet_packed_at(p->rows, p->columns, r, c)];
                sum += w * w;
                n += 1.0;
            }
    return n > 0.0 ? sqrt(sum / n) : 0.0;
}

/* Number i of the stream is of the i-th value, there or not, row by row. */
static void disturb(struct tet_net *net, enum tet_group g, uint32_t l, float amount,
                    const struct tet_stream *stream)
{
    struct tet_packed *p = &net->p[g][l];
    const double sd = (double)amount * root_mean_square(net, g, l);
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->columns; c++) {
            float *w = &p->w[tet_packed_at(p->rows, p->columns, r, c)];
            const uint32_t word = tet_stream_u32(stream, r * p->columns + c);
            if (tet_net_is_there(net, g, l, r, c))
                *w = (float)((double)*w + sd * tet_normal_from_u32(word));
        }
}

static void change_values(struct tet_net *net, const struct tet_intervention *v, uint32_t l)
{
    const enum tet_group g = v->group;
    struct tet_packed *p = &net->p[g][l];
    const size_t n = tet_packed_floats(p->rows, p->columns);
    const struct tet_stream stream = stream_of(net, v, l);
    switch (v->type) {
    case TET_SHUFFLE:
        shuffle(net, g, l, &stream);
        break;
    case TET_RERANDOMISE:
        tet_net_draw_values(net, g, l, &stream);
        forget_velocity(p);
        break;
    case TET_SCALE:
        for (size_t i = 0; i < n; i++)
            p->w[i] = p->w[i] * v->amount;
        break;
    default:
        disturb(net, g, l, v->amount, &stream);
    }
    tet_net_restrict(net, g, l);
}

/* ---- acting ---- */

void tet_net_begin(struct tet_net *net)
{
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        net->group_factor[g] = 1.0f;
        tet_net_range(net, g, &first, &last);
        for (uint32_t l = first; l <= last; l++) {
            net->plastic[g][l] = net->plan.group[g].plastic;
            if (net->mask[g][l] != NULL)
                tet_net_wire(net, g, l);
        }
    }
    for (uint32_t l = 1; l < net->L; l++)
        for (int descending = 0; descending < 2; descending++)
            if (net->alive[descending][l] != NULL)
                memset(net->alive[descending][l], 1, descending ? net->e[l] : net->d[l]);
}

static void intervene_on_group(struct tet_net *net, const struct tet_intervention *v, bool replay)
{
    uint32_t first, last;
    tet_net_range(net, v->group, &first, &last);
    for (uint32_t l = first; l <= last; l++)
        if (!concerns(v, l))
            continue;
        else if (v->type == TET_FREEZE || v->type == TET_UNFREEZE)
            net->plastic[v->group][l] = v->type == TET_UNFREEZE;
        else if (v->type == TET_LESION)
            lesion(net, v, l);
        else if (!replay)
            change_values(net, v, l);
}

void tet_net_intervene(struct tet_net *net, uint32_t i, bool replay)
{
    const struct tet_intervention *v = &net->plan.interventions[i];
    if (v->type == TET_RATE) {
        for (enum tet_group g = 0; g < TET_GROUPS; g++)
            if (v->group == TET_GROUPS || v->group == g)
                net->group_factor[g] = net->group_factor[g] * v->amount;
    } else if (is_neurons(v)) {
        for (uint32_t l = 1; l < net->L; l++)
            if (concerns(v, l))
                lesion_neurons(net, v, l);
    } else {
        intervene_on_group(net, v, replay);
    }
    if (!replay && (v->type == TET_LESION || is_neurons(v)))
        cut_all(net);
}
