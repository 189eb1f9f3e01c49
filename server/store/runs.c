// SPDX-License-Identifier: Apache-2.0
/*
 * Runs: their states, the queue's head, the end of an attempt, recovery, reading.
 *
 *     queued --claim--> running --end--> succeeded | diverged | failed
 *      ^  ^                |    --cancel--> cancelled
 *      |  '--end, recover--+--end, held; recover, held--> paused --resume--> queued
 *      '------ resume ----------------------------------- ' ^-- pause -- queued
 *
 * Threads: store_ functions from any; the others in the writer's jobs.
 */
#include "store/bins.h"
#include "store/share.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSED STORE_PAUSED_BY_USER

static const struct {
    const char *text;
    bool final;
} states[] = {
#define X(name, text, final) {text, final},
    RUN_STATES(X)
#undef X
};

const char *run_state_text(enum run_state state)
{
    return states[state].text;
}

bool run_state_final(enum run_state state)
{
    return states[state].final;
}

bool run_state_parse(const char *text, enum run_state *state)
{
    for (int i = 0; text != NULL && i < RUN_STATES_COUNT; i++) {
        if (strcmp(states[i].text, text) == 0) {
            *state = (enum run_state)i;
            return true;
        }
    }
    return false;
}

/* ---- claim ---- */

struct claim_job {
    struct job job;
    uint32_t worker;
    uint64_t memory_bytes;
    struct store_claim *claim;
    bool *found, *blocked;
};

static enum tet_err look_at_head(struct db *db, struct claim_job *job, int64_t head,
                                 struct tet_error *error)
{
    struct query q =
        query_open(db,
                   "SELECT r.id, r.experiment, r.memory_bytes, d.definition,"
                   " EXISTS (SELECT 1 FROM checkpoint c WHERE c.run = r.id)"
                   " FROM run r CROSS JOIN run_definition d ON d.run = r.id WHERE r.id = :head",
                   error);
    query_bind_int(&q, ":head", head);
    struct store_claim *claim = job->claim;
    if (query_row(&q)) {
        claim->run = query_int(&q, 0);
        claim->experiment = query_int(&q, 1);
        claim->memory_bytes = (uint64_t)query_int(&q, 2);
        claim->resumed = query_int(&q, 4) != 0;
        *job->blocked = claim->memory_bytes > job->memory_bytes;
        *job->found = !*job->blocked;
        if (*job->found) {
            const char *text = query_text(&q, 3);
            claim->definition = text != NULL ? strdup(text) : NULL;
            if (claim->definition == NULL)
                query_fail(&q, TET_NO_MEMORY, "out of memory");
        }
    }
    return query_close(&q);
}

static enum tet_err claim_work(struct store *store, struct job *base, struct tet_error *error)
{
    struct claim_job *job = (struct claim_job *)base;
    struct db *db = &store->db;
    *job->found = *job->blocked = false;
    store_claim_free(job->claim);
    int64_t head = 0;
    enum tet_err err = share_charge_old(store, error);
    if (err == TET_OK)
        err = share_choose(store, &head, error);
    if (err == TET_OK && head != 0)
        err = look_at_head(db, job, head, error);
    if (err != TET_OK || !*job->found)
        return err;
    struct query q = query_open(db,
                                "UPDATE run SET state = 'running', reason = NULL, worker = :worker,"
                                " attempts = attempts + 1,"
                                " started_ms = iif(started_ms = 0, :now, started_ms)"
                                " WHERE id = :run",
                                error);
    query_bind_int(&q, ":worker", job->worker);
    query_bind_int(&q, ":now", store_now_ms());
    query_bind_int(&q, ":run", job->claim->run);
    query_run(&q);
    err = query_close(&q);
    if (err == TET_OK)
        err = share_begin(store, job->claim->run, error);
    store->queue_changed = true;
    if (err == TET_OK)
        writer_found(store, job->claim->run);
    return err;
}

enum tet_err run_is_cancelled(struct db *db, int64_t run, int64_t *cancelled,
                              struct tet_error *error)
{
    struct query q =
        query_open(db, "SELECT 1 FROM run WHERE id = :run AND state = 'cancelled'", error);
    query_bind_int(&q, ":run", run);
    *cancelled = query_row(&q);
    return query_close(&q);
}

