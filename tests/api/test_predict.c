// SPDX-License-Identifier: Apache-2.0
/* Predictions: by the whole test part the classes give test/accuracy, dense and convolutional, by
 * indices and by inputs; at a kept checkpoint; and what is refused. */
#include "api/contract.h"

#include <math.h>

#include "data/catalog.h"

enum { TEST_N = 120, TRAIN_N = 200 };
#define DATA "\"dataset\":{\"name\":\"strokes\",\"train\":200,\"test\":120,\"validation\":20}"

static int start(void **state)
{
    (void)state;
    return server_start("1", NULL);
}

static json_t *predict(json_int_t run, const json_t *body, long status)
{
    char path[80];
    char *text = json_dumps(body, JSON_REAL_PRECISION(17));
    snprintf(path, sizeof path, "/v1/runs/%lld/predict", (long long)run);
    json_t *reply = ask(&server, "POST", path, text, status);
    free(text);
    return reply;
}

static json_t *of_part(const char *part, size_t n, json_int_t step)
{
    json_t *indices = json_array(),
           *body = json_pack("{s:s, s:o}", "part", part, "indices", indices);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(indices, json_integer((json_int_t)i));
    if (step > 0)
        json_object_set_new(body, "step", json_integer(step));
    return body;
}

static double accuracy(const json_t *prediction)
{
    const json_t *classes = json_object_get(prediction, "classes"),
                 *labels = json_object_get(prediction, "labels");
    size_t right = 0, n = json_array_size(classes);
    assert_int_equal(json_array_size(labels), n);
    for (size_t i = 0; i < n; i++)
        right += (size_t)json_equal(json_array_get(classes, i), json_array_get(labels, i));
    return (double)right / (double)n;
}

/* Probabilities add up to 1, and the class is the likeliest. */
static void check_rows(const json_t *prediction)
{
    json_t *row, *value;
    size_t i, c;
    json_array_foreach(json_object_get(prediction, "probabilities"), i, row)
    {
        double sum = 0.0, most = 0.0;
        size_t best = 0;
        assert_int_equal(json_array_size(row), 10);
        json_array_foreach(row, c, value)
        {
            sum += json_number_value(value);
            if (json_number_value(value) > most) {
                most = json_number_value(value);
                best = c;
            }
        }
        assert_true(fabs(sum - 1.0) < 1e-12);
        assert_int_equal(
            json_integer_value(json_array_get(json_object_get(prediction, "classes"), i)), best);
    }
}

/* The same images as inputs: what the dataset holds, read by its own generator. */
static json_t *inputs_of_test(void)
{
    struct tet_dataset data;
    struct tet_error error = {0};
    assert_int_equal(tet_strokes_create(&data, 1, TRAIN_N, TEST_N, &error), TET_OK);
    json_t *rows = json_array();
    for (size_t i = 0; i < TEST_N; i++) {
        json_t *row = json_array();
        for (size_t k = 0; k < data.shape.inputs; k++)
            json_array_append_new(row, json_integer(data.test.bytes[i * data.shape.inputs + k]));
        json_array_append_new(rows, row);
    }
    tet_dataset_free(&data);
    return json_pack("{s:o}", "inputs", rows);
}

static void check_network(const char *definition, bool probable)
{
    const json_int_t id = submit(&server, definition);
    json_t *run = await_end(&server, id, "succeeded"), *final = json_object_get(run, "final");
    json_t *body = of_part("test", TEST_N, 0), *prediction = predict(id, body, 200);
    assert_true(accuracy(prediction) == json_number_value(json_object_get(final, "test/accuracy")));
    if (probable)
        check_rows(prediction);
    else
        assert_null(json_object_get(prediction, "probabilities"));
    json_t *inputs = inputs_of_test(), *same = predict(id, inputs, 200);
    assert_true(
        json_equal(json_object_get(same, "classes"), json_object_get(prediction, "classes")));
    const char *rows = probable ? "probabilities" : "outputs";
    assert_true(json_equal(json_object_get(same, rows), json_object_get(prediction, rows)));
    json_t *part = of_part("validation", 20, 0), *validation = predict(id, part, 200);
    assert_true(accuracy(validation) ==
                json_number_value(json_object_get(final, "validation/accuracy")));
    json_decref(part);
    json_decref(validation);
    json_decref(inputs);
    json_decref(same);
    json_decref(body);
    json_decref(prediction);
    json_decref(run);
}

static void test_dense(void **state)
{
    (void)state;
    check_network("{" DATA ",\"network\":{\"layers\":[{\"units\":20}]},\"rule\":{\"name\":\"sal\"},"
                  "\"training\":{\"epochs\":3,\"batch\":10}}",
                  true);
    check_network(
        "{" DATA ",\"network\":{\"layers\":[{\"units\":20}],"
        "\"loss\":\"mse\"},\"rule\":{\"name\":\"bp\"},\"training\":{\"epochs\":3,\"batch\":10}}",
        false);
}

