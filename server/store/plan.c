// SPDX-License-Identifier: Apache-2.0
/*
 * Looking ahead: the queue played forward. Workers become free as the running runs end; each takes
 * the next run in the fair order, for as long as it is thought to take.
 *
 * A plan is kept until the queue changes or a second has passed, so that many who look at once cost
 * one look. Only the first STORE_AHEAD places are played, each user's runs are read in portions as
 * they are needed: the queue's length does not matter.
 *
 * Threads: any.
 */
#include "store/share.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FRESH_MS = 1000, PORTION = 32 };

struct waiting {
    int64_t run, experiment;
    int32_t priority;
    uint32_t threads;
    double seconds; // NaN: not known
};

/* A user while the queue is played: their share as it will be, and the runs read so far. */
struct player {
    struct share share;
    struct waiting *runs;
    size_t n, next;
};

/* A worker: when it is free, and whose run it has until then. */
struct seat {
    double free_s;
    size_t player; // an index; n_players: nobody's
};

struct game {
    struct db *db;
    struct pace pace;
    struct store_plan *plan;
    struct player *players;
    size_t n_players;
    struct seat *seats;
    size_t n_seats;
    bool timed; // all times so far are known
};

/* ---- reading ---- */

static enum tet_err no_memory(struct tet_error *error)
{
    return tet_error_set(error, TET_NO_MEMORY, "out of memory");
}

static enum tet_err read_users(const struct store *store, struct game *g, int64_t now,
                               struct tet_error *error)
{
    struct query q = share_users(store, g->db, true, now, error);
    while (query_row(&q)) {
        struct player *more = realloc(g->players, (g->n_players + 1) * sizeof *more);
        if (more == NULL) {
            query_fail(&q, TET_NO_MEMORY, "out of memory");
            break;
        }
        g->players = more;
        g->players[g->n_players] = (struct player){0};
        share_from_row(store, &q, now, &g->players[g->n_players++].share);
    }
    return query_close(&q);
}

static size_t player_of(const struct game *g, const char *owner)
{
    size_t i = 0;
    while (i < g->n_players && strcmp(g->players[i].share.user, owner) != 0)
        i++;
    return i;
}

/* Seconds that a run still takes: by its progress, where it has made some. */
static double left_of(const struct game *g, const struct query *q, int64_t now,
                      const struct store_progress *progress, size_t n)
{
    const int64_t run = query_int(q, 0), began = query_int(q, 4);
    const uint64_t first = (uint64_t)query_int(q, 6), steps = (uint64_t)query_int(q, 7);
    const double gone = now > began ? (double)(now - began) / 1000.0 : 0.0;
    for (size_t i = 0; i < n; i++)
        if (progress[i].run == run && progress[i].step > first && progress[i].step <= steps)
            return gone * (double)(steps - progress[i].step) / (double)(progress[i].step - first);
    const double expected = share_expected(&g->pace, query_real(q, 8), first, steps);
    return isfinite(expected) ? fmax(0.0, expected - gone) : NAN;
}

static enum tet_err read_running(struct game *g, int64_t now, const struct store_progress *progress,
                                 size_t n, struct tet_error *error)
{
    struct store_plan *plan = g->plan;
    struct query q = query_open(g->db,
                                "SELECT r.id, r.experiment, a.owner, r.worker, a.began_ms,"
                                " a.threads, a.step, r.steps, r.flops FROM attempt a"
                                " CROSS JOIN run r ON r.id = a.run ORDER BY a.run",
                                error);
    while (query_row(&q)) {
        struct store_going *more = realloc(plan->going, (plan->n_going + 1) * sizeof *more);
        if (more == NULL) {
            query_fail(&q, TET_NO_MEMORY, "out of memory");
            break;
        }
        plan->going = more;
        struct store_going *going = &more[plan->n_going++];
        *going = (struct store_going){.run = query_int(&q, 0),
                                      .experiment = query_int(&q, 1),
                                      .worker = (uint32_t)query_int(&q, 3),
                                      .began_ms = query_int(&q, 4),
                                      .left_s = left_of(g, &q, now, progress, n)};
        strncpy(going->owner, query_text(&q, 2), sizeof going->owner - 1);
    }
    return query_close(&q);
}

/* The next portion of a user's runs. */
static enum tet_err read_portion(struct game *g, struct player *p, struct tet_error *error)
{
    const size_t want = p->n > 0 ? p->n : PORTION;
    struct waiting *more = realloc(p->runs, (p->n + want) * sizeof *more);
    if (more == NULL)
        return no_memory(error);
    p->runs = more;
    struct query q = query_open(g->db,
                                "SELECT id, experiment, priority, threads, flops, step, steps"
                                " FROM run INDEXED BY run_queue WHERE owner = :owner"
                                " AND state = 'queued' ORDER BY priority DESC, id"
                                " LIMIT :limit OFFSET :offset",
                                error);
    query_bind_text(&q, ":owner", p->share.user);
    query_bind_int(&q, ":limit", (int64_t)want);
    query_bind_int(&q, ":offset", (int64_t)p->n);
    for (size_t i = 0; i < want && query_row(&q); i++)
        p->runs[p->n++] = (struct waiting){.run = query_int(&q, 0),
                                           .experiment = query_int(&q, 1),
                                           .priority = (int32_t)query_int(&q, 2),
                                           .threads = (uint32_t)query_int(&q, 3),
                                           .seconds = share_expected(&g->pace, query_real(&q, 4),
                                                                     (uint64_t)query_int(&q, 5),
                                                                     (uint64_t)query_int(&q, 6))};
    return query_close(&q);
}

