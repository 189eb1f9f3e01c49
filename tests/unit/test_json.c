// SPDX-License-Identifier: Apache-2.0
/* JSON: what is no JSON, its depth and its size, the canonical form. */
#include "definition_fixture.h"

static void expect_json(enum tet_err expected, const char *text, size_t size, const char *message)
{
    struct definition *definition;
    struct tet_error error = {0};
    json_t *details;
    enum tet_err err = definition_read(&definition, &details, text, size, &context, &error);
    if (err != expected || strstr(error.message, message) == NULL)
        print_error("%.200s\nexpected %s with \"%s\", found %s: %s\n", text, tet_err_code(expected),
                    message, tet_err_code(err), error.message);
    assert_int_equal(err, expected);
    assert_non_null(strstr(error.message, message));
    assert_null(definition);
    assert_null(details);
}

static void test_bad_json(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "line 1"},
        {"   ", "line 1"},
        {"7", "line 1"},
        {"\"x\"", "line 1"},
        {"{\"a\":}", "line 1, column 6"},
        {"{\"a\":1,\"a\":2}", "duplicate"},
        {"{\"a\":NaN}", "line 1"},
        {"{\"a\":Infinity}", "line 1"},
        {"{\n\"a\":\n 1e400}", "line 3, column 6: real number overflow"},
        {"{\"a\":-1e400}", "real number overflow"},
        {"{\"a\":\"\xff\"}", "unable to decode byte 0xff"},
        {"{\"a\":\"\xed\xa0\x80\"}", "unable to decode"},
        {"{\"a\":\"\xc0\x80\"}", "unable to decode"},
        {"{\"a\":\"\\u0000\"}", "\\u0000 is not allowed"},
        {"{\"a\\u0000\":1}", "\\u0000 is not allowed"},
        {"{\"a\":\"\\ud800\"}", "Unicode"},
        {"{} {}", "end of file expected"},
        {"\xef\xbb\xbf{}", "line 1"},
        {"{\"a\":01}", "line 1"},
        {"{'a':1}", "line 1"},
        {"{\"a\":1,}", "line 1"},
        {"{\"a\":\"unclosed", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_json(TET_BAD_JSON, cases[i].text, strlen(cases[i].text), cases[i].message);
    expect_json(TET_BAD_JSON, "{}\0", 3, "line 1");
    expect_json(TET_BAD_JSON, "{\"a\":\"\0\"}", 9, "line 1");
}

static void test_depth_and_size(void **state)
{
    (void)state;
    size_t size = DEFINITION_MAX_BYTES;
    char *text = malloc(size + 1);
    memset(text, '[', size + 1);
    expect_json(TET_BAD_JSON, text, size, "line 1, column 33: arrays and objects are nested");
    expect_json(TET_TOO_LARGE, text, size + 1, "1048576");
    for (size_t i = 0; i < size; i += 5)
        memcpy(text + i, "{\"a\":", size - i < 5 ? size - i : 5);
    expect_json(TET_BAD_JSON, text, size, "nested deeper than 32");
    free(text);

    json_t *value;
    char deep[80] = "";
    memset(deep, '[', JSON_MAX_DEPTH);
    memset(deep + JSON_MAX_DEPTH, ']', JSON_MAX_DEPTH);
    assert_int_equal(json_read(&value, deep, 2 * JSON_MAX_DEPTH, NULL), TET_OK);
    json_decref(value);
    const char *string = "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[\"]";
    assert_int_equal(json_read(&value, string, strlen(string), NULL), TET_OK);
    json_decref(value);
}

/* One integer beyond 64 bits is a double; the others stay what they are. */
static void test_integer_beyond_64_bits(void **state)
{
    (void)state;
    static const char text[] =
        "{\"far\":18446744073709551616,\"a\":3,\"b\":[-7,[0.5]],\"c\":{\"d\":"
        "9007199254740992}}";
    json_t *value, *b;
    assert_int_equal(json_read(&value, text, strlen(text), NULL), TET_OK);
    assert_true(json_real_value(json_object_get(value, "far")) == 0x1p64);
    assert_true(json_is_integer(json_object_get(value, "a")));
    assert_int_equal(json_integer_value(json_object_get(value, "a")), 3);
    b = json_object_get(value, "b");
    assert_int_equal(json_integer_value(json_array_get(b, 0)), -7);
    assert_true(json_real_value(json_array_get(json_array_get(b, 1), 0)) == 0.5);
    b = json_object_get(json_object_get(value, "c"), "d");
    assert_true(json_is_integer(b) && json_integer_value(b) == (json_int_t)1 << 53);
    json_decref(value);
}

static void test_canonical(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
    } cases[] = {
        {"{\"b\":1,\"a\":[true,false,null,{}]}", "{\"a\":[true,false,null,{}],\"b\":1}"},
        {"[1,1.0,1e0,10e-1]", "[1,1,1,1]"},
        {"[0,-0.0,0.0,-0]", "[0,0,0,0]"},
        {"[0.1,1e-7,1e-6,0.000123,123.456,-2.5]", "[0.1,1e-7,0.000001,0.000123,123.456,-2.5]"},
        {"[1e20,1e21,1e22,1.5e300,5e-324]", "[1e+20,1e+21,1e+22,1.5e+300,5e-324]"},
        {"[0.1234567890123456789,333333333.33333329]", "[0.12345678901234568,333333333.3333333]"},
        {"[9007199254740992,9007199254740992.0,9007199254740993]",
         "[9007199254740992,9007199254740992,9007199254740993]"},
        {"[1152921504606846976,1152921504606846976.0]",
         "[1.152921504606847e+18,1.152921504606847e+18]"},
        {"[9223372036854775807]", "[9223372036854775807]"},
        {"[-9223372036854775808]", "[-9.223372036854776e+18]"},
        {"[\"\\u20ac \\\" \\\\ \\/ \\n\\u0001\\u007f\"]",
         "[\"\xe2\x82\xac \\\" \\\\ / \\n\\u0001\x7f\"]"},
        {"[\"\\b\\t\\u000b\\f\\r\"]", "[\"\\b\\t\\u000b\\f\\r\"]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *value;
        assert_int_equal(json_read(&value, cases[i].text, strlen(cases[i].text), NULL), TET_OK);
        char *text = dump(value);
        assert_string_equal(text, cases[i].canonical);
        json_decref(value);
        assert_int_equal(json_read(&value, text, strlen(text), NULL), TET_OK);
        char *again = dump(value);
        assert_string_equal(again, text);
        free(text);
        free(again);
        json_decref(value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_json),
        cmocka_unit_test(test_depth_and_size),
        cmocka_unit_test(test_integer_beyond_64_bits),
        cmocka_unit_test(test_canonical),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
