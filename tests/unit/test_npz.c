// SPDX-License-Identifier: Apache-2.0
/* Archives: numpy's are read, ours are read by numpy, and bad ones are refused with a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>
#include <cmocka.h>

#include "data/npz.h"

#define FIXTURES "tests/unit/data/"

static const uint64_t MUCH = 1 << 20;
static char folder[] = "/tmp/test_npz_XXXXXX";
static char path[64];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/a.npz", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder); // fails where a temporary file was left behind
}

static void read_good(struct npz *npz, const char *file)
{
    struct tet_error error = {0};
    if (npz_read(npz, file, MUCH, &error) != TET_OK)
        fail_msg("%s: %s", file, error.message);
}

static const struct npy *need(const struct npz *npz, const char *name, enum npy_type type,
                              uint32_t rank)
{
    const struct npy *array = npz_find(npz, name);
    if (!array)
        fail_msg("no array %s", name);
    assert_int_equal(array->type, type);
    assert_int_equal(array->rank, rank);
    return array;
}

static void reads_numpy(void **state)
{
    (void)state;
    static const char *const names[] = {"f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"};
    struct npz npz;
    read_good(&npz, FIXTURES "numpy.npz");
    for (size_t t = 0; t < 10; t++) {
        const struct npy *array = need(&npz, names[t], (enum npy_type)t, 3);
        assert_int_equal(array->n, 24);
        assert_int_equal(array->shape[0], 2);
        assert_int_equal(array->shape[1], 3);
        assert_int_equal(array->shape[2], 4);
        for (uint64_t i = 0; i < 24; i++) {
            float value = (float)i - (names[t][0] == 'u' ? 0.0f : 5.0f);
            if (names[t][0] == 'f')
                value *= 0.5f;
            assert_true(npy_to_float(array, i) == value);
            if (names[t][0] != 'f')
                assert_int_equal(npy_to_int(array, i), (int64_t)value);
        }
    }
    const struct npy *fortran = need(&npz, "fortran", NPY_F4, 3);
    for (uint64_t i = 0; i < 24; i++)
        assert_true(npy_to_float(fortran, i) == (float)i);
    const struct npy *wide = need(&npz, "fortran_u1", NPY_U1, 2); // longer than one chunk
    assert_int_equal(wide->n, 140000);
    for (uint64_t i = 0; i < wide->n; i++)
        if (npy_to_int(wide, i) != (int64_t)(i % 251))
            fail_msg("element %llu: %lld", (unsigned long long)i, (long long)npy_to_int(wide, i));
    const struct npy *scalar = need(&npz, "scalar", NPY_F8, 0);
    assert_int_equal(scalar->n, 1);
    assert_true(npy_to_float(scalar, 0) == 2.5f);
    const struct npy *empty = need(&npz, "empty", NPY_F4, 2);
    assert_int_equal(empty->n, 0);
    assert_int_equal(empty->shape[1], 7);
    assert_int_equal(npy_to_int(need(&npz, "vector", NPY_I4, 1), 2), 2);
    assert_int_equal(npy_to_int(need(&npz, "bool", NPY_U1, 1), 2), 1);
    const struct npy *large = need(&npz, "large", NPY_U8, 1);
    assert_true(npy_to_int(large, 1) == INT64_MAX);
    assert_true(npy_to_float(large, 0) == 9223372036854775808.0f);
    assert_null(npz_find(&npz, "missing"));
    npz_free(&npz);
    assert_int_equal(npz.n, 0);
    npz_free(&npz);
    npz_free(NULL);
}

static void refuses_path(const char *file, uint64_t limit, enum tet_err err, const char *says)
{
    struct npz npz;
    struct tet_error error = {0};
    memset(&npz, 0xff, sizeof npz);
    enum tet_err got = npz_read(&npz, file, limit, &error);
    if (got != err || error.err != err || !strstr(error.message, says))
        fail_msg("%s: got %s \"%s\", expected %s \"%s\"", file, tet_err_code(got), error.message,
                 tet_err_code(err), says);
    assert_null(npz.arrays);
    assert_int_equal(npz.n, 0);
}

static void refuses_numpy(void **state)
{
    (void)state;
    refuses_path(FIXTURES "refused_object.npz", MUCH, TET_BAD_DATASET, "dtype |O");
    refuses_path(FIXTURES "refused_big_endian.npz", MUCH, TET_BAD_DATASET, "big-endian");
    refuses_path(FIXTURES "refused_record.npz", MUCH, TET_BAD_DATASET, "records");
    refuses_path(FIXTURES "refused_half.npz", MUCH, TET_BAD_DATASET, "dtype <f2");
    refuses_path(FIXTURES "refused_complex.npz", MUCH, TET_BAD_DATASET, "dtype <c8");
    refuses_path(FIXTURES "refused_text.npz", MUCH, TET_BAD_DATASET, "dtype <U2");
    refuses_path(FIXTURES "refused_rank.npz", MUCH, TET_BAD_DATASET, "at most 8 dimensions");
    refuses_path(FIXTURES "numpy.npz", 1000, TET_BAD_DATASET, "memory limit");
}

struct entry {
    const char *name;
    const void *bytes;
    size_t size;
};

/* An archive of any bytes; compressed by deflate. */
static void write_zip(const struct entry *entries, size_t n, bool compressed)
{
    unlink(path);
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    assert_non_null(zip);
    for (size_t i = 0; i < n; i++) {
        zip_source_t *source = zip_source_buffer(zip, entries[i].bytes, entries[i].size, 0);
        zip_int64_t k = zip_file_add(zip, entries[i].name, source, 0);
        assert_int_equal(k, i);
        assert_int_equal(
            zip_set_file_compression(zip, i, compressed ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0), 0);
    }
    assert_int_equal(zip_close(zip), 0);
}

