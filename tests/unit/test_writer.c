// SPDX-License-Identifier: Apache-2.0
/* The writer's order: what somebody waits for goes before what was posted, the two take turns, and a
 * long backlog is cut. Jobs that stop the writer until the next ones are in its queue make the order
 * one that does not depend on time. */
#include "store_fixture.h"

#include <pthread.h>
#include <time.h>

enum { MAX = 16, LONG_MS = 8 }; // longer than a transaction for the backlog goes on

static struct {
    pthread_mutex_t lock;
    char order[MAX + 1]; // the jobs' names, as they were worked on
    size_t n;
    bool durable[MAX];
    uint64_t commit[MAX]; // how many commits there were before
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct step {
    struct job job;
    char name;
    size_t await; // goes on when so many jobs wait in the queue
    bool slow;
};

static size_t waiting(struct store *store)
{
    size_t n = 0;
    pthread_mutex_lock(&store->lock);
    for (const struct job *job = store->first; job != NULL; job = job->next)
        n++;
    pthread_mutex_unlock(&store->lock);
    return n;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static enum tet_err step_work(struct store *store, struct job *base, struct tet_error *error)
{
    (void)error;
    const struct step *step = (const struct step *)base;
    pthread_mutex_lock(&seen.lock);
    assert_true(seen.n < MAX);
    seen.durable[seen.n] = store->db.durable;
    seen.commit[seen.n] = store_version(store, 0);
    seen.order[seen.n++] = step->name;
    pthread_mutex_unlock(&seen.lock);
    while (waiting(store) < step->await)
        pause_ms(1);
    if (step->slow)
        pause_ms(LONG_MS);
    return TET_OK;
}

static void step_destroy(struct job *job)
{
    free(job);
}

static void post(struct store *store, struct step step)
{
    struct tet_error error = {0};
    struct step *posted = malloc(sizeof *posted);
    assert_non_null(posted);
    *posted = step;
    posted->job.work = step_work;
    posted->job.destroy = step_destroy;
    posted->job.bytes = sizeof *posted;
    assert_ok(writer_post(store, &posted->job, &error), &error);
}

static void await_started(char name)
{
    for (bool found = false; !found; pause_ms(1)) {
        pthread_mutex_lock(&seen.lock);
        found = strchr(seen.order, name) != NULL;
        pthread_mutex_unlock(&seen.lock);
    }
}

/* A thread that waits for a job, as those that answer requests do. */
struct waiter {
    pthread_t thread;
    struct store *store;
    struct step step;
    enum tet_err err;
};

static void *waiter_main(void *argument)
{
    struct waiter *w = argument;
    w->step.job.work = step_work;
    w->err = writer_do(w->store, &w->step.job, NULL);
    return NULL;
}

/* Returns once so many jobs are in the queue, its own the last. */
static void wait_for(struct waiter *w, struct store *store, struct step step, size_t in_queue)
{
    *w = (struct waiter){.store = store, .step = step};
    assert_int_equal(pthread_create(&w->thread, NULL, waiter_main, w), 0);
    while (in_queue > 0 && waiting(store) < in_queue)
        pause_ms(1);
}

static void joined(struct waiter *w)
{
    assert_int_equal(pthread_join(w->thread, NULL), 0);
    assert_int_equal(w->err, TET_OK);
}

static struct store *begin(void)
{
    memset(seen.order, 0, sizeof seen.order);
    seen.n = 0;
    return open_store();
}

static void test_overtakes(void **state)
{
    (void)state;
    struct store *store = begin();
    struct waiter u, v, w;
    post(store, (struct step){.name = 'g', .await = 6});
    await_started('g');
    post(store, (struct step){.name = 'a'});
    post(store, (struct step){.name = 'b'});
    wait_for(&u, store, (struct step){.name = 'U'}, 3);
    wait_for(&v, store, (struct step){.name = 'o', .job.ordered = true}, 4);
    wait_for(&w, store, (struct step){.name = 't', .job.in_turn = true}, 5);
    post(store, (struct step){.name = 'c'});
    joined(&u);
    joined(&v);
    joined(&w);
    flush(store);
    assert_string_equal(seen.order, "gUabotc");
    store_close(store);
}

/* p takes all the time that a transaction for the backlog has; U came in the meantime. */
static void test_backlog_is_cut(void **state)
{
    (void)state;
    struct store *store = begin();
    struct waiter u;
    post(store, (struct step){.name = 'g', .await = 3});
    await_started('g');
    post(store, (struct step){.name = 'p', .await = 1, .slow = true});
    post(store, (struct step){.name = 'q'});
    post(store, (struct step){.name = 'r'});
    await_started('p');
    wait_for(&u, store, (struct step){.name = 'U'}, 0);
    joined(&u);
    flush(store);
    assert_string_equal(seen.order, "gpUqr");
    assert_true(seen.commit[3] > seen.commit[2]);
    store_close(store);
}

/* While somebody always waits, the backlog has its turn after each. */
static void test_turns(void **state)
{
    (void)state;
    struct store *store = begin();
    struct waiter u, v, w;
    post(store, (struct step){.name = 'g', .await = 3});
    await_started('g');
    post(store, (struct step){.name = 'p', .slow = true});
    post(store, (struct step){.name = 'q', .slow = true});
    wait_for(&u, store, (struct step){.name = 'U', .await = 1}, 0);
    await_started('U');
    wait_for(&v, store, (struct step){.name = 'V', .await = 1}, 0);
    await_started('V');
    wait_for(&w, store, (struct step){.name = 'W'}, 0);
    joined(&u);
    joined(&v);
    joined(&w);
    flush(store);
    assert_string_equal(seen.order, "gUpVqW");
    store_close(store);
}

/* Records before a job that must be safe do not wait for the disk; what somebody waits for is safe
 * where any of it must be. */
static void test_durable(void **state)
{
    (void)state;
    struct store *store = begin();
    struct waiter u, v;
    post(store, (struct step){.name = 'g', .await = 5});
    await_started('g');
    post(store, (struct step){.name = 'a'});
    post(store, (struct step){.name = 'E', .job.durable = true});
    post(store, (struct step){.name = 'b'});
    wait_for(&u, store, (struct step){.name = 'u'}, 4);
    wait_for(&v, store, (struct step){.name = 'V', .job.durable = true}, 0);
    joined(&u);
    joined(&v);
    flush(store);
    assert_string_equal(seen.order, "guVaEb");
    const bool want[] = {false, true, true, false, true};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(seen.durable[i], want[i]);
    assert_true(seen.commit[4] > seen.commit[3]);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_overtakes),
        TEST(test_backlog_is_cut),
        TEST(test_turns),
        TEST(test_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
