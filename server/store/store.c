// SPDX-License-Identifier: Apache-2.0
/*
 * Opening and closing the store: whose file it is, the lock against a second server, the schema's
 * versions, recovery.
 *
 * A file is looked at before SQLite opens it, so that what is not ours is never touched. A new one
 * gets its application_id and schema in one ordinary transaction before it turns to WAL, so the
 * first 100 bytes of ours always say so.
 *
 * Threads: one at a time.
 */
#include "clock.h"
#include "store/backup.h"
#include "store/internal.h"
#include "store/share.h"
#include "store/users.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const versions[STORE_SCHEMA_VERSION] = {
    embed_sql_0001, embed_sql_0002, embed_sql_0003, embed_sql_0004, embed_sql_0005, embed_sql_0006,
    embed_sql_0007, embed_sql_0008, embed_sql_0009, embed_sql_0010, embed_sql_0011};

int64_t store_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The absolute path: the lock is on the same name whatever the folder and the links. NULL with
 * errno set. */
static char *absolute(const char *path)
{
    char *resolved = realpath(path, NULL);
    if (resolved != NULL || errno != ENOENT || *path == '\0')
        return resolved;

    char *copy = strdup(path), *other = strdup(path), *folder = NULL;
    if (copy != NULL && other != NULL)
        folder = realpath(dirname(copy), NULL);
    if (folder != NULL && asprintf(&resolved, "%s/%s", folder, basename(other)) < 0)
        resolved = NULL;
    free(folder);
    free(other);
    free(copy);
    return resolved;
}

/* ---- the lock ---- */

enum tet_err store_take_lock(const char *path, int *file, bool *created, struct tet_error *error)
{
    char name[PATH_MAX];
    enum tet_err err = TET_OK;
    if (snprintf(name, sizeof name, "%s.lock", path) >= (int)sizeof name)
        return tet_error_set(error, TET_IO, "%s: the name is too long", path);

    *created = true;
    *file = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (*file < 0 && errno == EEXIST) {
        *created = false;
        *file = open(name, O_RDWR | O_CLOEXEC);
    }
    if (*file < 0)
        err = tet_error_set(error, TET_IO, "%s: cannot create its lock file (%s)", path,
                            strerror(errno));
    else if (flock(*file, LOCK_EX | LOCK_NB) == 0)
        return TET_OK;
    else if (errno == EWOULDBLOCK)
        err = tet_error_set(error, TET_CONFLICT, "%s: the database is in use by another server",
                            path);
    else
        err = tet_error_set(error, TET_IO, "%s: cannot lock it (%s)", path, strerror(errno));
    *created = false;
    return err;
}

static void remove_lock(const struct store *store)
{
    char name[PATH_MAX];
    if (snprintf(name, sizeof name, "%s.lock", store->path) < (int)sizeof name)
        (void)unlink(name);
}

/* ---- whose file ---- */

