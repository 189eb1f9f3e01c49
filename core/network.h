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

/* Of a new mini-batch in the running mean of powers, which begins with the first one's. */
#define TET_POWER_SHARE 0.0625f
/* Rates are never raised: a stage that sees little may be near silence. */
#define TET_LEAST_POWER 1.0f

struct tet_rule;
struct tet_stream;

/* Values besides the weights that a run needs to go on: an array of a checkpoint, "state/NAME". */
enum { TET_STATES = 16 + TET_MAX_DELAY };
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

/* Looks on while a rule works: called around every update of an array that the rule makes, with the
 * array. See audit.c. */
struct tet_watch {
    void (*look)(struct tet_watch *watch, const float *updated, bool before);
};

struct tet_net {
    const struct tet_kernels *kernels;
    struct tet_watch *watch; // NULL: nobody looks
    struct tet_team *team;   // NULL: one thread
    const struct tet_rule *rule;
    struct tet_plan plan;
    uint32_t L;
    uint32_t d[TET_LAYERS]; // d_0..d_L; channels of convolutional layers, and of the image below
    uint32_t e[TET_LAYERS]; // e_1..e_L; likewise
    struct tet_layer layer[TET_LAYERS];
    size_t n;                       // examples at hand
    size_t capacity;                // examples there is room for
    float rate;                     // factor on the learning rates in this epoch
    float stage_factor[TET_LAYERS]; // and on those of stage l = 1..L in this mini-batch
    uint64_t step;                  // mini-batches before this one
    bool learning;                  // whether it is trained on: only then are its activities noisy

    /* Activities of dense layers: row-major, stride tet_stride(width). x_l and u_l are what layer
     * l+1 sees: volumes where it is a convolution, otherwise rows, an image flattened. */
    float *x[TET_LAYERS];     // (N, d_l), l = 0..L; x_L = z_L
    float *a[TET_LAYERS];     // phi(z_l), before the pooling: what V_l and U_l learn from
    float *image[TET_LAYERS]; // x_l as a volume; convolutional layers
    float *s[TET_LAYERS];     // (N, e_l), l = 1..L
    float *m[TET_LAYERS];     // (N, d_l), l = 1..L; the same array as s_l where they are equal
    float *u[TET_LAYERS];     // (N, e_l), hidden; sal

    float *b[TET_LAYERS];                        // (d_l) biases, l = 1..L
    struct tet_packed p[TET_GROUPS][TET_LAYERS]; // W_1..L, B_2..L, V_1..L-1, U_1..L-1, D_1..L-1
    /* Which synapses of a sparse group are there: bit i of word k stands for value 16 k + i of the
     * packed weights. NULL: all are. */
    uint16_t *mask[TET_GROUPS][TET_LAYERS];
    /* (C) of a group under Dale's rule: +1 or -1, the sign of the neuron that a column comes from.
     * NULL: no such rule. */
    float *sign[TET_GROUPS][TET_LAYERS];
    /* What interventions change: see interventions.h. */
    bool plastic[TET_GROUPS][TET_LAYERS]; // the synapses learn; W: and the biases
    float group_factor[TET_GROUPS];       // on the group's learning rate, from then on
    uint8_t *alive[2][TET_LAYERS];      // (d_l), (e_l): 0 for a silenced neuron; NULL: none can be
    float *shuffled;                    // scratch: the values of an array on their way
    struct tet_state state[TET_STATES]; // n_states of them
    uint32_t n_states;
    float *selection, *selected; // selection.h; states, NULL where the plan has no use for them
    /* What carries s_l down, l = 2..L: B_l itself, or scratch of its shape where the rule forms it
     * from W_l; w NULL where it has none. */
    struct tet_packed feedback[TET_LAYERS];

