// SPDX-License-Identifier: Apache-2.0
/*
 * The state folder: files that belong to the database but are too large for it.
 *
 *     DIR/lock                      held by the server that uses the folder
 *     DIR/datasets/HEX.npz          contents of uploaded datasets, named by their digests
 *     DIR/incoming/upload-XXXXXX/   what an upload is unpacked into
 *     DIR/incoming/HEX              a marker: this content is being published or withdrawn
 *
 * A content and its row in the database cannot change in one step. So a marker is set before the
 * first of both changes and taken away after the second; a start after a crash finds the marker and
 * removes the content unless the database knows it (state_recover). Contents without a marker are
 * never touched, whatever the database says.
 *
 * Threads: any; who publishes or withdraws holds state_lock.
 */
#ifndef SERVER_DATA_STATE_H
#define SERVER_DATA_STATE_H

#include <stdbool.h>

#include <tetrad/error.h>

enum { STATE_PATH = 4096 };

struct state;

/* state_open: makes the folders that are missing and takes the lock. Errors: TET_IO, TET_CONFLICT (in
 * use by another server), TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err state_open(struct state **state, const char *folder,
                                       struct tet_error *error);
void state_close(struct state *state); // NULL is fine

/* state_recover: removes what a crash has left; known says whether the database has the content. */
typedef enum tet_err state_known_fn(void *context, const char *sha256, bool *known,
                                    struct tet_error *error);
TET_MUST_CHECK enum tet_err state_recover(struct state *state, state_known_fn *known, void *context,
                                          struct tet_error *error);

const char *state_folder(const struct state *state);   // as it was opened
const char *state_incoming(const struct state *state); // for files without names
/* Publishing and withdrawing, one at a time. state_begin and state_end: reading uploads, one at a time,
 * so that one dataset is in memory; taken before state_lock. */
void state_lock(struct state *state);
void state_unlock(struct state *state);
void state_begin(struct state *state);
void state_end(struct state *state);

/* state_stage: a new empty folder for an upload; state_unstage removes it with its files. */
TET_MUST_CHECK enum tet_err state_stage(struct state *state, char folder[STATE_PATH],
                                        struct tet_error *error);
void state_unstage(const char *folder);

/* sha256 below: "sha256:" and 64 hexadecimal digits. */
void state_content(const struct state *state, const char *sha256, char path[STATE_PATH]);
/* state_mark, state_settle: sets the marker of a content (durable), and takes it away. */
TET_MUST_CHECK enum tet_err state_mark(struct state *state, const char *sha256,
                                       struct tet_error *error);
void state_settle(struct state *state, const char *sha256);
/* state_publish: moves a synced file to its place (durable). state_withdraw: removes a content. */
TET_MUST_CHECK enum tet_err state_publish(struct state *state, const char *file, const char *sha256,
                                          struct tet_error *error);
void state_withdraw(struct state *state, const char *sha256);

#endif
