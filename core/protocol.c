// SPDX-License-Identifier: Apache-2.0
/*
 * A heterosynaptic protocol on one motif: see protocol.h.
 *
 * The motif is a network with one hidden layer, so that the rule's own descend and change are all
 * that moves a synapse: its stage 1 is stage l, its stage 2 is l+1, whose s_{l+1} is the teaching
 * signal s_L of the small network.
 *
 * One allocation: the struct; the network's block three times (at work, as it starts, after decay
 * alone), so that a weight is compared with itself at the same place; patterns and what they evoke.
 */
#include <tetrad/protocol.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "network.h"
#include "philox.h"
#include "rules/rules.h"
#include "trainer.h"

struct tet_protocol {
    struct tet_protocol_plan plan;
    struct tet_net net;            // its arrays lie in `block`
    char *block, *start, *decayed; // `bytes` each
    size_t bytes;
    float *ascending, *descending; // (N, width of x_{l-1}), (N, e_{l+1}), strided; the latter / N
    float *held_x, *held_s;        // (N, d_l), (N, e_l), strided
    unsigned char *active[TET_MOTIF]; // whether a column's neuron has been active
    uint64_t step;
    enum tet_condition condition;
    uint32_t pairing; // of the condition
    bool over, diverged;
    size_t n_rows;
    struct tet_protocol_row rows[TET_PROTOCOL_ROWS];
};

static const struct {
    const char *text;
    unsigned afferents;
} conditions[] = {
#define X(name, text, afferents) {text, afferents},
    TET_CONDITIONS(X)
#undef X
};

const char *tet_condition_text(enum tet_condition condition)
{
    return conditions[condition].text;
}

/* ---- what is asked for ---- */

static bool takes_part(const struct tet_protocol_plan *p, enum tet_condition condition)
{
    return condition == TET_CONDITION_NEITHER || (p->conditions >> condition & 1u) != 0;
}

uint64_t tet_protocol_steps(const struct tet_protocol_plan *p)
{
    uint64_t n = 0;
    for (enum tet_condition c = 0; c < TET_CONDITIONS_COUNT; c++)
        n += takes_part(p, c);
    return n * p->pairings;
}

enum tet_err tet_protocol_check(const struct tet_protocol_plan *p, const struct tet_plan *plan,
                                const struct tet_shape *shape, struct tet_error *error)
{
    (void)shape;
    if (p->layer < 1 || p->layer > plan->n_hidden)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "protocol: layer %u: allowed a hidden layer, 1 to %u", p->layer,
                             plan->n_hidden);
    if (plan->hidden[p->layer - 1].type != TET_DENSE)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "protocol: layer %u is a convolution: allowed a dense layer",
                             p->layer);
    if (p->pairings < 1 || p->pairings > TET_PROTOCOL_PAIRINGS || p->n < 1 ||
        p->n > TET_PROTOCOL_PATTERNS || p->conditions >> TET_CONDITIONS_COUNT != 0)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "protocol: %u pairings of %u patterns, conditions %x: allowed 1 to "
                             "%d, 1 to %d, known ones",
                             p->pairings, p->n, p->conditions, TET_PROTOCOL_PAIRINGS,
                             TET_PROTOCOL_PATTERNS);
    if ((p->ascending == NULL) != (p->descending == NULL) || !(p->sd >= 0.0f && p->sd <= 1e30f))
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "protocol: sd %g, or only one side's patterns: allowed 0 to 1e30, "
                             "both or neither",
                             (double)p->sd);
    return TET_OK;
}

/* ---- the motif ---- */

/* Where the descending afferent of layer l comes from: the layer above, or directly the output. */
static uint32_t outputs_of(const struct tet_net *whole, uint32_t l)
{
    return whole->rule->info.group[TET_D] ? whole->d[whole->L] : whole->e[l + 1];
}

/* The plan of the small network, and its shape, for layer l of a network that is laid out. */
static struct tet_plan motif_plan(const struct tet_protocol_plan *p, const struct tet_net *whole,
                                  struct tet_shape *shape)
{
    struct tet_plan plan = whole->plan;
    const uint32_t l = p->layer;
    plan.hidden[0] = whole->plan.hidden[l - 1];
    plan.n_hidden = 1;
    plan.batch = p->n;
    plan.record_every = 0;
    plan.record_alignment = false;
    /* Nothing is validated, nothing waits, and rates and activities are those that are given. */
    plan.selection = (struct tet_selection_plan){0};
    plan.noise = (struct tet_noise_plan){0};
    plan.delay = (struct tet_delay_plan){0};
    plan.normalize = TET_NORMALIZE_NONE;
    plan.center = plan.top_down = false;
    plan.n_interventions = 0;
    plan.record_assembly = plan.record_activity = plan.record_spectrum = false;
    plan.n_synapses = plan.traces = 0;
    *shape = (struct tet_shape){.inputs = (uint32_t)tet_net_width(whole, l - 1),
                                .outputs = outputs_of(whole, l),
                                .channels = 1,
                                .rows = 1};
    shape->columns = shape->inputs;
    return plan;
}

