// SPDX-License-Identifier: Apache-2.0
/*
 * The readers' pool: idle connections are kept, more are opened where all are in use, so that
 * nobody waits and a visitor may read itself.
 *
 * Threads: any.
 */
#include "store/internal.h"

#include <stdlib.h>

void readers_create(struct readers *readers)
{
    (void)pthread_mutex_init(&readers->lock, NULL);
}

static void destroy(struct db *db)
{
    db_close(db);
    free(db);
}

void readers_destroy(struct readers *readers)
{
    while (readers->n > 0)
        destroy(readers->idle[--readers->n]);
    (void)pthread_mutex_destroy(&readers->lock);
}

enum tet_err reader_take(struct store *store, struct db **db, struct tet_error *error)
{
    struct readers *readers = &store->readers;
    *db = NULL;
    pthread_mutex_lock(&readers->lock);
    if (readers->n > 0)
        *db = readers->idle[--readers->n];
    pthread_mutex_unlock(&readers->lock);
    if (*db != NULL)
        return TET_OK;

    struct db *created = calloc(1, sizeof *created);
    if (created == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "%s: out of memory", store->path);
    enum tet_err err = db_open(created, store->path, true, error);
    if (err != TET_OK) {
        free(created);
        return err;
    }
    *db = created;
    return TET_OK;
}

/* A transaction that an error left open would hold an old snapshot for ever. */
void reader_give(struct store *store, struct db *db)
{
    struct readers *readers = &store->readers;
    if (db == NULL)
        return;
    db_rollback(db);
    pthread_mutex_lock(&readers->lock);
    if (readers->n < STORE_READERS) {
        readers->idle[readers->n++] = db;
        db = NULL;
    }
    pthread_mutex_unlock(&readers->lock);
    if (db != NULL)
        destroy(db);
}
