// SPDX-License-Identifier: Apache-2.0
/* The sign-concordant rules once more in double, for the naive networks, dense and
 * convolutional. */
#ifndef TESTS_NAIVE_SIGNS_H
#define TESTS_NAIVE_SIGNS_H

#include <math.h>

#include <tetrad/plan.h>

#include "philox.h"

static inline bool naive_is_signs(enum tet_rule_name rule)
{
    return rule == TET_RULE_USF || rule == TET_RULE_FRSF || rule == TET_RULE_BRSF;
}

/* Whether it has synapses B. */
static inline bool naive_has_feedback(enum tet_rule_name rule)
{
    return rule != TET_RULE_BP && rule != TET_RULE_USF && rule != TET_RULE_BRSF &&
           rule != TET_RULE_DFA;
}

/* |R| of brsf for row r of a column of a matrix with so many rows and columns: eight rows share a
 * block of the stream, each has 12 bits, the middle of one of 4096 parts of the half-normal. */
static inline double naive_magnitude(uint64_t seed, uint32_t l, uint64_t step, uint32_t rows,
                                     uint32_t columns, uint32_t r, uint32_t column)
{
    const struct tet_stream stream = tet_stream_make(seed, TET_STREAM_MAGNITUDES, l);
    const uint64_t blocks = ((uint64_t)rows + 15) / 16 * 2;
    const uint64_t number = ((step * columns + column) * blocks + r / 8) * 4 + r % 8 / 2;
    const uint32_t word = tet_stream_u32(&stream, number);
    const uint32_t part = r % 2 == 0 ? word >> 20 : (word >> 4) % 4096;
    return tet_normal_from_u32(0x80000000u + part * 0x80000u + 0x40000u);
}

/* The synapse (r, column) of the feedback of stage l, that W's `w` and B's `b` belong to. */
static inline double naive_signed(const struct tet_plan *plan, uint32_t l, bool output,
                                  uint64_t step, uint32_t rows, uint32_t columns, double in,
                                  double out, uint32_t r, uint32_t column, double w, double b)
{
    const double sign = w > 0.0 ? 1.0 : w < 0.0 ? -1.0 : 0.0, both = sqrt(2.0 / (in + out));
    const bool relu = plan->hidden[output ? l - 2 : l - 1].activation == TET_RELU;
    const double spread = (double)plan->group[TET_W].scale * (relu ? sqrt(2.0 / in) : both);
    if (plan->rule == TET_RULE_USF)
        return sign * both;
    if (plan->rule == TET_RULE_FRSF)
        return sign * fabs(b);
    return sign * spread * naive_magnitude(plan->seed, l, step, rows, columns, r, column);
}

#endif
