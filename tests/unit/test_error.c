// SPDX-License-Identifier: Apache-2.0
/* Messages of errors: a line of UTF-8 whatever they repeat. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <tetrad/error.h>

static const struct {
    const char *given, *kept;
} cases[] = {
    {"plain", "plain"},
    {"na\xc3\xafve \xe2\x82\xac \xf0\x9f\xa7\xa0", "na\xc3\xafve \xe2\x82\xac \xf0\x9f\xa7\xa0"},
    {"two\r\nlines\t\x1b[1m\x7f", "two??lines??[1m?"},
    {"\xff\xfe", "??"},
    {"\x80 alone", "? alone"},
    {"\xc0\xaf overlong \xe0\x80\xaf", "?? overlong ???"},
    {"\xed\xa0\x80 surrogate", "??? surrogate"},
    {"\xf4\x90\x80\x80 beyond", "???? beyond"},
    {"cut \xe2\x82", "cut ??"},
};

static void plain(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tet_error error = {0};
        assert_int_equal(tet_error_set(&error, TET_BAD_REQUEST, "%s", cases[i].given),
                         TET_BAD_REQUEST);
        assert_string_equal(error.message, cases[i].kept);
    }
}

/* A precision may cut a character in two in the midst of a message. */
static void precision(void **state)
{
    (void)state;
    struct tet_error error = {0};
    (void)tet_error_set(&error, TET_BAD_REQUEST, "found \"%.2s\", allowed a", "\xe2\x82\xac");
    assert_string_equal(error.message, "found \"??\", allowed a");
}

/* What does not fit ends with a whole character, wherever the end falls. */
static void cut(void **state)
{
    (void)state;
    static const char *const characters[] = {"x", "\xc3\xaf", "\xe2\x82\xac", "\xf0\x9f\xa7\xa0"};
    for (size_t kind = 0; kind < 4; kind++)
        for (size_t before = 0; before < 5; before++) {
            char text[1024] = "";
            struct tet_error error = {0};
            const size_t n = strlen(characters[kind]), room = sizeof error.message - 1 - before;
            memset(text, 'a', before);
            while (strlen(text) + n < sizeof text)
                strcat(text, characters[kind]);
            (void)tet_error_set(&error, TET_IO, "%s", text);
            assert_int_equal(strlen(error.message), before + room / n * n);
            assert_memory_equal(error.message, text, strlen(error.message));
        }
}

static void first_wins(void **state)
{
    (void)state;
    struct tet_error error = {0};
    (void)tet_error_set(&error, TET_IO, "one");
    assert_int_equal(tet_error_set(&error, TET_BAD_JSON, "two"), TET_BAD_JSON);
    assert_int_equal(error.err, TET_IO);
    assert_string_equal(error.message, "one");
    assert_int_equal(tet_error_set(NULL, TET_BAD_JSON, "none"), TET_BAD_JSON);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),
        cmocka_unit_test(precision),
        cmocka_unit_test(cut),
        cmocka_unit_test(first_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
