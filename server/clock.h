// SPDX-License-Identifier: Apache-2.0
/* The steady clock: it goes evenly whatever the time of day is set to. Durations, deadlines, and nothing that is
 * shown. Threads: any. */
#ifndef SERVER_CLOCK_H
#define SERVER_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

int64_t clock_ms(void);
double clock_s(void);

/* clock_in: the moment so many milliseconds from now, for waits at a condition of clock_cond. */
void clock_in(struct timespec *until, int64_t ms);
void clock_cond(pthread_cond_t *cond); // pthread_cond_init, for deadlines by this clock

#endif
