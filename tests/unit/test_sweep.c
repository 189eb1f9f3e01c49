// SPDX-License-Identifier: Apache-2.0
/* Sweeps: their order, their size, the memory that they take, and what happens without it. */
#include <time.h>

#include "definition_fixture.h"

/* ---- runs ---- */

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

/* ---- size ---- */

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

/* ---- memory ---- */

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
        "\"sweep\":{\"training.sed\":[1,2]}}",
        "{\"dataset\":{\"name\":\"strokes\"},\"rule\":{\"name\":\"sal\"},\"network\":{\"layers\":["
        "{\"type\":\"conv2d\",\"channels\":2,\"kernel\":3},{\"type\":\"max_pool\",\"size\":2},"
        "{\"type\":\"flatten\"},{\"units\":3}]},\"sweep\":{\"network.layers.0.channels\":[2,3,4]}}",
        "{\"dataset\":{\"name\":\"strokes\"},\"rule\":{\"name\":\"sal\"},\"network\":{\"layers\":["
        "{\"type\":\"conv2d\",\"channels\":2,\"kernel\":3,\"units\":4},{\"type\":\"flaten\"},"
        "{\"units\":3},{\"type\":\"max_pool\",\"size\":2}]}}"};
    json_malloc_t old_malloc;
    json_free_t old_free;
    json_get_alloc_funcs(&old_malloc, &old_free);
    for (size_t t = 0; t < 4; t++) {
        enum tet_err last = t % 2 == 0 ? TET_OK : TET_BAD_DEFINITION, err = TET_NO_MEMORY;
        size_t wrong = 0;
        json_t *parsed;
        char hash[DEFINITION_HASH], last_hash[DEFINITION_HASH];
        if (last == TET_OK) {
            struct definition *reference = read_good(texts[t]);
            memcpy(hash, reference->hash, sizeof hash);
            memcpy(last_hash, reference->runs[2].hash, sizeof hash);
            definition_free(reference);
        }
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

/* What a resolved definition leaves out because it is off is a parameter of its run all the same, or
 * nobody could tell a sweep's controls; but not where the rule has no use for it. */
static void test_off_values(void **state)
{
    (void)state;
    static const char *const swept[][3] = {
        {"type", "\"training\"", "\"protocol\""},
        {"dataset.augment", "{\"crop\":0}", "{\"crop\":1}"},
        {"dataset.augment.crop", "0", "1"},
        {"dataset.augment.flip", "false", "true"},
        {"interventions", "[]", "[{\"group\":\"W\",\"step\":1,\"type\":\"freeze\"}]"},
        {"optimizer.clip", "0", "1"},
        {"record.activity", "false", "true"},
        {"record.assembly", "false", "true"},
        {"record.spectrum", "false", "true"},
        {"record.synapses", "[]", "[\"W1/0/0\"]"},
        {"rule.center", "false", "true"},
        {"rule.delay", "{\"batches\":0,\"eligibility\":false}", "{\"batches\":2}"},
        {"rule.delay.batches", "0", "1"},
        {"rule.groups.V.connection_probability", "1", "0.5"},
        {"rule.homeostasis", "{\"rate\":0}", "{\"rate\":0.5}"},
        {"rule.homeostasis.rate", "0", "0.5"},
        {"rule.noise", "{}", "{\"teaching\":0.5}"},
        {"rule.noise.activity", "0", "0.5"},
        {"rule.noise.synapses", "0", "0.5"},
        {"rule.noise.teaching", "0", "0.5"},
        {"rule.normalize", "\"none\"", "\"stage\""},
        {"rule.update_order", "\"together\"", "\"top_down\""},
        {"training.test", "\"every_epoch\"", "\"end\""},
    };
    for (size_t i = 0; i < sizeof swept / sizeof *swept; i++) {
        char text[400], off[200], on[200];
        const char *const *s = swept[i];
        snprintf(text, sizeof text, "{" SAL ",\"sweep\":{\"%s\":[%s,%s]}}", s[0], s[1], s[2]);
        snprintf(off, sizeof off, "{\"%s\":%s}", s[0], s[1]);
        snprintf(on, sizeof on, "{\"%s\":%s}", s[0], s[2]);
        expect_runs(text, 2, (const char *const[]){off, on});
    }
    static const char *const lacking[] = {"{\"rule.homeostasis.rate\":0,\"rule.name\":\"sal\"}",
                                          "{\"rule.name\":\"bp\"}",
                                          "{\"rule.homeostasis.rate\":1,\"rule.name\":\"sal\"}"};
    expect_runs("{" BASE
                ",\"sweep\":{\"rule.homeostasis.rate\":[0,1],\"rule.name\":[\"sal\",\"bp\"]}}",
                3, lacking);
    static const char *const wired[] = {
        "{\"rule.groups.V.connection_probability\":1,\"rule.name\":\"sal\"}",
        "{\"rule.name\":\"bp\"}",
        "{\"rule.groups.V.connection_probability\":0.5,\"rule.name\":\"sal\"}"};
    expect_runs("{" BASE ",\"sweep\":{\"rule.groups.V.connection_probability\":[1,0.5],"
                "\"rule.name\":[\"sal\",\"bp\"]}}",
                3, wired);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_off_values),       cmocka_unit_test(test_sweep_order),
        cmocka_unit_test(test_foreign_settings), cmocka_unit_test(test_sweep_size),
        cmocka_unit_test(test_large_sweep),      cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
