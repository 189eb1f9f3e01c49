// SPDX-License-Identifier: Apache-2.0
/*
 * What users do to their runs: cancel, pause, resume, set the priority, delete. See queue.h.
 *
 * A running run is its worker's until store_end. So that it is never claimed twice, a pause leaves
 * it `running` and held: store_end, or recovery, makes it `paused`. A resume before that only takes
 * the hold away.
 *
 * Threads: store_act from any; the others in the writer's jobs.
 */
#include "store/share.h"

#include <stdlib.h>
#include <string.h>

struct act_job {
    struct job job;
    const struct store_order *order;
    struct store_acted *acted;
    size_t room; // of acted->ids
};

/* Statements about one run, or about all of an experiment. */
struct scope {
    int64_t id;
    bool one;
};
#define OF_RUN        " WHERE id = :id"
#define OF_EXPERIMENT " WHERE experiment = :id"
#define OPEN(db, scope, text, rest, error)                                                         \
    open_scope(db, scope, (scope).one ? text OF_RUN rest : text OF_EXPERIMENT rest, error)

static struct query open_scope(struct db *db, struct scope scope, const char *sql,
                               struct tet_error *error)
{
    struct query q = query_open(db, sql, error);
    query_bind_int(&q, ":id", scope.id);
    return q;
}

/* How many runs there are, and how many in the states that an action concerns. */
struct counts {
    uint64_t all, queued, running, paused, held_paused, held_running;
};

static enum tet_err count(struct db *db, struct scope scope, struct counts *c,
                          struct tet_error *error)
{
    struct query q = OPEN(db, scope,
                          "SELECT count(*), total(state = 'queued'), total(state = 'running'),"
                          " total(state = 'paused'), total(state = 'paused' AND held),"
                          " total(state = 'running' AND held) FROM run",
                          "", error);
    *c = (struct counts){0};
    if (query_row(&q))
        *c = (struct counts){(uint64_t)query_int(&q, 0), (uint64_t)query_int(&q, 1),
                             (uint64_t)query_int(&q, 2), (uint64_t)query_int(&q, 3),
                             (uint64_t)query_int(&q, 4), (uint64_t)query_int(&q, 5)};
    return query_close(&q);
}

/* The running ones' ids, for the pool. */
static enum tet_err list_running(struct db *db, struct act_job *job, struct scope scope, uint64_t n,
                                 struct tet_error *error)
{
    struct store_acted *acted = job->acted;
    size_t at = acted->running;
    if (n == 0)
        return TET_OK;
    if (at + n > job->room) {
        int64_t *more = realloc(acted->ids, (at + n) * 2 * sizeof *more);
        if (more == NULL)
            return tet_error_set(error, TET_NO_MEMORY, "out of memory");
        acted->ids = more;
        job->room = (at + n) * 2;
    }
    struct query q = OPEN(db, scope, "SELECT id FROM run", " AND state = 'running'", error);
    while (at < job->room && query_row(&q))
        acted->ids[at++] = query_int(&q, 0);
    return query_close(&q);
}

static enum tet_err run_change(struct query *q)
{
    query_run(q);
    return query_close(q);
}

/* ---- the actions; what each adds to `acted` ---- */

static enum tet_err charge_running(struct store *store, const struct act_job *job, uint64_t n,
                                   struct tet_error *error)
{
    enum tet_err err = TET_OK;
    for (uint64_t i = 0; i < n && err == TET_OK; i++)
        err = share_charge(store, job->acted->ids[job->acted->running + i], error);
    return err;
}

static enum tet_err cancel(struct store *store, struct act_job *job, struct scope scope,
                           const struct counts *c, struct tet_error *error)
{
    struct db *db = &store->db;
    enum tet_err err = list_running(db, job, scope, c->running, error);
    if (err == TET_OK)
        err = charge_running(store, job, c->running, error);
    if (err != TET_OK)
        return err;
    struct query q = OPEN(db, scope,
                          "UPDATE run SET state = 'cancelled', held = 0,"
                          " reason = 'cancelled by a user', ended_ms = :now",
                          " AND state IN ('queued', 'paused', 'running')", error);
    query_bind_int(&q, ":now", store_now_ms());
    job->acted->queued += c->queued + c->paused;
    job->acted->running += c->running;
    job->acted->finished += c->all - c->queued - c->paused - c->running;
    return run_change(&q);
}

/* Those paused for want of something are the user's from now on. */
static enum tet_err pause_runs(struct store *store, struct act_job *job, struct scope scope,
                               const struct counts *c, struct tet_error *error)
{
    const uint64_t waiting = c->queued + c->paused - c->held_paused;
    enum tet_err err = list_running(&store->db, job, scope, c->running, error);
    if (err != TET_OK)
        return err;
    struct query q = OPEN(&store->db, scope,
                          "UPDATE run SET held = 1,"
                          " state = iif(state = 'running', 'running', 'paused'),"
                          " reason = iif(state = 'running', reason, '" STORE_PAUSED_BY_USER "')",
                          " AND state IN ('queued', 'paused', 'running') AND held = 0", error);
    job->acted->queued += waiting;
    job->acted->running += c->running;
    job->acted->finished += c->all - waiting - c->running;
    return run_change(&q);
}

