// SPDX-License-Identifier: Apache-2.0
/*
 * Drives the real server through interventions and forks: timelines, what a fork may change and
 * what comes of it, and all of it across kill -9. Every reply is held against openapi.json.
 */
#include "api/forks.h"

/* ---- timelines ---- */

static size_t count_events(const json_t *run, const char *event)
{
    size_t i, n = 0;
    json_t *one;
    json_array_foreach(json_object_get(run, "timeline"), i, one)
    {
        n += strcmp(text(one, "event"), event) == 0;
    }
    return n;
}

static void test_timeline(void **state)
{
    (void)state;
    static const char *const events[] = {"queued", "started", "intervention", "intervention",
                                         "succeeded"};
    static const json_int_t steps[] = {0, 0, 10, 25, 40};
    json_t *run = train(lesioned);
    const json_t *timeline = json_object_get(run, "timeline");
    assert_int_equal(json_array_size(timeline), 5);
    for (size_t i = 0; i < 5; i++) {
        const json_t *event = json_array_get(timeline, i);
        assert_string_equal(text(event, "event"), events[i]);
        assert_int_equal(integer(event, "step"), steps[i]);
        assert_true(i == 0 ||
                    strcmp(text(json_array_get(timeline, i - 1), "at"), text(event, "at")) <= 0);
    }
    const json_t *detail = json_object_get(json_array_get(timeline, 2), "detail");
    assert_string_equal(text(detail, "type"), "lesion");
    assert_true(json_equal(
        detail,
        json_array_get(json_object_get(json_object_get(run, "definition"), "interventions"), 0)));
    assert_int_equal(json_array_size(json_object_get(run, "checkpoints")), 4);
    json_t *other = train(plain);
    assert_string_not_equal(text(run, "digest"), text(other, "digest"));
    assert_int_equal(count_events(other, "intervention"), 0);
    json_decref(run);
    json_decref(other);

    /* A cancelled run says so, and why. */
    const json_int_t endless = submit(&server, "{" DATA "," NET ",\"rule\":{\"name\":\"bp\"},"
                                               "\"training\":{\"epochs\":100000}}");
    char path[64];
    json_decref(daemon_wait(&server, endless, is_training));
    snprintf(path, sizeof path, "/v1/runs/%lld/cancel", (long long)endless);
    json_decref(ask(&server, "POST", path, "{}", 200));
    run = await_end(&server, endless, "cancelled");
    const json_t *last = json_array_get(json_object_get(run, "timeline"), 2);
    assert_string_equal(text(last, "event"), "cancelled");
    assert_string_equal(text(json_object_get(last, "detail"), "reason"), "cancelled by a user");
    json_decref(run);
}

/* ---- forks ---- */

static void test_unchanged(void **state)
{
    (void)state;
    static const char *const bodies[] = {"{\"step\":10}", "{\"step\":30,\"changes\":{}}", "{}"};
    json_t *parent = train(lesioned);
    const json_int_t id = integer(parent, "id");
    for (size_t i = 0; i < 3; i++) {
        json_t *run = forked(id, bodies[i]);
        const json_t *fork = json_object_get(json_object_get(run, "definition"), "fork");
        assert_string_equal(text(run, "digest"), text(parent, "digest"));
        assert_string_not_equal(text(run, "hash"), text(parent, "hash"));
        assert_int_equal(integer(fork, "run"), id);
        assert_int_equal(integer(fork, "step"), i == 0 ? 10 : i == 1 ? 30 : 40);
        assert_int_equal(count_events(run, "intervention"), i == 0 ? 2 : 0);
        assert_true(strlen(text(fork, "digest")) == 71);
        json_t *metrics = get(&server, 200, "/v1/runs/%lld/metrics?name=test/accuracy",
                              (long long)integer(run, "id"));
        json_t *whole =
            get(&server, 200, "/v1/runs/%lld/metrics?name=test/accuracy", (long long)id);
        const json_t *mine = json_object_get(
                         json_object_get(json_object_get(metrics, "series"), "test/accuracy"),
                         "values"),
                     *all = json_object_get(
                         json_object_get(json_object_get(whole, "series"), "test/accuracy"),
                         "values");
        const size_t n = json_array_size(mine);
        assert_int_equal(n, i == 0 ? 3 : i == 1 ? 1 : 0);
        for (size_t k = 0; k < n; k++)
            assert_true(json_equal(json_array_get(mine, k), json_array_get(all, 4 - n + k)));
        json_decref(metrics);
        json_decref(whole);
        json_decref(run);
    }
    json_decref(parent);
}

