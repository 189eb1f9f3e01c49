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
#include <sys/resource.h>
#include <unistd.h>

#include <tetrad/trainer.h>

#include "api/api.h"
#include "definition/definition.h"
#include "log.h"
#include "machine.h"
#include "watch.h"

enum { DRAIN_MS = 3000, STOP_SECONDS = 9, MAX_STREAMS = 100000, MAX_HEARTBEAT_S = 3600 };

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

/* A descriptor for each connection: as many as the system lets us have. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

struct parts {
    struct api api;
    struct http_server *http;
    uint16_t port;
};

static struct event_progress *look(void *context)
{
    struct pool *pool = atomic_load(&((struct api *)context)->look_at);
    return pool != NULL ? pool_progress(pool) : NULL;
}

/* Before the workers: they tell it what they measure. */
static enum tet_err start_events(struct api *api, uint32_t heartbeat_ms, struct tet_error *error)
{
    const struct events_options options = {
        .look = look, .context = api, .heartbeat_ms = heartbeat_ms};
    const enum tet_err err = events_start(&api->events, &options, error);
    if (err == TET_OK)
        store_observe(api->store, watch_changes, api);
    return err;
}

static enum tet_err start(struct parts *p, const struct options *options, struct tet_error *error)
{
    struct api *api = &p->api;
    uint64_t workers = 0, streams = 0, heartbeat_s = 0;
    raise_descriptors();
    enum tet_err err = options_count(options, OPTION_WORKERS, 1, POOL_MAX_WORKERS,
                                     machine_processors(), &workers, error);
    if (err == TET_OK)
        err = options_count(options, OPTION_MAX_STREAMS, 1, MAX_STREAMS, 0, &streams, error);
    if (err == TET_OK)
        err = options_count(options, OPTION_HEARTBEAT, 1, MAX_HEARTBEAT_S, 0, &heartbeat_s, error);
    if (err == TET_OK)
        err = log_start(options->value[OPTION_LOG], options->value[OPTION_LOG_LEVEL], error);
    if (err == TET_OK)
        err = options_size(options, OPTION_MEMORY, machine_memory() / 2, &api->memory_bytes, error);
    if (err == TET_OK)
        err = options_data(options, &api->data_folder, error);
    if (err == TET_OK)
        err = tet_isa_check(error);
    if (err == TET_OK)
        err = catalog_open(&api->catalog, api->data_folder, api->memory_bytes, error);
    if (err == TET_OK)
        err = store_open(&api->store, options->value[OPTION_DB], error);
    if (err == TET_OK)
        err = start_events(api, (uint32_t)heartbeat_s * 1000, error);
    const struct pool_options pool = {.store = api->store,
                                      .catalog = api->catalog,
                                      .events = api->events,
                                      .weights_folder = api->data_folder,
                                      .workers = (uint32_t)workers,
                                      .memory_bytes = api->memory_bytes};
    if (err == TET_OK)
        err = pool_start(&api->pool, &pool, error);
    if (err == TET_OK)
        atomic_store(&api->look_at, api->pool);
    const struct http_options http = {.listen = options->value[OPTION_LISTEN],
                                      .max_body_bytes = DEFINITION_MAX_BYTES,
                                      .max_streams = (uint32_t)streams,
                                      .watch = watch_request};
    if (err == TET_OK)
        err = http_start(&p->http, &http, api_routes, api, &p->port, error);
    if (err == TET_OK)
        atomic_store(&api->http, p->http);
    return err;
}

static void stop(struct parts *p)
{
    p->api.stopping = true;
    alarm(STOP_SECONDS);
    if (p->http != NULL)
        http_drain(p->http, DRAIN_MS);
    if (p->api.events != NULL)
        events_quiet(p->api.events);
    pool_stop(p->api.pool);
    http_stop(p->http);
    if (p->api.store != NULL)
        store_observe(p->api.store, NULL, NULL);
    events_stop(p->api.events);
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