enum tet_err store_claim(struct store *store, uint32_t worker, uint64_t memory_bytes,
                         struct store_claim *claim, bool *found, bool *blocked,
                         struct tet_error *error)
{
    struct claim_job job = {.job = {.work = claim_work, .grows = true},
                            .worker = worker,
                            .memory_bytes = memory_bytes,
                            .claim = claim,
                            .found = found,
                            .blocked = blocked};
    *claim = (struct store_claim){0};
    enum tet_err err = writer_do(store, &job.job, error);
    if (err != TET_OK)
        *found = *blocked = false;
    if (!*found)
        store_claim_free(claim);
    return err;
}

void store_claim_free(struct store_claim *claim)
{
    free(claim->definition);
    *claim = (struct store_claim){0};
}

/* ---- trim and recover ---- */

/* A run's last values once later ones are gone. In a query with max(), the other columns are of the
 * row that has it. */
enum tet_err remake_final(struct db *db, int64_t run, struct tet_error *error)
{
    static const char *const steps[] = {
        "DELETE FROM final WHERE run = :run",
        "INSERT INTO final (run, series, step, value)"
        " SELECT run, series, max(step), value FROM metric WHERE run = :run GROUP BY series",
    };
    enum tet_err err = TET_OK;
    for (size_t i = 0; i < sizeof steps / sizeof *steps && err == TET_OK; i++) {
        struct query q = query_open(db, steps[i], error);
        query_bind_int(&q, ":run", run);
        query_run(&q);
        err = query_close(&q);
    }
    return err;
}

/* Removes what a run recorded after its newest checkpoint (everything where it has none), and sets
 * its step and records to the checkpoint's. */
static enum tet_err trim(struct db *db, int64_t run, struct tet_error *error)
{
    int64_t records = 0, step = 0;
    struct query q = query_open(db,
                                "SELECT records, step FROM checkpoint WHERE run = :run"
                                " ORDER BY step DESC LIMIT 1",
                                error);
    query_bind_int(&q, ":run", run);
    if (query_row(&q)) {
        records = query_int(&q, 0);
        step = query_int(&q, 1);
    }
    enum tet_err err = query_close(&q);
    if (err != TET_OK)
        return err;

    q = query_open(db, "DELETE FROM metric WHERE run = :run AND sequence >= :records", error);
    query_bind_int(&q, ":run", run);
    query_bind_int(&q, ":records", records);
    query_run(&q);
    err = query_close(&q);
    if (err == TET_OK)
        err = remake_final(db, run, error);
    int64_t level = 0;
    if (err == TET_OK)
        err = bins_level(db, run, &level, error);
    if (err == TET_OK && level > 0)
        err = bins_remake(db, run, (uint32_t)level, (uint64_t)step, error);
    if (err == TET_OK)
        err = timeline_trim(db, run, step, error);
    if (err != TET_OK)
        return err;

    q = query_open(db, "UPDATE run SET records = :records, step = :step WHERE id = :run", error);
    query_bind_int(&q, ":records", records);
    query_bind_int(&q, ":step", step);
    query_bind_int(&q, ":run", run);
    query_run(&q);
    return query_close(&q);
}

/* One run at a time, each taken out of the set that is looked at. */
enum tet_err runs_recover(struct store *store, struct tet_error *error)
{
    struct db *db = &store->db;
    /* Where no user paused them, runs pause for what the server found around it; it may be mended
     * now. */
    struct query paused = query_open(db,
                                     "UPDATE run SET state = 'queued', reason = NULL"
                                     " WHERE state = 'paused' AND held = 0"
                                     " AND experiment NOT IN (SELECT experiment FROM removal)",
                                     error);
    query_run(&paused);
    const enum tet_err unpaused = query_close(&paused);
    if (unpaused != TET_OK)
        return unpaused;
    for (;;) {
        int64_t run = 0;
        enum tet_err err =
            db_number(db, "SELECT id FROM run WHERE state = 'running' LIMIT 1", &run, error);
        if (err != TET_OK || run == 0)
            return err;
        err = trim(db, run, error);
        if (err != TET_OK)
            return err;
        struct query q = query_open(db,
                                    "UPDATE run SET state = iif(held, 'paused', 'queued'), reason ="
                                    " iif(held, '" PAUSED "', 'server restarted') WHERE id = :run",
                                    error);
        query_bind_int(&q, ":run", run);
        query_run(&q);
        err = query_close(&q);
        if (err != TET_OK)
            return err;
    }
}

/* ---- end ---- */

struct end_job {
    struct job job;
    const struct store_ending *ending;
};

