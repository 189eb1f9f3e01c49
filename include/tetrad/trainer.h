// SPDX-License-Identifier: Apache-2.0
/*
 * The trainer: takes a plan and a dataset, trains, reports.
 *
 * Deterministic: the weights after a step depend on the plan, the dataset and the initial weights
 * alone, to the bit, whatever the processor, and whether or not the trainer was saved and loaded on
 * the way.
 *
 * A trainer belongs to one thread at a time; different trainers share nothing that is written.
 */
#ifndef TETRAD_TRAINER_H
#define TETRAD_TRAINER_H

#include <tetrad/dataset.h>
#include <tetrad/plan.h>

/* X(NAME, name in the interface, enum tet_series_kind: what one is of, definition)
 * Of a layer: {l} of alignment, activity and spectrum counts hidden layers from 1; {l} of norms is
 * the array's own number, so norm/B/2 is |B_2|. Of a synapse: trace/W3/12/7 is row 12, column 7 of
 * W_3, both from 0; of a kernel (to, from, K, K) the row is `to` and the column counts the rest. */
enum tet_series_kind { TET_OF_RUN, TET_OF_LAYER, TET_OF_SYNAPSE };

#define TET_SERIES(X)                                                                              \
    X(TRAIN_LOSS, "train/loss", TET_OF_RUN,                                                        \
      "mean loss over the epoch's mini-batches, each before its own update")                       \
    X(TRAIN_ACCURACY, "train/accuracy", TET_OF_RUN,                                                \
      "share of the epoch's examples classified right, before their update")                       \
    X(VALIDATION_LOSS, "validation/loss", TET_OF_RUN,                                              \
      "mean loss over the validation part at the epoch's end")                                     \
    X(VALIDATION_ACCURACY, "validation/accuracy", TET_OF_RUN,                                      \
      "share classified right of the validation part")                                             \
    X(TEST_LOSS, "test/loss", TET_OF_RUN, "mean loss over the test part at the epoch's end")       \
    X(TEST_ACCURACY, "test/accuracy", TET_OF_RUN, "share classified right of the test part")       \
    X(ALIGNMENT_MODULATION, "alignment/modulation", TET_OF_LAYER,                                  \
      "cosine of m_l with the backpropagated signal")                                              \
    X(ALIGNMENT_FEEDBACK, "alignment/feedback", TET_OF_LAYER,                                      \
      "cosine of V_l B_{l+1} with W_{l+1}^T V_{l+1}; V_L = I; "                                    \
      "rules without laterals: of B_{l+1} with W_{l+1}^T; dfa: of D_l with "                       \
      "W_{l+1}^T ... W_L^T, for l with dense layers alone above it")                               \
    X(ALIGNMENT_LATERAL, "alignment/lateral", TET_OF_LAYER, "cosine of W_l W_l^T with V_l V_l^T")  \
    X(ALIGNMENT_LATERAL_DESCENDING, "alignment/lateral_descending", TET_OF_LAYER,                  \
      "cosine of B_{l+1} B_{l+1}^T with U_l U_l^T")                                                \
    X(NORM_W, "norm/W", TET_OF_LAYER, "Frobenius norm of W_l")                                     \
    X(NORM_B, "norm/B", TET_OF_LAYER, "Frobenius norm of B_l")                                     \
    X(NORM_V, "norm/V", TET_OF_LAYER, "Frobenius norm of V_l")                                     \
    X(NORM_U, "norm/U", TET_OF_LAYER, "Frobenius norm of U_l")                                     \
    X(NORM_D, "norm/D", TET_OF_LAYER, "Frobenius norm of D_l")                                     \
    X(NORM_RATIO, "norm/ratio", TET_OF_LAYER, "|B_l| / |W_l|")                                     \
    X(ALIGNMENT_MODULATION_ANGLE, "alignment/modulation_angle", TET_OF_LAYER,                      \
      "angle of m_l with the backpropagated signal in degrees, acos of "                           \
      "alignment/modulation; every other cosine turns into its angle likewise")                    \
    X(ALIGNMENT_CONSISTENCY, "alignment/consistency", TET_OF_LAYER,                                \
      "share of the layer's neurons whose modulation correlates positively with their "            \
      "own backpropagated signal; a neuron of a convolution is a channel, over "                   \
      "examples and positions; neurons for which one of the two is constant are left "             \
      "out, 0 where all are")                                                                      \
    X(ALIGNMENT_CONSISTENCY_MEAN, "alignment/consistency_mean", TET_OF_LAYER,                      \
      "mean of that correlation (Pearson's) over the same neurons")                                \
    X(ALIGNMENT_REACHED_HALF, "alignment/steps_to_0.5", TET_OF_LAYER,                              \
      "first recorded step at which alignment/modulation was at least 0.5")                        \
    X(ALIGNMENT_REACHED_NINE_TENTHS, "alignment/steps_to_0.9", TET_OF_LAYER,                       \
      "first recorded step at which alignment/modulation was at least 0.9")                        \
    X(ACTIVITY_ACTIVE, "activity/active", TET_OF_LAYER,                                            \
      "share of x_l above 0, over the batch, neurons and positions")                               \
    X(ACTIVITY_MEAN, "activity/mean", TET_OF_LAYER,                                                \
      "mean of x_l over the batch, neurons and positions")                                         \
    X(ACTIVITY_VARIANCE, "activity/variance", TET_OF_LAYER,                                        \
      "variance of x_l over the batch, neurons and positions")                                     \
    X(ACTIVITY_EFFECTIVE_RANK, "activity/effective_rank", TET_OF_LAYER,                            \
      "exp of the entropy of the normalised singular values of x_l (Roy and Vetterli "             \
      "2007), of the first 128 examples of the batch, a row each; 0 where x_l is")                 \
    X(ACTIVITY_DRIVE_RANK, "activity/drive_rank", TET_OF_LAYER,                                    \
      "effective rank of what drives W_l, the sum of m_l x_{l-1}^T over the same "                 \
      "examples; dense layers")                                                                    \
    X(SPECTRUM_NORM, "spectrum/norm", TET_OF_LAYER,                                                \
      "Frobenius norm of W_l W_l^T - V_l V_l^T, at the epoch's end")                               \
    X(SPECTRUM_Q00, "spectrum/q00", TET_OF_LAYER, "smallest eigenvalue of W_l W_l^T - V_l V_l^T")  \
    X(SPECTRUM_Q05, "spectrum/q05", TET_OF_LAYER,                                                  \
      "5 % quantile of its eigenvalues, between neighbours by proportion")                         \
    X(SPECTRUM_Q25, "spectrum/q25", TET_OF_LAYER,                                                  \
      "25 % quantile of its eigenvalues, between neighbours by proportion")                        \
    X(SPECTRUM_Q50, "spectrum/q50", TET_OF_LAYER,                                                  \
      "50 % quantile of its eigenvalues, between neighbours by proportion")                        \
    X(SPECTRUM_Q75, "spectrum/q75", TET_OF_LAYER,                                                  \
      "75 % quantile of its eigenvalues, between neighbours by proportion")                        \
    X(SPECTRUM_Q95, "spectrum/q95", TET_OF_LAYER,                                                  \
      "95 % quantile of its eigenvalues, between neighbours by proportion")                        \
    X(SPECTRUM_Q100, "spectrum/q100", TET_OF_LAYER, "largest eigenvalue of W_l W_l^T - V_l V_l^T") \
    X(TRACE_W, "trace/W", TET_OF_SYNAPSE, "one synapse of W_l, before the step changes it")        \
    X(TRACE_B, "trace/B", TET_OF_SYNAPSE, "one synapse of B_l, before the step changes it")        \
    X(TRACE_V, "trace/V", TET_OF_SYNAPSE, "one synapse of V_l, before the step changes it")        \
    X(TRACE_U, "trace/U", TET_OF_SYNAPSE, "one synapse of U_l, before the step changes it")        \
    X(TRACE_D, "trace/D", TET_OF_SYNAPSE, "one synapse of D_l, which no step changes")             \
    X(SELECTED_EPOCH, "selected/epoch", TET_OF_RUN,                                                \
      "number from 1 of the epoch whose weights are the run's, where the best epoch's are; "       \
      "recorded once, at the end, and test/* of that step are of those weights")