static size_t make_npy(unsigned char *out, unsigned version, const char *text, size_t data)
{
    size_t n = strlen(text), length = version == 1 ? 2 : 4;
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (unsigned char)version;
    out[7] = 0;
    for (size_t i = 0; i < length; i++)
        out[8 + i] = (unsigned char)(n >> (8 * i));
    memcpy(out + 8 + length, text, n);
    memset(out + 8 + length + n, 0, data);
    return 8 + length + n + data;
}

static void refuses_header(const char *text, size_t data, const char *says)
{
    unsigned char bytes[1024];
    struct entry entry = {"x.npy", bytes, make_npy(bytes, 1, text, data)};
    write_zip(&entry, 1, false);
    refuses_path(path, MUCH, TET_BAD_DATASET, says);
}

static void refuses_headers(void **state)
{
    (void)state;
#define D "'descr': '<f4'"
#define O "'fortran_order': False"
    const char *bad = "head cannot be read", *shape = "shape cannot be read", *large = "too large";
    refuses_header("", 0, bad);
    refuses_header("{", 0, bad);
    refuses_header("{}", 0, bad);
    refuses_header("{" D ", " O "}", 0, bad);
    refuses_header("{" D ", 'shape': (2,)}", 8, bad);
    refuses_header("{" O ", 'shape': (2,)}", 8, bad);
    refuses_header("{" D ", " D ", " O ", 'shape': (2,)}", 8, bad);
    refuses_header("{" D ", " O ", 'shape': (2,), 'more': 1}", 8, bad);
    refuses_header("{" D ", " O ", 'shape': (2,)} x", 8, bad);
    refuses_header("{" D " " O ", 'shape': (2,)}", 8, bad);
    refuses_header("{" D ", 'fortran_order': 1, 'shape': (2,)}", 8, bad);
    refuses_header("{" D ", " O ", 'shape': 2}", 8, shape);
    refuses_header("{" D ", " O ", 'shape': (-2,)}", 8, shape);
    refuses_header("{" D ", " O ", 'shape': (2 3)}", 24, shape);
    refuses_header("{" D ", " O ", 'shape': (2,,3)}", 24, shape);
    refuses_header("{" D ", " O ", 'shape': (2.0,)}", 8, shape);
    refuses_header("{" D ", " O ", 'shape': (2,", 8, shape);
    refuses_header("{" D ", " O ", 'shape': (99999999999999999999,)}", 8, shape);
    refuses_header("{" D ", " O ", 'shape': (18446744073709551615,)}", 8, large);
    refuses_header("{" D ", " O ", 'shape': (4294967296, 4294967296)}", 0, large);
    refuses_header("{" D ", " O ", 'shape': (4611686018427387904,)}", 0, large);
    refuses_header("{" D ", " O ", 'shape': (1000000000000,)}", 8, "its shape takes 4000000000000");
    refuses_header("{" D ", " O ", 'shape': (3,)}", 8, "takes 12 bytes, the archive has 8");
    refuses_header("{" D ", " O ", 'shape': (1,)}", 8, "takes 4 bytes, the archive has 8");
    refuses_header("{'descr': 4, " O ", 'shape': (2,)}", 8, "dtype cannot be read");
    refuses_header("{'descr': '', " O ", 'shape': (2,)}", 8, "is not supported");
    refuses_header("{'descr': 'f4', " O ", 'shape': (2,)}", 8, "is not supported");
    refuses_header("{'descr': '|f4', " O ", 'shape': (2,)}", 8, "is not supported");
#undef D
#undef O
}

