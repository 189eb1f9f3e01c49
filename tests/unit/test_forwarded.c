// SPDX-License-Identifier: Apache-2.0
/* Who a client is behind a proxy: X-Forwarded-For, good, forged and broken; and what may be said of proxies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "http/http.h"
#include "http_client.h"

static void whoami(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct http_peer peer;
    char text[64];
    (void)context;
    http_peer(request, &peer);
    http_peer_text(&peer, text);
    http_reply_json(reply, 200,
                    json_pack("{s:s, s:b}", "address", text, "loopback", (int)peer.loopback));
}

static const struct http_route routes[] = {
    {ROLE_VIEWER, "GET", "/", whoami, false, NULL},
    {ROLE_VIEWER, NULL, NULL, NULL, false, NULL},
};

static enum tet_err start(struct http_server **server, const char *proxies, uint16_t *port,
                          struct tet_error *error)
{
    const struct http_options options = {.listen = "127.0.0.1:0", .proxies = proxies};
    return http_start(server, &options, routes, NULL, port, error);
}

/* Asks a server that believes `proxies`, with headers. */
static void expect(const char *proxies, const char *headers, const char *address, bool loopback)
{
    struct http_server *server = NULL;
    struct tet_error error = {0};
    static struct answer answer;
    uint16_t port = 0;
    char wanted[128];
    assert_int_equal(start(&server, proxies, &port, &error), TET_OK);
    const int fd = client_open(port);
    assert_true(fd >= 0);
    client_send(fd, "GET / HTTP/1.1\r\nHost: localhost\r\n%s\r\n", headers);
    client_read(fd, false, &answer);
    close(fd);
    http_stop(server);
    snprintf(wanted, sizeof wanted, "{\"address\":\"%s\",\"loopback\":%s}\n", address,
             loopback ? "true" : "false");
    print_message("%s | %s\n", proxies != NULL ? proxies : "-", headers);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, wanted);
}

#define FOR "X-Forwarded-For: "

static void test_only_proxies_are_believed(void **state)
{
    (void)state;
    expect(NULL, FOR "10.1.2.3\r\n", "127.0.0.1", true);
    expect("10.0.0.1", FOR "10.1.2.3\r\n", "127.0.0.1", true);
    expect("127.0.0.1", FOR "10.1.2.3\r\n", "10.1.2.3", false);
    expect("127.0.0.1", "x-forwarded-for: 2001:db8::7\r\n", "2001:db8::7", false);
    expect("127.0.0.1", "", "127.0.0.1", true);
    expect("127.0.0.1", FOR "127.0.0.9\r\n", "127.0.0.9", true);
}

/* What stands left of the last address that is no proxy's is the client's own word. */
static void test_the_last_stranger_counts(void **state)
{
    (void)state;
    expect("127.0.0.1", FOR "1.1.1.1, 10.1.2.3\r\n", "10.1.2.3", false);
    expect("127.0.0.1", FOR "1.1.1.1\r\n" FOR "10.1.2.3\r\n", "10.1.2.3", false);
    expect("127.0.0.1,10.0.0.0/8", FOR "1.1.1.1,2.2.2.2 ,10.1.2.3\r\n", "2.2.2.2", false);
    expect("127.0.0.1,10.0.0.0/8", FOR "10.1.1.1, 10.1.2.3\r\n", "127.0.0.1", true);
    expect("127.0.0.1 fd00::/8", FOR "9.9.9.9, fd00::5\r\n", "9.9.9.9", false);
}

static void test_broken_entries_end_the_walk(void **state)
{
    (void)state;
    static char long_entry[600] = FOR "1.1.1.1, ";
    expect("127.0.0.1", FOR "1.1.1.1, unknown\r\n", "127.0.0.1", true);
    expect("127.0.0.1", FOR "1.1.1.1, unknown, 2.2.2.2\r\n", "2.2.2.2", false);
    expect("127.0.0.1,10.0.0.0/8", FOR "1.1.1.1, unknown, 10.0.0.2\r\n", "127.0.0.1", true);
    expect("127.0.0.1", FOR "1.1.1.1:80\r\n", "127.0.0.1", true);
    expect("127.0.0.1", FOR "[::1]\r\n", "127.0.0.1", true);
    expect("127.0.0.1", FOR ", ,\t,\r\n", "127.0.0.1", true);
    memset(long_entry + strlen(long_entry), '1', 500);
    strcat(long_entry, "\r\n");
    expect("127.0.0.1", long_entry, "127.0.0.1", true);
}

static void test_prefixes(void **state)
{
    (void)state;
    expect("126.0.0.0/7", FOR "10.1.2.3\r\n", "10.1.2.3", false);
    expect("128.0.0.0/1", FOR "10.1.2.3\r\n", "127.0.0.1", true);
    expect("127.0.0.2/31", FOR "10.1.2.3\r\n", "127.0.0.1", true);
    expect("127.0.0.0/31", FOR "10.1.2.3\r\n", "10.1.2.3", false);
    expect("0.0.0.0/0", FOR "2001:db8::7\r\n", "2001:db8::7", false);
    expect("::ffff:127.0.0.1", FOR "10.1.2.3\r\n", "10.1.2.3", false);
    expect("::/96", FOR "10.1.2.3\r\n", "127.0.0.1", true);
}

static void test_lists_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"localhost",   "127.0.0.1,x",  "10.0.0.0/33", "10.0.0.0/",
                                      "::1/129",     "/8",           "1.2.3",       "10.0.0.0/8/8",
                                      "10.0.0.0/-1", "10.0.0.0/0008"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct http_server *server = NULL;
        struct tet_error error = {0};
        uint16_t port;
        print_message("%s\n", bad[i]);
        assert_int_equal(start(&server, bad[i], &port, &error), TET_BAD_REQUEST);
        assert_non_null(strstr(error.message, "--proxy"));
        assert_null(server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_proxies_are_believed),
        cmocka_unit_test(test_the_last_stranger_counts),
        cmocka_unit_test(test_broken_entries_end_the_walk),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_lists_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
