// SPDX-License-Identifier: Apache-2.0
/* The database file: foreign and damaged ones, older versions, paths that cannot be used, one in
 * use. */
#include <fcntl.h>
#include <unistd.h>

#include "store_fixture.h"

/* ---- whose file ---- */

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static char *read_file(size_t *n)
{
    static char content[1 << 16];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    *n = fread(content, 1, sizeof content, file);
    (void)fclose(file);
    return content;
}

static void refuse(const char *name, enum tet_err expected, const char *says)
{
    struct tet_error error = {0};
    struct store *store;
    assert_err(store_open(&store, name, &error), expected, &error, says);
    assert_null(store);
    if (*name != '\0' && strstr(error.message, "lab") == NULL)
        fail_msg("\"%s\" does not name the file", error.message);
}

/* A foreign file stays as it is, and nothing appears beside it. */
static void refuse_untouched(enum tet_err expected, const char *says)
{
    char before[1 << 16], name[320];
    size_t n, m;
    memcpy(before, read_file(&n), sizeof before);
    refuse(path, expected, says);
    char *content = read_file(&m);
    assert_int_equal(m, n);
    assert_memory_equal(content, before, n);
    for (const char *const *suffix = (const char *const[]){".lock", "-wal", "-shm", NULL};
         *suffix != NULL; suffix++) {
        snprintf(name, sizeof name, "%s%s", path, *suffix);
        assert_int_equal(access(name, F_OK), -1);
    }
}

static void test_foreign_files(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct db db;
    write_file(path, "Dear diary, this is not a database at all.");
    refuse_untouched(TET_DATABASE, "not a database");
    assert_int_equal(remove(path), 0);

    assert_ok(db_open(&db, path, false, &error), &error);
    assert_ok(db_exec(&db, "CREATE TABLE theirs (x); PRAGMA user_version = 1;", &error), &error);
    db_close(&db);
    refuse_untouched(TET_DATABASE, "another program");
    assert_int_equal(remove(path), 0);

    write_file(path, ""); // as mktemp leaves it: fine
    store_close(open_store());

    assert_ok(db_open(&db, path, false, &error), &error);
    assert_ok(db_exec(&db, "PRAGMA user_version = 99;", &error), &error);
    db_close(&db);
    refuse(path, TET_CONFLICT, "schema version 99");

    int file = open(path, O_WRONLY);
    assert_true(file >= 0);
    const unsigned char ours[4] = {0, 0, 0, STORE_SCHEMA_VERSION};
    assert_int_equal(pwrite(file, ours, 4, 60), 4); // the version again, but pages are cut off
    assert_int_equal(ftruncate(file, 4096 + 100), 0);
    assert_int_equal(close(file), 0);
    refuse(path, TET_DATABASE, "damaged");
}

/* A server that ended in its first transaction leaves pages without a table; a file with one is not ours. */
static void test_unfinished(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct db db;
    assert_ok(db_open(&db, path, false, &error), &error);
    assert_ok(db_exec(&db, "CREATE TABLE theirs (x);", &error), &error);
    db_close(&db);
    refuse_untouched(TET_DATABASE, "another program");
    assert_ok(db_open(&db, path, false, &error), &error);
    assert_ok(db_exec(&db, "DROP TABLE theirs;", &error), &error);
    db_close(&db);
    struct store *store = open_store();
    submit(store, "as if it were new", 1, 1);
    assert_counts(store, 1, 1, 0, 0, 0);
    store_close(store);
}

/* A checkpoint that version 1 wrote is there under this one, to the bit, and newer ones beside
 * it. */
