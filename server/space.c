// SPDX-License-Identifier: Apache-2.0
/* Room on a disk: see space.h. */
#include "space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

enum {
    PART = 64,    // of the file system is kept free
    FILE_PART = 8 // of it the file takes at most
};

enum tet_err space_error(int reason)
{
    if (reason == ENOSPC || reason == EDQUOT || reason == EFBIG)
        return TET_STORAGE_FULL;
    return reason == EIO || reason == EROFS ? TET_STORAGE_FAILS : TET_IO;
}

static uint64_t reserve_of(const struct statvfs *st)
{
    const uint64_t part = (uint64_t)st->f_blocks * st->f_frsize / PART;
    return part < MIB ? MIB : part > 16 * MIB ? 16 * MIB : part;
}

static uint64_t file_of(const struct statvfs *st)
{
    const uint64_t part = (uint64_t)st->f_blocks * st->f_frsize / FILE_PART;
    return part < 8 * MIB ? part : 8 * MIB;
}

uint64_t space_free_bytes(const struct space *space)
{
    struct statvfs st;
    return statvfs(space->folder, &st) == 0 && st.f_blocks > 0 ? (uint64_t)st.f_bavail * st.f_frsize
                                                               : UINT64_MAX;
}

enum tet_err space_check(struct space *space, uint64_t bytes, struct tet_error *error)
{
    struct statvfs st;
    if (statvfs(space->folder, &st) != 0)
        return errno == EIO ? tet_error_set(error, TET_STORAGE_FAILS, "the disk of %s fails: %s",
                                            space->what, strerror(errno))
                            : TET_OK;
    if (st.f_blocks == 0) // a file system that does not tell
        return TET_OK;
    const uint64_t free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    const uint64_t reserve = reserve_of(&st) + // what was given up is not to be trained on
                             (space->reserve != NULL && !space->kept ? file_of(&st) : 0);
    const uint64_t enough = reserve + reserve_of(&st);
    const bool low = free_bytes < reserve || (atomic_load(&space->low) && free_bytes < enough);
    atomic_store(&space->low, low);
    if (!low && bytes <= free_bytes - reserve)
        return TET_OK;
    const uint64_t kept = low ? enough : reserve;
    return tet_error_set(
        error, TET_STORAGE_FULL,
        "the disk of %s is full: %llu bytes are free, %llu are needed; it goes on by itself once "
        "there is room",
        space->what, (unsigned long long)free_bytes,
        (unsigned long long)(bytes <= UINT64_MAX - kept ? kept + bytes : bytes));
}

/* ---- the file that is kept ---- */

enum tet_err space_reserve(struct space *space, const char *path, struct tet_error *error)
{
    if (asprintf(&space->reserve, "%s.reserve", path) < 0) {
        space->reserve = NULL;
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    }
    struct stat st;
    space->kept = stat(space->reserve, &st) == 0 && st.st_size > 0;
    return TET_OK;
}

/* A file system that cannot promise room is left without. */
void space_keep(struct space *space)
{
    struct statvfs st;
    if (space->kept || space->reserve == NULL || atomic_load(&space->low) ||
        statvfs(space->folder, &st) != 0)
        return;
    const uint64_t size = file_of(&st);
    if ((uint64_t)st.f_bavail * st.f_frsize < reserve_of(&st) + size)
        return;
    const int fd = open(space->reserve, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    const bool made = fallocate(fd, 0, 0, (off_t)size) == 0;
    space->kept = made || errno == EOPNOTSUPP;
    close(fd);
    if (!made)
        (void)unlink(space->reserve);
}

bool space_release(struct space *space)
{
    if (space->reserve == NULL || unlink(space->reserve) != 0)
        return false;
    space->kept = false;
    return true;
}

void space_free(struct space *space)
{
    free(space->reserve);
    space->reserve = NULL;
}
