// SPDX-License-Identifier: Apache-2.0
/*
 * The trainer: one allocation that begins with struct tet_trainer and goes on with the arrays; a
 * state machine whose steps are mini-batches and, at an epoch's end, chunks of the evaluation.
 *
 *     cursor.batch < batches of the epoch             train the next mini-batch
 *     cursor.batch = that, or all steps are done      evaluate validation and test, chunk by chunk;
 *                                                     report; then epoch + 1, batch = 0
 *     all steps are done and cursor.batch = 0         finished
 *
 * The progress of an evaluation is not part of the cursor: after a restart it begins again, and
 * reports the same.
 */
#include "trainer.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "interventions.h"
#include "network.h"
#include "philox.h"
#include "rules/rules.h"
#include "team.h"
#include "telemetry/telemetry.h"

/* A contiguous stretch of examples of a dataset. */
struct part {
    const struct tet_examples *examples;
    uint32_t first, n;
};

enum { TRAIN, VALIDATION, TEST, PARTS };

/* The examples at hand. */
struct batch {
    const struct part *part;
    const uint32_t *order; // NULL: as they lie
    uint32_t first;
    bool learn;
    _Atomic size_t correct; // classified right, in all shares
};

struct tet_trainer {
    struct tet_net net;
    struct batch batch;
    const struct tet_dataset *dataset;
    struct part part[PARTS];
    tet_report_fn *report;
    void *context;
    struct tet_cursor cursor;
    struct tet_divergence divergence;
    bool diverged;
    bool ordered;        // `order` holds this epoch's
    uint32_t intervened; // how many of the plan's interventions have happened

    /* The evaluation at hand. */
    int evaluated;     // the part
    uint32_t position; // examples of it done
    double loss[PARTS];
    uint64_t correct[PARTS];

    uint32_t *order;      // (n_train) of the epoch, with shuffle
    float *scale, *shift; // (d_0) of standardising
    int32_t *labels;      // (N)
    float *targets;       // (N, d_L), mse
    float *losses;        // (N)
};

/* ---- making ---- */

static size_t round_64(size_t n)
{
    return (n + 63) / 64 * 64;
}

uint64_t tet_trainer_layout(struct tet_trainer *t, const struct tet_plan *plan,
                            const struct tet_shape *shape, char *base)
{
    struct tet_net scratch = {0};
    struct tet_net *net = t != NULL ? &t->net : &scratch;
    size_t used = round_64(sizeof *t);
    used += tet_net_layout(net, plan, shape, base != NULL ? base + used : NULL);
    const size_t sizes[] = {plan->shuffle ? plan->n_train : 0,
                            tet_round(shape->inputs),
                            tet_round(shape->inputs),
                            plan->batch,
                            plan->loss == TET_MSE ? plan->batch * tet_stride(shape->outputs) : 0,
                            plan->batch};
    char *at[6];
    for (int i = 0; i < 6; i++) {
        at[i] = base != NULL ? base + used : NULL;
        used += round_64(4 * sizes[i]);
    }
    if (base != NULL) {
        t->order = (uint32_t *)(void *)at[0];
        t->scale = (float *)(void *)at[1];
        t->shift = (float *)(void *)at[2];
        t->labels = (int32_t *)(void *)at[3];
        t->targets = (float *)(void *)at[4];
        t->losses = (float *)(void *)at[5];
    }
    return used;
}

static enum tet_err find_parts(struct tet_trainer *t, const struct tet_dataset *data,
                               struct tet_error *error)
{
    const struct tet_plan *p = &t->net.plan;
    const uint64_t learn = (uint64_t)p->n_train + p->n_validation;
    const bool own_test =
        data->test.n > 0; // otherwise the test part is the end of the training examples
    if (learn + (own_test ? 0 : p->n_test) > data->train.n ||
        (own_test && p->n_test > data->test.n))
        return tet_error_set(error, TET_BAD_DATASET,
                             "the dataset has %u training and %u test examples; the plan wants %u "
                             "to train, %u to validate, "
                             "%u to test",
                             data->train.n, data->test.n, p->n_train, p->n_validation, p->n_test);
    if (p->loss == TET_CROSS_ENTROPY && data->train.labels == NULL)
        return tet_error_set(error, TET_BAD_DATASET,
                             "cross-entropy needs class labels; the dataset has real targets");
    t->part[TRAIN] = (struct part){&data->train, 0, p->n_train};
    t->part[VALIDATION] = (struct part){&data->train, p->n_train, p->n_validation};
    t->part[TEST] = own_test ? (struct part){&data->test, 0, p->n_test}
                             : (struct part){&data->train, data->train.n - p->n_test, p->n_test};
    return TET_OK;
}

