// SPDX-License-Identifier: Apache-2.0
/* What stays: backups, pins, and thinning out checkpoints. */
#include "api/api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "api/sent.h"
#include "data/files.h"
#include "store/backup.h"
#include "store/retention.h"

enum { LISTED = 1000 }; // checkpoints that a reply lists

/* ---- POST /v1/admin/backup ---- */

static enum tet_err name_backup(const struct api *api, char name[BACKUP_NAME],
                                struct tet_error *error)
{
    char when[40];
    const time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &tm);
    const enum tet_err err = backup_folder(api->backups_folder, error);
    if (err != TET_OK)
        return err;
    return snprintf(name, BACKUP_NAME, "%s/tetrad-%s.db", api->backups_folder, when) < BACKUP_NAME
               ? TET_OK
               : tet_error_set(error, TET_IO, "the name of the folder for backups is too long");
}

static uint64_t database_bytes(const struct api *api)
{
    struct stat st;
    return stat(api->database, &st) == 0 ? (uint64_t)st.st_size : 0;
}

void api_backup(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    char name[BACKUP_NAME];
    struct backup_report report;
    struct tet_error error = {0};
    struct sent sent;
    if (!http_query_only(request, reply, (const char *const[]){NULL}) ||
        !sent_take(&sent, request, reply, NULL, 0, true))
        return;
    sent_free(&sent);
    enum tet_err err = TET_OK;
    if (atomic_exchange(&api->backing_up, true)) {
        err = tet_error_set(&error, TET_BUSY, "a backup is being made");
    } else {
        err = name_backup(api, name, &error);
        if (err == TET_OK) {
            backup_clean(api->backups_folder);
            err = storage_takes(api->storage, STORAGE_BACKUPS, database_bytes(api), &error);
        }
        if (err == TET_OK) {
            err = backup_write(api->database, files_folder(api->files), name, &report, &error);
        }
        atomic_store(&api->backing_up, false);
    }
    if (err != TET_OK)
        http_reply_error(reply, &error, NULL);
    else
        http_reply_json(reply, 201,
                        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:f}", "file", name, "bytes",
                                  (json_int_t)report.bytes, "experiments",
                                  (json_int_t)report.experiments, "runs", (json_int_t)report.runs,
                                  "datasets", (json_int_t)report.datasets, "missing_datasets",
                                  (json_int_t)report.missing, "integrity", "ok", "seconds",
                                  report.seconds));
}

/* ---- POST /v1/admin/retention ---- */

struct spares {
    struct store_spare *list;
    size_t n, capacity;
    bool no_memory;
};

static bool add_spare(void *context, const struct store_spare *spare)
{
    struct spares *s = context;
    if (s->n == s->capacity) {
        const size_t capacity = s->capacity > 0 ? 2 * s->capacity : 256;
        struct store_spare *grown = realloc(s->list, capacity * sizeof *grown);
        if (grown == NULL) {
            s->no_memory = true;
            return false;
        }
        s->list = grown;
        s->capacity = capacity;
    }
    s->list[s->n++] = *spare;
    return true;
}

static void reply_spares(struct http_reply *reply, const struct spares *s, bool dry, size_t removed)
{
    uint64_t bytes = 0, runs = 0;
    json_t *list = json_array();
    for (size_t i = 0; i < s->n; i++) {
        const struct store_spare *spare = &s->list[i];
        bytes += spare->bytes;
        runs += i == 0 || spare->run != s->list[i - 1].run;
        if (i < LISTED)
            json_array_append_new(list, json_pack("{s:I, s:I, s:I}", "run", (json_int_t)spare->run,
                                                  "step", (json_int_t)spare->step, "bytes",
                                                  (json_int_t)spare->bytes));
    }
    http_reply_json(reply, 200,
                    json_pack("{s:b, s:I, s:I, s:I, s:I, s:o, s:b}", "dry_run", dry, "runs",
                              (json_int_t)runs, "checkpoints", (json_int_t)s->n, "bytes",
                              (json_int_t)bytes, "removed", (json_int_t)removed, "list", list,
                              "more", s->n > LISTED));
}

void api_retention(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    int64_t last = 1, best = 0;
    double days = 0;
    bool dry = false;
    struct store_retention retention = {0};
    const struct field fields[] = {
        {"last", FIELD_INTEGER, 1, 100, .required = true, .to = &last},
        {"best", FIELD_INTEGER, 0, 100, .to = &best},
        {"older_than_days", FIELD_NUMBER, 0, 36500, .to = &days},
        {"owner", FIELD_TEXT, 1, USER_NAME - 1, .to = &retention.owner},
        {"tag", FIELD_TEXT, 1, 200, .to = &retention.tag},
        {"dry_run", FIELD_BOOLEAN, .to = &dry},
    };
    struct spares spares = {0};
    struct tet_error error = {0};
    struct timespec now;
    struct sent sent;
    size_t removed = 0;
    if (!http_query_only(request, reply, (const char *const[]){NULL}) ||
        !sent_take(&sent, request, reply, fields, sizeof fields / sizeof *fields, false))
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    retention.keep = (struct store_keep){(uint32_t)last, (uint32_t)best};
    retention.ended_before_ms =
        (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + 1 - (int64_t)(days * 86400000.0);
    enum tet_err err = store_spares_read(api->store, &retention, add_spare, &spares, &error);
    if (err == TET_OK && spares.no_memory)
        err = tet_error_set(&error, TET_NO_MEMORY, "out of memory");
    if (err == TET_OK && !dry)
        err = store_spares_remove(api->store, spares.list, spares.n, &removed, &error);
    if (removed == 0)
        http_reply_unchanged(reply);
    if (err != TET_OK)
        http_reply_error(reply, &error, NULL);
    else
        reply_spares(reply, &spares, dry, removed);
    free(spares.list);
    sent_free(&sent);
}

/* ---- POST /v1/runs/{id}/pin ---- */

static json_t *pins_json(int64_t run, const struct store_pins *pins)
{
    json_t *steps = json_array();
    for (size_t i = 0; i < pins->n; i++)
        json_array_append_new(steps, json_integer((json_int_t)pins->steps[i]));
    return json_pack("{s:I, s:b, s:o}", "run", (json_int_t)run, "pinned", pins->run, "checkpoints",
                     steps);
}

void api_pin(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    const int64_t run = http_id(request, 0);
    int64_t step = 0;
    bool pinned = true;
    const struct field fields[] = {{"step", FIELD_INTEGER, 1, FIELD_NO_BOUND, .to = &step},
                                   {"pinned", FIELD_BOOLEAN, .to = &pinned}};
    struct store_pins pins;
    struct tet_error error = {0};
    struct sent sent;
    if (!http_query_only(request, reply, (const char *const[]){NULL}) ||
        !api_owns(api, request, reply, 0, run) ||
        !sent_take(&sent, request, reply, fields, 2, true))
        return;
    enum tet_err err = store_pin(api->store, run, (uint64_t)step, pinned, &error);
    if (err == TET_OK)
        err = store_pins_read(api->store, run, &pins, &error);
    if (err != TET_OK)
        http_reply_error(reply, &error, NULL);
    else
        http_reply_json(reply, 200, pins_json(run, &pins));
    sent_free(&sent);
}
