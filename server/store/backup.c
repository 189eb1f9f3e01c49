// SPDX-License-Identifier: Apache-2.0
/*
 * Backups: see backup.h.
 *
 *     FILE.part: copy -> one file without a log -> integrity check -> fsync -> rename -> fsync of the folder
 *     FILE.files.part: contents, those the database has before the copy, then those the copy has -> rename
 *
 * Contents are taken before the copy, so that one that is deleted meanwhile is there, and after it, so that
 * one is that was uploaded meanwhile.
 *
 * Threads: any; every call has connections of its own.
 */
#include "store/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "data/contents.h"
#include "data/files.h"
#include "store/internal.h"

static enum tet_err name_make(char name[BACKUP_NAME], const char *path, const char *suffix,
                              struct tet_error *error)
{
    return snprintf(name, BACKUP_NAME, "%s%s", path, suffix) < BACKUP_NAME
               ? TET_OK
               : tet_error_set(error, TET_IO, "%s: the name is too long", path);
}

/* What SQLite says of the whole file: "" or its first complaint. */
static enum tet_err complaint(struct db *db, char why[200], struct tet_error *error)
{
    struct query q = query_open(db, "PRAGMA integrity_check(1)", error);
    const char *found = query_row(&q) ? query_text(&q, 0) : NULL;
    const char *line = found != NULL ? strrchr(found, '\n') : NULL; // below a heading
    snprintf(why, 200, "%s", line != NULL ? line + 1 : found != NULL ? found : "no answer");
    if (strcmp(why, "ok") == 0)
        why[0] = '\0';
    return query_close(&q);
}

/* SQLite calls a page damaged, too, that it had no memory for: what is damaged is so twice. */
static enum tet_err check_pages(struct db *db, struct tet_error *error)
{
    char why[200] = "not looked at";
    enum tet_err err = TET_OK;
    for (int i = 0; i < 2 && err == TET_OK && why[0] != '\0'; i++)
        err = complaint(db, why, error);
    return err != TET_OK || why[0] == '\0'
               ? err
               : tet_error_set(error, TET_DATABASE, "%s: the database is damaged (%s)", db->path,
                               why);
}

static enum tet_err count(struct db *db, struct backup_report *report, struct tet_error *error)
{
    int64_t experiments = 0, runs = 0, pages = 0, page_bytes = 0;
    enum tet_err err = db_number(db, "SELECT count(*) FROM experiment", &experiments, error);
    if (err == TET_OK)
        err = db_number(db, "SELECT count(*) FROM run", &runs, error);
    if (err == TET_OK)
        err = db_number(db, "PRAGMA page_count", &pages, error);
    if (err == TET_OK)
        err = db_number(db, "PRAGMA page_size", &page_bytes, error);
    report->experiments = (uint64_t)experiments;
    report->runs = (uint64_t)runs;
    report->bytes = (uint64_t)(pages * page_bytes);
    return err;
}

/* Where contents come from and go to. */
struct route {
    const char *from, *to; // files folders
};

static enum tet_err take_contents(struct db *db, const struct route *route,
                                  struct backup_report *report, struct tet_error *error)
{
    int64_t has = 0;
    report->datasets = report->missing = 0;
    enum tet_err err = db_number(
        db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'dataset'", &has,
        error);
    if (err != TET_OK || has == 0) // of an older version
        return err;
    struct query q = query_open(db, "SELECT DISTINCT sha256 FROM dataset ORDER BY sha256", error);
    while (err == TET_OK && query_row(&q)) {
        bool there = false;
        err = contents_take(route->from, route->to, query_text(&q, 0), &there, error);
        report->datasets += there;
        report->missing += !there;
    }
    const enum tet_err closed = query_close(&q);
    return err != TET_OK ? err : closed;
}

/* A source: ours, of a version that this program knows. The file is not to be opened and closed here by
 * other means than SQLite's, as this process may have it open: that would drop SQLite's locks. */
static enum tet_err open_source(struct db *db, const char *path, struct tet_error *error)
{
    int64_t ours = 0, version = 0;
    if (access(path, F_OK) != 0)
        return tet_error_set(error, errno == ENOENT ? TET_NOT_FOUND : space_error(errno), "%s: %s",
                             path, strerror(errno));
    enum tet_err err = db_open(db, path, true, error);
    if (err == TET_OK)
        err = db_number(db, "PRAGMA application_id", &ours, error);
    if (err == TET_OK)
        err = db_number(db, "PRAGMA user_version", &version, error);
    if (err == TET_OK && ours != STORE_APPLICATION_ID)
        err = tet_error_set(error, TET_DATABASE, "%s: is not a database of Tetrad", path);
    if (err == TET_OK && (version < 1 || version > STORE_SCHEMA_VERSION))
        err = store_too_new(path, version, error);
    return err;
}

