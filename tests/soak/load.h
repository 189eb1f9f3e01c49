// SPDX-License-Identifier: Apache-2.0
/* What the files of the load generator share: see load.c. */
#ifndef TESTS_SOAK_LOAD_H
#define TESTS_SOAK_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* fail: ends the program, with errno's text. */
void fail(const char *what) __attribute__((noreturn));
/* more: the list with room for one more than n. */
void *more(void *list, size_t n, size_t *capacity, size_t size);
double now(void);        // seconds, monotonic
int dial(uint16_t port); // a connected socket

/* ---- streams.c: those that listen ---- */
void streams_open(uint16_t port, size_t n, const char *types);
void streams_begin(int poll_fd); // after all are open
void streams_read(void *stream);
void streams_report(void);

/* ---- ask.c: those that ask ---- */
void ask_open(uint16_t port, int poll_fd);
void ask_command(char *line);
int ask_due(void); // asks what is due; ms until the next is
void ask_read(void *client);
void ask_report(void);

#endif
