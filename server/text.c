// SPDX-License-Identifier: Apache-2.0
/* Text that grows. One thread per text. */
#include "text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_MAX = 200 }; // bytes of a name in a pointer

static bool reserve(struct text *text, size_t n)
{
    if (text->failed || n >= SIZE_MAX / 2 - text->size) {
        text->failed = true;
        return false;
    }
    size_t need = text->size + n + 1;
    if (need <= text->capacity)
        return true;
    size_t capacity = text->capacity < 64 ? 64 : text->capacity;
    while (capacity < need)
        capacity *= 2;
    char *data = realloc(text->data, capacity);
    if (data == NULL) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void text_add(struct text *text, const char *bytes, size_t n)
{
    if (!reserve(text, n))
        return;
    memcpy(text->data + text->size, bytes, n);
    text->size += n;
    text->data[text->size] = '\0';
}

void text_puts(struct text *text, const char *string)
{
    text_add(text, string, strlen(string));
}

void text_vprintf(struct text *text, const char *format, va_list args)
{
    va_list again;
    if (!reserve(text, 32)) // enough for most
        return;
    size_t room = text->capacity - text->size;
    va_copy(again, args);
    int n = vsnprintf(text->data + text->size, room, format, args);
    if (n < 0)
        text->failed = true;
    else if ((size_t)n < room)
        text->size += (size_t)n;
    else if (reserve(text, (size_t)n)) {
        vsnprintf(text->data + text->size, (size_t)n + 1, format, again);
        text->size += (size_t)n;
    }
    va_end(again);
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_vprintf(text, format, args);
    va_end(args);
}

void text_token(struct text *text, const char *name)
{
    size_t n = strlen(name), shown = n;
    if (n > TOKEN_MAX) {
        shown = TOKEN_MAX;
        while (shown > 0 && ((unsigned char)name[shown] & 0xC0) == 0x80)
            shown--;
    }
    text_add(text, "/", 1);
    for (size_t i = 0; i < shown; i++) {
        if (name[i] == '~')
            text_add(text, "~0", 2);
        else if (name[i] == '/')
            text_add(text, "~1", 2);
        else
            text_add(text, name + i, 1);
    }
    if (shown < n)
        text_puts(text, "...");
}

/* The control at `s`, its bytes in *n; 0 where a terminal may have the character as it is. */
static unsigned control_at(const unsigned char *s, size_t *n)
{
    *n = 1;
    if (s[0] < 0x20 || s[0] == 0x7F)
        return s[0];
    if (s[0] == 0xC2 && s[1] >= 0x80 && s[1] < 0xA0) {
        *n = 2;
        return s[1];
    }
    if (s[0] != 0xE2 || (s[1] != 0x80 && s[1] != 0x81))
        return 0;
    const unsigned code = 0x2000u + (s[1] & 1u) * 0x40u + (s[2] & 0x3Fu);
    *n = 3;
    return code == 0x200E || code == 0x200F || (code >= 0x2028 && code <= 0x202E) ||
                   (code >= 0x2066 && code <= 0x2069)
               ? code
               : 0;
}

void text_visible(struct text *text, const char *string)
{
    const char *plain = string;
    size_t n;
    for (const char *s = string; *s != '\0'; s += n) {
        const unsigned code = control_at((const unsigned char *)s, &n);
        if (code == 0) {
            n = 1;
            continue;
        }
        text_add(text, plain, (size_t)(s - plain));
        text_printf(text, "\\u%04x", code);
        plain = s + n;
    }
    text_puts(text, plain);
}

const char *text_get(const struct text *text)
{
    return text->data == NULL || text->failed ? "" : text->data;
}

char *text_take(struct text *text)
{
    text_add(text, "", 0);
    char *data = text->failed ? NULL : text->data;
    if (data == NULL)
        free(text->data);
    *text = (struct text){0};
    return data;
}

void text_free(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

/* Insertions, deletions and replacements that turn a into b; both at most TEXT_NEAREST_LENGTH. */
static size_t distance(const char *a, const char *b)
{
    size_t row[TEXT_NEAREST_LENGTH + 1], n = strlen(b);
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t best = diagonal + (a[i] != b[j]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j + 1] + 1 < best)
                best = row[j + 1] + 1;
            diagonal = row[j + 1];
            row[j + 1] = best;
        }
    }
    return row[n];
}

struct text_nearest text_nearest(const char *name)
{
    const size_t n = strlen(name);
    const bool hopeless = n == 0 || n > TEXT_NEAREST_LENGTH;
    return (struct text_nearest){.name = name,
                                 .least = hopeless ? 0
                                          : n < 3  ? 2
                                          : n < 6  ? 3
                                                   : n / 2 + 1};
}

void text_consider(struct text_nearest *nearest, const char *candidate)
{
    if (candidate == NULL || nearest->least == 0 || strlen(candidate) > TEXT_NEAREST_LENGTH)
        return;
    const size_t edits = distance(nearest->name, candidate);
    if (edits < nearest->least) {
        nearest->least = edits;
        nearest->best = candidate;
    }
}
