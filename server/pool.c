// SPDX-License-Identifier: Apache-2.0
/*
 * Workers: see pool.h.
 *
 *     claim -> session_run -> store_end -> claim ...     with nothing to claim: wait until woken
 *
 * A worker that finds the next run too large for the memory that is free waits for another to end, so
 * that a large run is not passed over for ever: whoever's turn it is, keeps it. `news` counts what may end a wait; a worker
 * reads it before it claims, so that no call of pool_wake falls between the claim and the wait.
 */
#include "pool.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "clock.h"
#include "definition/definition.h"
#include "json.h"
#include "monitor/meters.h"
#include "results/protocol.h"
#include "session.h"
#include "store/queue.h"

#define HANDED_BACK "paused and resumed by a user"

/* Training takes what answering leaves: the threads that answer are short of time for moments only. */
enum { NICE = 5 };

struct worker {
    struct pool *pool;
    uint32_t number; // from 1
    pthread_t thread;
    bool started;
    int64_t run, experiment; // 0: idle; under pool->lock, as the next two
    uint64_t steps;          // of the run
    uint32_t batch;
    uint64_t memory_bytes;
    struct store_keep keep; // checkpoints of the run
    _Atomic int stop;       // enum session_stop of the run
    struct session_live live;
};

struct pool {
    struct pool_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t news; // under lock, as all below
    uint64_t used; // bytes of the runs being trained
    bool stopping;
    double speed; // FLOP/s, running mean
    struct worker *workers;
};

/* ---- the sink: records and checkpoints of a worker's run ---- */

static void sink_records(void *context, const struct tet_record *records, size_t n)
{
    struct worker *w = context;
    store_metrics(w->pool->options.store, w->run, records, n);
    if (w->pool->options.events != NULL)
        events_records(w->pool->options.events, w->run, w->experiment, records, n);
}

static enum tet_err sink_checkpoint(void *context, struct store_checkpoint *checkpoint,
                                    struct tet_error *error)
{
    struct worker *w = context;
    return store_checkpoint_write(w->pool->options.store, w->run, checkpoint, w->keep, false,
                                  error);
}

static void sink_intervened(void *context, uint32_t number, uint64_t step, const json_t *what)
{
    struct worker *w = context;
    char *detail = json_canonical(what);
    if (detail != NULL) // of no effect on the run: it can do without
        store_intervention(w->pool->options.store, w->run, number, step, detail);
    free(detail);
}

static void sink_measured(void *context, uint64_t steps, uint64_t examples, double time)
{
    (void)context;
    atomic_fetch_add_explicit(&meters.samples, examples, memory_order_relaxed);
    meters_add(&meters.step, time / (double)steps, steps);
}

/* ---- one run ---- */

static void measure(struct pool *pool, const json_t *definition,
                    const struct session_result *result, uint64_t first)
{
    struct dataset_spec spec;
    struct dataset_info info;
    struct tet_plan plan;
    if (result->step <= first || result->train_seconds < 0.05 ||
        protocol_patterns(definition) > 0 || // no measure of training
        definition_dataset(&spec, definition, NULL) != TET_OK ||
        catalog_info(pool->options.catalog, &spec, &info, NULL) != TET_OK ||
        definition_plan(&plan, definition, &info, NULL) != TET_OK)
        return;
    const double flops =
        tet_plan_flops(&plan, &info.shape) * plan.batch * (double)(result->step - first);
    const double speed = flops / result->train_seconds;
    pthread_mutex_lock(&pool->lock);
    pool->speed = pool->speed == 0.0 ? speed : 0.8 * pool->speed + 0.2 * speed;
    const double now = pool->speed;
    pthread_mutex_unlock(&pool->lock);
    store_set_speed(pool->options.store, now);
}

/* Whether the run could not begin for what the server finds around it: a dataset that is not there
 * or not the same, too little memory, a checkpoint that cannot be read. That is no result: the run waits, paused, for the next start
 * of the server. */
static bool is_hindered(const struct session_result *result)
{
    const enum tet_err err = result->err;
    return result->state == RUN_FAILED && !result->begun &&
           (err == TET_NOT_FOUND || err == TET_IO || err == TET_BAD_DATASET ||
            err == TET_NO_MEMORY || err == TET_STORAGE_FULL || err == TET_STORAGE_FAILS ||
            err == TET_DATABASE); // to SQLite, too, what could not be read may be damaged
}

