// SPDX-License-Identifier: Apache-2.0
/*
 * What the store's own files share: a connection with its statements, the writer's jobs, the
 * readers' pool.
 *
 * Nothing outside server/store/ includes this, but the store's tests. sqlite3.h is seen by
 * database.c alone.
 *
 * Locks: store.lock guards what is marked so; it is held for moments, never while SQLite works.
 * readers.lock likewise. Neither is taken while the other is held.
 */
#ifndef SERVER_STORE_INTERNAL_H
#define SERVER_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "embed.h"
#include "space.h"
#include "store/changes.h"
#include "store/queue.h"

#define STORE_PAUSED_BY_USER "paused by a user" // run.reason while run.held

enum {
    STORE_APPLICATION_ID = 0x54455452, // 'TETR'
    STORE_SCHEMA_VERSION = 11,
    STORE_STATEMENTS = 64, // prepared statements a connection keeps
    STORE_READERS = 8,     // idle reading connections kept
    STORE_LOST = 64,       // runs known to have lost records
    STORE_VERSIONS = 1024
};

/* ---- database.c: a connection ---- */

struct sqlite3;
struct sqlite3_stmt;

struct statement {
    struct sqlite3_stmt *stmt;
    bool used; // by a query that is open
};

/* What SQLite refused a thing for. Above DB_STATEMENT it is the storage's doing and may pass. */
enum db_trouble {
    DB_FINE,
    DB_STATEMENT,  // a constraint, a value too large: the job's own fault
    DB_HELD,       // by another program
    DB_FULL,       // the disk
    DB_UNREADABLE, // or not to be written
    DB_DAMAGED,
    DB_MEMORY
};

/* One connection. One thread at a time. */
struct db {
    struct sqlite3 *handle;
    const char *path; // for messages; borrowed
    struct statement statements[STORE_STATEMENTS];
    size_t next;             // statement to give up next
    enum db_trouble trouble; // why the last thing that failed did
    bool durable;            // PRAGMA synchronous is FULL
};

/* db_open: opens path, which is created if it is not there; with query_only set for a reader.
 * Errors with db->trouble set; *db is then closed. */
TET_MUST_CHECK enum tet_err db_open(struct db *db, const char *path, bool reader,
                                    struct tet_error *error);
void db_close(struct db *db);

/* db_exec: runs a script without results. */
TET_MUST_CHECK enum tet_err db_exec(struct db *db, const char *sql, struct tet_error *error);

/* db_number: the first column of the first row of a statement without binds; 0 where there is no
 * row. */
TET_MUST_CHECK enum tet_err db_number(struct db *db, const char *sql, int64_t *number,
                                      struct tet_error *error);

/* db_begin: a writing transaction; durable ones survive a power loss once db_commit returned. */
TET_MUST_CHECK enum tet_err db_begin(struct db *db, bool durable, struct tet_error *error);
TET_MUST_CHECK enum tet_err db_commit(struct db *db, struct tet_error *error); // or rolls back
void db_rollback(struct db *db);
bool db_in_transaction(const struct db *db);
int64_t db_changes(const struct db *db); // rows written since the connection was opened
int64_t db_last_id(const struct db *db); // of the last row inserted

/* db_copy: the whole database as one moment has it into another one, page by page; nobody waits for
 * it. Both keep no statement open. */
TET_MUST_CHECK enum tet_err db_copy(struct db *to, struct db *from, struct tet_error *error);
/* db_watch: from now on `moved` is called inside the statements of this connection that insert a run or
 * change its state; not by those that delete it (see changes_removed). By triggers of the connection's
 * own: the file's schema stays as it is. */
typedef void db_moved_fn(void *context, int64_t run, int64_t experiment, const char *state,
                         const char *reason, int64_t step);
TET_MUST_CHECK enum tet_err db_watch(struct db *db, db_moved_fn *moved, void *context,
                                     struct tet_error *error);

/*
 * A query: a cached statement with named binds. Use:
 *
 *     struct query q = query_open(db, "SELECT step FROM run WHERE id = :id", error);
 *     query_bind_int(&q, ":id", id);
 *     if (query_row(&q))
 *         step = query_int(&q, 0);
 *     return query_close(&q);
 *
 * The first failure is kept in the query and what follows does nothing; query_close hands the
 * statement back and returns it.
 */
