// SPDX-License-Identifier: Apache-2.0
/*
 * Convolutional networks through the real server: their faults, their weights of rank 4 in all
 * forms, going on after a restart, weights given back as initial ones, and CIFAR's files as a
 * dataset. Every reply is held against openapi.json.
 */
#include "api/contract.h"

#include <sys/stat.h>

#include "data/npz.h"

#define STROKES "\"dataset\":{\"name\":\"strokes\",\"train\":200,\"test\":50}"
#define CONV    "{\"type\":\"conv2d\",\"channels\":4,\"kernel\":5,\"stride\":2}"
#define LAYERS                                                                                     \
    CONV ",{\"type\":\"max_pool\",\"size\":2},"                                                    \
         "{\"type\":\"conv2d\",\"channels\":3,\"kernel\":3,\"activation\":\"tanh\"},"              \
         "{\"type\":\"avg_pool\",\"size\":2},{\"type\":\"flatten\"},{\"units\":7}"
#define SAL STROKES ",\"network\":{\"layers\":[" LAYERS "]},\"rule\":{\"name\":\"sal\"}"

static int start(void **state)
{
    (void)state;
    return server_start("1", "64M");
}

/* ---- faults ---- */

static void test_faults(void **state)
{
    (void)state;
    static const struct {
        const char *definition, *pointer, *words;
    } cases[] = {
        {"{" STROKES ",\"network\":{\"layers\":[{\"units\":4}," CONV
         "]},\"rule\":{\"name\":\"bp\"}}",
         "/network/layers/1/type", "above a dense layer"},
        {"{" STROKES ",\"network\":{\"layers\":[{\"type\":\"max_pool\",\"size\":2}]},"
         "\"rule\":{\"name\":\"bp\"}}",
         "/network/layers/0/type", "directly after a convolution"},
        {"{" STROKES
         ",\"network\":{\"layers\":[{\"type\":\"conv2d\",\"channels\":4,\"kernel\":30}]},"
         "\"rule\":{\"name\":\"bp\"}}",
         "/network/layers/0/kernel", "the image below is 28 x 28"},
        {"{" STROKES ",\"network\":{\"layers\":[{\"type\":\"conv2d\",\"channels\":4,\"kernel\":3,"
         "\"units\":4}]},\"rule\":{\"name\":\"bp\"}}",
         "/network/layers/0/units", "units goes with type dense"},
        {"{" STROKES ",\"network\":{\"layers\":[{\"type\":\"conv3d\",\"channels\":4}]},"
         "\"rule\":{\"name\":\"bp\"}}",
         "/network/layers/0/type", "dense, conv2d, max_pool, avg_pool, flatten"},
        {"{" STROKES
         ",\"network\":{\"layers\":[{\"type\":\"conv2d\",\"channels\":20000,\"kernel\":1}]},"
         "\"rule\":{\"name\":\"bp\"}}",
         "/network", "at most 67108864 bytes"},
        {"{" STROKES ",\"network\":{\"layers\":[" CONV "]},\"rule\":{\"name\":\"bp\"},"
         "\"sweep\":{\"network.layers.0.kernel\":[5,64]}}",
         "/sweep/network.layers.0.kernel/1", "the image below is 28 x 28"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *reply = ask(&server, "POST", "/v1/experiments", cases[i].definition, 422);
        const json_t *details = json_object_get(json_object_get(reply, "error"), "details"),
                     *detail = json_array_get(details, 0);
        assert_int_equal(json_array_size(details), 1);
        assert_string_equal(text(detail, "pointer"), cases[i].pointer);
        if (strstr(text(detail, "allowed"), cases[i].words) == NULL)
            fail_msg("allowed: \"%s\", expected \"%s\"", text(detail, "allowed"), cases[i].words);
        json_decref(reply);
    }
    check_alive(&server);
}

/* ---- weights ---- */

static const struct {
    const char *name, *shape; // as in the list, and in an .npy's head
} arrays[] = {
    {"W1", "4, 1, 5, 5"}, {"W2", "3, 4, 3, 3"}, {"W3", "7, 12"},      {"W4", "10, 7"},
    {"b1", "4,"},         {"b2", "3,"},         {"b3", "7,"},         {"b4", "10,"},
    {"V1", "4, 4"},       {"V2", "3, 3"},       {"V3", "7, 7"},       {"U1", "4, 4"},
    {"U2", "3, 3"},       {"U3", "7, 7"},       {"B2", "4, 3, 3, 3"}, {"B3", "12, 7"},
    {"B4", "7, 10"},
};
enum { ARRAYS = sizeof arrays / sizeof *arrays };

static void put_shape(const json_t *sizes, char text[64])
{
    size_t n = json_array_size(sizes), used = 0;
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, 64 - used, "%s%lld", i > 0 ? ", " : "",
                                 json_integer_value(json_array_get(sizes, i)));
    snprintf(text + used, 64 - used, "%s", n == 1 ? "," : "");
}

