// SPDX-License-Identifier: Apache-2.0
/* Tables: what is read is compared with what was written, whatever way it was written in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/csv.h"
#include "data/dataset_digest.h"
#include "data/npz_dataset.h"

enum { MUCH = 1 << 28 };

static char path[] = "/tmp/tetrad-csv-XXXXXX";

static void write_text(const char *text, size_t size)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static enum tet_err load(struct tet_dataset *d, const char *text, const char *label,
                         double test_fraction, struct tet_error *error)
{
    const struct csv_source source = {
        .train = path, .label = label, .test_fraction = test_fraction};
    write_text(text, strlen(text));
    *error = (struct tet_error){0};
    return csv_load(d, &source, MUCH, error);
}

static void check_good(const char *text, const char *label, const float *x, const int32_t *t,
                       uint32_t n, uint32_t inputs)
{
    struct tet_dataset d;
    struct tet_error error;
    if (load(&d, text, label, 0, &error) != TET_OK)
        fail_msg("%s", error.message);
    assert_int_equal(d.train.n, n);
    assert_int_equal(d.shape.inputs, inputs);
    assert_memory_equal(d.train.floats, x, n * inputs * sizeof *x);
    assert_memory_equal(d.train.labels, t, n * sizeof *t);
    tet_dataset_free(&d);
}

static void test_spellings(void **state)
{
    (void)state;
    static const float x[] = {1.5f, -2e-3f, 3, 4};
    static const int32_t t[] = {1, 0};
    static const char *const texts[] = {
        "1,1.5,-2e-3\n0,3,4\n",
        "1,1.5,-2e-3\n0,3,4",
        "1,1.5,-2e-3\r\n0,3,4\r\n",
        "\"1\",\"1.5\",\"-2e-3\"\n\"0\",3,\"4\"\n",
        ("\xef\xbb\xbf"
         "1,1.5,-0.002\n\n0,3,4\n\n\n"),
        " 1 , 1.5,-2e-3\n0.0,+3,4. \n",
        "t,x1,x2\n1,1.5,-2e-3\n0,3,4\n",
        "\"label\",\"a \"\"b\"\"\nc\",\"d,e\"\n1,1.5,-2e-3\n0,3,4\n",
        "y,x1,x2\n1,1.5,-2e-3\n0,3,4\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check_good(texts[i], NULL, x, t, 2, 2);
    check_good("x1,t,x2\n1.5,1,-2e-3\n3,0,4\n", NULL, x, t, 2, 2);
    check_good("x1,x2,y\n1.5,-2e-3,1\n3,4,0\n", "y", x, t, 2, 2);
    check_good("1.5,-2e-3,1\n3,4,0\n", "2", x, t, 2, 2);
    check_good("t,x2,y\n1.5,-2e-3,1\n3,4,0\n", "2", x, t, 2, 2);
    check_good("x1,2,0\n1.5,1,-2e-3\n3,0,4\n", "2", x, t, 2, 2); // a name comes before a number
}

/* A table of several buffers, with random numbers of 9 digits: these give back each float. */
static void test_large(void **state)
{
    (void)state;
    enum { ROWS = 3000, INPUTS = 17 };
    char *text = malloc(ROWS * (INPUTS + 1) * 24), *at = text;
    float *x = malloc(ROWS * INPUTS * sizeof *x);
    int32_t *t = malloc(ROWS * sizeof *t);
    assert_true(text && x && t);
    for (int i = 0; i < ROWS; i++) {
        t[i] = (int32_t)randombytes_uniform(10);
        at += sprintf(at, "%d", t[i]);
        for (int k = 0; k < INPUTS; k++) {
            const float value = ((float)randombytes_uniform(1u << 24) - 8388608) * 1e-5f;
            x[i * INPUTS + k] = value;
            at += sprintf(at, k % 3 == 0 ? ",\"%.9g\"" : ",%.9g", (double)value);
        }
        *at++ = '\n';
    }
    *at = '\0';
    check_good(text, NULL, x, t, ROWS, INPUTS);
    /* Taken evenly to test on: a tenth of the rows, each where i / 10 has just grown. */
    struct tet_dataset d;
    struct tet_error error;
    assert_int_equal(load(&d, text, NULL, 0.1, &error), TET_OK);
    assert_int_equal(d.test.n, ROWS / 10);
    assert_int_equal(d.train.n, ROWS - ROWS / 10);
    for (uint32_t i = 0; i < d.test.n; i++) {
        bool found = false; // 0.1 is no binary number: a row's place may be off by one
        for (int k = 0; k < 3; k++)
            found =
                found || (10 * i + 8 + (uint32_t)k < ROWS &&
                          memcmp(d.test.floats + i * INPUTS,
                                 x + (10 * i + 8 + (uint32_t)k) * INPUTS, INPUTS * sizeof *x) == 0);
        assert_true(found);
    }
    /* ... and what is written of it reads back as the same. */
    struct tet_dataset back;
    char archive[80], before[SHA256_TEXT], after[SHA256_TEXT];
    snprintf(archive, sizeof archive, "%s.npz", path);
    assert_int_equal(npz_dataset_write(&d, archive, &error), TET_OK);
    assert_int_equal(npz_dataset_load(&back, archive, MUCH, &error), TET_OK);
    dataset_digest(&d, before);
    dataset_digest(&back, after);
    assert_string_equal(before, after);
    assert_int_equal(npz_dataset_write(&d, archive, &error), TET_IO); // never over another file
    unlink(archive);
    tet_dataset_free(&back);
    tet_dataset_free(&d);
    free(text);
    free(x);
    free(t);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *label, *message;
    } cases[] = {
        {"", NULL, "empty"},
        {"\n", NULL, "at least one input"},
        {"a,b\n1,2\n0,c\n", NULL, "line 3, column 2: \"c\" is no number"},
        {"1,\"2\n3\",4\n0,1,x\n", NULL, "line 3, column 3"},
        {"t,\"a\nb\"\n1,2\n0,x\n", NULL, "line 4, column 2: \"x\""},
        {"1,2\n0,0x10\n", NULL, "no number"},
        {"1,2\n0,1e400\n", NULL, "finite"},
        {"1,2\n0,\n", NULL, "\"\" is no number"},
        {"1,2\n0,1 2\n", NULL, "no number"},
        {"1,2\r3,4\n", NULL, "carriage return"},
        {"1,\"2\"3\n", NULL, "behind a quoted"},
        {"1;2\n0;1\n", NULL, "with commas"},
        {"1,2\n0,3\n", "-1", "no column"},
        {"1,2\n0,3\n", "99999999999999999999", "no column"},
        {"1,2\n1048576,3\n", NULL, "0 to 1048575"},
    };
    struct tet_dataset d;
    struct tet_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(load(&d, cases[i].text, cases[i].label, 0, &error), TET_BAD_DATASET);
        if (strstr(error.message, cases[i].message) == NULL)
            fail_msg("case %zu: %s", i, error.message);
        assert_null(d.memory);
    }
    write_text("1,2\0,3\n0,1,2\n", 13);
    const struct csv_source source = {.train = path};
    error = (struct tet_error){0};
    assert_int_equal(csv_load(&d, &source, MUCH, &error), TET_BAD_DATASET);
    assert_non_null(strstr(error.message, "zero byte"));
    write_text("1,2\n0,3\n", 8);
    error = (struct tet_error){0};
    assert_int_equal(csv_load(&d, &source, 15, &error), TET_BAD_DATASET); // 2 rows of 8 bytes
    assert_int_equal(csv_load(&d, &source, 16, NULL), TET_OK);
    tet_dataset_free(&d);
}

/* Whatever bytes: an error or a dataset. */
static void test_noise(void **state)
{
    (void)state;
    static const char letters[] = "0123,,,\n\n\"\"\r.e-+ t\0x";
    struct tet_dataset d;
    char text[200];
    const struct csv_source source = {.train = path, .test_fraction = 0.3};
    int good = 0;
    for (int i = 0; i < 3000; i++) {
        const size_t n = randombytes_uniform(sizeof text);
        for (size_t k = 0; k < n; k++)
            text[k] = letters[randombytes_uniform(i % 2 ? 9 : sizeof letters - 1)];
        write_text(text, n);
        const enum tet_err err = csv_load(&d, &source, MUCH, NULL);
        assert_true(err == TET_OK || err == TET_BAD_DATASET);
        good += err == TET_OK;
        tet_dataset_free(&d);
    }
    print_message("# %d of 3000 are tables\n", good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_noise),
    };
    const int fd = mkstemp(path);
    if (fd < 0 || sodium_init() < 0)
        return 1;
    close(fd);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
