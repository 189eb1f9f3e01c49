// SPDX-License-Identifier: Apache-2.0
/* The state folder: see state.h. */
#include "data/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEX = 64 };

struct state {
    char *folder, *datasets, *incoming;
    int lock_file; // -1: none
    pthread_mutex_t lock, reading;
};

static enum tet_err io_error(const char *path, struct tet_error *error)
{
    const bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
    return tet_error_set(error, full ? TET_BUSY : TET_IO, "%s: %s", path, strerror(errno));
}

static enum tet_err make_folder(const char *path, struct tet_error *error)
{
    struct stat st;
    if (mkdir(path, 0700) == 0 || (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        return TET_OK;
    return io_error(path, error);
}

static enum tet_err take_lock(struct state *s, struct tet_error *error)
{
    char path[STATE_PATH];
    if (snprintf(path, sizeof path, "%s/lock", s->folder) >= (int)sizeof path - HEX)
        return tet_error_set(error, TET_IO, "%s: the name is too long", s->folder);
    s->lock_file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_file < 0)
        return io_error(path, error);
    if (flock(s->lock_file, LOCK_EX | LOCK_NB) == 0)
        return TET_OK;
    return errno == EWOULDBLOCK
               ? tet_error_set(error, TET_CONFLICT, "%s: the folder is in use by another server",
                               s->folder)
               : io_error(path, error);
}

enum tet_err state_open(struct state **state, const char *folder, struct tet_error *error)
{
    *state = NULL;
    struct state *s = calloc(1, sizeof *s);
    enum tet_err err = TET_OK;
    if (s == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    s->lock_file = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->reading, NULL);
    s->folder = strdup(folder);
    if (asprintf(&s->datasets, "%s/datasets", folder) < 0)
        s->datasets = NULL;
    if (asprintf(&s->incoming, "%s/incoming", folder) < 0)
        s->incoming = NULL;
    if (s->folder == NULL || s->datasets == NULL || s->incoming == NULL)
        err = tet_error_set(error, TET_NO_MEMORY, "out of memory");
    if (err == TET_OK)
        err = make_folder(s->folder, error);
    if (err == TET_OK)
        err = take_lock(s, error);
    if (err == TET_OK)
        err = make_folder(s->datasets, error);
    if (err == TET_OK)
        err = make_folder(s->incoming, error);
    if (err != TET_OK) {
        state_close(s);
        return err;
    }
    *state = s;
    return TET_OK;
}

void state_close(struct state *s)
{
    if (s == NULL)
        return;
    if (s->lock_file >= 0)
        close(s->lock_file);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->reading);
    free(s->folder);
    free(s->datasets);
    free(s->incoming);
    free(s);
}

const char *state_folder(const struct state *s)
{
    return s->folder;
}

const char *state_incoming(const struct state *s)
{
    return s->incoming;
}

void state_lock(struct state *s)
{
    pthread_mutex_lock(&s->lock);
}

void state_unlock(struct state *s)
{
    pthread_mutex_unlock(&s->lock);
}

void state_begin(struct state *s)
{
    pthread_mutex_lock(&s->reading);
}

void state_end(struct state *s)
{
    pthread_mutex_unlock(&s->reading);
}

/* ---- staging ---- */

enum tet_err state_stage(struct state *s, char folder[STATE_PATH], struct tet_error *error)
{
    if (snprintf(folder, STATE_PATH, "%s/upload-XXXXXX", s->incoming) < STATE_PATH &&
        mkdtemp(folder) != NULL)
        return TET_OK;
    folder[0] = '\0';
    return io_error(s->incoming, error);
}

void state_unstage(const char *folder)
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

void state_content(const struct state *s, const char *sha256, char path[STATE_PATH])
{
    snprintf(path, STATE_PATH, "%s/%.64s.npz", s->datasets, hex_of(sha256));
}

static void marker_of(const struct state *s, const char *sha256, char path[STATE_PATH])
{
    snprintf(path, STATE_PATH, "%s/%.64s", s->incoming, hex_of(sha256));
}

static bool sync_folder(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool done = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL); // nothing to sync there
    if (fd >= 0)
        close(fd);
    return done;
}

enum tet_err state_mark(struct state *s, const char *sha256, struct tet_error *error)
{
    char path[STATE_PATH];
    marker_of(s, sha256, path);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return io_error(path, error);
    close(fd);
    return sync_folder(s->incoming) ? TET_OK : io_error(s->incoming, error);
}

void state_settle(struct state *s, const char *sha256)
{
    char path[STATE_PATH];
    marker_of(s, sha256, path);
    (void)unlink(path);
}

enum tet_err state_publish(struct state *s, const char *file, const char *sha256,
                           struct tet_error *error)
{
    char path[STATE_PATH];
    state_content(s, sha256, path);
    if (rename(file, path) != 0)
        return io_error(path, error);
    return sync_folder(s->datasets) ? TET_OK : io_error(s->datasets, error);
}

void state_withdraw(struct state *s, const char *sha256)
{
    char path[STATE_PATH];
    state_content(s, sha256, path);
    (void)unlink(path);
    (void)sync_folder(s->datasets);
}

/* ---- recovery ---- */

static bool is_hex(const char *name)
{
    return strlen(name) == HEX && strspn(name, "0123456789abcdef") == HEX;
}

static enum tet_err recover_one(struct state *s, const char *name, state_known_fn *known,
                                void *context, struct tet_error *error)
{
    char path[STATE_PATH], sha256[80];
    bool there = true;
    if (strncmp(name, "upload-", 7) == 0) {
        snprintf(path, sizeof path, "%s/%s", s->incoming, name);
        state_unstage(path);
        (void)unlink(path); // where it was a file
        return TET_OK;
    }
    if (!is_hex(name))
        return TET_OK; // not ours
    snprintf(sha256, sizeof sha256, "sha256:%s", name);
    const enum tet_err err = known(context, sha256, &there, error);
    if (err != TET_OK)
        return err;
    if (!there)
        state_withdraw(s, sha256);
    state_settle(s, sha256);
    return TET_OK;
}

enum tet_err state_recover(struct state *s, state_known_fn *known, void *context,
                           struct tet_error *error)
{
    enum tet_err err = TET_OK;
    DIR *dir = opendir(s->incoming);
    if (dir == NULL)
        return io_error(s->incoming, error);
    for (struct dirent *entry; err == TET_OK && (entry = readdir(dir)) != NULL;)
        err = recover_one(s, entry->d_name, known, context, error);
    closedir(dir);
    return err;
}
