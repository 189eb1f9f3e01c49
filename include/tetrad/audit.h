// SPDX-License-Identifier: Apache-2.0
/*
 * The locality audit: what the updates of a learning rule read, shown by poisoning all else.
 *
 * A rule lists for each of its updates (an activity of the way down, a group of synapses) what it
 * may read. The audit works through one mini-batch on small networks, dense and convolutional,
 * gated and not. All arrays hold NaN, but during an update those that it lists, and the one that it
 * makes; what comes out must be, bit for bit, what comes out where nothing is poisoned. So a list
 * that is too short is found out. Then the lists are judged: whether what is read is at the synapse
 * or the neuron itself. The gate of s_l is the plan's choice: where it is off, and no max_pool asks
 * who won, g_l is poisoned too, and the update counts as local.
 *
 * Not told apart: x_l and g_l of a dense layer, which are functions of one array. The ascending
 * pass comes before, and is not audited: it is the same for all rules. Mirror phases, between
 * mini-batches, are not looked at.
 *
 * Threads: any; nothing is shared between calls.
 */
#ifndef TETRAD_AUDIT_H
#define TETRAD_AUDIT_H

#include <tetrad/plan.h>

/* X(NAME, text): from good to bad.
 * local: all that is read is the synapse's own weight, its pre- or postsynaptic neuron's activity,
 * or what another synapse brings to the latter.
 * paired: local where ascending and descending neurons are paired one to one, so that one knows its
 * partner's activity.
 * not local: reads what is neither, such as other synapses' weights (weight transport).
 * wrong list: the update needs more than the rule lists, or is not in the list. */
#define TET_VERDICTS(X)                                                                            \
    X(LOCAL, "local")                                                                              \
    X(PAIRED, "paired")                                                                            \
    X(NOT_LOCAL, "not local")                                                                      \
    X(WRONG_LIST, "wrong list")

enum tet_verdict {
#define X(name, text) TET_VERDICT_##name,
    TET_VERDICTS(X)
#undef X
        TET_VERDICTS_COUNT
};
const char *tet_verdict_text(enum tet_verdict verdict);

struct tet_audit_row {
    char update[8];   // "B_l"
    char reads[64];   // "u_{l-1} s_l"
    char why[112];    // "" where there is nothing to say
    uint32_t checked; // updates that were poisoned and compared
    enum tet_verdict verdict;
};

enum { TET_AUDIT_ROWS = 16 };
struct tet_audit {
    size_t n;
    struct tet_audit_row rows[TET_AUDIT_ROWS];
    enum tet_verdict verdict; // the worst of the rows'
};

/* tet_audit: audits a rule. Errors: TET_NO_MEMORY; TET_BAD_REQUEST (kernels, see tet_isa_check). */
TET_MUST_CHECK enum tet_err tet_audit(struct tet_audit *audit, enum tet_rule_name rule,
                                      struct tet_error *error);

#endif
