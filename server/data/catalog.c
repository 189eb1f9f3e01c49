// SPDX-License-Identifier: Apache-2.0
/*
 * Datasets shared by name. See catalog.h.
 *
 * The cache is a list of slots, one for each dataset in memory or on its way there:
 *
 *     acquire, none fits        loaded             last release
 *     ------------------> LOADING ----> READY, used <--------> READY, unused ----> freed
 *                            |                       acquire                 another is wanted
 *                            +----> FAILED, off the list; freed by the last thread that waited
 *
 * A slot fits a request when name, seed, counts and the states of all files are the same; so a
 * replaced file gets a slot of its own while runs keep the old one. What was learnt of a file (its
 * description, or that it is bad) is kept apart, as notes, when its examples have left memory.
 *
 * Many threads enter. `lock` guards slots and notes, and is never held during I/O, loading or
 * hashing; a slot's dataset and info are written by its loader before it is READY and never after.
 */
#include "data/catalog.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/cifar.h"
#include "data/dataset_digest.h"
#include "data/folder.h"
#include "data/idx.h"
#include "data/npz_dataset.h"
#include "data/uploaded.h"

enum {
    LOAD_TRIES = 3, // times a dataset is read that changes while it is read
    NOTES = 1024    // at most; then the oldest go
};

static const char STROKES[] = "strokes";

typedef enum tet_err load_fn(struct tet_dataset *dataset, const char *path, uint64_t max_bytes,
                             struct tet_error *error);
static const struct {
    const char *kind;
    load_fn *load;
} forms[FOLDER_FORMS] = {
    [FOLDER_IDX] = {"idx", idx_load},
    [FOLDER_CIFAR10] = {"cifar10", cifar10_load},
    [FOLDER_CIFAR100] = {"cifar100", cifar100_load},
    [FOLDER_NPZ] = {"npz", npz_dataset_load},
};

enum slot_state { SLOT_LOADING, SLOT_READY, SLOT_FAILED };

struct slot {
    struct slot *next;
    struct dataset_spec spec;
    struct folder_files files; // as they were before reading
    enum slot_state state;
    unsigned holds; // acquired, or waiting for the loader
    struct tet_dataset dataset;
    struct dataset_info info;
    struct tet_error error; // SLOT_FAILED
};

struct note {
    struct note *next;
    char name[DATASET_NAME];
    struct folder_files files;
    struct dataset_info info;
    struct tet_error error; // TET_BAD_DATASET, or TET_OK
};

struct catalog {
    char *folder;              // NULL: no files
    struct uploaded *uploaded; // borrowed; NULL: none
    uint64_t memory_bytes;
    pthread_mutex_t lock;
    pthread_cond_t loaded; // a slot has left SLOT_LOADING
    struct slot *slots;
    struct note *notes; // newest first
};

static void slot_free(struct slot *slot)
{
    if (!slot)
        return;
    tet_dataset_free(&slot->dataset);
    folder_files_free(&slot->files);
    free(slot);
}

static void note_free(struct note *note)
{
    if (!note)
        return;
    folder_files_free(&note->files);
    free(note);
}

/* A file called like the built-in dataset would never be read: say so at the start. */
static enum tet_err check_folder(const char *folder, struct tet_error *error)
{
    struct stat st;
    struct folder_files files;
    if (stat(folder, &st) != 0)
        return errno == ENOENT ? TET_OK
                               : tet_error_set(error, TET_IO, "%s: %s", folder, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return tet_error_set(error, TET_IO, "%s: not a folder", folder);
    enum tet_err err = folder_find(folder, STROKES, &files, error);
    if (err == TET_OK && files.form != FOLDER_NONE)
        err = tet_error_set(error, TET_BAD_DATASET,
                            "%s: `%s` is the name of the built-in dataset; rename it", files.path,
                            STROKES);
    folder_files_free(&files);
    return err;
}

enum tet_err catalog_open(struct catalog **catalog, const char *data_folder, uint64_t memory_bytes,
                          struct tet_error *error)
{
    *catalog = NULL;
    if (sodium_init() < 0)
        return tet_error_set(error, TET_INTERNAL, "libsodium cannot start");
    enum tet_err err = data_folder ? check_folder(data_folder, error) : TET_OK;
    if (err != TET_OK)
        return err;
    struct catalog *c = calloc(1, sizeof *c);
    if (!c || (data_folder && !(c->folder = strdup(data_folder)))) {
        free(c);
        return tet_error_set(error, TET_NO_MEMORY, "no memory for the catalog");
    }
    c->memory_bytes = memory_bytes;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->loaded, NULL);
    *catalog = c;
    return TET_OK;
}