/* sums (d) and squares (d) of every input over the training examples, in the order of the examples:
 * exact for bytes. */
static void sum_inputs(const struct part *part, uint32_t d, double *sums, double *squares)
{
    for (size_t n = part->first; n < (size_t)part->first + part->n; n++)
        for (uint32_t i = 0; i < d; i++) {
            const size_t at = n * d + i;
            const double v = part->examples->bytes != NULL ? part->examples->bytes[at]
                                                           : part->examples->floats[at];
            sums[i] += v;
            squares[i] += v * v;
        }
}

/* The scale and shift that give `count` values mean 0 and standard deviation 1; constant values
 * become 0. */
static void standard_of(double sum, double square, double count, float *scale, float *shift)
{
    const double mean = sum / count, variance = square / count - mean * mean;
    const double factor = variance > 1e-12 * (1.0 + mean * mean) ? 1.0 / sqrt(variance) : 0.0;
    *scale = (float)factor;
    *shift = (float)(-mean * factor);
}

/* Standardises by the training inputs, in all or feature by feature. Bytes that are not
 * standardised become v / 255. */
static enum tet_err find_standard(struct tet_trainer *t, struct tet_error *error)
{
    const struct part *part = &t->part[TRAIN];
    const uint32_t d = t->dataset->shape.inputs;
    const enum tet_standardize how = t->net.plan.standardize;
    for (uint32_t i = 0; i < d; i++)
        t->scale[i] = part->examples->bytes != NULL ? 1.0f / 255.0f : 1.0f;
    if (how == TET_STANDARDIZE_NONE)
        return TET_OK;
    double *sums = calloc(2 * (size_t)d, sizeof *sums), *squares = sums + d;
    if (sums == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory to standardise %u inputs", d);
    sum_inputs(part, d, sums, squares);
    for (uint32_t i = 1; i < d && how == TET_STANDARDIZE_ALL; i++) {
        sums[0] += sums[i];
        squares[0] += squares[i];
    }
    for (uint32_t i = 0; i < d; i++)
        if (how == TET_STANDARDIZE_ALL)
            standard_of(sums[0], squares[0], (double)part->n * d, &t->scale[i], &t->shift[i]);
        else
            standard_of(sums[i], squares[i], part->n, &t->scale[i], &t->shift[i]);
    free(sums);
    return TET_OK;
}

enum tet_err tet_trainer_create(struct tet_trainer **trainer, const struct tet_plan *plan,
                                const struct tet_dataset *data, tet_report_fn *report,
                                void *context, struct tet_error *error)
{
    *trainer = NULL;
    const struct tet_kernels *kernels = NULL;
    enum tet_err err = tet_plan_check(plan, &data->shape, error);
    if (err == TET_OK)
        err = tet_kernels_select(&kernels, error);
    if (err != TET_OK)
        return err;
    const size_t bytes = tet_trainer_layout(NULL, plan, &data->shape, NULL);
    const size_t huge = (size_t)2 << 20; // a huge page: the whole ones of a trainer are asked for
    void *memory = NULL;
    if (posix_memalign(&memory, bytes >= huge ? huge : 64, bytes) != 0)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for a trainer of %zu bytes", bytes);
    struct tet_trainer *t = memory;
    if (bytes >= huge)
        (void)madvise(t, bytes, MADV_HUGEPAGE); // a hint; fine where it is not taken
    memset(t, 0, bytes);
    t->net.kernels = kernels;
    tet_trainer_layout(t, plan, &data->shape, (char *)t);
    t->dataset = data;
    t->report = report;
    t->context = context;
    t->cursor.last_loss = NAN;
    t->divergence.last_loss = NAN;
    err = find_parts(t, data, error);
    if (err == TET_OK)
        err = find_standard(t, error);
    if (err == TET_OK)
        err = tet_team_create(&t->net.team, plan->threads, error);
    if (err != TET_OK) {
        free(t);
        return err;
    }
    tet_net_draw(&t->net);
    tet_traces_choose(&t->net);
    *trainer = t;
    return TET_OK;
}

void tet_trainer_destroy(struct tet_trainer *t)
{
    if (t != NULL)
        tet_team_destroy(t->net.team);
    free(t);
}

/* ---- reporting ---- */

static void emit(void *context, enum tet_series series, uint32_t layer, double value)
{
    struct tet_trainer *t = context;
    t->cursor.records++;
    if (t->report != NULL)
        t->report(t->context,
                  &(struct tet_record){
                      .step = t->cursor.step, .series = series, .layer = layer, .value = value});
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

/* Of an epoch's end. */
static void emit_spectrum(void *context, struct tet_record record)
{
    emit(context, record.series, record.layer, record.value);
}

/* ---- mini-batches: shares are of the examples ---- */

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

static void mirror(float *row, size_t n)
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
            mirror(x, columns);
    }
}

