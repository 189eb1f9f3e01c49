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
struct tet_stream;

/* Values besides the weights that a run needs to go on: an array of a checkpoint, "state/NAME". */
enum { TET_STATES = 16 };
struct tet_state {
    const char *name; // static, at most 17 characters
    float *values;
    uint64_t n;
};

/* How a layer's activities lie. A dense layer's are rows, (N, d_l); a convolutional layer's are
 * volumes, on the grid of z_l and, behind the pooling, on that of x_l. */
struct tet_layer {
    bool image;                      // a convolution leads to it
    enum tet_pool pool;              // TET_POOL_NONE for dense layers
    struct tet_window window;        // of the convolution
    struct tet_window pooling, z, x; // of the pooling; of laterals, which are 1 x 1, on either grid
    size_t positions;                // of x_l; 1 for dense layers
    struct tet_volume z_d, z_e;      // m_l and s_l: d_l and e_l channels on the grid of z_l
    struct tet_volume a;             // phi(z_l): as z_d, with the padding of x where not pooled
    struct tet_volume x_d, x_e;      // x_l and u_l, with the padding that layer l+1 looks at
};

struct tet_net {
    const struct tet_kernels *kernels;
    struct tet_team *team; // NULL: one thread
    const struct tet_rule *rule;
    struct tet_plan plan;
    uint32_t L;
    uint32_t d[TET_LAYERS]; // d_0..d_L; channels of convolutional layers, and of the image below
    uint32_t e[TET_LAYERS]; // e_1..e_L; likewise
    struct tet_layer layer[TET_LAYERS];
    size_t n;        // examples at hand
    size_t capacity; // examples there is room for
    float rate;      // factor on the learning rates in this epoch
    uint64_t step;   // mini-batches before this one

    /* Activities of dense layers: row-major, stride tet_stride(width). x_l and u_l are what layer
     * l+1 sees: volumes where it is a convolution, otherwise rows, an image flattened. */
    float *x[TET_LAYERS];     // (N, d_l), l = 0..L; x_L = z_L
    float *a[TET_LAYERS];     // phi(z_l), before the pooling: what V_l and U_l learn from
    float *image[TET_LAYERS]; // x_l as a volume; convolutional layers
    float *s[TET_LAYERS];     // (N, e_l), l = 1..L
    float *m[TET_LAYERS];     // (N, d_l), l = 1..L; the same array as s_l where they are equal
    float *u[TET_LAYERS];     // (N, e_l), hidden; sal

    float *b[TET_LAYERS];                        // (d_l) biases, l = 1..L
    struct tet_packed p[TET_GROUPS][TET_LAYERS]; // W_1..L, B_2..L, V_1..L-1, U_1..L-1
    /* Which synapses of a sparse group are there: bit i of word k stands for value 16 k + i of the
     * packed weights. NULL: all are. */
    uint16_t *mask[TET_GROUPS][TET_LAYERS];
    /* What interventions change: see interventions.h. */
    bool plastic[TET_GROUPS][TET_LAYERS]; // the synapses learn; W: and the biases
    float factor[TET_GROUPS];             // on the group's learning rate
    uint8_t *alive[2][TET_LAYERS];      // (d_l), (e_l): 0 for a silenced neuron; NULL: none can be
    float *shuffled;                    // scratch: the values of an array on their way
    struct tet_state state[TET_STATES]; // n_states of them
    uint32_t n_states;
    /* What carries s_l down, l = 2..L: B_l itself, or scratch of its shape where the rule forms it
     * from W_l; w NULL for bp. */
    struct tet_packed feedback[TET_LAYERS];

    float *staged; // (N, inputs) examples on their way into x_0; x_0 itself unless that is a volume
    /* Scratch of the way down: rows, and a volume on the grid of x_l. */
    float *flat;  // (N, e_l * positions), where a dense layer is above a convolutional one
    float *below; // pooled, or about to be flattened
    /* Scratch of the backward product (bp, and telemetry): signals with the batch along the row. */
    float *transposed[2]; // (max d_{l+1}, N), (max d_l, N) of dense layers l+1
    float *half_normal;   // (TET_QUANTILES): rules/signs.h; brsf
    /* Scratch of telemetry. */
    float *signal[2]; // (N, max d) backpropagated signals of two layers
    float *block[3];  // (max(d, e), 64) or (64, max(d, e))
    float *corner;    // (64, 64)
    float *reached;   // (2 (L - 1)) state: whether alignment/modulation was 0.5, 0.9 at layer l
    double *gram;     // of activities: (3 n^2 + 3 n), n examples that ranks look at
    double *spectrum; // (d^2 + 3 d), the widest d_l
    struct tet_synapse trace[TET_MAX_TRACES]; // n_traces that are followed
    uint32_t n_traces;
};

