// SPDX-License-Identifier: Apache-2.0
/* Names of datasets, and how many runs use one, whatever way runs come, move and go. */
#include "store_fixture.h"

#include "store/datasets.h"

static struct store_receipt submit_on(struct store *store, const char *dataset, size_t n)
{
    char definition[128];
    struct tet_error error = {0};
    struct store_receipt receipt;
    struct store_new_run runs[8];
    snprintf(definition, sizeof definition, "{\"dataset\":{\"name\":\"%s\"}}", dataset);
    for (size_t i = 0; i < n; i++)
        runs[i] = (struct store_new_run){definition, "sha256:run", "{}", 100, 1, 0.0, 1};
    const struct store_submission s = {.name = "x",
                                       .owner = "local",
                                       .definition = definition,
                                       .hash = "sha256:a",
                                       .tags = "[]",
                                       .n_runs = n,
                                       .runs = runs};
    assert_ok(store_submit(store, &s, &receipt, &error), &error);
    return receipt;
}

static void check_uses(struct store *store, const char *name, uint64_t wanted)
{
    struct tet_error error = {0};
    uint64_t runs = 99;
    assert_ok(store_dataset_uses(store, name, &runs, &error), &error);
    assert_int_equal(runs, wanted);
}

static bool count(void *context, const struct store_dataset *d)
{
    char *names = context;
    snprintf(names + strlen(names), 100 - strlen(names), "%s=%s ", d->name, d->sha256);
    return true;
}

static void check_names(struct store *store, const char *wanted)
{
    struct tet_error error = {0};
    char names[100] = "";
    assert_ok(store_datasets_read(store, NULL, count, names, &error), &error);
    assert_string_equal(names, wanted);
}

static enum tet_err put(struct store *store, const char *name, const char *sha256, bool *created,
                        struct tet_error *error)
{
    const struct store_dataset d = {
        .name = name, .owner = "ana", .kind = "csv", .sha256 = sha256, .bytes = 10};
    return store_dataset_put(store, &d, created, error);
}

static void test_names(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct tet_error error = {0};
    bool flag;
    assert_ok(put(store, "b", "sha256:1", &flag, &error), &error);
    assert_true(flag);
    assert_ok(put(store, "b", "sha256:1", &flag, &error), &error);
    assert_false(flag);
    assert_err(put(store, "b", "sha256:2", &flag, &error), TET_CONFLICT, &error, "another content");
    error = (struct tet_error){0};
    assert_ok(put(store, "a", "sha256:1", &flag, &error), &error);
    assert_ok(put(store, "B", "sha256:3", &flag, &error), &error);
    check_names(store, "B=sha256:3 a=sha256:1 b=sha256:1 ");
    assert_ok(store_dataset_delete(store, "a", &flag, &error), &error);
    assert_false(flag);
    store_close(store);
    store = open_store(); // all of it lasts
    check_names(store, "B=sha256:3 b=sha256:1 ");
    assert_ok(store_dataset_known(store, "sha256:1", &flag, &error), &error);
    assert_true(flag);
    assert_ok(store_dataset_delete(store, "b", &flag, &error), &error);
    assert_true(flag);
    assert_ok(store_dataset_known(store, "sha256:1", &flag, &error), &error);
    assert_false(flag);
    assert_err(store_dataset_delete(store, "b", &flag, &error), TET_NOT_FOUND, &error,
               "no uploaded");
    store_close(store);
}

static void test_uses(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct tet_error error = {0};
    struct store_cancelled counts;
    int64_t *ids = NULL;
    bool flag;
    assert_ok(put(store, "d", "sha256:1", &flag, &error), &error);
    check_uses(store, "d", 0);
    const struct store_receipt three = submit_on(store, "d", 3);
    submit_on(store, "other", 2);
    submit(store, "without", 1, 1); // a definition that has no dataset
    check_uses(store, "d", 3);
    check_uses(store, "other", 2);
    const int64_t run = claim(store);
    assert_int_equal(run, three.first_run);
    check_uses(store, "d", 3);
    assert_err(store_dataset_delete(store, "d", &flag, &error), TET_CONFLICT, &error,
               "3 runs wait");
    error = (struct tet_error){0};
    struct store_ending ending = {.state = RUN_SUCCEEDED, .digest = "sha256:w", .step = 100};
    assert_ok(store_end(store, run, &ending, &error), &error);
    check_uses(store, "d", 2);
    assert_ok(store_cancel(store, three.experiment, 0, &counts, &ids, &error), &error);
    free(ids);
    check_uses(store, "d", 0);
    assert_ok(store_dataset_delete(store, "d", &flag, &error), &error);
    store_close(store);
}

/* Rows may be deleted in any order; a run that is paused still counts until then. */
static void test_rows_deleted(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    const struct store_receipt r = submit_on(store, "d", 4);
    char sql[400];
    struct db db;
    store_close(store);
    assert_ok(db_open(&db, path, false, &error), &error);
    snprintf(sql, sizeof sql,
             "UPDATE run SET state = 'paused' WHERE id = %lld; DELETE FROM timeline;"
             "DELETE FROM run WHERE id = %lld;"          // definition and row follow
             "DELETE FROM run_dataset WHERE run = %lld;" // the row first
             "DELETE FROM run WHERE id = %lld;"
             "UPDATE run SET state = 'failed' WHERE id = %lld; DELETE FROM timeline;"
             "DELETE FROM run WHERE id = %lld;",
             (long long)r.first_run, (long long)r.first_run, (long long)r.first_run + 1,
             (long long)r.first_run + 1, (long long)r.first_run + 2, (long long)r.first_run + 2);
    assert_ok(db_exec(&db, sql, &error), &error);
    db_close(&db);
    store = open_store();
    check_uses(store, "d", 1);
    store_close(store);
}

/* Paused runs of a deleted experiment need nothing any more, though their rows go later. */
static void test_experiment_deleted(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    const struct store_receipt r = submit_on(store, "d", 4);
    struct store_order order = {.action = STORE_PAUSE, .experiments = &r.experiment, .n = 1};
    struct store_acted acted;
    assert_ok(store_act(store, &order, &acted, &error), &error);
    check_uses(store, "d", 4);
    order.action = STORE_DELETE;
    assert_ok(store_act(store, &order, &acted, &error), &error);
    check_uses(store, "d", 0);
    store_close(store);
}

/* The runs of a database from before are counted. */
static void test_migration(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    submit_on(store, "d", 4);
    submit(store, "without", 1, 1);
    assert_true(claim(store) > 0);
    store_close(store);
    struct db db;
    assert_ok(db_open(&db, path, false, &error), &error);
    assert_ok(db_exec(&db,
                      "DROP TRIGGER dataset_use_inserted; DROP TRIGGER dataset_use_moved;"
                      "DROP TRIGGER dataset_use_run_deleted; DROP TRIGGER dataset_use_row_deleted;"
                      "DROP TABLE run_dataset; DROP TABLE dataset_use; DROP TABLE dataset;"
                      "UPDATE run SET state = 'cancelled' WHERE id = 2;",
                      &error),
              &error);
    assert_ok(db_exec(&db, embed_sql_0008, &error), &error);
    db_close(&db);
    store = open_store();
    check_uses(store, "d", 3);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_names), TEST(test_uses), TEST(test_rows_deleted),
                                       TEST(test_experiment_deleted), TEST(test_migration)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
