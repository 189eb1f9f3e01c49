// SPDX-License-Identifier: Apache-2.0
/* Archives of experiments: see import.h. */
#include "import/import.h"

#include <stdio.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "definition/definition.h"
#include "import/private.h"
#include "import/rows.h"
#include "json.h"
#include "results/protocol.h"

enum { JSON_MAX_BYTES = 64 << 20 };
static const uint64_t MAX_STEPS = (uint64_t)1 << 53;

/* ---- members ---- */

static bool is_member(const char *name, char number[24])
{
    static const char *const top[] = {"experiment.json", "summary.json", "README.md"};
    static const char *const of_run[] = {
        "run.json", "definition.json", "metrics.csv", "weights.npz", "protocol.json", "start.npz",
        ""};
    for (size_t i = 0; i < 3; i++)
        if (strcmp(name, top[i]) == 0)
            return true;
    if (strcmp(name, "runs/") == 0)
        return true;
    if (strncmp(name, "runs/", 5) != 0)
        return false;
    const size_t digits = strspn(name + 5, "0123456789");
    if (digits < 1 || digits > 18 || name[5] == '0' || name[5 + digits] != '/')
        return false;
    snprintf(number, 24, "%.*s", (int)digits, name + 5);
    for (size_t i = 0; i < sizeof of_run / sizeof *of_run; i++)
        if (strcmp(name + 6 + digits, of_run[i]) == 0)
            return true;
    return false;
}

/* Every member is one of the layout's, none comes twice, and together they are not too much. */
static enum tet_err check_members(struct import_reading *r)
{
    const zip_int64_t n = zip_get_num_entries(r->zip, 0);
    uint64_t sum = 0;
    if (n > 7 * (zip_int64_t)IMPORT_MAX_RUNS + 8)
        return BAD(r, "the archive has %lld members: too many", (long long)n);
    for (zip_int64_t i = 0; i < n; i++) {
        zip_stat_t st;
        char number[24];
        if (zip_stat_index(r->zip, (zip_uint64_t)i, 0, &st) != 0 || st.name == NULL ||
            (st.valid & ZIP_STAT_SIZE) == 0)
            return BAD(r, "the archive is damaged");
        if (!is_member(st.name, number))
            return BAD(r, "the archive has a member \"%.60s\", which an export does not have",
                       st.name);
        if (zip_name_locate(r->zip, st.name, 0) != i)
            return BAD(r, "the archive has \"%.60s\" twice", st.name);
        if (st.size > r->left || sum > r->left - st.size)
            return BAD(r, "the archive unpacks to more than %llu bytes",
                       (unsigned long long)r->left);
        sum += st.size;
    }
    return TET_OK;
}

enum tet_err import_member(struct import_reading *r, const char *name, uint64_t most, char **bytes,
                           size_t *size)
{
    zip_stat_t st;
    *bytes = NULL;
    *size = 0;
    if (zip_stat(r->zip, name, 0, &st) != 0)
        return TET_OK;
    if (st.size > most || st.size > r->left)
        return BAD(r, "%s is too large: %llu bytes", name, (unsigned long long)st.size);
    r->left -= st.size; // what the directory says is all that is read
    errno = 0;
    zip_file_t *file = zip_fopen(r->zip, name, 0);
    char *text = malloc(st.size + 1);
    if (file == NULL || text == NULL) {
        free(text);
        if (file != NULL)
            zip_fclose(file);
        return file == NULL && errno != ENOMEM
                   ? BAD(r, "%s cannot be unpacked", name)
                   : tet_error_set(r->error, TET_NO_MEMORY, "no memory for %s", name);
    }
    zip_uint64_t done = 0;
    zip_int64_t n = 1;
    while (done < st.size && (n = zip_fread(file, text + done, st.size - done)) > 0)
        done += (zip_uint64_t)n;
    char beyond;
    const bool whole = done == st.size && zip_fread(file, &beyond, 1) == 0;
    if (zip_fclose(file) != 0 || !whole) { // the checksum is looked at here
        free(text);
        return BAD(r, "%s is damaged", name);
    }
    text[st.size] = '\0';
    *bytes = text;
    *size = st.size;
    return TET_OK;
}

