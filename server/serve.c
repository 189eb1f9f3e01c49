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
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <tetrad/trainer.h>

#include "admission.h"
#include "api/api.h"
#include "data/state.h"
#include "data/uploaded.h"
#include "definition/definition.h"
#include "log.h"
#include "machine.h"
#include "store/backup.h"
#include "store/datasets.h"
#include "store/queue.h"
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
    signal(SIGXFSZ, SIG_IGN); // a limit on files is an error like a full disk
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
    char backups[4096];
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

/* ---- the state folder ---- */

struct adding {
    struct api *api;
    enum tet_err err;
    struct tet_error *error;
};

static bool add_upload(void *context, const struct store_dataset *d)
{
    struct adding *a = context;
    char path[STATE_PATH];
    state_content(a->api->state, d->sha256, path);
    a->err = uploaded_put(a->api->uploaded, d->name, path, d->sha256, a->error);
    return a->err == TET_OK;
}

static enum tet_err is_known(void *context, const char *sha256, bool *known,
                             struct tet_error *error)
{
    return store_dataset_known(context, sha256, known, error);
}

static enum tet_err open_state(struct api *api, const struct options *options,
                               struct tet_error *error)
{
    char folder[STATE_PATH];
    const char *given = options->value[OPTION_FILES];
    struct adding adding = {.api = api, .error = error};
    if (snprintf(folder, sizeof folder, "%s%s", given != NULL ? given : options->value[OPTION_DB],
                 given != NULL ? "" : ".files") >= (int)sizeof folder)
        return tet_error_set(error, TET_IO, "the state folder's name is too long");
    enum tet_err err = state_open(&api->state, folder, error);
    if (err == TET_OK)
        err = state_recover(api->state, is_known, api->store, error);
    if (err == TET_OK && (api->uploaded = uploaded_create()) == NULL)
        err = tet_error_set(error, TET_NO_MEMORY, "out of memory");
    if (err == TET_OK)
        err = store_datasets_read(api->store, NULL, add_upload, &adding, error);
    if (err == TET_OK)
        err = adding.err;
    if (err == TET_OK)
        catalog_uploads(api->catalog, api->uploaded);
    return err;
}

enum {
    CONNECTIONS = 4096,     // by default, where the process may have so many descriptors
    OTHER_DESCRIPTORS = 128 // of the store, the log, datasets
};

/* How many connections there may be: what was asked for, or what there are descriptors for. */
static enum tet_err read_connections(const struct options *options, uint32_t *connections,
                                     struct tet_error *error)
{
    struct rlimit limit;
    uint64_t n = 0;
    const enum tet_err err =
        options_count(options, OPTION_MAX_CONNECTIONS, 1, 1000000, CONNECTIONS, &n, error);
    if (err != TET_OK || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return err;
    const rlim_t wanted = (rlim_t)n + OTHER_DESCRIPTORS;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < wanted && options->value[OPTION_MAX_CONNECTIONS] != NULL)
        return tet_error_set(error, TET_BAD_REQUEST,
                             "--max-connections %llu: this process may have %llu files open; see "
                             "`ulimit -Hn`",
                             (unsigned long long)n, (unsigned long long)limit.rlim_cur);
    if (limit.rlim_cur < wanted)
        n = limit.rlim_cur > 2 * OTHER_DESCRIPTORS ? limit.rlim_cur - OTHER_DESCRIPTORS
                                                   : OTHER_DESCRIPTORS;
    *connections = (uint32_t)n;
    return TET_OK;
}

/* Whoever is not on this machine needs a token, be it that we listen for them or that a proxy does,
 * which --host tells. */
static enum tet_err check_closed(const struct parts *p, const struct options *options,
                                 struct tet_error *error)
{
    const char *listen = options->value[OPTION_LISTEN], *host = options->value[OPTION_HOST];
    if (admission_closed(p->api.admission) || (!http_listens_beyond(listen) && host == NULL))
        return TET_OK;
    return tet_error_set(error, TET_ADDRESS,
                         "%s %s, and %s has no access token: first make one with `tetrad token "
                         "create --user NAME --role admin --db %s`",
                         host != NULL ? host : listen,
                         host != NULL ? "is a name that others call this server by"
                                      : "is not a loopback address",
                         options->value[OPTION_DB], options->value[OPTION_DB]);
}

