// SPDX-License-Identifier: Apache-2.0
/*
 * Loaded before a daemon's libraries: its file operations fail when a test says so, the power goes, the clocks are the
 * test's. See faults_control.h for how it is steered, faults_power.h for what a power cut leaves, faults_clock.h.
 *
 * SQLite's calls are told from the program's own by a VFS that is registered as the default: it does what "unix" does,
 * notes that SQLite is at work in this thread, and, before a power cut, holds what is written until it is synced.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

#include "faults_clock.h"
#include "faults_power.h"

struct control *control;
static char root[NAME];
static _Thread_local int in_sqlite;

/* ---- what counts ---- */

/* The error that this operation is to fail with, 0 for none; counts it. */
static int due(enum kind kind)
{
    const uint64_t k = kind + (in_sqlite > 0 ? N_KINDS : 0),
                   n = atomic_fetch_add(&control->count[k], 1) + 1;
    if (kind != READ) {
        const uint64_t all = atomic_fetch_add(&control->changes, 1) + 1;
        if (control->cut_at != 0 && all >= control->cut_at)
            power_cut();
    }
    if (control->kind != ANY && control->kind != (int64_t)k)
        return 0;
    if (control->mode == ONCE ? n != control->nth : n < control->nth)
        return 0;
    atomic_fetch_add(&control->fired, 1);
    return (int)control->error;
}

static bool below_root(const char *path)
{
    const size_t n = strlen(root);
    return control != NULL && strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* The absolute name, and whether it counts. */
static bool name_of(int folder, const char *path, char name[NAME])
{
    char link[64], at[NAME] = "";
    if (control == NULL)
        return false;
    if (path[0] != '/' && folder == AT_FDCWD)
        (void)!getcwd(at, sizeof at);
    else if (path[0] != '/') {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        const ssize_t n = readlink(link, at, sizeof at - 1);
        at[n > 0 ? n : 0] = '\0';
    }
    if (snprintf(name, NAME, "%s%s%s", at, at[0] != '\0' ? "/" : "", path) >= NAME)
        name[0] = '\0';
    return below_root(name);
}

/* Whether an open file counts: ordinary, or a folder. */
static bool file_counts(int fd, struct stat *st)
{
    char link[64], name[NAME];
    if (control == NULL || fd <= 2 || fstat(fd, st) != 0 ||
        (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode)))
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, name, sizeof name - 1);
    name[n > 0 ? n : 0] = '\0';
    return below_root(name) || strncmp(name, "/memfd:", 7) == 0;
}

#define FAIL_IF_DUE(counts, kind, failed)                                                          \
    do {                                                                                           \
        const int error_ = (counts) ? due(kind) : 0;                                               \
        if (error_ > 0) {                                                                          \
            errno = error_;                                                                        \
            return failed;                                                                         \
        }                                                                                          \
    } while (0)

static bool is_shared_memory(const char *name)
{
    const size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, "-shm") == 0;
}

/* ---- opening ---- */

static void opened(int fd, const char *name, bool was_there, bool writes)
{
    struct stat st;
    if (control->power == 0 || !writes || fd < 0 || is_shared_memory(name))
        return;
    const int error = errno;
    pthread_mutex_lock(&world);
    if (!was_there && stat(name, &st) == 0 && S_ISREG(st.st_mode))
        step_add(CREATED, name, "", "");
    if (in_sqlite == 0 && !was_there)
        tail_begin(fd, 0);
    pthread_mutex_unlock(&world);
    errno = error;
}

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    static int (*next)(int, const char *, int, ...);
    char name[NAME];
    if (next == NULL)
        next = dlsym(RTLD_NEXT, "openat64");
    const bool counts = name_of(folder, path, name);
    FAIL_IF_DUE(counts, OPEN, -1);
    const bool was_there = counts && access(name, F_OK) == 0;
    const int fd = next(folder, path, flags, mode);
    if (counts && (flags & O_TMPFILE) != O_TMPFILE)
        opened(fd, name, was_there && (flags & O_TRUNC) == 0, (flags & O_CREAT) != 0);
    return fd;
}

