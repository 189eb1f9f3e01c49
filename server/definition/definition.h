// SPDX-License-Identifier: Apache-2.0
/*
 * Definitions: from JSON text of an experiment to resolved definitions of its runs, and from those
 * to plans.
 *
 * text -> json_t (strict reader) -> faults against schema/experiment.schema.json -> sweep expanded
 * -> defaults written out and cross-checked against the dataset -> canonical JSON and its SHA-256.
 *
 * The schema file, embedded in the program, is the one source of types, ranges, defaults and
 * allowed values; this module adds what a schema cannot say (sizes that depend on each other, the
 * dataset, memory).
 */
#ifndef SERVER_DEFINITION_H
#define SERVER_DEFINITION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tetrad/error.h>
#include <tetrad/plan.h>
#include <tetrad/protocol.h>

#include "data/catalog.h"
#include "json.h"

enum {
    DEFINITION_MAX_BYTES = 1 << 20, // of JSON text
    DEFINITION_MAX_RUNS = 10000,    // of one sweep
    DEFINITION_MAX_FAULTS = 100,    // listed in one reply; the rest are counted
    DEFINITION_HASH = 72            // "sha256:" and 64 hex digits and NUL
};

/* Where a definition is read: what it may refer to and how large its runs may be. */
struct definition_context {
    struct catalog *catalog;
    uint64_t memory_bytes;      // a run (trainer and dataset) may take at most this much
    const char *weights_folder; // initial_weights is a file name relative to this folder; NULL:
                                // none allowed
    bool forking;               // the definition may have a member "fork"
    bool weights_paths; // initial_weights may contain '/' (tetrad run); false: a plain file name
};

/* One run of an experiment. Runs share what is equal in them: do not change a resolved run. */
struct run_definition {
    json_t *resolved;   // every default written out, no sweep; owned
    json_t *parameters; // {"rule.name": "sal"}: what the sweep set and the
    // run has (a setting that its rule has no use for is dropped); {} without a sweep; owned
    char hash[DEFINITION_HASH]; // of the resolved definition without what cannot change the run:
                                // name, tags, training.threads, record.keep,
                                // record.checkpoint_epochs, layers of type flatten, and the path
                                // of initial_weights (its SHA-256 counts)
    uint64_t memory_bytes;      // trainer and dataset
    uint64_t steps;             // mini-batches, or a protocol's pairings, in all
};

struct definition {
    json_t *resolved; // of the experiment: defaults written out, the sweep as given; owned
    char hash[DEFINITION_HASH]; // of `resolved`
    const char *name;           // inside resolved
    size_t n_runs; // at least 1; combinations that come out as the same run (hash) are one
    struct run_definition *runs;
};

/* definition_read: everything above, from text of `size` bytes. All faults are found in one go: on
 * TET_BAD_DEFINITION *details is a new array of {"pointer", "found", "allowed"} (and "hint" where a
 * name is nearly right), at most DEFINITION_MAX_FAULTS of them, the message says how many there are
 * in all. Other errors: TET_BAD_JSON (syntax, with line and column; duplicate keys, invalid UTF-8,
 * numbers beyond a double, too deep), TET_TOO_LARGE, TET_NO_MEMORY,
 * TET_IO (a dataset or its folder cannot be read). On an error *definition is
 * NULL. On success *details is NULL. The caller frees both. */
TET_MUST_CHECK enum tet_err definition_read(struct definition **definition, json_t **details,
                                            const char *text, size_t size,
                                            const struct definition_context *context,
                                            struct tet_error *error);
void definition_free(struct definition *definition); // NULL is fine

/* definition_hashes: the hashes that definition_read would give a resolved definition: of an
 * experiment's, and of a run's (where they are not NULL). False for lack of memory. */
bool definition_hashes(const json_t *resolved, char experiment[DEFINITION_HASH],
                       char run[DEFINITION_HASH]);

/* definition_check: whether a resolved definition from elsewhere is one as far as the schema says:
 * types, ranges, names. Errors: TET_BAD_DEFINITION (the first fault), TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err definition_check(const json_t *resolved, struct tet_error *error);

/* definition_plan: the plan of a resolved run definition (as definition_read made it, perhaps in
 * another process and read back from the store). `info` is its dataset's. Errors:
 * TET_BAD_DEFINITION; TET_BAD_DATASET where the dataset is no longer what the definition was
 * resolved against (SHA-256, counts). Ranges are for tet_plan_check. */
TET_MUST_CHECK enum tet_err definition_plan(struct tet_plan *plan, const json_t *resolved,
                                            const struct dataset_info *info,
                                            struct tet_error *error);

/* definition_protocol: the protocol of a resolved run definition of type protocol. The caller frees
 * with definition_protocol_free. Errors: TET_BAD_DEFINITION. Ranges are for tet_protocol_check, but
 * for the widths of given patterns, which resolving has made sure of. */
TET_MUST_CHECK enum tet_err definition_protocol(struct tet_protocol_plan *plan,
                                                const json_t *resolved, struct tet_error *error);
void definition_protocol_free(struct tet_protocol_plan *plan);

/* definition_dataset: which dataset a resolved definition names. */
TET_MUST_CHECK enum tet_err definition_dataset(struct dataset_spec *spec, const json_t *resolved,
                                               struct tet_error *error);

/* schema_experiment: the embedded schema, parsed once; NULL only for lack of memory the first time.
 * Borrowed, never changed; any thread. */
const json_t *schema_experiment(void);

#endif
