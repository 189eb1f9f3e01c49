// SPDX-License-Identifier: Apache-2.0
/*
 * What the event files share. Lock order: events.listening before ring.lock; the ring's is held for moments, so that
 * a worker that reports never waits for a thousand listeners.
 */
#ifndef SERVER_EVENTS_PRIVATE_H
#define SERVER_EVENTS_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "events/events.h"

enum {
    TEXT_RECORDS = 400, // in one metrics event: less than HTTP_STREAM_BYTES whatever the series
    ROUND_BYTES =
        32768, // given to a listener at a time, so that one that reads never has too much waiting
    ROUND_TEXTS = 64,   // likewise
    LAPSES = 256,       // runs of which it is known when they were last not recorded
    INTEREST_MS = 60000 // records are kept for somebody who has gone, for so long
};

/* An event in the ring: its text, or the records of which the hub's thread makes it. */
struct entry {
    uint64_t id;
    unsigned type;
    int64_t run, experiment;  // 0: of `changed`
    int64_t *experiments;     // of `changed`: ascending
    size_t n_experiments;     // 0 with run 0: `missed`, for everybody
    struct http_shared *text; // NULL: not yet
    struct tet_record *records;
    size_t n_records;
    size_t bytes;
};

/* Somebody wants a run's metrics, an experiment's, or all. */
struct interest {
    int64_t run, experiment; // 0: any
    size_t listeners;
    int64_t until_ms; // where there is none
    struct interest *next;
};

struct lapse {
    int64_t run, experiment;
    uint64_t id; // records were not kept at about this time
};

struct ring {
    pthread_mutex_t lock; // for what follows
    pthread_cond_t urgent_came;
    bool urgent, stop;
    struct entry *entries; // (capacity); the one with sequence s is at s % capacity
    size_t capacity;
    uint64_t first, end; // sequences: of the oldest, and after the newest
    uint64_t made;       // all before have their text
    size_t bytes, max_bytes;
    uint64_t last;  // id given
    uint64_t floor; // ids before are not in the ring any more
    struct interest *interests;
    struct lapse lapses[LAPSES];
    size_t n_lapses;
    uint64_t lapse_floor; // of runs that are not in the list
};

/* ---- text.c: all return a text with one reference; NULL: no memory ---- */
struct http_shared *text_event(uint64_t id, const char *event,
                               json_t *data); // takes over data; id 0: none
struct http_shared *text_state(uint64_t id, const struct store_change *change, int64_t at_ms);
struct http_shared *text_changed(uint64_t id, const int64_t *experiments, size_t n);
struct http_shared *text_missed(uint64_t id, const char *reason);
struct http_shared *text_metrics(const struct entry *entry);
/* Those of the runs that are of the experiment (0: any) and the run (0: any); *none: there is none. */
struct http_shared *text_progress(const struct event_progress *runs, int64_t experiment,
                                  int64_t run, bool *none);

/* ---- ring.c ---- */
TET_MUST_CHECK enum tet_err ring_create(struct ring *ring, size_t max_bytes,
                                        struct tet_error *error);
void ring_destroy(struct ring *ring);
/* ring_make: makes the texts that are missing. On the hub's thread. */
void ring_make(struct ring *ring);
/* ring_join: notes the interest, and where a listener begins: *next is the sequence, *id the last id before it; returns
 * why it lacks events ("too_old", "unknown"), or NULL. */
const char *ring_join(struct ring *ring, const struct event_filter *filter, uint64_t *next,
                      uint64_t *id);
void ring_leave(struct ring *ring, const struct event_filter *filter);
void ring_purge(struct ring *ring); // interests whose time has come
/* ring_read: texts from *next on that pass the filter, at most ROUND_TEXTS and about ROUND_BYTES, each with a reference for
 * the caller; moves *next. *lost: what was at *next is gone. *more: there is more. */
size_t ring_read(struct ring *ring, const struct event_filter *filter, uint64_t *next,
                 struct http_shared *texts[ROUND_TEXTS], bool *lost, bool *more);

struct listener {
    struct http_stream *stream;
    struct event_filter filter;
    uint64_t next; // sequence
    int64_t sent_ms;
    uint32_t stuck; // rounds in which it could take nothing
    struct listener *next_listener;
};

struct events {
    struct events_options options;
    struct ring ring;
    pthread_t thread;
    bool started;
    pthread_mutex_t listening; // for the list
    struct listener *listeners;
    atomic_size_t n_listeners, n_progress;
    _Atomic uint64_t sent, missed;
    struct http_shared *slow, *heartbeat; // texts
};

#endif
