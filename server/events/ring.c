// SPDX-License-Identifier: Apache-2.0
/*
 * The ring of recent events, and who is interested in records: see events.h.
 *
 * Entries have a sequence besides their id: a place that listeners keep. The oldest go when their bytes are over the
 * bound, whether they were sent or not; a listener that was not there yet is told.
 */
#include "events/private.h"

#include "clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIRST_ENTRIES = 64, RECORD_TEXT = 48 /* bytes of a record in a text, about */ };

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

enum tet_err ring_create(struct ring *ring, size_t max_bytes, struct tet_error *error)
{
    *ring = (struct ring){.capacity = FIRST_ENTRIES, .max_bytes = max_bytes};
    ring->last = ring->floor = ring->lapse_floor = now_us();
    pthread_mutex_init(&ring->lock, NULL);
    clock_cond(&ring->urgent_came);
    ring->entries = calloc(ring->capacity, sizeof *ring->entries);
    return ring->entries != NULL ? TET_OK
                                 : tet_error_set(error, TET_NO_MEMORY, "no memory for events");
}

static struct entry *at(struct ring *ring, uint64_t sequence)
{
    return &ring->entries[sequence % ring->capacity];
}

static void drop_first(struct ring *ring)
{
    struct entry *e = at(ring, ring->first++);
    ring->bytes -= e->bytes;
    ring->floor = e->id;
    if (ring->made < ring->first)
        ring->made = ring->first;
    http_shared_release(e->text);
    free(e->records);
    free(e->experiments);
}

void ring_destroy(struct ring *ring)
{
    while (ring->entries != NULL && ring->first < ring->end)
        drop_first(ring);
    free(ring->entries);
    for (struct interest *i = ring->interests, *next; i != NULL; i = next) {
        next = i->next;
        free(i);
    }
    pthread_cond_destroy(&ring->urgent_came);
    pthread_mutex_destroy(&ring->lock);
}

/* ---- adding, under the lock ---- */

static uint64_t next_id(struct ring *ring)
{
    const uint64_t now = now_us();
    ring->last = now > ring->last ? now : ring->last + 1;
    return ring->last;
}

static bool grow(struct ring *ring)
{
    struct entry *larger = calloc(2 * ring->capacity, sizeof *larger);
    if (larger == NULL)
        return false;
    for (uint64_t s = ring->first; s < ring->end; s++)
        larger[s % (2 * ring->capacity)] = *at(ring, s);
    free(ring->entries);
    ring->entries = larger;
    ring->capacity *= 2;
    return true;
}

/* Takes over what is in the entry. Without memory the oldest make room. */
static void add(struct ring *ring, const struct entry *entry)
{
    if (ring->end - ring->first == ring->capacity && !grow(ring))
        drop_first(ring);
    *at(ring, ring->end++) = *entry;
    ring->bytes += entry->bytes;
    while (ring->bytes > ring->max_bytes && ring->end - ring->first > 1)
        drop_first(ring);
}

static void urge(struct ring *ring)
{
    ring->urgent = true;
    pthread_cond_signal(&ring->urgent_came);
}

static void add_state(struct ring *ring, const struct store_change *c, int64_t at_ms)
{
    struct entry e = {
        .id = next_id(ring), .type = EVENT_STATE, .run = c->run, .experiment = c->experiment};
    e.text = text_state(e.id, c, at_ms);
    if (e.text == NULL) // then at least that something is lacking
        e.text = text_missed(e.id, "unknown"), e.run = e.experiment = 0;
    e.bytes = sizeof e + (e.text != NULL ? e.text->size : 0);
    if (e.text != NULL)
        add(ring, &e);
}

