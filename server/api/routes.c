// SPDX-License-Identifier: Apache-2.0
/* The routes. `blocking` marks those that touch the store or a dataset: they leave the threads that
 * answer at once to those that do not, such as /healthz. */
#include "api/api.h"

#define JSON_BODY "application/json"

const struct http_route api_routes[] = {
    {ROLE_MEMBER, "POST", "/v1/experiments", api_submit, true, JSON_BODY},
    {ROLE_VIEWER, "GET", "/v1/experiments", api_experiments, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/experiments/{id}", api_experiment, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/experiments/{id}/summary", api_summary, true, NULL},
    {ROLE_MEMBER, "POST", "/v1/experiments/{id}/cancel", api_cancel_experiment, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/runs/{id}", api_run, true, NULL},
    {ROLE_MEMBER, "POST", "/v1/runs/{id}/cancel", api_cancel_run, true, NULL},
    {ROLE_MEMBER, "POST", "/v1/runs/{id}/fork", api_fork, true, JSON_BODY},
    {ROLE_VIEWER, "GET", "/v1/runs/{id}/metrics", api_metrics, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/runs/{id}/protocol", api_protocol, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/runs/{id}/weights", api_weights, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/runs/{id}/weights.npz", api_weights_npz, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/runs/{id}/weights/{name}.npy", api_weights_npy, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/datasets", api_datasets, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/datasets/{name}", api_dataset, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/rules", api_rules, false, NULL},
    {ROLE_VIEWER, "GET", "/v1/series", api_series, false, NULL},
    {ROLE_VIEWER, "GET", "/v1/schema", api_schema, false, NULL},
    {ROLE_VIEWER, "GET", "/v1/examples", api_examples, false, NULL},
    {ROLE_PUBLIC, "GET", "/openapi.json", api_openapi, false, NULL},
    {ROLE_PUBLIC, "GET", "/healthz", api_health, false, NULL},
    {ROLE_PUBLIC, "GET", "/readyz", api_ready, false, NULL},
    {ROLE_PUBLIC, "GET", "/v1", api_index, false, NULL},
    {ROLE_PUBLIC, "GET", "/", api_dashboard, false, NULL},
    {ROLE_PUBLIC, "GET", "/assets/{name}", api_asset, false, NULL},
    {ROLE_PUBLIC, "GET", "/assets/pages/{name}", api_asset_page, false, NULL},
    {ROLE_ADMIN, NULL, NULL, NULL, false, NULL},
};
