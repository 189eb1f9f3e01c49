// SPDX-License-Identifier: Apache-2.0
/* Names of roles and users: see identity.h. */
#include "access/identity.h"

#include <string.h>

const char *role_text(enum role role)
{
    static const char *const texts[] = {"public", "viewer", "member", "admin"};
    return texts[role];
}

bool role_parse(const char *text, enum role *role)
{
    for (int r = ROLE_VIEWER; r <= ROLE_ADMIN; r++)
        if (strcmp(text, role_text((enum role)r)) == 0) {
            *role = (enum role)r;
            return true;
        }
    return false;
}

bool user_name_good(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@";
    const size_t n = strlen(name);
    return n >= 1 && n < USER_NAME && strspn(name, allowed) == n && strspn(name, ".") < n;
}