enum tet_series {
#define X(name, text, layered, definition) TET_SERIES_##name,
    TET_SERIES(X)
#undef X
        TET_SERIES_COUNT
};

/* One measured value. */
struct tet_record {
    uint64_t step; // mini-batches from 1: the last one that was trained, or the one being trained
    enum tet_series series;
    uint32_t layer;       // 0 where the series is not per layer
    double value;         // may be infinite or NaN in a run that diverges
    uint32_t row, column; // of a synapse, else 0
};

enum { TET_SERIES_NAME = 64 };

/* tet_series_text: writes "alignment/modulation/2" into text; of synapses "trace/W2". */
void tet_series_text(enum tet_series series, uint32_t layer, char text[TET_SERIES_NAME]);
/* tet_record_text: the name of the record's series, of a synapse with its place:
 * "trace/W2/12/7". */
void tet_record_text(const struct tet_record *record, char text[TET_SERIES_NAME]);
const char *tet_series_name(enum tet_series series); // without layer and place: "trace/W"
enum tet_series_kind tet_series_kind(enum tet_series series);
const char *tet_series_definition(enum tet_series series);

/* Receives every record, in order, on the trainer's thread. */
typedef void tet_report_fn(void *context, const struct tet_record *record);

/* Where a trainer stands, besides its tensors. Plain values: save as they are, bit for bit. */
struct tet_cursor {
    uint64_t step;    // mini-batches trained
    uint64_t records; // records reported
    double loss_sum;  // over the epoch's examples so far
    uint64_t correct; // of the epoch's examples so far
    uint32_t epoch;   // epochs finished, evaluation included
    double last_loss; // mean loss of mini-batch `step`, NaN before any
    uint32_t batch;   // mini-batches of the current epoch trained
};

