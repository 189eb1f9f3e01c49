// SPDX-License-Identifier: Apache-2.0
/*
 * A team: the threads that train one run together. One thread, the team's owner, goes through the
 * mini-batch and hands out one piece of work after the other, cut into shares of its outputs; the
 * others help. Whoever is free takes the next share, so that a helper whose processor was taken
 * away holds up nobody but for the share that it has in hand. No sum is ever split, and the result
 * does not change by a bit.
 *
 * Who has nothing to do spins briefly, then yields the processor, then sleeps.
 */
#ifndef CORE_TEAM_H
#define CORE_TEAM_H

#include <stddef.h>

#include <tetrad/error.h>

struct tet_team;

/* Share `index`, from 0, of `of` shares: which part of the work is meant. */
struct tet_share {
    size_t index, of;
};

/* One share of a piece of work. `context` belongs to the owner; every share may read all of it. */
typedef void tet_team_fn(void *context, const struct tet_share *share);

/* tet_team_create: size - 1 helpers that wait for work. size 0 or 1: *team is NULL, and the caller
 * does everything. Errors: TET_NO_MEMORY, TET_INTERNAL (no thread). */
TET_MUST_CHECK enum tet_err tet_team_create(struct tet_team **team, size_t size,
                                            struct tet_error *error);
void tet_team_destroy(struct tet_team *team); // NULL is fine

/* tet_team_run: fn for every share, by whoever is free; returns when all are done, and what they
 * wrote is seen by the caller and by all later shares. By the owner alone. */
void tet_team_run(struct tet_team *team, tet_team_fn *fn, void *context);

/* tet_share_range: the share first..last (exclusive) of n things, in whole multiples of `grain` but for
 * the end. */
static inline void tet_share_range(const struct tet_share *share, size_t n, size_t grain,
                                   size_t *first, size_t *last)
{
    const size_t grains = (n + grain - 1) / grain;
    *first = grains * share->index / share->of * grain;
    *last = grains * (share->index + 1) / share->of * grain;
    *first = *first < n ? *first : n;
    *last = *last < n ? *last : n;
}

#endif
