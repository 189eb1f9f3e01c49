// SPDX-License-Identifier: Apache-2.0
/*
 * The store: experiments, runs, metrics and checkpoints in one SQLite file.
 *
 * One writer thread owns the one writing connection. Every write is a job: the writer takes all
 * jobs that wait, runs them in the order of arrival in one transaction (BEGIN IMMEDIATE, a
 * savepoint each, so that one that fails undoes itself alone), commits, and then answers all of
 * them. Jobs marked durable make that transaction synchronous=FULL: when they are answered they
 * survive a power loss. Jobs nobody waits for (metrics) are bounded in memory: a caller that would
 * exceed the bound waits.
 *
 * Readers use connections of their own from a small pool; in WAL mode they never wait for the
 * writer.
 *
 * Threads: any function from any thread, but store_open and store_close from one.
 * Lock order: pool.lock, then store's own locks; no store lock is held while calling out, except a
 * visitor's.
 */
#ifndef SERVER_STORE_H
#define SERVER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tetrad/error.h>
#include <tetrad/trainer.h>

struct store;

/* X(NAME, text in the database and in replies, final: nothing follows) */
#define RUN_STATES(X)                                                                              \
    X(QUEUED, "queued", false)                                                                     \
    X(RUNNING, "running", false)                                                                   \
    X(PAUSED, "paused", false)                                                                     \
    X(SUCCEEDED, "succeeded", true)                                                                \
    X(DIVERGED, "diverged", true)                                                                  \
    X(FAILED, "failed", true)                                                                      \
    X(CANCELLED, "cancelled", true)

enum run_state {
#define X(name, text, final) RUN_##name,
    RUN_STATES(X)
#undef X
        RUN_STATES_COUNT
};
const char *run_state_text(enum run_state state);
bool run_state_final(enum run_state state);

enum { STORE_HASH = 72, STORE_REASON = 512, STORE_TENSOR_NAME = 24, STORE_RANK = 4 };

/* store_open: opens or creates the file, applies the schema's missing versions, sends runs that
 * were running back to the queue (their metrics past the last checkpoint removed, reason "server
 * restarted"), or to `paused` where a user wanted that,
 * goes on with removals, starts the writer. Holds a lock on the file against a second server (an advisory
 * lock on FILE.lock). Errors, each with a message that names the file: TET_IO (cannot be created or
 * written), TET_DATABASE (not ours: application_id; corrupt), TET_CONFLICT (a newer schema version;
 * in use by another server), TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err store_open(struct store **store, const char *path,
                                       struct tet_error *error);
/* store_close: writes what waits, checkpoints the WAL, stops the writer. NULL is fine. */
void store_close(struct store *store);

/* ---- submitting (durable) ---- */

struct store_new_run {
    const char *definition; // canonical resolved JSON
    const char *hash;
    const char *parameters; // canonical JSON object
    uint64_t steps;
    uint64_t memory_bytes;
    double flops;     // of the whole run, floating-point operations; 0: not known
    uint32_t threads; // processors it trains on; 0: 1
};

struct store_submission {
    const char *name;
    const char *owner;           // "local"
    const char *definition;      // canonical resolved JSON of the experiment
    const char *hash;            // of definition
    const char *tags;            // canonical JSON array
    const char *idempotency_key; // NULL: none; per owner
    size_t n_runs;
    const struct store_new_run *runs;
    const struct store_checkpoint
        *start;       // where the first run begins; NULL: at the start; borrowed
    int64_t rerun_of; // the run that the first run repeats; 0: none
};

struct store_receipt {
    int64_t experiment;
    int64_t first_run; // ids are consecutive
    bool replayed;     // the key was known: the ids are those of the first submission
    uint64_t ahead;    // runs queued before the first of these
};

/* store_submit: returns once the submission is durable. Errors: TET_CONFLICT (the key is known with
 * another hash), TET_BUSY (the queue's bound; or the disk is full), TET_TOO_MANY (the owner's bound),
 * TET_DATABASE.
 */