/* About how many values a text of JSON has. */
static size_t count_values(const char *text, size_t size)
{
    size_t n = 1;
    for (size_t i = 0; i < size; i++)
        n += text[i] == ':' ? 3 : text[i] == ',' || text[i] == '[' || text[i] == '{' ? 1 : 0;
    return n;
}

/* A JSON object, which stays until the import is freed. */
static enum tet_err read_json(struct import_reading *r, const char *name, json_t **value)
{
    char *text;
    size_t size;
    struct tet_error why = {0};
    enum tet_err err = import_member(r, name, JSON_MAX_BYTES, &text, &size);
    *value = NULL;
    if (err != TET_OK)
        return err;
    if (text == NULL)
        return BAD(r, "the archive has no %s", name);
    const size_t values = count_values(text, size);
    if (values > r->values) {
        free(text);
        return BAD(r, "%s: the archive's JSON has too many values", name);
    }
    r->values -= values;
    err = json_read(value, text, size, &why);
    free(text);
    if (err == TET_NO_MEMORY)
        return tet_error_set(r->error, err, "no memory for %s", name);
    if (err != TET_OK)
        return BAD(r, "%s: %s", name, why.message);
    json_array_append_new(r->import->kept, *value);
    return json_is_object(*value) ? TET_OK : BAD(r, "%s is no object", name);
}

/* Keeps a text until the import is freed; NULL: no memory. */
static const char *keep(struct import_reading *r, char *text)
{
    struct import *import = r->import;
    if (text != NULL && import->n_texts == import->capacity) {
        const size_t capacity = import->capacity > 0 ? 2 * import->capacity : 64;
        char **grown = realloc(import->texts, capacity * sizeof *grown);
        if (grown == NULL) {
            free(text);
            text = NULL;
        } else {
            import->texts = grown;
            import->capacity = capacity;
        }
    }
    if (text != NULL)
        import->texts[import->n_texts++] = text;
    else
        tet_error_set(r->error, TET_NO_MEMORY, "out of memory");
    return text;
}

static const char *keep_json(struct import_reading *r, const json_t *value)
{
    return keep(r, json_canonical(value));
}

/* ---- a run ---- */

static int64_t time_of(const json_t *value)
{
    struct tm tm = {0};
    int ms = 0;
    const char *text = json_string_value(value);
    const char *rest = text != NULL ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (rest == NULL || (*rest == '.' && sscanf(rest, ".%3dZ", &ms) != 1))
        return 0;
    const int64_t seconds = (int64_t)timegm(&tm);
    return seconds > 0 && ms >= 0 ? seconds * 1000 + ms : 0;
}

static uint64_t number_of(const json_t *object, const char *key)
{
    const json_int_t n = json_integer_value(json_object_get(object, key));
    return n > 0 ? (uint64_t)n : 0;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key)); // NULL: none
}

static enum tet_err read_state(struct import_reading *r, const json_t *run, const char *where,
                               struct store_imported_run *into)
{
    const char *state = text_of(run, "state");
    for (int s = 0; state != NULL && s < RUN_STATES_COUNT; s++)
        if (strcmp(state, run_state_text((enum run_state)s)) == 0 &&
            run_state_final((enum run_state)s)) {
            into->state = (enum run_state)s;
            return TET_OK;
        }
    return BAD(r,
               "%s/run.json: /state: found \"%.20s\", allowed succeeded, diverged, failed, "
               "cancelled: a run that has ended",
               where, state != NULL ? state : "");
}

