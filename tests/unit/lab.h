// SPDX-License-Identifier: Apache-2.0
/*
 * For the queue's tests: a lab on a clock of its own. Workers claim from the real store and end
 * their runs after the time that each is given; nothing waits.
 */
#ifndef TESTS_LAB_H
#define TESTS_LAB_H

#include <unistd.h>

#include "store_fixture.h"

#include "store/share.h"

/* What reaches the disk is no matter here; a claim and an end cost microseconds without. */
int fdatasync(int file)
{
    (void)file;
    return 0;
}

enum { WORKERS = 8, USERS = 4, RUNS = 4000, HOUR = 3600 };

/* ---- a lab ---- */

struct lab {
    struct store *store;
    size_t workers;
    int64_t run[WORKERS]; // 0: idle
    int64_t end_ms[WORKERS], began[WORKERS];
    size_t user[WORKERS];
    uint8_t owner[RUNS]; // of a run, by its id
    uint32_t done[USERS], running[USERS], most[USERS];
    double seconds[USERS];  // of workers
    int64_t last_ms[USERS]; // end of the last run
    uint64_t seed;
};

static const char *const users[USERS] = {"ana", "bo", "cy", "di"};

static inline void lab_open(struct lab *lab, size_t workers)
{
    *lab = (struct lab){.store = open_store(), .workers = workers, .seed = 1};
    lab->store->clock_ms = 1000000000000;
}

/* The table is the users' own: whatever else it has keeps its default. */
static inline void set_user(struct lab *lab, const char *name, double weight, int cap)
{
    struct tet_error error = {0};
    char sql[300], limit[20] = "NULL";
    if (cap > 0)
        snprintf(limit, sizeof limit, "%d", cap);
    snprintf(sql, sizeof sql,
             "INSERT OR REPLACE INTO user (name, weight, cap, created_ms)"
             " VALUES ('%s', %f, %s, 1);",
             name, weight, limit);
    flush(lab->store); // the writer is idle from here on
    assert_ok(db_exec(&lab->store->db, sql, &error), &error);
}

static inline struct store_receipt submit_as(struct lab *lab, size_t user, size_t n,
                                             uint64_t memory)
{
    struct tet_error error = {0};
    struct store_receipt receipt;
    struct store_new_run *runs = calloc(n, sizeof *runs);
    assert_non_null(runs);
    for (size_t i = 0; i < n; i++)
        runs[i] = (struct store_new_run){
            "{\"rule\":\"sal\"}", "sha256:run", "{\"seed\":1}", 100, memory, 0.0, 1};
    const struct store_submission s = {.name = "n",
                                       .owner = users[user],
                                       .definition = "{}",
                                       .hash = "sha256:a",
                                       .n_runs = n,
                                       .runs = runs};
    assert_ok(store_submit(lab->store, &s, &receipt, &error), &error);
    free(runs);
    for (size_t i = 0; i < n; i++) {
        assert_true(receipt.first_run + (int64_t)i < RUNS);
        lab->owner[receipt.first_run + (int64_t)i] = (uint8_t)user;
    }
    return receipt;
}

/* Numerical Recipes' generator. */
static inline double uniform(struct lab *lab)
{
    lab->seed = lab->seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(lab->seed >> 11) / 9007199254740992.0;
}

static inline void claim_all(struct lab *lab, double least_s, double most_s)
{
    for (size_t w = 0; w < lab->workers; w++) {
        const int64_t run = lab->run[w] == 0 ? claim(lab->store) : 0;
        if (run == 0)
            continue;
        const double s = least_s + (most_s - least_s) * uniform(lab);
        const size_t u = lab->owner[run];
        lab->run[w] = run;
        lab->user[w] = u;
        lab->began[w] = lab->store->clock_ms;
        lab->end_ms[w] = lab->store->clock_ms + (int64_t)(s * 1000.0);
        lab->running[u]++;
        if (lab->running[u] > lab->most[u])
            lab->most[u] = lab->running[u];
    }
}

/* To the next end, and all that end then; false: nothing runs. */
static inline bool go_on(struct lab *lab)
{
    int64_t next = INT64_MAX;
    for (size_t w = 0; w < lab->workers; w++)
        if (lab->run[w] != 0 && lab->end_ms[w] < next)
            next = lab->end_ms[w];
    if (next == INT64_MAX)
        return false;
    lab->store->clock_ms = next;
    for (size_t w = 0; w < lab->workers; w++) {
        const size_t u = lab->user[w];
        if (lab->run[w] == 0 || lab->end_ms[w] != next)
            continue;
        end(lab->store, lab->run[w], RUN_SUCCEEDED, "");
        lab->done[u]++;
        lab->running[u]--;
        lab->seconds[u] += (double)(next - lab->began[w]) / 1000.0;
        lab->last_ms[u] = next;
        lab->run[w] = 0;
    }
    return true;
}

static inline void assert_near(double got, double expected, double most)
{
    if (!(fabs(got - expected) <= most))
        fail_msg("%g is not within %g of %g", got, most, expected);
}

static inline double recent(struct lab *lab, const char *user)
{
    struct tet_error error = {0};
    struct store_plan *plan;
    double seconds = 0.0;
    assert_ok(store_plan_take(lab->store, 2, NULL, 0, &plan, &error), &error);
    for (size_t i = 0; i < plan->n_shares; i++)
        if (strcmp(plan->shares[i].user, user) == 0)
            seconds = plan->shares[i].recent_seconds;
    store_plan_give(lab->store, plan);
    return seconds;
}

static inline void set_priority(struct lab *lab, int64_t run, int32_t priority)
{
    struct tet_error error = {0};
    struct store_acted acted;
    const struct store_order order = {.action = STORE_PRIORITY, .priority = priority, .run = run};
    assert_ok(store_act(lab->store, &order, &acted, &error), &error);
    assert_int_equal(acted.queued, 1);
}

#endif