static enum tet_err listen_for(struct parts *p, const struct options *options,
                               struct tet_error *error)
{
    struct http_options http = {.listen = options->value[OPTION_LISTEN],
                                .quick = api_quick,
                                .max_body_bytes = DEFINITION_MAX_BYTES,
                                .spool_folder = state_incoming(p->api.state),
                                .admit = api_admit,
                                .done = api_done,
                                .watch = watch_request,
                                .beyond_loopback = admission_closed(p->api.admission),
                                .hosts = options->value[OPTION_HOST],
                                .origins = options->value[OPTION_CORS_ORIGIN],
                                .tls_certificate = options->value[OPTION_TLS_CERT],
                                .tls_key = options->value[OPTION_TLS_KEY]};
    uint64_t streams = 0;
    enum tet_err err = check_closed(p, options, error);
    if (err == TET_OK)
        err = read_connections(options, &http.max_connections, error);
    if (err == TET_OK)
        err = options_size(options, OPTION_MAX_UPLOAD, (uint64_t)4 << 30, &http.max_upload_bytes,
                           error);
    if (err == TET_OK)
        err = options_count(options, OPTION_MAX_STREAMS, 1, MAX_STREAMS, 2000, &streams, error);
    http.max_streams = (uint32_t)streams;
    if (err == TET_OK)
        err = http_start(&p->http, &http, api_routes, &p->api, &p->port, error);
    if (err == TET_OK)
        atomic_store(&p->api.http, p->http);
    if (err == TET_OK && http_listens_beyond(http.listen) && http.tls_key == NULL)
        fprintf(
            stderr,
            "tetrad: warning: %s is served without TLS: tokens can be read on the way, unless a "
            "proxy in front speaks HTTPS (or give --tls-cert and --tls-key)\n",
            http.listen);
    return err;
}

static enum tet_err start(struct parts *p, const struct options *options, struct tet_error *error)
{
    struct api *api = &p->api;
    uint64_t workers = 0, heartbeat_s = 0;
    struct store_policy policy;
    recent_init(&api->recent);
    raise_descriptors();
    enum tet_err err = options_count(options, OPTION_WORKERS, 1, POOL_MAX_WORKERS,
                                     machine_processors(), &workers, error);
    if (err == TET_OK)
        err = options_count(options, OPTION_HEARTBEAT, 1, MAX_HEARTBEAT_S, 0, &heartbeat_s, error);
    if (err == TET_OK)
        err = log_start(options->value[OPTION_LOG], options->value[OPTION_LOG_LEVEL], error);
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
    api->database = options->value[OPTION_DB];
    api->backups_folder = options->value[OPTION_BACKUPS];
    if (api->backups_folder == NULL) {
        snprintf(p->backups, sizeof p->backups, "%s.backups", api->database);
        api->backups_folder = p->backups;
    }
    if (err == TET_OK)
        backup_clean(api->backups_folder);
    if (err == TET_OK)
        err = open_state(api, options, error);
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
    if (err == TET_OK)
        err = admission_start(&api->admission, api->store, error);
    if (err == TET_OK)
        err = listen_for(p, options, error);
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
    admission_stop(p->api.admission);
    store_close(p->api.store);
    catalog_close(p->api.catalog);
    recent_free(&p->api.recent);
    uploaded_destroy(p->api.uploaded);
    state_close(p->api.state);
    alarm(0);
}

int serve_command(const struct options *options)
{
    static struct parts parts; // too large for a stack
    struct tet_error error = {0};
    sigset_t set;
    block_signals(&set);
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
        int number = 0;
        sigwait(&set, &number);
    } else {
        fprintf(stderr, "tetrad: %s\n", error.message);
    }
    stop(&parts);
    return status_of(err);
}