void catalog_close(struct catalog *c)
{
    if (!c)
        return;
    for (struct slot *slot = c->slots, *next; slot; slot = next) {
        next = slot->next;
        assert(slot->holds == 0);
        slot_free(slot);
    }
    for (struct note *note = c->notes, *next; note; note = next) {
        next = note->next;
        note_free(note);
    }
    pthread_cond_destroy(&c->loaded);
    pthread_mutex_destroy(&c->lock);
    free(c->folder);
    free(c);
}

void catalog_uploads(struct catalog *c, struct uploaded *uploaded)
{
    c->uploaded = uploaded;
}

enum tet_err catalog_has_file(struct catalog *c, const char *name, bool *has,
                              struct tet_error *error)
{
    struct folder_files files;
    *has = strcmp(name, STROKES) == 0;
    enum tet_err err = folder_find(c->folder, name, &files, error);
    *has = *has || files.form != FOLDER_NONE;
    folder_files_free(&files);
    return err;
}

enum tet_err catalog_list(struct catalog *c, char ***names, size_t *n, struct tet_error *error)
{
    enum tet_err err = folder_list(c->folder, STROKES, names, n, error);
    if (err == TET_OK && c->uploaded)
        err = uploaded_list(c->uploaded, names, n, error);
    return err;
}

/* In the folder or among the uploads; FOLDER_NONE: in neither. */
static enum tet_err find(struct catalog *c, const char *name, struct folder_files *files,
                         struct tet_error *error)
{
    struct folder_files upload = {0};
    enum tet_err err = folder_find(c->folder, name, files, error);
    if (err == TET_OK && c->uploaded)
        err = uploaded_find(c->uploaded, name, &upload, error);
    if (err == TET_OK && upload.form != FOLDER_NONE && files->form != FOLDER_NONE)
        err = tet_error_set(error, TET_BAD_DATASET,
                            "dataset %s is there twice, as a file of the data folder and as an "
                            "upload; move one away",
                            name);
    if (err == TET_OK && upload.form == FOLDER_NONE)
        return TET_OK;
    folder_files_free(files);
    if (err == TET_OK)
        *files = upload;
    else
        folder_files_free(&upload);
    return err;
}

void catalog_names_free(char **names, size_t n)
{
    folder_names_free(names, n);
}

/* TET_NOT_FOUND, with as many of the names there are as the message holds. */
static enum tet_err not_found(struct catalog *c, const char *name, struct tet_error *error)
{
    char text[360] = "", **names;
    size_t n, used = 0, i = 0;
    enum tet_err err = catalog_list(c, &names, &n, error);
    if (err != TET_OK)
        return err;
    for (; i < n && used + strlen(names[i]) + 3 < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? ", " : "", names[i]);
    if (folder_name_fits(name))
        err = tet_error_set(error, TET_NOT_FOUND, "no dataset %s; there are: %s%s", name, text,
                            i < n ? ", ..." : "");
    else
        err = tet_error_set(error, TET_NOT_FOUND,
                            "not a dataset's name (1 to %d of a-z, A-Z, 0-9, -, _); there are: "
                            "%s%s",
                            DATASET_NAME - 1, text, i < n ? ", ..." : "");
    catalog_names_free(names, n);
    return err;
}

