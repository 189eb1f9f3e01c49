// SPDX-License-Identifier: Apache-2.0
/*
 * How tokens are compared: what it takes says nothing of a token.
 *
 * A token is looked for by its SHA-256, among those whose hash has the same first byte. Time itself cannot be tested on a
 * machine that does other things, so this counts: sodium_memcmp, whose time does not depend on the bytes, is ours here.
 */
#include "store_fixture.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdatomic.h>

#include "access/admission.h"
#include "store/users.h"

enum { TOKENS = 120 };

static atomic_size_t compared; // calls
static atomic_bool in_whole = true;

/* Instead of libsodium's. */
int sodium_memcmp(const void *const a, const void *const b, size_t size)
{
    const volatile unsigned char *x = a, *y = b;
    unsigned char differs = 0;
    atomic_fetch_add(&compared, 1);
    if (size != TOKEN_HASH)
        atomic_store(&in_whole, false);
    for (size_t i = 0; i < size; i++)
        differs |= x[i] ^ y[i];
    return differs == 0 ? 0 : -1;
}

static unsigned first_byte(const char *text)
{
    unsigned char hash[TOKEN_HASH];
    crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
    return hash[0];
}

/* How often a token was compared until it was judged. */
static size_t effort(struct admission *a, const char *text, enum tet_err wanted)
{
    char header[128];
    struct identity who;
    struct tet_error error = {0};
    struct http_peer from = {.loopback = true};
    inet_pton(AF_INET6, "::ffff:127.0.0.1", from.address);
    snprintf(header, sizeof header, "Bearer %s", text);
    const size_t before = atomic_load(&compared);
    const enum tet_err err = admission_judge(a, header, &from, &who, &error);
    assert_true(err == wanted || (wanted == TET_UNAUTHORIZED && err == TET_TOO_MANY));
    return atomic_load(&compared) - before;
}

static void test_effort(void **state)
{
    (void)state;
    static char texts[TOKENS][TOKEN_TEXT];
    size_t with[256] = {0}, several = 0;
    struct admission *a;
    struct store *store = open_store();
    struct tet_error error = {0};
    const struct identity root = {.user = "root", .role = ROLE_ADMIN, .token = 7};
    const struct store_token token = {.user = "ana", .role = ROLE_VIEWER, .note = ""};
    int64_t id;
    for (int i = 0; i < TOKENS; i++) {
        assert_ok(store_token_create(store, &token, &root, texts[i], &id, &error), &error);
        with[first_byte(texts[i])]++;
    }
    assert_ok(admission_start(&a, store, &error), &error);
    for (int i = 0; i < TOKENS; i++) {
        const size_t candidates = with[first_byte(texts[i])];
        several += candidates > 1;
        /* The first of several is found by no fewer comparisons than the last. */
        assert_int_equal(effort(a, texts[i], TET_OK), candidates);
        /* All but the last digit right is as wrong as anything. */
        char *last = texts[i] + strlen(texts[i]) - 1;
        *last = *last == '0' ? '1' : '0';
        assert_int_equal(effort(a, texts[i], TET_UNAUTHORIZED), with[first_byte(texts[i])]);
    }
    print_message("# %zu of %d tokens share the first byte of their hash with another\n", several,
                  TOKENS);
    assert_true(several > 0);
    assert_true(atomic_load(&in_whole));
    admission_stop(a);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_effort)};
    return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
