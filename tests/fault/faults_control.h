// SPDX-License-Identifier: Apache-2.0
/*
 * What a test and the libraries of faults.c share: one page of memory, mapped from the file that the environment's
 * FAULTS names. tests/fault/faults.py has the same fields in the same order.
 *
 * Only files below the folder FAULTS_ROOT count, and files in memory (memfd).
 */
#ifndef TESTS_FAULTS_CONTROL_H
#define TESTS_FAULTS_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum kind {
    OPEN,     // open, openat, creat, fopen, mkstemp
    WRITE,    // write, pwrite, fwrite
    SYNC,     // fsync, fdatasync
    RENAME,   // rename, renameat
    TRUNCATE, // ftruncate
    MAKE,     // mkdir, mkdtemp, link
    REMOVE,   // unlink, unlinkat, rmdir
    READ,     // read, pread
    N_KINDS,  // and the same asked for by SQLite: N_KINDS + kind
    ANY = 99
};

enum { ONCE, FROM_THEN_ON };
enum { SHORT = -1 }; // as an error: half of what is to be written is written

struct control {
    _Atomic uint64_t count[2 * N_KINDS];
    _Atomic uint64_t changes; // of all kinds but READ
    _Atomic int64_t kind;     // what fails; -1: nothing
    _Atomic uint64_t nth;     // the first is 1
    _Atomic int64_t error;    // errno, or SHORT
    _Atomic int64_t mode;
    _Atomic uint64_t fired;

    _Atomic uint64_t power;  // 1: what is not synced is not on the disk
    _Atomic uint64_t cut_at; // the change before which the power goes; 0: never
    _Atomic uint64_t seed;   // of what has reached the disk nevertheless

    _Atomic uint64_t clock;     // 1: times come from here
    _Atomic int64_t offset_ns;  // of the time of day
    _Atomic int64_t stopped_ns; // where the time of day stands still; 0: it does not
    _Atomic int64_t paused_ns;  // the same for the monotonic clock
    _Atomic int64_t behind_ns;  // by how much the monotonic clock is behind for its pauses
};

extern struct control *control;

#endif
