// SPDX-License-Identifier: Apache-2.0
/* Runs as they were shown lately: see recent.h. */
#include "api/recent.h"

#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void recent_init(struct recent *r)
{
    memset(r->runs, 0, sizeof r->runs);
    pthread_mutex_init(&r->lock, NULL);
}

void recent_free(struct recent *r)
{
    for (size_t i = 0; i < RECENT_RUNS; i++)
        free(r->runs[i].text);
    pthread_mutex_destroy(&r->lock);
}

static struct recent_run *place(struct recent *r, int64_t run)
{
    return &r->runs[(uint64_t)run % RECENT_RUNS];
}

/* FNV-1a. */
static void make_tag(const char *text, size_t size, char tag[RECENT_TAG])
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    snprintf(tag, RECENT_TAG, "%016llx", (unsigned long long)hash);
}

void recent_put(struct recent *r, int64_t run, uint64_t version, bool live, const char *text,
                size_t size, char tag[RECENT_TAG])
{
    tag[0] = '\0';
    if (!live)
        make_tag(text, size, tag);
    char *copy = size <= RECENT_BYTES ? malloc(size) : NULL;
    if (copy == NULL)
        return;
    memcpy(copy, text, size);
    struct recent_run shown = {.run = run,
                               .version = version,
                               .until_ms = live ? clock_ms() + RECENT_LIVE_MS : INT64_MAX,
                               .size = size,
                               .text = copy};
    memcpy(shown.tag, tag, RECENT_TAG);
    pthread_mutex_lock(&r->lock);
    char *old = place(r, run)->text;
    *place(r, run) = shown;
    pthread_mutex_unlock(&r->lock);
    free(old);
}

char *recent_get(struct recent *r, int64_t run, uint64_t version, size_t *size,
                 char tag[RECENT_TAG])
{
    char *copy = NULL;
    pthread_mutex_lock(&r->lock);
    const struct recent_run *shown = place(r, run);
    if (shown->run == run && shown->version == version && clock_ms() < shown->until_ms)
        copy = malloc(shown->size);
    if (copy != NULL) {
        memcpy(copy, shown->text, shown->size);
        memcpy(tag, shown->tag, RECENT_TAG);
        *size = shown->size;
    }
    pthread_mutex_unlock(&r->lock);
    return copy;
}
