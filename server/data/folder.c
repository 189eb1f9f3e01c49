// SPDX-License-Identifier: Apache-2.0
/*
 * Looks into the data folder. See folder.h.
 */
#include "data/folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/catalog.h"
#include "data/gz.h"
#include "data/idx.h"

_Static_assert((int)FOLDER_FILES >= (int)IDX_PARTS, "one state for each file");

static bool name_fits(const char *name, size_t n)
{
    if (n == 0 || n >= DATASET_NAME)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return true;
}

bool folder_name_fits(const char *name)
{
    return name_fits(name, strnlen(name, DATASET_NAME));
}

static struct file_state state_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return (struct file_state){0};
    return (struct file_state){
        .device = st.st_dev,
        .inode = st.st_ino,
        .size = st.st_size,
        .mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
    };
}

/* The states of the IDX files in a folder; *any says whether there is one. */
static enum tet_err find_idx(const char *folder, struct file_state files[FOLDER_FILES], bool *any,
                             struct tet_error *error)
{
    *any = false;
    for (int part = 0; part < IDX_PARTS; part++) {
        char *path = gz_path(folder, idx_names[part]);
        if (!path && errno == ENOMEM)
            return tet_error_set(error, TET_NO_MEMORY, "%s: out of memory", folder);
        if (path) {
            files[part] = state_of(path);
            *any = true;
        }
        free(path);
    }
    return TET_OK;
}

enum tet_err folder_find(const char *folder, const char *name, struct folder_files *files,
                         struct tet_error *error)
{
    char *idx = NULL, *npz = NULL;
    struct file_state archive = {0};
    bool any = false;
    enum tet_err err = TET_OK;
    *files = (struct folder_files){0};
    if (!folder)
        return TET_OK;
    if (asprintf(&idx, "%s/%s", folder, name) < 0) {
        idx = NULL;
        err = tet_error_set(error, TET_NO_MEMORY, "out of memory");
        goto out;
    }
    if (asprintf(&npz, "%s/%s.npz", folder, name) < 0) {
        npz = NULL;
        err = tet_error_set(error, TET_NO_MEMORY, "out of memory");
        goto out;
    }
    if ((err = find_idx(idx, files->files, &any, error)) != TET_OK)
        goto out;
    archive = state_of(npz);
    if (any && archive.inode != 0) {
        err = tet_error_set(error, TET_BAD_DATASET,
                            "dataset %s is there twice, as %s/ and as %s.npz; move one away", name,
                            name, name);
    } else if (any) {
        files->form = FOLDER_IDX;
        files->path = idx;
        idx = NULL;
    } else if (archive.inode != 0) {
        files->form = FOLDER_NPZ;
        files->files[0] = archive;
        files->path = npz;
        npz = NULL;
    }
out:
    free(idx);
    free(npz);
    return err;
}

void folder_files_free(struct folder_files *files)
{
    if (!files)
        return;
    free(files->path);
    *files = (struct folder_files){0};
}

bool folder_files_same(const struct folder_files *a, const struct folder_files *b)
{
    return a->form == b->form && memcmp(a->files, b->files, sizeof a->files) == 0;
}

void folder_names_free(char **names, size_t n)
{
    for (size_t i = 0; names && i < n; i++)
        free(names[i]);
    free(names);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names {
    char **names;
    size_t n, room;
};

static bool add_name(struct names *list, const char *name)
{
    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 16;
        char **larger = reallocarray(list->names, room, sizeof *larger);
        if (!larger)
            return false;
        list->names = larger;
        list->room = room;
    }
    char *copy = strdup(name);
    if (copy)
        list->names[list->n++] = copy;
    return copy != NULL;
}

static void sort_and_join(struct names *list)
{
    qsort(list->names, list->n, sizeof *list->names, compare_names);
    size_t kept = 0;
    for (size_t i = 0; i < list->n; i++) {
        if (kept > 0 && strcmp(list->names[kept - 1], list->names[i]) == 0)
            free(list->names[i]);
        else
            list->names[kept++] = list->names[i];
    }
    list->n = kept;
}

/* The dataset's name that an entry of the folder stands for, if it does. */
static enum tet_err take_entry(struct names *list, const char *folder, const char *entry,
                               struct tet_error *error)
{
    char name[DATASET_NAME] = "";
    size_t n = strlen(entry);
    if (n > 4 && strcmp(entry + n - 4, ".npz") == 0)
        n -= 4;
    if (!name_fits(entry, n))
        return TET_OK;
    memcpy(name, entry, n);
    struct folder_files files;
    struct tet_error twice = {0};
    enum tet_err err = folder_find(folder, name, &files, &twice);
    bool there = err == TET_BAD_DATASET || files.form != FOLDER_NONE;
    folder_files_free(&files);
    if (err == TET_NO_MEMORY || (there && !add_name(list, name)))
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    return TET_OK;
}

enum tet_err folder_list(const char *folder, const char *builtin, char ***names, size_t *n,
                         struct tet_error *error)
{
    struct names list = {0};
    enum tet_err err = TET_OK;
    DIR *dir = folder ? opendir(folder) : NULL;
    *names = NULL;
    *n = 0;
    if (folder && !dir && errno != ENOENT)
        return tet_error_set(error, TET_IO, "%s: %s", folder, strerror(errno));
    if (!add_name(&list, builtin))
        err = tet_error_set(error, TET_NO_MEMORY, "out of memory");
    while (dir && err == TET_OK) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry && errno != 0)
            err = tet_error_set(error, TET_IO, "%s: %s", folder, strerror(errno));
        if (!entry)
            break;
        err = take_entry(&list, folder, entry->d_name, error);
    }
    if (dir)
        closedir(dir);
    if (err != TET_OK) {
        folder_names_free(list.names, list.n);
        return err;
    }
    sort_and_join(&list);
    *names = list.names;
    *n = list.n;
    return TET_OK;
}
