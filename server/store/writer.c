// SPDX-License-Identifier: Apache-2.0
/*
 * The writer: one thread, one queue of jobs, one transaction for all that wait.
 *
 *     callers --do/post--> queue --take all--> BEGIN; job, job, job; COMMIT --> answers
 *                                                  | anything the storage refuses
 *                                                  v
 *                             undone; then each job in a transaction of its own
 *                                       |                          |
 *                         waited for: answered with the error   posted: kept, in order,
 *                                                               tried again until written
 *
 * A posted job that is kept holds back every later job of its run that is `ordered`: a checkpoint
 * is never in the database without the records before it. Where records are gone for good (out of
 * memory, a shutdown with a full disk), the run counts as `lost`: its checkpoints are refused, and
 * it goes on from its last one.
 *
 * Threads: writer_do, writer_post, writer_lost, store_health from any; the rest says so.
 */
#include "store/internal.h"

#include "monitor/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RETRY_MS = 250 };

/* ---- callers ---- */

static void append(struct store *store, struct job *job)
{
    job->next = NULL;
    *store->last = job;
    store->last = &job->next;
    pthread_cond_signal(&store->arrived);
}

enum tet_err writer_do(struct store *store, struct job *job, struct tet_error *error)
{
    pthread_mutex_lock(&store->lock);
    append(store, job);
    while (!job->done)
        pthread_cond_wait(&store->answered, &store->lock);
    pthread_mutex_unlock(&store->lock);
    if (job->error.err != TET_OK)
        (void)tet_error_set(error, job->error.err, "%s", job->error.message);
    return job->error.err;
}

static bool is_lost(const struct store *store, int64_t run)
{
    if (store->n_lost > STORE_LOST)
        return true;
    for (size_t i = 0; i < store->n_lost; i++)
        if (store->lost[i] == run)
            return true;
    return false;
}

void writer_lost(struct store *store, int64_t run, const char *why)
{
    pthread_mutex_lock(&store->lock);
    if (!is_lost(store, run)) {
        if (store->n_lost < STORE_LOST)
            store->lost[store->n_lost] = run;
        store->n_lost++;
        store->lost_why = (struct tet_error){0};
        (void)tet_error_set(&store->lost_why, TET_DATABASE, "%s", why);
    }
    pthread_mutex_unlock(&store->lock);
}

void writer_found(struct store *store, int64_t run)
{
    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < store->n_lost && store->n_lost <= STORE_LOST; i++)
        if (store->lost[i] == run)
            store->lost[i--] = store->lost[--store->n_lost];
    pthread_mutex_unlock(&store->lock);
}

enum tet_err writer_is_whole(struct store *store, int64_t run, struct tet_error *error)
{
    enum tet_err err = TET_OK;
    pthread_mutex_lock(&store->lock);
    if (is_lost(store, run))
        err = tet_error_set(error, TET_DATABASE,
                            "records of run %lld were lost, it can go on from its last checkpoint "
                            "(%s)",
                            (long long)run, store->lost_why.message);
    pthread_mutex_unlock(&store->lock);
    return err;
}

enum tet_err writer_post(struct store *store, struct job *job, struct tet_error *error)
{
    size_t bound = store->limits.pending_bytes;
    enum tet_err err = writer_is_whole(store, job->run, error);
    if (err != TET_OK) {
        job->destroy(job);
        return err;
    }
    pthread_mutex_lock(&store->lock);
    while (store->pending_bytes > 0 && store->pending_bytes + job->bytes > bound && !store->no_wait)
        pthread_cond_wait(&store->answered, &store->lock);
    if (store->pending_bytes == 0 || store->pending_bytes + job->bytes <= bound) {
        store->pending_bytes += job->bytes;
        append(store, job);
        job = NULL;
    }
    pthread_mutex_unlock(&store->lock);
    if (job == NULL)
        return TET_OK;
    job->destroy(job);
    return tet_error_set(error, TET_BUSY, "%s: too much waits to be written", store->path);
}

