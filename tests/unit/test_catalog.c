// SPDX-License-Identifier: Apache-2.0
/* The catalog: names, forms, what is refused, replaced files, and many threads at once. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "data/catalog.h"
#include "data/npz.h"

/* libzip calls mktime, whose lock inside libc the thread sanitizer cannot see. By the library,
 * since a libc without symbols does not tell its functions. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:libzip.so\n";
}

static const uint64_t MUCH = 1 << 20;
static char folder[] = "/tmp/test_catalog_XXXXXX";
static char path[512];

static const char *file(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static struct catalog *open_catalog(uint64_t memory_bytes)
{
    struct catalog *c;
    struct tet_error error = {0};
    if (catalog_open(&c, folder, memory_bytes, &error) != TET_OK)
        fail_msg("%s", error.message);
    return c;
}

static struct dataset_spec named(const char *name)
{
    struct dataset_spec spec = {0};
    snprintf(spec.name, sizeof spec.name, "%s", name);
    return spec;
}

static void write_arrays(const char *name, const struct npy *arrays, size_t n)
{
    struct tet_error error = {0};
    if (npz_write(arrays, n, file(name), &error) != TET_OK)
        fail_msg("%s", error.message);
}

static void write_bytes(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(file(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Four examples of two numbers, all `value`, labels 0 to 3. */
static void write_small(const char *name, float value)
{
    float x[8];
    int32_t t[4] = {0, 1, 2, 3};
    for (int i = 0; i < 8; i++)
        x[i] = value;
    struct npy arrays[2] = {{"x", NPY_F4, 2, {4, 2}, 8, x}, {"t", NPY_I4, 1, {4}, 4, t}};
    write_arrays(name, arrays, 2);
}

static void refused(struct catalog *c, const char *name, enum tet_err err, const char *says)
{
    struct dataset_spec spec = named(name);
    struct dataset_info info;
    const struct tet_dataset *d;
    for (int tries = 0; tries < 2; tries++) { // the second time from memory
        struct tet_error a = {0}, b = {0};
        enum tet_err got = catalog_info(c, &spec, &info, &a);
        if (got != err || a.err != err || !strstr(a.message, says))
            fail_msg("%s: got %s \"%s\", expected %s \"%s\"", name, tet_err_code(got), a.message,
                     tet_err_code(err), says);
        assert_int_equal(catalog_acquire(c, &spec, &d, NULL, &b), err);
        assert_string_equal(a.message, b.message);
        assert_null(d);
    }
}

static void refused_arrays(struct catalog *c, const struct npy *arrays, size_t n, const char *says)
{
    write_arrays("bad.npz", arrays, n);
    refused(c, "bad", TET_BAD_DATASET, says);
    unlink(file("bad.npz"));
}

static void lists_names(void **state)
{
    (void)state;
    char **names;
    size_t n;
    write_small("b-2.npz", 1);
    write_small("A_1.npz", 1);
    write_small("not a name.npz", 1);
    assert_int_equal(mkdir(file("empty"), 0700), 0);
    assert_int_equal(mkdir(file("digits"), 0700), 0);
    write_bytes("digits/train-images-idx3-ubyte", "", 0);
    struct catalog *c = open_catalog(MUCH);
    assert_int_equal(catalog_list(c, &names, &n, NULL), TET_OK);
    assert_int_equal(n, 4);
    assert_string_equal(names[0], "A_1");
    assert_string_equal(names[1], "b-2");
    assert_string_equal(names[2], "digits");
    assert_string_equal(names[3], "strokes");
    catalog_names_free(names, n);
    refused(c, "digits", TET_BAD_DATASET, "train-images-idx3-ubyte: the file is empty");

    write_small("digits.npz", 1);
    refused(c, "digits", TET_BAD_DATASET, "there twice");
    assert_int_equal(catalog_list(c, &names, &n, NULL), TET_OK);
    assert_int_equal(n, 4);
    catalog_names_free(names, n);
    unlink(file("digits.npz"));
    write_bytes("digits/test.bin", "", 1);
    refused(c, "digits", TET_BAD_DATASET, "twice, as IDX files and as CIFAR-100 files");
    unlink(file("digits/test.bin"));
    refused(c, "digits", TET_BAD_DATASET, "train-images-idx3-ubyte: the file is empty");

    static const char *const tricks[] = {"../A_1", "a/b", "", ".", "..", "A_1.npz", "A 1", "\xc3"};
    for (size_t i = 0; i < sizeof tricks / sizeof *tricks; i++)
        refused(c, tricks[i], TET_NOT_FOUND, "there are: A_1, b-2, digits, strokes");
    refused(c, "empty", TET_NOT_FOUND, "no dataset empty; there are: A_1, b-2, digits, strokes");
    refused(c, "none", TET_NOT_FOUND, "no dataset none");
    struct dataset_spec spec;
    struct dataset_info info;
    memset(&spec, 'a', sizeof spec); // not even terminated
    assert_int_equal(catalog_info(c, &spec, &info, NULL), TET_NOT_FOUND);
    catalog_close(c);
    catalog_close(NULL);
    catalog_release(NULL, NULL);
}

