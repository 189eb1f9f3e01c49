// SPDX-License-Identifier: Apache-2.0
/*
 * How long the store takes with 100,000 runs of 30 users in its queue: claims, ends, looking ahead.
 *
 *     make build/tests/bench/queue && build/tests/bench/queue
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "store/share.h"

enum { USERS = 30, EXPERIMENTS = 1000, RUNS = 100, CLAIMS = 2000, PLANS = 100 };

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void show(const char *what, double *times, size_t n)
{
    qsort(times, n, sizeof *times, compare);
    printf("%-28s median %8.3f ms   99 %% %8.3f ms   most %8.3f ms\n", what, 1e3 * times[n / 2],
           1e3 * times[n * 99 / 100], 1e3 * times[n - 1]);
}

static void check(enum tet_err err, const struct tet_error *error)
{
    if (err == TET_OK)
        return;
    fprintf(stderr, "queue: %s\n", error->message);
    exit(1);
}

static void fill(struct store *store)
{
    static struct store_new_run runs[RUNS];
    struct tet_error error = {0};
    for (int i = 0; i < RUNS; i++)
        runs[i] = (struct store_new_run){"{\"a definition\":\"of some length\"}",
                                         "sha256:h",
                                         "{}",
                                         1000,
                                         1000,
                                         1e9 * (1 + i % 7),
                                         1};
    for (int i = 0; i < EXPERIMENTS; i++) {
        char owner[20];
        struct store_receipt receipt;
        snprintf(owner, sizeof owner, "user%d", i % USERS);
        const struct store_submission s = {.name = "n",
                                           .owner = owner,
                                           .definition = "{}",
                                           .hash = "sha256:a",
                                           .n_runs = RUNS,
                                           .runs = runs};
        check(store_submit(store, &s, &receipt, &error), &error);
    }
}

static void claims(struct store *store)
{
    static double claim_s[CLAIMS], end_s[CLAIMS];
    struct tet_error error = {0};
    for (int i = 0; i < CLAIMS; i++) {
        struct store_claim claim;
        bool found, blocked;
        const double began = seconds();
        check(store_claim(store, 1, UINT64_MAX, &claim, &found, &blocked, &error), &error);
        const double claimed = seconds();
        struct store_ending ending = {.state = RUN_SUCCEEDED, .digest = "sha256:d", .step = 1000};
        if (i % 50 != 0) // some go on: as many as a large machine has workers
            check(store_end(store, claim.run, &ending, &error), &error);
        claim_s[i] = claimed - began;
        end_s[i] = seconds() - claimed;
        store_claim_free(&claim);
    }
    show("claim", claim_s, CLAIMS);
    show("end (durable)", end_s, CLAIMS);
}

static void plans(struct store *store)
{
    static double plan_s[PLANS];
    struct tet_error error = {0};
    for (int i = 0; i < PLANS; i++) {
        struct store_plan *plan;
        store->clock_ms = store_now_ms() + 2000 * i; // never fresh
        const double began = seconds();
        check(store_plan_take(store, 40, NULL, 0, &plan, &error), &error);
        plan_s[i] = seconds() - began;
        store_plan_give(store, plan);
    }
    show("look ahead 1,000 places", plan_s, PLANS);
}

int main(void)
{
    char folder[] = "/tmp/tetrad-queue-XXXXXX", path[64], file[80];
    struct tet_error error = {0};
    struct store *store;
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/lab.db", folder);
    check(store_open(&store, path, &error), &error);
    fill(store);
    store_close(store);
    double began = seconds();
    check(store_open(&store, path, &error), &error);
    printf("%-28s        %8.3f ms\n", "open", 1e3 * (seconds() - began));
    store_set_speed(store, 1e9);
    claims(store);
    plans(store);
    store_close(store);
    static const char *const ends[] = {"", ".lock"};
    for (size_t i = 0; i < 2; i++) {
        snprintf(file, sizeof file, "%s%s", path, ends[i]);
        (void)unlink(file);
    }
    (void)rmdir(folder);
    return 0;
}