/* Once: true where it is written, or no longer ours to write. */
static bool write_end(struct worker *w, struct session_result *result, const char *rows)
{
    struct tet_error error = {0};
    struct store_ending ending = {.state = result->state,
                                  .step = result->step,
                                  .train_seconds = result->train_seconds,
                                  .keep = w->keep};
    snprintf(ending.reason, sizeof ending.reason, "%s",
             result->state == RUN_QUEUED && result->reason[0] == '\0'
                 ? "given back when the server stopped"
                 : result->reason);
    snprintf(ending.digest, sizeof ending.digest, "%s", result->digest);
    snprintf(ending.divergence, sizeof ending.divergence, "%s", result->divergence);
    if (result->captured)
        ending.checkpoint = &result->last;
    ending.protocol = rows;
    const enum tet_err err = store_end(w->pool->options.store, w->run, &ending, &error);
    return err == TET_OK || err == TET_NOT_FOUND || err == TET_CONFLICT;
}

/* Writes the end of the attempt; a store that cannot write now (a full disk) is asked again until
 * it can, or until the pool stops: the run is then trained again from its last checkpoint after a
 * restart. */
static void end_run(struct worker *w, struct session_result *result)
{
    struct pool *pool = w->pool;
    char *rows = result->protocol != NULL ? json_canonical(result->protocol) : NULL;
    if (result->protocol != NULL && rows == NULL) {
        result->state = RUN_FAILED;
        result->digest[0] = '\0';
        snprintf(result->reason, sizeof result->reason, "no memory for the protocol's table");
    }
    while (!write_end(w, result, rows)) {
        pthread_mutex_lock(&pool->lock);
        struct timespec until;
        clock_in(&until, 1000);
        const bool stopping = pool->stopping;
        if (!stopping)
            pthread_cond_timedwait(&pool->changed, &pool->lock, &until);
        pthread_mutex_unlock(&pool->lock);
        if (stopping)
            break;
    }
    free(rows);
}

/* Whether the run was cancelled or paused between its claim and now; later, pool_halt finds the
 * worker. */
struct seen {
    enum run_state state;
    bool held;
    uint64_t steps;
};

static bool see_run(void *context, const struct store_run *run)
{
    *(struct seen *)context = (struct seen){run->state, run->held, run->steps};
    if (run->attempts == 1)
        meters_add(&meters.queue_wait, 1e-3 * (double)(run->started_ms - run->created_ms), 1);
    return true;
}

/* What its progress is measured by. */
static void know(struct worker *w, uint64_t steps, const json_t *definition)
{
    const json_t *training = json_object_get(definition, "training");
    const json_int_t batch = json_integer_value(json_object_get(training, "batch"));
    const uint32_t patterns = protocol_patterns(definition);
    pthread_mutex_lock(&w->pool->lock);
    w->steps = steps;
    w->batch = patterns > 0 ? patterns : (uint32_t)batch;
    pthread_mutex_unlock(&w->pool->lock);
}

static bool is_stopping(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    const bool stopping = pool->stopping;
    pthread_mutex_unlock(&pool->lock);
    return stopping;
}

/* Trains, from a checkpoint where there is one. */
static void run_session(struct worker *w, const json_t *definition,
                        const struct store_checkpoint *resume, struct session_result *result)
{
    const struct pool *pool = w->pool;
    const json_t *record = json_object_get(definition, "record");
    const json_int_t last = json_integer_value(json_object_get(record, "keep"));
    w->keep.last = last > 0 ? (uint32_t)last : 2;
    w->keep.best = (uint32_t)json_integer_value(json_object_get(record, "keep_best"));
    const struct session session = {.definition = definition,
                                    .catalog = pool->options.catalog,
                                    .weights_folder = pool->options.weights_folder,
                                    .memory_bytes = pool->options.memory_bytes,
                                    .resume = resume,
                                    .stop = &w->stop,
                                    .live = &w->live,
                                    .sink = {.context = w,
                                             .records = sink_records,
                                             .intervened = sink_intervened,
                                             .measured = sink_measured,
                                             .checkpoint = sink_checkpoint}};
    session_run(&session, result);
}

