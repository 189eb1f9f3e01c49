// SPDX-License-Identifier: Apache-2.0
/*
 * A plan: everything that decides a run's weights, apart from the dataset, as plain values.
 *
 * Letters (circuit.md): L stages, numbered l = 1..L; layer 0 is the input, layer L the output,
 * layers 1..L-1 are hidden. d_l ascending width, e_l descending width. A group is a kind of
 * synapse, the four that may be plastic, W_l (d_l, d_{l-1}), B_{l+1} (e_l, e_{l+1}), V_l (d_l,
 * e_l), U_l (e_l, d_l), and D_l (d_l, d_L), from the output directly to layer l. In convolutional
 * layers d_l and e_l count channels, W_l (d_l, d_{l-1}, K, K) and B_l (e_{l-1}, e_l, K, K) have a K
 * x K kernel for every pair, and D_l has a row for each channel and position of x_l.
 */
#ifndef TETRAD_PLAN_H
#define TETRAD_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tetrad/error.h>

enum {
    TET_MAX_HIDDEN = 64,      // hidden layers
    TET_MAX_UNITS = 1 << 20,  // units of a layer, inputs of an example
    TET_MAX_BATCH = 1 << 16,  // examples of a mini-batch
    TET_MAX_DROPS = 16,       // epochs of a step schedule
    TET_MAX_THREADS = 64,     // of one run
    TET_MAX_JUDGED = 1 << 24, // epochs, where the validation part selects among them
    TET_MAX_WINDOW = 64,      // side of a convolution's or a pooling's window
    TET_MAX_VOLUME = 1 << 24, // activities of one example in a layer: channels * rows * columns
    TET_MAX_DELAY = 16,       // mini-batches that the signal waits
    TET_MAX_TRACES = 256,     // synapses of a run that are followed
    TET_MAX_SPECTRUM = 1024,  // ascending units of a layer whose spectrum is recorded
    TET_MAX_CROP = 8,         // pixels that a crop may move an image
    TET_MAX_INTERVENTIONS = 64
};

enum tet_rule_name {
    TET_RULE_BP,
    TET_RULE_FA,
    TET_RULE_KP,
    TET_RULE_SAL,
    TET_RULE_USF,
    TET_RULE_FRSF,
    TET_RULE_BRSF,
    TET_RULE_DFA,
    TET_RULE_WM,
    TET_RULES
};
enum tet_activation { TET_RELU, TET_TANH, TET_IDENTITY };
enum tet_layer_type { TET_DENSE, TET_CONV2D };
enum tet_pool { TET_POOL_NONE, TET_POOL_MAX, TET_POOL_AVG };
enum tet_loss { TET_CROSS_ENTROPY, TET_MSE };
enum tet_group { TET_W, TET_B, TET_V, TET_U, TET_D, TET_GROUPS };
enum tet_init { TET_INIT_NORMAL, TET_INIT_UNIFORM, TET_INIT_IDENTITY, TET_INIT_LOG_NORMAL };
enum tet_schedule_type { TET_SCHEDULE_CONSTANT, TET_SCHEDULE_STEP, TET_SCHEDULE_COSINE };
enum tet_normalize { TET_NORMALIZE_NONE, TET_NORMALIZE_STAGE };
enum tet_standardize { TET_STANDARDIZE_NONE, TET_STANDARDIZE_ALL, TET_STANDARDIZE_FEATURE };

/* A hidden layer: the synapses that lead to it, its nonlinearity, and for a convolution perhaps a
 * pooling of its activity. Convolutions come before dense layers; the first dense layer above one
 * sees it flattened, channel by channel. In a convolutional layer V_l and U_l mix channels at each
 * position before the pooling; U_l at each position after it where it serves B_{l+1}. */
