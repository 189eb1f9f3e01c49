// SPDX-License-Identifier: Apache-2.0
/* Convolutional layers of definitions: defaults, plans, hashes, sweeps, faults; and that nothing which
 * passes here is left for the core to refuse. */
#include "definition_fixture.h"
#include "random.h"

#define NET(dataset, rule, layers)                                                                 \
    "{\"dataset\":{\"name\":\"" dataset "\"},\"rule\":{" rule "},\"network\":{\"layers\":[" layers \
    "]},\"training\":{\"batch\":4}"
#define STROKES(layers) NET("strokes", "\"name\":\"bp\"", layers)
#define BAD(layers)     STROKES(layers) "}"
#define CONV            "{\"type\":\"conv2d\",\"channels\":8,\"kernel\":5}"
#define CONV3           "{\"type\":\"conv2d\",\"channels\":6,\"kernel\":3}"
#define MAX             "{\"type\":\"max_pool\",\"size\":2}"
#define AVG             "{\"type\":\"avg_pool\",\"size\":2}"
#define FLAT            "{\"type\":\"flatten\"}"
#define DENSE           "{\"units\":16}"

/* ---- what is right ---- */

static void test_defaults(void **state)
{
    (void)state;
    struct definition *d = read_good(BAD(CONV "," MAX "," CONV3 "," AVG "," FLAT "," DENSE));
    expect_at(d->runs[0].resolved, "network.layers",
              "[{\"activation\":\"relu\",\"channels\":8,\"descending_channels\":8,\"kernel\":5,"
              "\"padding\":0,\"stride\":1,\"type\":\"conv2d\"},"
              "{\"size\":2,\"stride\":2,\"type\":\"max_pool\"},"
              "{\"activation\":\"relu\",\"channels\":6,\"descending_channels\":6,\"kernel\":3,"
              "\"padding\":0,\"stride\":1,\"type\":\"conv2d\"},"
              "{\"size\":2,\"stride\":2,\"type\":\"avg_pool\"},{\"type\":\"flatten\"},"
              "{\"activation\":\"relu\",\"descending_units\":16,\"type\":\"dense\",\"units\":16}]");
    definition_free(d);
    d = read_good(NET("colour", "\"name\":\"sal\",\"gate\":false",
                      "{\"type\":\"conv2d\",\"channels\":8,\"kernel\":3.0,\"padding\":1,"
                      "\"stride\":2,\"descending_channels\":4,\"activation\":\"tanh\"},"
                      "{\"type\":\"avg_pool\",\"size\":3,\"stride\":1}") "}");
    expect_at(d->runs[0].resolved, "network.layers",
              "[{\"activation\":\"tanh\",\"channels\":8,\"descending_channels\":4,\"kernel\":3,"
              "\"padding\":1,\"stride\":2,\"type\":\"conv2d\"},"
              "{\"size\":3,\"stride\":1,\"type\":\"avg_pool\"}]");
    assert_true(json_is_integer(member(d->runs[0].resolved, "network.layers.0.kernel")));
    definition_free(d);
}

static enum tet_err plan_of(const json_t *resolved, struct tet_plan *plan,
                            struct dataset_info *info, struct tet_error *error)
{
    struct dataset_spec spec;
    enum tet_err err = definition_dataset(&spec, resolved, error);
    if (err == TET_OK)
        err = catalog_info(catalog, &spec, info, error);
    return err == TET_OK ? definition_plan(plan, resolved, info, error) : err;
}

