// SPDX-License-Identifier: Apache-2.0
/* A trainer's arrays outside of it: see weights.h. */
#include "results/weights.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

_Static_assert(sizeof((struct tet_tensor *)0)->shape == sizeof((struct store_array *)0)->shape,
               "what a trainer has fits into a checkpoint");

enum tet_err weights_capture(struct store_checkpoint *checkpoint, const struct tet_trainer *trainer,
                             struct tet_error *error)
{
    *checkpoint = (struct store_checkpoint){.cursor = tet_trainer_cursor(trainer),
                                            .n = tet_trainer_tensors(trainer)};
    checkpoint->arrays = calloc(checkpoint->n, sizeof *checkpoint->arrays);
    if (checkpoint->arrays == NULL)
        goto no_memory;
    for (uint32_t i = 0; i < checkpoint->n; i++) {
        struct store_array *array = &checkpoint->arrays[i];
        struct tet_tensor tensor;
        tet_trainer_tensor(trainer, i, &tensor);
        snprintf(array->name, sizeof array->name, "%s", tensor.name);
        array->rank = tensor.rank;
        memcpy(array->shape, tensor.shape, sizeof array->shape);
        array->n = tensor.n;
        array->state = tensor.state;
        array->data = malloc(tensor.n * sizeof *array->data);
        if (array->data == NULL)
            goto no_memory;
        tet_trainer_get(trainer, i, array->data);
    }
    return TET_OK;
no_memory:
    if (checkpoint->arrays == NULL)
        checkpoint->n = 0;
    store_checkpoint_free(checkpoint);
    return tet_error_set(error, TET_NO_MEMORY, "no memory for a copy of the weights");
}

static const struct store_array *find_array(const struct store_checkpoint *checkpoint,
                                            const char *name)
{
    for (size_t i = 0; i < checkpoint->n; i++)
        if (strcmp(checkpoint->arrays[i].name, name) == 0)
            return &checkpoint->arrays[i];
    return NULL;
}

/* foreign: what the checkpoint lacks stays as it is. */
static enum tet_err restore(struct tet_trainer *trainer, const struct store_checkpoint *checkpoint,
                            bool foreign, struct tet_error *error)
{
    const uint32_t n = tet_trainer_tensors(trainer);
    const enum tet_err err = tet_trainer_seek(trainer, &checkpoint->cursor, error);
    if (err != TET_OK)
        return err;
    for (uint32_t i = 0; i < n; i++) {
        struct tet_tensor tensor;
        tet_trainer_tensor(trainer, i, &tensor);
        const struct store_array *array = find_array(checkpoint, tensor.name);
        if (array == NULL && foreign)
            continue;
        if (array == NULL || array->n != tensor.n || array->rank != tensor.rank ||
            memcmp(array->shape, tensor.shape, tensor.rank * sizeof *tensor.shape) != 0)
            return tet_error_set(error, TET_BAD_WEIGHTS,
                                 "the checkpoint's array %s is missing or of another shape",
                                 tensor.name);
        tet_trainer_set(trainer, i, array->data);
    }
    return TET_OK;
}

enum tet_err weights_restore(struct tet_trainer *trainer, const struct store_checkpoint *checkpoint,
                             struct tet_error *error)
{
    const uint32_t n = tet_trainer_tensors(trainer);
    if (checkpoint->n != n)
        return tet_error_set(error, TET_BAD_WEIGHTS,
                             "the checkpoint has %zu arrays, the network %u", checkpoint->n, n);
    return restore(trainer, checkpoint, false, error);
}

enum tet_err weights_adopt(struct tet_trainer *trainer, const struct store_checkpoint *checkpoint,
                           struct tet_error *error)
{
    return restore(trainer, checkpoint, true, error);
}

bool weights_are_final(const struct store_checkpoint *checkpoint)
{
    const struct store_array *selection = find_array(checkpoint, "state/selection");
    return selection != NULL && selection->n > 0 && tet_selection_is_over(selection->data);
}