void store_no_wait(struct store *store)
{
    pthread_mutex_lock(&store->lock);
    store->no_wait = true;
    pthread_cond_broadcast(&store->answered);
    pthread_mutex_unlock(&store->lock);
}

enum tet_err store_health(struct store *store, struct tet_error *error)
{
    pthread_mutex_lock(&store->lock);
    enum tet_err err = store->health.err;
    if (err != TET_OK)
        (void)tet_error_set(error, err, "%s", store->health.message);
    pthread_mutex_unlock(&store->lock);
    return err;
}

/* ---- the writer's thread ---- */

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

/* All jobs in one transaction. false: none of them is written; failure: nothing can begin. */
static bool write_together(struct store *store, struct job *batch, struct tet_error *failure)
{
    struct db *db = &store->db;
    bool durable = false;
    for (const struct job *job = batch; job != NULL; job = job->next)
        durable = durable || job->durable;
    if (db_begin(db, durable, failure) != TET_OK)
        return false;
    for (struct job *job = batch; job != NULL; job = job->next) {
        if (!work(store, job)) {
            db_rollback(db);
            forget_series(store);
            changes_forget(&store->changes, 0);
            return false;
        }
    }
    if (changes_commit(store, NULL) == TET_OK) {
        changes_tell(store);
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

/* Each job alone. Once the storage refused one, posted jobs are kept without a try; what somebody
 * waits for is tried, so that it gets its own answer, unless nothing can be written at all.
 * failure: the storage's last; set before: nothing can begin. */
static void write_alone(struct store *store, struct job *batch, struct tet_error *failure)
{
    bool stuck = failure->err != TET_OK;
    for (struct job *job = batch; job != NULL; job = job->next) {
        bool posted = job->destroy != NULL;
        if (failure->err != TET_OK &&
            (stuck || posted || (job->ordered && is_behind_kept(batch, job)))) {
            job->error = *failure;
            job->kept = posted;
            continue;
        }
        if (write_one(store, job, &stuck))
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

/* Under lock. Waits for jobs, for closing or, while something is wrong, for the next try. */
static void wait_for_work(struct store *store)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += RETRY_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (store->first == NULL && !store->closing) {
        if (store->removing && store->kept == NULL && store->health.err == TET_OK)
            return;
        if (store->kept == NULL && store->health.err == TET_OK)
            pthread_cond_wait(&store->arrived, &store->lock);
        else if (pthread_cond_timedwait(&store->arrived, &store->lock, &until) == ETIMEDOUT)
            return;
    }
}

static void write_batch(struct store *store, struct job *batch)
{
    struct tet_error failure = {0};
    int64_t before = db_changes(&store->db);
    if (!write_together(store, batch, &failure))
        write_alone(store, batch, &failure);
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

static bool is_well(struct store *store)
{
    pthread_mutex_lock(&store->lock);
    const bool well = store->health.err == TET_OK;
    pthread_mutex_unlock(&store->lock);
    return well;
}

/* Between batches, a little is removed: a step is so short that nobody waits for it noticeably. */
static void *writer_main(void *argument)
{
    struct store *store = argument;
    struct job probing = {.work = probe}, removing = {.work = removal_step};
    for (bool closing = false; !closing;) {
        pthread_mutex_lock(&store->lock);
        wait_for_work(store);
        struct job *batch = store->first;
        store->first = NULL;
        store->last = &store->first;
        closing = store->closing && batch == NULL;
        pthread_mutex_unlock(&store->lock);

        if (store->kept != NULL) {
            struct job **end = &store->kept;
            while (*end != NULL)
                end = &(*end)->next;
            *end = batch;
            batch = store->kept;
        }
        if (batch == NULL && !closing && (store->kept != NULL || !is_well(store))) {
            probing.next = NULL;
            batch = &probing;
        }
        if (batch != NULL)
            write_batch(store, batch);
        if (store->removing && !closing && is_well(store)) {
            removing.next = NULL;
            write_batch(store, &removing);
        }
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
