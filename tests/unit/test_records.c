// SPDX-License-Identifier: Apache-2.0
/* What a run leaves in the store: metrics and checkpoints. */
#include "store_fixture.h"

/* ---- metrics ---- */

static void test_metrics(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct text text;
    struct store *store = open_store();
    int64_t other = submit(store, "m", 2, 1).first_run, run = other + 1;
    struct tet_record records[] = {
        {10, TET_SERIES_NORM_W, 2, 0.5, 0, 0},
        {10, TET_SERIES_NORM_W, 1, 0.25, 0, 0},
        {20, TET_SERIES_NORM_W, 1, NAN, 0, 0},
        {20, TET_SERIES_TRAIN_LOSS, 0, INFINITY, 0, 0},
        {20, TET_SERIES_TEST_ACCURACY, 0, 0.75, 0, 0},
        {30, TET_SERIES_NORM_W, 1, 4, 0, 0},
    };
    store_metrics(store, run, records, 4);
    store_metrics(store, run, records + 4, 2);
    store_metrics(store, run, records, 0);
    report(store, other, 15, TET_SERIES_NORM_W, 1, 8);
    flush(store);
    assert_string_equal(metrics(store, run, &text),
                        "10:norm/W/1=0.25 10:norm/W/2=0.5 20:norm/W/1=-99 20:test/accuracy=0.75 "
                        "20:train/loss=-99 30:norm/W/1=4 ");
    assert_string_equal(finals(store, run, &text),
                        "30:norm/W/1=4 10:norm/W/2=0.5 20:test/accuracy=0.75 20:train/loss=-99 ");
    assert_int_equal(read_run(store, run).step, 30);

    uint64_t next;
    bool more;
    text = (struct text){0};
    assert_ok(store_metrics_read(store, run, 0, 3, NULL, see_metric, &text, &next, &more, &error),
              &error);
    assert_int_equal(text.rows, 5); // step 20 is whole
    assert_true(more);
    assert_int_equal(next, 20);
    text = (struct text){0};
    assert_ok(store_metrics_read(store, run, 20, 3, NULL, see_metric, &text, &next, &more, &error),
              &error);
    assert_string_equal(text.s, "30:norm/W/1=4 ");
    assert_false(more);
    assert_int_equal(next, 30);
    text = (struct text){0};
    assert_ok(store_metrics_read(store, run, 30, 3, NULL, see_metric, &text, &next, &more, &error),
              &error);
    assert_int_equal(text.rows, 0);
    assert_int_equal(next, 30);

    assert_ok(store_metrics_read(store, run, 0, 2, NULL, see_metric, &text, &next, &more, &error),
              &error);
    assert_int_equal(text.rows, 2); // the bound is met at a step's end
    assert_true(more);
    assert_int_equal(next, 10);

    text = (struct text){.stop_after = 3}; // inside step 20
    assert_ok(store_metrics_read(store, run, 0, 99, NULL, see_metric, &text, &next, &more, &error),
              &error);
    assert_int_equal(text.rows, 3);
    assert_true(more);
    assert_int_equal(next, 10);

    const char *const names[] = {"test/accuracy", "unknown", "norm/W/2", NULL};
    text = (struct text){0};
    assert_ok(store_metrics_read(store, run, 0, 99, names, see_metric, &text, &next, &more, &error),
              &error);
    assert_string_equal(text.s, "10:norm/W/2=0.5 20:test/accuracy=0.75 ");
    text = (struct text){0};
    assert_ok(
        store_metrics_read(store, run, 0, 99, names + 3, see_metric, &text, &next, &more, &error),
        &error);
    assert_int_equal(text.rows, 0);

    struct tet_record twice[2] = {{30, TET_SERIES_NORM_W, 1, 6, 0, 0},
                                  {30, TET_SERIES_NORM_W, 1, 5, 0, 0}};
    store_metrics(store, run, twice, 2); // again: takes its place, the last one
    flush(store);
    assert_non_null(strstr(metrics(store, run, &text), " 30:norm/W/1=5 "));
    assert_string_equal(finals(store, run, &text),
                        "30:norm/W/1=5 10:norm/W/2=0.5 20:test/accuracy=0.75 20:train/loss=-99 ");
    metrics(store, run, &text);
    assert_int_equal(text.rows, 6);
    store_close(store);
}