/* Sizes of everything; with memory at t, which must be zeroed, also the pointers. */
static size_t layout(struct tet_protocol *t, const struct tet_protocol_plan *p,
                     const struct tet_net *whole)
{
    struct tet_net scratch = {0}, *net = t != NULL ? &t->net : &scratch;
    char *base = (char *)t;
    struct tet_shape shape;
    const struct tet_plan plan = motif_plan(p, whole, &shape);
    size_t used = tet_round_bytes(sizeof *t);
    const size_t bytes = tet_net_layout(net, &plan, &shape, base != NULL ? base + used : NULL);
    if (t != NULL) {
        t->bytes = bytes;
        t->block = base + used;
        t->start = t->block + bytes;
        t->decayed = t->start + bytes;
    }
    used += 3 * bytes;
    const size_t widths[4] = {net->d[0], net->e[2], net->d[1], net->e[1]};
    float *arrays[4];
    for (int i = 0; i < 4; i++) {
        arrays[i] = base != NULL ? (float *)(void *)(base + used) : NULL;
        used += tet_round_bytes(p->n * tet_stride(widths[i]) * sizeof(float));
    }
    /* Columns of W_1, B_2, V_1, U_1. */
    const size_t columns[TET_MOTIF] = {net->d[0], net->e[2], net->e[1], net->d[1]};
    for (unsigned g = 0; g < TET_MOTIF; g++) {
        if (t != NULL)
            t->active[g] = (unsigned char *)base + used;
        used += tet_round_bytes(columns[g]);
    }
    if (t != NULL) {
        t->ascending = arrays[0];
        t->descending = arrays[1];
        t->held_x = arrays[2];
        t->held_s = arrays[3];
    }
    return used;
}

uint64_t tet_protocol_memory(const struct tet_protocol_plan *p, const struct tet_plan *plan,
                             const struct tet_shape *shape)
{
    struct tet_net whole = {0};
    tet_net_layout(&whole, plan, shape, NULL);
    return layout(NULL, p, &whole);
}

static bool same_shape(const struct tet_packed *a, const struct tet_packed *b)
{
    return a->rows == b->rows && a->columns == b->columns && a->w != NULL && b->w != NULL;
}

/* Weights and wiring of stages l and l+1. What has another shape in the whole network is no part of
 * the motif (W_{l+1} where e_{l+1} differs from d_{l+1}) and stays as it was drawn. */
static void take_over(struct tet_protocol *t, const struct tet_net *whole)
{
    const uint32_t l = t->plan.layer;
    tet_net_draw(&t->net);
    for (uint32_t i = 1; i <= 2; i++) {
        for (enum tet_group g = 0; g < TET_GROUPS; g++) {
            const struct tet_packed *from = &whole->p[g][l + i - 1], *to = &t->net.p[g][i];
            const size_t floats = tet_packed_floats(to->rows, to->columns);
            if (!same_shape(from, to))
                continue;
            memcpy(to->w, from->w, floats * sizeof *to->w);
            if (t->net.mask[g][i] != NULL)
                memcpy(t->net.mask[g][i], whole->mask[g][l + i - 1],
                       floats / TET_LANES * sizeof *t->net.mask[g][i]);
            if (t->net.sign[g][i] != NULL)
                memcpy(t->net.sign[g][i], whole->sign[g][l + i - 1],
                       to->columns * sizeof *t->net.sign[g][i]);
        }
        if (t->net.d[i] == whole->d[l + i - 1])
            memcpy(t->net.b[i], whole->b[l + i - 1], t->net.d[i] * sizeof(float));
    }
}

static void make_patterns(const struct tet_protocol *t, const float *given, uint32_t index,
                          size_t width, float factor, float *into)
{
    const struct tet_stream stream = tet_stream_make(t->net.plan.seed, TET_STREAM_PROTOCOL, index);
    for (size_t n = 0; n < t->plan.n; n++)
        for (size_t i = 0; i < width; i++) {
            const size_t k = n * width + i;
            const float value =
                given != NULL
                    ? given[k]
                    : (float)(t->plan.sd * tet_normal_from_u32(tet_stream_u32(&stream, k)));
            into[n * tet_stride(width) + i] = factor * value;
        }
}

