// SPDX-License-Identifier: Apache-2.0
/* Small files, whole: see file.h. */
#include "file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum tet_err file_read(const char *path, size_t max_bytes, char **text, size_t *size,
                       struct tet_error *error)
{
    enum tet_err err = TET_OK;
    char *buffer = NULL;
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (file == NULL)
        return tet_error_set(error, TET_IO, "%s: %s", path, strerror(errno));
    buffer = malloc(max_bytes + 1);
    if (buffer == NULL) {
        err = tet_error_set(error, TET_NO_MEMORY, "no memory to read %s", path);
        goto out;
    }
    errno = 0;
    *size = fread(buffer, 1, max_bytes + 1, file);
    if (ferror(file))
        err = tet_error_set(error, TET_IO, "%s: %s", path, strerror(errno));
    else if (*size > max_bytes)
        err = tet_error_set(error, TET_TOO_LARGE, "%s: over %zu bytes", path, max_bytes);
    if (err != TET_OK)
        goto out;
    buffer[*size] = '\0';
    *text = buffer;
    buffer = NULL;
out:
    free(buffer);
    if (file != stdin)
        fclose(file);
    return err;
}