static uint32_t big_endian(const unsigned char *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

enum tet_err store_too_new(const char *path, int64_t version, struct tet_error *error)
{
    return tet_error_set(
        error, TET_CONFLICT,
        "%s: the database has schema version %lld, this program knows up to %d; use "
        "a tetrad that is as new as the database, or restore a backup from before "
        "its upgrade (FILE.before-NNNN)",
        path, (long long)version, (int)STORE_SCHEMA_VERSION);
}

/* https://www.sqlite.org/fileformat.html, 1.3: magic, user version at 60, application id at 68. */
static enum tet_err check_header(const char *path, const unsigned char *header, ssize_t n,
                                 struct tet_error *error)
{
    if (n < 100 || memcmp(header, "SQLite format 3", 16) != 0)
        return tet_error_set(error, TET_DATABASE, "%s: is not a database", path);
    if (big_endian(header + 68) != STORE_APPLICATION_ID)
        return tet_error_set(error, TET_DATABASE, "%s: is a database of another program", path);
    if (big_endian(header + 60) > STORE_SCHEMA_VERSION)
        return store_too_new(path, big_endian(header + 60), error);
    return TET_OK;
}

/* Whether the header may be of a database whose first transaction was cut off: SQLite will undo that. */
static bool maybe_unfinished(const char *path, const unsigned char *header, ssize_t n)
{
    char journal[PATH_MAX];
    struct stat status;
    if (n >= 100 && memcmp(header, "SQLite format 3", 16) == 0)
        return big_endian(header + 68) == 0 && big_endian(header + 60) == 0 &&
               header[18] == 1; // no WAL yet
    return snprintf(journal, sizeof journal, "%s-journal", path) < (int)sizeof journal &&
           stat(journal, &status) == 0 && status.st_size > 0;
}

/* ... and is: nothing is in it, so that nobody else's is taken for ours. */
static bool is_unfinished(const char *path)
{
    struct db db;
    int64_t tables = 1;
    if (db_open(&db, path, true, NULL) != TET_OK)
        return false;
    const bool known =
        db_number(&db, "SELECT count(*) FROM sqlite_schema", &tables, NULL) == TET_OK;
    db_close(&db);
    return known && tables == 0;
}

/* To close a file that SQLite has open in this process would drop SQLite's own locks. */
enum tet_err store_check_file(const char *path, bool *fresh, struct tet_error *error)
{
    unsigned char header[100];
    struct stat status;
    ssize_t n = 0;
    enum tet_err err = TET_OK;
    *fresh = false;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return tet_error_set(error, TET_IO, "%s: is a folder, not a database", path);
    int file = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 && errno == ENOENT) {
        *fresh = true;
        return TET_OK;
    }
    if (file < 0)
        return tet_error_set(error, TET_IO, "%s: cannot be opened for writing (%s)", path,
                             strerror(errno));
    if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
        err = tet_error_set(error, TET_IO, "%s: is not an ordinary file", path);
    } else {
        n = pread(file, header, sizeof header, 0);
        if (n < 0)
            err = tet_error_set(error, TET_IO, "%s: cannot be read (%s)", path, strerror(errno));
        else if (n == 0)
            *fresh = true;
        else
            err = check_header(path, header, n, error);
    }
    (void)close(file);
    if (err == TET_DATABASE && maybe_unfinished(path, header, n) && is_unfinished(path)) {
        *fresh = true;
        return TET_OK;
    }
    return err;
}

/* ---- schema ---- */

static enum tet_err apply(struct db *db, int64_t version, struct tet_error *error)
{
    char mark[96];
    enum tet_err err = TET_OK;
    while (err == TET_OK && version < STORE_SCHEMA_VERSION)
        err = db_exec(db, versions[version++], error);
    (void)snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
                   (int)STORE_APPLICATION_ID, (int)STORE_SCHEMA_VERSION);
    return err == TET_OK ? db_exec(db, mark, error) : err;
}

/* Applies the missing versions in one durable transaction: a program that is killed meanwhile leaves the
 * database as it was, for itself and for the older program. What was there before is kept as a copy. */
static enum tet_err migrate(struct store *store, struct tet_error *error)
{
    struct db *db = &store->db;
    int64_t version = 0;
    enum tet_err err = db_number(db, "PRAGMA user_version", &version, error);
    if (err != TET_OK || version == STORE_SCHEMA_VERSION)
        return err;
    if (version > STORE_SCHEMA_VERSION)
        return store_too_new(store->path, version, error);
    if (version > 0)
        err = backup_before(db, STORE_SCHEMA_VERSION, error);
    if (err == TET_OK)
        err = db_begin(db, true, error);
    if (err != TET_OK)
        return err;
    err = apply(db, version, error);
    if (err == TET_OK)
        return db_commit(db, error);
    db_rollback(db);
    return err;
}

enum tet_err store_sync_folder(const char *path, struct tet_error *error)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "%s: out of memory", path);
    enum tet_err err = TET_OK;
    int folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || fsync(folder) != 0)
        err =
            tet_error_set(error, TET_IO, "%s: cannot sync its folder (%s)", path, strerror(errno));
    if (folder >= 0)
        (void)close(folder);
    free(copy);
    return err;
}