#define MODE_FROM(flags)                                                                           \
    va_list list_;                                                                                 \
    va_start(list_, flags);                                                                        \
    const mode_t mode =                                                                            \
        (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(list_, mode_t) : 0;    \
    va_end(list_)

int open(const char *path, int flags, ...)
{
    MODE_FROM(flags);
    return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE_FROM(flags);
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    MODE_FROM(flags);
    return open_at(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...)
{
    MODE_FROM(flags);
    return open_at(folder, path, flags, mode);
}

/* What programs compiled with _FORTIFY_SOURCE call. */
int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}

int __openat_2(int folder, const char *path, int flags);
int __openat_2(int folder, const char *path, int flags)
{
    return open_at(folder, path, flags, 0);
}

int creat(const char *path, mode_t mode)
{
    return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

FILE *fopen(const char *path, const char *how)
{
    char name[NAME];
    const bool counts = name_of(AT_FDCWD, path, name);
    FAIL_IF_DUE(counts, OPEN, NULL);
    const bool was_there = counts && how[0] != 'w' && access(name, F_OK) == 0;
    FILE *file = NEXT(fopen)(path, how);
    if (counts && file != NULL)
        opened(fileno(file), name, was_there, how[0] != 'r');
    return file;
}

static int made(int fd, const char *path)
{
    char name[NAME];
    if (name_of(AT_FDCWD, path, name))
        opened(fd, name, false, true);
    return fd;
}

int mkstemp(char *path)
{
    char name[NAME];
    FAIL_IF_DUE(name_of(AT_FDCWD, path, name), OPEN, -1);
    return made(NEXT(mkstemp)(path), path);
}

int mkostemp(char *path, int flags)
{
    char name[NAME];
    FAIL_IF_DUE(name_of(AT_FDCWD, path, name), OPEN, -1);
    return made(NEXT(mkostemp)(path, flags), path);
}

/* ---- writing and reading ---- */

static void written(int fd, const struct stat *before)
{
    if (control->power == 0 || in_sqlite > 0)
        return;
    pthread_mutex_lock(&world);
    tail_begin(fd, before->st_size);
    pthread_mutex_unlock(&world);
}

/* How many of n bytes this call is to write: n, or fewer; -1: it fails. */
static ssize_t allowed(int fd, size_t n)
{
    struct stat st;
    if (!file_counts(fd, &st))
        return (ssize_t)n;
    const int error = due(WRITE);
    if (error > 0) {
        errno = error;
        return -1;
    }
    written(fd, &st);
    return (ssize_t)(error == SHORT && n > 1 ? n / 2 : n);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    static ssize_t (*next)(int, const void *, size_t);
    if (next == NULL)
        next = NEXT(write);
    const ssize_t m = allowed(fd, n);
    return m < 0 ? m : next(fd, bytes, (size_t)m);
}

static ssize_t write_at(int fd, const void *bytes, size_t n, off_t at)
{
    static ssize_t (*next)(int, const void *, size_t, off_t);
    if (next == NULL)
        next = dlsym(RTLD_NEXT, "pwrite64");
    const ssize_t m = allowed(fd, n);
    return m < 0 ? m : next(fd, bytes, (size_t)m, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    return write_at(fd, bytes, n, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at)
{
    return write_at(fd, bytes, n, at);
}

/* stdio goes on after a short write by itself, and after a signal it does not: libzip fails then, and that is known. */
size_t fwrite(const void *restrict bytes, size_t size, size_t n, FILE *restrict file)
{
    struct stat st;
    const int error = file_counts(fileno(file), &st) ? due(WRITE) : 0;
    if (error == EINTR || error == SHORT) {
        atomic_fetch_sub(&control->fired, 1);
    } else if (error > 0) {
        errno = error;
        return 0;
    }
    return NEXT(fwrite)(bytes, size, n, file);
}

ssize_t read(int fd, void *bytes, size_t n)
{
    static ssize_t (*next)(int, void *, size_t);
    struct stat st;
    if (next == NULL)
        next = NEXT(read);
    FAIL_IF_DUE(file_counts(fd, &st), READ, -1);
    return next(fd, bytes, n);
}

static ssize_t read_at(int fd, void *bytes, size_t n, off_t at)
{
    static ssize_t (*next)(int, void *, size_t, off_t);
    struct stat st;
    if (next == NULL)
        next = dlsym(RTLD_NEXT, "pread64");
    FAIL_IF_DUE(file_counts(fd, &st), READ, -1);
    return next(fd, bytes, n, at);
}

ssize_t pread(int fd, void *bytes, size_t n, off_t at)
{
    return read_at(fd, bytes, n, at);
}

ssize_t pread64(int fd, void *bytes, size_t n, off64_t at)
{
    return read_at(fd, bytes, n, at);
}

ssize_t sendfile64(int out, int in, off64_t *at, size_t n)
{
    struct stat st;
    FAIL_IF_DUE(file_counts(in, &st), READ, -1);
    return NEXT(sendfile64)(out, in, at, n);
}

/* ---- sizes and syncing ---- */

static int truncate_to(int fd, off_t size)
{
    struct stat st;
    FAIL_IF_DUE(file_counts(fd, &st), TRUNCATE, -1);
    int (*next)(int, off_t) = dlsym(RTLD_NEXT, "ftruncate64");
    return next(fd, size);
}

int ftruncate(int fd, off_t size)
{
    return truncate_to(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return truncate_to(fd, size);
}

/* Before a power cut the real disk is not waited for: it is this process that dies, not the machine. */
static int synced(int fd, const struct stat *st)
{
    char link[64], name[NAME];
    pthread_mutex_lock(&world);
    if (S_ISDIR(st->st_mode)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        const ssize_t n = readlink(link, name, sizeof name - 1);
        name[n > 0 ? n : 0] = '\0';
        steps_sync(name);
    } else {
        struct page_file *f = page_file_find(st->st_dev, st->st_ino);
        if (f != NULL)
            page_file_flush(f);
        tail_sync(st);
    }
    pthread_mutex_unlock(&world);
    return 0;
}

static int sync_file(int fd, int (*next)(int))
{
    struct stat st;
    const bool counts = file_counts(fd, &st);
    FAIL_IF_DUE(counts, SYNC, -1);
    return counts && control->power != 0 ? synced(fd, &st) : next(fd);
}

int fsync(int fd)
{
    return sync_file(fd, NEXT(fsync));
}

int fdatasync(int fd)
{
    return sync_file(fd, NEXT(fdatasync));
}

/* ---- names ---- */

static int rename_at(int a, const char *from, int b, const char *to)
{
    char before[NAME], name[NAME], kept[NAME] = "";
    struct stat st;
    const bool from_counts = name_of(a, from, before), counts = name_of(b, to, name) && from_counts;
    FAIL_IF_DUE(counts, RENAME, -1);
    const bool notes = counts && control->power != 0;
    if (notes) {
        pthread_mutex_lock(&world);
        bury(name, kept);
    }
    const int rc = NEXT(renameat)(a, from, b, to);
    if (notes && rc == 0) {
        step_add(RENAMED, name, before, kept);
        if (stat(name, &st) == 0 && S_ISDIR(st.st_mode))
            steps_move(before, name);
    }
    if (notes)
        pthread_mutex_unlock(&world);
    return rc;
}

int rename(const char *from, const char *to)
{
    return rename_at(AT_FDCWD, from, AT_FDCWD, to);
}

int renameat(int a, const char *from, int b, const char *to)
{
    return rename_at(a, from, b, to);
}

static int appeared(int rc, const char *name, bool counts)
{
    if (rc == 0 && counts && control->power != 0) {
        pthread_mutex_lock(&world);
        step_add(CREATED, name, "", "");
        pthread_mutex_unlock(&world);
    }
    return rc;
}

int link(const char *from, const char *to)
{
    char name[NAME];
    const bool counts = name_of(AT_FDCWD, to, name);
    FAIL_IF_DUE(counts, MAKE, -1);
    return appeared(NEXT(link)(from, to), name, counts);
}

int mkdir(const char *path, mode_t mode)
{
    char name[NAME];
    const bool counts = name_of(AT_FDCWD, path, name);
    FAIL_IF_DUE(counts, MAKE, -1);
    return appeared(NEXT(mkdir)(path, mode), name, counts);
}

char *mkdtemp(char *path)
{
    char name[NAME];
    FAIL_IF_DUE(name_of(AT_FDCWD, path, name), MAKE, NULL);
    char *made_folder = NEXT(mkdtemp)(path);
    if (made_folder != NULL)
        appeared(0, path, name_of(AT_FDCWD, path, name));
    return made_folder;
}

static int remove_at(int folder, const char *path, int flags)
{
    char name[NAME], kept[NAME] = "";
    const bool counts = name_of(folder, path, name);
    FAIL_IF_DUE(counts, REMOVE, -1);
    const bool notes = counts && control->power != 0 && !is_shared_memory(name);
    if (notes) {
        pthread_mutex_lock(&world);
        if (flags == 0)
            bury(name, kept);
    }
    const int rc = NEXT(unlinkat)(folder, path, flags);
    if (notes) {
        if (rc == 0)
            step_add(flags == 0 ? REMOVED : REMOVED_FOLDER, name, "", kept);
        pthread_mutex_unlock(&world);
    }
    return rc;
}

int unlink(const char *path)
{
    return remove_at(AT_FDCWD, path, 0);
}

int unlinkat(int folder, const char *path, int flags)
{
    return remove_at(folder, path, flags);
}

int rmdir(const char *path)
{
    return remove_at(AT_FDCWD, path, AT_REMOVEDIR);
}

#include "faults_vfs.h"

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULTS"), *folder = getenv("FAULTS_ROOT");
    if (path == NULL || folder == NULL)
        return;
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    void *page = fd >= 0 ? mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                         : MAP_FAILED;
    if (page == MAP_FAILED)
        broken("the file that FAULTS names cannot be had");
    snprintf(root, sizeof root, "%s", folder);
    snprintf(grave, sizeof grave, "%s.grave", path);
    (void)mkdir(grave, 0700);
    close(fd);
    control = page;
    vfs_begin();
}
