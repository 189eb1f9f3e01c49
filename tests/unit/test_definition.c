// SPDX-License-Identifier: Apache-2.0
/*
 * Definitions: reading, faults, defaults, sweeps, hashes. The datasets are in definition/data (made
 * by definition/make_data.py): mnist 120 + 20 of 28x28, bare 30 of 2x2 without a test part, reals
 * 20 with real targets, broken; and strokes. Run from the repository's root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "definition/definition.h"

static struct catalog *catalog;
static struct definition_context context;

static int setup(void **state)
{
    (void)state;
    struct tet_error error = {0};
    if (catalog_open(&catalog, "tests/unit/definition/data", (uint64_t)2 << 30, &error) != TET_OK) {
        fprintf(stderr, "catalog: %s\n", error.message);
        return -1;
    }
    context = (struct definition_context){.catalog = catalog,
                                          .memory_bytes = (uint64_t)1 << 30,
                                          .weights_folder = "tests/unit/definition/weights"};
    return schema_experiment() == NULL;
}

static int teardown(void **state)
{
    (void)state;
    catalog_close(catalog);
    return 0;
}

/* ---- helpers ---- */

static struct definition *read_good(const char *text)
{
    struct definition *definition;
    struct tet_error error = {0};
    json_t *details;
    enum tet_err err = definition_read(&definition, &details, text, strlen(text), &context, &error);
    if (err != TET_OK) {
        char *list = details != NULL ? json_dumps(details, 0) : NULL;
        print_error("%s\n%s\n%s\n", text, error.message, list != NULL ? list : "");
        fail();
    }
    assert_null(details);
    assert_true(definition->n_runs >= 1);
    return definition;
}

static json_t *read_faults(const char *text)
{
    struct definition *definition;
    struct tet_error error = {0};
    json_t *details;
    enum tet_err err = definition_read(&definition, &details, text, strlen(text), &context, &error);
    if (err != TET_BAD_DEFINITION)
        print_error("%s\n%s %s\n", text, tet_err_code(err), error.message);
    assert_int_equal(err, TET_BAD_DEFINITION);
    assert_null(definition);
    assert_non_null(details);
    assert_true(json_array_size(details) > 0);
    return details;
}

static void expect_json(enum tet_err expected, const char *text, size_t size, const char *message)
{
    struct definition *definition;
    struct tet_error error = {0};
    json_t *details;
    enum tet_err err = definition_read(&definition, &details, text, size, &context, &error);
    if (err != expected || strstr(error.message, message) == NULL)
        print_error("%.200s\nexpected %s with \"%s\", found %s: %s\n", text, tet_err_code(expected),
                    message, tet_err_code(err), error.message);
    assert_int_equal(err, expected);
    assert_non_null(strstr(error.message, message));
    assert_null(definition);
    assert_null(details);
}

static const json_t *member(const json_t *value, const char *path)
{
    char name[64];
    while (value != NULL && *path != '\0') {
        size_t n = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)n, path);
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(name))
                                     : json_object_get(value, name);
        path += n + (path[n] == '.');
    }
    return value;
}

static void expect_at(const json_t *root, const char *path, const char *expected)
{
    const json_t *value = member(root, path);
    char *text = value != NULL ? json_canonical(value) : strdup("(nothing)");
    if (strcmp(text, expected) != 0)
        print_error("%s: expected %s, found %s\n", path, expected, text);
    assert_string_equal(text, expected);
    free(text);
}

static char *dump(const json_t *value)
{
    char *text = json_canonical(value);
    assert_non_null(text);
    return text;
}

/* ---- faults: one definition, the faults it must have, in order ---- */

struct expected_fault {
    const char *pointer, *found, *allowed, *hint; // allowed: a part of it, "=..." all of it
};

struct bad_case {
    const char *text;
    struct expected_fault faults[8];
};

#define BASE "\"dataset\":{\"name\":\"strokes\"},\"network\":{\"layers\":[{\"units\":16}]}"
#define SAL  BASE ",\"rule\":{\"name\":\"sal\"}"