struct tet_layer_plan {
    uint32_t units;            // d_l: neurons, or channels
    uint32_t descending_units; // e_l: likewise
    enum tet_activation activation;
    enum tet_layer_type type;
    uint32_t kernel, stride, padding; // conv2d: side of the window, steps, rings of zeros
    enum tet_pool pool;               // conv2d
    uint32_t pool_size, pool_stride;
};

struct tet_group_plan {
    float lr;    // learning rate before the schedule
    float decay; // pulls weights towards 0: dP = lr (drive - decay P)
    enum tet_init init;
    float scale;       // times the group's spread (circuit.md, "Initial values"); identity: the
                       // diagonal's value
    bool plastic;      // false: the group keeps its initial values
    float probability; // that a synapse (a kernel: a pair of channels) is there, 0 as 1; one that
                       // is not stays 0, and the spread of the others is divided by its root
    float excitatory; // Dale's rule: the probability that a presynaptic neuron (of a convolution: a
                      // channel) is excitatory, all its weights >= 0; the others' are <= 0. 0: no
                      // such rule
};

/* Standard deviations of normal noise while a mini-batch is trained on, each 0 for none. */
struct tet_noise_plan {
    float activity; // added to z_l of hidden layers, before the nonlinearity: gates follow it
    float teaching; // added to every component of an example's s_L, before the mean over the batch
    float synapses; // added to every synapse of the plastic groups at every change
};

/* The signal s_L of a mini-batch changes synapses `batches` mini-batches later; the first ones
 * change nothing. */
struct tet_delay_plan {
    uint32_t batches; // 0: at once
    /* All that a change is made of waits: that of the mini-batch of then, by the circuit of then,
     * comes to today's weights. Otherwise s_L waits alone, descends through today's circuit and
     * meets today's activities, example by example; where one of the two mini-batches has fewer
     * examples, what the other has more changes nothing. */
    bool eligibility;
};

enum { TET_MAX_MIRROR = 1 << 20 }; // mini-batches between mirror phases, batches of noise in one

/* The mirror phases of wm, by group B's lr and decay: lr (<xi delta^T> - decay B). */
struct tet_mirror_plan {
    uint32_t every;   // mini-batches from the start of a phase to that of the next; the first phase
                      // comes before the first mini-batch
    uint32_t batches; // of noise in a phase, each as large as a mini-batch
    float noise;      // standard deviation of xi
};

struct tet_schedule_plan {
    enum tet_schedule_type type;
    uint32_t n_epochs;
    uint32_t epochs[TET_MAX_DROPS]; // step, ascending: once so many are done, the rates drop
    float factor; // step: of each drop; cosine: the last rate as a share of the first
};

enum tet_metric { TET_METRIC_NONE, TET_METRIC_LOSS, TET_METRIC_ACCURACY };

/* What the validation part decides. An epoch is better than the best before it where its metric
 * beats that by more than min_delta; the best is kept as 32 bits. */
struct tet_selection_plan {
    enum tet_metric metric; // NONE: it decides nothing
    uint32_t patience;      // epochs in a row without a better one that end the run; 0: none do
    float min_delta;
    bool best; // the run ends with the weights of the best epoch, not of the last
};

/* One synapse: an element of an array, a kernel (to, from, K, K) as a matrix (to, from * K * K). */
struct tet_synapse {
    enum tet_group group;
    uint32_t layer, row, column;
};

enum tet_intervention_type {
    TET_LESION,             // a fraction of a group's synapses are 0 from now on
    TET_SILENCE_ASCENDING,  // a fraction of the neurons of hidden layers lose all their synapses;
    TET_SILENCE_DESCENDING, // in a convolutional layer, of its channels
    TET_FREEZE,             // the group keeps its values; W: and the biases
    TET_UNFREEZE,           // it changes again, or for the first time
    TET_SHUFFLE,            // the values that are there change places, within each array
    TET_RERANDOMISE,        // as at the start, with other random numbers
    TET_SCALE,              // times a factor; like those before and after, without the biases
    TET_NOISE,              // plus normal noise, in units of the array's root mean square
    TET_RATE,               // the learning rate times a factor, for the rest of the run
    TET_INTERVENTION_TYPES
};

