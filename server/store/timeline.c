// SPDX-License-Identifier: Apache-2.0
/*
 * Timelines: what happened to runs. Changes of state are written by the schema's trigger; here are
 * interventions, and the reading.
 *
 * Threads: store_ functions from any; the others in the writer's jobs.
 */
#include "store/internal.h"

#include <stdlib.h>
#include <string.h>

struct intervention_job {
    struct job job;
    uint32_t number;
    uint64_t step;
    int64_t at_ms;
    char detail[];
};

/* A run that was cancelled in the meantime is over: nothing is added to it. */
static enum tet_err intervention_work(struct store *store, struct job *base,
                                      struct tet_error *error)
{
    const struct intervention_job *job = (struct intervention_job *)base;
    struct query q = query_open(
        &store->db,
        "INSERT INTO timeline (run, sequence, at_ms, step, event, intervention, detail)"
        " SELECT id, coalesce((SELECT max(sequence) FROM timeline WHERE run = :run), 0) + 1,"
        " :at, :step, 'intervention', :number, :detail"
        " FROM run WHERE id = :run AND state = 'running'"
        " ON CONFLICT (run, intervention) WHERE intervention IS NOT NULL DO NOTHING",
        error);
    query_bind_int(&q, ":run", base->run);
    query_bind_int(&q, ":at", job->at_ms);
    query_bind_int(&q, ":step", (int64_t)job->step);
    query_bind_int(&q, ":number", job->number);
    query_bind_text(&q, ":detail", job->detail);
    query_run(&q);
    return query_close(&q);
}

static void intervention_destroy(struct job *job)
{
    free(job);
}

void store_intervention(struct store *store, int64_t run, uint32_t number, uint64_t step,
                        const char *detail)
{
    const size_t size = strlen(detail) + 1, bytes = sizeof(struct intervention_job) + size;
    struct intervention_job *job = malloc(bytes);
    if (job == NULL) {
        writer_lost(store, run, "out of memory");
        return;
    }
    *job = (struct intervention_job){
        .job = {.work = intervention_work,
                .destroy = intervention_destroy,
                .run = run,
                .ordered = true,
                .bytes = bytes},
        .number = number,
        .step = step,
        .at_ms = store_now_ms(),
    };
    memcpy(job->detail, detail, size);
    struct tet_error why = {0};
    if (writer_post(store, &job->job, &why) != TET_OK)
        writer_lost(store, run, why.message);
}

enum tet_err timeline_trim(struct db *db, int64_t run, int64_t step, struct tet_error *error)
{
    struct query q = query_open(db,
                                "DELETE FROM timeline WHERE run = :run AND intervention IS NOT NULL"
                                " AND step >= :step",
                                error);
    query_bind_int(&q, ":run", run);
    query_bind_int(&q, ":step", step);
    query_run(&q);
    return query_close(&q);
}

enum tet_err store_timeline_read(struct store *store, int64_t run, store_event_fn *visit,
                                 void *context, struct tet_error *error)
{
    struct db *db;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(db,
                                "SELECT at_ms, step, event, detail, reason FROM timeline"
                                " WHERE run = :run"
                                " ORDER BY sequence",
                                error);
    query_bind_int(&q, ":run", run);
    bool go_on = true;
    while (go_on && query_row(&q)) {
        const struct store_event event = {.at_ms = query_int(&q, 0),
                                          .step = (uint64_t)query_int(&q, 1),
                                          .event = query_text(&q, 2),
                                          .detail = query_text(&q, 3),
                                          .reason = query_text(&q, 4)};
        go_on = visit(context, &event);
    }
    err = query_close(&q);
    reader_give(store, db);
    return err;
}
