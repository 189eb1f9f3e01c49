// SPDX-License-Identifier: Apache-2.0
/*
 * Who may come in: tokens, held in memory so that no request waits for the database.
 *
 * A thread looks twice a second whether tokens changed (another program may make and revoke them),
 * writes when they were last used, to a minute, and the sum of failed attempts to the log, at most
 * once a minute.
 *
 * Wrong tokens are counted for each address: 10 at once, then one every 6 seconds; beyond that the
 * answer is 429. A good token passes all the same: 256 bits are not guessed, and behind a proxy all
 * clients share an address. The table of addresses is bounded: 1,024, IPv6 ones by their first 64
 * bits; the one that was idle longest gives way.
 *
 * Threads: admission_judge and admission_refresh from any; start and stop from one.
 */
#ifndef SERVER_ADMISSION_H
#define SERVER_ADMISSION_H

#include "http/http.h"
#include "access/identity.h"
#include "store/store.h"

struct admission;

/* admission_start: reads the tokens, starts the thread. */
TET_MUST_CHECK enum tet_err admission_start(struct admission **admission, struct store *store,
                                            struct tet_error *error);
/* admission_stop: writes what is not written yet. NULL is fine. Before store_close. */
void admission_stop(struct admission *admission);

/* admission_refresh: reads the tokens again now: after they were changed here. */
TET_MUST_CHECK enum tet_err admission_refresh(struct admission *admission, struct tet_error *error);

/* admission_closed: whether there is a token, good or not: everybody needs one then. */
bool admission_closed(struct admission *admission);

/* admission_judge: whom an Authorization header (NULL: none) makes out of a peer. Without a token in
 * the database: `local`, an administrator, on loopback, and nobody (ROLE_PUBLIC) elsewhere. With one:
 * nobody without a header; TET_UNAUTHORIZED, TET_TOO_MANY for a wrong one. Never waits. */
TET_MUST_CHECK enum tet_err admission_judge(struct admission *admission, const char *authorization,
                                            const struct http_peer *peer, struct identity *identity,
                                            struct tet_error *error);

/* admission_good: whether somebody who came in would still come in: the token was not revoked and has not
 * expired; without one, there is none. Never waits. */
bool admission_good(struct admission *admission, const struct identity *identity);

/* admission_observe: `see` is called twice a second, after the look at the tokens, by the thread; NULL:
 * not any more, and not when this returns. */
void admission_observe(struct admission *admission, void (*see)(void *context), void *context);

#endif
