// SPDX-License-Identifier: Apache-2.0
/*
 * The disk of faults.c before the power goes: what is written is on it once it is synced; of the rest, anything may be.
 *
 * - A file of SQLite (struct page_file) is held in memory with the writes since its last sync. At the cut each sector of
 *   each of them has reached the disk or not.
 * - Of any other file (struct tail), what was written since the last sync may be missing, in part or whole, or zeros.
 * - A name that appeared, changed or went (struct step) may have done so or not until its folder was synced. What is
 *   undone is a folder's latest steps.
 *
 * Everything is under `world`; the cut keeps it for ever, and then the process is no more.
 */
#ifndef TESTS_FAULTS_POWER_H
#define TESTS_FAULTS_POWER_H

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults_control.h"

enum { MAX_FILES = 4096, MAX_STEPS = 1 << 16, NAME = 512, SECTOR = 512 };

static pthread_mutex_t world = PTHREAD_MUTEX_INITIALIZER;
static char grave[NAME - 64]; // folder of what was removed

static _Noreturn void broken(const char *what)
{
    fprintf(stderr, "faults: %s\n", what);
    abort();
}

/* ---- SQLite's files ---- */

struct change {
    bool truncate;
    int64_t at, size;
    unsigned char *bytes;
};

struct page_file {
    dev_t device;
    ino_t inode;
    int fd; // never closed: that would drop SQLite's locks
    int64_t size, room;
    unsigned char *bytes;
    struct change *changes;
    size_t n, capacity;
};

static struct page_file *page_files[MAX_FILES];
static size_t n_page_files;

static struct page_file *page_file_find(dev_t device, ino_t inode)
{
    for (size_t i = 0; i < n_page_files; i++)
        if (page_files[i]->inode == inode && page_files[i]->device == device)
            return page_files[i];
    return NULL;
}

static void resize(struct page_file *f, int64_t size)
{
    if (size > f->room) {
        f->room = 2 * size;
        if ((f->bytes = realloc(f->bytes, (size_t)f->room)) == NULL)
            broken("out of memory");
    }
    if (size > f->size)
        memset(f->bytes + f->size, 0, (size_t)(size - f->size));
    f->size = size;
}

static struct page_file *page_file_open(const char *path)
{
    struct stat st;
    int (*open_next)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    ssize_t (*pread_next)(int, void *, size_t, off_t) = dlsym(RTLD_NEXT, "pread64");
    if (stat(path, &st) != 0)
        broken("a database's file is not there");
    struct page_file *f = page_file_find(st.st_dev, st.st_ino);
    if (f != NULL)
        return f;
    if (n_page_files == MAX_FILES || (f = calloc(1, sizeof *f)) == NULL)
        broken("too many files");
    *f = (struct page_file){
        .device = st.st_dev, .inode = st.st_ino, .fd = open_next(path, O_RDWR | O_CLOEXEC)};
    resize(f, st.st_size);
    if (f->fd < 0 ||
        (st.st_size > 0 && pread_next(f->fd, f->bytes, (size_t)st.st_size, 0) != st.st_size))
        broken("a database's file cannot be read");
    page_files[n_page_files++] = f;
    return f;
}

static void page_file_change(struct page_file *f, bool truncate, const void *bytes, int64_t at,
                             int64_t size)
{
    if (f->n == f->capacity) {
        f->capacity = f->capacity > 0 ? 2 * f->capacity : 64;
        if ((f->changes = realloc(f->changes, f->capacity * sizeof *f->changes)) == NULL)
            broken("out of memory");
    }
    struct change *c = &f->changes[f->n++];
    *c = (struct change){.truncate = truncate, .at = at, .size = size};
    if (truncate) {
        resize(f, at);
        return;
    }
    if (at + size > f->size)
        resize(f, at + size);
    if ((c->bytes = malloc((size_t)size)) == NULL)
        broken("out of memory");
    memcpy(c->bytes, bytes, (size_t)size);
    memcpy(f->bytes + at, bytes, (size_t)size);
}

static void put(int fd, const unsigned char *bytes, int64_t at, int64_t size)
{
    ssize_t (*next)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite64");
    if (next(fd, bytes, (size_t)size, at) != size)
        broken("a write of the test's own failed");
}

static void cut_to(int fd, int64_t size)
{
    int (*next)(int, off_t) = dlsym(RTLD_NEXT, "ftruncate64");
    if (next(fd, size) != 0)
        broken("a truncation of the test's own failed");
}

static void page_file_flush(struct page_file *f)
{
    for (size_t i = 0; i < f->n; i++) {
        const struct change *c = &f->changes[i];
        if (c->truncate)
            cut_to(f->fd, c->at);
        else
            put(f->fd, c->bytes, c->at, c->size);
        free(c->bytes);
    }
    f->n = 0;
}

/* ---- chance ---- */

static uint64_t chance_state;

static uint64_t chance(uint64_t n)
{
    chance_state = chance_state * 6364136223846793005u + 1442695040888963407u;
    return (chance_state >> 33) % n;
}

/* How much of what was not synced is there: none, all, or a share in 64ths. */
static uint64_t draw_share(void)
{
    const uint64_t kind = chance(4);
    return kind == 0 ? 0 : kind == 1 ? 64 : chance(65);
}

static void page_file_cut(struct page_file *f)
{
    const uint64_t share = draw_share();
    for (size_t i = 0; i < f->n; i++) {
        const struct change *c = &f->changes[i];
        if (c->truncate && chance(64) < share)
            cut_to(f->fd, c->at);
        for (int64_t at = c->at, end = c->at + c->size, next; !c->truncate && at < end; at = next) {
            next = (at / SECTOR + 1) * SECTOR < end ? (at / SECTOR + 1) * SECTOR : end;
            if (chance(64) < share)
                put(f->fd, c->bytes + (at - c->at), at, next - at);
        }
    }
}

