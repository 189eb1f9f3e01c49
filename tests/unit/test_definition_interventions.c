// SPDX-License-Identifier: Apache-2.0
/* Interventions and forks in definitions: what they become in a plan, and what is refused. */
#include "definition_fixture.h"

/* 1000 examples in batches of 100: 10 mini-batches an epoch, 4 epochs. */
#define RUN                                                                                        \
    "\"dataset\":{\"name\":\"strokes\",\"train\":1000,\"test\":100},"                              \
    "\"network\":{\"layers\":[{\"units\":16},{\"units\":8}]},"                                     \
    "\"training\":{\"batch\":100,\"epochs\":4}"
#define WITH(rule, list) "{" RUN ",\"rule\":{\"name\":\"" rule "\"},\"interventions\":" list "}"

static void plan_of(const json_t *resolved, struct tet_plan *plan)
{
    struct dataset_spec spec;
    struct dataset_info info;
    assert_int_equal(definition_dataset(&spec, resolved, NULL), TET_OK);
    assert_int_equal(catalog_info(catalog, &spec, &info, NULL), TET_OK);
    assert_int_equal(definition_plan(plan, resolved, &info, NULL), TET_OK);
}

static void test_plan(void **state)
{
    (void)state;
    static const char text[] =
        WITH("sal", "[{\"step\":0,\"type\":\"lesion\",\"group\":\"V\"},"
                    "{\"epoch\":1,\"type\":\"lesion\",\"neurons\":\"descending\",\"layer\":2,"
                    "\"fraction\":0.25},"
                    "{\"step\":10,\"type\":\"lesion\",\"neurons\":\"ascending\"},"
                    "{\"step\":11,\"type\":\"freeze\",\"group\":\"W\",\"layer\":3},"
                    "{\"step\":12,\"type\":\"unfreeze\",\"group\":\"W\"},"
                    "{\"step\":12,\"type\":\"shuffle\",\"group\":\"U\"},"
                    "{\"step\":13,\"type\":\"rerandomise\",\"group\":\"B\",\"layer\":2},"
                    "{\"epoch\":2,\"type\":\"scale\",\"group\":\"V\",\"factor\":-0.5},"
                    "{\"epoch\":2,\"type\":\"noise\",\"group\":\"V\",\"sd\":2},"
                    "{\"epoch\":3,\"type\":\"rate\",\"factor\":0},"
                    "{\"step\":39,\"type\":\"rate\",\"group\":\"U\",\"factor\":3}]");
    static const struct tet_intervention expected[] = {
        {0, TET_LESION, TET_V, 0, 1.0f},
        {10, TET_SILENCE_DESCENDING, TET_GROUPS, 2, 0.25f},
        {10, TET_SILENCE_ASCENDING, TET_GROUPS, 0, 1.0f},
        {11, TET_FREEZE, TET_W, 3, 0.0f},
        {12, TET_UNFREEZE, TET_W, 0, 0.0f},
        {12, TET_SHUFFLE, TET_U, 0, 0.0f},
        {13, TET_RERANDOMISE, TET_B, 2, 0.0f},
        {20, TET_SCALE, TET_V, 0, -0.5f},
        {20, TET_NOISE, TET_V, 0, 2.0f},
        {30, TET_RATE, TET_GROUPS, 0, 0.0f},
        {39, TET_RATE, TET_U, 0, 3.0f},
    };
    const size_t n = sizeof expected / sizeof *expected;
    struct tet_plan plan;
    struct definition *d = read_good(text);
    plan_of(d->runs[0].resolved, &plan);
    assert_int_equal(plan.n_interventions, n);
    for (size_t i = 0; i < n; i++) {
        const struct tet_intervention *got = &plan.interventions[i], *e = &expected[i];
        if (got->step != e->step || got->type != e->type || got->group != e->group ||
            got->layer != e->layer || got->amount != e->amount)
            fail_msg("intervention %zu: step %llu, type %d, group %d, layer %u, amount %g", i,
                     (unsigned long long)got->step, (int)got->type, (int)got->group, got->layer,
                     (double)got->amount);
    }
    definition_free(d);
    expect_idempotent(text);
}

