// SPDX-License-Identifier: Apache-2.0
/*
 * Resolving the dataset part of a run: counts, split, seed, checksum.
 *
 * `strokes` is made to measure: its counts and its seed are the definition's. A file dataset has
 * counts of its own, of which the definition may take fewer. One without a test part may lend the
 * end of its examples to the test.
 */
#include "definition/resolve.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

enum { STROKES_TRAIN = 20000, STROKES_TEST = 5000, STROKES_SEED = 1 };

static bool set_default(json_t *object, const char *key, json_int_t value)
{
    return json_object_get(object, key) != NULL ||
           json_object_set_new(object, key, json_integer(value)) == 0;
}

static json_int_t count(const json_t *dataset, const char *key)
{
    return json_integer_value(json_object_get(dataset, key));
}

static void too_large(struct faults *faults, const json_t *dataset, const char *key,
                      json_int_t least, json_int_t most, const char *why)
{
    char pointer[RESOLVE_POINTER];
    snprintf(pointer, sizeof pointer, "/dataset/%s", key);
    if (count(dataset, key) > most)
        faults_add(faults, pointer, json_object_get(dataset, key), NULL,
                   "integer from %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT " (%s)", least,
                   most, why);
}

/* A member that a fault has taken out gets no default: a guess would only make further faults. */
static bool strokes_defaults(json_t *dataset, struct faults *faults)
{
    bool good =
        (faults_known(faults, "/dataset/seed") || set_default(dataset, "seed", STROKES_SEED)) &&
        (faults_known(faults, "/dataset/train") || set_default(dataset, "train", STROKES_TRAIN)) &&
        (faults_known(faults, "/dataset/test") || set_default(dataset, "test", STROKES_TEST));
    too_large(faults, dataset, "train", 1, TET_STROKES_MAX, "the most that strokes makes");
    too_large(faults, dataset, "test", 0, TET_STROKES_MAX, "the most that strokes makes");
    return good;
}

static bool strokes_can_be_made(const json_t *dataset)
{
    const json_int_t train = count(dataset, "train"), test = count(dataset, "test");
    return train >= 1 && train <= TET_STROKES_MAX && test <= TET_STROKES_MAX &&
           json_object_get(dataset, "test") != NULL && json_object_get(dataset, "seed") != NULL;
}

static void report_catalog(const struct inputs *inputs, const struct inputs_dataset *entry,
                           const json_t *name, struct faults *faults)
{
    if (faults_known(faults, "/dataset/name"))
        return;
    if (entry->err != TET_NOT_FOUND) {
        faults_add(faults, "/dataset/name", name, NULL, "a dataset that can be used: %s",
                   entry->why.message);
        return;
    }
    struct text words = {0};
    json_t *names = inputs_names(inputs), *known;
    size_t i;
    json_array_foreach(names, i, known)
    {
        text_printf(&words, "%s%s", i > 0 ? ", " : "one of ", json_string_value(known));
        if (words.size > 2000) {
            text_puts(&words, ", ...");
            break;
        }
    }
    faults_add(faults, "/dataset/name", name, faults_nearest(json_string_value(name), names), "%s",
               words.size > 0 ? text_get(&words) : "a dataset of this server");
    faults->no_memory |= words.failed;
    text_free(&words);
    json_decref(names);
}

/* Counts of a file dataset: what there is, and where the test part comes from. */
static bool file_counts(json_t *dataset, const struct dataset_info *info, struct faults *faults)
{
    const json_int_t all = info->n_train;
    bool good = set_default(dataset, "test", info->n_test);
    if (info->n_test > 0) {
        too_large(faults, dataset, "test", 0, info->n_test, "the dataset's test part");
        good = good && set_default(dataset, "train", all);
        too_large(faults, dataset, "train", 1, all, "the dataset's training part");
        return good;
    }
    too_large(faults, dataset, "test", 0, all - 1,
              "the dataset has no test part; these are taken from the end of its examples");
    json_int_t left = all - count(dataset, "test");
    if (left < 1)
        return good; // reported
    good = good && set_default(dataset, "train", left);
    too_large(faults, dataset, "train", 1, left,
              "what the dataset has besides the test examples at its end");
    return good;
}

static bool file_sha(json_t *dataset, const struct dataset_info *info, struct faults *faults)
{
    const json_t *given = json_object_get(dataset, "sha256");
    if (given == NULL)
        return info->sha256[0] == '\0' ||
               json_object_set_new(dataset, "sha256", json_string(info->sha256)) == 0;
    if (info->sha256[0] == '\0')
        faults_add(faults, "/dataset/sha256", given, NULL, "no sum: %s is made, not read",
                   info->name);
    else if (strcmp(json_string_value(given), info->sha256) != 0)
        faults_add(faults, "/dataset/sha256", given, NULL, "%s, the dataset's sum now",
                   info->sha256);
    return true;
}

enum tet_err resolve_dataset(json_t *run, struct inputs *inputs, struct faults *faults,
                             const struct inputs_dataset **entry, struct tet_error *error)
{
    json_t *dataset = json_object_get(run, "dataset");
    const json_t *name = json_object_get(dataset, "name");
    struct dataset_spec spec = {0};
    bool good = true;
    *entry = NULL;
    if (name == NULL)
        return TET_OK;
    bool strokes = strcmp(json_string_value(name), "strokes") == 0;
    if (strokes)
        good = strokes_defaults(dataset, faults);
    else if (json_object_get(dataset, "seed") != NULL)
        faults_add(faults, "/dataset/seed", json_object_get(dataset, "seed"), NULL,
                   "no seed: only strokes is drawn from one");
    if (!good)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory while resolving a definition");
    if (strokes && !strokes_can_be_made(dataset))
        return TET_OK; // reported
    enum tet_err err = definition_dataset(&spec, run, NULL);
    if (err != TET_OK)
        return tet_error_set(error, err, "the dataset cannot be told");
    const struct inputs_dataset *found = inputs_dataset(inputs, &spec);
    if (found->err == TET_NO_MEMORY || found->err == TET_IO)
        return tet_error_set(error, found->err, "%s", found->why.message);
    if (found->err != TET_OK) {
        report_catalog(inputs, found, name, faults);
        return TET_OK;
    }
    *entry = found;
    if (!strokes)
        good = file_counts(dataset, &found->info, faults);
    good = good && file_sha(dataset, &found->info, faults);
    json_int_t train = count(dataset, "train");
    if (train > 0 && count(dataset, "validation") >= train)
        faults_add(faults, "/dataset/validation", json_object_get(dataset, "validation"), NULL,
                   "integer from 0 to %" JSON_INTEGER_FORMAT " (less than dataset.train)",
                   train - 1);
    return good ? TET_OK
                : tet_error_set(error, TET_NO_MEMORY, "out of memory while resolving a definition");
}
