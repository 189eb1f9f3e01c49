// SPDX-License-Identifier: Apache-2.0
/* Progress on a terminal: see terminal.h. */
#include "terminal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

void terminal_begin(struct terminal *t, FILE *out)
{
    const char *kind = getenv("TERM");
    *t = (struct terminal){.out = out, .columns = 80};
    t->live = isatty(fileno(out)) && kind != NULL && strcmp(kind, "dumb") != 0;
    struct winsize size;
    if (t->live && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
        t->columns = size.ws_col;
}

static void describe(const struct progress_line *line, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
#define ADD(...)                                                                                   \
    do {                                                                                           \
        if (n < size)                                                                              \
            n += (size_t)snprintf(text + n, size - n, __VA_ARGS__);                                \
    } while (0)
    if (line->epochs > 0)
        ADD("epoch %u/%u", line->epoch < line->epochs ? line->epoch + 1 : line->epochs,
            line->epochs);
    if (line->samples_per_second > 0)
        ADD("%s%.1fk samples/s", n > 0 ? "  " : "", line->samples_per_second / 1e3);
    if (!isnan(line->loss))
        ADD("  loss %.4f", line->loss);
    if (!isnan(line->accuracy))
        ADD("  accuracy %.2f %%", 100.0 * line->accuracy);
    if (line->seconds_left >= 0 && line->seconds_left < 1e7) {
        const long s = lrint(line->seconds_left);
        if (s >= 3600)
            ADD("  %ld:%02ld:%02ld left", s / 3600, s / 60 % 60, s % 60);
        else
            ADD("  %ld:%02ld left", s / 60, s % 60);
    }
#undef ADD
}

void terminal_show(struct terminal *t, const struct progress_line *line)
{
    char text[160], bar[64];
    describe(line, text, sizeof text);
    const double share = line->steps > 0 ? (double)line->step / (double)line->steps : 0.0;
    const uint32_t percent = (uint32_t)(100.0 * share);
    if (!t->live) {
        const bool same = strncmp(t->last_title, line->title, sizeof t->last_title - 1) == 0;
        if (same && percent / 10 == t->last_percent / 10)
            return;
        snprintf(t->last_title, sizeof t->last_title, "%s", line->title);
        t->last_percent = percent;
        fprintf(t->out, "%s  %3u %%  %s\n", line->title, percent, text);
        fflush(t->out);
        return;
    }
    const int room = t->columns - (int)strlen(line->title) - (int)strlen(text) - 8;
    const int width = room > 30 ? 30 : room > 0 ? room : 0;
    const int full = (int)(share * width);
    memset(bar, ' ', sizeof bar);
    for (int i = 0; i < full; i++)
        bar[i] = '=';
    if (full < width && full >= 0)
        bar[full] = '>';
    char row[512];
    snprintf(row, sizeof row, "%s [%.*s] %s", line->title, width, bar, text);
    fprintf(t->out, "\r%.*s\x1b[K", t->columns - 1, row);
    fflush(t->out);
}

void terminal_say(struct terminal *t, const char *lines)
{
    fprintf(t->out, "%s%s", t->live ? "\r\x1b[K" : "", lines);
    fflush(t->out);
}

void terminal_end(struct terminal *t)
{
    if (t->live)
        fputc('\n', t->out);
    fflush(t->out);
}

void faults_print(FILE *out, const json_t *details)
{
    size_t i;
    const json_t *fault;
    json_array_foreach(details, i, fault)
    {
        if (json_object_get(fault, "parameter") != NULL)
            continue; // of a query: the message says it
        char *found = json_dumps(json_object_get(fault, "found"), JSON_ENCODE_ANY | JSON_COMPACT);
        const char *pointer = json_string_value(json_object_get(fault, "pointer"));
        const char *allowed = json_string_value(json_object_get(fault, "allowed"));
        const char *hint = json_string_value(json_object_get(fault, "hint"));
        fprintf(out, "  %s: found %s, allowed %s%s%s%s\n",
                pointer != NULL && *pointer != '\0' ? pointer : "/", found != NULL ? found : "?",
                allowed != NULL ? allowed : "?", hint != NULL ? " (did you mean " : "",
                hint != NULL ? hint : "", hint != NULL ? "?)" : "");
        free(found);
    }
}