/* A run that does a thing from a step on, and the fork that is told to, are the same. */
static void check_change(const char *parent_text, const char *whole_text, const char *body)
{
    json_t *parent = train(parent_text), *whole = train(whole_text),
           *run = forked(integer(parent, "id"), body);
    if (strcmp(text(run, "digest"), text(whole, "digest")) != 0)
        fail_msg("%s: another digest than %s", body, whole_text);
    assert_string_not_equal(text(run, "digest"), text(parent, "digest"));
    json_decref(parent);
    json_decref(whole);
    json_decref(run);
}

static void test_changes(void **state)
{
#define HALVED(epochs, schedule)                                                                   \
    "{" DATA "," NET ",\"rule\":{\"name\":\"sal\"},\"training\":{\"epochs\":" #epochs              \
    ",\"batch\":50},\"optimizer\":{\"lr\":0.015625,\"momentum\":0.5,\"decay\":0.001" schedule "}}"
    (void)state;
    check_change(plain,
                 "{" SAL ",\"interventions\":[{\"epoch\":2,\"type\":\"lesion\",\"group\":\"V\"}]}",
                 "{\"step\":20,\"changes\":{\"interventions\":"
                 "[{\"step\":20,\"type\":\"lesion\",\"group\":\"V\"}]}}");
    /* The rates of groups follow optimizer.lr still: half of it, as a schedule would have it. */
    check_change(HALVED(4, ""),
                 HALVED(5, ",\"schedule\":{\"type\":\"step\",\"epochs\":[4],\"factor\":0.5}"),
                 "{\"changes\":{\"training.epochs\":5,\"optimizer.lr\":0.0078125}}");
#undef HALVED
}

/* Another rule: what it shares goes on, what it lacks is drawn, what it has no use for is left. */
static void test_rules(void **state)
{
    (void)state;
    json_t *parent = train(lesioned);
    const json_int_t id = integer(parent, "id");
    json_t *kp = forked(id, "{\"step\":20,\"changes\":{\"rule.name\":\"kp\"}}");
    json_t *list = weights_text(integer(kp, "id"));
    assert_int_equal(json_array_size(json_object_get(list, "arrays")), 8);
    const json_t *definition = json_object_get(kp, "definition");
    assert_null(json_object_get(definition, "interventions"));
    assert_string_equal(text(json_object_get(kp, "parameters"), "rule.name"), "kp");
    json_decref(list);
    json_t *back = forked(integer(kp, "id"), "{\"changes\":{\"rule.name\":\"sal\","
                                             "\"training.epochs\":6}}");
    list = weights_text(integer(back, "id"));
    assert_int_equal(json_array_size(json_object_get(list, "arrays")), 12);
    json_t *fa = forked(integer(kp, "id"), "{\"step\":30,\"changes\":{\"rule.name\":\"fa\"}}");
    json_t *again = forked(integer(fa, "id"), "{\"changes\":{\"rule.name\":\"kp\","
                                              "\"training.epochs\":5,\"training.seed\":9,"
                                              "\"name\":\"again\",\"record.keep\":3}}");
    const json_t *b = json_object_get(
        json_object_get(json_object_get(json_object_get(again, "definition"), "rule"), "groups"),
        "B");
    assert_true(json_is_true(json_object_get(b, "plastic")));
    assert_string_equal(text(json_object_get(again, "definition"), "name"), "again");
    json_decref(list);
    json_decref(parent);
    json_decref(kp);
    json_decref(back);
    json_decref(fa);
    json_decref(again);
}

/* ---- what forks record ---- */

/* bp's modulation is the gradient: the first record that is looked at reaches every cosine. */
#define OBSERVED(settings)                                                                         \
    "{" DATA "," NET ",\"rule\":{\"name\":\"bp\"},\"training\":{\"epochs\":4,\"batch\":50},"       \
    "\"record\":{\"every\":1,\"keep\":100" settings "}}"

static const json_t *of_series(const json_t *metrics, const char *name, const char *key)
{
    return json_object_get(json_object_get(json_object_get(metrics, "series"), name), key);
}

