// SPDX-License-Identifier: Apache-2.0
/*
 * `tetrad token` beside a running server; a server for others than this machine: what it asks for, and
 * TLS. Everything listens on loopback all the same, but what is refused.
 */
#include "api/contract.h"

enum { SEEN_TRIES = 1000 }; // of WAIT_NS: 5 s

static int start(void **state)
{
    (void)state;
    return server_start("1", NULL);
}

/* `tetrad token` with more arguments on the server's database; its end. */
static void token(struct ended *ended, const char *const *more)
{
    const char *arguments[ARGUMENTS + 1] = {"token"};
    size_t n = 1;
    while (*more != NULL)
        arguments[n++] = *more++;
    arguments[n++] = "--db";
    arguments[n] = server.db;
    run_program(&server, ended, arguments);
}

static long status_with(const char *token)
{
    char header[128];
    struct reply reply;
    snprintf(header, sizeof header, "Authorization: Bearer %s", token != NULL ? token : "");
    ask_with(&server, "GET", "/v1/me", NULL,
             (const char *const[]){token != NULL ? header : NULL, NULL}, &reply);
    const long status = reply.status;
    reply_free(&reply);
    return status;
}

/* Asks until the token is good, or no longer, a bounded time; a bad one may be answered 429 by then. */
static void await_good(const char *token, bool good)
{
    const struct timespec pause = {.tv_nsec = WAIT_NS};
    long status = 0;
    for (int i = 0; i < SEEN_TRIES; i++) {
        status = status_with(token);
        if ((status == 200) == good)
            return;
        nanosleep(&pause, NULL);
    }
    fail_msg("the last status is %ld", status);
}

static void first_line(const char *text, char line[128])
{
    snprintf(line, 128, "%.*s", (int)strcspn(text, "\n"), text);
}

static void test_token_command(void **state)
{
    (void)state;
    struct ended ended;
    char ana[128], bo[128];
    json_decref(get(&server, 200, "/v1/experiments")); // no token yet: everybody
    token(&ended, (const char *const[]){"create", "--user", "ana", "--role", "admin", "--note",
                                        "the first", NULL});
    assert_int_equal(ended.status, 0);
    first_line(ended.out, ana);
    assert_int_equal(strlen(ana), 68);
    await_good(NULL, false); // loopback too
    assert_int_equal(status_with(ana), 200);

    token(&ended, (const char *const[]){"create", "--user", "bo", "--role", "member", "--expires",
                                        "2126-01-31", "--json", NULL});
    assert_int_equal(ended.status, 0);
    json_t *made = json_loads(ended.out, 0, NULL);
    snprintf(bo, sizeof bo, "%s", text(made, "token"));
    assert_string_equal(text(made, "user"), "bo");
    assert_string_equal(text(made, "role"), "member");
    assert_string_equal(text(made, "expires_at"), "2126-02-01T00:00:00.000Z");
    await_good(bo, true);

    token(&ended, (const char *const[]){"list", NULL});
    assert_int_equal(ended.status, 0);
    assert_non_null(strstr(ended.out, "the first"));
    assert_null(strstr(ended.out, ana));
    char id[24];
    snprintf(id, sizeof id, "%lld", (long long)integer(made, "id"));
    json_decref(made);
    token(&ended, (const char *const[]){"revoke", id, NULL});
    assert_int_equal(ended.status, 0);
    await_good(bo, false);
    token(&ended, (const char *const[]){"list", "--json", NULL});
    json_t *list = json_loads(ended.out, 0, NULL);
    const json_t *tokens = json_object_get(list, "tokens");
    assert_int_equal(json_array_size(tokens), 2);
    assert_true(json_is_string(json_object_get(json_array_get(tokens, 1), "revoked_at")));
    json_decref(list);
    await_good(ana, true); // the others stay
}

static void refused(const char *const *more, int status, const char *says)
{
    struct ended ended;
    token(&ended, more);
    if (ended.status != status || strstr(ended.err, says) == NULL)
        fail_msg("status %d, \"%s\"; wanted %d, \"%s\"", ended.status, ended.err, status, says);
    assert_string_equal(ended.out, "");
}

