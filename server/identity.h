// SPDX-License-Identifier: Apache-2.0
/*
 * Who asks. With no token in the database everybody is `local`, an administrator.
 */
#ifndef SERVER_IDENTITY_H
#define SERVER_IDENTITY_H

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

#endif
