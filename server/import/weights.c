// SPDX-License-Identifier: Apache-2.0
/* Weights of an archive: see import.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/npz.h"
#include "file.h"
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
    const bool good = fd >= 0 && file_write(fd, bytes, size);
    free(bytes);
    if (!good) {
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

/* "W1": what is in the digest. */
static bool is_weights(const char *name)
{
    const size_t length = strlen(name);
    return length >= 2 && strchr("WbBVUD", name[0]) != NULL &&
           strspn(name + 1, "0123456789") == length - 1;
}

/* What else a fork may begin with. */
static bool is_state(const char *name)
{
    static const char *const names[] = {"state/power", "state/selection", "state/selected_weights"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    if (strncmp(name, "state/delay", 11) == 0)
        return name[11] != '\0' && strspn(name + 11, "0123456789") == strlen(name + 11);
    return strncmp(name, "velocity/", 9) == 0 && is_weights(name + 9);
}

/* file: "runs/7/weights.npz" */
static enum tet_err take_array(struct import_reading *r, const char *file, const struct npy *from,
                               struct store_array *into)
{
    into->state = is_state(from->name);
    if (strlen(from->name) >= STORE_TENSOR_NAME || (!into->state && !is_weights(from->name)))
        return BAD(r, "%s: there is no array \"%.40s\"", file, from->name);
    if (from->type != NPY_F4 || (from->rank != 1 && from->rank != 2 && from->rank != 4) ||
        from->n == 0)
        return BAD(r, "%s: %s is not as a run's array is", file, from->name);
    strcpy(into->name, from->name);
    into->rank = from->rank;
    for (uint32_t k = 0; k < from->rank; k++) {
        if (from->shape[k] > UINT32_MAX)
            return BAD(r, "%s: %s is too large", file, from->name);
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

/* Arrays as a checkpoint; `skip` of them, by name, are not taken. */
static enum tet_err take_arrays(struct import_reading *r, const char *file, const struct npz *npz,
                                const char *skip, struct store_checkpoint *into)
{
    enum tet_err err = TET_OK;
    into->arrays = calloc(npz->n, sizeof *into->arrays);
    if (into->arrays == NULL)
        return tet_error_set(r->error, TET_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < npz->n && err == TET_OK; i++)
        if (strcmp(npz->arrays[i].name, skip) != 0) {
            err = take_array(r, file, &npz->arrays[i], &into->arrays[into->n]);
            into->n++; // one that was refused is freed with the others
        }
    return err;
}

/* The epoch and the phase are numbers that the trainer counts with. */
static bool good_selection(const struct store_checkpoint *c)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct store_array *a = &c->arrays[i];
        if (strcmp(a->name, "state/selection") != 0)
            continue;
        if (a->rank != 1 || a->n != 3 || !(a->data[1] >= 0.0f && a->data[1] <= 0x1p24f) ||
            (a->data[2] != 0.0f && a->data[2] != 1.0f && a->data[2] != 2.0f))
            return false;
    }
    return true;
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
    err = take_arrays(r, name, &npz, "", &run->checkpoint);
    npz_free(&npz);
    if (err != TET_OK)
        return err;
    run->checkpoint.cursor = cursor_of(definition, run);
    weights_digest(digest, &run->checkpoint);
    if (run->state == RUN_SUCCEEDED && (run->digest == NULL || strcmp(run->digest, digest) != 0))
        return BAD(r, "%s: its digest is %s, and not what run.json says", name, digest);
    return good_selection(&run->checkpoint) ? TET_OK : BAD(r, "%s: state/selection is none", name);
}

enum tet_err import_start(struct import_reading *r, const char *where, const json_t *definition,
                          struct store_imported_run *run)
{
    char name[IMPORT_NAME], digest[STORE_HASH];
    struct npz npz = {0};
    struct tet_cursor cursor = {0};
    const json_t *fork = json_object_get(definition, "fork");
    const char *needed = json_string_value(json_object_get(fork, "digest"));
    snprintf(name, sizeof name, "%s/start.npz", where);
    enum tet_err err = read_npz(r, name, &npz);
    if (err != TET_OK || npz.n == 0)
        return err;
    if (needed == NULL)
        err = BAD(r, "%s: the run is no fork", name);
    else if (!weights_cursor(npz_find(&npz, "cursor"), &cursor) ||
             cursor.step != number_of(fork, "step"))
        err = BAD(r, "%s: cursor is not that of the step where the run began", name);
    if (err == TET_OK)
        err = take_arrays(r, name, &npz, "cursor", &run->start);
    npz_free(&npz);
    if (err != TET_OK)
        return err;
    run->start.cursor = cursor;
    weights_digest(digest, &run->start);
    if (strcmp(digest, needed) != 0)
        return BAD(r, "%s: its digest is %s, and not that of /fork/digest", name, digest);
    return good_selection(&run->start) ? TET_OK : BAD(r, "%s: state/selection is none", name);
}