static void check_list(json_int_t run)
{
    json_t *list = get(&server, 200, "/v1/runs/%lld/weights", run), *array;
    size_t i, found = 0;
    json_array_foreach(json_object_get(list, "arrays"), i, array)
    {
        char shape[64];
        put_shape(json_object_get(array, "shape"), shape);
        for (size_t k = 0; k < ARRAYS; k++)
            if (strcmp(text(array, "name"), arrays[k].name) == 0) {
                assert_string_equal(shape, arrays[k].shape);
                found++;
            }
    }
    assert_int_equal(found, ARRAYS);
    assert_int_equal(i, ARRAYS);
    json_decref(list);
}

static void check_files(json_int_t run)
{
    char path[200], head[128];
    struct reply reply;
    struct npz npz;
    snprintf(path, sizeof path, "/v1/runs/%lld/weights.npz", run);
    ask_with(&server, "GET", path, NULL, NULL, &reply);
    expect(&reply, 200);
    snprintf(path, sizeof path, "%s/weights.npz", server.folder);
    file_write(path, reply.body, reply.size);
    reply_free(&reply);
    assert_int_equal(npz_read(&npz, path, 1 << 20, NULL), TET_OK);
    assert_int_equal(npz.n, ARRAYS);
    for (size_t k = 0; k < ARRAYS; k++) {
        const struct npy *array = npz_find(&npz, arrays[k].name);
        assert_non_null(array);
        snprintf(path, sizeof path, "/v1/runs/%lld/weights/%s.npy", run, arrays[k].name);
        ask_with(&server, "GET", path, NULL, NULL, &reply);
        expect(&reply, 200);
        snprintf(head, sizeof head, "'shape': (%s), }", arrays[k].shape);
        assert_non_null(strstr(reply.body + 10, head));
        assert_true(reply.size > array->n * 4);
        assert_memory_equal(reply.body + reply.size - array->n * 4, array->data, array->n * 4);
        reply_free(&reply);
    }
    npz_free(&npz);
}

static void test_weights(void **state)
{
    (void)state;
    const json_int_t run = submit(&server, "{" SAL ",\"optimizer\":{\"lr\":0.001,\"momentum\":0.5},"
                                           "\"training\":{\"epochs\":2,\"batch\":20}}");
    json_decref(await_end(&server, run, "succeeded"));
    check_list(run);
    check_files(run);
}

/* A newcomer's first definition, nothing said of rates or laterals: it learns, and assembles. */
static void test_defaults_learn(void **state)
{
    (void)state;
    json_t *run = await_end(
        &server,
        submit(
            &server,
            "{\"dataset\":{\"name\":\"strokes\",\"train\":3000,\"test\":1000},"
            "\"network\":{\"layers\":[" CONV
            ",{\"type\":\"conv2d\",\"channels\":8,\"kernel\":3,\"stride\":2},{\"units\":16}]},"
            "\"rule\":{\"name\":\"sal\"},\"training\":{\"epochs\":8},\"record\":{\"every\":50}}"),
        "succeeded");
    static const struct {
        const char *series;
        double least; // by chance: 0.1, 0, 0, 0
    } finals[] = {{"test/accuracy", 0.5},
                  {"alignment/modulation/1", 0.05},
                  {"alignment/modulation/2", 0.2},
                  {"alignment/modulation/3", 0.3}};
    for (size_t i = 0; i < sizeof finals / sizeof *finals; i++) {
        const double got =
            json_number_value(json_object_get(json_object_get(run, "final"), finals[i].series));
        if (!(got >= finals[i].least))
            fail_msg("%s is %g, expected at least %g", finals[i].series, got, finals[i].least);
        print_message("%s %g\n", finals[i].series, got);
    }
    json_decref(run);
}

/* SIGTERM in the middle of a run: it goes on from its checkpoint, kernels and velocities and
 * all. */
static void test_restart(void **state)
{
    (void)state;
    static const char definition[] =
        "{" SAL ",\"optimizer\":{\"lr\":0.0005,\"momentum\":0.5},"
        "\"training\":{\"epochs\":60,\"batch\":10},\"record\":{\"every\":100}}";
    json_t *whole = await_end(&server, submit(&server, definition), "succeeded");
    const json_int_t halved = submit(&server, definition);
    json_decref(daemon_wait(&server, halved, is_training));
    daemon_stop(&server);
    daemon_start(&server, "1", "64M");
    json_t *run = await_end(&server, halved, "succeeded");
    assert_true(integer(run, "attempts") >= 2);
    assert_string_equal(text(run, "digest"), text(whole, "digest"));
    json_decref(run);
    json_decref(whole);
}

/* ---- initial weights ---- */

static const char *in_folder(const char *name)
{
    static char path[4][128];
    static unsigned next;
    char *one = path[next++ % 4];
    snprintf(one, sizeof path[0], "%s/%s", server.folder, name);
    return one;
}

