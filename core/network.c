// SPDX-License-Identifier: Apache-2.0
/* A network's arrays: see network.h. */
#include "network.h"

#include "interventions.h"
#include "noise.h"
#include "rules/rules.h"
#include "rules/signs.h"
#include "selection.h"
#include "telemetry/telemetry.h"

/* ---- arrays ---- */

struct carver {
    char *base;
    size_t used;
};

static float *carve(struct carver *c, size_t floats)
{
    float *at = c->base != NULL ? (float *)(void *)(c->base + c->used) : NULL;
    c->used += tet_round_bytes(floats * sizeof(float));
    return at;
}

/* An array of n floats that belongs to a checkpoint. */
static float *carve_state(struct tet_net *net, struct carver *c, const char *name, uint64_t n)
{
    float *values = carve(c, n);
    net->state[net->n_states++] = (struct tet_state){name, values, n};
    return values;
}

static struct tet_volume volume(uint32_t channels, uint32_t rows, uint32_t columns, uint32_t pad,
                                size_t n)
{
    return (struct tet_volume){channels, rows, columns, pad, tet_round(n)};
}

static struct tet_window window(uint32_t kernel, uint32_t stride, uint32_t padding, uint32_t rows,
                                uint32_t columns)
{
    return (struct tet_window){kernel,
                               stride,
                               padding,
                               rows,
                               columns,
                               tet_window_count(rows, kernel, stride, padding),
                               tet_window_count(columns, kernel, stride, padding)};
}

/* Layer l's windows and volumes. The input has those of x_0 if layer 1 is a convolution. */
static void shape_layer(struct tet_net *net, const struct tet_shape *shape, uint32_t l)
{
    const struct tet_layer_plan *plan = l > 0 && l < net->L ? &net->plan.hidden[l - 1] : NULL;
    const struct tet_layer_plan *above = l + 1 < net->L ? &net->plan.hidden[l] : NULL;
    const bool seen = above != NULL && above->type == TET_CONV2D; // as an image
    struct tet_layer *layer = &net->layer[l];
    layer->positions = 1;
    layer->image = plan != NULL && plan->type == TET_CONV2D;
    if (!layer->image && !(l == 0 && seen))
        return;
    const struct tet_grid g = tet_plan_grid(&net->plan, shape, l);
    const uint32_t pad = seen ? above->padding : 0, d = net->d[l], e = net->e[l];
    const size_t n = net->capacity;
    if (l == 0)
        net->d[0] = g.channels;
    layer->positions = (size_t)g.pooled_rows * g.pooled_columns;
    layer->x = window(1, 1, 0, g.pooled_rows, g.pooled_columns);
    layer->x_d = volume(net->d[l], g.pooled_rows, g.pooled_columns, pad, n);
    layer->x_e = volume(e, g.pooled_rows, g.pooled_columns, pad, n);
    if (l == 0)
        return;
    const struct tet_grid under = tet_plan_grid(&net->plan, shape, l - 1);
    layer->pool = plan->pool;
    layer->window =
        window(plan->kernel, plan->stride, plan->padding, under.pooled_rows, under.pooled_columns);
    if (plan->pool != TET_POOL_NONE)
        layer->pooling = window(plan->pool_size, plan->pool_stride, 0, g.rows, g.columns);
    layer->z = window(1, 1, 0, g.rows, g.columns);
    layer->z_d = volume(d, g.rows, g.columns, 0, n);
    layer->z_e = volume(e, g.rows, g.columns, 0, n);
    layer->a = plan->pool != TET_POOL_NONE ? layer->z_d : layer->x_d;
}

size_t tet_net_seen(const struct tet_net *net, uint32_t l, bool e)
{
    const struct tet_layer *layer = &net->layer[l];
    if (l < net->L && net->layer[l + 1].image)
        return tet_volume_floats(e ? &layer->x_e : &layer->x_d);
    return net->capacity * tet_stride((e ? net->e[l] : net->d[l]) * layer->positions);
}

static void carve_image(struct tet_net *net, struct carver *c, uint32_t l)
{
    const struct tet_layer *layer = &net->layer[l];
    const bool seen = net->layer[l + 1].image;
    net->image[l] = seen ? net->x[l] : carve(c, tet_volume_floats(&layer->x_d));
    net->a[l] =
        layer->pool == TET_POOL_NONE ? net->image[l] : carve(c, tet_volume_floats(&layer->a));
}

