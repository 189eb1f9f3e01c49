// SPDX-License-Identifier: Apache-2.0
/* Definitions of type protocol: defaults, what is left out, hashes, sweeps, plans and faults. */
#include "definition_fixture.h"

#define NET                                                                                        \
    "\"dataset\":{\"name\":\"strokes\"},\"network\":{\"layers\":[{\"units\":3},{\"units\":2}]}"
#define PROTOCOL "\"type\":\"protocol\"," NET ",\"rule\":{\"name\":\"sal\"}"
#define GIVEN(up, down)                                                                            \
    "{" PROTOCOL ",\"protocol\":{\"layer\":2,\"patterns\":{\"type\":\"given\",\"ascending\":" up   \
    ",\"descending\":" down "}}}"
#define ONES "[1,1,1,1,1,1,1,1,1,1]"

static void test_defaults(void **state)
{
    (void)state;
    struct definition *d = read_good("{" PROTOCOL "}");
    const json_t *run = d->runs[0].resolved;
    expect_at(run, "type", "\"protocol\"");
    expect_at(run, "protocol",
              "{\"afferents\":[\"neither\",\"ascending\",\"descending\",\"both\",\"V\",\"U\","
              "\"WV\",\"WU\",\"BV\",\"BU\",\"VU\"],\"layer\":1,\"pairings\":50,"
              "\"patterns\":{\"n\":10,\"sd\":1,\"type\":\"random\"}}");
    assert_int_equal(d->runs[0].steps, 11 * 50);
    definition_free(d);
    expect_idempotent("{" PROTOCOL "}");

    /* The conditions are a set, and neither is always among them. */
    struct definition *one =
                          read_good("{" PROTOCOL ",\"protocol\":{\"afferents\":[\"both\",\"V\"]}}"),
                      *same =
                          read_good("{" PROTOCOL
                                    ",\"protocol\":{\"afferents\":[\"V\",\"neither\",\"both\"]}}");
    expect_at(one->resolved, "protocol.afferents", "[\"neither\",\"both\",\"V\"]");
    assert_string_equal(one->runs[0].hash, same->runs[0].hash);
    assert_int_equal(one->runs[0].steps, 3 * 50);
    definition_free(one);
    definition_free(same);
}

/* "training" is what a definition is anyway: it leaves no trace, alone or in a sweep. */
static void test_training_is_left_out(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"{" SAL "}", "{\"type\":\"training\"," SAL "}"},
        {"{" SAL ",\"sweep\":{\"training.seed\":[1,2]}}",
         "{\"type\":\"training\"," SAL ",\"sweep\":{\"training.seed\":[1,2]}}"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct definition *a = read_good(pairs[i][0]), *b = read_good(pairs[i][1]);
        assert_null(json_object_get(b->resolved, "type"));
        assert_string_equal(a->hash, b->hash);
        assert_string_equal(a->runs[0].hash, b->runs[0].hash);
        definition_free(a);
        definition_free(b);
    }
    struct definition *plain = read_good("{" SAL "}"),
                      *protocol = read_good("{\"type\":\"protocol\"," SAL "}");
    assert_string_not_equal(plain->runs[0].hash, protocol->runs[0].hash);
    definition_free(plain);
    definition_free(protocol);
}

static void test_sweeps(void **state)
{
    (void)state;
    struct definition *d =
        read_good("{" PROTOCOL ",\"sweep\":{\"rule.name\":[\"sal\",\"kp\",\"bp\"],"
                  "\"training.seed\":[1,2],\"protocol.layer\":[1,2]}}");
    assert_int_equal(d->n_runs, 12);
    expect_at(d->runs[0].parameters, "",
              "{\"protocol.layer\":1,\"rule.name\":\"sal\",\"training.seed\":1}");
    definition_free(d);
    expect_idempotent("{" PROTOCOL ",\"sweep\":{\"protocol.layer\":[1,2]}}");
    d = read_good("{" NET ",\"rule\":{\"name\":\"sal\"},\"protocol\":{\"layer\":2},\"sweep\":{"
                  "\"type\":[\"training\",\"protocol\"]}}");
    assert_int_equal(d->n_runs, 2);
    assert_null(json_object_get(d->runs[0].resolved, "protocol"));
    assert_non_null(json_object_get(d->runs[1].resolved, "protocol"));
    definition_free(d);
}

/* Points that are drawn or listed, below a union too. */
static void test_points(void **state)
{
    (void)state;
    static const char drawn[] =
        "{" PROTOCOL ",\"sweep\":{\"random\":{\"n\":6,\"values\":{"
        "\"protocol.pairings\":{\"integer\":[2,9]},"
        "\"protocol.patterns.sd\":{\"log_uniform\":[0.1,10]}}},\"training.seed\":[1,2]}}";
    struct definition *d = read_good(drawn);
    assert_int_equal(d->n_runs, 12);
    for (size_t i = 0; i < d->n_runs; i++) {
        const json_t *parameters = d->runs[i].parameters,
                     *protocol = json_object_get(d->runs[i].resolved, "protocol"),
                     *patterns = json_object_get(protocol, "patterns");
        const json_int_t pairings = json_integer_value(json_object_get(protocol, "pairings"));
        assert_true(pairings >= 2 && pairings <= 9);
        assert_true(d->runs[i].steps == 11 * (uint64_t)pairings);
        assert_true(json_equal(json_object_get(parameters, "protocol.pairings"),
                               json_object_get(protocol, "pairings")));
        assert_true(json_equal(json_object_get(parameters, "protocol.patterns.sd"),
                               json_object_get(patterns, "sd")));
    }
    definition_free(d);
    expect_idempotent(drawn);
    d = read_good("{" NET ",\"rule\":{\"name\":\"sal\"},\"sweep\":{\"list\":["
                  "{\"type\":\"training\"},{\"type\":\"protocol\",\"protocol.layer\":2,"
                  "\"protocol.patterns.n\":4}]}}");
    assert_int_equal(d->n_runs, 2);
    assert_null(json_object_get(d->runs[0].resolved, "protocol"));
    expect_at(d->runs[1].resolved, "protocol.layer", "2");
    expect_at(d->runs[1].resolved, "protocol.patterns", "{\"n\":4,\"sd\":1,\"type\":\"random\"}");
    definition_free(d);
}

