// SPDX-License-Identifier: Apache-2.0
/*
 * Archives of experiments, as `tetrad export` writes them, read without trust.
 *
 *     experiment.json            what GET /v1/experiments/{id} says
 *     runs/ID/run.json           what GET /v1/runs/{id} says, for each of its runs
 *     runs/ID/definition.json    the run's resolved definition
 *     runs/ID/metrics.csv        run,step,series,value
 *     runs/ID/weights.npz        the final weights; not of protocol runs, nor of runs without any
 *     runs/ID/protocol.json      of protocol runs: what run.json says of it
 *     runs/ID/start.npz          of forks: the checkpoint that it began with
 *     summary.json, README.md    passed over
 *
 * Names are only compared, never used as paths. Hashes of definitions and digests of weights are
 * computed anew and must be what the archive says.
 */
#ifndef SERVER_IMPORT_H
#define SERVER_IMPORT_H

#include <jansson.h>

#include "store/imports.h"

/* A small archive may unpack to much, and that be much more in memory: so much may be in one in all. */
enum {
    IMPORT_MAX_RUNS = 10000,
    IMPORT_MAX_SERIES = 4096,
    IMPORT_MAX_ROWS = 1 << 24,
    /* Values of JSON, of which a member of an object counts 4: in experiment.json, in the other files
     * together, and for each run besides. A run with its definition has about 1,000. */
    IMPORT_LIST_VALUES = 1 << 22,
    IMPORT_VALUES = 1 << 20,
    IMPORT_RUN_VALUES = 1 << 11
};

struct import {
    struct store_import store; // what it points to is owned by the rest
    struct store_imported_run *runs;
    int64_t *was; // (n_runs) their ids where they come from
    json_t *kept; // array of the JSON values in use
    char **texts; // (n_texts) strings in use
    size_t n_texts, capacity;
};

/* import_read: fd is an open zip, of at most max_unpacked bytes unpacked; it stays the caller's.
 * Errors: TET_BAD_DEFINITION (which member, what is wrong), TET_NO_MEMORY, TET_IO. import_free in
 * either case. */
TET_MUST_CHECK enum tet_err import_read(struct import *import, int fd, uint64_t max_unpacked,
                                        struct tet_error *error);
void import_free(struct import *import);

#endif
