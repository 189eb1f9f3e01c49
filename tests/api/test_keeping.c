// SPDX-License-Identifier: Apache-2.0
/*
 * What is kept: backups of a server that trains, pins, the best checkpoints, retention and its
 * preview. Every reply is held against openapi.json.
 */
#include "api/contract.h"

#include <dirent.h>

#define SMALL   "\"network\":{\"layers\":[{\"units\":6}]},\"rule\":{\"name\":\"bp\"}"
#define STROKES "\"dataset\":{\"name\":\"strokes\",\"train\":200,\"test\":50,\"validation\":100}"

#define PAUSED_EPOCHS LASTING("60", "12")

static int start(void **state)
{
    (void)state;
    return server_start("2", NULL);
}

static json_t *post(int status, const char *body, const char *format, ...)
{
    char path[128];
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof path, format, args);
    va_end(args);
    return ask(&server, "POST", path, body, status);
}

/* A run of `epochs` epochs, of two mini-batches each, at its end. */
static json_int_t trained(int epochs, const char *record)
{
    char definition[600];
    snprintf(definition, sizeof definition,
             "{" STROKES "," SMALL ",\"optimizer\":{\"lr\":2.0},\"training\":{\"epochs\":%d,"
             "\"batch\":50},\"tags\":[\"thin\"],\"record\":{\"every\":0%s}}",
             epochs, record);
    const json_int_t run = submit(&server, definition);
    json_decref(await_end(&server, run, "succeeded"));
    return run;
}

static size_t steps_of(json_int_t run, const char *key, json_int_t steps[64])
{
    json_t *all = get(&server, 200, "/v1/runs/%lld", run);
    const json_t *list = json_object_get(all, key);
    const size_t n = json_array_size(list);
    assert_true(n <= 64);
    for (size_t i = 0; i < n; i++)
        steps[i] = json_integer_value(json_array_get(list, i));
    json_decref(all);
    return n;
}

static bool among(json_int_t step, const json_int_t *steps, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (steps[i] == step)
            return true;
    return false;
}

/* The steps with the lowest validation loss, by the run's own series. */
static size_t lowest(json_int_t run, size_t n, json_int_t best[64])
{
    json_t *reply = get(&server, 200, "/v1/runs/%lld/metrics?name=validation/loss", run);
    const json_t *series = json_object_get(json_object_get(reply, "series"), "validation/loss"),
                 *steps = json_object_get(series, "steps"),
                 *values = json_object_get(series, "values");
    size_t found = 0;
    while (found < n) {
        size_t at = SIZE_MAX;
        for (size_t i = 0; i < json_array_size(steps); i++) {
            const json_int_t step = json_integer_value(json_array_get(steps, i));
            if (!among(step, best, found) &&
                (at == SIZE_MAX || json_real_value(json_array_get(values, i)) <
                                       json_real_value(json_array_get(values, at))))
                at = i;
        }
        assert_true(at != SIZE_MAX);
        best[found++] = json_integer_value(json_array_get(steps, at));
    }
    json_decref(reply);
    return found;
}

static void test_best(void **state)
{
    json_int_t kept[64], best[64];
    (void)state;
    const json_int_t run = trained(12, ",\"keep\":2,\"keep_best\":3");
    const size_t n = steps_of(run, "checkpoints", kept), b = lowest(run, 3, best);
    assert_in_range(n, 3, 5);
    for (size_t i = 0; i < b; i++)
        if (!among(best[i], kept, n))
            fail_msg("the checkpoint at step %lld is not kept", (long long)best[i]);
    assert_true(among(24, kept, n) && among(22, kept, n));
    size_t neither = 0;
    for (size_t i = 0; i < n; i++)
        neither += kept[i] < 22 && !among(kept[i], best, b);
    assert_int_equal(neither, 0);

    json_t *reply =
        post(422, "{" SMALL ",\"dataset\":{\"name\":\"strokes\"},\"record\":{\"keep_best\":1}}",
             "/v1/experiments");
    const json_t *fault =
        json_array_get(json_object_get(json_object_get(reply, "error"), "details"), 0);
    assert_string_equal(text(fault, "pointer"), "/record/keep_best");
    json_decref(reply);
}