static void opens_any_folder(void **state)
{
    (void)state;
    struct catalog *c;
    char **names;
    size_t n;
    struct tet_error error = {0};
    static const char *const none[] = {NULL, "/there/is/none"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(catalog_open(&c, none[i], MUCH, NULL), TET_OK);
        assert_int_equal(catalog_list(c, &names, &n, NULL), TET_OK);
        assert_int_equal(n, 1);
        catalog_names_free(names, n);
        refused(c, "x", TET_NOT_FOUND, "there are: strokes");
        catalog_close(c);
    }
    assert_int_equal(catalog_open(&c, "/dev/null", MUCH, &error), TET_IO);
    assert_null(c);
    assert_non_null(strstr(error.message, "not a folder"));
    error = (struct tet_error){0};
    write_small("strokes.npz", 1);
    assert_int_equal(catalog_open(&c, folder, MUCH, &error), TET_BAD_DATASET);
    assert_non_null(strstr(error.message, "built-in"));
    unlink(file("strokes.npz"));
}

static void makes_strokes(void **state)
{
    (void)state;
    struct catalog *c = open_catalog(100 * 788);
    struct dataset_spec spec = named("strokes");
    struct dataset_info info;
    const struct tet_dataset *a, *b;
    spec.seed = 5;
    spec.train = 60;
    spec.test = 40;
    assert_int_equal(catalog_info(c, &spec, &info, NULL), TET_OK);
    assert_string_equal(info.name, "strokes");
    assert_string_equal(info.kind, "builtin");
    assert_string_equal(info.sha256, "");
    assert_int_equal(info.n_train, 60);
    assert_int_equal(info.bytes, 100 * 788);
    assert_int_equal(catalog_acquire(c, &spec, &a, &info, NULL), TET_OK);
    assert_int_equal(a->train.n, 60);
    assert_int_equal(a->test.n, 40);
    spec.seed = 6;
    assert_int_equal(catalog_acquire(c, &spec, &b, NULL, NULL), TET_OK);
    assert_ptr_not_equal(a, b);
    catalog_release(c, a);
    catalog_release(c, b);
    spec.train = 61;
    assert_int_equal(catalog_acquire(c, &spec, &a, NULL, NULL), TET_BAD_DATASET);
    spec.train = UINT32_MAX;
    assert_int_equal(catalog_info(c, &spec, &info, NULL), TET_BAD_DATASET);
    catalog_close(c);
}

