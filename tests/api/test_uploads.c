// SPDX-License-Identifier: Apache-2.0
/*
 * Datasets over HTTP: the forms, what a content is known by, names, who uses one, and all that may go
 * wrong, after which nothing may be left in the state folder.
 */
#include "api/contract.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/resource.h>
#include <zlib.h>

#include "data/npz.h"
#include "unit/http_client.h"

#define TRAIN                                                                                      \
    "\"network\":{\"layers\":[{\"units\":4}]},\"rule\":{\"name\":\"bp\"},\"training\":{\"batch\":" \
    "2,"                                                                                           \
    "\"epochs\":"

static const char table[] = "a,label,b\n0.5,0,1\n1,2,2\n-1e-3,1,\"3\"\n4,1,5\n0,0,0\n";

static int start(void **state)
{
    (void)state;
    return server_start("1", "512M");
}

/* ---- helpers ---- */

/* One upload; the reply's JSON, which the caller frees. */
static json_t *put(const char *path, const char *type, const void *bytes, size_t size, long status)
{
    char header[200];
    struct reply reply;
    snprintf(header, sizeof header, "Content-Type: %s", type);
    request(&server, "PUT", path, bytes, size, (const char *const[]){header, NULL}, &reply);
    contract_check("PUT", path, &reply);
    expect(&reply, status);
    json_t *json = json_incref(reply.json);
    reply_free(&reply);
    return json;
}

static void put_csv(const char *path, const char *text, long status)
{
    json_decref(put(path, "text/csv", text, strlen(text), status));
}

static void delete (const char *name, long status)
{
    char path[128];
    snprintf(path, sizeof path, "/v1/datasets/%s", name);
    json_decref(ask(&server, "DELETE", path, NULL, status));
}

