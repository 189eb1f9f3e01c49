// SPDX-License-Identifier: Apache-2.0
/* The clocks of faults.c. Waits with a deadline look at these clocks too, as the kernel's do at its own. */
#ifndef TESTS_FAULTS_CLOCK_H
#define TESTS_FAULTS_CLOCK_H

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/time.h>
#include <time.h>

#include "faults_control.h"

enum { SLICE_NS = 10000000 };

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int real_clock(clockid_t id, struct timespec *t)
{
    static int (*next)(clockid_t, struct timespec *);
    if (next == NULL)
        next = NEXT(clock_gettime);
    return next(id, t);
}

static int64_t ns_of(const struct timespec *t)
{
    return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static struct timespec time_of(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    const int rc = real_clock(id, t);
    if (rc != 0 || control == NULL || control->clock == 0)
        return rc;
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)
        *t =
            time_of(control->stopped_ns != 0 ? control->stopped_ns : ns_of(t) + control->offset_ns);
    else if (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE || id == CLOCK_BOOTTIME)
        *t = time_of(control->paused_ns != 0 ? control->paused_ns : ns_of(t) - control->behind_ns);
    return rc;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    const int rc = clock_gettime(CLOCK_REALTIME, &now);
    *t = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return rc;
}

time_t time(time_t *t)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t != NULL)
        *t = now.tv_sec;
    return now.tv_sec;
}

int pthread_cond_clockwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           clockid_t id, const struct timespec *restrict until)
{
    static int (*next)(pthread_cond_t *restrict, pthread_mutex_t *restrict, clockid_t,
                       const struct timespec *restrict);
    struct timespec now;
    int rc = ETIMEDOUT;
    if (next == NULL)
        next = NEXT(pthread_cond_clockwait);
    if (control == NULL || control->clock == 0)
        return next(cond, mutex, id, until);
    while (rc == ETIMEDOUT && clock_gettime(id, &now) == 0 && ns_of(&now) < ns_of(until)) {
        const int64_t left = ns_of(until) - ns_of(&now);
        real_clock(CLOCK_MONOTONIC, &now);
        const struct timespec slice = time_of(ns_of(&now) + (left < SLICE_NS ? left : SLICE_NS));
        rc = next(cond, mutex, CLOCK_MONOTONIC, &slice);
    }
    return rc;
}

/* glibc keeps a condition variable's clock in bit 1 of __wrefs (nptl/pthread_cond_common.c). */
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    const clockid_t id = cond->__data.__wrefs & 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
    return pthread_cond_clockwait(cond, mutex, id, until);
}

#endif