/* What waits is s_L, or every activity, which lie from `begin` on. */
static void carve_delay(struct tet_net *net, struct carver *c, size_t begin)
{
    static const char *const names[TET_MAX_DELAY] = {
        "delay0", "delay1", "delay2",  "delay3",  "delay4",  "delay5",  "delay6",  "delay7",
        "delay8", "delay9", "delay10", "delay11", "delay12", "delay13", "delay14", "delay15"};
    net->delayed = net->s[net->L];
    net->n_delayed = net->capacity * tet_stride(net->d[net->L]);
    if (net->plan.delay.eligibility) {
        net->delayed = c->base != NULL ? (float *)(void *)(c->base + begin) : NULL;
        net->n_delayed = (c->used - begin) / sizeof(float);
    }
    for (uint32_t k = 0; k < net->plan.delay.batches; k++)
        net->slot[k] = carve_state(net, c, names[k], net->n_delayed);
}

static void carve_activities(struct tet_net *net, struct carver *c)
{
    const bool laterals = net->rule->info.group[TET_V];
    const size_t n = net->capacity, begin = c->used;
    for (uint32_t l = 0; l <= net->L; l++) {
        net->x[l] = net->a[l] = carve(c, tet_net_seen(net, l, false));
        if (net->layer[l].image)
            carve_image(net, c, l);
    }
    net->staged = net->layer[1].image ? carve(c, n * tet_stride(tet_net_width(net, 0))) : net->x[0];
    for (uint32_t l = 1; l <= net->L; l++) {
        const struct tet_layer *layer = &net->layer[l];
        const bool hidden = l < net->L;
        net->s[l] =
            carve(c, layer->image ? tet_volume_floats(&layer->z_e) : n * tet_stride(net->e[l]));
        net->m[l] = net->s[l];
        if (hidden && (laterals || !net->plan.gate))
            net->m[l] =
                carve(c, layer->image ? tet_volume_floats(&layer->z_d) : n * tet_stride(net->d[l]));
        net->u[l] = hidden && laterals ? carve(c, tet_net_seen(net, l, true)) : NULL;
    }
    if (net->plan.delay.batches > 0)
        carve_delay(net, c, begin);
}

/* Rows and columns of group g's matrix of layer l, without memory. */
static struct tet_packed shape_of(const struct tet_net *net, enum tet_group g, uint32_t l)
{
    const uint32_t *d = net->d, *e = net->e, taps = tet_net_taps(net, l);
    /* A dense layer sees every position of an image below, a convolution one channel. */
    const uint32_t seen = net->layer[l].image ? 1 : (uint32_t)net->layer[l - 1].positions;
    if (g == TET_D)
        return (struct tet_packed){.rows = (uint32_t)tet_net_width(net, l), .columns = d[net->L]};
    return (struct tet_packed){.rows = g == TET_W || g == TET_V ? d[l]
                                       : g == TET_B             ? e[l - 1] * seen
                                                                : e[l],
                               .columns = g == TET_W   ? d[l - 1] * seen * taps
                                          : g == TET_B ? e[l] * taps
                                          : g == TET_U ? d[l]
                                                       : e[l]};
}

static bool has_momentum(const struct tet_net *net, enum tet_group g)
{
    return net->plan.momentum > 0.0f && tet_may_change(net, g) &&
           !(g == TET_B && net->rule->info.mirrors) && !tet_net_homeostatic(net, g);
}

static void carve_weights(struct tet_net *net, struct carver *c)
{
    for (uint32_t l = 1; l <= net->L; l++)
        net->b[l] = carve(c, tet_round(net->d[l]));
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        tet_net_range(net, g, &first, &last);
        for (uint32_t l = first; l <= last; l++) {
            struct tet_packed *p = &net->p[g][l];
            *p = shape_of(net, g, l);
            const size_t floats = tet_packed_floats(p->rows, p->columns);
            p->w = carve(c, floats);
            p->v = has_momentum(net, g) ? carve(c, floats) : NULL;
            if (tet_group_is_sparse(&net->plan.group[g]) || tet_may_silence(net, g, l))
                net->mask[g][l] = (uint16_t *)(void *)carve(c, (floats / TET_LANES + 1) / 2);
            if (net->plan.group[g].excitatory > 0.0f)
                net->sign[g][l] = carve(c, p->columns);
        }
    }
}

