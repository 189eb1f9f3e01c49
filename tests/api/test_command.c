// SPDX-License-Identifier: Apache-2.0
/*
 * Bad input on the command line: one line on standard error, the exit status of server/options.h,
 * and nothing harmed: files that are not ours stay as they are, a server that runs goes on.
 */
#include "api/contract.h"

#include "data/npz.h"
#include "options.h"

static char path_a[256]; // of files that a test makes

#define NETWORK "\"network\":{\"layers\":[{\"units\":8}]},\"rule\":{\"name\":\"sal\"}"
static const char definition[] =
    "{\"dataset\":{\"name\":\"strokes\",\"train\":200,\"test\":50}," NETWORK
    ",\"training\":{\"epochs\":2,\"batch\":20}}";

static int start(void **state)
{
    (void)state;
    return server_start("1", NULL);
}

static const char *in_folder(const char *name)
{
    snprintf(path_a, sizeof path_a, "%s/%s", server.folder, name);
    return path_a;
}

static const char *make_file(const char *name, const char *content)
{
    file_write(in_folder(name), content, strlen(content));
    return path_a;
}

/* Runs a command: the status, and one line (lines 0: any number) that holds the words. */
static void check(int status, size_t lines, const char *words, const char *const *arguments)
{
    struct ended ended;
    size_t n = 0;
    run_program(&server, &ended, arguments);
    for (const char *c = ended.err; *c != '\0'; c++)
        n += *c == '\n';
    const bool right = ended.status == status && (lines == 0 || n == lines) &&
                       strncmp(ended.err, "tetrad: ", 8) == 0 && strstr(ended.err, words) != NULL;
    if (!right)
        fail_msg("tetrad %s %s %s: status %d, expected %d and \"%s\" in %zu lines: %s",
                 arguments[0] != NULL ? arguments[0] : "",
                 arguments[0] != NULL && arguments[1] != NULL ? arguments[1] : "",
                 arguments[0] != NULL && arguments[1] != NULL && arguments[2] != NULL ? arguments[2]
                                                                                      : "",
                 ended.status, status, words, lines, ended.err);
    assert_string_equal(ended.out, "");
}
#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* A server that cannot start, with a database of its own unless the options say another. */
#define SERVE(db, ...)                                                                             \
    ARGS("serve", "--db", db, "--data", server.data, "--listen", "127.0.0.1:0", __VA_ARGS__)

/* ---- options ---- */

static void test_options(void **state)
{
    (void)state;
    char db[128];
    snprintf(db, sizeof db, "%s/never.db", server.folder);
    check(STATUS_USAGE, 1, "there is no command \"sevre\"", ARGS("sevre"));
    check(STATUS_USAGE, 1, "unknown option --wrokers", SERVE(db, "--wrokers", "2"));
    check(STATUS_USAGE, 1, "unknown option -x", SERVE(db, "-x"));
    check(STATUS_USAGE, 1, "unknown option --watch", SERVE(db, "--watch"));
    check(STATUS_USAGE, 1, "one argument too many", SERVE(db, "more"));
    check(STATUS_USAGE, 1, "--workers needs a value", SERVE(db, "--workers"));
    check(STATUS_USAGE, 1, "--workers needs a value", SERVE(db, "--workers="));
    static const char *const workers[] = {
        "0", "1025", "-1", "x", "2x", "1.5", "99999999999999999999"};
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++)
        check(STATUS_USAGE, 1, "--workers: found", SERVE(db, "--workers", workers[i]));
    static const char *const sizes[] = {"0", "-5G", "8X", "G", "8GB", "20000000T"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check(STATUS_USAGE, 1, "--memory: found", SERVE(db, "--memory", sizes[i]));
    check(STATUS_USAGE, 1, "--watch takes no value", ARGS("submit", "--watch=yes", "x.json"));
    check(STATUS_USAGE, 1, "run needs a definition", ARGS("run"));
    check(STATUS_USAGE, 1, "submit needs a definition", ARGS("submit"));
    check(STATUS_USAGE, 1, "one argument too many", ARGS("run", "a.json", "b.json"));
    setenv("TETRAD_WORKERS", "many", 1);
    check(STATUS_USAGE, 1, "\"many\"", SERVE(db, "--memory", "1G"));
    unsetenv("TETRAD_WORKERS");
    assert_int_equal(access(db, F_OK), -1); // nothing was begun

    struct ended ended;
    run_program(&server, &ended, ARGS("serve", "--help"));
    assert_int_equal(ended.status, 0);
    assert_non_null(strstr(ended.out, "--workers"));
    run_program(&server, &ended, ARGS("--version"));
    assert_int_equal(ended.status, 0);
    run_program(&server, &ended, ARGS("rules"));
    assert_int_equal(ended.status, 0);
    assert_non_null(strstr(ended.out, "dfa    W D        W          direct feedback alignment"));
    run_program(&server, &ended, ARGS("rules", "wm"));
    assert_int_equal(ended.status, 0);
    assert_non_null(strstr(ended.out, "rule.mirror.every: integer from 1 to 1048576; default 100"));
    assert_null(strstr(ended.out, "\noptimizer.groups.B"));
    check(STATUS_USAGE, 1, "did you mean dfa", ARGS("rules", "dfaa"));
    check(STATUS_USAGE, 1, "no rule \"x\"", ARGS("rules", "x"));
    run_program(&server, &ended, (const char *const[]){NULL});
    assert_int_equal(ended.status, STATUS_USAGE);
    assert_non_null(strstr(ended.err, "tetrad serve"));
}

