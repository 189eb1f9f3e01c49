// SPDX-License-Identifier: Apache-2.0
/*
 * `tetrad serve`: opens the store, starts the workers and the HTTP server, waits for a signal, and
 * takes everything down in reverse.
 *
 * SIGTERM and SIGINT: no more submissions; requests in flight are answered; running runs go back to
 * the queue with a checkpoint; exit 0. All within 10 seconds: if a worker cannot stop by then (a
 * mini-batch that takes longer), the process ends all the same, and that run goes on from its last
 * checkpoint.
 */
#include "serve.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tetrad/trainer.h>

#include "api/api.h"
#include "definition/definition.h"
#include "machine.h"
#include "store/queue.h"

enum { DRAIN_MS = 3000, STOP_SECONDS = 9 };

static void on_alarm(int number)
{
    static const char text[] =
        "tetrad: could not stop in time; what was running goes on from its last checkpoint\n";
    (void)number;
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(STATUS_OK);
}

static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    pthread_sigmask(SIG_BLOCK, set,
                    NULL); // inherited by every thread; the main thread waits for them
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, on_alarm);
}

struct parts {
    struct api api;
    struct http_server *http;
    uint16_t port;
};

/* Hours, with or without an h. */
static enum tet_err read_half_life(const struct options *options, double *seconds,
                                   struct tet_error *error)
{
    const char *text = options->value[OPTION_HALF_LIFE];
    char *end = NULL;
    const double hours = strtod(text, &end);
    *seconds = hours * 3600.0;
    if (end != text && (*end == '\0' || strcmp(end, "h") == 0) && hours >= 0.01 && hours <= 87600.0)
        return TET_OK;
    return tet_error_set(error, TET_BAD_REQUEST,
                         "--half-life: found \"%.40s\", allowed 0.01h to 87600h", text);
}

static enum tet_err read_policy(const struct options *options, struct store_policy *policy,
                                struct tet_error *error)
{
    uint64_t running = 0;
    *policy = (struct store_policy){0};
    enum tet_err err = read_half_life(options, &policy->half_life_s, error);
    if (err == TET_OK)
        err = options_count(options, OPTION_MAX_QUEUED, 1, STORE_MAX_QUEUED, STORE_MAX_QUEUED,
                            &policy->max_queued, error);
    if (err == TET_OK)
        err = options_count(options, OPTION_MAX_QUEUED_EACH, 1, STORE_MAX_QUEUED, 0,
                            &policy->max_queued_each, error);
    if (err == TET_OK)
        err = options_count(options, OPTION_MAX_RUNNING_EACH, 1, POOL_MAX_WORKERS, 0, &running,
                            error);
    policy->max_running_each = (uint32_t)running;
    return err;
}

static enum tet_err start(struct parts *p, const struct options *options, struct tet_error *error)
{
    struct api *api = &p->api;
    uint64_t workers = 0;
    struct store_policy policy;
    enum tet_err err = options_count(options, OPTION_WORKERS, 1, POOL_MAX_WORKERS,
                                     machine_processors(), &workers, error);
    if (err == TET_OK)
        err = options_size(options, OPTION_MEMORY, machine_memory() / 2, &api->memory_bytes, error);
    if (err == TET_OK)
        err = read_policy(options, &policy, error);
    if (err == TET_OK)
        err = options_data(options, &api->data_folder, error);
    if (err == TET_OK)
        err = tet_isa_check(error);
    if (err == TET_OK)
        err = catalog_open(&api->catalog, api->data_folder, api->memory_bytes, error);
    if (err == TET_OK)
        err = store_open(&api->store, options->value[OPTION_DB], error);
    if (err == TET_OK)
        store_set_policy(api->store, &policy);
    const struct pool_options pool = {.store = api->store,
                                      .catalog = api->catalog,
                                      .weights_folder = api->data_folder,
                                      .workers = (uint32_t)workers,
                                      .memory_bytes = api->memory_bytes};
    if (err == TET_OK)
        err = pool_start(&api->pool, &pool, error);
    const struct http_options http = {.listen = options->value[OPTION_LISTEN],
                                      .max_body_bytes = DEFINITION_MAX_BYTES};
    if (err == TET_OK)
        err = http_start(&p->http, &http, api_routes, api, &p->port, error);
    return err;
}

static void stop(struct parts *p)
{
    p->api.stopping = true;
    alarm(STOP_SECONDS);
    if (p->http != NULL)
        http_drain(p->http, DRAIN_MS);
    pool_stop(p->api.pool);
    http_stop(p->http);
    store_close(p->api.store);
    catalog_close(p->api.catalog);
    alarm(0);
}

int serve_command(const struct options *options)
{
    struct parts parts = {0};
    struct tet_error error = {0};
    sigset_t set;
    block_signals(&set);
    const enum tet_err err = start(&parts, options, &error);
    if (err == TET_OK) {
        const char *listen = options->value[OPTION_LISTEN];
        printf("tetrad %s serves http://%.*s:%u  (database %s, data %s, %u workers, kernels %s)\n",
               TETRAD_VERSION, (int)(strrchr(listen, ':') - listen), listen, parts.port,
               options->value[OPTION_DB], options->value[OPTION_DATA], pool_workers(parts.api.pool),
               tet_isa_name());
        fflush(stdout);
        int number = 0;
        sigwait(&set, &number);
    } else {
        fprintf(stderr, "tetrad: %s\n", error.message);
    }
    stop(&parts);
    return status_of(err);
}