static void test_pins(void **state)
{
    json_int_t steps[64];
    (void)state;
    const json_int_t run = trained(4, ",\"keep\":3");
    assert_int_equal(steps_of(run, "checkpoints", steps), 3); // 4, 6, 8
    json_t *reply = post(200, "{\"step\":4}", "/v1/runs/%lld/pin", (long long)run);
    assert_int_equal(json_array_size(json_object_get(reply, "checkpoints")), 1);
    assert_false(json_is_true(json_object_get(reply, "pinned")));
    json_decref(reply);
    assert_int_equal(steps_of(run, "pinned_checkpoints", steps), 1);
    assert_int_equal(steps[0], 4);
    json_decref(post(200, "", "/v1/runs/%lld/pin", (long long)run));
    reply = post(200, "{\"pinned\":false}", "/v1/runs/%lld/pin", (long long)run);
    assert_true(json_is_false(json_object_get(reply, "pinned")));
    json_decref(reply);
    json_decref(post(404, "{\"step\":5}", "/v1/runs/%lld/pin", (long long)run));
    json_decref(post(404, "{}", "/v1/runs/999/pin"));
    reply = post(422, "{\"steps\":5,\"pinned\":1,\"step\":0}", "/v1/runs/%lld/pin", (long long)run);
    const json_t *details = json_object_get(json_object_get(reply, "error"), "details");
    assert_int_equal(json_array_size(details), 3);
    assert_string_equal(text(json_array_get(details, 0), "hint"), "step");
    json_decref(reply);
    json_decref(post(400, "{\"step\":", "/v1/runs/%lld/pin", (long long)run));
}

static void test_retention(void **state)
{
    json_int_t steps[64], best[64];
    (void)state;
    const json_int_t thin = trained(6, ",\"keep\":6"), pinned = trained(6, ",\"keep\":6"),
                     plain = trained(6, ",\"keep\":6");
    json_decref(post(200, "{}", "/v1/runs/%lld/pin", (long long)pinned));
    json_decref(post(200, "{\"step\":2}", "/v1/runs/%lld/pin", (long long)plain));

    json_t *reply =
        post(200, "{\"last\":1,\"older_than_days\":1,\"dry_run\":true}", "/v1/admin/retention");
    assert_int_equal(integer(reply, "checkpoints"), 0); // all are of today
    json_decref(reply);
    reply = post(200, "{\"last\":1,\"owner\":\"nobody\"}", "/v1/admin/retention");
    assert_int_equal(integer(reply, "checkpoints"), 0);
    json_decref(reply);

    json_t *preview = post(200, "{\"last\":2,\"best\":1,\"tag\":\"thin\",\"dry_run\":true}",
                           "/v1/admin/retention");
    assert_int_equal(integer(preview, "removed"), 0);
    assert_int_equal(steps_of(thin, "checkpoints", steps), 6);
    reply = post(200, "{\"last\":2,\"best\":1,\"tag\":\"thin\"}", "/v1/admin/retention");
    assert_true(json_equal(json_object_get(preview, "list"), json_object_get(reply, "list")));
    assert_int_equal(integer(reply, "removed"), integer(preview, "checkpoints"));
    assert_true(integer(reply, "bytes") > 0);
    json_decref(preview);
    json_decref(reply);

    const size_t n = steps_of(thin, "checkpoints", steps);
    lowest(thin, 1, best);
    assert_int_equal(n, best[0] >= 10 ? 2 : 3);
    assert_true(among(12, steps, n) && among(10, steps, n) && among(best[0], steps, n));
    assert_int_equal(steps_of(pinned, "checkpoints", steps), 6);
    assert_true(among(2, steps, steps_of(plain, "checkpoints", steps)));
    reply = post(200, "{\"last\":2,\"best\":1,\"tag\":\"thin\"}", "/v1/admin/retention");
    assert_int_equal(integer(reply, "checkpoints"), 0);
    json_decref(reply);
    json_decref(post(422, "{\"last\":0}", "/v1/admin/retention"));
    json_decref(post(422, "{}", "/v1/admin/retention"));
}

static json_int_t experiment_of(json_int_t run)
{
    json_t *json = get(&server, 200, "/v1/runs/%lld", (long long)run);
    const json_int_t id = integer(json, "experiment");
    json_decref(json);
    return id;
}

static json_t *drop(json_int_t experiment, long status)
{
    char path[64];
    snprintf(path, sizeof path, "/v1/experiments/%lld", (long long)experiment);
    return ask(&server, "DELETE", path, NULL, status);
}

/* What is done to a run shows in its reply at once, also where that was kept from before. */
static void test_pinned_stays(void **state)
{
    char body[200];
    (void)state;
    const json_int_t run = trained(2, ""), other = trained(2, "");
    const json_int_t experiment = experiment_of(run);
    json_decref(post(200, "{}", "/v1/runs/%lld/pin", (long long)run));
    json_t *json = get(&server, 200, "/v1/runs/%lld", run);
    assert_true(json_is_true(json_object_get(json, "pinned")));
    json_decref(json);
    json_t *refused = drop(experiment, 409);
    assert_non_null(strstr(text(json_object_get(refused, "error"), "message"), "1 pinned run"));
    json_decref(refused);

    /* Among several it is passed over, and the preview says so. */
    const json_int_t others = experiment_of(other);
    for (int i = 0; i < 2; i++) {
        snprintf(body, sizeof body,
                 "{\"action\":\"delete\",\"select\":{\"ids\":[%lld,%lld]},\"dry_run\":%s}",
                 experiment, others, i == 0 ? "true" : "false");
        json_t *done = post(200, body, "/v1/actions");
        assert_int_equal(integer(done, "experiments"), 1);
        assert_int_equal(integer(done, "refused"), 1);
        json_decref(done);
    }
    json_decref(get(&server, 404, "/v1/runs/%lld", other));
    json_decref(post(200, "{\"pinned\":false}", "/v1/runs/%lld/pin", (long long)run));
    json = get(&server, 200, "/v1/runs/%lld", run);
    assert_true(json_is_false(json_object_get(json, "pinned")));
    json_decref(json);
    json_decref(drop(experiment, 200));
    json_decref(get(&server, 404, "/v1/runs/%lld", run));
    json_decref(post(404, "{}", "/v1/runs/%lld/pin", (long long)run));
}

