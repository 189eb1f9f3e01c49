// SPDX-License-Identifier: Apache-2.0
/* `tetrad list`, `tetrad show ID`, `tetrad queue`, `tetrad summary ID`: what a server has, as tables. */
#include "client/client.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_MAX = 500 };

/* "3/12": how many runs have ended. */
static const char *ended_of(const json_t *counts, char text[48])
{
    json_int_t all = 0, ended = 0;
    const char *state;
    json_t *n;
    json_object_foreach((json_t *)(uintptr_t)counts, state, n)
    {
        all += json_integer_value(n);
        ended += client_ended(state) ? json_integer_value(n) : 0;
    }
    snprintf(text, 48, "%lld/%lld", (long long)ended, (long long)all);
    return text;
}

static void print_experiment(const json_t *e)
{
    char runs[48];
    printf("%6lld  %-10s %9s  %-12.12s %.16s  %.80s\n", (long long)client_integer(e, "id"),
           client_text(e, "state"), ended_of(json_object_get(e, "counts"), runs),
           client_text(e, "owner"), client_text(e, "created_at"), client_text(e, "name"));
}

int list_command(const struct options *options)
{
    struct client c;
    uint64_t limit = 0;
    int status = STATUS_FAILED;
    char path[CLIENT_PATH] = "/v1/experiments";
    json_t *reply = NULL;
    enum tet_err err = client_open(&c, options);
    if (err == TET_OK)
        err = options_count(options, OPTION_LIMIT, 1, PAGE_MAX, 20, &limit, &c.error);
    if (err == TET_OK) {
        client_query(&c, path, "limit", options->value[OPTION_LIMIT]);
        client_query(&c, path, "state", options->value[OPTION_STATE]);
        client_query(&c, path, "owner", options->value[OPTION_OWNER]);
        client_query(&c, path, "tag", options->value[OPTION_TAG]);
        client_query(&c, path, "q", options->value[OPTION_Q]);
        err = client_get(&c, &reply, "%s", path);
    }
    if (err == TET_OK && client_good(&c, reply, &status)) {
        size_t i;
        const json_t *e;
        status = STATUS_OK;
        if (c.json)
            client_print(reply);
        else
            printf("%6s  %-10s %9s  %-12s %-16s  %s\n", "id", "state", "runs", "owner", "created",
                   "name");
        json_array_foreach(c.json ? NULL : json_object_get(reply, "experiments"), i, e)
        {
            print_experiment(e);
        }
    }
    json_decref(reply);
    return client_close(&c, status);
}

/* ---- show ---- */

static void print_parameters(const json_t *parameters)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)parameters, key, value)
    {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
        printf("  %s %s", key, text != NULL ? text : "?");
        free(text);
    }
}

static void print_run(const json_t *run)
{
    const json_t *progress = json_object_get(run, "progress");
    const json_t *accuracy = json_object_get(json_object_get(run, "final"), "test/accuracy");
    const char *digest = client_text(run, "digest");
    const json_int_t steps = client_integer(progress, "steps");
    printf("  r%-6lld %-10s %3lld %%", (long long)client_integer(run, "id"),
           client_text(run, "state"),
           (long long)(steps > 0 ? client_integer(progress, "step") * 100 / steps : 0));
    if (json_is_number(accuracy))
        printf("  %6.2f %%", 100.0 * json_number_value(accuracy));
    if (strlen(digest) > 15)
        printf("  %.8s", digest + strlen("sha256:"));
    print_parameters(json_object_get(run, "parameters"));
    if (*client_text(run, "reason") != '\0')
        printf("  (%s)", client_text(run, "reason"));
    putchar('\n');
}

static void show_experiment(const json_t *e)
{
    char ended[48];
    size_t i;
    const json_t *run;
    printf("experiment %lld: %s\n  %s, %s runs ended, of %s, created %s\n  %s\n",
           (long long)client_integer(e, "id"), client_text(e, "name"), client_text(e, "state"),
           ended_of(json_object_get(e, "counts"), ended), client_text(e, "owner"),
           client_text(e, "created_at"), client_text(e, "hash"));
    json_array_foreach(json_object_get(e, "runs"), i, run)
    {
        print_run(run);
    }
}

static void show_run(const json_t *run)
{
    size_t i;
    const json_t *item;
    printf("run r%lld of experiment %lld\n", (long long)client_integer(run, "id"),
           (long long)client_integer(run, "experiment"));
    print_run(run);
    const json_t *dataset = json_object_get(json_object_get(run, "definition"), "dataset");
    printf("  dataset %s %s\n  hash    %s\n  digest  %s\n  checkpoints at steps",
           client_text(dataset, "name"), client_text(dataset, "sha256"), client_text(run, "hash"),
           client_text(run, "digest"));
    json_array_foreach(json_object_get(run, "checkpoints"), i, item)
    {
        printf(" %lld", (long long)json_integer_value(item));
    }
    putchar('\n');
    json_array_foreach(json_object_get(run, "timeline"), i, item)
    {
        printf("  %s  step %-8lld %s\n", client_text(item, "at"),
               (long long)client_integer(item, "step"), client_text(item, "event"));
    }
}