static enum tet_err sync_file(const char *path, struct tet_error *error)
{
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    const bool good = file >= 0 && fsync(file) == 0;
    const int why = errno;
    if (file >= 0)
        close(file);
    return good ? TET_OK : tet_error_set(error, space_error(why), "%s: %s", path, strerror(why));
}

/* The copy, checked page by page. */
static enum tet_err copy_pages(struct db *to, const char *part, struct db *from,
                               struct tet_error *error)
{
    enum tet_err err = db_open(to, part, false, error);
    if (err == TET_OK)
        err = db_copy(to, from, error);
    to->path = from->path; // what is wrong with the copy is wrong with what was copied
    if (err == TET_OK)     // the pages say WAL, as the source's do; a backup is one file
        err = db_exec(to, "PRAGMA journal_mode = DELETE;", error);
    return err == TET_OK ? check_pages(to, error) : err;
}

/* The copy under the name `part`: checked, and on the disk. */
static enum tet_err make_part(struct db *from, const char *part, const struct route *route,
                              struct backup_report *report, struct tet_error *error)
{
    struct db to = {0};
    enum tet_err err = copy_pages(&to, part, from, error);
    if (err == TET_OK)
        err = count(&to, report, error);
    if (err == TET_OK)
        err = take_contents(&to, route, report, error);
    if (to.handle != NULL)
        db_close(&to);
    return err == TET_OK ? sync_file(part, error) : err;
}

static void remove_part(const char *part)
{
    static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};
    char name[BACKUP_NAME];
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (name_make(name, part, suffixes[i], NULL) == TET_OK)
            (void)unlink(name);
}

/* Whether a name is what the server gives to a backup, and behind that `end`. */
static bool is_of_backup(const char *name, const char *end)
{
    static const char model[] = "tetrad-00000000T000000Z.db";
    const size_t n = sizeof model - 1;
    for (size_t i = 0; i < n; i++)
        if (model[i] == '0' ? name[i] < '0' || name[i] > '9' : name[i] != model[i])
            return false;
    return strcmp(name + n, end) == 0;
}

void backup_clean(const char *folder)
{
    static const char *const ends[] = {".part", ".part-journal", ".part-wal", ".part-shm"};
    char contents[BACKUP_NAME];
    DIR *all = opendir(folder);
    if (all == NULL)
        return;
    for (const struct dirent *one; (one = readdir(all)) != NULL;) {
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
            if (is_of_backup(one->d_name, ends[i]))
                (void)unlinkat(dirfd(all), one->d_name, 0);
        if (is_of_backup(one->d_name, ".files.part") &&
            snprintf(contents, sizeof contents, "%s/%s", folder, one->d_name) <
                (int)sizeof contents)
            contents_remove(contents);
    }
    closedir(all);
}

enum tet_err backup_before(struct db *db, int version, struct tet_error *error)
{
    char file[BACKUP_NAME], part[BACKUP_NAME], suffix[40];
    struct db to = {0};
    snprintf(suffix, sizeof suffix, ".before-%04d", version);
    enum tet_err err = name_make(file, db->path, suffix, error);
    if (err == TET_OK)
        err = name_make(part, file, ".part", error);
    if (err != TET_OK)
        return err;
    remove_part(part);
    err = copy_pages(&to, part, db, error);
    db->trouble = to.trouble; // a disk that is full of the copy
    if (to.handle != NULL)
        db_close(&to);
    if (err == TET_OK)
        err = sync_file(part, error);
    if (err == TET_OK && rename(part, file) != 0)
        err = tet_error_set(error, TET_IO, "%s: %s", file, strerror(errno));
    if (err == TET_OK)
        err = store_sync_folder(file, error);
    if (err != TET_OK)
        remove_part(part);
    return err;
}

enum tet_err backup_folder(const char *folder, struct tet_error *error)
{
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return tet_error_set(error, TET_IO, "the folder for backups (--backups): %s",
                             strerror(errno));
    return store_sync_folder(folder, error);
}

/* The copy in the name's place, where nothing is yet. What cannot be told to be on the disk is not there. */
static enum tet_err appear(const char *part, const char *file, struct tet_error *error)
{
    if (link(part, file) != 0)
        return tet_error_set(error, errno == EEXIST ? TET_CONFLICT : space_error(errno), "%s: %s",
                             file, errno == EEXIST ? "is there already" : strerror(errno));
    (void)unlink(part);
    const enum tet_err err = store_sync_folder(file, error);
    if (err != TET_OK)
        (void)unlink(file);
    return err;
}

/* Copies `path` to FILE.part, and the contents. */
static enum tet_err copy(const char *path, const char *part, const struct route *route,
                         struct backup_report *report, struct tet_error *error)
{
    struct db from = {0};
    enum tet_err err = open_source(&from, path, error);
    remove_part(part); // of a backup that was cut off
    if (err == TET_OK)
        err = take_contents(&from, route, report, error);
    if (err == TET_OK)
        err = make_part(&from, part, route, report, error);
    if (from.handle != NULL)
        db_close(&from);
    return err;
}