static void test_bad_commands(void **state)
{
    (void)state;
    refused((const char *const[]){"create", "--role", "admin", NULL}, 2, "--user");
    refused((const char *const[]){"create", "--user", "a b", "--role", "admin", NULL}, 2, "name");
    refused((const char *const[]){"create", "--user", "a", "--role", "root", NULL}, 2, "\"root\"");
    refused((const char *const[]){"create", "--user", "a", NULL}, 2, "--role");
    refused((const char *const[]){"create", "--user", "a", "--role", "admin", "--expires", "soon",
                                  NULL},
            2, "\"soon\"");
    refused((const char *const[]){"create", "--user", "a", "--role", "admin", "--expires",
                                  "2020-01-01", NULL},
            2, "expired");
    refused((const char *const[]){"create", "now", "--user", "a", "--role", "admin", NULL}, 2,
            "one argument too many");
    refused((const char *const[]){"revoke", NULL}, 2, "a number");
    refused((const char *const[]){"revoke", "x", NULL}, 2, "\"x\"");
    refused((const char *const[]){"revoke", "999", NULL}, 1, "no token 999");
    refused((const char *const[]){"forget", NULL}, 2, "\"forget\"");
    refused((const char *const[]){NULL}, 2, "create, list or revoke");
}

/* ---- for others than this machine ---- */

/* The server does not start; its sentence. */
static void refuses_to_start(const struct daemon *d, const char *const *more, int status,
                             const char *says)
{
    struct ended ended;
    const char *arguments[ARGUMENTS + 1] = {"serve", "--db", d->db, "--data", d->data};
    for (size_t n = 5; *more != NULL; n++)
        arguments[n] = *more++;
    run_program(d, &ended, arguments);
    if (ended.status != status || strstr(ended.err, says) == NULL)
        fail_msg("status %d, \"%s\"; wanted %d, \"%s\"", ended.status, ended.err, status, says);
}

/* ... with a new database. */
static void does_not_start(const char *const *more, int status, const char *says)
{
    struct daemon other;
    daemon_folder(&other);
    refuses_to_start(&other, more, status, says);
    daemon_remove(&other);
}

static void test_needs_a_token(void **state)
{
    (void)state;
    does_not_start((const char *const[]){"--listen", "0.0.0.0:0", NULL}, 6, "tetrad token create");
    does_not_start((const char *const[]){"--listen", "[::]:0", NULL}, 6, "tetrad token create");
    does_not_start((const char *const[]){"--listen", ":0", NULL}, 6, "tetrad token create");
    /* A proxy in front comes from loopback: whoever names a host needs tokens as well. */
    does_not_start((const char *const[]){"--listen", "127.0.0.1:0", "--host", "lab.org", NULL}, 6,
                   "tetrad token create");
    does_not_start((const char *const[]){"--listen", "127.0.0.1:0", "--max-connections", "0", NULL},
                   2, "--max-connections");
}

/* ---- names and origins ---- */

static void test_bad_lists(void **state)
{
    (void)state;
    static const char *const hosts[] = {"lab.org:8080", "https://lab.org", "*", "lab.org/x"};
    static const char *const origins[] = {
        "lab.org", "https://lab.org/", "https://*.lab.org", "https://", "null", "*"};
    const char *arguments[] = {"--listen", "127.0.0.1:0", NULL, NULL, NULL};
    struct ended ended;
    token(&ended, (const char *const[]){"create", "--user", "ana", "--role", "admin", NULL});
    assert_int_equal(ended.status, 0);
    daemon_stop(&server);
    for (size_t i = 0; i < 10; i++) {
        arguments[2] = i < 4 ? "--host" : "--cors-origin";
        arguments[3] = i < 4 ? hosts[i] : origins[i - 4];
        refuses_to_start(&server, arguments, 2, arguments[3]);
    }
    daemon_start(&server, "1", NULL);
}

