// SPDX-License-Identifier: Apache-2.0
/*
 * Runs as they were shown lately: their replies, ready to be sent again as long as nothing about
 * them was written, so that many who look at the same runs cost no reading. Bounded: RECENT_RUNS
 * texts of at most RECENT_BYTES.
 *
 * Threads: any; one lock, held for a copy.
 */
#ifndef SERVER_API_RECENT_H
#define SERVER_API_RECENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RECENT_RUNS = 1024, RECENT_BYTES = 32768, RECENT_TAG = 20, RECENT_LIVE_MS = 100 };

struct recent_run {
    int64_t run;      // 0: none
    uint64_t version; // of the store, from before it was read
    int64_t until_ms; // monotonic: a run that is trained moves on
    size_t size;
    char *text; // (size)
    char tag[RECENT_TAG];
};

struct recent {
    pthread_mutex_t lock;
    struct recent_run runs[RECENT_RUNS];
};

void recent_init(struct recent *recent);
void recent_free(struct recent *recent);

/* recent_put: keeps a copy of the reply's text, read when the store was at `version`; live: the run
 * is being trained. tag: receives its ETag, which says what the text is; "" where it is live, as it will
 * be another one before anybody can ask again. */
void recent_put(struct recent *recent, int64_t run, uint64_t version, bool live, const char *text,
                size_t size, char tag[RECENT_TAG]);

/* recent_get: a copy of the text that the caller frees, and its tag; NULL where there is none that
 * holds. */
char *recent_get(struct recent *recent, int64_t run, uint64_t version, size_t *size,
                 char tag[RECENT_TAG]);

#endif
