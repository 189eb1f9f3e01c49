// SPDX-License-Identifier: Apache-2.0
/* The state of the disks: see storage.h. */
#include "monitor/storage.h"

#include <errno.h>
#include <libgen.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "space.h"

enum { LOOK_MS = 500 };

struct storage {
    struct store *store;
    struct space spaces[STORAGE_FOLDERS];
    char *database; // what its folder's name points into
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct storage_view view; // under lock
    bool stopping;            // under lock
    bool started;
    pthread_t thread;
};

/* What is wrong with the store itself, where that is its disk. */
static enum tet_err store_storage(struct storage *s, struct tet_error *error)
{
    struct tet_error health = {0};
    const enum tet_err err = store_health(s->store, &health);
    return err == TET_STORAGE_FULL || err == TET_STORAGE_FAILS
               ? tet_error_set(error, err, "%s", health.message)
               : TET_OK;
}

static void look(struct storage *s)
{
    struct storage_view view = {0};
    enum tet_err err = TET_OK;
    for (int i = 0; i < STORAGE_FOLDERS; i++) {
        view.free_bytes[i] = space_free_bytes(&s->spaces[i]);
        if (err == TET_OK)
            err = space_check(&s->spaces[i], 0, &view.error);
    }
    view.of_database = atomic_load(&s->spaces[STORAGE_DATABASE].low);
    if (err == TET_OK && store_storage(s, &view.error) != TET_OK)
        view.of_database = true;
    pthread_mutex_lock(&s->lock);
    s->view = view;
    pthread_mutex_unlock(&s->lock);
}

static void *watch(void *argument)
{
    struct storage *s = argument;
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        struct timespec until;
        pthread_mutex_unlock(&s->lock);
        look(s);
        clock_in(&until, LOOK_MS);
        pthread_mutex_lock(&s->lock);
        while (!s->stopping && pthread_cond_timedwait(&s->changed, &s->lock, &until) != ETIMEDOUT) {
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

enum tet_err storage_start(struct storage **storage, const struct storage_options *options,
                           struct tet_error *error)
{
    *storage = NULL;
    struct storage *s = calloc(1, sizeof *s);
    char *database = strdup(options->database);
    if (s == NULL || database == NULL) {
        free(database);
        free(s);
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    }
    (void)pthread_mutex_init(&s->lock, NULL);
    clock_cond(&s->changed);
    s->store = options->store;
    s->database = database;
    s->spaces[STORAGE_DATABASE].folder = dirname(database);
    s->spaces[STORAGE_DATABASE].what = "the database (--db)";
    s->spaces[STORAGE_FILES].folder = options->files;
    s->spaces[STORAGE_FILES].what = "the files folder (--files)";
    s->spaces[STORAGE_BACKUPS].folder = options->backups;
    s->spaces[STORAGE_BACKUPS].what = "the folder for backups (--backups)";
    look(s);
    const int failed = pthread_create(&s->thread, NULL, watch, s);
    s->started = failed == 0;
    if (failed != 0) {
        storage_stop(s);
        return tet_error_set(error, TET_INTERNAL, "a thread cannot be started: %s",
                             strerror(failed));
    }
    *storage = s;
    return TET_OK;
}

void storage_stop(struct storage *s)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->started)
        pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->database);
    free(s);
}

enum tet_err storage_takes(struct storage *s, enum storage_folder folder, uint64_t bytes,
                           struct tet_error *error)
{
    enum tet_err err = space_check(&s->spaces[folder], bytes, error);
    if (err == TET_OK && folder != STORAGE_DATABASE)
        err = space_check(&s->spaces[STORAGE_DATABASE], 0, error);
    return err == TET_OK ? store_storage(s, error) : err;
}

void storage_look(struct storage *s, struct storage_view *view)
{
    pthread_mutex_lock(&s->lock);
    *view = s->view;
    pthread_mutex_unlock(&s->lock);
}

const char *storage_folder_text(enum storage_folder folder)
{
    static const char *const texts[] = {"database", "files", "backups"};
    return texts[folder];
}

const char *storage_state_text(enum tet_err err)
{
    return err == TET_OK ? "ok" : err == TET_STORAGE_FAILS ? "fails" : "full";
}
