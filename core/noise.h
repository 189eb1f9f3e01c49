// SPDX-License-Identifier: Apache-2.0
/*
 * Normal noise on activities, on the teaching signal and on synapses, while a mini-batch is trained
 * on.
 *
 * A number comes from a table of the normal distribution's quantiles, twelve bits for each: one by
 * tet_normal_from_u32 would take ten times as long. The largest is 3.68 standard deviations. A
 * block of a stream has eight numbers. They are taken in lines, the blocks of a line numbered by
 * mini-batch and line, so that no state has to be kept and any thread may draw any line:
 *
 *     dense activities, s_L    a line for each example there is room for, number i: neuron i
 *     images                   a line for each (channel, row, column), number i: example i
 *     synapses                 a line for each column of a matrix, number i: row i
 *
 * Block (step * lines + line) * blocks + i / 8, word i % 8 / 2 of it, the upper twelve bits of the
 * upper half for even i, of the lower half for odd; blocks: of a line, an even number.
 */
#ifndef CORE_NOISE_H
#define CORE_NOISE_H

#include "network.h"

enum { TET_NORMALS = 4096 };

/* tet_noise_table: out[q] = the standard normal quantile (q + 1/2) / TET_NORMALS, over the root
 * mean square of them all: their standard deviation is 1. */
void tet_noise_table(float *out);

/* Whether noise is added to z_l of the mini-batch at hand. */
static inline bool tet_noise_is_in(const struct tet_net *net, uint32_t l)
{
    return net->learning && net->plan.noise.activity > 0.0f && l < net->L;
}

/* tet_noise_activity: from z_l to phi(z_l + noise), in x_l or, before the pooling, in a_l; nothing
 * where there is none. */
void tet_noise_activity(struct tet_net *net, uint32_t l);

/* tet_noise_teaching: s_L + noise / N. */
void tet_noise_teaching(struct tet_net *net);

/* tet_noise_synapses: adds to P of group g, layer l; not to its velocity. */
void tet_noise_synapses(struct tet_net *net, enum tet_group g, uint32_t l);

#endif