static void refuses_files(void **state)
{
    (void)state;
    unsigned char bytes[12000];
    const char *text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}\n";
    struct entry e[2] = {{"x.npy", bytes, make_npy(bytes, 1, text, 8)}, {"x.npy", bytes, 0}};
    refuses_path("/there/is/no/such.npz", MUCH, TET_NOT_FOUND, "No such file");
    refuses_path("/tmp", MUCH, TET_BAD_DATASET, "not a file");
    for (size_t n = 0; n < e[0].size - 8; n += 3) { // a cut-off array in a good archive
        struct entry cut = {"x.npy", bytes, n};
        write_zip(&cut, 1, true);
        refuses_path(path, MUCH, TET_BAD_DATASET, "x");
    }
    e[0].name = "x";
    write_zip(e, 1, false);
    refuses_path(path, MUCH, TET_BAD_DATASET, "not named like an array");
    e[0].name = ".npy";
    write_zip(e, 1, false);
    refuses_path(path, MUCH, TET_BAD_DATASET, "not named like an array");
    e[0].name = "x\ny.npy";
    write_zip(e, 1, false);
    refuses_path(path, MUCH, TET_BAD_DATASET, "not named like an array");
    e[0].name = "x1234567890123456789012345678901234567890123456789012345678901234.npy";
    write_zip(e, 1, false);
    refuses_path(path, MUCH, TET_BAD_DATASET, "not named like an array");
    e[0].name = "x.npy";
    bytes[6] = 4;
    write_zip(e, 1, false);
    refuses_path(path, MUCH, TET_BAD_DATASET, "version 4.0");
    bytes[6] = 2; // the length now has four bytes: enormous
    write_zip(e, 1, false);
    refuses_path(path, MUCH, TET_BAD_DATASET, "head is too long");
    bytes[0] = 'x';
    write_zip(e, 1, false);
    refuses_path(path, MUCH, TET_BAD_DATASET, "not an .npy file");
}

static long file_bytes(unsigned char *bytes, size_t room)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t n = fread(bytes, 1, room, file);
    fclose(file);
    return (long)n;
}