/* What is stored of how a run diverged; the rest of it follows from the metrics. */
static const char *keep_divergence(struct import_reading *r, const json_t *value)
{
    static const char *const keys[] = {"step",  "tensor",    "group",
                                       "layer", "last_loss", "last_step"};
    json_t *kept = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (json_object_get(value, keys[i]) != NULL)
            json_object_set(kept, keys[i], json_object_get(value, keys[i]));
    const char *text = keep_json(r, kept);
    json_decref(kept);
    return text;
}

/* What a sweep can have written: paths of a definition. They go into tables and CSV, where another
 * name would be a formula of the reader's spreadsheet. */
static bool are_parameters(const json_t *parameters)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
    const char *path;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)parameters, path, value)
    {
        const char first = json_is_string(value) ? *json_string_value(value) : '\0';
        if (*path == '\0' || strspn(path, letters) != strlen(path) || first == '=' ||
            first == '+' || first == '@')
            return false;
    }
    return json_is_object(parameters);
}

static enum tet_err read_facts(struct import_reading *r, const json_t *run, const char *where,
                               int64_t was, struct store_imported_run *into)
{
    const json_t *progress = json_object_get(run, "progress"),
                 *divergence = json_object_get(run, "divergence"),
                 *seconds = json_object_get(run, "train_seconds"),
                 *parameters = json_object_get(run, "parameters");
    enum tet_err err = read_state(r, run, where, into);
    if (err != TET_OK)
        return err;
    if (!are_parameters(parameters))
        return BAD(r,
                   "%s/run.json: /parameters is no object of values by their paths in a definition",
                   where);
    into->step = number_of(progress, "step");
    into->steps = number_of(progress, "steps");
    if (into->steps < 1 || into->steps > MAX_STEPS || into->step > into->steps)
        return BAD(r, "%s/run.json: /progress: found step %llu of %llu steps", where,
                   (unsigned long long)into->step, (unsigned long long)into->steps);
    into->memory_bytes = number_of(run, "memory_bytes");
    into->train_seconds = json_number_value(seconds) > 0.0 ? json_number_value(seconds) : 0.0;
    into->created_ms = time_of(json_object_get(run, "created_at"));
    into->started_ms = time_of(json_object_get(run, "started_at"));
    into->ended_ms = time_of(json_object_get(run, "ended_at"));
    into->reason = text_of(run, "reason");
    into->digest = text_of(run, "digest");
    into->parameters = keep_json(r, parameters);
    if (json_is_object(divergence) && into->state == RUN_DIVERGED)
        into->divergence = keep_divergence(r, divergence);
    json_t *detail =
        json_pack("{s:I, s:O, s:O, s:O}", "was", (json_int_t)was, "created_at",
                  json_object_get(run, "created_at"), "started_at",
                  json_object_get(run, "started_at"), "ended_at", json_object_get(run, "ended_at"));
    if (detail == NULL)
        return BAD(r, "%s/run.json: it lacks one of created_at, started_at, ended_at", where);
    into->detail = keep_json(r, detail);
    json_decref(detail);
    if (into->created_ms == 0)
        return BAD(r, "%s/run.json: /created_at is no time", where);
    return into->detail != NULL && into->parameters != NULL ? TET_OK : TET_NO_MEMORY;
}

static enum tet_err read_definition(struct import_reading *r, const json_t *run, const char *where,
                                    struct store_imported_run *into, json_t **definition)
{
    char name[IMPORT_NAME], hash[DEFINITION_HASH];
    struct tet_error why = {0};
    snprintf(name, sizeof name, "%s/definition.json", where);
    enum tet_err err = read_json(r, name, definition);
    if (err == TET_OK) {
        err = definition_check(*definition, &why);
        if (err != TET_OK)
            return err == TET_BAD_DEFINITION ? BAD(r, "%s: %s", name, why.message)
                                             : tet_error_set(r->error, err, "%s", why.message);
    }
    if (err != TET_OK)
        return err;
    into->hash = text_of(run, "hash");
    if (!definition_hashes(*definition, NULL, hash))
        return tet_error_set(r->error, TET_NO_MEMORY, "out of memory");
    if (into->hash == NULL || strcmp(into->hash, hash) != 0)
        return BAD(r, "%s: its hash is %s, and not what run.json says", name, hash);
    into->definition = keep_json(r, *definition);
    return into->definition != NULL ? TET_OK : TET_NO_MEMORY;
}

