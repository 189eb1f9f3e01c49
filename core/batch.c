// SPDX-License-Identifier: Apache-2.0
/*
 * A mini-batch of the trainer: examples and targets in, forward, losses, and what the rule makes of
 * them. Shares of the team are of the examples.
 */
#include <math.h>
#include <string.h>

#include "delay.h"
#include "noise.h"
#include "philox.h"
#include "rules/rules.h"
#include "team.h"
#include "telemetry/telemetry.h"
#include "trainer_private.h"

static void take_target(struct tet_trainer *t, size_t example, size_t row)
{
    const struct tet_examples *from = t->batch.part->examples;
    const uint32_t outputs = t->net.d[t->net.L];
    if (from->labels != NULL)
        t->labels[row] = from->labels[example];
    if (t->net.plan.loss != TET_MSE || (from->labels == NULL && from->targets == NULL))
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

/* y (n) = inputs first.. of an example, standardised. */
static void standardize(const struct tet_trainer *t, size_t example, size_t first, size_t n,
                        float *y)
{
    const struct tet_examples *from = t->batch.part->examples;
    const size_t at = example * t->dataset->shape.inputs + first;
    if (from->bytes != NULL)
        t->net.kernels->standardize_bytes(n, from->bytes + at, t->scale + first, t->shift + first,
                                          y);
    else
        t->net.kernels->standardize_floats(n, from->floats + at, t->scale + first, t->shift + first,
                                           y);
}

static bool augments(const struct tet_plan *plan)
{
    return plan->augment_crop > 0 || plan->augment_flip;
}

static void flip_row(float *row, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        const float kept = row[i];
        row[i] = row[n - 1 - i];
        row[n - 1 - i] = kept;
    }
}

/* x = an example moved by its crop, standardised, with zeros where it has come from outside, and
 * perhaps mirrored: by block `example` of the epoch's stream, so by nothing else. */
static void stage_augmented(const struct tet_trainer *t, size_t example, float *x)
{
    const struct tet_shape *shape = &t->dataset->shape;
    const size_t rows = shape->rows, columns = shape->columns, frame = t->net.plan.augment_crop;
    const struct tet_stream stream =
        tet_stream_make(t->net.plan.seed, TET_STREAM_AUGMENT, t->cursor.epoch);
    uint32_t word[4];
    tet_philox(&stream, example, word);
    const size_t down = (size_t)((uint64_t)word[0] * (2 * frame + 1) >> 32); // in the framed image
    const size_t right = (size_t)((uint64_t)word[1] * (2 * frame + 1) >> 32);
    const bool flip = t->net.plan.augment_flip && word[2] >> 31 != 0;
    const size_t from = right < frame ? frame - right : 0; // columns of the image there are
    const size_t to = right > frame ? columns + frame - right : columns;
    memset(x, 0, shape->inputs * sizeof *x);
    for (size_t i = 0; i < shape->channels * rows; i++, x += columns) {
        const size_t row = i % rows + down; // in the framed image
        if (row < frame || row >= frame + rows || right > frame + columns || from >= to)
            continue;
        standardize(t, example, (i - i % rows + row - frame) * columns + from + right - frame,
                    to - from, x + from);
        if (flip)
            flip_row(x, columns);
    }
}

/* The batch's examples, standardised, for x_0, and their targets. They come in any order: while one
 * is written, the next is fetched. */
static void stage_share(void *context, const struct tet_share *share)
{
    struct tet_trainer *t = context;
    const struct batch *b = &t->batch;
    const struct tet_examples *from = b->part->examples;
    const uint32_t d = t->dataset->shape.inputs;
    size_t begin, end;
    tet_share_range(share, t->net.n, 1, &begin, &end);
    for (size_t row = begin; row < end; row++) {
        const size_t example = example_of(b, row);
        const size_t next = row + 1 < end ? example_of(b, row + 1) : example;
        float *x = t->net.staged + row * tet_stride(d);
        if (from->bytes != NULL)
            prefetch(from->bytes + next * d, d);
        else
            prefetch(from->floats + next * d, d * sizeof *x);
        if (b->learn && augments(&t->net.plan))
            stage_augmented(t, example, x);
        else
            standardize(t, example, 0, d, x);
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
static void judge_share(void *context, const struct tet_share *share)
{
    struct tet_trainer *t = context;
    struct tet_net *net = &t->net;
    const uint32_t d = net->d[net->L];
    const size_t ld = tet_stride(d);
    const float part = 1.0f / (float)net->n; // of an example in the mean over the batch
    size_t begin, end, correct = 0;
    tet_share_range(share, net->n, 1, &begin, &end);
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

/* Of the mini-batch that is being trained. */
static void emit_telemetry(void *context, struct tet_record record)
{
    struct tet_trainer *t = context;
    t->cursor.records++;
    record.step = t->cursor.step + 1;
    if (t->report != NULL)
        t->report(t->context, &record);
}

/* From s_L on. Telemetry is of the circuit that the signal descended through, so that it comes
 * before the changes, or where stages change on the way behind them. */
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
        tet_telemetry(net, t->cursor.step + 1,
                      &(struct tet_emitter){.emit = emit_telemetry, .context = t});
    if (tet_delay_keeps_activity(net))
        tet_delay_exchange(net);
    if (!change || net->plan.top_down)
        return;
    tet_net_weigh(net);
    tet_net_centre(net);
    net->rule->change(net);
}

void tet_trainer_outputs(struct tet_trainer *t, const struct tet_examples *examples, uint32_t first,
                         uint32_t n, float *outputs)
{
    struct tet_net *net = &t->net;
    const uint32_t d = net->d[net->L];
    const struct part part = {examples, first, n};
    net->step = t->cursor.step;
    net->learning = false;
    for (uint32_t done = 0; done < n; done += (uint32_t)net->n) {
        net->n = n - done < net->capacity ? n - done : net->capacity;
        t->batch = (struct batch){.part = &part, .first = done};
        tet_team_run(net->team, stage_share, t);
        tet_net_ascend(net);
        for (size_t row = 0; row < net->n; row++)
            memcpy(outputs + (done + row) * (size_t)d, net->x[net->L] + row * tet_stride(d),
                   d * sizeof *outputs);
    }
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
