// SPDX-License-Identifier: Apache-2.0
/*
 * A connection to SQLite: cached statements, named binds, transactions, and return codes as our
 * errors. The only file that includes sqlite3.h.
 *
 * Threads: a connection belongs to one thread at a time, so SQLite's own mutexes are off.
 */
#include "store/internal.h"

#include <math.h>
#include <sqlite3.h>
#include <string.h>

enum {
    BUSY_MS = 1000,   // how long to wait for another program that holds the file
    COPY_PAGES = 1024 // of a database that is copied, at a time
};

static enum db_trouble trouble_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_CONSTRAINT:
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_SCHEMA:
    case SQLITE_TOOBIG:
        return DB_STATEMENT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return DB_HELD;
    case SQLITE_FULL:
        return DB_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return DB_DAMAGED;
    case SQLITE_NOMEM:
        return DB_MEMORY;
    default:
        return DB_UNREADABLE;
    }
}

/* Sets db->trouble and the error that a return code stands for. */
static enum tet_err fail(struct db *db, int rc, struct tet_error *error)
{
    static const struct {
        enum tet_err err;
        const char *text;
    } kinds[] = {
        [DB_FINE] = {TET_INTERNAL, "no error"},
        [DB_STATEMENT] = {TET_DATABASE, "the statement failed"},
        [DB_HELD] = {TET_BUSY, "another program holds the database"},
        [DB_FULL] = {TET_STORAGE_FULL, "the disk is full"},
        [DB_UNREADABLE] = {TET_DATABASE, "the database cannot be read or written"},
        [DB_DAMAGED] = {TET_DATABASE, "the database is damaged"},
        [DB_MEMORY] = {TET_NO_MEMORY, "out of memory"},
    };
    const char *why = db->handle != NULL ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc);
    db->trouble = trouble_of(rc);
    enum tet_err err = kinds[db->trouble].err;
    if ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_READONLY) // the disk's doing
        err = TET_STORAGE_FAILS;
    return tet_error_set(error, err, "%s: %s (%s)", db->path, kinds[db->trouble].text, why);
}

enum tet_err db_open(struct db *db, const char *path, bool reader, struct tet_error *error)
{
    static const char settings[] = "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
                                   "PRAGMA trusted_schema = OFF; PRAGMA synchronous = NORMAL;"
                                   "PRAGMA journal_size_limit = 67108864;";
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (reader ? 0 : SQLITE_OPEN_CREATE);
    enum tet_err err;

    *db = (struct db){.path = path};
    int rc = sqlite3_open_v2(path, &db->handle, flags, NULL);
    if (rc != SQLITE_OK) {
        err = fail(db, rc, error);
    } else {
        sqlite3_extended_result_codes(db->handle, 1);
        sqlite3_busy_timeout(db->handle, BUSY_MS);
        err = db_exec(db, settings, error);
        if (err == TET_OK && !reader) // of effect while the file has no tables
            err = db_exec(db, "PRAGMA auto_vacuum = INCREMENTAL;", error);
        if (err == TET_OK && reader)
            err = db_exec(db, "PRAGMA query_only = ON;", error);
    }
    if (err != TET_OK) {
        db_close(db);
    }
    return err;
}

void db_close(struct db *db)
{
    for (size_t i = 0; i < STORE_STATEMENTS; i++) {
        sqlite3_finalize(db->statements[i].stmt);
        db->statements[i] = (struct statement){0};
    }
    sqlite3_close_v2(db->handle);
    db->handle = NULL;
}

enum tet_err db_exec(struct db *db, const char *sql, struct tet_error *error)
{
    int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? TET_OK : fail(db, rc, error);
}

enum tet_err db_number(struct db *db, const char *sql, int64_t *number, struct tet_error *error)
{
    struct query q = query_open(db, sql, error);
    *number = query_row(&q) ? query_int(&q, 0) : 0;
    return query_close(&q);
}

/* synchronous cannot change inside a transaction. One that is open still could not be rolled back: even that
 * needs memory. */
