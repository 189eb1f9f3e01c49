// SPDX-License-Identifier: Apache-2.0
/*
 * Events: what happens to runs, as server-sent events to whoever listens.
 *
 *     store's commit -> events_changed --\
 *     worker's records -> events_records -> ring of recent events -> the hub's thread -> a stream for each listener
 *                                                 progress, heartbeat --/
 *
 * Ids are microseconds since 1970, made to grow, so that they grow over restarts as well. A listener that comes back
 * with the last id it saw gets what the ring holds since; where that cannot be all, it is told that it missed events.
 * Progress and `missed` have no id: they are not in the ring.
 *
 * Records go into the ring only while somebody listens to their run (or did until a minute ago). Whoever makes an
 * event copies it and goes on: texts are made and sent by the hub's one thread.
 *
 * Threads: any function from any thread, but start and stop from one.
 */
#ifndef SERVER_EVENTS_H
#define SERVER_EVENTS_H

#include <jansson.h>

#include <tetrad/trainer.h>

#include "http/stream.h"
#include "store/changes.h"

enum event_types {
    EVENT_STATE = 1 << 0, // and `changed`
    EVENT_PROGRESS = 1 << 1,
    EVENT_METRICS = 1 << 2
};

/* What a run that is being trained shows. */
struct event_progress {
    int64_t run, experiment;
    uint64_t step, steps;
    uint32_t epoch;
    double samples_per_s, eta_s, loss; // NaN: not known
};
/* All such runs, ended by one whose run is 0; freed by the hub. NULL: no memory. */
typedef struct event_progress *events_look_fn(void *context);

struct events_options {
    events_look_fn *look; // called about once a second while somebody listens to progress
    void *context;
    uint32_t heartbeat_ms; // a comment to listeners to whom nothing was sent for so long
    size_t ring_bytes;     // 0: 4 MiB
};

struct events;

/* events_start: Errors: TET_NO_MEMORY, TET_INTERNAL (no thread). */
TET_MUST_CHECK enum tet_err
events_start(struct events **events, const struct events_options *options, struct tet_error *error);
/* events_quiet: nothing is sent any more, and `look` is not called. Events are still taken. */
void events_quiet(struct events *events);
void events_stop(struct events *events); // NULL is fine. Nobody may be calling anything any more.

/* events_changed: a store_observer_fn; context: struct events. */
void events_changed(void *events, const struct store_changes *changes);
/* events_records: a run's records, in order. */
void events_records(struct events *events, int64_t run, int64_t experiment,
                    const struct tet_record *records, size_t n);

/* What a listener wants. */
struct event_filter {
    unsigned types;          // of enum event_types
    int64_t experiment, run; // 0: any; a run comes with its experiment
    bool resume;             // from after `last`
    uint64_t last;
};

/* events_listen: takes over the stream. Errors: TET_NO_MEMORY; the stream is then still the caller's. */
TET_MUST_CHECK enum tet_err events_listen(struct events *events, struct http_stream *stream,
                                          const struct event_filter *filter,
                                          struct tet_error *error);

uint64_t events_sent(struct events *events);   // over all listeners
uint64_t events_missed(struct events *events); // listeners told so, because they were too slow

#endif
