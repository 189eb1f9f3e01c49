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
#include "data/cifar.h"
#include "data/gz.h"
#include "data/idx.h"

_Static_assert((int)FOLDER_FILES >= (int)IDX_PARTS && (int)FOLDER_FILES >= (int)CIFAR10_FILES,
               "one state for each file");

/* The forms, and the files that make them where they are folders. */
static const struct {
    const char *words;
    const char *const *names;
    int n;
} forms[FOLDER_FORMS] = {
    [FOLDER_IDX] = {"IDX files", idx_names, IDX_PARTS},
    [FOLDER_CIFAR10] = {"CIFAR-10 files", cifar10_names, CIFAR10_FILES},
    [FOLDER_CIFAR100] = {"CIFAR-100 files", cifar100_names, CIFAR100_FILES},
    [FOLDER_NPZ] = {"an .npz archive", NULL, 0},
};

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

struct file_state folder_state(const char *path)
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

/* The states of a form's files in a folder; *any says whether there is one. */
static enum tet_err find_parts(const char *folder, enum folder_form form,
                               struct file_state files[FOLDER_FILES], bool *any,
                               struct tet_error *error)
{
    *any = false;
    for (int part = 0; part < forms[form].n; part++) {
        char *path = gz_path(folder, forms[form].names[part]);
        if (!path && errno == ENOMEM)
            return tet_error_set(error, TET_NO_MEMORY, "%s: out of memory", folder);
        if (path) {
            files[part] = folder_state(path);
            *any = true;
        }
        free(path);
    }
    return TET_OK;
}

/* The form of what lies at `inside`, a folder, and at `npz`; *other is a second form. */
static enum tet_err find_forms(const char *inside, const char *npz, struct folder_files *files,
                               enum folder_form *other, struct tet_error *error)
{
    for (enum folder_form form = FOLDER_IDX; form < FOLDER_FORMS; form++) {
        struct file_state states[FOLDER_FILES] = {0};
        bool any;
        enum tet_err err = find_parts(inside, form, states, &any, error);
        if (err != TET_OK)
            return err;
        if (form == FOLDER_NPZ) {
            states[0] = folder_state(npz);
            any = states[0].inode != 0;
        }
        if (any && files->form != FOLDER_NONE)
            *other = form;
        if (!any || files->form != FOLDER_NONE)
            continue;
        files->form = form;
        memcpy(files->files, states, sizeof states);
    }
    return TET_OK;
}

enum tet_err folder_find(const char *folder, const char *name, struct folder_files *files,
                         struct tet_error *error)
{
    char *inside = NULL, *npz = NULL;
    enum folder_form other = FOLDER_NONE;
    enum tet_err err = TET_NO_MEMORY;
    *files = (struct folder_files){0};
    if (!folder)
        return TET_OK;
    if (asprintf(&inside, "%s/%s", folder, name) < 0)
        inside = NULL;
    else if (asprintf(&npz, "%s/%s.npz", folder, name) < 0)
        npz = NULL;
    if (npz)
        err = find_forms(inside, npz, files, &other, error);
    else
        tet_error_set(error, err, "out of memory");
    if (err == TET_OK && other != FOLDER_NONE)
        err = tet_error_set(error, TET_BAD_DATASET,
                            "dataset %s is there twice, as %s and as %s; move one away", name,
                            forms[files->form].words, forms[other].words);
    if (err != TET_OK)
        *files = (struct folder_files){0};
    else if (files->form != FOLDER_NONE) {
        char **path = files->form == FOLDER_NPZ ? &npz : &inside;
        files->path = *path;
        *path = NULL;
    }
    free(inside);
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
        return tet_error_set(error, errno == ENOMEM ? TET_NO_MEMORY : TET_IO, "%s: %s", folder,
                             strerror(errno));
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