/* What only interventions need. */
static void carve_interventions(struct tet_net *net, struct carver *c)
{
    size_t shuffled = 0;
    for (enum tet_group g = 0; g < TET_GROUPS; g++)
        for (uint32_t l = 1; l <= net->L; l++)
            if (tet_may_shuffle(net, g, l) &&
                (size_t)net->p[g][l].rows * net->p[g][l].columns > shuffled)
                shuffled = (size_t)net->p[g][l].rows * net->p[g][l].columns;
    net->shuffled = shuffled > 0 ? carve(c, shuffled) : NULL;
    for (uint32_t l = 1; l < net->L; l++)
        for (int descending = 0; descending < 2; descending++) {
            const size_t units = descending ? net->e[l] : net->d[l];
            if (tet_may_silence_neurons(net, descending == 1, l))
                net->alive[descending][l] =
                    (uint8_t *)(void *)carve(c, (units + sizeof(float) - 1) / sizeof(float));
        }
}

static void carve_feedback(struct tet_net *net, struct carver *c)
{
    for (uint32_t l = 2; l <= net->L; l++) {
        struct tet_packed *p = &net->feedback[l];
        *p = net->p[TET_B][l];
        if (net->rule->magnitudes == NULL)
            continue;
        *p = shape_of(net, TET_B, l);
        p->w = carve(c, tet_packed_floats(p->rows, p->columns));
    }
    net->half_normal = net->rule->half_normal ? carve(c, TET_QUANTILES) : NULL;
    const struct tet_noise_plan *noise = &net->plan.noise;
    const bool noisy = noise->activity > 0.0f || noise->teaching > 0.0f || noise->synapses > 0.0f;
    net->normal = noisy ? carve(c, TET_NORMALS) : NULL;
}

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* What the way down between a convolutional layer and the next needs. */
static void carve_descent(struct tet_net *net, struct carver *c)
{
    size_t flat = 0, below = 0;
    for (uint32_t l = 1; l < net->L; l++) {
        const struct tet_layer *layer = &net->layer[l];
        const bool direct = net->rule->info.group[TET_D];
        const bool flattened = layer->image && (direct || !net->layer[l + 1].image);
        if (flattened)
            flat = most(flat, net->capacity * tet_stride(net->e[l] * layer->positions));
        if (flattened || layer->pool != TET_POOL_NONE)
            below =
                most(below, most(tet_volume_floats(&layer->x_d), tet_volume_floats(&layer->x_e)));
    }
    net->flat = flat > 0 ? carve(c, flat) : NULL;
    net->below = below > 0 ? carve(c, below) : NULL;
    net->n_flat = flat;
    net->n_below = below;
}

static void carve_scratch(struct tet_net *net, struct carver *c)
{
    size_t widest = 0, above = 0, below = 0, signal = 0;
    for (uint32_t l = 1; l <= net->L; l++) {
        const struct tet_layer *layer = &net->layer[l];
        const size_t wider = most(net->d[l], net->e[l]) * layer->positions;
        widest = most(widest, wider);
        if (l > 1)
            widest = most(widest, net->p[TET_W][l].columns);
        if (l > 1 && !layer->image) { // what the backward product turns round
            above = most(above, net->d[l]);
            below = most(below, tet_net_width(net, l - 1));
        }
        signal = most(signal, layer->image ? tet_volume_floats(&layer->z_d)
                                           : net->capacity * tet_stride(net->d[l]));
    }
    const bool telemetry =
        net->plan.record_every > 0 && (net->plan.record_alignment || net->plan.record_assembly);
    const bool backward = net->rule->backward || telemetry;
    const size_t ld = tet_stride(net->capacity);
    net->transposed[0] = backward ? carve(c, above * ld) : NULL;
    net->transposed[1] = backward ? carve(c, below * ld) : NULL;
    for (int i = 0; i < 2; i++)
        net->signal[i] = telemetry ? carve(c, signal) : NULL;
    for (int i = 0; i < 3; i++)
        net->block[i] = telemetry || net->plan.record_spectrum
                            ? carve(c, TET_PANEL * tet_stride(widest))
                            : NULL;
    net->corner = telemetry ? carve(c, TET_PANEL * TET_PANEL) : NULL;
}

