// SPDX-License-Identifier: Apache-2.0
/* Settings that came later: one that is off is not written out, so that hashes stay; one that is on is
 * written and planned. */
#include "definition_fixture.h"

/* The default of a setting that came later is not written out; any other value is, and planned. */
static void test_wiring(void **state)
{
    (void)state;
    static const char *const wired[] = {"{}", "{\"connection_probability\":1}",
                                        "{\"connection_probability\":0.25}"};
    char hash[3][80];
    for (size_t i = 0; i < 3; i++) {
        char text[300];
        struct tet_plan plan;
        snprintf(text, sizeof text, "{" BASE ",\"rule\":{\"name\":\"sal\",\"groups\":{\"V\":%s}}}",
                 wired[i]);
        struct definition *d = read_good(text);
        snprintf(hash[i], sizeof hash[i], "%s", d->runs[0].hash);
        const json_t *stored = d->runs[0].resolved;
        struct dataset_spec spec;
        struct dataset_info info;
        assert_int_equal(definition_dataset(&spec, stored, NULL), TET_OK);
        assert_int_equal(catalog_info(catalog, &spec, &info, NULL), TET_OK);
        assert_int_equal(definition_plan(&plan, stored, &info, NULL), TET_OK);
        assert_true(plan.group[TET_V].probability == (i == 2 ? 0.25f : 1.0f));
        assert_true(plan.group[TET_U].probability == 1.0f);
        definition_free(d);
        expect_idempotent(text);
    }
    assert_string_equal(hash[1], hash[0]);
    assert_string_not_equal(hash[2], hash[0]);
    expect_idempotent("{" SAL ",\"sweep\":{\"rule.groups.V.connection_probability\":[0.5,1]}}");
}

/* The plan of the run's definition. */
static struct tet_plan plan_of(const struct definition *d, size_t run)
{
    struct tet_plan plan;
    struct dataset_spec spec;
    struct dataset_info info;
    struct tet_error error = {0};
    const json_t *stored = d->runs[run].resolved;
    assert_int_equal(definition_dataset(&spec, stored, NULL), TET_OK);
    assert_int_equal(catalog_info(catalog, &spec, &info, NULL), TET_OK);
    assert_int_equal(definition_plan(&plan, stored, &info, &error), TET_OK);
    assert_int_equal(tet_plan_check(&plan, &info.shape, &error), TET_OK);
    return plan;
}

/* What is off by being 0, or by its name, is not written out. */
static void test_off(void **state)
{
    (void)state;
    static const char *const off[] = {
        "\"gate\":true",
        "\"noise\":{}",
        "\"noise\":{\"activity\":0,\"synapses\":0.0}",
        "\"delay\":{}",
        "\"delay\":{\"batches\":0,\"eligibility\":false}",
        "\"update_order\":\"together\"",
    };
    char hash[80];
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        char text[300];
        snprintf(text, sizeof text, "{" BASE ",\"rule\":{\"name\":\"sal\",%s}}", off[i]);
        struct definition *d = read_good(text);
        if (i == 0)
            snprintf(hash, sizeof hash, "%s", d->runs[0].hash);
        assert_string_equal(d->runs[0].hash, hash);
        const struct tet_plan plan = plan_of(d, 0);
        assert_int_equal(plan.delay.batches, 0);
        assert_true(plan.noise.activity == 0.0f && plan.noise.teaching == 0.0f &&
                    plan.noise.synapses == 0.0f && !plan.top_down);
        definition_free(d);
        expect_idempotent(text);
    }
}