static enum tet_err read_protocol(struct import_reading *r, const char *where, const json_t *run,
                                  struct store_imported_run *into)
{
    const json_t *rows = json_object_get(json_object_get(run, "protocol"), "rows");
    char digest[STORE_HASH], name[IMPORT_NAME];
    json_t *copy = NULL;
    snprintf(name, sizeof name, "%s/protocol.json", where);
    if (zip_name_locate(r->zip, name, 0) >= 0) {
        const enum tet_err err = read_json(r, name, &copy);
        if (err != TET_OK)
            return err;
        if (!json_equal(copy, json_object_get(run, "protocol")))
            return BAD(r, "%s is not what run.json says", name);
    }
    if (into->state != RUN_SUCCEEDED)
        return TET_OK;
    protocol_digest(digest, rows);
    if (!json_is_array(rows) || into->digest == NULL || strcmp(digest, into->digest) != 0)
        return BAD(r, "%s/run.json: the digest of /protocol/rows is not what it says", where);
    into->protocol = keep_json(r, rows);
    return into->protocol != NULL ? TET_OK : TET_NO_MEMORY;
}

static enum tet_err read_run(struct import_reading *r, size_t i, int64_t was)
{
    char where[40], name[IMPORT_NAME], *csv;
    struct store_imported_run *run = &r->import->runs[i];
    struct tet_error why = {0};
    json_t *json, *definition = NULL;
    size_t size;
    r->import->was[i] = was;
    snprintf(where, sizeof where, "runs/%lld", (long long)was);
    snprintf(name, sizeof name, "%s/run.json", where);
    enum tet_err err = read_json(r, name, &json);
    if (err == TET_OK && json_integer_value(json_object_get(json, "id")) != was)
        err = BAD(r, "%s: /id is not %lld", name, (long long)was);
    if (err == TET_OK)
        err = read_facts(r, json, where, was, run);
    if (err == TET_OK)
        err = read_definition(r, json, where, run, &definition);
    if (err == TET_OK)
        err = protocol_patterns(definition) > 0 ? read_protocol(r, where, json, run)
                                                : import_weights(r, where, definition, run);
    if (err == TET_OK)
        err = import_start(r, where, definition, run);
    if (err == TET_OK && run->state != RUN_SUCCEEDED)
        run->digest = NULL;
    snprintf(name, sizeof name, "%s/metrics.csv", where);
    if (err == TET_OK)
        err = import_member(r, name, UINT64_MAX, &csv, &size);
    if (err != TET_OK || csv == NULL)
        return err;
    err = import_rows(run, was, csv, size, r->rows, &why);
    r->rows -= run->n_rows;
    free(csv);
    return err == TET_BAD_DEFINITION ? BAD(r, "%s: %s", name, why.message)
           : err != TET_OK           ? tet_error_set(r->error, err, "%s", why.message)
                                     : TET_OK;
}

/* ---- the experiment ---- */