/* Every field that matters, and 0 in those that do not, so that specs can be compared. */
static enum tet_err normalize(struct catalog *c, const struct dataset_spec *spec,
                              struct dataset_spec *normal, struct folder_files *files,
                              struct tet_error *error)
{
    *normal = (struct dataset_spec){0};
    *files = (struct folder_files){0};
    if (!folder_name_fits(spec->name))
        return not_found(c, spec->name, error);
    memcpy(normal->name, spec->name, strlen(spec->name));
    if (strcmp(normal->name, STROKES) == 0) {
        normal->seed = spec->seed;
        normal->train = spec->train;
        normal->test = spec->test;
        return TET_OK;
    }
    enum tet_err err = find(c, normal->name, files, error);
    if (err == TET_OK && files->form == FOLDER_NONE)
        err = not_found(c, normal->name, error);
    return err;
}

static bool same_spec(const struct dataset_spec *a, const struct dataset_spec *b)
{
    return strcmp(a->name, b->name) == 0 && a->seed == b->seed && a->train == b->train &&
           a->test == b->test;
}

static enum tet_err strokes_info(struct catalog *c, const struct dataset_spec *spec,
                                 struct dataset_info *info, struct tet_error *error)
{
    const uint32_t inputs = TET_STROKES_SIDE * TET_STROKES_SIDE;
    if (spec->train > TET_STROKES_MAX || spec->test > TET_STROKES_MAX)
        return tet_error_set(error, TET_BAD_DATASET, "strokes: at most %d examples of each part",
                             TET_STROKES_MAX);
    *info = (struct dataset_info){
        .kind = "builtin",
        .shape = {inputs, TET_STROKES_CLASSES, 1, TET_STROKES_SIDE, TET_STROKES_SIDE},
        .n_train = spec->train,
        .n_test = spec->test,
        .labels = true,
        .bytes = ((uint64_t)spec->train + spec->test) * (inputs + sizeof(int32_t)),
    };
    memcpy(info->name, STROKES, sizeof STROKES);
    if (info->bytes > c->memory_bytes)
        return tet_error_set(error, TET_BAD_DATASET,
                             "strokes: %llu bytes in memory, the limit is %llu",
                             (unsigned long long)info->bytes, (unsigned long long)c->memory_bytes);
    return TET_OK;
}

static void describe(struct slot *slot)
{
    const struct tet_dataset *d = &slot->dataset;
    slot->info = (struct dataset_info){
        .kind = forms[slot->files.form].kind,
        .shape = d->shape,
        .n_train = d->train.n,
        .n_test = d->test.n,
        .labels = d->train.labels != NULL,
        .bytes = dataset_bytes(d),
    };
    memcpy(slot->info.name, slot->spec.name, DATASET_NAME);
    dataset_digest(d, slot->info.sha256);
}

/* Reads the slot's files; TET_CONFLICT where they were replaced meanwhile. No lock is held. */
static enum tet_err load_files(struct catalog *c, struct slot *slot, struct tet_error *error)
{
    struct folder_files after;
    struct tet_error detail = {0}, ignored = {0};
    enum tet_err err =
        forms[slot->files.form].load(&slot->dataset, slot->files.path, c->memory_bytes, &detail);
    enum tet_err found = find(c, slot->spec.name, &after, &ignored);
    bool same = found == TET_OK && folder_files_same(&slot->files, &after);
    folder_files_free(&after);
    if (!same) {
        tet_dataset_free(&slot->dataset);
        return tet_error_set(error, TET_CONFLICT, "dataset %s changed while it was read",
                             slot->spec.name);
    }
    if (err != TET_OK)
        return tet_error_set(error, err, "%s", detail.message);
    describe(slot);
    if (slot->files.expected[0] == '\0' || strcmp(slot->files.expected, slot->info.sha256) == 0)
        return TET_OK;
    tet_dataset_free(&slot->dataset);
    return tet_error_set(error, TET_BAD_DATASET,
                         "dataset %s is damaged: its content is not what was uploaded",
                         slot->spec.name);
}

