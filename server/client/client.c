// SPDX-License-Identifier: Apache-2.0
/* Requests and replies: see client.h. */
#include "client/client.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "file.h"
#include "json.h"
#include "text.h"

enum { REPLY_MAX = 256 << 20, TRIES = 4, PATIENCE_S = 5 };

/* ---- beginning and end ---- */

/* --token-file or, unless the command line says that, TETRAD_TOKEN. */
static enum tet_err read_token(struct client *c)
{
    const struct options *o = c->options;
    const char *token = o->value[OPTION_TOKEN], *path = o->value[OPTION_TOKEN_FILE];
    char *text = NULL;
    size_t size = 0;
    enum tet_err err = TET_OK;
    if (path != NULL && (token == NULL || o->flag[OPTION_TOKEN_FILE])) {
        err = file_read(path, 4096, &text, &size, &c->error);
        token = text;
        if (text != NULL)
            text[strcspn(text, " \t\r\n")] = '\0';
    }
    const size_t n = token != NULL ? strlen(token) : 0;
    bool good = n < sizeof c->token && (text == NULL || n > 0);
    for (size_t i = 0; i < n; i++)
        good = good && token[i] > ' ' && token[i] < 0x7F;
    if (err == TET_OK && !good)
        err = tet_error_set(&c->error, TET_BAD_REQUEST,
                            "the token%s%s: found %zu characters, allowed 1 to %d visible ASCII "
                            "characters",
                            text != NULL ? " in " : "", text != NULL ? path : "", n,
                            CLIENT_TOKEN - 1);
    if (err == TET_OK && token != NULL)
        snprintf(c->token, sizeof c->token, "%s", token);
    if (text != NULL)
        explicit_bzero(text, size);
    free(text);
    return err;
}

enum tet_err client_open(struct client *c, const struct options *options)
{
    char *server = options->value[OPTION_SERVER];
    *c = (struct client){.options = options, .server = server};
    for (size_t n = strlen(server); n > 0 && server[n - 1] == '/'; n--)
        server[n - 1] = '\0';
    c->json = options_switch(options, OPTION_JSON);
    c->raw = c->json;
    const enum tet_err err = read_token(c);
    if (err != TET_OK)
        return err;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (c->curl = curl_easy_init()) == NULL)
        return tet_error_set(&c->error, TET_NO_MEMORY, "libcurl cannot start: no memory");
    return TET_OK;
}

int client_close(struct client *c, int status)
{
    if (c->error.err != TET_OK) {
        struct text text = {0};
        text_visible(&text, c->error.message);
        fprintf(stderr, "tetrad: %s\n", text_get(&text));
        text_free(&text);
        status = c->error.err == TET_ADDRESS ? STATUS_SERVER : status_of(c->error.err);
    }
    if (c->curl != NULL)
        curl_easy_cleanup(c->curl);
    curl_global_cleanup();
    sodium_memzero(c->token, sizeof c->token);
    free(c->body);
    return status;
}

/* ---- replies that may be shown ---- */

static json_t *visible(const json_t *value)
{
    if (json_is_string(value)) {
        struct text text = {0};
        text_visible(&text, json_string_value(value));
        json_t *string = json_string(text_get(&text));
        text_free(&text);
        return string;
    }
    if (json_is_array(value)) {
        json_t *array = json_array(), *item;
        size_t i;
        json_array_foreach((json_t *)(uintptr_t)value, i, item)
        {
            json_array_append_new(array, visible(item));
        }
        return array;
    }
    if (json_is_object(value)) {
        json_t *object = json_object(), *member;
        const char *key;
        json_object_foreach((json_t *)(uintptr_t)value, key, member)
        {
            struct text text = {0};
            text_visible(&text, key);
            json_object_set_new(object, text_get(&text), visible(member));
            text_free(&text);
        }
        return object;
    }
    return json_incref((json_t *)(uintptr_t)value);
}