/* Whether synapse (r, c) of P is there. */
static inline bool tet_net_is_there(const struct tet_net *net, enum tet_group g, uint32_t l,
                                    size_t r, size_t c)
{
    const struct tet_packed *p = &net->p[g][l];
    const size_t at = tet_packed_at(p->rows, p->columns, r, c);
    const uint16_t *mask = net->mask[g][l];
    return mask == NULL || ((unsigned)mask[at / TET_LANES] >> at % TET_LANES & 1u) != 0;
}

/* Width of x_l as layer l+1 sees it if it is dense; of u_l likewise. */
static inline size_t tet_net_width(const struct tet_net *net, uint32_t l)
{
    return net->d[l] * net->layer[l].positions;
}

/* Taps of the kernels that lead to layer l: 1 if it is dense. */
static inline uint32_t tet_net_taps(const struct tet_net *net, uint32_t l)
{
    const uint32_t k = net->layer[l].window.kernel;
    return net->layer[l].image ? k * k : 1;
}

/* tet_net_layout: sizes of every array for the plan. With base NULL only counts; otherwise sets the
 * pointers into base, which must be aligned to 64 and zeroed, and draws the wiring, which is not part
 * of a checkpoint. Returns the bytes. */
size_t tet_net_layout(struct tet_net *net, const struct tet_plan *plan,
                      const struct tet_shape *shape, char *base);

/* tet_net_wire: the mask of P as it is at the start, by stream (seed, group, layer). P has one. */
void tet_net_wire(struct tet_net *net, enum tet_group g, uint32_t l);

/* tet_net_draw: initial weights, by streams (seed, group, layer); biases 0. */
void tet_net_draw(struct tet_net *net);

/* tet_net_draw_values: initial values of P from a stream, whether a synapse is there or not. */
void tet_net_draw_values(struct tet_net *net, enum tet_group g, uint32_t l,
                         const struct tet_stream *stream);

/* Which layers group g has arrays for: first..last, first > last where it has none. */
void tet_net_range(const struct tet_net *net, enum tet_group g, uint32_t *first, uint32_t *last);

/* tet_net_spread: of the initial values of W_l, with the group's scale; l = 1..L. */
double tet_net_spread(const struct tet_net *net, uint32_t l);

/* tet_net_pack, tet_net_unpack: row-major (rows, columns) values into and out of panels. */
void tet_net_pack(const struct tet_packed *shape, float *packed, const float *values);
void tet_net_unpack(const struct tet_packed *shape, const float *packed, float *values);

/* ---- stages.c: what flows through a stage, by all threads of the team ---- */

void tet_net_ascend(struct tet_net *net); // staged to x_1..x_L

/* tet_net_descend: s_l from s_{l+1} through the feedback of stage l+1, and the gate if the plan has
 * it. */
void tet_net_descend(struct tet_net *net, uint32_t l);

/* tet_net_modulate: m_l = g_l * (V_l s_l). */
void tet_net_modulate(struct tet_net *net, uint32_t l);

/* tet_net_instruct: u_l = U_l x_l. */
void tet_net_instruct(struct tet_net *net, uint32_t l);

/* tet_net_backpropagate: y = phi'(z_l) * (above W_{l+1}), on the grid of z_l. */
void tet_net_backpropagate(struct tet_net *net, uint32_t l, const float *above, float *y);

void tet_net_gate(struct tet_net *net, uint32_t l, const float *s,
                  float *y); // y = phi'(z_l) * s, both as m_l

/* tet_net_change: P of group g, layer l, by < a x^T > with the group's rate, decay and momentum;
 * nothing if it is frozen. a and x: what P's rows and columns stand for: W m_l, x_{l-1}; B u_{l-1}
 * or x_{l-1}, s_l; V a_l, s_l; U s_l, a_l. */
void tet_net_change(struct tet_net *net, enum tet_group g, uint32_t l, const float *a,
                    const float *x);

/* tet_net_cut: sets the weights and velocities of P that the wiring leaves out to 0; by all threads. */
void tet_net_cut(struct tet_net *net, enum tet_group g, uint32_t l);

/* tet_net_change_ascending: W_l and b_l for all l, from m_l and x_{l-1}: what all rules share. */
void tet_net_change_ascending(struct tet_net *net);

#endif