static enum tet_err recover(struct store *store, struct tet_error *error)
{
    struct db *db = &store->db;
    enum tet_err err = db_begin(db, true, error);
    if (err != TET_OK)
        return err;
    err = runs_recover(store, error);
    if (err == TET_OK)
        err = removal_recover(store, error);
    if (err == TET_OK)
        return db_commit(db, error);
    db_rollback(db);
    return err;
}

/* While opening, what the storage refuses is told as what is wrong with the file. */
static enum tet_err as_opening(const struct store *store, enum tet_err err,
                               const struct tet_error *detail, struct tet_error *error)
{
    enum db_trouble trouble = store->db.trouble;
    if (err == TET_BUSY && trouble == DB_HELD)
        err = TET_CONFLICT;
    else if (trouble == DB_UNREADABLE && err != TET_STORAGE_FAILS)
        err = TET_IO;
    return tet_error_set(error, err, "%s", detail->message);
}

/* Readers that never wait need WAL; SQLite stays without it where the file system has no shared
 * memory. */
static enum tet_err turn_to_wal(struct store *store, struct tet_error *error)
{
    struct query q = query_open(&store->db, "PRAGMA journal_mode = WAL", error);
    const char *mode = query_row(&q) ? query_text(&q, 0) : NULL;
    if (mode == NULL || strcmp(mode, "wal") != 0)
        query_fail(&q, TET_IO, "the database's file system cannot hold a write-ahead log");
    return query_close(&q);
}

static enum tet_err open_database(struct store *store, bool fresh, struct tet_error *error)
{
    struct tet_error detail = {0};
    enum tet_err err = db_open(&store->db, store->path, false, &detail);
    if (err == TET_OK && fresh)
        err = migrate(store, &detail);
    if (err == TET_OK)
        err = turn_to_wal(store, &detail);
    if (err == TET_OK)
        err = store_sync_folder(store->path, &detail);
    if (err == TET_OK && !fresh)
        err = migrate(store, &detail);
    if (err == TET_OK)
        err = recover(store, &detail);
    if (err == TET_OK)
        err = db_watch(&store->db, changes_seen, &store->changes, &detail);
    return err == TET_OK ? TET_OK : as_opening(store, err, &detail, error);
}

/* On a full disk it opens with the room that is kept, so that it can be made to have some. */
static enum tet_err open_somehow(struct store *store, bool fresh, struct tet_error *error)
{
    struct tet_error full = {0};
    enum tet_err err = open_database(store, fresh, &full);
    if ((err == TET_STORAGE_FULL || err == TET_STORAGE_FAILS) && space_release(&store->space)) {
        if (store->db.handle != NULL)
            db_close(&store->db);
        return open_database(store, fresh, error);
    }
    return err == TET_OK ? TET_OK : tet_error_set(error, err, "%s", full.message);
}

/* ---- open and close ---- */

static void create_locks(struct store *store)
{
    (void)pthread_mutex_init(&store->lock, NULL);
    (void)pthread_mutex_init(&store->plan_lock, NULL);
    clock_cond(&store->arrived);
    (void)pthread_cond_init(&store->answered, NULL);
    readers_create(&store->readers);
    changes_create(&store->changes);
}

/* A connection beside the server that holds the lock: nothing is migrated or recovered. */
static enum tet_err open_beside(struct store *store, struct tet_error *error)
{
    int64_t version = 0;
    (void)close(store->lock_file);
    store->lock_file = -1;
    enum tet_err err = db_open(&store->db, store->path, false, error);
    if (err == TET_OK)
        err = db_exec(&store->db, "PRAGMA busy_timeout = 10000;", error);
    if (err == TET_OK)
        err = db_number(&store->db, "PRAGMA user_version", &version, error);
    if (err == TET_OK && version != STORE_SCHEMA_VERSION)
        err = tet_error_set(error, TET_CONFLICT,
                            "%s: the server that holds the database is of another version",
                            store->path);
    return err;
}

