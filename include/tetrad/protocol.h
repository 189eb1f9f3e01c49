// SPDX-License-Identifier: Apache-2.0
/*
 * A heterosynaptic protocol: what a physiologist would do to one motif of the circuit. Afferents of
 * hidden layer l are stimulated with patterns, alone and in pairs, the rule runs, and the change of
 * all four groups of synapses is read.
 *
 * The motif of a dense layer l: its ascending neurons have the afferents W_l (from x_{l-1}) and V_l
 * (from s_l), its descending neurons B_{l+1} (from s_{l+1}) and U_l (from x_l). Where the rule has
 * D, D_l (from s_L) takes the place of B_{l+1}; mirror phases do not take place. To stimulate an
 * afferent is to hold the neurons that it comes from at the patterns: x_{l-1} for W, s_{l+1} for B;
 * for U and V, which come from the motif's own neurons, x_l and s_l at what the patterns evoke in
 * them at the start. Of the other two sources x_{l-1} and s_{l+1} are silent; the motif's own
 * neurons do what their synapses and thresholds b_l make them. Thresholds are held as they are: a
 * neuron that grew active without an afferent would be no control.
 *
 * Every condition starts from the same weights and presents all patterns as one mini-batch,
 * `pairings` times. The motif is a network of its own, stages l and l+1, and changes by the rule's
 * own functions, the ones that train.
 *
 * Deterministic to the bit, as the trainer is. A protocol belongs to one thread at a time.
 */
#ifndef TETRAD_PROTOCOL_H
#define TETRAD_PROTOCOL_H

#include <tetrad/trainer.h>

enum { TET_PROTOCOL_PATTERNS = 4096, TET_PROTOCOL_PAIRINGS = 1000000 };

/* Afferents, to be put together. */
enum tet_afferent {
    TET_AFFERENT_W = 1,
    TET_AFFERENT_B = 2,
    TET_AFFERENT_V = 4,
    TET_AFFERENT_U = 8
};

/* X(NAME, text, afferents that are stimulated) */
#define TET_CONDITIONS(X)                                                                          \
    X(NEITHER, "neither", 0)                                                                       \
    X(ASCENDING, "ascending", TET_AFFERENT_W)                                                      \
    X(DESCENDING, "descending", TET_AFFERENT_B)                                                    \
    X(BOTH, "both", TET_AFFERENT_W | TET_AFFERENT_B)                                               \
    X(V, "V", TET_AFFERENT_V)                                                                      \
    X(U, "U", TET_AFFERENT_U)                                                                      \
    X(WV, "WV", TET_AFFERENT_W | TET_AFFERENT_V)                                                   \
    X(WU, "WU", TET_AFFERENT_W | TET_AFFERENT_U)                                                   \
    X(BV, "BV", TET_AFFERENT_B | TET_AFFERENT_V)                                                   \
    X(BU, "BU", TET_AFFERENT_B | TET_AFFERENT_U)                                                   \
    X(VU, "VU", TET_AFFERENT_V | TET_AFFERENT_U)

enum tet_condition {
#define X(name, text, afferents) TET_CONDITION_##name,
    TET_CONDITIONS(X)
#undef X
        TET_CONDITIONS_COUNT
};
const char *tet_condition_text(enum tet_condition condition); // "both"

struct tet_protocol_plan {
    uint32_t layer;      // l, a dense hidden layer
    uint32_t conditions; // bit 1 << enum tet_condition; "neither" always takes part
    uint32_t pairings;
    uint32_t n; // patterns
    float sd;   // of random patterns: normal numbers with mean 0
    /* Given patterns, row-major: (n, width of x_{l-1}) and (n, e_{l+1}), with D (n, d_L).
     * NULL: random. */
    const float *ascending, *descending;
};

/* What became of one group of synapses under one condition. Changes are those over all pairings;
 * the driven change is what differs from the condition "neither", where only decay acts. Only
 * synapses that are there count; means over none are 0. */
struct tet_protocol_row {
    enum tet_condition condition;
    enum tet_group group;
    uint32_t layer;                                       // the array's own number: B_{l+1}
    uint64_t n;                                           // synapses
    double change_mean, change_mean_abs, change_relative; // relative: |dP| / |P|, Frobenius norms
    double driven_mean, driven_mean_abs, driven_relative;
    double potentiated, depressed, unchanged;   // shares: driven change above, below, bitwise 0
    uint64_t stimulated;                        // synapses whose presynaptic neuron was ever active
    double stimulated_mean_abs, other_mean_abs; // driven changes of those and of the others
};
enum { TET_MOTIF = TET_U + 1, TET_PROTOCOL_ROWS = TET_CONDITIONS_COUNT * TET_MOTIF }; // W, B, V, U

struct tet_protocol;

/* tet_protocol_check: whether the protocol is consistent by itself and with a plan that passed
 * tet_plan_check. Errors: TET_BAD_DEFINITION. */
TET_MUST_CHECK enum tet_err tet_protocol_check(const struct tet_protocol_plan *protocol,
                                               const struct tet_plan *plan,
                                               const struct tet_shape *shape,
                                               struct tet_error *error);
uint64_t tet_protocol_steps(const struct tet_protocol_plan *protocol); // pairings in all
/* tet_protocol_memory: bytes that tet_protocol_create will allocate; for what passed the check. */
uint64_t tet_protocol_memory(const struct tet_protocol_plan *protocol, const struct tet_plan *plan,
                             const struct tet_shape *shape);

/* tet_protocol_create: takes the weights and the wiring of the trainer's stages l and l+1 as they
 * are. Copies what it needs. Errors: TET_BAD_DEFINITION, TET_NO_MEMORY; *created is then NULL. */
TET_MUST_CHECK enum tet_err tet_protocol_create(struct tet_protocol **created,
                                                const struct tet_protocol_plan *protocol,
                                                const struct tet_trainer *trainer,
                                                struct tet_error *error);
void tet_protocol_destroy(struct tet_protocol *protocol); // NULL is fine

/* tet_protocol_step: one pairing. TET_STEPPED; TET_FINISHED: all conditions are done;
 * TET_DIVERGED: a weight is not finite. After either, further steps change nothing. */
enum tet_event tet_protocol_step(struct tet_protocol *protocol);
uint64_t tet_protocol_step_count(const struct tet_protocol *protocol);          // pairings done
enum tet_condition tet_protocol_condition(const struct tet_protocol *protocol); // the one at hand

/* tet_protocol_rows: of the conditions done, in the order of enum tet_condition, then W, B, V, U as
 * far as the rule has them; belongs to the protocol. */
const struct tet_protocol_row *tet_protocol_rows(const struct tet_protocol *protocol, size_t *n);

#endif