static enum tet_err is_free(const char *name, struct tet_error *error)
{
    return access(name, F_OK) != 0
               ? TET_OK
               : tet_error_set(error, TET_CONFLICT, "%s: is there already", name);
}

/* The names of a database's files folder, of a backup's, and of it while it is made. */
struct folders {
    char own[BACKUP_NAME], kept[BACKUP_NAME], part[BACKUP_NAME];
};

static enum tet_err name_folders(struct folders *f, const char *path, const char *files,
                                 const char *file, struct tet_error *error)
{
    enum tet_err err =
        name_make(f->own, files != NULL ? files : path, files != NULL ? "" : ".files", error);
    if (err == TET_OK)
        err = name_make(f->kept, file, ".files", error);
    return err == TET_OK ? name_make(f->part, file, ".files.part", error) : err;
}

enum tet_err backup_write(const char *path, const char *files, const char *file,
                          struct backup_report *report, struct tet_error *error)
{
    char part[BACKUP_NAME];
    struct folders f;
    const double start = clock_s();
    *report = (struct backup_report){0};
    enum tet_err err = name_make(part, file, ".part", error);
    if (err == TET_OK)
        err = name_folders(&f, path, files, file, error);
    if (err == TET_OK)
        err = is_free(file, error);
    if (err == TET_OK)
        err = is_free(f.kept, error);
    if (err != TET_OK)
        return err;
    contents_remove(f.part); // of a backup that was cut off
    err = copy(path, part, &(struct route){f.own, f.part}, report, error);
    bool moved = false;
    if (err == TET_OK && report->datasets > 0) {
        moved = rename(f.part, f.kept) == 0;
        if (!moved)
            err = tet_error_set(error, space_error(errno), "%s: %s", f.kept, strerror(errno));
    }
    if (err == TET_OK)
        err = appear(part, file, error);
    if (err != TET_OK)
        remove_part(part);
    contents_remove(err != TET_OK && moved ? f.kept : f.part);
    report->seconds = clock_s() - start;
    return err;
}

/* A database and its log, under another name. */
static enum tet_err move(const char *path, const char *other, struct tet_error *error)
{
    static const char *const suffixes[] = {"-wal", "-shm", ""};
    char from[BACKUP_NAME], to[BACKUP_NAME];
    enum tet_err err = TET_OK;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes && err == TET_OK; i++) {
        err = name_make(from, path, suffixes[i], error);
        if (err == TET_OK)
            err = name_make(to, other, suffixes[i], error);
        if (err == TET_OK && rename(from, to) != 0 && errno != ENOENT)
            err = tet_error_set(error, TET_IO, "%s: %s", from, strerror(errno));
    }
    return err;
}

/* Moves the database and its log out of the way: to PATH.before-YYYYMMDDTHHMMSS. */
static enum tet_err put_aside(const char *path, char kept[BACKUP_NAME], struct tet_error *error)
{
    char when[40];
    const time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(when, sizeof when, ".before-%Y%m%dT%H%M%SZ", &tm);
    enum tet_err err = name_make(kept, path, when, error);
    if (err == TET_OK && access(kept, F_OK) == 0)
        err = tet_error_set(error, TET_CONFLICT, "%s: is there already", kept);
    return err == TET_OK ? move(path, kept, error) : err;
}

/* With a folder of contents: into the files folder, which no server may have. */
static enum tet_err copy_back(const char *file, const char *part, const struct folders *f,
                              struct backup_report *report, struct tet_error *error)
{
    struct files *files = NULL;
    enum tet_err err = access(f->kept, F_OK) == 0 ? files_open(&files, f->own, error) : TET_OK;
    if (err == TET_OK)
        err = copy(file, part, &(struct route){f->kept, f->own}, report, error);
    files_close(files);
    return err;
}

enum tet_err backup_restore(const char *file, const char *path, const char *files,
                            char kept[BACKUP_NAME], struct backup_report *report,
                            struct tet_error *error)
{
    char part[BACKUP_NAME];
    struct folders f;
    const double start = clock_s();
    int lock = -1;
    bool created = false;
    kept[0] = '\0';
    *report = (struct backup_report){0};
    enum tet_err err = name_make(part, path, ".part", error);
    if (err == TET_OK)
        err = name_folders(&f, path, files, file, error);
    if (err == TET_OK)
        err = store_take_lock(path, &lock, &created, error);
    if (err != TET_OK)
        return err;
    err = copy_back(file, part, &f, report, error);
    if (err == TET_OK && access(path, F_OK) == 0)
        err = put_aside(path, kept, error);
    if (err == TET_OK)
        err = appear(part, path, error);
    if (err != TET_OK && kept[0] != '\0' && access(path, F_OK) != 0 &&
        move(kept, path, NULL) == TET_OK)
        kept[0] = '\0'; // as it was
    if (err != TET_OK)
        remove_part(part);
    close(lock);
    report->seconds = clock_s() - start;
    return err;
}
