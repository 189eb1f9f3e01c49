// SPDX-License-Identifier: Apache-2.0
/*
 * Which media type a client would like best: Accept, by RFC 9110, 12.5.1.
 *
 * Of the ranges that fit a type the most specific one gives its quality; parameters other than q are
 * not looked at. An element that is not understood counts as absent. Pure functions: no locks.
 */
#include "http/http_private.h"

#include <string.h>

/* "0", "0.5", "1.000": thousandths; -1: not a quality. */
static int read_quality(const char *text, size_t n)
{
    int value = 0, scale = 1000;
    if (n < 1 || n > 5 || (text[0] != '0' && text[0] != '1') || (n > 1 && text[1] != '.'))
        return -1;
    value = (text[0] - '0') * 1000;
    for (size_t i = 2; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        scale /= 10;
        value += (text[i] - '0') * scale;
    }
    return value <= 1000 ? value : -1;
}

/* Whether the range of n bytes fits the type: 0 no, 1 by "*" "/" "*", 2 by "text" "/" "*", 3 by name. */
static int specificity(const char *range, size_t n, const char *type)
{
    const size_t group = strcspn(type, "/") + 1;
    if (n == 3 && memcmp(range, "*/*", 3) == 0)
        return 1;
    if (n == group + 1 && range[n - 1] == '*' && strncasecmp(range, type, group) == 0)
        return 2;
    return strlen(type) == n && strncasecmp(range, type, n) == 0 ? 3 : 0;
}

/* The parameters of an element, from its first ';': its q, or 1000; -1: not understood. */
static int element_quality(const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        i += 1 + strspn(text + i + 1, " \t");
        size_t end = i;
        for (bool quoted = false; end < n && (quoted || text[end] != ';'); end++)
            quoted ^= text[end] == '"';
        size_t length = end - i;
        while (length > 0 && strchr(" \t", text[i + length - 1]) != NULL)
            length--;
        if (length >= 2 && (text[i] == 'q' || text[i] == 'Q') && text[i + 1] == '=')
            return read_quality(text + i + 2, length - 2);
        i = end;
    }
    return 1000;
}

static void take_element(struct media_choice *choice, const char *text, size_t n)
{
    size_t range = 0;
    while (range < n && strchr("; \t", text[range]) == NULL)
        range++;
    size_t from = range + strspn(text + range, " \t");
    const int quality = from >= n           ? 1000
                        : text[from] == ';' ? element_quality(text + from, n - from)
                                            : -1;
    if (range == 0 || quality < 0)
        return;
    choice->said = true;
    for (size_t i = 0; i < MEDIA_TYPES && choice->types[i] != NULL; i++) {
        const int how = specificity(text, range, choice->types[i]);
        if (how == 0 || how < choice->specificity[i])
            continue;
        if (how > choice->specificity[i] || quality > choice->quality[i])
            choice->quality[i] = quality;
        choice->specificity[i] = how;
    }
}

void media_take(struct media_choice *choice, const char *accept)
{
    while (*accept != '\0') {
        accept += strspn(accept, " \t,");
        size_t n = 0;
        for (bool quoted = false; accept[n] != '\0' && (quoted || accept[n] != ','); n++)
            quoted ^= accept[n] == '"';
        size_t length = n;
        while (length > 0 && strchr(" \t", accept[length - 1]) != NULL)
            length--;
        take_element(choice, accept, length);
        accept += n;
    }
}

const char *media_best(const struct media_choice *choice)
{
    const char *best = NULL;
    int quality = 0;
    if (!choice->said)
        return choice->types[0];
    for (size_t i = 0; i < MEDIA_TYPES && choice->types[i] != NULL; i++)
        if (choice->quality[i] > quality) {
            best = choice->types[i];
            quality = choice->quality[i];
        }
    return best;
}

static enum MHD_Result look(void *context, enum MHD_ValueKind kind, const char *key,
                            const char *value)
{
    (void)kind;
    if (value != NULL && strcasecmp(key, "Accept") == 0)
        media_take(context, value);
    return MHD_YES;
}

const char *http_accepts(const struct http_request *request, const char *const types[])
{
    struct media_choice choice = {.types = types};
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, look, &choice);
    return media_best(&choice);
}
