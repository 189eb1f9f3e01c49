// SPDX-License-Identifier: Apache-2.0
/* Who may come in: see admission.h. */
#include "access/admission.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "clock.h"
#include "store/users.h"

enum {
    LOOK_MS = 500,    // between two looks at the database
    WRITE_MS = 60000, // between two writes of the same kind
    BUCKETS = 256,    // of tokens, by the first byte of their hash
    TEXT_MAX = 128,   // bytes of a token that are worth looking at
    SETS = 256,
    WAYS = 4,          // of addresses
    FAILURE_MS = 6000, // a failed attempt is forgiven after so long
    FAILURES = 10      // ... and so many may be open
};

struct known {
    int64_t id, expires_ms, revoked_ms, written_ms; // written: used_ms in the database
    atomic_int_least64_t used_ms;
    enum role role;
    char user[USER_NAME];
    unsigned char hash[TOKEN_HASH];
};

/* Tokens in the order of their hash's first byte; those of byte b are start[b] to start[b + 1]. */
struct cache {
    size_t n, capacity;
    struct known *tokens;
    size_t start[BUCKETS + 1];
    bool cut; // no memory for all of them
};

struct failing {
    unsigned char address[16];
    int64_t until_ms; // monotonic: when all its failures are forgiven; 0: the place is free
};

struct admission {
    struct store *store;
    pthread_rwlock_t cache_lock; // guards cache; held for moments
    struct cache cache;
    pthread_mutex_t refresh_lock; // one refresh at a time; before cache_lock
    int64_t revision;             // under refresh_lock

    pthread_mutex_t failing_lock; // guards the following
    struct failing failing[SETS][WAYS];
    uint64_t failures;     // not yet in the log
    char last_address[64]; // of them

    unsigned char key[crypto_shorthash_KEYBYTES]; // so that nobody chooses an address's set
    int64_t logged_ms;                            // the thread's: failures were last written then

    pthread_t thread;
    bool started;
    pthread_mutex_t lock; // guards stop and see, and is held while see is called
    pthread_cond_t wake;
    bool stop;
    void (*see)(void *context); // NULL: none
    void *see_context;
};

static int64_t day_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the tokens in memory ---- */

/* The token with this hash, NULL: none. Every candidate is compared in whole, and all of them: the time
 * says how many tokens share a hash's first byte, and nothing of a token, as nobody chooses a hash. */
static struct known *find(const struct cache *cache, const unsigned char hash[TOKEN_HASH])
{
    struct known *found = NULL;
    for (size_t i = cache->start[hash[0]]; i < cache->start[hash[0] + 1]; i++)
        if (sodium_memcmp(cache->tokens[i].hash, hash, TOKEN_HASH) == 0)
            found = &cache->tokens[i];
    return found;
}

static bool add(void *context, const struct store_token *token)
{
    struct cache *cache = context;
    if (cache->n == cache->capacity) {
        cache->cut = true; // unless there is room
        const size_t capacity = cache->capacity > 0 ? 2 * cache->capacity : 64;
        struct known *grown = realloc(cache->tokens, capacity * sizeof *grown);
        if (grown == NULL)
            return false;
        cache->tokens = grown;
        cache->capacity = capacity;
        cache->cut = false;
    }
    struct known *k = &cache->tokens[cache->n++];
    *k = (struct known){.id = token->id,
                        .expires_ms = token->expires_ms,
                        .revoked_ms = token->revoked_ms,
                        .written_ms = token->used_ms,
                        .role = token->role};
    atomic_init(&k->used_ms, token->used_ms);
    snprintf(k->user, sizeof k->user, "%s", token->user);
    memcpy(k->hash, token->hash, TOKEN_HASH);
    return true;
}

static int by_hash(const void *a, const void *b)
{
    return ((const struct known *)a)->hash[0] - ((const struct known *)b)->hash[0];
}

static void sort(struct cache *cache)
{
    size_t i = 0;
    if (cache->n > 0)
        qsort(cache->tokens, cache->n, sizeof *cache->tokens, by_hash);
    for (size_t b = 0; b <= BUCKETS; b++) {
        while (i < cache->n && cache->tokens[i].hash[0] < b)
            i++;
        cache->start[b] = i;
    }
}

/* Uses that the database does not have yet go over to the new tokens. */
static void take_over(struct cache *cache, const struct cache *old)
{
    for (size_t i = 0; i < old->n; i++) {
        const int64_t used = atomic_load(&old->tokens[i].used_ms);
        struct known *k = find(cache, old->tokens[i].hash);
        if (k != NULL && used > atomic_load(&k->used_ms))
            atomic_store(&k->used_ms, used);
    }
}

