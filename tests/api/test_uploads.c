// SPDX-License-Identifier: Apache-2.0
/*
 * Datasets over HTTP: the forms, what a content is known by, names, who uses one, restarts. What may go
 * wrong is test_bad_uploads.c.
 */
#include "api/uploads.h"

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
        cmocka_unit_test(test_table),   cmocka_unit_test(test_forms),
        cmocka_unit_test(test_cifar),   cmocka_unit_test(test_two_tables),
        cmocka_unit_test(test_names),   cmocka_unit_test(test_in_use),
        cmocka_unit_test(test_restart),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
