// SPDX-License-Identifier: Apache-2.0
/* Small JSON bodies (api/sent.h), by a table that has a field of every kind. */
#include "fuzz.h"

#include "api/sent.h"
#include "http/http_private.h"
#include "json.h"

struct values {
    int64_t integer;
    double number;
    bool boolean;
    const char *text;
    int choice;
    const json_t *array, *object, *any;
};

/* What is kept is what the table allows. */
static void check_values(const struct values *v)
{
    HOLDS(v->integer >= -3 && v->integer <= 100);
    HOLDS(v->number >= 0.5 && v->number <= 2.0);
    HOLDS(v->text == NULL || (strlen(v->text) <= 12 && strlen(v->text) > 0));
    HOLDS(v->choice >= 0 && v->choice < 3);
    HOLDS(v->array == NULL || (json_array_size(v->array) >= 1 && json_array_size(v->array) <= 4));
    HOLDS(v->object == NULL || json_object_size(v->object) >= 1);
    size_t i;
    json_t *each;
    json_array_foreach(v->array, i, each)
    {
        HOLDS(json_integer_value(each) >= 1 && json_integer_value(each) <= 9);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const words[] = {"train", "validation", "test", NULL};
    struct values v = {.integer = 1, .number = 1.0};
    const struct field item = {.kind = FIELD_INTEGER, .low = 1, .high = 9};
    const struct field inner[] = {{"user", FIELD_TEXT, 1, 3, .required = true},
                                  {"on", FIELD_BOOLEAN, .null = true}};
    const struct field fields[] = {
        {"integer", FIELD_INTEGER, -3, 100, .to = &v.integer},
        {"number", FIELD_NUMBER, 0.5, 2.0, .to = &v.number},
        {"boolean", FIELD_BOOLEAN, .to = &v.boolean},
        {"text", FIELD_TEXT, 1, 12, .null = true, .to = &v.text},
        {"choice", FIELD_CHOICE, .words = words, .to = &v.choice},
        {"array", FIELD_ARRAY, 1, 4, .fields = &item, .n = 1, .to = &v.array},
        {"object", FIELD_OBJECT, 1, .fields = inner, .n = 2, .to = &v.object},
        {"any", FIELD_OBJECT, .to = &v.any},
        {"needed", FIELD_INTEGER, 0, FIELD_NO_BOUND, .required = true}};
    struct http_request request = {.body = {.bytes = (char *)(uintptr_t)bytes, .size = size}};
    struct sent sent;
    struct tet_error error = {0};
    json_t *details = NULL;
    enum tet_err err =
        sent_read(&sent, &request, fields, 9, bytes != NULL && size % 2 == 0, &error);
    if (err == TET_OK)
        err = sent_judge(&sent, &details, &error);
    check_error(err, &error);
    check_details(err, details);
    if (err == TET_OK) {
        check_values(&v);
        HOLDS(size == 0 || sent_has(&sent, "needed"));
    }
    json_decref(details);
    sent_free(&sent);
    return 0;
}
