// SPDX-License-Identifier: Apache-2.0
/*
 * The writer: one thread, one queue of jobs, one transaction for many.
 *
 *     callers --do/post--> queue --> urgent  --all------------> BEGIN; job, job, job; COMMIT --> answers
 *                            `-----> backlog --for a moment-------^    | anything the storage refuses
 *                                                                      v
 *                             undone; then each job in a transaction of its own
 *                                       |                          |
 *                         waited for: answered with the error   posted: kept, in order,
 *                                                               tried again until written
 *
 * What somebody waits for is urgent, unless it is `ordered` or `in_turn`: it goes before records and
 * checkpoints that were posted earlier, however many they are. A transaction for the backlog takes
 * new jobs for BATCH_MS only, and the two take turns, so that neither waits for more than one
 * transaction of the other. Jobs of the backlog keep their order.
 *
 * A posted job that is kept holds back every later job of its run that is `ordered`: a checkpoint
 * is never in the database without the records before it. Where records are gone for good (out of
 * memory, a shutdown with a full disk), the run counts as `lost`: its checkpoints are refused, and
 * it goes on from its last one.
 *
 * Jobs come by jobs.c. Threads: all but writer_start and writer_stop is the writer's.
 */
#include "store/internal.h"

#include "clock.h"
#include "monitor/log.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum { RETRY_MS = 250, BATCH_MS = 5 };

static void forget_series(struct store *store)
{
    memset(&store->series, 0, sizeof store->series);
}

/* Runs a job inside a transaction. true: it may be committed, or it failed by its own fault and was
 * undone; false: the storage failed it. */
static bool work(struct store *store, struct job *job)
{
    struct db *db = &store->db;
    const size_t seen = store->changes.n;
    job->error = (struct tet_error){0};
    job->kept = false;
    db->trouble = DB_FINE;
    enum tet_err err = db_exec(db, "SAVEPOINT job", &job->error);
    if (err == TET_OK)
        err = job->work(store, job, &job->error);
    if (err == TET_OK)
        err = db_exec(db, "RELEASE job", &job->error);
    if (err == TET_OK)
        return true;

    forget_series(store); // of rows that are undone now
    changes_forget(&store->changes, seen);
    (void)tet_error_set(&job->error, err, "%s", tet_err_message(err));
    if (db->trouble > DB_STATEMENT || err == TET_NO_MEMORY ||
        db_exec(db, "ROLLBACK TO job; RELEASE job", NULL) != TET_OK)
        return false;
    if (job->destroy != NULL)
        writer_lost(store, job->run, job->error.message);
    return true;
}

static bool any_durable(const struct job *batch)
{
    while (batch != NULL && !batch->durable)
        batch = batch->next;
    return batch != NULL;
}

/* Jobs in one transaction: all of them or, of a long batch, those that it has time for; the others
 * go to *rest. A durable job begins a transaction of its own kind: the records before it do not pay
 * for its safety. false: none is written; failure: nothing can begin. */
static bool write_together(struct store *store, struct job *batch, bool is_long, struct job **rest,
                           struct tet_error *failure)
{
    struct db *db = &store->db;
    const bool durable = is_long ? batch->durable : any_durable(batch);
    const int64_t until = clock_ms() + BATCH_MS;
    struct job *last = NULL;
    if (db_begin(db, durable, failure) != TET_OK)
        return false;
    for (struct job *job = batch; job != NULL; last = job, job = job->next) {
        if (is_long && last != NULL && ((job->durable && !durable) || clock_ms() >= until))
            break;
        if (!work(store, job)) {
            db_rollback(db);
            forget_series(store);
            changes_forget(&store->changes, 0);
            return false;
        }
    }
    if (changes_commit(store, NULL) == TET_OK) {
        changes_tell(store);
        *rest = last->next;
        last->next = NULL;
        return true;
    }
    forget_series(store);
    changes_forget(&store->changes, 0);
    return false;
}

/* One job in a transaction of its own. false: the storage refused it, and job->error says why;
 * *stuck: it does not let anything begin. */
static bool write_one(struct store *store, struct job *job, bool *stuck)
{
    struct db *db = &store->db;
    job->error = (struct tet_error){0};
    job->kept = false;
    *stuck = db_begin(db, job->durable, &job->error) != TET_OK;
    if (*stuck)
        return false;
    bool good = work(store, job);
    if (good && job->error.err == TET_OK)
        good = changes_commit(store, &job->error) == TET_OK;
    else
        db_rollback(db);
    if (!good)
        forget_series(store);
    if (good && job->error.err == TET_OK)
        changes_tell(store);
    changes_forget(&store->changes, 0);
    return good;
}

static bool is_behind_kept(const struct job *batch, const struct job *job)
{
    for (const struct job *other = batch; other != job; other = other->next)
        if (other->kept && other->run == job->run)
            return true;
    return false;
}

/* What is in the log goes into the file; then the log begins anew, in the room that it has. */
static void empty_log(struct store *store)
{
    (void)!db_exec(&store->db, "PRAGMA wal_checkpoint(PASSIVE);", NULL);
}