enum { STORE_MAX_QUEUED = 1000000 };
TET_MUST_CHECK enum tet_err store_submit(struct store *store,
                                         const struct store_submission *submission,
                                         struct store_receipt *receipt, struct tet_error *error);

/* ---- a run's life, from the pool's side ---- */

struct store_claim {
    int64_t run, experiment;
    char *definition; // resolved JSON; freed with store_claim_free
    uint64_t memory_bytes;
    bool resumed; // there is a checkpoint
};

/* store_claim: takes the next run in the fair order (see queue.h) to `running`, unless it needs more
 * than memory_bytes. worker is its number. *found false: nothing to take now (*blocked
 * true: the head does not fit). */
TET_MUST_CHECK enum tet_err store_claim(struct store *store, uint32_t worker, uint64_t memory_bytes,
                                        struct store_claim *claim, bool *found, bool *blocked,
                                        struct tet_error *error);
void store_claim_free(struct store_claim *claim);

/* store_metrics: queues records of a run; returns at once unless too much waits. Copies. A write
 * that fails later fails the store (store_health) and is tried again until it succeeds; while the
 * disk is full, the caller waits here. Records must come in the trainer's order, all of them, and
 * those reported before a checkpoint before that checkpoint. NaN and infinities are stored as NULL.
 */
void store_metrics(struct store *store, int64_t run, const struct tet_record *records, size_t n);

/* store_intervention: queues that a run's intervention `number` happened once `step` mini-batches
 * were trained; as store_metrics. detail: a JSON object. One that is known already stays as it
 * is. */
void store_intervention(struct store *store, int64_t run, uint32_t number, uint64_t step,
                        const char *detail);

/* store_no_wait: from now on store_metrics and store_checkpoint_write do not wait for room: for a
 * shutdown while the disk is full. Records that do not fit are dropped; the run's later checkpoints
 * are then refused (TET_DATABASE), and it goes on from its last one. */
void store_no_wait(struct store *store);

/* The arrays of a checkpoint. data is borrowed for the call's time on reading; on writing it is
 * taken over. */
struct store_array {
    char name[STORE_TENSOR_NAME];
    uint32_t rank; // as in struct tet_tensor
    uint32_t shape[STORE_RANK];
    uint64_t n;
    bool state;  // as in struct tet_tensor; the column is called velocity
    float *data; // (n)
};

/* Which of a run's checkpoints are kept, besides the pinned ones. */
struct store_keep {
    uint32_t last; // so many newest; 0: all
    uint32_t best; // so many with the lowest validation/loss at their step
};

struct store_checkpoint {
    struct tet_cursor cursor;
    size_t n;
    struct store_array *arrays; // store_checkpoint_free frees them and their data
};
void store_checkpoint_free(struct store_checkpoint *checkpoint);

/* store_checkpoint_steps: the steps of a run's kept checkpoints, ascending, at most n; returns how
 * many there are in *kept. A run that is not there has none. */
TET_MUST_CHECK enum tet_err store_checkpoint_steps(struct store *store, int64_t run,
                                                   uint64_t *steps, size_t n, size_t *kept,
                                                   struct tet_error *error);

/* store_checkpoint_write: in one transaction with everything queued before it for this run: the
 * checkpoint, its cursor, and removal of all but those to `keep`. Takes over what is in
 * `checkpoint` whatever happens (the struct itself is the caller's, emptied). A checkpoint replaces
 * one at the same step. wait: return when it is committed. Errors: TET_NOT_FOUND, TET_BUSY,
 * TET_DATABASE; without wait, a later failure of the storage is tried again as with metrics. */
TET_MUST_CHECK enum tet_err store_checkpoint_write(struct store *store, int64_t run,
                                                   struct store_checkpoint *checkpoint,
                                                   struct store_keep keep, bool wait,
                                                   struct tet_error *error);
/* store_checkpoint_read: the newest, or the one at `step` where step is not 0. TET_NOT_FOUND where
 * there is none. */
TET_MUST_CHECK enum tet_err store_checkpoint_read(struct store *store, int64_t run, uint64_t step,
                                                  struct store_checkpoint *checkpoint,
                                                  struct tet_error *error);

