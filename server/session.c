// SPDX-License-Identifier: Apache-2.0
/* One attempt at a run: see session.h. */
#include "session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "definition/definition.h"
#include "file.h"
#include "json.h"
#include "machine.h"
#include "results/protocol.h"
#include "results/weights.h"

/* A step's records are handed over together, so that whoever reads "after step s" misses none of
 * them. Most that one step can have: every series that there is, of each layer and each synapse
 * that is followed. */
enum {
    STEP_RECORDS = TET_SERIES_COUNT * (TET_MAX_HIDDEN + 2) + TET_MAX_TRACES,
    PENDING = 2 * STEP_RECORDS
};

/* Records on their way to the sink, and the clock. */
struct run {
    const struct session *session;
    struct tet_plan plan;
    struct tet_trainer *trainer;
    struct tet_record pending[PENDING];
    size_t n_pending;
    uint32_t told;      // interventions that the sink has heard of, or that an attempt before told
    double begun, mark; // seconds: of the session, of the present stretch of measuring
    uint64_t mark_step;
};

static void flush(struct run *r)
{
    if (r->n_pending > 0)
        r->session->sink.records(r->session->sink.context, r->pending, r->n_pending);
    r->n_pending = 0;
}

static void report(void *context, const struct tet_record *record)
{
    struct run *r = context;
    struct session_live *live = r->session->live;
    if (record->series == TET_SERIES_TRAIN_ACCURACY)
        atomic_store_explicit(&live->train_accuracy, (float)record->value, memory_order_relaxed);
    if (record->series == TET_SERIES_TEST_ACCURACY)
        atomic_store_explicit(&live->test_accuracy, (float)record->value, memory_order_relaxed);
    r->pending[r->n_pending++] = *record;
}

/* Whether the last step's records are all there: an evaluation would add to them. */
static bool step_is_whole(const struct run *r, const struct tet_cursor *cursor)
{
    const bool last = cursor->batch == tet_plan_steps_per_epoch(&r->plan) ||
                      cursor->step == tet_plan_steps(&r->plan);
    return cursor->batch == 0 || !last;
}

/* Tells of interventions that have happened since: those before mini-batch `step`. */
static void tell(struct run *r, uint64_t step)
{
    const struct session_sink *sink = &r->session->sink;
    const json_t *list = json_object_get(r->session->definition, "interventions");
    for (; r->told < r->plan.n_interventions && r->plan.interventions[r->told].step < step;
         r->told++)
        if (sink->intervened != NULL)
            sink->intervened(sink->context, r->told, r->plan.interventions[r->told].step,
                             json_array_get(list, r->told));
}

/* Those that lie before where the session begins. */
static void skip_told(struct run *r)
{
    const uint64_t step = tet_trainer_cursor(r->trainer).step;
    while (r->told < r->plan.n_interventions && r->plan.interventions[r->told].step < step)
        r->told++;
}

/* Closes the present stretch of measuring, which ends at `now` and `step`. */
static void close_stretch(struct run *r, uint64_t step, double now)
{
    const struct session_sink *sink = &r->session->sink;
    const uint64_t steps = step - r->mark_step;
    if (sink->measured != NULL && steps > 0)
        sink->measured(sink->context, steps, steps * r->plan.batch, now - r->mark);
    r->mark = now;
    r->mark_step = step;
}

/* Twice a second or so: publishes the speed and hands over what waits. */
static void tick(struct run *r)
{
    struct session_live *live = r->session->live;
    const struct tet_cursor cursor = tet_trainer_cursor(r->trainer);
    atomic_store_explicit(&live->step, cursor.step, memory_order_relaxed);
    atomic_store_explicit(&live->epoch, cursor.epoch, memory_order_relaxed);
    atomic_store_explicit(&live->loss, (float)cursor.last_loss, memory_order_relaxed);
    if (r->n_pending > PENDING - STEP_RECORDS && step_is_whole(r, &cursor))
        flush(r);
    const double now = clock_s();
    if (now - r->mark < 0.5)
        return;
    const double rate = (double)(cursor.step - r->mark_step) * r->plan.batch / (now - r->mark);
    atomic_store_explicit(&live->samples_per_second, (float)rate, memory_order_relaxed);
    close_stretch(r, cursor.step, now);
    if (step_is_whole(r, &cursor))
        flush(r);
}