/* ---- one pairing ---- */

static void hold(const struct tet_protocol *t, float *activity, const float *at, size_t width)
{
    const size_t bytes = t->plan.n * tet_stride(width) * sizeof *activity;
    if (at != NULL)
        memcpy(activity, at, bytes);
    else
        memset(activity, 0, bytes);
}

/* The motif's activities with these afferents stimulated. What is held is put in its place as soon
 * as it would be computed, so that all that follows sees it. */
static void activate(struct tet_protocol *t, unsigned afferents)
{
    struct tet_net *net = &t->net;
    hold(t, net->staged, (afferents & TET_AFFERENT_W) != 0 ? t->ascending : NULL, net->d[0]);
    tet_net_ascend(net);
    if ((afferents & TET_AFFERENT_U) != 0)
        hold(t, net->x[1], t->held_x, net->d[1]);
    hold(t, net->s[2], (afferents & TET_AFFERENT_B) != 0 ? t->descending : NULL, net->e[2]);
    net->rule->descend(net);
    if ((afferents & TET_AFFERENT_V) == 0)
        return;
    hold(t, net->s[1], t->held_s, net->e[1]);
    if (net->rule->info.group[TET_V])
        tet_net_modulate(net, 1);
    else if (net->m[1] != net->s[1])
        tet_net_gate(net, 1, net->s[1], net->m[1]);
}

static void note_active(const struct tet_protocol *t, enum tet_group g, const float *x,
                        size_t width)
{
    for (size_t n = 0; n < t->plan.n; n++)
        for (size_t i = 0; i < width; i++)
            t->active[g][i] |= x[n * tet_stride(width) + i] != 0.0f;
}

/* The weights of the same array in another block. */
static const float *weights_in(const struct tet_protocol *t, const float *w, const char *block)
{
    return (const float *)(const void *)(block + ((const char *)w - t->block));
}

static void pair(struct tet_protocol *t)
{
    struct tet_net *net = &t->net;
    net->step = t->pairing;
    activate(t, conditions[t->condition].afferents);
    note_active(t, TET_W, net->x[0], net->d[0]);
    note_active(t, TET_B, net->s[2], net->e[2]);
    note_active(t, TET_V, net->s[1], net->e[1]);
    note_active(t, TET_U, net->x[1], net->d[1]);
    net->rule->change(net);
    for (uint32_t i = 1; i <= 2; i++) // thresholds are no synapses that could be silent
        memcpy(net->b[i], weights_in(t, net->b[i], t->start), net->d[i] * sizeof(float));
}

/* ---- what has changed: sums in double, row by row ---- */

struct sums {
    double change, change_abs, change_square, driven, driven_abs, driven_square, square;
    double stimulated_abs, other_abs;
    uint64_t n, stimulated, up, down;
};

static void add(struct sums *s, float before, float after, float decayed, bool active)
{
    const double change = (double)after - before, driven = (double)after - decayed;
    s->n++;
    s->square += (double)before * before;
    s->change += change;
    s->change_abs += fabs(change);
    s->change_square += change * change;
    s->driven += driven;
    s->driven_abs += fabs(driven);
    s->driven_square += driven * driven;
    s->up += driven > 0.0;
    s->down += driven < 0.0;
    s->stimulated += active;
    *(active ? &s->stimulated_abs : &s->other_abs) += fabs(driven);
}

static double over(double sum, double n)
{
    return n > 0.0 ? sum / n : 0.0;
}

static void read_row(struct tet_protocol *t, enum tet_group g)
{
    const uint32_t i = g == TET_B ? 2 : 1;
    const struct tet_packed *p = &t->net.p[g][i];
    const float *before = weights_in(t, p->w, t->start), *decayed = weights_in(t, p->w, t->decayed);
    struct sums s = {0};
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->columns; c++) {
            const size_t at = tet_packed_at(p->rows, p->columns, r, c);
            if (tet_net_is_there_at(&t->net, g, i, at))
                add(&s, before[at], p->w[at], decayed[at], t->active[g][c] != 0);
        }
    const double n = (double)s.n, norm = sqrt(s.square), hit = (double)s.stimulated;
    t->rows[t->n_rows++] = (struct tet_protocol_row){
        .condition = t->condition,
        .group = g,
        .layer = t->plan.layer + i - 1,
        .n = s.n,
        .change_mean = over(s.change, n),
        .change_mean_abs = over(s.change_abs, n),
        .change_relative = over(sqrt(s.change_square), norm),
        .driven_mean = over(s.driven, n),
        .driven_mean_abs = over(s.driven_abs, n),
        .driven_relative = over(sqrt(s.driven_square), norm),
        .potentiated = over((double)s.up, n),
        .depressed = over((double)s.down, n),
        .unchanged = over((double)(s.n - s.up - s.down), n),
        .stimulated = s.stimulated,
        .stimulated_mean_abs = over(s.stimulated_abs, hit),
        .other_mean_abs = over(s.other_abs, n - hit),
    };
}

