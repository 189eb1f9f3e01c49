// SPDX-License-Identifier: Apache-2.0
/* What the handlers of results share: forms of a reply, checkpoints that are asked for by step.
 * Threads: any, as handlers. */
#ifndef SERVER_API_RESULTS_H
#define SERVER_API_RESULTS_H

#include "api/api.h"
#include "text.h"

enum api_form { API_JSON, API_CSV, API_NDJSON };

/* api_form: which of JSON, CSV and (lines: whether there are any) NDJSON ?format= asks for, else
 * Accept; sets Vary. false: none of them, and replied to. */
bool api_form(const struct http_request *request, struct http_reply *reply, bool lines,
              enum api_form *form);

/* api_reply_text: a text in CSV or NDJSON; takes over what is in it. */
void api_reply_text(struct http_reply *reply, enum api_form form, struct text *text);

/* api_csv_field: adds a field, in quotes where RFC 4180 wants them. A text that a spreadsheet would
 * take for a formula stays as it is: files are read by programs first. */
void api_csv_field(struct text *text, const char *field);

/* api_query_fault: details of an error about a query parameter. */
json_t *api_query_fault(const char *parameter, const char *found, const char *allowed);

/* api_reply_picture: as PNG. */
struct picture;
void api_reply_picture(struct http_reply *reply, const struct picture *picture);

/* api_checkpoint_read: as store_checkpoint_read; TET_NOT_FOUND says which checkpoints are kept. */
TET_MUST_CHECK enum tet_err api_checkpoint_read(struct api *api, int64_t run, uint64_t step,
                                                struct store_checkpoint *checkpoint,
                                                struct tet_error *error);

/* What is known of a run besides its arrays. */
struct api_facts {
    enum run_state state;
    uint64_t step;
    char digest[STORE_HASH];
};

/* api_weights_begin: the run and its checkpoint at ?step=, or its newest. false: the reply says what
 * was wrong, or that nothing has changed: kind is what the client is sent of the run, for an ETag
 * where it is shorter than API_KIND. */
enum { API_KIND = 160 };
bool api_weights_begin(struct api *api, const struct http_request *request,
                       struct http_reply *reply, const char *kind, struct api_facts *facts,
                       struct store_checkpoint *checkpoint);

#endif
