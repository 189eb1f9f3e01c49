// SPDX-License-Identifier: Apache-2.0
/*
 * The HTTP interface, version 1: one file per kind of thing, each handler parse, act, reply. The
 * contract is schema/openapi.json.
 *
 * Threads: handlers run on many threads at once. struct api does not change while the server runs;
 * what it points to locks itself.
 */
#ifndef SERVER_API_H
#define SERVER_API_H

#include <jansson.h>
#include <stdatomic.h>

#include "api/recent.h"
#include "data/catalog.h"
#include "http/http.h"
#include "monitor/storage.h"
#include "pool.h"
#include "store/store.h"

enum {
    API_CHECKPOINTS = 256
}; // that a run can have: record.keep, keep_best, pins and a fork's start

struct api {
    struct store *store;
    struct catalog *catalog;
    struct pool *pool;
    struct files *files;       // the files folder
    struct uploaded *uploaded; // what of it the catalog sees
    struct admission *admission;
    struct events *events;
    _Atomic(struct pool *) look_at;     // for progress; NULL before there is one
    _Atomic(struct http_server *) http; // NULL until it has started
    const char *data_folder;
    const char *database;       // its file
    const char *backups_folder; // made with the first backup
    uint64_t memory_bytes;
    struct storage *storage;
    _Atomic bool stopping; // no more submissions
    _Atomic bool backing_up;
    struct recent recent;
};

/* api_quick: see http_quick_fn. */
http_quick_fn api_quick;

extern const struct http_route api_routes[]; // terminated by a NULL method; context: struct api

http_handler_fn api_submit, api_experiments, api_experiment; // experiments.c
http_handler_fn api_cancel_experiment, api_pause_experiment, api_resume_experiment,
    api_priority_experiment, api_delete_experiment, api_cancel_run, api_pause_run, api_resume_run,
    api_priority_run, api_actions;                              // actions.c
http_handler_fn api_queue;                                      // queue.c
http_handler_fn api_summary;                                    // summary.c
http_handler_fn api_run;                                        // runs.c
http_handler_fn api_fork;                                       // fork.c
http_handler_fn api_metrics;                                    // metrics.c
http_handler_fn api_weights, api_weights_npy, api_weights_npz;  // weights.c
http_handler_fn api_events, api_run_events;                     // events.c
http_handler_fn api_prometheus;                                 // prometheus.c
http_handler_fn api_protocol;                                   // protocol.c
http_handler_fn api_datasets, api_dataset;                      // datasets.c
http_handler_fn api_backup, api_retention, api_pin;             // admin.c
http_handler_fn api_put_dataset, api_delete_dataset;            // uploads.c
http_handler_fn api_me, api_users, api_put_user, api_audit;     // users.c
http_handler_fn api_tokens, api_create_token, api_revoke_token; // tokens.c
http_handler_fn api_weights_png, api_samples_png;               // pictures.c
http_handler_fn api_rerun;                                      // rerun.c
http_handler_fn api_predict;                                    // predict.c
http_handler_fn api_import;                                     // import.c
http_handler_fn api_rules, api_series, api_schema, api_openapi, api_health, api_ready,
    api_index;                                            // about.c
http_handler_fn api_examples;                             // about.c
http_handler_fn api_dashboard, api_asset, api_asset_page; // web.c

/* ---- shared by the handlers ---- */

/* api_run_json: a run as the interface shows it; brief: as part of an experiment. live: what
 * pool_look said before the run was read. */
json_t *api_run_json(struct api *api, const struct pool_view *live, const struct store_run *run,
                     bool brief);

/* api_parse: a stored JSON text; null where it cannot be read. */
json_t *api_parse(const char *text);

/* api_protocol_json: {"rows": [...]} of a protocol run; null where it has none (yet). */
json_t *api_protocol_json(struct api *api, int64_t run);

/* api_read_key: the Idempotency-Key, NULL where there is none; false: it is wrong, and replied
 * to. */
bool api_read_key(const struct http_request *request, struct http_reply *reply, const char **key);

/* api_submit_definition: stores the experiment, and where its first run begins if start is not
 * NULL; replies. */
struct definition;
void api_submit_definition(struct api *api, const struct http_request *request,
                           struct http_reply *reply, const struct definition *d, const char *key,
                           const struct store_checkpoint *start);

/* api_submit_rerun: the same, of a run that repeats another; 0: of one that does not. */
void api_submit_rerun(struct api *api, const struct http_request *request, struct http_reply *reply,
                      const struct definition *d, const char *key,
                      const struct store_checkpoint *start, int64_t rerun_of);

/* api_rerun_json: what a run that repeats another has come to; null where it repeats none. */
json_t *api_rerun_json(struct api *api, const struct store_run *run);
http_admit_fn api_admit; // by the request's token
http_done_fn api_done;   // writes a change to the log: handlers need not

/* api_owns: whether the request may change an experiment (run 0) or a run (experiment 0); otherwise
 * replies 404 or, as api_may_change, 403. */
bool api_owns(struct api *api, const struct http_request *request, struct http_reply *reply,
              int64_t experiment, int64_t run);

/* api_may_change: whether the request comes from the owner of what it would change, or from an
 * administrator; otherwise replies 403. kind: "run", "experiment", "dataset". */
bool api_may_change(const struct http_request *request, struct http_reply *reply, const char *kind,
                    const char *owner);

/* api_review: ends the event streams of those who may not come in any more. context: struct api. */
void api_review(void *context);

/* api_reply_dataset: replies with the dataset of that name; 201 with its Location. Under files_lock, so that it
 * is there still. */
void api_reply_dataset(struct api *api, struct http_reply *reply, int status, const char *name);

/* api_queue_position: a queued run's place, from 1; null of others, and beyond the places that are
 * looked ahead. */
json_t *api_queue_position(struct api *api, const struct store_run *run);

#endif
