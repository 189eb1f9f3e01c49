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

#include "data/catalog.h"
#include "http/http.h"
#include "pool.h"
#include "store/store.h"

enum { API_CHECKPOINTS = 128 }; // that a run can have: record.keep and what a fork began with

struct api {
    struct store *store;
    struct catalog *catalog;
    struct pool *pool;
    const char *data_folder;
    uint64_t memory_bytes;
    _Atomic bool stopping; // no more submissions
};

extern const struct http_route api_routes[]; // terminated by a NULL method; context: struct api

http_handler_fn api_submit, api_experiments, api_experiment, api_cancel_experiment; // experiments.c
http_handler_fn api_summary;                                                        // summary.c
http_handler_fn api_run, api_cancel_run;                                            // runs.c
http_handler_fn api_fork;                                                           // fork.c
http_handler_fn api_metrics;                                                        // metrics.c
http_handler_fn api_weights, api_weights_npy, api_weights_npz;                      // weights.c
http_handler_fn api_protocol;                                                       // protocol.c
http_handler_fn api_datasets, api_dataset;                                          // datasets.c
http_handler_fn api_rules, api_series, api_schema, api_openapi, api_health, api_ready,
    api_index;                                            // about.c
http_handler_fn api_examples;                             // about.c
http_handler_fn api_dashboard, api_asset, api_asset_page; // web.c

/* ---- shared by the handlers ---- */

/* api_time: "2026-01-31T12:00:00.000Z", or null for 0. */
json_t *api_time(int64_t ms);

/* api_run_json: a run as the interface shows it; brief: as part of an experiment. live: what
 * pool_look said before the run was read. */
json_t *api_run_json(struct api *api, const struct pool_view *live, const struct store_run *run,
                     bool brief);

/* api_number: a real, or null where it is not finite. */
json_t *api_number(double value);

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

/* api_may_change: whether the request comes from the owner of what it would change, or from an
 * administrator; otherwise replies 403. kind: "run", "experiment", "dataset". */
bool api_may_change(const struct http_request *request, struct http_reply *reply, const char *kind,
                    const char *owner);

/* api_cancel: cancels a run, or an experiment's runs (run 0), and replies; kind: "run" or
 * "experiment". */
void api_cancel(struct api *api, const struct http_request *request, struct http_reply *reply,
                const char *kind, int64_t experiment, int64_t run);

#endif