static enum tet_err load(struct catalog *c, struct slot *slot, struct tet_error *error)
{
    if (slot->files.form != FOLDER_NONE)
        return load_files(c, slot, error);
    enum tet_err err = strokes_info(c, &slot->spec, &slot->info, error);
    if (err != TET_OK)
        return err;
    return tet_strokes_create(&slot->dataset, slot->spec.seed, slot->spec.train, slot->spec.test,
                              error);
}

static void unlink_slot(struct catalog *c, struct slot *slot)
{
    struct slot **at = &c->slots;
    while (*at != slot)
        at = &(*at)->next;
    *at = slot->next;
}

/* Takes the unused slots but `kept` off the list. Under the lock; the caller frees the list that is
 * returned after unlocking. */
static struct slot *take_unused(struct catalog *c, const struct slot *kept)
{
    struct slot *taken = NULL;
    for (struct slot **at = &c->slots, *slot; (slot = *at);) {
        if (slot->holds > 0 || slot == kept) {
            at = &slot->next;
            continue;
        }
        *at = slot->next;
        slot->next = taken;
        taken = slot;
    }
    return taken;
}

static void free_slots(struct slot *list)
{
    for (struct slot *next; list; list = next) {
        next = list->next;
        slot_free(list);
    }
}

/* The note about these files, under the lock. */
static struct note *find_note(struct catalog *c, const struct dataset_spec *spec,
                              const struct folder_files *files)
{
    for (struct note *note = c->notes; note; note = note->next)
        if (strcmp(note->name, spec->name) == 0 && folder_files_same(&note->files, files))
            return note;
    return NULL;
}

/* Remembers what became of a slot of files, under the lock; older notes of the name go. Without
 * memory nothing is remembered, and the files are read again the next time. */
static void write_note(struct catalog *c, const struct slot *slot, const struct tet_error *error)
{
    if (slot->files.form == FOLDER_NONE || (error->err != TET_OK && error->err != TET_BAD_DATASET))
        return;
    struct note *note = calloc(1, sizeof *note);
    if (!note)
        return;
    memcpy(note->name, slot->spec.name, sizeof note->name);
    note->files = slot->files;
    note->files.path = NULL;
    note->info = slot->info;
    note->error = *error;
    note->next = c->notes;
    c->notes = note;
    size_t n = 1;
    for (struct note **at = &note->next, *old; (old = *at);) {
        if (strcmp(old->name, note->name) != 0 && n < NOTES) {
            at = &old->next;
            n++;
            continue;
        }
        *at = old->next;
        note_free(old);
    }
}

/* A hold on the slot that fits `fresh`, or on `fresh` itself, now on the list; *unused is what had
 * to leave for it. NULL where a note says that the files are bad. Under the lock. */
static struct slot *join(struct catalog *c, struct slot *fresh, struct slot **unused,
                         struct tet_error *error)
{
    struct note *note = find_note(c, &fresh->spec, &fresh->files);
    if (note && note->error.err != TET_OK) {
        *error = note->error;
        return NULL;
    }
    struct slot *slot = c->slots;
    while (slot && !(same_spec(&slot->spec, &fresh->spec) &&
                     folder_files_same(&slot->files, &fresh->files)))
        slot = slot->next;
    if (!slot) {
        slot = fresh;
        *unused = take_unused(c, NULL);
        slot->next = c->slots;
        c->slots = slot;
    }
    slot->holds++;
    return slot;
}

/* Loads a slot of this thread's own and tells those who wait. */
static void load_slot(struct catalog *c, struct slot *slot)
{
    struct tet_error error = {0};
    enum tet_err err = load(c, slot, &error);
    pthread_mutex_lock(&c->lock);
    slot->error = error;
    slot->state = err == TET_OK ? SLOT_READY : SLOT_FAILED;
    if (err != TET_OK)
        unlink_slot(c, slot);
    write_note(c, slot, &error);
    pthread_cond_broadcast(&c->loaded);
    pthread_mutex_unlock(&c->lock);
}