static enum tet_err read_tokens(struct admission *a, struct tet_error *error)
{
    struct cache cache = {0};
    int64_t revision = 0;
    /* The number first: what changes between the two reads is seen the next time. */
    enum tet_err err = store_tokens_revision(a->store, &revision, error);
    if (err == TET_OK)
        err = store_tokens_read(a->store, 0, add, &cache, error);
    if (err == TET_OK && cache.cut)
        err = tet_error_set(error, TET_NO_MEMORY, "no memory for the tokens");
    if (err == TET_OK) {
        sort(&cache);
        pthread_rwlock_wrlock(&a->cache_lock);
        struct cache old = a->cache;
        take_over(&cache, &old);
        a->cache = cache;
        pthread_rwlock_unlock(&a->cache_lock);
        cache = old;
        a->revision = revision;
    }
    free(cache.tokens);
    return err;
}

enum tet_err admission_refresh(struct admission *a, struct tet_error *error)
{
    pthread_mutex_lock(&a->refresh_lock);
    const enum tet_err err = read_tokens(a, error);
    pthread_mutex_unlock(&a->refresh_lock);
    return err;
}

bool admission_closed(struct admission *a)
{
    pthread_rwlock_rdlock(&a->cache_lock);
    const bool closed = a->cache.n > 0;
    pthread_rwlock_unlock(&a->cache_lock);
    return closed;
}

/* ---- failed attempts ---- */

static struct failing *place_of(struct admission *a, const unsigned char address[16])
{
    unsigned char hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, address, 16, a->key);
    struct failing *set = a->failing[hash[0]], *idle = set;
    for (size_t w = 0; w < WAYS; w++) {
        if (set[w].until_ms != 0 && memcmp(set[w].address, address, 16) == 0)
            return &set[w];
        if (set[w].until_ms < idle->until_ms)
            idle = &set[w];
    }
    *idle = (struct failing){0};
    memcpy(idle->address, address, 16);
    return idle;
}

/* Counts a failed attempt; false: there were too many. */
static bool count_failure(struct admission *a, const struct http_peer *peer)
{
    unsigned char address[16];
    const int64_t now = clock_ms();
    memcpy(address, peer->address, 16);
    if (!http_peer_is_v4(peer))
        memset(address + 8, 0, 8); // whoever has one such address has them all
    pthread_mutex_lock(&a->failing_lock);
    struct failing *place = place_of(a, address);
    if (place->until_ms < now)
        place->until_ms = now;
    const bool allowed = place->until_ms - now <= (FAILURES - 1) * FAILURE_MS;
    if (allowed)
        place->until_ms += FAILURE_MS;
    a->failures++;
    http_peer_text(peer, a->last_address);
    pthread_mutex_unlock(&a->failing_lock);
    return allowed;
}

/* ---- judging ---- */

/* The token of "Bearer TOKEN"; NULL: it is something else. */
static const char *bearer(const char *authorization)
{
    if (strncasecmp(authorization, "Bearer ", 7) != 0)
        return NULL;
    authorization += 7 + strspn(authorization + 7, " ");
    return *authorization != '\0' && strlen(authorization) < TEXT_MAX ? authorization : NULL;
}

/* Under cache_lock: NULL, or why the token is not good. */
static const char *use(const struct cache *cache, const char *text, struct identity *identity)
{
    unsigned char hash[TOKEN_HASH];
    const int64_t now = day_ms();
    token_hash(hash, text);
    struct known *k = find(cache, hash);
    if (k == NULL)
        return "this token is not known here";
    if (k->revoked_ms != 0)
        return "this token was revoked";
    if (k->expires_ms != 0 && k->expires_ms <= now)
        return "this token has expired";
    if (now - atomic_load_explicit(&k->used_ms, memory_order_relaxed) >= 1000)
        atomic_store_explicit(&k->used_ms, now, memory_order_relaxed);
    *identity = (struct identity){.role = k->role, .token = k->id};
    memcpy(identity->user, k->user, sizeof identity->user);
    return NULL;
}

enum tet_err admission_judge(struct admission *a, const char *authorization,
                             const struct http_peer *peer, struct identity *identity,
                             struct tet_error *error)
{
    const char *why = NULL, *text = authorization != NULL ? bearer(authorization) : NULL;
    *identity = (struct identity){.role = ROLE_PUBLIC};
    pthread_rwlock_rdlock(&a->cache_lock);
    if (a->cache.n == 0 && peer->loopback)
        *identity = (struct identity){.user = "local", .role = ROLE_ADMIN};
    else if (text != NULL)
        why = use(&a->cache, text, identity);
    else if (authorization != NULL)
        why = "Authorization must be Bearer TOKEN";
    pthread_rwlock_unlock(&a->cache_lock);
    if (why == NULL)
        return TET_OK;
    if (!count_failure(a, peer))
        return tet_error_set(error, TET_TOO_MANY,
                             "too many wrong tokens came from this address; try again later");
    return tet_error_set(error, TET_UNAUTHORIZED, "%s", why);
}

bool admission_good(struct admission *a, const struct identity *identity)
{
    const int64_t now = day_ms();
    pthread_rwlock_rdlock(&a->cache_lock);
    bool good = identity->token == 0 && (identity->role == ROLE_PUBLIC || a->cache.n == 0);
    for (size_t i = 0; i < a->cache.n && !good && identity->token != 0; i++) {
        const struct known *k = &a->cache.tokens[i];
        good = k->id == identity->token && k->revoked_ms == 0 &&
               (k->expires_ms == 0 || k->expires_ms > now);
    }
    pthread_rwlock_unlock(&a->cache_lock);
    return good;
}

