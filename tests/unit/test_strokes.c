// SPDX-License-Identifier: Apache-2.0
/* The built-in dataset: what a seed means, on every machine; limits; how the images look in
 * numbers. How hard the task is, is measured elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <tetrad/dataset.h>

enum { PIXELS = TET_STROKES_SIDE * TET_STROKES_SIDE };

static struct tet_dataset make(uint64_t seed, uint32_t n_train, uint32_t n_test)
{
    struct tet_dataset d;
    struct tet_error error = {0};
    if (tet_strokes_create(&d, seed, n_train, n_test, &error) != TET_OK)
        fail_msg("%s", error.message);
    return d;
}

static uint64_t hash_bytes(uint64_t hash, const uint8_t *bytes, size_t n) // FNV-1a
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
    return hash;
}

static uint64_t hash_examples(const struct tet_examples *e, uint32_t n)
{
    uint64_t hash = hash_bytes(UINT64_C(14695981039346656037), e->bytes, (size_t)n * PIXELS);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t label = (uint8_t)e->labels[i];
        hash = hash_bytes(hash, &label, 1);
    }
    return hash;
}

static void shape_is_stated(void **state)
{
    (void)state;
    struct tet_dataset d = make(1, 3, 2);
    assert_int_equal(d.shape.inputs, 784);
    assert_int_equal(d.shape.outputs, 10);
    assert_int_equal(d.shape.channels, 1);
    assert_int_equal(d.shape.rows, 28);
    assert_int_equal(d.shape.columns, 28);
    assert_int_equal(d.train.n, 3);
    assert_int_equal(d.test.n, 2);
    assert_non_null(d.train.bytes);
    assert_non_null(d.train.labels);
    assert_null(d.train.floats);
    assert_null(d.train.targets);
    tet_dataset_free(&d);
    assert_null(d.memory);
    assert_int_equal(d.train.n, 0);
    tet_dataset_free(&d);
    tet_dataset_free(NULL);
}

/* Pinned: the images of a seed are part of a run's definition and may never change. */
static void seed_means_these_bytes(void **state)
{
    (void)state;
    struct tet_dataset d = make(1, 100, 100);
    uint64_t train = hash_examples(&d.train, 100), test = hash_examples(&d.test, 100);
    tet_dataset_free(&d);
    if (train != UINT64_C(0x8e6c05cb039bb05d) || test != UINT64_C(0x02c95e4cf1f118e1))
        fail_msg("train 0x%016llx, test 0x%016llx", (unsigned long long)train,
                 (unsigned long long)test);
}

static void longer_begins_with_shorter(void **state)
{
    (void)state;
    struct tet_dataset small = make(7, 50, 20), large = make(7, 200, 90);
    assert_memory_equal(small.train.bytes, large.train.bytes, (size_t)50 * PIXELS);
    assert_memory_equal(small.train.labels, large.train.labels, 50 * sizeof(int32_t));
    assert_memory_equal(small.test.bytes, large.test.bytes, (size_t)20 * PIXELS);
    assert_memory_equal(small.test.labels, large.test.labels, 20 * sizeof(int32_t));
    tet_dataset_free(&small);
    tet_dataset_free(&large);
}

static void seed_and_part_matter(void **state)
{
    (void)state;
    struct tet_dataset a = make(1, 50, 50), b = make(2, 50, 50);
    struct tet_dataset c = make((UINT64_C(1) << 32) + 1, 50, 50); // the seed's high word counts
    uint64_t h = hash_examples(&a.train, 50);
    assert_true(h != hash_examples(&b.train, 50));
    assert_true(h != hash_examples(&c.train, 50));
    assert_true(h != hash_examples(&a.test, 50));
    tet_dataset_free(&a);
    tet_dataset_free(&b);
    tet_dataset_free(&c);
}

static void labels_are_balanced(void **state)
{
    (void)state;
    enum { N = 10000 };
    struct tet_dataset d = make(3, N, 0);
    uint32_t counts[10] = {0};
    for (uint32_t i = 0; i < N; i++) {
        assert_in_range(d.train.labels[i], 0, 9);
        counts[d.train.labels[i]]++;
    }
    for (size_t k = 0; k < 10; k++)
        assert_in_range(counts[k], 850, 1150); // five standard deviations
    tet_dataset_free(&d);
}

/* Black ground, a bright stroke in each image, most of it inside the frame. */
static void images_have_ink(void **state)
{
    (void)state;
    enum { N = 2000 };
    struct tet_dataset d = make(4, N, 0);
    uint64_t edge = 0, sum = 0;
    for (uint32_t i = 0; i < N; i++) {
        const uint8_t *image = d.train.bytes + (size_t)i * PIXELS;
        uint32_t ink = 0, brightest = 0;
        for (uint32_t p = 0; p < PIXELS; p++) {
            uint32_t row = p / 28, column = p % 28;
            ink += image[p] > 100;
            brightest = image[p] > brightest ? image[p] : brightest;
            sum += image[p];
            edge += image[p] > 100 && (row == 0 || row == 27 || column == 0 || column == 27);
        }
        if (ink < 8 || ink > 350 || brightest < 130)
            fail_msg("image %u: %u pixels of ink, brightest %u", i, ink, brightest);
    }
    double mean = (double)sum / N / PIXELS;
    if (mean < 15.0 || mean > 50.0)
        fail_msg("mean grey level %g", mean);
    if ((double)edge / N > 1.0)
        fail_msg("%g pixels of ink on the frame per image", (double)edge / N);
    tet_dataset_free(&d);
}

static void limits_hold(void **state)
{
    (void)state;
    struct tet_dataset d;
    struct tet_error error = {0};
    memset(&d, 0xff, sizeof d);
    assert_int_equal(tet_strokes_create(&d, 1, TET_STROKES_MAX + 1, 0, &error), TET_BAD_DATASET);
    assert_non_null(strstr(error.message, "1000001"));
    assert_null(d.memory);
    assert_int_equal(d.train.n, 0);
    assert_int_equal(tet_strokes_create(&d, 1, 0, UINT32_MAX, NULL), TET_BAD_DATASET);
    d = make(1, 0, 0);
    assert_null(d.train.bytes);
    assert_null(d.test.labels);
    assert_int_equal(d.shape.outputs, 10);
    tet_dataset_free(&d);
    d = make(1, 0, 1);
    assert_null(d.train.bytes);
    assert_non_null(d.test.bytes);
    tet_dataset_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shape_is_stated),
        cmocka_unit_test(seed_means_these_bytes),
        cmocka_unit_test(longer_begins_with_shorter),
        cmocka_unit_test(seed_and_part_matter),
        cmocka_unit_test(labels_are_balanced),
        cmocka_unit_test(images_have_ink),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
