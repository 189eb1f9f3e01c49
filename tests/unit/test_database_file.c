// SPDX-License-Identifier: Apache-2.0
/* The database file: foreign and damaged ones, paths that cannot be used, one in use. */
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
    assert_ok(db_exec(&db, "PRAGMA user_version = 2;", &error), &error);
    db_close(&db);
    refuse(path, TET_CONFLICT, "schema version 2");

    int file = open(path, O_WRONLY);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, "\0\0\0\1", 4, 60),
                     4); // the version again, but pages are cut off
    assert_int_equal(ftruncate(file, 4096 + 100), 0);
    assert_int_equal(close(file), 0);
    refuse(path, TET_DATABASE, "damaged");
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
        TEST(test_foreign_files),
        TEST(test_unusable_paths),
        TEST(test_in_use),
    };
    return cmocka_run_group_tests_name("database file", tests, NULL, NULL);
}
