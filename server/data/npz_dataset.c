// SPDX-License-Identifier: Apache-2.0
/*
 * Turns the arrays of an archive into a dataset. See npz_dataset.h. Any thread; no state.
 */
#include "data/npz_dataset.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/npz.h"

struct pair {
    const struct npy *x, *t;
    struct tet_examples examples;
};

static uint64_t width(const struct npy *array) // numbers of an example
{
    uint64_t n = 1;
    for (uint32_t i = 1; i < array->rank; i++)
        n *= array->shape[i]; // npz_read has checked the product
    return n;
}

static bool same_but_count(const struct npy *a, const struct npy *b)
{
    return a->rank == b->rank &&
           memcmp(a->shape + 1, b->shape + 1, (a->rank - 1) * sizeof *a->shape) == 0;
}

static enum tet_err bad(struct tet_error *error, const struct npy *array, const char *what)
{
    return tet_error_set(error, TET_BAD_DATASET, "array %s: %s", array->name, what);
}

/* Shapes of x and t by themselves and together. */
static enum tet_err check_pair(const struct npy *x, const struct npy *t, struct tet_error *error)
{
    if (x->rank == 0 || t->rank == 0)
        return bad(error, x->rank == 0 ? x : t, "a single number, not examples");
    if (x->shape[0] != t->shape[0])
        return tet_error_set(error, TET_BAD_DATASET, "array %s: %llu examples, %s has %llu",
                             t->name, (unsigned long long)t->shape[0], x->name,
                             (unsigned long long)x->shape[0]);
    if (x->shape[0] == 0 || x->shape[0] > UINT32_MAX)
        return bad(error, x, x->shape[0] ? "too many examples" : "no examples in it");
    if (width(x) == 0 || width(x) > TET_MAX_UNITS)
        return tet_error_set(error, TET_BAD_DATASET,
                             "array %s: examples of %llu numbers; 1 to %d allowed", x->name,
                             (unsigned long long)width(x), TET_MAX_UNITS);
    if (!npy_is_float(t->type) && width(t) != 1)
        return bad(error, t, "integer labels have shape (n) or (n, 1); targets are floats");
    if (t->rank > 2)
        return bad(error, t, "targets have shape (n) or (n, outputs)");
    if (width(t) == 0 || width(t) > TET_MAX_UNITS)
        return tet_error_set(error, TET_BAD_DATASET,
                             "array %s: targets of %llu numbers; 1 to %d allowed", t->name,
                             (unsigned long long)width(t), TET_MAX_UNITS);
    return TET_OK;
}

static enum tet_err find_arrays(const struct npz *npz, struct pair *train, struct pair *test,
                                struct tet_error *error)
{
    train->x = npz_find(npz, "x");
    train->t = npz_find(npz, "t");
    test->x = npz_find(npz, "x_test");
    test->t = npz_find(npz, "t_test");
    if (!train->x || !train->t)
        return tet_error_set(error, TET_BAD_DATASET, "array %s is missing", train->x ? "t" : "x");
    if (!test->x != !test->t)
        return tet_error_set(error, TET_BAD_DATASET, "array %s is missing",
                             test->x ? "t_test" : "x_test");
    enum tet_err err = check_pair(train->x, train->t, error);
    if (err != TET_OK || !test->x)
        return err;
    if ((err = check_pair(test->x, test->t, error)) != TET_OK)
        return err;
    if (!same_but_count(train->x, test->x))
        return bad(error, test->x, "its examples have another shape than those of x");
    if (npy_is_float(train->t->type) != npy_is_float(test->t->type) ||
        width(train->t) != width(test->t))
        return bad(error, test->t, "its targets have another form than those of t");
    return TET_OK;
}

static enum tet_err copy_floats(float *to, const struct npy *array, struct tet_error *error)
{
    for (uint64_t i = 0; i < array->n; i++) {
        to[i] = npy_to_float(array, i);
        if (!isfinite(to[i]))
            return tet_error_set(error, TET_BAD_DATASET,
                                 "array %s: example %llu, number %llu is not a finite float (both "
                                 "from 0)",
                                 array->name, (unsigned long long)(i / width(array)),
                                 (unsigned long long)(i % width(array)));
    }
    return TET_OK;
}