/* The batch's examples, standardised, for x_0, and their targets. They come in any order: while one
 * is written, the next is fetched. */
static void stage_share(void *context, const struct tet_rank *share)
{
    struct tet_trainer *t = context;
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

/* Runs examples first.. of a part, forward, or as a whole mini-batch; returns the sum of their
 * losses and adds to *correct. */
static double run_batch(struct tet_trainer *t, const struct part *part, const uint32_t *order,
                        uint32_t first, uint32_t n, bool learn, bool record, uint64_t *correct)
{
    struct tet_net *net = &t->net;
    net->n = n;
    net->step = t->cursor.step;
    t->batch = (struct batch){.part = part, .order = order, .first = first, .learn = learn};
    tet_team_run(net->team, stage_share, t);
    tet_net_ascend(net);
    tet_team_run(net->team, judge_share, t);
    *correct += t->batch.correct;
    const double loss = batch_loss(t);
    if (!learn || !isfinite(loss))
        return loss;
    net->rule->descend(net);
    if (record)
        tet_telemetry(net, t->cursor.step + 1,
                      &(struct tet_emitter){.emit = emit_telemetry, .context = t});
    net->rule->change(net);
    return loss;
}

static const char *first_not_finite(const struct tet_trainer *t, char name[24])
{
    const struct tet_net *net = &t->net;
    name[0] = '\0';
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        tet_net_range(net, g, &first, &last);
        for (uint32_t l = first; l <= last; l++) {
            const struct tet_packed *p = &net->p[g][l];
            const size_t n = tet_packed_floats(p->rows, p->columns);
            if (!net->kernels->finite(p->w, n) ||
                (p->v != NULL && !net->kernels->finite(p->v, n))) {
                snprintf(name, 24, "%s%u", tet_group_name(g), l);
                return name;
            }
            if (g == TET_W && !net->kernels->finite(net->b[l], net->d[l])) {
                snprintf(name, 24, "b%u", l);
                return name;
            }
        }
    }
    return NULL;
}

/* Ends the run as diverged at mini-batch `step`. */
static enum tet_event diverge(struct tet_trainer *t, uint64_t step)
{
    (void)first_not_finite(t, t->divergence.tensor);
    t->divergence.step = step;
    t->divergence.last_loss = t->cursor.last_loss;
    t->divergence.last_step = isnan(t->cursor.last_loss) ? 0 : t->cursor.step;
    t->diverged = true;
    return TET_DIVERGED;
}

static void order_epoch(struct tet_trainer *t)
{
    const struct tet_plan *p = &t->net.plan;
    t->net.rate = tet_plan_rate(p, t->cursor.epoch);
    t->ordered = true;
    if (!p->shuffle)
        return;
    for (uint32_t i = 0; i < p->n_train; i++)
        t->order[i] = i;
    const struct tet_stream stream = tet_stream_make(p->seed, TET_STREAM_SHUFFLE, t->cursor.epoch);
    tet_shuffle(&stream, t->order, p->n_train);
}

/* All that happens before mini-batch `step` + 1 and has not yet. */
static void intervene(struct tet_trainer *t, uint64_t step, bool replay)
{
    const struct tet_plan *p = &t->net.plan;
    while (t->intervened < p->n_interventions && p->interventions[t->intervened].step <= step)
        tet_net_intervene(&t->net, t->intervened++, replay);
}

static enum tet_event train(struct tet_trainer *t)
{
    const struct tet_plan *p = &t->net.plan;
    if (!t->ordered)
        order_epoch(t);
    intervene(t, t->cursor.step, false);
    const uint32_t first = t->cursor.batch * p->batch;
    const uint32_t n = p->n_train - first < p->batch ? p->n_train - first : p->batch;
    const uint64_t step = t->cursor.step + 1;
    const bool record = p->record_every > 0 && (step == 1 || step % p->record_every == 0);
    const double loss = run_batch(t, &t->part[TRAIN], p->shuffle ? t->order : NULL, first, n, true,
                                  record, &t->cursor.correct);
    if (!isfinite(loss))
        return diverge(t, step);
    t->cursor.loss_sum += loss;
    t->cursor.last_loss = loss / n;
    t->cursor.step = step;
    t->cursor.batch++;
    return TET_STEPPED;
}