/* ---- playing ---- */

static enum tet_err seat_running(struct game *g, uint32_t workers, struct tet_error *error)
{
    const struct store_plan *plan = g->plan;
    g->n_seats = workers > plan->n_going ? workers : plan->n_going;
    g->seats = calloc(g->n_seats + 1, sizeof *g->seats);
    if (g->seats == NULL)
        return no_memory(error);
    for (size_t i = 0; i < g->n_seats; i++) {
        const bool taken = i < plan->n_going;
        const double left = taken ? plan->going[i].left_s : 0.0;
        g->timed = g->timed && isfinite(left);
        g->seats[i] = (struct seat){isfinite(left) ? left : 1.0,
                                    taken ? player_of(g, plan->going[i].owner) : g->n_players};
    }
    return TET_OK;
}

/* The user whose run is next; n_players: nobody has one that may run now. */
static size_t next_player(const struct game *g)
{
    size_t best = g->n_players;
    double least = INFINITY;
    for (size_t i = 0; i < g->n_players; i++) {
        const struct share *s = &g->players[i].share;
        const double level = share_may_run(s) ? share_level(s) : INFINITY;
        if (level < least ||
            (level == least && best < g->n_players && s->head < g->players[best].share.head)) {
            best = i;
            least = level;
        }
    }
    return best;
}

static void leave(struct game *g, struct seat *seat)
{
    if (seat->player < g->n_players && g->players[seat->player].share.running > 0)
        g->players[seat->player].share.running--;
    seat->player = g->n_players;
}

/* A seat is free: its next run, if there is one that may run. A user at the cap waits for one of
 * theirs to end, at another seat: this one then stays empty until the next seat's end. */
static enum tet_err play_one(struct game *g, struct seat *seat, bool *played,
                             struct tet_error *error)
{
    struct store_plan *plan = g->plan;
    const size_t i = next_player(g);
    *played = i < g->n_players;
    if (!*played)
        return TET_OK;
    struct player *p = &g->players[i];
    if (p->next == p->n) {
        const enum tet_err err = read_portion(g, p, error);
        if (err != TET_OK)
            return err;
    }
    if (p->next == p->n) { // not one snapshot's: cannot be
        p->share.queued = 0;
        return TET_OK;
    }
    const struct waiting *w = &p->runs[p->next++];
    const bool known = g->timed && isfinite(w->seconds);
    const double seconds = isfinite(w->seconds) ? w->seconds : 1.0;
    struct store_ahead *a = &plan->ahead[plan->n_ahead++];
    *a = (struct store_ahead){.run = w->run,
                              .experiment = w->experiment,
                              .priority = w->priority,
                              .start_s = g->timed ? seat->free_s : NAN,
                              .end_s = known ? seat->free_s + seconds : NAN};
    memcpy(a->owner, p->share.user, sizeof a->owner);
    g->timed = known;
    seat->free_s += seconds;
    seat->player = i;
    p->share.running++;
    p->share.queued--;
    p->share.pending += seconds * w->threads;
    p->share.head = p->next < p->n ? p->runs[p->next].run : w->run + 1;
    return TET_OK;
}

static struct seat *first_free(struct game *g)
{
    struct seat *first = NULL;
    for (size_t i = 0; i < g->n_seats; i++)
        if (first == NULL || g->seats[i].free_s < first->free_s)
            first = &g->seats[i];
    return first;
}

static enum tet_err play(struct game *g, struct tet_error *error)
{
    struct store_plan *plan = g->plan;
    enum tet_err err = TET_OK;
    while (err == TET_OK && plan->n_ahead < STORE_AHEAD) {
        struct seat *seat = first_free(g);
        bool played = false;
        if (seat == NULL)
            break;
        leave(g, seat);
        err = play_one(g, seat, &played, error);
        if (err != TET_OK || played)
            continue;
        /* Nobody may: the seat is looked at again when the next one ends. */
        const struct seat *other = NULL;
        for (size_t i = 0; i < g->n_seats; i++)
            if (g->seats[i].player < g->n_players &&
                (other == NULL || g->seats[i].free_s < other->free_s))
                other = &g->seats[i];
        if (other == NULL)
            break;
        seat->free_s = nextafter(other->free_s, INFINITY);
    }
    return err;
}

/* ---- the plan ---- */

static int by_run(const void *a, const void *b)
{
    const int64_t x = (*(struct store_ahead *const *)a)->run,
                  y = (*(struct store_ahead *const *)b)->run;
    return (x > y) - (x < y);
}