static void test_configuration(void **state)
{
    (void)state;
    char db[128];
    snprintf(db, sizeof db, "%s/never.db", server.folder);
    static const struct {
        const char *content, *words;
    } cases[] = {
        {"workers = 2\nfoo = 1\n", ":2: there is no option \"foo\""},
        {"# fine\n\nworkers\n", ":3: found \"workers\""},
        {"workers = none\n", "--workers: found \"none\""},
        {"memory = \n", "--memory: found \"\""},
        {"config = other\n", "there is no option \"config\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(STATUS_USAGE, 1, cases[i].words,
              SERVE(db, "--config", make_file("config", cases[i].content)));
    check(STATUS_USAGE, 1, "nowhere/config", SERVE(db, "--config", in_folder("nowhere/config")));
    check(STATUS_USAGE, 1, "configuration file", SERVE(db, "--config", server.folder));
}

/* ---- addresses ---- */

static void test_addresses(void **state)
{
    (void)state;
    char db[128], port[32];
    snprintf(db, sizeof db, "%s/other.db", server.folder);
    snprintf(port, sizeof port, "127.0.0.1:%u", server.port);
    check(STATUS_ADDRESS, 1, "is in use", SERVE(db, "--listen", port));
    check(STATUS_ADDRESS, 1, "not a loopback address", SERVE(db, "--listen", "0.0.0.0:0"));
    check(STATUS_ADDRESS, 1, "not a loopback address", SERVE(db, "--listen", "192.0.2.1:8080"));
    static const char *const bad[] = {"127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x",
                                      "[::1",      "nowhere:80", "::1:80",          "127.0.0.1:-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check(STATUS_ADDRESS, 1, "not an address", SERVE(db, "--listen", bad[i]));
    check_alive(&server);
}

/* ---- databases ---- */

static void check_untouched(int status, const char *words, const void *bytes, size_t size)
{
    char db[128], found[8192];
    snprintf(db, sizeof db, "%s/foreign.db", server.folder);
    file_write(db, bytes, size);
    check(status, 1, words, SERVE(db, "--workers", "1"));
    FILE *file = fopen(db, "re");
    assert_non_null(file);
    assert_int_equal(fread(found, 1, sizeof found, file), size);
    assert_memory_equal(found, bytes, size);
    fclose(file);
    assert_int_equal(remove(db), 0);
}

/* A real database, newly made by a server that ran a moment: its first 8192 bytes. */
static void make_database(unsigned char bytes[8192])
{
    struct daemon other;
    daemon_folder(&other);
    daemon_start(&other, "1", NULL);
    daemon_stop(&other);
    FILE *file = fopen(other.db, "re");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, 8192, file), 8192);
    fclose(file);
    daemon_remove(&other);
}