int show_command(const struct options *options)
{
    struct client c;
    struct client_id id;
    int status = STATUS_FAILED;
    json_t *reply = NULL;
    if (client_open(&c, options) == TET_OK &&
        client_id(&c, options->argument[0], CLIENT_EXPERIMENT + CLIENT_RUN, &id) == TET_OK &&
        client_get(&c, &reply, "/v1/%ss/%lld", client_kind(id), (long long)id.number) == TET_OK &&
        client_good(&c, reply, &status)) {
        status = STATUS_OK;
        if (c.json)
            client_print(reply);
        else if (id.run)
            show_run(reply);
        else
            show_experiment(reply);
    }
    json_decref(reply);
    return client_close(&c, status);
}

/* ---- queue ---- */

static void print_queue(const json_t *reply)
{
    size_t i;
    const json_t *row;
    printf("%lld queued, %lld workers\n", (long long)client_integer(reply, "length"),
           (long long)client_integer(reply, "workers"));
    json_array_foreach(json_object_get(reply, "running"), i, row)
    {
        printf("  running  r%-6lld experiment %-6lld %-12.12s %.0f s left\n",
               (long long)client_integer(row, "run"), (long long)client_integer(row, "experiment"),
               client_text(row, "owner"), json_number_value(json_object_get(row, "eta_s")));
    }
    json_array_foreach(json_object_get(reply, "queued"), i, row)
    {
        printf("  %7lld  r%-6lld experiment %-6lld %-12.12s priority %lld, starts %.19s\n",
               (long long)client_integer(row, "position"), (long long)client_integer(row, "run"),
               (long long)client_integer(row, "experiment"), client_text(row, "owner"),
               (long long)client_integer(row, "priority"), client_text(row, "estimated_start_at"));
    }
}

int queue_command(const struct options *options)
{
    struct client c;
    uint64_t limit = 0;
    int status = STATUS_FAILED;
    json_t *reply = NULL;
    enum tet_err err = client_open(&c, options);
    if (err == TET_OK)
        err = options_count(options, OPTION_LIMIT, 1, PAGE_MAX, 20, &limit, &c.error);
    if (err == TET_OK)
        err = client_get(&c, &reply, "/v1/queue?limit=%llu", (unsigned long long)limit);
    if (err == TET_OK && client_good(&c, reply, &status)) {
        status = STATUS_OK;
        if (c.json)
            client_print(reply);
        else
            print_queue(reply);
    }
    json_decref(reply);
    return client_close(&c, status);
}

/* ---- summary ---- */

static void print_interval(const json_t *row)
{
    const json_t *interval = json_object_get(row, "interval");
    if (json_is_number(json_object_get(row, "mean")))
        printf("%10.5g", json_number_value(json_object_get(row, "mean")));
    if (json_array_size(interval) == 2)
        printf(" [%.5g, %.5g]", json_number_value(json_array_get(interval, 0)),
               json_number_value(json_array_get(interval, 1)));
}

static void print_summary(const json_t *reply)
{
    size_t i;
    const json_t *point;
    printf("%s of experiment %lld: mean [95 %% interval]; less the baseline, seed by seed\n",
           client_text(reply, "metric"), (long long)client_integer(reply, "experiment"));
    json_array_foreach(json_object_get(reply, "points"), i, point)
    {
        const json_t *difference = json_object_get(point, "difference");
        printf("  n %-4lld", (long long)client_integer(point, "n"));
        print_interval(point);
        if (json_is_object(difference)) {
            printf(";");
            print_interval(difference);
        }
        print_parameters(json_object_get(point, "parameters"));
        putchar('\n');
    }
}

int summary_command(const struct options *options)
{
    struct client c;
    struct client_id id;
    char path[CLIENT_PATH];
    int status = STATUS_FAILED;
    json_t *reply = NULL;
    if (client_open(&c, options) == TET_OK &&
        client_id(&c, options->argument[0], CLIENT_EXPERIMENT, &id) == TET_OK) {
        snprintf(path, sizeof path, "/v1/experiments/%lld/summary", (long long)id.number);
        client_query(&c, path, "metric", options->value[OPTION_METRIC]);
        client_query(&c, path, "baseline", options->value[OPTION_BASELINE]);
        if (client_get(&c, &reply, "%s", path) == TET_OK && client_good(&c, reply, &status)) {
            status = STATUS_OK;
            if (c.json)
                client_print(reply);
            else
                print_summary(reply);
        }
    }
    json_decref(reply);
    return client_close(&c, status);
}
