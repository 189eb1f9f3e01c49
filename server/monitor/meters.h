// SPDX-License-Identifier: Apache-2.0
/*
 * Meters: what the server counts about itself while it works, for GET /metrics. (A run's own measurements are its
 * metrics; these are not.)
 *
 * Everything is an atomic that grows; a meter costs its caller a few nanoseconds. They are the process's: there is one
 * server in it.
 *
 * Threads: any.
 */
#ifndef SERVER_MONITOR_METERS_H
#define SERVER_MONITOR_METERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

enum { METER_BOUNDS = 16, METER_ROUTES = 128, METER_CLASSES = 6 };

/* How often values fell between bounds. */
struct meter_histogram {
    const double *bounds; // (n) ascending
    size_t n;
    _Atomic uint64_t counts[METER_BOUNDS + 1]; // the last: above all bounds
    _Atomic uint64_t sum;                      // in millionths of the value's unit
};

/* X(NAME, text) why a run came to a state, coarsely: their number is bounded. */
#define METER_REASONS(X)                                                                           \
    X(NONE, "none")                                                                                \
    X(USER, "user")                                                                                \
    X(SERVER, "server")                                                                            \
    X(DIVERGENCE, "divergence")                                                                    \
    X(EARLY_STOP, "early_stop")                                                                    \
    X(OTHER, "other")
enum meter_reason {
#define X(name, text) METER_##name,
    METER_REASONS(X)
#undef X
        METER_REASONS_COUNT
};
extern const char *const meter_reason_text[METER_REASONS_COUNT];

struct meters {
    const double *http_bounds; // (n_http_bounds)
    size_t n_http_bounds;
    struct meter_histogram http[METER_ROUTES]
                               [METER_CLASSES]; // by route (the last: none) and status class
    struct meter_histogram queue_wait, step;    // s
    _Atomic uint64_t samples;                   // trained
    _Atomic uint64_t run_changes[RUN_STATES_COUNT][METER_REASONS_COUNT];
};
extern struct meters meters;

void meters_add(struct meter_histogram *histogram, double value, uint64_t times);
void meters_http(size_t route, int status, double seconds); // route: its place in the table
void meters_run(enum run_state state, const char *reason);  // it came to this state

#endif