static enum tet_err read_experiment(struct import_reading *r, json_t **runs)
{
    struct store_import *store = &r->import->store;
    char hash[DEFINITION_HASH];
    json_t *json;
    const enum tet_err err = read_json(r, "experiment.json", &json);
    if (err != TET_OK)
        return err;
    const json_t *definition = json_object_get(json, "definition"),
                 *tags = json_object_get(definition, "tags");
    *runs = json_object_get(json, "runs");
    if (!json_is_object(definition) || !json_is_array(*runs) || json_array_size(*runs) < 1 ||
        json_array_size(*runs) > IMPORT_MAX_RUNS)
        return BAD(r, "experiment.json: it needs a definition, and 1 to %d runs", IMPORT_MAX_RUNS);
    if (!definition_hashes(definition, hash, NULL))
        return tet_error_set(r->error, TET_NO_MEMORY, "out of memory");
    store->hash = text_of(json, "hash");
    store->name = text_of(definition, "name");
    if (store->hash == NULL || strcmp(store->hash, hash) != 0)
        return BAD(r, "experiment.json: the hash of /definition is %s, and not what it says", hash);
    if (store->name == NULL)
        return BAD(r, "experiment.json: /definition/name is no string");
    store->definition = keep_json(r, definition);
    store->tags = json_is_array(tags) ? keep_json(r, tags) : "[]";
    return store->definition != NULL && store->tags != NULL ? TET_OK : TET_NO_MEMORY;
}

static enum tet_err read_all(struct import_reading *r)
{
    struct import *import = r->import;
    json_t *runs = NULL, *run;
    size_t i;
    enum tet_err err = check_members(r);
    if (err == TET_OK)
        err = read_experiment(r, &runs);
    if (err != TET_OK)
        return err;
    import->runs = calloc(json_array_size(runs), sizeof *import->runs);
    import->was = calloc(json_array_size(runs), sizeof *import->was);
    if (import->runs == NULL || import->was == NULL)
        return tet_error_set(r->error, TET_NO_MEMORY, "out of memory");
    import->store.runs = import->runs;
    r->values = IMPORT_VALUES + IMPORT_RUN_VALUES * json_array_size(runs);
    json_array_foreach(runs, i, run)
    {
        const json_int_t was = json_integer_value(json_object_get(run, "id"));
        if (was < 1 || (i > 0 && was <= import->was[i - 1]))
            return BAD(r, "experiment.json: /runs/%zu/id: found %lld, allowed ascending numbers", i,
                       (long long)was);
        import->store.n_runs = i + 1;
        err = read_run(r, i, was);
        if (err != TET_OK)
            return err;
    }
    return TET_OK;
}

enum tet_err import_read(struct import *import, int fd, uint64_t max_unpacked,
                         struct tet_error *error)
{
    struct import_reading r = {.import = import,
                               .left = max_unpacked,
                               .values = IMPORT_LIST_VALUES,
                               .rows = IMPORT_MAX_ROWS,
                               .error = error};
    int code = 0;
    const int own = dup(fd);
    *import = (struct import){.kept = json_array()};
    if (own < 0 || import->kept == NULL) {
        if (own >= 0)
            close(own);
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    }
    errno = 0;
    r.zip = zip_fdopen(own, ZIP_CHECKCONS, &code);
    if (r.zip == NULL) {
        const bool memory = code == ZIP_ER_MEMORY || errno == ENOMEM;
        close(own);
        if (memory)
            return tet_error_set(error, TET_NO_MEMORY, "no memory for the archive");
        return BAD(&r, "the body is no zip archive, or a damaged one");
    }
    const enum tet_err err = read_all(&r);
    zip_discard(r.zip);
    return err != TET_OK ? tet_error_set(error, err, "%s", tet_err_message(err)) : TET_OK;
}

void import_free(struct import *import)
{
    for (size_t i = 0; i < import->store.n_runs; i++) {
        struct store_imported_run *run = &import->runs[i];
        for (size_t k = 0; k < run->n_names; k++)
            free(run->names[k]);
        free(run->names);
        free(run->rows);
        store_checkpoint_free(&run->start);
        store_checkpoint_free(&run->checkpoint);
    }
    for (size_t i = 0; i < import->n_texts; i++)
        free(import->texts[i]);
    free(import->texts);
    free(import->runs);
    free(import->was);
    json_decref(import->kept);
    *import = (struct import){0};
}