static void train(struct worker *w, const struct store_claim *claim)
{
    struct pool *pool = w->pool;
    struct session_result result = {.state = RUN_FAILED};
    struct store_checkpoint resume = {0};
    struct tet_error error = {0};
    json_t *definition = NULL;
    struct seen seen = {RUN_RUNNING, false, 0};
    json_begin();
    const enum tet_err found =
        store_run_read(pool->options.store, claim->run, see_run, &seen, NULL);
    if (found == TET_NOT_FOUND || (found == TET_OK && seen.state != RUN_RUNNING))
        goto out; // cancelled, maybe deleted: nothing to train, nothing to say
    if (seen.held) {
        result.state = RUN_QUEUED;
        snprintf(result.reason, sizeof result.reason, "%s", HANDED_BACK);
        end_run(w, &result);
        goto out;
    }
    enum tet_err err = json_read(&definition, claim->definition, strlen(claim->definition), &error);
    if (err == TET_OK)
        know(w, seen.steps, definition);
    if (err == TET_OK && claim->memory_bytes > pool->options.memory_bytes)
        err =
            tet_error_set(&error, TET_NO_MEMORY,
                          "the run needs %llu bytes of memory; this server allows %llu (--memory)",
                          (unsigned long long)claim->memory_bytes,
                          (unsigned long long)pool->options.memory_bytes);
    if (err == TET_OK && claim->resumed)
        err = store_checkpoint_read(pool->options.store, claim->run, 0, &resume, &error);
    if (err != TET_OK) {
        result.err = err;
        snprintf(result.reason, sizeof result.reason, "%s", error.message);
    } else {
        run_session(w, definition, claim->resumed ? &resume : NULL, &result);
        measure(pool, definition, &result, resume.cursor.step);
    }
    if (is_hindered(&result))
        result.state = RUN_PAUSED;
    if (result.state == RUN_QUEUED && !is_stopping(pool)) // of effect where the hold is gone again
        snprintf(result.reason, sizeof result.reason, "%s", HANDED_BACK);
    end_run(w, &result);
out:
    json_decref(result.protocol);
    store_checkpoint_free(&result.last);
    store_checkpoint_free(&resume);
    json_decref(definition);
}

/* ---- the workers ---- */

static void begin(struct worker *w, const struct store_claim *claim)
{
    pthread_mutex_lock(&w->pool->lock);
    atomic_store(&w->stop, w->pool->stopping ? SESSION_GIVE_BACK : SESSION_GO_ON);
    atomic_store(&w->live.step, 0);
    atomic_store(&w->live.epoch, 0);
    atomic_store(&w->live.loss, NAN);
    atomic_store(&w->live.samples_per_second, 0.0f);
    w->run = claim->run;
    w->experiment = claim->experiment;
    w->steps = 0;
    w->batch = 0;
    w->memory_bytes = claim->memory_bytes;
    w->pool->used += claim->memory_bytes;
    pthread_mutex_unlock(&w->pool->lock);
}

static void finish(struct worker *w)
{
    pthread_mutex_lock(&w->pool->lock);
    w->pool->used -= w->memory_bytes;
    w->run = 0;
    w->memory_bytes = 0;
    w->pool->news++; // whoever waits for memory may go on
    pthread_cond_broadcast(&w->pool->changed);
    pthread_mutex_unlock(&w->pool->lock);
}

static void *work(void *context)
{
    struct worker *w = context;
    struct pool *pool = w->pool;
    (void)setpriority(PRIO_PROCESS, 0, NICE); // of this thread, and those that it starts
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        const uint64_t seen = pool->news;
        /* Nothing else runs: take the head whatever it needs, and fail it if that is over the
         * bound. */
        const uint64_t free_bytes = pool->used == 0 ? UINT64_MAX
                                    : pool->used < pool->options.memory_bytes
                                        ? pool->options.memory_bytes - pool->used
                                        : 0;
        pthread_mutex_unlock(&pool->lock);
        struct store_claim claim = {0};
        bool found = false, blocked = false;
        const enum tet_err err =
            store_claim(pool->options.store, w->number, free_bytes, &claim, &found, &blocked, NULL);
        if (found) {
            begin(w, &claim);
            train(w, &claim);
            finish(w);
        }
        store_claim_free(&claim);
        pthread_mutex_lock(&pool->lock);
        while (!found && !pool->stopping && pool->news == seen) {
            struct timespec until; // a store that failed is asked again without being told
            clock_in(&until, err == TET_OK ? 60000 : 1000);
            if (pthread_cond_timedwait(&pool->changed, &pool->lock, &until) != 0)
                break;
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

enum tet_err pool_start(struct pool **pool, const struct pool_options *options,
                        struct tet_error *error)
{
    struct pool *p = calloc(1, sizeof *p);
    *pool = NULL;
    if (p != NULL)
        p->workers = calloc(options->workers, sizeof *p->workers);
    if (p == NULL || p->workers == NULL) {
        free(p);
        return tet_error_set(error, TET_NO_MEMORY, "no memory for %u workers", options->workers);
    }
    p->options = *options;
    p->speed = store_speed(options->store);
    pthread_mutex_init(&p->lock, NULL);
    clock_cond(&p->changed); // nobody waits for an hour because a clock was set back by one
    for (uint32_t i = 0; i < options->workers; i++) {
        struct worker *w = &p->workers[i];
        w->pool = p;
        w->number = i + 1;
        if (pthread_create(&w->thread, NULL, work, w) != 0) {
            pool_stop(p);
            return tet_error_set(error, TET_NO_MEMORY,
                                 "cannot start worker %u of %u: no memory for its thread", i + 1,
                                 options->workers);
        }
        w->started = true;
    }
    *pool = p;
    return TET_OK;
}

void pool_stop(struct pool *p)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    store_no_wait(p->options.store);
    for (uint32_t i = 0; i < p->options.workers; i++) {
        int go_on = SESSION_GO_ON; // a cancellation stays one
        atomic_compare_exchange_strong(&p->workers[i].stop, &go_on, SESSION_GIVE_BACK);
    }
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < p->options.workers; i++)
        if (p->workers[i].started)
            pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p->workers);
    free(p);
}