/* Everything that is on is written and planned. */
static void test_timing(void **state)
{
    (void)state;
    static const char text[] =
        "{" BASE ",\"rule\":{\"name\":\"sal\",\"update_order\":\"top_down\","
        "\"noise\":{\"activity\":0.5,\"teaching\":0.25,\"synapses\":0.125},"
        "\"delay\":{\"batches\":3,\"eligibility\":false},\"groups\":{\"W\":{\"dale\":{}},"
        "\"V\":{\"init\":\"log_normal\",\"dale\":{\"excitatory\":0.75}}}}}";
    struct definition *d = read_good(text);
    struct tet_plan plan = plan_of(d, 0);
    assert_true(plan.noise.activity == 0.5f && plan.noise.teaching == 0.25f &&
                plan.noise.synapses == 0.125f);
    assert_int_equal(plan.delay.batches, 3);
    assert_true(!plan.delay.eligibility && plan.top_down);
    assert_true(plan.group[TET_W].excitatory == 0.5f && plan.group[TET_V].excitatory == 0.75f);
    assert_true(plan.group[TET_B].excitatory == 0.0f && plan.group[TET_U].excitatory == 0.0f);
    assert_int_equal(plan.group[TET_V].init, TET_INIT_LOG_NORMAL);
    assert_true(plan.group[TET_V].scale == 0.5f);
    definition_free(d);
    expect_idempotent(text);
    d = read_good("{" BASE ",\"rule\":{\"name\":\"kp\",\"delay\":{\"batches\":16}}}");
    plan = plan_of(d, 0);
    assert_int_equal(plan.delay.batches, 16);
    assert_true(plan.delay.eligibility);
    definition_free(d);
    expect_idempotent("{" SAL ",\"sweep\":{\"rule.noise.activity\":[0,0.1],"
                      "\"rule.delay.batches\":[0,2],\"rule.update_order\":[\"together\"]}}");
}

static void test_mirror(void **state)
{
    (void)state;
    struct definition *d = read_good("{" BASE ",\"rule\":{\"name\":\"wm\"},"
                                     "\"optimizer\":{\"lr\":0.5,\"decay\":0.25}}");
    const json_t *run = d->runs[0].resolved;
    expect_at(run, "rule.mirror",
              "{\"batches\":10,\"decay\":1,\"every\":100,\"lr\":0.05,\"noise\":1}");
    expect_at(run, "rule.groups.B.plastic", "true");
    expect_at(run, "optimizer.groups", "{\"W\":{\"decay\":0.25,\"lr\":0.5}}");
    definition_free(d);

    d = read_good("{" BASE ",\"rule\":{\"name\":\"wm\",\"mirror\":{\"noise\":0.5,\"every\":7,"
                  "\"batches\":3,\"lr\":0.125}},\"optimizer\":{\"lr\":0.5}}");
    struct tet_plan plan = plan_of(d, 0);
    assert_int_equal(plan.rule, TET_RULE_WM);
    assert_int_equal(plan.mirror.every, 7);
    assert_int_equal(plan.mirror.batches, 3);
    assert_true(plan.mirror.noise == 0.5f);
    assert_true(plan.group[TET_B].lr == 0.125f && plan.group[TET_B].decay == 0.25f);
    assert_true(plan.group[TET_W].lr == 0.5f && plan.group[TET_B].plastic);
    definition_free(d);
    expect_idempotent("{" BASE ",\"rule\":{\"name\":\"wm\"}}");
    expect_idempotent("{" BASE ",\"sweep\":{\"rule.name\":[\"wm\",\"kp\"],"
                      "\"rule.mirror.every\":[10,20],\"optimizer.groups.B.lr\":[0.5]}}");
}

/* What only one rule of a sweep has a use for leaves the others as they are. */
static void test_mirror_of_another(void **state)
{
    (void)state;
    struct definition *d = read_good("{" BASE ",\"rule\":{\"mirror\":{\"decay\":3}},"
                                     "\"sweep\":{\"rule.name\":[\"kp\",\"wm\",\"dfa\"]}}");
    struct definition *kp = read_good("{" BASE ",\"rule\":{\"name\":\"kp\"}}");
    assert_int_equal(d->n_runs, 3);
    assert_string_equal(d->runs[0].hash, kp->runs[0].hash);
    assert_true(plan_of(d, 1).group[TET_B].decay == 3.0f);
    expect_at(d->runs[2].resolved, "rule.mirror", "(nothing)");
    definition_free(kp);
    definition_free(d);
}