/* A run reached both cosines at `step` in its own records, or had done so before (step 0). */
static void check_reached(const json_t *run, json_int_t step)
{
    static const char *const names[] = {"alignment/steps_to_0.5/1", "alignment/steps_to_0.9/1",
                                        "alignment/steps_to_0.5/2", "alignment/steps_to_0.9/2"};
    json_t *metrics = get(&server, 200, "/v1/runs/%lld/metrics", (long long)integer(run, "id"));
    for (size_t i = 0; i < 4; i++) {
        const json_t *steps = of_series(metrics, names[i], "steps"),
                     *values = of_series(metrics, names[i], "values");
        assert_int_equal(json_array_size(steps), step > 0 ? 1 : 0);
        if (step == 0)
            continue;
        assert_int_equal(json_integer_value(json_array_get(steps, 0)), step);
        assert_true(json_number_value(json_array_get(values, 0)) == (double)step);
    }
    json_decref(metrics);
}

/* What a run remembers of what it has recorded comes from the checkpoint if that has it, begins
 * anew if not, and is of no use to a fork that records less. The weights are the same. */
static void test_record_state(void **state)
{
    (void)state;
    json_t *less = train(OBSERVED("")), *more = train(OBSERVED(",\"assembly\":true"));
    check_reached(less, 0);
    check_reached(more, 1);
    const json_int_t without = integer(less, "id"), with = integer(more, "id");
    const struct {
        json_int_t parent;
        const char *body;
        json_int_t reached;
    } forks[] = {
        {with, "{\"step\":20}", 0},
        {with, "{\"step\":20,\"changes\":{\"record.assembly\":false}}", 0},
        {with, "{\"step\":20,\"changes\":{\"record.every\":0}}", 0},
        {with, "{\"step\":20,\"changes\":{\"record\":{\"every\":1}}}", 0},
        {without, "{\"step\":20,\"changes\":{\"record.assembly\":true}}", 21},
        {without, "{\"step\":20,\"changes\":{\"record.assembly\":true,\"record.every\":7}}", 21},
    };
    for (size_t i = 0; i < sizeof forks / sizeof *forks; i++) {
        json_t *run = forked(forks[i].parent, forks[i].body);
        check_reached(run, forks[i].reached);
        assert_string_equal(text(run, "digest"), text(less, "digest"));
        json_decref(run);
    }
    json_decref(less);
    json_decref(more);
}

static bool records(const json_t *run, const char *series)
{
    return json_object_get(json_object_get(run, "final"), series) != NULL;
}

/* What was recorded of groups that the new rule lacks is left. */
static void test_record_of_rules(void **state)
{
    (void)state;
    json_t *parent = train("{" DATA "," NET ",\"rule\":{\"name\":\"sal\"},\"training\":"
                           "{\"epochs\":2,\"batch\":50},\"record\":{\"every\":5,\"keep\":100,"
                           "\"spectrum\":true,\"assembly\":true,\"traces\":{\"groups\":"
                           "[\"W\",\"V\"],\"per_array\":1},\"synapses\":"
                           "[\"V1/11/3\",\"W1/11/783\",\"U2/0/8\"]}}");
    const json_int_t id = integer(parent, "id");
    assert_true(records(parent, "trace/V1/11/3") && records(parent, "trace/U2/0/8") &&
                records(parent, "spectrum/q50/1"));
    json_t *bp = forked(id, "{\"step\":10,\"changes\":{\"rule.name\":\"bp\"}}");
    const json_t *record = json_object_get(json_object_get(bp, "definition"), "record");
    json_t *expected = json_pack("{s:{s:[s], s:i}, s:[s]}", "traces", "groups", "W", "per_array", 1,
                                 "synapses", "W1/11/783");
    const char *key;
    json_t *value;
    json_object_foreach(expected, key, value)
    {
        assert_true(json_equal(json_object_get(record, key), value));
    }
    assert_null(json_object_get(record, "spectrum"));
    assert_true(records(bp, "trace/W1/11/783") && !records(bp, "trace/V1/11/3") &&
                !records(bp, "spectrum/q50/1"));
    json_decref(expected);
    json_decref(bp);
    bp = forked(id, "{\"step\":10,\"changes\":{\"rule.name\":\"bp\",\"record.synapses\":[],"
                    "\"record.traces.groups\":[\"W\"]}}");
    record = json_object_get(json_object_get(bp, "definition"), "record");
    assert_null(json_object_get(record, "synapses"));
    json_decref(bp);
    bp = forked(id, "{\"step\":10,\"changes\":{\"record.synapses\":[\"W2/0/0\"]}}");
    assert_true(records(bp, "trace/W2/0/0") && !records(bp, "trace/V1/11/3"));
    assert_string_equal(text(bp, "digest"), text(parent, "digest"));
    json_decref(bp);
    json_decref(parent);
}
/* V and U of a network with convolutions do not follow the optimizer's rate as the others do. */
static void test_rates_of_images(void **state)
{
    (void)state;
    static const char definition[] =
        "{\"dataset\":{\"name\":\"strokes\",\"train\":60,\"test\":10},\"network\":{\"layers\":[{"
        "\"type\":\"conv2d\",\"channels\":3,\"kernel\":3,\"stride\":3}]},\"rule\":{\"name\":"
        "\"sal\"},\"training\":{\"epochs\":2,\"batch\":10},\"optimizer\":{\"lr\":%s,\"groups\":{"
        "\"V\":{\"lr\":0.001}}}}";
    char text_of[500];
    snprintf(text_of, sizeof text_of, definition, "0.001");
    json_t *parent = train(text_of);
    json_t *run = forked(integer(parent, "id"), "{\"step\":6}");
    assert_string_equal(text(run, "digest"), text(parent, "digest"));
    json_decref(run);
    run = forked(integer(parent, "id"), "{\"step\":6,\"changes\":{\"optimizer.lr\":0.064}}");
    const json_t *groups =
        json_object_get(json_object_get(json_object_get(run, "definition"), "optimizer"), "groups");
    assert_true(json_number_value(json_object_get(json_object_get(groups, "U"), "lr")) == 0.002);
    assert_true(json_number_value(json_object_get(json_object_get(groups, "V"), "lr")) == 0.001);
    json_decref(run);
    json_decref(parent);
}

