// SPDX-License-Identifier: Apache-2.0
/* The pieces of a start that read options: what serve.c does in order. One thread: the main one. */
#ifndef SERVER_SERVE_START_H
#define SERVER_SERVE_START_H

#include "api/api.h"
#include "options.h"
#include "store/queue.h"

/* serve_policy: how runs share the workers and how many may wait. Errors: TET_BAD_REQUEST (which
 * option). */
TET_MUST_CHECK enum tet_err serve_policy(const struct options *options, struct store_policy *policy,
                                         struct tet_error *error);

/* serve_files: opens the files folder, clears what a crash has left, and shows the uploads that the
 * store has to the catalog. Needs api's store and catalog; sets its files and uploaded, which the
 * caller closes in either case. Errors as files_open's and store_datasets_read's. */
TET_MUST_CHECK enum tet_err serve_files(struct api *api, const struct options *options,
                                        struct tet_error *error);

/* serve_listen: starts HTTP, the last of all; sets api's http, which the caller stops in either case.
 * *port: the one that it listens on. Errors: TET_BAD_REQUEST (which option), TET_ADDRESS (not to be
 * had, or open to others without a token), and http_start's. */
TET_MUST_CHECK enum tet_err serve_listen(struct api *api, const struct options *options,
                                         uint16_t *port, struct tet_error *error);

/* serve_notify: tells systemd, where it started us and wants to know, a state as sd_notify(3) has it. */
void serve_notify(const char *state);

#endif
