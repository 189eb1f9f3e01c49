// SPDX-License-Identifier: Apache-2.0
/*
 * Requests: target, query and headers, by the code that reads them in a server, and then by the handlers
 * of everything that only reads, over a small laboratory with one experiment of two runs. Input: the
 * request as HTTP has it, "GET /v1/runs/1?step=2", lines of headers, an empty line, a body.
 *
 * libmicrohttpd keeps headers by connection; here they are kept in its place, so that no socket is needed.
 * Handlers that change the laboratory are not called: inputs must not depend on those before them.
 */
#include "fuzz.h"

#include <ftw.h>
#include <time.h>

#include "access/admission.h"
#include "access/token.h"
#include "api/api.h"
#include "http/http_private.h"
#include "json.h"
#include "monitor/watch.h"
#include "store/users.h"

enum { HEADERS = 24, MAX_BODY = 1 << 16 };

static struct api api;
static struct http_server server;
static char folder[64];

/* ---- headers, in libmicrohttpd's place ---- */

static struct {
    const char *name, *value;
} headers[HEADERS];
static size_t n_headers;

const char *MHD_lookup_connection_value(struct MHD_Connection *connection, enum MHD_ValueKind kind,
                                        const char *key)
{
    (void)connection, (void)kind;
    for (size_t i = 0; i < n_headers; i++)
        if (strcasecmp(headers[i].name, key) == 0)
            return headers[i].value;
    return NULL;
}

int MHD_get_connection_values(struct MHD_Connection *connection, enum MHD_ValueKind kind,
                              MHD_KeyValueIterator look, void *context)
{
    (void)connection;
    for (size_t i = 0; i < n_headers; i++)
        if (look(context, kind, headers[i].name, headers[i].value) == MHD_NO)
            break;
    return (int)n_headers;
}

/* Cuts the text at its lines; returns what follows the empty one. */
static char *cut_headers(char *text)
{
    n_headers = 0;
    while (text != NULL && *text != '\0') {
        char *line = strsep(&text, "\n");
        const size_t length = strlen(line);
        if (length > 0 && line[length - 1] == '\r')
            line[length - 1] = '\0';
        if (*line == '\0')
            return text;
        char *value = strchr(line, ':');
        if (value == NULL || n_headers == HEADERS)
            continue;
        *value++ = '\0';
        value += strspn(value, " \t");
        headers[n_headers].name = line;
        headers[n_headers++].value = value;
    }
    return text;
}

/* ---- a reply ---- */

static void check_error_body(const struct http_reply *reply)
{
    json_t *value = NULL;
    struct tet_error error = {0};
    HOLDS(json_read(&value, reply->bytes, reply->size, &error) == TET_OK);
    const json_t *body = json_object_get(value, "error");
    HOLDS(json_string_value(json_object_get(body, "code")) != NULL);
    const char *message = json_string_value(json_object_get(body, "message"));
    HOLDS(message != NULL && message[0] != '\0');
    HOLDS(strcmp(json_string_value(json_object_get(body, "code")), "internal_error") != 0);
    HOLDS(strcmp(json_string_value(json_object_get(body, "code")), "out_of_memory") != 0);
    json_decref(value);
}

static void check_reply(const struct http_reply *reply)
{
    HOLDS(reply->status >= 200 && reply->status < 600 && reply->status != 500);
    HOLDS(!reply->failed);
    if (reply->stream != NULL || reply->status == 304)
        return;
    HOLDS(reply->type[0] != '\0' || reply->size == 0);
    if (reply->status >= 400)
        check_error_body(reply);
    else if (reply->owned != NULL && strcmp(reply->type, "application/json; charset=utf-8") == 0) {
        json_t *value = json_loadb(reply->bytes, reply->size, JSON_DECODE_ANY, NULL);
        HOLDS(value != NULL);
        json_decref(value);
    }
}

/* ---- a request ---- */