/* ---- kill -9 ---- */

static bool is_past_second_epoch(const json_t *run)
{
    return integer(json_object_get(run, "progress"), "step") > 1000 &&
           json_array_size(json_object_get(run, "checkpoints")) > 0;
}

static void kill_server(void)
{
    kill(server.pid, SIGKILL);
    reap(server.pid, STOP_MS);
    server.pid = 0;
    daemon_start(&server, "1", NULL);
}

/* Interventions before, at and after the checkpoint that the run goes on from. */
static void test_killed(void **state)
{
    (void)state;
    static const char definition[] =
        "{\"dataset\":{\"name\":\"strokes\",\"train\":5000,\"test\":100},"
        "\"network\":{\"layers\":[{\"units\":32},{\"units\":32}]},\"rule\":{\"name\":\"sal\"},"
        "\"optimizer\":{\"lr\":0.01,\"momentum\":0.5},\"training\":{\"epochs\":8,\"batch\":10},"
        "\"record\":{\"every\":0,\"keep\":100},\"interventions\":["
        "{\"step\":100,\"type\":\"lesion\",\"group\":\"V\",\"fraction\":0.2},"
        "{\"epoch\":1,\"type\":\"lesion\",\"neurons\":\"ascending\",\"fraction\":0.2},"
        "{\"epoch\":2,\"type\":\"shuffle\",\"group\":\"B\"},"
        "{\"step\":1001,\"type\":\"rate\",\"factor\":0.5},"
        "{\"epoch\":3,\"type\":\"freeze\",\"group\":\"W\",\"layer\":1}]}";
    json_t *whole = train(definition);
    const json_int_t killed = submit(&server, definition);
    json_decref(daemon_wait(&server, killed, is_past_second_epoch));
    kill_server();
    json_t *run = await_end(&server, killed, "succeeded");
    assert_int_equal(integer(run, "attempts"), 2);
    assert_string_equal(text(run, "digest"), text(whole, "digest"));
    assert_int_equal(count_events(run, "intervention"), 5);
    assert_int_equal(count_events(run, "given_back"), 1);
    assert_int_equal(count_events(run, "resumed"), 1);
    json_decref(run);

    /* A fork, killed before it has a checkpoint of its own or later. */
    json_t *made = fork_of(integer(whole, "id"), "{\"step\":500}", 201);
    json_decref(daemon_wait(&server, integer(made, "first_run"), is_training));
    kill_server();
    run = await_end(&server, integer(made, "first_run"), "succeeded");
    assert_string_equal(text(run, "digest"), text(whole, "digest"));
    assert_int_equal(count_events(run, "intervention"), 4);
    json_decref(run);
    json_decref(made);
    json_decref(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timeline),        cmocka_unit_test(test_unchanged),
        cmocka_unit_test(test_changes),         cmocka_unit_test(test_rules),
        cmocka_unit_test(test_rates_of_images), cmocka_unit_test(test_record_state),
        cmocka_unit_test(test_record_of_rules), cmocka_unit_test(test_killed),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
