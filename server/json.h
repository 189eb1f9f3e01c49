// SPDX-License-Identifier: Apache-2.0
/* JSON in and out, on top of Jansson: a strict reader, and texts with the shortest digits. Any
 * thread.
 *
 * A value that is put together of hundreds of parts lacks one where there was no memory for it, and
 * nobody looks at each part. So it is known for each thread whether Jansson lacked memory since the
 * thread began what it does now (json_begin), and a value that may be incomplete has no text: it is
 * not hashed, not stored and not sent. */
#ifndef SERVER_JSON_H
#define SERVER_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tetrad/error.h>

enum { JSON_MAX_DEPTH = 32 }; // of nested arrays and objects

/* json_begin: what this thread puts together from here on is new: json_whole is true again. At the
 * beginning of a request, of a run, of an event. */
void json_begin(void);

/* json_spoil: what this thread puts together lacks something that could not be read. */
void json_spoil(void);

/* json_whole: Jansson has had the memory that it asked for on this thread since json_begin,
 * and nothing was spoilt. */
bool json_whole(void);

/* json_canonical: as RFC 8785: keys sorted (by bytes), no spaces, the shortest digits that read
 * back as the same double; a new string that the caller frees with free(), or NULL for lack of
 * memory, now or while the value was made (json_whole; a value of NULL was not). Equal values give equal bytes: 1, 1.0 and 1e0 are all "1", and -0.0 is "0". */
char *json_canonical(const json_t *value);

/* json_clone: a copy whose objects and arrays are its own and whose single values are shared; NULL
 * for lack of memory (json_deep_copy may then give a copy with members missing). */
json_t *json_clone(const json_t *value);

/* json_read: strict JSON text to a value: UTF-8, no duplicate keys, no NaN, no number beyond a
 * double, at most JSON_MAX_DEPTH levels. Errors: TET_BAD_JSON with line and column,
 * TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err json_read(json_t **value, const char *text, size_t size,
                                      struct tet_error *error);

/* json_text: the value as json_canonical writes it, but with members in the order they were set:
 * for people and for replies. */
char *json_text(const json_t *value);

/* json_time: ms since 1970 as "2026-01-31T12:00:00.000Z"; null for 0: never, or not yet. */
json_t *json_time(int64_t ms);

/* json_finite: a real, or null where it is not finite. */
json_t *json_finite(double value);

#endif
