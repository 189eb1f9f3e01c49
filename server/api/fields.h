// SPDX-License-Identifier: Apache-2.0
/*
 * Small bodies: a JSON object with a few plain members, read by a table of what it may have. All
 * faults are replied at once, as those of a definition are.
 */
#ifndef SERVER_API_FIELDS_H
#define SERVER_API_FIELDS_H

#include <jansson.h>

#include "http/http.h"

enum field_kind { FIELD_INTEGER, FIELD_NUMBER, FIELD_BOOLEAN, FIELD_TEXT };

struct field {
    const char *name;
    enum field_kind kind;
    double low, high; // of numbers; of texts, bytes
    bool required;
    void *
        to; // int64_t, double, bool, const char * (valid as long as the body); untouched where absent
};

/* fields_read: the request's body as an object of these members; an empty body is an empty object.
 * *body: a new reference that the caller gives back, NULL on failure. false: the reply says what is
 * wrong. */
bool fields_read(const struct http_request *request, struct http_reply *reply,
                 const struct field *fields, size_t n, json_t **body);

#endif
