// SPDX-License-Identifier: Apache-2.0
/*
 * Reads files by zlib, which takes plain ones too, so that there is one way for both. See gz.h.
 * Any thread; no state.
 */
#include "data/gz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CHUNK = 1 << 20,      // bytes read at once
    BUFFER = 1 << 17,     // the same, by zlib
    DEFLATE_RATIO = 1032, // bytes that one byte of deflate makes, at most
};

char *gz_path(const char *folder, const char *name)
{
    for (int gz = 0; gz < 2; gz++) {
        char *path;
        struct stat st;
        if (asprintf(&path, "%s/%s%s", folder, name, gz ? ".gz" : "") < 0) {
            errno = ENOMEM;
            return NULL;
        }
        if (stat(path, &st) == 0)
            return path;
        free(path);
    }
    errno = ENOENT;
    return NULL;
}

enum tet_err gz_bad(const struct gz_file *file, const char *what, struct tet_error *error)
{
    return tet_error_set(error, TET_BAD_DATASET, "%s: %s", file->path, what);
}

static bool is_plain(const struct gz_file *file)
{
    return gzdirect(file->gz) != 0;
}

enum tet_err gz_open(struct gz_file *file, struct tet_error *error)
{
    struct stat st;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // never waits on a pipe
    if (fd < 0 || fstat(fd, &st) != 0) {
        int reason = errno;
        if (fd >= 0)
            close(fd);
        return tet_error_set(error, TET_IO, "%s: %s", file->path, strerror(reason));
    }
    if (!S_ISREG(st.st_mode) || st.st_size == 0) {
        close(fd);
        return gz_bad(file, S_ISREG(st.st_mode) ? "the file is empty" : "not a file", error);
    }
    file->size = (uint64_t)st.st_size;
    if (!(file->gz = gzdopen(fd, "rb"))) {
        close(fd);
        return tet_error_set(error, TET_NO_MEMORY, "%s: out of memory", file->path);
    }
    gzbuffer(file->gz, BUFFER);
    bool named_gz = strcmp(file->path + strlen(file->path) - 3, ".gz") == 0;
    if (named_gz == is_plain(file))
        return gz_bad(file, named_gz ? "not gzipped" : "gzipped, but not named .gz", error);
    return TET_OK;
}

void gz_close(struct gz_file *file)
{
    if (file->gz)
        gzclose_r(file->gz);
    free(file->path);
    *file = (struct gz_file){0};
}

uint64_t gz_most(const struct gz_file *file)
{
    return is_plain(file) ? file->size : file->size * DEFLATE_RATIO;
}

/* After gzread has given 0 or less: why. TET_OK: the content ends here, as it should. */
static enum tet_err after_last(struct gz_file *file, int got, struct tet_error *error)
{
    int code;
    const char *reason = gzerror(file->gz, &code);
    if (got == 0 && (code == Z_OK || code == Z_STREAM_END))
        return TET_OK;
    if (code == Z_MEM_ERROR)
        return tet_error_set(error, TET_NO_MEMORY, "%s: out of memory", file->path);
    if (code == Z_ERRNO)
        return tet_error_set(error, TET_IO, "%s: %s", file->path, strerror(errno));
    if (code == Z_BUF_ERROR)
        return gz_bad(file, "truncated: the end of its gzip stream is missing", error);
    return tet_error_set(error, TET_BAD_DATASET, "%s: damaged: %s", file->path, reason);
}

enum tet_err gz_measure(struct gz_file *file, uint64_t most, uint64_t *bytes,
                        struct tet_error *error)
{
    *bytes = is_plain(file) ? file->size : 0;
    uint8_t *chunk = is_plain(file) ? NULL : malloc(CHUNK);
    if (!is_plain(file) && !chunk)
        return tet_error_set(error, TET_NO_MEMORY, "%s: out of memory", file->path);
    int got = 0;
    while (chunk && *bytes <= most && (got = gzread(file->gz, chunk, CHUNK)) > 0)
        *bytes += (uint64_t)got;
    free(chunk);
    if (*bytes > most)
        return tet_error_set(error, TET_BAD_DATASET,
                             "%s: more than the %llu bytes that memory has room for", file->path,
                             (unsigned long long)most);
    enum tet_err err = is_plain(file) ? TET_OK : after_last(file, got, error);
    if (err == TET_OK && gzrewind(file->gz) != 0)
        err = tet_error_set(error, TET_IO, "%s: cannot be read twice", file->path);
    return err;
}

enum tet_err gz_read(struct gz_file *file, uint8_t *to, uint64_t n, struct tet_error *error)
{
    while (n > 0) {
        int got = gzread(file->gz, to, n < CHUNK ? (unsigned)n : CHUNK);
        if (got <= 0) {
            enum tet_err err = after_last(file, got, error);
            return err != TET_OK
                       ? err
                       : tet_error_set(error, TET_BAD_DATASET, "%s: truncated: shorter than %s",
                                       file->path, file->bound);
        }
        to += got;
        n -= (uint64_t)got;
    }
    return TET_OK;
}

enum tet_err gz_end(struct gz_file *file, struct tet_error *error)
{
    uint8_t beyond;
    int got = gzread(file->gz, &beyond, 1);
    if (got > 0)
        return tet_error_set(error, TET_BAD_DATASET, "%s: longer than %s", file->path, file->bound);
    return after_last(file, got, error);
}
