// SPDX-License-Identifier: Apache-2.0
/* Log lines: both forms, and values that would break out of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "monitor/log.h"

static const char at[] = "2026-01-31T12:00:00.000Z";

static void check(bool json, const char *value, const char *wanted)
{
    char line[1024], expected[1024];
    const struct log_field fields[] = {LOG_FIELD_TEXT("path", value),
                                       LOG_FIELD_TEXT("absent", NULL), LOG_FIELD_INTEGER("n", -3),
                                       LOG_FIELD_REAL("ms", 0.25)};
    const size_t n = log_format(line, sizeof line, json, at, LOG_AT_INFO, "request", fields, 4);
    if (json)
        snprintf(expected, sizeof expected,
                 "{\"at\":\"%s\",\"level\":\"info\",\"event\":\"request\",\"path\":%s,\"n\":-3,"
                 "\"ms\":0.25}\n",
                 at, wanted);
    else
        snprintf(expected, sizeof expected, "%s info request path=%s n=-3 ms=0.25\n", at, wanted);
    assert_string_equal(line, expected);
    assert_int_equal(n, strlen(line));
}

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *value, *json, *text; // text NULL: as json
    } cases[] = {
        {"/v1/runs/7", "\"/v1/runs/7\"", "/v1/runs/7"},
        {"", "\"\"", NULL},
        {"a b", "\"a b\"", NULL},
        {"x=1", "\"x=1\"", NULL},
        {"a\nlevel=error \"x\\", "\"a\\u000alevel=error \\\"x\\\\\"", NULL},
        {"\x1b[31mred\x7f", "\"\\u001b[31mred\\u007f\"", NULL},
        {"\xC2\x9B"
         "31m",
         "\"\\u009b31m\"", NULL},              // CSI in one character
        {"\xE2\x80\xA8", "\"\\u2028\"", NULL}, // a line separator
        {"M\xC3\xBCller", "\"M\xC3\xBCller\"", NULL},
        {"\xFF\xC0\xAF", "\"\\ufffd\\ufffd\\ufffd\"", NULL}, // not UTF-8, overlong
        {"\xED\xA0\x80", "\"\\ufffd\\ufffd\\ufffd\"", NULL}, // a surrogate
        {"cut \xE2\x82", "\"cut \\ufffd\\ufffd\"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check(true, cases[i].value, cases[i].json);
        check(false, cases[i].value, cases[i].text != NULL ? cases[i].text : cases[i].json);
    }
}

/* Long values are cut, and a line that would not fit still ends. */
static void test_long(void **state)
{
    (void)state;
    static char value[5000], line[4096];
    memset(value, '\n', sizeof value - 1);
    const struct log_field fields[] = {LOG_FIELD_TEXT("a", value), LOG_FIELD_TEXT("b", value)};
    for (size_t size = 100; size <= sizeof line; size += 499) {
        const size_t n = log_format(line, size, true, at, LOG_AT_ERROR, "x", fields, 2);
        assert_true(n < size);
        assert_int_equal(line[n - 1], '\n');
        assert_ptr_equal(strchr(line, '\n'), line + n - 1);
    }
}

static void test_not_finite(void **state)
{
    (void)state;
    char line[256];
    const struct log_field field = LOG_FIELD_REAL("ms", NAN);
    const size_t n = log_format(line, sizeof line, true, at, LOG_AT_DEBUG, "x", &field, 1);
    json_t *value = json_loadb(line, n, 0, NULL);
    assert_true(json_is_null(json_object_get(value, "ms")));
    json_decref(value);
}

static void test_start(void **state)
{
    (void)state;
    struct tet_error error = {0};
    assert_int_equal(log_start("xml", "info", &error), TET_BAD_REQUEST);
    assert_non_null(strstr(error.message, "text or json"));
    error = (struct tet_error){0};
    assert_int_equal(log_start("json", "loud", &error), TET_BAD_REQUEST);
    assert_non_null(strstr(error.message, "debug, info, warning or error"));
    assert_int_equal(log_start("text", "info", NULL), TET_OK);
    assert_true(log_takes(LOG_AT_INFO) && log_takes(LOG_AT_ERROR) && !log_takes(LOG_AT_DEBUG));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms), cmocka_unit_test(test_long),
                                       cmocka_unit_test(test_not_finite),
                                       cmocka_unit_test(test_start)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