static void reads_npz(void **state)
{
    (void)state;
    uint8_t bytes[24], more[12];
    int64_t labels[2] = {4, 0};
    double targets[6] = {0, 0.5, 1, 1.5, 2, 2.5};
    uint16_t few[1] = {4};
    float one_target[2] = {1, 2};
    for (int i = 0; i < 24; i++)
        bytes[i] = (uint8_t)i;
    memset(more, 9, sizeof more);
    struct npy arrays[4] = {{"x", NPY_U1, 4, {2, 3, 2, 2}, 24, bytes},
                            {"t", NPY_I8, 2, {2, 1}, 2, labels},
                            {"x_test", NPY_U1, 4, {1, 3, 2, 2}, 12, more},
                            {"t_test", NPY_U2, 1, {1}, 1, few}};
    struct catalog *c = open_catalog(MUCH);
    const struct tet_dataset *d;
    struct dataset_info info;
    struct dataset_spec spec = named("good");
    write_arrays("good.npz", arrays, 4);
    assert_int_equal(catalog_acquire(c, &spec, &d, &info, NULL), TET_OK);
    assert_string_equal(info.kind, "npz");
    assert_true(info.labels);
    assert_int_equal(info.bytes, 36 + 12);
    assert_int_equal(info.n_test, 1);
    assert_int_equal(d->shape.inputs, 12);
    assert_int_equal(d->shape.outputs, 5);
    assert_int_equal(d->shape.channels, 3);
    assert_int_equal(d->shape.rows, 2);
    assert_int_equal(d->shape.columns, 2);
    assert_memory_equal(d->train.bytes, bytes, 24);
    assert_memory_equal(d->test.bytes, more, 12);
    assert_int_equal(d->train.labels[0], 4);
    assert_int_equal(d->test.labels[0], 4);
    assert_null(d->train.floats);
    // by Python's hashlib over the layout that dataset_digest.h documents
    assert_string_equal(info.sha256,
                        "sha256:ed72f26e28ad9828ce34de620d5526578d5b87388a015393a53a7fe59b0454d5");
    catalog_release(c, d);

    arrays[0] = (struct npy){"x", NPY_I2, 3, {2, 2, 1}, 4, bytes};
    arrays[1] = (struct npy){"t", NPY_F8, 2, {2, 3}, 6, targets};
    write_arrays("good.npz", arrays, 2);
    assert_int_equal(catalog_acquire(c, &spec, &d, &info, NULL), TET_OK);
    assert_false(info.labels);
    assert_int_equal(d->shape.rows, 2);
    assert_int_equal(d->shape.columns, 1);
    assert_int_equal(d->shape.outputs, 3);
    assert_true(d->train.floats[1] == 3 * 256 + 2);
    assert_true(d->train.targets[5] == 2.5f);
    assert_null(d->train.labels);
    catalog_release(c, d);

    arrays[1] = (struct npy){"t", NPY_F4, 1, {2}, 2, one_target};
    write_arrays("good.npz", arrays, 2);
    assert_int_equal(catalog_acquire(c, &spec, &d, NULL, NULL), TET_OK);
    assert_int_equal(d->shape.outputs, 1);
    catalog_release(c, d);
    unlink(file("good.npz"));
    catalog_close(c);
}