/* A cancelled run keeps its state and reason; only what the attempt took is noted. */
static enum tet_err write_ending(struct db *db, int64_t run, const struct store_ending *e,
                                 bool cancelled, struct tet_error *error)
{
    static const char change[] =
        "UPDATE run SET state = :state, held = held AND :state = 'paused', reason = :reason, "
        "digest = :digest,"
        " divergence = :divergence, ended_ms = :ended,"
        " step = max(step, :step), train_seconds = train_seconds + :seconds WHERE id = :run";
    static const char note[] = "UPDATE run SET step = max(step, :step),"
                               " train_seconds = train_seconds + :seconds WHERE id = :run";
    struct query q = query_open(db, cancelled ? note : change, error);
    if (!cancelled) {
        query_bind_text(&q, ":state", run_state_text(e->state));
        query_bind_text(&q, ":reason", *e->reason != '\0' ? e->reason : NULL);
        query_bind_text(&q, ":digest", *e->digest != '\0' ? e->digest : NULL);
        query_bind_text(&q, ":divergence", *e->divergence != '\0' ? e->divergence : NULL);
        query_bind_int(&q, ":ended", run_state_final(e->state) ? store_now_ms() : 0);
    }
    query_bind_int(&q, ":step", (int64_t)e->step);
    query_bind_real(&q, ":seconds", isfinite(e->train_seconds) ? e->train_seconds : 0.0);
    query_bind_int(&q, ":run", run);
    query_run(&q);
    return query_close(&q);
}

static enum tet_err write_protocol(struct db *db, int64_t run, const char *rows,
                                   struct tet_error *error)
{
    struct query q = query_open(
        db, "INSERT OR REPLACE INTO protocol_result (run, rows) VALUES (:run, :rows)", error);
    query_bind_int(&q, ":run", run);
    query_bind_text(&q, ":rows", rows);
    query_run(&q);
    return query_close(&q);
}

static enum tet_err state_of(struct db *db, int64_t run, enum run_state *state, bool *held,
                             struct tet_error *error)
{
    struct query q = query_open(db, "SELECT state, held FROM run WHERE id = :run", error);
    query_bind_int(&q, ":run", run);
    if (!query_row(&q))
        query_fail(&q, TET_NOT_FOUND, "there is no such run");
    else if (!run_state_parse(query_text(&q, 0), state))
        query_fail(&q, TET_DATABASE, "a run has an unknown state");
    else
        *held = query_int(&q, 1) != 0;
    return query_close(&q);
}

/* Where records of the run were lost, its end would not hold all it measured: it is given back
 * instead, and from its last checkpoint it comes to the same end. */
static enum tet_err end_work(struct store *store, struct job *base, struct tet_error *error)
{
    struct store_ending e = *((struct end_job *)base)->ending;
    struct tet_error lost = {0};
    struct db *db = &store->db;
    int64_t run = base->run;
    enum run_state state = RUN_QUEUED;
    bool held = false;

    enum tet_err err = state_of(db, run, &state, &held, error);
    if (err == TET_NOT_FOUND || state == RUN_CANCELLED)
        writer_found(store, run); // nobody asks for its records any more
    if (err != TET_OK)
        return err;
    store->queue_changed = true;
    if (state == RUN_CANCELLED)
        return write_ending(db, run, &e, true, error);
    if (state != RUN_RUNNING || e.state == RUN_RUNNING)
        return tet_error_set(error, TET_CONFLICT, "run %lld cannot go from %s to %s",
                             (long long)run, run_state_text(state), run_state_text(e.state));
    if (e.state != RUN_FAILED && writer_is_whole(store, run, &lost) != TET_OK) {
        e.state = RUN_QUEUED;
        e.checkpoint = NULL;
        *e.digest = '\0';
        *e.divergence = '\0';
        (void)snprintf(e.reason, sizeof e.reason, "%s", lost.message);
    }
    if (held && e.state == RUN_QUEUED) {
        e.state = RUN_PAUSED;
        (void)snprintf(e.reason, sizeof e.reason, "%s", PAUSED);
    }
    err = share_end(store, run, run_state_final(e.state), e.train_seconds, error);
    if (err == TET_OK && e.protocol != NULL && e.state == RUN_SUCCEEDED)
        err = write_protocol(db, run, e.protocol, error);
    if (err == TET_OK && e.checkpoint != NULL)
        err = checkpoint_put(store, run, e.checkpoint, e.keep, error);
    if (err == TET_OK)
        err = write_ending(db, run, &e, false, error);
    if (err == TET_OK && !run_state_final(e.state))
        err = trim(db, run, error);
    return err;
}