/* Waits for a slot's loader. A slot that failed is let go: the last to do so frees it. */
static enum tet_err wait_for(struct catalog *c, struct slot *slot, struct tet_error *error)
{
    bool last = false;
    pthread_mutex_lock(&c->lock);
    while (slot->state == SLOT_LOADING)
        pthread_cond_wait(&c->loaded, &c->lock);
    enum tet_err err = slot->state == SLOT_FAILED ? slot->error.err : TET_OK;
    if (err != TET_OK) {
        *error = slot->error;
        last = --slot->holds == 0;
    }
    pthread_mutex_unlock(&c->lock);
    if (last)
        slot_free(slot);
    return err;
}

/* One try: a slot held, loaded by this thread or another. Takes over *files; *error is empty. */
static enum tet_err acquire_slot(struct catalog *c, const struct dataset_spec *spec,
                                 struct folder_files *files, struct slot **acquired,
                                 struct tet_error *error)
{
    struct slot *unused = NULL, *fresh = calloc(1, sizeof *fresh);
    *acquired = NULL;
    if (!fresh)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for dataset %s", spec->name);
    fresh->spec = *spec;
    fresh->files = *files;
    *files = (struct folder_files){0};

    pthread_mutex_lock(&c->lock);
    struct slot *slot = join(c, fresh, &unused, error);
    pthread_mutex_unlock(&c->lock);
    free_slots(unused); // before the new one needs the room
    if (slot == fresh)
        load_slot(c, slot);
    else
        slot_free(fresh);
    if (!slot)
        return error->err;
    enum tet_err err = wait_for(c, slot, error);
    if (err == TET_OK)
        *acquired = slot;
    return err;
}

enum tet_err catalog_acquire(struct catalog *c, const struct dataset_spec *spec,
                             const struct tet_dataset **dataset, struct dataset_info *info,
                             struct tet_error *error)
{
    struct tet_error detail = {0};
    struct slot *slot = NULL;
    enum tet_err err = TET_CONFLICT;
    *dataset = NULL;
    for (int tries = 0; tries < LOAD_TRIES && err == TET_CONFLICT; tries++) {
        struct dataset_spec normal;
        struct folder_files files;
        detail = (struct tet_error){0};
        err = normalize(c, spec, &normal, &files, &detail);
        if (err == TET_OK)
            err = acquire_slot(c, &normal, &files, &slot, &detail);
        folder_files_free(&files);
    }
    if (err == TET_CONFLICT) // still being written, it seems
        err = TET_BAD_DATASET;
    if (err != TET_OK)
        return tet_error_set(error, err, "%s", detail.message);
    *dataset = &slot->dataset;
    if (info)
        *info = slot->info;
    return TET_OK;
}

void catalog_release(struct catalog *c, const struct tet_dataset *dataset)
{
    if (!dataset)
        return;
    struct slot *unused = NULL;
    pthread_mutex_lock(&c->lock);
    struct slot *slot = c->slots;
    while (slot && &slot->dataset != dataset)
        slot = slot->next;
    assert(slot && slot->holds > 0);
    if (--slot->holds == 0)
        unused = take_unused(c, slot); // the one just released may stay
    pthread_mutex_unlock(&c->lock);
    free_slots(unused);
}

enum tet_err catalog_info(struct catalog *c, const struct dataset_spec *spec,
                          struct dataset_info *info, struct tet_error *error)
{
    struct dataset_spec normal;
    struct folder_files files;
    const struct tet_dataset *dataset;
    *info = (struct dataset_info){0};
    enum tet_err err = normalize(c, spec, &normal, &files, error);
    if (err == TET_OK && files.form == FOLDER_NONE)
        return strokes_info(c, &normal, info, error);
    bool known = false;
    if (err == TET_OK) {
        pthread_mutex_lock(&c->lock);
        struct note *note = find_note(c, &normal, &files);
        known = note && note->error.err == TET_OK;
        if (known)
            *info = note->info;
        pthread_mutex_unlock(&c->lock);
    }
    folder_files_free(&files);
    if (err != TET_OK || known)
        return err;
    err = catalog_acquire(c, spec, &dataset, info, error);
    catalog_release(c, dataset);
    return err;
}