static void test_plan(void **state)
{
    (void)state;
    static const struct tet_layer_plan expected[] = {
        {8, 4, TET_TANH, TET_CONV2D, 5, 2, 2, TET_POOL_AVG, 2, 1},
        {6, 6, TET_RELU, TET_CONV2D, 1, 1, 0, TET_POOL_NONE, 0, 0},
        {5, 5, TET_IDENTITY, TET_CONV2D, 2, 1, 1, TET_POOL_MAX, 3, 2},
        {16, 16, TET_RELU, TET_DENSE, 0, 0, 0, TET_POOL_NONE, 0, 0},
        {7, 3, TET_RELU, TET_DENSE, 0, 0, 0, TET_POOL_NONE, 0, 0}};
    struct definition *d = read_good(
        NET("colour", "\"name\":\"sal\",\"gate\":false",
            "{\"type\":\"conv2d\",\"channels\":8,\"kernel\":5,\"padding\":2,\"stride\":2,"
            "\"descending_channels\":4,\"activation\":\"tanh\"},"
            "{\"type\":\"avg_pool\",\"size\":2,\"stride\":1},"
            "{\"type\":\"conv2d\",\"channels\":6,\"kernel\":1},"
            "{\"type\":\"conv2d\",\"channels\":5,\"kernel\":2,\"padding\":1,"
            "\"activation\":\"identity\"},{\"type\":\"max_pool\",\"size\":3,\"stride\":2}," FLAT
            "," DENSE ",{\"units\":7,\"descending_units\":3}") "}");
    struct tet_plan plan;
    struct dataset_info info;
    struct tet_error error = {0};
    char *text = dump(d->runs[0].resolved);
    json_t *stored;
    assert_int_equal(json_read(&stored, text, strlen(text), &error), TET_OK);
    if (plan_of(stored, &plan, &info, &error) != TET_OK ||
        tet_plan_check(&plan, &info.shape, &error) != TET_OK)
        fail_msg("%s", error.message);
    assert_int_equal(plan.n_hidden, 5);
    for (size_t i = 0; i < 5; i++)
        assert_memory_equal(&plan.hidden[i], &expected[i], sizeof expected[i]);
    /* 6 x 8, 3 x 4, pooled 2 x 3, 3 x 4, pooled 1 x 1 */
    const struct tet_grid g = tet_plan_grid(&plan, &info.shape, 3);
    assert_int_equal(g.rows, 3);
    assert_int_equal(g.columns, 4);
    assert_int_equal(g.pooled_rows, 1);
    assert_int_equal(g.pooled_columns, 1);

    /* What comes back from a store is not believed. */
    json_t *layers = (json_t *)member(stored, "network.layers");
    json_object_set_new(json_array_get(layers, 0), "type", json_string("conv3d"));
    assert_int_equal(plan_of(stored, &plan, &info, &error), TET_BAD_DEFINITION);
    json_array_remove(layers, 0);
    error = (struct tet_error){0};
    assert_int_equal(plan_of(stored, &plan, &info, &error), TET_BAD_DEFINITION);
    assert_non_null(strstr(error.message, "convolution before a pooling"));
    json_array_remove(layers, 0);
    json_array_insert(layers, 2, json_array_get(layers, 2));
    assert_int_equal(plan_of(stored, &plan, &info, NULL), TET_BAD_DEFINITION);
    json_array_remove(layers, 2);
    assert_int_equal(plan_of(stored, &plan, &info, NULL), TET_OK);
    json_object_del(json_array_get(layers, 2), "stride");
    assert_int_equal(plan_of(stored, &plan, &info, NULL), TET_BAD_DEFINITION);
    json_decref(stored);
    free(text);
    definition_free(d);
}

/* What says the same is the same run, though not the same experiment. */
static void test_hashes(void **state)
{
    (void)state;
    static const char *const same[] = {
        BAD(CONV "," MAX "," DENSE),
        BAD(CONV "," MAX "," FLAT "," DENSE),
        BAD("{\"type\":\"conv2d\",\"channels\":8,\"kernel\":5,\"stride\":1,\"padding\":0,"
            "\"activation\":\"relu\",\"descending_channels\":8},"
            "{\"type\":\"max_pool\",\"size\":2,\"stride\":2},{\"type\":\"flatten\"},"
            "{\"type\":\"dense\",\"units\":16}"),
    };
    static const char *const other[] = {BAD(CONV "," AVG "," DENSE), BAD(CONV "," DENSE),
                                        BAD(CONV3 "," MAX "," DENSE), BAD(DENSE)};
    struct definition *first = read_good(same[0]);
    for (size_t i = 1; i < 3; i++) {
        struct definition *d = read_good(same[i]);
        assert_string_equal(d->runs[0].hash, first->runs[0].hash);
        definition_free(d);
    }
    for (size_t i = 0; i < 4; i++) {
        struct definition *d = read_good(other[i]);
        assert_string_not_equal(d->runs[0].hash, first->runs[0].hash);
        definition_free(d);
    }
    definition_free(first);
    expect_idempotent(same[0]);
    expect_idempotent(same[1]);
}

/* ---- sweeps ---- */