static long status_of_headers(const char *const *headers, const char *method)
{
    struct reply reply;
    request(&server, method, "/v1/rules", NULL, 0, headers, &reply);
    const long status = reply.status;
    reply_free(&reply);
    return status;
}

static void restart_with(const char *const *more)
{
    daemon_stop(&server);
    daemon_start_with(&server, more);
}

static void test_hosts_and_origins(void **state)
{
    (void)state;
    struct ended ended;
    char token_line[128], authorization[160], value[256];
    struct reply reply;
    token(&ended, (const char *const[]){"create", "--user", "ana", "--role", "admin", NULL});
    first_line(ended.out, token_line);
    snprintf(authorization, sizeof authorization, "Authorization: Bearer %s", token_line);
    restart_with((const char *const[]){"--host", "lab.example.org,other.example.org",
                                       "--cors-origin", "https://app.example.org", NULL});
#define HEADERS(...) ((const char *const[]){authorization, __VA_ARGS__, NULL})
    assert_int_equal(status_of_headers(HEADERS("Host: lab.example.org"), "GET"), 200);
    assert_int_equal(status_of_headers(HEADERS("Host: LAB.example.org:8443"), "GET"), 200);
    assert_int_equal(status_of_headers(HEADERS("Host: other.example.org"), "GET"), 200);
    assert_int_equal(status_of_headers(HEADERS("Host: evil.example.org"), "GET"), 403);
    assert_int_equal(status_of_headers(HEADERS("Host: lab.example.org.evil.org"), "GET"), 403);
    assert_int_equal(status_of_headers(HEADERS("Host: example.org"), "GET"), 403);
    assert_int_equal(
        status_of_headers(HEADERS("Host: lab.example.org", "Origin: https://lab.example.org"),
                          "GET"),
        200);
    assert_int_equal(status_of_headers(HEADERS("Origin: https://evil.example.org"), "GET"), 403);
    assert_int_equal(status_of_headers(HEADERS("Origin: null"), "GET"), 403);
    assert_int_equal(status_of_headers(HEADERS("Origin: https://app.example.org.evil.org"), "GET"),
                     403);

    request(&server, "GET", "/v1/rules", NULL, 0, HEADERS("Origin: https://app.example.org"),
            &reply);
    expect(&reply, 200);
    assert_string_equal(reply_header(&reply, "Access-Control-Allow-Origin", value),
                        "https://app.example.org");
    assert_non_null(strstr(reply.head, "Vary: Origin"));
    assert_null(reply_header(&reply, "Access-Control-Allow-Credentials", value));
    reply_free(&reply);
    /* What a browser asks first, without the token. */
    request(&server, "OPTIONS", "/v1/experiments", NULL, 0,
            (const char *const[]){"Origin: https://app.example.org",
                                  "Access-Control-Request-Method: POST", NULL},
            &reply);
    expect(&reply, 204);
    assert_string_equal(reply_header(&reply, "Access-Control-Allow-Headers", value),
                        "Authorization, Content-Type, Idempotency-Key, Last-Event-ID");
    assert_non_null(strstr(reply_header(&reply, "Access-Control-Allow-Methods", value), "POST"));
    reply_free(&reply);
    request(&server, "OPTIONS", "/v1/experiments", NULL, 0,
            (const char *const[]){"Origin: https://evil.example.org", NULL}, &reply);
    expect(&reply, 403);
    assert_null(reply_header(&reply, "Access-Control-Allow-Origin", value));
    reply_free(&reply);
    /* A refusal is readable by the page too. */
    request(&server, "GET", "/v1/rules", NULL, 0,
            (const char *const[]){"Origin: https://app.example.org", NULL}, &reply);
    expect(&reply, 401);
    assert_non_null(reply_header(&reply, "Access-Control-Allow-Origin", value));
    reply_free(&reply);
}

/* ---- TLS ---- */

static char certificate[128], key[128], other_key[128];

