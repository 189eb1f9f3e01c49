// SPDX-License-Identifier: Apache-2.0
/* The files folder: see files.h. */
#include "data/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "space.h"

enum { HEX = 64 };

struct files {
    char *folder, *datasets, *incoming;
    int lock_file; // -1: none
    pthread_mutex_t lock, reading;
};

static enum tet_err io_error(const char *path, struct tet_error *error)
{
    return tet_error_set(error, space_error(errno), "%s: %s", path, strerror(errno));
}

static enum tet_err make_folder(const char *path, struct tet_error *error)
{
    struct stat st;
    if (mkdir(path, 0700) == 0 || (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        return TET_OK;
    return io_error(path, error);
}

static bool sync_folder(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool done = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL); // nothing to sync there
    const int why = errno;
    if (fd >= 0)
        close(fd);
    errno = why;
    return done;
}

/* So that the folders themselves survive a power cut: a content is no safer than they are. */
static enum tet_err sync_folders(const struct files *f, struct tet_error *error)
{
    char parent[FILES_PATH];
    const int n = snprintf(parent, sizeof parent, "%s", f->folder);
    if (n >= (int)sizeof parent)
        return tet_error_set(error, TET_IO, "%s: the name is too long", f->folder);
    const char *above = dirname(parent);
    if (!sync_folder(f->folder))
        return io_error(f->folder, error);
    return sync_folder(above) ? TET_OK : io_error(above, error);
}

static enum tet_err take_lock(struct files *f, struct tet_error *error)
{
    char path[FILES_PATH];
    if (snprintf(path, sizeof path, "%s/lock", f->folder) >= (int)sizeof path - HEX)
        return tet_error_set(error, TET_IO, "%s: the name is too long", f->folder);
    f->lock_file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (f->lock_file < 0)
        return io_error(path, error);
    if (flock(f->lock_file, LOCK_EX | LOCK_NB) == 0)
        return TET_OK;
    return errno == EWOULDBLOCK
               ? tet_error_set(error, TET_CONFLICT, "%s: the folder is in use by another server",
                               f->folder)
               : io_error(path, error);
}

enum tet_err files_open(struct files **files, const char *folder, struct tet_error *error)
{
    *files = NULL;
    struct files *f = calloc(1, sizeof *f);
    enum tet_err err = TET_OK;
    if (f == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    f->lock_file = -1;
    pthread_mutex_init(&f->lock, NULL);
    pthread_mutex_init(&f->reading, NULL);
    f->folder = strdup(folder);
    if (asprintf(&f->datasets, "%s/datasets", folder) < 0)
        f->datasets = NULL;
    if (asprintf(&f->incoming, "%s/incoming", folder) < 0)
        f->incoming = NULL;
    if (f->folder == NULL || f->datasets == NULL || f->incoming == NULL)
        err = tet_error_set(error, TET_NO_MEMORY, "out of memory");
    if (err == TET_OK)
        err = make_folder(f->folder, error);
    if (err == TET_OK)
        err = take_lock(f, error);
    if (err == TET_OK)
        err = make_folder(f->datasets, error);
    if (err == TET_OK)
        err = make_folder(f->incoming, error);
    if (err == TET_OK)
        err = sync_folders(f, error);
    if (err != TET_OK) {
        files_close(f);
        return err;
    }
    *files = f;
    return TET_OK;
}

void files_close(struct files *f)
{
    if (f == NULL)
        return;
    if (f->lock_file >= 0)
        close(f->lock_file);
    pthread_mutex_destroy(&f->lock);
    pthread_mutex_destroy(&f->reading);
    free(f->folder);
    free(f->datasets);
    free(f->incoming);
    free(f);
}

const char *files_folder(const struct files *f)
{
    return f->folder;
}

const char *files_incoming(const struct files *f)
{
    return f->incoming;
}

void files_lock(struct files *f)
{
    pthread_mutex_lock(&f->lock);
}

void files_unlock(struct files *f)
{
    pthread_mutex_unlock(&f->lock);
}

void files_begin(struct files *f)
{
    pthread_mutex_lock(&f->reading);
}

void files_end(struct files *f)
{
    pthread_mutex_unlock(&f->reading);
}

/* ---- staging ---- */

enum tet_err files_stage(struct files *f, char folder[FILES_PATH], struct tet_error *error)
{
    if (snprintf(folder, FILES_PATH, "%s/upload-XXXXXX", f->incoming) < FILES_PATH &&
        mkdtemp(folder) != NULL)
        return TET_OK;
    folder[0] = '\0';
    return io_error(f->incoming, error);
}

void files_unstage(const char *folder)
{
    DIR *dir = *folder != '\0' ? opendir(folder) : NULL;
    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    (void)rmdir(folder);
}

/* ---- contents ---- */

static const char *hex_of(const char *sha256)
{
    return strncmp(sha256, "sha256:", 7) == 0 ? sha256 + 7 : sha256;
}

void files_content(const struct files *f, const char *sha256, char path[FILES_PATH])
{
    snprintf(path, FILES_PATH, "%s/%.64s.npz", f->datasets, hex_of(sha256));
}

static void marker_of(const struct files *f, const char *sha256, char path[FILES_PATH])
{
    snprintf(path, FILES_PATH, "%s/%.64s", f->incoming, hex_of(sha256));
}

enum tet_err files_mark(struct files *f, const char *sha256, struct tet_error *error)
{
    char path[FILES_PATH];
    marker_of(f, sha256, path);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return io_error(path, error);
    close(fd);
    return sync_folder(f->incoming) ? TET_OK : io_error(f->incoming, error);
}

void files_settle(struct files *f, const char *sha256)
{
    char path[FILES_PATH];
    marker_of(f, sha256, path);
    (void)unlink(path);
}

enum tet_err files_publish(struct files *f, const char *file, const char *sha256,
                           struct tet_error *error)
{
    char path[FILES_PATH];
    files_content(f, sha256, path);
    if (rename(file, path) != 0)
        return io_error(path, error);
    return sync_folder(f->datasets) ? TET_OK : io_error(f->datasets, error);
}

void files_withdraw(struct files *f, const char *sha256)
{
    char path[FILES_PATH];
    files_content(f, sha256, path);
    if ((unlink(path) == 0 || errno == ENOENT) && sync_folder(f->datasets))
        files_settle(f, sha256);
}

/* ---- recovery ---- */

static bool is_hex(const char *name)
{
    return strlen(name) == HEX && strspn(name, "0123456789abcdef") == HEX;
}

static enum tet_err recover_one(struct files *f, const char *name, files_known_fn *known,
                                void *context, struct tet_error *error)
{
    char path[FILES_PATH], sha256[80];
    bool there = true;
    if (strncmp(name, "upload-", 7) == 0) {
        snprintf(path, sizeof path, "%s/%s", f->incoming, name);
        files_unstage(path);
        (void)unlink(path); // where it was a file
        return TET_OK;
    }
    if (!is_hex(name))
        return TET_OK; // not ours
    snprintf(sha256, sizeof sha256, "sha256:%s", name);
    const enum tet_err err = known(context, sha256, &there, error);
    if (err != TET_OK)
        return err;
    if (there)
        files_settle(f, sha256);
    else
        files_withdraw(f, sha256);
    return TET_OK;
}

enum tet_err files_recover(struct files *f, files_known_fn *known, void *context,
                           struct tet_error *error)
{
    enum tet_err err = TET_OK;
    DIR *dir = opendir(f->incoming);
    if (dir == NULL)
        return io_error(f->incoming, error);
    for (struct dirent *entry; err == TET_OK && (entry = readdir(dir)) != NULL;)
        err = recover_one(f, entry->d_name, known, context, error);
    closedir(dir);
    return err;
}
