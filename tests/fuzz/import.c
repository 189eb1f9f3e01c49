// SPDX-License-Identifier: Apache-2.0
/*
 * Archives of experiments. Input: how (0: an archive as it is; else its members, which the target packs,
 * deflated where it is 2), then that.
 *
 * Hashes and digests are never found by mutation: where experiment.json or a run.json says "$", and a
 * fork's /fork/digest, the right one takes its place.
 */
#include "archive.h"

#include "data/npz.h"
#include "definition/definition.h"
#include "import/import.h"
#include "json.h"
#include "results/protocol.h"
#include "results/weights.h"

enum { RAW = 0, DEFLATED = 2, MAX_UNPACKED = 1 << 20 };

/* ---- the right hashes ---- */

static json_t *json_of(const struct member *m)
{
    json_t *value = NULL;
    struct tet_error error = {0};
    if (m == NULL || memchr(m->bytes, '$', m->size) == NULL ||
        json_read(&value, (const char *)m->bytes, m->size, &error) != TET_OK)
        return NULL;
    return value;
}

static void replace(struct member *m, const json_t *value)
{
    free(m->bytes);
    m->bytes = (uint8_t *)json_text(value);
    HOLDS(m->bytes != NULL);
    m->size = strlen((const char *)m->bytes);
}

static bool is_open(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL && strcmp(text, "$") == 0;
}

static void close_with(json_t *object, const char *key, const char *text)
{
    if (text[0] != '\0' && is_open(object, key))
        HOLDS(json_object_set_new(object, key, json_string(text)) == 0);
}

/* The digest of a member's arrays, if they are any. */
static void digest_of(const struct member *m, const char *skip, char digest[STORE_HASH])
{
    struct store_array arrays[64] = {0};
    struct store_checkpoint c = {.arrays = arrays};
    struct npz npz;
    struct tet_error error = {0};
    digest[0] = '\0';
    if (m == NULL || npz_read(&npz, put_file(1, m->bytes, m->size), MAX_UNPACKED, &error) != TET_OK)
        return;
    for (size_t i = 0; i < npz.n && i < 64; i++) {
        const struct npy *from = &npz.arrays[i];
        struct store_array *to = &arrays[c.n];
        if (strcmp(from->name, skip) == 0 || from->type != NPY_F4 || from->rank > STORE_RANK ||
            from->rank == 0 || strlen(from->name) >= STORE_TENSOR_NAME)
            continue;
        strcpy(to->name, from->name);
        to->state = strchr(from->name, '/') != NULL;
        to->rank = from->rank;
        for (uint32_t k = 0; k < from->rank; k++)
            to->shape[k] = (uint32_t)from->shape[k];
        if (to->rank == 1)
            to->shape[1] = 1;
        to->n = from->n;
        to->data = from->data;
        c.n++;
    }
    weights_digest(digest, &c);
    npz_free(&npz);
}

static struct member *beside(struct member *members, size_t n, const char *folder, const char *name)
{
    char path[sizeof members->name + 32];
    snprintf(path, sizeof path, "%s%s", folder, name);
    return find_member(members, n, path);
}

static void fix_run(struct member *members, size_t n, struct member *run)
{
    char folder[sizeof run->name], hash[DEFINITION_HASH] = "", digest[STORE_HASH];
    snprintf(folder, sizeof folder, "%s", run->name);
    folder[strlen(folder) - strlen("run.json")] = '\0';
    struct member *of = beside(members, n, folder, "definition.json");
    json_t *definition = json_of(of), *fork = json_object_get(definition, "fork"),
           *json = json_of(run);
    if (fork != NULL) {
        digest_of(beside(members, n, folder, "start.npz"), "cursor", digest);
        close_with(fork, "digest", digest);
        replace(of, definition);
    }
    json_decref(definition);
    struct tet_error error = {0};
    if (of != NULL && json != NULL &&
        json_read(&definition, (const char *)of->bytes, of->size, &error) == TET_OK) {
        if (!definition_hashes(definition, NULL, hash)) // it is no object
            hash[0] = '\0';
        json_decref(definition);
    }
    close_with(json, "hash", hash);
    const json_t *rows = json_object_get(json_object_get(json, "protocol"), "rows");
    if (json_is_array(rows))
        protocol_digest(digest, rows);
    else
        digest_of(beside(members, n, folder, "weights.npz"), "", digest);
    if (is_open(json, "digest"))
        close_with(json, "digest", digest);
    if (json != NULL)
        replace(run, json);
    json_decref(json);
}

