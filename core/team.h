// SPDX-License-Identifier: Apache-2.0
/*
 * A team: the threads that train one run together. All ranks run the same function on their own
 * share of every product's outputs and meet at barriers, so that no sum is ever split and the
 * result does not change by a bit.
 *
 * A rank that waits spins briefly, then yields the processor, then sleeps. It wants a processor for each rank: where
 * others hold one, every barrier waits for the rank that has none.
 */
#ifndef CORE_TEAM_H
#define CORE_TEAM_H

#include <stddef.h>

#include <tetrad/error.h>

struct tet_team;

/* Rank `rank` of `size`: whose share of the work is meant. */
struct tet_rank {
    struct tet_team *team; // NULL where size is 1
    size_t rank, size;
};

typedef void tet_team_fn(void *context, const struct tet_rank *rank);

/* tet_team_create: size - 1 threads that wait for work; the caller is rank 0. size 1: *team is
 * NULL, and all functions do as one rank does. Errors: TET_NO_MEMORY, TET_INTERNAL (no thread). */
TET_MUST_CHECK enum tet_err tet_team_create(struct tet_team **team, size_t size,
                                            struct tet_error *error);
void tet_team_destroy(struct tet_team *team); // NULL is fine

/* tet_team_run: every rank runs fn; returns when all have. */
void tet_team_run(struct tet_team *team, tet_team_fn *fn, void *context);

/* tet_team_sync: returns when all ranks have called it; what they wrote before is then seen by all.
 */
void tet_team_sync(const struct tet_rank *rank);

/* tet_share: the rank's share first..last (exclusive) of n things, in whole multiples of `grain`
 * but for the end. */
static inline void tet_share(const struct tet_rank *rank, size_t n, size_t grain, size_t *first,
                             size_t *last)
{
    const size_t grains = (n + grain - 1) / grain;
    *first = grains * rank->rank / rank->size * grain;
    *last = grains * (rank->rank + 1) / rank->size * grain;
    *first = *first < n ? *first : n;
    *last = *last < n ? *last : n;
}

#endif
