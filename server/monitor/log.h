// SPDX-License-Identifier: Apache-2.0
/*
 * The server's log: one line for each thing, on standard error, as text for people or as JSON for programs.
 *
 *     2026-01-31T12:00:00.000Z info request method=GET path=/v1/runs/7 status=200 ms=0.4
 *     {"at":"2026-01-31T12:00:00.000Z","level":"info","event":"request","method":"GET", ...}
 *
 * Values come from outside: control characters are escaped, what is not UTF-8 is replaced, long ones are cut, so that
 * no value can end a line or look like another. Nothing secret is logged by whoever logs: no token, no header, no query.
 *
 * Threads: log_start before there are others; log_line from any, a line is one write.
 */
#ifndef SERVER_MONITOR_LOG_H
#define SERVER_MONITOR_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tetrad/error.h>

enum log_level { LOG_AT_DEBUG, LOG_AT_INFO, LOG_AT_WARNING, LOG_AT_ERROR };

/* A field: a text (NULL: left out), or a number where text and name are no matter. */
struct log_field {
    const char *name;
    enum { LOG_TEXT, LOG_INTEGER, LOG_REAL } kind;
    const char *text;
    int64_t integer;
    double real;
};
#define LOG_FIELD_TEXT(key, value)                                                                 \
    (struct log_field)                                                                             \
    {                                                                                              \
        .name = (key), .kind = LOG_TEXT, .text = (value)                                           \
    }
#define LOG_FIELD_INTEGER(key, value)                                                              \
    (struct log_field)                                                                             \
    {                                                                                              \
        .name = (key), .kind = LOG_INTEGER, .integer = (value)                                     \
    }
#define LOG_FIELD_REAL(key, value)                                                                 \
    (struct log_field)                                                                             \
    {                                                                                              \
        .name = (key), .kind = LOG_REAL, .real = (value)                                           \
    }

/* log_start: form "text" or "json"; level "debug", "info", "warning" or "error". TET_BAD_REQUEST. */
TET_MUST_CHECK enum tet_err log_start(const char *form, const char *level, struct tet_error *error);
bool log_takes(enum log_level level);
void log_line(enum log_level level, const char *event, const struct log_field *fields, size_t n);

/* log_format: a line with its newline into out, cut to fit; returns its length. For tests. */
size_t log_format(char *out, size_t size, bool json, const char *at, enum log_level level,
                  const char *event, const struct log_field *fields, size_t n);

#endif
