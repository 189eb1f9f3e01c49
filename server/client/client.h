// SPDX-License-Identifier: Apache-2.0
/*
 * The client of the HTTP interface, by libcurl: one connection, a token where there is one.
 *
 * Redirects are not followed, so that a token goes to no other host. What a server says is printed
 * with its control characters taken out (terminal_clean).
 *
 * One thread.
 */
#ifndef SERVER_CLIENT_CLIENT_H
#define SERVER_CLIENT_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "options.h"

struct client {
    void *curl;
    char *server;            // without a slash at its end
    char *token;             // NULL: none
    const char *authorities; // file of certificates, NULL: the system's
    bool json;               // print what the server says as it is
    char *body;              // of the last reply, terminated
    size_t size;
    long status; // of the last reply
};

/* client_open: from --server, --token or --token-file, --ca, --json. Errors: TET_NO_MEMORY, TET_IO (the
 * token's file), TET_BAD_REQUEST. client_close is right after a failure too. */
TET_MUST_CHECK enum tet_err client_open(struct client *client, const struct options *options,
                                        struct tet_error *error);
void client_close(struct client *client);

/* What is sent; type NULL: JSON. */
struct client_body {
    const char *bytes, *type;
    size_t size;
    const char *key; // Idempotency-Key, NULL: none
};

/* client_ask: one request, whatever the status of its answer. body NULL: none. *reply: a new value.
 * Errors: TET_ADDRESS (not reached; an answer that is not JSON), TET_BAD_REQUEST, TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err client_ask(struct client *client, const char *method, const char *path,
                                       const struct client_body *body, json_t **reply,
                                       struct tet_error *error);

/* client_want: the same, and anything but 2xx is printed and becomes the exit status; STATUS_OK: *reply
 * is there. */
int client_want(struct client *client, const char *method, const char *path,
                const struct client_body *body, json_t **reply);

/* client_refuse: prints an error reply; returns the exit status. */
int client_refuse(const struct client *client, const json_t *reply);

/* client_download: writes the body of a 200 to a file; else prints the error. The exit status. */
int client_download(struct client *client, const char *path, const char *file);

/* client_stream: reads server-sent events until the server ends, `event` returns false, or the user
 * interrupts. data is a new value for the call, NULL where it is not JSON. TET_OK also then; status
 * says how the stream began. */
typedef bool client_event_fn(void *context, const char *type, const json_t *data);
TET_MUST_CHECK enum tet_err client_stream(struct client *client, const char *path,
                                          client_event_fn *event, void *context,
                                          struct tet_error *error);

/* client_print: the last reply as it came, with a newline. */
void client_print(const struct client *client);

/* Whether the user has pressed Ctrl-C, once client_watch_interrupts was called. */
void client_watch_interrupts(void);
bool client_interrupted(void);

/* ---- what a command is about ---- */

/* An experiment ("3") or a run ("r7"). */
struct subject {
    bool run;
    long long id;
};
/* subject_read: Errors: TET_BAD_REQUEST, with what is allowed. subject_path: "/v1/runs/7" and the
 * rest, in `path` of CLIENT_PATH bytes. */
enum { CLIENT_PATH = 512 };
TET_MUST_CHECK enum tet_err subject_read(struct subject *subject, const char *text,
                                         struct tet_error *error);
const char *subject_path(char *path, const struct subject *subject, const char *rest);

/* Reads the one argument of a command; false: printed why not, and *status says it. */
bool client_subject(const struct options *options, const char *command, struct subject *subject,
                    int *status);

/* The text of a member as it may be printed, in a buffer of its own (some are reused); "" where there is
 * none. */
const char *client_text(const json_t *object, const char *key);
json_int_t client_integer(const json_t *object, const char *key);

#endif