static void refuses_npz(void **state)
{
    (void)state;
    struct catalog *c = open_catalog(MUCH);
    float x[8] = {0}, t[4] = {0};
    double large[8] = {0};
    int32_t labels[4] = {0, 1, 2, 3};
    struct npy X = {"x", NPY_F4, 2, {4, 2}, 8, x}, L = {"t", NPY_I4, 1, {4}, 4, labels};
    struct npy XT = {"x_test", NPY_F4, 2, {4, 2}, 8, x}, LT = {"t_test", NPY_I4, 1, {4}, 4, labels};
    refused_arrays(c, (struct npy[]){L, XT}, 2, "array x is missing");
    refused_arrays(c, (struct npy[]){X, XT}, 2, "array t is missing");
    refused_arrays(c, (struct npy[]){X, L, XT}, 3, "array t_test is missing");
    refused_arrays(c, (struct npy[]){X, L, LT}, 3, "array x_test is missing");
    x[3] = NAN;
    refused_arrays(c, (struct npy[]){X, L}, 2, "array x: example 1, number 1 is not a finite");
    x[3] = -INFINITY;
    refused_arrays(c, (struct npy[]){X, L}, 2, "array x: example 1, number 1 is not a finite");
    x[3] = 0;
    large[7] = 1e39;
    refused_arrays(c, (struct npy[]){{"x", NPY_F8, 2, {4, 2}, 8, large}, L}, 2, "number 1 is not");
    t[2] = INFINITY;
    refused_arrays(c, (struct npy[]){X, {"t", NPY_F4, 1, {4}, 4, t}}, 2, "array t: example 2");
    labels[1] = -1;
    refused_arrays(c, (struct npy[]){X, L}, 2, "array t: example 1 has label -1");
    labels[1] = TET_MAX_UNITS;
    refused_arrays(c, (struct npy[]){X, L}, 2, "has label 1048576; 0 to 1048575 allowed");
    labels[1] = 1;
    int32_t beyond[4] = {0, 0, 0, 4};
    LT.data = beyond;
    refused_arrays(c, (struct npy[]){X, L, XT, LT}, 4, "t_test: example 3 has label 4; 0 to 3");
    LT.data = labels;
    int32_t zeros[4] = {0};
    refused_arrays(c, (struct npy[]){X, {"t", NPY_I4, 1, {4}, 4, zeros}}, 2, "only one class");
    refused_arrays(c, (struct npy[]){X, {"t", NPY_I4, 1, {3}, 3, labels}}, 2,
                   "3 examples, x has 4");
    refused_arrays(c, (struct npy[]){X, {"t", NPY_I4, 2, {4, 2}, 8, x}}, 2, "labels have shape");
    refused_arrays(c, (struct npy[]){X, {"t", NPY_F4, 3, {4, 2, 1}, 8, x}}, 2,
                   "targets have shape");
    refused_arrays(c, (struct npy[]){X, {"t", NPY_I4, 0, {0}, 1, labels}}, 2, "single number");
    refused_arrays(c, (struct npy[]){{"x", NPY_F4, 2, {0, 2}, 0, x}, {"t", NPY_I4, 1, {0}, 0, x}},
                   2, "no examples");
    refused_arrays(c, (struct npy[]){{"x", NPY_F4, 2, {4, 0}, 0, x}, L}, 2,
                   "examples of 0 numbers");
    XT.shape[0] = 2;
    XT.shape[1] = 4;
    refused_arrays(c, (struct npy[]){X, L, XT, {"t_test", NPY_I4, 1, {2}, 2, labels}}, 4,
                   "another shape than those of x");
    XT.shape[0] = 4;
    XT.shape[1] = 2;
    refused_arrays(c, (struct npy[]){X, L, XT, {"t_test", NPY_F4, 1, {4}, 4, x}}, 4,
                   "another form than those of t");
    uint8_t *wide = calloc(1, TET_MAX_UNITS + 1);
    assert_non_null(wide);
    catalog_close(c);
    c = open_catalog(1 << 24);
    refused_arrays(c,
                   (struct npy[]){{"x", NPY_U1, 2, {1, TET_MAX_UNITS + 1}, TET_MAX_UNITS + 1, wide},
                                  {"t", NPY_I4, 1, {1}, 1, labels}},
                   2, "examples of 1048577 numbers");
    free(wide);
    catalog_close(c);
    c = open_catalog(95); // 48 to read, 48 to keep
    refused_arrays(c, (struct npy[]){X, L}, 2, "the limit is 95");
    catalog_close(c);
    write_bytes("bad.npz", "no archive", 10);
    c = open_catalog(MUCH);
    refused(c, "bad", TET_BAD_DATASET, "bad.npz: not an .npz archive");
    catalog_close(c);
    unlink(file("bad.npz"));
}

/* A replaced file is seen; who holds the old one keeps it; an unused one stays until another is
 * wanted. */
