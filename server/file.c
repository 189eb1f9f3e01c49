// SPDX-License-Identifier: Apache-2.0
/* Small files, whole: see file.h. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

char *file_join(const char *folder, const char *name)
{
    char *path = NULL;
    const bool absolute = name[0] == '/';
    return asprintf(&path, "%s%s%s", absolute ? "" : folder, absolute ? "" : "/", name) < 0 ? NULL
                                                                                            : path;
}

/* Opens without waiting (a FIFO) and takes nothing but regular files. */
static int open_regular(const char *path)
{
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file >= 0 && (fstat(file, &status) != 0 || !S_ISREG(status.st_mode))) {
        close(file);
        errno = EINVAL;
        file = -1;
    }
    return file;
}

enum tet_err file_sha256(const char *path, char text[FILE_SHA256], struct tet_error *error)
{
    crypto_hash_sha256_state state;
    unsigned char buffer[1 << 14], digest[crypto_hash_sha256_BYTES];
    ssize_t n;
    const int file = open_regular(path);
    if (file < 0)
        return tet_error_set(error, TET_IO, "%s: %s", path, strerror(errno));
    crypto_hash_sha256_init(&state);
    while ((n = read(file, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            crypto_hash_sha256_update(&state, buffer, (unsigned long long)n);
    close(file);
    if (n < 0)
        return tet_error_set(error, TET_IO, "%s: %s", path, strerror(errno));
    crypto_hash_sha256_final(&state, digest);
    memcpy(text, "sha256:", 7);
    sodium_bin2hex(text + 7, FILE_SHA256 - 7, digest, sizeof digest);
    return TET_OK;
}

bool file_write(int fd, const void *bytes, size_t size)
{
    for (const char *from = bytes; size > 0;) {
        const ssize_t n = write(fd, from, size < INT32_MAX ? size : INT32_MAX);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        from += n;
        size -= (size_t)n;
    }
    return true;
}