/* The body as JSON; most have nothing that would have to be made visible. */
static json_t *parse(const struct client *c)
{
    json_t *value = json_loadb(c->body != NULL ? c->body : "", c->size, 0, NULL);
    if (c->raw || value == NULL || strpbrk(c->body, "\\\x7f\xc2\xe2") == NULL)
        return value;
    json_t *shown = visible(value);
    json_decref(value);
    return shown;
}

/* ---- requests ---- */

static size_t take(char *bytes, size_t one, size_t n, void *context)
{
    struct client *c = context;
    long status = 0;
    (void)one; // always 1
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    if (c->file != NULL && status == 200)
        return fwrite(bytes, 1, n, c->file);
    if (n > REPLY_MAX - c->size)
        return 0;
    char *grown = realloc(c->body, c->size + n + 1);
    c->no_memory |= grown == NULL;
    if (grown == NULL)
        return 0;
    c->body = grown;
    memcpy(c->body + c->size, bytes, n);
    c->size += n;
    c->body[c->size] = '\0';
    return n;
}

static int stop_on_interrupt(void *context, curl_off_t a, curl_off_t b, curl_off_t d, curl_off_t e)
{
    (void)context, (void)a, (void)b, (void)d, (void)e;
    return client_interrupted;
}

bool client_header(struct curl_slist **headers, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*headers, line);
    if (longer != NULL)
        *headers = longer;
    return longer != NULL;
}

bool client_headers(const struct client *c, struct curl_slist **headers)
{
    char line[CLIENT_TOKEN + 32];
    *headers = NULL;
    bool whole = client_header(headers, "Expect:");
    if (c->token[0] != '\0') {
        snprintf(line, sizeof line, "Authorization: Bearer %s", c->token);
        whole = client_header(headers, line) && whole;
        sodium_memzero(line, sizeof line);
    }
    return whole;
}

bool client_prepare(const struct client *c, CURL *curl, const char *path,
                    const struct curl_slist *headers)
{
    char url[CLIENT_PATH + 2048];
    snprintf(url, sizeof url, "%s%s", c->server, path);
    curl_easy_reset(curl);
    bool whole = curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK;
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    whole = curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK && whole;
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    if (c->options->value[OPTION_CA] != NULL)
        whole = curl_easy_setopt(curl, CURLOPT_CAINFO, c->options->value[OPTION_CA]) == CURLE_OK &&
                whole;
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, stop_on_interrupt);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    return whole;
}

/* How much of a form has been sent, on a terminal. */
static int show_sent(void *context, curl_off_t a, curl_off_t b, curl_off_t total, curl_off_t now)
{
    (void)context, (void)a, (void)b;
    if (total > 0 && isatty(STDERR_FILENO))
        fprintf(stderr, "\r%5.1f of %.1f MB%s", (double)now / 1e6, (double)total / 1e6,
                now == total ? ", being checked " : "");
    return client_interrupted;
}

static bool set_body(const struct client *c, const struct client_request *r)
{
    bool whole = true;
    if (r->form != NULL) {
        whole = curl_easy_setopt(c->curl, CURLOPT_MIMEPOST, r->form) == CURLE_OK;
        curl_easy_setopt(c->curl, CURLOPT_XFERINFOFUNCTION, show_sent);
    } else if (r->upload != NULL) {
        rewind(r->upload);
        curl_easy_setopt(c->curl, CURLOPT_POST, 1L);
        curl_easy_setopt(c->curl, CURLOPT_READDATA, r->upload);
    } else if (strcmp(r->method, "POST") == 0) {
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, r->body != NULL ? r->body : "");
    }
    if (strcmp(r->method, "POST") == 0)
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->size);
    return curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, r->method) == CURLE_OK && whole;
}

