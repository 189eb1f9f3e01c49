// SPDX-License-Identifier: Apache-2.0
/*
 * Users, their tokens, and the log of who did what.
 *
 * A token's text is "tet_" and 64 hexadecimal digits, 32 random bytes; the database has its SHA-256
 * alone. Tokens are revoked, never deleted, so "there is a token" never becomes false again.
 *
 * Threads: as store.h.
 */
#ifndef SERVER_STORE_USERS_H
#define SERVER_STORE_USERS_H

#include "identity.h"
#include "store/store.h"

enum {
    TOKEN_TEXT = 4 + 64 + 1, // with its NUL
    TOKEN_HASH = 32,
    TOKEN_NOTE = 200, // bytes of a note, at most
    USER_CAP_MAX = 1024
};
static const double USER_WEIGHT_MIN = 0.01, USER_WEIGHT_MAX = 100.0;

const char *role_text(enum role role);              // "viewer", "member", "admin"; "public"
bool role_parse(const char *text, enum role *role); // of the first three

/* user_name_good: 1 to 63 letters, digits, '.', '_', '-' or '@'. */
bool user_name_good(const char *name);

/* store_open_beside: as store_open where no server holds the file; where one does, another connection
 * to the same file, for short writes: the server goes on, and sees them. Errors as store_open, and
 * TET_CONFLICT where the server that holds it is of another version. */
TET_MUST_CHECK enum tet_err store_open_beside(struct store **store, const char *path,
                                              struct tet_error *error);

/* ---- tokens ---- */

struct store_token {
    int64_t id;
    const char *user, *note;
    enum role role;
    const unsigned char *hash;                           // (TOKEN_HASH)
    int64_t created_ms, expires_ms, used_ms, revoked_ms; // 0: never
};
typedef bool store_token_fn(void *context, const struct store_token *token);

/* token_hash: SHA-256 of a token's text. */
void token_hash(unsigned char hash[TOKEN_HASH], const char *text);

/* store_token_create: a new token, durable; makes the user where there is none. text receives what
 * is shown once. user, role and note (valid UTF-8) are checked: TET_BAD_REQUEST. by: who does it,
 * for the log. */
TET_MUST_CHECK enum tet_err store_token_create(struct store *store, const struct store_token *token,
                                               const struct identity *by, char text[TOKEN_TEXT],
                                               int64_t *id, struct tet_error *error);
/* store_token_revoke: from now on it is refused, durable; one that is revoked already stays as it is.
 * TET_NOT_FOUND. */
TET_MUST_CHECK enum tet_err store_token_revoke(struct store *store, int64_t id,
                                               const struct identity *by, struct tet_error *error);
/* store_tokens_read: all, or the one with this id (TET_NOT_FOUND), ascending. */
TET_MUST_CHECK enum tet_err store_tokens_read(struct store *store, int64_t id,
                                              store_token_fn *visit, void *context,
                                              struct tet_error *error);
/* store_tokens_revision: a number that changes with every token made, changed or revoked, by whatever
 * program. */
TET_MUST_CHECK enum tet_err store_tokens_revision(struct store *store, int64_t *revision,
                                                  struct tet_error *error);

/* store_token_used: queues when a token was used last. */
void store_token_used(struct store *store, int64_t id, int64_t used_ms);

/* ---- users ---- */

struct store_user {
    const char *name;
    double weight;
    int64_t cap;                 // 0: none
    uint64_t running, queued;    // runs
    double recent_seconds;       // of workers' time times threads that they had lately (queue.h)
    uint64_t tokens;             // that can be used
    int64_t created_ms, used_ms; // used: last seen with a token, 0: never
};
typedef bool store_user_fn(void *context, const struct store_user *user);

/* store_users_read: all, or the one of this name (TET_NOT_FOUND), by name. */
TET_MUST_CHECK enum tet_err store_users_read(struct store *store, const char *name,
                                             store_user_fn *visit, void *context,
                                             struct tet_error *error);
/* store_user_write: a user's weight and cap (0: none), durable; makes the user where there is none.
 * The caller has checked them. */
TET_MUST_CHECK enum tet_err store_user_write(struct store *store, const char *name, double weight,
                                             int64_t cap, struct tet_error *error);

/* store_owner: whose an experiment is (run 0), or a run (experiment 0). TET_NOT_FOUND. */
TET_MUST_CHECK enum tet_err store_owner(struct store *store, int64_t experiment, int64_t run,
                                        char owner[USER_NAME], struct tet_error *error);

/* ---- the log ---- */

struct store_audit {
    int64_t id, at_ms; // both set by the store
    const char *user;
    int64_t token; // 0: none
    const char *action, *object;
    const char *detail; // JSON object; NULL: {}
};
typedef bool store_audit_fn(void *context, const struct store_audit *entry);

/* store_audit_write: queues an entry; it is in the log before anything queued later. Copies. */
void store_audit_write(struct store *store, const struct store_audit *entry);

/* store_audit_read: newest first, ids below `before` (0: from the newest), at most `limit`; user NULL:
 * everybody's. Sees every entry queued before. */
TET_MUST_CHECK enum tet_err store_audit_read(struct store *store, const char *user, int64_t before,
                                             uint32_t limit, store_audit_fn *visit, void *context,
                                             struct tet_error *error);

#endif
