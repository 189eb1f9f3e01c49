// SPDX-License-Identifier: Apache-2.0
/*
 * The data folder: which datasets lie in it, in which form, and whether their files have changed.
 *
 * Any thread; no state but the file system's. Symbolic links are followed.
 */
#ifndef SERVER_DATA_FOLDER_H
#define SERVER_DATA_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tetrad/error.h>

enum { FOLDER_FILES = 6, FOLDER_DIGEST = 72 };

enum folder_form {
    FOLDER_NONE,
    FOLDER_IDX,
    FOLDER_CIFAR10,
    FOLDER_CIFAR100,
    FOLDER_NPZ,
    FOLDER_FORMS
};

struct file_state { // all zero: no such file
    uint64_t device, inode;
    int64_t size, mtime_ns;
};

struct folder_files {
    enum folder_form form; // FOLDER_NONE: no such dataset
    char *path;            // the dataset's own folder, or its archive; NULL for FOLDER_NONE
    struct file_state files[FOLDER_FILES];
    char expected[FOLDER_DIGEST]; // "sha256:..." that the content must have; "": any
};

struct file_state folder_state(const char *path); // all zero: no such file

/* folder_name_fits: whether name may be a dataset's: 1 to 63 letters, digits, '-', '_'. */
bool folder_name_fits(const char *name);

/* folder_find: the files of the dataset of a fitting name. folder NULL or not there: FOLDER_NONE.
 * The caller frees with folder_files_free. Errors: TET_BAD_DATASET (two forms of one name),
 * TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err folder_find(const char *folder, const char *name,
                                        struct folder_files *files, struct tet_error *error);
void folder_files_free(struct folder_files *files);
bool folder_files_same(const struct folder_files *a, const struct folder_files *b);

/* folder_list: names of the datasets in the folder, with `builtin` among them, sorted, each once.
 * The caller frees with folder_names_free. Errors: TET_IO, TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err folder_list(const char *folder, const char *builtin, char ***names,
                                        size_t *n, struct tet_error *error);
void folder_names_free(char **names, size_t n);

#endif