static void test_sweeps(void **state)
{
    (void)state;
    static const char *const texts[] = {
        STROKES(CONV "," MAX "," CONV3) ",\"sweep\":{\"network.layers.0.channels\":[4,5]}}",
        STROKES(CONV "," MAX "," CONV3) ",\"sweep\":{\"network.layers.1.type\":[\"max_"
                                        "pool\",\"avg_pool\"]}}",
        STROKES(CONV "," MAX "," CONV3) ",\"sweep\":{\"network.layers.1\":[" MAX
                                        ",{\"type\":\"avg_pool\",\"size\":3}]}}",
        STROKES(CONV "," MAX) ",\"sweep\":{\"network.layers\":[[" CONV "],[" CONV "," AVG "," FLAT
                              "],[" DENSE "]]}}",
        NET("strokes", "\"gate\":false",
            "{\"type\":\"conv2d\",\"channels\":8,\"kernel\":5,\"descending_channels\":"
            "4}") ",\"sweep\":{\"rule.name\":[\"sal\",\"bp\",\"kp\"]}}",
    };
    struct definition *d = read_good(texts[0]);
    assert_int_equal(d->n_runs, 2);
    expect_at(d->runs[1].resolved, "network.layers.0.channels", "5");
    expect_at(d->runs[1].resolved, "network.layers.0.descending_channels", "5");
    expect_at(d->runs[1].parameters, "", "{\"network.layers.0.channels\":5}");
    expect_at(d->resolved, "network.layers.0",
              "{\"activation\":\"relu\",\"channels\":8,\"kernel\":5,\"padding\":0,\"stride\":1,"
              "\"type\":\"conv2d\"}");
    definition_free(d);
    d = read_good(texts[1]);
    assert_int_equal(d->n_runs, 2);
    expect_at(d->runs[1].resolved, "network.layers.1",
              "{\"size\":2,\"stride\":2,\"type\":\"avg_pool\"}");
    expect_at(d->resolved, "network.layers.1", "{\"size\":2,\"type\":\"max_pool\"}");
    definition_free(d);
    d = read_good(texts[3]);
    assert_int_equal(d->n_runs, 3);
    definition_free(d);
    d = read_good(texts[4]);
    assert_int_equal(d->n_runs, 3);
    expect_at(d->runs[0].resolved, "network.layers.0.descending_channels", "4");
    expect_at(d->runs[1].resolved, "network.layers.0.descending_channels", "8");
    expect_at(d->runs[2].resolved, "network.layers.0.descending_channels", "8");
    definition_free(d);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_idempotent(texts[i]);

    /* With flatten and without are one run. */
    d = read_good(STROKES("") ",\"sweep\":{\"network.layers\":[[" CONV "," FLAT "," DENSE "],[" CONV
                              "," DENSE "]]}}");
    assert_int_equal(d->n_runs, 1);
    definition_free(d);
}

/* ---- faults ---- */

#define AT(i, key) "/network/layers/" #i "/" key

