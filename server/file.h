// SPDX-License-Identifier: Apache-2.0
/* Small files, whole. Threads: any; nothing is shared between calls. */
#ifndef SERVER_FILE_H
#define SERVER_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include <tetrad/error.h>

/* file_read: the file at `path` in a new, NUL-terminated buffer that the caller frees. "-" is
 * standard input. Errors: TET_IO (path and cause), TET_TOO_LARGE (over max_bytes), TET_NO_MEMORY.
 */
TET_MUST_CHECK enum tet_err file_read(const char *path, size_t max_bytes, char **text, size_t *size,
                                      struct tet_error *error);

/* file_join: "folder/name", or the name alone where it is absolute; freed by the caller, NULL for
 * lack of memory. */
char *file_join(const char *folder, const char *name);

/* file_sha256: "sha256:" and 64 hex digits of a regular file's bytes. Errors: TET_IO (path and
 * cause). */
enum { FILE_SHA256 = 72 };
TET_MUST_CHECK enum tet_err file_sha256(const char *path, char text[FILE_SHA256],
                                        struct tet_error *error);

/* file_write: all of it, over signals and short writes; false: errno says why not. */
TET_MUST_CHECK bool file_write(int fd, const void *bytes, size_t size);

#endif
