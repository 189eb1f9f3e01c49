// SPDX-License-Identifier: Apache-2.0
/* `tetrad dataset`: see dataset.h. A client of the HTTP interface, by libcurl. */
#include "dataset.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/folder.h"
#include "fetch.h"

enum { REPLY_MAX = 64 << 20, URL_BYTES = 2048 };

struct client {
    CURL *curl;
    char server[URL_BYTES / 2];
    char *body; // of the reply
    size_t size;
    long status;
};

static size_t take(char *bytes, size_t one, size_t n, void *context)
{
    struct client *c = context;
    char *grown = n <= REPLY_MAX - c->size ? realloc(c->body, c->size + n + 1) : NULL;
    if (grown == NULL)
        return 0;
    c->body = grown;
    memcpy(grown + c->size, bytes, n * one);
    c->size += n;
    return n;
}

static int show(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total,
                curl_off_t up_now)
{
    (void)context, (void)total, (void)now;
    if (up_total > 0)
        fprintf(stderr, "\r%5.1f of %.1f MB%s", (double)up_now / 1e6, (double)up_total / 1e6,
                up_now == up_total ? ", being checked " : "");
    return 0;
}

/* One request; *reply is the reply's JSON, NULL where it is none. */
static enum tet_err ask(struct client *c, const char *method, const char *path, curl_mime *form,
                        json_t **reply, struct tet_error *error)
{
    char url[URL_BYTES], header[600], reason[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    const char *token = getenv("TETRAD_TOKEN");
    *reply = NULL;
    if (snprintf(url, sizeof url, "%s%s", c->server, path) >= (int)sizeof url)
        return tet_error_set(error, TET_BAD_REQUEST, "the server's URL is too long");
    if (token != NULL && *token != '\0' &&
        snprintf(header, sizeof header, "Authorization: Bearer %s", token) < (int)sizeof header)
        headers = curl_slist_append(headers, header);
    curl_easy_setopt(c->curl, CURLOPT_URL, url);
    curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
    if (form != NULL) {
        curl_easy_setopt(c->curl, CURLOPT_MIMEPOST, form);
        curl_easy_setopt(c->curl, CURLOPT_NOPROGRESS, isatty(STDERR_FILENO) ? 0L : 1L);
        curl_easy_setopt(c->curl, CURLOPT_XFERINFOFUNCTION, show);
    }
    curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
    const CURLcode code = curl_easy_perform(c->curl);
    curl_slist_free_all(headers);
    if (form != NULL && isatty(STDERR_FILENO))
        fputc('\n', stderr);
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &c->status);
    /* A server that refuses an upload may end the connection while it is sent: its answer counts. */
    if (code != CURLE_OK && c->size == 0)
        return tet_error_set(error, TET_ADDRESS, "%s: %s", c->server,
                             *reason != '\0' ? reason : curl_easy_strerror(code));
    *reply = json_loadb(c->body != NULL ? c->body : "", c->size, 0, NULL);
    return *reply != NULL
               ? TET_OK
               : tet_error_set(error, TET_ADDRESS, "%s: no answer of a tetrad server", c->server);
}

static const char *text_of(const json_t *object, const char *key, const char *missing)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : missing;
}

static long long number_of(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

/* The server's words, without what a terminal would take for commands. */
static void print_plain(FILE *out, const char *text)
{
    for (; *text != '\0'; text++)
        fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, out);
}

static int refused(const json_t *reply)
{
    fputs("tetrad: ", stderr);
    print_plain(stderr, text_of(json_object_get(reply, "error"), "message", "the server refused"));
    fputc('\n', stderr);
    return STATUS_SERVER;
}

static void print_one(const json_t *d)
{
    print_plain(stdout, text_of(d, "name", "?"));
    if (json_is_string(json_object_get(d, "error"))) {
        fputs(": ", stdout);
        print_plain(stdout, text_of(d, "error", ""));
        fputc('\n', stdout);
        return;
    }
    printf(": %s, %lld to train on, %lld to test on, %lld inputs, %lld outputs",
           text_of(d, "kind", "?"), number_of(d, "train"), number_of(d, "test"),
           number_of(d, "inputs"), number_of(d, "outputs"));
    if (json_is_string(json_object_get(d, "owner"))) {
        fputs(", uploaded by ", stdout);
        print_plain(stdout, text_of(d, "owner", "?"));
    }
    fputc('\n', stdout);
}

static int list(struct client *c, struct tet_error *error)
{
    json_t *reply, *one;
    size_t i;
    if (ask(c, "GET", "/v1/datasets", NULL, &reply, error) != TET_OK)
        return STATUS_SERVER;
    const int status = c->status == 200 ? STATUS_OK : refused(reply);
    json_array_foreach(json_object_get(reply, "datasets"), i, one)
    {
        print_one(one);
    }
    json_decref(reply);
    return status;
}

