// SPDX-License-Identifier: Apache-2.0
/*
 * What a client has sent, where that is small: a JSON object, read by a table of what it may have.
 * All faults are found at once, as those of a definition are; what several members have to do with
 * each other the handler adds to them. One thread for each.
 *
 *     int64_t last = 1;
 *     const struct field fields[] = {{"last", FIELD_INTEGER, 1, 100, .required = true, .to = &last}};
 */
#ifndef SERVER_API_SENT_H
#define SERVER_API_SENT_H

#include <jansson.h>

#include "definition/faults.h"
#include "http/http.h"

enum field_kind {
    FIELD_INTEGER, // int64_t, from low to high
    FIELD_NUMBER,  // double, from low to high
    FIELD_BOOLEAN, // bool
    FIELD_TEXT,    // const char *, of low to high bytes
    FIELD_CHOICE,  // int: which of `words`
    FIELD_ARRAY, // const json_t *, of low to high values, each as `fields` (1, without a name) says
    FIELD_OBJECT, // const json_t *, of at least `low` members, which `fields` (n) say
};

#define FIELD_NO_BOUND 9e15 // a `high` that faults do not speak of

struct field {
    const char *name;
    enum field_kind kind;
    double low, high;
    bool required, null;        // null: may be null, and is then as if it were absent
    const char *const *words;   // terminated by NULL
    const struct field *fields; // NULL: anything
    size_t n;
    void *to; // untouched where absent; what it points to lives as long as the body; NULL: none
};

struct sent {
    json_t *json; // an object, or there are faults
    struct faults faults;
};

/* sent_read: the request's body by the n fields; faults go into it. `optional`: without a body it is an
 * empty object. The caller frees with sent_free in either case. Errors: TET_BAD_JSON, TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err sent_read(struct sent *sent, const struct http_request *request,
                                      const struct field *fields, size_t n, bool optional,
                                      struct tet_error *error);

/* sent_has: whether a member is there, be it null. */
bool sent_has(const struct sent *sent, const char *name);

/* sent_missing: the fault that a field, one of the body itself, is not there. */
void sent_missing(struct sent *sent, const struct field *field);

/* sent_judge: TET_BAD_DEFINITION where there are faults, and *details a new reference to them;
 * TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err sent_judge(const struct sent *sent, json_t **details,
                                       struct tet_error *error);

/* sent_take: sent_read and sent_judge; false: replied to, and nothing is to be freed. */
bool sent_take(struct sent *sent, const struct http_request *request, struct http_reply *reply,
               const struct field *fields, size_t n, bool optional);

/* sent_good: whether there is neither an error so far nor a fault; otherwise replies. */
bool sent_good(const struct sent *sent, struct http_reply *reply, struct tet_error *error);

void sent_free(struct sent *sent);

#endif
