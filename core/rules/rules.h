// SPDX-License-Identifier: Apache-2.0
/*
 * A learning rule: how the teaching signal descends, and how the synapses change. One rule is one
 * file in this folder and one row of the table in rules.c; the rest of the core goes by what the
 * rule says of itself here, never by its name.
 */
#ifndef CORE_RULES_H
#define CORE_RULES_H

#include "network.h"

enum { TET_READS = 12 }; // with the end

struct tet_rule {
    struct tet_rule_info info;
    bool backward; // the signal descends by W_l^T itself: there is no feedback to compare with it
    bool half_normal; // its magnitudes come from the net's table of quantiles (signs.h)
    /* Before a mini-batch ascends, with nothing but the weights and the step; may use all
     * activities as scratch. NULL: nothing to do. */
    void (*prepare)(struct tet_net *net);
    /* From x_0..x_L and s_L: the descending activities and the modulations, s_l and m_l, l =
     * L-1..1. */
    void (*descend)(struct tet_net *net);
    /* The magnitudes of rows r..r+n of a column of the feedback of stage l, none below 0, into out;
     * their signs are those of W_l^T. The rows lie in one panel: r and n are multiples of 16, n at
     * most 64. NULL: B_l is the feedback, if the rule has one. */
    void (*magnitudes)(const struct tet_net *net, uint32_t l, size_t column, size_t r, size_t n,
                       float *out);
    /* From the activities: every change of a synapse. The activities were all computed with the old
     * weights. */
    void (*change)(struct tet_net *net);
    /* The same of a single layer, for the order from the top down: s_l and m_l from s_{l+1}; the
     * changes of W_l, b_l, B_l, V_l and U_l from what has descended to layer l. Both NULL: what
     * carries the signal down does not change with the mini-batch, and the order means nothing. */
    void (*descend_to)(struct tet_net *net, uint32_t l);
    void (*change_stage)(struct tet_net *net, uint32_t l);
    /* What each update may read besides the array itself, as "B_l: u_{l-1} s_l". Indices l, {l-1},
     * {l+1} and L; g_l is the gate phi'(z_l), F_l the feedback that a rule forms; sign(W_l) is W_l;
     * gate(g_l) is read where the gate of s_l is on, or max_pool asks who won. NULL ends the list.
     * audit.c holds the rule to it. */
    const char *reads[TET_READS];
};

const struct tet_rule *tet_rule(enum tet_rule_name name);

extern const struct tet_rule tet_rule_bp, tet_rule_fa, tet_rule_kp, tet_rule_sal, tet_rule_usf,
    tet_rule_frsf, tet_rule_brsf, tet_rule_dfa, tet_rule_wm;

/* tet_rule_learn_top_down: stage l changes, l = L..1, before the signal descends from it through
 * the changed synapses. change false: it only descends. */
void tet_rule_learn_top_down(struct tet_net *net, bool change);

/* tet_rule_descend_by_feedback: s_l = g_l * (B_{l+1} s_{l+1}) with identity laterals, m_l = g_l *
 * s_l: fa, kp and wm. */
void tet_rule_descend_by_feedback(struct tet_net *net);
void tet_rule_descend_by_feedback_to(struct tet_net *net, uint32_t l); // a single s_l

#endif
