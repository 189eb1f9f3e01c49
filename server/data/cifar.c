// SPDX-License-Identifier: Apache-2.0
/*
 * Reads CIFAR's binary version. See cifar.h.
 *
 * The files have no headers: their lengths say how many records there are. So all are measured
 * first, the gzipped ones by inflating them; then one block is allocated and filled. Any thread; no
 * state.
 */
#include "data/cifar.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/gz.h"

enum { SIDE = 32, CHANNELS = 3, PIXELS = CHANNELS * SIDE * SIDE, MOST_FILES = CIFAR10_FILES };

const char *const cifar10_names[CIFAR10_FILES] = {"data_batch_1.bin", "data_batch_2.bin",
                                                  "data_batch_3.bin", "data_batch_4.bin",
                                                  "data_batch_5.bin", "test_batch.bin"};
const char *const cifar100_names[CIFAR100_FILES] = {"train.bin", "test.bin"};

struct form {
    const char *const *names;
    unsigned n_files;
    unsigned n_labels;   // bytes before the pixels; the last is the label
    unsigned classes[2]; // that each of them tells apart
};

struct part {
    struct gz_file file;
    uint64_t n; // records
};

static enum tet_err find_all(struct part *parts, const struct form *form, const char *folder,
                             struct tet_error *error)
{
    char missing[160] = "";
    size_t used = 0;
    for (unsigned i = 0; i < form->n_files; i++) {
        parts[i].file = (struct gz_file){.path = gz_path(folder, form->names[i]),
                                         .bound = "it was when it was measured"};
        if (!parts[i].file.path && errno == ENOMEM)
            return tet_error_set(error, TET_NO_MEMORY, "%s: out of memory", folder);
        if (!parts[i].file.path)
            used += (size_t)snprintf(missing + used, sizeof missing - used, "%s%s",
                                     used > 0 ? ", " : "", form->names[i]);
    }
    return used == 0
               ? TET_OK
               : tet_error_set(error, TET_BAD_DATASET, "%s: %s missing (with or without .gz): %s",
                               folder, strchr(missing, ',') ? "files are" : "a file is", missing);
}

static enum tet_err measure_all(struct part *parts, const struct form *form, uint64_t max_bytes,
                                struct tet_error *error)
{
    const unsigned record = form->n_labels + PIXELS;
    for (unsigned i = 0; i < form->n_files; i++) {
        struct gz_file *file = &parts[i].file;
        uint64_t bytes = 0;
        enum tet_err err = gz_open(file, error);
        if (err == TET_OK)
            err = gz_measure(file, max_bytes, &bytes, error);
        if (err != TET_OK)
            return err;
        if (bytes == 0 || bytes % record != 0)
            return tet_error_set(error, TET_BAD_DATASET,
                                 "%s: %llu bytes; allowed are whole records of %u (%u of labels, "
                                 "%d of pixels), at least one",
                                 file->path, (unsigned long long)bytes, record, form->n_labels,
                                 PIXELS);
        max_bytes -= bytes;
        parts[i].n = bytes / record;
    }
    return TET_OK;
}

static enum tet_err read_part(struct part *part, const struct form *form, uint8_t *images,
                              int32_t *labels, struct tet_error *error)
{
    uint8_t label[2] = {0};
    for (uint64_t i = 0; i < part->n; i++) {
        enum tet_err err = gz_read(&part->file, label, form->n_labels, error);
        if (err == TET_OK)
            err = gz_read(&part->file, images + i * PIXELS, PIXELS, error);
        if (err != TET_OK)
            return err;
        for (unsigned k = 0; k < form->n_labels; k++)
            if (label[k] >= form->classes[k])
                return tet_error_set(error, TET_BAD_DATASET,
                                     "%s: record %llu (from 0) has %slabel %u; 0 to %u allowed",
                                     part->file.path, (unsigned long long)i,
                                     k + 1 < form->n_labels ? "the coarse " : "", label[k],
                                     form->classes[k] - 1);
        labels[i] = label[form->n_labels - 1];
    }
    return gz_end(&part->file, error);
}

/* All files but the last one after the other, then the last; labels before images. */
static enum tet_err fill(struct tet_dataset *d, struct part *parts, const struct form *form,
                         const char *folder, uint64_t max_bytes, struct tet_error *error)
{
    const unsigned last = form->n_files - 1;
    uint64_t n_train = 0, n_test = parts[last].n, done = 0;
    for (unsigned i = 0; i < last; i++)
        n_train += parts[i].n;
    const uint64_t n = n_train + n_test, bytes = n * (PIXELS + sizeof(int32_t));
    if (bytes > max_bytes || bytes > SIZE_MAX || n > UINT32_MAX)
        return tet_error_set(error, TET_BAD_DATASET, "%s: %llu bytes in memory, the limit is %llu",
                             folder, (unsigned long long)bytes, (unsigned long long)max_bytes);
    int32_t *labels = malloc((size_t)bytes);
    if (!labels)
        return tet_error_set(error, TET_NO_MEMORY, "%s: no memory for %llu bytes", folder,
                             (unsigned long long)bytes);
    uint8_t *images = (uint8_t *)(labels + n);
    d->memory = labels;
    d->shape = (struct tet_shape){.inputs = PIXELS,
                                  .outputs = form->classes[form->n_labels - 1],
                                  .channels = CHANNELS,
                                  .rows = SIDE,
                                  .columns = SIDE};
    d->train = (struct tet_examples){.n = (uint32_t)n_train, .bytes = images, .labels = labels};
    d->test = (struct tet_examples){
        .n = (uint32_t)n_test, .bytes = images + n_train * PIXELS, .labels = labels + n_train};
    enum tet_err err = TET_OK;
    for (unsigned i = 0; i <= last && err == TET_OK; i++) {
        err = read_part(&parts[i], form, images + done * PIXELS, labels + done, error);
        done += parts[i].n;
    }
    return err;
}

static enum tet_err load(struct tet_dataset *dataset, const struct form *form, const char *folder,
                         uint64_t max_bytes, struct tet_error *error)
{
    struct part parts[MOST_FILES] = {0};
    *dataset = (struct tet_dataset){0};
    enum tet_err err = find_all(parts, form, folder, error);
    if (err == TET_OK)
        err = measure_all(parts, form, max_bytes, error);
    if (err == TET_OK)
        err = fill(dataset, parts, form, folder, max_bytes, error);
    if (err != TET_OK)
        tet_dataset_free(dataset);
    for (unsigned i = 0; i < form->n_files; i++)
        gz_close(&parts[i].file);
    return err;
}

enum tet_err cifar10_load(struct tet_dataset *dataset, const char *folder, uint64_t max_bytes,
                          struct tet_error *error)
{
    static const struct form form = {cifar10_names, CIFAR10_FILES, 1, {10}};
    return load(dataset, &form, folder, max_bytes, error);
}

enum tet_err cifar100_load(struct tet_dataset *dataset, const char *folder, uint64_t max_bytes,
                           struct tet_error *error)
{
    static const struct form form = {cifar100_names, CIFAR100_FILES, 2, {20, 100}};
    return load(dataset, &form, folder, max_bytes, error);
}