static void follows_changes(void **state)
{
    (void)state;
    struct catalog *c = open_catalog(MUCH);
    struct dataset_spec spec = named("changing");
    struct dataset_info info;
    const struct tet_dataset *old, *new, *again;
    char sha256[SHA256_TEXT], link[512];
    write_small("changing.npz", 1);
    assert_int_equal(catalog_info(c, &spec, &info, NULL), TET_OK);
    memcpy(sha256, info.sha256, sizeof sha256);
    assert_int_equal(catalog_acquire(c, &spec, &old, NULL, NULL), TET_OK);
    spec.seed = spec.train = 99; // mean nothing to files
    assert_int_equal(catalog_acquire(c, &spec, &again, NULL, NULL), TET_OK);
    assert_ptr_equal(old, again);
    write_small("changing.npz", 2);
    assert_int_equal(catalog_info(c, &spec, &info, NULL), TET_OK);
    assert_string_not_equal(sha256, info.sha256);
    assert_int_equal(catalog_acquire(c, &spec, &new, NULL, NULL), TET_OK);
    assert_true(new->train.floats[0] == 2);
    assert_true(old->train.floats[0] == 1);
    catalog_release(c, old);
    assert_true(again->train.floats[0] == 1);
    catalog_release(c, again);
    catalog_release(c, new);

    unlink(file("changing.npz"));
    refused(c, "changing", TET_NOT_FOUND, "no dataset changing");
    snprintf(link, sizeof link, "%s", file("elsewhere"));
    write_small("elsewhere", 3);
    assert_int_equal(symlink(link, file("changing.npz")), 0);
    assert_int_equal(catalog_acquire(c, &spec, &new, NULL, NULL), TET_OK);
    assert_true(new->train.floats[0] == 3);
    write_small("elsewhere", 4);
    assert_int_equal(catalog_acquire(c, &spec, &again, NULL, NULL), TET_OK);
    assert_true(again->train.floats[0] == 4);
    catalog_release(c, new);
    catalog_release(c, again);
    unlink(file("changing.npz"));
    catalog_close(c);
}

/* Two pictures for each file of CIFAR-10, and the same as arrays. */
static void cifar_shares_digest(struct catalog *c)
{
    enum { PIXELS = 3072, RECORD = 1 + PIXELS, FILES = 6 };
    static uint8_t records[2 * RECORD], x[2 * FILES * PIXELS];
    int32_t t[2 * FILES];
    assert_int_equal(mkdir(file("same_cifar"), 0700), 0);
    for (int i = 0; i < 2 * FILES; i++) {
        uint8_t *record = records + i % 2 * RECORD;
        for (int k = 0; k < RECORD; k++)
            record[k] = (uint8_t)(k > 0 ? i * 31 + k / 5 : i == 3 ? 9 : i % 10);
        t[i] = record[0];
        memcpy(x + i * PIXELS, record + 1, PIXELS);
        char name[40] = "same_cifar/test_batch.bin";
        if (i < 2 * FILES - 2)
            snprintf(name, sizeof name, "same_cifar/data_batch_%d.bin", i / 2 + 1);
        if (i % 2 == 1)
            write_bytes(name, records, sizeof records);
    }
    struct npy arrays[4] = {{"x", NPY_U1, 4, {10, 3, 32, 32}, 10 * PIXELS, x},
                            {"t", NPY_I4, 1, {10}, 10, t},
                            {"x_test", NPY_U1, 4, {2, 3, 32, 32}, 2 * PIXELS, x + 10 * PIXELS},
                            {"t_test", NPY_I4, 1, {2}, 2, t + 10}};
    write_arrays("same_cifar_npz.npz", arrays, 4);
    struct dataset_spec cifar = named("same_cifar"), npz = named("same_cifar_npz");
    struct dataset_info a, b;
    assert_int_equal(catalog_info(c, &cifar, &a, NULL), TET_OK);
    assert_int_equal(catalog_info(c, &npz, &b, NULL), TET_OK);
    assert_string_equal(a.kind, "cifar10");
    assert_int_equal(a.shape.channels, 3);
    assert_int_equal(a.n_train, 10);
    assert_int_equal(a.n_test, 2);
    assert_string_equal(a.sha256, b.sha256);
    unlink(file("same_cifar/data_batch_4.bin"));
    refused(c, "same_cifar", TET_BAD_DATASET,
            "a file is missing (with or without .gz): data_batch_4");
}