static void train_here(int status, const char *definition, const char *out, struct ended *ended)
{
    file_write(in_folder("definition.json"), definition, strlen(definition));
    run_program(
        &server, ended,
        (const char *const[]){"run", in_folder("definition.json"), "--out", in_folder(out), NULL});
    if (ended->status != status)
        fail_msg("status %d, expected %d: %s", ended->status, status, ended->err);
}

/* Weights that are given to a run whose synapses do not change come out as they went in. */
static void test_initial_weights(void **state)
{
    (void)state;
    struct ended first, second;
    static const char frozen[] =
        "{" SAL
        ",\"initial_weights\":\"%s\",\"training\":{\"seed\":2,\"max_steps\":3,\"batch\":20},"
        "\"optimizer\":{\"groups\":{\"W\":{\"lr\":0},\"B\":{\"lr\":0},\"V\":{\"lr\":0},"
        "\"U\":{\"lr\":0}}}}";
    char definition[2048];
    train_here(0, "{" SAL ",\"optimizer\":{\"lr\":0.001},\"training\":{\"epochs\":1,\"batch\":20}}",
               "first.npz", &first);
    snprintf(definition, sizeof definition, frozen, "first.npz");
    train_here(0, definition, "second.npz", &second);
    const char *digest = strstr(first.out, "digest sha256:");
    assert_non_null(digest);
    assert_non_null(strstr(second.out, digest));

    /* Of another shape: what it has, and what it should have. */
    float zeros[4 * 25] = {0};
    const struct npy wrong[] = {{"W1", NPY_F4, 3, {4, 5, 5}, 100, zeros}};
    assert_int_equal(npz_write(wrong, 1, in_folder("wrong.npz"), NULL), TET_OK);
    snprintf(definition, sizeof definition, frozen, "wrong.npz");
    train_here(4, definition, "third.npz", &second);
    if (strstr(second.err, "W1 has shape (4, 5, 5), the network needs (4, 1, 5, 5)") == NULL)
        fail_msg("%s", second.err);
}

/* ---- CIFAR ---- */

enum { RECORD = 3073, COUNT = 4, FILES = 6 }; // bytes; records of a file

static void write_cifar(const char *name, uint8_t last_label)
{
    static uint8_t bytes[COUNT * RECORD];
    char path[160];
    for (int i = 0; i < COUNT * RECORD; i++)
        bytes[i] = (uint8_t)(i % RECORD > 0 ? i * 7 : i / RECORD % 10);
    bytes[(COUNT - 1) * RECORD] = last_label;
    snprintf(path, sizeof path, "%s/%s", server.data, name);
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < FILES; i++) {
        if (i < FILES - 1)
            snprintf(path, sizeof path, "%s/%s/data_batch_%d.bin", server.data, name, i + 1);
        else
            snprintf(path, sizeof path, "%s/%s/test_batch.bin", server.data, name);
        file_write(path, bytes, sizeof bytes);
    }
}

static void test_cifar(void **state)
{
    (void)state;
    write_cifar("small", 3);
    write_cifar("wrong", 10);
    json_t *one = get(&server, 200, "/v1/datasets/small");
    assert_string_equal(text(one, "kind"), "cifar10");
    assert_int_equal(integer(one, "channels"), 3);
    assert_int_equal(integer(one, "rows"), 32);
    assert_int_equal(integer(one, "columns"), 32);
    assert_int_equal(integer(one, "outputs"), 10);
    assert_int_equal(integer(one, "train"), 20);
    assert_int_equal(integer(one, "test"), 4);
    json_decref(one);
    one = get(&server, 422, "/v1/datasets/wrong");
    const char *message = text(json_object_get(one, "error"), "message");
    if (strstr(message, "data_batch_1.bin: record 3 (from 0) has label 10; 0 to 9 allowed") == NULL)
        fail_msg("%s", message);
    json_decref(one);
    const json_int_t run =
        submit(&server, "{\"dataset\":{\"name\":\"small\"},\"network\":{\"layers\":[" LAYERS "]},"
                        "\"rule\":{\"name\":\"bp\"},\"optimizer\":{\"lr\":0.01},"
                        "\"training\":{\"epochs\":1,\"batch\":5}}");
    json_decref(await_end(&server, run, "succeeded"));
    json_t *list = get(&server, 200, "/v1/runs/%lld/weights", run), *array;
    size_t i;
    json_array_foreach(json_object_get(list, "arrays"), i, array)
    {
        char shape[64];
        put_shape(json_object_get(array, "shape"), shape);
        if (strcmp(text(array, "name"), "W1") == 0)
            assert_string_equal(shape, "4, 3, 5, 5");
    }
    json_decref(list);
    check_alive(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),         cmocka_unit_test(test_weights),
        cmocka_unit_test(test_defaults_learn), cmocka_unit_test(test_initial_weights),
        cmocka_unit_test(test_cifar),          cmocka_unit_test(test_restart),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
