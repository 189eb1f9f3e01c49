// SPDX-License-Identifier: Apache-2.0
/* Contents of uploaded datasets taken from one files folder to another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/contents.h"

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

enum { SIZE = 200000 }; // several pieces of a copy

static char root[64], from[80], to[80], away[80];

static const char *content(const char *folder, const char *hex)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/datasets/%s.npz", folder, hex);
    return path;
}

static int set_up(void **state)
{
    (void)state;
    static char bytes[SIZE];
    strcpy(root, "/tmp/tetrad-contents-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(from, sizeof from, "%s/from", root);
    snprintf(to, sizeof to, "%s/to", root);
    snprintf(away, sizeof away, "/dev/shm/tetrad-contents-%d", (int)getpid());
    char datasets[100];
    snprintf(datasets, sizeof datasets, "%s/datasets", from);
    assert_int_equal(mkdir(from, 0700) + mkdir(datasets, 0700), 0);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (char)(i * 31 + i / 256);
    FILE *file = fopen(content(from, HEX_A), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, SIZE, file), SIZE);
    assert_int_equal(fclose(file), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    contents_remove(from);
    contents_remove(to);
    contents_remove(away);
    return rmdir(root); // nothing is left: not a part either
}

static void take(const char *into, const char *sha256, enum tet_err wanted, bool wanted_there)
{
    struct tet_error error = {0};
    bool there = !wanted_there;
    const enum tet_err err = contents_take(from, into, sha256, &there, &error);
    if (err != wanted || there != wanted_there)
        fail_msg("%s: %s, there: %d, %s", sha256, tet_err_code(err), there, error.message);
}

static void test_link(void **state)
{
    (void)state;
    struct stat a, b;
    take(to, "sha256:" HEX_A, TET_OK, true);
    assert_int_equal(stat(content(from, HEX_A), &a), 0);
    assert_int_equal(stat(content(to, HEX_A), &b), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    take(to, "sha256:" HEX_A, TET_OK, true); // it is there already
    contents_remove(from);
    take(to, "sha256:" HEX_A, TET_OK, true); // it stays when its source goes
}

static void test_absent(void **state)
{
    (void)state;
    take(to, "sha256:" HEX_B, TET_OK, false);
    assert_int_not_equal(access(to, F_OK), 0); // no folder for nothing
}

/* Names come from a database that may be anybody's. */
static void test_names(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "sha256:",
        HEX_A,
        "sha256:../../../etc/passwd",
        "sha256:" HEX_A "a",
        "sha256:aaaa",
        "sha512:" HEX_A,
        "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAAAAAAA"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        take(to, bad[i], TET_OK, false);
    bool there = true;
    struct tet_error error = {0};
    assert_int_equal(contents_take(from, to, NULL, &there, &error), TET_OK);
    assert_false(there);
}

/* To another file system: a copy, whole or not there. */
static void test_copy(void **state)
{
    (void)state;
    struct stat a, b;
    struct rlimit before, small;
    if (stat("/dev/shm", &b) != 0 || stat(from, &a) != 0 || a.st_dev == b.st_dev)
        skip();
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = SIZE / 2; // a full disk
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    take(away, "sha256:" HEX_A, TET_STORAGE_FULL, false);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_not_equal(access(content(away, HEX_A), F_OK), 0);
    take(away, "sha256:" HEX_A, TET_OK, true);
    FILE *x = fopen(content(from, HEX_A), "rb"), *y = fopen(content(away, HEX_A), "rb");
    assert_true(x != NULL && y != NULL);
    static char p[SIZE + 1], q[SIZE + 1];
    assert_int_equal(fread(p, 1, SIZE + 1, x), SIZE);
    assert_int_equal(fread(q, 1, SIZE + 1, y), SIZE);
    assert_memory_equal(p, q, SIZE);
    fclose(x);
    fclose(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_link, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_absent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_copy, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
