// SPDX-License-Identifier: Apache-2.0
/* Definitions, resolved: defaults, plans, hashes; resolving twice gives the same. */
#include "definition_fixture.h"

static void test_defaults(void **state)
{
    (void)state;
    struct definition *d = read_good("{" SAL "}");
    const json_t *run = d->runs[0].resolved;
    assert_int_equal(d->n_runs, 1);
    assert_string_equal(d->name, "untitled");
    expect_at(run, "dataset",
              "{\"name\":\"strokes\",\"seed\":1,\"standardize\":true,\"test\":5000,"
              "\"train\":20000,\"validation\":0}");
    expect_at(run, "network",
              "{\"layers\":[{\"activation\":\"relu\",\"descending_units\":16,\"type\":\"dense\","
              "\"units\":16}],\"loss\":\"cross_entropy\"}");
    expect_at(run, "rule.gate", "true");
    expect_at(run, "rule.groups.W", "{\"init\":\"normal\",\"plastic\":true,\"scale\":1}");
    expect_at(run, "rule.groups.B", "{\"init\":\"normal\",\"plastic\":true,\"scale\":1}");
    expect_at(run, "rule.groups.V", "{\"init\":\"normal\",\"plastic\":true,\"scale\":0.5}");
    expect_at(run, "optimizer.groups.U", "{\"decay\":0,\"lr\":0.1}");
    expect_at(run, "optimizer.schedule", "{\"type\":\"constant\"}");
    expect_at(run, "training",
              "{\"batch\":64,\"epochs\":10,\"seed\":1,\"shuffle\":true,\"threads\":1}");
    expect_at(run, "record",
              "{\"alignment\":true,\"checkpoint_epochs\":1,\"every\":100,\"keep\":2}");
    expect_at(d->runs[0].parameters, "", "{}");
    assert_int_equal(d->runs[0].steps, 10 * 313);
    assert_true(d->runs[0].memory_bytes > 25000 * 784);
    definition_free(d);

    d = read_good("{\"dataset\":{\"name\":\"mnist\"},\"network\":{},\"rule\":{\"name\":\"fa\","
                  "\"groups\":{\"W\":{\"scale\":2}}},"
                  "\"optimizer\":{\"lr\":1,\"groups\":{\"B\":{\"lr\":0}},"
                  "\"schedule\":{\"type\":\"cosine\"}}}");
    run = d->runs[0].resolved;
    expect_at(run, "dataset.train", "120");
    expect_at(run, "dataset.test", "20");
    expect_at(run, "dataset.seed", "(nothing)");
    assert_memory_equal(json_string_value(member(run, "dataset.sha256")), "sha256:", 7);
    expect_at(run, "rule.groups",
              "{\"B\":{\"init\":\"normal\",\"plastic\":false,\"scale\":1},"
              "\"W\":{\"init\":\"normal\",\"plastic\":true,\"scale\":2}}");
    expect_at(run, "optimizer.groups",
              "{\"B\":{\"decay\":0,\"lr\":0},\"W\":{\"decay\":0,\"lr\":1}}");
    expect_at(run, "optimizer.schedule", "{\"factor\":0,\"type\":\"cosine\"}");
    assert_true(json_is_real(member(run, "optimizer.lr")));
    definition_free(d);

    d = read_good("{\"dataset\":{\"name\":\"bare\",\"test\":6},\"network\":{},"
                  "\"rule\":{\"name\":\"bp\"},\"training\":{\"batch\":8.0,\"epochs\":3},"
                  "\"initial_weights\":\"start.npz\"}");
    run = d->runs[0].resolved;
    expect_at(run, "dataset.train", "24");
    expect_at(run, "rule",
              "{\"groups\":{\"W\":{\"init\":\"normal\",\"plastic\":true,\"scale\":1}},"
              "\"name\":\"bp\"}");
    assert_true(json_is_integer(member(run, "training.batch")));
    assert_int_equal(strlen(json_string_value(member(run, "initial_weights_sha256"))), 71);
    definition_free(d);

    d = read_good("{" BASE
                  ",\"rule\":{\"name\":\"sal\",\"groups\":{\"U\":{\"init\":\"identity\"}}}}");
    expect_at(d->runs[0].resolved, "rule.groups.U.scale", "1");
    definition_free(d);
}

