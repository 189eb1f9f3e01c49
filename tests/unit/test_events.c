// SPDX-License-Identifier: Apache-2.0
/*
 * The hub and its ring, through real streams: texts, order, who gets what, going on from an id, records that nobody
 * wanted, progress and heartbeats.
 */
#include "events_fixture.h"

static void test_texts(void **state)
{
    struct fixture *f = *state;
    struct client c;
    join(f, &c, "");
    await(&c, "\n\n");
    assert_int_equal(strncmp(c.text, ": tetrad\nretry: 2000\nid: ", 25), 0);
    happen(f, 7, 3, RUN_FAILED, "<script>\n\"x\"");
    record(f, 7, 3, 12, 0.25);
    await(&c, "\"values\":[null]");
    await(&c, "event: state\ndata: {\"run\":7,\"experiment\":3,\"state\":\"failed\",\"reason\":"
              "\"<script>\\n\\\"x\\\"\",\"step\":3,\"at\":\"2023-11-14T22:13:20.123Z\","
              "\"experiment_state\":\"running\"}\n\n");
    await(&c, "event: metrics\ndata: {\"run\":7,\"experiment\":3,\"series\":{\"train/loss\":{"
              "\"steps\":[12],\"values\":[0.25]},\"train/accuracy\":{\"steps\":[12],\"values\":["
              "null]}}}\n\n");
    assert_true(id_of(&c, "\"state\":\"failed\"") < id_of(&c, "train/loss"));
    leave(&c);
}

static void test_filters(void **state)
{
    struct fixture *f = *state;
    struct client all, one, experiment, states;
    join(f, &all, "types=5");
    join_path(f, &one, "/inline", "run=1&experiment=1");
    join(f, &experiment, "experiment=2&types=5");
    join(f, &states, "types=1");
    happen(f, 1, 1, RUN_RUNNING, NULL);
    happen(f, 2, 1, RUN_RUNNING, NULL);
    happen(f, 3, 2, RUN_RUNNING, NULL);
    record(f, 1, 1, 1, 1.0);
    record(f, 3, 2, 1, 1.0);
    const int64_t changed[] = {1, 5, 9};
    events_changed(f->events, &(struct store_changes){.n_experiments = 3, .experiments = changed});
    happen(f, 9, 9, RUN_SUCCEEDED, "last");
    happen(f, 1, 1, RUN_SUCCEEDED, "end");
    happen(f, 3, 2, RUN_SUCCEEDED, "end");
    await(&all, "\"run\":3,\"experiment\":2,\"state\":\"succeeded\"");
    await(&one, "\"state\":\"succeeded\"");
    await(&experiment, "\"state\":\"succeeded\"");
    await(&states, "\"run\":3,\"experiment\":2,\"state\":\"succeeded\"");
    assert_int_equal(times(&all, "event: state"), 6);
    assert_int_equal(times(&all, "event: metrics"), 2);
    assert_int_equal(times(&all, "{\"experiments\":[1,5,9]}"), 1);
    assert_int_equal(times(&one, "event: state"), 2);
    assert_int_equal(times(&one, "event: metrics"), 1);
    assert_int_equal(times(&one, "event: changed"), 1);
    assert_int_equal(times(&experiment, "event: state"), 2);
    assert_int_equal(times(&experiment, "event: metrics"), 1);
    assert_int_equal(times(&experiment, "event: changed"), 0);
    assert_int_equal(times(&states, "event: metrics"), 0);
    assert_int_equal(times(&states, "event: state"), 6);
    leave(&all), leave(&one), leave(&experiment), leave(&states);
}

static void test_too_many_experiments(void **state)
{
    struct fixture *f = *state;
    struct client c;
    const int64_t some[] = {1};
    join(f, &c, "experiment=77");
    events_changed(f->events, &(struct store_changes){
                                  .n_experiments = 1, .experiments = some, .uncounted = true});
    await(&c, "event: missed\ndata: {\"reason\":\"unknown\"}\n\n");
    leave(&c);
}