/* What is done to the network before mini-batch step + 1, as what the evaluation after `step` saw
 * is over. Fractions are of what is there at the time, to the nearest whole number. The velocities
 * of what is silenced, shuffled or drawn again become 0. */
struct tet_intervention {
    uint64_t step; // mini-batches before it, less than the run has
    enum tet_intervention_type type;
    enum tet_group group; // TET_RATE: TET_GROUPS for all; of neurons: not looked at
    uint32_t layer;       // the array's own number, of neurons the hidden layer; 0: all
    float amount;         // fraction in (0, 1], factor, or deviation
};

struct tet_plan {
    struct tet_layer_plan hidden[TET_MAX_HIDDEN]; // layers 1..L-1
    uint32_t n_hidden;                            // L-1, may be 0
    enum tet_loss loss;
    enum tet_rule_name rule;
    bool gate; // s_l and (always) m_l are multiplied by phi'(z_l); false: only m_l
    struct tet_group_plan group[TET_GROUPS];
    struct tet_mirror_plan mirror; // rules that mirror
    struct tet_noise_plan noise;
    struct tet_delay_plan delay;
    bool top_down; // stage l changes, l = L..1, before the signal descends from it; otherwise all
                   // activities come from the weights before the mini-batch. Not with eligibility
    /* How drives become changes: core/changes.c and core/centre.c. All off where 0. */
    enum tet_normalize normalize; // of the rates, by the power that a stage sees
    bool center;                  // drives take ascending activities less their mean
    float homeostasis; // share of P that its drive replaces, of learned B, V and U: they keep norms
    float clip;        // largest norm of an array's drive
    float momentum;
    struct tet_schedule_plan schedule;
    uint32_t epochs;
    uint32_t batch;
    uint64_t max_steps; // 0: no bound but the epochs
    uint64_t seed;
    bool shuffle;          // false: every epoch takes the examples in the dataset's order
    uint32_t n_train;      // examples of the training part that are trained on
    uint32_t n_validation; // the examples that follow them
    uint32_t n_test;       // the first examples of the test part; where the dataset has none, the
                           // last examples of its training part
    enum tet_standardize standardize; // bytes that are not standardised count as v / 255
    struct tet_selection_plan selection;
    bool test_at_end;      // the test part is looked at once, with the run's weights
    uint32_t record_every; // steps between telemetry records, 0: never
    bool record_alignment;
    /* More telemetry, see TET_SERIES: alignment/modulation_angle, _consistency and steps_to;
     * activity; spectrum, at the ends of epochs; trace. */
    bool record_assembly, record_activity, record_spectrum;
    bool trace_group[TET_GROUPS];               // of whose every array `traces` synapses
    uint32_t traces;                            // drawn from the seed are followed
    struct tet_synapse synapse[TET_MAX_TRACES]; // n_synapses of them are followed besides
    uint32_t n_synapses;
    /* Training images are cropped out of themselves with a frame of so many zeros (after
     * standardising), and mirrored left to right half of the time; anew in every epoch. */
    uint32_t augment_crop;
    bool augment_flip;
    uint32_t threads; // that train together, 0 as 1; the result does not depend on it
    struct tet_intervention interventions[TET_MAX_INTERVENTIONS]; // in the order of time
    uint32_t n_interventions;
};

/* What a plan needs to know of a dataset before it is loaded. */
struct tet_shape {
    uint32_t inputs;  // d_0
    uint32_t outputs; // d_L: classes, or the width of the targets
    /* Of an image, channel by channel, row by row: inputs = channels * rows * columns. All 0 or 1,
     * 1, inputs where the examples are not images. */
    uint32_t channels, rows, columns;
};

/* tet_window_count: where a window of side `kernel` stops over n positions and `padding` zeros at
 * either end; 0 where it does not fit. stride at least 1. */
