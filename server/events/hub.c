// SPDX-License-Identifier: Apache-2.0
/*
 * The hub: one thread that gives each listener what is new in the ring, progress and heartbeats.
 *
 * A change of state is sent at once, but with many listeners at most about 4,000 are written to in a second (a write
 * takes 8 us of a processor, in the kernel): a thousand learn of it within a quarter of a second, and of several such
 * changes together. Records wait for the next round, so that a thousand listeners are woken once a second and not for
 * each report of each worker. A listener gets a bounded piece in each round, and nothing while enough waits for it: a
 * slow one is told `missed` once the ring has lost what it did not take. Progress that it cannot take is left out.
 */
#include "events/private.h"

#include "clock.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SECOND_MS = 1000,
    FEW = 64,            // listeners: then
    FEW_ROUND_MS = 100,  // records are sent so often,
    PAUSE_MS = 5,        // and so long passes at least between rounds; with more, a millisecond
    EACH_MS = 4,         // for so many,
    MOST_PAUSE_MS = 500, // and no longer than this,
    MORE_PAUSE_MS = 50,  // nor than this where a round did not give all that there is
    SOON = 20            // rounds in a row: then a listener that takes nothing hastens no more
};

/* ---- listeners ---- */

static void give_all(struct events *events, struct listener *l, struct http_shared *const *texts,
                     size_t n)
{
    if (n == 0 || !http_stream_push(l->stream, texts, n, events->slow))
        return;
    l->sent_ms = clock_ms();
    atomic_fetch_add(&events->sent, n);
}

static void give(struct events *events, struct listener *l, struct http_shared *text)
{
    give_all(events, l, &text, text != NULL);
}

/* The progress of what a filter lets through; each text is made once in a round. */
struct progress {
    struct event_progress *runs; // ended by run 0
    struct {
        int64_t experiment, run;
        struct http_shared *text;
    } made[64];
    size_t n;
};

static struct http_shared *progress_text(struct progress *p, const struct event_filter *f)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->made[i].experiment == f->experiment && p->made[i].run == f->run)
            return p->made[i].text != NULL ? http_shared_hold(p->made[i].text) : NULL;
    bool none;
    struct http_shared *text = text_progress(p->runs, f->experiment, f->run, &none);
    if (p->n < sizeof p->made / sizeof *p->made) {
        p->made[p->n].experiment = f->experiment;
        p->made[p->n].run = f->run;
        p->made[p->n++].text = text != NULL ? http_shared_hold(text) : NULL;
    }
    return text;
}

/* The next piece of the ring, unless enough waits for the client, and after it, where it is time, progress (NULL: it
 * is not) or a heartbeat, all in one call; true: there is more. */
static bool feed(struct events *events, struct listener *l, struct progress *p)
{
    struct http_shared *texts[ROUND_TEXTS + 1];
    bool lost, more;
    if (http_stream_waiting(l->stream) >= ROUND_BYTES)
        return ++l->stuck < SOON; // it may just be taking it
    l->stuck = 0;
    size_t n = ring_read(&events->ring, &l->filter, &l->next, texts, &lost, &more);
    if (lost) {
        atomic_fetch_add(&events->missed, 1);
        give(events, l, events->slow);
    }
    if (p != NULL && p->runs != NULL && (l->filter.types & EVENT_PROGRESS) &&
        (texts[n] = progress_text(p, &l->filter)) != NULL)
        n++;
    if (p != NULL && n == 0 && clock_ms() - l->sent_ms >= (int64_t)events->options.heartbeat_ms)
        texts[n++] = http_shared_hold(events->heartbeat);
    give_all(events, l, texts, n);
    for (size_t i = 0; i < n; i++)
        http_shared_release(texts[i]);
    return more;
}

static void drop(struct events *events, struct listener *l)
{
    ring_leave(&events->ring, &l->filter);
    atomic_fetch_sub(&events->n_listeners, 1);
    if (l->filter.types & EVENT_PROGRESS)
        atomic_fetch_sub(&events->n_progress, 1);
    http_stream_release(l->stream);
    free(l);
}

/* A round; p: as of feed. */
static bool feed_all(struct events *events, struct progress *p)
{
    bool more = false;
    ring_make(&events->ring);
    pthread_mutex_lock(&events->listening);
    for (struct listener **place = &events->listeners, *l; (l = *place) != NULL;) {
        if (http_stream_gone(l->stream)) {
            *place = l->next_listener;
            drop(events, l);
            continue;
        }
        more = feed(events, l, p) || more;
        place = &l->next_listener;
    }
    pthread_mutex_unlock(&events->listening);
    return more;
}

/* How a listener begins: what it can go on from, and whether it lacks something. */
static void greet(struct events *events, struct listener *l, uint64_t id, const char *missed)
{
    char text[128];
    int n = snprintf(text, sizeof text, ": tetrad\nretry: 2000\n");
    if (id > 0)
        n += snprintf(text + n, sizeof text - (size_t)n, "id: %llu\n", (unsigned long long)id);
    n += snprintf(text + n, sizeof text - (size_t)n, "\n");
    struct http_shared *begin = http_shared_new(text, (size_t)n);
    struct http_shared *lacks = missed != NULL ? text_missed(0, missed) : NULL;
    give(events, l, begin);
    give(events, l, lacks);
    http_shared_release(begin);
    http_shared_release(lacks);
}

