// SPDX-License-Identifier: Apache-2.0
/*
 * Errors of the core and of the server: one table of kinds, one small struct that carries the
 * detail.
 *
 * A function that can fail returns enum tet_err and takes a caller-owned struct tet_error, which
 * may be NULL. The first error wins: setting an error over an earlier one leaves the earlier one in
 * place.
 *
 * Threads: one for each error.
 */
#ifndef TETRAD_ERROR_H
#define TETRAD_ERROR_H

#include <stdarg.h>

/* X(NAME, HTTP status, code in replies, default message) */
#define TET_ERRORS(X)                                                                              \
    X(OK, 200, "ok", "no error")                                                                   \
    X(BAD_REQUEST, 400, "bad_request", "the request cannot be understood")                         \
    X(BAD_JSON, 400, "bad_json", "the text is not valid JSON")                                     \
    X(UNAUTHORIZED, 401, "unauthorized", "this needs a token")                                     \
    X(FORBIDDEN, 403, "forbidden", "this is not allowed")                                          \
    X(NOT_FOUND, 404, "not_found", "there is no such thing")                                       \
    X(METHOD, 405, "method_not_allowed", "this path does not take that method")                    \
    X(NOT_ACCEPTABLE, 406, "not_acceptable", "no form of this that the client accepts")            \
    X(SLOW, 408, "timeout", "the request came too slowly")                                         \
    X(CONFLICT, 409, "conflict", "the request does not fit the present state")                     \
    X(NO_LENGTH, 411, "length_required", "a body needs a Content-Length")                          \
    X(TOO_LARGE, 413, "too_large", "the body is too large")                                        \
    X(MEDIA_TYPE, 415, "unsupported_media_type", "the body's media type is not understood")        \
    X(BAD_DEFINITION, 422, "bad_definition", "the definition has faults")                          \
    X(BAD_DATASET, 422, "bad_dataset", "the dataset cannot be used")                               \
    X(BAD_WEIGHTS, 422, "bad_weights", "the initial weights cannot be used")                       \
    X(TOO_MANY, 429, "too_many", "this is more than one user may have at a time")                  \
    X(BUSY, 503, "busy", "the server cannot take this now")                                        \
    X(STORAGE_FULL, 503, "storage_full", "a disk is full")                                         \
    X(STORAGE_FAILS, 503, "storage_fails", "a disk fails")                                         \
    X(NO_MEMORY, 503, "out_of_memory", "out of memory")                                            \
    X(IO, 500, "io_error", "reading or writing failed")                                            \
    X(DATABASE, 500, "database_error", "the database failed")                                      \
    X(ADDRESS, 500, "address_error", "the address cannot be used")                                 \
    X(INTERNAL, 500, "internal_error", "an internal error")

enum tet_err {
#define X(name, status, code, message) TET_##name,
    TET_ERRORS(X)
#undef X
};

struct tet_error {
    enum tet_err err;  // TET_OK while nothing is wrong
    char message[504]; // one sentence, no newline or other control characters, valid UTF-8 cut at a
                       // character
};

/* tet_error_set: store err and the formatted message in *error unless error is NULL or already
 * holds an error. Bytes that are no printable characters, which what it repeats may have, become
 * question marks. Returns err, so that a function can end with `return tet_error_set(...)`. */
enum tet_err tet_error_set(struct tet_error *error, enum tet_err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

int tet_err_status(enum tet_err err);          // HTTP status
const char *tet_err_code(enum tet_err err);    // "bad_definition"
const char *tet_err_message(enum tet_err err); // the default message

#define TET_MUST_CHECK __attribute__((warn_unused_result))

#endif
