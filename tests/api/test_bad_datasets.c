// SPDX-License-Identifier: Apache-2.0
/*
 * Datasets that go bad, on the real server: files of every kind that are wrong in one place, and one
 * that is lost after a run was submitted. None costs another run anything.
 */
#include "api/faults.h"

#include <zlib.h>

#include "data/npz.h"

static int start(void **state)
{
    (void)state;
    return server_start("1", "64M");
}

enum { SIDE = 4, PIXELS = SIDE * SIDE, COUNT = 30 };

static void put32(unsigned char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* What is written of an IDX dataset: a good one, changed here and there. */
struct idx {
    uint32_t magic, n_images, rows, columns, n_labels;
    size_t image_bytes, label_bytes; // after the headers
    bool gz, no_labels, random_gz;
};
static const struct idx good = {0x803, COUNT, SIDE, SIDE, COUNT, COUNT *PIXELS, COUNT, 0, 0, 0};

static void write_part(const char *name, const char *part, const unsigned char *bytes, size_t size,
                       const struct idx *idx)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s/%s%s", server.data, name, part, idx->gz ? ".gz" : "");
    if (!idx->gz || idx->random_gz) {
        file_write(path, bytes, size);
        return;
    }
    gzFile file = gzopen(path, "wb9");
    assert_int_equal(gzwrite(file, bytes, (unsigned)size), (int)size);
    assert_int_equal(gzclose(file), Z_OK);
}

static void write_idx(const char *name, const struct idx *idx)
{
    char path[256];
    unsigned char *images = calloc(1, 16 + idx->image_bytes),
                  *labels = calloc(1, 8 + idx->label_bytes);
    snprintf(path, sizeof path, "%s/%s", server.data, name);
    assert_int_equal(mkdir(path, 0700), 0);
    put32(images, idx->magic);
    put32(images + 4, idx->n_images);
    put32(images + 8, idx->rows);
    put32(images + 12, idx->columns);
    put32(labels, 0x801);
    put32(labels + 4, idx->n_labels);
    for (size_t i = 0; i < idx->label_bytes; i++) {
        labels[8 + i] = (unsigned char)(i % 3);
        if (16 + i * PIXELS < idx->image_bytes)
            images[16 + i * PIXELS] = (unsigned char)(i % 3 * 80);
    }
    write_part(name, "train-images-idx3-ubyte", images, 16 + idx->image_bytes, idx);
    if (!idx->no_labels)
        write_part(name, "train-labels-idx1-ubyte", labels, 8 + idx->label_bytes, idx);
    free(images);
    free(labels);
}