enum tet_err events_listen(struct events *events, struct http_stream *stream,
                           const struct event_filter *filter, struct tet_error *error)
{
    struct listener *l = calloc(1, sizeof *l);
    uint64_t id;
    if (l == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for a listener");
    l->stream = stream;
    l->filter = *filter;
    pthread_mutex_lock(&events->listening);
    const char *missed = ring_join(&events->ring, &l->filter, &l->next, &id);
    greet(events, l, id, missed);
    l->next_listener = events->listeners;
    events->listeners = l;
    atomic_fetch_add(&events->n_listeners, 1);
    if (filter->types & EVENT_PROGRESS)
        atomic_fetch_add(&events->n_progress, 1);
    pthread_mutex_unlock(&events->listening);
    if (filter->resume) { // what is there is to come at once
        pthread_mutex_lock(&events->ring.lock);
        events->ring.urgent = true;
        pthread_cond_signal(&events->ring.urgent_came);
        pthread_mutex_unlock(&events->ring.lock);
    }
    return TET_OK;
}

/* ---- once a second ---- */

static bool every_second(struct events *events)
{
    struct progress p = {0};
    if (atomic_load(&events->n_progress) > 0 && events->options.look != NULL)
        p.runs = events->options.look(events->options.context);
    if (p.runs != NULL && p.runs[0].run == 0) {
        free(p.runs);
        p.runs = NULL;
    }
    const bool more = feed_all(events, &p);
    ring_purge(&events->ring);
    for (size_t i = 0; i < p.n; i++)
        http_shared_release(p.made[i].text);
    free(p.runs);
    return more;
}

/* ---- the thread ---- */

/* more: somebody has not been given all; a longer pause would let the ring lose what they did not get. */
static int64_t pause_ms(size_t listeners, bool more)
{
    const size_t ms = listeners <= FEW ? PAUSE_MS : listeners / EACH_MS,
                 most = more ? MORE_PAUSE_MS : MOST_PAUSE_MS;
    return (int64_t)(ms < most ? ms : most);
}

/* Waits until `until`, or, unless `deaf`, until something urgent comes; false: stop. */
static bool wait_until(struct ring *ring, int64_t until, bool deaf)
{
    const struct timespec time = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    pthread_mutex_lock(&ring->lock);
    while (!ring->stop && (deaf || !ring->urgent))
        if (pthread_cond_timedwait(&ring->urgent_came, &ring->lock, &time) == ETIMEDOUT)
            break;
    if (!deaf)
        ring->urgent = false;
    const bool go_on = !ring->stop;
    pthread_mutex_unlock(&ring->lock);
    return go_on;
}

static void *run(void *context)
{
    struct events *events = context;
    int64_t second = clock_ms() + SECOND_MS;
    bool more = false;
    for (;;) {
        const int64_t now = clock_ms();
        const size_t n = atomic_load(&events->n_listeners);
        const bool few = n > 0 && n <= FEW;
        int64_t round = more ? now : few ? now + FEW_ROUND_MS : second;
        if (round > second)
            round = second;
        if (!wait_until(&events->ring, now + pause_ms(n, more), true) ||
            !wait_until(&events->ring, round, false))
            return NULL;
        if (clock_ms() < second) {
            more = feed_all(events, NULL);
        } else {
            more = every_second(events);
            second = clock_ms() + SECOND_MS;
        }
    }
}

enum tet_err events_start(struct events **out, const struct events_options *options,
                          struct tet_error *error)
{
    static const char heartbeat[] = ": heartbeat\n\n";
    struct events *events = calloc(1, sizeof *events);
    sigset_t all, before;
    *out = NULL;
    if (events == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for events");
    events->options = *options;
    pthread_mutex_init(&events->listening, NULL);
    enum tet_err err = ring_create(
        &events->ring, options->ring_bytes > 0 ? options->ring_bytes : (size_t)4 << 20, error);
    events->slow = text_missed(0, "slow");
    events->heartbeat = http_shared_new(heartbeat, sizeof heartbeat - 1);
    if (err == TET_OK && (events->slow == NULL || events->heartbeat == NULL))
        err = tet_error_set(error, TET_NO_MEMORY, "no memory for events");
    sigfillset(&all); // signals are the main thread's
    pthread_sigmask(SIG_SETMASK, &all, &before);
    events->started = err == TET_OK && pthread_create(&events->thread, NULL, run, events) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (events->started) {
        *out = events;
        return TET_OK;
    }
    events_stop(events);
    return err != TET_OK ? err : tet_error_set(error, TET_NO_MEMORY, "no memory for the events");
}

void events_quiet(struct events *events)
{
    pthread_mutex_lock(&events->ring.lock);
    events->ring.stop = true;
    pthread_cond_signal(&events->ring.urgent_came);
    pthread_mutex_unlock(&events->ring.lock);
    if (events->started)
        pthread_join(events->thread, NULL);
    events->started = false;
}

void events_stop(struct events *events)
{
    if (events == NULL)
        return;
    events_quiet(events);
    for (struct listener *l = events->listeners, *next; l != NULL; l = next) {
        next = l->next_listener;
        drop(events, l);
    }
    ring_destroy(&events->ring);
    http_shared_release(events->slow);
    http_shared_release(events->heartbeat);
    pthread_mutex_destroy(&events->listening);
    free(events);
}

uint64_t events_sent(struct events *events)
{
    return atomic_load(&events->sent);
}

uint64_t events_missed(struct events *events)
{
    return atomic_load(&events->missed);
}
