// SPDX-License-Identifier: Apache-2.0
/* Small files, whole. */
#ifndef SERVER_FILE_H
#define SERVER_FILE_H

#include <stddef.h>

#include <tetrad/error.h>

/* file_read: the file at `path` in a new, NUL-terminated buffer that the caller frees. "-" is
 * standard input. Errors: TET_IO (path and cause), TET_TOO_LARGE (over max_bytes), TET_NO_MEMORY.
 */
TET_MUST_CHECK enum tet_err file_read(const char *path, size_t max_bytes, char **text, size_t *size,
                                      struct tet_error *error);

#endif
