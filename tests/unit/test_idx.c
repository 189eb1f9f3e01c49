// SPDX-License-Identifier: Apache-2.0
/* IDX datasets: small ones made here, bad ones, and MNIST where it is (TETRAD_DATA). */
#include "dataset_files.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "data/idx.h"

enum { ROWS = 3, COLUMNS = 2, PIXELS = ROWS * COLUMNS };

static const uint64_t MUCH = 1 << 20;
static const char *const files[IDX_PARTS] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                             "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
static char folder[] = "/tmp/test_idx_XXXXXX";

static const char *path_of(enum idx_part part, bool gz)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s%s", folder, files[part], gz ? ".gz" : "");
    return path;
}

static size_t put_header(uint8_t *to, uint32_t magic, const uint32_t *sizes, uint32_t rank)
{
    for (uint32_t i = 0; i <= rank; i++)
        for (uint32_t k = 0; k < 4; k++)
            to[4 * i + k] = (uint8_t)((i == 0 ? magic : sizes[i - 1]) >> (24 - 8 * k));
    return 4 + 4 * rank;
}

/* A part of n examples; image i is i, i + 1, ..., label i % 3. Returns its bytes. */
static size_t make_part(uint8_t *to, enum idx_part part, uint32_t n)
{
    bool images = part % 2 == 0;
    size_t at =
        put_header(to, images ? 0x803 : 0x801, (uint32_t[]){n, ROWS, COLUMNS}, images ? 3 : 1);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < (images ? PIXELS : 1); k++)
            to[at++] = (uint8_t)(images ? i + k : i % 3);
    return at;
}

static void clear(void)
{
    for (int part = 0; part < IDX_PARTS; part++) {
        unlink(path_of((enum idx_part)part, false));
        unlink(path_of((enum idx_part)part, true));
    }
}