/* Labels 0 <= label < classes; classes 0: any that TET_MAX_UNITS allows, and *greatest is theirs.
 */
static enum tet_err copy_labels(int32_t *to, const struct npy *array, uint32_t classes,
                                int64_t *greatest, struct tet_error *error)
{
    *greatest = -1;
    for (uint64_t i = 0; i < array->n; i++) {
        int64_t label = npy_to_int(array, i), end = classes ? classes : TET_MAX_UNITS;
        if (label < 0 || label >= end)
            return tet_error_set(
                error, TET_BAD_DATASET, "array %s: example %llu has label %lld; 0 to %lld allowed",
                array->name, (unsigned long long)i, (long long)label, (long long)end - 1);
        to[i] = (int32_t)label;
        *greatest = label > *greatest ? label : *greatest;
    }
    return TET_OK;
}

/* Four bytes for each number of t, and of x unless it is bytes. */
static uint64_t pair_bytes(const struct pair *pair)
{
    return pair->x ? pair->t->n * 4 + pair->x->n * (pair->x->type == NPY_U1 ? 1 : 4) : 0;
}

static enum tet_err fill_t(struct pair *pair, char *memory, uint32_t *outputs,
                           struct tet_error *error)
{
    const struct npy *t = pair->t;
    int64_t greatest;
    pair->examples.n = (uint32_t)t->shape[0];
    if (npy_is_float(t->type)) {
        pair->examples.targets = (float *)(void *)memory;
        *outputs = (uint32_t)width(t);
        return copy_floats((float *)(void *)memory, t, error);
    }
    pair->examples.labels = (int32_t *)(void *)memory;
    enum tet_err err = copy_labels((int32_t *)(void *)memory, t, *outputs, &greatest, error);
    if (err != TET_OK || *outputs != 0)
        return err;
    *outputs = (uint32_t)greatest + 1;
    return greatest > 0 ? TET_OK : bad(error, t, "only one class, at least 2 are needed");
}

static enum tet_err fill_x(struct pair *pair, char *memory, struct tet_error *error)
{
    if (pair->x->type != NPY_U1) {
        pair->examples.floats = (float *)(void *)memory;
        return copy_floats((float *)(void *)memory, pair->x, error);
    }
    pair->examples.bytes = (uint8_t *)memory;
    memcpy(memory, pair->x->data, (size_t)pair->x->n);
    return TET_OK;
}

/* The four arrays one after the other; all of 4 bytes a number before those of 1, for alignment. */
static enum tet_err fill(struct tet_dataset *d, struct pair *pairs, struct tet_error *error)
{
    char *at = d->memory;
    enum tet_err err = TET_OK;
    for (int i = 0; i < 2 && err == TET_OK; i++)
        if (pairs[i].x) {
            err = fill_t(&pairs[i], at, &d->shape.outputs, error);
            at += pairs[i].t->n * 4;
        }
    for (int bytes = 0; bytes < 2; bytes++)
        for (int i = 0; i < 2 && err == TET_OK; i++)
            if (pairs[i].x && (pairs[i].x->type == NPY_U1) == bytes) {
                err = fill_x(&pairs[i], at, error);
                at += pairs[i].x->n * (bytes ? 1 : 4);
            }
    d->train = pairs[0].examples;
    d->test = pairs[1].examples;
    return err;
}

static void set_shape(struct tet_dataset *d, const struct npy *x)
{
    bool image = x->rank == 3 || x->rank == 4;
    d->shape.inputs = (uint32_t)width(x);
    d->shape.channels = x->rank == 4 ? (uint32_t)x->shape[1] : 1;
    d->shape.rows = image ? (uint32_t)x->shape[x->rank - 2] : 1;
    d->shape.columns = image ? (uint32_t)x->shape[x->rank - 1] : d->shape.inputs;
}