static void test_databases(void **state)
{
    (void)state;
    unsigned char bytes[8192];
    check(STATUS_DATABASE, 1, "in use by another server", SERVE(server.db, "--workers", "1"));
    check_alive(&server);
    check(STATUS_IO, 1, "is a folder", SERVE(server.data, "--workers", "1"));
    check(STATUS_IO, 1, "nowhere", SERVE(in_folder("nowhere/t.db"), "--workers", "1"));
    check(STATUS_IO, 1, "/proc/t.db", SERVE("/proc/t.db", "--workers", "1"));
    if (geteuid() != 0) {
        const char *locked = make_file("readonly.db", "");
        chmod(locked, 0400);
        check(STATUS_IO, 1, "cannot be opened for writing", SERVE(locked, "--workers", "1"));
    } else {
        print_message("# skip: test_databases: a file that may not be written: root may\n");
    }
    check_untouched(STATUS_DATABASE, "is not a database", "a letter\n", 9);
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, "SQLite format 3", 16);
    check_untouched(STATUS_DATABASE, "another program", bytes, 4096);
    make_database(bytes);
    bytes[63] = 99; // user_version
    check_untouched(STATUS_DATABASE, "schema version 99", bytes, 8192);
    bytes[63] = 1;
    memset(bytes + 100, 0xA5, sizeof bytes - 100); // ours, and damaged
    check_untouched(STATUS_DATABASE, "foreign.db", bytes, 8192);
}

