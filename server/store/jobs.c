// SPDX-License-Identifier: Apache-2.0
/*
 * Jobs: how they are left to the writer (writer.c), and waited for.
 *
 * Threads: any.
 */
#include "store/internal.h"

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