/* "/v1/datasets/NAME" with the parameters of tables, escaped. */
static bool upload_path(struct client *c, const struct options *o, char path[URL_BYTES / 2])
{
    char *label = NULL, *fraction = NULL;
    const char *l = o->value[OPTION_LABEL], *f = o->value[OPTION_TEST_FRACTION];
    if (l != NULL)
        label = curl_easy_escape(c->curl, l, 0);
    if (f != NULL)
        fraction = curl_easy_escape(c->curl, f, 0);
    const int n = snprintf(path, URL_BYTES / 2, "/v1/datasets/%s%s%s%s%s", o->value[OPTION_NAME],
                           l != NULL ? "?label=" : "", label != NULL ? label : "",
                           f == NULL   ? ""
                           : l != NULL ? "&test_fraction="
                                       : "?test_fraction=",
                           fraction != NULL ? fraction : "");
    curl_free(label);
    curl_free(fraction);
    return n > 0 && n < URL_BYTES / 2;
}

static int upload(struct client *c, const struct options *o, struct tet_error *error)
{
    char path[URL_BYTES / 2];
    json_t *reply = NULL;
    int status = STATUS_SERVER;
    const char *name = o->value[OPTION_NAME];
    if (name == NULL || !folder_name_fits(name) || o->n_arguments < 2)
        return status_of(tet_error_set(
            error, TET_BAD_REQUEST,
            "tetrad dataset upload FILE... --name NAME, of letters, digits, - and _"));
    curl_mime *form = curl_mime_init(c->curl);
    for (size_t i = 1; i < o->n_arguments; i++) {
        curl_mimepart *part = curl_mime_addpart(form);
        if (curl_mime_filedata(part, o->argument[i]) != CURLE_OK) {
            curl_mime_free(form);
            return status_of(tet_error_set(error, TET_IO, "%s: it cannot be read", o->argument[i]));
        }
        curl_mime_name(part, "files");
    }
    if (!upload_path(c, o, path))
        tet_error_set(error, TET_BAD_REQUEST, "label and test fraction are too long");
    else if (ask(c, "PUT", path, form, &reply, error) == TET_OK)
        status = c->status == 200 || c->status == 201 ? STATUS_OK : refused(reply);
    if (status == STATUS_OK)
        print_one(reply);
    curl_mime_free(form);
    json_decref(reply);
    return status;
}

static int delete (struct client *c, const struct options *o, struct tet_error *error)
{
    char path[URL_BYTES / 2];
    json_t *reply;
    if (o->n_arguments != 2 || !folder_name_fits(o->argument[1]))
        return status_of(tet_error_set(error, TET_BAD_REQUEST,
                                       "tetrad dataset delete NAME, of letters, digits, - and _"));
    snprintf(path, sizeof path, "/v1/datasets/%s", o->argument[1]);
    if (ask(c, "DELETE", path, NULL, &reply, error) != TET_OK)
        return STATUS_SERVER;
    const int status = c->status == 200 ? STATUS_OK : refused(reply);
    if (status == STATUS_OK)
        printf("%s is deleted\n", o->argument[1]);
    json_decref(reply);
    return status;
}

static int fetch(const struct options *o, struct tet_error *error)
{
    if (o->n_arguments != 2)
        return status_of(tet_error_set(error, TET_BAD_REQUEST,
                                       "tetrad dataset fetch NAME --data DIR, NAME one of: %s",
                                       fetch_names()));
    const struct fetch wanted = {.name = o->argument[1],
                                 .folder = o->value[OPTION_DATA],
                                 .mirror = o->value[OPTION_MIRROR],
                                 .unverified = options_switch(o, OPTION_UNVERIFIED)};
    const enum tet_err err = fetch_dataset(&wanted, error);
    return err == TET_OK ? STATUS_OK : err == TET_ADDRESS ? STATUS_SERVER : status_of(err);
}

int dataset_command(const struct options *o)
{
    struct client c = {0};
    struct tet_error error = {0};
    int status = STATUS_FAILED;
    const char *what = o->n_arguments > 0 ? o->argument[0] : "";
    snprintf(c.server, sizeof c.server, "%s", o->value[OPTION_SERVER]);
    for (size_t n = strlen(c.server); n > 0 && c.server[n - 1] == '/'; n--)
        c.server[n - 1] = '\0';
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (c.curl = curl_easy_init()) == NULL)
        status = status_of(tet_error_set(&error, TET_NO_MEMORY, "libcurl cannot start"));
    else if (strcmp(what, "fetch") == 0)
        status = fetch(o, &error);
    else if (strcmp(what, "list") == 0 && o->n_arguments == 1)
        status = list(&c, &error);
    else if (strcmp(what, "upload") == 0)
        status = upload(&c, o, &error);
    else if (strcmp(what, "delete") == 0)
        status = delete (&c, o, &error);
    else
        status = status_of(tet_error_set(
            &error, TET_BAD_REQUEST,
            "tetrad dataset fetch NAME, list, upload FILE... --name NAME, or delete NAME"));
    if (error.err != TET_OK)
        fprintf(stderr, "tetrad: %s\n", error.message);
    curl_easy_cleanup(c.curl);
    curl_global_cleanup();
    free(c.body);
    return status;
}
