// SPDX-License-Identifier: Apache-2.0
/*
 * Teams: see team.h. The owner's thread and the helpers' meet here and nowhere else in the core.
 *
 * `ticket` says which piece of work is at hand, and which share of it is the next to be taken:
 *
 *     ticket = job * 2^16 + share        share = `shares`: none left
 *
 * The owner writes fn and context, then the next job's ticket. Who wants a share reads the ticket,
 * fn and context, then moves the ticket on by one, if it still is what was read: a job is not over
 * before all its shares are done, so that fn and context then are that job's. `done` counts shares
 * that are done; the owner alone resets it, between two jobs.
 *
 * Sleep. A helper raises `sleepers` under the lock and looks at the ticket once more; the owner looks
 * at `sleepers` after it has moved the ticket. The owner raises `waiting` and looks at `done` once
 * more; the last share looks at `waiting` after it has raised `done`. All four are sequentially
 * consistent: one of each pair sees the other. Helpers that sleep are woken at most once in
 * WAKE_NS: where they have no processor to run on, to wake them would take the owner's.
 */
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

enum {
    SHARES = 2, // of a job, for each thread
    SPINS = 1000,
    YIELDS = 20,
    SHARE_BITS = 16,
    WAKE_NS = 1000000,
};

static const uint64_t share_mask = (UINT64_C(1) << SHARE_BITS) - 1;

struct tet_team {
    size_t shares;
    _Alignas(64) _Atomic uint64_t ticket;
    _Atomic(tet_team_fn *) fn;
    _Atomic(void *) context;
    _Alignas(64) _Atomic size_t done;
    _Atomic bool waiting; // the owner sleeps
    _Alignas(64) _Atomic unsigned sleepers;
    _Atomic bool end;
    int64_t woken_ns; // the owner's
    pthread_mutex_t lock;
    pthread_cond_t work, finished;
    size_t started;
    pthread_t threads[];
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool has_work(const struct tet_team *team)
{
    return (atomic_load(&team->ticket) & share_mask) < team->shares;
}

/* Does one share of the job at hand, if one is left. */
static bool do_share(struct tet_team *team)
{
    uint64_t ticket = atomic_load_explicit(&team->ticket, memory_order_acquire);
    tet_team_fn *fn;
    void *context;
    do {
        if ((ticket & share_mask) >= team->shares)
            return false;
        fn = atomic_load_explicit(&team->fn, memory_order_relaxed);
        context = atomic_load_explicit(&team->context, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&team->ticket, &ticket, ticket + 1,
                                                    memory_order_acq_rel, memory_order_acquire));
    fn(context, &(struct tet_share){ticket & share_mask, team->shares});
    if (atomic_fetch_add(&team->done, 1) + 1 == team->shares && atomic_load(&team->waiting)) {
        pthread_mutex_lock(&team->lock);
        pthread_cond_signal(&team->finished);
        pthread_mutex_unlock(&team->lock);
    }
    return true;
}

/* ---- helpers ---- */

static bool wanted(const struct tet_team *team)
{
    return has_work(team) || atomic_load(&team->end);
}

static void await_work(struct tet_team *team)
{
    for (int i = 0; i < SPINS; i++) {
        if (wanted(team))
            return;
        relax();
    }
    for (int i = 0; i < YIELDS; i++) {
        if (wanted(team))
            return;
        sched_yield();
    }
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->sleepers, 1);
    while (!wanted(team))
        pthread_cond_wait(&team->work, &team->lock);
    atomic_fetch_sub(&team->sleepers, 1);
    pthread_mutex_unlock(&team->lock);
}

static void *help(void *context)
{
    struct tet_team *team = context;
    while (!atomic_load(&team->end))
        if (!do_share(team))
            await_work(team);
    return NULL;
}

static void wake(struct tet_team *team)
{
    pthread_mutex_lock(&team->lock);
    pthread_cond_broadcast(&team->work);
    pthread_mutex_unlock(&team->lock);
}

/* ---- the owner ---- */

enum tet_err tet_team_create(struct tet_team **out, size_t size, struct tet_error *error)
{
    *out = NULL;
    if (size <= 1)
        return TET_OK;
    size_t bytes = sizeof(struct tet_team) + (size - 1) * sizeof(pthread_t);
    bytes = (bytes + 63) / 64 * 64;
    struct tet_team *team = aligned_alloc(64, bytes);
    if (team == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for a team of %zu threads", size);
    *team = (struct tet_team){.shares = size * SHARES};
    atomic_store(&team->ticket, team->shares);
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->work, NULL);
    pthread_cond_init(&team->finished, NULL);
    for (; team->started < size - 1; team->started++)
        if (pthread_create(&team->threads[team->started], NULL, help, team) != 0) {
            tet_team_destroy(team);
            return tet_error_set(error, TET_INTERNAL, "cannot start thread %zu of %zu",
                                 team->started + 2, size);
        }
    *out = team;
    return TET_OK;
}

void tet_team_destroy(struct tet_team *team)
{
    if (team == NULL)
        return;
    atomic_store(&team->end, true);
    wake(team);
    for (size_t i = 0; i < team->started; i++)
        pthread_join(team->threads[i], NULL);
    pthread_cond_destroy(&team->finished);
    pthread_cond_destroy(&team->work);
    pthread_mutex_destroy(&team->lock);
    free(team);
}

static void await_shares(struct tet_team *team)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&team->done, memory_order_acquire) == team->shares)
            return;
        relax();
    }
    for (int i = 0; i < YIELDS; i++) {
        if (atomic_load_explicit(&team->done, memory_order_acquire) == team->shares)
            return;
        sched_yield();
    }
    pthread_mutex_lock(&team->lock);
    atomic_store(&team->waiting, true);
    while (atomic_load(&team->done) < team->shares)
        pthread_cond_wait(&team->finished, &team->lock);
    atomic_store(&team->waiting, false);
    pthread_mutex_unlock(&team->lock);
}

static void wake_sleepers(struct tet_team *team)
{
    const int64_t now = now_ns();
    if (now - team->woken_ns < WAKE_NS)
        return;
    team->woken_ns = now;
    wake(team);
}

void tet_team_run(struct tet_team *team, tet_team_fn *fn, void *context)
{
    if (team == NULL) {
        fn(context, &(struct tet_share){0, 1});
        return;
    }
    const uint64_t job = (atomic_load(&team->ticket) >> SHARE_BITS) + 1;
    atomic_store_explicit(&team->done, 0, memory_order_relaxed);
    atomic_store_explicit(&team->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&team->context, context, memory_order_relaxed);
    atomic_exchange(&team->ticket, job << SHARE_BITS); // not a store: qemu lets loads pass one
    if (atomic_load(&team->sleepers) > 0)
        wake_sleepers(team);
    while (do_share(team))
        ;
    await_shares(team);
}
