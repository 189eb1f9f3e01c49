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

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tetrad/trainer.h>

#include "api/api.h"
#include "definition/definition.h"
#include "machine.h"

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
    char folder[PATH_MAX]; // of the database: uploads lie there, without a name
};

static enum tet_err start(struct parts *p, const struct options *options, struct tet_error *error)
{
    struct api *api = &p->api;
    uint64_t workers = 0;
    enum tet_err err = options_count(options, OPTION_WORKERS, 1, POOL_MAX_WORKERS,
                                     machine_processors(), &workers, error);
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
    const struct pool_options pool = {.store = api->store,
                                      .catalog = api->catalog,
                                      .weights_folder = api->data_folder,
                                      .workers = (uint32_t)workers,
                                      .memory_bytes = api->memory_bytes};
    if (err == TET_OK)
        err = pool_start(&api->pool, &pool, error);
    const char *slash = strrchr(options->value[OPTION_DB], '/');
    snprintf(p->folder, sizeof p->folder, "%.*s",
             slash == NULL                        ? 1
             : slash == options->value[OPTION_DB] ? 1
                                                  : (int)(slash - options->value[OPTION_DB]),
             slash == NULL ? "." : options->value[OPTION_DB]);
    const struct http_options http = {.listen = options->value[OPTION_LISTEN],
                                      .max_body_bytes = DEFINITION_MAX_BYTES,
                                      .max_upload_bytes = (uint64_t)4 << 30,
                                      .spool_folder = p->folder};
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
