// SPDX-License-Identifier: Apache-2.0
/*
 * Teams: see team.h. One barrier serves everything: tet_team_run lets the ranks in by a first
 * crossing and collects them by a second.
 *
 * The barrier: `arrived` counts ranks; the last one resets it and advances `phase`, for which the
 * others wait. A rank goes to sleep under `lock` after raising `sleepers`; the last one looks at
 * `sleepers` after it has advanced `phase`. Both are sequentially consistent, so either the sleeper
 * sees the new phase or the last one sees the sleeper.
 */
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { SPINS = 2000, YIELDS = 20 };

struct tet_team {
    size_t size;
    _Alignas(64) _Atomic size_t arrived;
    _Alignas(64) _Atomic unsigned phase;
    _Atomic unsigned sleepers;
    pthread_mutex_t lock;
    pthread_cond_t advanced;
    tet_team_fn *fn; // NULL: end. Written by rank 0 before a crossing, read by the others after it
    void *context;
    size_t started;
    struct member {
        struct tet_rank rank;
        pthread_t thread;
    } members[];
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void wait_for(struct tet_team *team, unsigned phase)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&team->phase, memory_order_acquire) != phase)
            return;
        relax();
    }
    for (int i = 0; i < YIELDS; i++) {
        if (atomic_load_explicit(&team->phase, memory_order_acquire) != phase)
            return;
        sched_yield();
    }
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->sleepers, 1);
    while (atomic_load(&team->phase) == phase)
        pthread_cond_wait(&team->advanced, &team->lock);
    atomic_fetch_sub(&team->sleepers, 1);
    pthread_mutex_unlock(&team->lock);
}

static void cross(struct tet_team *team)
{
    const unsigned phase = atomic_load(&team->phase);
    if (atomic_fetch_add(&team->arrived, 1) + 1 < team->size) {
        wait_for(team, phase);
        return;
    }
    atomic_store(&team->arrived, 0);
    atomic_exchange(&team->phase, phase + 1); // not a store: qemu lets the load below pass one
    if (atomic_load(&team->sleepers) > 0) {
        pthread_mutex_lock(&team->lock);
        pthread_cond_broadcast(&team->advanced);
        pthread_mutex_unlock(&team->lock);
    }
}

static void *member(void *context)
{
    const struct member *m = context;
    struct tet_team *team = m->rank.team;
    for (;;) {
        cross(team);
        if (team->fn == NULL)
            return NULL;
        team->fn(team->context, &m->rank);
        cross(team);
    }
}

enum tet_err tet_team_create(struct tet_team **out, size_t size, struct tet_error *error)
{
    *out = NULL;
    if (size <= 1)
        return TET_OK;
    size_t bytes = sizeof(struct tet_team) + size * sizeof(struct member);
    bytes = (bytes + 63) / 64 * 64;
    struct tet_team *team = aligned_alloc(64, bytes);
    if (team == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for a team of %zu threads", size);
    *team = (struct tet_team){.size = size};
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->advanced, NULL);
    for (size_t i = 0; i < size; i++)
        team->members[i].rank = (struct tet_rank){team, i, size};
    for (size_t i = 1; i < size; i++) {
        if (pthread_create(&team->members[i].thread, NULL, member, &team->members[i]) != 0) {
            /* Those that wait cannot be told to end without the rest: let the rest be rank 0's
             * arrivals. */
            team->started = i - 1;
            team->fn = NULL;
            atomic_fetch_add(&team->arrived, size - i);
            tet_team_destroy(team);
            return tet_error_set(error, TET_INTERNAL, "cannot start thread %zu of %zu", i + 1,
                                 size);
        }
        team->started = i;
    }
    *out = team;
    return TET_OK;
}

void tet_team_destroy(struct tet_team *team)
{
    if (team == NULL)
        return;
    team->fn = NULL;
    cross(team);
    for (size_t i = 1; i <= team->started; i++)
        pthread_join(team->members[i].thread, NULL);
    pthread_cond_destroy(&team->advanced);
    pthread_mutex_destroy(&team->lock);
    free(team);
}

void tet_team_run(struct tet_team *team, tet_team_fn *fn, void *context)
{
    static const struct tet_rank alone = {NULL, 0, 1};
    if (team == NULL) {
        fn(context, &alone);
        return;
    }
    team->fn = fn;
    team->context = context;
    cross(team);
    fn(context, &team->members[0].rank);
    cross(team);
}

void tet_team_sync(const struct tet_rank *rank)
{
    if (rank->size > 1)
        cross(rank->team);
}
