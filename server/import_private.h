// SPDX-License-Identifier: Apache-2.0
/* An archive that is being read, for import.c and import_weights.c. */
#ifndef SERVER_IMPORT_PRIVATE_H
#define SERVER_IMPORT_PRIVATE_H

#include <zip.h>

#include "import.h"

enum { IMPORT_NAME = 80 }; // bytes of a member's name

struct import_reading {
    struct import *import;
    zip_t *zip;
    uint64_t left;       // bytes that may still be unpacked
    size_t values, rows; // that may still be read
    struct tet_error *error;
};

/* The archive is wrong: message as a format. */
#define BAD(r, ...) tet_error_set((r)->error, TET_BAD_DEFINITION, __VA_ARGS__)

/* import_member: a member's bytes, terminated, that the caller frees; *bytes NULL where there is none. Errors:
 * TET_BAD_DEFINITION, TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err import_member(struct import_reading *r, const char *name, uint64_t most,
                                          char **bytes, size_t *size);

/* import_weights: the checkpoint of a run from WHERE/weights.npz, and whether its digest is the run's. */
TET_MUST_CHECK enum tet_err import_weights(struct import_reading *r, const char *where,
                                           const json_t *definition,
                                           struct store_imported_run *run);

/* import_start: the checkpoint that a fork began with, from WHERE/start.npz where there is one. */
TET_MUST_CHECK enum tet_err import_start(struct import_reading *r, const char *where,
                                         const json_t *definition, struct store_imported_run *run);

#endif
