// SPDX-License-Identifier: Apache-2.0
/* Weights of an archive: see import.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/npz.h"
#include "import/private.h"
#include "results/weights.h"

static uint64_t number_of(const json_t *object, const char *key)
{
    const json_int_t n = json_integer_value(json_object_get(object, key));
    return n > 0 ? (uint64_t)n : 0;
}

/* The archive's reader wants a file of its own: one in memory. */
static enum tet_err read_npz(struct import_reading *r, const char *name, struct npz *npz)
{
    char *bytes, path[40];
    size_t size;
    struct tet_error why = {0};
    enum tet_err err = import_member(r, name, UINT64_MAX, &bytes, &size);
    if (err != TET_OK || bytes == NULL)
        return err;
    const int fd = memfd_create("weights", MFD_CLOEXEC);
    size_t done = 0;
    ssize_t n = 1;
    while (fd >= 0 && done < size && (n = write(fd, bytes + done, size - done)) > 0)
        done += (size_t)n;
    free(bytes);
    if (fd < 0 || done < size) {
        err = tet_error_set(r->error, TET_NO_MEMORY, "no memory for %s", name);
    } else {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        err = npz_read(npz, path, r->left, &why);
        if (err == TET_NO_MEMORY)
            tet_error_set(r->error, err, "no memory for %s", name);
        else if (err != TET_OK)
            err = BAD(r, "%s: it is no archive of weights, or too large", name);
    }
    if (fd >= 0)
        close(fd);
    return err;
}

static enum tet_err take_array(struct import_reading *r, const char *where, const struct npy *from,
                               struct store_array *into)
{
    const size_t length = strlen(from->name);
    if (length < 2 || length >= STORE_TENSOR_NAME || strchr("WbBVUD", from->name[0]) == NULL ||
        strspn(from->name + 1, "0123456789") != length - 1)
        return BAD(r, "%s/weights.npz: there is no array \"%.40s\"", where, from->name);
    if (from->type != NPY_F4 || (from->rank != 1 && from->rank != 2 && from->rank != 4) ||
        from->n == 0)
        return BAD(r, "%s/weights.npz: %s is not as a run's array is", where, from->name);
    strcpy(into->name, from->name);
    into->rank = from->rank;
    for (uint32_t k = 0; k < from->rank; k++) {
        if (from->shape[k] > UINT32_MAX)
            return BAD(r, "%s/weights.npz: %s is too large", where, from->name);
        into->shape[k] = (uint32_t)from->shape[k];
    }
    if (into->rank == 1)
        into->shape[1] = 1;
    into->n = from->n;
    into->data = malloc(from->n * sizeof *into->data);
    if (into->data == NULL)
        return tet_error_set(r->error, TET_NO_MEMORY, "no memory for the weights");
    memcpy(into->data, from->data, from->n * sizeof *into->data);
    return TET_OK;
}

/* Where a run of this definition stands after `step` mini-batches. */
static struct tet_cursor cursor_of(const json_t *definition, const struct store_imported_run *run)
{
    const json_t *dataset = json_object_get(definition, "dataset"),
                 *training = json_object_get(definition, "training");
    const uint64_t batch = number_of(training, "batch"), all = number_of(dataset, "train"),
                   validation = number_of(dataset, "validation");
    struct tet_cursor cursor = {.step = run->step, .last_loss = NAN};
    if (batch == 0 || all <= validation)
        return cursor;
    const uint64_t per_epoch = (all - validation - 1) / batch + 1;
    const bool over = run->state == RUN_SUCCEEDED;
    cursor.epoch = (uint32_t)((run->step + (over ? per_epoch - 1 : 0)) / per_epoch);
    cursor.batch = over ? 0 : (uint32_t)(run->step % per_epoch);
    return cursor;
}

enum tet_err import_weights(struct import_reading *r, const char *where, const json_t *definition,
                            struct store_imported_run *run)
{
    char name[IMPORT_NAME], digest[STORE_HASH];
    struct npz npz = {0};
    snprintf(name, sizeof name, "%s/weights.npz", where);
    enum tet_err err = read_npz(r, name, &npz);
    if (err == TET_OK && npz.n == 0 && run->state == RUN_SUCCEEDED)
        err = BAD(r, "the archive has no %s, which the run's digest is of", name);
    if (err != TET_OK || npz.n == 0)
        return err;
    run->checkpoint.arrays = calloc(npz.n, sizeof *run->checkpoint.arrays);
    if (run->checkpoint.arrays == NULL)
        err = tet_error_set(r->error, TET_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < npz.n && err == TET_OK; i++) {
        err = take_array(r, where, &npz.arrays[i], &run->checkpoint.arrays[i]);
        run->checkpoint.n = i + 1;
    }
    npz_free(&npz);
    if (err != TET_OK)
        return err;
    run->checkpoint.cursor = cursor_of(definition, run);
    weights_digest(digest, &run->checkpoint);
    if (run->state == RUN_SUCCEEDED && (run->digest == NULL || strcmp(run->digest, digest) != 0))
        return BAD(r, "%s: its digest is %s, and not what run.json says", name, digest);
    return TET_OK;
}
