// SPDX-License-Identifier: Apache-2.0
/* Small bodies in JSON: see sent.h. */
#include "api/sent.h"

#include <stdio.h>
#include <string.h>

#include "json.h"
#include "text.h"

static void check_object(const json_t *object, const struct field *fields, size_t n, const char *at,
                         struct faults *faults);

/* ---- the words of what is allowed ---- */

static void say_names(struct text *words, const struct field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++)
        text_printf(words, "%s%s", i > 0 ? ", " : "", fields[i].name);
}

static void say_range(struct text *words, const struct field *f, const char *of)
{
    if (f->high >= FIELD_NO_BOUND)
        text_printf(words, " >= %.15g%s", f->low, of);
    else
        text_printf(words, "%s%.15g to %.15g%s", *of != '\0' ? " of " : " from ", f->low, f->high,
                    of);
}

static void say(struct text *words, const struct field *f)
{
    static const char *const kinds[] = {
        [FIELD_INTEGER] = "integer", [FIELD_NUMBER] = "number", [FIELD_BOOLEAN] = "true or false",
        [FIELD_TEXT] = "string",     [FIELD_CHOICE] = "",       [FIELD_ARRAY] = "array",
        [FIELD_OBJECT] = "object"};
    text_puts(words, kinds[f->kind]);
    if (f->kind == FIELD_INTEGER || f->kind == FIELD_NUMBER)
        say_range(words, f, "");
    else if (f->kind == FIELD_TEXT)
        say_range(words, f, " bytes");
    else if (f->kind == FIELD_ARRAY)
        say_range(words, f, " values");
    for (size_t i = 0; f->kind == FIELD_CHOICE && f->words[i] != NULL; i++)
        text_printf(words, "%s%s", i > 0 ? ", " : "", f->words[i]);
    if (f->kind == FIELD_OBJECT && f->n > 0) {
        text_puts(words, f->low > 0 ? " with at least one of " : " with ");
        say_names(words, f->fields, f->n);
    }
    if (f->null)
        text_puts(words, ", or null");
}

static void refuse(const struct field *f, const char *pointer, const json_t *found,
                   struct faults *faults)
{
    struct text words = {0};
    say(&words, f);
    faults->no_memory |= words.failed;
    faults_add(faults, pointer, found, NULL, "%s", text_get(&words));
    text_free(&words);
}

/* A member that there is none of: the nearest that there is. */
static void refuse_name(const struct field *fields, size_t n, const char *pointer, const char *name,
                        const json_t *found, struct faults *faults)
{
    struct text_nearest nearest = text_nearest(name);
    struct text names = {0};
    for (size_t i = 0; i < n; i++)
        text_consider(&nearest, fields[i].name);
    say_names(&names, fields, n);
    faults->no_memory |= names.failed;
    faults_add(faults, pointer, found, nearest.best, "%s", n > 0 ? text_get(&names) : "no members");
    text_free(&names);
}

/* ---- values ---- */

static size_t word_of(const struct field *f, const json_t *value)
{
    size_t i = 0;
    while (f->words[i] != NULL &&
           (!json_is_string(value) || strcmp(json_string_value(value), f->words[i]) != 0))
        i++;
    return i;
}

static bool between(const struct field *f, double x)
{
    return x >= f->low && x <= f->high;
}

static bool fits(const struct field *f, const json_t *value)
{
    switch (f->kind) {
    case FIELD_INTEGER:
        return json_is_integer(value) && between(f, (double)json_integer_value(value));
    case FIELD_NUMBER:
        return json_is_number(value) && between(f, json_number_value(value));
    case FIELD_BOOLEAN:
        return json_is_boolean(value);
    case FIELD_TEXT:
        return json_is_string(value) && between(f, (double)json_string_length(value));
    case FIELD_CHOICE:
        return f->words[word_of(f, value)] != NULL;
    case FIELD_ARRAY:
        return json_is_array(value) && between(f, (double)json_array_size(value));
    case FIELD_OBJECT:
        return json_is_object(value) && (double)json_object_size(value) >= f->low;
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
    case FIELD_CHOICE:
        *(int *)f->to = (int)word_of(f, value);
        break;
    case FIELD_ARRAY:
    case FIELD_OBJECT:
        *(const json_t **)f->to = value;
        break;
    }
}