static void make_good(bool gz)
{
    uint8_t bytes[256];
    clear();
    for (int part = 0; part < IDX_PARTS; part++) {
        size_t n = make_part(bytes, (enum idx_part)part, part < 2 ? 7 : 4);
        (gz ? write_gz : write_plain)(path_of((enum idx_part)part, gz), bytes, n);
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

static void refused(uint64_t limit, enum tet_err err, const char *says)
{
    refused_by(idx_load, folder, limit, err, says);
}

static void check_good(void)
{
    struct tet_dataset d;
    struct tet_error error = {0};
    if (idx_load(&d, folder, 11 * (PIXELS + 4), &error) != TET_OK)
        fail_msg("%s", error.message);
    assert_int_equal(d.shape.inputs, PIXELS);
    assert_int_equal(d.shape.outputs, 3);
    assert_int_equal(d.shape.channels, 1);
    assert_int_equal(d.shape.rows, ROWS);
    assert_int_equal(d.shape.columns, COLUMNS);
    assert_int_equal(d.train.n, 7);
    assert_int_equal(d.test.n, 4);
    for (uint32_t i = 0; i < 7; i++) {
        assert_int_equal(d.train.labels[i], i % 3);
        for (uint32_t k = 0; k < PIXELS; k++)
            assert_int_equal(d.train.bytes[i * PIXELS + k], i + k);
    }
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(d.test.labels[i], i % 3);
        assert_int_equal(d.test.bytes[i * PIXELS + 1], i + 1);
    }
    tet_dataset_free(&d);
}

static void reads_good(void **state)
{
    (void)state;
    make_good(false);
    check_good();
    make_good(true);
    check_good();
    refused(11 * (PIXELS + 4) - 1, TET_BAD_DATASET, "the limit is 109");
    struct tet_dataset d;
    unlink(path_of(IDX_TEST_IMAGES, true));
    refused(MUCH, TET_BAD_DATASET, "t10k-images-idx3-ubyte is missing");
    unlink(path_of(IDX_TEST_LABELS, true));
    assert_int_equal(idx_load(&d, folder, MUCH, NULL), TET_OK);
    assert_int_equal(d.test.n, 0);
    assert_null(d.test.bytes);
    tet_dataset_free(&d);
    unlink(path_of(IDX_TRAIN_LABELS, true));
    refused(MUCH, TET_BAD_DATASET, "train-labels-idx1-ubyte is missing");
    unlink(path_of(IDX_TRAIN_IMAGES, true));
    refused(MUCH, TET_BAD_DATASET, "train-images-idx3-ubyte is missing");
}

/* One part replaced by these bytes, plain and gzipped. */
static void refused_part(enum idx_part part, const void *bytes, size_t n, const char *says)
{
    make_good(false);
    write_plain(path_of(part, false), bytes, n);
    refused(MUCH, TET_BAD_DATASET, n ? says : "the file is empty");
    unlink(path_of(part, false));
    write_gz(path_of(part, true), bytes, n);
    refused(MUCH, TET_BAD_DATASET, says);
}

static void refuses_contents(void **state)
{
    (void)state;
    uint8_t b[256];
    for (int part = 0; part < IDX_PARTS; part++) {
        enum idx_part p = (enum idx_part)part;
        size_t n = make_part(b, p, part < 2 ? 7 : 4);
        for (size_t cut = 0; cut < n; cut++)
            refused_part(p, b, cut, "truncated");
        b[n] = 0;
        refused_part(p, b, n + 1, "longer than its header declares");
        for (size_t i = 0; i < 4; i++) {
            b[i] ^= 4;
            refused_part(p, b, n, "begin with 0000080");
            b[i] ^= 4;
        }
        b[3] = part % 2 ? 3 : 1; // the other kind
        refused_part(p, b, n, "begin with 0000080");
    }
    refused_part(IDX_TRAIN_LABELS, b, make_part(b, IDX_TRAIN_LABELS, 6), "6 labels for 7 images");
    refused_part(IDX_TEST_LABELS, b, make_part(b, IDX_TEST_LABELS, 5), "5 labels for 4 images");
    refused_part(IDX_TRAIN_IMAGES, b, make_part(b, IDX_TRAIN_IMAGES, 0), "7 labels for 0 images");

    size_t n = make_part(b, IDX_TEST_IMAGES, 4);
    b[11] = COLUMNS;
    b[15] = ROWS;
    refused_part(IDX_TEST_IMAGES, b, n, "images of 2 x 3, those to train on have 3 x 2");
    b[11] = 0;
    refused_part(IDX_TEST_IMAGES, b, 16, "images of 0 x 3");
    n = make_part(b, IDX_TEST_LABELS, 4);
    b[n - 1] = 3;
    refused_part(IDX_TEST_LABELS, b, n, "label 3, the greatest to train on is 2");
    memset(b + put_header(b, 0x801, (uint32_t[]){7}, 1), 0, 7);
    refused_part(IDX_TRAIN_LABELS, b, 15, "only one class");
}

static void refuses_lying_headers(void **state)
{
    (void)state;
    uint8_t b[64] = {0};
    const char *truncated = "truncated: shorter than its header declares";
    size_t n = put_header(b, 0x803, (uint32_t[]){UINT32_MAX, 1024, 1024}, 3);
    refused_part(IDX_TRAIN_IMAGES, b, n, truncated);
    n = put_header(b, 0x803, (uint32_t[]){7, 1025, 1024}, 3);
    refused_part(IDX_TRAIN_IMAGES, b, n, "1 to 1048576 pixels");
    n = put_header(b, 0x803, (uint32_t[]){UINT32_MAX, UINT32_MAX, UINT32_MAX}, 3);
    refused_part(IDX_TRAIN_IMAGES, b, n, "impossible size");
    n = put_header(b, 0x801, (uint32_t[]){UINT32_MAX}, 1);
    refused_part(IDX_TRAIN_LABELS, b, n, truncated);
    n = put_header(b, 0x803, (uint32_t[]){0, ROWS, COLUMNS}, 3);
    make_good(false);
    write_plain(path_of(IDX_TRAIN_IMAGES, false), b, n);
    n = put_header(b, 0x801, (uint32_t[]){0}, 1);
    write_plain(path_of(IDX_TRAIN_LABELS, false), b, n);
    refused(MUCH, TET_BAD_DATASET, "no images");
}

static void refuses_damaged_gzip(void **state)
{
    (void)state;
    uint8_t b[256], gz[256];
    size_t n = make_part(b, IDX_TRAIN_IMAGES, 7);
    make_good(true);
    write_gz(path_of(IDX_TRAIN_IMAGES, true), b, n);
    size_t size = read_whole(path_of(IDX_TRAIN_IMAGES, true), gz, sizeof gz);
    for (size_t cut = 0; cut < size; cut++) {
        write_plain(path_of(IDX_TRAIN_IMAGES, true), gz, cut);
        refused(MUCH, TET_BAD_DATASET, files[IDX_TRAIN_IMAGES]);
    }
    gz[size - 8] ^= 1; // the checksum
    write_plain(path_of(IDX_TRAIN_IMAGES, true), gz, size);
    refused(MUCH, TET_BAD_DATASET, "damaged");
    write_plain(path_of(IDX_TRAIN_IMAGES, true), b, n);
    refused(MUCH, TET_BAD_DATASET, "not gzipped");
    gz[size - 8] ^= 1;
    write_plain(path_of(IDX_TRAIN_IMAGES, false), gz, size); // the plain name is preferred
    refused(MUCH, TET_BAD_DATASET, "gzipped, but not named .gz");
}

/* 256 MiB of zeros behind a header of 42 bytes, and behind one that declares them all. */
static void refuses_gzip_bomb(void **state)
{
    (void)state;
    enum { BLOCK = 1 << 20 };
    uint8_t header[16], *zeros = calloc(1, BLOCK);
    assert_non_null(zeros);
    for (uint32_t count = 7; count; count = count == 7 ? 256 : 0) {
        uint32_t side = count == 7 ? 2 : 1024;
        make_good(true);
        gzFile file = gzopen(path_of(IDX_TRAIN_IMAGES, true), "wb1");
        size_t n = put_header(header, 0x803, (uint32_t[]){count, side, side}, 3);
        assert_int_equal(gzwrite(file, header, (unsigned)n), n);
        for (int i = 0; i < 256; i++)
            assert_int_equal(gzwrite(file, zeros, BLOCK), BLOCK);
        assert_int_equal(gzclose(file), Z_OK);
        n = put_header(zeros, 0x801, (uint32_t[]){count}, 1);
        write_gz(path_of(IDX_TRAIN_LABELS, true), zeros, n + count);
        memset(zeros, 0, n);
        unlink(path_of(IDX_TEST_IMAGES, true));
        unlink(path_of(IDX_TEST_LABELS, true));
        refused(MUCH, TET_BAD_DATASET, count == 7 ? "longer than its header" : "the limit is");
    }
    free(zeros);
}

static void refuses_odd_files(void **state)
{
    (void)state;
    make_good(false);
    const char *path = path_of(IDX_TRAIN_IMAGES, false);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    refused(MUCH, TET_BAD_DATASET, "not a file");
    rmdir(path);
    assert_int_equal(mkfifo(path, 0600), 0); // opening must not wait for a writer
    refused(MUCH, TET_BAD_DATASET, "");
    unlink(path);
}

static void reads_mnist(void **state)
{
    (void)state;
    const char *data = getenv("TETRAD_DATA");
    char mnist[512];
    snprintf(mnist, sizeof mnist, "%s/mnist", data ? data : "../shared/data");
    if (access(mnist, R_OK) != 0) {
        print_message("# skip: reads_mnist: no %s (set TETRAD_DATA)\n", mnist);
        skip();
    }
    static const uint32_t counts[10] = {5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949};
    struct tet_dataset d;
    struct tet_error error = {0};
    if (idx_load(&d, mnist, UINT64_C(1) << 30, &error) != TET_OK)
        fail_msg("%s", error.message);
    assert_int_equal(d.train.n, 60000);
    assert_int_equal(d.test.n, 10000);
    assert_int_equal(d.shape.inputs, 784);
    assert_int_equal(d.shape.outputs, 10);
    uint32_t got[10] = {0};
    for (uint32_t i = 0; i < d.train.n; i++)
        got[d.train.labels[i]]++;
    assert_memory_equal(got, counts, sizeof counts);
    // of the values alone, by zlib.crc32 of Python on the files of shared/data without headers
    assert_int_equal(crc32_z(0, d.train.bytes, (size_t)60000 * 784), 0xf3639b56u);
    assert_int_equal(crc32_z(0, d.test.bytes, (size_t)10000 * 784), 0xe4ca5f57u);
    tet_dataset_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_good),
        cmocka_unit_test(refuses_contents),
        cmocka_unit_test(refuses_lying_headers),
        cmocka_unit_test(refuses_damaged_gzip),
        cmocka_unit_test(refuses_gzip_bomb),
        cmocka_unit_test(refuses_odd_files),
        cmocka_unit_test(reads_mnist),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