/* Each synapse is a series of its own; of several values in one job the last is final. */
static void test_traces(void **state)
{
    (void)state;
    struct text text;
    struct store *store = open_store();
    const int64_t run = submit(store, "t", 1, 1).first_run;
    struct tet_record records[] = {
        {1, TET_SERIES_TRACE_V, 2, 0.5, 12, 7},   {1, TET_SERIES_TRACE_V, 2, 0.25, 7, 12},
        {1, TET_SERIES_TRACE_B, 65, 1, 0, 3},     {2, TET_SERIES_TRACE_V, 2, 0.75, 12, 7},
        {2, TET_SERIES_TRACE_V, 2, 0.125, 7, 12},
    };
    store_metrics(store, run, records, 5);
    flush(store);
    assert_string_equal(metrics(store, run, &text),
                        "1:trace/B65/0/3=1 1:trace/V2/12/7=0.5 1:trace/V2/7/12=0.25 "
                        "2:trace/V2/12/7=0.75 2:trace/V2/7/12=0.125 ");
    assert_string_equal(finals(store, run, &text),
                        "1:trace/B65/0/3=1 2:trace/V2/12/7=0.75 2:trace/V2/7/12=0.125 ");
    store_close(store);
}

/* What a run was like before it diverged: finite values, however many of the last ones are not. */
static void test_last_finite(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct text text = {0};
    struct store *store = open_store();
    submit(store, "d", 2, 1);
    const int64_t run = claim(store), other = claim(store);
    assert_ok(store_last_finite_read(store, run, see_metric, &text, &error), &error);
    assert_int_equal(text.rows, 0);
    report(store, run, 1, TET_SERIES_NORM_W, 1, 3);
    report(store, run, 2, TET_SERIES_NORM_W, 1, 4);
    report(store, other, 3, TET_SERIES_NORM_W, 1, 9);
    report(store, run, 3, TET_SERIES_NORM_W, 1, NAN);
    report(store, run, 4, TET_SERIES_NORM_W, 1, INFINITY);
    report(store, run, 4, TET_SERIES_NORM_B, 2, NAN);
    report(store, run, 4, TET_SERIES_TRAIN_LOSS, 0, 0.5);
    flush(store);
    assert_ok(store_last_finite_read(store, run, see_metric, &text, &error), &error);
    assert_string_equal(text.s, "4:norm/B/2=-99 4:norm/W/1=4 4:train/loss=0.5 ");

    struct store_ending e = {.state = RUN_DIVERGED, .divergence = "{\"step\":5}", .step = 4};
    assert_ok(store_end(store, run, &e, &error), &error);
    e = (struct store_ending){.state = RUN_SUCCEEDED, .step = 4};
    assert_ok(store_end(store, other, &e, &error), &error);
    assert_string_equal(read_run(store, run).divergence, "{\"step\":5}");
    assert_string_equal(read_run(store, other).divergence, "-");
    store_close(store);
}

/* Records of a run that is not there cannot be kept; the loss shows at its checkpoint, not before
 * it. */
static void test_lost_records(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    struct store_checkpoint c = make_checkpoint(1, 1);
    submit(store, "x", 1, 1);
    int64_t run = claim(store);
    report(store, 77, 1, TET_SERIES_TRAIN_LOSS, 0, 1);
    assert_err(store_checkpoint_write(store, 77, &c, KEEP_2, true, &error), TET_DATABASE, &error,
               "77");
    assert_null(c.arrays);
    report(store, run, 1, TET_SERIES_TRAIN_LOSS, 0, 1);
    write_checkpoint(store, run, 1, 1, true);
    store_close(store);
}

/* ---- checkpoints ---- */

