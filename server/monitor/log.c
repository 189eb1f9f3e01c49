// SPDX-License-Identifier: Apache-2.0
/* The log: see log.h. */
#include "monitor/log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 4096, VALUE = 512 /* bytes of one value */ };

static const char *const levels[] = {"debug", "info", "warning", "error"};
static bool as_json;
static enum log_level least = LOG_AT_WARNING;

enum tet_err log_start(const char *form, const char *level, struct tet_error *error)
{
    as_json = strcmp(form, "json") == 0;
    if (!as_json && strcmp(form, "text") != 0)
        return tet_error_set(error, TET_BAD_REQUEST, "--log: found \"%.40s\", allowed text or json",
                             form);
    for (int i = LOG_AT_DEBUG; i <= LOG_AT_ERROR; i++) {
        if (strcmp(level, levels[i]) == 0) {
            least = (enum log_level)i;
            return TET_OK;
        }
    }
    return tet_error_set(error, TET_BAD_REQUEST,
                         "--log-level: found \"%.40s\", allowed debug, info, warning or error",
                         level);
}

bool log_takes(enum log_level level)
{
    return level >= least;
}

/* A line as it grows; what does not fit is left out. Two bytes are kept for its end. */
struct line {
    char *out;
    size_t size, n;
};

static void put(struct line *line, const char *bytes, size_t n)
{
    if (line->n + n + 3 > line->size)
        return;
    memcpy(line->out + line->n, bytes, n);
    line->n += n;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* The length of the UTF-8 character, 0 where there is none. */
static size_t character(const unsigned char *c)
{
    const size_t n = c[0] < 0x80 ? 1 : c[0] >= 0xF0 ? 4 : c[0] >= 0xE0 ? 3 : 2;
    if (n > 1 && (c[0] < 0xC2 || c[0] > 0xF4))
        return 0;
    for (size_t k = 1; k < n; k++)
        if ((c[k] & 0xC0) != 0x80)
            return 0;
    if ((c[0] == 0xE0 && c[1] < 0xA0) || (c[0] == 0xED && c[1] > 0x9F) ||
        (c[0] == 0xF0 && c[1] < 0x90) || (c[0] == 0xF4 && c[1] > 0x8F))
        return 0;
    return n;
}

/* Between quotes, as JSON has it; also C1 controls and line separators, which terminals and editors obey. */
static void put_quoted(struct line *line, const char *text)
{
    put(line, "\"", 1);
    for (const char *c = text; *c != '\0' && c - text < VALUE;) {
        const size_t n = character((const unsigned char *)c);
        char escaped[8];
        const bool control =
            n == 0 || (unsigned char)*c < 0x20 || *c == 0x7F ||
            (n == 2 && (unsigned char)c[0] == 0xC2 && (unsigned char)c[1] < 0xA0) ||
            (n == 3 && (memcmp(c, "\xE2\x80\xA8", 3) == 0 || memcmp(c, "\xE2\x80\xA9", 3) == 0));
        if (control) {
            const unsigned code = n == 0   ? 0xFFFD
                                  : n == 1 ? (unsigned char)*c
                                  : n == 2 ? (unsigned char)c[1]
                                           : 0x2000u + (unsigned char)c[2] - 0x80u;
            put(line, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", code));
        } else if (*c == '"' || *c == '\\') {
            put(line, (const char[]){'\\', *c}, 2);
        } else {
            put(line, c, n);
        }
        c += n > 0 ? n : 1;
    }
    put(line, "\"", 1);
}

static bool is_plain(const char *text)
{
    return *text != '\0' && strlen(text) < VALUE &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             "/._-:{}%~@+,*")] == '\0';
}

static void put_value(struct line *line, const struct log_field *field, bool json)
{
    char number[40];
    if (field->kind == LOG_INTEGER)
        snprintf(number, sizeof number, "%lld", (long long)field->integer);
    else if (isfinite(field->real))
        snprintf(number, sizeof number, "%.6g", field->real);
    else
        snprintf(number, sizeof number, "null");
    if (field->kind != LOG_TEXT)
        put_text(line, number);
    else if (json || !is_plain(field->text))
        put_quoted(line, field->text);
    else
        put_text(line, field->text);
}

size_t log_format(char *out, size_t size, bool json, const char *at, enum log_level level,
                  const char *event, const struct log_field *fields, size_t n)
{
    struct line line = {out, size, 0};
    if (json)
        put_text(&line, "{\"at\":\"");
    put_text(&line, at);
    put_text(&line, json ? "\",\"level\":\"" : " ");
    put_text(&line, levels[level]);
    put_text(&line, json ? "\",\"event\":\"" : " ");
    put_text(&line, event);
    if (json)
        put_text(&line, "\"");
    for (size_t i = 0; i < n; i++) {
        if (fields[i].kind == LOG_TEXT && fields[i].text == NULL)
            continue;
        put_text(&line, json ? ",\"" : " ");
        put_text(&line, fields[i].name);
        put_text(&line, json ? "\":" : "=");
        put_value(&line, &fields[i], json);
    }
    memcpy(out + line.n, json ? "}\n" : "\n", json ? 3 : 2);
    return line.n + (json ? 2 : 1);
}

void log_line(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
    struct timespec now;
    struct tm tm;
    char line[LINE], at[40];
    if (!log_takes(level))
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    const size_t used = strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(at + used, sizeof at - used, ".%03dZ", (int)(now.tv_nsec / 1000000));
    const size_t size = log_format(line, sizeof line, as_json, at, level, event, fields, n);
    (void)!write(STDERR_FILENO, line, size);
}
