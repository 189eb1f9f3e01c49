// SPDX-License-Identifier: Apache-2.0
/* Tokens as JSON, and the times in them: see token.h. */
#include "access/token.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "json.h"

enum { DAY_MS = 24 * 3600 * 1000 };

bool token_time_parse(const char *text, int64_t *ms)
{
    struct tm tm = {0};
    int date = -1, whole = -1;
    if (sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &date) != 3 ||
        date != 10 || strspn(text, "0123456789-") != 10)
        return false;
    const char *rest = text + 10;
    const bool day = *rest == '\0';
    if (!day && (sscanf(rest, "T%2d:%2d:%2d%n", &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &whole) != 3 ||
                 whole != 9 || strcmp(rest + 9, "Z") != 0 || strspn(rest, "T:0123456789") != 9))
        return false;
    const struct tm given = tm;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    const time_t seconds = timegm(&tm); // makes March 2 of February 30
    if (seconds <= 0 || tm.tm_mday != given.tm_mday || tm.tm_mon + 1 != given.tm_mon ||
        tm.tm_hour != given.tm_hour || tm.tm_min != given.tm_min || tm.tm_sec != given.tm_sec)
        return false;
    *ms = (int64_t)seconds * 1000 + (day ? DAY_MS : 0);
    return true;
}

json_t *token_json(const struct store_token *token)
{
    return json_pack("{s:I, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "id", (json_int_t)token->id,
                     "user", token->user, "role", role_text(token->role), "note", token->note,
                     "created_at", json_time(token->created_ms), "expires_at",
                     json_time(token->expires_ms), "last_used_at", json_time(token->used_ms),
                     "revoked_at", json_time(token->revoked_ms));
}
