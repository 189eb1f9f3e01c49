// SPDX-License-Identifier: Apache-2.0
/* The results of runs that a server trained, as `tetrad run` shows its own: see client/watch.h. */
#include "client/client.h"

#include <stdlib.h>
#include <string.h>

#include "client/watch.h"
#include "results/protocol.h"
#include "results/table.h"

static bool series_of(const char *name, enum tet_series *series, uint32_t *layer)
{
    char text[TET_SERIES_NAME];
    const char *slash = strrchr(name, '/');
    *layer = slash != NULL ? (uint32_t)strtoul(slash + 1, NULL, 10) : 0;
    for (int s = 0; s < TET_SERIES_COUNT; s++) {
        tet_series_text((enum tet_series)s, *layer, text);
        if (strcmp(text, name) == 0) {
            *series = (enum tet_series)s;
            return true;
        }
    }
    return false;
}

static void take_series(struct outcome *outcome, const json_t *all)
{
    const char *name;
    json_t *one;
    json_object_foreach((json_t *)(uintptr_t)all, name, one)
    {
        enum tet_series series;
        uint32_t layer;
        const json_t *steps = json_object_get(one, "steps"),
                     *values = json_object_get(one, "values");
        if (!series_of(name, &series, &layer))
            continue;
        for (size_t i = 0; i < json_array_size(steps); i++)
            outcome_take(outcome, series, layer,
                         (uint64_t)json_integer_value(json_array_get(steps, i)),
                         json_number_value(json_array_get(values, i)));
    }
}

/* All metrics of a run, page by page. */
static enum tet_err read_metrics(struct client *c, json_int_t run, struct outcome *outcome)
{
    json_int_t after = 0;
    bool more = true;
    enum tet_err err = TET_OK;
    while (more && err == TET_OK) {
        char path[96];
        json_t *reply = NULL;
        snprintf(path, sizeof path, "/v1/runs/%lld/metrics?after=%lld", (long long)run,
                 (long long)after);
        err = client_get(c, &reply, "%s", path);
        take_series(outcome, json_object_get(reply, "series"));
        after = client_integer(reply, "next");
        more = json_is_true(json_object_get(reply, "more"));
        json_decref(reply);
    }
    return err;
}

/* Prints a protocol run's table; *printed counts them. */
static void show_protocol(const json_t *run, const struct outcome *outcome, size_t *printed)
{
    const json_t *rows = json_object_get(json_object_get(run, "protocol"), "rows");
    if (rows == NULL)
        return;
    printf("%s%s, seed %lld: %.8s\n", *printed > 0 ? "\n" : "", outcome->label,
           (long long)outcome->seed, outcome->digest + strlen("sha256:"));
    protocol_print(stdout, rows);
    (*printed)++;
}

static enum tet_err read_outcome(struct client *c, json_int_t id, struct outcome *outcome,
                                 size_t *protocols)
{
    char path[64];
    json_t *run = NULL;
    snprintf(path, sizeof path, "/v1/runs/%lld", (long long)id);
    enum tet_err err = client_get(c, &run, "%s", path);
    if (err == TET_OK) {
        const json_t *progress = json_object_get(run, "progress");
        outcome_begin(outcome, json_object_get(run, "definition"),
                      json_object_get(run, "parameters"),
                      (uint64_t)client_integer(progress, "steps"));
        const char *digest = json_string_value(json_object_get(run, "digest"));
        const char *state = json_string_value(json_object_get(run, "state"));
        snprintf(outcome->digest, sizeof outcome->digest, "%s", digest != NULL ? digest : "");
        outcome->state = RUN_FAILED;
        for (int s = 0; s < RUN_STATES_COUNT; s++)
            if (state != NULL && strcmp(state, run_state_text((enum run_state)s)) == 0)
                outcome->state = (enum run_state)s;
        const char *reason = json_string_value(json_object_get(run, "reason"));
        if (outcome->state != RUN_SUCCEEDED)
            fprintf(stderr, "tetrad: run r%lld %s: %s\n", (long long)id, state,
                    reason != NULL ? reason : "");
        show_protocol(run, outcome, protocols);
        err = read_metrics(c, id, outcome);
    }
    json_decref(run);
    return err;
}

int results_show(struct client *c, const json_t *runs)
{
    const size_t n = json_array_size(runs);
    struct outcome *outcomes = calloc(n + 1, sizeof *outcomes);
    size_t protocols = 0;
    int status = STATUS_OK;
    enum tet_err err =
        outcomes != NULL ? TET_OK : tet_error_set(&c->error, TET_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < n && err == TET_OK; i++) {
        err = read_outcome(c, client_integer(json_array_get(runs, i), "id"), &outcomes[i],
                           &protocols);
        if (err == TET_OK && outcomes[i].state != RUN_SUCCEEDED)
            status = outcomes[i].state == RUN_DIVERGED ? STATUS_DIVERGED : STATUS_FAILED;
    }
    if (err == TET_OK && protocols < n)
        table_print(stdout, outcomes, n);
    free(outcomes);
    return err == TET_OK ? status : STATUS_SERVER;
}
