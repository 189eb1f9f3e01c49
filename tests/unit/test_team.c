// SPDX-License-Identifier: Apache-2.0
/* Teams: the barrier, and runs whose result does not depend on how many threads train them. */
#include <stdatomic.h>
#include <stdio.h>

#include "team.h"
#include "training.h"

static struct data data;

enum { ROUNDS = 200 };

struct shared {
    size_t size;
    _Atomic size_t calls;
    size_t slots[8]; // plain memory: each rank writes its own, all read all after a sync
    _Atomic size_t wrong;
};

static void meet(void *context, const struct tet_rank *rank)
{
    struct shared *s = context;
    atomic_fetch_add(&s->calls, 1);
    for (size_t round = 1; round <= ROUNDS; round++) {
        s->slots[rank->rank] = round;
        tet_team_sync(rank);
        for (size_t i = 0; i < s->size; i++)
            if (s->slots[i] != round)
                atomic_fetch_add(&s->wrong, 1);
        tet_team_sync(rank);
    }
}

static void all_meet(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 5; size++) {
        struct tet_team *team = NULL;
        struct shared shared = {.size = size};
        assert_int_equal(tet_team_create(&team, size, NULL), TET_OK);
        for (int run = 0; run < 3; run++)
            tet_team_run(team, meet, &shared);
        assert_int_equal(shared.calls, 3 * size);
        assert_int_equal(shared.wrong, 0);
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
                    tet_share(&(struct tet_rank){NULL, r, size}, n, grain, &first, &last);
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
        cmocka_unit_test(all_meet),
        cmocka_unit_test(shares_cover),
        cmocka_unit_test(one_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