static bool make_certificates(void)
{
    char command[1024];
    snprintf(certificate, sizeof certificate, "%s/cert.pem", server.folder);
    snprintf(key, sizeof key, "%s/key.pem", server.folder);
    snprintf(other_key, sizeof other_key, "%s/other.pem", server.folder);
    snprintf(command, sizeof command,
             "command -v openssl >/dev/null && "
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
             "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout %s -out %s "
             "2>/dev/null && openssl ecparam -genkey -name prime256v1 -noout -out %s 2>/dev/null",
             key, certificate, other_key);
    return system(command) == 0;
}

static void tls_requests(void)
{
    static const char definition[] =
        "{\"name\":\"tls\",\"dataset\":{\"name\":\"strokes\",\"train\":60,\"test\":20},"
        "\"network\":{\"layers\":[{\"units\":8}]},\"rule\":{\"name\":\"bp\"},"
        "\"training\":{\"epochs\":1,\"batch\":20}}";
    struct reply reply;
    char *large = malloc(3 << 20);
    for (int i = 0; i < 20; i++)
        json_decref(get(&server, 200, "/v1/runs/%d", (int)submit(&server, definition)));
    ask_with(&server, "GET", "/openapi.json", NULL, NULL, &reply);
    assert_string_equal(reply.body, embed_openapi); // several records
    reply_free(&reply);
    /* Answered before its body is read: the rest lingers, encrypted or not. */
    memset(large, ' ', 3 << 20);
    request(&server, "POST", "/v1/experiments", large, 3 << 20, NULL, &reply);
    expect(&reply, 413);
    reply_free(&reply);
    free(large);
    json_decref(get(&server, 200, "/healthz"));
}

static void test_tls(void **state)
{
    (void)state;
    daemon_stop(&server);
    daemon_remove(&server);
    daemon_folder(&server);
    if (!make_certificates()) {
        daemon_start(&server, "1", NULL);
        print_message("# skipped: there is no openssl that makes certificates\n");
        skip();
    }
    daemon_start_with(&server,
                      (const char *const[]){"--tls-cert", certificate, "--tls-key", key, NULL});
    request_trust = certificate;
    tls_requests();
    request_trust = NULL;
    /* Whoever speaks no TLS gets nowhere, and TLS before 1.2 is refused. */
    char command[256], url[64];
    CURL *plain = curl_easy_init();
    snprintf(url, sizeof url, "http://127.0.0.1:%u/healthz", server.port);
    curl_easy_setopt(plain, CURLOPT_URL, url);
    curl_easy_setopt(plain, CURLOPT_TIMEOUT, 30L);
    assert_int_not_equal(curl_easy_perform(plain), CURLE_OK);
    curl_easy_cleanup(plain);
    snprintf(command, sizeof command,
             "openssl s_client -tls1_1 -cipher DEFAULT@SECLEVEL=0 -connect 127.0.0.1:%u </dev/null "
             ">/dev/null 2>&1",
             server.port);
    assert_int_not_equal(system(command), 0);
    snprintf(command, sizeof command,
             "openssl s_client -tls1_2 -cipher DEFAULT@SECLEVEL=0 -connect 127.0.0.1:%u </dev/null "
             ">/dev/null 2>&1",
             server.port);
    assert_int_equal(system(command), 0);

    does_not_start(
        (const char *const[]){"--listen", "127.0.0.1:0", "--tls-cert", certificate, NULL}, 2,
        "--tls-key");
    does_not_start((const char *const[]){"--listen", "127.0.0.1:0", "--tls-cert", "/no/such.pem",
                                         "--tls-key", key, NULL},
                   9, "/no/such.pem");
    does_not_start(
        (const char *const[]){"--listen", "127.0.0.1:0", "--tls-cert", key, "--tls-key", key, NULL},
        9, "key.pem");
    does_not_start((const char *const[]){"--listen", "127.0.0.1:0", "--tls-cert", certificate,
                                         "--tls-key", other_key, NULL},
                   9, "other.pem");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_command), cmocka_unit_test(test_bad_commands),
        cmocka_unit_test(test_needs_a_token), cmocka_unit_test(test_hosts_and_origins),
        cmocka_unit_test(test_bad_lists),     cmocka_unit_test(test_tls),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
