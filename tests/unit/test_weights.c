// SPDX-License-Identifier: Apache-2.0
/* A trainer's arrays outside of it, kernels of rank 4 among them: copies, digests, archives, and what
 * does not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "results/weights.h"

static char folder[] = "/tmp/test_weights_XXXXXX";
static char path[64];
static struct tet_dataset data;

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/a.npz", folder);
    return tet_strokes_create(&data, 1, 40, 0, NULL) == TET_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    tet_dataset_free(&data);
    unlink(path);
    return rmdir(folder);
}

/* conv 4 of 5x5 by 2, max 2, conv 3 of 3x3, dense 6; with momentum. */
static struct tet_plan make_plan(uint64_t seed)
{
    struct tet_plan p = {
        .hidden =
            {{.units = 4,
              .descending_units = 4,
              .type = TET_CONV2D,
              .kernel = 5,
              .stride = 2,
              .pool = TET_POOL_MAX,
              .pool_size = 2,
              .pool_stride = 2},
             {.units = 3, .descending_units = 3, .type = TET_CONV2D, .kernel = 3, .stride = 1},
             {.units = 6, .descending_units = 6}},
        .n_hidden = 3,
        .rule = TET_RULE_SAL,
        .gate = true,
        .momentum = 0.5f,
        .schedule = {.factor = 1.0f},
        .epochs = 2,
        .batch = 10,
        .seed = seed,
        .n_train = 40,
        .standardize = TET_STANDARDIZE_ALL};
    for (int g = 0; g < TET_GROUPS; g++)
        p.group[g] = (struct tet_group_plan){.lr = 0.001f, .scale = 0.5f, .plastic = true};
    return p;
}

static struct tet_trainer *make_trainer(const struct tet_plan *plan, int steps)
{
    struct tet_error error = {0};
    struct tet_trainer *trainer;
    if (tet_trainer_create(&trainer, plan, &data, NULL, NULL, &error) != TET_OK)
        fail_msg("%s", error.message);
    for (int i = 0; i < steps; i++)
        assert_int_equal(tet_trainer_step(trainer), TET_STEPPED);
    return trainer;
}

static struct store_checkpoint capture(const struct tet_trainer *trainer)
{
    struct store_checkpoint c;
    assert_int_equal(weights_capture(&c, trainer, NULL), TET_OK);
    return c;
}

static struct store_array *find(const struct store_checkpoint *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->arrays[i].name, name) == 0)
            return &c->arrays[i];
    fail_msg("no array %s", name);
    return NULL;
}

static void expect_digest(const struct tet_trainer *trainer, const char *digest, bool same)
{
    char now[STORE_HASH];
    struct store_checkpoint c = capture(trainer);
    weights_digest(now, &c);
    assert_int_equal(strcmp(now, digest) == 0, same);
    store_checkpoint_free(&c);
}

/* Of arrays that are known; by Python's hashlib over the layout that weights.h documents. */
static void digests(void **state)
{
    (void)state;
    float kernel[12], bias[2] = {0.5f, -1.0f}, velocity[1] = {7.0f};
    for (int i = 0; i < 12; i++)
        kernel[i] = (float)(i - 4);
    struct store_array arrays[] = {
        {.name = "b1", .rank = 1, .shape = {2}, .n = 2, .data = bias},
        {.name = "velocity/W1", .rank = 1, .shape = {1}, .n = 1, .state = true, .data = velocity},
        {.name = "W1", .rank = 4, .shape = {2, 1, 2, 3}, .n = 12, .data = kernel}};
    const struct store_checkpoint c = {.n = 3, .arrays = arrays};
    char digest[STORE_HASH];
    weights_digest(digest, &c);
    assert_string_equal(digest,
                        "sha256:8d723f1b566ef46f49c55281448a37ee9c6ee91db65947c27313578b68683cf8");
    arrays[2].shape[2] = 3;
    arrays[2].shape[3] = 2;
    char other[STORE_HASH];
    weights_digest(other, &c);
    assert_string_not_equal(digest, other);
}

