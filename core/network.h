// SPDX-License-Identifier: Apache-2.0
/*
 * A network: its arrays, carved out of one allocation, and the products that the rules are made of.
 *
 * Letters (circuit.md): l = 1..L stages, d_l ascending and e_l descending widths, N examples at
 * hand. The mean over the batch, < a b^T >, is had by dividing the teaching signal s_L by N: every
 * drive has exactly one factor that descends from it, so that sums over the batch are means.
 */
#ifndef CORE_NETWORK_H
#define CORE_NETWORK_H

#include <tetrad/plan.h>

#include "kernels/kernels.h"

enum { TET_LAYERS = TET_MAX_HIDDEN + 2 }; // with the input and the output

struct tet_rule;

struct tet_net {
    const struct tet_kernels *kernels;
    const struct tet_rule *rule;
    struct tet_plan plan;
    uint32_t L;
    uint32_t d[TET_LAYERS]; // d_0..d_L
    uint32_t e[TET_LAYERS]; // e_1..e_L
    size_t n;               // examples at hand
    size_t capacity;        // examples there is room for
    float rate;             // factor on the learning rates in this epoch

    /* Activities: row-major, stride tet_stride(width). */
    float *x[TET_LAYERS]; // (N, d_l), l = 0..L; x_L = z_L
    float *s[TET_LAYERS]; // (N, e_l), l = 1..L
    float *m[TET_LAYERS]; // (N, d_l), l = 1..L; the same array as s_l where they are equal
    float *u[TET_LAYERS]; // (N, e_l), hidden; sal

    float *b[TET_LAYERS];                        // (d_l) biases, l = 1..L
    struct tet_packed p[TET_GROUPS][TET_LAYERS]; // W_1..L, B_2..L, V_1..L-1, U_1..L-1

    /* Scratch of the backward product (bp, and telemetry): signals with the batch along the row. */
    float *transposed[2]; // (max d, N)
    /* Scratch of telemetry. */
    float *signal[2]; // (N, max d) backpropagated signals of two layers
    float *block[3];  // (max(d, e), 64) or (64, max(d, e))
    float *corner;    // (64, 64)
};

/* tet_net_layout: sizes of every array for the plan. With base NULL only counts; otherwise sets the
 * pointers into base, which must be aligned to 64 and zeroed. Returns the bytes. */
size_t tet_net_layout(struct tet_net *net, const struct tet_plan *plan,
                      const struct tet_shape *shape, char *base);

/* tet_net_draw: initial weights, by streams (seed, group, layer); biases 0. */
void tet_net_draw(struct tet_net *net);

/* Which layers group g has arrays for: first..last, first > last where it has none. */
void tet_net_range(const struct tet_net *net, enum tet_group g, uint32_t *first, uint32_t *last);

/* tet_net_pack, tet_net_unpack: row-major (rows, columns) values into and out of panels. */
void tet_net_pack(const struct tet_packed *shape, float *packed, const float *values);
void tet_net_unpack(const struct tet_packed *shape, const float *packed, float *values);

/* What follows is run by every rank of a team on its share. Activities are whole for all ranks when
 * a function returns; changes of synapses are whole at the next tet_team_sync. */
void tet_net_ascend(struct tet_net *net, const struct tet_rank *rank); // x_0 to x_1..x_L

/* tet_net_carry: y (N, R) = x (N, C) P^T, then the gate of hidden layer `gate_layer` (0: none),
 * whose width is R. */
void tet_net_carry(struct tet_net *net, const struct tet_rank *rank, const struct tet_packed *p,
                   const float *x, float *y, uint32_t gate_layer);

/* tet_net_backpropagate: y (N, d_l) = phi'(z_l) * (above (N, d_{l+1}) W_{l+1}) */
void tet_net_backpropagate(struct tet_net *net, const struct tet_rank *rank, uint32_t l,
                           const float *above, float *y);

void tet_net_gate(struct tet_net *net, const struct tet_rank *rank, uint32_t l, const float *s,
                  float *y); // y = phi'(z_l) * s, (N, d_l)

/* tet_net_change: P of group g, layer l, by < a x^T > with the group's rate, decay and momentum;
 * nothing if it is frozen. a (N, R), x (N, C). */
void tet_net_change(struct tet_net *net, const struct tet_rank *rank, enum tet_group g, uint32_t l,
                    const float *a, const float *x);

/* tet_net_change_ascending: W_l and b_l for all l, from m_l and x_{l-1}: what all rules share. */
void tet_net_change_ascending(struct tet_net *net, const struct tet_rank *rank);

#endif
