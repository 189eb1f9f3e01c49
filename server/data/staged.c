// SPDX-License-Identifier: Apache-2.0
/* The files of an upload: see staged.h. One thread at a time. */
#include "data/staged.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/cifar.h"
#include "data/csv.h"
#include "data/idx.h"
#include "data/npz_dataset.h"
#include "space.h"

static const struct {
    const char *kind;
    const char *const *names; // NULL: known by its ending
    int n;
} forms[] = {
    [STAGED_IDX] = {"idx", idx_names, IDX_PARTS},
    [STAGED_CIFAR10] = {"cifar10", cifar10_names, CIFAR10_FILES},
    [STAGED_CIFAR100] = {"cifar100", cifar100_names, CIFAR100_FILES},
    [STAGED_NPZ] = {"npz", NULL, 0},
    [STAGED_CSV] = {"csv", NULL, 0},
};
enum { FORMS = sizeof forms / sizeof *forms };

static bool ends_with(const char *name, const char *ending)
{
    const size_t n = strlen(name), m = strlen(ending);
    return n > m && strcmp(name + n - m, ending) == 0;
}

/* The form that a name belongs to, which of its files, and what it is to be called here. */
static enum staged_form look_up(const char *name, unsigned *bit, char as[64])
{
    const size_t n = strlen(name) - (ends_with(name, ".gz") ? 3 : 0);
    for (int form = STAGED_IDX; form < FORMS; form++)
        for (int i = 0; i < forms[form].n; i++) {
            if (strlen(forms[form].names[i]) != n || strncmp(name, forms[form].names[i], n) != 0)
                continue;
            *bit = 1u << i;
            snprintf(as, 64, "%s%s", forms[form].names[i], name[n] != '\0' ? ".gz" : "");
            return (enum staged_form)form;
        }
    const bool npz = ends_with(name, ".npz"), test = strcmp(name, "test.csv") == 0;
    if (!npz && !ends_with(name, ".csv"))
        return STAGED_NONE;
    *bit = test ? 2 : 1;
    snprintf(as, 64, "%s", npz ? "data.npz" : test ? "test.csv" : "train.csv");
    return npz ? STAGED_NPZ : STAGED_CSV;
}

void staged_begin(struct staged *s, const char *folder)
{
    *s = (struct staged){.folder = folder, .fd = -1};
}

static enum tet_err disk_error(int reason, struct tet_error *error)
{
    return tet_error_set(error, space_error(reason), "the upload cannot be kept: %s",
                         strerror(reason));
}

enum tet_err staged_file(struct staged *s, const char *name, struct tet_error *error)
{
    unsigned bit = 0;
    char as[64], shown[64];
    size_t n = 0;
    for (; n + 1 < sizeof shown && name[n] != '\0'; n++)
        shown[n] = name[n] >= ' ' && name[n] <= '~' ? name[n] : '?';
    shown[n] = '\0';
    staged_end(s);
    const enum staged_form form = look_up(name, &bit, as);
    if (form == STAGED_NONE)
        return tet_error_set(
            error, TET_BAD_DATASET,
            "no file of a dataset is called \"%s\"; there are: NAME.npz, NAME.csv, "
            "test.csv, and IDX and CIFAR files by their own names",
            shown);
    if (s->form != STAGED_NONE && s->form != form)
        return tet_error_set(error, TET_BAD_DATASET, "\"%s\" does not go with files of the form %s",
                             shown, forms[s->form].kind);
    if (s->seen & bit)
        return tet_error_set(error, TET_BAD_DATASET, "\"%s\" is there twice", shown);
    s->form = form;
    s->seen |= bit;
    if (snprintf(s->path, sizeof s->path, "%s/%s", s->folder, as) >= (int)sizeof s->path)
        return disk_error(ENAMETOOLONG, error);
    char *kept = form == STAGED_NPZ   ? s->npz
                 : form != STAGED_CSV ? NULL
                 : bit == 2           ? s->test
                                      : s->train;
    if (kept != NULL)
        memcpy(kept, s->path, sizeof s->path);
    s->fd = open(s->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return s->fd >= 0 ? TET_OK : disk_error(errno, error);
}

enum tet_err staged_write(struct staged *s, const char *bytes, size_t size, struct tet_error *error)
{
    while (size > 0) {
        const ssize_t n = write(s->fd, bytes, size);
        if (n < 0 && errno != EINTR)
            return disk_error(errno, error);
        bytes += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return TET_OK;
}

void staged_end(struct staged *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static enum tet_err load_csv(const struct staged *s, const char *label, double test_fraction,
                             uint64_t max_bytes, struct tet_dataset *dataset,
                             struct tet_error *error)
{
    const struct csv_source source = {.train = s->train,
                                      .test = s->test[0] != '\0' ? s->test : NULL,
                                      .label = label,
                                      .test_fraction = test_fraction};
    if (s->train[0] == '\0')
        return tet_error_set(error, TET_BAD_DATASET,
                             "there is a table to test on, and none to train on");
    if (source.test != NULL && test_fraction > 0)
        return tet_error_set(error, TET_BAD_DATASET,
                             "there is a table to test on: test_fraction must not be given");
    return csv_load(dataset, &source, max_bytes, error);
}

enum tet_err staged_load(const struct staged *s, const char *label, double test_fraction,
                         uint64_t max_bytes, struct tet_dataset *dataset, const char **kind,
                         struct tet_error *error)
{
    *dataset = (struct tet_dataset){0};
    *kind = forms[s->form].kind;
    if (s->form != STAGED_CSV && (label != NULL || test_fraction > 0))
        return tet_error_set(error, TET_BAD_DATASET,
                             "label and test_fraction are for tables alone");
    switch (s->form) {
    case STAGED_IDX:
        return idx_load(dataset, s->folder, max_bytes, error);
    case STAGED_CIFAR10:
        return cifar10_load(dataset, s->folder, max_bytes, error);
    case STAGED_CIFAR100:
        return cifar100_load(dataset, s->folder, max_bytes, error);
    case STAGED_NPZ:
        return npz_dataset_load(dataset, s->npz, max_bytes, error);
    case STAGED_CSV:
        return load_csv(s, label, test_fraction, max_bytes, dataset, error);
    case STAGED_NONE:
        break;
    }
    return tet_error_set(error, TET_BAD_DATASET, "there is no file in it");
}
