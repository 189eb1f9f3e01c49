// SPDX-License-Identifier: Apache-2.0
/* Users, tokens, the log, and who comes in with which token. */
#include "store_fixture.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <time.h>

#include "access/admission.h"
#include "store/users.h"

static const struct identity root = {.user = "root", .role = ROLE_ADMIN, .token = 7};

static int64_t create(struct store *store, const char *user, enum role role, int64_t expires_ms,
                      char text[TOKEN_TEXT])
{
    struct tet_error error = {0};
    int64_t id;
    const struct store_token token = {
        .user = user, .role = role, .note = "a note", .expires_ms = expires_ms};
    assert_ok(store_token_create(store, &token, &root, text, &id, &error), &error);
    return id;
}

/* ---- tokens in the database ---- */

struct listed {
    size_t n;
    struct store_token last;
    char user[USER_NAME];
    unsigned char hash[TOKEN_HASH];
};

static bool list(void *context, const struct store_token *token)
{
    struct listed *listed = context;
    listed->n++;
    listed->last = *token;
    snprintf(listed->user, sizeof listed->user, "%s", token->user);
    memcpy(listed->hash, token->hash, TOKEN_HASH);
    return true;
}

static void test_tokens(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct tet_error error = {0};
    struct listed listed = {0};
    char first[TOKEN_TEXT], second[TOKEN_TEXT], command[400];
    unsigned char hash[TOKEN_HASH];
    const int64_t one = create(store, "ana", ROLE_MEMBER, 0, first);
    const int64_t two = create(store, "bo@lab.org", ROLE_VIEWER, store_now_ms() + 60000, second);
    assert_int_equal(strlen(first), 68);
    assert_int_equal(strncmp(first, "tet_", 4), 0);
    assert_int_equal(strspn(first + 4, "0123456789abcdef"), 64);
    assert_string_not_equal(first, second);
    assert_ok(store_tokens_read(store, two, list, &listed, &error), &error);
    assert_int_equal(listed.n, 1);
    assert_string_equal(listed.user, "bo@lab.org");
    assert_int_equal(listed.last.role, ROLE_VIEWER);
    crypto_hash_sha256(hash, (const unsigned char *)second, strlen(second));
    assert_memory_equal(listed.hash, hash, TOKEN_HASH);

    assert_ok(store_token_revoke(store, one, &root, &error), &error);
    listed = (struct listed){0};
    assert_ok(store_tokens_read(store, one, list, &listed, &error), &error);
    const int64_t revoked = listed.last.revoked_ms;
    assert_true(revoked > 0);
    assert_ok(store_token_revoke(store, one, &root, &error), &error); // again: as it was
    assert_ok(store_tokens_read(store, one, list, &listed, &error), &error);
    assert_int_equal(listed.last.revoked_ms, revoked);
    assert_err(store_token_revoke(store, 99, &root, &error), TET_NOT_FOUND, &error, "token 99");
    store_close(store);

    /* The text itself is nowhere in the file. */
    snprintf(command, sizeof command, "grep -q %s %s", second, path);
    assert_int_equal(WEXITSTATUS(system(command)), 1);
}

static void refuse(struct store *store, const struct store_token *token, const char *names)
{
    struct tet_error error = {0};
    char text[TOKEN_TEXT];
    int64_t id;
    assert_err(store_token_create(store, token, &root, text, &id, &error), TET_BAD_REQUEST, &error,
               names);
}

static void test_bad_tokens(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct tet_error error = {0};
    char long_name[USER_NAME + 1], long_note[TOKEN_NOTE + 2], text[TOKEN_TEXT];
    struct listed listed = {0};
    int64_t revision = 0, later = 0;
    memset(long_name, 'a', USER_NAME);
    memset(long_note, 'a', sizeof long_note - 1);
    long_name[USER_NAME] = long_note[TOKEN_NOTE + 1] = '\0';
    const char *const names[] = {"",    "a b", "a/b", "<b>",     "a\n", "\"a\"", "J\xC3\xBCrg",
                                 "a,b", ".",   "..",  long_name, NULL};
    assert_ok(store_tokens_revision(store, &revision, &error), &error);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        refuse(store, &(struct store_token){.user = names[i], .role = ROLE_ADMIN}, "name");
    refuse(store, &(struct store_token){.user = "a", .role = ROLE_PUBLIC}, "role");
    refuse(store, &(struct store_token){.user = "a", .role = 9}, "role");
    refuse(store, &(struct store_token){.user = "a", .role = ROLE_ADMIN, .note = long_note}, "201");
    refuse(store, &(struct store_token){.user = "a", .role = ROLE_ADMIN, .note = "\x1b[2J"},
           "control");
    refuse(store, &(struct store_token){.user = "a", .role = ROLE_ADMIN, .note = "\xff"}, "UTF-8");
    refuse(store, &(struct store_token){.user = "a", .role = ROLE_ADMIN, .expires_ms = 5},
           "expired");
    assert_ok(store_tokens_read(store, 0, list, &listed, &error), &error);
    assert_int_equal(listed.n, 0);
    assert_ok(store_tokens_revision(store, &later, &error), &error);
    assert_int_equal(later, revision);
    long_name[USER_NAME - 1] = '\0'; // 63: the longest
    create(store, long_name, ROLE_ADMIN, 0, text);
    assert_ok(store_tokens_revision(store, &later, &error), &error);
    assert_int_not_equal(later, revision);
    store_close(store);
}