static void fix(struct member *members, size_t n)
{
    char hash[DEFINITION_HASH];
    struct member *experiment = find_member(members, n, "experiment.json");
    json_t *json = json_of(experiment);
    const json_t *definition = json_object_get(json, "definition");
    if (json_is_object(definition) && is_open(json, "hash")) {
        HOLDS(definition_hashes(definition, hash, NULL));
        close_with(json, "hash", hash);
        replace(experiment, json);
    }
    json_decref(json);
    for (size_t i = 0; i < n; i++) {
        const size_t length = strlen(members[i].name);
        if (length > 9 && strcmp(members[i].name + length - 9, "/run.json") == 0)
            fix_run(members, n, &members[i]);
    }
}

/* ---- what an import holds ---- */

static void check_checkpoint(const struct store_checkpoint *c)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct store_array *a = &c->arrays[i];
        uint64_t n = 1;
        HOLDS(a->rank >= 1 && a->rank <= STORE_RANK && a->name[0] != '\0');
        for (uint32_t k = 0; k < a->rank; k++)
            HOLDS(!__builtin_mul_overflow(n, a->shape[k], &n));
        HOLDS(n == a->n && a->data != NULL);
        for (size_t k = 0; k < i; k++)
            HOLDS(strcmp(c->arrays[k].name, a->name) != 0);
    }
    (void)weights_are_final(c); // as a fork asks
}

static void check_run(const struct store_imported_run *run)
{
    char hash[DEFINITION_HASH];
    json_t *definition = NULL;
    struct tet_error error = {0};
    HOLDS(json_read(&definition, run->definition, strlen(run->definition), &error) == TET_OK);
    HOLDS(definition_hashes(definition, NULL, hash) && strcmp(hash, run->hash) == 0);
    HOLDS(definition_check(definition, &error) == TET_OK);
    json_decref(definition);
    HOLDS(run_state_final(run->state) && run->step <= run->steps && run->steps > 0);
    HOLDS(run->created_ms > 0 && run->parameters != NULL && run->detail != NULL);
    HOLDS((run->digest != NULL) == (run->state == RUN_SUCCEEDED));
    HOLDS(run->train_seconds >= 0.0);
    for (size_t i = 0; i < run->n_rows; i++)
        HOLDS(run->rows[i].name < run->n_names);
    HOLDS(run->n_names <= IMPORT_MAX_SERIES);
    check_checkpoint(&run->checkpoint);
    check_checkpoint(&run->start);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input in = {bytes, size};
    struct member members[MEMBERS];
    struct import import;
    struct tet_error error = {0};
    const unsigned how = (unsigned)take_number(&in, 1) % 3;
    const size_t n = how != RAW ? take_members(&in, members) : 0;
    if (how != RAW)
        fix(members, n);
    if (how == RAW)
        put_file(0, in.at, in.left);
    else
        put_archive(0, members, n, how == DEFLATED);
    const enum tet_err err = import_read(&import, FIRST_SLOT, MAX_UNPACKED, &error);
    check_error(err, &error);
    HOLDS(err == TET_OK || err == TET_BAD_DEFINITION);
    for (size_t i = 0; err == TET_OK && i < import.store.n_runs; i++)
        check_run(&import.store.runs[i]);
    HOLDS(err != TET_OK || (import.store.n_runs > 0 && import.store.name != NULL));
    import_free(&import);
    free_members(members, n);
    return 0;
}
