// SPDX-License-Identifier: Apache-2.0
/* Server-sent events, line by line as they come: see client/watch.h. */
#include "client/watch.h"

#include <string.h>

static void clear(struct text *text)
{
    text->size = 0;
    if (text->data != NULL)
        text->data[0] = '\0';
}

static void end_line(struct events *e)
{
    const char *line = text_get(&e->line);
    if (*line == '\0') { // the event is complete
        if (e->data.size > 0)
            e->take(e->context, text_get(&e->event), text_get(&e->data));
        clear(&e->event);
        clear(&e->data);
    } else if (strncmp(line, "event:", 6) == 0) {
        clear(&e->event);
        text_puts(&e->event, line + 6 + (line[6] == ' '));
    } else if (strncmp(line, "data:", 5) == 0) {
        text_puts(&e->data, e->data.size > 0 ? "\n" : "");
        text_puts(&e->data, line + 5 + (line[5] == ' '));
    }
    clear(&e->line);
}

bool events_feed(struct events *e, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n')
            end_line(e);
        else if (bytes[i] != '\r')
            text_add(&e->line, bytes + i, 1);
        if (e->line.size > EVENTS_MAX || e->data.size > EVENTS_MAX)
            return false;
    }
    return !e->line.failed && !e->event.failed && !e->data.failed;
}

void events_free(struct events *e)
{
    text_free(&e->line);
    text_free(&e->event);
    text_free(&e->data);
}
