// SPDX-License-Identifier: Apache-2.0
/*
 * Uploads that go wrong, after which nothing may be left in the files folder: content, forms, bombs,
 * connections that end, two at a time, a full disk.
 */
#include "api/uploads.h"

#include <sys/resource.h>

#include "unit/http_client.h"

/* ---- what is wrong with the content ---- */

static void test_bad_content(void **state)
{
    (void)state;
    static const struct {
        const char *query, *text, *message;
    } cases[] = {
        {"", "a,b\n", "no examples"},
        {"", "1,2,3\n0,nan,3\n", "line 2, column 2"},
        {"", "t,x\n1,1e39\n0,1\n", "finite float"},
        {"", "t,x\n1,inf\n0,1\n", "inf\\\" is no number"},
        {"", "t,x\n1000000000,1\n0,1\n", "the label 1e+09"},
        {"", "t,x\n-1,1\n0,1\n", "the label -1"},
        {"", "t,x\n0.5,1\n0,1\n", "the label 0.5"},
        {"", "t,x\n0,1\n0,1\n", "only one class"},
        {"", "t,x\n0,1\n1,1,1\n", "line 3 has more than 2 columns"},
        {"", "t,x,y\n0,1,1\n1,1\n", "line 3 has 2 columns"},
        {"", "t,x\n0,\"1\n", "without its end"},
        {"", "t,x\n0,1\"\n", "a quote inside"},
        {"", "t\n0\n1\n", "at least one input"},
        {"?label=c", "t,x\n0,1\n1,1\n", "no column \\\"c\\\""},
        {"?label=2", "t,x\n0,1\n1,1\n", "no column"},
        {"?test_fraction=0.9", "t,x\n0,1\n1,2\n", "only one class"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[128];
        snprintf(path, sizeof path, "/v1/datasets/bad%s", cases[i].query);
        json_t *error = put(path, "text/csv", cases[i].text, strlen(cases[i].text), 422);
        char *all = json_dumps(error, 0);
        if (strstr(all, cases[i].message) == NULL || strstr(all, "/tmp/") || strstr(all, "/proc/"))
            fail_msg("case %zu: %s", i, all);
        free(all);
        json_decref(error);
    }
    json_decref(put("/v1/datasets/bad", "application/zip", "PK\3\4nonsense", 12, 422));
    json_decref(put("/v1/datasets/bad", "application/zip", "", 0, 422));
    json_decref(put("/v1/datasets/bad", "application/json", "{}", 2, 415));
    check_left(0);
}

static void test_bad_forms(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"../evil.txt", NULL},
        {"train.bin", "data_batch_1.bin"},
        {"a.csv", "b.csv"},
        {"a.csv", "a.npz"},
        {"test.csv", NULL},
        {"train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"},
        {"train-images-idx3-ubyte", NULL},
    };
    struct form form = {0};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        form_add(&form, "f", pairs[i][0], table, sizeof table - 1);
        if (pairs[i][1] != NULL)
            form_add(&form, "f", pairs[i][1], table, sizeof table - 1);
        json_decref(form_put(&form, "/v1/datasets/bad", 422));
    }
    static const char field[] =
        "--XX\r\nContent-Disposition: form-data; name=\"label\"\r\n\r\nb\r\n--XX--\r\n";
    json_decref(
        put("/v1/datasets/bad", "multipart/form-data; boundary=XX", field, sizeof field - 1, 400));
    check_left(0);
}

/* A few kilobytes that claim to be, or are, more than the server's memory. */
static void test_bombs(void **state)
{
    (void)state;
    enum { BLOCK = 1 << 20 };
    struct form form = {0};
    uint8_t *zeros = calloc(1, BLOCK), *gz = malloc(4 << 20);
    static const uint8_t head[16] = {0, 0, 8, 3, 0, 16, 0, 0, 0, 0, 0, 32, 0, 0, 0, 32};
    static const uint8_t labels[10] = {0, 0, 8, 1, 0, 0, 0, 2, 0, 1};
    z_stream z = {.next_out = gz, .avail_out = 4 << 20};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (uint8_t *)(uintptr_t)head;
    z.avail_in = sizeof head;
    deflate(&z, Z_NO_FLUSH);
    for (int i = 0; i < 64; i++) {
        z.next_in = zeros;
        z.avail_in = BLOCK;
        deflate(&z, Z_NO_FLUSH);
    }
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    form_add(&form, "f", "train-images-idx3-ubyte.gz", gz, z.total_out);
    form_add(&form, "f", "train-labels-idx1-ubyte", labels, sizeof labels);
    deflateEnd(&z);
    json_decref(form_put(&form, "/v1/datasets/bomb", 422));
    free(zeros);
    free(gz);
    check_left(0);
    json_decref(get(&server, 200, "/healthz"));
}

