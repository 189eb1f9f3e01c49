// SPDX-License-Identifier: Apache-2.0
/* Plans: consistency, size, length and schedule. */
#include <tetrad/plan.h>

#include <math.h>

#include "interventions.h"
#include "network.h"
#include "trainer.h"

static bool in_range(float value, float low, float high)
{
    return value >= low && value <= high; // false for NaN
}

struct tet_grid tet_plan_grid(const struct tet_plan *p, const struct tet_shape *shape, uint32_t l)
{
    struct tet_grid g = {shape->inputs, 1, 1, 1, 1};
    if (l > p->n_hidden || (l > 0 && p->hidden[l - 1].type == TET_DENSE)) {
        g.channels = l > p->n_hidden ? shape->outputs : p->hidden[l - 1].units;
        return g;
    }
    if (shape->channels > 0)
        g = (struct tet_grid){shape->channels, shape->rows, shape->columns, shape->rows,
                              shape->columns};
    for (uint32_t i = 0; i < l; i++) {
        const struct tet_layer_plan *layer = &p->hidden[i];
        g.channels = layer->units;
        g.rows = tet_window_count(g.pooled_rows, layer->kernel, layer->stride, layer->padding);
        g.columns =
            tet_window_count(g.pooled_columns, layer->kernel, layer->stride, layer->padding);
        const bool pooled = layer->pool != TET_POOL_NONE;
        g.pooled_rows =
            pooled ? tet_window_count(g.rows, layer->pool_size, layer->pool_stride, 0) : g.rows;
        g.pooled_columns =
            pooled ? tet_window_count(g.columns, layer->pool_size, layer->pool_stride, 0)
                   : g.columns;
    }
    return g;
}

static bool is_window(uint32_t size, uint32_t stride)
{
    return size >= 1 && size <= TET_MAX_WINDOW && stride >= 1 && stride <= TET_MAX_WINDOW;
}

/* Hidden layer l: the sizes of its windows, whether they fit, and whether its activities and
 * synapses are of a size that can be counted. */
static enum tet_err check_convolution(const struct tet_plan *p, const struct tet_shape *shape,
                                      uint32_t l, struct tet_error *error)
{
    const struct tet_layer_plan *layer = &p->hidden[l - 1];
    if (l > 1 && p->hidden[l - 2].type == TET_DENSE)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "hidden layer %u: a convolution above a dense layer", l);
    if ((uint64_t)shape->channels * shape->rows * shape->columns != shape->inputs)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "hidden layer %u: a convolution needs images; the inputs are %u", l,
                             shape->inputs);
    if (!is_window(layer->kernel, layer->stride) || layer->padding >= layer->kernel)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "hidden layer %u: kernel %u, stride %u, padding %u: allowed 1 to %d, "
                             "and a padding below the kernel",
                             l, layer->kernel, layer->stride, layer->padding, TET_MAX_WINDOW);
    if ((unsigned)layer->pool > TET_POOL_AVG ||
        (layer->pool != TET_POOL_NONE && !is_window(layer->pool_size, layer->pool_stride)))
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "hidden layer %u: pool %d of size %u, stride %u: allowed 1 to %d", l,
                             (int)layer->pool, layer->pool_size, layer->pool_stride,
                             TET_MAX_WINDOW);
    if (layer->pool == TET_POOL_MAX && layer->descending_units != layer->units)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "hidden layer %u: units %u, descending %u: a maximum has its winners "
                             "in the ascending channels and needs them equal",
                             l, layer->units, layer->descending_units);
    const struct tet_grid below = tet_plan_grid(p, shape, l - 1), g = tet_plan_grid(p, shape, l);
    if (g.pooled_rows == 0 || g.pooled_columns == 0)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "hidden layer %u: its window does not fit the %u x %u below", l,
                             below.pooled_rows, below.pooled_columns);
    const uint64_t most = TET_MAX_VOLUME, wider = layer->units > layer->descending_units
                                                      ? layer->units
                                                      : layer->descending_units;
    if (wider * g.rows * g.columns > most ||
        (uint64_t)below.channels * layer->kernel * layer->kernel > most ||
        wider * layer->kernel * layer->kernel > most)
        return tet_error_set(
            error, TET_BAD_DEFINITION,
            "hidden layer %u: %u channels of %u x %u, kernel %u: too many, allowed "
            "%d activities and synapses of a neuron",
            l, layer->units, g.rows, g.columns, layer->kernel, TET_MAX_VOLUME);
    return TET_OK;
}