/* The end of an attempt at a run. */
struct store_ending {
    enum run_state state; // final; RUN_QUEUED: given back (shutdown); RUN_PAUSED: cannot begin here
    char reason[STORE_REASON];     // "" where the state says it all
    char digest[STORE_HASH];       // "sha256:...", "" unless succeeded
    char divergence[STORE_REASON]; // JSON object, "" unless diverged
    uint64_t step;
    double train_seconds;                // of this attempt
    struct store_checkpoint *checkpoint; // the last state, NULL: keep what is there; see store_end
    struct store_keep keep;              // with checkpoint
    const char *protocol;                // rows of a protocol run, canonical JSON; NULL: none
};

/* store_end: state, reason, digest and checkpoint in one transaction; waits for the commit
 * (durable). A run that was cancelled in the meantime stays cancelled; one that a user
 * wants paused and that is given back becomes paused. A run that is given back is
 * cut to its newest checkpoint. So is one whose records were lost (store_no_wait, out of
 * memory), unless it failed. Success takes over what is in ending->checkpoint (the struct itself is
 * the caller's, emptied); after an error all is still the caller's, so that it can try again.
 * Errors: TET_NOT_FOUND, TET_CONFLICT (the run is not running), TET_BUSY, TET_DATABASE and
 * TET_NO_MEMORY (try again). */
TET_MUST_CHECK enum tet_err store_end(struct store *store, int64_t run, struct store_ending *ending,
                                      struct tet_error *error);

/* store_version: a number that changes with every commit that may have changed what can be read of the
 * run, before whoever waits for that commit is answered. Never waits. */
uint64_t store_version(struct store *store, int64_t run);

/* ---- reading ---- */

struct store_run {
    int64_t id, experiment;
    const char *owner;
    int32_t priority; // higher is taken first of its owner's
    bool held;        // a user wants it paused
    double flops;     // of the whole run; 0: not known
    enum run_state state;
    const char *reason; // NULL: none
    const char *parameters, *definition, *hash;
    const char *digest;     // NULL: none
    const char *divergence; // JSON object, NULL: none
    uint64_t step, steps, memory_bytes;
    uint32_t attempts;                        // times it was started
    uint32_t worker;                          // of the last attempt
    double train_seconds;                     // over all attempts
    int64_t created_ms, started_ms, ended_ms; // UTC since 1970; 0: not yet
    int64_t rerun_of;                         // the run that it repeats, 0: none
    const char *rerun_result;                 // JSON object: see store/reruns.h; NULL: not compared
};

struct store_experiment {
    int64_t id;
    const char *name, *owner, *definition, *hash, *tags;
    int64_t created_ms;
    int32_t priority;  // as it was last set for all runs at once
    double flops_left; // floating-point operations of the runs that have not ended; 0: not known
    uint64_t runs[RUN_STATES_COUNT]; // how many in each state
};

/* A visitor is called for each row, with values that are valid during the call; it returns false to
 * stop. */
typedef bool store_run_fn(void *context, const struct store_run *run);
typedef bool store_experiment_fn(void *context, const struct store_experiment *experiment);
typedef bool store_metric_fn(void *context, const char *series, uint64_t step,
                             double value); // NaN where NULL

TET_MUST_CHECK enum tet_err store_run_read(struct store *store, int64_t run, store_run_fn *visit,
                                           void *context,
                                           struct tet_error *error); // TET_NOT_FOUND
TET_MUST_CHECK enum tet_err store_runs_read(struct store *store, int64_t experiment,
                                            store_run_fn *visit, void *context,
                                            struct tet_error *error); // ascending id
TET_MUST_CHECK enum tet_err store_experiment_read(struct store *store, int64_t experiment,
                                                  store_experiment_fn *visit, void *context,
                                                  struct tet_error *error); // TET_NOT_FOUND

/* What happened to a run: 'started', 'resumed', 'given_back', 'intervention', or the state that it
 * came to. */
