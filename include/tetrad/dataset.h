// SPDX-License-Identifier: Apache-2.0
/*
 * A dataset in memory: examples as bytes or floats, with class labels or real targets.
 *
 * The struct is plain and read-only once filled, so that any number of runs in any threads share
 * one.
 */
#ifndef TETRAD_DATASET_H
#define TETRAD_DATASET_H

#include <stdint.h>

#include <tetrad/error.h>
#include <tetrad/plan.h>

/* N examples. Exactly one of bytes and floats is set, and exactly one of labels and targets (none
 * where n is 0). */
struct tet_examples {
    uint32_t n;
    const uint8_t *bytes;  // (n, inputs), a value v means v / 255
    const float *floats;   // (n, inputs)
    const int32_t *labels; // (n), 0 <= label < outputs
    const float *targets;  // (n, outputs)
};

struct tet_dataset {
    struct tet_shape shape;
    struct tet_examples train; // training and validation examples, in the file's order
    struct tet_examples test;
    void *memory; // what tet_dataset_free frees; the arrays above point into it
};

/* tet_dataset_free: frees dataset->memory and clears the struct. NULL is fine. */
void tet_dataset_free(struct tet_dataset *dataset);

enum { TET_STROKES_SIDE = 28, TET_STROKES_CLASSES = 10, TET_STROKES_MAX = 1000000 };

/* tet_strokes_create: the built-in dataset `strokes`: images of 28x28 bytes, white on black, of the
 * ten digits drawn from stroke models with random slant, rotation, scale, thickness, shift, jitter
 * of the strokes and pixel noise. Label i is drawn too. Example i of a part depends on (seed, part,
 * i) alone, so that a longer dataset begins with the shorter. n_train and n_test at most
 * TET_STROKES_MAX. The caller frees with tet_dataset_free. Errors: TET_BAD_DATASET (too many),
 * TET_NO_MEMORY; *dataset is then zero. */
TET_MUST_CHECK enum tet_err tet_strokes_create(struct tet_dataset *dataset, uint64_t seed,
                                               uint32_t n_train, uint32_t n_test,
                                               struct tet_error *error);

#endif
