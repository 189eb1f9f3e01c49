// SPDX-License-Identifier: Apache-2.0
/*
 * The client of the HTTP interface: one server, requests with a token, replies as JSON, by libcurl.
 *
 * What a server says is not trusted: unless `raw` is set, every string and key of a reply has its
 * controls made visible (text_visible) before anybody sees it. Redirects are not followed, so that a
 * token goes to the named server alone. One thread.
 */
#ifndef SERVER_CLIENT_CLIENT_H
#define SERVER_CLIENT_CLIENT_H

#include <curl/curl.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <tetrad/error.h>

#include "options.h"

enum { CLIENT_TOKEN = 256, CLIENT_PATH = 4096 };

struct client {
    const struct options *options;
    const char *server; // without a slash at its end
    char token[CLIENT_TOKEN];
    CURL *curl;
    bool json; // print JSON
    bool raw;  // replies are left as they are: for files and JSON, not for a terminal
    /* The last reply. */
    char *body;
    size_t size;
    long status;
    FILE *file;             // where a body of status 200 goes instead; NULL: memory
    bool no_memory;         // for a body
    struct tet_error error; // the first, printed by client_close
};

/* One request. */
struct client_request {
    const char *method, *path;
    const char *body; // NULL: none
    size_t size;
    FILE *upload;     // a body of `size` bytes from here; NULL: `body`
    curl_mime *form;  // a body of files, made with the client's handle; NULL: as above
    const char *type; // the body's media type; NULL: JSON
    const char *key;  // Idempotency-Key; with one, a request that got no answer is sent again
};

/* client_open: reads the options. client_close prints an error, if there was one, and returns the
 * status that the program ends with; it must be called in either case. */
TET_MUST_CHECK enum tet_err client_open(struct client *client, const struct options *options);
int client_close(struct client *client, int status);

/* client_ask: one request; *reply is new, and NULL where the reply is not JSON and went to `file`.
 * The reply's status is the caller's to look at. Waits and asks again where the server is busy for a
 * few seconds. Errors: TET_ADDRESS. */
TET_MUST_CHECK enum tet_err client_ask(struct client *client, const struct client_request *request,
                                       json_t **reply);
TET_MUST_CHECK enum tet_err client_get(struct client *client, json_t **reply, const char *format,
                                       ...) __attribute__((format(printf, 3, 4)));

/* client_header: adds a header; client_headers: those that every request has, to be freed. false: one is lacking for
 * want of memory, and the request is not to be sent. */
bool client_header(struct curl_slist **headers, const char *line);
bool client_headers(const struct client *client, struct curl_slist **headers);
/* client_prepare: sets on a handle what every request has: address, certificates, no redirects. false: as above. */
bool client_prepare(const struct client *client, CURL *curl, const char *path,
                    const struct curl_slist *headers);

/* client_good: whether the last reply has a status of success; otherwise prints what it says and
 * sets the exit status. */
bool client_good(const struct client *client, const json_t *reply, int *status);

/* client_print: a value as JSON in one line, without characters that a terminal would obey. */
void client_print(const json_t *value);

/* client_query: adds "?key=value" or "&key=value", escaped, to a path of CLIENT_PATH bytes; value NULL
 * adds nothing. */
void client_query(const struct client *client, char *path, const char *key, const char *value);

/* What the server is called, for hints to people: " --server URL", or "" for the default one. */
const char *client_where(const struct client *client, char text[512]);

/* ---- identities ---- */

/* An experiment is a number, `3`; a run is `r7`: the same in every command. */
struct client_id {
    bool run;
    json_int_t number;
};
enum { CLIENT_EXPERIMENT = 1, CLIENT_RUN = 2 };
/* client_id: reads one; allowed: a sum of the above. Errors: TET_BAD_REQUEST. */
TET_MUST_CHECK enum tet_err client_id(struct client *client, const char *text, int allowed,
                                      struct client_id *id);
const char *client_kind(struct client_id id); // "run" or "experiment"
/* client_id_text: as people write it, in text. */
const char *client_id_text(struct client_id id, char text[32]);

/* ---- members of replies ---- */
const char *client_text(const json_t *object, const char *key); // "" where absent
json_int_t client_integer(const json_t *object, const char *key);
bool client_ended(const char *state); // of a run

/* ---- SIGINT ---- */
extern volatile sig_atomic_t client_interrupted;
void client_catch_interrupt(void);

/* ---- the commands: each returns the exit status ---- */
int dataset_command(const struct options *options);
int submit_command(const struct options *options);
int watch_command(const struct options *options);
int list_command(const struct options *options);
int queue_command(const struct options *options);
int show_command(const struct options *options);
int health_command(const struct options *options);
int cancel_command(const struct options *options);
int pause_command(const struct options *options);
int resume_command(const struct options *options);
int priority_command(const struct options *options);
int delete_command(const struct options *options);
int fork_command(const struct options *options);
int rerun_command(const struct options *options);
int export_command(const struct options *options);
int import_command(const struct options *options);
int summary_command(const struct options *options);

#endif
