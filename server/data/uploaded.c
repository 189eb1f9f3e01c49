// SPDX-License-Identifier: Apache-2.0
/* Uploaded datasets by name: see uploaded.h. */
#include "data/uploaded.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/catalog.h"

struct entry {
    struct entry *next;
    char name[DATASET_NAME], sha256[SHA256_TEXT];
    char *path;
};

struct uploaded {
    pthread_mutex_t lock;
    struct entry *entries;
    size_t n;
};

struct uploaded *uploaded_create(void)
{
    struct uploaded *u = calloc(1, sizeof *u);
    if (u)
        pthread_mutex_init(&u->lock, NULL);
    return u;
}

static void entry_free(struct entry *entry)
{
    if (!entry)
        return;
    free(entry->path);
    free(entry);
}

void uploaded_destroy(struct uploaded *u)
{
    if (!u)
        return;
    for (struct entry *entry = u->entries, *next; entry; entry = next) {
        next = entry->next;
        entry_free(entry);
    }
    pthread_mutex_destroy(&u->lock);
    free(u);
}

/* Under the lock: the place of a name, or of the end. */
static struct entry **place_of(struct uploaded *u, const char *name)
{
    struct entry **at = &u->entries;
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

/* Under the lock; the caller frees. */
static struct entry *take(struct uploaded *u, const char *name)
{
    struct entry **at = place_of(u, name), *entry = *at;
    if (entry) {
        *at = entry->next;
        u->n--;
    }
    return entry;
}

enum tet_err uploaded_put(struct uploaded *u, const char *name, const char *path,
                          const char *sha256, struct tet_error *error)
{
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry || !(entry->path = strdup(path))) {
        free(entry);
        return tet_error_set(error, TET_NO_MEMORY, "no memory for dataset %s", name);
    }
    snprintf(entry->name, sizeof entry->name, "%s", name);
    snprintf(entry->sha256, sizeof entry->sha256, "%s", sha256);
    pthread_mutex_lock(&u->lock);
    struct entry *old = take(u, name);
    entry->next = u->entries;
    u->entries = entry;
    u->n++;
    pthread_mutex_unlock(&u->lock);
    entry_free(old);
    return TET_OK;
}

void uploaded_remove(struct uploaded *u, const char *name)
{
    pthread_mutex_lock(&u->lock);
    struct entry *old = take(u, name);
    pthread_mutex_unlock(&u->lock);
    entry_free(old);
}

enum tet_err uploaded_find(struct uploaded *u, const char *name, struct folder_files *files,
                           struct tet_error *error)
{
    *files = (struct folder_files){0};
    pthread_mutex_lock(&u->lock);
    const struct entry *entry = *place_of(u, name);
    if (entry) {
        files->form = FOLDER_NPZ;
        files->path = strdup(entry->path);
        memcpy(files->expected, entry->sha256, sizeof files->expected);
    }
    pthread_mutex_unlock(&u->lock);
    if (files->form == FOLDER_NONE)
        return TET_OK;
    if (!files->path) {
        *files = (struct folder_files){0};
        return tet_error_set(error, TET_NO_MEMORY, "no memory for dataset %s", name);
    }
    files->files[0] = folder_state(files->path);
    return TET_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum tet_err uploaded_list(struct uploaded *u, char ***names, size_t *n, struct tet_error *error)
{
    size_t kept = 0;
    bool whole = true;
    pthread_mutex_lock(&u->lock);
    char **all = reallocarray(*names, *n + u->n + 1, sizeof *all);
    if (all)
        *names = all;
    for (struct entry *entry = u->entries; all && whole && entry; entry = entry->next) {
        whole = (all[*n] = strdup(entry->name)) != NULL;
        *n += whole;
    }
    pthread_mutex_unlock(&u->lock);
    if (!all || !whole) {
        folder_names_free(*names, *n);
        *names = NULL;
        *n = 0;
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    }
    qsort(all, *n, sizeof *all, compare_names);
    for (size_t i = 0; i < *n; i++) {
        if (kept > 0 && strcmp(all[kept - 1], all[i]) == 0)
            free(all[i]);
        else
            all[kept++] = all[i];
    }
    *n = kept;
    return TET_OK;
}