/* A dataset that cannot be used: listed with its fault, and a fault of definitions that name it. */
static void check_bad_dataset(const char *name, const char *words)
{
    char definition[300];
    json_t *one = get(&server, 422, "/v1/datasets/%s", name);
    assert_string_equal(code_of(one), "bad_dataset");
    if (strstr(message_of(one), words) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", name, message_of(one), words);
    json_decref(one);
    snprintf(definition, sizeof definition, "{\"dataset\":{\"name\":\"%s\"}," NETWORK "," RULE "}",
             name);
    check_fault(&(struct fault){definition, "/dataset/name", NULL, "a dataset that can be used"});
    json_t *list = get(&server, 200, "/v1/datasets"), *entry;
    size_t i, found = 0;
    json_array_foreach(json_object_get(list, "datasets"), i, entry)
    {
        found += strcmp(text(entry, "name"), name) == 0 &&
                 json_is_string(json_object_get(entry, "error"));
    }
    assert_int_equal(found, 1);
    json_decref(list);
}

static void train_on(const char *name)
{
    char definition[300];
    snprintf(definition, sizeof definition,
             "{\"dataset\":{\"name\":\"%s\"}," NETWORK "," RULE
             ",\"training\":{\"epochs\":1,\"batch\":10}}",
             name);
    json_decref(await_end(&server, submit(&server, definition), "succeeded"));
}

static void test_idx(void **state)
{
    (void)state;
    struct idx idx = good;
    write_idx("good", &idx);
    train_on("good");
    static const struct {
        const char *name, *words;
        struct idx idx;
    } cases[] = {
        {"cut", "truncated", {0x803, COUNT, SIDE, SIDE, COUNT, COUNT * PIXELS - 1, COUNT, 0, 0, 0}},
        {"cut-header", "truncated", {0x803, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
        {"cut-gz", "truncated", {0x803, COUNT, SIDE, SIDE, COUNT, 7, COUNT, 1, 0, 0}},
        {"long", "longer", {0x803, COUNT, SIDE, SIDE, COUNT, COUNT * PIXELS + 1, COUNT, 0, 0, 0}},
        {"lying",
         "truncated",
         {0x803, 0xFFFFFFFF, 28, 28, 0xFFFFFFFF, COUNT * PIXELS, COUNT, 0, 0, 0}},
        {"overflow",
         "impossible",
         {0x803, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, COUNT, COUNT * PIXELS, COUNT, 0, 0, 0}},
        {"fewer", "labels for", {0x803, COUNT, SIDE, SIDE, 10, COUNT * PIXELS, 10, 0, 0, 0}},
        {"magic", "begin with", {0x903, COUNT, SIDE, SIDE, COUNT, COUNT * PIXELS, COUNT, 0, 0, 0}},
        {"empty-set", "no images", {0x803, 0, SIDE, SIDE, 0, 0, 0, 0, 0, 0}},
        {"flat", "pixels", {0x803, COUNT, 0, SIDE, COUNT, 0, COUNT, 0, 0, 0}},
        {"no-labels",
         "is missing",
         {0x803, COUNT, SIDE, SIDE, COUNT, COUNT * PIXELS, COUNT, 0, 1, 0}},
        {"no-gz", "not gzipped", {0x803, COUNT, SIDE, SIDE, COUNT, COUNT * PIXELS, COUNT, 1, 0, 1}},
        /* 96 MiB of zeros in 100 kB, under a limit of 64 MiB; what is in it is as declared. */
        {"bomb", "the limit is", {0x803, 6 << 20, SIDE, SIDE, 6 << 20, 6u << 24, 6 << 20, 1, 0, 0}},
        /* as much again behind what is declared */
        {"tail", "longer", {0x803, COUNT, SIDE, SIDE, COUNT, 6u << 24, COUNT, 1, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_idx(cases[i].name, &cases[i].idx);
        if (strcmp(cases[i].name, "cut-header") == 0) {
            char path[256];
            snprintf(path, sizeof path, "%s/cut-header/train-images-idx3-ubyte", server.data);
            assert_int_equal(truncate(path, 7), 0);
        }
        check_bad_dataset(cases[i].name, cases[i].words);
    }
    char path[256];
    idx = good;
    write_idx("empty", &idx);
    snprintf(path, sizeof path, "%s/empty/train-images-idx3-ubyte", server.data);
    file_write(path, "", 0);
    check_bad_dataset("empty", "empty");
    check_alive(&server);
    train_on("good");
}

static void test_npz(void **state)
{
    (void)state;
    float x[COUNT * 2] = {0}, nan[COUNT * 2] = {0};
    int64_t t[COUNT], negative[COUNT];
    char path[256];
    for (int i = 0; i < COUNT; i++) {
        x[2 * i] = (float)(i % 3);
        t[i] = negative[i] = i % 3;
    }
    nan[17] = __builtin_nanf("");
    negative[4] = -1;
    const struct npy xs = {.name = "x",
                           .type = NPY_F4,
                           .rank = 2,
                           .shape = {COUNT, 2},
                           .n = COUNT * 2,
                           .data = x},
                     ts = {.name = "t",
                           .type = NPY_I8,
                           .rank = 1,
                           .shape = {COUNT},
                           .n = COUNT,
                           .data = t};
    struct npy bad_x = xs, bad_t = ts, short_t = ts, named = ts;
    bad_x.data = nan;
    bad_t.data = negative;
    short_t.n = short_t.shape[0] = COUNT - 1;
    strcpy(named.name, "y");
    const struct {
        const char *name, *words;
        struct npy x, t;
    } cases[] = {{"good-npz", NULL, xs, ts},
                 {"nan", "not a finite", bad_x, ts},
                 {"negative", "label -1", xs, bad_t},
                 {"short", "examples", xs, short_t},
                 {"unnamed", "array t is missing", xs, named}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct npy arrays[] = {cases[i].x, cases[i].t};
        snprintf(path, sizeof path, "%s/%s.npz", server.data, cases[i].name);
        assert_int_equal(npz_write(arrays, 2, path, NULL), TET_OK);
        if (cases[i].words != NULL)
            check_bad_dataset(cases[i].name, cases[i].words);
        else
            train_on(cases[i].name);
    }
    snprintf(path, sizeof path, "%s/noise.npz", server.data);
    file_write(path, "PK\x03\x04 not really", 15);
    check_bad_dataset("noise", "noise.npz");
    snprintf(path, sizeof path, "%s/hollow.npz", server.data);
    file_write(path, "", 0);
    check_bad_dataset("hollow", "hollow.npz");
    snprintf(path, sizeof path, "%s/good-npz.npz", server.data);
    assert_int_equal(truncate(path, 300), 0);
    check_bad_dataset("good-npz", "good-npz.npz"); // it was good when it was read before
    check_alive(&server);
}

static bool is_paused(const json_t *run)
{
    return strcmp(text(run, "state"), "paused") == 0;
}

/* A dataset that goes bad after the submission pauses its run, and no other. */
static void test_dataset_vanishes(void **state)
{
    (void)state;
    char path[256];
    const struct idx idx = good;
    write_idx("fleeting", &idx);
    const json_int_t long_run = submit(&server, "{" DATASET "," NETWORK "," RULE
                                                ",\"training\":{\"epochs\":100000,\"batch\":1}}");
    const json_int_t doomed =
        submit(&server, "{\"dataset\":{\"name\":\"fleeting\"}," NETWORK "," RULE
                        ",\"training\":{\"epochs\":1,\"batch\":10}}");
    snprintf(path, sizeof path, "%s/fleeting/train-labels-idx1-ubyte", server.data);
    assert_int_equal(truncate(path, 20), 0);
    snprintf(path, sizeof path, "/v1/runs/%lld/cancel", long_run);
    json_decref(ask(&server, "POST", path, NULL, 200));
    json_t *run = daemon_wait(&server, doomed, is_paused);
    assert_non_null(strstr(text(run, "reason"), "truncated"));
    json_decref(run);
    check_alive(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idx),
        cmocka_unit_test(test_npz),
        cmocka_unit_test(test_dataset_vanishes),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