static void write_file(const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

/* Each prefix of a good archive, and each of its bytes changed: an error or, where the byte does
 * not matter, the same array; never a crash. */
static void damage_is_noticed(void **state)
{
    (void)state;
    unsigned char npy[256], bytes[2048];
    const char *text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}\n";
    for (int compressed = 0; compressed < 2; compressed++) {
        struct entry e = {"x.npy", npy, make_npy(npy, 1, text, 8)};
        write_zip(&e, 1, compressed);
        size_t n = (size_t)file_bytes(bytes, sizeof bytes);
        for (size_t cut = 0; cut < n; cut++) {
            struct npz npz;
            write_file(bytes, cut);
            assert_int_equal(npz_read(&npz, path, MUCH, NULL), TET_BAD_DATASET);
        }
        for (size_t i = 0; i < n; i++) {
            struct npz npz;
            bytes[i] ^= 0x55;
            write_file(bytes, n);
            if (npz_read(&npz, path, MUCH, NULL) == TET_OK) {
                for (size_t k = 0; k < npz.n; k++)
                    if (npz.arrays[k].n != 2 || npy_to_float(&npz.arrays[k], 1) != 0.0f)
                        fail_msg("byte %zu: changed data was read", i);
                npz_free(&npz);
            }
            bytes[i] ^= 0x55;
        }
    }
}

/* 64 MiB of zeros in 64 KiB: within the limit read, over it refused before it is inflated; and an
 * archive that lies about it. */
static void bombs_are_bounded(void **state)
{
    (void)state;
    enum { BIG = 64 << 20 };
    char text[128];
    unsigned char *bytes = malloc(BIG + 256), file[1 << 17];
    assert_non_null(bytes);
    snprintf(text, sizeof text, "{'descr': '<f4', 'fortran_order': False, 'shape': (%d,)}\n",
             BIG / 4);
    struct entry e = {"x.npy", bytes, make_npy(bytes, 1, text, BIG)};
    write_zip(&e, 1, true);
    refuses_path(path, BIG - 1, TET_BAD_DATASET, "memory limit");
    struct npz npz;
    assert_int_equal(npz_read(&npz, path, BIG, NULL), TET_OK);
    npz_free(&npz);

    // the same with the sizes in its directory made 3 GiB larger: more than deflate can make
    size_t n = (size_t)file_bytes(file, sizeof file), at = n;
    while (memcmp(file + --at, "PK\1\2", 4) != 0)
        assert_true(at > 4);
    file[at + 27] = 0xC4;
    write_file(file, n);
    refuses_path(path, UINT64_MAX, TET_BAD_DATASET, "x");
    free(bytes);
}

static void duplicates_are_refused(void **state)
{
    (void)state;
    float one = 1.0f;
    struct npy a[2] = {{"x", NPY_F4, 1, {1}, 1, &one}, {"y", NPY_F4, 1, {1}, 1, &one}};
    void *bytes;
    size_t size;
    assert_int_equal(npz_write_memory(a, 2, &bytes, &size, NULL), TET_OK);
    for (size_t i = 0; i + 5 < size; i++) // rename y to x, in both places
        if (memcmp((char *)bytes + i, "y.npy", 5) == 0)
            ((char *)bytes)[i] = 'x';
    write_file(bytes, size);
    free(bytes);
    refuses_path(path, MUCH, TET_BAD_DATASET, "twice");
}

static void headers_are_numpys(void **state)
{
    (void)state;
    unsigned char header[NPY_HEADER];
    const uint64_t shape[NPY_RANK] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                      UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    for (uint32_t rank = 0; rank <= NPY_RANK; rank++) {
        size_t n = npy_header(header, NPY_F4, rank, shape);
        assert_int_equal(n % 64, 0);
        assert_true(n <= NPY_HEADER);
        assert_int_equal(header[8] + 256 * header[9], n - 10);
        assert_int_equal(header[n - 1], '\n');
    }
    static const char expected[] =
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }       ";
    assert_int_equal(npy_header(header, NPY_U1, 1, (uint64_t[]){3}), 128);
    assert_memory_equal(header + 10, expected, sizeof expected - 1);
}