/* ---- evaluation ---- */

/* Whether the plan's output can be right or wrong. */
static bool classifies(const struct tet_trainer *t)
{
    return t->dataset->train.labels != NULL;
}

static void report_epoch(struct tet_trainer *t, uint32_t trained)
{
    emit(t, TET_SERIES_TRAIN_LOSS, 0, t->cursor.loss_sum / trained);
    if (classifies(t))
        emit(t, TET_SERIES_TRAIN_ACCURACY, 0, (double)t->cursor.correct / trained);
    for (int part = VALIDATION; part < PARTS; part++) {
        const int series = part == VALIDATION ? TET_SERIES_VALIDATION_LOSS : TET_SERIES_TEST_LOSS;
        const uint32_t n = t->part[part].n;
        if (n > 0)
            emit(t, (enum tet_series)series, 0, t->loss[part] / n);
        if (n > 0 && classifies(t))
            emit(t, (enum tet_series)(series + 1), 0, (double)t->correct[part] / n);
    }
    if (t->net.plan.record_spectrum)
        tet_telemetry_spectrum(&t->net, &(struct tet_emitter){.emit = emit_spectrum, .context = t});
}

static void begin_evaluation(struct tet_trainer *t)
{
    t->evaluated = VALIDATION;
    t->position = 0;
    memset(t->loss, 0, sizeof t->loss);
    memset(t->correct, 0, sizeof t->correct);
}

static bool all_steps_done(const struct tet_trainer *t)
{
    return t->cursor.step >= tet_plan_steps(&t->net.plan);
}

static enum tet_event evaluate(struct tet_trainer *t)
{
    if (t->evaluated == TRAIN)
        begin_evaluation(t);
    while (t->evaluated < PARTS && t->position >= t->part[t->evaluated].n) {
        t->evaluated++;
        t->position = 0;
    }
    if (t->evaluated < PARTS) {
        const struct part *part = &t->part[t->evaluated];
        const uint32_t rest = part->n - t->position;
        const uint32_t n = rest < t->net.capacity ? rest : (uint32_t)t->net.capacity;
        t->loss[t->evaluated] +=
            run_batch(t, part, NULL, t->position, n, false, false, &t->correct[t->evaluated]);
        t->position += n;
        return TET_STEPPED;
    }
    char name[24];
    if (first_not_finite(t, name) != NULL || !isfinite(t->loss[VALIDATION]) ||
        !isfinite(t->loss[TEST]))
        return diverge(t, t->cursor.step);
    const uint64_t seen = (uint64_t)t->cursor.batch * t->net.plan.batch;
    report_epoch(t, seen < t->net.plan.n_train ? (uint32_t)seen : t->net.plan.n_train);
    t->evaluated = TRAIN;
    t->ordered = false;
    t->cursor.epoch++;
    t->cursor.batch = 0;
    t->cursor.loss_sum = 0.0;
    t->cursor.correct = 0;
    return all_steps_done(t) ? TET_FINISHED : TET_EPOCH;
}

enum tet_event tet_trainer_step(struct tet_trainer *t)
{
    if (t->diverged)
        return TET_DIVERGED;
    if (all_steps_done(t))
        return t->cursor.batch == 0 ? TET_FINISHED : evaluate(t);
    return t->cursor.batch < tet_plan_steps_per_epoch(&t->net.plan) ? train(t) : evaluate(t);
}

/* ---- state ---- */

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

void tet_trainer_set(struct tet_trainer *t, uint32_t i, const float *values)
{
    struct place place;
    if (!locate(t, i, &place))
        return;
    if (place.packed == NULL) {
        memcpy(place.values, values, place.n * sizeof *values);
        tet_net_cut_biases(&t->net);
    } else {
        tet_net_pack(place.packed, place.values, values);
        tet_net_cut(&t->net, place.group, place.layer);
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
        intervene(t, cursor->step - 1, true);
    return TET_OK;
}

double tet_trainer_loss(const struct tet_trainer *t)
{
    return t->cursor.last_loss;
}

const struct tet_divergence *tet_trainer_divergence(const struct tet_trainer *t)
{
    return &t->divergence;
}
