// SPDX-License-Identifier: Apache-2.0
/*
 * Random numbers for sweeps: number i of axis `axis` of a seed. Each is a function of these three,
 * the same on every machine: the counter streams of core/philox.h, and a logarithm and an
 * exponential made of + - * / alone. Any thread; no state.
 */
#ifndef TETRAD_DRAW_H
#define TETRAD_DRAW_H

#include <stdint.h>

struct tet_draw {
    uint64_t seed;
    uint32_t axis;
    uint64_t i;
};

/* tet_draw_uniform: low <= number <= high, all equally likely; low < high, both finite. */
double tet_draw_uniform(const struct tet_draw *draw, double low, double high);

/* tet_draw_log_uniform: its logarithm is uniform; 0 < low < high. */
double tet_draw_log_uniform(const struct tet_draw *draw, double low, double high);

/* tet_draw_integer: low..high, all equally likely; 0 <= low <= high <= 2^53. */
int64_t tet_draw_integer(const struct tet_draw *draw, int64_t low, int64_t high);

/* tet_draw_log_integer: a log-uniform number from low to high + 1, rounded down: k is drawn with
 * probability log((k + 1) / k) / log((high + 1) / low). 1 <= low <= high <= 2^53. */
int64_t tet_draw_log_integer(const struct tet_draw *draw, int64_t low, int64_t high);

#endif
