// SPDX-License-Identifier: Apache-2.0
/*
 * Reads IDX datasets. See idx.h.
 *
 * All headers are read and compared first, with each other, the files' sizes and the memory limit;
 * then one block is allocated and filled. Any thread; no state.
 */
#include "data/idx.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/gz.h"

enum {
    IDX_BYTES = 8,   // the type code of unsigned bytes
    IDX_HEADER = 16, // bytes of the longest header, rank 3
};

const char *const idx_names[IDX_PARTS] = {
    [IDX_TRAIN_IMAGES] = "train-images-idx3-ubyte",
    [IDX_TRAIN_LABELS] = "train-labels-idx1-ubyte",
    [IDX_TEST_IMAGES] = "t10k-images-idx3-ubyte",
    [IDX_TEST_LABELS] = "t10k-labels-idx1-ubyte",
};

struct idx_file {
    struct gz_file file;
    uint32_t shape[3]; // count, rows, columns; labels: count, 1, 1
    uint64_t bytes;    // of the values
};

static bool is_images(enum idx_part part)
{
    return part == IDX_TRAIN_IMAGES || part == IDX_TEST_IMAGES;
}

static enum tet_err bad(struct tet_error *error, const struct idx_file *file, const char *what)
{
    return gz_bad(&file->file, what, error);
}

static enum tet_err read_header(struct idx_file *file, enum idx_part part, struct tet_error *error)
{
    uint32_t rank = is_images(part) ? 3 : 1;
    uint8_t h[IDX_HEADER];
    enum tet_err err = gz_read(&file->file, h, 4, error);
    if (err != TET_OK)
        return err;
    if (h[0] != 0 || h[1] != 0 || h[2] != IDX_BYTES || h[3] != rank)
        return tet_error_set(error, TET_BAD_DATASET,
                             "%s: begins with %02x%02x%02x%02x, %s begin with 000008%02x",
                             file->file.path, h[0], h[1], h[2], h[3],
                             is_images(part) ? "IDX images" : "IDX labels", rank);
    if ((err = gz_read(&file->file, h + 4, 4u * rank, error)) != TET_OK)
        return err;
    file->bytes = 1;
    for (uint32_t i = 0; i < 3; i++) {
        const uint8_t *s = h + 4 + 4 * i;
        file->shape[i] =
            i >= rank ? 1
                      : (uint32_t)s[0] << 24 | (uint32_t)s[1] << 16 | (uint32_t)s[2] << 8 | s[3];
        if (__builtin_mul_overflow(file->bytes, file->shape[i], &file->bytes))
            return bad(error, file, "its header declares an impossible size");
    }
    uint64_t pixels = (uint64_t)file->shape[1] * file->shape[2];
    if (pixels == 0 || pixels > TET_MAX_UNITS)
        return tet_error_set(error, TET_BAD_DATASET,
                             "%s: images of %u x %u; 1 to %d pixels allowed", file->file.path,
                             file->shape[1], file->shape[2], TET_MAX_UNITS);
    if (file->bytes > gz_most(&file->file))
        return bad(error, file, "truncated: shorter than its header declares");
    return TET_OK;
}

static enum tet_err open_all(struct idx_file files[IDX_PARTS], const char *folder,
                             struct tet_error *error)
{
    for (int part = 0; part < IDX_PARTS; part++) {
        struct idx_file *file = &files[part];
        file->file = (struct gz_file){.path = gz_path(folder, idx_names[part]),
                                      .bound = "its header declares"};
        if (!file->file.path && errno == ENOMEM)
            return tet_error_set(error, TET_NO_MEMORY, "%s: out of memory", folder);
        bool needed =
            part < IDX_TEST_IMAGES || (part == IDX_TEST_LABELS && files[part - 1].file.path);
        bool alone = part == IDX_TEST_LABELS && file->file.path && !files[part - 1].file.path;
        if ((!file->file.path && needed) || alone)
            return tet_error_set(error, TET_BAD_DATASET, "%s: %s is missing (with or without .gz)",
                                 folder, idx_names[alone ? part - 1 : part]);
        if (!file->file.path)
            continue;
        enum tet_err err = gz_open(&file->file, error);
        if (err == TET_OK)
            err = read_header(file, (enum idx_part)part, error);
        if (err != TET_OK)
            return err;
    }
    return TET_OK;
}

