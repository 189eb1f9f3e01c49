// SPDX-License-Identifier: Apache-2.0
/* CIFAR datasets: small ones made here, bad ones, and CIFAR-10 itself where it is (TETRAD_DATA). */
#include "dataset_files.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "data/cifar.h"

enum { PIXELS = 3072, MOST = 8 }; // bytes of a picture, records of a file made here

static const uint64_t MUCH = 1 << 20;
static char folder[] = "/tmp/test_cifar_XXXXXX";

/* Both forms, so that each test sees both. */
static const struct form {
    load_fn *load;
    const char *const *names;
    unsigned files, labels; // label bytes of a record
    unsigned classes;
} forms[] = {{cifar10_load, cifar10_names, CIFAR10_FILES, 1, 10},
             {cifar100_load, cifar100_names, CIFAR100_FILES, 2, 100}};

#define EVERY_FORM(f)                                                                              \
    const struct form *f = forms;                                                                  \
    f < forms + 2;                                                                                 \
    f++

static const char *path_of(const char *name, bool gz)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s%s", folder, name, gz ? ".gz" : "");
    return path;
}

static void clear(void)
{
    for (EVERY_FORM(f))
        for (unsigned i = 0; i < f->files; i++) {
            unlink(path_of(f->names[i], false));
            unlink(path_of(f->names[i], true));
        }
}

static unsigned count_of(unsigned file) // records of a good file
{
    return 1 + file % 3;
}

static unsigned label_of(const struct form *f, unsigned file, unsigned record)
{
    return (7 * file + 31 * record + f->classes - 1) % f->classes;
}

static uint8_t pixel_of(unsigned file, unsigned record, unsigned i)
{
    return (uint8_t)(file + 5 * record + i / 7);
}

/* The bytes of a good file. */
static size_t make_file(const struct form *f, unsigned file, unsigned n, uint8_t *to)
{
    uint8_t *at = to;
    for (unsigned r = 0; r < n; r++) {
        if (f->labels == 2)
            *at++ = 19; // coarse
        *at++ = (uint8_t)label_of(f, file, r);
        for (unsigned i = 0; i < PIXELS; i++)
            *at++ = pixel_of(file, r, i);
    }
    return (size_t)(at - to);
}

static uint8_t bytes[MOST * (PIXELS + 2) + 1];

static void make_good(const struct form *f, bool gz)
{
    clear();
    for (unsigned i = 0; i < f->files; i++) {
        size_t n = make_file(f, i, count_of(i), bytes);
        (gz ? write_gz : write_plain)(path_of(f->names[i], gz), bytes, n);
    }
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    clear();
    return rmdir(folder);
}

static void refused(const struct form *f, const char *says)
{
    refused_by(f->load, folder, MUCH, TET_BAD_DATASET, says);
}

static void check_examples(const struct form *f, const struct tet_examples *e, unsigned first,
                           unsigned last)
{
    uint32_t at = 0;
    for (unsigned file = first; file < last; file++)
        for (unsigned r = 0; r < count_of(file); r++, at++) {
            assert_true(at < e->n);
            assert_int_equal(e->labels[at], label_of(f, file, r));
            for (unsigned i = 0; i < PIXELS; i++)
                assert_int_equal(e->bytes[(size_t)at * PIXELS + i], pixel_of(file, r, i));
        }
    assert_int_equal(e->n, at);
}

static void reads_good(void **state)
{
    (void)state;
    for (EVERY_FORM(f))
        for (int gz = 0; gz < 2; gz++) {
            struct tet_dataset d;
            struct tet_error error = {0};
            make_good(f, gz);
            if (f->load(&d, folder, MUCH, &error) != TET_OK)
                fail_msg("%s", error.message);
            assert_int_equal(d.shape.inputs, PIXELS);
            assert_int_equal(d.shape.outputs, f->classes);
            assert_int_equal(d.shape.channels, 3);
            assert_int_equal(d.shape.rows, 32);
            assert_int_equal(d.shape.columns, 32);
            check_examples(f, &d.train, 0, f->files - 1);
            check_examples(f, &d.test, f->files - 1, f->files);
            const uint64_t needed = (d.train.n + d.test.n) * (uint64_t)(PIXELS + 4);
            tet_dataset_free(&d);
            assert_int_equal(f->load(&d, folder, needed, NULL), TET_OK);
            tet_dataset_free(&d);
            refused_by(f->load, folder, needed - 1, TET_BAD_DATASET, "the limit is");
        }
}

static void refuses_missing_files(void **state)
{
    (void)state;
    for (EVERY_FORM(f))
        for (unsigned i = 0; i < f->files; i++) {
            make_good(f, false);
            unlink(path_of(f->names[i], false));
            refused(f, "a file is missing");
            refused(f, f->names[i]);
        }
    clear();
    refused(&forms[1], "files are missing (with or without .gz): train.bin, test.bin");
    refused(&forms[0], "data_batch_1.bin, data_batch_2.bin, data_batch_3.bin, data_batch_4.bin, "
                       "data_batch_5.bin, test_batch.bin");
}

/* One file replaced by these bytes, plain and gzipped. */
static void refused_file(const struct form *f, unsigned file, size_t n, const char *says)
{
    make_good(f, false);
    (void)make_file(f, file, MOST, bytes);
    write_plain(path_of(f->names[file], false), bytes, n);
    refused(f, n > 0 ? says : "the file is empty");
    refused(f, f->names[file]);
    unlink(path_of(f->names[file], false));
    write_gz(path_of(f->names[file], true), bytes, n);
    refused(f, says);
    refused(f, f->names[file]);
}