static void make_arrays(struct npy a[4], float *w, int64_t *label, uint8_t *byte)
{
    for (int i = 0; i < 6; i++)
        w[i] = (float)i * 0.25f;
    label[0] = -7;
    byte[0] = 200;
    a[0] = (struct npy){"W1", NPY_F4, 2, {2, 3}, 6, w};
    a[1] = (struct npy){"n", NPY_I8, 0, {0}, 1, label};
    a[2] = (struct npy){"b", NPY_U1, 1, {1}, 1, byte};
    a[3] = (struct npy){"none", NPY_F8, 2, {0, 4}, 0, NULL};
}

static void round_trip(void **state)
{
    (void)state;
    float w[6];
    int64_t label;
    uint8_t byte;
    struct npy a[4];
    struct npz npz;
    struct tet_error error = {0};
    make_arrays(a, w, &label, &byte);
    assert_int_equal(npz_write(a, 4, path, &error), TET_OK);
    assert_int_equal(npz_write(a, 4, path, &error), TET_OK); // over the old one
    read_good(&npz, path);
    assert_int_equal(npz.n, 4);
    const struct npy *w1 = need(&npz, "W1", NPY_F4, 2);
    assert_memory_equal(w1->data, w, sizeof w);
    assert_int_equal(w1->shape[1], 3);
    assert_int_equal(npy_to_int(need(&npz, "n", NPY_I8, 0), 0), -7);
    assert_int_equal(npy_to_int(need(&npz, "b", NPY_U1, 1), 0), 200);
    assert_int_equal(need(&npz, "none", NPY_F8, 2)->n, 0);
    npz_free(&npz);

    void *one, *two;
    size_t size_one, size_two;
    assert_int_equal(npz_write_memory(a, 4, &one, &size_one, &error), TET_OK);
    assert_int_equal(npz_write_memory(a, 4, &two, &size_two, &error), TET_OK);
    assert_int_equal(size_one, size_two);
    assert_memory_equal(one, two, size_one);
    unsigned char file[4096];
    assert_int_equal(file_bytes(file, sizeof file), size_one);
    assert_memory_equal(file, one, size_one);
    free(one);
    free(two);
    assert_int_equal(npz_write(a, 4, "/there/is/no/such.npz", &error), TET_IO);
    assert_non_null(strstr(error.message, "No such file"));
}

static void numpy_reads_ours(void **state)
{
    (void)state;
    if (system("/usr/bin/python3 -c 'import numpy' 2>/dev/null") != 0) {
        print_message("skipped: /usr/bin/python3 has no numpy\n");
        skip();
    }
    float w[6];
    int64_t label;
    uint8_t byte;
    struct npy a[4];
    char command[640];
    make_arrays(a, w, &label, &byte);
    assert_int_equal(npz_write(a, 4, path, NULL), TET_OK);
    snprintf(command, sizeof command,
             "/usr/bin/python3 -c \"import numpy as np; z = np.load('%s'); "
             "assert sorted(z.files) == ['W1', 'b', 'n', 'none'], z.files; w = z['W1']; "
             "assert w.dtype == '<f4' and (w == np.arange(6).reshape(2, 3) / 4).all(); "
             "assert z['n'].shape == () and z['n'] == -7 and z['n'].dtype == '<i8'; "
             "assert z['b'].dtype == 'u1' and z['b'].tolist() == [200]; "
             "assert z['none'].shape == (0, 4) and z['none'].dtype == '<f8'\"",
             path);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_numpy),        cmocka_unit_test(refuses_numpy),
        cmocka_unit_test(refuses_headers),    cmocka_unit_test(refuses_files),
        cmocka_unit_test(damage_is_noticed),  cmocka_unit_test(bombs_are_bounded),
        cmocka_unit_test(headers_are_numpys), cmocka_unit_test(round_trip),
        cmocka_unit_test(numpy_reads_ours),   cmocka_unit_test(duplicates_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