/* write_one, and on a full disk, for what frees some of it, once more with the room that is kept for that. */
static bool write_or_free(struct store *store, struct job *job, bool *stuck)
{
    if (write_one(store, job, stuck))
        return true;
    if (!job->frees || store->db.trouble != DB_FULL || !space_release(&store->space))
        return false;
    empty_log(store);
    return write_one(store, job, stuck);
}

/* Each job alone. Once the storage refused one, posted jobs are kept without a try; what somebody
 * waits for is tried, so that it gets its own answer, unless nothing can be written at all.
 * failure: the storage's last; set before: nothing can begin, or with `low` only what needs no room. */
static void write_alone(struct store *store, struct job *batch, bool low, struct tet_error *failure)
{
    bool stuck = failure->err != TET_OK && !low;
    for (struct job *job = batch; job != NULL; job = job->next) {
        bool posted = job->destroy != NULL;
        if (failure->err != TET_OK && (stuck || posted || (low && job->grows) ||
                                       (job->ordered && is_behind_kept(batch, job)))) {
            job->error = *failure;
            job->kept = posted;
            continue;
        }
        if (write_or_free(store, job, &stuck))
            continue;
        job->kept = posted;
        *failure = job->error;
    }
}

/* What the jobs have written can be read from now on. */
static void count_commits(struct store *store, const struct job *batch)
{
    struct versions *v = &store->versions;
    for (const struct job *job = batch; job != NULL; job = job->next)
        if (!job->kept)
            atomic_fetch_add(
                job->run > 0 ? &v->of_runs[(uint64_t)job->run % STORE_VERSIONS] : &v->of_all, 1);
}

uint64_t store_version(struct store *store, int64_t run)
{
    struct versions *v = &store->versions;
    return atomic_load(&v->of_all) + atomic_load(&v->of_runs[(uint64_t)run % STORE_VERSIONS]);
}

/* The storage's health has changed: said once, not for each try. */
static void log_health(const char *why)
{
    const struct log_field field = LOG_FIELD_TEXT("why", why);
    if (why != NULL)
        log_line(LOG_AT_ERROR, "database_fails", &field, 1);
    else
        log_line(LOG_AT_WARNING, "database_works_again", NULL, 0);
}

/* Answers what is done; what is kept stays, in order. */
static void answer(struct store *store, struct job *batch, const struct tet_error *failure,
                   bool changed)
{
    struct job *finished = NULL, **kept = &store->kept;
    store->kept = NULL;
    if (store->queue_changed) // now everybody can see it
        store->queue_version++;
    store->queue_changed = false;
    pthread_mutex_lock(&store->lock);
    for (struct job *job = batch, *next; job != NULL; job = next) {
        next = job->next;
        if (job->kept) {
            job->next = NULL;
            *kept = job;
            kept = &job->next;
        } else if (job->destroy == NULL) {
            job->done = true; // from here on it is its caller's
        } else {
            store->pending_bytes -= job->bytes;
            job->next = finished;
            finished = job;
        }
    }
    const bool failed = store->health.err != TET_OK;
    if (failure->err != TET_OK)
        store->health = *failure;
    else if (changed && store->kept == NULL)
        store->health = (struct tet_error){0};
    const bool fails = store->health.err != TET_OK;
    pthread_cond_broadcast(&store->answered);
    pthread_mutex_unlock(&store->lock);
    if (fails != failed)
        log_health(fails ? failure->message : NULL);
    for (struct job *next; finished != NULL; finished = next) {
        next = finished->next;
        finished->destroy(finished);
    }
}

/* A small write, to see whether the storage is well again. */
static enum tet_err probe(struct store *store, struct job *job, struct tet_error *error)
{
    (void)job;
    struct query q = query_open(&store->db, "UPDATE store SET probed_ms = :now", error);
    query_bind_int(&q, ":now", store_now_ms());
    query_run(&q);
    return query_close(&q);
}

/* What was taken from the queue and is not yet written. */
struct lane {
    struct job *first, **last;
};

struct lanes {
    struct lane urgent, backlog;
    bool backlog_next; // its turn
};

static void add(struct lane *lane, struct job *job)
{
    *lane->last = job;
    lane->last = &job->next;
    job->next = NULL;
}

static struct job *empty(struct lane *lane)
{
    struct job *jobs = lane->first;
    *lane = (struct lane){.last = &lane->first};
    return jobs;
}

static bool is_urgent(const struct job *job)
{
    return job->destroy == NULL && !job->ordered && !job->in_turn;
}

/* Shares out jobs, in their order. */
static void sort(struct lanes *lanes, struct job *jobs)
{
    for (struct job *job = jobs, *next; job != NULL; job = next) {
        next = job->next;
        add(is_urgent(job) ? &lanes->urgent : &lanes->backlog, job);
    }
}

static void append_all(struct job **list, struct job *jobs)
{
    while (*list != NULL)
        list = &(*list)->next;
    *list = jobs;
}

/* The next batch. With jobs that were kept: all there is, behind them, so that each job finds those
 * that it must not overtake. */
