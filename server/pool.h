// SPDX-License-Identifier: Apache-2.0
/*
 * The pool: the local executor. N worker threads claim runs from the store, train them, and write
 * what comes out back to it.
 *
 * Threads: any function from any thread, but pool_start and pool_stop from one. Lock order:
 * pool.lock before anything of the store; the pool calls the store without holding its lock.
 */
#ifndef SERVER_POOL_H
#define SERVER_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "data/catalog.h"
#include "events/events.h"
#include "store/store.h"

struct pool;

struct pool_options {
    struct store *store;
    struct catalog *catalog;
    struct events *events;      // that records are told to; NULL: none
    const char *weights_folder; // for initial_weights; NULL: none
    uint32_t workers;
    uint64_t memory_bytes; // of all runs at once
};

enum { POOL_MAX_WORKERS = 1024 };

/* pool_start: Errors: TET_NO_MEMORY, TET_INTERNAL (no thread). What options point to must outlive
 * the pool. */
TET_MUST_CHECK enum tet_err pool_start(struct pool **pool, const struct pool_options *options,
                                       struct tet_error *error);

/* pool_stop: running runs stop at their next mini-batch and go back to the queue with a checkpoint;
 * returns when all workers have ended. NULL is fine. */
void pool_stop(struct pool *pool);

void pool_wake(struct pool *pool); // there is new work

/* pool_halt: stops the runs with these ids if they are being trained. hand_back: with a checkpoint,
 * the store holds them already; else the store has already cancelled them. */
void pool_halt(struct pool *pool, const int64_t *runs, size_t n, bool hand_back);

/* What a run that is being trained shows. */
struct pool_view {
    int64_t run, experiment;
    uint64_t step, steps; // steps 0: not known yet
    uint32_t batch;       // samples of a step
    uint32_t epoch;
    float loss;               // NaN: not yet
    float samples_per_second; // 0: not yet
};

/* pool_look: all runs that are being trained, ended by one whose run is 0; to be freed. NULL: no
 * memory. Look before the store is read: a run that ends in between is then found ended there,
 * while the other way round its progress would go back to its last checkpoint's for a moment. */
struct pool_view *pool_look(struct pool *pool);

/* pool_progress: the same for events: an events_look_fn; context: struct pool. */
struct event_progress *pool_progress(void *pool);

uint64_t pool_memory(struct pool *pool); // bytes that the runs being trained need
/* pool_borrow: takes memory as a run does, for something short beside the runs; false: there is none
 * now. pool_return gives it back. */
bool pool_borrow(struct pool *pool, uint64_t bytes);
void pool_return(struct pool *pool, uint64_t bytes);

uint32_t pool_workers(const struct pool *pool);

/* pool_speed: floating-point operations per second that one worker reached over the runs trained
 * lately, in this or an earlier server; 0 before any. */
double pool_speed(struct pool *pool);

#endif
