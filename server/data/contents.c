// SPDX-License-Identifier: Apache-2.0
/* Contents taken from one files folder to another: see contents.h. */
#include "data/contents.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/files.h"
#include "file.h"
#include "space.h"

enum { HEX = 64, PIECE = 1 << 16 };

static enum tet_err io_error(const char *path, struct tet_error *error)
{
    return tet_error_set(error, space_error(errno), "%s: %s", path, strerror(errno));
}

/* It comes from a database that may be anybody's: a name, never a path. */
static bool is_digest(const char *sha256)
{
    return sha256 != NULL && strncmp(sha256, "sha256:", 7) == 0 && strlen(sha256 + 7) == HEX &&
           strspn(sha256 + 7, "0123456789abcdef") == HEX;
}

static enum tet_err name_content(char path[FILES_PATH], const char *folder, const char *sha256,
                                 const char *suffix, struct tet_error *error)
{
    return snprintf(path, FILES_PATH, "%s/datasets/%s.npz%s", folder, sha256 + 7, suffix) <
                   FILES_PATH
               ? TET_OK
               : tet_error_set(error, TET_IO, "%s: the name is too long", folder);
}

/* The names in it are on the disk too. */
static enum tet_err sync_folder(const char *folder, struct tet_error *error)
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const enum tet_err err =
        fd >= 0 && (fsync(fd) == 0 || errno == EINVAL) ? TET_OK : io_error(folder, error);
    if (fd >= 0)
        close(fd);
    return err;
}

static enum tet_err make_folders(const char *folder, struct tet_error *error)
{
    char path[FILES_PATH];
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return io_error(folder, error);
    if (snprintf(path, sizeof path, "%s/datasets", folder) >= FILES_PATH)
        return tet_error_set(error, TET_IO, "%s: the name is too long", folder);
    const bool made = mkdir(path, 0700) == 0;
    if (!made && errno != EEXIST)
        return io_error(path, error);
    return made ? sync_folder(folder, error) : TET_OK; // or a power cut takes it with what is in it
}

static bool copy_bytes(int in, int out)
{
    static _Thread_local char piece[PIECE];
    ssize_t n = 0;
    bool good = true;
    while (good && ((n = read(in, piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR)))
        good = n < 0 || file_write(out, piece, (size_t)n);
    return good && n == 0 && fsync(out) == 0;
}

static enum tet_err copy(const char *from, const char *part, const char *to,
                         struct tet_error *error)
{
    const int in = open(from, O_RDONLY | O_CLOEXEC);
    const int out = in >= 0 ? open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    enum tet_err err = TET_OK;
    if (out < 0)
        err = io_error(in < 0 ? from : part, error);
    else if (!copy_bytes(in, out) || rename(part, to) != 0)
        err = io_error(part, error);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    if (err != TET_OK && out >= 0)
        (void)unlink(part);
    return err;
}

enum tet_err contents_take(const char *from, const char *to, const char *sha256, bool *there,
                           struct tet_error *error)
{
    char source[FILES_PATH], target[FILES_PATH], part[FILES_PATH];
    *there = false;
    if (!is_digest(sha256))
        return TET_OK;
    enum tet_err err = name_content(source, from, sha256, "", error);
    if (err == TET_OK)
        err = name_content(target, to, sha256, "", error);
    if (err == TET_OK)
        err = name_content(part, to, sha256, ".part", error);
    if (err != TET_OK)
        return err;
    *there = access(target, F_OK) == 0;
    if (*there || (access(source, F_OK) != 0 && errno == ENOENT))
        return TET_OK;
    err = make_folders(to, error);
    if (err == TET_OK && link(source, target) != 0 && errno != EEXIST) {
        if (errno == ENOENT) // deleted this moment
            return TET_OK;
        err = copy(source, part, target, error);
    }
    if (err == TET_OK)
        err = sync_folder(dirname(target), error);
    *there = err == TET_OK;
    return err;
}

void contents_remove(const char *folder)
{
    char path[FILES_PATH];
    if (snprintf(path, sizeof path, "%s/datasets", folder) >= FILES_PATH)
        return;
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (strspn(entry->d_name, "0123456789abcdef") == HEX)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    (void)rmdir(path);
    (void)rmdir(folder);
}