static void refuses_broken_records(void **state)
{
    (void)state;
    for (EVERY_FORM(f)) {
        const size_t record = f->labels + PIXELS;
        const size_t cuts[] = {0, 1, 2, PIXELS, record - 1, record + 1, 2 * record - 1};
        for (unsigned file = 0; file < f->files; file++)
            for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
                refused_file(f, file, cuts[i],
                             f->labels == 1 ? "whole records of 3073 (1 of"
                                            : "whole records of 3074 (2 of");
    }
    char says[80];
    for (EVERY_FORM(f))
        for (unsigned file = 0; file < f->files; file++)
            for (unsigned k = 0; k < f->labels; k++) {
                const bool coarse = k + 1 < f->labels;
                const unsigned classes = coarse ? 20 : f->classes;
                make_good(f, false);
                size_t n = make_file(f, file, 3, bytes);
                bytes[2 * (f->labels + PIXELS) + k] = (uint8_t)classes;
                write_plain(path_of(f->names[file], false), bytes, n);
                snprintf(says, sizeof says, "record 2 (from 0) has %slabel %u; 0 to %u allowed",
                         coarse ? "the coarse " : "", classes, classes - 1);
                refused(f, says);
                refused(f, f->names[file]);
            }
}

static void refuses_damaged_gzip(void **state)
{
    (void)state;
    static uint8_t gz[sizeof bytes];
    for (EVERY_FORM(f)) {
        make_good(f, true);
        const char *name = f->names[f->files - 1];
        const size_t size = read_whole(path_of(name, true), gz, sizeof gz);
        for (size_t cut = 0; cut < size; cut++) {
            write_plain(path_of(name, true), gz, cut);
            refused(f, name);
        }
        gz[size - 8] ^= 1; // the checksum
        write_plain(path_of(name, true), gz, size);
        refused(f, "damaged");
        gz[size - 8] ^= 1;
        write_plain(path_of(name, true), gz, size - 8);
        refused(f, "truncated: the end of its gzip stream is missing");
        write_plain(path_of(name, false), gz, size); // the plain name is preferred
        refused(f, "gzipped, but not named .gz");
        unlink(path_of(name, false));
        size_t n = make_file(f, 0, 1, bytes);
        write_plain(path_of(name, true), bytes, n);
        refused(f, "not gzipped");
    }
}

/* 256 MiB of zeros, which are good records but for their number. */
static void refuses_gzip_bomb(void **state)
{
    (void)state;
    enum { BLOCK = 1 << 20 };
    uint8_t *zeros = calloc(1, BLOCK);
    assert_non_null(zeros);
    for (EVERY_FORM(f)) {
        make_good(f, true);
        gzFile file = gzopen(path_of(f->names[0], true), "wb1");
        for (int i = 0; i < 256; i++)
            assert_int_equal(gzwrite(file, zeros, BLOCK), BLOCK);
        assert_int_equal(gzclose(file), Z_OK);
        refused(f, "more than the 1048576 bytes that memory has room for");
    }
    free(zeros);
}

static void refuses_odd_files(void **state)
{
    (void)state;
    for (EVERY_FORM(f)) {
        make_good(f, false);
        const char *path = path_of(f->names[0], false);
        unlink(path);
        assert_int_equal(mkdir(path, 0700), 0);
        refused(f, "not a file");
        rmdir(path);
        assert_int_equal(mkfifo(path, 0600), 0); // opening must not wait for a writer
        refused(f, "");
        unlink(path);
    }
}

static void reads_cifar10(void **state)
{
    (void)state;
    const char *data = getenv("TETRAD_DATA");
    char cifar[512], first[560];
    snprintf(cifar, sizeof cifar, "%s/cifar10", data ? data : "../shared/data");
    snprintf(first, sizeof first, "%s/data_batch_1.bin", cifar);
    if (access(first, R_OK) != 0) {
        print_message("# skip: reads_cifar10: no %s (set TETRAD_DATA)\n", first);
        skip();
    }
    struct tet_dataset d;
    struct tet_error error = {0};
    if (cifar10_load(&d, cifar, UINT64_C(1) << 30, &error) != TET_OK)
        fail_msg("%s", error.message);
    assert_int_equal(d.train.n, 50000);
    assert_int_equal(d.test.n, 10000);
    uint32_t train[10] = {0}, test[10] = {0};
    for (uint32_t i = 0; i < d.train.n; i++)
        train[d.train.labels[i]]++;
    for (uint32_t i = 0; i < d.test.n; i++)
        test[d.test.labels[i]]++;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(train[i], 5000);
        assert_int_equal(test[i], 1000);
    }
    /* Mean red, green and blue of the training pictures, as everybody's: 0.491, 0.482, 0.447. */
    static const double means[3] = {0.4914, 0.4822, 0.4465};
    for (uint32_t c = 0; c < 3; c++) {
        double sum = 0;
        for (uint32_t i = 0; i < d.train.n; i++)
            for (uint32_t k = 0; k < 1024; k++)
                sum += d.train.bytes[(size_t)i * PIXELS + c * 1024 + k];
        const double mean = sum / 255 / 1024 / d.train.n;
        if (!(mean > means[c] - 0.003 && mean < means[c] + 0.003))
            fail_msg("channel %u has mean %g, expected %g", c, mean, means[c]);
    }
    tet_dataset_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_good),
        cmocka_unit_test(refuses_missing_files),
        cmocka_unit_test(refuses_broken_records),
        cmocka_unit_test(refuses_damaged_gzip),
        cmocka_unit_test(refuses_gzip_bomb),
        cmocka_unit_test(refuses_odd_files),
        cmocka_unit_test(reads_cifar10),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