    float *power; // (L) running mean of what stage l sees, at l - 1: see tet_net_weigh; a state
    /* Scratch of changes: a drive by itself, packed, and sums, one of each share. NULL: not
     * needed. */
    float *drive, *sums;
    float *staged; // (N, inputs) examples on their way into x_0; x_0 itself unless that is a volume
    /* Scratch of the way down: rows, and a volume on the grid of x_l. */
    float *flat;  // (N, e_l * positions), where a dense layer is above a convolutional one, or D_l
    float *below; // pooled, or about to be flattened
    size_t n_flat, n_below; // floats
    /* Scratch of the backward product (rules that need it, and telemetry): signals with the batch
     * along the row. */
    float *transposed[2]; // (max d_{l+1}, N), (max d_l, N) of dense layers l+1
    float *half_normal;   // (TET_QUANTILES): rules/signs.h; where the rule needs it
    float *normal;        // (TET_NORMALS): noise.h; NULL without noise
    /* What changes later: see delay.h. */
    float *delayed; // (n_delayed) of the activities above
    size_t n_delayed;
    float *slot[TET_MAX_DELAY]; // (n_delayed) each
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

/* Whether a synapse of P is there: the one whose weight is `at` among the packed, or (r, c). */
static inline bool tet_net_is_there_at(const struct tet_net *net, enum tet_group g, uint32_t l,
                                       size_t at)
{
    const uint16_t *mask = net->mask[g][l];
    return mask == NULL || ((unsigned)mask[at / TET_LANES] >> at % TET_LANES & 1u) != 0;
}

static inline bool tet_net_is_there(const struct tet_net *net, enum tet_group g, uint32_t l,
                                    size_t r, size_t c)
{
    const struct tet_packed *p = &net->p[g][l];
    return tet_net_is_there_at(net, g, l, tet_packed_at(p->rows, p->columns, r, c));
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

/* Whether a group has a mask. */
static inline bool tet_group_is_sparse(const struct tet_group_plan *plan)
{
    return plan->probability > 0.0f && plan->probability < 1.0f;
}

/* tet_net_look: says that the rule is about to update an array, or has done so. Whoever writes an
 * array for a rule by other means than stages.c says so too. */
static inline void tet_net_look(const struct tet_net *net, const float *updated, bool before)
{
    if (net->watch != NULL)
        net->watch->look(net->watch, updated, before);
}

/* tet_net_seen: floats of x_l, or with e of u_l, as layer l+1 sees it; rows or a volume. */
size_t tet_net_seen(const struct tet_net *net, uint32_t l, bool e);

/* tet_net_layout: sizes of every array for the plan. With base NULL only counts; otherwise sets the
 * pointers into base, which must be aligned to 64 and zeroed, and calls tet_net_begin, which draws
 * the wiring: it is not part of a checkpoint. Returns the bytes. */
size_t tet_net_layout(struct tet_net *net, const struct tet_plan *plan,
                      const struct tet_shape *shape, char *base);

/* Which layers group g has arrays for: first..last, first > last where it has none. */
void tet_net_range(const struct tet_net *net, enum tet_group g, uint32_t *first, uint32_t *last);

/* tet_net_pack, tet_net_unpack: row-major (rows, columns) values into and out of panels. */
void tet_net_pack(const struct tet_packed *shape, float *packed, const float *values);
void tet_net_unpack(const struct tet_packed *shape, const float *packed, float *values);

/* ---- wiring.c: initial values ---- */

/* tet_net_draw: the signs of neurons and initial weights, by streams (seed, group, layer); biases
 * stay as they are, 0. Signs are not part of a checkpoint: they can be drawn again. */
void tet_net_draw(struct tet_net *net);

/* tet_net_draw_values: initial values of P from a stream, whether a synapse is there or not. */
void tet_net_draw_values(struct tet_net *net, enum tet_group g, uint32_t l,
                         const struct tet_stream *stream);

/* tet_net_wire: the mask of P as it is at the start, by stream (seed, group, layer). P has one. */
void tet_net_wire(struct tet_net *net, enum tet_group g, uint32_t l);

/* tet_net_spread: of the initial values of W_l, with the group's scale; l = 1..L. */
double tet_net_spread(const struct tet_net *net, uint32_t l);

/* tet_net_restrict: sets the weights and velocities of P that the wiring leaves out to 0, and the
 * weights whose sign is not their presynaptic neuron's; by all threads. */
void tet_net_restrict(struct tet_net *net, enum tet_group g, uint32_t l);

/* tet_net_cut: sets what group g's wiring leaves out to 0 in p, weights or a drive of that
 * shape. */
void tet_net_cut(struct tet_net *net, enum tet_group g, uint32_t l, const struct tet_packed *p);

/* ---- stages.c: what flows through a stage, by all threads of the team ---- */

void tet_net_ascend(struct tet_net *net); // staged to x_1..x_L

/* tet_net_descend: s_l from s_{l+1} through the feedback of stage l+1, and the gate if the plan has
 * it. */
void tet_net_descend(struct tet_net *net, uint32_t l);

/* tet_net_descend_directly: s_l from s_L through D_l, to where x_l is, and the gate if the plan has
 * it. */
void tet_net_descend_directly(struct tet_net *net, uint32_t l);

/* tet_net_respond: s_{l+1} = W_{l+1} x_l: what the layer above makes of x_l without bias or
 * nonlinearity. Where e_{l+1} is d_{l+1}. */
void tet_net_respond(struct tet_net *net, uint32_t l);

/* tet_net_modulate: m_l = g_l * (V_l s_l). */
void tet_net_modulate(struct tet_net *net, uint32_t l);

/* tet_net_instruct: u_l = U_l x_l. */
void tet_net_instruct(struct tet_net *net, uint32_t l);

/* tet_net_backpropagate: y = phi'(z_l) * (above W_{l+1}), on the grid of z_l. */
void tet_net_backpropagate(struct tet_net *net, uint32_t l, const float *above, float *y);

void tet_net_gate(struct tet_net *net, uint32_t l, const float *s,
                  float *y); // y = phi'(z_l) * s, both as m_l

/* ---- centre.c: what the drives of a mini-batch take the activities for ---- */

/* tet_net_centre: with plan.center, x_l, a_l and u_l less their means over the mini-batch: of each
 * neuron, in an image of each channel over examples and positions. To be called behind everything
 * that needs the activities themselves, the last before the changes.
 *
 * The same x^ = x - <x> is in all four drives of a stage, so that the circuit still assembles: the
 * drives of V_l and U_l are each other's transpose, <a^_l s_l^T>; B_{l+1} gathers U_l X with X =
 * <x^_l s_{l+1}^T>, for u_l less its mean is U_l x^_l, where W_{l+1}^T gathers X V_{l+1}^T. Biases
 * see no activity and change as ever. */
void tet_net_centre(struct tet_net *net);

/* tet_net_weigh: with TET_NORMALIZE_STAGE, takes the power of this mini-batch into the running
 * means, and sets the stages' factors from them. The power that stage l sees is
 *
 *     the mean over examples of |x_{l-1}|^2 * overlap / 256      before centring
 *
 * overlap: how many taps of W_l's kernel look at a position of x_{l-1}, on average over them
 * (out_rows out_columns K^2 / (rows columns)); 1 for dense stages. So a dense stage that sees 256
 * neurons of mean square 1 has power 1. The rates of W_l, b_l, V_l, U_{l-1} and B_l, decay
 * included, are divided by the running mean or by TET_LEAST_POWER, whichever is larger. */
void tet_net_weigh(struct tet_net *net);

/* ---- changes.c: synapses ---- */

/* tet_net_change: P of group g, layer l, by < a x^T > with the group's rate, decay and momentum;
 * nothing if it is frozen; then noise, and what wiring and signs allow. a and x: what P's rows and
 * columns stand for: W m_l, x_{l-1}; B u_{l-1} or x_{l-1}, s_l; V a_l, s_l; U s_l, a_l. D does not
 * change. */
void tet_net_change(struct tet_net *net, enum tet_group g, uint32_t l, const float *a,
                    const float *x);

/* tet_net_homeostatic: whether the group changes by homeostatic scaling; not in mirror phases. */
static inline bool tet_net_homeostatic(const struct tet_net *net, enum tet_group g)
{
    return net->plan.homeostasis > 0.0f && g != TET_W && !tet_rule_info(net->plan.rule)->mirrors;
}

/* tet_net_change_ascending: W_l and b_l for all l, from m_l and x_{l-1}: what all rules share. */
void tet_net_change_ascending(struct tet_net *net);
void tet_net_change_stage(struct tet_net *net, uint32_t l); // the same of a single l

#endif
