// SPDX-License-Identifier: Apache-2.0
/* Imports: experiments from another server, with runs that have ended. */
#ifndef SERVER_STORE_IMPORTS_H
#define SERVER_STORE_IMPORTS_H

#include "store/store.h"

struct store_imported_row {
    uint64_t step;
    uint32_t name; // of the series, in store_imported_run.names
    double value;  // NaN: none
};

struct store_imported_run {
    const char *definition, *hash, *parameters,
        *detail; // detail: of its timeline's event 'imported'
    const char *reason, *digest, *divergence, *protocol; // NULL: none
    enum run_state state;                                // a final one
    uint64_t step, steps, memory_bytes;
    double train_seconds;
    int64_t created_ms, started_ms, ended_ms;
    char **names; // (n_names)
    size_t n_names;
    struct store_imported_row *rows; // (n_rows) each step and series once
    size_t n_rows;
    struct store_checkpoint start, checkpoint; // what a fork began with, the end; n 0: none
};

struct store_import {
    const char *name, *owner, *definition, *hash, *tags; // as in struct store_submission
    size_t n_runs;
    const struct store_imported_run *runs;
};

/* store_import: all or nothing, durable; the runs' ids are consecutive. Errors: TET_BUSY,
 * TET_DATABASE, TET_BAD_REQUEST (a row that comes twice). */
TET_MUST_CHECK enum tet_err store_import(struct store *store, const struct store_import *import,
                                         int64_t *experiment, int64_t *first_run,
                                         struct tet_error *error);

#endif