static void test_plan(void **state)
{
    (void)state;
    struct definition *d = read_good(
        "{\"dataset\":{\"name\":\"bare\",\"test\":6,\"validation\":4,\"standardize\":\"feature\"},"
        "\"network\":{\"layers\":[{\"units\":8,\"descending_units\":5,\"activation\":\"tanh\"},"
        "{\"units\":7}],\"loss\":\"mse\"},"
        "\"rule\":{\"name\":\"sal\",\"gate\":false,\"groups\":{\"V\":{\"init\":\"identity\","
        "\"plastic\":false},\"B\":{\"init\":\"uniform\",\"scale\":3}}},"
        "\"optimizer\":{\"lr\":0.5,\"decay\":0.25,\"momentum\":0.125,"
        "\"schedule\":{\"type\":\"step\",\"epochs\":[2,4],\"factor\":0.5},"
        "\"groups\":{\"U\":{\"lr\":0.0625}}},"
        "\"training\":{\"batch\":6,\"epochs\":5,\"seed\":77,\"shuffle\":false,\"max_steps\":9},"
        "\"record\":{\"every\":3,\"alignment\":false}}");
    struct dataset_spec spec;
    struct dataset_info info;
    struct tet_plan plan;
    struct tet_error error = {0};
    char *text = dump(d->runs[0].resolved);
    json_t *stored;
    assert_int_equal(json_read(&stored, text, strlen(text), &error), TET_OK);
    assert_int_equal(definition_dataset(&spec, stored, &error), TET_OK);
    assert_string_equal(spec.name, "bare");
    assert_int_equal(spec.seed + spec.train + spec.test, 0);
    assert_int_equal(catalog_info(catalog, &spec, &info, &error), TET_OK);
    assert_int_equal(definition_plan(&plan, stored, &info, &error), TET_OK);
    assert_int_equal(tet_plan_check(&plan, &info.shape, &error), TET_OK);
    assert_int_equal(plan.n_train, 20);
    assert_int_equal(plan.n_validation, 4);
    assert_int_equal(plan.n_test, 6);
    assert_int_equal(plan.standardize, TET_STANDARDIZE_FEATURE);
    assert_int_equal(plan.n_hidden, 2);
    assert_int_equal(plan.hidden[0].units, 8);
    assert_int_equal(plan.hidden[0].descending_units, 5);
    assert_int_equal(plan.hidden[0].activation, TET_TANH);
    assert_int_equal(plan.hidden[1].descending_units, 7);
    assert_int_equal(plan.loss, TET_MSE);
    assert_int_equal(plan.rule, TET_RULE_SAL);
    assert_false(plan.gate);
    assert_int_equal(plan.group[TET_V].init, TET_INIT_IDENTITY);
    assert_false(plan.group[TET_V].plastic);
    assert_true(plan.group[TET_V].scale == 1.0f && plan.group[TET_B].scale == 3.0f);
    assert_int_equal(plan.group[TET_B].init, TET_INIT_UNIFORM);
    assert_true(plan.group[TET_U].lr == 0.0625f && plan.group[TET_U].decay == 0.25f);
    assert_true(plan.group[TET_W].lr == 0.5f && plan.momentum == 0.125f);
    assert_int_equal(plan.schedule.type, TET_SCHEDULE_STEP);
    assert_int_equal(plan.schedule.n_epochs, 2);
    assert_int_equal(plan.schedule.epochs[1], 4);
    assert_true(plan.schedule.factor == 0.5f);
    assert_int_equal(plan.batch, 6);
    assert_int_equal(plan.epochs, 5);
    assert_int_equal(plan.seed, 77);
    assert_int_equal(plan.max_steps, 9);
    assert_false(plan.shuffle);
    assert_int_equal(plan.record_every, 3);
    assert_false(plan.record_alignment);
    assert_int_equal(d->runs[0].steps, 9);

    info.sha256[10] ^= 1;
    assert_int_equal(definition_plan(&plan, stored, &info, NULL), TET_BAD_DATASET);
    info.sha256[10] ^= 1;
    info.n_train = 29;
    assert_int_equal(definition_plan(&plan, stored, &info, NULL), TET_BAD_DATASET);
    info.n_train = 30;
    json_object_del(json_object_get(stored, "training"), "seed");
    assert_int_equal(definition_plan(&plan, stored, &info, &error), TET_BAD_DEFINITION);
    assert_non_null(strstr(error.message, "training/seed"));
    json_decref(stored);
    free(text);
    definition_free(d);
}

