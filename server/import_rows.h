// SPDX-License-Identifier: Apache-2.0
/* Metrics of an archive: see import.h. */
#ifndef SERVER_IMPORT_ROWS_H
#define SERVER_IMPORT_ROWS_H

#include "store/imports.h"

/* import_rows: fills names and rows (at most `most`) of the run from CSV text of `size` bytes with a
 * NUL behind, in which the run has the number `was`; what has been filled is the caller's in either case. Errors:
 * TET_BAD_DEFINITION (which line), TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err import_rows(struct store_imported_run *run, int64_t was, char *text,
                                        size_t size, size_t most, struct tet_error *error);

#endif