static void test_direct(void **state)
{
    (void)state;
    struct definition *d = read_good("{" BASE ",\"rule\":{\"name\":\"dfa\",\"groups\":{\"D\":{"
                                     "\"scale\":3,\"init\":\"uniform\",\"plastic\":false,"
                                     "\"connection_probability\":0.5}}}}");
    const json_t *run = d->runs[0].resolved;
    expect_at(run, "rule.groups.D.plastic", "false");
    expect_at(run, "optimizer.groups.D", "(nothing)");
    const struct tet_plan plan = plan_of(d, 0);
    assert_true(plan.group[TET_D].scale == 3.0f && plan.group[TET_D].probability == 0.5f);
    assert_int_equal(plan.group[TET_D].init, TET_INIT_UNIFORM);
    assert_false(plan.group[TET_D].plastic);
    definition_free(d);
    expect_idempotent("{" BASE ",\"rule\":{\"name\":\"dfa\",\"gate\":false}}");
}

/* What is off is not written; hashes tell the runs apart. */
static void test_changes(void **state)
{
    (void)state;
    static const char conv[] = "\"dataset\":{\"name\":\"strokes\"},\"network\":{\"layers\":"
                               "[{\"type\":\"conv2d\",\"channels\":3,\"kernel\":3},"
                               "{\"type\":\"flatten\"},{\"units\":8}]}";
    static const struct {
        const char *base, *rule, *optimizer, *resolved;
        enum tet_normalize normalize;
        bool center;
        float homeostasis, clip;
        size_t same; // as which its hash is
    } cases[] = {
        {BASE, "\"name\":\"sal\"", "", NULL, TET_NORMALIZE_NONE, false, 0.0f, 0.0f, 0},
        {BASE,
         "\"name\":\"sal\",\"normalize\":\"none\",\"center\":false,\"homeostasis\":{\"rate\":0}",
         "\"clip\":0", NULL, TET_NORMALIZE_NONE, false, 0.0f, 0.0f, 0},
        {BASE,
         "\"name\":\"sal\",\"normalize\":\"stage\",\"center\":true,"
         "\"homeostasis\":{\"rate\":0.5}",
         "\"clip\":2", "stage", TET_NORMALIZE_STAGE, true, 0.5f, 2.0f, 2},
        {conv, "\"name\":\"sal\"", "", NULL, TET_NORMALIZE_NONE, false, 0.0f, 0.0f, 3},
        {conv, "\"name\":\"sal\",\"normalize\":\"stage\"", "", "stage", TET_NORMALIZE_STAGE, false,
         0.0f, 0.0f, 4},
        {conv, "\"name\":\"sal\",\"normalize\":\"none\"", "", NULL, TET_NORMALIZE_NONE, false, 0.0f,
         0.0f, 3},
        {conv, "\"name\":\"sal\",\"homeostasis\":{\"rate\":0.25}", "", NULL, TET_NORMALIZE_NONE,
         false, 0.25f, 0.0f, 6},
        {conv, "\"name\":\"sal\",\"homeostasis\":{\"rate\":0}", "", NULL, TET_NORMALIZE_NONE, false,
         0.0f, 0.0f, 3},
        {conv, "\"name\":\"bp\",\"normalize\":\"none\"", "", NULL, TET_NORMALIZE_NONE, false, 0.0f,
         0.0f, 8},
        {conv, "\"name\":\"bp\"", "", NULL, TET_NORMALIZE_NONE, false, 0.0f, 0.0f, 8},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };
    char hash[CASES][80];
    for (size_t i = 0; i < CASES; i++) {
        char text[600];
        struct tet_plan plan;
        struct dataset_spec spec;
        struct dataset_info info;
        snprintf(text, sizeof text, "{%s,\"rule\":{%s},\"optimizer\":{%s}}", cases[i].base,
                 cases[i].rule, cases[i].optimizer);
        struct definition *d = read_good(text);
        const json_t *stored = d->runs[0].resolved;
        snprintf(hash[i], sizeof hash[i], "%s", d->runs[0].hash);
        const char *normalize = json_string_value(member(stored, "rule.normalize"));
        assert_int_equal(normalize != NULL, cases[i].resolved != NULL);
        if (normalize != NULL)
            assert_string_equal(normalize, cases[i].resolved);
        assert_int_equal(definition_dataset(&spec, stored, NULL), TET_OK);
        assert_int_equal(catalog_info(catalog, &spec, &info, NULL), TET_OK);
        assert_int_equal(definition_plan(&plan, stored, &info, NULL), TET_OK);
        assert_int_equal(plan.normalize, cases[i].normalize);
        assert_int_equal(plan.center, cases[i].center);
        assert_true(plan.homeostasis == cases[i].homeostasis && plan.clip == cases[i].clip);
        for (size_t k = 0; k < i; k++)
            assert_int_equal(strcmp(hash[i], hash[k]) == 0, cases[i].same == cases[k].same);
        definition_free(d);
        expect_idempotent(text);
    }
    expect_idempotent("{" BASE ",\"rule\":{\"homeostasis\":{\"rate\":0.1}},"
                      "\"sweep\":{\"rule.name\":[\"sal\",\"fa\",\"kp\",\"bp\"]}}");
}

