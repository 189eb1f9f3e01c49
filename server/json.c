// SPDX-License-Identifier: Apache-2.0
/*
 * JSON in and out: a strict reader, and the canonical form that hashes are taken of.
 *
 * The canonical form is that of RFC 8785 (JCS): no spaces, strings with the fewest escapes, numbers
 * as ECMAScript writes them: the shortest digits that read back as the same double, integers
 * without a point, zero without a sign. So 1, 1.0 and 1e0 give the same bytes. Three differences:
 * keys are sorted by their bytes; numbers from 1e18 on have an exponent, because readers (Jansson
 * among them) take digits alone for an integer of 64 bits; and integers beyond 2^53 that no double
 * equals keep all their digits.
 *
 * Any thread; nothing is shared but what a thread knows of its own (lacked). LC_NUMERIC must be "C", as it is in a program that never calls
 * setlocale.
 */
#include "json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text.h"

static _Thread_local bool lacked; // memory, since json_begin

static void *allocate(size_t n)
{
    void *p = malloc(n);
    lacked |= p == NULL;
    return p;
}

/* Before any value is made, in every program that has this file. */
__attribute__((constructor)) static void see_allocations(void)
{
    json_set_alloc_funcs(allocate, free);
}

void json_begin(void)
{
    lacked = false;
}

void json_spoil(void)
{
    lacked = true;
}

bool json_whole(void)
{
    return !lacked;
}

/* Nesting is bounded before Jansson sees the text, because it parses by recursion. Brackets within
 * strings do not count; whether the text is JSON at all is Jansson's to say. */
static enum tet_err check_depth(const char *text, size_t size, struct tet_error *error)
{
    size_t line = 1, column = 0, depth = 0;
    bool string = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (((unsigned char)c & 0xC0) != 0x80)
            column++;
        if (c == '\n') {
            line++;
            column = 0;
        } else if (string) {
            if (c == '\\')
                i++, column++;
            else if (c == '"')
                string = false;
        } else if (c == '"') {
            string = true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        } else if ((c == '[' || c == '{') && ++depth > JSON_MAX_DEPTH) {
            return tet_error_set(
                error, TET_BAD_JSON,
                "line %zu, column %zu: arrays and objects are nested deeper than %d levels", line,
                column, JSON_MAX_DEPTH);
        }
    }
    return TET_OK;
}

/* Whole numbers that were read as doubles become integers again, so that one number out of range
 * makes no fault of the others. */
static json_t *restored(const json_t *value)
{
    const double x = json_real_value(value);
    return json_is_real(value) && fabs(x) <= 0x1p53 && floor(x) == x ? json_integer((json_int_t)x)
                                                                     : NULL;
}

static bool restore_integers(json_t *value)
{
    const char *key;
    json_t *member, *whole;
    void *next;
    size_t i;
    bool good = true;
    json_object_foreach_safe(value, next, key, member)
    {
        if ((whole = restored(member)) != NULL)
            good = json_object_set_new(value, key, whole) == 0 && good;
        else
            good = restore_integers(member) && good;
    }
    json_array_foreach(value, i, member)
    {
        if ((whole = restored(member)) != NULL)
            good = json_array_set_new(value, i, whole) == 0 && good;
        else
            good = restore_integers(member) && good;
    }
    return good;
}

enum tet_err json_read(json_t **value, const char *text, size_t size, struct tet_error *error)
{
    *value = NULL;
    enum tet_err err = check_depth(text, size, error);
    if (err != TET_OK)
        return err;
    json_error_t why = {0};
    *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    /* An integer beyond 64 bits may still be a double; the schema then says what is wrong with it.
     */
    if (*value == NULL && json_error_code(&why) == json_error_numeric_overflow) {
        *value = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &why);
        if (*value != NULL && !restore_integers(*value)) {
            json_decref(*value);
            *value = NULL;
            why = (json_error_t){0}; // no text: out of memory
        }
    }
    if (*value != NULL)
        return TET_OK;
    if (json_error_code(&why) == json_error_null_character ||
        json_error_code(&why) == json_error_null_byte_in_key)
        return tet_error_set(error, TET_BAD_JSON, "line %d, column %d: \\u0000 is not allowed",
                             why.line, why.column);
    if (why.text[0] == '\0' || json_error_code(&why) == json_error_out_of_memory)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory while reading JSON");
    return tet_error_set(error, TET_BAD_JSON, "line %d, column %d: %s", why.line, why.column,
                         why.text);
}

static void put_value(struct text *text, const json_t *value, bool sorted);

static void put_string(struct text *text, const char *bytes, size_t n)
{
    static const char names[] = "btn\0fr"; // for 8..13
    text_add(text, "\"", 1);
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        text_add(text, bytes + from, i - from);
        from = i + 1;
        if (c == '"' || c == '\\')
            text_printf(text, "\\%c", c);
        else if (c >= 8 && c <= 13 && c != 11)
            text_printf(text, "\\%c", names[c - 8]);
        else
            text_printf(text, "\\u%04x", c);
    }
    text_add(text, bytes + from, n - from);
    text_add(text, "\"", 1);
}

static void put_zeros(struct text *text, int n)
{
    for (int i = 0; i < n; i++)
        text_add(text, "0", 1);
}