static enum tet_err load_initial_weights(struct run *r, struct tet_error *error)
{
    const json_t *definition = r->session->definition;
    const char *name = json_string_value(json_object_get(definition, "initial_weights"));
    const char *sum = json_string_value(json_object_get(definition, "initial_weights_sha256"));
    char now[FILE_SHA256];
    if (name == NULL)
        return TET_OK;
    char *path = file_join(r->session->weights_folder, name);
    enum tet_err err = path != NULL ? file_sha256(path, now, error)
                                    : tet_error_set(error, TET_NO_MEMORY, "out of memory");
    if (err == TET_OK && sum != NULL && strcmp(sum, now) != 0)
        err = tet_error_set(error, TET_BAD_WEIGHTS,
                            "initial weights %s have changed since the run was submitted", name);
    if (err == TET_OK)
        err = weights_load(r->trainer, path, r->session->memory_bytes, error);
    free(path);
    return err;
}

/* Whether what it resumes from is another run's checkpoint, of another rule perhaps. */
static bool is_fork(const struct session *s)
{
    const json_t *step = json_object_get(json_object_get(s->definition, "fork"), "step");
    return json_is_integer(step) && (uint64_t)json_integer_value(step) == s->resume->cursor.step;
}

static enum tet_err prepare(struct run *r, const struct tet_dataset **dataset,
                            struct tet_error *error)
{
    const struct session *s = r->session;
    struct dataset_spec spec;
    struct dataset_info info;
    enum tet_err err = definition_dataset(&spec, s->definition, error);
    if (err == TET_OK)
        err = catalog_acquire(s->catalog, &spec, dataset, &info, error);
    const json_t *sum = json_object_get(json_object_get(s->definition, "dataset"), "sha256");
    if (err == TET_OK && json_is_string(sum) && strcmp(json_string_value(sum), info.sha256) != 0)
        err = tet_error_set(error, TET_BAD_DATASET,
                            "dataset %s has changed since the run was submitted: %s, not %s",
                            spec.name, info.sha256, json_string_value(sum));
    if (err == TET_OK)
        err = definition_plan(&r->plan, s->definition, &info, error);
    const uint32_t processors = machine_processors();
    r->plan.threads = r->plan.threads < processors ? r->plan.threads : processors;
    if (err == TET_OK)
        err = tet_trainer_create(&r->trainer, &r->plan, *dataset, report, r, error);
    if (err == TET_OK)
        err = s->resume == NULL ? load_initial_weights(r, error)
              : is_fork(s)      ? weights_adopt(r->trainer, s->resume, error)
                                : weights_restore(r->trainer, s->resume, error);
    return err;
}

static enum tet_err checkpoint(struct run *r, struct tet_error *error)
{
    const json_t *record = json_object_get(r->session->definition, "record");
    const json_int_t every = json_integer_value(json_object_get(record, "checkpoint_epochs"));
    const uint32_t epoch = tet_trainer_cursor(r->trainer).epoch;
    if (r->session->sink.checkpoint == NULL || every < 1 || epoch % every != 0)
        return TET_OK;
    flush(r);
    struct store_checkpoint copy;
    enum tet_err err = weights_capture(&copy, r->trainer, error);
    return err == TET_OK ? r->session->sink.checkpoint(r->session->sink.context, &copy, error)
                         : err;
}

static void describe_divergence(const struct run *r, char reason[STORE_REASON])
{
    const struct tet_divergence *d = tet_trainer_divergence(r->trainer);
    char what[64];
    if (d->tensor[0] != '\0')
        snprintf(what, sizeof what, "%.24s", d->tensor);
    else
        snprintf(what, sizeof what, "the loss");
    if (d->last_step == d->step)
        snprintf(reason, STORE_REASON,
                 "%s is not finite after the update of step %llu, whose loss was %.6g", what,
                 (unsigned long long)d->step, d->last_loss);
    else if (d->last_step > 0)
        snprintf(reason, STORE_REASON,
                 "%s is not finite at step %llu; the last finite loss was %.6g at step %llu", what,
                 (unsigned long long)d->step, d->last_loss, (unsigned long long)d->last_step);
    else
        snprintf(reason, STORE_REASON, "%s is not finite at step %llu, the first", what,
                 (unsigned long long)d->step);
}

