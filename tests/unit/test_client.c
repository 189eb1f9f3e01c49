// SPDX-License-Identifier: Apache-2.0
/* What the client does without a server: text that a terminal may have, server-sent events in any
 * pieces, identities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "client/watch.h"

static void test_visible(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
         "plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\x1b[2J\n\x7f", "\\u001b[2J\\u000a\\u007f"},
        {"a\xc2\x9b"
         "b\xc2\xa0",
         "a\\u009bb\xc2\xa0"},
        {"\xe2\x80\xae\xe2\x81\xa6\xe2\x80\xa9x\xe2\x80\x94", "\\u202e\\u2066\\u2029x\xe2\x80\x94"},
        {"cut \xe2\x80", "cut \xe2\x80"},
        {"cut \xc2", "cut \xc2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text text = {0};
        char *copy = strdup(cases[i][0]); // so that a sanitizer sees a read past the end
        text_visible(&text, copy);
        assert_string_equal(text_get(&text), cases[i][1]);
        text_free(&text);
        free(copy);
    }
}

static void collect(void *context, const char *event, const char *data)
{
    text_printf(context, "<%s|%s>", event, data);
}

static void test_events(void **state)
{
    (void)state;
    static const char stream[] =
        ": hello\n\nid: 1\nevent: state\ndata: {\"a\":1}\n\n"
        "event:progress\r\ndata:x\r\ndata: y\r\n\r\nevent: lost\n\ndata: z\n\n"
        "retry: 5\ndata: unfinished\n";
    for (size_t cut = 0; cut < sizeof stream - 1; cut++) {
        struct text got = {0};
        struct events events = {.take = collect, .context = &got};
        assert_true(events_feed(&events, stream, cut));
        assert_true(events_feed(&events, stream + cut, sizeof stream - 1 - cut));
        assert_string_equal(text_get(&got), "<state|{\"a\":1}><progress|x\ny><|z>");
        events_free(&events);
        text_free(&got);
    }
    char *line = malloc(EVENTS_MAX + 2);
    memset(line, 'x', EVENTS_MAX + 2);
    struct events events = {.take = collect};
    assert_false(events_feed(&events, line, EVENTS_MAX + 2)); // bounded
    events_free(&events);
    free(line);
}

static void test_identities(void **state)
{
    (void)state;
    struct client c = {0};
    struct client_id id;
    char text[32];
    assert_int_equal(client_id(&c, "r7", CLIENT_RUN, &id), TET_OK);
    assert_true(id.run && id.number == 7);
    assert_string_equal(client_id_text(id, text), "r7");
    assert_int_equal(client_id(&c, "3", CLIENT_EXPERIMENT + CLIENT_RUN, &id), TET_OK);
    assert_true(!id.run && id.number == 3);
    static const char *const bad[] = {
        "", "r", "r0", "0", "03", "-3", "3x", "r7/", "R7", "../3", "1234567890123456789"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(client_id(&c, bad[i], CLIENT_EXPERIMENT + CLIENT_RUN, &id),
                         TET_BAD_REQUEST);
    assert_int_equal(client_id(&c, "7", CLIENT_RUN, &id), TET_BAD_REQUEST);
    assert_int_equal(client_id(&c, "r7", CLIENT_EXPERIMENT, &id), TET_BAD_REQUEST);
    assert_int_equal(client_id(&c, NULL, CLIENT_RUN, &id), TET_BAD_REQUEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_visible),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_identities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