static enum tet_err resume_runs(struct store *store, struct act_job *job, struct scope scope,
                                const struct counts *c, struct tet_error *error)
{
    struct query q = OPEN(&store->db, scope,
                          "UPDATE run SET held = 0, state = iif(state = 'paused', 'queued', state),"
                          " reason = iif(state = 'paused', NULL, reason)",
                          " AND (state = 'paused' OR (state = 'running' AND held = 1))", error);
    job->acted->queued += c->paused;
    job->acted->running += c->held_running;
    job->acted->finished += c->all - c->paused - c->held_running;
    return run_change(&q);
}

static enum tet_err set_priority(struct store *store, struct act_job *job, struct scope scope,
                                 const struct counts *c, struct tet_error *error)
{
    struct query q = OPEN(&store->db, scope, "UPDATE run SET priority = :priority",
                          " AND state IN ('queued', 'paused', 'running')", error);
    query_bind_int(&q, ":priority", job->order->priority);
    enum tet_err err = run_change(&q);
    job->acted->queued += c->queued + c->paused;
    job->acted->running += c->running;
    job->acted->finished += c->all - c->queued - c->paused - c->running;
    if (err != TET_OK || scope.one)
        return err;
    q = query_open(&store->db, "UPDATE experiment SET priority = :priority WHERE id = :id", error);
    query_bind_int(&q, ":priority", job->order->priority);
    query_bind_int(&q, ":id", scope.id);
    return run_change(&q);
}

/* Of several, those that cannot be deleted are passed over. */
static enum tet_err delete_runs(struct store *store, struct act_job *job, struct scope scope,
                                const struct counts *c, struct tet_error *error)
{
    uint64_t bytes = 0, pinned = 0;
    enum tet_err err = pinned_count(&store->db, scope.id, &pinned, error);
    if (err != TET_OK)
        return err;
    if (c->queued + c->running + pinned > 0 && job->order->n > 1) {
        job->acted->skipped++;
        job->acted->experiments--;
        return TET_OK;
    }
    if (c->queued + c->running > 0)
        return tet_error_set(
            error, TET_CONFLICT,
            "experiment %lld has %llu runs queued and %llu running: cancel it first",
            (long long)scope.id, (unsigned long long)c->queued, (unsigned long long)c->running);
    if (pinned > 0)
        return tet_error_set(error, TET_CONFLICT,
                             "experiment %lld has %llu pinned run%s: take the pin%s away first",
                             (long long)scope.id, (unsigned long long)pinned,
                             pinned == 1 ? "" : "s", pinned == 1 ? "" : "s");
    err = removal_begin(store, scope.id, &bytes, error);
    job->acted->queued += c->all;
    job->acted->bytes += bytes;
    return err;
}

/* ---- the job ---- */

/* What is being removed has neither. */
static enum tet_err exists(struct db *db, const struct store_order *order, struct scope scope,
                           bool *there, struct tet_error *error)
{
    struct query q = query_open(db,
                                scope.one ? "SELECT 1 FROM run r JOIN run_definition d"
                                            " ON d.run = r.id WHERE r.id = :id"
                                            " AND (:experiment = 0 OR r.experiment = :experiment)"
                                          : "SELECT 1 FROM experiment_runs WHERE experiment = :id",
                                error);
    query_bind_int(&q, ":id", scope.id);
    if (scope.one)
        query_bind_int(&q, ":experiment", order->n > 0 ? order->experiments[0] : 0);
    *there = query_row(&q);
    return query_close(&q);
}

static enum tet_err act_on(struct store *store, struct act_job *job, struct scope scope,
                           struct tet_error *error)
{
    typedef enum tet_err act_fn(struct store *, struct act_job *, struct scope,
                                const struct counts *, struct tet_error *);
    static act_fn *const actions[] = {[STORE_CANCEL] = cancel,
                                      [STORE_PAUSE] = pause_runs,
                                      [STORE_RESUME] = resume_runs,
                                      [STORE_PRIORITY] = set_priority,
                                      [STORE_DELETE] = delete_runs};
    struct counts c;
    bool there = false;
    enum tet_err err = exists(&store->db, job->order, scope, &there, error);
    if (err != TET_OK)
        return err;
    if (!there && !scope.one && job->order->n > 1)
        return TET_OK;
    if (!there)
        return tet_error_set(error, TET_NOT_FOUND,
                             scope.one ? "there is no such run" : "there is no such experiment");
    err = count(&store->db, scope, &c, error);
    job->acted->experiments += !scope.one;
    return err == TET_OK ? actions[job->order->action](store, job, scope, &c, error) : err;
}

static enum tet_err act_work(struct store *store, struct job *base, struct tet_error *error)
{
    struct act_job *job = (struct act_job *)base;
    const struct store_order *order = job->order;
    int64_t *const ids = job->acted->ids;
    *job->acted = (struct store_acted){.ids = ids};
    store->queue_changed = true;
    if (order->run != 0)
        return act_on(store, job, (struct scope){order->run, true}, error);
    enum tet_err err = TET_OK;
    for (size_t i = 0; i < order->n && err == TET_OK; i++)
        err = act_on(store, job, (struct scope){order->experiments[i], false}, error);
    return err;
}

/* The job's run is none: an action need not wait for metrics. */
enum tet_err store_act(struct store *store, const struct store_order *order,
                       struct store_acted *acted, struct tet_error *error)
{
    struct act_job job = {
        .job = {.work = act_work, .durable = true, .frees = true}, .order = order, .acted = acted};
    *acted = (struct store_acted){0};
    enum tet_err err = writer_do(store, &job.job, error);
    if (err != TET_OK) {
        free(acted->ids);
        *acted = (struct store_acted){0};
    }
    return err;
}