static bool is_finite(const struct tet_net *net)
{
    for (enum tet_group g = 0; g <= TET_U; g++) {
        const uint32_t i = g == TET_B ? 2 : 1;
        const struct tet_packed *p = &net->p[g][i];
        if (net->rule->info.group[g] &&
            !net->kernels->finite(p->w, tet_packed_floats(p->rows, p->columns)))
            return false;
    }
    return net->kernels->finite(net->b[1], net->d[1]);
}

/* The condition is done: its rows, and on to the next. */
static void end_condition(struct tet_protocol *t)
{
    if (t->condition == TET_CONDITION_NEITHER)
        memcpy(t->decayed, t->block, t->bytes);
    for (enum tet_group g = 0; g <= TET_U; g++)
        if (t->net.rule->info.group[g])
            read_row(t, g);
    memcpy(t->block, t->start, t->bytes);
    const size_t columns[TET_MOTIF] = {t->net.d[0], t->net.e[2], t->net.e[1], t->net.d[1]};
    for (unsigned g = 0; g < TET_MOTIF; g++)
        memset(t->active[g], 0, columns[g]);
    t->pairing = 0;
    do
        t->condition++;
    while (t->condition < TET_CONDITIONS_COUNT && !takes_part(&t->plan, t->condition));
    t->over = t->condition == TET_CONDITIONS_COUNT;
}

enum tet_event tet_protocol_step(struct tet_protocol *t)
{
    if (t->over)
        return TET_FINISHED;
    if (t->diverged)
        return TET_DIVERGED;
    pair(t);
    t->pairing++;
    t->step++;
    if (t->pairing < t->plan.pairings)
        return TET_STEPPED;
    t->diverged = !is_finite(&t->net);
    if (t->diverged)
        return TET_DIVERGED;
    end_condition(t);
    return t->over ? TET_FINISHED : TET_STEPPED;
}

/* ---- making ---- */

enum tet_err tet_protocol_create(struct tet_protocol **created, const struct tet_protocol_plan *p,
                                 const struct tet_trainer *trainer, struct tet_error *error)
{
    const struct tet_net *whole = tet_trainer_net(trainer);
    *created = NULL;
    const enum tet_err err = tet_protocol_check(p, &whole->plan, NULL, error);
    if (err != TET_OK)
        return err;
    const size_t bytes = layout(NULL, p, whole);
    struct tet_protocol *t = aligned_alloc(64, tet_round_bytes(bytes));
    if (t == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for a protocol of %zu bytes", bytes);
    memset(t, 0, bytes);
    (void)layout(t, p, whole);
    t->plan = *p;
    t->net.kernels = whole->kernels;
    t->net.n = p->n;
    t->net.rate = tet_plan_rate(&whole->plan, 0);
    take_over(t, whole);
    make_patterns(t, p->ascending, 0, t->net.d[0], 1.0f, t->ascending);
    make_patterns(t, p->descending, 1, t->net.e[2], 1.0f / (float)p->n, t->descending);
    t->plan.ascending = t->plan.descending = NULL; // the caller's, and copied
    activate(t, TET_AFFERENT_W | TET_AFFERENT_B);
    hold(t, t->held_x, t->net.x[1], t->net.d[1]);
    hold(t, t->held_s, t->net.s[1], t->net.e[1]);
    memcpy(t->start, t->block, t->bytes);
    *created = t;
    return TET_OK;
}

void tet_protocol_destroy(struct tet_protocol *t)
{
    free(t);
}

uint64_t tet_protocol_step_count(const struct tet_protocol *t)
{
    return t->step;
}

enum tet_condition tet_protocol_condition(const struct tet_protocol *t)
{
    return t->condition;
}

const struct tet_protocol_row *tet_protocol_rows(const struct tet_protocol *t, size_t *n)
{
    *n = t->n_rows;
    return t->rows;
}