/* The laterals of convolutions begin as the identity, and slowly, and B small, unless told
 * otherwise. */
static void test_laterals_of_convolutions(void **state)
{
    (void)state;
    static const struct {
        const char *layers, *v, *rates;
        const char *init;
        double scale, lr, decay;
    } cases[] = {
        {"{\"units\":8}", "", "", "normal", 0.5, 0.5, 0.25},
        {"{\"type\":\"conv2d\",\"channels\":3,\"kernel\":3}", "", "", "identity", 1.0, 0.5 / 32.0,
         8.0},
        {"{\"type\":\"conv2d\",\"channels\":3,\"kernel\":3}", "\"plastic\":false", "", "identity",
         1.0, 0.5 / 32.0, 8.0},
        {"{\"type\":\"conv2d\",\"channels\":3,\"kernel\":3}", "\"init\":\"normal\"", "\"lr\":0.125",
         "normal", 0.5, 0.125, 8.0},
        {"{\"type\":\"conv2d\",\"channels\":3,\"kernel\":3}", "\"scale\":2", "\"decay\":0",
         "identity", 2.0, 0.5 / 32.0, 0.0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[600];
        snprintf(
            text, sizeof text,
            "{\"dataset\":{\"name\":\"strokes\"},\"network\":{\"layers\":[%s]},\"rule\":{\"name\":"
            "\"sal\",\"groups\":{\"V\":{%s}}},\"optimizer\":{\"lr\":0.5,\"decay\":0.25,"
            "\"groups\":{\"V\":{%s}}}}",
            cases[i].layers, cases[i].v, cases[i].rates);
        struct definition *d = read_good(text);
        const json_t *stored = d->runs[0].resolved;
        assert_string_equal(json_string_value(member(stored, "rule.groups.V.init")), cases[i].init);
        assert_true(json_number_value(member(stored, "rule.groups.V.scale")) == cases[i].scale);
        assert_true(json_number_value(member(stored, "optimizer.groups.V.lr")) == cases[i].lr);
        assert_true(json_number_value(member(stored, "optimizer.groups.V.decay")) ==
                    cases[i].decay);
        assert_true(json_number_value(member(stored, "optimizer.groups.B.lr")) == 0.5);
        assert_true(json_number_value(member(stored, "rule.groups.B.scale")) ==
                    (i == 0 ? 1.0 : 0.1));
        definition_free(d);
        expect_idempotent(text);
    }
}

/* What is off is not written out; what is on is, and planned. */
static void test_later_settings(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{" SAL "}",
        "{" SAL ",\"record\":{\"assembly\":false,\"activity\":false,\"spectrum\":false,"
        "\"synapses\":[]}}",
        "{\"dataset\":{\"name\":\"strokes\",\"augment\":{\"crop\":0,\"flip\":false}},"
        "\"network\":{\"layers\":[{\"units\":16}]},\"rule\":{\"name\":\"sal\"}}",
        "{\"dataset\":{\"name\":\"strokes\",\"augment\":{}},"
        "\"network\":{\"layers\":[{\"units\":16}]},\"rule\":{\"name\":\"sal\"}}",
        "{\"dataset\":{\"name\":\"strokes\",\"augment\":{\"crop\":4,\"flip\":true}},"
        "\"network\":{\"layers\":[{\"units\":16}]},\"rule\":{\"name\":\"sal\"},"
        "\"record\":{\"assembly\":true,\"activity\":true,\"spectrum\":true,"
        "\"traces\":{\"groups\":[\"U\",\"W\"]},\"synapses\":[\"W2/9/7\",\"B2/7/0\"]}}",
    };
    char hash[5][80];
    for (size_t i = 0; i < 5; i++) {
        struct tet_plan plan;
        struct dataset_spec spec;
        struct dataset_info info;
        struct definition *d = read_good(texts[i]);
        const bool on = i == 4;
        snprintf(hash[i], sizeof hash[i], "%s", d->runs[0].hash);
        const json_t *stored = d->runs[0].resolved;
        assert_int_equal(definition_dataset(&spec, stored, NULL), TET_OK);
        assert_int_equal(catalog_info(catalog, &spec, &info, NULL), TET_OK);
        assert_int_equal(definition_plan(&plan, stored, &info, NULL), TET_OK);
        assert_true(plan.record_assembly == on && plan.record_activity == on &&
                    plan.record_spectrum == on && plan.augment_flip == on);
        assert_int_equal(plan.augment_crop, on ? 4 : 0);
        assert_int_equal(plan.traces, on ? 8 : 0);
        assert_true(plan.trace_group[TET_W] == on && plan.trace_group[TET_U] == on);
        assert_false(plan.trace_group[TET_B] || plan.trace_group[TET_V]);
        assert_int_equal(plan.n_synapses, on ? 2 : 0);
        if (on) {
            assert_string_equal(
                json_string_value(json_array_get(member(stored, "record.traces.groups"), 0)), "W");
            const struct tet_synapse *s = &plan.synapse[1];
            assert_true(s->group == TET_B && s->layer == 2 && s->row == 7 && s->column == 0);
        } else
            assert_string_equal(hash[i], hash[0]);
        definition_free(d);
        expect_idempotent(texts[i]);
    }
    assert_string_not_equal(hash[4], hash[0]);
}

