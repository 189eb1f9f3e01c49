// SPDX-License-Identifier: Apache-2.0
/*
 * Contents of uploaded datasets as files of a files folder (files.h), taken from one folder to another:
 * for backups. A content never changes under its name, so a hard link will do where both folders are
 * of one file system; else it is a copy, on the disk before it has its name.
 *
 * Threads: any; from a folder that is in use, too. Into one that is in use: its lock's holder alone.
 */
#ifndef SERVER_DATA_CONTENTS_H
#define SERVER_DATA_CONTENTS_H

#include <stdbool.h>

#include <tetrad/error.h>

/* contents_take: makes the folder `to`, where it is missing, have the content that `from` has. *there:
 * `to` has it now; false: neither has it, or sha256 is no "sha256:" with 64 hexadecimal digits. Errors:
 * TET_IO, TET_STORAGE_FULL, TET_STORAGE_FAILS. */
TET_MUST_CHECK enum tet_err contents_take(const char *from, const char *to, const char *sha256,
                                          bool *there, struct tet_error *error);

/* contents_remove: all contents of a folder that is nobody's files folder, and it where nothing else
 * is in it. */
void contents_remove(const char *folder);

#endif