void pool_wake(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->news++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/* A pause does not undo a cancellation. */
static void halt(struct worker *w, bool hand_back)
{
    int go_on = SESSION_GO_ON;
    if (hand_back)
        atomic_compare_exchange_strong(&w->stop, &go_on, SESSION_GIVE_BACK);
    else
        atomic_store(&w->stop, SESSION_CANCEL);
}

void pool_halt(struct pool *p, const int64_t *runs, size_t n, bool hand_back)
{
    pthread_mutex_lock(&p->lock);
    for (uint32_t i = 0; i < p->options.workers; i++)
        for (size_t k = 0; k < n; k++)
            if (p->workers[i].run == runs[k])
                halt(&p->workers[i], hand_back);
    pthread_mutex_unlock(&p->lock);
}

struct pool_view *pool_look(struct pool *p)
{
    struct pool_view *views = calloc((size_t)p->options.workers + 1, sizeof *views), *next = views;
    pthread_mutex_lock(&p->lock);
    for (uint32_t i = 0; views != NULL && i < p->options.workers; i++) {
        struct worker *w = &p->workers[i];
        if (w->run != 0)
            *next++ =
                (struct pool_view){.run = w->run,
                                   .experiment = w->experiment,
                                   .steps = w->steps,
                                   .batch = w->batch,
                                   .step = atomic_load(&w->live.step),
                                   .epoch = atomic_load(&w->live.epoch),
                                   .loss = atomic_load(&w->live.loss),
                                   .samples_per_second = atomic_load(&w->live.samples_per_second)};
    }
    pthread_mutex_unlock(&p->lock);
    return views;
}

struct event_progress *pool_progress(void *context)
{
    struct pool_view *views = pool_look(context);
    size_t n = 0, used = 0;
    while (views != NULL && views[n].run != 0)
        n++;
    struct event_progress *all = views != NULL ? calloc(n + 1, sizeof *all) : NULL;
    for (size_t i = 0; all != NULL && i < n; i++) {
        const struct pool_view *v = &views[i];
        const double speed = v->samples_per_second > 0 ? (double)v->samples_per_second : NAN;
        const uint64_t left = v->steps > v->step ? v->steps - v->step : 0;
        if (v->steps > 0)
            all[used++] = (struct event_progress){.run = v->run,
                                                  .experiment = v->experiment,
                                                  .step = v->step,
                                                  .steps = v->steps,
                                                  .epoch = v->epoch,
                                                  .samples_per_s = speed,
                                                  .eta_s = (double)left * (double)v->batch / speed,
                                                  .loss = (double)v->loss};
    }
    free(views);
    return all;
}

uint64_t pool_memory(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    const uint64_t used = p->used;
    pthread_mutex_unlock(&p->lock);
    return used;
}

bool pool_borrow(struct pool *p, uint64_t bytes)
{
    pthread_mutex_lock(&p->lock);
    const bool room =
        p->used <= p->options.memory_bytes && bytes <= p->options.memory_bytes - p->used;
    if (room)
        p->used += bytes;
    pthread_mutex_unlock(&p->lock);
    return room;
}

void pool_return(struct pool *p, uint64_t bytes)
{
    pthread_mutex_lock(&p->lock);
    p->used -= bytes;
    p->news++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

uint32_t pool_workers(const struct pool *p)
{
    return p->options.workers;
}

double pool_speed(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    const double speed = p->speed;
    pthread_mutex_unlock(&p->lock);
    return speed;
}