static void test_convolution(void **state)
{
    (void)state;
    check_network("{" DATA
                  ",\"network\":{\"layers\":[{\"type\":\"conv2d\",\"channels\":4,\"kernel\":5},"
                  "{\"type\":\"max_pool\",\"size\":2},{\"units\":10}]},\"rule\":{\"name\":\"bp\"},"
                  "\"training\":{\"epochs\":2,\"batch\":10}}",
                  true);
}

static void test_checkpoint(void **state)
{
    (void)state;
    const json_int_t id = submit(
        &server, "{" DATA ",\"network\":{\"layers\":[{\"units\":20}]},\"rule\":{\"name\":\"bp\"},"
                 "\"training\":{\"epochs\":4,\"batch\":10},\"record\":{\"keep\":10,"
                 "\"checkpoint_epochs\":1}}");
    json_decref(await_end(&server, id, "succeeded"));
    json_t *metrics = get(&server, 200, "/v1/runs/%lld/metrics?name=test/accuracy", (long long)id);
    const json_t *series = json_object_get(json_object_get(metrics, "series"), "test/accuracy");
    for (size_t epoch = 0; epoch < 4; epoch++) {
        const json_t *step = json_array_get(json_object_get(series, "steps"), epoch);
        json_t *body = of_part("test", TEST_N, json_integer_value(step)),
               *prediction = predict(id, body, 200);
        assert_int_equal(integer(prediction, "step"), json_integer_value(step));
        assert_true(accuracy(prediction) ==
                    json_number_value(json_array_get(json_object_get(series, "values"), epoch)));
        json_decref(body);
        json_decref(prediction);
    }
    json_t *body = of_part("test", 1, 3), *error = predict(id, body, 404);
    const char *message = text(json_object_get(error, "error"), "message");
    assert_non_null(strstr(message, "no checkpoint at step 3; kept are 18, 36, 54, 72"));
    json_decref(error);
    json_decref(body);
    /* Weights in all forms say the same. */
    json_t *list = get(&server, 200, "/v1/runs/%lld/weights?step=36", (long long)id);
    assert_int_equal(integer(list, "step"), 36);
    json_decref(list);
    json_decref(get(&server, 404, "/v1/runs/%lld/weights?step=37", (long long)id));
    json_decref(get(&server, 404, "/v1/runs/%lld/weights.npz?step=37", (long long)id));
    json_decref(get(&server, 404, "/v1/runs/%lld/weights/W1.npy?step=37", (long long)id));
    json_decref(metrics);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *pointer;
        long status;
    } cases[] = {
        {"{}", "", 422},
        {"[]", "", 422},
        {"{\"inputs\":[[1]],\"part\":\"test\",\"indices\":[0]}", "", 422},
        {"{\"inputs\":[]}", "/inputs", 422},
        {"{\"inputs\":[[1,2,3]]}", "/inputs/0", 422},
        {"{\"inputs\":7}", "/inputs", 422},
        {"{\"part\":\"tests\",\"indices\":[0]}", "/part", 422},
        {"{\"part\":\"test\"}", "/indices", 422},
        {"{\"part\":\"test\",\"indices\":[120]}", "/indices/0", 422},
        {"{\"part\":\"test\",\"indices\":[0,-1]}", "/indices/1", 422},
        {"{\"part\":\"test\",\"indices\":[0.5]}", "/indices/0", 422},
        {"{\"part\":\"test\",\"indices\":[0],\"step\":\"x\"}", "/step", 422},
        {"{\"part\":\"test\",\"indices\":[0],\"a/b\":1}", "/a~1b", 422},
        {"{\"part\":", NULL, 400},
    };
    const json_int_t id = submit(
        &server, "{" DATA ",\"network\":{\"layers\":[{\"units\":5}]},\"rule\":{\"name\":\"bp\"},"
                 "\"training\":{\"epochs\":1,\"batch\":10}}");
    json_decref(await_end(&server, id, "succeeded"));
    char path[80];
    snprintf(path, sizeof path, "/v1/runs/%lld/predict", (long long)id);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *reply = ask(&server, "POST", path, cases[i].body, cases[i].status);
        const json_t *first =
            json_array_get(json_object_get(json_object_get(reply, "error"), "details"), 0);
        if (cases[i].pointer != NULL)
            assert_string_equal(text(first, "pointer"), cases[i].pointer);
        /* An array is too long to be shown: its length is told. */
        if (strstr(cases[i].body, "[1,2,3]") != NULL)
            assert_non_null(strstr(text(first, "allowed"), "not of 3"));
        json_decref(reply);
    }
    json_decref(ask(&server, "POST", "/v1/runs/9999/predict", "{}", 404));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_convolution),
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
