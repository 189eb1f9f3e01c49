// SPDX-License-Identifier: Apache-2.0
/*
 * A mini-batch of the trainer: examples and targets in, forward, losses, and what the rule makes of
 * them. Shares of the team are of the examples.
 */
#include <math.h>
#include <string.h>

#include "delay.h"
#include "noise.h"
#include "rules/rules.h"
#include "team.h"
#include "telemetry.h"
#include "trainer_private.h"

static void take_target(struct tet_trainer *t, size_t example, size_t row)
{
    const struct tet_examples *from = t->batch.part->examples;
    const uint32_t outputs = t->net.d[t->net.L];
    if (from->labels != NULL)
        t->labels[row] = from->labels[example];
    if (t->net.plan.loss != TET_MSE)
        return;
    float *target = t->targets + row * tet_stride(outputs);
    if (from->targets != NULL)
        memcpy(target, from->targets + example * outputs, outputs * sizeof *target);
    else {
        memset(target, 0, outputs * sizeof *target);
        target[from->labels[example]] = 1.0f;
    }
}

static size_t example_of(const struct batch *b, size_t row)
{
    return b->part->first + (b->order != NULL ? b->order[b->first + row] : b->first + row);
}

static void prefetch(const void *from, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64)
        __builtin_prefetch((const char *)from + at);
}

/* The batch's examples, standardised, for x_0, and their targets. They come in any order: while one
 * is written, the next is fetched. */
static void stage_share(void *context, const struct tet_rank *share)
{
    struct tet_trainer *t = context;
    const struct tet_kernels *k = t->net.kernels;
    const struct batch *b = &t->batch;
    const struct tet_examples *from = b->part->examples;
    const uint32_t d = t->dataset->shape.inputs;
    size_t begin, end;
    tet_share(share, t->net.n, 1, &begin, &end);
    for (size_t row = begin; row < end; row++) {
        const size_t example = example_of(b, row);
        const size_t next = row + 1 < end ? example_of(b, row + 1) : example;
        float *x = t->net.staged + row * tet_stride(d);
        if (from->bytes != NULL)
            prefetch(from->bytes + next * d, d);
        else
            prefetch(from->floats + next * d, d * sizeof *x);
        if (from->bytes != NULL)
            k->standardize_bytes(d, from->bytes + example * d, t->scale, t->shift, x);
        else
            k->standardize_floats(d, from->floats + example * d, t->scale, t->shift, x);
        take_target(t, example, row);
    }
}

static size_t count_correct(const struct tet_trainer *t, size_t begin, size_t end)
{
    const uint32_t d = t->net.d[t->net.L];
    size_t correct = 0;
    for (size_t n = begin; n < end; n++) {
        const float *z = t->net.x[t->net.L] + n * tet_stride(d);
        uint32_t best = 0;
        for (uint32_t c = 1; c < d; c++)
            if (z[c] > z[best])
                best = c;
        correct += best == (uint32_t)t->labels[n];
    }
    return correct;
}

/* The losses of the batch; s_L, divided by the batch's size, where it is learned from. */
static void judge_share(void *context, const struct tet_rank *share)
{
    struct tet_trainer *t = context;
    struct tet_net *net = &t->net;
    const uint32_t d = net->d[net->L];
    const size_t ld = tet_stride(d);
    const float part = 1.0f / (float)net->n; // of an example in the mean over the batch
    size_t begin, end, correct = 0;
    tet_share(share, net->n, 1, &begin, &end);
    float *z = net->x[net->L] + begin * ld,
          *s = t->batch.learn ? net->s[net->L] + begin * ld : NULL;
    if (net->plan.loss == TET_CROSS_ENTROPY)
        correct = net->kernels->cross_entropy(end - begin, d, ld, z, t->labels + begin, part, s,
                                              t->losses + begin);
    else {
        net->kernels->mse(end - begin, d, ld, z, t->targets + begin * ld, part, s,
                          t->losses + begin);
        if (t->dataset->train.labels != NULL)
            correct = count_correct(t, begin, end);
    }
    atomic_fetch_add_explicit(&t->batch.correct, correct, memory_order_relaxed);
}

/* Summed in double in the order of the examples. */
static double batch_loss(const struct tet_trainer *t)
{
    double sum = 0.0;
    for (size_t n = 0; n < t->net.n; n++)
        sum += t->losses[n];
    return sum;
}

static void emit_telemetry(void *context, enum tet_series series, uint32_t layer, double value)
{
    struct tet_trainer *t = context;
    t->cursor.records++;
    if (t->report != NULL) // of the mini-batch that is being trained
        t->report(t->context, &(struct tet_record){t->cursor.step + 1, series, layer, value});
}

/* From s_L on. Telemetry is of the circuit that the signal descended through, so that it comes before
 * the changes, or where stages change on the way behind them. */
static void learn_from_signal(struct tet_trainer *t, bool record)
{
    struct tet_net *net = &t->net;
    const bool change = tet_delay_is_over(net);
    tet_noise_teaching(net);
    if (tet_delay_keeps_signal(net))
        tet_delay_exchange(net);
    if (net->plan.top_down) {
        if (change)
            tet_net_weigh(net);
        tet_rule_learn_top_down(net, change);
    } else {
        net->rule->descend(net);
    }
    if (record)
        tet_telemetry(net, emit_telemetry, t);
    if (tet_delay_keeps_activity(net))
        tet_delay_exchange(net);
    if (!change || net->plan.top_down)
        return;
    tet_net_weigh(net);
    tet_net_centre(net);
    net->rule->change(net);
}

double tet_trainer_run_batch(struct tet_trainer *t, const struct part *part, const uint32_t *order,
                             uint32_t first, uint32_t n, bool learn, bool record, uint64_t *correct)
{
    struct tet_net *net = &t->net;
    net->n = n;
    net->step = t->cursor.step;
    net->learning = learn;
    t->batch = (struct batch){.part = part, .order = order, .first = first, .learn = learn};
    if (learn && net->rule->prepare != NULL)
        net->rule->prepare(net);
    tet_team_run(net->team, stage_share, t);
    tet_net_ascend(net);
    tet_team_run(net->team, judge_share, t);
    *correct += t->batch.correct;
    const double loss = batch_loss(t);
    if (!learn || !isfinite(loss))
        return loss;
    learn_from_signal(t, record);
    return loss;
}