static const struct bad_case bad_cases[] = {
    {"[]", {{"", "[]", "=object", NULL}}},
    {"{}",
     {{"/dataset", "null", "required: object", NULL},
      {"/network", "null", "required: object", NULL},
      {"/rule", "null", "required: object", NULL}}},
    {"{" SAL ",\"optimizer\":{\"lr\":-1}}", {{"/optimizer/lr", "-1", "=number > 0", NULL}}},
    {"{" SAL ",\"optimizer\":{\"momentum\":1}}",
     {{"/optimizer/momentum", "1", "=number >= 0 and < 1", NULL}}},
    {"{" SAL ",\"optimizer\":{\"momentum\":0.99999999999}}",
     {{"/optimizer/momentum", "0.99999999999", "rounded to 32 bits", NULL}}},
    {"{" SAL ",\"optimizer\":{\"lr\":1e-60}}", {{"/optimizer/lr", "1e-60", "32 bits", NULL}}},
    {"{" SAL ",\"optimizer\":{\"lr\":1e60}}", {{"/optimizer/lr", "1e+60", "32 bits", NULL}}},
    {"{" SAL ",\"optimizer\":{\"groups\":{\"V\":{\"lr\":1e-60}}}}",
     {{"/optimizer/groups/V/lr", "1e-60", "32 bits", NULL}}},
    {"{" SAL ",\"training\":{\"epochs\":0}}",
     {{"/training/epochs", "0", "=integer from 1 to 100000", NULL}}},
    {"{" SAL ",\"training\":{\"epochs\":1.5}}", {{"/training/epochs", "1.5", "integer", NULL}}},
    {"{" SAL ",\"training\":{\"epochs\":\"7\"}}", {{"/training/epochs", "\"7\"", "integer", NULL}}},
    {"{" SAL ",\"training\":{\"seed\":100000000000000000000}}",
     {{"/training/seed", "100000000000000000000", "=integer from 0 to 9007199254740992", NULL}}},
    {"{" SAL ",\"training\":{\"threads\":2}}", {{"/training/threads", "2", "=1", NULL}}},
    {"{" SAL ",\"training\":{\"epoch\":2}}",
     {{"/training/epoch", "2", "=one of epochs, batch, seed, threads, shuffle, max_steps",
       "epochs"}}},
    {"{" SAL ",\"optimiser\":{\"lr\":1}}",
     {{"/optimiser", "{\"lr\":1}", "one of name", "optimizer"}}},
    {"{" SAL ",\"zzzzzzzz\":1}", {{"/zzzzzzzz", "1", "one of name", NULL}}},
    {"{" SAL ",\"a/b~c\":1}", {{"/a~1b~0c", "1", "one of name", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"sall\"}}",
     {{"/rule/name", "\"sall\"", "=one of bp, fa, kp, sal", "sal"}}},
    {"{" BASE ",\"rule\":{}}", {{"/rule/name", "null", "=required: one of bp, fa, kp, sal", NULL}}},
    {"{" SAL ",\"interventions\":[]}", {{"/interventions", "[]", "one of name", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\"},\"rule\":{\"name\":\"bp\"},\"network\":{\"layers\":["
     "{\"type\":\"conv\",\"units\":0,\"activation\":\"selu\"},7]}}",
     {{"/network/layers/0/type", "\"conv\"", "=dense", NULL},
      {"/network/layers/0/units", "0", "=integer from 1 to 1048576", NULL},
      {"/network/layers/0/activation", "\"selu\"", "=one of relu, tanh, identity", "relu"},
      {"/network/layers/1", "7", "=object", NULL}}},
    /* datasets */
    {"{\"dataset\":{\"name\":\"strike\"},\"network\":{},\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/name", "\"strike\"", "mnist, reals, strokes", NULL}}},
    {"{\"dataset\":{\"name\":\"mnits\"},\"network\":{},\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/name", "\"mnits\"", "mnist", "mnist"}}},
    {"{\"dataset\":{\"name\":\"broken\"},\"network\":{},\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/name", "\"broken\"", "labels", NULL}}},
    {"{\"dataset\":{\"name\":\"../mnist\"},\"network\":{},\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/name", "\"../mnist\"", "one of", NULL}}},
    {"{\"dataset\":{\"name\":\"mnist\",\"train\":121,\"test\":21,\"seed\":3},\"network\":{},"
     "\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/seed", "3", "only strokes", NULL},
      {"/dataset/test", "21", "from 0 to 20", NULL},
      {"/dataset/train", "121", "from 1 to 120", NULL}}},
    {"{\"dataset\":{\"name\":\"mnist\",\"train\":100,\"validation\":100},\"network\":{},"
     "\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/validation", "100", "from 0 to 99", NULL}}},
    {"{\"dataset\":{\"name\":\"mnist\",\"train\":100,\"validation\":40},\"network\":{},"
     "\"rule\":{\"name\":\"bp\"}}",
     {{"/training/batch", "64", "from 1 to 60", NULL}}},
    {"{\"dataset\":{\"name\":\"bare\",\"train\":25,\"test\":6},\"network\":{},"
     "\"rule\":{\"name\":\"bp\"},\"training\":{\"batch\":8}}",
     {{"/dataset/train", "25", "from 1 to 24", NULL}}},
    {"{\"dataset\":{\"name\":\"bare\",\"test\":30},\"network\":{},\"rule\":{\"name\":\"bp\"},"
     "\"training\":{\"batch\":8}}",
     {{"/dataset/test", "30", "from 0 to 29", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\",\"train\":1000001},\"network\":{},"
     "\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/train", "1000001", "from 1 to 1000000", NULL}}},
    {"{\"dataset\":{\"name\":\"mnist\",\"sha256\":\"sha256:"
     "0000000000000000000000000000000000000000000000000000000000000000\"},\"network\":{},"
     "\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/sha256", NULL, "sha256:", NULL}}},
    {"{\"dataset\":{\"name\":\"reals\"},\"network\":{},\"rule\":{\"name\":\"bp\"},"
     "\"training\":{\"batch\":4}}",
     {{"/network/loss", "\"cross_entropy\"", "mse", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\",\"standardize\":\"featur\"},\"network\":{},"
     "\"rule\":{\"name\":\"bp\"}}",
     {{"/dataset/standardize", "\"featur\"", "=one of true, false, feature", "feature"}}},
    /* settings that the rule has no use for */
    {"{" BASE ",\"rule\":{\"name\":\"bp\",\"gate\":true,\"groups\":{\"B\":{},\"V\":{}}},"
     "\"optimizer\":{\"groups\":{\"U\":{\"lr\":1}}}}",
     {{"/rule/groups/B", NULL, "=groups of rule bp: W", NULL},
      {"/rule/groups/V", NULL, "=groups of rule bp: W", NULL},
      {"/optimizer/groups/U", "{\"lr\":1}", "=groups of rule bp: W", NULL},
      {"/rule/gate", "true", "no gate", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"fa\",\"groups\":{\"B\":{\"plastic\":true}}}}",
     {{"/rule/groups/B/plastic", "true", "false", NULL}}},
    {"{" BASE ",\"rule\":{\"name\":\"sal\",\"groups\":{\"W\":{\"init\":\"identity\"}}}}",
     {{"/rule/groups/W/init", "\"identity\"", "=one of normal, uniform", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\"},\"rule\":{\"name\":\"sal\"},"
     "\"network\":{\"layers\":[{\"units\":8},{\"units\":8,\"descending_units\":4}]}}",
     {{"/network/layers/1/descending_units", "4", "8 (units), or rule.gate false", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\"},\"rule\":{\"name\":\"kp\",\"gate\":false},"
     "\"network\":{\"layers\":[{\"units\":8,\"descending_units\":4}]}}",
     {{"/network/layers/0/descending_units", "4", "rule kp has no laterals", NULL}}},
    /* schedules */
    {"{" SAL ",\"optimizer\":{\"schedule\":{\"type\":\"stp\"}}}",
     {{"/optimizer/schedule/type", "\"stp\"", "=one of constant, step, cosine", "step"}}},
    {"{" SAL ",\"optimizer\":{\"schedule\":7}}", {{"/optimizer/schedule", "7", "=object", NULL}}},
    {"{" SAL ",\"optimizer\":{\"schedule\":{\"type\":\"step\"}}}",
     {{"/optimizer/schedule/epochs", "null", "required: array of 1 to 16 items", NULL}}},
    {"{" SAL ",\"optimizer\":{\"schedule\":{\"type\":\"step\",\"epochs\":[5,3],\"factor\":0}}}",
     {{"/optimizer/schedule/factor", "0", "=number > 0 and <= 1", NULL},
      {"/optimizer/schedule/epochs/1", "3", "integer > 5", NULL}}},
    {"{" SAL ",\"optimizer\":{\"schedule\":{\"factor\":0.5}}}",
     {{"/optimizer/schedule/factor", "0.5", "=one of type", NULL}}},
    /* memory */
    {"{\"dataset\":{\"name\":\"strokes\",\"train\":100,\"test\":10},\"rule\":{\"name\":\"sal\"},"
     "\"network\":{\"layers\":[{\"units\":100000},{\"units\":100000}]}}",
     {{"/network", NULL, "at most 1073741824 bytes", NULL}}},
    {"{\"dataset\":{\"name\":\"strokes\",\"train\":1000000,\"test\":1000000},"
     "\"rule\":{\"name\":\"bp\"},\"network\":{}}",
     {{"/network", NULL, "at most 1073741824 bytes", NULL}}},
    /* initial weights */
    {"{" SAL ",\"initial_weights\":\"none.npz\"}",
     {{"/initial_weights", "\"none.npz\"", "a regular file", NULL}}},
    {"{" SAL ",\"initial_weights\":\"../data/reals.npz\"}",
     {{"/initial_weights", NULL, "without '/'", NULL}}},
    {"{" SAL ",\"initial_weights\":\"..\"}", {{"/initial_weights", NULL, "not beginning", NULL}}},
    {"{" SAL ",\"initial_weights\":\"start.npz\",\"initial_weights_sha256\":\"sha256:"
     "0000000000000000000000000000000000000000000000000000000000000000\"}",
     {{"/initial_weights_sha256", NULL, "sha256:", NULL}}},
    /* sweeps */
    {"{" SAL ",\"sweep\":7}", {{"/sweep", "7", "=object or array", NULL}}},
    {"{" SAL ",\"sweep\":{}}", {{"/sweep", "{}", "at least 1 fields", NULL}}},
    {"{" SAL ",\"sweep\":{\"training.seed\":[]}}",
     {{"/sweep/training.seed", "[]", "=array of at least 1 items", NULL}}},
    {"{" SAL ",\"sweep\":{\"training.seed\":3}}", {{"/sweep/training.seed", "3", "array", NULL}}},
    {"{" SAL ",\"sweep\":{\"training.seeds\":[1]}}",
     {{"/sweep/training.seeds", "[1]", "a path: training.epochs", "training.seed"}}},
    {"{" SAL ",\"sweep\":{\"optimiser.lr\":[1]}}",
     {{"/sweep/optimiser.lr", "[1]", "a path: ", "optimizer.lr"}}},
    {"{" SAL ",\"sweep\":{\"network.layers.1.units\":[1]}}",
     {{"/sweep/network.layers.1.units", "[1]", "=a path: network.layers.0", NULL}}},
    {"{" SAL ",\"sweep\":{\"training.seed.x\":[1]}}",
     {{"/sweep/training.seed.x", "[1]", "nothing below", NULL}}},
    {"{" SAL ",\"sweep\":{\"name\":[\"a\"],\"record.keep\":[3]}}",
     {{"/sweep/name", "[\"a\"]", "cannot be swept", NULL},
      {"/sweep/record.keep", "[3]", "cannot be swept", NULL}}},
    {"{" SAL ",\"sweep\":{\"training.seed\":[1,2,1.0]}}",
     {{"/sweep/training.seed/2", "1.0", "differ", NULL}}},
    {"{" SAL ",\"sweep\":{\"optimizer\":[{}],\"optimizer.lr\":[1]}}",
     {{"/sweep/optimizer.lr", "[1]", "not inside optimizer", NULL}}},
    {"{" SAL ",\"sweep\":{\"training.seed\":[1,2,-3],\"optimizer.lr\":[0.1,\"x\"]}}",
     {{"/sweep/training.seed/2", "-3", "integer from 0", NULL},
      {"/sweep/optimizer.lr/1", "\"x\"", "=number > 0", NULL}}},
    {"{" BASE ",\"rule\":{},\"sweep\":[{\"rule.name\":[\"sal\",\"bb\"]},{\"rule.name\":[\"cp\"]}]}",
     {{"/sweep/0/rule.name/1", "\"bb\"", "one of bp", "bp"},
      {"/sweep/1/rule.name/0", "\"cp\"", "one of bp", "bp"}}},
    {"{" BASE ",\"rule\":{\"name\":\"bp\"},\"sweep\":{\"optimizer.groups.V.lr\":[0.1,0.2]}}",
     {{"/sweep/optimizer.groups.V.lr/0", "0.1", "groups of rule bp: W", NULL},
      {"/sweep/optimizer.groups.V.lr/1", "0.2", "groups of rule bp: W", NULL}}},
    {"{" SAL ",\"sweep\":{\"dataset.name\":[\"strokes\",\"nothing\"]}}",
     {{"/sweep/dataset.name/1", "\"nothing\"", "one of ", NULL}}},
    /* everything at once */
    {"{\"name\":\"\",\"tags\":[\"a\",\"a\"],\"dataset\":{\"name\":\"nothing\"},"
     "\"network\":{\"layers\":[{\"units\":8,\"descending_units\":4}]},"
     "\"rule\":{\"name\":\"sal\",\"gates\":false},\"optimizer\":{\"lr\":0},"
     "\"record\":{\"every\":-1}}",
     {{"/name", "\"\"", "=string of 1 to 200 characters", NULL},
      {"/tags/1", "\"a\"", "items that differ", NULL},
      {"/rule/gates", "false", "one of name, gate, groups", "gate"},
      {"/optimizer/lr", "0", "=number > 0", NULL},
      {"/record/every", "-1", "=integer from 0 to 1000000000", NULL},
      {"/network/layers/0/descending_units", "4", "8 (units)", NULL},
      {"/dataset/name", "\"nothing\"", "strokes", NULL}}},
};

static bool fault_agrees(const json_t *fault, const struct expected_fault *e)
{
    const char *allowed = json_string_value(json_object_get(fault, "allowed"));
    const json_t *hint = json_object_get(fault, "hint");
    bool good = json_object_size(fault) == (hint != NULL ? 4 : 3) && allowed != NULL;
    good = good && strcmp(json_string_value(json_object_get(fault, "pointer")), e->pointer) == 0;
    if (good && e->allowed[0] == '=')
        good = strcmp(allowed, e->allowed + 1) == 0;
    else if (good)
        good = strstr(allowed, e->allowed) != NULL;
    if (good && e->found != NULL) {
        json_t *found = json_loads(e->found, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
        char *a = dump(found), *b = dump(json_object_get(fault, "found"));
        good = strcmp(a, b) == 0;
        free(a);
        free(b);
        json_decref(found);
    }
    if (e->hint != NULL)
        good = good && hint != NULL && strcmp(json_string_value(hint), e->hint) == 0;
    return good;
}

static void test_faults(void **state)
{
    (void)state;
    size_t wrong = 0;
    for (size_t c = 0; c < sizeof bad_cases / sizeof bad_cases[0]; c++) {
        const struct bad_case *one = &bad_cases[c];
        json_t *details = read_faults(one->text);
        size_t n = 0;
        bool good = true;
        for (; n < 8 && one->faults[n].pointer != NULL; n++)
            good = good && fault_agrees(json_array_get(details, n), &one->faults[n]);
        good = good && n == json_array_size(details);
        if (!good) {
            char *text = json_dumps(details, JSON_INDENT(1));
            print_error("case %zu: %s\nexpected %zu faults", c, one->text, n);
            for (size_t i = 0; i < n; i++)
                print_error(" %s", one->faults[i].pointer);
            print_error("\nfound %s\n", text);
            free(text);
            wrong++;
        }
        json_decref(details);
    }
    assert_int_equal(wrong, 0);
}

static void test_faults_are_small(void **state)
{
    (void)state;
    size_t n = 900000;
    char *text = malloc(n + 2000), *p = text;
    p += sprintf(p, "{" SAL ",\"optimizer\":{\"lr\":\"");
    for (size_t i = 0; i < n / 3; i++)
        p += sprintf(p, "\xe2\x82\xac");
    p += sprintf(p, "\"}");
    for (int i = 0; i < 150; i++)
        p += sprintf(p, ",\"k%d\":1", i);
    sprintf(p, "}");
    json_t *details = read_faults(text);
    assert_int_equal(json_array_size(details), DEFINITION_MAX_FAULTS);
    char *all = dump(details);
    assert_true(strlen(all) < 40000);
    free(all);
    json_decref(details);
    free(text);
}

/* ---- JSON ---- */

static void test_bad_json(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "line 1"},
        {"   ", "line 1"},
        {"7", "line 1"},
        {"\"x\"", "line 1"},
        {"{\"a\":}", "line 1, column 6"},
        {"{\"a\":1,\"a\":2}", "duplicate"},
        {"{\"a\":NaN}", "line 1"},
        {"{\"a\":Infinity}", "line 1"},
        {"{\n\"a\":\n 1e400}", "line 3, column 6: real number overflow"},
        {"{\"a\":-1e400}", "real number overflow"},
        {"{\"a\":\"\xff\"}", "unable to decode byte 0xff"},
        {"{\"a\":\"\xed\xa0\x80\"}", "unable to decode"},
        {"{\"a\":\"\xc0\x80\"}", "unable to decode"},
        {"{\"a\":\"\\u0000\"}", "u0000"},
        {"{\"a\\u0000\":1}", "u0000"},
        {"{\"a\":\"\\ud800\"}", "Unicode"},
        {"{} {}", "end of file expected"},
        {"\xef\xbb\xbf{}", "line 1"},
        {"{\"a\":01}", "line 1"},
        {"{'a':1}", "line 1"},
        {"{\"a\":1,}", "line 1"},
        {"{\"a\":\"unclosed", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_json(TET_BAD_JSON, cases[i].text, strlen(cases[i].text), cases[i].message);
    expect_json(TET_BAD_JSON, "{}\0", 3, "line 1");
    expect_json(TET_BAD_JSON, "{\"a\":\"\0\"}", 9, "line 1");
}

static void test_depth_and_size(void **state)
{
    (void)state;
    size_t size = DEFINITION_MAX_BYTES;
    char *text = malloc(size + 1);
    memset(text, '[', size + 1);
    expect_json(TET_BAD_JSON, text, size, "line 1, column 33: arrays and objects are nested");
    expect_json(TET_TOO_LARGE, text, size + 1, "1048576");
    for (size_t i = 0; i < size; i += 5)
        memcpy(text + i, "{\"a\":", size - i < 5 ? size - i : 5);
    expect_json(TET_BAD_JSON, text, size, "nested deeper than 32");
    free(text);

    json_t *value;
    char deep[80] = "";
    memset(deep, '[', JSON_MAX_DEPTH);
    memset(deep + JSON_MAX_DEPTH, ']', JSON_MAX_DEPTH);
    assert_int_equal(json_read(&value, deep, 2 * JSON_MAX_DEPTH, NULL), TET_OK);
    json_decref(value);
    const char *string = "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[\"]";
    assert_int_equal(json_read(&value, string, strlen(string), NULL), TET_OK);
    json_decref(value);
}

static void test_canonical(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
    } cases[] = {
        {"{\"b\":1,\"a\":[true,false,null,{}]}", "{\"a\":[true,false,null,{}],\"b\":1}"},
        {"[1,1.0,1e0,10e-1]", "[1,1,1,1]"},
        {"[0,-0.0,0.0,-0]", "[0,0,0,0]"},
        {"[0.1,1e-7,1e-6,0.000123,123.456,-2.5]", "[0.1,1e-7,0.000001,0.000123,123.456,-2.5]"},
        {"[1e20,1e21,1e22,1.5e300,5e-324]", "[100000000000000000000,1e+21,1e+22,1.5e+300,5e-324]"},
        {"[0.1234567890123456789,333333333.33333329]", "[0.12345678901234568,333333333.3333333]"},
        {"[9007199254740992,9007199254740992.0,9007199254740993]",
         "[9007199254740992,9007199254740992,9007199254740993]"},
        {"[1152921504606846976,1152921504606846976.0]",
         "[1152921504606847000,1152921504606847000]"},
        {"[9223372036854775807]", "[9223372036854775807]"},
        {"[-9223372036854775808]", "[-9223372036854776000]"},
        {"[\"\\u20ac \\\" \\\\ \\/ \\n\\u0001\\u007f\"]",
         "[\"\xe2\x82\xac \\\" \\\\ / \\n\\u0001\x7f\"]"},
        {"[\"\\b\\t\\u000b\\f\\r\"]", "[\"\\b\\t\\u000b\\f\\r\"]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *value;
        assert_int_equal(json_read(&value, cases[i].text, strlen(cases[i].text), NULL), TET_OK);
        char *text = dump(value);
        assert_string_equal(text, cases[i].canonical);
        json_decref(value);
        assert_int_equal(json_read(&value, text, strlen(text), NULL), TET_OK);
        char *again = dump(value);
        assert_string_equal(again, text);
        free(text);
        free(again);
        json_decref(value);
    }
}

/* ---- what is resolved ---- */

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

/* Resolving what is resolved gives the same bytes, for the experiment and for each of its runs. */
static void expect_idempotent(const char *text)
{
    struct definition *d = read_good(text);
    char *resolved = dump(d->resolved);
    struct definition *again = read_good(resolved);
    char *twice = dump(again->resolved);
    assert_string_equal(resolved, twice);
    assert_string_equal(d->hash, again->hash);
    assert_int_equal(d->n_runs, again->n_runs);
    for (size_t i = 0; i < d->n_runs; i++) {
        char *run = dump(d->runs[i].resolved), *other = dump(again->runs[i].resolved);
        char *parameters = dump(d->runs[i].parameters), *same = dump(again->runs[i].parameters);
        assert_string_equal(run, other);
        assert_string_equal(parameters, same);
        assert_string_equal(d->runs[i].hash, again->runs[i].hash);
        struct definition *alone = read_good(run);
        char *alone_run = dump(alone->runs[0].resolved);
        assert_string_equal(run, alone_run);
        assert_string_equal(alone->runs[0].hash, d->runs[i].hash);
        free(alone_run);
        definition_free(alone);
        free(run);
        free(other);
        free(parameters);
        free(same);
    }
    free(resolved);
    free(twice);
    definition_free(d);
    definition_free(again);
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

static void test_examples(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t n_runs;
    } examples[] = {{"schema/examples/sal-strokes.json", 1},
                    {"schema/examples/sal-bp-mnist.json", 6},
                    {"schema/examples/sal-half-width.json", 1},
                    {"schema/examples/kp-strokes.json", 1},
                    {"schema/examples/demo.json", 6}};
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        const char *text = slurp(examples[i].path);
        struct definition *d = read_good(text);
        assert_int_equal(d->n_runs, examples[i].n_runs);
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

/* ---- sweeps ---- */

static void expect_runs(const char *text, size_t n, const char *const *parameters)
{
    struct definition *d = read_good(text);
    for (size_t i = 0; i < d->n_runs && i < n; i++)
        expect_at(d->runs[i].parameters, "", parameters[i]);
    assert_int_equal(d->n_runs, n);
    definition_free(d);
}

static void test_sweep_order(void **state)
{
    (void)state;
    static const char *const grid[] = {"{\"optimizer.lr\":0.5,\"training.seed\":3}",
                                       "{\"optimizer.lr\":0.5,\"training.seed\":1}",
                                       "{\"optimizer.lr\":0.25,\"training.seed\":3}",
                                       "{\"optimizer.lr\":0.25,\"training.seed\":1}"};
    expect_runs("{" SAL ",\"sweep\":{\"training.seed\":[3,1],\"optimizer.lr\":[0.5,0.25]}}", 4,
                grid);
    expect_runs("{" SAL ",\"sweep\":{\"optimizer.lr\":[0.5,0.25],\"training.seed\":[3,1]}}", 4,
                grid);
    static const char *const grids[] = {"{\"rule.name\":\"sal\",\"training.seed\":1}",
                                        "{\"rule.name\":\"sal\",\"training.seed\":2}",
                                        "{\"optimizer.decay\":0.5,\"rule.name\":\"bp\"}"};
    expect_runs("{" BASE ",\"sweep\":[{\"rule.name\":[\"sal\"],\"training.seed\":[1,2]},"
                "{\"rule.name\":[\"bp\"],\"optimizer.decay\":[0.5]}]}",
                3, grids);
    struct definition *d = read_good(
        "{" SAL ",\"sweep\":{\"network.layers.0.units\":[4,5],\"optimizer.groups.V.lr\":[1]}}");
    expect_at(d->runs[1].resolved, "network.layers.0.units", "5");
    expect_at(d->runs[1].resolved, "network.layers.0.descending_units", "5");
    expect_at(d->runs[1].resolved, "optimizer.groups.V.lr", "1");
    expect_at(d->runs[1].resolved, "optimizer.groups.U.lr", "0.1");
    expect_at(d->runs[1].resolved, "sweep", "(nothing)");
    definition_free(d);
}

/* A setting for one rule of a sweep is dropped from the runs of the others; combinations that then
 * are the same are one run. */
static void test_foreign_settings(void **state)
{
    (void)state;
    struct definition *d = read_good(
        "{\"dataset\":{\"name\":\"strokes\"},"
        "\"network\":{\"layers\":[{\"units\":8,\"descending_units\":4}]},"
        "\"rule\":{\"gate\":false,\"groups\":{\"B\":{\"plastic\":true},\"V\":{\"scale\":2}}},"
        "\"sweep\":{\"rule.name\":[\"sal\",\"bp\",\"fa\"]}}");
    assert_int_equal(d->n_runs, 3);
    expect_at(d->runs[0].resolved, "rule.groups.V.scale", "2");
    expect_at(d->runs[0].resolved, "network.layers.0.descending_units", "4");
    expect_at(d->runs[1].resolved, "rule.gate", "(nothing)");
    expect_at(d->runs[1].resolved, "rule.groups.V", "(nothing)");
    expect_at(d->runs[1].resolved, "network.layers.0.descending_units", "8");
    expect_at(d->runs[2].resolved, "rule.gate", "false");
    expect_at(d->runs[2].resolved, "rule.groups.B.plastic", "false");
    definition_free(d);
    static const char *const once[] = {"{\"optimizer.groups.V.lr\":1,\"rule.name\":\"sal\"}",
                                       "{\"rule.name\":\"bp\"}",
                                       "{\"optimizer.groups.V.lr\":2,\"rule.name\":\"sal\"}"};
    expect_runs("{" BASE
                ",\"sweep\":{\"optimizer.groups.V.lr\":[1,2],\"rule.name\":[\"sal\",\"bp\"]}}",
                3, once);
    json_t *details = read_faults("{" BASE ",\"sweep\":[{\"rule.name\":[\"sal\"]},"
                                  "{\"rule.name\":[\"bp\"],\"optimizer.groups.V.lr\":[1]}]}");
    assert_int_equal(json_array_size(details), 1);
    assert_string_equal(json_string_value(member(details, "0.pointer")),
                        "/sweep/1/optimizer.groups.V.lr/0");
    json_decref(details);
}

static size_t put_numbers(char *text, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += (size_t)sprintf(text + size, "%s%zu", i > 0 ? "," : "", i);
    return size;
}

static void test_sweep_size(void **state)
{
    (void)state;
    char *text = malloc(1 << 20), *p = text;
    p += sprintf(p, "{" SAL ",\"optimizer\":{\"lr\":-1},\"sweep\":{\"training.seed\":[");
    p += put_numbers(p, DEFINITION_MAX_RUNS + 1);
    sprintf(p, "]}}");
    json_t *details = read_faults(text);
    assert_int_equal(json_array_size(details), 2);
    expect_at(details, "0.pointer", "\"/sweep\"");
    expect_at(details, "0.found", "10001");
    expect_at(details, "0.allowed", "\"at most 10000 runs\"");
    expect_at(details, "1.pointer", "\"/optimizer/lr\"");
    json_decref(details);

    /* a product far beyond 2^64 */
    static const char *const paths[] = {"training.seed", "training.epochs",       "training.batch",
                                        "dataset.seed",  "dataset.train",         "dataset.test",
                                        "record.every",  "network.layers.0.units"};
    p = text + sprintf(text, "{" SAL ",\"sweep\":{");
    for (size_t i = 0; i < 8; i++) {
        p += sprintf(p, "%s\"%s\":[", i > 0 ? "," : "", paths[i]);
        p += put_numbers(p, 2000);
        p += sprintf(p, "]");
    }
    sprintf(p, "}}");
    clock_t start = clock();
    details = read_faults(text);
    expect_at(details, "0.pointer", "\"/sweep\"");
    expect_at(details, "0.found", "\"more than 2^53 runs\"");
    json_decref(details);
    assert_true(clock() - start < CLOCKS_PER_SEC * 2);
    free(text);
}

static size_t in_use, peak, calls, fail_at;

static void *counting_malloc(size_t size)
{
    if (++calls == fail_at)
        return NULL;
    size_t *block = malloc(size + 16);
    if (block == NULL)
        return NULL;
    block[0] = size;
    in_use += size;
    if (in_use > peak)
        peak = in_use;
    return block + 2;
}

static void counting_free(void *pointer)
{
    if (pointer == NULL)
        return;
    size_t *block = (size_t *)pointer - 2;
    in_use -= block[0];
    free(block);
}

/* Ten thousand runs of a network of 64 layers share what is equal in them. */
static void test_large_sweep(void **state)
{
    (void)state;
    char *text = malloc(1 << 20), *p = text;
    p += sprintf(p, "{\"dataset\":{\"name\":\"strokes\"},\"rule\":{\"name\":\"sal\"},"
                    "\"network\":{\"layers\":[");
    for (int i = 0; i < 64; i++)
        p += sprintf(p, "%s{\"units\":5}", i > 0 ? "," : "");
    p += sprintf(p, "]},\"sweep\":{\"training.seed\":[");
    p += put_numbers(p, DEFINITION_MAX_RUNS);
    sprintf(p, "]}}");
    json_malloc_t old_malloc;
    json_free_t old_free;
    json_get_alloc_funcs(&old_malloc, &old_free);
    json_set_alloc_funcs(counting_malloc, counting_free);
    peak = in_use = calls = fail_at = 0;
    clock_t start = clock();
    struct definition *d = read_good(text);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    assert_int_equal(d->n_runs, DEFINITION_MAX_RUNS);
    print_message("10000 runs of 64 layers: %.2f s, %zu MiB\n", seconds, peak >> 20);
    assert_true(peak < (size_t)64 << 20);
    definition_free(d);
    assert_int_equal(in_use, 0);
    json_set_alloc_funcs(old_malloc, old_free);

    p = text + sprintf(text, "{" SAL ",\"sweep\":{\"training.seed\":[");
    p += put_numbers(p, DEFINITION_MAX_RUNS);
    sprintf(p, "]}}");
    start = clock();
    d = read_good(text);
    print_message("10000 runs of 1 layer: %.2f s\n", (double)(clock() - start) / CLOCKS_PER_SEC);
    definition_free(d);
    free(text);
}

/* Every allocation of Jansson after its parser's (which leaks, and can lose bytes, where memory
 * fails) fails once: out of memory is reported, or what failed did not matter; and nothing leaks.
 */
static void test_no_memory(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{" SAL ",\"optimizer\":{\"schedule\":{\"type\":\"step\",\"epochs\":[3]}},"
        "\"sweep\":[{\"training.seed\":[1,2]},{\"optimizer.groups.V.lr\":[0.5]}]}",
        "{" SAL ",\"optimizer\":{\"schedule\":{\"type\":\"stp\"},\"lr\":-1},\"zz\":1,"
        "\"sweep\":{\"training.sed\":[1,2]}}"};
    json_malloc_t old_malloc;
    json_free_t old_free;
    json_get_alloc_funcs(&old_malloc, &old_free);
    char hash[DEFINITION_HASH], last_hash[DEFINITION_HASH];
    struct definition *reference = read_good(texts[0]);
    memcpy(hash, reference->hash, sizeof hash);
    memcpy(last_hash, reference->runs[2].hash, sizeof hash);
    definition_free(reference);
    for (size_t t = 0; t < 2; t++) {
        enum tet_err last = t == 0 ? TET_OK : TET_BAD_DEFINITION, err = TET_NO_MEMORY;
        size_t wrong = 0;
        json_t *parsed;
        json_set_alloc_funcs(counting_malloc, counting_free);
        calls = fail_at = 0;
        assert_int_equal(json_read(&parsed, texts[t], strlen(texts[t]), NULL), TET_OK);
        json_decref(parsed);
        json_set_alloc_funcs(old_malloc, old_free);
        const size_t first = calls + 1;
        for (fail_at = first; err != last || calls + 1 >= fail_at; fail_at++) {
            struct definition *definition;
            json_t *details;
            struct tet_error error = {0};
            json_set_alloc_funcs(counting_malloc, counting_free);
            calls = in_use = 0;
            err = definition_read(&definition, &details, texts[t], strlen(texts[t]), &context,
                                  &error);
            if (err == TET_NO_MEMORY)
                assert_true(definition == NULL && details == NULL && error.message[0] != '\0');
            if (err == TET_OK && (definition->n_runs != 3 || strcmp(definition->hash, hash) != 0 ||
                                  strcmp(definition->runs[2].hash, last_hash) != 0))
                err = TET_INTERNAL; // an allocation that failed and mattered
            if (err != last && err != TET_NO_MEMORY && ++wrong < 10)
                print_error("text %zu: allocation %zu failed and %s came back: %s\n", t, fail_at,
                            tet_err_code(err), error.message);
            definition_free(definition);
            json_decref(details);
            assert_int_equal(in_use, 0);
            json_set_alloc_funcs(old_malloc, old_free);
        }
        assert_int_equal(wrong, 0);
        assert_true(fail_at > first + 50);
    }
    fail_at = 0;
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
        cmocka_unit_test(test_bad_json),
        cmocka_unit_test(test_depth_and_size),
        cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_faults_are_small),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_idempotence),
        cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_sweep_order),
        cmocka_unit_test(test_foreign_settings),
        cmocka_unit_test(test_sweep_size),
        cmocka_unit_test(test_large_sweep),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_rule_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
