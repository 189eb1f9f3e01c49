// SPDX-License-Identifier: Apache-2.0
/*
 * The head of an .npy file, for npz.c. Any thread; no state.
 */
#ifndef SERVER_DATA_NPY_H
#define SERVER_DATA_NPY_H

#include <stdbool.h>
#include <stddef.h>

#include "data/npz.h"

enum {
    NPY_MAGIC = 8,         // bytes: magic string and version
    NPY_TEXT_LENGTH = 4,   // bytes of the length field, at most
    NPY_TEXT_LIMIT = 10000 // bytes of the head's text, as in numpy
};

/* npy_length_bytes: how many bytes the length field after the magic has. Errors: TET_BAD_DATASET
 * (no .npy, or an unknown version). */
TET_MUST_CHECK enum tet_err npy_length_bytes(const unsigned char magic[NPY_MAGIC], const char *name,
                                             size_t *bytes, struct tet_error *error);

/* npy_parse: fills array->type, rank, shape and n from the head's text of `size` bytes, and says
 * whether the data is in Fortran order. array->name is for messages. The product of the shape and
 * the element's size fits 63 bits. Errors: TET_BAD_DATASET. */
TET_MUST_CHECK enum tet_err npy_parse(const char *text, size_t size, struct npy *array,
                                      bool *fortran, struct tet_error *error);

#endif