/* A copy continues as the original does: kernels, their velocities, and the cursor. */
static void restores(void **state)
{
    (void)state;
    const struct tet_plan plan = make_plan(1), another = make_plan(2);
    struct tet_trainer *a = make_trainer(&plan, 3), *b = make_trainer(&plan, 0);
    struct store_checkpoint c = capture(a);
    assert_int_equal(find(&c, "W1")->rank, 4);
    assert_int_equal(find(&c, "W2")->shape[1], 4);
    assert_int_equal(find(&c, "W2")->shape[3], 3);
    assert_int_equal(find(&c, "B2")->shape[0], 4);
    assert_int_equal(find(&c, "B2")->rank, 4);
    assert_int_equal(find(&c, "velocity/W2")->rank, 4);
    assert_int_equal(find(&c, "V1")->rank, 2);
    char digest[STORE_HASH];
    assert_int_equal(weights_restore(b, &c, NULL), TET_OK);
    for (int i = 0; i < 4; i++) {
        (void)tet_trainer_step(a);
        (void)tet_trainer_step(b);
    }
    struct store_checkpoint end = capture(a);
    weights_digest(digest, &end);
    expect_digest(b, digest, true);
    store_checkpoint_free(&end);
    tet_trainer_destroy(a);
    tet_trainer_destroy(b);

    /* As many values in another order of sizes are another shape. */
    struct tet_error error = {0};
    b = make_trainer(&another, 0);
    find(&c, "W2")->shape[0] = 4;
    find(&c, "W2")->shape[1] = 3;
    assert_int_equal(weights_restore(b, &c, &error), TET_BAD_WEIGHTS);
    assert_non_null(strstr(error.message, "W2 is missing or of another shape"));
    find(&c, "W2")->shape[0] = 3;
    find(&c, "W2")->shape[1] = 4;
    assert_int_equal(weights_restore(b, &c, NULL), TET_OK);
    tet_trainer_destroy(b);
    store_checkpoint_free(&c);
}

static void write_archive(const struct npy *arrays, size_t n)
{
    struct tet_error error = {0};
    if (npz_write(arrays, n, path, &error) != TET_OK)
        fail_msg("%s", error.message);
}

