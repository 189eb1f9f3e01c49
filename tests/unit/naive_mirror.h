// SPDX-License-Identifier: Apache-2.0
/* The noise of wm's mirror phases once more, for the naive networks, dense and convolutional. */
#ifndef TESTS_NAIVE_MIRROR_H
#define TESTS_NAIVE_MIRROR_H

#include <tetrad/plan.h>

#include "philox.h"

/* Value u of example n of a batch of the run's noise into layer l, which has `width` values: blocks
 * of four numbers, as many as hold one for each value. */
static inline double naive_noise(const struct tet_plan *plan, uint32_t l, uint64_t batch,
                                 uint32_t n, uint32_t width, uint32_t u)
{
    const struct tet_stream stream = tet_stream_make(plan->seed, TET_STREAM_MIRROR, l);
    const uint64_t number = (batch * plan->batch + n) * ((width + 3) / 4) * 4 + u;
    return (double)plan->mirror.noise * tet_normal_from_u32(tet_stream_u32(&stream, number));
}

/* How many batches of noise come before a mini-batch, and in *first the number of the first. */
static inline uint32_t naive_phase(const struct tet_plan *plan, uint64_t step, uint64_t *first)
{
    *first = step / plan->mirror.every * plan->mirror.batches;
    return plan->rule == TET_RULE_WM && plan->group[TET_B].plastic && step % plan->mirror.every == 0
               ? plan->mirror.batches
               : 0;
}

/* The factor on the rates in the epoch that a mini-batch belongs to. */
static inline double naive_rate(const struct tet_plan *plan, uint64_t step)
{
    return tet_plan_rate(plan, (uint32_t)(step / tet_plan_steps_per_epoch(plan)));
}

#endif