/* What one rule of a sweep has a use for does not change the runs of the others. */
static void test_later_settings_of_other_rules(void **state)
{
    (void)state;
    static const char text[] =
        "{" BASE ",\"rule\":{\"name\":\"sal\"},\"record\":{\"spectrum\":true,"
        "\"traces\":{\"groups\":[\"V\",\"U\"],\"per_array\":2},\"synapses\":[\"V1/0/0\"]},"
        "\"sweep\":{\"rule.name\":[\"bp\",\"sal\"]}}";
    struct definition *d = read_good(text),
                      *plain = read_good("{" BASE ",\"rule\":{\"name\":\"bp\"}}");
    assert_int_equal(d->n_runs, 2);
    assert_string_equal(d->runs[0].hash, plain->runs[0].hash);
    assert_true(json_is_true(member(d->runs[1].resolved, "record.spectrum")));
    assert_int_equal(json_array_size(member(d->runs[1].resolved, "record.synapses")), 1);
    definition_free(plain);
    definition_free(d);
    expect_idempotent(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wiring),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_timing),
        cmocka_unit_test(test_mirror),
        cmocka_unit_test(test_mirror_of_another),
        cmocka_unit_test(test_direct),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_laterals_of_convolutions),
        cmocka_unit_test(test_later_settings),
        cmocka_unit_test(test_later_settings_of_other_rules),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
