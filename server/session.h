// SPDX-License-Identifier: Apache-2.0
/*
 * A session: one attempt at a run, from its resolved definition to its end. It knows what a run is,
 * but neither who executes it (a worker of the pool, `tetrad run`) nor where its records go (the
 * sink).
 */
#ifndef SERVER_SESSION_H
#define SERVER_SESSION_H

#include <jansson.h>
#include <stdatomic.h>

#include "data/catalog.h"
#include "store/store.h"

/* Why a session should stop early, written by any thread, polled at every mini-batch. */
enum session_stop { SESSION_GO_ON, SESSION_CANCEL, SESSION_GIVE_BACK };

/* How far it is: written by the session, read by any thread. */
struct session_live {
    _Atomic uint64_t step;
    _Atomic uint32_t epoch;                      // epochs finished
    _Atomic float loss;                          // of the last mini-batch
    _Atomic float samples_per_second;            // over about the last second
    _Atomic float train_accuracy, test_accuracy; // of the last epoch, NaN before
};

/* Where records go. All are called on the session's thread. */
struct session_sink {
    void *context;
    void (*records)(void *context, const struct tet_record *records, size_t n); // in order
    /* Intervention `number` of the definition, `what`, happened after `step` mini-batches. NULL:
     * nobody wants to know. */
    void (*intervened)(void *context, uint32_t number, uint64_t step, const json_t *what);
    /* Some mini-batches took so long, of so many examples in all. NULL: nobody wants to know. */
    void (*measured)(void *context, uint64_t steps, uint64_t examples, double seconds);
    /* A checkpoint after an epoch; takes it over. An error ends the session as failed. NULL: no
     * checkpoints. */
    enum tet_err (*checkpoint)(void *context, struct store_checkpoint *checkpoint,
                               struct tet_error *error);
};

struct session {
    const json_t *definition; // resolved
    struct catalog *catalog;
    const char *weights_folder;            // for initial_weights
    uint64_t memory_bytes;                 // bound for what is read
    const struct store_checkpoint *resume; // NULL: from the start
    const _Atomic int *stop;               // enum session_stop
    struct session_live *live;
    struct session_sink sink;
};

/* How it ended. */
struct session_result {
    enum run_state state; // RUN_SUCCEEDED, RUN_DIVERGED, RUN_FAILED; RUN_CANCELLED, RUN_QUEUED
                          // where it was told to stop
    enum tet_err err;     // of RUN_FAILED
    bool begun; // it came to training; false: dataset, weights or memory were not to be had
    char reason[STORE_REASON];
    char digest[STORE_HASH];       // of RUN_SUCCEEDED: of the weights, or of a protocol's rows
    char divergence[STORE_REASON]; // of RUN_DIVERGED: a JSON object
    uint64_t step;
    double train_seconds;
    json_t *protocol;             // rows of a protocol run that succeeded; freed by the caller
    bool captured;                // `last` holds the state it ended in (succeeded, given back)
    struct store_checkpoint last; // freed by the caller
};

void session_run(const struct session *session, struct session_result *result);

#endif
