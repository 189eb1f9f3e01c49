// SPDX-License-Identifier: Apache-2.0
/* Text that grows: what canonical JSON, pointers and the words of faults are written into.
 * Threads: one for each. */
#ifndef SERVER_TEXT_H
#define SERVER_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* Starts as all zeros. Once memory has failed, `failed` stays set and nothing more is added. */
struct text {
    char *data; // NUL-terminated where not NULL
    size_t size, capacity;
    bool failed;
};

void text_add(struct text *text, const char *bytes, size_t n);
void text_puts(struct text *text, const char *string);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vprintf(struct text *text, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

/* text_token: adds "/" and the name as RFC 6901 escapes it; a very long name is cut. */
void text_token(struct text *text, const char *name);

/* text_visible: adds UTF-8 text that others wrote so that a terminal only shows it: controls (C0, C1,
 * DEL), line separators and marks that turn the direction of writing become \\u and four hex digits.
 * In a JSON text that stands for the same characters. */
void text_visible(struct text *text, const char *string);

const char *text_get(const struct text *text); // "" where empty or failed
char *text_take(struct text *text); // the caller frees; NULL where failed; text is then empty
void text_free(struct text *text);

/* The name nearest to a misspelt one, by edit distance (Levenshtein), among those considered; best is
 * NULL where none is near. */
struct text_nearest {
    const char *name, *best;
    size_t least; // edits that would be too many
};
enum { TEXT_NEAREST_LENGTH = 63 }; // longer names are near to none
struct text_nearest text_nearest(const char *name);
void text_consider(struct text_nearest *nearest, const char *candidate); // NULL is fine

#endif