static inline uint32_t tet_window_count(uint32_t n, uint32_t kernel, uint32_t stride,
                                        uint32_t padding)
{
    const uint64_t wide = (uint64_t)n + 2 * (uint64_t)padding;
    return wide < kernel ? 0 : (uint32_t)((wide - kernel) / stride) + 1;
}

/* The images of a layer. A dense layer's are (units, 1, 1). */
struct tet_grid {
    uint32_t channels, rows, columns;     // of z_l, s_l and m_l
    uint32_t pooled_rows, pooled_columns; // of x_l, what the next layer sees
};

/* tet_plan_grid: of layer l = 0..L; rows or columns are 0 where a window does not fit. For plans
 * whose strides are at least 1. */
struct tet_grid tet_plan_grid(const struct tet_plan *plan, const struct tet_shape *shape,
                              uint32_t l);

/* tet_plan_check: whether the plan is consistent by itself and with the shape. Errors:
 * TET_BAD_DEFINITION with a sentence. A server checks more finely and earlier; this is the core's
 * own guard. */
TET_MUST_CHECK enum tet_err tet_plan_check(const struct tet_plan *plan,
                                           const struct tet_shape *shape, struct tet_error *error);

/* tet_plan_memory: bytes that tet_trainer_create will allocate, dataset apart. Cannot overflow
 * for a plan that passed tet_plan_check. */
uint64_t tet_plan_memory(const struct tet_plan *plan, const struct tet_shape *shape);

/* tet_plan_array: the rows and columns of group g's matrix of layer l, a kernel as struct
 * tet_synapse counts it; false where the plan's rule has no such array. For plans whose strides are
 * at least 1 and whose layers fit the shape. */
bool tet_plan_array(const struct tet_plan *plan, const struct tet_shape *shape, enum tet_group g,
                    uint32_t l, uint32_t *rows, uint32_t *columns);

/* tet_plan_arrays: how many matrices group g has, biases apart. */
uint32_t tet_plan_arrays(const struct tet_plan *plan, enum tet_group g);

/* tet_plan_steps_per_epoch, tet_plan_steps: mini-batches of an epoch, whose last may be smaller,
 * and of the whole run. */
uint64_t tet_plan_steps_per_epoch(const struct tet_plan *plan);
uint64_t tet_plan_steps(const struct tet_plan *plan);

/* tet_plan_flops: floating-point operations of the products that train on one example, two for each
 * fused multiply-add; evaluation and telemetry apart. What a share of the machine's limit is a
 * share of. */
double tet_plan_flops(const struct tet_plan *plan, const struct tet_shape *shape);

/* tet_plan_rate: the factor on every learning rate in an epoch (from 0). Source of the cosine:
 * Loshchilov and Hutter 2017, without restarts, at epoch granularity: f + (1 - f) (1 + cos(pi epoch
 * / epochs)) / 2. */
float tet_plan_rate(const struct tet_plan *plan, uint32_t epoch);

/* A rule as it is described to users. */
struct tet_rule_info {
    const char *name;     // "sal"
    const char *title;    // "self-assembling learning"
    const char *equation; // one line, in the symbols of circuit.md
    const char *source;
    bool group[TET_GROUPS]; // which groups of synapses it has; W always
    bool fixed[TET_GROUPS]; // groups that keep their initial values: not plastic in a plan
    bool mirrors;           // B changes in mirror phases alone, without momentum
    bool takes_gate;        // whether the gate may be switched off
};

const struct tet_rule_info *tet_rule_info(enum tet_rule_name rule); // static

/* tet_rule_descends: whether a rule has descending neurons of its own, which B or D leads to. */
static inline bool tet_rule_descends(const struct tet_rule_info *info)
{
    return info->group[TET_B] || info->group[TET_D];
}

const char *tet_group_name(enum tet_group group); // "W"

#endif