static const struct bad_case bad_cases[] = {
    /* what stands above what */
    {BAD(DENSE "," CONV),
     {{AT(1, "type"), "\"conv2d\"", "=dense: a convolution cannot stand above a dense layer",
       NULL}}},
    {BAD(CONV "," DENSE "," CONV "," MAX "," CONV),
     {{AT(2, "type"), "\"conv2d\"", "above a dense layer", NULL},
      {AT(4, "type"), "\"conv2d\"", "above a dense layer", NULL}}},
    {BAD(CONV "," FLAT "," CONV),
     {{AT(2, "type"), "\"conv2d\"", "=dense: a convolution cannot stand above flatten", NULL}}},
    {BAD(MAX "," CONV),
     {{AT(0, "type"), "\"max_pool\"",
       "=conv2d or dense: a pooling stands directly after a convolution", NULL}}},
    {BAD(CONV "," MAX "," AVG "," CONV3),
     {{AT(2, "type"), "\"avg_pool\"", "=conv2d, flatten or dense: a convolution has one pooling",
       NULL}}},
    {BAD(CONV "," DENSE "," AVG "," FLAT),
     {{AT(2, "type"), "\"avg_pool\"", "=dense: a pooling stands directly after a convolution",
       NULL},
      {AT(3, "type"), "\"flatten\"",
       "=dense: flatten stands between the convolutions and the first dense layer", NULL}}},
    {BAD(CONV "," FLAT "," MAX), {{AT(2, "type"), "\"max_pool\"", "dense: a pooling", NULL}}},
    {BAD(FLAT "," DENSE), {{AT(0, "type"), "\"flatten\"", "conv2d or dense: flatten", NULL}}},
    {BAD(DENSE "," FLAT), {{AT(1, "type"), "\"flatten\"", "dense: flatten", NULL}}},
    {BAD(CONV "," FLAT "," FLAT), {{AT(2, "type"), "\"flatten\"", "dense: flatten", NULL}}},
    /* fields */
    {BAD("{\"type\":\"conv2d\",\"units\":8}"),
     {{AT(0, "channels"), "null", "required: integer from 1 to 1048576", NULL},
      {AT(0, "kernel"), "null", "required: integer from 1 to 64", NULL},
      {AT(0, "units"), "8",
       "=one of type, channels, kernel, stride, padding, activation, descending_channels; units "
       "goes with type dense",
       NULL}}},
    {BAD("{\"units\":8,\"channels\":4,\"stride\":2}"),
     {{AT(0, "channels"), "4", "descending_units; channels goes with type conv2d", NULL},
      {AT(0, "stride"), "2", "; stride goes with type conv2d or max_pool or avg_pool", NULL}}},
    {BAD(CONV ",{\"type\":\"flatten\",\"size\":2}"),
     {{AT(1, "size"), "2", "=one of type; size goes with type max_pool or avg_pool", NULL}}},
    {BAD("{\"type\":\"conv2d\",\"chanels\":8,\"channels\":8,\"kernel\":3}"),
     {{AT(0, "chanels"), "8", "one of type, channels", "channels"}}},
    {BAD(CONV ",{\"type\":\"maxpool\",\"size\":2}," DENSE),
     {{AT(1, "type"), "\"maxpool\"", "=one of dense, conv2d, max_pool, avg_pool, flatten",
       "max_pool"}}},
    {BAD(CONV ",{\"type\":\"avg_pool\"}"),
     {{AT(1, "size"), "null", "required: integer from 1 to 64", NULL}}},
    {BAD("{\"type\":7,\"units\":8}"), {{AT(0, "type"), "7", "one of dense, conv2d", NULL}}},
    {BAD("{\"type\":\"conv2d\",\"channels\":0,\"kernel\":65,\"stride\":0,\"padding\":64,"
         "\"descending_channels\":-1}"),
     {{AT(0, "channels"), "0", "=integer from 1 to 1048576", NULL},
      {AT(0, "kernel"), "65", "=integer from 1 to 64", NULL},
      {AT(0, "stride"), "0", "=integer from 1 to 64", NULL},
      {AT(0, "padding"), "64", "=integer from 0 to 63", NULL},
      {AT(0, "descending_channels"), "-1", "=integer from 1 to 1048576", NULL}}},
    {BAD(CONV ",{\"type\":\"max_pool\",\"size\":0,\"stride\":65}"),
     {{AT(1, "size"), "0", "=integer from 1 to 64", NULL},
      {AT(1, "stride"), "65", "=integer from 1 to 64", NULL}}},
    {BAD("{\"type\":\"conv2d\",\"channels\":8,\"kernel\":3,\"padding\":3}"),
     {{AT(0, "padding"), "3", "=integer from 0 to 2 (less than kernel)", NULL}}},
    /* windows */
    {BAD("{\"type\":\"conv2d\",\"channels\":8,\"kernel\":29}," DENSE),
     {{AT(0, "kernel"), "29", "=integer from 1 to 28: the image below is 28 x 28", NULL}}},
    {BAD(CONV "," MAX ",{\"type\":\"conv2d\",\"channels\":8,\"kernel\":15,\"padding\":1}"),
     {{AT(2, "kernel"), "15",
       "=integer from 1 to 14: the image below is 12 x 12 with 1 of padding around it", NULL}}},
    {BAD(CONV ",{\"type\":\"max_pool\",\"size\":25,\"stride\":2}," CONV),
     {{AT(1, "size"), "25", "=integer from 1 to 24: the image below is 24 x 24", NULL}}},
    {NET("colour", "\"name\":\"bp\"", "{\"type\":\"conv2d\",\"channels\":8,\"kernel\":7}") "}",
     {{AT(0, "kernel"), "7", "=integer from 1 to 6: the image below is 6 x 8", NULL}}},
    {NET("tall", "\"name\":\"bp\"", "{\"type\":\"conv2d\",\"channels\":8,\"kernel\":6}") "}",
     {{AT(0, "kernel"), "6", "=integer from 1 to 5: the image below is 9 x 5", NULL}}},
    {"{\"dataset\":{\"name\":\"reals\"},\"rule\":{\"name\":\"bp\"},\"training\":{\"batch\":4},"
     "\"network\":{\"loss\":\"mse\",\"layers\":[" CONV "," CONV "]}}",
     {{AT(0, "type"), "\"conv2d\"",
       "=dense: the examples of dataset reals are not images but 3 numbers each", NULL}}},
    /* the descending stream */
    {NET("strokes", "\"name\":\"sal\"",
         "{\"type\":\"conv2d\",\"channels\":8,\"kernel\":5,\"descending_channels\":4}") "}",
     {{AT(0, "descending_channels"), "4", "=8 (channels), or rule.gate false", NULL}}},
    {NET("strokes", "\"name\":\"kp\",\"gate\":false",
         "{\"type\":\"conv2d\",\"channels\":8,\"kernel\":5,\"descending_channels\":4}") "}",
     {{AT(0, "descending_channels"), "4", "=8 (channels): rule kp has no laterals", NULL}}},
    {NET("strokes", "\"name\":\"sal\",\"gate\":false",
         "{\"type\":\"conv2d\",\"channels\":8,\"kernel\":5,\"descending_channels\":4}," MAX) "}",
     {{AT(0, "descending_channels"), "4", "8 (channels): the winners of max_pool", NULL}}},
    /* sizes */
    {BAD("{\"type\":\"conv2d\",\"channels\":21400,\"kernel\":1}"),
     {{AT(0, "channels"), "21400",
       "=fewer: its image is 28 x 28, and a layer has at most 16777216 neurons", NULL}}},
    {NET("strokes", "\"name\":\"sal\",\"gate\":false",
         "{\"type\":\"conv2d\",\"channels\":1,\"kernel\":1,\"descending_channels\":21400}") "}",
     {{AT(0, "descending_channels"), "21400", "fewer: its image is 28 x 28", NULL}}},
    {BAD("{\"type\":\"conv2d\",\"channels\":4097,\"kernel\":64,\"padding\":20}"),
     {{AT(0, "kernel"), "64", "=less: with 4097 channels a neuron has more than 16777216 synapses",
       NULL}}},
    {BAD("{\"type\":\"conv2d\",\"channels\":5000,\"kernel\":1},"
         "{\"type\":\"conv2d\",\"channels\":1,\"kernel\":60,\"padding\":20}"),
     {{AT(1, "kernel"), "60",
       "=less: with 5000 channels below a neuron has more than 16777216 "
       "synapses",
       NULL}}},
    {BAD("{\"type\":\"conv2d\",\"channels\":20000,\"kernel\":1}," DENSE),
     {{"/network", NULL, "at most 1073741824 bytes", NULL}}},
    /* sweeps */
    {STROKES(CONV) ",\"sweep\":{\"network.layers.0.kernel\":[3,29]}}",
     {{"/sweep/network.layers.0.kernel/1", "29", "the image below is 28 x 28", NULL}}},
    {STROKES(CONV) ",\"sweep\":{\"network.layers.0.units\":[3]}}",
     {{"/sweep/network.layers.0.units/0", "3", "units goes with type dense", NULL}}},
    {STROKES(CONV) ",\"sweep\":{\"network.layers.0.kernal\":[3]}}",
     {{"/sweep/network.layers.0.kernal", "[3]", "network.layers.0.kernel",
       "network.layers.0.kernel"}}},
    {STROKES(CONV "," MAX) ",\"sweep\":{\"network.layers.1\":[" AVG "," CONV "," FLAT ",{}]}}",
     {{"/sweep/network.layers.1/3/units", "null", "required", NULL}}},
    {STROKES(CONV "," DENSE) ",\"sweep\":{\"network.layers.0\":[" MAX "]}}",
     {{"/sweep/network.layers.0/0/type", "\"max_pool\"", "a pooling stands", NULL}}},
    {NET("strokes", "\"name\":\"bp\"", CONV) ",\"sweep\":{\"dataset.name\":[\"bare\",\"mnist\"]}}",
     {{AT(0, "kernel"), "5", "=integer from 1 to 2: the image below is 2 x 2", NULL}}},
    /* everything at once */
    {NET("strokes", "\"name\":\"sal\"",
         "{\"type\":\"conv2d\",\"channels\":8,\"kernel\":9,\"padding\":9,"
         "\"descending_channels\":4}," AVG "," AVG ",{\"type\":\"conv2d\",\"channels\":8},7," DENSE
         "," CONV) "}",
     {{AT(3, "kernel"), "null", "required", NULL},
      {"/network/layers/4", "7", "=object", NULL},
      {AT(2, "type"), "\"avg_pool\"", "one pooling", NULL},
      {AT(6, "type"), "\"conv2d\"", "above a dense layer", NULL},
      {AT(0, "padding"), "9", "less than kernel", NULL},
      {AT(0, "descending_channels"), "4", "rule.gate false", NULL}}},
};