/* ---- users ---- */

struct share {
    char name[USER_NAME];
    double weight;
    int64_t cap;
    uint64_t queued, tokens;
    int64_t used_ms;
    size_t n;
};

static bool keep_share(void *context, const struct store_user *user)
{
    struct share *share = context;
    snprintf(share->name, sizeof share->name, "%s", user->name);
    share->weight = user->weight;
    share->cap = user->cap;
    share->queued = user->queued;
    share->tokens = user->tokens;
    share->used_ms = user->used_ms;
    share->n++;
    return true;
}

static struct share share_of(struct store *store, const char *name)
{
    struct tet_error error = {0};
    struct share share = {0};
    assert_ok(store_users_read(store, name, keep_share, &share, &error), &error);
    assert_int_equal(share.n, 1);
    assert_string_equal(share.name, name);
    return share;
}

static void test_users(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct tet_error error = {0};
    struct share all = {0}, share;
    char text[TOKEN_TEXT], owner[USER_NAME];
    share = share_of(store, "local"); // there from the start
    assert_true(share.weight == 1.0 && share.cap == 0 && share.queued == 0);
    const struct store_receipt receipt = submit(store, "five", 5, 1);
    assert_int_equal(share_of(store, "local").queued, 5);

    assert_err(store_users_read(store, "ana", keep_share, &all, &error), TET_NOT_FOUND, &error,
               "ana");
    error = (struct tet_error){0};
    const int64_t id = create(store, "ana", ROLE_MEMBER, 0, text);
    share = share_of(store, "ana");
    assert_true(share.weight == 1.0 && share.cap == 0 && share.tokens == 1 && share.used_ms == 0);
    assert_ok(store_user_write(store, "ana", 3.5, 2, &error), &error);
    share = share_of(store, "ana");
    assert_true(share.weight == 3.5 && share.cap == 2);
    create(store, "ana", ROLE_VIEWER, 0, text); // a second token leaves the share alone
    share = share_of(store, "ana");
    assert_true(share.weight == 3.5 && share.cap == 2 && share.tokens == 2);
    assert_ok(store_token_revoke(store, id, &root, &error), &error);
    assert_int_equal(share_of(store, "ana").tokens, 1);
    assert_ok(store_user_write(store, "new", 0.01, 0, &error), &error);
    assert_true(share_of(store, "new").weight == 0.01 && share_of(store, "new").cap == 0);
    assert_ok(store_users_read(store, NULL, keep_share, &all, &error), &error);
    assert_int_equal(all.n, 3);

    assert_ok(store_owner(store, receipt.experiment, 0, owner, &error), &error);
    assert_string_equal(owner, "local");
    assert_ok(store_owner(store, 0, receipt.first_run + 4, owner, &error), &error);
    assert_string_equal(owner, "local");
    assert_err(store_owner(store, 0, 99, owner, &error), TET_NOT_FOUND, &error, "run 99");
    error = (struct tet_error){0};
    assert_err(store_owner(store, 99, 0, owner, &error), TET_NOT_FOUND, &error, "experiment 99");
    store_close(store);
}

/* ---- the log ---- */

struct log {
    size_t n;
    int64_t first, last;
    char action[64], object[64], user[64];
};

static bool read_log(void *context, const struct store_audit *entry)
{
    struct log *log = context;
    log->first = log->n == 0 ? entry->id : log->first;
    log->last = entry->id;
    log->n++;
    snprintf(log->action, sizeof log->action, "%s", entry->action);
    snprintf(log->object, sizeof log->object, "%s", entry->object);
    snprintf(log->user, sizeof log->user, "%s", entry->user);
    return true;
}

