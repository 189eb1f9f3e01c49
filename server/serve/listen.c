// SPDX-License-Identifier: Apache-2.0
/* What the options say of HTTP: see start.h. */
#include "serve/start.h"

#include <stdio.h>
#include <sys/resource.h>

#include "access/admission.h"
#include "data/files.h"
#include "definition/definition.h"
#include "monitor/watch.h"

enum {
    CONNECTIONS = 4096,      // by default, where the process may have so many descriptors
    OTHER_DESCRIPTORS = 128, // of the store, the log, datasets
    MAX_CONNECTIONS = 1000000,
    MAX_STREAMS = 100000
};

/* How many connections there may be: what was asked for, or what the system lets us have descriptors
 * for. */
static enum tet_err read_connections(const struct options *options, uint32_t *connections,
                                     struct tet_error *error)
{
    struct rlimit limit;
    uint64_t n = 0;
    const enum tet_err err =
        options_count(options, OPTION_MAX_CONNECTIONS, 1, MAX_CONNECTIONS, CONNECTIONS, &n, error);
    if (err != TET_OK)
        return err;
    *connections = (uint32_t)n;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return TET_OK;
    const rlim_t before = limit.rlim_cur, wanted = (rlim_t)n + OTHER_DESCRIPTORS;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        limit.rlim_cur = before;
    if (limit.rlim_cur >= wanted)
        return TET_OK;
    if (options->value[OPTION_MAX_CONNECTIONS] != NULL)
        return tet_error_set(error, TET_BAD_REQUEST,
                             "--max-connections %llu: this process may have %llu files open; see "
                             "`ulimit -Hn`",
                             (unsigned long long)n, (unsigned long long)limit.rlim_cur);
    *connections = limit.rlim_cur > 2 * OTHER_DESCRIPTORS
                       ? (uint32_t)limit.rlim_cur - OTHER_DESCRIPTORS
                       : OTHER_DESCRIPTORS;
    return TET_OK;
}

/* Whoever is not on this machine needs a token, be it that we listen for them or that a proxy does,
 * which --host or --proxy tells. */
static enum tet_err check_closed(const struct api *api, const struct options *options,
                                 struct tet_error *error)
{
    const char *listen = options->value[OPTION_LISTEN], *host = options->value[OPTION_HOST];
    const char *proxy = options->value[OPTION_PROXY];
    if (admission_closed(api->admission) ||
        (!http_listens_beyond(listen) && host == NULL && proxy == NULL))
        return TET_OK;
    return tet_error_set(error, TET_ADDRESS,
                         "%s %s, and %s has no access token: first make one with `tetrad token "
                         "create --user NAME --role admin --db %s`",
                         host != NULL    ? host
                         : proxy != NULL ? proxy
                                         : listen,
                         host != NULL    ? "is a name that others call this server by"
                         : proxy != NULL ? "is a proxy that others come through"
                                         : "is not a loopback address",
                         options->value[OPTION_DB], options->value[OPTION_DB]);
}

static enum tet_err read_limits(const struct options *options, struct http_options *http,
                                struct tet_error *error)
{
    uint64_t streams = 0, each = 0;
    enum tet_err err = read_connections(options, &http->max_connections, error);
    if (err == TET_OK)
        err = options_size(options, OPTION_MAX_UPLOAD, (uint64_t)4 << 30, &http->max_upload_bytes,
                           error);
    if (err == TET_OK)
        err = options_count(options, OPTION_MAX_STREAMS, 1, MAX_STREAMS, 2000, &streams, error);
    if (err == TET_OK)
        err = options_count(options, OPTION_MAX_PER_ADDRESS, 1, MAX_CONNECTIONS, 0, &each, error);
    http->max_streams = (uint32_t)streams;
    http->max_per_address = (uint32_t)each;
    return err;
}

enum tet_err serve_listen(struct api *api, const struct options *options, uint16_t *port,
                          struct tet_error *error)
{
    struct http_options http = {.listen = options->value[OPTION_LISTEN],
                                .quick = api_quick,
                                .max_body_bytes = DEFINITION_MAX_BYTES,
                                .spool_folder = files_incoming(api->files),
                                .admit = api_admit,
                                .done = api_done,
                                .watch = watch_request,
                                .beyond_loopback = admission_closed(api->admission),
                                .hosts = options->value[OPTION_HOST],
                                .origins = options->value[OPTION_CORS_ORIGIN],
                                .proxies = options->value[OPTION_PROXY],
                                .tls_certificate = options->value[OPTION_TLS_CERT],
                                .tls_key = options->value[OPTION_TLS_KEY]};
    struct http_server *server = NULL;
    enum tet_err err = check_closed(api, options, error);
    if (err == TET_OK)
        err = read_limits(options, &http, error);
    if (err == TET_OK)
        err = http_start(&server, &http, api_routes, api, port, error);
    if (err != TET_OK)
        return err;
    atomic_store(&api->http, server);
    admission_observe(api->admission, api_review, api);
    if (http_listens_beyond(http.listen) && http.tls_key == NULL)
        fprintf(
            stderr,
            "tetrad: warning: %s is served without TLS: tokens can be read on the way, unless a "
            "proxy in front speaks HTTPS (or give --tls-cert and --tls-key)\n",
            http.listen);
    return TET_OK;
}