/* ---- connections ---- */

static int begin(const char *name, const char *more)
{
    const int fd = client_open(server.port);
    assert_true(fd >= 0);
    assert_true(client_send(
        fd, "PUT /v1/datasets/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n%s\r\n",
        name, more));
    return fd;
}

static void test_cut_off(void **state)
{
    (void)state;
    static struct answer answer;
    char big[100000];
    memset(big, '1', sizeof big);
    int fd = begin("cut", "Content-Length: 1000000\r\n");
    client_send_bytes(fd, big, sizeof big);
    close(fd);
    fd = begin("cut", "Transfer-Encoding: chunked\r\n");
    client_send(fd, "ffff\r\n");
    client_send_bytes(fd, big, 5000);
    close(fd);
    fd = begin("cut", "Content-Length: 5368709120\r\n");
    client_read(fd, false, &answer);
    assert_int_equal(answer.status, 413);
    close(fd);
    json_decref(get(&server, 404, "/v1/datasets/cut"));
    check_left(0);
}

/* Two contents for one name at the same time: one is taken. */
static void test_race(void **state)
{
    (void)state;
    static struct answer answers[2];
    static const char *const texts[2] = {"0,1\n1,2\n", "0,3\n1,4\n"};
    int fds[2];
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 2; i++)
            fds[i] = begin("race", "Content-Length: 8\r\n");
        for (int i = 0; i < 2; i++)
            client_send_bytes(fds[i], texts[i], 8);
        for (int i = 0; i < 2; i++) {
            client_read(fds[i], false, &answers[i]);
            close(fds[i]);
        }
        assert_int_equal(answers[0].status + answers[1].status, 201 + 409);
        check_left(1);
        delete ("race", 200);
        check_left(0);
    }
}

/* A file cannot grow: as on a full disk. A run goes on meanwhile; its epochs are so long that the
 * database has nothing to write. */
static void test_full_disk(void **state)
{
    (void)state;
    enum { SIZE = 4 << 20 };
    struct rlimit before, small;
    char *big = malloc(SIZE), path[64];
    assert_non_null(big);
    for (int i = 0; i < SIZE; i += 4)
        memcpy(big + i, i % 8 == 0 ? "0,1\n" : "1,2\n", 4);
    const json_int_t run =
        submit(&server,
               "{\"name\":\"long\",\"dataset\":{\"name\":\"strokes\",\"train\":50000,\"test\":10},"
               "\"record\":{\"every\":0,\"checkpoint_epochs\":100000}," TRAIN "100000}}");
    json_decref(daemon_wait(&server, run, is_training));
    assert_int_equal(prlimit(server.pid, RLIMIT_FSIZE, NULL, &before), 0);
    small = (struct rlimit){3 << 20, before.rlim_max};
    assert_int_equal(prlimit(server.pid, RLIMIT_FSIZE, &small, NULL), 0);
    json_t *error = put("/v1/datasets/full", "text/csv", big, SIZE, 503);
    json_decref(error);
    /* The upload fits, and what is made of it does not: 1.5 MiB of text, 3 MiB of numbers. */
    json_decref(put("/v1/datasets/full", "text/csv", big, SIZE * 3 / 8 + (1 << 19), 503));
    assert_int_equal(prlimit(server.pid, RLIMIT_FSIZE, &before, NULL), 0);
    check_left(0);
    json_decref(put("/v1/datasets/full", "text/csv", big, SIZE, 201));
    json_t *still = get(&server, 200, "/v1/runs/%lld", (long long)run);
    assert_string_equal(text(still, "state"), "running");
    json_decref(still);
    snprintf(path, sizeof path, "/v1/runs/%lld/cancel", (long long)run);
    json_decref(ask(&server, "POST", path, "", 200));
    delete ("full", 200);
    check_left(0);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_content), cmocka_unit_test(test_bad_forms),
        cmocka_unit_test(test_bombs),       cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_race),        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