static enum tet_err check_layers(const struct tet_plan *p, const struct tet_shape *shape,
                                 struct tet_error *error)
{
    const bool laterals = tet_rule_info(p->rule)->group[TET_V];
    if (shape->inputs < 1 || shape->inputs > TET_MAX_UNITS || shape->outputs < 1 ||
        shape->outputs > TET_MAX_UNITS)
        return tet_error_set(error, TET_BAD_DEFINITION, "inputs %u, outputs %u: allowed 1 to %d",
                             shape->inputs, shape->outputs, TET_MAX_UNITS);
    if (p->n_hidden > TET_MAX_HIDDEN)
        return tet_error_set(error, TET_BAD_DEFINITION, "%u hidden layers: allowed at most %d",
                             p->n_hidden, TET_MAX_HIDDEN);
    for (uint32_t i = 0; i < p->n_hidden; i++) {
        const struct tet_layer_plan *layer = &p->hidden[i];
        if (layer->units < 1 || layer->units > TET_MAX_UNITS || layer->descending_units < 1 ||
            layer->descending_units > TET_MAX_UNITS)
            return tet_error_set(error, TET_BAD_DEFINITION,
                                 "hidden layer %u: units %u, descending %u: allowed 1 to %d", i + 1,
                                 layer->units, layer->descending_units, TET_MAX_UNITS);
        if ((unsigned)layer->type > TET_CONV2D)
            return tet_error_set(error, TET_BAD_DEFINITION, "hidden layer %u: type %d is unknown",
                                 i + 1, (int)layer->type);
        if (layer->type == TET_DENSE && layer->pool != TET_POOL_NONE)
            return tet_error_set(error, TET_BAD_DEFINITION,
                                 "hidden layer %u: a dense layer cannot be pooled", i + 1);
        const enum tet_err err =
            layer->type == TET_CONV2D ? check_convolution(p, shape, i + 1, error) : TET_OK;
        if (err != TET_OK)
            return err;
        if ((unsigned)layer->activation > TET_IDENTITY)
            return tet_error_set(error, TET_BAD_DEFINITION,
                                 "hidden layer %u: activation %d is unknown", i + 1,
                                 (int)layer->activation);
        if (layer->descending_units != layer->units && (p->gate || !laterals))
            return tet_error_set(
                error, TET_BAD_DEFINITION,
                "hidden layer %u: units %u, descending %u: a gate, and a rule without laterals, "
                "need them equal",
                i + 1, layer->units, layer->descending_units);
    }
    return TET_OK;
}

/* Noise, delay and order of the changes. */
static enum tet_err check_timing(const struct tet_plan *p, const struct tet_shape *shape,
                                 struct tet_error *error)
{
    if (!in_range(p->noise.activity, 0.0f, 1e30f) || !in_range(p->noise.teaching, 0.0f, 1e30f) ||
        !in_range(p->noise.synapses, 0.0f, 1e30f))
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "noise on activity %g, teaching %g, synapses %g: allowed 0 to 1e30",
                             p->noise.activity, p->noise.teaching, p->noise.synapses);
    if (p->delay.batches > TET_MAX_DELAY)
        return tet_error_set(error, TET_BAD_DEFINITION, "delay %u: allowed at most %d",
                             p->delay.batches, TET_MAX_DELAY);
    if (p->center && p->top_down)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "top down with centred activities: gates need those that are not");
    if (p->delay.batches == 0)
        return TET_OK;
    if (p->delay.eligibility && p->top_down)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "top down with a delay of %u and eligibility: what waits was made "
                             "by one circuit",
                             p->delay.batches);
    struct tet_net net = {0};
    tet_net_layout(&net, p, shape, NULL);
    if (net.n_delayed > UINT32_MAX)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "delay %u: %zu activities of a mini-batch, allowed at most %u",
                             p->delay.batches, net.n_delayed, UINT32_MAX);
    return TET_OK;
}