static bool only_reads(const struct http_request *request)
{
    return strcmp(request->route->method, "GET") == 0 || request->route->handle == api_predict ||
           (request->route->handle == api_submit && http_query(request, "dry_run") != NULL &&
            strcmp(http_query(request, "dry_run"), "1") == 0);
}

/* A piece of a path or a query is UTF-8 without control characters. */
static void check_text(const char *text)
{
    json_t *string = json_string(text);
    HOLDS(string != NULL);
    json_decref(string);
    for (; *text != '\0'; text++)
        HOLDS((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void check_request(const struct http_request *request)
{
    for (size_t i = 0; i < request->n_segments; i++) {
        check_text(request->segments[i]);
        HOLDS(request->segments[i][0] != '\0' && strcmp(request->segments[i], "..") != 0);
    }
    for (size_t i = 0; i < request->n_query; i++) {
        check_text(request->query[i].key);
        check_text(request->query[i].value);
        HOLDS(http_query(request, request->query[i].key) != NULL);
    }
}

/* Who may come in, by the headers alone; everybody is let in afterwards. */
static void check_guards(struct http_request *request)
{
    static const char *const types[] = {"application/json", "text/csv", "application/x-ndjson",
                                        NULL};
    const struct http_peer peer = {.loopback = true};
    struct identity identity;
    struct tet_error error = {0};
    int64_t ms;
    check_error(guard_judge(request, "HTTP/1.1", &error), &error);
    error = (struct tet_error){0};
    const enum tet_err err = admission_judge(api.admission, http_header(request, "Authorization"),
                                             &peer, &identity, &error);
    check_error(err, &error);
    /* There is a token, that nobody here knows: whoever says nothing is nobody. */
    HOLDS(identity.role == ROLE_PUBLIC && identity.user[0] == '\0');
    HOLDS((err == TET_OK) == (http_header(request, "Authorization") == NULL));
    const char *best = http_accepts(request, types);
    HOLDS(best == NULL || best == types[0] || best == types[1] || best == types[2]);
    if (n_headers > 0 && token_time_parse(headers[0].value, &ms))
        HOLDS(ms > 0);
    error = (struct tet_error){0};
    for (size_t i = 0; i < n_headers && error.err == TET_OK; i++)
        check_error(guard_check_list("host", headers[i].value, i % 2 == 1, &error), &error);
}

static void handle(struct http_request *request, char *body, size_t size)
{
    bool unread;
    struct tet_error error = {0};
    request->identity = (struct identity){.user = "local", .role = ROLE_ADMIN};
    const enum tet_err err = body_judge(request, MAX_BODY, &unread, &error);
    check_error(err, &error);
    if (err != TET_OK || !only_reads(request))
        return;
    request->body.bytes = malloc(size + 1);
    HOLDS(request->body.bytes != NULL);
    memcpy(request->body.bytes, body, size);
    request->body.size = size;
    atomic_store(&server.budget.used, 0);
    request->route->handle(&api, request, &request->reply);
    check_reply(&request->reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = malloc(size + 1), *at = text, allow[ROUTE_ALLOW];
    struct tet_error error = {0};
    HOLDS(text != NULL);
    memcpy(text, bytes, size);
    text[size] = '\0';
    for (size_t i = 0; i < size; i++) // zeros never come this far
        text[i] = text[i] == '\0' ? ' ' : text[i];
    char *line = strsep(&at, "\n"), *target = strchr(line, ' ');
    if (target == NULL) {
        free(text);
        return -1;
    }
    *target++ = '\0';
    target[strcspn(target, " \r")] = '\0';
    char *body = cut_headers(at);
    struct http_request *request = request_new(&server, NULL, target);
    HOLDS(request != NULL);
    watch_begin(request, line, target);
    const enum tet_err err = request_parse(request, &error);
    check_error(err, &error);
    if (err == TET_OK) {
        check_request(request);
        check_guards(request);
    }
    const enum tet_err found =
        err == TET_OK ? route_find(request, api_routes, line, allow) : TET_NOT_FOUND;
    HOLDS((found == TET_OK) == (request->route != NULL));
    HOLDS(found != TET_METHOD || allow[0] != '\0');
    if (found == TET_OK)
        handle(request, body != NULL ? body : text + size, body != NULL ? strlen(body) : 0);
    request_free(request, &server.budget);
    free(text);
    return 0;
}

/* ---- the laboratory ---- */

static const char lab[] = "{\"name\":\"fuzzed\",\"tags\":[\"a\"],\"dataset\":{\"name\":\"bare\","
                          "\"validation\":4},\"training\":"
                          "{\"epochs\":2,\"batch\":8},\"network\":{\"layers\":[{\"units\":4}]},"
                          "\"rule\":{\"name\":\"sal\"},"
                          "\"sweep\":{\"training.seed\":[1,2]}}";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

static void remove_lab(void)
{
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void submit(void)
{
    static char path[] = "/v1/experiments";
    char allow[ROUTE_ALLOW];
    struct http_request *request = request_new(&server, NULL, path);
    HOLDS(request_parse(request, NULL) == TET_OK);
    HOLDS(route_find(request, api_routes, "POST", allow) == TET_OK);
    request->identity = (struct identity){.user = "local", .role = ROLE_ADMIN};
    request->body.bytes = strdup(lab);
    request->body.size = strlen(lab);
    request->route->handle(&api, request, &request->reply);
    if (request->reply.status != 201)
        fprintf(stderr, "%.*s\n", (int)request->reply.size, (const char *)request->reply.bytes);
    HOLDS(request->reply.status == 201);
    request->body.capacity = 0;
    request_free(request, &server.budget);
}

static bool keep_state(void *state, const struct store_run *run)
{
    *(enum run_state *)state = run->state;
    return true;
}

/* Until both runs have ended: once for a process. */
static void await(void)
{
    for (int64_t run = 1; run <= 2;) {
        enum run_state state = RUN_QUEUED;
        HOLDS(store_run_read(api.store, run, keep_state, &state, NULL) == TET_OK);
        HOLDS(state != RUN_FAILED);
        run += run_state_final(state);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

static void make_token(void)
{
    const struct store_token token = {.user = "ann", .role = ROLE_MEMBER, .note = "n"};
    const struct identity by = {.user = "local", .role = ROLE_ADMIN};
    char text[TOKEN_TEXT];
    int64_t id;
    HOLDS(store_token_create(api.store, &token, &by, text, &id, NULL) == TET_OK);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char path[96];
    struct tet_error error = {0};
    (void)argc, (void)argv;
    snprintf(folder, sizeof folder, "/dev/shm/tetrad-fuzz-XXXXXX");
    if (mkdtemp(folder) == NULL)
        HOLDS(mkdtemp(strcpy(folder, "/tmp/tetrad-fuzz-XXXXXX")) != NULL);
    atexit(remove_lab);
    snprintf(path, sizeof path, "%s/lab.db", folder);
    recent_init(&api.recent);
    api.memory_bytes = 64 << 20;
    api.data_folder = "tests/unit/definition/data";
    streams_create(&server.streams, 64);
    server.budget.limit = MAX_BODY;
    HOLDS(catalog_open(&api.catalog, api.data_folder, api.memory_bytes, &error) == TET_OK);
    HOLDS(store_open(&api.store, path, &error) == TET_OK);
    HOLDS(watch_start(&api, 15000, &error) == TET_OK);
    const struct pool_options pool = {.store = api.store,
                                      .catalog = api.catalog,
                                      .events = api.events,
                                      .workers = 1,
                                      .memory_bytes = api.memory_bytes};
    HOLDS(pool_start(&api.pool, &pool, &error) == TET_OK);
    atomic_store(&api.look_at, api.pool);
    const struct storage_options disks = {
        .store = api.store, .database = path, .files = folder, .backups = folder};
    HOLDS(storage_start(&api.storage, &disks, &error) == TET_OK);
    submit();
    await();
    make_token();
    HOLDS(admission_start(&api.admission, api.store, &error) == TET_OK);
    return 0;
}
