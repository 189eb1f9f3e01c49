// SPDX-License-Identifier: Apache-2.0
/* The VFS of faults.c: "unix", with what is not synced held in memory where the power may go. */
#ifndef TESTS_FAULTS_VFS_H
#define TESTS_FAULTS_VFS_H

struct file {
    sqlite3_file base;
    struct page_file *pages; // NULL: as it is
    sqlite3_file *real;
};

static sqlite3_vfs *unix_vfs;

static struct file *ours(sqlite3_file *f)
{
    return (struct file *)f;
}

#define INSIDE(call)                                                                               \
    in_sqlite++;                                                                                   \
    const int rc = (call);                                                                         \
    in_sqlite--;                                                                                   \
    return rc

#define REAL(f)              (ours(f)->real)
#define CALL(f, method, ...) REAL(f)->pMethods->method(REAL(f), __VA_ARGS__)

static int vfs_close(sqlite3_file *f)
{
    INSIDE(REAL(f)->pMethods->xClose(REAL(f)));
}

static int vfs_read(sqlite3_file *f, void *bytes, int n, sqlite3_int64 at)
{
    struct page_file *p = ours(f)->pages;
    if (p == NULL) {
        INSIDE(CALL(f, xRead, bytes, n, at));
    }
    pthread_mutex_lock(&world);
    const int64_t there = at >= p->size ? 0 : p->size - at < n ? p->size - at : n;
    if (there > 0)
        memcpy(bytes, p->bytes + at, (size_t)there);
    pthread_mutex_unlock(&world);
    memset((char *)bytes + there, 0, (size_t)(n - there));
    return there == n ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int vfs_change(struct page_file *p, bool truncate, const void *bytes, int64_t at, int n)
{
    in_sqlite++;
    (void)due(truncate ? TRUNCATE : WRITE);
    in_sqlite--;
    pthread_mutex_lock(&world);
    page_file_change(p, truncate, bytes, at, n);
    pthread_mutex_unlock(&world);
    return SQLITE_OK;
}

static int vfs_write(sqlite3_file *f, const void *bytes, int n, sqlite3_int64 at)
{
    if (ours(f)->pages != NULL)
        return vfs_change(ours(f)->pages, false, bytes, at, n);
    INSIDE(CALL(f, xWrite, bytes, n, at));
}

static int vfs_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    if (ours(f)->pages != NULL)
        return vfs_change(ours(f)->pages, true, NULL, size, 0);
    INSIDE(CALL(f, xTruncate, size));
}

/* The library's fdatasync takes what is held to the disk. */
static int vfs_sync(sqlite3_file *f, int flags)
{
    INSIDE(CALL(f, xSync, flags));
}

static int vfs_size(sqlite3_file *f, sqlite3_int64 *size)
{
    struct page_file *p = ours(f)->pages;
    if (p == NULL) {
        INSIDE(CALL(f, xFileSize, size));
    }
    pthread_mutex_lock(&world);
    *size = p->size;
    pthread_mutex_unlock(&world);
    return SQLITE_OK;
}

static int vfs_lock(sqlite3_file *f, int level)
{
    INSIDE(CALL(f, xLock, level));
}

static int vfs_unlock(sqlite3_file *f, int level)
{
    INSIDE(CALL(f, xUnlock, level));
}

static int vfs_reserved(sqlite3_file *f, int *out)
{
    INSIDE(CALL(f, xCheckReservedLock, out));
}

static int vfs_control(sqlite3_file *f, int op, void *argument)
{
    INSIDE(CALL(f, xFileControl, op, argument));
}

static int vfs_sector(sqlite3_file *f)
{
    return REAL(f)->pMethods->xSectorSize(REAL(f));
}

static int vfs_traits(sqlite3_file *f)
{
    return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f));
}

static int vfs_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **at)
{
    INSIDE(CALL(f, xShmMap, region, size, extend, at));
}

static int vfs_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    INSIDE(CALL(f, xShmLock, offset, n, flags));
}

static void vfs_shm_barrier(sqlite3_file *f)
{
    REAL(f)->pMethods->xShmBarrier(REAL(f));
}

static int vfs_shm_unmap(sqlite3_file *f, int remove)
{
    INSIDE(CALL(f, xShmUnmap, remove));
}

static const sqlite3_io_methods methods = {.iVersion = 2, // no xFetch: pages are always asked for
                                           .xClose = vfs_close,
                                           .xRead = vfs_read,
                                           .xWrite = vfs_write,
                                           .xTruncate = vfs_truncate,
                                           .xSync = vfs_sync,
                                           .xFileSize = vfs_size,
                                           .xLock = vfs_lock,
                                           .xUnlock = vfs_unlock,
                                           .xCheckReservedLock = vfs_reserved,
                                           .xFileControl = vfs_control,
                                           .xSectorSize = vfs_sector,
                                           .xDeviceCharacteristics = vfs_traits,
                                           .xShmMap = vfs_shm_map,
                                           .xShmLock = vfs_shm_lock,
                                           .xShmBarrier = vfs_shm_barrier,
                                           .xShmUnmap = vfs_shm_unmap};

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *out, int flags, int *got)
{
    struct file *f = ours(out);
    (void)vfs;
    *f = (struct file){.real = (sqlite3_file *)(f + 1)};
    in_sqlite++;
    const int rc = unix_vfs->xOpen(unix_vfs, name, f->real, flags, got);
    in_sqlite--;
    if (rc != SQLITE_OK)
        return rc;
    f->base.pMethods = &methods;
    if (name != NULL && control->power != 0 && below_root(name)) {
        pthread_mutex_lock(&world);
        f->pages = page_file_open(name);
        pthread_mutex_unlock(&world);
    }
    return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    (void)vfs;
    INSIDE(unix_vfs->xDelete(unix_vfs, name, sync_folder));
}

/* SQLite calls a file that is there and empty absent; one that is held is not empty. */
static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    struct stat st;
    (void)vfs;
    in_sqlite++;
    const int rc = unix_vfs->xAccess(unix_vfs, name, flags, out);
    in_sqlite--;
    if (flags == SQLITE_ACCESS_EXISTS && stat(name, &st) == 0 && control->power != 0) {
        pthread_mutex_lock(&world);
        const struct page_file *p = page_file_find(st.st_dev, st.st_ino);
        if (p != NULL)
            *out = p->size > 0;
        pthread_mutex_unlock(&world);
    }
    return rc;
}

static void vfs_begin(void)
{
    static sqlite3_vfs vfs;
    sqlite3_vfs *(*find)(const char *) = dlsym(RTLD_DEFAULT, "sqlite3_vfs_find");
    int (*add)(sqlite3_vfs *, int) = dlsym(RTLD_DEFAULT, "sqlite3_vfs_register");
    if (find == NULL || add == NULL || (unix_vfs = find("unix")) == NULL)
        broken("there is no SQLite");
    vfs = *unix_vfs;
    vfs.zName = "faults";
    vfs.szOsFile += (int)sizeof(struct file);
    vfs.pNext = NULL;
    vfs.xOpen = vfs_open;
    vfs.xDelete = vfs_delete;
    vfs.xAccess = vfs_access;
    if (add(&vfs, 1) != SQLITE_OK)
        broken("SQLite does not take the VFS");
}

#endif