static void test_version_1(void **state)
{
    (void)state;
    static const char checkpoint[] =
        "INSERT INTO experiment (owner, name, hash, created_ms, tags, definition)"
        " VALUES ('local', 'old', 'sha256:a', 1, '[]', '{}');"
        "INSERT INTO run (experiment, state, steps, memory_bytes, created_ms, hash, parameters)"
        " VALUES (1, 'paused', 9, 1, 1, 'sha256:run', '{}');"
        "INSERT INTO run_definition VALUES (1, '{}');"
        "INSERT INTO checkpoint VALUES (1, 1, 4, 0, 0, 0, 1, 0, 0, 2, 1);"
        "INSERT INTO checkpoint_array VALUES (1, 0, 'b1', 0, 1, 2, 0, 2),"
        " (1, 1, 'W1', 0, 2, 2, 3, 6);"
        "INSERT INTO checkpoint_chunk VALUES (1, 0, 0, X'0000803F000000C0'),"
        " (1, 1, 0, X'010000000200000003000000'), (1, 1, 1, X'04000000050000000600C07F');"
        "PRAGMA application_id = 0x54455452; PRAGMA user_version = 1;";
    struct tet_error error = {0};
    struct db db;
    assert_ok(db_open(&db, path, false, &error), &error);
    assert_ok(db_exec(&db, embed_sql_0001, &error), &error);
    assert_ok(db_exec(&db, checkpoint, &error), &error);
    db_close(&db);

    for (int again = 0; again < 2; again++) {
        struct store *store = open_store();
        struct store_checkpoint c;
        assert_ok(store_checkpoint_read(store, 1, 4, &c, &error), &error);
        assert_int_equal(c.n, 2);
        assert_string_equal(c.arrays[0].name, "b1");
        assert_int_equal(c.arrays[0].rank, 1);
        assert_int_equal(c.arrays[0].shape[0], 2);
        assert_true(c.arrays[0].data[0] == 1.0f && c.arrays[0].data[1] == -2.0f);
        assert_string_equal(c.arrays[1].name, "W1");
        assert_int_equal(c.arrays[1].rank, 2);
        assert_int_equal(c.arrays[1].shape[0], 2);
        assert_int_equal(c.arrays[1].shape[1], 3);
        const uint32_t bits[6] = {1, 2, 3, 4, 5, 0x7fc00006};
        assert_memory_equal(c.arrays[1].data, bits, sizeof bits);
        store_checkpoint_free(&c);
        if (again)
            assert_same_checkpoint(store, 1, 8, 8, 0); // with an array of rank 4
        else
            write_checkpoint(store, 1, 8, 0, true);
        store_close(store);
    }
    int64_t version = 0, faults = -1;
    assert_ok(db_open(&db, path, false, &error), &error);
    assert_ok(db_number(&db, "PRAGMA user_version", &version, &error), &error);
    assert_int_equal(version, STORE_SCHEMA_VERSION);
    assert_ok(db_number(&db, "SELECT count(*) FROM pragma_foreign_key_check", &faults, &error),
              &error);
    assert_int_equal(faults, 0);
    assert_ok(db_number(&db,
                        "SELECT count(*) FROM pragma_integrity_check"
                        " WHERE integrity_check <> 'ok'",
                        &faults, &error),
              &error);
    assert_int_equal(faults, 0);
    db_close(&db);
}

/* Sizes that do not make the number of elements are not believed. */
static void test_damaged_shape(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store_checkpoint c;
    struct db db;
    struct store *store = open_store();
    submit(store, "damaged", 1, 1);
    write_checkpoint(store, 1, 5, 0, true);
    store_close(store);
    assert_ok(db_open(&db, path, false, &error), &error);
    assert_ok(db_exec(&db, "UPDATE checkpoint_array SET kernel_rows = 6 WHERE rank = 4;", &error),
              &error);
    db_close(&db);
    store = open_store();
    assert_err(store_checkpoint_read(store, 1, 5, &c, &error), TET_DATABASE, &error,
               "array is damaged");
    assert_null(c.arrays);
    store_close(store);
}

static void test_unusable_paths(void **state)
{
    (void)state;
    char name[320];
    refuse("", TET_IO, "");
    snprintf(name, sizeof name, "%s/none/lab.db", folder);
    refuse(name, TET_IO, "No such file");
    assert_int_equal(mkdir(path, 0700), 0);
    refuse(path, TET_IO, "folder");
    snprintf(name, sizeof name, "%s/lab.fifo", folder);
    assert_int_equal(mkfifo(name, 0600), 0);
    refuse(name, TET_IO, "ordinary file");
    refuse("/proc/lab.db", TET_IO, "lock file");
    if (geteuid() != 0) { // root may write anywhere
        snprintf(name, sizeof name, "%s/lab.sealed", folder);
        assert_int_equal(mkdir(name, 0500), 0);
        strcat(name, "/lab.db");
        refuse(name, TET_IO, "Permission denied");
    }
}

static void test_in_use(void **state)
{
    (void)state;
    char link[320], name[320];
    struct store *store = open_store();
    refuse(path, TET_CONFLICT, "in use");
    snprintf(link, sizeof link, "%s/lab.link", folder);
    assert_int_equal(symlink(path, link), 0);
    refuse(link, TET_CONFLICT, "in use");
    snprintf(name, sizeof name, "%s/../%s/lab.db", folder, strrchr(folder, '/') + 1);
    refuse(name, TET_CONFLICT, "in use");
    submit(store, "still works", 1, 1);
    store_close(store);
    store = open_store();
    assert_counts(store, 1, 1, 0, 0, 0);
    store_close(store);
    store_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_foreign_files), TEST(test_unfinished),     TEST(test_version_1),
        TEST(test_damaged_shape), TEST(test_unusable_paths), TEST(test_in_use),
    };
    return cmocka_run_group_tests_name("database file", tests, NULL, NULL);
}
