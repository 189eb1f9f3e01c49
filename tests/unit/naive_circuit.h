// SPDX-License-Identifier: Apache-2.0
/* Wiring, signs and noise once more in double, for the naive networks, dense and convolutional. */
#ifndef TESTS_NAIVE_CIRCUIT_H
#define TESTS_NAIVE_CIRCUIT_H

#include <math.h>

#include <tetrad/plan.h>

#include "philox.h"

/* The mini-batch at hand. */
static struct {
    bool learning;
    uint64_t step; // mini-batches before it
} naive;

static inline double naive_share(const struct tet_plan *plan, unsigned purpose, uint32_t l,
                                 uint64_t i)
{
    const struct tet_stream stream = tet_stream_make(plan->seed, purpose, l);
    return ((double)tet_stream_u32(&stream, i) + 0.5) / 4294967296.0;
}

/* Whether the wiring of group g leaves out its i-th pair of neurons, row by row. */
static inline bool naive_is_absent(const struct tet_plan *plan, int g, uint32_t l, uint64_t i)
{
    const double probability = (double)plan->group[g].probability;
    const unsigned purpose = g == TET_D ? 14 : 8 + (unsigned)g;
    return probability > 0.0 && naive_share(plan, purpose, l, i) >= probability;
}

/* +1 or -1 of a presynaptic neuron of group g under Dale's rule, otherwise 0. */
static inline int naive_sign(const struct tet_plan *plan, int g, uint32_t l, uint64_t neuron)
{
    const double excitatory = (double)plan->group[g].excitatory;
    if (excitatory == 0.0)
        return 0;
    return naive_share(plan, 16 + (unsigned)g, l, neuron) < excitatory ? 1 : -1;
}

/* Number i of a line of noise: see core/noise.h. The middles of 4096 parts of equal probability,
 * their mean square made 1. */
static inline double naive_normal(const struct tet_plan *plan, unsigned purpose, uint32_t l,
                                  uint64_t lines, uint64_t line, uint64_t numbers, uint64_t i)
{
    static double squares;
    for (uint32_t part = 0; part < 4096 && (part > 0 || squares == 0.0); part++) {
        const double z = tet_normal_from_u32(part * 0x100000u + 0x80000u);
        squares += z * z;
    }
    const struct tet_stream stream = tet_stream_make(plan->seed, purpose, l);
    const uint64_t blocks = (numbers + 15) / 16 * 2;
    const uint64_t block = (naive.step * lines + line) * blocks + i / 8;
    const uint32_t word = tet_stream_u32(&stream, block * 4 + i % 8 / 2);
    const uint32_t part = i % 2 == 0 ? word >> 20 : (word >> 4) % 4096;
    return tet_normal_from_u32(part * 0x100000u + 0x80000u) / sqrt(squares / 4096.0);
}

static inline double naive_activity_noise(const struct tet_plan *plan, uint32_t l, uint64_t lines,
                                          uint64_t line, uint64_t numbers, uint64_t i)
{
    const double sd = (double)plan->noise.activity;
    if (!naive.learning || sd == 0.0 || l > plan->n_hidden)
        return 0.0;
    return sd * naive_normal(plan, 21, l, lines, line, numbers, i);
}

/* A weight of group g, (row, column) of (rows, columns), that comes from `neuron`, once it has been
 * changed to p. */
static inline double naive_settled(const struct tet_plan *plan, int g, uint32_t l, uint32_t rows,
                                   uint32_t columns, uint32_t row, uint32_t column, uint32_t neuron,
                                   double p)
{
    const double sd = (double)plan->noise.synapses;
    if (sd > 0.0 && !(g == TET_B && plan->rule == TET_RULE_WM))
        p += sd * naive_normal(plan, 23 + (unsigned)g, l, columns, column, rows, row);
    return naive_sign(plan, g, l, neuron) * p < 0.0 ? 0.0 : p;
}

#endif