static int by_name(const void *a, const void *b)
{
    const struct store_array *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* The weights, without velocities, sorted by name: *n of them in a new array of pointers. */
static const struct store_array **sorted(const struct store_checkpoint *checkpoint, size_t *n)
{
    const struct store_array **list = calloc(checkpoint->n + 1, sizeof(struct store_array *));
    *n = 0;
    for (size_t i = 0; list != NULL && i < checkpoint->n; i++)
        if (!checkpoint->arrays[i].state)
            list[(*n)++] = &checkpoint->arrays[i];
    if (list != NULL)
        qsort(list, *n, sizeof *list, by_name);
    return list;
}

static void hash_number(crypto_hash_sha256_state *state, uint32_t v)
{
    const unsigned char bytes[4] = {(unsigned char)v, (unsigned char)(v >> 8),
                                    (unsigned char)(v >> 16), (unsigned char)(v >> 24)};
    crypto_hash_sha256_update(state, bytes, sizeof bytes);
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "arrays are hashed and stored as they lie in memory, which must be little-endian"
#endif

void weights_digest(char digest[STORE_HASH], const struct store_checkpoint *checkpoint)
{
    size_t n = 0;
    const struct store_array **list = sorted(checkpoint, &n);
    digest[0] = '\0';
    if (list == NULL)
        return;
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    for (size_t i = 0; i < n; i++) {
        crypto_hash_sha256_update(&state, (const unsigned char *)list[i]->name,
                                  strlen(list[i]->name) + 1);
        hash_number(&state, list[i]->rank);
        for (uint32_t k = 0; k < list[i]->rank; k++)
            hash_number(&state, list[i]->shape[k]);
        crypto_hash_sha256_update(&state, (const unsigned char *)list[i]->data,
                                  list[i]->n * sizeof(float));
    }
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&state, hash);
    strcpy(digest, "sha256:");
    sodium_bin2hex(digest + 7, STORE_HASH - 7, hash, sizeof hash);
    free(list);
}

/* ---- .npz ---- */

static bool known_name(const char *name)
{
    if (strchr("WbBVUD", name[0]) == NULL || name[1] < '1' || name[1] > '9')
        return false;
    return strspn(name + 1, "0123456789") == strlen(name + 1);
}

static struct npy npy_like(const char *name, uint32_t rank, const uint32_t *shape, uint64_t n,
                           float *data)
{
    struct npy array = {.type = NPY_F4, .rank = rank, .n = n, .data = data};
    snprintf(array.name, sizeof array.name, "%s", name);
    for (uint32_t k = 0; k < rank; k++)
        array.shape[k] = shape[k];
    return array;
}

struct npy weights_npy(const struct store_array *array)
{
    return npy_like(array->name, array->rank, array->shape, array->n, array->data);
}

/* "(8, 1, 5, 5)" */
static void put_shape(struct text *text, uint32_t rank, const uint64_t *shape)
{
    for (uint32_t k = 0; k < rank; k++)
        text_printf(text, "%s%llu", k > 0 ? ", " : "(", (unsigned long long)shape[k]);
    text_puts(text, rank > 0 ? ")" : "()");
}

/* TET_BAD_WEIGHTS: what shape the array has, and what it should have. */
static enum tet_err wrong_shape(const struct npy *array, const struct npy *needed,
                                struct tet_error *error)
{
    struct text has = {0}, needs = {0};
    put_shape(&has, array->rank, array->shape);
    put_shape(&needs, needed->rank, needed->shape);
    tet_error_set(error, TET_BAD_WEIGHTS, "initial weights: %s has shape %s, the network needs %s",
                  array->name, text_get(&has), text_get(&needs));
    text_free(&has);
    text_free(&needs);
    return TET_BAD_WEIGHTS;
}

static enum tet_err load_array(struct tet_trainer *trainer, uint32_t i,
                               const struct tet_tensor *tensor, const struct npy *array,
                               struct tet_error *error)
{
    const struct npy needed = npy_like(tensor->name, tensor->rank, tensor->shape, tensor->n, NULL);
    if (array->rank != needed.rank ||
        memcmp(array->shape, needed.shape, needed.rank * sizeof *needed.shape) != 0)
        return wrong_shape(array, &needed, error);
    float *values = malloc(tensor->n * sizeof *values);
    if (values == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for the initial weights");
    enum tet_err err = TET_OK;
    for (uint64_t k = 0; k < tensor->n && err == TET_OK; k++) {
        values[k] = npy_to_float(array, k);
        if (!isfinite(values[k]))
            err = tet_error_set(error, TET_BAD_WEIGHTS,
                                "initial weights: value %llu of %s is not finite",
                                (unsigned long long)k, tensor->name);
    }
    if (err == TET_OK)
        tet_trainer_set(trainer, i, values);
    free(values);
    return err;
}

enum tet_err weights_load(struct tet_trainer *trainer, const char *path, uint64_t max_bytes,
                          struct tet_error *error)
{
    struct npz npz = {0};
    enum tet_err err = npz_read(&npz, path, max_bytes, error);
    size_t fitting = 0;
    for (size_t i = 0; i < npz.n && err == TET_OK; i++)
        if (!known_name(npz.arrays[i].name))
            err =
                tet_error_set(error, TET_BAD_WEIGHTS,
                              "initial weights: there is no array \"%s\"; allowed are W1, b1, B2, "
                              "V1, U1, D1 and so on",
                              npz.arrays[i].name);
    for (uint32_t i = 0; i < tet_trainer_tensors(trainer) && err == TET_OK; i++) {
        struct tet_tensor tensor;
        tet_trainer_tensor(trainer, i, &tensor);
        const struct npy *array = npz_find(&npz, tensor.name);
        if (array != NULL && !tensor.state) {
            err = load_array(trainer, i, &tensor, array, error);
            fitting++;
        }
    }
    if (err == TET_OK && fitting == 0)
        err = tet_error_set(error, TET_BAD_WEIGHTS,
                            "initial weights: %s has none of the network's arrays", path);
    npz_free(&npz);
    return err;
}

enum tet_err weights_npz(struct npy **arrays, size_t *n, const struct store_checkpoint *checkpoint,
                         struct tet_error *error)
{
    const struct store_array **list = sorted(checkpoint, n);
    *arrays = calloc(checkpoint->n + 1, sizeof **arrays);
    if (list == NULL || *arrays == NULL) {
        free(list);
        free(*arrays);
        *arrays = NULL;
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < *n; i++)
        (*arrays)[i] = weights_npy(list[i]);
    free(list);
    return TET_OK;
}

enum tet_err weights_whole(struct npy **arrays, size_t *n, double cursor[WEIGHTS_CURSOR],
                           const struct store_checkpoint *checkpoint, struct tet_error *error)
{
    const struct tet_cursor *c = &checkpoint->cursor;
    const double values[WEIGHTS_CURSOR] = {
        (double)c->step, (double)c->records, c->loss_sum, (double)c->correct,
        c->epoch,        c->last_loss,       c->batch};
    memcpy(cursor, values, sizeof values);
    *n = checkpoint->n + 1;
    *arrays = calloc(*n, sizeof **arrays);
    if (*arrays == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < checkpoint->n; i++)
        (*arrays)[i] = weights_npy(&checkpoint->arrays[i]);
    (*arrays)[checkpoint->n] = (struct npy){.name = "cursor",
                                            .type = NPY_F8,
                                            .rank = 1,
                                            .shape = {WEIGHTS_CURSOR},
                                            .n = WEIGHTS_CURSOR,
                                            .data = cursor};
    return TET_OK;
}

/* Whole numbers up to `most`, which a double has exactly. */
static bool is_count(double value, double most)
{
    return value >= 0.0 && value <= most && floor(value) == value;
}

bool weights_cursor(const struct npy *array, struct tet_cursor *cursor)
{
    static const double most[WEIGHTS_CURSOR] = {0x1p53,     0x1p53, 0,         0x1p53,
                                                UINT32_MAX, 0,      UINT32_MAX};
    if (array == NULL || array->type != NPY_F8 || array->rank != 1 || array->n != WEIGHTS_CURSOR)
        return false;
    const double *v = array->data;
    for (int i = 0; i < WEIGHTS_CURSOR; i++)
        if (most[i] > 0.0 && !is_count(v[i], most[i]))
            return false;
    *cursor = (struct tet_cursor){.step = (uint64_t)v[0],
                                  .records = (uint64_t)v[1],
                                  .loss_sum = v[2],
                                  .correct = (uint64_t)v[3],
                                  .epoch = (uint32_t)v[4],
                                  .last_loss = v[5],
                                  .batch = (uint32_t)v[6]};
    return isfinite(v[2]);
}
