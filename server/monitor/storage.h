// SPDX-License-Identifier: Apache-2.0
/*
 * The state of the disks: of the database, of the files folder, of the backups. Looked at again and again by a
 * thread of its own, as a disk that fails may make whoever looks at it wait.
 *
 * Threads: any, between storage_start and storage_stop.
 */
#ifndef SERVER_MONITOR_STORAGE_H
#define SERVER_MONITOR_STORAGE_H

#include <stdint.h>

#include "store/store.h"

enum storage_folder { STORAGE_DATABASE, STORAGE_FILES, STORAGE_BACKUPS, STORAGE_FOLDERS };

struct storage_options {
    struct store *store;
    const char *database, *files, *backups; // a file, and two folders
};

struct storage_view {
    struct tet_error error; // TET_OK, TET_STORAGE_FULL, TET_STORAGE_FAILS
    bool of_database;       // the error is of the database's disk: nothing is taken in
    uint64_t free_bytes[STORAGE_FOLDERS]; // UINT64_MAX: not known
};

struct storage;
TET_MUST_CHECK enum tet_err storage_start(struct storage **storage,
                                          const struct storage_options *options,
                                          struct tet_error *error);
void storage_stop(struct storage *storage); // NULL is fine

/* storage_takes: whether a folder's disk, and the database, take so many bytes more now. TET_STORAGE_FULL,
 * TET_STORAGE_FAILS. May wait for the disk. */
TET_MUST_CHECK enum tet_err storage_takes(struct storage *storage, enum storage_folder folder,
                                          uint64_t bytes, struct tet_error *error);

/* storage_look: as it was seen last; waits for no disk. */
void storage_look(struct storage *storage, struct storage_view *view);
const char *storage_folder_text(enum storage_folder folder); // "database"
const char *storage_state_text(enum tet_err err);            // "ok", "full", "fails"

#endif