/* An array of a trainer, by the names of circuit.md: "W1", "b1", "B2", "V1", "U1", "D1";
 * "velocity/W1" with momentum; "state/NAME", whatever else a run needs to go on. */
struct tet_tensor {
    char name[24];
    uint32_t rank;     // 1: b; 2: dense; 4: a kernel (to, from, K, K)
    uint32_t shape[4]; // row-major
    uint64_t n;        // elements
    bool state; // not a weight: a checkpoint needs it, a digest and an archive of weights do not
};

enum tet_event {
    TET_STEPPED,  // a piece of work is done, more to do: a mini-batch, or a part of an evaluation
    TET_EPOCH,    // an epoch is done and evaluated; a good moment to save
    TET_FINISHED, // all is done and evaluated; further steps change nothing
    TET_DIVERGED  // the loss or an array is not finite; further steps change nothing
};

/* What diverged: filled once tet_trainer_step returned TET_DIVERGED. */
struct tet_divergence {
    uint64_t step;      // the mini-batch whose loss or update was not finite
    char tensor[24];    // the first array with such a value, or "" where only the loss has
    double last_loss;   // the last finite mean loss of a mini-batch; NaN where there was none
    uint64_t last_step; // its step, 0 where there was none
};

struct tet_trainer;

/* tet_trainer_create: allocates once and draws the initial weights. The dataset must outlive the
 * trainer; plan is copied. report may be NULL. Errors: TET_BAD_DEFINITION, TET_BAD_DATASET (counts
 * do not fit), TET_NO_MEMORY; *trainer is then NULL. */
TET_MUST_CHECK enum tet_err tet_trainer_create(struct tet_trainer **trainer,
                                               const struct tet_plan *plan,
                                               const struct tet_dataset *dataset,
                                               tet_report_fn *report, void *context,
                                               struct tet_error *error);
