// SPDX-License-Identifier: Apache-2.0
/*
 * Forks that cannot be: each is refused before it is made, at its place and in words that say what is
 * allowed. And the second of two that are the same.
 */
#include "api/forks.h"

/* ---- forks that cannot be ---- */

static void check_refused(json_int_t run, const char *body, const char *pointer, const char *words)
{
    json_t *reply = fork_of(run, body, 422);
    const json_t *details = json_object_get(json_object_get(reply, "error"), "details"),
                 *first = json_array_get(details, 0);
    const char *at = json_string_value(json_object_get(first, "pointer")),
               *allowed = json_string_value(json_object_get(first, "allowed"));
    if (json_array_size(details) != 1 || strcmp(at, pointer) != 0 ||
        strstr(allowed, words) == NULL) {
        char *got = json_dumps(details, 0);
        print_error("%s: expected %s: %s; got %s\n", body, pointer, words, got);
        free(got);
        fail();
    }
    json_decref(reply);
}

static void test_refused(void **state)
{
    (void)state;
    json_t *parent = train("{" SAL ",\"interventions\":[" LESION "]}");
    const json_int_t id = integer(parent, "id");
    json_decref(parent);
    static const char *const bad[][3] = {
        {"[]", "", "object"},
        {"{\"steps\":10}", "/steps", "step, changes"},
        {"{\"step\":0}", "/step", "integer >= 1"},
        {"{\"step\":\"10\"}", "/step", "integer >= 1"},
        {"{\"step\":11}", "/step", "a kept checkpoint: 10, 20, 30, 40"},
        {"{\"changes\":[]}", "/changes", "object"},
        {"{\"changes\":{\"training.batch\":10}}", "/changes/training.batch", "mini-batches"},
        {"{\"changes\":{\"training.shuffle\":false}}", "/changes/training.shuffle", "mini-batches"},
        {"{\"changes\":{\"dataset.train\":100}}", "/changes/dataset.train", "its parent's dataset"},
        {"{\"changes\":{\"network.layers.0.units\":9}}", "/changes/network.layers.0.units",
         "its parent's"},
        {"{\"changes\":{\"fork\":{}}}", "/changes/fork", "rule.*"},
        {"{\"changes\":{\"sweep\":{\"training.seed\":[1,2]}}}", "/changes/sweep", "rule.*"},
        {"{\"changes\":{\"rule\":{\"name\":\"bp\"}}}", "/changes/rule", "rule.*"},
        {"{\"changes\":{\"a/b\":1}}", "/changes/a~1b", "rule.*"},
        {"{\"changes\":{\"optimizer.lrr\":1}}", "/changes/optimizer.lrr", "lr"},
        {"{\"changes\":{\"optimizer.lr\":-1}}", "/changes/optimizer.lr", "number > 0"},
        {"{\"changes\":{\"record.keep\":0}}", "/changes/record.keep", "integer from 1"},
        {"{\"changes\":{\"rule.name\":\"magic\"}}", "/changes/rule.name", "sal"},
        {"{\"changes\":{\"training.epochs\":3}}", "/changes/training.epochs",
         "after 40 mini-batches, 4 whole epochs"},
        {"{\"changes\":{\"training.seed\":2}}", "/changes/training.seed", "lesion"},
        {"{\"step\":20,\"changes\":{\"interventions\":[]}}", "/changes/interventions",
         "leaves the first 1"},
        {"{\"step\":20,\"changes\":{\"interventions.0.fraction\":0.4}}",
         "/changes/interventions.0.fraction", "they have happened"},
        {"{\"step\":20,\"changes\":{\"interventions\":[" LESION
         ",{\"step\":19,\"type\":\"freeze\",\"group\":\"V\"}]}}",
         "/changes/interventions", "after step 20"},
        {"{\"step\":20,\"changes\":{\"interventions\":[" LESION
         ",{\"step\":20,\"type\":\"freeze\",\"group\":\"X\"}]}}",
         "/changes/interventions/1/group", "W"},
        {"{\"changes\":{\"dataset.augment\":{\"flip\":true}}}", "/changes/dataset.augment",
         "its parent's dataset"},
        {"{\"step\":20,\"changes\":{\"rule.name\":\"bp\",\"record.synapses\":[\"V1/0/0\"]}}",
         "/changes/record.synapses/0", "a group that rule bp has"},
        {"{\"step\":20,\"changes\":{\"rule.name\":\"bp\",\"record.spectrum\":true}}",
         "/changes/record.spectrum", "no laterals"},
        {"{\"step\":20,\"changes\":{\"record.synapses\":[\"W9/0/0\"]}}",
         "/changes/record.synapses/0", "array W1 to W3"},
        {"{\"step\":20,\"changes\":{\"record\":{\"synapses\":[\"W1/12/0\"]}}}",
         "/changes/record/synapses/0", "row 0 to 11"},
        {"{\"step\":20,\"changes\":{\"record.traces\":{\"groups\":[\"W\"],\"per_array\":200}}}",
         "/changes/record.traces/per_array", "at most 85"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_refused(id, bad[i][0], bad[i][1], bad[i][2]);
    json_decref(fork_of(999999, "{}", 404));
    json_decref(fork_of(id, "{", 400));

    /* What a definition says of itself, nobody else can. */
    json_t *made = fork_of(id, "{\"step\":10}", 201);
    char *text_of = json_dumps(json_object_get(made, "definition"), 0);
    json_t *refused = ask(&server, "POST", "/v1/experiments", text_of, 422);
    const json_t *details = json_object_get(json_object_get(refused, "error"), "details");
    assert_string_equal(text(json_array_get(details, 0), "pointer"), "/fork");
    free(text_of);
    json_decref(await_end(&server, integer(made, "first_run"), "succeeded"));
    json_decref(made);
    json_decref(refused);
}

/* The signs of neurons are drawn from the seed, as wiring is: with others, weights would be
 * lost. */
static void test_signs(void **state)
{
    (void)state;
    json_t *parent =
        train("{" DATA "," NET
              ",\"rule\":{\"name\":\"bp\",\"groups\":{\"W\":{\"dale\":{}}}}," TRAINING "}");
    const json_int_t id = integer(parent, "id");
    check_refused(id, "{\"changes\":{\"training.seed\":2}}", "/changes/training.seed", "signs");
    json_t *run = forked(id, "{\"step\":20}");
    assert_string_equal(text(run, "digest"), text(parent, "digest"));
    json_decref(run);
    json_decref(parent);
}

/* What unfroze a group is of no use to a rule that keeps the group fixed, past or to come. */
static void test_unfreeze(void **state)
{
    (void)state;
    json_t *parent =
        train("{" DATA "," NET ",\"rule\":{\"name\":\"kp\",\"groups\":{\"B\":{\"plastic\":"
              "false}}}," TRAINING ",\"interventions\":["
              "{\"epoch\":1,\"type\":\"unfreeze\",\"group\":\"B\"},"
              "{\"epoch\":3,\"type\":\"scale\",\"group\":\"B\",\"factor\":0.5}]}");
    json_t *run = forked(integer(parent, "id"), "{\"step\":20,\"changes\":{\"rule.name\":\"fa\"}}");
    const json_t *list = json_object_get(json_object_get(run, "definition"), "interventions");
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(text(json_array_get(list, 0), "type"), "scale");
    json_decref(run);
    json_decref(parent);
}

/* Only the newest is kept; a run that has none cannot be forked. */
static void test_pruned(void **state)
{
    (void)state;
    json_t *parent =
        train("{" DATA "," NET ",\"rule\":{\"name\":\"bp\"},\"training\":{\"epochs\":3,"
              "\"batch\":50},\"record\":{\"keep\":1}}");
    const json_int_t id = integer(parent, "id");
    check_refused(id, "{\"step\":10}", "/step", "a kept checkpoint: 30");
    json_decref(forked(id, "{\"changes\":{\"training.epochs\":4}}"));
    json_decref(parent);
    const json_int_t busy = submit(&server, "{" DATA "," NET ",\"rule\":{\"name\":\"bp\"},"
                                            "\"training\":{\"epochs\":100000}}"),
                     waiting = submit(&server, plain);
    char path[64];
    check_refused(waiting, "{}", "/step", "no checkpoint");
    snprintf(path, sizeof path, "/v1/runs/%lld/cancel", (long long)busy);
    json_decref(ask(&server, "POST", path, "{}", 200));
    json_decref(await_end(&server, waiting, "succeeded"));
}

static void test_idempotency(void **state)
{
    (void)state;
    static const char *const key[] = {"Idempotency-Key: fork-1", NULL};
    json_t *parent = train(plain);
    char path[64];
    struct reply first, second, other;
    snprintf(path, sizeof path, "/v1/runs/%lld/fork", (long long)integer(parent, "id"));
    ask_with(&server, "POST", path, "{\"step\":10}", key, &first);
    expect(&first, 201);
    ask_with(&server, "POST", path, "{\"step\":10}", key, &second);
    expect(&second, 200);
    assert_true(json_is_true(json_object_get(second.json, "replayed")));
    assert_int_equal(integer(first.json, "id"), integer(second.json, "id"));
    ask_with(&server, "POST", path, "{\"step\":20}", key, &other);
    expect(&other, 409);
    json_decref(await_end(&server, integer(first.json, "first_run"), "succeeded"));
    reply_free(&first);
    reply_free(&second);
    reply_free(&other);
    json_decref(parent);
}

/* Where the validation part has ended the parent nothing is left to train, and nobody is to believe
 * that there is; before, a fork with more patience is what the parent would have been. */
static void test_ended(void **state)
{
    (void)state;
    static const char definition[] =
        "{\"dataset\":{\"name\":\"strokes\",\"train\":500,\"validation\":100,\"test\":100}," NET
        ",\"rule\":{\"name\":\"bp\"},\"record\":{\"keep\":100},\"training\":{\"epochs\":6,"
        "\"batch\":50,\"select\":\"best\",\"early_stopping\":{\"patience\":%d,"
        "\"min_delta\":1e30}}}";
    static const char *const refused[] = {
        "{\"changes\":{\"training.epochs\":9}}", "{\"changes\":{\"training.max_steps\":20}}",
        "{\"changes\":{\"training.select\":\"last\"}}",
        "{\"changes\":{\"training.early_stopping.patience\":3}}",
        "{\"changes\":{\"training.early_stopping\":{\"patience\":3}}}"};
    char text_of[600];
    snprintf(text_of, sizeof text_of, definition, 1);
    json_t *parent = train(text_of), *run;
    const json_int_t id = integer(parent, "id");
    assert_int_equal(integer(json_object_get(parent, "progress"), "step"), 16);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        json_t *reply = fork_of(id, refused[i], 422);
        const json_t *detail =
            json_array_get(json_object_get(json_object_get(reply, "error"), "details"), 0);
        assert_int_equal(strncmp(text(detail, "pointer"), "/changes/training.", 18), 0);
        assert_non_null(strstr(text(detail, "allowed"), "validation part has ended it"));
        json_decref(reply);
    }
    run = forked(id, "{\"changes\":{\"name\":\"a copy\"}}");
    assert_string_equal(text(run, "digest"), text(parent, "digest"));
    json_decref(run);
    run = forked(id, "{\"step\":8,\"changes\":{\"training.early_stopping.patience\":3}}");
    snprintf(text_of, sizeof text_of, definition, 3);
    json_t *patient = train(text_of);
    assert_int_equal(integer(json_object_get(run, "progress"), "step"), 32);
    assert_string_equal(text(run, "digest"), text(patient, "digest"));
    json_decref(patient);
    json_decref(run);
    json_decref(parent);
}

/* What a checkpoint holds that is of its rule alone is asked for before the fork is made, not when it
 * is trained. */
static void test_rule_state(void **state)
{
    (void)state;
#define VALIDATED                                                                                  \
    "\"dataset\":{\"name\":\"strokes\",\"train\":500,\"validation\":100,\"test\":100}," NET
    static const struct {
        const char *definition, *body;
        bool good;
    } cases[] = {
        {"{" VALIDATED
         ",\"rule\":{\"name\":\"bp\"},\"training\":{\"epochs\":3,\"select\":\"best\"}}",
         "{\"step\":14,\"changes\":{\"rule.name\":\"sal\"}}", false},
        {"{" VALIDATED
         ",\"rule\":{\"name\":\"bp\"},\"training\":{\"epochs\":3,\"select\":\"best\"}}",
         "{\"step\":14,\"changes\":{\"rule.name\":\"sal\",\"training.select\":\"last\"}}", true},
        {"{" VALIDATED
         ",\"rule\":{\"name\":\"bp\"},\"training\":{\"epochs\":3,\"select\":\"best\"}}",
         "{\"step\":14,\"changes\":{\"rule.name\":\"usf\"}}", true},
        {"{" VALIDATED ",\"rule\":{\"name\":\"bp\",\"delay\":{\"batches\":2}},\"training\":{"
         "\"epochs\":3}}",
         "{\"step\":14,\"changes\":{\"rule.name\":\"wm\"}}", false},
        {"{" VALIDATED
         ",\"rule\":{\"name\":\"bp\",\"delay\":{\"batches\":2,\"eligibility\":false}},"
         "\"training\":{\"epochs\":3}}",
         "{\"step\":14,\"changes\":{\"rule.name\":\"sal\"}}", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *parent = train(cases[i].definition);
        const json_int_t id = integer(parent, "id");
        json_t *reply = cases[i].good ? forked(id, cases[i].body) : fork_of(id, cases[i].body, 422);
        const json_t *details = json_object_get(json_object_get(reply, "error"), "details");
        if (!cases[i].good)
            assert_string_equal(text(json_array_get(details, 0), "pointer"), "/changes/rule.name");
        json_decref(reply);
        json_decref(parent);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_signs),
        cmocka_unit_test(test_unfreeze),    cmocka_unit_test(test_pruned),
        cmocka_unit_test(test_ended),       cmocka_unit_test(test_rule_state),
        cmocka_unit_test(test_idempotency),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
