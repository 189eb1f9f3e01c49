// SPDX-License-Identifier: Apache-2.0
/* Error kinds as text, and the first-error-wins struct. */
#include <tetrad/error.h>

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

/* Where vsnprintf cut a character in two, drop its first part. */
static void cut_at_character(char *text)
{
    size_t n = strlen(text), k = n;
    while (k > 0 && n - k < 3 && ((unsigned char)text[k - 1] & 0xC0) == 0x80)
        k--;
    if (k == 0)
        return;
    unsigned char lead = (unsigned char)text[k - 1];
    size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (need > n - k + 1)
        text[k - 1] = '\0';
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
    if (n >= (int)sizeof error->message)
        cut_at_character(error->message);
    return err;
}
