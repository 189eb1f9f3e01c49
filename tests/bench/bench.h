// SPDX-License-Identifier: Apache-2.0
/*
 * What the programs that are measured share: options, clocks, random bytes, and windows. A window
 * is a whole number of training steps that is timed as one; a program's rate is the median of its
 * windows.
 */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    exit(1);
}

static inline double seconds_now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void *allocate(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (p == NULL)
        die("no memory for %zu bytes", bytes);
    memset(p, 0, (bytes + 63) / 64 * 64);
    return p;
}

/* ---- options ---- */

enum { MAX_WINDOWS = 99 };

struct options {
    const char *rule;
    const char *network; // in the language of network.h
    uint32_t batch, threads, examples;
    uint32_t record;  // steps between records of alignment, 0: none
    uint32_t windows; // whose median counts
    uint64_t steps;   // train just so many, without a clock; 0: by the clock
    bool identity;    // initial weights, in place of random ones
    double momentum, seconds;
};

static inline double number_of(const char *option, const char *text, double least, double most)
{
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least && value <= most))
        die("%s %s: expected a number from %g to %g", option, text, least, most);
    return value;
}

/* Options with their values, from argv[first] on. */
static inline struct options read_options(int argc, char **argv, int first)
{
    struct options o = {.rule = "bp",
                        .network = "784,256,256,10",
                        .batch = 64,
                        .threads = 1,
                        .examples = 10000,
                        .windows = 7,
                        .momentum = 0.9,
                        .seconds = 1.0};
    for (int i = first; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(name, "--rule") == 0)
            o.rule = value;
        else if (strcmp(name, "--network") == 0)
            o.network = value;
        else if (strcmp(name, "--init") == 0 &&
                 (strcmp(value, "normal") == 0 || strcmp(value, "identity") == 0))
            o.identity = strcmp(value, "identity") == 0;
        else if (strcmp(name, "--batch") == 0)
            o.batch = (uint32_t)number_of(name, value, 1, 1 << 16);
        else if (strcmp(name, "--threads") == 0)
            o.threads = (uint32_t)number_of(name, value, 1, 64);
        else if (strcmp(name, "--examples") == 0)
            o.examples = (uint32_t)number_of(name, value, 1, 1e6);
        else if (strcmp(name, "--record") == 0)
            o.record = (uint32_t)number_of(name, value, 0, 1e9);
        else if (strcmp(name, "--windows") == 0)
            o.windows = (uint32_t)number_of(name, value, 1, MAX_WINDOWS);
        else if (strcmp(name, "--steps") == 0)
            o.steps = (uint64_t)number_of(name, value, 0, 1e15);
        else if (strcmp(name, "--momentum") == 0)
            o.momentum = number_of(name, value, 0, 1);
        else if (strcmp(name, "--seconds") == 0)
            o.seconds = number_of(name, value, 1e-3, 1e5);
        else
            die("unknown option %s %s; there are --rule --network --batch --threads --examples "
                "--record --windows --steps --momentum --seconds --init",
                name, value);
    }
    o.examples = o.examples > o.batch ? o.examples / o.batch * o.batch : o.batch;
    return o;
}

/* ---- data ---- */

/* The next number of a stream (splitmix64). */
static inline uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Random bytes (examples, inputs) and labels (examples). */
static inline void draw_examples(uint32_t examples, uint32_t inputs, uint32_t outputs,
                                 uint8_t **bytes, int32_t **labels)
{
    const size_t n = (size_t)examples * inputs;
    uint64_t state = 1;
    *bytes = allocate(n + 8);
    *labels = allocate(examples * sizeof **labels);
    for (size_t i = 0; i < n; i += 8) {
        const uint64_t eight = draw(&state);
        memcpy(*bytes + i, &eight, 8);
    }
    for (uint32_t i = 0; i < examples; i++)
        (*labels)[i] = (int32_t)(draw(&state) % outputs);
}

/* ---- windows ---- */

/* Trains n steps; returns the seconds in it that do not count. */
typedef double train_fn(void *context, uint64_t n);

struct rate {
    uint64_t steps;           // of a window
    double median, low, high; // seconds per step
    double busy; // processor time over the windows' time and threads: 1 where nobody else ran
};

static inline int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The steps of a window: trains, twice as much every time, until a fifth of the time is over. The
 * first step meets cold memory and does not tell, unless it takes all the time alone. */
static inline uint64_t warm_up(const struct options *o, train_fn *train, void *context)
{
    const double start = seconds_now(CLOCK_MONOTONIC);
    double now = start, per_step = 0.0;
    for (uint64_t n = 1; now - start < (n <= 2 ? 1.0 : 0.2) * o->seconds; n *= 2) {
        const double skipped = train(context, n), end = seconds_now(CLOCK_MONOTONIC);
        per_step = (end - now - skipped) / (double)n;
        now = end;
    }
    const uint64_t steps = (uint64_t)(o->seconds / o->windows / fmax(per_step, 1e-9)) + 1;
    const uint64_t whole = o->record > 0 ? o->record : 1; // as many records in every window
    return (steps + whole - 1) / whole * whole;
}

static inline struct rate measure(const struct options *o, train_fn *train, void *context)
{
    double window[MAX_WINDOWS], busy[MAX_WINDOWS];
    struct rate rate = {.steps = warm_up(o, train, context)};
    for (uint32_t i = 0; i < o->windows; i++) {
        const double start = seconds_now(CLOCK_MONOTONIC);
        const double used = seconds_now(CLOCK_PROCESS_CPUTIME_ID);
        const double skipped = train(context, rate.steps);
        const double taken = seconds_now(CLOCK_MONOTONIC) - start;
        busy[i] = (seconds_now(CLOCK_PROCESS_CPUTIME_ID) - used) / taken / o->threads;
        window[i] = (taken - skipped) / (double)rate.steps;
    }
    qsort(window, o->windows, sizeof *window, compare_doubles);
    qsort(busy, o->windows, sizeof *busy, compare_doubles);
    rate.median = (window[(o->windows - 1) / 2] + window[o->windows / 2]) / 2.0;
    rate.low = window[0];
    rate.high = window[o->windows - 1];
    rate.busy = busy[o->windows / 2];
    return rate;
}

/* ---- output ---- */

/* What every program says of itself and of its rate, as the beginning of a JSON object. */
static inline void print_rate(const char *program, const struct options *o, const struct rate *r)
{
    printf("{\"program\": \"%s\", \"compiler\": \"%s\", \"rule\": \"%s\", \"network\": \"%s\", "
           "\"batch\": %u, \"threads\": %u, \"momentum\": %g, \"windows\": %u, "
           "\"steps_per_window\": %llu, \"seconds_per_step\": %.9g, \"samples_per_s\": %.6g, "
           "\"samples_per_s_min\": %.6g, \"samples_per_s_max\": %.6g, \"busy\": %.4f",
           program, __VERSION__, o->rule, o->network, o->batch, o->threads, o->momentum, o->windows,
           (unsigned long long)r->steps, r->median, o->batch / r->median, o->batch / r->high,
           o->batch / r->low, r->busy);
}

#endif