/* Experiments whose runs changed; too many of them, or no memory: everybody lacks something. */
static void add_changed(struct ring *ring, const struct store_changes *changes)
{
    struct entry e = {.id = next_id(ring), .type = EVENT_STATE};
    const size_t size = changes->n_experiments * sizeof *e.experiments;
    if (!changes->uncounted)
        e.experiments = malloc(size);
    if (e.experiments != NULL) {
        memcpy(e.experiments, changes->experiments, size);
        e.n_experiments = changes->n_experiments;
        e.text = text_changed(e.id, e.experiments, e.n_experiments);
    }
    if (e.text == NULL)
        e.text = text_missed(e.id, "unknown");
    e.bytes = sizeof e + size + (e.text != NULL ? e.text->size : 0);
    if (e.text != NULL)
        add(ring, &e);
    else
        free(e.experiments);
}

void events_changed(void *context, const struct store_changes *changes)
{
    struct ring *ring = &((struct events *)context)->ring;
    pthread_mutex_lock(&ring->lock);
    for (size_t i = 0; i < changes->n; i++)
        add_state(ring, &changes->runs[i], changes->at_ms);
    if (changes->n_experiments > 0)
        add_changed(ring, changes);
    urge(ring);
    pthread_mutex_unlock(&ring->lock);
}

/* ---- interest ---- */

static bool is_wanted(const struct ring *ring, int64_t run, int64_t experiment)
{
    for (const struct interest *i = ring->interests; i != NULL; i = i->next)
        if ((i->run == 0 || i->run == run) && (i->experiment == 0 || i->experiment == experiment))
            return true;
    return false;
}

/* Records of the run are not kept. Where there are too many such runs, the longest ago goes. */
static void note_lapse(struct ring *ring, int64_t run, int64_t experiment)
{
    struct lapse *place = &ring->lapses[0];
    for (size_t i = 0; i < ring->n_lapses; i++) {
        struct lapse *l = &ring->lapses[i];
        if (l->run == run) {
            l->id = next_id(ring);
            return;
        }
        if (l->id < place->id)
            place = l;
    }
    if (ring->n_lapses < LAPSES)
        place = &ring->lapses[ring->n_lapses++];
    else if (place->id > ring->lapse_floor)
        ring->lapse_floor = place->id;
    *place = (struct lapse){run, experiment, next_id(ring)};
}

/* When records that the filter lets through were last not kept. */
static uint64_t last_lapse(const struct ring *ring, const struct event_filter *filter)
{
    uint64_t id = ring->lapse_floor;
    for (size_t i = 0; i < ring->n_lapses; i++) {
        const struct lapse *l = &ring->lapses[i];
        if (l->id > id && (filter->run == 0 || filter->run == l->run) &&
            (filter->experiment == 0 || filter->experiment == l->experiment))
            id = l->id;
    }
    return id;
}

static struct interest *find_interest(struct ring *ring, const struct event_filter *filter)
{
    struct interest *i = ring->interests;
    while (i != NULL && (i->run != filter->run || i->experiment != filter->experiment))
        i = i->next;
    return i;
}

void ring_leave(struct ring *ring, const struct event_filter *filter)
{
    if (!(filter->types & EVENT_METRICS))
        return;
    pthread_mutex_lock(&ring->lock);
    struct interest *i = find_interest(ring, filter);
    if (i != NULL && i->listeners > 0 && --i->listeners == 0)
        i->until_ms = clock_ms() + INTEREST_MS;
    pthread_mutex_unlock(&ring->lock);
}

void ring_purge(struct ring *ring)
{
    const int64_t now = clock_ms();
    pthread_mutex_lock(&ring->lock);
    for (struct interest **place = &ring->interests, *i; (i = *place) != NULL;) {
        if (i->listeners > 0 || i->until_ms > now) {
            place = &i->next;
            continue;
        }
        *place = i->next;
        free(i);
    }
    pthread_mutex_unlock(&ring->lock);
}