/* A client that comes back gets what it lacks, once and in order; nobody else does. */
static void test_resume(void **state)
{
    struct fixture *f = *state;
    struct client c, again, fresh;
    char query[80];
    join(f, &c, "run=1&experiment=1");
    happen(f, 1, 1, RUN_RUNNING, "one");
    await(&c, "\"reason\":\"one\"");
    const unsigned long long last = id_of(&c, "\"reason\":\"one\"");
    leave(&c);
    happen(f, 1, 1, RUN_QUEUED, "two");
    record(f, 1, 1, 4, 0.5); // kept for somebody who was here a moment ago
    happen(f, 2, 1, RUN_RUNNING, "other");
    happen(f, 1, 1, RUN_RUNNING, "three");
    snprintf(query, sizeof query, "run=1&experiment=1&last=%llu", last);
    join(f, &again, query);
    join(f, &fresh, "run=1&experiment=1");
    happen(f, 1, 1, RUN_SUCCEEDED, "four");
    await(&again, "four");
    await(&fresh, "four");
    assert_int_equal(times(&again, "event: missed"), 0);
    assert_int_equal(times(&again, "event: state"), 3);
    assert_int_equal(times(&again, "event: metrics"), 1);
    assert_null(strstr(again.text, "\"one\""));
    assert_null(strstr(again.text, "\"other\""));
    assert_true(id_of(&again, "two") > last && id_of(&again, "train/loss") > id_of(&again, "two"));
    assert_true(id_of(&again, "three") > id_of(&again, "train/loss"));
    assert_int_equal(times(&fresh, "event: state"), 1);
    leave(&again), leave(&fresh);
}

static void expect_missed(struct fixture *f, const char *query, const char *reason)
{
    struct client c;
    char wanted[80];
    snprintf(wanted, sizeof wanted, "event: missed\ndata: {\"reason\":\"%s\"}", reason);
    join(f, &c, query);
    happen(f, 1, 1, RUN_RUNNING, "now");
    await(&c, "\"now\"");
    if (times(&c, wanted) != 1 || times(&c, "event: missed") != 1)
        fail_msg("%s: %s", query, c.text);
    assert_true(strstr(c.text, "missed") < strstr(c.text, "\"now\""));
    assert_int_equal(times(&c, "\"now\""), 1); // live alone
    leave(&c);
}

static void test_missed(void **state)
{
    struct fixture *f = *state;
    char query[80];
    struct client c;
    expect_missed(f, "last=1", "too_old"); // before this server was started
    expect_missed(f, "last=0", "too_old");
    expect_missed(f, "last=18446744073709551615", "unknown"); // of the future
    join(f, &c, "");
    happen(f, 1, 1, RUN_RUNNING, "first");
    await(&c, "\"first\"");
    const unsigned long long first = id_of(&c, "\"first\"");
    leave(&c);
    for (int i = 0; i < RING / 100; i++) // out of the ring
        happen(f, 1, 1, RUN_RUNNING, "more");
    snprintf(query, sizeof query, "last=%llu", first);
    expect_missed(f, query, "too_old");
}

/* Records that nobody wanted were not kept: who asks for what came after an id is told, and only who wants them. */
static void test_lapse(void **state)
{
    struct fixture *f = *state;
    struct client c;
    char query[96];
    join(f, &c, "types=1");
    happen(f, 1, 1, RUN_RUNNING, "first");
    await(&c, "\"first\"");
    const unsigned long long id = id_of(&c, "\"first\"");
    leave(&c);
    for (int64_t run = 5; run < 1000; run++) // more runs than are remembered one by one
        record(f, run, 5, 1, 1.0);
    snprintf(query, sizeof query, "types=4&run=7&experiment=5&last=%llu", id);
    expect_missed(f, "run=1&experiment=1&types=5&last=5", "too_old");
    struct client metrics, states;
    join(f, &metrics, query);
    await(&metrics, "event: missed\ndata: {\"reason\":\"too_old\"}");
    leave(&metrics);
    snprintf(query, sizeof query, "types=1&last=%llu", id);
    join(f, &states, query);
    happen(f, 1, 1, RUN_RUNNING, "last");
    await(&states, "\"last\"");
    assert_int_equal(times(&states, "event: missed"), 0);
    leave(&states);
}

static void test_progress_and_heartbeat(void **state)
{
    struct fixture *f = *state;
    struct client all, one, none;
    join(f, &all, "types=2");
    join(f, &one, "types=2&run=3&experiment=2");
    join(f, &none, "types=1");
    await(&none, ": heartbeat\n\n");
    atomic_store(&f->running, 4);
    await(&all,
          "event: progress\ndata: {\"runs\":[{\"run\":1,\"experiment\":1,\"step\":5,\"steps\":10,"
          "\"epoch\":0,\"samples_per_s\":100,\"eta_s\":null,\"loss\":0.5},{\"run\":2,");
    await(&one, "event: progress\ndata: {\"runs\":[{\"run\":3,\"experiment\":2,");
    assert_null(strstr(one.text, "\"run\":1,"));
    await(&none, ": heartbeat\n\n: heartbeat\n\n");
    assert_int_equal(times(&none, "progress"), 0);
    leave(&all), leave(&one), leave(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_texts),  CASE(test_filters), CASE(test_too_many_experiments),  CASE(test_resume),
        CASE(test_missed), CASE(test_lapse),   CASE(test_progress_and_heartbeat)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