static void test_audit(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct tet_error error = {0};
    struct log log = {0};
    char text[TOKEN_TEXT];
    const int64_t id = create(store, "ana", ROLE_MEMBER, 0, text);
    assert_ok(store_token_revoke(store, id, &root, &error), &error);
    for (int i = 0; i < 10; i++)
        store_audit_write(store, &(struct store_audit){
                                     .user = i % 2 == 0 ? "ana" : "<script>",
                                     .action = "POST /x",
                                     .object = "'); DROP TABLE audit; --",
                                 });
    assert_ok(store_audit_read(store, NULL, 0, 100, read_log, &log, &error), &error);
    assert_int_equal(log.n, 12);
    assert_true(log.first > log.last); // newest first
    assert_string_equal(log.action, "token create");
    assert_string_equal(log.object, "token 1");
    assert_string_equal(log.user, "root");
    const int64_t newest = log.first;
    log = (struct log){0};
    assert_ok(store_audit_read(store, "<script>", 0, 3, read_log, &log, &error), &error);
    assert_int_equal(log.n, 3);
    assert_string_equal(log.object, "'); DROP TABLE audit; --");
    log = (struct log){0};
    assert_ok(store_audit_read(store, NULL, newest, 100, read_log, &log, &error), &error);
    assert_int_equal(log.n, 11);
    store_close(store);
}

/* The log does not grow over 100,000 entries. */
static void test_audit_is_bounded(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct db db;
    int64_t n = 0, least = 0;
    store_close(open_store());
    assert_ok(db_open(&db, path, false, &error), &error);
    assert_ok(db_exec(&db,
                      "BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                      " WHERE i < 100025) INSERT INTO audit (at_ms, user, token, action, object,"
                      " detail) SELECT i, 'u', 0, 'a', 'o', '{}' FROM n; COMMIT;",
                      &error),
              &error);
    assert_ok(db_number(&db, "SELECT count(*) FROM audit", &n, &error), &error);
    assert_ok(db_number(&db, "SELECT min(at_ms) FROM audit", &least, &error), &error);
    assert_int_equal(n, 100000);
    assert_int_equal(least, 26);
    db_close(&db);
}

/* ---- another program at the same file ---- */

static void test_beside(void **state)
{
    (void)state;
    struct store *store = open_store(), *beside;
    struct tet_error error = {0};
    struct listed listed = {0};
    char text[TOKEN_TEXT];
    const struct store_receipt receipt = submit(store, "running", 1, 1);
    assert_int_equal(claim(store), receipt.first_run);
    assert_ok(store_open_beside(&beside, path, &error), &error);
    create(beside, "ana", ROLE_ADMIN, 0, text);
    store_close(beside);
    assert_ok(store_tokens_read(store, 0, list, &listed, &error), &error);
    assert_int_equal(listed.n, 1);
    assert_int_equal(share_of(store, "local").queued, 0); // the run was not taken for a left one

    /* A server of another version. */
    struct db db;
    assert_ok(db_open(&db, path, false, &error), &error);
    assert_ok(db_exec(&db, "PRAGMA user_version = 5;", &error), &error);
    assert_err(store_open_beside(&beside, path, &error), TET_CONFLICT, &error, "another version");
    error = (struct tet_error){0};
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA user_version = %d;", (int)STORE_SCHEMA_VERSION);
    assert_ok(db_exec(&db, sql, &error), &error);
    db_close(&db);
    store_close(store);

    assert_ok(store_open_beside(&beside, path, &error), &error); // nobody holds it: the same
    create(beside, "bo", ROLE_ADMIN, 0, text);
    assert_err(store_open(&store, path, &error), TET_CONFLICT, &error, "in use");
    store_close(beside);
}

/* ---- coming in ---- */

static struct http_peer peer(const char *address)
{
    struct http_peer p = {.loopback = strcmp(address, "::ffff:127.0.0.1") == 0};
    assert_int_equal(inet_pton(AF_INET6, address, p.address), 1);
    return p;
}

static enum tet_err judge(struct admission *a, const char *token, const struct http_peer *from,
                          struct identity *who)
{
    char header[256];
    struct tet_error error = {0};
    if (token == NULL)
        return admission_judge(a, NULL, from, who, &error);
    snprintf(header, sizeof header, "Bearer %s", token);
    return admission_judge(a, header, from, who, &error);
}

