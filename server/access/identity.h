// SPDX-License-Identifier: Apache-2.0
/* Who asks. With no token in the database everybody is `local`, an administrator. No state: any
 * thread. */
#ifndef SERVER_ACCESS_IDENTITY_H
#define SERVER_ACCESS_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

enum { USER_NAME = 64 }; // bytes of a user's name, with its NUL

/* What somebody may do; each may do what the ones before may. */
enum role {
    ROLE_PUBLIC, // without a token: whether the server lives, and the page that asks for a token
    ROLE_VIEWER, // read everything
    ROLE_MEMBER, // submit, and change what is theirs
    ROLE_ADMIN   // change everything; users and tokens
};

struct identity {
    char user[USER_NAME]; // "" of nobody
    enum role role;
    int64_t token; // its number; 0: none was needed
};

const char *role_text(enum role role);              // "viewer", "member", "admin"; "public"
bool role_parse(const char *text, enum role *role); // of the first three

/* user_name_good: 1 to 63 letters, digits, '.', '_', '-' or '@', of which not all are '.': "." and ".." name
 * nothing in a path. */
bool user_name_good(const char *name);

#endif
