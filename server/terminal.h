// SPDX-License-Identifier: Apache-2.0
/* Progress on a terminal: one line that is redrawn; on anything else, plain lines now and then.
 * Threads: one for each. */
#ifndef SERVER_TERMINAL_H
#define SERVER_TERMINAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct progress_line {
    const char *title; // "run 3 of 6, sal"
    uint64_t step, steps;
    uint32_t epoch, epochs;    // epochs: 0 where the line speaks of several runs
    double samples_per_second; // 0: unknown
    double seconds_left;       // negative: unknown
    double loss;               // NaN: unknown
    double accuracy;           // of the last epoch, test if there is one; NaN: unknown
};

struct terminal {
    FILE *out;
    bool live; // it is a terminal that can redraw a line
    int columns;
    uint32_t last_percent;
    char last_title[64];
    double first_time; // for whoever measures a rate over the line's life; 0 at the beginning
    uint64_t first_step;
};

void terminal_begin(struct terminal *terminal, FILE *out);
/* terminal_show: redraws the line; without a terminal prints a line at each tenth of the way. */
void terminal_show(struct terminal *terminal, const struct progress_line *line);
/* terminal_say: prints whole lines above the one that is redrawn. */
void terminal_say(struct terminal *terminal, const char *lines);
void terminal_end(struct terminal *terminal); // leaves the line as it is and goes to the next

/* faults_print: the faults of a definition, a line each; details may be NULL. */
void faults_print(FILE *out, const json_t *details);

#endif
