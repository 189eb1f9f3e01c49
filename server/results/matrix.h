// SPDX-License-Identifier: Apache-2.0
/* Matrices of a checkpoint: arrays, their transposes and products, as doubles. Any thread. */
#ifndef SERVER_RESULTS_MATRIX_H
#define SERVER_RESULTS_MATRIX_H

#include "store/store.h"

enum { MATRIX_FACTORS = 4, MATRIX_NAME = 100 };

/* Row-major. A bias is one row; a kernel (to, from, K, K) has a row for each `to`, and `kernel`, its
 * side, is not 0. */
struct matrix {
    uint32_t rows, columns;
    uint32_t kernel, from;
    double *values; // (rows, columns)
};

/* matrix_read: what a name says: factors with dots between them, each an array ("W1") and perhaps its
 * transpose ("W2.T"): "V1.B2", "W2.T.V2"; their product, summed in double in the order of the inner
 * index. Errors: TET_NOT_FOUND (no such array), TET_BAD_REQUEST (which factors' sizes do not fit; a
 * kernel in a product; more than MATRIX_FACTORS; too much to multiply), TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err matrix_read(struct matrix *matrix, const char *name,
                                        const struct store_checkpoint *checkpoint,
                                        struct tet_error *error);
void matrix_free(struct matrix *matrix);

/* matrix_shrink: to at most `most` rows and columns, each value the mean of a block of
 * ceil(rows / most) by ceil(columns / most) values, fewer at the far edges. Errors: TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err matrix_shrink(struct matrix *matrix, uint32_t most,
                                          struct tet_error *error);

/* matrix_most: the greatest absolute value among n that are finite; 0 where none is. */
double matrix_most(const double *values, size_t n);

#endif
