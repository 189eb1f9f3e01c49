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
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_idempotence),
        cmocka_unit_test(test_later_settings),
        cmocka_unit_test(test_later_settings_of_other_rules),
        cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_rule_names),
        cmocka_unit_test(test_wiring),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_timing),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_laterals_of_convolutions),
        cmocka_unit_test(test_mirror),
        cmocka_unit_test(test_direct),
        cmocka_unit_test(test_mirror_of_another),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
