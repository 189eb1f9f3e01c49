// SPDX-License-Identifier: Apache-2.0
/*
 * Tokens: made, revoked, listed. What is kept of a token's text is its SHA-256.
 *
 * Threads: store_ functions from any; the others in the writer's jobs.
 */
#include "store/internal.h"
#include "store/users.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void token_hash(unsigned char hash[TOKEN_HASH], const char *text)
{
    crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
}

/* ---- create ---- */

struct create_job {
    struct job job;
    const struct store_token *token;
    const struct identity *by;
    const unsigned char *hash;
    int64_t id;
};

static enum tet_err create_work(struct store *store, struct job *base, struct tet_error *error)
{
    struct create_job *job = (struct create_job *)base;
    struct db *db = &store->db;
    const int64_t now = store_now_ms();
    enum tet_err err = user_put(db, job->token->user, now, error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(db,
                                "INSERT INTO token (user, role, note, hash, created_ms, expires_ms)"
                                " VALUES (:user, :role, :note, :hash, :now, :expires)",
                                error);
    query_bind_text(&q, ":user", job->token->user);
    query_bind_text(&q, ":role", role_text(job->token->role));
    query_bind_text(&q, ":note", job->token->note != NULL ? job->token->note : "");
    query_bind_blob(&q, ":hash", job->hash, TOKEN_HASH);
    query_bind_int(&q, ":now", now);
    query_bind_int(&q, ":expires", job->token->expires_ms);
    query_run(&q);
    err = query_close(&q);
    job->id = db_last_id(db);
    if (err != TET_OK)
        return err;
    char object[40], detail[160];
    snprintf(object, sizeof object, "token %lld", (long long)job->id);
    snprintf(detail, sizeof detail, "{\"user\":\"%s\",\"role\":\"%s\"}", job->token->user,
             role_text(job->token->role)); // neither has a character to escape
    const struct store_audit entry = {.at_ms = now,
                                      .user = job->by->user,
                                      .token = job->by->token,
                                      .action = "token create",
                                      .object = object,
                                      .detail = detail};
    return audit_put(db, &entry, error);
}

static bool is_printable(const char *text)
{
    json_t *value = json_string(text); // NULL where it is not UTF-8
    for (; value != NULL && *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7F)
            break;
    const bool good = value != NULL && *text == '\0';
    json_decref(value);
    return good;
}

static enum tet_err check(const struct store_token *token, struct tet_error *error)
{
    if (token->user == NULL || !user_name_good(token->user))
        return tet_error_set(
            error, TET_BAD_REQUEST,
            "the user's name must be 1 to %d letters, digits or . _ - @, not dots alone",
            USER_NAME - 1);
    if (token->role < ROLE_VIEWER || token->role > ROLE_ADMIN)
        return tet_error_set(error, TET_BAD_REQUEST, "the role must be viewer, member or admin");
    if (token->note != NULL && !is_printable(token->note))
        return tet_error_set(error, TET_BAD_REQUEST,
                             "the note must be UTF-8 without control characters");
    if (token->note != NULL && strlen(token->note) > TOKEN_NOTE)
        return tet_error_set(error, TET_BAD_REQUEST, "the note has %zu bytes; at most %d are kept",
                             strlen(token->note), TOKEN_NOTE);
    if (token->expires_ms < 0 || (token->expires_ms > 0 && token->expires_ms <= store_now_ms()))
        return tet_error_set(error, TET_BAD_REQUEST, "the token would have expired already");
    return TET_OK;
}

enum tet_err store_token_create(struct store *store, const struct store_token *token,
                                const struct identity *by, char text[TOKEN_TEXT], int64_t *id,
                                struct tet_error *error)
{
    unsigned char secret[32], hash[TOKEN_HASH];
    enum tet_err err = check(token, error);
    if (err != TET_OK)
        return err;
    randombytes_buf(secret, sizeof secret);
    memcpy(text, "tet_", 4);
    sodium_bin2hex(text + 4, TOKEN_TEXT - 4, secret, sizeof secret);
    sodium_memzero(secret, sizeof secret);
    token_hash(hash, text);
    struct create_job job = {
        .job = {.work = create_work, .durable = true}, .token = token, .by = by, .hash = hash};
    err = writer_do(store, &job.job, error);
    if (err != TET_OK)
        sodium_memzero(text, TOKEN_TEXT);
    *id = job.id;
    return err;
}

/* ---- revoke ---- */

struct revoke_job {
    struct job job;
    int64_t id;
    const struct identity *by;
};

static enum tet_err revoke_work(struct store *store, struct job *base, struct tet_error *error)
{
    const struct revoke_job *job = (struct revoke_job *)base;
    const int64_t now = store_now_ms();
    int64_t found = 0, revoked = 0;
    struct query q =
        query_open(&store->db, "SELECT id, revoked_ms FROM token WHERE id = :id", error);
    query_bind_int(&q, ":id", job->id);
    if (query_row(&q)) {
        found = query_int(&q, 0);
        revoked = query_int(&q, 1);
    }
    enum tet_err err = query_close(&q);
    if (err == TET_OK && found == 0)
        return tet_error_set(error, TET_NOT_FOUND, "there is no token %lld", (long long)job->id);
    if (err != TET_OK || revoked != 0)
        return err;
    q = query_open(&store->db, "UPDATE token SET revoked_ms = :now WHERE id = :id", error);
    query_bind_int(&q, ":now", now);
    query_bind_int(&q, ":id", job->id);
    query_run(&q);
    err = query_close(&q);
    if (err != TET_OK)
        return err;
    char object[40];
    snprintf(object, sizeof object, "token %lld", (long long)job->id);
    const struct store_audit entry = {.at_ms = now,
                                      .user = job->by->user,
                                      .token = job->by->token,
                                      .action = "token revoke",
                                      .object = object};
    return audit_put(&store->db, &entry, error);
}

enum tet_err store_token_revoke(struct store *store, int64_t id, const struct identity *by,
                                struct tet_error *error)
{
    struct revoke_job job = {.job = {.work = revoke_work, .durable = true}, .id = id, .by = by};
    return writer_do(store, &job.job, error);
}

/* ---- reading ---- */

static struct store_token row(const struct query *q)
{
    size_t n;
    struct store_token token = {.id = query_int(q, 0),
                                .user = query_text(q, 1),
                                .note = query_text(q, 3),
                                .hash = query_blob(q, 4, &n),
                                .created_ms = query_int(q, 5),
                                .expires_ms = query_int(q, 6),
                                .used_ms = query_int(q, 7),
                                .revoked_ms = query_int(q, 8)};
    if (!role_parse(query_text(q, 2), &token.role))
        token.role = ROLE_PUBLIC; // the schema allows no other
    return token;
}

enum tet_err store_tokens_read(struct store *store, int64_t id, store_token_fn *visit,
                               void *context, struct tet_error *error)
{
    struct db *db;
    bool found = false;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    struct query q =
        query_open(db,
                   "SELECT id, user, role, note, hash, created_ms, expires_ms, used_ms,"
                   " revoked_ms FROM token WHERE :id = 0 OR id = :id ORDER BY id",
                   error);
    query_bind_int(&q, ":id", id);
    while (query_row(&q)) {
        const struct store_token token = row(&q);
        found = true;
        if (!visit(context, &token))
            break;
    }
    err = query_close(&q);
    reader_give(store, db);
    if (err == TET_OK && id != 0 && !found)
        return tet_error_set(error, TET_NOT_FOUND, "there is no token %lld", (long long)id);
    return err;
}

enum tet_err store_tokens_revision(struct store *store, int64_t *revision, struct tet_error *error)
{
    struct db *db;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    err = db_number(db, "SELECT revision FROM token_revision", revision, error);
    reader_give(store, db);
    return err;
}

/* ---- last used ---- */

struct used_job {
    struct job job;
    int64_t id, used_ms;
};

static enum tet_err used_work(struct store *store, struct job *base, struct tet_error *error)
{
    const struct used_job *job = (struct used_job *)base;
    struct query q = query_open(
        &store->db, "UPDATE token SET used_ms = :used WHERE id = :id AND used_ms < :used", error);
    query_bind_int(&q, ":used", job->used_ms);
    query_bind_int(&q, ":id", job->id);
    query_run(&q);
    return query_close(&q);
}

static void used_destroy(struct job *job)
{
    free(job);
}

void store_token_used(struct store *store, int64_t id, int64_t used_ms)
{
    struct used_job *job = malloc(sizeof *job);
    if (job == NULL)
        return; // the next use says it again
    *job =
        (struct used_job){.job = {.work = used_work, .destroy = used_destroy, .bytes = sizeof *job},
                          .id = id,
                          .used_ms = used_ms};
    (void)!writer_post(store, &job->job, NULL);
}