static CURLcode perform(struct client *c, const struct client_request *r,
                        char reason[CURL_ERROR_SIZE])
{
    char line[512];
    struct curl_slist *headers;
    bool whole = client_headers(c, &headers); // a request that lacks a part is not sent
    if (strcmp(r->method, "POST") == 0) {
        snprintf(line, sizeof line, "Content-Type: %s",
                 r->type != NULL ? r->type : "application/json");
        whole = client_header(&headers, line) && whole;
    }
    if (r->key != NULL) {
        snprintf(line, sizeof line, "Idempotency-Key: %s", r->key);
        whole = client_header(&headers, line) && whole;
    }
    free(c->body);
    c->body = NULL;
    c->size = 0;
    c->status = 0;
    reason[0] = '\0';
    whole = client_prepare(c, c->curl, r->path, headers) && whole;
    curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
    whole = set_body(c, r) && whole;
    const CURLcode code = whole ? curl_easy_perform(c->curl) : CURLE_OUT_OF_MEMORY;
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &c->status);
    curl_slist_free_all(headers);
    if (r->form != NULL && isatty(STDERR_FILENO))
        fputc('\n', stderr);
    /* A server that refuses what is sent may end the connection before all was: its answer counts. */
    return c->status >= 400 && c->size > 0 && !client_interrupted ? CURLE_OK : code;
}

/* Whether to ask again, after a pause: the server was busy and says for how long; or the connection
 * broke, and the request may be sent twice. */
static bool again(const struct client *c, const struct client_request *r, CURLcode code)
{
    struct timespec pause = {.tv_nsec = 200000000};
    const bool twice = r->key != NULL || strcmp(r->method, "GET") == 0;
    if (client_interrupted || c->file != NULL)
        return false;
    if (code == CURLE_OK) {
        curl_off_t seconds = 0;
        curl_easy_getinfo(c->curl, CURLINFO_RETRY_AFTER, &seconds);
        if ((c->status != 503 && c->status != 429) || seconds < 1 || seconds > PATIENCE_S)
            return false;
        pause = (struct timespec){.tv_sec = (time_t)seconds};
    } else if (!twice || (code != CURLE_RECV_ERROR && code != CURLE_SEND_ERROR &&
                          code != CURLE_GOT_NOTHING && code != CURLE_PARTIAL_FILE)) {
        return false;
    }
    nanosleep(&pause, NULL);
    return true;
}

enum tet_err client_ask(struct client *c, const struct client_request *r, json_t **reply)
{
    char reason[CURL_ERROR_SIZE];
    *reply = NULL;
    if (strlen(c->server) > 1024 || strlen(r->path) >= CLIENT_PATH)
        return tet_error_set(&c->error, TET_BAD_REQUEST, "the URL is too long");
    CURLcode code = perform(c, r, reason);
    for (int i = 1; i < TRIES && again(c, r, code); i++)
        code = perform(c, r, reason);
    const bool no_memory = code == CURLE_OUT_OF_MEMORY || c->no_memory;
    if (code != CURLE_OK)
        return tet_error_set(&c->error, no_memory ? TET_NO_MEMORY : TET_ADDRESS, "%s: %s",
                             c->server,
                             no_memory         ? "no memory for the answer"
                             : *reason != '\0' ? reason
                                               : curl_easy_strerror(code));
    if (c->status >= 300 && c->status < 400)
        return tet_error_set(&c->error, TET_ADDRESS,
                             "%s answers %ld: redirects are not followed; --server needs the "
                             "server's own address",
                             c->server, c->status);
    if (c->file != NULL && c->status == 200)
        return TET_OK;
    *reply = parse(c);
    if (!json_whole()) {
        json_decref(*reply);
        *reply = NULL;
        return tet_error_set(&c->error, TET_NO_MEMORY, "no memory for the answer");
    }
    if (*reply == NULL)
        return tet_error_set(&c->error, TET_ADDRESS,
                             "%s does not answer in JSON: is it a Tetrad server?", c->server);
    return TET_OK;
}

enum tet_err client_get(struct client *c, json_t **reply, const char *format, ...)
{
    char path[CLIENT_PATH];
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof path, format, args);
    va_end(args);
    return client_ask(c, &(struct client_request){.method = "GET", .path = path}, reply);
}