struct query {
    struct db *db;
    struct statement *statement;
    struct tet_error *error;
    enum tet_err err;
};
struct query query_open(struct db *db, const char *sql, struct tet_error *error);
void query_bind_int(struct query *query, const char *name, int64_t value);
void query_bind_real(struct query *query, const char *name, double value);     // not finite: NULL
void query_bind_text(struct query *query, const char *name, const char *text); // borrowed; or NULL
void query_bind_blob(struct query *query, const char *name, const void *data,
                     size_t n);        // borrowed
bool query_row(struct query *query);   // the next row; false at the end and on failure
void query_run(struct query *query);   // to its end, and ready for the next binds
void query_again(struct query *query); // back to its start; binds stay
TET_MUST_CHECK enum tet_err query_close(struct query *query);

int64_t query_int(const struct query *query, int column);
double query_real(const struct query *query, int column);      // NaN where NULL
const char *query_text(const struct query *query, int column); // NULL where NULL; till the next row
const void *query_blob(const struct query *query, int column, size_t *n);

/* query_fail: the query found something wrong itself. */
void query_fail(struct query *query, enum tet_err err, const char *message);

/* ---- jobs.c, writer.c: the writer and its jobs ---- */

/* A job: something to write. Jobs run in the order of arrival. Those with destroy are posted and
 * owned by the writer; the others lie on the stack of a caller that waits.
 *
 * work may run more than once: a transaction that fails is undone, and its jobs run again, each
 * alone. So it sets its results afresh each time. */
struct job {
    enum tet_err (*work)(struct store *store, struct job *job, struct tet_error *error);
    void (*destroy)(struct job *job);
    int64_t run;      // the run it belongs to, 0: none
    bool ordered;     // not to be written unless all earlier jobs of its run are
    bool in_turn;     // goes after all that was queued before it, though somebody waits for it
    bool durable;     // survives a power loss once answered
    bool grows;       // takes room to stay; refused while the disk is low, as posted ones are kept
    bool frees;       // makes room: on a full disk it may have what is kept for that
    size_t bytes;     // counted against limits.pending_bytes
    struct job *next; // the rest is the writer's
    bool done, kept;
    struct tet_error error;
};

/* writer_do: runs a job, waits for the commit, returns its error. It goes before what was posted
 * earlier, unless it is `ordered` or `in_turn`. */
TET_MUST_CHECK enum tet_err writer_do(struct store *store, struct job *job,
                                      struct tet_error *error);
/* writer_post: leaves a job to the writer, whatever happens; waits while too many bytes wait, but
 * one larger than the bound passes once nothing else waits. Errors: TET_BUSY (after store_no_wait),
 * TET_DATABASE (records of its run were lost); the job is destroyed then. */
TET_MUST_CHECK enum tet_err writer_post(struct store *store, struct job *job,
                                        struct tet_error *error);
/* writer_lost: notes that records of a run are gone; its checkpoints are refused from now on. */
void writer_lost(struct store *store, int64_t run, const char *why);
void writer_found(struct store *store, int64_t run); // a new attempt: nothing is lost any more
/* writer_is_whole: TET_OK, or that records of the run were lost. Inside jobs. */
TET_MUST_CHECK enum tet_err writer_is_whole(struct store *store, int64_t run,
                                            struct tet_error *error);
TET_MUST_CHECK enum tet_err writer_start(struct store *store, struct tet_error *error);
void writer_stop(struct store *store);

/* ---- store.c: whose file it is ---- */

/* store_too_new: TET_CONFLICT, with both versions and what to do. */
enum tet_err store_too_new(const char *path, int64_t version, struct tet_error *error);

/* store_check_file: whether the file at path, which SQLite has not open in this process, is a database
 * of ours that this program can read. *fresh: it is not there, or empty. TET_IO, TET_DATABASE,
 * TET_CONFLICT (a newer version). */
TET_MUST_CHECK enum tet_err store_check_file(const char *path, bool *fresh,
                                             struct tet_error *error);
/* store_take_lock: locks path.lock against servers; *created: its file was not there before. */
TET_MUST_CHECK enum tet_err store_take_lock(const char *path, int *file, bool *created,
                                            struct tet_error *error);