/* Only a run that ended before its last epoch has more to say than that it succeeded. */
static void describe_stop(const struct run *r, char reason[STORE_REASON])
{
    const struct tet_selection selection = tet_trainer_selection(r->trainer);
    const struct tet_selection_plan *plan = &r->plan.selection;
    if (!selection.early)
        return;
    snprintf(reason, STORE_REASON,
             "stopped early after epoch %u: no better validation/%s for %u epoch%s; the weights "
             "are those of epoch %u",
             tet_trainer_cursor(r->trainer).epoch,
             plan->metric == TET_METRIC_LOSS ? "loss" : "accuracy", plan->patience,
             plan->patience == 1 ? "" : "s",
             plan->best ? selection.epoch : tet_trainer_cursor(r->trainer).epoch);
}

/* The same for programs. A bias counts with W, whose rate it learns at. */
static enum tet_err put_divergence(const struct tet_divergence *d, char text[STORE_REASON],
                                   struct tet_error *error)
{
    const bool loss = d->tensor[0] == '\0', bias = d->tensor[0] == 'b';
    json_t *value =
        json_pack("{s:I, s:o, s:o, s:o, s:o, s:I}", "step", (json_int_t)d->step, "tensor",
                  loss ? json_null() : json_string(d->tensor), "group",
                  loss ? json_null() : json_sprintf("%c", bias ? 'W' : d->tensor[0]), "layer",
                  loss ? json_null() : json_integer(strtol(d->tensor + 1, NULL, 10)), "last_loss",
                  isfinite(d->last_loss) ? json_real(d->last_loss) : json_null(), "last_step",
                  (json_int_t)d->last_step);
    char *canonical = value != NULL ? json_canonical(value) : NULL;
    json_decref(value);
    if (canonical == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    snprintf(text, STORE_REASON, "%s", canonical);
    free(canonical);
    return TET_OK;
}

static void fail(struct session_result *result, const struct tet_error *error)
{
    result->state = RUN_FAILED;
    result->err = error->err;
    snprintf(result->reason, sizeof result->reason, "%s", error->message);
}

/* What becomes of a run after its last event, or where it was told to stop. */
static enum run_state state_after(enum tet_event event, int stop)
{
    return event == TET_DIVERGED       ? RUN_DIVERGED
           : event == TET_FINISHED     ? RUN_SUCCEEDED
           : stop == SESSION_GIVE_BACK ? RUN_QUEUED
                                       : RUN_CANCELLED;
}

/* Trains until the end or until told to stop. */
static void train(struct run *r, struct session_result *result)
{
    struct tet_error error = {0};
    enum tet_event event = TET_STEPPED;
    int stop = SESSION_GO_ON;
    while (event != TET_FINISHED && event != TET_DIVERGED) {
        const struct tet_cursor cursor = tet_trainer_cursor(r->trainer);
        stop = atomic_load_explicit(r->session->stop, memory_order_relaxed);
        /* Given back only with whole steps: what was handed over of a step is never added to. */
        if (stop == SESSION_CANCEL || (stop == SESSION_GIVE_BACK && step_is_whole(r, &cursor)))
            break;
        event = tet_trainer_step(r->trainer);
        tell(r, event == TET_DIVERGED ? tet_trainer_divergence(r->trainer)->step
                                      : tet_trainer_cursor(r->trainer).step);
        tick(r);
        if (event == TET_EPOCH && checkpoint(r, &error) != TET_OK) {
            fail(result, &error);
            return;
        }
    }
    result->state = state_after(event, stop);
    if (result->state == RUN_DIVERGED) {
        describe_divergence(r, result->reason);
        if (put_divergence(tet_trainer_divergence(r->trainer), result->divergence, &error) !=
            TET_OK) {
            fail(result, &error);
            return;
        }
    }
    if (result->state == RUN_SUCCEEDED || result->state == RUN_QUEUED) {
        if (weights_capture(&result->last, r->trainer, &error) != TET_OK) {
            fail(result, &error);
            return;
        }
        result->captured = true;
    }
    if (result->state == RUN_SUCCEEDED) {
        describe_stop(r, result->reason);
        weights_digest(result->digest, &result->last);
    }
}

/* ---- a protocol instead of training ---- */

/* Presents the patterns until the end or until told to stop. A protocol is short: given back, it
 * begins again, and comes to the same. */
static enum tet_event present(struct run *r, struct tet_protocol *p, uint32_t patterns,
                              uint32_t pairings, int *stop)
{
    struct session_live *live = r->session->live;
    enum tet_event event = TET_STEPPED;
    while (event == TET_STEPPED) {
        *stop = atomic_load_explicit(r->session->stop, memory_order_relaxed);
        if (*stop != SESSION_GO_ON)
            break;
        event = tet_protocol_step(p);
        const uint64_t step = tet_protocol_step_count(p);
        atomic_store_explicit(&live->step, step, memory_order_relaxed);
        atomic_store_explicit(&live->epoch, (uint32_t)(step / pairings), memory_order_relaxed);
        const double now = clock_s();
        if (now - r->mark < 0.5)
            continue;
        const double rate = (double)(step - r->mark_step) * patterns / (now - r->mark);
        atomic_store_explicit(&live->samples_per_second, (float)rate, memory_order_relaxed);
        r->mark = now;
        r->mark_step = step;
    }
    return event;
}

static void keep_rows(const struct tet_protocol *p, struct session_result *result)
{
    struct tet_error error = {0};
    size_t n = 0;
    const struct tet_protocol_row *rows = tet_protocol_rows(p, &n);
    result->protocol = protocol_json(rows, n);
    if (result->protocol != NULL)
        protocol_digest(result->digest, result->protocol);
    if (result->protocol == NULL || result->digest[0] == '\0') {
        tet_error_set(&error, TET_NO_MEMORY, "no memory for the protocol's table");
        fail(result, &error);
    }
}

static void run_protocol(struct run *r, struct session_result *result)
{
    struct tet_protocol_plan plan;
    struct tet_protocol *p = NULL;
    struct tet_error error = {0};
    int stop = SESSION_GO_ON;
    enum tet_err err = definition_protocol(&plan, r->session->definition, &error);
    if (err == TET_OK)
        err = tet_protocol_create(&p, &plan, r->trainer, &error);
    if (err != TET_OK) {
        fail(result, &error);
        goto out;
    }
    const enum tet_event event = present(r, p, plan.n, plan.pairings, &stop);
    result->step = tet_protocol_step_count(p);
    result->state = state_after(event, stop);
    if (event == TET_DIVERGED)
        snprintf(result->reason, sizeof result->reason,
                 "a weight is not finite after condition \"%s\"",
                 tet_condition_text(tet_protocol_condition(p)));
    if (event == TET_FINISHED)
        keep_rows(p, result);
out:
    tet_protocol_destroy(p);
    definition_protocol_free(&plan);
}

void session_run(const struct session *session, struct session_result *result)
{
    struct run r = {.session = session, .begun = clock_s()};
    struct tet_error error = {0};
    const struct tet_dataset *dataset = NULL;
    *result =
        (struct session_result){.step = session->resume != NULL ? session->resume->cursor.step : 0};
    atomic_store(&session->live->train_accuracy, NAN);
    atomic_store(&session->live->test_accuracy, NAN);
    if (prepare(&r, &dataset, &error) != TET_OK) {
        fail(result, &error);
    } else {
        result->begun = true;
        r.begun = r.mark = clock_s();
        r.mark_step = tet_trainer_cursor(r.trainer).step;
        if (protocol_patterns(session->definition) > 0) {
            run_protocol(&r, result);
        } else {
            skip_told(&r);
            train(&r, result);
            result->step = tet_trainer_cursor(r.trainer).step;
            close_stretch(&r, result->step, clock_s());
        }
        result->train_seconds = clock_s() - r.begun;
    }
    flush(&r);
    tet_trainer_destroy(r.trainer);
    catalog_release(session->catalog, dataset);
}
