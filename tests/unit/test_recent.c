// SPDX-License-Identifier: Apache-2.0
/* Replies that are kept: sent again only while they hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/recent.h"

static struct recent recent;

static int set_up(void **state)
{
    (void)state;
    recent_init(&recent);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    recent_free(&recent);
    return 0;
}

static void put(int64_t run, uint64_t version, bool live, const char *text)
{
    char tag[RECENT_TAG];
    recent_put(&recent, run, version, live, text, strlen(text), tag);
}

/* That the reply is `text`, or that there is none (NULL). */
static void expect(int64_t run, uint64_t version, const char *text)
{
    char tag[RECENT_TAG];
    size_t size = 0;
    char *got = recent_get(&recent, run, version, &size, tag);
    if (text == NULL) {
        assert_null(got);
        return;
    }
    assert_non_null(got);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(got, text, size);
    free(got);
}

static void test_versions(void **state)
{
    (void)state;
    expect(7, 1, NULL);
    put(7, 1, false, "one");
    expect(7, 1, "one");
    expect(7, 2, NULL);
    put(7, 2, false, "two");
    expect(7, 2, "two");
    expect(7, 1, NULL);
    put(7 + RECENT_RUNS, 5, false, "other"); // takes its place
    expect(7, 2, NULL);
    expect(7 + RECENT_RUNS, 5, "other");
}

static void test_live(void **state)
{
    struct timespec now;
    (void)state;
    char tag[RECENT_TAG] = "x";
    recent_put(&recent, 7, 1, true, "moves", 5, tag);
    assert_string_equal(tag, ""); // it is not to be asked for as what it was
    do {                          // until it is too old, which it becomes by itself
        size_t size;
        char *got = recent_get(&recent, 7, 1, &size, tag);
        if (got == NULL)
            break;
        assert_string_equal(tag, "");
        free(got);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec >= 0);
    expect(7, 1, NULL);
}

static void test_tags(void **state)
{
    char a[RECENT_TAG], b[RECENT_TAG], c[RECENT_TAG];
    static char large[RECENT_BYTES + 1];
    (void)state;
    recent_put(&recent, 1, 1, false, "x", 1, a);
    recent_put(&recent, 2, 9, false, "x", 1, b);
    recent_put(&recent, 1, 1, false, "y", 1, c);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    memset(large, 'l', sizeof large);
    recent_put(&recent, 3, 1, false, large, sizeof large, c); // too large to be kept
    size_t size;
    assert_null(recent_get(&recent, 3, 1, &size, a));
    assert_true(strlen(c) == 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_versions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_live, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tags, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
