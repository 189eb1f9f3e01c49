// SPDX-License-Identifier: Apache-2.0
/* Collects faults, shortens what they quote, and finds names that are nearly right. One thread. */
#include "definition/faults.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "definition/definition.h"
#include "definition/sweep.h"
#include "text.h"

enum {
    SHOWN_STRING = 80, // bytes of a string that a fault quotes
    SHOWN_VALUE = 120, // bytes of an array or object, as compact JSON
};

bool faults_init(struct faults *faults)
{
    *faults = (struct faults){.list = json_array(), .seen = json_object()};
    return faults->list != NULL && faults->seen != NULL;
}

void faults_free(struct faults *faults)
{
    json_decref(faults->list);
    json_decref(faults->seen);
    *faults = (struct faults){0};
}

static json_t *shown_string(const char *text, size_t size)
{
    if (size <= SHOWN_STRING)
        return json_stringn(text, size);
    size_t n = SHOWN_STRING;
    while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80)
        n--;
    return json_sprintf("%.*s...", (int)n, text);
}

/* A copy of the value that is small whatever the value is. */
static json_t *shown(const json_t *value)
{
    if (value == NULL)
        return json_null();
    if (json_is_string(value))
        return shown_string(json_string_value(value), json_string_length(value));
    if (!json_is_array(value) && !json_is_object(value))
        return json_deep_copy(value);
    if (json_dumpb(value, NULL, 0, JSON_COMPACT) <= SHOWN_VALUE)
        return json_deep_copy(value);
    return json_is_array(value)
               ? json_sprintf("(an array of %zu values)", json_array_size(value))
               : json_sprintf("(an object of %zu fields)", json_object_size(value));
}

/* The place as the definition's author knows it. */
static const char *author_place(struct faults *faults, const char *pointer, struct text *text)
{
    if (!sweep_pointer(faults->point, pointer, text))
        return pointer;
    faults->no_memory |= text->failed;
    return text_get(text);
}

static void append(struct faults *faults, const char *pointer, const json_t *found,
                   const char *hint, const char *allowed)
{
    if (json_object_set_new(faults->seen, pointer, json_true()) != 0)
        faults->no_memory = true;
    if (++faults->n > DEFINITION_MAX_FAULTS)
        return;
    json_t *fault =
        json_pack("{s:s, s:o, s:s}", "pointer", pointer, "found", shown(found), "allowed", allowed);
    if (fault == NULL ||
        (hint != NULL && json_object_set_new(fault, "hint", json_string(hint)) != 0) ||
        json_array_append(faults->list, fault) != 0)
        faults->no_memory = true;
    json_decref(fault);
}

void faults_add(struct faults *faults, const char *pointer, const json_t *found, const char *hint,
                const char *format, ...)
{
    struct text place = {0}, allowed = {0};
    const char *author = author_place(faults, pointer, &place);
    faults->hits++;
    if (json_object_get(faults->seen, author) == NULL) {
        va_list args;
        va_start(args, format);
        text_vprintf(&allowed, format, args);
        va_end(args);
        faults->no_memory |= allowed.failed;
        append(faults, author, found, hint, text_get(&allowed));
    }
    text_free(&allowed);
    text_free(&place);
}

bool faults_known(struct faults *faults, const char *pointer)
{
    struct text place = {0};
    if (json_object_size(faults->seen) == 0)
        return false;
    bool known = json_object_get(faults->seen, author_place(faults, pointer, &place)) != NULL;
    if (known)
        faults->hits++;
    text_free(&place);
    return known;
}

void faults_excuse(struct faults *faults, const char *pointer)
{
    if (json_object_set_new(faults->seen, pointer, json_true()) != 0)
        faults->no_memory = true;
}

const char *faults_nearest(const char *name, const json_t *names)
{
    struct text_nearest nearest = text_nearest(name);
    const char *key;
    size_t i;
    json_t *value;
    json_array_foreach(names, i, value)
    {
        text_consider(&nearest, json_string_value(value));
    }
    json_object_foreach((json_t *)names, key, value)
    {
        text_consider(&nearest, key);
    }
    return nearest.best;
}