/* What frees room must not need what is not there. */
static enum tet_err know_space(struct store *store, struct tet_error *error)
{
    store->folder = strdup(store->path);
    if (store->folder == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "%s: out of memory", store->path);
    store->space.folder = dirname(store->folder);
    store->space.what = "the database (--db)";
    atomic_store(&store->space.low, true); // until it is seen that it is not
    return space_reserve(&store->space, store->path, error);
}

static enum tet_err open_store(struct store **out, const char *path,
                               const struct store_limits *limits, bool beside,
                               struct tet_error *error)
{
    enum tet_err err;
    bool created = false, fresh = false;
    struct tet_error held = {0};
    *out = NULL;
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "%s: out of memory", path);
    store->lock_file = -1;
    store->limits = *limits;
    queue_begin(store);
    store->policy = (struct store_policy){STORE_HALF_LIFE_S, limits->max_queued, 0, 0};
    store->last = &store->first;
    create_locks(store);
    store->path = absolute(path);
    if (store->path == NULL) {
        err = tet_error_set(error, TET_IO, "%s: cannot be opened (%s)", path, strerror(errno));
        goto out;
    }
    err = know_space(store, error);
    if (err != TET_OK)
        goto out;
    err = store_take_lock(store->path, &store->lock_file, &created, beside ? &held : error);
    if (err == TET_CONFLICT && beside) {
        err = open_beside(store, error);
    } else {
        if (err != TET_OK)
            (void)tet_error_set(error, err, "%s", held.message);
        if (err == TET_OK)
            err = store_check_file(store->path, &fresh, error);
        if (err != TET_OK && created)
            remove_lock(store);
        if (err == TET_OK)
            err = open_somehow(store, fresh, error);
    }
    if (err == TET_OK)
        err = writer_start(store, error);
out:
    if (err != TET_OK) {
        store_close(store);
        store = NULL;
    }
    *out = store;
    return err;
}

enum tet_err store_open_limited(struct store **store, const char *path,
                                const struct store_limits *limits, struct tet_error *error)
{
    return open_store(store, path, limits, false, error);
}

enum tet_err store_open_beside(struct store **store, const char *path, struct tet_error *error)
{
    return open_store(store, path, &STORE_LIMITS, true, error);
}

enum tet_err store_open(struct store **store, const char *path, struct tet_error *error)
{
    return store_open_limited(store, path, &STORE_LIMITS, error);
}

/* The last connection to close writes the WAL back and removes it, so the writer's goes last, and
 * the lock after it. */
void store_close(struct store *store)
{
    if (store == NULL)
        return;
    writer_stop(store);
    readers_destroy(&store->readers);
    db_close(&store->db);
    changes_destroy(&store->changes);
    if (store->lock_file >= 0)
        (void)close(store->lock_file);
    (void)pthread_cond_destroy(&store->answered);
    (void)pthread_cond_destroy(&store->arrived);
    (void)pthread_mutex_destroy(&store->lock);
    store_plan_give(store, store->plan);
    (void)pthread_mutex_destroy(&store->plan_lock);
    space_free(&store->space);
    free(store->folder);
    free(store->path);
    free(store);
}

struct max_pages_job {
    struct job job;
    uint32_t pages;
};

static enum tet_err set_max_pages(struct store *store, struct job *job, struct tet_error *error)
{
    char sql[64];
    uint32_t pages = ((struct max_pages_job *)job)->pages;
    (void)snprintf(sql, sizeof sql, "PRAGMA max_page_count = %u;",
                   pages > 0 ? pages : UINT32_MAX - 1);
    return db_exec(&store->db, sql, error);
}

enum tet_err store_max_pages(struct store *store, uint32_t pages, struct tet_error *error)
{
    struct max_pages_job job = {.job = {.work = set_max_pages, .in_turn = true}, .pages = pages};
    return writer_do(store, &job.job, error);
}