struct store_event {
    int64_t at_ms;
    uint64_t step; // mini-batches known to be trained by then
    const char *event;
    const char *detail; // of an intervention, a JSON object; else NULL
    const char *reason; // of a change of state; NULL: none
};
typedef bool store_event_fn(void *context, const struct store_event *event);
/* store_timeline_read: in the order of time; without the submission, which is the run's created_ms.
 * At most 256 events besides interventions: the newest. */
TET_MUST_CHECK enum tet_err store_timeline_read(struct store *store, int64_t run,
                                                store_event_fn *visit, void *context,
                                                struct tet_error *error);

struct store_filter {
    const char *owner, *tag,
        *text; // NULL: any; text is looked for in the name, ignoring ASCII case
    bool by_state;
    enum run_state state; // of the experiment: see experiment_state
    int64_t before;       // ids below this, 0: from the newest
    uint32_t limit;
};
/* store_experiments_read: newest first. An experiment's state: running if any run is, else queued
 * if any is, else paused if any is; else, all being final, the worst of failed, diverged,
 * cancelled, succeeded. */
TET_MUST_CHECK enum tet_err store_experiments_read(struct store *store,
                                                   const struct store_filter *filter,
                                                   store_experiment_fn *visit, void *context,
                                                   struct tet_error *error);
enum run_state experiment_state(const uint64_t runs[RUN_STATES_COUNT]);

/* store_metrics_read: rows with step > after, ascending by step, then series; whole steps only,
 * stopping at the first step that starts after max_rows rows. *next: the last step delivered, or
 * `after`; *more: whether it stopped early. names: NULL for all, or a NULL-terminated list of exact
 * series names. */
TET_MUST_CHECK enum tet_err store_metrics_read(struct store *store, int64_t run, uint64_t after,
                                               uint64_t max_rows, const char *const *names,
                                               store_metric_fn *visit, void *context,
                                               uint64_t *next, bool *more, struct tet_error *error);
/* store_final_read: the last value of every series. */
TET_MUST_CHECK enum tet_err store_final_read(struct store *store, int64_t run,
                                             store_metric_fn *visit, void *context,
                                             struct tet_error *error);
/* store_last_finite_read: the last finite value of every series, at the step of its last value; NaN
 * where it never had one. */
TET_MUST_CHECK enum tet_err store_last_finite_read(struct store *store, int64_t run,
                                                   store_metric_fn *visit, void *context,
                                                   struct tet_error *error);

/* Which record of a series stands for a run. */
enum store_at {
    STORE_AT_FINAL,   // the last
    STORE_AT_STEP,    // at a step
    STORE_AT_EPOCH,   // at the end of an epoch, from 1
    STORE_AT_LOWEST,  // at the step at which another series was lowest
    STORE_AT_HIGHEST, // ... highest
    STORE_AT_ALL      // all of them
};

struct store_question {
    int64_t experiment;
    const char *series;
    enum store_at at;
    uint64_t number;     // the step or the epoch
    const char *watched; // the other series; NULL: none
};

struct store_value {
    int64_t run;
    enum run_state state;
    const char *parameters; // valid during the visit
    uint64_t step;          // 0 where there is no such record
    double value;           // NaN likewise, and where it is not finite
};
typedef bool store_value_fn(void *context, const struct store_value *value);

/* store_values_read: every run of an experiment, ascending, in whatever state, with the record
 * asked for; with STORE_AT_ALL once for each record, and once where there is none. Not one
 * snapshot: runs may go on meanwhile. */
TET_MUST_CHECK enum tet_err store_values_read(struct store *store,
                                              const struct store_question *question,
                                              store_value_fn *visit, void *context,
                                              struct tet_error *error);

/* store_protocol_read: the rows that a protocol run ended with, canonical JSON, a new string that
 * the caller frees. TET_NOT_FOUND where it has none. */
TET_MUST_CHECK enum tet_err store_protocol_read(struct store *store, int64_t run, char **rows,
                                                struct tet_error *error);

/* store_health: TET_OK, or why the writer cannot write (message of the last failure). Never waits
 * for a disk. */
enum tet_err store_health(struct store *store, struct tet_error *error);

#endif