static void test_faults(void **state)
{
    (void)state;
    expect_faults(bad_cases, sizeof bad_cases / sizeof bad_cases[0]);
}

/* ---- against the core ---- */

static size_t put_layer(char *text)
{
    static const uint32_t widths[] = {1, 2, 7, 300, 21400, 1048576};
    const uint32_t kernel = 1 + (uint32_t)(draw() % 9), width = widths[draw() % 6 * (draw() % 2)];
    switch (draw() % 8) {
    case 0:
        return (size_t)sprintf(text, "{\"units\":%u}", width);
    case 1:
        return (size_t)sprintf(text, FLAT);
    case 2:
    case 3:
        return (size_t)sprintf(text, "{\"type\":\"%s_pool\",\"size\":%u,\"stride\":%u}",
                               draw() % 2 ? "max" : "avg", 1 + (uint32_t)(draw() % 4),
                               1 + (uint32_t)(draw() % 3));
    default:
        return (size_t)sprintf(text,
                               "{\"type\":\"conv2d\",\"channels\":%u,\"kernel\":%u,\"stride\":%u,"
                               "\"padding\":%u,\"descending_channels\":%u}",
                               width, kernel, 1 + (uint32_t)(draw() % 3),
                               (uint32_t)(draw() % (kernel + draw() % 2)),
                               draw() % 4 ? width : widths[draw() % 6]);
    }
}