/* None at all is no setting; what a rule lacks is dropped where another of the sweep has it. */
static void test_sweeps(void **state)
{
    (void)state;
    struct definition *none = read_good("{" RUN ",\"rule\":{\"name\":\"sal\"}}"),
                      *empty = read_good(WITH("sal", "[]"));
    assert_string_equal(none->runs[0].hash, empty->runs[0].hash);
    assert_null(json_object_get(empty->runs[0].resolved, "interventions"));
    definition_free(none);
    definition_free(empty);

    static const char text[] =
        "{" RUN
        ",\"rule\":{\"name\":\"sal\"},\"sweep\":{\"rule.name\":[\"bp\",\"fa\",\"kp\",\"sal\"]},"
        "\"interventions\":[{\"epoch\":1,\"type\":\"lesion\",\"group\":\"V\"},"
        "{\"epoch\":1,\"type\":\"lesion\",\"group\":\"W\",\"fraction\":0.5},"
        "{\"epoch\":2,\"type\":\"unfreeze\",\"group\":\"B\"},"
        "{\"epoch\":2,\"type\":\"lesion\",\"neurons\":\"descending\"}]}";
    struct definition *d = read_good(text);
    static const size_t left[] = {1, 2, 3, 4};
    assert_int_equal(d->n_runs, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(json_array_size(json_object_get(d->runs[i].resolved, "interventions")),
                         left[i]);
    definition_free(d);
    expect_idempotent(text);
    expect_idempotent("{" RUN ",\"rule\":{\"name\":\"sal\"},"
                      "\"interventions\":[{\"epoch\":1,\"type\":\"lesion\",\"group\":\"V\"}],"
                      "\"sweep\":{\"interventions.0.fraction\":[0.25,0.5],"
                      "\"interventions.0.epoch\":[1,2]}}");
}

static void test_faults(void **state)
{
    (void)state;
    static const struct bad_case cases[] = {
        {WITH("sal", "{}"), {{"/interventions", "{}", "array", NULL}}},
        {WITH("sal", "[{\"epoch\":1,\"type\":\"burn\"}]"),
         {{"/interventions/0/type", "\"burn\"", "lesion", NULL}}},
        {WITH("sal", "[{\"type\":\"freeze\",\"group\":\"V\"}]"),
         {{"/interventions/0", NULL, "either epoch or step: one is needed", NULL}}},
        {WITH("sal", "[{\"epoch\":1,\"step\":1,\"type\":\"freeze\",\"group\":\"V\"}]"),
         {{"/interventions/0/step", "1", "not both", NULL}}},
        {WITH("sal", "[{\"epoch\":4,\"type\":\"freeze\",\"group\":\"V\"}]"),
         {{"/interventions/0/epoch", "4",
           "=integer from 0 to 3: the run has 40 mini-batches, 10 an epoch", NULL}}},
        {WITH("sal", "[{\"step\":40,\"type\":\"freeze\",\"group\":\"V\"}]"),
         {{"/interventions/0/step", "40", "integer from 0 to 39", NULL}}},
        {WITH("sal", "[{\"step\":11,\"type\":\"freeze\",\"group\":\"V\"},"
                     "{\"epoch\":1,\"type\":\"freeze\",\"group\":\"U\"}]"),
         {{"/interventions/1/epoch", "1", "after 11 mini-batches", NULL}}},
        {WITH("sal", "[{\"epoch\":1,\"type\":\"lesion\"}]"),
         {{"/interventions/0", NULL, "either group or neurons: one is needed", NULL}}},
        {WITH("sal", "[{\"epoch\":1,\"type\":\"lesion\",\"group\":\"V\",\"neurons\":"
                     "\"ascending\"}]"),
         {{"/interventions/0/neurons", "\"ascending\"", "not both", NULL}}},
        {WITH("sal", "[{\"epoch\":1,\"type\":\"lesion\",\"group\":\"V\",\"fraction\":0}]"),
         {{"/interventions/0/fraction", "0", "> 0", NULL}}},
        {WITH("sal", "[{\"epoch\":1,\"type\":\"lesion\",\"group\":\"X\"}]"),
         {{"/interventions/0/group", "\"X\"", "W", NULL}}},
        {WITH("sal", "[{\"epoch\":1,\"type\":\"freeze\",\"group\":\"V\",\"fraction\":1}]"),
         {{"/interventions/0/fraction", "1", "fraction goes with type lesion", NULL}}},
        {WITH("sal", "[{\"epoch\":1,\"type\":\"scale\",\"group\":\"V\"}]"),
         {{"/interventions/0/factor", "null", "number", NULL}}},
        {WITH("sal", "[{\"epoch\":1,\"type\":\"scale\",\"group\":\"V\",\"factor\":1e-50}]"),
         {{"/interventions/0/factor", "1e-50", "32 bits", NULL}}},
        {WITH("sal", "[{\"epoch\":1,\"type\":\"lesion\",\"group\":\"V\",\"layer\":3}]"),
         {{"/interventions/0/layer", "3", "=integer from 1 to 2, or nothing for all", NULL}}},
        {WITH("sal", "[{\"epoch\":1,\"type\":\"lesion\",\"group\":\"B\",\"layer\":1}]"),
         {{"/interventions/0/layer", "1", "integer from 2 to 3", NULL}}},
        {WITH("sal", "[{\"epoch\":1,\"type\":\"lesion\",\"neurons\":\"ascending\",\"layer\":3}]"),
         {{"/interventions/0/layer", "3", "integer from 1 to 2", NULL}}},
        {WITH("kp", "[{\"epoch\":1,\"type\":\"lesion\",\"group\":\"V\"}]"),
         {{"/interventions/0/group", "\"V\"", "=groups of rule kp: W, B", NULL}}},
        {WITH("bp", "[{\"epoch\":1,\"type\":\"lesion\",\"neurons\":\"descending\"}]"),
         {{"/interventions/0/neurons", "\"descending\"", "rule bp has no descending neurons",
           NULL}}},
        {WITH("fa", "[{\"epoch\":1,\"type\":\"unfreeze\",\"group\":\"B\"}]"),
         {{"/interventions/0/group", "\"B\"", "that of rule fa is fixed", NULL}}},
        {"{\"dataset\":{\"name\":\"strokes\"},\"network\":{},\"rule\":{\"name\":\"sal\"},"
         "\"interventions\":[{\"epoch\":1,\"type\":\"freeze\",\"group\":\"V\"}]}",
         {{"/interventions/0/group", "\"V\"", "too few layers", NULL}}},
        {"{" RUN ",\"rule\":{\"name\":\"sal\"},\"sweep\":{\"rule.name\":[\"bp\",\"kp\"]},"
         "\"interventions\":[{\"epoch\":1,\"type\":\"freeze\",\"group\":\"V\"}]}",
         {{"/interventions/0/group", "\"V\"", "groups of rule bp: W", NULL}}},
        {"{" RUN ",\"rule\":{\"name\":\"sal\"},\"fork\":{\"run\":1,\"step\":2,\"digest\":\"sha256:"
         "0000000000000000000000000000000000000000000000000000000000000000\"}}",
         {{"/fork", NULL, "POST /v1/runs/{id}/fork", NULL}}},
    };
    expect_faults(cases, sizeof cases / sizeof *cases);

    char many[8192] = "{" RUN ",\"rule\":{\"name\":\"sal\"},\"interventions\":[";
    for (int i = 0; i < TET_MAX_INTERVENTIONS + 1; i++)
        strcat(many, i > 0 ? ",{\"step\":1,\"type\":\"rate\",\"factor\":1}"
                           : "{\"step\":1,\"type\":\"rate\",\"factor\":1}");
    strcat(many, "]}");
    json_t *details = read_faults(many);
    expect_at(details, "0.pointer", "\"/interventions\"");
    json_decref(details);
}

/* Masks and scratch count, where there are any. */
static void test_memory(void **state)
{
    (void)state;
    static const char *const lists[] = {"[]", "[{\"epoch\":1,\"type\":\"rate\",\"factor\":0.5}]",
                                        "[{\"epoch\":1,\"type\":\"lesion\",\"group\":\"W\"}]",
                                        "[{\"epoch\":1,\"type\":\"shuffle\",\"group\":\"W\"}]"};
    uint64_t bytes[4];
    for (size_t i = 0; i < 4; i++) {
        char text[600];
        snprintf(text, sizeof text, "{" RUN ",\"rule\":{\"name\":\"bp\"},\"interventions\":%s}",
                 lists[i]);
        struct definition *d = read_good(text);
        bytes[i] = d->runs[0].memory_bytes;
        definition_free(d);
    }
    assert_int_equal(bytes[1], bytes[0]);
    assert_true(bytes[2] > bytes[0]);
    assert_true(bytes[3] > bytes[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_sweeps),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