enum tet_err db_begin(struct db *db, bool durable, struct tet_error *error)
{
    if (db_in_transaction(db)) {
        const enum tet_err err = db_exec(db, "ROLLBACK", error);
        if (err != TET_OK)
            return err;
    }
    if (durable != db->durable) {
        const char *sql = durable ? "PRAGMA synchronous = FULL;" : "PRAGMA synchronous = NORMAL;";
        enum tet_err err = db_exec(db, sql, error);
        if (err != TET_OK)
            return err;
        db->durable = durable;
    }
    struct query q = query_open(db, "BEGIN IMMEDIATE", error);
    query_run(&q);
    return query_close(&q);
}

enum tet_err db_commit(struct db *db, struct tet_error *error)
{
    struct query q = query_open(db, "COMMIT", error);
    query_run(&q);
    enum tet_err err = query_close(&q);
    if (err != TET_OK)
        db_rollback(db);
    return err;
}

/* A rollback that fails has already happened: SQLite ends a transaction by itself after some
 * errors. */
void db_rollback(struct db *db)
{
    enum db_trouble trouble = db->trouble;
    if (db_in_transaction(db))
        (void)!db_exec(db, "ROLLBACK", NULL);
    db->trouble = trouble;
}

bool db_in_transaction(const struct db *db)
{
    return sqlite3_get_autocommit(db->handle) == 0;
}

int64_t db_changes(const struct db *db)
{
    return sqlite3_total_changes64(db->handle);
}

int64_t db_last_id(const struct db *db)
{
    return sqlite3_last_insert_rowid(db->handle);
}

/* The source is held in one reading transaction, so that the copy is of one moment and never begins
 * anew because somebody writes. */
enum tet_err db_copy(struct db *to, struct db *from, struct tet_error *error)
{
    int64_t tables;
    enum tet_err err = db_exec(from, "BEGIN", error);
    if (err == TET_OK)
        err =
            db_number(from, "SELECT count(*) FROM sqlite_schema", &tables, error); // it begins here
    if (err != TET_OK)
        return err;
    sqlite3_backup *copy = sqlite3_backup_init(to->handle, "main", from->handle, "main");
    int rc = copy != NULL ? SQLITE_OK : sqlite3_errcode(to->handle);
    while (rc == SQLITE_OK)
        rc = sqlite3_backup_step(copy, COPY_PAGES);
    if (copy != NULL)
        (void)sqlite3_backup_finish(copy); // its failure is the last step's
    if (rc != SQLITE_DONE)
        err = fail(to, rc, error);
    db_rollback(from);
    return err;
}

/* ---- watching runs ---- */

struct watch {
    db_moved_fn *moved;
    void *context;
};

static void call_moved(sqlite3_context *call, int n, sqlite3_value **value)
{
    const struct watch *watch = sqlite3_user_data(call);
    (void)n;
    watch->moved(watch->context, sqlite3_value_int64(value[0]), sqlite3_value_int64(value[1]),
                 (const char *)sqlite3_value_text(value[2]),
                 (const char *)sqlite3_value_text(value[3]), sqlite3_value_int64(value[4]));
}

enum tet_err db_watch(struct db *db, db_moved_fn *moved, void *context, struct tet_error *error)
{
    static const char triggers[] =
        "CREATE TEMP TRIGGER watch_inserted AFTER INSERT ON main.run"
        " BEGIN SELECT run_moved(new.id, new.experiment, new.state, new.reason, new.step); END;"
        "CREATE TEMP TRIGGER watch_moved AFTER UPDATE OF state, reason ON main.run"
        " WHEN new.state IS NOT old.state OR new.reason IS NOT old.reason"
        " BEGIN SELECT run_moved(new.id, new.experiment, new.state, new.reason, new.step); END;";
    struct watch *watch = sqlite3_malloc(sizeof *watch);
    if (watch == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    *watch = (struct watch){moved, context};
    const int rc =
        sqlite3_create_function_v2(db->handle, "run_moved", 5, SQLITE_UTF8 | SQLITE_INNOCUOUS,
                                   watch, call_moved, NULL, NULL, sqlite3_free);
    return rc == SQLITE_OK ? db_exec(db, triggers, error) : fail(db, rc, error);
}

/* ---- queries ---- */

/* The cached statement of a text that is not in use, or a place for it. The caller never holds as
 * many queries open as there are places. */
static struct statement *find_statement(struct db *db, const char *sql)
{
    struct statement *empty = NULL;
    for (size_t i = 0; i < STORE_STATEMENTS; i++) {
        struct statement *s = &db->statements[i];
        if (s->stmt == NULL) {
            if (empty == NULL)
                empty = s;
        } else if (!s->used && strcmp(sqlite3_sql(s->stmt), sql) == 0) {
            return s;
        }
    }
    while (empty == NULL) {
        struct statement *s = &db->statements[db->next++ % STORE_STATEMENTS];
        if (!s->used)
            empty = s;
    }
    sqlite3_finalize(empty->stmt);
    empty->stmt = NULL;
    return empty;
}

struct query query_open(struct db *db, const char *sql, struct tet_error *error)
{
    struct query q = {.db = db, .error = error, .statement = find_statement(db, sql)};
    if (q.statement->stmt == NULL) {
        int rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                    &q.statement->stmt, NULL);
        if (rc != SQLITE_OK)
            q.err = fail(db, rc, error);
    }
    q.statement->used = q.err == TET_OK;
    return q;
}

