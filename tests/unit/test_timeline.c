// SPDX-License-Identifier: Apache-2.0
/* Timelines in the store: what is written, once, in order, trimmed and bounded. */
#include "store_fixture.h"

struct seen_events {
    char list[1024];
    size_t n;
};

static bool put_event(void *context, const struct store_event *event)
{
    struct seen_events *seen = context;
    assert_true(event->at_ms > 1600000000000 && event->at_ms <= store_now_ms() + 1000);
    seen->n += (size_t)snprintf(
        seen->list + seen->n, sizeof seen->list - seen->n, "%s%s@%llu%s%s", seen->n > 0 ? " " : "",
        event->event, (unsigned long long)event->step, event->detail != NULL ? event->detail : "",
        event->reason != NULL ? event->reason : "");
    assert_true(seen->n < sizeof seen->list);
    return true;
}

static void expect(struct store *store, int64_t run, const char *expected)
{
    struct seen_events seen = {.n = 0};
    struct tet_error error = {0};
    flush(store);
    assert_ok(store_timeline_read(store, run, put_event, &seen, &error), &error);
    assert_string_equal(seen.list, expected);
}

static void test_states(void **state)
{
    (void)state;
    struct store *store = open_store();
    submit(store, "a", 3, 1);
    const int64_t good = claim(store), bad = claim(store);
    expect(store, 3, ""); // submitted: the run itself says when
    end(store, good, RUN_SUCCEEDED, "");
    end(store, bad, RUN_DIVERGED, "W1 is not finite");
    expect(store, good, "started@0 succeeded@7");
    expect(store, bad, "started@0 diverged@7W1 is not finite");
    store_close(store);
}

/* Killed after its checkpoint: what happened since has not, and what happened before once. */
static void test_interventions(void **state)
{
    (void)state;
    struct store *store = open_store();
    submit(store, "a", 1, 1);
    const int64_t run = claim(store);
    store_intervention(store, run, 0, 3, "{\"a\":1}");
    write_checkpoint(store, run, 4, 0, false);
    store_intervention(store, run, 1, 4, "{}");
    store_intervention(store, run, 1, 4, "{\"again\":1}");
    store_intervention(store, run, 2, 9, "{}");
    expect(store, run, "started@0 intervention@3{\"a\":1} intervention@4{} intervention@9{}");
    store_close(store);
    store = open_store();
    expect(store, run, "started@0 intervention@3{\"a\":1} given_back@4server restarted");
    assert_int_equal(claim(store), run);
    store_intervention(store, run, 0, 3, "{\"late\":1}");
    store_intervention(store, run, 1, 4, "{}");
    expect(store, run,
           "started@0 intervention@3{\"a\":1} given_back@4server restarted resumed@4"
           " intervention@4{}");
    end(store, run, RUN_SUCCEEDED, "");
    store_intervention(store, run, 2, 9, "{}"); // it is over
    store_intervention(store, 77, 2, 9, "{}");  // nobody's
    expect(store, run,
           "started@0 intervention@3{\"a\":1} given_back@4server restarted resumed@4"
           " intervention@4{} succeeded@7");
    store_close(store);
}

static bool count_event(void *context, const struct store_event *event)
{
    size_t *n = context;
    n[strcmp(event->event, "intervention") == 0]++;
    return true;
}

static void test_bound(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct tet_error error = {0};
    size_t n[2] = {0, 0};
    submit(store, "a", 1, 1);
    for (int i = 0; i < 200; i++) {
        const int64_t run = claim(store);
        if (i == 0) {
            store_intervention(store, run, 0, 0, "{}");
            write_checkpoint(store, run, 4, 0, false);
        }
        end(store, run, RUN_QUEUED, "given back");
    }
    assert_ok(store_timeline_read(store, 1, count_event, n, &error), &error);
    assert_int_equal(n[0], 256);
    assert_int_equal(n[1], 1);
    store_close(store);
}

/* The start of a run that is a fork: its own, there from the beginning. */
static void test_start(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct tet_error error = {0};
    struct store_receipt receipt;
    struct store_checkpoint start = make_checkpoint(4, 0);
    const struct store_new_run run = {
        .definition = "{}", .hash = "sha256:1", .parameters = "{}", .steps = 9};
    const struct store_submission submission = {.name = "fork",
                                                .owner = "local",
                                                .definition = "{}",
                                                .hash = "sha256:1",
                                                .n_runs = 1,
                                                .runs = &run,
                                                .start = &start};
    uint64_t steps[2] = {0, 0};
    size_t kept = 0;
    assert_ok(store_submit(store, &submission, &receipt, &error), &error);
    assert_int_equal(start.cursor.step, 4); // borrowed
    store_checkpoint_free(&start);
    assert_ok(store_checkpoint_steps(store, receipt.first_run, steps, 2, &kept, &error), &error);
    assert_int_equal(kept, 1);
    assert_int_equal(steps[0], 4);
    assert_int_equal(claim(store), receipt.first_run);
    expect(store, receipt.first_run, "started@4");
    store_close(store);
    store = open_store();
    assert_ok(store_checkpoint_steps(store, receipt.first_run, steps, 0, &kept, &error), &error);
    assert_int_equal(kept, 1);
    expect(store, receipt.first_run, "started@4 given_back@4server restarted");
    assert_ok(store_checkpoint_steps(store, 99, steps, 2, &kept, &error), &error);
    assert_int_equal(kept, 0);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_states),
        TEST(test_interventions),
        TEST(test_bound),
        TEST(test_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