static void test_data_folder(void **state)
{
    (void)state;
    char db[128], folder[160];
    snprintf(db, sizeof db, "%s/other.db", server.folder);
    const char *file = make_file("a-file", "x");
    check(STATUS_IO, 1, "not a folder",
          ARGS("serve", "--db", db, "--data", file, "--listen", "127.0.0.1:0"));
    snprintf(folder, sizeof folder, "%s/named", server.folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    make_file("named/strokes.npz", "x");
    check(STATUS_DATASET, 1, "name of the built-in dataset",
          ARGS("serve", "--db", db, "--data", folder, "--listen", "127.0.0.1:0"));
}

/* ---- tetrad run ---- */

static void test_run(void **state)
{
    (void)state;
    char result[128], metrics[128], file[128];
    struct ended ended;
    json_t *run = await_end(&server, submit(&server, definition), "succeeded");
    snprintf(file, sizeof file, "%s", make_file("good.json", definition));
    snprintf(result, sizeof result, "%s/result.npz", server.folder);
    snprintf(metrics, sizeof metrics, "%s/metrics.csv", server.folder);
    run_program(&server, &ended,
                ARGS("run", file, "--data", server.data, "--out", result, "--metrics", metrics));
    assert_int_equal(ended.status, 0);
    if (strstr(ended.out, text(run, "digest")) == NULL) // the server's
        fail_msg("no %s in %s", text(run, "digest"), ended.out);
    struct npz npz;
    assert_int_equal(npz_read(&npz, result, 1 << 20, NULL), TET_OK);
    assert_non_null(npz_find(&npz, "W1"));
    npz_free(&npz);
    char *csv = file_text(metrics);
    assert_memory_equal(csv, "run,step,series,value\n", 22);
    assert_non_null(strstr(csv, "1,20,test/accuracy,"));
    free(csv);
    json_decref(run);
    assert_int_equal(remove(result), 0);
    check(STATUS_IO, 1, "nowhere", ARGS("run", file, "--metrics", in_folder("nowhere/m.csv")));
    snprintf(result, sizeof result, "%s/nowhere/r.npz", server.folder);
    check_alive(&server);
}

static void test_run_badly(void **state)
{
    (void)state;
    char *large = malloc((1 << 20) + 2);
    memset(large, ' ', (1 << 20) + 1);
    large[(1 << 20) + 1] = '\0';
    check(STATUS_IO, 1, "nowhere.json", ARGS("run", in_folder("nowhere.json")));
    check(STATUS_IO, 1, "", ARGS("run", server.folder));
    check(STATUS_DEFINITION, 1, "line 2", ARGS("run", make_file("bad.json", "{\n\"a\":NaN}")));
    check(STATUS_DEFINITION, 1, "bytes", ARGS("run", make_file("large.json", large)));
    free(large);
    check(STATUS_DEFINITION, 3, "2 faults",
          ARGS("run", make_file("faults.json", "{\"dataset\":{\"name\":\"strokes\"}," NETWORK
                                               ",\"training\":{\"epoch\":1,\"batch\":0}}")));
    check(STATUS_DEFINITION, 0, "/dataset/name",
          ARGS("run", make_file("none.json", "{\"dataset\":{\"name\":\"none\"}," NETWORK "}"),
               "--data", server.data));
    char folder[128];
    snprintf(folder, sizeof folder, "%s/broken", server.folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    make_file("broken/set.npz", "not a zip");
    check(STATUS_DEFINITION, 0, "set.npz",
          ARGS("run", make_file("broken.json", "{\"dataset\":{\"name\":\"set\"}," NETWORK "}"),
               "--data", folder));
    check(STATUS_DEFINITION, 0, "/initial_weights",
          ARGS("run",
               make_file("weights.json", "{\"initial_weights\":\"none.npz\",\"dataset\":{\"name\":"
                                         "\"strokes\"}," NETWORK "}")));
    check(STATUS_DEFINITION, 0, "/network",
          ARGS("run", make_file("good.json", definition), "--memory", "220K"));
}

static void test_run_diverging(void **state)
{
    (void)state;
    struct ended ended;
    const char *file = make_file(
        "diverging.json",
        "{\"dataset\":{\"name\":\"strokes\",\"train\":200,\"test\":50},\"network\":{\"layers\":[{"
        "\"units\":8,\"activation\":\"identity\"}],\"loss\":\"mse\"},\"rule\":{\"name\":\"bp\"},"
        "\"sweep\":{\"optimizer.lr\":[1e6,0.0001]}}");
    run_program(&server, &ended, ARGS("run", file));
    assert_int_equal(ended.status, STATUS_DIVERGED);
    assert_non_null(strstr(ended.err, "tetrad: run 1 diverged: "));
    assert_null(strstr(ended.err, "tetrad: run 2"));
}

/* SIGINT while it trains. The metrics go into a pipe, so that one can wait for training. */
static void test_run_interrupted(void **state)
{
    (void)state;
    char file[128], fifo[128], errors[128], buffer[4096];
    int out;
    snprintf(file, sizeof file, "%s",
             make_file("endless.json", "{\"dataset\":{\"name\":\"strokes\",\"train\":100,\"test\":"
                                       "20}," NETWORK ",\"training\":{\"epochs\":100000},"
                                       "\"record\":{\"every\":1}}"));
    snprintf(fifo, sizeof fifo, "%s/fifo", server.folder);
    snprintf(errors, sizeof errors, "%s/command.err", server.folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    const pid_t pid = spawn(ARGS("run", file, "--metrics", fifo), errors, &out);
    const int from = open(fifo, O_RDONLY | O_CLOEXEC);
    assert_true(read(from, buffer, sizeof buffer) > 100);
    kill(pid, SIGINT);
    while (read(from, buffer, sizeof buffer) > 0)
        continue;
    const int status = reap(pid, STOP_MS);
    close(from);
    close(out);
    assert_int_equal(status, STATUS_INTERRUPTED);
}

/* ---- tetrad submit ---- */

static void test_submit(void **state)
{
    (void)state;
    char url[64], file[128];
    struct ended ended;
    snprintf(url, sizeof url, "http://127.0.0.1:%u", server.port);
    snprintf(file, sizeof file, "%s", make_file("good.json", definition));
    run_program(&server, &ended, ARGS("submit", file, "--server", url, "--watch"));
    if (ended.status != 0)
        print_message("# %s\n", ended.err);
    assert_int_equal(ended.status, 0);
    assert_non_null(strstr(ended.out, "/v1/experiments/"));
    check(STATUS_SERVER, 1, "127.0.0.1:1", ARGS("submit", file, "--server", "http://127.0.0.1:1"));
    check(STATUS_SERVER, 1, "ftp://", ARGS("submit", file, "--server", "ftp://127.0.0.1/"));
    check(STATUS_IO, 1, "nowhere.json", ARGS("submit", in_folder("nowhere.json"), "--server", url));
    check(STATUS_DEFINITION, 0, "/optimiser",
          ARGS("submit", make_file("bad.json", "{\"optimiser\":1}"), "--server", url));
    check(STATUS_DEFINITION, 1, "line 1",
          ARGS("submit", make_file("bad.json", "{"), "--server", url));
}

int main(void)
{
    static const char *const ours[] = {"TETRAD_CONFIG", "TETRAD_DB",      "TETRAD_DATA",
                                       "TETRAD_LISTEN", "TETRAD_WORKERS", "TETRAD_MEMORY",
                                       "TETRAD_SERVER", "TETRAD_OUT",     "TETRAD_METRICS"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        unsetenv(ours[i]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),         cmocka_unit_test(test_configuration),
        cmocka_unit_test(test_addresses),       cmocka_unit_test(test_databases),
        cmocka_unit_test(test_data_folder),     cmocka_unit_test(test_run),
        cmocka_unit_test(test_run_badly),       cmocka_unit_test(test_run_diverging),
        cmocka_unit_test(test_run_interrupted), cmocka_unit_test(test_submit),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