static void test_plan(void **state)
{
    (void)state;
    struct definition *d = read_good(GIVEN("[[1,2,3],[4,5.5,-6]]", "[" ONES "," ONES "]"));
    struct tet_protocol_plan plan;
    struct tet_error error = {0};
    assert_int_equal(definition_protocol(&plan, d->runs[0].resolved, &error), TET_OK);
    assert_int_equal(plan.layer, 2);
    assert_int_equal(plan.n, 2);
    assert_int_equal(plan.pairings, 50);
    assert_int_equal(plan.conditions, (1 << TET_CONDITIONS_COUNT) - 1);
    assert_true(plan.ascending[4] == 5.5f && plan.ascending[5] == -6.0f);
    assert_true(plan.descending[19] == 1.0f);
    definition_protocol_free(&plan);
    definition_free(d);

    /* From a store that another version wrote. */
    static const char *const damaged[] = {
        "{}", "{\"protocol\":{\"layer\":1,\"pairings\":0,\"patterns\":{\"n\":1,\"sd\":1}}}",
        "{\"protocol\":{\"layer\":1,\"pairings\":2,\"patterns\":{}}}",
        ("{\"protocol\":{\"layer\":1,\"pairings\":2,\"patterns\":{\"ascending\":[[1],[1,2]],"
         "\"descending\":[[1],[1]]}}}"),
        "{\"protocol\":{\"layer\":1,\"pairings\":2,\"patterns\":{\"ascending\":[[1]]}}}"};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        json_t *value = json_loads(damaged[i], 0, NULL);
        assert_int_equal(definition_protocol(&plan, value, &error), TET_BAD_DEFINITION);
        assert_null(plan.ascending);
        json_decref(value);
    }
}

static void test_faults(void **state)
{
    (void)state;
    static const struct bad_case cases[] = {
        {"{\"type\":\"protocoll\"," SAL "}", {{"/type", "\"protocoll\"", "training", NULL}}},
        {"{" SAL ",\"protocol\":{\"layer\":1}}",
         {{"/protocol", NULL, "unless type is protocol", NULL}}},
        {"{\"type\":\"training\"," SAL ",\"protocol\":{}}",
         {{"/protocol", NULL, "unless type is protocol", NULL}}},
        {"{" PROTOCOL ",\"interventions\":[{\"type\":\"lesion\",\"group\":\"W\",\"step\":0}]}",
         {{"/interventions", NULL, "no interventions, if type is protocol", NULL}}},
        {"{" PROTOCOL ",\"protocol\":{\"layer\":3}}",
         {{"/protocol/layer", "3", "integer from 1 to 2", NULL}}},
        {"{" PROTOCOL ",\"protocol\":{\"layer\":0,\"pairings\":0}}",
         {{"/protocol/layer", "0", "from 1", NULL}, {"/protocol/pairings", "0", "from 1", NULL}}},
        {"{" PROTOCOL ",\"protocol\":{\"afferents\":[\"W\"]}}",
         {{"/protocol/afferents/0", "\"W\"", "ascending", NULL}}},
        {"{" PROTOCOL ",\"protocol\":{\"afferents\":[]}}",
         {{"/protocol/afferents", "[]", "item", NULL}}},
        {"{" PROTOCOL ",\"protocol\":{\"patterns\":{\"n\":5000,\"sd\":-1}}}",
         {{"/protocol/patterns/n", "5000", "4096", NULL},
          {"/protocol/patterns/sd", "-1", ">= 0", NULL}}},
        {"{" PROTOCOL ",\"protocol\":{\"patterns\":{\"sd\":1e31}}}",
         {{"/protocol/patterns/sd", "1e31", "32 bits", NULL}}},
        {"{" PROTOCOL ",\"protocol\":{\"pairing\":5}}",
         {{"/protocol/pairing", "5", "", "pairings"}}},
        {GIVEN("[[1,2]]", "[" ONES "," ONES "]"),
         {{"/protocol/patterns/ascending/0", "2", "3 numbers", NULL},
          {"/protocol/patterns/descending", "2", "1 patterns", NULL}}},
        {GIVEN("[[1,2,3]]", "[[1]]"),
         {{"/protocol/patterns/descending/0", "1", "10 numbers", NULL}}},
        {"{\"type\":\"protocol\",\"dataset\":{\"name\":\"strokes\"},\"network\":{},\"rule\":{"
         "\"name\":\"bp\"}}",
         {{"/protocol/layer", "1", "has none", NULL}}},
        {"{\"type\":\"protocol\",\"dataset\":{\"name\":\"strokes\"},\"network\":{\"layers\":[{"
         "\"type\":"
         "\"conv2d\",\"channels\":2,\"kernel\":3},{\"units\":4}]},\"rule\":{\"name\":\"sal\"}}",
         {{"/protocol/layer", "1", "integer from 2 to 2", NULL}}},
    };
    expect_faults(cases, sizeof cases / sizeof *cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_training_is_left_out),
        cmocka_unit_test(test_sweeps),   cmocka_unit_test(test_points),
        cmocka_unit_test(test_plan),     cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