/* ---- other files ---- */

struct tail {
    dev_t device;
    ino_t inode;
    int fd;
    int64_t synced;
};

static struct tail tails[MAX_FILES];
static size_t n_tails;

/* The file of a descriptor has, or may soon have, something from `synced` on that is not synced. */
static void tail_begin(int fd, int64_t synced)
{
    struct stat st;
    char name[64];
    int (*open_next)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink == 0)
        return;
    for (size_t i = 0; i < n_tails; i++)
        if (tails[i].inode == st.st_ino && tails[i].device == st.st_dev)
            return;
    if (n_tails == MAX_FILES)
        broken("too many files that are not synced");
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    const int own = open_next(name, O_RDWR | O_CLOEXEC);
    if (own >= 0)
        tails[n_tails++] = (struct tail){st.st_dev, st.st_ino, own, synced};
}

static void tail_sync(const struct stat *st)
{
    for (size_t i = 0; i < n_tails; i++)
        if (tails[i].inode == st->st_ino && tails[i].device == st->st_dev) {
            close(tails[i].fd);
            tails[i] = tails[--n_tails];
            return;
        }
}

static void tail_cut(const struct tail *t)
{
    static const unsigned char zeros[SECTOR];
    struct stat st;
    const uint64_t share = draw_share();
    if (fstat(t->fd, &st) != 0 || st.st_size <= t->synced)
        return;
    if (chance(2) == 0)
        cut_to(t->fd, t->synced + (st.st_size - t->synced) * (int64_t)share / 64);
    else
        for (int64_t at = t->synced; at < st.st_size; at += SECTOR)
            if (chance(64) >= share)
                put(t->fd, zeros, at, st.st_size - at < SECTOR ? st.st_size - at : SECTOR);
}

/* ---- names ---- */

struct step {
    enum name_change { CREATED, RENAMED, REMOVED, REMOVED_FOLDER } what;
    char path[NAME], before[NAME]; // RENAMED: from before to path
    char kept[NAME];               // in the grave: what was removed or overwritten; "": nothing
};

static struct step *steps;
static size_t n_steps, n_graves;

/* What has this name is kept in the grave. */
static void bury(const char *path, char kept[NAME])
{
    snprintf(kept, NAME, "%s/%zu", grave, n_graves++);
    int (*next)(const char *, const char *) = dlsym(RTLD_NEXT, "link");
    if (next(path, kept) != 0)
        kept[0] = '\0';
}

static void step_add(enum name_change what, const char *path, const char *before, const char *kept)
{
    if (steps == NULL && (steps = calloc(MAX_STEPS, sizeof *steps)) == NULL)
        broken("out of memory");
    if (n_steps == MAX_STEPS)
        broken("too many names");
    struct step *s = &steps[n_steps++];
    s->what = what;
    snprintf(s->path, NAME, "%s", path);
    snprintf(s->before, NAME, "%s", before);
    snprintf(s->kept, NAME, "%s", kept);
}

/* A folder has another name now, and so has what is in it. */
static void steps_move(const char *from, const char *to)
{
    const size_t length = strlen(from);
    for (size_t i = 0; i < n_steps; i++) {
        char rest[NAME];
        if (strncmp(steps[i].path, from, length) != 0 || steps[i].path[length] != '/')
            continue;
        snprintf(rest, sizeof rest, "%s", steps[i].path + length);
        if (snprintf(steps[i].path, NAME, "%s%s", to, rest) >= NAME)
            broken("a name is too long");
    }
}

static bool is_in(const char *path, const char *folder)
{
    const size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && path[n] == '/' && strchr(path + n + 1, '/') == NULL;
}

static void steps_sync(const char *folder)
{
    size_t left = 0;
    for (size_t i = 0; i < n_steps; i++)
        if (!is_in(steps[i].path, folder))
            steps[left++] = steps[i];
    n_steps = left;
}

static void step_undo(const struct step *s)
{
    int (*move)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    int (*make)(const char *, mode_t) = dlsym(RTLD_NEXT, "mkdir");
    char gone[NAME];
    snprintf(gone, sizeof gone, "%s/undone-%zu", grave, n_graves++);
    if (s->what == CREATED)
        (void)move(s->path, gone); // a folder with all that is in it
    else if (s->what == RENAMED)
        (void)move(s->path, s->before);
    else if (s->what == REMOVED_FOLDER)
        (void)make(s->path, 0700);
    if (s->kept[0] != '\0')
        (void)move(s->kept, s->path);
}

/* Of each folder's steps, the latest are undone: none, all or some. */
static void steps_cut(void)
{
    const uint64_t salt = chance(1u << 30);
    for (size_t i = n_steps; i-- > 0;) {
        const struct step *s = &steps[i];
        uint64_t hash = salt;
        for (const char *c = s->path; c < strrchr(s->path, '/'); c++)
            hash = hash * 1099511628211u + (unsigned char)*c;
        hash ^= hash >> 29;
        const size_t kept = hash % 3 == 0   ? 0
                            : hash % 3 == 1 ? n_steps
                                            : (size_t)(hash / 3 % (n_steps + 1));
        if (i >= kept)
            step_undo(s);
    }
}

static _Noreturn void power_cut(void)
{
    pthread_mutex_lock(&world);
    chance_state = control->seed;
    for (size_t i = 0; i < n_page_files; i++)
        page_file_cut(page_files[i]);
    for (size_t i = 0; i < n_tails; i++)
        tail_cut(&tails[i]);
    steps_cut();
    control->cut_at = 0;
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

#endif