static char *slurp(const char *path)
{
    static char text[1 << 16];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        print_error("%s: cannot be read\n", path);
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    return text;
}

/* Every example, with the hashes that it has had: what is stored under them is found again. */
static void test_examples(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t n_runs;
        const char *hash, *first; // of the experiment, of its first run
    } examples[] = {{"schema/examples/sal-strokes.json", 1,
                     "e0e0b5e895cea7547cf2c8e485fec6772d937b8a71116f9a3cb39bada625b6bb",
                     "458a19f4caf64183075224033cf7cb4456ea6031ed6583c5f4f7568cc8d83702"},
                    {"schema/examples/sal-bp-mnist.json", 6,
                     "1f2719aefd426365632e647e4dd71013f0b334bf067560166d7cc7403fa08036",
                     "5608c2d30ba34b138b71bbe1ba4fb830c9d0a6ddd5974d69dd5d6dfba915e898"},
                    {"schema/examples/sal-half-width.json", 1,
                     "574bc8280962db1010ab2fb69d7c36df0f1e5731ffe72de15cc80b624c8be939",
                     "d3eaa62b610093f12ba7aa5c0cd72114a555736b3618d15121905174699cc14c"},
                    {"schema/examples/kp-strokes.json", 1,
                     "620392676c16af54b1067744d274b1bf2c098b249510b84448f915a33ed00e4f",
                     "60a76d259ba3aa668a63b0666cf0e15a693671d3c2a451cb303711381dc24972"},
                    {"schema/examples/demo.json", 6,
                     "8999b3fc69dcccd6ebb51f2fbe7e745b6e601c258dfddbb191afe4d791b88f02",
                     "535fd50a245d7b83ed849d3a3593b5c24db5fa87816ca3686053d574a0968fb4"},
                    {"schema/examples/sal-convolution-strokes.json", 6,
                     "1ed2ee9860744cc6fa18abcce710c08e3bcaff76c241ad7672b731f19378bba8",
                     "6ece45f3fd15f9a46bd6f09bb30159d17a10b733d377d1070de585e6368b2c70"},
                    {"schema/examples/convolution-cifar10.json", 6,
                     "594c92d79c90be8f35657dd7c29de3a9c05a19f4f54a336831a567e9fee594ca",
                     "6045830ed497bd0d5c6e0c5a1909d9b846c47a2cbc1eefcc6f577b26af8f1163"},
                    {"schema/examples/rules-strokes.json", 27,
                     "9435b9bf254e3a4b35802a4129e70aee8a69559aaafc011f25381a0aa99caefe",
                     "731d89602655c575469d5ea3d012b3ec7f77cb37382365765010dd2d2ad42d60"},
                    {"schema/examples/wiring-strokes.json", 16,
                     "3b3661063cfaeae3a91a5f9d8739472e0d2cd2bcf433414ca1744d4bb93d0ab1",
                     "2ba0e35ef70a287d995e8ae6fc48224d22742363b947a912629d8d0a2a704643"},
                    {"schema/examples/protocol-motif.json", 1,
                     "644ede0e7433e44e474cd6981dbd30cdf858b67c63a42268f8d488c84e925c0b",
                     "e7560ffb7359a44d09c2f38df68360df9aa48a3487c40f80632d903b440cb7ac"}};
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        const char *text = slurp(examples[i].path);
        struct definition *d = read_good(text);
        assert_int_equal(d->n_runs, examples[i].n_runs);
        assert_string_equal(d->hash + 7, examples[i].hash);
        assert_string_equal(d->runs[0].hash + 7, examples[i].first);
        definition_free(d);
        expect_idempotent(text);
    }
}

