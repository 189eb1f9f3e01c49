// SPDX-License-Identifier: Apache-2.0
/* Meters: see meters.h. */
#include "monitor/meters.h"

#include <math.h>
#include <string.h>

const char *const meter_reason_text[METER_REASONS_COUNT] = {
#define X(name, text) text,
    METER_REASONS(X)
#undef X
};

static const double http_bounds[] = {0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                     0.05,   0.1,    0.25,  0.5,    1.0,   2.5,  10.0};
static const double step_bounds[] = {0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01,
                                     0.03,    0.1,     0.3,    1.0,    3.0,   10.0};
static const double wait_bounds[] = {0.01, 0.1,    1.0,    10.0,    60.0,    300.0,
                                     900., 3600.0, 14400., 43200.0, 86400.0, 604800.0};
#define N(array) (sizeof(array) / sizeof *(array))
_Static_assert(N(http_bounds) <= METER_BOUNDS && N(wait_bounds) <= METER_BOUNDS, "");

struct meters meters = {.http_bounds = http_bounds,
                        .n_http_bounds = N(http_bounds),
                        .queue_wait = {.bounds = wait_bounds, .n = N(wait_bounds)},
                        .step = {.bounds = step_bounds, .n = N(step_bounds)}};

static void add(struct meter_histogram *h, const double *bounds, size_t n, double value,
                uint64_t times)
{
    size_t bucket = 0;
    while (bucket < n && value > bounds[bucket])
        bucket++;
    atomic_fetch_add_explicit(&h->counts[bucket], times, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum, (uint64_t)llround(value * 1e6 * (double)times),
                              memory_order_relaxed);
}

void meters_add(struct meter_histogram *h, double value, uint64_t times)
{
    if (value >= 0 && value < 1e12)
        add(h, h->bounds, h->n, value, times);
}

void meters_http(size_t route, int status, double seconds)
{
    const size_t class = status >= 100 && status < 600 ? (size_t)status / 100 : 0;
    struct meter_histogram *h =
        &meters.http[route < METER_ROUTES - 1 ? route : METER_ROUTES - 1][class];
    if (seconds < 0)
        return;
    add(h, http_bounds, N(http_bounds), seconds, 1);
}

static enum meter_reason sort(enum run_state state, const char *reason)
{
    if (state == RUN_DIVERGED)
        return METER_DIVERGENCE;
    if (reason == NULL)
        return METER_NONE;
    if (state == RUN_CANCELLED || strstr(reason, "by a user") != NULL)
        return METER_USER;
    if (state == RUN_QUEUED)
        return METER_SERVER;
    return strncmp(reason, "stopped early", strlen("stopped early")) == 0 ? METER_EARLY_STOP
                                                                          : METER_OTHER;
}

void meters_run(enum run_state state, const char *reason)
{
    atomic_fetch_add_explicit(&meters.run_changes[state][sort(state, reason)], 1,
                              memory_order_relaxed);
}