static uint64_t archive_bytes(const struct npz *npz)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < npz->n; i++)
        bytes += npz->arrays[i].n * npy_type_bytes(npz->arrays[i].type);
    return bytes;
}

enum tet_err npz_dataset_load(struct tet_dataset *dataset, const char *path, uint64_t max_bytes,
                              struct tet_error *error)
{
    struct pair pairs[2] = {0};
    struct npz npz = {0};
    struct tet_error detail = {0}; // about an array; the file's name comes before it
    *dataset = (struct tet_dataset){0};
    enum tet_err err = npz_read(&npz, path, max_bytes, &detail);
    if (err != TET_OK)
        goto out;
    if ((err = find_arrays(&npz, &pairs[0], &pairs[1], &detail)) != TET_OK)
        goto out;
    uint64_t bytes = pair_bytes(&pairs[0]) + pair_bytes(&pairs[1]); // at most 4 times the archive's
    if (bytes > max_bytes - archive_bytes(&npz) || bytes > SIZE_MAX) {
        err = tet_error_set(&detail, TET_BAD_DATASET,
                            "%llu bytes in memory after %llu to read it, the limit is %llu",
                            (unsigned long long)bytes, (unsigned long long)archive_bytes(&npz),
                            (unsigned long long)max_bytes);
        goto out;
    }
    if (!(dataset->memory = malloc((size_t)bytes))) {
        err = tet_error_set(&detail, TET_NO_MEMORY, "no memory for %llu bytes",
                            (unsigned long long)bytes);
        goto out;
    }
    set_shape(dataset, pairs[0].x);
    err = fill(dataset, pairs, &detail);
out:
    npz_free(&npz);
    if (err != TET_OK) {
        tet_dataset_free(dataset);
        bool named = strncmp(detail.message, path, strlen(path)) == 0;
        tet_error_set(error, err, "%s%s%s", named ? "" : path, named ? "" : ": ", detail.message);
    }
    return err;
}

static struct npy array_of(const char *name, const void *data, enum npy_type type, uint32_t rank,
                           const uint64_t *shape)
{
    struct npy array = {.type = type, .rank = rank, .n = 1, .data = (void *)(uintptr_t)data};
    snprintf(array.name, sizeof array.name, "%s", name);
    for (uint32_t i = 0; i < rank; i++) {
        array.shape[i] = shape[i];
        array.n *= shape[i];
    }
    return array;
}

/* x and t of a part; returns how many arrays. */
static size_t arrays_of(const struct tet_dataset *d, const struct tet_examples *e, bool test,
                        struct npy arrays[2])
{
    const struct tet_shape *s = &d->shape;
    const bool image = s->rows > 1 || s->channels > 1;
    const uint64_t flat[] = {e->n, s->inputs}, images[] = {e->n, s->channels, s->rows, s->columns},
                   targets[] = {e->n, s->outputs};
    if (e->n == 0)
        return 0;
    arrays[0] = array_of(test ? "x_test" : "x", e->bytes ? (const void *)e->bytes : e->floats,
                         e->bytes ? NPY_U1 : NPY_F4, image ? 4 : 2, image ? images : flat);
    arrays[1] = array_of(test ? "t_test" : "t", e->labels ? (const void *)e->labels : e->targets,
                         e->labels ? NPY_I4 : NPY_F4, e->labels ? 1 : 2, targets);
    return 2;
}

enum tet_err npz_dataset_write(const struct tet_dataset *d, const char *path,
                               struct tet_error *error)
{
    struct npy arrays[4];
    int32_t greatest = -1;
    for (uint32_t i = 0; d->train.labels && i < d->train.n; i++)
        greatest = d->train.labels[i] > greatest ? d->train.labels[i] : greatest;
    if (d->train.labels && (uint32_t)greatest + 1 != d->shape.outputs)
        return tet_error_set(error, TET_BAD_DATASET,
                             "no example to train on is of class %u, the last",
                             d->shape.outputs - 1);
    size_t n = arrays_of(d, &d->train, false, arrays);
    n += arrays_of(d, &d->test, true, arrays + n);
    return npz_write_new(arrays, n, path, error);
}
