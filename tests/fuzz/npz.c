// SPDX-License-Identifier: Apache-2.0
/*
 * NumPy's archives, and datasets in them. Input: how (0: an archive as it is; else its members, which the
 * target packs, deflated where it is 2), then that.
 */
#include "archive.h"

#include "data/dataset_digest.h"
#include "data/npz.h"
#include "data/npz_dataset.h"

enum { MAX_BYTES = 1 << 20, RAW = 0, DEFLATED = 2 };

static void check_array(const struct npy *array)
{
    uint64_t n = 1;
    HOLDS(array->name[0] != '\0' && strlen(array->name) < NPY_NAME);
    HOLDS(array->rank <= NPY_RANK && array->type <= NPY_U8);
    for (uint32_t k = 0; k < array->rank; k++)
        HOLDS(!__builtin_mul_overflow(n, array->shape[k], &n));
    HOLDS(n == array->n && array->data != NULL);
    for (uint64_t i = 0; i < n; i++)
        (void)npy_to_float(array, i);
    if (n > 0 && !npy_is_float(array->type))
        (void)npy_to_int(array, n - 1);
}

/* What was read, written again, reads back as the same. */
static void check_again(const struct npz *npz)
{
    struct npz again;
    struct tet_error error = {0};
    void *bytes;
    size_t size;
    HOLDS(npz_write_memory(npz->arrays, npz->n, &bytes, &size, &error) == TET_OK);
    const char *path = put_file(1, bytes, size);
    free(bytes);
    HOLDS(npz_read(&again, path, MAX_BYTES, &error) == TET_OK);
    HOLDS(again.n == npz->n);
    for (size_t i = 0; i < npz->n; i++) {
        const struct npy *a = &npz->arrays[i], *b = &again.arrays[i];
        HOLDS(strcmp(a->name, b->name) == 0 && npz_find(&again, a->name) == b);
        HOLDS(a->type == b->type && a->rank == b->rank && a->n == b->n);
        HOLDS(memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0);
        HOLDS(memcmp(a->data, b->data, a->n * npy_type_bytes(a->type)) == 0);
    }
    npz_free(&again);
}

static void check_dataset_of(const char *path, const struct npz *npz, enum tet_err read)
{
    struct tet_dataset d;
    struct tet_error error = {0};
    const enum tet_err err = npz_dataset_load(&d, path, MAX_BYTES, &error);
    check_error(err, &error);
    check_dataset(err, &d);
    HOLDS(err == TET_OK || err == TET_BAD_DATASET);
    HOLDS(err != TET_OK || read == TET_OK);
    if (err == TET_OK)
        HOLDS(dataset_bytes(&d) <= MAX_BYTES && d.train.n == npz_find(npz, "x")->shape[0]);
    tet_dataset_free(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input in = {bytes, size};
    struct member members[MEMBERS];
    struct npz npz;
    struct tet_error error = {0};
    const unsigned how = (unsigned)take_number(&in, 1) % 3;
    const size_t n = how != RAW ? take_members(&in, members) : 0;
    const char *path =
        how == RAW ? put_file(0, in.at, in.left) : put_archive(0, members, n, how == DEFLATED);
    const enum tet_err err = npz_read(&npz, path, MAX_BYTES, &error);
    uint64_t total = 0;
    check_error(err, &error);
    HOLDS(err == TET_OK || err == TET_BAD_DATASET);
    HOLDS(err == TET_OK || (npz.n == 0 && npz.arrays == NULL));
    for (size_t i = 0; i < npz.n; i++) {
        check_array(&npz.arrays[i]);
        total += npz.arrays[i].n * npy_type_bytes(npz.arrays[i].type);
    }
    HOLDS(total <= MAX_BYTES);
    if (npz.n > 0)
        check_again(&npz);
    check_dataset_of(path, &npz, err);
    npz_free(&npz);
    free_members(members, n);
    return 0;
}