static bool is_paused(const json_t *run)
{
    return strcmp(text(run, "state"), "paused") == 0 || is_over(run);
}

/* A pause writes a checkpoint between the others: the best stay all the same, and retention waits for
 * the run's end. */
static void test_paused(void **state)
{
    static const char definition[] =
        "{" STROKES ",\"network\":{\"layers\":[{\"units\":300}]},\"rule\":{\"name\":\"bp\"},"
        "\"optimizer\":{\"lr\":0.5},\"training\":{\"epochs\":" PAUSED_EPOCHS ",\"batch\":1},"
        "\"tags\":[\"paused\"],\"record\":{\"every\":0,\"keep\":2,\"keep_best\":3}}";
    json_int_t kept[64], best[64];
    char body[64];
    (void)state;
    const json_int_t run = submit(&server, definition);
    json_decref(daemon_wait(&server, run, is_training));
    json_decref(post(200, "", "/v1/runs/%lld/pause", (long long)run));
    json_t *json = daemon_wait(&server, run, is_paused);
    assert_string_equal(text(json, "state"), "paused");
    const json_int_t step = integer(json_object_get(json, "progress"), "step");
    json_decref(json);
    size_t n = steps_of(run, "checkpoints", kept);
    assert_true(among(step, kept, n));
    snprintf(body, sizeof body, "{\"step\":%lld}", step);
    json_decref(post(200, body, "/v1/runs/%lld/pin", (long long)run));
    json_t *reply = post(200, "{\"last\":1,\"tag\":\"paused\"}", "/v1/admin/retention");
    assert_int_equal(integer(reply, "checkpoints"), 0);
    json_decref(reply);

    json_decref(post(200, "", "/v1/runs/%lld/resume", (long long)run));
    json_decref(await_end(&server, run, "succeeded"));
    n = steps_of(run, "checkpoints", kept);
    const size_t b = lowest(run, 3, best);
    for (size_t i = 0; i < b; i++)
        if (!among(best[i], kept, n))
            fail_msg("the checkpoint at step %lld is not kept", (long long)best[i]);
    assert_in_range(n, 3, 6);
    assert_true(among(step, kept, n)); // pinned
}

/* The names of the folder's files that end so. */
static size_t count_files(const char *path, const char *end)
{
    size_t n = 0;
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        const size_t length = strlen(entry->d_name);
        n += length > strlen(end) && strcmp(entry->d_name + length - strlen(end), end) == 0;
    }
    if (folder != NULL)
        closedir(folder);
    return n;
}