/* store_sync_folder: makes the names in the folder of path durable. */
TET_MUST_CHECK enum tet_err store_sync_folder(const char *path, struct tet_error *error);

/* ---- readers.c ---- */

struct readers {
    pthread_mutex_t lock;
    struct db *idle[STORE_READERS];
    size_t n; // idle ones
};
void readers_create(struct readers *readers);
void readers_destroy(struct readers *readers);
/* reader_take: a connection of the caller's own until reader_give. Never waits for another reader,
 * so a visitor may read too. */
TET_MUST_CHECK enum tet_err reader_take(struct store *store, struct db **db,
                                        struct tet_error *error);
void reader_give(struct store *store, struct db *db); // NULL is fine

/* ---- store.c ---- */

struct store_limits {
    uint64_t max_queued;
    size_t pending_bytes; // of posted jobs that wait
    size_t chunk_bytes;   // of a checkpoint's array in one row
};
static const struct store_limits STORE_LIMITS = {STORE_MAX_QUEUED, (size_t)64 << 20,
                                                 (size_t)64 << 20};

/* Ids of series that the writer has seen. */
struct series_cache {
    int64_t id[TET_SERIES_COUNT][TET_MAX_HIDDEN + 2];     // 0: not known
    uint64_t stamp[TET_SERIES_COUNT][TET_MAX_HIDDEN + 2]; // of the job that wrote its last value
    uint64_t job;
};

/* Counts of commits: those of jobs of a run, by the run's number modulo STORE_VERSIONS, and those of
 * other jobs, which may be about any run. */
struct versions {
    atomic_uint_fast64_t of_runs[STORE_VERSIONS], of_all;
};
/* ---- changes.c: what the writer tells after a commit ---- */

struct changes {
    struct store_change runs[STORE_MAX_CHANGES]; // the writer's, as the rest up to `lock`
    size_t n;
    bool too_many; // runs
    int64_t experiments[STORE_MAX_EXPERIMENTS];
    size_t n_experiments;
    bool uncounted;
    pthread_mutex_t lock; // held while the observer is called
    store_observer_fn *observer;
    void *context;
    pthread_mutex_t commits_lock;
    struct store_commits commits;
};
void changes_create(struct changes *changes);
void changes_destroy(struct changes *changes);
void changes_seen(void *changes, int64_t run, int64_t experiment, const char *state,
                  const char *reason, int64_t step); // a db_moved_fn
/* changes_removed: the experiment is gone for everybody; nothing is told of its rows, which follow. */
void changes_removed(struct changes *changes, int64_t experiment);
/* changes_forget: those from the n-th on were undone; what is told of an experiment too much does no harm. */
void changes_forget(struct changes *changes, size_t n);
void changes_tell(struct store *store); // after the commit
/* changes_commit: db_commit, timed. */
TET_MUST_CHECK enum tet_err changes_commit(struct store *store, struct tet_error *error);

struct store {
    struct versions versions;
    char *path;         // absolute
    struct space space; // of its disk: the writer's, and store_open's
    char *folder;       // what space.folder points into
    int lock_file;      // holds the lock on path.lock
    struct store_limits limits;
    struct store_policy policy; // does not change once the store is used
    int64_t epoch_ms;           // queue_now when the monotonic clock was 0
    int64_t clock_ms;           // for tests: what the queue takes for now; 0: the time
    struct readers readers;

    pthread_mutex_t plan_lock;
    struct store_plan *plan;        // under plan_lock: the last one made
    _Atomic uint64_t queue_version; // counts what may change the queue's order

    struct db db; // the writer's thread, and store_open before there is one
    struct series_cache series;
    struct changes changes;
    bool queue_changed; // the writer's: by the jobs of this batch
    bool removing;      // the writer's: there is something to remove, or to give back
    bool removal_fails; // the writer's: the last step did
    struct job *kept;   // the writer's: posted jobs that could not be written yet, in order

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t arrived;  // a job, or closing
    pthread_cond_t answered; // jobs are done, or there is room
    bool started;
    struct job *first, **last; // under lock: the queue
    size_t pending_bytes;      // under lock
    bool closing, no_wait;     // under lock
    struct tet_error health;   // under lock
    int64_t lost[STORE_LOST];  // under lock: runs
    size_t n_lost;             // under lock; beyond STORE_LOST every run counts as such
    struct tet_error lost_why; // under lock
};