/* What is the same to IDX, CIFAR and NPZ has one digest: the datasets' own forms, here in small. */
static void forms_share_digest(void **state)
{
    (void)state;
    static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0,
                                     1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6};
    static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 0, 1};
    uint8_t x[6] = {1, 2, 3, 4, 5, 6}, t[2] = {0, 1};
    struct npy arrays[2] = {{"x", NPY_U1, 3, {2, 1, 3}, 6, x}, {"t", NPY_U1, 1, {2}, 2, t}};
    write_arrays("same_npz.npz", arrays, 2);
    assert_int_equal(mkdir(file("same_idx"), 0700), 0);
    write_bytes("same_idx/train-images-idx3-ubyte", images, sizeof images);
    write_bytes("same_idx/train-labels-idx1-ubyte", labels, sizeof labels);
    struct catalog *c = open_catalog(MUCH);
    struct dataset_spec idx = named("same_idx"), npz = named("same_npz");
    struct dataset_info a, b;
    assert_int_equal(catalog_info(c, &idx, &a, NULL), TET_OK);
    assert_int_equal(catalog_info(c, &npz, &b, NULL), TET_OK);
    assert_string_equal(a.kind, "idx");
    assert_string_equal(a.sha256, b.sha256);
    cifar_shares_digest(c);
    catalog_close(c);
}

enum { THREADS = 8, ROUNDS = 60 };

struct crowd {
    struct catalog *catalog;
    pthread_barrier_t start;
    const struct tet_dataset *first[THREADS];
};

struct member {
    struct crowd *crowd;
    unsigned number;
    const char *fault; // cmocka's checks belong to the main thread
};

static void *work(void *argument)
{
    struct member *m = argument;
    struct catalog *c = m->crowd->catalog;
    struct dataset_spec same = named("strokes");
    same.train = 200;
    pthread_barrier_wait(&m->crowd->start);
    if (catalog_acquire(c, &same, &m->crowd->first[m->number], NULL, NULL) != TET_OK)
        m->fault = "the first was not acquired";
    pthread_barrier_wait(&m->crowd->start);
    catalog_release(c, m->crowd->first[m->number]);
    for (unsigned i = 0; i < ROUNDS && !m->fault; i++) {
        static const char *const names[] = {"one", "two", "strokes", "wrong", "none"};
        unsigned k = (i * 7 + m->number * 3 + i * i) % 5;
        struct dataset_spec spec = named(names[k]);
        struct dataset_info info;
        const struct tet_dataset *d;
        spec.train = k == 2 ? 20 + i % 3 : 0;
        struct tet_error error = {0};
        enum tet_err err = i % 4 == 3 ? catalog_info(c, &spec, &info, &error)
                                      : catalog_acquire(c, &spec, &d, &info, &error);
        enum tet_err expected = k < 3 ? TET_OK : k == 3 ? TET_BAD_DATASET : TET_NOT_FOUND;
        if (err != expected || error.err != expected)
            m->fault = "another result than expected";
        if (err != TET_OK || i % 4 == 3)
            continue;
        if (k < 2 ? d->train.floats[7] != (float)(k + 1) : d->train.n != spec.train)
            m->fault = "another dataset than asked for";
        catalog_release(c, d);
    }
    return NULL;
}

static void serves_a_crowd(void **state)
{
    (void)state;
    static struct crowd crowd;
    struct member members[THREADS];
    pthread_t threads[THREADS];
    write_small("one.npz", 1);
    write_small("two.npz", 2);
    write_small("wrong.npz", NAN);
    crowd.catalog = open_catalog(MUCH);
    pthread_barrier_init(&crowd.start, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        members[i] = (struct member){&crowd, i, NULL};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &members[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&crowd.start);
    for (unsigned i = 0; i < THREADS; i++) {
        if (members[i].fault)
            fail_msg("thread %u: %s", i, members[i].fault);
        assert_ptr_equal(crowd.first[i], crowd.first[0]); // loaded once
    }
    catalog_close(crowd.catalog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_names),        cmocka_unit_test(opens_any_folder),
        cmocka_unit_test(makes_strokes),      cmocka_unit_test(reads_npz),
        cmocka_unit_test(refuses_npz),        cmocka_unit_test(follows_changes),
        cmocka_unit_test(forms_share_digest), cmocka_unit_test(serves_a_crowd),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