static int count_in(const char *folder)
{
    char path[200];
    int n = 0;
    snprintf(path, sizeof path, "%s.files/%s", server.db, folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void check_left(int contents)
{
    for (int tries = 0; tries < 2000 && count_in("incoming") > 0; tries++)
        usleep(1000); // a cut connection is noticed soon, not at once
    assert_int_equal(count_in("incoming"), 0);
    assert_int_equal(count_in("datasets"), contents);
}

struct form {
    char *bytes;
    size_t size;
};

static void form_add(struct form *f, const char *field, const char *file, const void *bytes,
                     size_t size)
{
    char head[300];
    const int n = snprintf(head, sizeof head,
                           "--XX\r\nContent-Disposition: form-data; name=\"%s\"; "
                           "filename=\"%s\"\r\n\r\n",
                           field, file);
    f->bytes = realloc(f->bytes, f->size + (size_t)n + size + 16);
    assert_non_null(f->bytes);
    memcpy(f->bytes + f->size, head, (size_t)n);
    memcpy(f->bytes + f->size + n, bytes, size);
    memcpy(f->bytes + f->size + n + size, "\r\n", 2);
    f->size += (size_t)n + size + 2;
}

static json_t *form_put(struct form *f, const char *path, long status)
{
    memcpy(f->bytes + f->size, "--XX--\r\n", 9);
    json_t *json = put(path, "multipart/form-data; boundary=XX", f->bytes, f->size + 8, status);
    free(f->bytes);
    *f = (struct form){0};
    return json;
}

/* Six images of 2 x 3, in three classes. */
enum { IMAGES = 6, ROWS = 2, COLUMNS = 3 };

static void make_images(uint8_t x[IMAGES * ROWS * COLUMNS], int32_t t[IMAGES])
{
    for (int i = 0; i < IMAGES * ROWS * COLUMNS; i++)
        x[i] = (uint8_t)(i * 7);
    for (int i = 0; i < IMAGES; i++)
        t[i] = i % 3;
}

static void make_npz(void **bytes, size_t *size)
{
    uint8_t x[IMAGES * ROWS * COLUMNS];
    int32_t t[IMAGES];
    make_images(x, t);
    const struct npy arrays[] = {
        {.name = "x",
         .type = NPY_U1,
         .rank = 3,
         .shape = {IMAGES, ROWS, COLUMNS},
         .n = sizeof x,
         .data = x},
        {.name = "t", .type = NPY_I4, .rank = 1, .shape = {IMAGES}, .n = IMAGES, .data = t},
    };
    assert_int_equal(npz_write_memory(arrays, 2, bytes, size, NULL), TET_OK);
}

/* ---- forms ---- */

static void test_table(void **state)
{
    (void)state;
    json_t *d = put("/v1/datasets/table?test_fraction=0.4", "text/csv; charset=utf-8", table,
                    strlen(table), 201);
    assert_string_equal(text(d, "kind"), "csv");
    assert_string_equal(text(d, "source"), "upload");
    assert_string_equal(text(d, "owner"), "local");
    assert_int_equal(integer(d, "inputs"), 2);
    assert_int_equal(integer(d, "outputs"), 3);
    assert_int_equal(integer(d, "train"), 3);
    assert_int_equal(integer(d, "test"), 2);
    json_t *again = get(&server, 200, "/v1/datasets/table");
    assert_true(json_equal(d, again));
    json_decref(again);
    json_decref(d);
    check_left(1);
    /* It is trained on, and what is learnt does not depend on how it was uploaded. */
    json_decref(await_end(
        &server,
        submit(&server, "{\"name\":\"on it\",\"dataset\":{\"name\":\"table\"}," TRAIN "2}}"),
        "succeeded"));
    delete ("table", 200);
    json_decref(get(&server, 404, "/v1/datasets/table"));
    delete ("table", 404);
    check_left(0);
}

/* The same examples as NPZ and as IDX, plain and gzipped, are one content. */
static void test_forms(void **state)
{
    (void)state;
    void *npz;
    size_t size;
    uint8_t x[16 + IMAGES * ROWS * COLUMNS] = {0, 0, 8, 3,    0, 0, 0, IMAGES,
                                               0, 0, 0, ROWS, 0, 0, 0, COLUMNS};
    uint8_t labels[8 + IMAGES] = {0, 0, 8, 1, 0, 0, 0, IMAGES}, gz[512];
    int32_t t[IMAGES];
    struct form form = {0};
    make_npz(&npz, &size);
    make_images(x + 16, t);
    for (int i = 0; i < IMAGES; i++)
        labels[8 + i] = (uint8_t)t[i];
    z_stream z = {
        .next_in = labels, .avail_in = sizeof labels, .next_out = gz, .avail_out = sizeof gz};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    const size_t gz_size = z.total_out;
    deflateEnd(&z);

    json_t *one = put("/v1/datasets/one", "application/zip", npz, size, 201);
    json_t *two = put("/v1/datasets/two", "application/octet-stream", npz, size, 201);
    form_add(&form, "files", "train-images-idx3-ubyte", x, sizeof x);
    form_add(&form, "files", "train-labels-idx1-ubyte.gz", gz, gz_size);
    json_t *three = form_put(&form, "/v1/datasets/three", 201);
    form_add(&form, "f", "anything.npz", npz, size);
    json_t *same = form_put(&form, "/v1/datasets/three", 200);
    assert_string_equal(text(three, "kind"), "idx");
    assert_string_equal(text(one, "sha256"), text(three, "sha256"));
    assert_true(json_equal(same, three));
    assert_int_equal(integer(one, "rows"), ROWS);
    check_left(1); // three names, one content
    put_csv("/v1/datasets/three", table, 409);
    delete ("two", 200);
    delete ("one", 200);
    check_left(1);
    delete ("three", 200);
    check_left(0);
    json_decref(one);
    json_decref(two);
    json_decref(three);
    json_decref(same);
    free(npz);
}

static void test_cifar(void **state)
{
    (void)state;
    enum { RECORD = 3074 };
    static uint8_t records[100 * RECORD];
    struct form form = {0};
    for (int i = 0; i < 100; i++) {
        records[i * RECORD] = (uint8_t)(i / 5);
        records[i * RECORD + 1] = (uint8_t)i;
    }
    form_add(&form, "f", "train.bin", records, sizeof records);
    form_add(&form, "f", "test.bin", records, RECORD * 2);
    json_t *d = form_put(&form, "/v1/datasets/hundred", 201);
    assert_string_equal(text(d, "kind"), "cifar100");
    assert_int_equal(integer(d, "outputs"), 100);
    assert_int_equal(integer(d, "channels"), 3);
    json_decref(d);
    delete ("hundred", 200);
    /* Without the last class it would read back as another dataset. */
    form_add(&form, "f", "train.bin", records, sizeof records - RECORD);
    form_add(&form, "f", "test.bin", records, RECORD * 2);
    json_decref(form_put(&form, "/v1/datasets/hundred", 422));
    check_left(0);
}

static void test_two_tables(void **state)
{
    (void)state;
    struct form form = {0};
    static const char test[] = "a,label,b\n1,2,1\n", alone[] = "a,label,b\n1,3,1\n";
    form_add(&form, "f", "mine.csv", table, sizeof table - 1);
    form_add(&form, "f", "test.csv", test, sizeof test - 1);
    json_t *d = form_put(&form, "/v1/datasets/pair", 201);
    assert_int_equal(integer(d, "train"), 5);
    assert_int_equal(integer(d, "test"), 1);
    json_decref(d);
    delete ("pair", 200);
    form_add(&form, "f", "mine.csv", table, sizeof table - 1);
    form_add(&form, "f", "test.csv", alone, sizeof alone - 1);
    json_decref(form_put(&form, "/v1/datasets/pair", 422));
    check_left(0);
}

/* ---- names and use ---- */

static void test_names(void **state)
{
    (void)state;
    char path[200];
    static const char *const bad[] = {"a.b", "a%20b", "a%2Fb", "%2e%2e", "-%00", "a%C3%A4"};
    static const long status[] = {400, 400, 404, 404, 400, 400};
    for (size_t i = 0; i < 6; i++) {
        struct reply reply;
        snprintf(path, sizeof path, "/v1/datasets/%s", bad[i]);
        request(&server, "PUT", path, table, sizeof table - 1,
                (const char *const[]){"Content-Type: text/csv", NULL}, &reply);
        expect(&reply, status[i]);
        reply_free(&reply);
    }
    snprintf(path, sizeof path, "/v1/datasets/%063d", 0);
    put_csv(path, table, 201);
    delete (path + strlen("/v1/datasets/"), 200);
    snprintf(path, sizeof path, "/v1/datasets/%064d", 0);
    put_csv(path, table, 400);
    put_csv("/v1/datasets/strokes", table, 409);
    delete ("strokes", 409);
    /* A file of the data folder keeps its name. */
    void *npz;
    size_t size;
    make_npz(&npz, &size);
    snprintf(path, sizeof path, "%s/mine.npz", server.data);
    file_write(path, npz, size);
    put_csv("/v1/datasets/mine", table, 409);
    delete ("mine", 409);
    json_t *d = get(&server, 200, "/v1/datasets/mine");
    assert_string_equal(text(d, "source"), "file");
    assert_true(json_is_null(json_object_get(d, "owner")));
    json_decref(d);
    remove(path);
    free(npz);
    put_csv("/v1/datasets/x?labels=a", table, 400);
    put_csv("/v1/datasets/x?test_fraction=1", table, 400);
    put_csv("/v1/datasets/x?test_fraction=nan", table, 400);
    check_left(0);
}

static void test_in_use(void **state)
{
    (void)state;
    char path[64];
    put_csv("/v1/datasets/used", table, 201);
    const json_int_t run =
        submit(&server, "{\"name\":\"long\",\"dataset\":{\"name\":\"used\"}," TRAIN "100000}}");
    json_t *d = get(&server, 200, "/v1/datasets/used");
    assert_int_equal(integer(d, "in_use"), 1);
    json_decref(d);
    delete ("used", 409);
    snprintf(path, sizeof path, "/v1/runs/%lld/cancel", (long long)run);
    json_decref(ask(&server, "POST", path, "", 200));
    d = get(&server, 200, "/v1/datasets/used");
    assert_int_equal(integer(d, "in_use"), 0);
    json_decref(d);
    delete ("used", 200);
    check_left(0);
}

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

/* A file cannot grow: as on a full disk. A run goes on meanwhile. */
static void test_full_disk(void **state)
{
    (void)state;
    enum { SIZE = 4 << 20 };
    struct rlimit before, small;
    char *big = malloc(SIZE), path[64];
    assert_non_null(big);
    for (int i = 0; i < SIZE; i += 4)
        memcpy(big + i, i % 8 == 0 ? "0,1\n" : "1,2\n", 4);
    const json_int_t run = submit(
        &server,
        "{\"name\":\"long\",\"dataset\":{\"name\":\"strokes\",\"train\":50,\"test\":10}," TRAIN
        "100000}}");
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

/* ---- restarts ---- */

static void restart(int signal_number)
{
    if (signal_number == SIGKILL) {
        kill(server.pid, SIGKILL);
        reap(server.pid, STOP_MS);
        server.pid = 0;
    } else {
        daemon_stop(&server);
    }
    daemon_start(&server, "1", "512M");
}

/* Uploads stay; what a crash left in the middle of one goes; what is not ours stays. */
static void test_restart(void **state)
{
    (void)state;
    char path[300], kept[300];
    put_csv("/v1/datasets/stays", table, 201);
    restart(SIGKILL);
    json_t *d = get(&server, 200, "/v1/datasets/stays");
    const char *known = text(d, "sha256") + strlen("sha256:");
    check_left(1);
    snprintf(path, sizeof path, "%s.files/incoming/%s", server.db, known); // settled too late
    file_write(path, "", 0);
    snprintf(path, sizeof path, "%s.files/incoming/%064d", server.db, 0); // never named
    file_write(path, "", 0);
    snprintf(path, sizeof path, "%s.files/datasets/%064d.npz", server.db, 0);
    file_write(path, "x", 1);
    snprintf(path, sizeof path, "%s.files/incoming/upload-abcdef", server.db);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s.files/incoming/upload-abcdef/data.npz", server.db);
    file_write(path, "x", 1);
    snprintf(kept, sizeof kept, "%s.files/datasets/notes.txt", server.db);
    file_write(kept, "x", 1);
    restart(SIGTERM);
    check_left(2);
    assert_int_equal(remove(kept), 0);
    check_left(1);
    json_t *after = get(&server, 200, "/v1/datasets/stays");
    assert_true(json_equal(d, after));
    json_decref(after);
    /* A content that was changed on disk is not trained on. */
    snprintf(path, sizeof path, "%s.files/datasets/%s.npz", server.db, known);
    void *npz;
    size_t size;
    make_npz(&npz, &size);
    file_write(path, npz, size);
    free(npz);
    json_t *damaged = get(&server, 422, "/v1/datasets/stays");
    assert_non_null(strstr(text(json_object_get(damaged, "error"), "message"), "damaged"));
    json_decref(damaged);
    json_decref(get(&server, 200, "/v1/datasets"));
    json_decref(d);
    delete ("stays", 200);
    check_left(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),       cmocka_unit_test(test_forms),
        cmocka_unit_test(test_cifar),       cmocka_unit_test(test_two_tables),
        cmocka_unit_test(test_names),       cmocka_unit_test(test_in_use),
        cmocka_unit_test(test_bad_content), cmocka_unit_test(test_bad_forms),
        cmocka_unit_test(test_bombs),       cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_race),        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_restart),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
