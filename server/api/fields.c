// SPDX-License-Identifier: Apache-2.0
/* Small bodies: see fields.h. */
#include "api/fields.h"

#include <string.h>

#include "definition/faults.h"
#include "json.h"
#include "text.h"

static const struct field *find(const struct field *fields, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

static bool fits(const struct field *f, const json_t *value)
{
    const double number = json_number_value(value);
    switch (f->kind) {
    case FIELD_INTEGER:
        return json_is_integer(value) && number >= f->low && number <= f->high;
    case FIELD_NUMBER:
        return json_is_number(value) && number >= f->low && number <= f->high;
    case FIELD_BOOLEAN:
        return json_is_boolean(value);
    case FIELD_TEXT:
        return json_is_string(value) && (double)json_string_length(value) >= f->low &&
               (double)json_string_length(value) <= f->high;
    }
    return false;
}

static void keep(const struct field *f, const json_t *value)
{
    switch (f->kind) {
    case FIELD_INTEGER:
        *(int64_t *)f->to = json_integer_value(value);
        break;
    case FIELD_NUMBER:
        *(double *)f->to = json_number_value(value);
        break;
    case FIELD_BOOLEAN:
        *(bool *)f->to = json_is_true(value);
        break;
    case FIELD_TEXT:
        *(const char **)f->to = json_string_value(value);
        break;
    }
}

static void refuse(const struct field *f, const char *pointer, const json_t *found,
                   struct faults *faults)
{
    static const char *const kinds[] = {[FIELD_INTEGER] = "integer from %.15g to %.15g",
                                        [FIELD_NUMBER] = "number from %.15g to %.15g",
                                        [FIELD_TEXT] = "string of %.15g to %.15g bytes"};
    if (f->kind == FIELD_BOOLEAN) {
        faults_add(faults, pointer, found, NULL, "true or false");
        return;
    }
    char words[96];
    snprintf(words, sizeof words, kinds[f->kind], f->low, f->high);
    faults_add(faults, pointer, found, NULL, "%s", words);
}

/* A member that there is none of: the nearest that there is. */
static void unknown(const struct field *fields, size_t n, const char *pointer, const char *name,
                    const json_t *found, struct faults *faults)
{
    json_t *names = json_array();
    struct text list = {0};
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(names, json_string(fields[i].name));
        text_printf(&list, "%s%s", i > 0 ? ", " : "", fields[i].name);
    }
    faults_add(faults, pointer, found, faults_nearest(name, names), "%s",
               n > 0 ? text_get(&list) : "no members");
    text_free(&list);
    json_decref(names);
}

static void check(json_t *body, const struct field *fields, size_t n, struct faults *faults)
{
    const char *name;
    json_t *value;
    if (!json_is_object(body)) {
        faults_add(faults, "", body, NULL, "object");
        return;
    }
    json_object_foreach(body, name, value)
    {
        const struct field *f = find(fields, n, name);
        struct text pointer = {0};
        text_token(&pointer, name);
        if (f == NULL)
            unknown(fields, n, text_get(&pointer), name, value, faults);
        else if (!fits(f, value))
            refuse(f, text_get(&pointer), value, faults);
        else
            keep(f, value);
        text_free(&pointer);
    }
    for (size_t i = 0; i < n; i++)
        if (fields[i].required && json_object_get(body, fields[i].name) == NULL) {
            char pointer[64];
            snprintf(pointer, sizeof pointer, "/%s", fields[i].name);
            refuse(&fields[i], pointer, NULL, faults);
        }
}

bool fields_read(const struct http_request *request, struct http_reply *reply,
                 const struct field *fields, size_t n, json_t **body)
{
    size_t size = 0;
    const char *text = http_body(request, &size);
    struct tet_error error = {0};
    struct faults faults = {0};
    json_t *details = NULL;
    enum tet_err err = TET_OK;
    *body = NULL;
    if (size == 0)
        *body = json_object();
    else
        err = json_read(body, text, size, &error);
    if (err == TET_OK && (!faults_init(&faults) || *body == NULL))
        err = tet_error_set(&error, TET_NO_MEMORY, "out of memory");
    if (err == TET_OK)
        check(*body, fields, n, &faults);
    if (err == TET_OK && faults.n > 0) {
        details = json_incref(faults.list);
        err = tet_error_set(&error, TET_BAD_DEFINITION, "the request has %zu fault%s", faults.n,
                            faults.n == 1 ? "" : "s");
    }
    faults_free(&faults);
    if (err == TET_OK)
        return true;
    json_decref(*body);
    *body = NULL;
    http_reply_error(reply, &error, details);
    return false;
}
