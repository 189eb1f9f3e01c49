// SPDX-License-Identifier: Apache-2.0
/* Matrices of a checkpoint: see matrix.h. */
#include "results/matrix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PRODUCT_MAX = 2000000000 }; // multiplications of a product

void matrix_free(struct matrix *matrix)
{
    free(matrix->values);
    *matrix = (struct matrix){0};
}

static enum tet_err make(struct matrix *m, uint32_t rows, uint32_t columns, struct tet_error *error)
{
    *m = (struct matrix){.rows = rows, .columns = columns};
    m->values = calloc((size_t)rows * columns, sizeof *m->values);
    return m->values != NULL ? TET_OK
                             : tet_error_set(error, TET_NO_MEMORY, "no memory for a matrix");
}

static enum tet_err take(struct matrix *m, const struct store_array *array, struct tet_error *error)
{
    const uint32_t rows = array->rank == 1 ? 1 : array->shape[0];
    const enum tet_err err = make(m, rows, (uint32_t)(array->n / rows), error);
    if (err != TET_OK)
        return err;
    if (array->rank == 4) {
        m->from = array->shape[1];
        m->kernel = array->shape[2];
    }
    for (size_t i = 0; i < array->n; i++)
        m->values[i] = array->data[i];
    return TET_OK;
}

static enum tet_err transpose(struct matrix *m, struct tet_error *error)
{
    struct matrix t;
    const enum tet_err err = make(&t, m->columns, m->rows, error);
    for (size_t r = 0; err == TET_OK && r < m->rows; r++)
        for (size_t c = 0; c < m->columns; c++)
            t.values[c * m->rows + r] = m->values[r * m->columns + c];
    if (err == TET_OK) {
        free(m->values);
        *m = t;
    }
    return err;
}

/* a becomes a b. */
static enum tet_err multiply(struct matrix *a, const struct matrix *b, struct tet_error *error)
{
    struct matrix y;
    if ((double)a->rows * a->columns * b->columns > PRODUCT_MAX)
        return tet_error_set(
            error, TET_BAD_REQUEST,
            "a product of (%u, %u) and (%u, %u) takes %.3g multiplications, allowed "
            "are %d",
            a->rows, a->columns, b->rows, b->columns, (double)a->rows * a->columns * b->columns,
            PRODUCT_MAX);
    const enum tet_err err = make(&y, a->rows, b->columns, error);
    for (size_t i = 0; err == TET_OK && i < a->rows; i++)
        for (size_t k = 0; k < a->columns; k++) {
            const double x = a->values[i * a->columns + k];
            for (size_t j = 0; j < b->columns; j++)
                y.values[i * b->columns + j] += x * b->values[k * b->columns + j];
        }
    if (err == TET_OK) {
        free(a->values);
        *a = y;
    }
    return err;
}

/* ---- names ---- */

struct factor {
    char name[STORE_TENSOR_NAME];
    char text[STORE_TENSOR_NAME + 2]; // with its ".T"
    bool transposed;
};

/* Factors of a name; 0: it is none. */
static size_t parse(const char *name, struct factor factors[MATRIX_FACTORS])
{
    char copy[MATRIX_NAME], *rest = copy, *word;
    size_t n = 0;
    if (snprintf(copy, sizeof copy, "%s", name) >= (int)sizeof copy)
        return 0;
    while ((word = strsep(&rest, ".")) != NULL) {
        const bool t = strcmp(word, "T") == 0;
        if (t && (n == 0 || factors[n - 1].transposed))
            return 0;
        if (t) {
            factors[n - 1].transposed = true;
            strcat(factors[n - 1].text, ".T");
            continue;
        }
        if (n == MATRIX_FACTORS || *word == '\0' || strlen(word) >= STORE_TENSOR_NAME)
            return 0;
        factors[n] = (struct factor){0};
        strcpy(factors[n].name, word);
        strcpy(factors[n++].text, word);
    }
    return n;
}

static const struct store_array *find(const struct store_checkpoint *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (!c->arrays[i].state && strcmp(c->arrays[i].name, name) == 0 && c->arrays[i].n > 0)
            return &c->arrays[i];
    return NULL;
}

static enum tet_err read_factor(struct matrix *m, const struct factor *factor, bool alone,
                                const struct store_checkpoint *checkpoint, struct tet_error *error)
{
    const struct store_array *array = find(checkpoint, factor->name);
    if (array == NULL)
        return tet_error_set(error, TET_NOT_FOUND,
                             "the run has no array \"%s\"; its weights list them", factor->name);
    if (array->rank == 4 && !alone)
        return tet_error_set(error, TET_BAD_REQUEST,
                             "%s is a kernel of a convolution: it has no transpose and no products",
                             factor->name);
    enum tet_err err = take(m, array, error);
    return err == TET_OK && factor->transposed ? transpose(m, error) : err;
}

enum tet_err matrix_read(struct matrix *matrix, const char *name,
                         const struct store_checkpoint *checkpoint, struct tet_error *error)
{
    struct factor factors[MATRIX_FACTORS];
    const size_t n = parse(name, factors);
    *matrix = (struct matrix){0};
    if (n == 0)
        return tet_error_set(error, TET_BAD_REQUEST,
                             "found \"%.60s\", allowed arrays with dots between them, at most %d, "
                             "each perhaps with .T: W1, W2.T, V1.B2",
                             name, MATRIX_FACTORS);
    const bool alone = n == 1 && !factors[0].transposed;
    enum tet_err err = read_factor(matrix, &factors[0], alone, checkpoint, error);
    for (size_t i = 1; i < n && err == TET_OK; i++) {
        struct matrix next = {0};
        err = read_factor(&next, &factors[i], false, checkpoint, error);
        if (err == TET_OK && matrix->columns != next.rows)
            err = tet_error_set(error, TET_BAD_REQUEST,
                                "%s has %u rows; what is before it, up to %s, has %u columns: they "
                                "cannot be multiplied",
                                factors[i].text, next.rows, factors[i - 1].text, matrix->columns);
        if (err == TET_OK)
            err = multiply(matrix, &next, error);
        matrix_free(&next);
    }
    if (err != TET_OK)
        matrix_free(matrix);
    return err;
}

/* ---- for a picture ---- */

enum tet_err matrix_shrink(struct matrix *m, uint32_t most, struct tet_error *error)
{
    const uint32_t down = (m->rows + most - 1) / most, across = (m->columns + most - 1) / most;
    struct matrix small;
    if (down <= 1 && across <= 1)
        return TET_OK;
    const enum tet_err err =
        make(&small, (m->rows + down - 1) / down, (m->columns + across - 1) / across, error);
    if (err != TET_OK)
        return err;
    for (size_t r = 0; r < m->rows; r++)
        for (size_t c = 0; c < m->columns; c++)
            small.values[r / down * small.columns + c / across] += m->values[r * m->columns + c];
    for (uint32_t r = 0; r < small.rows; r++)
        for (uint32_t c = 0; c < small.columns; c++) {
            const uint32_t high = m->rows - r * down < down ? m->rows - r * down : down,
                           wide =
                               m->columns - c * across < across ? m->columns - c * across : across;
            small.values[(size_t)r * small.columns + c] /= (double)high * wide;
        }
    free(m->values);
    *m = small;
    return TET_OK;
}

double matrix_most(const double *values, size_t n)
{
    double most = 0.0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(values[i]) && fabs(values[i]) > most)
            most = fabs(values[i]);
    return most;
}