const char *ring_join(struct ring *ring, const struct event_filter *filter, uint64_t *next,
                      uint64_t *id)
{
    const char *missed = NULL;
    pthread_mutex_lock(&ring->lock);
    *next = ring->end;
    *id = ring->last;
    if (filter->resume && filter->last > ring->last)
        missed = "unknown";
    else if (filter->resume && filter->last < ring->floor)
        missed = "too_old";
    else if (filter->resume && (filter->types & EVENT_METRICS) &&
             filter->last < last_lapse(ring, filter))
        missed = "too_old";
    else if (filter->resume)
        for (*id = 0; *next > ring->first && at(ring, *next - 1)->id > filter->last;)
            --*next;
    if (filter->types & EVENT_METRICS) {
        struct interest *i = find_interest(ring, filter);
        if (i == NULL && (i = calloc(1, sizeof *i)) != NULL) {
            *i = (struct interest){filter->run, filter->experiment, 0, 0, ring->interests};
            ring->interests = i;
        }
        if (i != NULL)
            i->listeners++;
        else
            missed = "unknown";
    }
    pthread_mutex_unlock(&ring->lock);
    return missed;
}

void events_records(struct events *events, int64_t run, int64_t experiment,
                    const struct tet_record *records, size_t n)
{
    struct ring *ring = &events->ring;
    pthread_mutex_lock(&ring->lock);
    if (n > 0 && !is_wanted(ring, run, experiment)) {
        note_lapse(ring, run, experiment);
        n = 0;
    }
    for (size_t from = 0; from < n; from += TEXT_RECORDS) {
        const size_t count = n - from < TEXT_RECORDS ? n - from : TEXT_RECORDS;
        struct entry e = {.id = next_id(ring),
                          .type = EVENT_METRICS,
                          .run = run,
                          .experiment = experiment,
                          .n_records = count};
        e.bytes = sizeof e + count * RECORD_TEXT;
        e.records = malloc(count * sizeof *records);
        if (e.records == NULL) {
            note_lapse(ring, run, experiment);
            continue;
        }
        memcpy(e.records, records + from, count * sizeof *records);
        add(ring, &e);
    }
    pthread_mutex_unlock(&ring->lock);
}

/* ---- reading ---- */

void ring_make(struct ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    while (ring->made < ring->end) {
        const uint64_t sequence = ring->made;
        struct entry copy = *at(ring, sequence);
        if (copy.text == NULL && copy.records != NULL) {
            at(ring, sequence)->records = NULL; // ours now: the entry may go meanwhile
            pthread_mutex_unlock(&ring->lock);
            copy.text = text_metrics(&copy);
            if (copy.text == NULL)
                copy.text = text_missed(copy.id, "unknown");
            free(copy.records);
            pthread_mutex_lock(&ring->lock);
            if (ring->first <= sequence)
                at(ring, sequence)->text = copy.text;
            else
                http_shared_release(copy.text);
        }
        if (ring->made == sequence)
            ring->made++;
    }
    pthread_mutex_unlock(&ring->lock);
}

static bool passes(const struct entry *e, const struct event_filter *f)
{
    if (e->run == 0 && e->n_experiments == 0)
        return true;
    if (!(e->type & f->types))
        return false;
    if (e->run != 0)
        return (f->run == 0 || f->run == e->run) &&
               (f->experiment == 0 || f->experiment == e->experiment);
    if (f->experiment == 0)
        return true;
    size_t low = 0, high = e->n_experiments;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (e->experiments[middle] < f->experiment)
            low = middle + 1;
        else
            high = middle;
    }
    return low < e->n_experiments && e->experiments[low] == f->experiment;
}

size_t ring_read(struct ring *ring, const struct event_filter *filter, uint64_t *next,
                 struct http_shared *texts[ROUND_TEXTS], bool *lost, bool *more)
{
    size_t n = 0, bytes = 0;
    pthread_mutex_lock(&ring->lock);
    *lost = *next < ring->first;
    if (*lost)
        *next = ring->first;
    for (; *next < ring->made && n < ROUND_TEXTS && bytes < ROUND_BYTES; ++*next) {
        const struct entry *e = at(ring, *next);
        if (e->text == NULL || !passes(e, filter))
            continue;
        texts[n++] = http_shared_hold(e->text);
        bytes += e->text->size;
    }
    *more = *next < ring->made;
    pthread_mutex_unlock(&ring->lock);
    return n;
}