static int place(struct query *q, const char *name)
{
    return sqlite3_bind_parameter_index(q->statement->stmt, name);
}

static void bound(struct query *q, int rc)
{
    if (rc != SQLITE_OK)
        q->err = fail(q->db, rc, q->error);
}

void query_bind_int(struct query *q, const char *name, int64_t value)
{
    if (q->err == TET_OK)
        bound(q, sqlite3_bind_int64(q->statement->stmt, place(q, name), value));
}

void query_bind_real(struct query *q, const char *name, double value)
{
    if (q->err != TET_OK)
        return;
    if (isfinite(value))
        bound(q, sqlite3_bind_double(q->statement->stmt, place(q, name), value));
    else
        bound(q, sqlite3_bind_null(q->statement->stmt, place(q, name)));
}

void query_bind_text(struct query *q, const char *name, const char *text)
{
    if (q->err == TET_OK)
        bound(q, sqlite3_bind_text(q->statement->stmt, place(q, name), text, -1, SQLITE_STATIC));
}

void query_bind_blob(struct query *q, const char *name, const void *data, size_t n)
{
    if (q->err == TET_OK)
        bound(q, sqlite3_bind_blob64(q->statement->stmt, place(q, name), n > 0 ? data : "", n,
                                     SQLITE_STATIC));
}

bool query_row(struct query *q)
{
    if (q->err != TET_OK)
        return false;
    int rc = sqlite3_step(q->statement->stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        q->err = fail(q->db, rc, q->error);
    return rc == SQLITE_ROW;
}

void query_run(struct query *q)
{
    while (query_row(q))
        continue;
    query_again(q);
}

/* sqlite3_reset repeats the failure of the last step, which is known already. */
void query_again(struct query *q)
{
    if (q->err == TET_OK)
        (void)sqlite3_reset(q->statement->stmt);
}

enum tet_err query_close(struct query *q)
{
    if (q->statement->used) {
        (void)sqlite3_reset(q->statement->stmt);
        (void)sqlite3_clear_bindings(q->statement->stmt);
        q->statement->used = false;
    }
    return q->err;
}

int64_t query_int(const struct query *q, int column)
{
    return sqlite3_column_int64(q->statement->stmt, column);
}

double query_real(const struct query *q, int column)
{
    if (sqlite3_column_type(q->statement->stmt, column) == SQLITE_NULL)
        return NAN;
    return sqlite3_column_double(q->statement->stmt, column);
}

const char *query_text(const struct query *q, int column)
{
    return (const char *)sqlite3_column_text(q->statement->stmt, column);
}

const void *query_blob(const struct query *q, int column, size_t *n)
{
    const void *data = sqlite3_column_blob(q->statement->stmt, column);
    *n = (size_t)sqlite3_column_bytes(q->statement->stmt, column);
    return data;
}

void query_fail(struct query *q, enum tet_err err, const char *message)
{
    if (q->err != TET_OK)
        return;
    q->db->trouble = DB_FINE;
    q->err = tet_error_set(q->error, err, "%s", message);
}