void tet_trainer_destroy(struct tet_trainer *trainer); // NULL is fine

/* tet_trainer_step: does the next piece of work (a mini-batch, or a chunk of the evaluation that
 * ends an epoch). Allocates nothing, cannot fail. */
enum tet_event tet_trainer_step(struct tet_trainer *trainer);

/* tet_trainer_tensors: how many there are; weights first, then velocities and states. */
uint32_t tet_trainer_tensors(const struct tet_trainer *trainer);
void tet_trainer_tensor(const struct tet_trainer *trainer, uint32_t i, struct tet_tensor *tensor);
void tet_trainer_get(const struct tet_trainer *trainer, uint32_t i,
                     float *values); // (n), row-major
/* tet_trainer_set: the values of synapses that a sparse group lacks, or that are silenced, become 0;
 * but a run that has ended with the best epoch's weights has those, once all tensors are set in the
 * order of their numbers. */
void tet_trainer_set(struct tet_trainer *trainer, uint32_t i,
                     const float *values); // (n), row-major

struct tet_cursor tet_trainer_cursor(const struct tet_trainer *trainer);

/* tet_cursor_check: whether a trainer of this plan can stand there. Errors: TET_BAD_DEFINITION. */
TET_MUST_CHECK enum tet_err tet_cursor_check(const struct tet_plan *plan,
                                             const struct tet_cursor *cursor,
                                             struct tet_error *error);

/* tet_trainer_seek: continue from a cursor; the caller then sets every tensor as well. A cursor
 * taken inside an evaluation continues at that evaluation's start. An intervention after `step`
 * mini-batches is still to happen where the cursor's step is the same. Errors: TET_BAD_DEFINITION
 * (a cursor that this plan cannot have). */
TET_MUST_CHECK enum tet_err tet_trainer_seek(struct tet_trainer *trainer,
                                             const struct tet_cursor *cursor,
                                             struct tet_error *error);

/* What the validation part has decided so far: struct tet_selection_plan. */
struct tet_selection {
    uint32_t epoch; // the best one, from 1; 0: none yet, or the plan selects nothing
    bool early;     // finished with fewer steps than planned
};
struct tet_selection tet_trainer_selection(const struct tet_trainer *trainer);
/* tet_selection_is_over: whether a checkpoint with this "state/selection" is of a run that trains no
 * more: it was stopped early, or ends with the best epoch's weights. */
bool tet_selection_is_over(const float *selection);

double tet_trainer_loss(
    const struct tet_trainer *trainer); // mean loss of the last mini-batch, NaN before any
const struct tet_divergence *tet_trainer_divergence(const struct tet_trainer *trainer);

/* ---- using what was learned ---- */

enum tet_part { TET_PART_TRAIN, TET_PART_VALIDATION, TET_PART_TEST };

/* tet_trainer_part: which examples of its dataset a part is: *first and those that follow it, as many
 * as returned; 0 where there is no such part. */
uint32_t tet_trainer_part(const struct tet_trainer *trainer, enum tet_part part,
                          const struct tet_examples **examples, uint32_t *first);

/* tet_trainer_outputs: z_L of examples first.. (n of them) by the weights as they are, as an
 * evaluation has them: outputs (n, d_L), row-major. The examples are as the dataset's (bytes or
 * floats, in its own units) and are standardised as in training; they need no labels or targets.
 * Between steps; training goes on as if nothing had been. Allocates nothing, cannot fail. */
void tet_trainer_outputs(struct tet_trainer *trainer, const struct tet_examples *examples,
                         uint32_t first, uint32_t n, float *outputs);

/* tet_isa_check: whether the environment's TETRAD_ISA names kernels that this processor has.
 * Errors: TET_BAD_REQUEST. */
TET_MUST_CHECK enum tet_err tet_isa_check(struct tet_error *error);
const char *tet_isa_name(void); // the kernels in use: "avx512", "avx2", "neon", "scalar"

#endif