static enum tet_err check_selection(const struct tet_plan *p, struct tet_error *error)
{
    const struct tet_selection_plan *s = &p->selection;
    if ((unsigned)s->metric > TET_METRIC_ACCURACY)
        return tet_error_set(error, TET_BAD_DEFINITION, "selection metric %d is unknown",
                             (int)s->metric);
    if (s->metric == TET_METRIC_NONE && (s->patience > 0 || s->best))
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "early stopping and the best epoch need a metric");
    if (s->metric == TET_METRIC_NONE)
        return TET_OK;
    if (p->n_validation == 0 || p->epochs > TET_MAX_JUDGED || !in_range(s->min_delta, 0.0f, 1e30f))
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "selection with %u validation examples, %u epochs, min_delta %g: "
                             "allowed at least one, at most %d, 0 to 1e30",
                             p->n_validation, p->epochs, s->min_delta, TET_MAX_JUDGED);
    return TET_OK;
}

bool tet_plan_array(const struct tet_plan *plan, const struct tet_shape *shape, enum tet_group g,
                    uint32_t l, uint32_t *rows, uint32_t *columns)
{
    struct tet_net net = {0};
    uint32_t first, last;
    tet_net_layout(&net, plan, shape, NULL);
    tet_net_range(&net, g, &first, &last);
    if (l < first || l > last)
        return false;
    *rows = net.p[g][l].rows;
    *columns = net.p[g][l].columns;
    return true;
}

uint32_t tet_plan_arrays(const struct tet_plan *plan, enum tet_group g)
{
    const uint32_t stages = plan->n_hidden + 1;
    if (!tet_rule_info(plan->rule)->group[g])
        return 0;
    return g == TET_W ? stages : stages - 1;
}

static enum tet_err check_traces(const struct tet_plan *p, const struct tet_shape *shape,
                                 struct tet_error *error)
{
    uint64_t n = p->n_synapses;
    for (enum tet_group g = 0; g < TET_GROUPS; g++)
        n += p->trace_group[g] ? (uint64_t)tet_plan_arrays(p, g) * p->traces : 0;
    if (p->n_synapses > TET_MAX_TRACES || n > TET_MAX_TRACES)
        return tet_error_set(error, TET_BAD_DEFINITION, "%llu traces of synapses: at most %d",
                             (unsigned long long)n, TET_MAX_TRACES);
    for (uint32_t i = 0; i < p->n_synapses; i++) {
        const struct tet_synapse *s = &p->synapse[i];
        uint32_t rows = 0, columns = 0;
        if ((unsigned)s->group >= TET_GROUPS ||
            !tet_plan_array(p, shape, s->group, s->layer, &rows, &columns) || s->row >= rows ||
            s->column >= columns)
            return tet_error_set(error, TET_BAD_DEFINITION,
                                 "trace %u of a synapse: there is no array %d of layer %u with row "
                                 "%u, column %u",
                                 i, (int)s->group, s->layer, s->row, s->column);
    }
    return TET_OK;
}

/* What is recorded and how images are changed. */
static enum tet_err check_extras(const struct tet_plan *p, const struct tet_shape *shape,
                                 struct tet_error *error)
{
    for (uint32_t l = 0; l < p->n_hidden && p->record_spectrum; l++)
        if (p->hidden[l].units > TET_MAX_SPECTRUM)
            return tet_error_set(error, TET_BAD_DEFINITION,
                                 "spectrum: hidden layer %u has %u units; at most %d", l + 1,
                                 p->hidden[l].units, TET_MAX_SPECTRUM);
    const bool augment = p->augment_crop > 0 || p->augment_flip;
    if (p->augment_crop > TET_MAX_CROP ||
        (augment && ((uint64_t)shape->channels * shape->rows * shape->columns != shape->inputs ||
                     (shape->channels == 1 && shape->rows == 1))))
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "augment: crop %u, images of %u x %u: needs images, and a crop of at "
                             "most %d",
                             p->augment_crop, shape->rows, shape->columns, TET_MAX_CROP);
    return check_traces(p, shape, error);
}