static void check_value(const struct field *f, const json_t *value, const char *pointer,
                        struct faults *faults)
{
    size_t i;
    json_t *each;
    if (f->null && json_is_null(value))
        return;
    if (!fits(f, value)) {
        refuse(f, pointer, value, faults);
        return;
    }
    if (f->to != NULL)
        keep(f, value);
    if (f->kind == FIELD_OBJECT && f->fields != NULL)
        check_object(value, f->fields, f->n, pointer, faults);
    if (f->kind != FIELD_ARRAY || f->fields == NULL)
        return;
    json_array_foreach(value, i, each)
    {
        struct text place = {0};
        text_printf(&place, "%s/%zu", pointer, i);
        check_value(f->fields, each, text_get(&place), faults);
        text_free(&place);
    }
}

/* ---- objects ---- */

static const struct field *find(const struct field *fields, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

static void check_object(const json_t *object, const struct field *fields, size_t n, const char *at,
                         struct faults *faults)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        const struct field *f = find(fields, n, name);
        struct text pointer = {0};
        text_puts(&pointer, at);
        text_token(&pointer, name);
        faults->no_memory |= pointer.failed;
        if (f == NULL)
            refuse_name(fields, n, text_get(&pointer), name, value, faults);
        else
            check_value(f, value, text_get(&pointer), faults);
        text_free(&pointer);
    }
    for (size_t i = 0; i < n; i++)
        if (fields[i].required && json_object_get(object, fields[i].name) == NULL) {
            char pointer[128];
            snprintf(pointer, sizeof pointer, "%s/%s", at, fields[i].name);
            refuse(&fields[i], pointer, NULL, faults);
        }
}

/* ---- the body ---- */

enum tet_err sent_read(struct sent *sent, const struct http_request *request,
                       const struct field *fields, size_t n, bool optional, struct tet_error *error)
{
    size_t size = 0;
    const char *text = http_body(request, &size);
    *sent = (struct sent){0};
    if (optional && size == 0)
        sent->json = json_object();
    else if (json_read(&sent->json, text != NULL ? text : "", size, error) != TET_OK)
        return error->err;
    if (!faults_init(&sent->faults) || sent->json == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    if (json_is_object(sent->json))
        check_object(sent->json, fields, n, "", &sent->faults);
    else
        faults_add(&sent->faults, "", sent->json, NULL, "object");
    return TET_OK;
}

bool sent_has(const struct sent *sent, const char *name)
{
    return json_object_get(sent->json, name) != NULL;
}

void sent_missing(struct sent *sent, const struct field *field)
{
    char pointer[64];
    snprintf(pointer, sizeof pointer, "/%s", field->name);
    refuse(field, pointer, NULL, &sent->faults);
}

enum tet_err sent_judge(const struct sent *sent, json_t **details, struct tet_error *error)
{
    const struct faults *faults = &sent->faults;
    if (faults->no_memory)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    if (faults->n == 0)
        return TET_OK;
    *details = json_incref(faults->list);
    return tet_error_set(error, TET_BAD_DEFINITION, "the request has %zu fault%s", faults->n,
                         faults->n == 1 ? "" : "s");
}

bool sent_good(const struct sent *sent, struct http_reply *reply, struct tet_error *error)
{
    json_t *details = NULL;
    if (error->err == TET_OK && sent_judge(sent, &details, error) == TET_OK)
        return true;
    http_reply_error(reply, error, details);
    return false;
}

bool sent_take(struct sent *sent, const struct http_request *request, struct http_reply *reply,
               const struct field *fields, size_t n, bool optional)
{
    struct tet_error error = {0};
    (void)!sent_read(sent, request, fields, n, optional, &error);
    if (sent_good(sent, reply, &error))
        return true;
    sent_free(sent);
    return false;
}

void sent_free(struct sent *sent)
{
    json_decref(sent->json);
    faults_free(&sent->faults);
    *sent = (struct sent){0};
}