static void touch(const char *folder, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

/* A backup of a server that trains goes on where it was made, to the same digest. */
static void test_backup(void **state)
{
    static const char definition[] =
        "{\"dataset\":{\"name\":\"strokes\",\"train\":2000,\"test\":50},"
        "\"network\":{\"layers\":[{\"units\":64}]},\"rule\":{\"name\":\"sal\"},"
        "\"training\":{\"epochs\":" LASTING("60", "10") ",\"batch\":20},\"record\":{\"every\":1}}";
    char folder[128], other[128];
    struct ended ended;
    (void)state;
    const json_int_t run = submit(&server, definition);
    json_decref(daemon_wait(&server, run, is_training));
    /* What a server that was killed left of one goes, and nothing else. */
    snprintf(folder, sizeof folder, "%s.backups", server.db);
    assert_int_equal(mkdir(folder, 0700), 0);
    touch(folder, "tetrad-20260101T000000Z.db.part");
    touch(folder, "tetrad-20260101T000000Z.db.part-journal");
    touch(folder, "mine.db.part");
    json_t *backup = post(201, "", "/v1/admin/backup");
    assert_int_equal(count_files(folder, ".part"), 1);
    assert_int_equal(count_files(folder, ".part-journal"), 0);
    json_t *end = await_end(&server, run, "succeeded");
    const char *file = text(backup, "file");
    assert_int_equal(count_files(folder, ".db"), 1);
    assert_int_equal(count_files(folder, ".part"), 1);
    json_t *refused = post(422, "{\"name\":\"x\"}", "/v1/admin/backup");
    const json_t *faults = json_object_get(json_object_get(refused, "error"), "details");
    assert_string_equal(text(json_array_get(faults, 0), "allowed"), "no members");
    json_decref(refused);

    snprintf(other, sizeof other, "%s/other.db", server.folder);
    run_program(&server, &ended, (const char *[]){"restore", file, "--db", other, NULL});
    assert_int_equal(ended.status, 0);
    run_program(&server, &ended, (const char *[]){"restore", file, "--db", server.db, NULL});
    assert_int_equal(ended.status, 5); // a server has it open

    daemon_stop(&server);
    assert_true(strlen(other) < sizeof server.db);
    strcpy(server.db, other);
    daemon_start(&server, "2", NULL);
    json_t *again = await_end(&server, run, "succeeded");
    assert_string_equal(text(again, "digest"), text(end, "digest"));
    json_decref(again);
    json_decref(end);
    json_decref(backup);
}

/* ---- backups of uploaded datasets ---- */

static json_t *upload(const char *name, const char *table, long status)
{
    char path[100];
    struct reply reply;
    snprintf(path, sizeof path, "/v1/datasets/%s", name);
    ask_with(&server, "PUT", path, table, (const char *const[]){"Content-Type: text/csv", NULL},
             &reply);
    expect(&reply, status);
    json_t *json = json_incref(reply.json);
    reply_free(&reply);
    return json;
}

/* Restores to a database of another name and serves it. */
static void serve_restored(const char *file, const char *name)
{
    char other[128];
    struct ended ended;
    snprintf(other, sizeof other, "%s/%s", server.folder, name);
    run_program(&server, &ended, (const char *[]){"restore", file, "--db", other, NULL});
    if (ended.status != 0 || ended.err[0] != '\0')
        fail_msg("restore: %d, %s", ended.status, ended.err);
    daemon_stop(&server);
    assert_true(strlen(other) < sizeof server.db);
    strcpy(server.db, other);
    daemon_start(&server, "2", NULL);
}

/* The content of an upload is in the backup, and outlives the one that was backed up. */
static void test_uploads(void **state)
{
    static const char table[] = "a,label,b\n0.5,0,1\n1,2,2\n-1e-3,1,3\n4,1,5\n0,0,0\n";
    char folder[200], copy[128];
    struct ended ended;
    (void)state;
    json_t *lab = upload("lab", table, 201);
    json_decref(upload("same", table, 201)); // another name of the same content
    json_t *backup = post(201, "{}", "/v1/admin/backup");
    assert_int_equal(integer(backup, "datasets"), 1);
    assert_int_equal(integer(backup, "missing_datasets"), 0);
    snprintf(folder, sizeof folder, "%s.files/datasets", text(backup, "file"));
    assert_int_equal(count_files(folder, ".npz"), 1);

    snprintf(copy, sizeof copy, "%s/copy.db", server.folder);
    run_program(&server, &ended, (const char *[]){"backup", copy, "--db", server.db, NULL});
    assert_int_equal(ended.status, 0);
    assert_non_null(strstr(ended.out, "1 uploaded dataset"));
    run_program(&server, &ended, (const char *[]){"backup", copy, "--db", server.db, NULL});
    assert_int_equal(ended.status, 5); // it is there already
    snprintf(copy, sizeof copy, "%s/bare.db", server.folder);
    run_program(&server, &ended,
                (const char *[]){"backup", copy, "--db", server.db, "--files", "/none", NULL});
    assert_int_equal(ended.status, 0);
    assert_non_null(strstr(ended.err, "missing"));

    json_decref(ask(&server, "DELETE", "/v1/datasets/lab", NULL, 200));
    json_decref(ask(&server, "DELETE", "/v1/datasets/same", NULL, 200));
    serve_restored(text(backup, "file"), "restored.db");
    json_t *again = get(&server, 200, "/v1/datasets/lab");
    assert_true(json_is_null(json_object_get(again, "error")));
    assert_string_equal(text(again, "sha256"), text(lab, "sha256"));
    json_decref(await_end(&server,
                          submit(&server, "{\"dataset\":{\"name\":\"same\"}," SMALL
                                          ",\"training\":{\"epochs\":2,\"batch\":2}}"),
                          "succeeded"));
    json_decref(again);
    json_decref(backup);
    json_decref(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best),      cmocka_unit_test(test_pins),
        cmocka_unit_test(test_retention), cmocka_unit_test(test_pinned_stays),
        cmocka_unit_test(test_paused),    cmocka_unit_test(test_backup),
        cmocka_unit_test(test_uploads)};
    return cmocka_run_group_tests_name("keeping", tests, start, server_stop);
}
