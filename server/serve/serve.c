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
#include "serve/serve.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <tetrad/trainer.h>

#include "access/admission.h"
#include "api/api.h"
#include "data/files.h"
#include "data/uploaded.h"
#include "machine.h"
#include "monitor/log.h"
#include "monitor/watch.h"
#include "serve/start.h"
#include "store/backup.h"

enum {
    DRAIN_MS = 3000,
    STOP_SECONDS = 9,
    MAX_HEARTBEAT_S = 3600,
    MOST_ARENAS = 8,
    MAPPED_BYTES = 1 << 20
};

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
    signal(SIGXFSZ, SIG_IGN); // a limit on files is an error like a full disk
    signal(SIGALRM, on_alarm);
}

struct parts {
    struct api api;
    char backups[FILES_PATH];
    uint16_t port;
};

/* No core file: requests with their tokens and the key of TLS are in this memory. 1 byte and not 0, which a
 * core_pattern that names a program overrules. */
static void hide_core(void)
{
    const struct rlimit none = {1, 1};
    (void)!setrlimit(RLIMIT_CORE, &none);
}

/* What the options say of the workers. */
struct settings {
    uint64_t workers, heartbeat_s;
    struct store_policy policy;
};

/* ---- start ---- */

static enum tet_err read_settings(struct parts *p, const struct options *options,
                                  struct settings *settings, struct tet_error *error)
{
    struct api *api = &p->api;
    enum tet_err err = options_count(options, OPTION_WORKERS, 1, POOL_MAX_WORKERS,
                                     machine_processors(), &settings->workers, error);
    if (err == TET_OK)
        err = options_count(options, OPTION_HEARTBEAT, 1, MAX_HEARTBEAT_S, 0,
                            &settings->heartbeat_s, error);
    if (err == TET_OK)
        err = options_size(options, OPTION_MEMORY, machine_memory() / 2, &api->memory_bytes, error);
    if (err == TET_OK)
        err = serve_policy(options, &settings->policy, error);
    if (err == TET_OK)
        err = options_data(options, &api->data_folder, error);
    api->database = options->value[OPTION_DB];
    api->backups_folder = options->value[OPTION_BACKUPS];
    if (api->backups_folder == NULL) {
        snprintf(p->backups, sizeof p->backups, "%s.backups", api->database);
        api->backups_folder = p->backups;
    }
    return err;
}

static enum tet_err open_store(struct api *api, const struct options *options,
                               const struct store_policy *policy, struct tet_error *error)
{
    enum tet_err err = catalog_open(&api->catalog, api->data_folder, api->memory_bytes, error);
    if (err == TET_OK)
        err = store_open(&api->store, api->database, error);
    if (err != TET_OK)
        return err;
    store_set_policy(api->store, policy);
    backup_clean(api->backups_folder);
    return serve_files(api, options, error);
}

static enum tet_err start_storage(struct api *api, struct tet_error *error)
{
    const struct storage_options options = {.store = api->store,
                                            .database = api->database,
                                            .files = files_folder(api->files),
                                            .backups = api->backups_folder};
    return storage_start(&api->storage, &options, error);
}

static enum tet_err start_pool(struct api *api, uint32_t workers, struct tet_error *error)
{
    const struct pool_options pool = {.store = api->store,
                                      .catalog = api->catalog,
                                      .events = api->events,
                                      .weights_folder = api->data_folder,
                                      .workers = workers,
                                      .memory_bytes = api->memory_bytes};
    const enum tet_err err = pool_start(&api->pool, &pool, error);
    if (err == TET_OK)
        atomic_store(&api->look_at, api->pool);
    return err;
}

/* Events before the workers: they tell them what they measure. */
static enum tet_err start(struct parts *p, const struct options *options, struct tet_error *error)
{
    struct api *api = &p->api;
    struct settings settings;
    recent_init(&api->recent);
    enum tet_err err = read_settings(p, options, &settings, error);
    if (err == TET_OK)
        err = log_start(options->value[OPTION_LOG], options->value[OPTION_LOG_LEVEL], error);
    if (err == TET_OK)
        err = tet_isa_check(error);
    if (err == TET_OK)
        err = open_store(api, options, &settings.policy, error);
    if (err == TET_OK)
        err = watch_start(api, (uint32_t)settings.heartbeat_s * 1000, error);
    if (err == TET_OK)
        err = start_storage(api, error);
    if (err == TET_OK)
        err = start_pool(api, (uint32_t)settings.workers, error);
    if (err == TET_OK)
        err = admission_start(&api->admission, api->store, error);
    if (err == TET_OK)
        err = serve_listen(api, options, &p->port, error);
    return err;
}

/* ---- stop ---- */

static void stop(struct api *api)
{
    struct http_server *http = atomic_load(&api->http);
    api->stopping = true;
    serve_notify("STOPPING=1");
    alarm(STOP_SECONDS);
    if (api->admission != NULL)
        admission_observe(api->admission, NULL, NULL);
    if (http != NULL)
        http_drain(http, DRAIN_MS);
    if (api->events != NULL)
        events_quiet(api->events);
    pool_stop(api->pool);
    http_stop(http);
    if (api->store != NULL)
        store_observe(api->store, NULL, NULL);
    events_stop(api->events);
    admission_stop(api->admission);
    storage_stop(api->storage);
    store_close(api->store);
    catalog_close(api->catalog);
    recent_free(&api->recent);
    uploaded_destroy(api->uploaded);
    files_close(api->files);
    alarm(0);
}

/* glibc gives each of our twenty threads a heap of its own and keeps in it what large blocks leave: for a year of runs
 * that come and go, that is memory which only grows. Few heaps, and large blocks (networks, checkpoints, uploads) from
 * the system and back to it, whatever was freed before. */
static void keep_heaps_small(void)
{
    const uint32_t processors = machine_processors();
    (void)mallopt(M_ARENA_MAX, (int)(processors < MOST_ARENAS ? processors : MOST_ARENAS));
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
}

int serve_command(const struct options *options)
{
    static struct parts parts; // too large for a stack
    struct tet_error error = {0};
    sigset_t set;
    hide_core();
    block_signals(&set);
    keep_heaps_small();
    /* strftime, and libzip for each member, look at the time zone: without TZ they read a file each
     * time. Ours are all UTC. */
    setenv("TZ", "UTC", 0);
    tzset();
    const enum tet_err err = start(&parts, options, &error);
    if (err == TET_OK) {
        const char *listen = options->value[OPTION_LISTEN];
        printf("tetrad %s serves %s://%.*s:%u  (database %s, data %s, %u workers, kernels %s)\n",
               TETRAD_VERSION, options->value[OPTION_TLS_KEY] != NULL ? "https" : "http",
               (int)(strrchr(listen, ':') - listen), listen, parts.port, options->value[OPTION_DB],
               options->value[OPTION_DATA], pool_workers(parts.api.pool), tet_isa_name());
        fflush(stdout);
        serve_notify("READY=1");
        int number = 0;
        sigwait(&set, &number);
    } else {
        fprintf(stderr, "tetrad: %s\n", error.message);
    }
    stop(&parts.api);
    return status_of(err);
}