static struct job *take_batch(struct store *store, struct lanes *lanes, bool *is_long)
{
    struct job *batch = store->kept;
    if (batch != NULL) {
        store->kept = NULL;
        append_all(&batch, empty(&lanes->urgent));
        append_all(&batch, empty(&lanes->backlog));
        *is_long = false;
        return batch;
    }
    *is_long = lanes->urgent.first == NULL || (lanes->backlog_next && lanes->backlog.first != NULL);
    lanes->backlog_next = !*is_long;
    if (!*is_long)
        return empty(&lanes->urgent);
    return lanes->backlog.first;
}

/* Under lock. Waits for jobs, for closing or, while something is wrong, for the next try. */
static void wait_for_work(struct store *store)
{
    struct timespec until;
    clock_in(&until, RETRY_MS);
    while (store->first == NULL && !store->closing) {
        if (store->removing && !store->removal_fails &&
            (store->health.err == TET_STORAGE_FULL ||
             (store->kept == NULL && store->health.err == TET_OK)))
            return;
        if (store->kept == NULL && store->health.err == TET_OK)
            pthread_cond_wait(&store->arrived, &store->lock);
        else if (pthread_cond_timedwait(&store->arrived, &store->lock, &until) == ETIMEDOUT)
            return;
    }
}

/* *rest: the jobs of a long batch that there was no time for. */
static void write_batch(struct store *store, struct job *batch, bool is_long, struct job **rest)
{
    struct tet_error failure = {0};
    int64_t before = db_changes(&store->db);
    *rest = NULL;
    const bool low = space_check(&store->space, 0, &failure) != TET_OK;
    if (low || !write_together(store, batch, is_long, rest, &failure))
        write_alone(store, batch, low, &failure);
    else
        space_keep(&store->space);
    count_commits(store, batch);
    answer(store, batch, &failure, db_changes(&store->db) != before);
}

static void drop_kept(struct store *store)
{
    for (struct job *job = store->kept, *next; job != NULL; job = next) {
        next = job->next;
        job->destroy(job);
    }
    store->kept = NULL;
}

static enum tet_err health_of(struct store *store)
{
    pthread_mutex_lock(&store->lock);
    const enum tet_err err = store->health.err;
    pthread_mutex_unlock(&store->lock);
    return err;
}

/* Also on a full disk: that makes room, once what is removed has gone from the log to the file. */
static void remove_little(struct store *store, struct job *removing)
{
    const enum tet_err health = health_of(store);
    if (health != TET_OK && health != TET_STORAGE_FULL)
        return;
    struct job *batch = store->kept, *rest;
    store->kept = NULL;
    removing->next = NULL;
    append_all(&batch, removing);
    write_batch(store, batch, false, &rest);
    store->removal_fails = removing->error.err != TET_OK;
    if (health == TET_STORAGE_FULL)
        empty_log(store);
}

/* Takes what has arrived. false: the store closes, and there is nothing left. */
static bool take(struct store *store, struct lanes *lanes)
{
    pthread_mutex_lock(&store->lock);
    if (lanes->urgent.first == NULL && lanes->backlog.first == NULL)
        wait_for_work(store);
    struct job *arrived = store->first;
    store->first = NULL;
    store->last = &store->first;
    const bool closing = store->closing;
    pthread_mutex_unlock(&store->lock);
    sort(lanes, arrived);
    return !closing || lanes->urgent.first != NULL || lanes->backlog.first != NULL;
}

/* Between batches, a little is removed: a step is so short that nobody waits for it noticeably. */
static void *writer_main(void *argument)
{
    struct store *store = argument;
    struct job probing = {.work = probe}, removing = {.work = removal_step, .frees = true}, *rest;
    struct lanes lanes = {0};
    (void)empty(&lanes.urgent);
    (void)empty(&lanes.backlog);
    for (bool more = true; more;) {
        bool is_long;
        more = take(store, &lanes);
        struct job *batch = take_batch(store, &lanes, &is_long);
        if (batch == NULL && more && health_of(store) != TET_OK) {
            probing.next = NULL;
            batch = &probing;
        }
        if (batch != NULL) {
            write_batch(store, batch, is_long, &rest);
            if (is_long && (lanes.backlog.first = rest) == NULL)
                (void)empty(&lanes.backlog);
        }
        if (store->removing && more)
            remove_little(store, &removing);
    }
    drop_kept(store);
    return NULL;
}

enum tet_err writer_start(struct store *store, struct tet_error *error)
{
    int rc = pthread_create(&store->thread, NULL, writer_main, store);
    if (rc != 0)
        return tet_error_set(error, TET_NO_MEMORY, "%s: no memory for the writer's thread (%s)",
                             store->path, strerror(rc));
    store->started = true;
    return TET_OK;
}

void writer_stop(struct store *store)
{
    if (!store->started)
        return;
    pthread_mutex_lock(&store->lock);
    store->closing = true;
    pthread_cond_signal(&store->arrived);
    pthread_mutex_unlock(&store->lock);
    (void)pthread_join(store->thread, NULL);
    store->started = false;
}