static void refused(struct tet_trainer *trainer, const struct npy *array, const char *says)
{
    struct tet_error error = {0};
    write_archive(array, 1);
    assert_int_equal(weights_load(trainer, path, 1 << 24, &error), TET_BAD_WEIGHTS);
    if (strstr(error.message, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.message, says);
}

static void archives(void **state)
{
    (void)state;
    const struct tet_plan plan = make_plan(3), another = make_plan(4);
    struct tet_trainer *a = make_trainer(&plan, 3), *b = make_trainer(&another, 0);
    struct store_checkpoint c = capture(a);
    struct tet_error error = {0};
    char digest[STORE_HASH];
    struct npy *arrays;
    size_t n;
    weights_digest(digest, &c);
    assert_int_equal(weights_npz(&arrays, &n, &c, NULL), TET_OK);
    write_archive(arrays, n);
    free(arrays);
    expect_digest(b, digest, false);
    if (weights_load(b, path, 1 << 24, &error) != TET_OK)
        fail_msg("%s", error.message);
    expect_digest(b, digest, true);
    store_checkpoint_free(&c);
    tet_trainer_destroy(a);

    static float values[3 * 4 * 3 * 3];
    struct npy array = {"W2", NPY_F4, 4, {4, 3, 3, 3}, 108, values};
    refused(b, &array, "W2 has shape (4, 3, 3, 3), the network needs (3, 4, 3, 3)");
    array = (struct npy){"W2", NPY_F4, 2, {3, 36}, 108, values};
    refused(b, &array, "W2 has shape (3, 36), the network needs (3, 4, 3, 3)");
    array = (struct npy){"W2", NPY_F4, 0, {0}, 1, values};
    refused(b, &array, "W2 has shape (), the network needs (3, 4, 3, 3)");
    array = (struct npy){"V1", NPY_F4, 4, {4, 4, 1, 1}, 16, values};
    refused(b, &array, "V1 has shape (4, 4, 1, 1), the network needs (4, 4)");
    array = (struct npy){"b1", NPY_F4, 1, {5}, 5, values};
    refused(b, &array, "b1 has shape (5), the network needs (4)");
    array = (struct npy){"W2", NPY_F4, 4, {3, 4, 3, 3}, 108, values};
    values[77] = __builtin_nanf("");
    refused(b, &array, "value 77 of W2 is not finite");
    array = (struct npy){"K2", NPY_F4, 4, {3, 4, 3, 3}, 108, values};
    refused(b, &array, "there is no array \"K2\"");
    tet_trainer_destroy(b);
}

/* All that a checkpoint has, by way of a file, is a checkpoint again; what is no cursor is refused. */
static void whole(void **state)
{
    (void)state;
    struct tet_plan plan = make_plan(3);
    plan.momentum = 0.5f;
    struct tet_trainer *a = make_trainer(&plan, 3);
    struct store_checkpoint c = capture(a);
    struct npy *arrays;
    struct npz npz = {0};
    struct tet_cursor cursor;
    double values[WEIGHTS_CURSOR];
    size_t n;
    c.cursor.loss_sum = 1.0 / 3.0;
    assert_int_equal(weights_whole(&arrays, &n, values, &c, NULL), TET_OK);
    write_archive(arrays, n);
    free(arrays);
    assert_int_equal(npz_read(&npz, path, 1 << 24, NULL), TET_OK);
    assert_int_equal(npz.n, c.n + 1);
    for (size_t i = 0; i < c.n; i++) {
        const struct npy *array = npz_find(&npz, c.arrays[i].name);
        assert_non_null(array);
        assert_int_equal(array->n, c.arrays[i].n);
        assert_memory_equal(array->data, c.arrays[i].data, array->n * sizeof(float));
    }
    assert_non_null(npz_find(&npz, "velocity/W1"));
    struct npy *read = (struct npy *)(uintptr_t)npz_find(&npz, "cursor");
    assert_true(weights_cursor(read, &cursor));
    assert_int_equal(cursor.step, c.cursor.step);
    assert_int_equal(cursor.records, c.cursor.records);
    assert_int_equal(cursor.correct, c.cursor.correct);
    assert_int_equal(cursor.epoch, c.cursor.epoch);
    assert_int_equal(cursor.batch, c.cursor.batch);
    assert_memory_equal(&cursor.loss_sum, &c.cursor.loss_sum, sizeof(double));
    assert_memory_equal(&cursor.last_loss, &c.cursor.last_loss, sizeof(double));

    static const double bad[] = {-1.0, 0.5, 1e300, INFINITY, NAN};
    static const int counts[] = {0, 1, 3, 4, 6};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            double *value = (double *)read->data + counts[k], kept = *value;
            *value = bad[i];
            assert_false(weights_cursor(read, &cursor));
            *value = kept;
        }
    read->n = 6;
    assert_false(weights_cursor(read, &cursor));
    assert_false(weights_cursor(npz_find(&npz, "W1"), &cursor));
    assert_false(weights_cursor(NULL, &cursor));
    npz_free(&npz);
    store_checkpoint_free(&c);
    tet_trainer_destroy(a);
}

/* What an imported archive calls state/selection is read only where it has what a trainer's has. */
static void finality(void **state)
{
    (void)state;
    float values[4] = {0.5f, 2.0f, 0.0f, 1.0f};
    struct store_array array = {.name = "state/selection",
                                .rank = 1,
                                .shape = {3, 1},
                                .n = 3,
                                .data = values,
                                .state = true};
    const struct store_checkpoint c = {.n = 1, .arrays = &array};
    const struct store_checkpoint none = {0};
    assert_false(weights_are_final(&none));
    assert_false(weights_are_final(&c)); // going on
    values[2] = 2.0f;
    assert_true(weights_are_final(&c));
    float *one = malloc(sizeof *one); // so that AddressSanitizer sees what lies beyond
    assert_non_null(one);
    *one = 2.0f;
    array.data = one;
    array.n = array.shape[0] = 1;
    assert_false(weights_are_final(&c));
    array.data = values;
    array.n = array.shape[0] = 4;
    assert_false(weights_are_final(&c));
    free(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests), cmocka_unit_test(restores), cmocka_unit_test(archives),
        cmocka_unit_test(whole),   cmocka_unit_test(finality),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
