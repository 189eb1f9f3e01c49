// SPDX-License-Identifier: Apache-2.0
/*
 * Copies of the database: made while it is in use, and put back.
 *
 * A backup is one file of SQLite, whole by itself: the state of one moment, checked page by page and
 * on the disk before it bears its name. Where datasets were uploaded, FILE.files beside it has their
 * contents, as a files folder has them (data/files.h): a server can use a backup as it is.
 *
 * Threads: any. Lock order: none is held.
 */
#ifndef SERVER_STORE_BACKUP_H
#define SERVER_STORE_BACKUP_H

#include "store/store.h"

struct backup_report {
    uint64_t bytes; // of the database's file
    uint64_t experiments, runs;
    uint64_t datasets; // contents of uploads that are there
    uint64_t missing;  // contents that are neither where they were looked for nor where they go
    double seconds;
};

/* backup_write: copies the database at `path`, which may be in use by a server of this or another
 * process, to `file`, and the contents in the files folder `files` (NULL: PATH.files) to FILE.files;
 * neither must be there yet. Runs go on meanwhile; what they write is not in the copy. On failure
 * nothing is left. Errors: TET_NOT_FOUND (no database at path), TET_CONFLICT
 * (file is there, or the database is of a newer version), TET_DATABASE (not ours, damaged, or the
 * copy does not pass its check), TET_IO, TET_BUSY (full disk), TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err backup_write(const char *path, const char *files, const char *file,
                                         struct backup_report *report, struct tet_error *error);

/* backup_before: a copy of an open database, PATH.before-VERSION, as it is before its schema becomes
 * `version`; in the place of one that an upgrade left that was cut off. On failure none is left. Errors
 * as backup_write. */
struct db;
TET_MUST_CHECK enum tet_err backup_before(struct db *db, int version, struct tet_error *error);
/* backup_folder: makes the folder for backups where it is not there, and its name durable. Errors: TET_IO. */
TET_MUST_CHECK enum tet_err backup_folder(const char *folder, struct tet_error *error);

/* backup_clean: takes away what servers that were killed left of backups named tetrad-TIME.db, in a
 * folder in which no other server makes one. */
void backup_clean(const char *folder);

/* backup_restore: checks the backup `file` and puts a copy of it in the place of the database at
 * `path`, which no server may have open, and what FILE.files has into the files folder `files` (NULL:
 * PATH.files), where contents that are there already stay. A database that is there is renamed to `kept`, of
 * BACKUP_NAME bytes ("" where there was none), never overwritten. Errors as backup_write;
 * TET_CONFLICT: a server has it open. */
enum { BACKUP_NAME = 4096 };
TET_MUST_CHECK enum tet_err backup_restore(const char *file, const char *path, const char *files,
                                           char kept[BACKUP_NAME], struct backup_report *report,
                                           struct tet_error *error);

#endif