enum tet_err store_end(struct store *store, int64_t run, struct store_ending *ending,
                       struct tet_error *error)
{
    struct end_job job = {
        .job = {.work = end_work,
                .run = run,
                .ordered = true,
                .durable = true,
                .grows = ending->checkpoint != NULL || ending->protocol != NULL},
        .ending = ending,
    };
    enum tet_err err = writer_do(store, &job.job, error);
    if (err == TET_OK)
        store_checkpoint_free(ending->checkpoint);
    return err;
}

/* ---- reading ---- */

#define RUN_COLUMNS                                                                                \
    "SELECT r.id, r.experiment, r.state, r.reason, r.parameters, d.definition, r.hash, r.digest,"  \
    " r.step, r.steps, r.memory_bytes, r.attempts, r.worker, r.train_seconds, r.created_ms,"       \
    " r.started_ms, r.ended_ms, r.divergence, r.owner, r.priority, r.held, r.flops, r.rerun_of,"   \
    " r.rerun_result"                                                                              \
    " FROM run r CROSS JOIN run_definition d ON d.run = r.id"

static void run_from_row(struct query *q, struct store_run *run)
{
    *run = (struct store_run){
        .id = query_int(q, 0),
        .experiment = query_int(q, 1),
        .reason = query_text(q, 3),
        .parameters = query_text(q, 4),
        .definition = query_text(q, 5),
        .hash = query_text(q, 6),
        .digest = query_text(q, 7),
        .step = (uint64_t)query_int(q, 8),
        .steps = (uint64_t)query_int(q, 9),
        .memory_bytes = (uint64_t)query_int(q, 10),
        .attempts = (uint32_t)query_int(q, 11),
        .worker = (uint32_t)query_int(q, 12),
        .train_seconds = query_real(q, 13),
        .created_ms = query_int(q, 14),
        .started_ms = query_int(q, 15),
        .ended_ms = query_int(q, 16),
        .divergence = query_text(q, 17),
        .owner = query_text(q, 18),
        .priority = (int32_t)query_int(q, 19),
        .held = query_int(q, 20) != 0,
        .flops = query_real(q, 21),
        .rerun_of = query_int(q, 22),
        .rerun_result = query_text(q, 23),
    };
    if (!run_state_parse(query_text(q, 2), &run->state))
        query_fail(q, TET_DATABASE, "a run has an unknown state");
}

static enum tet_err read_runs(struct store *store, const char *sql, int64_t id, bool must_exist,
                              store_run_fn *visit, void *context, struct tet_error *error)
{
    struct db *db;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(db, sql, error);
    query_bind_int(&q, ":id", id);
    bool go_on = true, any = false;
    while (go_on && query_row(&q)) {
        struct store_run run;
        run_from_row(&q, &run);
        any = true;
        go_on = q.err == TET_OK && visit(context, &run);
    }
    if (must_exist && !any)
        query_fail(&q, TET_NOT_FOUND, "there is no such run");
    err = query_close(&q);
    reader_give(store, db);
    return err;
}

enum tet_err store_run_read(struct store *store, int64_t run, store_run_fn *visit, void *context,
                            struct tet_error *error)
{
    return read_runs(store, RUN_COLUMNS " WHERE r.id = :id", run, true, visit, context, error);
}

enum tet_err store_runs_read(struct store *store, int64_t experiment, store_run_fn *visit,
                             void *context, struct tet_error *error)
{
    return read_runs(store, RUN_COLUMNS " WHERE r.experiment = :id ORDER BY r.id", experiment,
                     false, visit, context, error);
}

enum tet_err store_protocol_read(struct store *store, int64_t run, char **rows,
                                 struct tet_error *error)
{
    struct db *db;
    *rows = NULL;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(db, "SELECT rows FROM protocol_result WHERE run = :run", error);
    query_bind_int(&q, ":run", run);
    if (!query_row(&q)) {
        query_fail(&q, TET_NOT_FOUND, "the run has no protocol's table");
    } else {
        const char *text = query_text(&q, 0);
        *rows = text != NULL ? strdup(text) : NULL;
        if (*rows == NULL)
            query_fail(&q, TET_NO_MEMORY, "out of memory");
    }
    err = query_close(&q);
    reader_give(store, db);
    return err;
}