static enum tet_err compare_headers(const struct idx_file files[IDX_PARTS], struct tet_error *error)
{
    for (int part = 0; part < IDX_PARTS; part += 2) {
        const struct idx_file *images = &files[part], *labels = &files[part + 1];
        if (images->shape[0] != labels->shape[0])
            return tet_error_set(error, TET_BAD_DATASET, "%s: %u labels for %u images",
                                 labels->file.path, labels->shape[0], images->shape[0]);
    }
    const struct idx_file *train = &files[IDX_TRAIN_IMAGES], *test = &files[IDX_TEST_IMAGES];
    if (train->shape[0] == 0)
        return bad(error, train, "no images in it");
    if (test->file.path && memcmp(train->shape + 1, test->shape + 1, 2 * sizeof *train->shape) != 0)
        return tet_error_set(
            error, TET_BAD_DATASET, "%s: images of %u x %u, those to train on have %u x %u",
            test->file.path, test->shape[1], test->shape[2], train->shape[1], train->shape[2]);
    return TET_OK;
}

/* Images and labels of one part; the labels' bytes lie at the end of their place and are spread
 * from the front. */
static enum tet_err read_part(struct idx_file files[2], uint8_t *images, int32_t *labels,
                              struct tet_examples *examples, struct tet_error *error)
{
    uint32_t n = files[0].shape[0];
    uint8_t *packed = (uint8_t *)labels + (size_t)n * (sizeof *labels - 1);
    enum tet_err err = gz_read(&files[0].file, images, files[0].bytes, error);
    if (err == TET_OK)
        err = gz_end(&files[0].file, error);
    if (err == TET_OK)
        err = gz_read(&files[1].file, packed, n, error);
    if (err == TET_OK)
        err = gz_end(&files[1].file, error);
    if (err != TET_OK)
        return err;
    for (uint32_t i = 0; i < n; i++) { // writes 4 i .. 4 i + 3, at most what is read next
        int32_t label = packed[i];
        memcpy(labels + i, &label, sizeof label);
    }
    if (n > 0)
        *examples = (struct tet_examples){.n = n, .bytes = images, .labels = labels};
    return TET_OK;
}

static int32_t greatest_label(const struct tet_examples *examples)
{
    int32_t greatest = -1;
    for (uint32_t i = 0; i < examples->n; i++)
        greatest = examples->labels[i] > greatest ? examples->labels[i] : greatest;
    return greatest;
}

static enum tet_err check_labels(struct tet_dataset *d, const struct idx_file files[IDX_PARTS],
                                 struct tet_error *error)
{
    int32_t train = greatest_label(&d->train), test = greatest_label(&d->test);
    if (train < 1)
        return bad(error, &files[IDX_TRAIN_LABELS], "only one class, at least 2 are needed");
    if (test > train)
        return tet_error_set(error, TET_BAD_DATASET, "%s: label %d, the greatest to train on is %d",
                             files[IDX_TEST_LABELS].file.path, test, train);
    d->shape.outputs = (uint32_t)train + 1;
    return TET_OK;
}

static enum tet_err load(struct tet_dataset *d, struct idx_file files[IDX_PARTS],
                         const char *folder, uint64_t max_bytes, struct tet_error *error)
{
    const uint32_t *shape = files[IDX_TRAIN_IMAGES].shape;
    uint64_t n_train = shape[0], n_test = files[IDX_TEST_IMAGES].shape[0];
    uint64_t pixels = (uint64_t)shape[1] * shape[2];
    uint64_t bytes = (n_train + n_test) * (pixels + sizeof(int32_t)); // < 2^33 2^21
    if (bytes > max_bytes || bytes > SIZE_MAX)
        return tet_error_set(error, TET_BAD_DATASET, "%s: %llu bytes in memory, the limit is %llu",
                             folder, (unsigned long long)bytes, (unsigned long long)max_bytes);
    int32_t *labels = malloc((size_t)bytes);
    if (!labels)
        return tet_error_set(error, TET_NO_MEMORY, "%s: no memory for %llu bytes", folder,
                             (unsigned long long)bytes);
    uint8_t *images = (uint8_t *)(labels + n_train + n_test);
    d->memory = labels;
    d->shape.inputs = (uint32_t)pixels;
    d->shape.channels = 1;
    d->shape.rows = shape[1];
    d->shape.columns = shape[2];
    enum tet_err err = read_part(files, images, labels, &d->train, error);
    if (err == TET_OK && n_test > 0)
        err = read_part(files + IDX_TEST_IMAGES, images + n_train * pixels, labels + n_train,
                        &d->test, error);
    return err == TET_OK ? check_labels(d, files, error) : err;
}

enum tet_err idx_load(struct tet_dataset *dataset, const char *folder, uint64_t max_bytes,
                      struct tet_error *error)
{
    struct idx_file files[IDX_PARTS] = {0};
    *dataset = (struct tet_dataset){0};
    enum tet_err err = open_all(files, folder, error);
    if (err == TET_OK)
        err = compare_headers(files, error);
    if (err == TET_OK)
        err = load(dataset, files, folder, max_bytes, error);
    if (err != TET_OK)
        tet_dataset_free(dataset);
    for (int part = 0; part < IDX_PARTS; part++)
        gz_close(&files[part].file);
    return err;
}
