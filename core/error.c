// SPDX-License-Identifier: Apache-2.0
/* Error kinds as text, and the first-error-wins struct. */
#include <tetrad/error.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int status;
    const char *code;
    const char *message;
} table[] = {
#define X(name, status, code, message) {status, code, message},
    TET_ERRORS(X)
#undef X
};

int tet_err_status(enum tet_err err)
{
    return table[err].status;
}

const char *tet_err_code(enum tet_err err)
{
    return table[err].code;
}

const char *tet_err_message(enum tet_err err)
{
    return table[err].message;
}

/* The length of the UTF-8 character at text; 0 where there is none: overlong, a surrogate, beyond U+10FFFF,
 * cut off. */
static size_t character(const unsigned char *text)
{
    const unsigned char lead = text[0], next = lead != '\0' ? text[1] : 0;
    const size_t n = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (n > 1 && (lead < 0xC2 || lead > 0xF4 || (lead == 0xE0 && next < 0xA0) ||
                  (lead == 0xED && next > 0x9F) || (lead == 0xF0 && next < 0x90) ||
                  (lead == 0xF4 && next > 0x8F)))
        return 0;
    for (size_t k = 1; k < n; k++)
        if ((text[k] & 0xC0) != 0x80)
            return 0;
    return n;
}

/* What a message repeats of its input is hostile, and "%.40s" cuts characters: whatever is no printable
 * character becomes a question mark. At the end of what did not fit (cut) it is dropped. */
static void make_plain(char *text, bool cut)
{
    unsigned char *at = (unsigned char *)text;
    while (*at != '\0') {
        const size_t n = character(at);
        if (n == 0 && cut && strlen((const char *)at) < 4) {
            *at = '\0';
            return;
        }
        if (n == 0 || (n == 1 && (*at < 0x20 || *at == 0x7F)))
            *at = '?';
        at += n > 0 ? n : 1;
    }
}

enum tet_err tet_error_set(struct tet_error *error, enum tet_err err, const char *format, ...)
{
    if (error == NULL || error->err != TET_OK)
        return err;
    error->err = err;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    make_plain(error->message, n >= (int)sizeof error->message);
    return err;
}