static void test_admission(void **state)
{
    (void)state;
    struct store *store = open_store(), *beside;
    struct admission *a;
    struct tet_error error = {0};
    struct identity who;
    char text[TOKEN_TEXT], wrong[TOKEN_TEXT], soon[TOKEN_TEXT];
    const struct http_peer here = peer("::ffff:127.0.0.1"), there = peer("::ffff:10.1.2.3");
    assert_ok(admission_start(&a, store, &error), &error);
    assert_false(admission_closed(a));
    assert_int_equal(judge(a, NULL, &here, &who), TET_OK);
    assert_int_equal(who.role, ROLE_ADMIN);
    assert_string_equal(who.user, "local");
    assert_int_equal(judge(a, NULL, &there, &who), TET_OK);
    assert_int_equal(who.role, ROLE_PUBLIC); // without a token, only this machine

    /* One that another program makes is seen; the thread looks by itself. */
    assert_ok(store_open_beside(&beside, path, &error), &error);
    const int64_t id = create(beside, "ana", ROLE_MEMBER, 0, text);
    while (!admission_closed(a))
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    assert_int_equal(judge(a, NULL, &here, &who), TET_OK);
    assert_int_equal(who.role, ROLE_PUBLIC);
    assert_int_equal(judge(a, text, &there, &who), TET_OK);
    assert_int_equal(who.role, ROLE_MEMBER);
    assert_int_equal(who.token, id);
    assert_string_equal(who.user, "ana");
    memcpy(wrong, text, sizeof wrong);
    wrong[67] = wrong[67] == '0' ? '1' : '0';
    assert_int_equal(judge(a, wrong, &there, &who), TET_UNAUTHORIZED);
    assert_int_equal(who.role, ROLE_PUBLIC);
    assert_int_equal(admission_judge(a, text, &there, &who, NULL), TET_UNAUTHORIZED); // no "Bearer"

    create(store, "ana", ROLE_VIEWER, store_now_ms() + 300, soon);
    assert_ok(admission_refresh(a, &error), &error);
    assert_int_equal(judge(a, soon, &there, &who), TET_OK);
    enum tet_err err = TET_OK;
    for (int i = 0; i < 1000 && err == TET_OK; i++) { // until it expires
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        err = judge(a, soon, &there, &who);
    }
    assert_int_equal(err, TET_UNAUTHORIZED);

    assert_ok(store_token_revoke(beside, id, &root, &error), &error);
    for (int i = 0; i < 1000 && judge(a, text, &here, &who) == TET_OK; i++)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    assert_int_equal(judge(a, text, &here, &who), TET_UNAUTHORIZED);
    assert_true(admission_closed(a)); // that no good token is left opens nothing
    assert_int_equal(judge(a, NULL, &here, &who), TET_OK);
    assert_int_equal(who.role, ROLE_PUBLIC);
    store_close(beside);
    admission_stop(a);
    struct log log = {0};
    assert_ok(store_audit_read(store, NULL, 0, 1, read_log, &log, &error),
              &error); // all is written
    assert_true(share_of(store, "ana").used_ms > 0);
    store_close(store);
}

static void test_failures(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct admission *a;
    struct tet_error error = {0};
    struct identity who;
    struct log log = {0};
    char text[TOKEN_TEXT];
    int unauthorized = 0, too_many = 0;
    const struct http_peer bad = peer("2001:db8::1"), same = peer("2001:db8::2"),
                           other = peer("2001:db8:0:1::1");
    create(store, "ana", ROLE_MEMBER, 0, text);
    assert_ok(admission_start(&a, store, &error), &error);
    for (int i = 0; i < 30; i++) {
        const enum tet_err err = judge(a, "tet_guess", i % 2 == 0 ? &bad : &same, &who);
        unauthorized += err == TET_UNAUTHORIZED;
        too_many += err == TET_TOO_MANY;
    }
    assert_int_equal(unauthorized, 10); // one /64, one count
    assert_int_equal(too_many, 20);
    assert_int_equal(judge(a, "tet_guess", &other, &who), TET_UNAUTHORIZED);
    assert_int_equal(judge(a, text, &bad, &who), TET_OK); // a good token passes
    assert_int_equal(judge(a, NULL, &bad, &who), TET_OK); // and so does who shows none
    for (int i = 1; i < 100000; i++) { // many addresses: the table stays as large as it is
        struct http_peer p = other;
        memcpy(p.address + 4, &i, sizeof i);
        assert_int_equal(judge(a, "tet_guess", &p, &who), TET_UNAUTHORIZED);
    }
    admission_stop(a);
    assert_ok(store_audit_read(store, "", 0, 100, read_log, &log, &error), &error);
    assert_true(log.n >= 1 && log.n <= 2); // in sum
    assert_string_equal(log.action, "failed tokens");
    store_close(store);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        TEST(test_tokens), TEST(test_bad_tokens),       TEST(test_users),     TEST(test_audit),
        TEST(test_beside), TEST(test_audit_is_bounded), TEST(test_admission), TEST(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