TET_MUST_CHECK enum tet_err store_open_limited(struct store **store, const char *path,
                                               const struct store_limits *limits,
                                               struct tet_error *error);
int64_t store_now_ms(void); // UTC since 1970

/* store_max_pages: for tests: the database cannot grow over this many pages; 0: no bound. */
TET_MUST_CHECK enum tet_err store_max_pages(struct store *store, uint32_t pages,
                                            struct tet_error *error);

/* SQL: the steps of a run's checkpoints with the lowest validation loss, lowest first. */
#define CHECKPOINT_BEST(run, how_many)                                                             \
    "SELECT c.step FROM checkpoint c JOIN metric m ON m.run = c.run AND m.step = c.step"           \
    " AND m.series = (SELECT id FROM series WHERE name = 'validation/loss')"                       \
    " WHERE c.run = " run " AND m.value IS NOT NULL ORDER BY m.value, c.step LIMIT " how_many

/* ---- runs.c, checkpoints.c: parts of jobs ---- */

/* runs_recover: sends every running run back to the queue, trimmed. */
TET_MUST_CHECK enum tet_err runs_recover(struct store *store, struct tet_error *error);
bool run_state_parse(const char *text, enum run_state *state);
/* run_is_cancelled: a run that was cancelled is over: what its worker had posted, or posts until it hears of it, is
 * not added. *cancelled: 1, else 0. */
TET_MUST_CHECK enum tet_err run_is_cancelled(struct db *db, int64_t run, int64_t *cancelled,
                                             struct tet_error *error);

/* ---- retention.c ---- */

/* pinned_count: how many of an experiment's runs are pinned. */
TET_MUST_CHECK enum tet_err pinned_count(struct db *db, int64_t experiment, uint64_t *n,
                                         struct tet_error *error);

/* ---- removal.c ---- */

/* removal_begin: an experiment is gone for everybody; its rows are removed by removal_step. bytes:
 * about how many they take. */
TET_MUST_CHECK enum tet_err removal_begin(struct store *store, int64_t experiment, uint64_t *bytes,
                                          struct tet_error *error);
/* removal_step: a job of the writer's own: removes a little, or gives free pages back; clears
 * store->removing when there is no more to do. */
TET_MUST_CHECK enum tet_err removal_step(struct store *store, struct job *job,
                                         struct tet_error *error);
TET_MUST_CHECK enum tet_err removal_recover(struct store *store, struct tet_error *error);

/* timeline_trim: removes the interventions that a run at `step` has not seen yet. */
TET_MUST_CHECK enum tet_err timeline_trim(struct db *db, int64_t run, int64_t step,
                                          struct tet_error *error);

/* user_put: a row for a user who has none. */
TET_MUST_CHECK enum tet_err user_put(struct db *db, const char *name, int64_t now_ms,
                                     struct tet_error *error);
/* audit_put: an entry of the log, with at_ms as given. */
struct store_audit;
TET_MUST_CHECK enum tet_err audit_put(struct db *db, const struct store_audit *entry,
                                      struct tet_error *error);

/* series_insert: the id of a series' name, which is written where it is new. */
TET_MUST_CHECK enum tet_err series_insert(struct db *db, const char *name, int64_t *id,
                                          struct tet_error *error);

/* remake_final: a run's last values, from its metrics. */
TET_MUST_CHECK enum tet_err remake_final(struct db *db, int64_t run, struct tet_error *error);

/* insert_experiment: the row and its tags; runs follow. */
TET_MUST_CHECK enum tet_err insert_experiment(struct db *db, const struct store_submission *s,
                                              int64_t now, int64_t *id, struct tet_error *error);

/* checkpoint_put: writes a checkpoint in the place of one at the same step and removes all
 * but those to keep. */
TET_MUST_CHECK enum tet_err checkpoint_put(struct store *store, int64_t run,
                                           const struct store_checkpoint *checkpoint,
                                           struct store_keep keep, struct tet_error *error);

/* checkpoint_begin: where a fork begins, before it has one of its own. It is pinned, as without it
 * the run could not be repeated. */
TET_MUST_CHECK enum tet_err checkpoint_begin(struct store *store, int64_t run,
                                             const struct store_checkpoint *start,
                                             struct tet_error *error);

#endif