static enum tet_err check_groups(const struct tet_plan *p, struct tet_error *error)
{
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        const struct tet_group_plan *group = &p->group[g];
        if ((unsigned)group->init > TET_INIT_LOG_NORMAL)
            return tet_error_set(error, TET_BAD_DEFINITION, "group %s: init %d is unknown",
                                 tet_group_name(g), (int)group->init);
        if (!in_range(group->lr, 0.0f, 1e30f) || !in_range(group->decay, 0.0f, 1e30f) ||
            !in_range(group->scale, 0.0f, 1e30f))
            return tet_error_set(error, TET_BAD_DEFINITION,
                                 "group %s: lr %g, decay %g, scale %g: allowed 0 to 1e30",
                                 tet_group_name(g), group->lr, group->decay, group->scale);
        if (!in_range(group->probability, 0.0f, 1.0f))
            return tet_error_set(error, TET_BAD_DEFINITION,
                                 "group %s: connection probability %g: allowed 0 (as 1) to 1",
                                 tet_group_name(g), group->probability);
        if (!(group->excitatory >= 0.0f && group->excitatory < 1.0f))
            return tet_error_set(error, TET_BAD_DEFINITION,
                                 "group %s: excitatory %g: allowed 0 (no signs) to below 1",
                                 tet_group_name(g), group->excitatory);
    }
    const struct tet_mirror_plan *mirror = &p->mirror;
    if (tet_rule_info(p->rule)->mirrors &&
        (mirror->every < 1 || mirror->every > TET_MAX_MIRROR || mirror->batches < 1 ||
         mirror->batches > TET_MAX_MIRROR || !in_range(mirror->noise, 0.0f, 1e30f)))
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "mirror phases every %u steps, of %u batches, noise %g: allowed 1 to "
                             "%d, 1 to %d, 0 to 1e30",
                             mirror->every, mirror->batches, mirror->noise, TET_MAX_MIRROR,
                             TET_MAX_MIRROR);
    return TET_OK;
}

/* How drives become changes, and how fast. */
static enum tet_err check_changes(const struct tet_plan *p, struct tet_error *error)
{
    if (!(p->momentum >= 0.0f && p->momentum < 1.0f))
        return tet_error_set(error, TET_BAD_DEFINITION, "momentum %g: allowed 0 to below 1",
                             p->momentum);
    if ((unsigned)p->normalize > TET_NORMALIZE_STAGE || !in_range(p->homeostasis, 0.0f, 1.0f) ||
        !in_range(p->clip, 0.0f, 1e30f))
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "normalize %d, homeostasis %g, clip %g: allowed 0 or 1, 0 to 1, 0 to "
                             "1e30",
                             (int)p->normalize, p->homeostasis, p->clip);
    if (p->schedule.n_epochs > TET_MAX_DROPS || !in_range(p->schedule.factor, 0.0f, 1.0f))
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "schedule of %u epochs, factor %g: allowed at most %d, 0 to 1",
                             p->schedule.n_epochs, p->schedule.factor, TET_MAX_DROPS);
    return TET_OK;
}