/* ECMA-262, Number::toString, but with an exponent from 1e18 on: `digits` has k of them, and the value
 * is 0.digits * 10^n. */
static void put_digits(struct text *text, const char *digits, int k, int n)
{
    if (k <= n && n <= 18) {
        text_add(text, digits, (size_t)k);
        put_zeros(text, n - k);
    } else if (0 < n && n < k) {
        text_printf(text, "%.*s.%s", n, digits, digits + n);
    } else if (-6 < n && n <= 0) {
        text_puts(text, "0.");
        put_zeros(text, -n);
        text_puts(text, digits);
    } else {
        text_add(text, digits, 1);
        if (k > 1)
            text_printf(text, ".%s", digits + 1);
        text_printf(text, "e%+d", n - 1);
    }
}

static void put_real(struct text *text, double value)
{
    char shown[40], digits[24];
    if (value == 0) {
        text_puts(text, "0");
        return;
    }
    if (value < 0)
        text_add(text, "-", 1);
    value = fabs(value);
    /* Fewer digits show as zeros at the end of 15; a subnormal has not that many to begin with. */
    for (int precision = value < DBL_MIN ? 0 : 14; precision <= 16; precision++) {
        snprintf(shown, sizeof shown, "%.*e", precision, value);
        if (strtod(shown, NULL) == value)
            break;
    }
    int k = 0, exponent = 0;
    for (const char *p = shown; *p != '\0' && k < (int)sizeof digits - 1; p++) {
        if (*p == 'e') {
            exponent = atoi(p + 1);
            break;
        }
        if (*p != '.')
            digits[k++] = *p;
    }
    while (k > 1 && digits[k - 1] == '0')
        k--;
    digits[k] = '\0';
    put_digits(text, digits, k, exponent + 1);
}

static void put_integer(struct text *text, json_int_t value)
{
    const json_int_t exact = (json_int_t)1 << 53;
    double real = (double)value;
    if (value >= -exact && value <= exact)
        text_printf(text, "%" JSON_INTEGER_FORMAT, value);
    else if (real < 0x1p63 && (json_int_t)real == value)
        put_real(text, real);
    else
        text_printf(text, "%" JSON_INTEGER_FORMAT, value);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_object(struct text *text, const json_t *object, bool sorted)
{
    size_t n = json_object_size(object), i = 0;
    const char *few[32], **keys = few;
    if (n > sizeof few / sizeof few[0]) {
        keys = calloc(n, sizeof *keys);
        if (keys == NULL) {
            text->failed = true;
            return;
        }
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        keys[i++] = key;
    }
    if (sorted)
        qsort(keys, n, sizeof *keys, compare_keys);
    text_add(text, "{", 1);
    for (i = 0; i < n; i++) {
        if (i > 0)
            text_add(text, ",", 1);
        put_string(text, keys[i], strlen(keys[i]));
        text_add(text, ":", 1);
        put_value(text, json_object_get(object, keys[i]), sorted);
    }
    text_add(text, "}", 1);
    if (keys != few)
        free(keys);
}

static void put_array(struct text *text, const json_t *array, bool sorted)
{
    size_t i;
    json_t *value;
    text_add(text, "[", 1);
    json_array_foreach(array, i, value)
    {
        if (i > 0)
            text_add(text, ",", 1);
        put_value(text, value, sorted);
    }
    text_add(text, "]", 1);
}

static void put_value(struct text *text, const json_t *value, bool sorted)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        put_object(text, value, sorted);
        break;
    case JSON_ARRAY:
        put_array(text, value, sorted);
        break;
    case JSON_STRING:
        put_string(text, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        put_integer(text, json_integer_value(value));
        break;
    case JSON_REAL:
        put_real(text, json_real_value(value));
        break;
    case JSON_TRUE:
        text_puts(text, "true");
        break;
    case JSON_FALSE:
        text_puts(text, "false");
        break;
    case JSON_NULL:
        text_puts(text, "null");
        break;
    }
}

json_t *json_clone(const json_t *value)
{
    const char *key;
    json_t *member, *copy;
    size_t i;
    bool good = true;
    if (json_is_object(value)) {
        copy = json_object();
        json_object_foreach((json_t *)value, key, member)
        {
            good = good && json_object_set_new_nocheck(copy, key, json_clone(member)) == 0;
        }
    } else if (json_is_array(value)) {
        copy = json_array();
        json_array_foreach(value, i, member)
        {
            good = good && json_array_append_new(copy, json_clone(member)) == 0;
        }
    } else
        return json_incref((json_t *)value);
    if (good)
        return copy;
    json_decref(copy);
    return NULL;
}

char *json_canonical(const json_t *value)
{
    struct text text = {.failed = lacked || value == NULL};
    if (!text.failed)
        put_value(&text, value, true);
    return text_take(&text);
}

char *json_text(const json_t *value)
{
    struct text text = {.failed = lacked || value == NULL};
    if (!text.failed)
        put_value(&text, value, false);
    return text_take(&text);
}

json_t *json_time(int64_t ms)
{
    const time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char text[40];
    if (ms == 0)
        return json_null();
    gmtime_r(&seconds, &tm);
    const size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof text - n, ".%03dZ", (int)(ms % 1000));
    return json_string(text);
}

json_t *json_finite(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}
