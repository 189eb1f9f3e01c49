// SPDX-License-Identifier: Apache-2.0
/*
 * The files folder: files that belong to the database but are too large for it.
 *
 *     DIR/lock                      held by the server that uses the folder
 *     DIR/datasets/HEX.npz          contents of uploaded datasets, named by their digests
 *     DIR/incoming/upload-XXXXXX/   what an upload is unpacked into
 *     DIR/incoming/HEX              a marker: this content is being published or withdrawn
 *
 * A content and its row in the database cannot change in one step. So a marker is set before the
 * first of both changes and taken away after the second; a start after a crash finds the marker and
 * removes the content unless the database knows it (files_recover). Contents without a marker are
 * never touched, whatever the database says.
 *
 * Threads: any; who publishes or withdraws holds files_lock.
 */
#ifndef SERVER_DATA_FILES_H
#define SERVER_DATA_FILES_H

#include <stdbool.h>

#include <tetrad/error.h>

enum { FILES_PATH = 4096 };

struct files;

/* files_open: makes the folders that are missing and takes the lock. Errors: TET_IO, TET_CONFLICT (in
 * use by another server), TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err files_open(struct files **files, const char *folder,
                                       struct tet_error *error);
void files_close(struct files *files); // NULL is fine

/* files_recover: removes what a crash has left; known says whether the database has the content. */
typedef enum tet_err files_known_fn(void *context, const char *sha256, bool *known,
                                    struct tet_error *error);
TET_MUST_CHECK enum tet_err files_recover(struct files *files, files_known_fn *known, void *context,
                                          struct tet_error *error);

const char *files_folder(const struct files *files);   // as it was opened
const char *files_incoming(const struct files *files); // for files without names
/* Publishing and withdrawing, one at a time. files_begin and files_end: reading uploads, one at a time,
 * so that one dataset is in memory; taken before files_lock. */
void files_lock(struct files *files);
void files_unlock(struct files *files);
void files_begin(struct files *files);
void files_end(struct files *files);

/* files_stage: a new empty folder for an upload; files_unstage removes it with its files. */
TET_MUST_CHECK enum tet_err files_stage(struct files *files, char folder[FILES_PATH],
                                        struct tet_error *error);
void files_unstage(const char *folder);

/* sha256 below: "sha256:" and 64 hexadecimal digits. */
void files_content(const struct files *files, const char *sha256, char path[FILES_PATH]);
/* files_mark, files_settle: sets the marker of a content (durable), and takes it away. */
TET_MUST_CHECK enum tet_err files_mark(struct files *files, const char *sha256,
                                       struct tet_error *error);
void files_settle(struct files *files, const char *sha256);
/* files_publish: moves a synced file to its place (durable). files_withdraw: removes a content,
 * and then its marker, which stays where the content does: the next start tries again. */
TET_MUST_CHECK enum tet_err files_publish(struct files *files, const char *file, const char *sha256,
                                          struct tet_error *error);
void files_withdraw(struct files *files, const char *sha256);

#endif