/* Random networks: what has a fault has it at a place of its own, and what has none is a plan that
 * the core takes. A refusal by the core would be a fault of the whole definition. */
static void test_against_core(void **state)
{
    (void)state;
    static const char *const datasets[] = {"strokes", "bare", "colour", "tall"};
    static const char *const rules[] = {"\"name\":\"sal\"", "\"name\":\"sal\",\"gate\":false",
                                        "\"name\":\"kp\"", "\"name\":\"bp\""};
    size_t good = 0, n = 6000;
    seed = 11;
    for (size_t i = 0; i < n; i++) {
        char text[4096], *p = text;
        p += sprintf(p,
                     "{\"dataset\":{\"name\":\"%s\"},\"rule\":{%s},\"training\":{\"batch\":4},"
                     "\"network\":{\"layers\":[",
                     datasets[draw() % 4], rules[draw() % 4]);
        for (size_t k = 0, layers = 1 + draw() % 4; k < layers; k++) {
            p += sprintf(p, "%s", k > 0 ? "," : "");
            p += put_layer(p);
        }
        sprintf(p, "]}}");
        struct definition *d;
        struct tet_error error = {0};
        json_t *details, *fault;
        size_t k;
        const enum tet_err err =
            definition_read(&d, &details, text, strlen(text), &context, &error);
        if (err == TET_OK) {
            struct tet_plan plan;
            struct dataset_info info;
            if (plan_of(d->runs[0].resolved, &plan, &info, &error) != TET_OK ||
                tet_plan_check(&plan, &info.shape, &error) != TET_OK)
                fail_msg("%s\n%s", text, error.message);
            good++;
        }
        json_array_foreach(details, k, fault)
        {
            if (*json_string_value(json_object_get(fault, "pointer")) == '\0')
                fail_msg("%s\n%s", text, json_string_value(json_object_get(fault, "allowed")));
        }
        assert_true(err == TET_OK || err == TET_BAD_DEFINITION);
        json_decref(details);
        definition_free(d);
    }
    print_message("%zu of %zu random networks are good\n", good, n);
    assert_true(good > n / 10 && good < n * 9 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_plan),
        cmocka_unit_test(test_hashes),   cmocka_unit_test(test_sweeps),
        cmocka_unit_test(test_faults),   cmocka_unit_test(test_against_core),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