/* What changes need besides the fused drives. */
static void carve_changes(struct tet_net *net, struct carver *c)
{
    const struct tet_plan *plan = &net->plan;
    size_t drive = 0, sums = net->capacity;
    for (uint32_t l = 0; l <= net->L; l++) {
        net->stage_factor[l] = 1.0f;
        sums = most(sums, most(net->d[l], net->e[l]));
    }
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        tet_net_range(net, g, &first, &last);
        for (uint32_t l = first; l <= last; l++) {
            const struct tet_packed *p = &net->p[g][l];
            drive = most(drive, tet_packed_floats(p->rows, p->columns));
            sums = most(sums, tet_panels(p->rows));
        }
    }
    const bool explicitly = plan->clip > 0.0f || plan->homeostasis > 0.0f;
    const bool weighed = plan->normalize == TET_NORMALIZE_STAGE;
    net->drive = explicitly ? carve(c, drive) : NULL;
    net->sums = explicitly || weighed ? carve(c, sums) : NULL;
    net->power = weighed ? carve_state(net, c, "power", net->L) : NULL;
}

static void carve_selection(struct tet_net *net, struct carver *c)
{
    const struct tet_selection_plan *plan = &net->plan.selection;
    net->selection = net->selected = NULL;
    if (plan->metric != TET_METRIC_NONE)
        net->selection = carve_state(net, c, "selection", TET_SELECTION);
    if (plan->best)
        net->selected = carve_state(net, c, "selected_weights", tet_selection_floats(net));
}

static double *carve_doubles(struct carver *c, size_t n)
{
    return (double *)(void *)carve(c, n * (sizeof(double) / sizeof(float)));
}

static void carve_telemetry(struct tet_net *net, struct carver *c)
{
    const struct tet_plan *plan = &net->plan;
    const size_t n = net->capacity < TET_RANK_EXAMPLES ? net->capacity : TET_RANK_EXAMPLES;
    size_t widest = 0;
    for (uint32_t l = 1; l < net->L; l++)
        widest = most(widest, net->d[l]);
    if (plan->record_every > 0 && plan->record_assembly && net->L > 1)
        net->reached = carve_state(net, c, "reached", (uint64_t)2 * (net->L - 1));
    net->gram = plan->record_activity ? carve_doubles(c, 3 * n * n + 3 * n) : NULL;
    net->spectrum = plan->record_spectrum ? carve_doubles(c, widest * widest + 3 * widest) : NULL;
}

size_t tet_net_layout(struct tet_net *net, const struct tet_plan *plan,
                      const struct tet_shape *shape, char *base)
{
    net->plan = *plan;
    net->rule = tet_rule(plan->rule);
    net->L = plan->n_hidden + 1;
    net->capacity = plan->batch;
    net->n_states = 0;
    net->d[0] = shape->inputs;
    for (uint32_t l = 1; l < net->L; l++) {
        net->d[l] = plan->hidden[l - 1].units;
        net->e[l] = plan->hidden[l - 1].descending_units;
    }
    net->d[net->L] = net->e[net->L] = shape->outputs;
    for (uint32_t l = 0; l <= net->L; l++)
        shape_layer(net, shape, l);
    struct carver c = {.base = base};
    carve_weights(net, &c);
    carve_selection(net, &c);
    carve_activities(net, &c);
    carve_descent(net, &c);
    carve_feedback(net, &c);
    carve_scratch(net, &c);
    carve_changes(net, &c);
    carve_telemetry(net, &c);
    carve_interventions(net, &c);
    if (base != NULL)
        tet_net_begin(net);
    return c.used;
}

void tet_net_range(const struct tet_net *net, enum tet_group g, uint32_t *first, uint32_t *last)
{
    *first = g == TET_B ? 2 : 1;
    *last = g == TET_W || g == TET_B ? net->L : net->L - 1;
    if (!net->rule->info.group[g])
        *first = *last + 1;
}

void tet_net_pack(const struct tet_packed *p, float *packed, const float *values)
{
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->columns; c++)
            packed[tet_packed_at(p->rows, p->columns, r, c)] = values[r * p->columns + c];
}

void tet_net_unpack(const struct tet_packed *p, const float *packed, float *values)
{
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->columns; c++)
            values[r * p->columns + c] = packed[tet_packed_at(p->rows, p->columns, r, c)];
}