enum tet_err tet_plan_check(const struct tet_plan *p, const struct tet_shape *shape,
                            struct tet_error *error)
{
    if ((unsigned)p->rule >= TET_RULES)
        return tet_error_set(error, TET_BAD_DEFINITION, "rule %d is unknown", (int)p->rule);
    enum tet_err err = check_layers(p, shape, error);
    if (err != TET_OK)
        return err;
    if ((unsigned)p->loss > TET_MSE || (unsigned)p->standardize > TET_STANDARDIZE_FEATURE ||
        (unsigned)p->schedule.type > TET_SCHEDULE_COSINE)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "loss %d, standardize %d, schedule %d: one is unknown", (int)p->loss,
                             (int)p->standardize, (int)p->schedule.type);
    if (!p->gate && !tet_rule_info(p->rule)->takes_gate)
        return tet_error_set(error, TET_BAD_DEFINITION, "rule %s always gates",
                             tet_rule_info(p->rule)->name);
    err = check_groups(p, error);
    if (err == TET_OK)
        err = check_changes(p, error);
    if (err != TET_OK)
        return err;
    if (p->batch < 1 || p->batch > TET_MAX_BATCH || p->epochs < 1 || p->n_train < p->batch)
        return tet_error_set(
            error, TET_BAD_DEFINITION,
            "batch %u, epochs %u, training examples %u: allowed a batch of 1 to %d, at most the "
            "examples, and at least one epoch",
            p->batch, p->epochs, p->n_train, TET_MAX_BATCH);
    if (p->threads > TET_MAX_THREADS)
        return tet_error_set(error, TET_BAD_DEFINITION, "%u threads: allowed at most %d",
                             p->threads, TET_MAX_THREADS);
    err = check_selection(p, error);
    if (err == TET_OK)
        err = tet_interventions_check(p, error);
    if (err == TET_OK)
        err = check_timing(p, shape, error);
    return err != TET_OK ? err : check_extras(p, shape, error);
}

uint64_t tet_plan_steps_per_epoch(const struct tet_plan *p)
{
    return ((uint64_t)p->n_train + p->batch - 1) / p->batch;
}

uint64_t tet_plan_steps(const struct tet_plan *p)
{
    const uint64_t all = tet_plan_steps_per_epoch(p) * p->epochs;
    return p->max_steps > 0 && p->max_steps < all ? p->max_steps : all;
}

/* cos(pi t), 0 <= t <= 1, as a sine's series in plain double arithmetic: libm's may differ between
 * machines. */
static double cos_pi(double t)
{
    const double y = 3.14159265358979323846 * (0.5 - t), z = y * y;
    double term = y, sum = y;
    for (int k = 2; k < 24; k += 2) {
        term = -term * z / (k * (k + 1));
        sum = sum + term;
    }
    return sum;
}

float tet_plan_rate(const struct tet_plan *p, uint32_t epoch)
{
    const struct tet_schedule_plan *s = &p->schedule;
    float rate = 1.0f;
    if (s->type == TET_SCHEDULE_STEP)
        for (uint32_t i = 0; i < s->n_epochs && s->epochs[i] <= epoch; i++)
            rate = rate * s->factor;
    if (s->type == TET_SCHEDULE_COSINE) {
        const double f = s->factor, t = (double)epoch / p->epochs;
        rate = (float)(f + (1.0 - f) * (1.0 + cos_pi(t)) / 2.0);
    }
    return rate;
}

uint64_t tet_plan_memory(const struct tet_plan *plan, const struct tet_shape *shape)
{
    return tet_trainer_layout(NULL, plan, shape, NULL);
}

double tet_plan_flops(const struct tet_plan *plan, const struct tet_shape *shape)
{
    struct tet_net net = {0};
    double products = 0.0;
    const struct tet_rule_info *info = tet_rule_info(plan->rule);
    /* Of a mirror phase, for each example: noise up through W, and the change of B. */
    const double mirrored =
        info->mirrors ? 2.0 * (double)plan->mirror.batches / (double)plan->mirror.every : 0.0;
    tet_net_layout(&net, plan, shape, NULL);
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        tet_net_range(&net, g, &first, &last);
        for (uint32_t l = first; l <= last; l++) {
            const double weights = (double)net.p[g][l].rows * net.p[g][l].columns;
            const struct tet_layer *layer = &net.layer[l];
            const double places = layer->image ? (double)layer->z.rows * layer->z.columns : 1.0;
            const bool used = g != TET_U || plan->group[TET_B].plastic; // u_l serves B alone
            /* Down by W, or by a matrix that the rule makes from it. */
            const bool backward = g == TET_W && !info->group[TET_B] && !info->group[TET_D] && l > 1;
            const double changes = g == TET_B && info->mirrors ? mirrored : 1.0;
            const double use = g == TET_U   ? (double)layer->positions // u_l is of x_l
                               : g == TET_D ? 1.0
                                            : places;
            products += weights * (used * use + backward * places +
                                   (plan->group[g].plastic ? changes * places : 0.0));
        }
    }
    return 2.0 * products;
}