static enum tet_err keep_shares(struct store_plan *plan, const struct game *g,
                                struct tet_error *error)
{
    double all = 0.0;
    plan->shares = calloc(g->n_players + 1, sizeof *plan->shares);
    if (plan->shares == NULL)
        return no_memory(error);
    for (size_t i = 0; i < g->n_players; i++) {
        const struct share *s = &g->players[i].share;
        if (s->queued == 0 && s->running == 0 && s->recent < 1.0)
            continue; // nothing any more
        struct store_share *share = &plan->shares[plan->n_shares++];
        *share = (struct store_share){.weight = s->weight,
                                      .cap = s->cap,
                                      .running = s->running,
                                      .queued = s->queued,
                                      .recent_seconds = s->recent};
        memcpy(share->user, s->user, sizeof share->user);
        all += s->recent;
    }
    for (size_t i = 0; i < plan->n_shares && all > 0.0; i++)
        plan->shares[i].share = plan->shares[i].recent_seconds / all;
    return TET_OK;
}

static enum tet_err make(struct store *store, struct db *db, uint32_t workers,
                         const struct store_progress *progress, size_t n, struct store_plan *plan,
                         struct tet_error *error)
{
    struct game g = {.db = db, .plan = plan, .timed = true};
    int64_t length = 0;
    plan->at_ms = queue_now(store);
    plan->half_life_s = store->policy.half_life_s;
    plan->ahead = calloc(STORE_AHEAD, sizeof *plan->ahead);
    plan->by_id = calloc(STORE_AHEAD, sizeof *plan->by_id);
    enum tet_err err = plan->ahead == NULL || plan->by_id == NULL ? no_memory(error) : TET_OK;
    if (err == TET_OK)
        err = db_exec(db, "BEGIN", error); // one snapshot
    if (err == TET_OK)
        err = db_number(db, "SELECT queued FROM store", &length, error);
    if (err == TET_OK)
        err = share_pace(db, &g.pace, error);
    if (err == TET_OK)
        err = read_users(store, &g, plan->at_ms, error);
    if (err == TET_OK)
        err = read_running(&g, plan->at_ms, progress, n, error);
    if (err == TET_OK)
        err = keep_shares(plan, &g, error);
    if (err == TET_OK)
        err = seat_running(&g, workers, error);
    if (err == TET_OK)
        err = play(&g, error);
    plan->length = (uint64_t)length;
    for (size_t i = 0; err == TET_OK && i < plan->n_ahead; i++)
        plan->by_id[i] = &plan->ahead[i];
    if (err == TET_OK)
        qsort(plan->by_id, plan->n_ahead, sizeof(struct store_ahead *), by_run);
    for (size_t i = 0; i < g.n_players; i++)
        free(g.players[i].runs);
    free(g.players);
    free(g.seats);
    return err;
}

static void destroy(struct store_plan *plan)
{
    free(plan->going);
    free(plan->ahead);
    free(plan->by_id);
    free(plan->shares);
    free(plan);
}

void store_plan_give(struct store *store, struct store_plan *plan)
{
    if (plan == NULL)
        return;
    pthread_mutex_lock(&store->plan_lock);
    const bool last = --plan->users == 0;
    pthread_mutex_unlock(&store->plan_lock);
    if (last)
        destroy(plan);
}

/* The last plan where it is fresh; counted as used by the caller. */
static struct store_plan *take_fresh(struct store *store)
{
    const int64_t now = queue_now(store);
    pthread_mutex_lock(&store->plan_lock);
    struct store_plan *plan = store->plan;
    if (plan != NULL && (plan->version != store->queue_version || now < plan->at_ms ||
                         now - plan->at_ms >= FRESH_MS))
        plan = NULL;
    if (plan != NULL)
        plan->users++;
    pthread_mutex_unlock(&store->plan_lock);
    return plan;
}

enum tet_err store_plan_take(struct store *store, uint32_t workers,
                             const struct store_progress *progress, size_t n,
                             struct store_plan **out, struct tet_error *error)
{
    struct db *db;
    *out = take_fresh(store);
    if (*out != NULL)
        return TET_OK;
    const uint64_t version = store->queue_version; // before the snapshot
    struct store_plan *plan = calloc(1, sizeof *plan), *old;
    if (plan == NULL)
        return no_memory(error);
    plan->version = version;
    plan->users = 2; // the caller, and the store
    enum tet_err err = reader_take(store, &db, error);
    if (err == TET_OK) {
        err = make(store, db, workers, progress, n, plan, error);
        reader_give(store, db);
    }
    if (err != TET_OK) {
        destroy(plan);
        return err;
    }
    pthread_mutex_lock(&store->plan_lock);
    old = store->plan;
    store->plan = plan;
    pthread_mutex_unlock(&store->plan_lock);
    store_plan_give(store, old);
    *out = plan;
    return TET_OK;
}

size_t store_plan_place(const struct store_plan *plan, int64_t run)
{
    size_t low = 0, high = plan->n_ahead;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (plan->by_id[middle]->run < run)
            low = middle + 1;
        else
            high = middle;
    }
    return low < plan->n_ahead && plan->by_id[low]->run == run
               ? (size_t)(plan->by_id[low] - plan->ahead) + 1
               : 0;
}