static void test_idempotence(void **state)
{
    (void)state;
    expect_idempotent("{" SAL "}");
    expect_idempotent("{" SAL ",\"sweep\":{\"training.seed\":[1,2.0]}}");
    expect_idempotent("{" BASE ",\"rule\":{\"gate\":false,\"groups\":{\"V\":{}}},"
                      "\"sweep\":{\"rule.name\":[\"sal\",\"fa\",\"kp\",\"bp\"]}}");
    expect_idempotent("{" SAL ",\"optimizer\":{\"schedule\":{\"type\":\"cosine\"}},"
                      "\"sweep\":{\"optimizer.schedule.type\":[\"constant\",\"cosine\"]}}");
    expect_idempotent("{" SAL ",\"sweep\":{\"optimizer.schedule\":[{\"type\":\"constant\"},"
                      "{\"type\":\"step\",\"epochs\":[3]}],\"optimizer.groups.V.lr\":[0.5,1]}}");
    expect_idempotent("{" SAL ",\"sweep\":{\"network.layers\":[[],[{\"units\":3}]]}}");
    expect_idempotent("{\"network\":{},\"rule\":{\"name\":\"bp\"},\"training\":{\"batch\":8},"
                      "\"sweep\":{\"dataset.name\":[\"bare\",\"mnist\",\"strokes\"]}}");
    expect_idempotent("{" SAL
                      ",\"initial_weights\":\"start.npz\",\"sweep\":{\"optimizer.lr\":[1]}}");
    expect_idempotent("{" SAL ",\"sweep\":{\"initial_weights\":[\"start.npz\"]}}");
}

static void test_hashes(void **state)
{
    (void)state;
    static const char *const equal[] = {
        "{" SAL ",\"optimizer\":{\"lr\":1,\"decay\":0}}",
        "{ \"rule\" : {\"groups\":{\"V\":{\"scale\":0.5}},\"name\":\"s\\u0061l\"},\n" BASE
        ",\"optimizer\":{\"lr\":1.0,\"decay\":-0.0,\"groups\":{\"W\":{\"lr\":1e0}}}}",
        "{" SAL ",\"optimizer\":{\"lr\":10e-1},\"training\":{\"seed\":1.0,\"epochs\":1e1}}"};
    static const char *const same_run[] = {
        "{" SAL ",\"name\":\"another\",\"tags\":[\"x\"],\"optimizer\":{\"lr\":1}}",
        "{" SAL ",\"optimizer\":{\"lr\":1},\"record\":{\"keep\":9,\"checkpoint_epochs\":4},"
        "\"training\":{\"threads\":1}}"};
    struct definition *first = read_good(equal[0]);
    assert_int_equal(strlen(first->hash), 71);
    assert_memory_equal(first->hash, "sha256:", 7);
    for (size_t i = 1; i < 3; i++) {
        struct definition *d = read_good(equal[i]);
        assert_string_equal(d->hash, first->hash);
        assert_string_equal(d->runs[0].hash, first->runs[0].hash);
        definition_free(d);
    }
    for (size_t i = 0; i < 2; i++) {
        struct definition *d = read_good(same_run[i]);
        assert_string_not_equal(d->hash, first->hash);
        assert_string_equal(d->runs[0].hash, first->runs[0].hash);
        definition_free(d);
    }
    struct definition *d = read_good("{" SAL ",\"optimizer\":{\"lr\":1.0000000000000002}}");
    assert_string_not_equal(d->runs[0].hash, first->runs[0].hash);
    definition_free(d);
    definition_free(first);
}

static void test_rule_names(void **state)
{
    (void)state;
    const json_t *names = member(schema_experiment(), "$defs.rule.properties.name.enum");
    assert_int_equal(json_array_size(names), TET_RULES);
    for (size_t i = 0; i < TET_RULES; i++)
        assert_string_equal(json_string_value(json_array_get(names, i)),
                            tet_rule_info((enum tet_rule_name)i)->name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_plan),
        cmocka_unit_test(test_examples), cmocka_unit_test(test_idempotence),
        cmocka_unit_test(test_hashes),   cmocka_unit_test(test_rule_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
