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
 * Where the validation part selects (selection.h) it may say that all steps are done earlier, and
 * the last evaluation looks at the test part with the weights that it has chosen.
 *
 * The progress of an evaluation is not part of the cursor: after a restart it begins again, and
 * reports the same.
 *
 * What a mini-batch is: batch.c. What a checkpoint holds: state.c.
 */
#include "trainer_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "interventions.h"
#include "philox.h"
#include "selection.h"
#include "team.h"
#include "telemetry/telemetry.h"

/* ---- making ---- */

uint64_t tet_trainer_layout(struct tet_trainer *t, const struct tet_plan *plan,
                            const struct tet_shape *shape, char *base)
{
    struct tet_net scratch = {0};
    struct tet_net *net = t != NULL ? &t->net : &scratch;
    size_t used = tet_round_bytes(sizeof *t);
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
        used += tet_round_bytes(4 * sizes[i]);
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
    if (p->selection.metric == TET_METRIC_ACCURACY && data->train.labels == NULL)
        return tet_error_set(error, TET_BAD_DATASET,
                             "an accuracy needs class labels; the dataset has real targets");
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
    double *sums = calloc(2 * (size_t)d, sizeof *sums);
    if (sums == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory to standardise %u inputs", d);
    double *squares = sums + d;
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

/* Of an epoch's end. */
static void emit_spectrum(void *context, struct tet_record record)
{
    emit(context, record.series, record.layer, record.value);
}

/* ---- training ---- */

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

void tet_trainer_intervene(struct tet_trainer *t, uint64_t step, bool replay)
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
    tet_trainer_intervene(t, t->cursor.step, false);
    const uint32_t first = t->cursor.batch * p->batch;
    const uint32_t n = p->n_train - first < p->batch ? p->n_train - first : p->batch;
    const uint64_t step = t->cursor.step + 1;
    const bool record = p->record_every > 0 && (step == 1 || step % p->record_every == 0);
    const double loss = tet_trainer_run_batch(t, &t->part[TRAIN], p->shuffle ? t->order : NULL,
                                              first, n, true, record, &t->cursor.correct);
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

static void report_part(struct tet_trainer *t, int part)
{
    const int series = part == VALIDATION ? TET_SERIES_VALIDATION_LOSS : TET_SERIES_TEST_LOSS;
    const uint32_t n = t->part[part].n;
    if (n > 0)
        emit(t, (enum tet_series)series, 0, t->loss[part] / n);
    if (n > 0 && classifies(t))
        emit(t, (enum tet_series)(series + 1), 0, (double)t->correct[part] / n);
}

/* Of the epoch's training, and of its validation. */
static void report_learning(struct tet_trainer *t)
{
    const uint64_t seen = (uint64_t)t->cursor.batch * t->net.plan.batch;
    const uint32_t trained = seen < t->net.plan.n_train ? (uint32_t)seen : t->net.plan.n_train;
    emit(t, TET_SERIES_TRAIN_LOSS, 0, t->cursor.loss_sum / trained);
    if (classifies(t))
        emit(t, TET_SERIES_TRAIN_ACCURACY, 0, (double)t->cursor.correct / trained);
    report_part(t, VALIDATION);
    if (t->net.plan.record_spectrum)
        tet_telemetry_spectrum(&t->net, &(struct tet_emitter){.emit = emit_spectrum, .context = t});
}

/* Of an ending run the validation is over and reported. */
static void begin_evaluation(struct tet_trainer *t)
{
    t->evaluated = tet_selection_phase(&t->net) == TET_ENDING ? TEST : VALIDATION;
    t->position = 0;
    memset(t->loss, 0, sizeof t->loss);
    memset(t->correct, 0, sizeof t->correct);
}

static bool all_steps_done(const struct tet_trainer *t)
{
    return t->cursor.step >= tet_plan_steps(&t->net.plan) ||
           tet_selection_phase(&t->net) != TET_GOING_ON;
}

static bool is_sound(const struct tet_trainer *t)
{
    char name[24];
    return first_not_finite(t, name) == NULL && isfinite(t->loss[VALIDATION]) &&
           isfinite(t->loss[TEST]);
}

/* Lets the validation decide. Where it ends the run, what is known of the last epoch is reported
 * before the best one's weights take the place of its own. */
static void select_epoch(struct tet_trainer *t)
{
    const struct tet_selection_plan *plan = &t->net.plan.selection;
    const double n = t->part[VALIDATION].n;
    const double metric = plan->metric == TET_METRIC_LOSS ? t->loss[VALIDATION] / n
                                                          : (double)t->correct[VALIDATION] / n;
    if (!tet_selection_judge(&t->net, t->cursor.epoch + 1, metric) && !all_steps_done(t))
        return;
    report_learning(t);
    if (plan->best)
        tet_selection_restore(&t->net);
    tet_selection_set_phase(&t->net, TET_ENDING);
}

static bool tests_now(const struct tet_trainer *t)
{
    return t->part[TEST].n > 0 && (!t->net.plan.test_at_end || all_steps_done(t));
}

static void evaluate_chunk(struct tet_trainer *t)
{
    const struct part *part = &t->part[t->evaluated];
    const uint32_t rest = part->n - t->position;
    const uint32_t n = rest < t->net.capacity ? rest : (uint32_t)t->net.capacity;
    t->loss[t->evaluated] += tet_trainer_run_batch(t, part, NULL, t->position, n, false, false,
                                                   &t->correct[t->evaluated]);
    t->position += n;
}

static enum tet_event end_epoch(struct tet_trainer *t)
{
    const bool ending = tet_selection_phase(&t->net) == TET_ENDING;
    if (!ending)
        report_learning(t);
    if (tests_now(t))
        report_part(t, TEST);
    if (ending && t->net.plan.selection.best)
        emit(t, TET_SERIES_SELECTED_EPOCH, 0, tet_selection_epoch(&t->net));
    if (ending)
        tet_selection_set_phase(&t->net, TET_ENDED);
    t->evaluated = TRAIN;
    t->ordered = false;
    t->cursor.epoch++;
    t->cursor.batch = 0;
    t->cursor.loss_sum = 0.0;
    t->cursor.correct = 0;
    return all_steps_done(t) ? TET_FINISHED : TET_EPOCH;
}

static enum tet_event evaluate(struct tet_trainer *t)
{
    const bool selects = t->net.plan.selection.metric != TET_METRIC_NONE;
    if (t->evaluated == TRAIN)
        begin_evaluation(t);
    if (t->evaluated == VALIDATION && t->position >= t->part[VALIDATION].n) {
        if (selects && !is_sound(t))
            return diverge(t, t->cursor.step);
        if (selects)
            select_epoch(t);
        t->evaluated = TEST;
        t->position = 0;
    }
    if (t->position < t->part[t->evaluated].n && (t->evaluated == VALIDATION || tests_now(t))) {
        evaluate_chunk(t);
        return TET_STEPPED;
    }
    return is_sound(t) ? end_epoch(t) : diverge(t, t->cursor.step);
}

enum tet_event tet_trainer_step(struct tet_trainer *t)
{
    if (t->diverged)
        return TET_DIVERGED;
    if (all_steps_done(t))
        return t->cursor.batch == 0 ? TET_FINISHED : evaluate(t);
    return t->cursor.batch < tet_plan_steps_per_epoch(&t->net.plan) ? train(t) : evaluate(t);
}

uint32_t tet_trainer_part(const struct tet_trainer *t, enum tet_part part,
                          const struct tet_examples **examples, uint32_t *first)
{
    *examples = t->part[part].examples;
    *first = t->part[part].first;
    return t->part[part].n;
}

const struct tet_net *tet_trainer_net(const struct tet_trainer *t)
{
    return &t->net;
}

struct tet_selection tet_trainer_selection(const struct tet_trainer *t)
{
    return (struct tet_selection){.epoch = tet_selection_epoch(&t->net),
                                  .early = tet_selection_phase(&t->net) == TET_ENDED &&
                                           t->cursor.step < tet_plan_steps(&t->net.plan)};
}

double tet_trainer_loss(const struct tet_trainer *t)
{
    return t->cursor.last_loss;
}

const struct tet_divergence *tet_trainer_divergence(const struct tet_trainer *t)
{
    return &t->divergence;
}
