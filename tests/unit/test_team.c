// SPDX-License-Identifier: Apache-2.0
/* Teams: shares, and runs whose result does not depend on how many threads train them. */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "team.h"
#include "training.h"

static struct data data;

enum { JOBS = 500, MOST = 5, SHARES = 4 * MOST };

/* Plain memory: each share writes its own slot in one job, all shares read all slots in the next. */
struct shared {
    _Atomic size_t shares, wrong, size;
    size_t slots[2 * SHARES];
    size_t job;
};

static void mark(void *context, const struct tet_share *share)
{
    struct shared *s = context;
    const size_t now = s->job % 2 * SHARES, before = SHARES - now;
    atomic_fetch_add(&s->shares, 1);
    atomic_store(&s->size, share->of);
    for (size_t i = 0; i < share->of; i++)
        if (s->slots[before + i] != s->job - 1)
            atomic_fetch_add(&s->wrong, 1);
    if (s->slots[now + share->index] == s->job)
        atomic_fetch_add(&s->wrong, 1); // done already
    s->slots[now + share->index] = s->job;
}

/* Every share once, and whole before the next job begins; also for helpers that sleep between. */
static void all_shares_once(void **state)
{
    (void)state;
    for (size_t size = 1; size <= MOST; size++) {
        struct tet_team *team = NULL;
        struct shared shared = {0};
        assert_int_equal(tet_team_create(&team, size, NULL), TET_OK);
        for (shared.job = 1; shared.job <= JOBS; shared.job++) {
            tet_team_run(team, mark, &shared);
            assert_int_equal(atomic_load(&shared.shares), shared.job * shared.size);
            if (shared.job % 100 == 0)
                sched_yield();
        }
        assert_int_equal(shared.wrong, 0);
        assert_true(size == 1 ? team == NULL && shared.size == 1 : shared.size >= size);
        tet_team_destroy(team);
    }
    tet_team_destroy(NULL);
}

struct slow {
    _Atomic size_t inside;
    _Atomic bool go;
};

static void wait_inside(void *context, const struct tet_share *share)
{
    struct slow *s = context;
    (void)share;
    if (atomic_fetch_add(&s->inside, 1) == 0)
        while (!atomic_load(&s->go))
            sched_yield();
    else if (atomic_load(&s->inside) == share->of)
        atomic_store(&s->go, true); // all others are done
}

/* A thread that is held up holds up its own share only: the others do all the rest. */
static void one_is_held_up(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct tet_team *team = NULL;
        struct slow slow = {0};
        assert_int_equal(tet_team_create(&team, 2, NULL), TET_OK);
        tet_team_run(team, wait_inside, &slow);
        assert_true(slow.go);
        tet_team_destroy(team);
    }
}

static void shares_cover(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 9; size++)
        for (size_t n = 0; n < 70; n++)
            for (size_t grain = 1; grain <= 16; grain *= 4) {
                size_t at = 0;
                for (size_t r = 0; r < size; r++) {
                    size_t first, last;
                    tet_share_range(&(struct tet_share){r, size}, n, grain, &first, &last);
                    assert_int_equal(first, at);
                    assert_true(last >= first && (last == n || last % grain == 0));
                    at = last;
                }
                assert_int_equal(at, n);
            }
}

static void one_result(void **state)
{
    (void)state;
    static struct log one, many;
    for (int rule = 0; rule < TET_RULES; rule++)
        for (int variant = 0; variant < ODD_PLANS; variant++) {
            struct tet_plan p = odd_plan((enum tet_rule_name)rule, variant);
            p.epochs = 2;
            odd_data(&data, 31, variant);
            struct tet_trainer *t = make(&p, &data, &one);
            assert_int_equal(run(t), TET_FINISHED);
            uint64_t n;
            float *expected = state_of(t, &n);
            tet_trainer_destroy(t);
            for (uint32_t threads = 2; threads <= 4; threads++) {
                char what[64];
                snprintf(what, sizeof what, "%s, variant %d, %u threads",
                         tet_rule_info((enum tet_rule_name)rule)->name, variant, threads);
                p.threads = threads;
                t = make(&p, &data, &many);
                assert_int_equal(run(t), TET_FINISHED);
                same_state(what, t, expected, n);
                assert_int_equal(many.n, one.n);
                same_records(what, many.record, one.record, one.n);
                tet_trainer_destroy(t);
            }
            free(expected);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_shares_once),
        cmocka_unit_test(one_is_held_up),
        cmocka_unit_test(shares_cover),
        cmocka_unit_test(one_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
