// SPDX-License-Identifier: Apache-2.0
/* `tetrad dataset fetch|list|upload|delete`: gets well-known datasets here (fetch.h); lists, uploads
 * and deletes those of a server. */
#include "client/client.h"

#include <string.h>

#include "data/folder.h"
#include "fetch.h"

static void print_one(const json_t *d)
{
    printf("%s: ", client_text(d, "name"));
    if (json_is_string(json_object_get(d, "error"))) {
        printf("%s\n", client_text(d, "error"));
        return;
    }
    printf("%s, %lld to train on, %lld to test on, %lld inputs, %lld outputs",
           client_text(d, "kind"), (long long)client_integer(d, "train"),
           (long long)client_integer(d, "test"), (long long)client_integer(d, "inputs"),
           (long long)client_integer(d, "outputs"));
    if (*client_text(d, "owner") != '\0')
        printf(", uploaded by %s", client_text(d, "owner"));
    putchar('\n');
}

static int list(struct client *c)
{
    json_t *reply = NULL, *one;
    size_t i;
    int status = STATUS_SERVER;
    if (client_get(c, &reply, "/v1/datasets") == TET_OK && client_good(c, reply, &status)) {
        status = STATUS_OK;
        if (c->json)
            client_print(reply);
        json_array_foreach(c->json ? NULL : json_object_get(reply, "datasets"), i, one)
        {
            print_one(one);
        }
    }
    json_decref(reply);
    return status;
}

/* The files as a form, each with its own name; NULL: said why. */
static curl_mime *make_form(struct client *c)
{
    curl_mime *form = curl_mime_init(c->curl);
    if (form == NULL)
        (void)!tet_error_set(&c->error, TET_NO_MEMORY, "no memory for the upload");
    for (size_t i = 1; i < c->options->n_arguments && form != NULL; i++) {
        const char *file = c->options->argument[i];
        curl_mimepart *part = curl_mime_addpart(form);
        CURLcode code = part != NULL ? curl_mime_filedata(part, file) : CURLE_OUT_OF_MEMORY;
        if (code == CURLE_OK)
            code = curl_mime_name(part, "files");
        if (code == CURLE_OK)
            continue;
        if (code == CURLE_OUT_OF_MEMORY)
            (void)!tet_error_set(&c->error, TET_NO_MEMORY, "%s: no memory to send it", file);
        else
            (void)!tet_error_set(&c->error, TET_IO, "%s: it cannot be read", file);
        curl_mime_free(form);
        return NULL;
    }
    return form;
}

static int upload(struct client *c)
{
    const struct options *o = c->options;
    const char *name = o->value[OPTION_NAME];
    char path[CLIENT_PATH];
    json_t *reply = NULL;
    int status = STATUS_FAILED;
    if (name == NULL || !folder_name_fits(name) || o->n_arguments < 2) {
        (void)!tet_error_set(
            &c->error, TET_BAD_REQUEST,
            "tetrad dataset upload FILE... --name NAME, of letters, digits, - and _");
        return status;
    }
    snprintf(path, sizeof path, "/v1/datasets/%s", name);
    client_query(c, path, "label", o->value[OPTION_LABEL]);
    client_query(c, path, "test_fraction", o->value[OPTION_TEST_FRACTION]);
    curl_mime *form = make_form(c);
    const struct client_request request = {.method = "PUT", .path = path, .form = form};
    if (form != NULL && client_ask(c, &request, &reply) == TET_OK &&
        client_good(c, reply, &status)) {
        status = STATUS_OK;
        if (c->json)
            client_print(reply);
        else
            print_one(reply);
    }
    curl_mime_free(form);
    json_decref(reply);
    return status == STATUS_DEFINITION ? STATUS_DATASET : status; // it is the files that are wrong
}

static int delete (struct client *c)
{
    const struct options *o = c->options;
    char path[CLIENT_PATH];
    json_t *reply = NULL;
    int status = STATUS_FAILED;
    if (o->n_arguments != 2 || !folder_name_fits(o->argument[1])) {
        (void)!tet_error_set(&c->error, TET_BAD_REQUEST,
                             "tetrad dataset delete NAME, of letters, digits, - and _");
        return status;
    }
    snprintf(path, sizeof path, "/v1/datasets/%s", o->argument[1]);
    const struct client_request request = {.method = "DELETE", .path = path};
    if (client_ask(c, &request, &reply) == TET_OK && client_good(c, reply, &status)) {
        status = STATUS_OK;
        if (c->json)
            client_print(reply);
        else
            printf("%s is deleted\n", o->argument[1]);
    }
    json_decref(reply);
    return status;
}

/* Needs no server, and so no token either. */
static int fetch(const struct options *o)
{
    struct tet_error error = {0};
    enum tet_err err = TET_OK;
    if (o->n_arguments != 2)
        err = tet_error_set(&error, TET_BAD_REQUEST,
                            "tetrad dataset fetch NAME --data DIR, NAME one of: %s", fetch_names());
    else if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        err = tet_error_set(&error, TET_NO_MEMORY, "libcurl cannot start: no memory");
    if (err == TET_OK) {
        const struct fetch wanted = {.name = o->argument[1],
                                     .folder = o->value[OPTION_DATA],
                                     .mirror = o->value[OPTION_MIRROR],
                                     .unverified = options_switch(o, OPTION_UNVERIFIED)};
        err = fetch_dataset(&wanted, &error);
        curl_global_cleanup();
    }
    if (err != TET_OK)
        fprintf(stderr, "tetrad: %s\n", error.message);
    return err == TET_OK ? STATUS_OK : err == TET_ADDRESS ? STATUS_SERVER : status_of(err);
}

int dataset_command(const struct options *o)
{
    struct client c;
    int status = STATUS_FAILED;
    const char *what = o->n_arguments > 0 ? o->argument[0] : "";
    if (strcmp(what, "fetch") == 0)
        return fetch(o);
    if (client_open(&c, o) != TET_OK)
        return client_close(&c, status);
    if (strcmp(what, "list") == 0 && o->n_arguments == 1)
        status = list(&c);
    else if (strcmp(what, "upload") == 0)
        status = upload(&c);
    else if (strcmp(what, "delete") == 0)
        status = delete (&c);
    else
        (void)!tet_error_set(
            &c.error, TET_BAD_REQUEST,
            "tetrad dataset fetch NAME, list, upload FILE... --name NAME, or delete NAME");
    return client_close(&c, status);
}