void admission_observe(struct admission *a, void (*see)(void *context), void *context)
{
    pthread_mutex_lock(&a->lock);
    a->see = see;
    a->see_context = context;
    pthread_mutex_unlock(&a->lock);
}

/* ---- the thread ---- */

/* The next token from *i on whose use is to be written; all: also within a minute of the last. */
static bool next_use(struct admission *a, bool all, size_t *i, int64_t *id, int64_t *used)
{
    bool found = false;
    pthread_rwlock_rdlock(&a->cache_lock);
    for (; *i < a->cache.n && !found; ++*i) {
        struct known *k = &a->cache.tokens[*i];
        *id = k->id;
        *used = atomic_load(&k->used_ms);
        found = *used > k->written_ms && (all || *used - k->written_ms >= WRITE_MS);
        if (found)
            k->written_ms = *used; // the thread's alone, and a refresh's
    }
    pthread_rwlock_unlock(&a->cache_lock);
    return found;
}

static void write_uses(struct admission *a, bool all)
{
    int64_t id, used;
    size_t i = 0;
    while (next_use(a, all, &i, &id, &used))
        store_token_used(a->store, id, used);
}

static void write_failures(struct admission *a, bool all)
{
    const int64_t now = clock_ms();
    char address[sizeof a->last_address], detail[48];
    if (!all && a->logged_ms != 0 && now - a->logged_ms < WRITE_MS)
        return;
    pthread_mutex_lock(&a->failing_lock);
    const uint64_t failures = a->failures;
    memcpy(address, a->last_address, sizeof address);
    a->failures = 0;
    pthread_mutex_unlock(&a->failing_lock);
    if (failures == 0)
        return;
    a->logged_ms = now;
    snprintf(detail, sizeof detail, "{\"count\":%llu}", (unsigned long long)failures);
    const struct store_audit entry = {
        .user = "", .action = "failed tokens", .object = address, .detail = detail};
    store_audit_write(a->store, &entry);
}

/* Whether the database has other tokens than the memory; where it cannot say, no. */
static void look(struct admission *a)
{
    int64_t revision = 0;
    pthread_mutex_lock(&a->refresh_lock);
    if (store_tokens_revision(a->store, &revision, NULL) == TET_OK && revision != a->revision)
        (void)!read_tokens(a, NULL);
    pthread_mutex_unlock(&a->refresh_lock);
}

static bool sleep_a_while(struct admission *a)
{
    struct timespec until;
    clock_in(&until, LOOK_MS);
    pthread_mutex_lock(&a->lock);
    while (!a->stop && pthread_cond_timedwait(&a->wake, &a->lock, &until) != ETIMEDOUT)
        ;
    const bool go_on = !a->stop;
    pthread_mutex_unlock(&a->lock);
    return go_on;
}

static void tell(struct admission *a)
{
    pthread_mutex_lock(&a->lock);
    if (a->see != NULL)
        a->see(a->see_context);
    pthread_mutex_unlock(&a->lock);
}

static void *run(void *argument)
{
    struct admission *a = argument;
    while (sleep_a_while(a)) {
        look(a);
        tell(a);
        write_uses(a, false);
        write_failures(a, false);
    }
    write_uses(a, true);
    write_failures(a, true);
    return NULL;
}

enum tet_err admission_start(struct admission **admission, struct store *store,
                             struct tet_error *error)
{
    *admission = NULL;
    struct admission *a = calloc(1, sizeof *a);
    if (a == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for the tokens");
    a->store = store;
    pthread_rwlock_init(&a->cache_lock, NULL);
    pthread_mutex_init(&a->refresh_lock, NULL);
    pthread_mutex_init(&a->failing_lock, NULL);
    pthread_mutex_init(&a->lock, NULL);
    clock_cond(&a->wake);
    randombytes_buf(a->key, sizeof a->key);
    enum tet_err err = admission_refresh(a, error);
    const int e = err == TET_OK ? pthread_create(&a->thread, NULL, run, a) : 0;
    a->started = err == TET_OK && e == 0;
    if (e != 0)
        err = tet_error_set(error, TET_INTERNAL, "a thread cannot be started: %s", strerror(e));
    if (err == TET_OK)
        *admission = a;
    else
        admission_stop(a);
    return err;
}

void admission_stop(struct admission *a)
{
    if (a == NULL)
        return;
    if (a->started) {
        pthread_mutex_lock(&a->lock);
        a->stop = true;
        pthread_cond_signal(&a->wake);
        pthread_mutex_unlock(&a->lock);
        pthread_join(a->thread, NULL);
    }
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    pthread_mutex_destroy(&a->failing_lock);
    pthread_mutex_destroy(&a->refresh_lock);
    pthread_rwlock_destroy(&a->cache_lock);
    free(a->cache.tokens);
    free(a);
}
