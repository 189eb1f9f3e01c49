// SPDX-License-Identifier: Apache-2.0
/*
 * Room on a disk: low before it is full.
 *
 * What would make the disk fuller is refused once less than a reserve is free: a 64th of the file system, at least
 * 1 MiB, at most 16 MiB. It is taken again once twice as much is free, so that a disk that is nearly full is not
 * full and not full by turns. What frees room needs some itself (a deletion is written down before it is done): it
 * has the reserve, and where others have filled even that, a file that is kept for nothing else: 8 MiB (or an 8th
 * of the file system), which is what the write-ahead log needs to get into the database, after which it has room.
 *
 * Threads: space_check from any; space_keep and space_release from one at a time.
 */
#ifndef SERVER_SPACE_H
#define SERVER_SPACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <tetrad/error.h>

struct space {
    const char *folder; // borrowed; one that is not there has room
    const char *what;   // as people know it: "the files folder (--files)"
    atomic_bool low;
    char *reserve; // the file that is kept; NULL: none. Freed by space_free
    bool kept;     // it is there, or cannot be
};

/* space_error: what an errno of a write stands for: TET_STORAGE_FULL, TET_STORAGE_FAILS or TET_IO. */
enum tet_err space_error(int reason);

/* space_free_bytes: how much is free; UINT64_MAX where that cannot be told. */
uint64_t space_free_bytes(const struct space *space);

/* space_check: whether the folder's disk takes so many bytes more. TET_STORAGE_FULL, TET_STORAGE_FAILS. */
TET_MUST_CHECK enum tet_err space_check(struct space *space, uint64_t bytes,
                                        struct tet_error *error);

/* space_reserve: a file for hard times, PATH.reserve, which space_keep makes. TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err space_reserve(struct space *space, const char *path,
                                          struct tet_error *error);
/* space_keep: makes the file if it is not there and the disk is not low. */
void space_keep(struct space *space);
/* space_release: gives up the file; false: there was none. */
bool space_release(struct space *space);
void space_free(struct space *space);

#endif