static void test_checkpoint(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store_limits limits = STORE_LIMITS;
    struct store *store;
    limits.chunk_bytes = 100; // many chunks, the last one shorter
    assert_ok(store_open_limited(&store, path, &limits, &error), &error);
    submit(store, "c", 2, 1);
    int64_t run = claim(store);
    assert_no_checkpoint(store, run, 0);
    write_checkpoint(store, run, 5, 2, true);
    assert_same_checkpoint(store, run, 0, 5, 2);
    assert_same_checkpoint(store, run, 5, 5, 2);
    assert_no_checkpoint(store, run, 4);

    write_checkpoint(store, run, 6, 2, false);
    write_checkpoint(store, run, 7, 2, true);
    assert_no_checkpoint(store, run, 5);
    assert_same_checkpoint(store, run, 6, 6, 2);
    write_checkpoint(store, run, 7, 9, true); // after the evaluation at the same step
    assert_same_checkpoint(store, run, 0, 7, 9);
    assert_same_checkpoint(store, run, 6, 6, 2);
    assert_int_equal(read_run(store, run).step, 7);

    struct store_checkpoint last = make_checkpoint(8, 9);
    struct store_ending e = {
        .state = RUN_SUCCEEDED, .step = 8, .checkpoint = &last, .keep.last = 1};
    assert_ok(store_end(store, run, &e, &error), &error);
    assert_null(last.arrays);
    assert_no_checkpoint(store, run, 7);
    assert_same_checkpoint(store, run, 0, 8, 9);

    struct store_checkpoint empty = {.cursor = {.step = 3}};
    run = claim(store);
    assert_ok(store_checkpoint_write(store, run, &empty, (struct store_keep){0}, true, &error),
              &error);
    assert_ok(store_checkpoint_read(store, run, 0, &empty, &error), &error);
    assert_int_equal(empty.n, 0);
    store_checkpoint_free(&empty);

    struct store_checkpoint nobodys = make_checkpoint(1, 1);
    assert_err(store_checkpoint_write(store, 99, &nobodys, KEEP_2, true, &error), TET_NOT_FOUND,
               &error, "99");
    store_close(store);
}

/* A shutdown: the run goes back with its checkpoint and goes on. */
static void test_give_back(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct text text;
    struct store *store = open_store();
    submit(store, "g", 1, 1);
    int64_t run = claim(store);
    struct tet_record records[] = {
        {1, TET_SERIES_TRAIN_LOSS, 0, 1, 0, 0},
        {2, TET_SERIES_TRAIN_LOSS, 0, 2, 0, 0},
        {2, TET_SERIES_TEST_LOSS, 0, 2, 0, 0}}; // one more than the cursor's
    store_metrics(store, run, records, 3);
    struct store_checkpoint c = make_checkpoint(2, 2);
    struct store_ending e = {
        .state = RUN_QUEUED, .reason = "server stopped", .step = 2, .checkpoint = &c};
    assert_ok(store_end(store, run, &e, &error), &error);
    assert_string_equal(metrics(store, run, &text), "1:train/loss=1 2:train/loss=2 ");

    struct store_claim again;
    bool found, blocked;
    assert_ok(store_claim(store, 0, 9, &again, &found, &blocked, &error), &error);
    assert_true(found && again.resumed);
    store_claim_free(&again);
    assert_same_checkpoint(store, run, 0, 2, 2);
    report(store, run, 3, TET_SERIES_TRAIN_LOSS, 0, 3);
    e = (struct store_ending){.state = RUN_QUEUED, .step = 3}; // without: back to the last one
    assert_ok(store_end(store, run, &e, &error), &error);
    assert_string_equal(metrics(store, run, &text), "1:train/loss=1 2:train/loss=2 ");
    assert_int_equal(read_run(store, run).step, 2);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_metrics),      TEST(test_traces),     TEST(test_last_finite),
        TEST(test_lost_records), TEST(test_checkpoint), TEST(test_give_back),
    };
    return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
