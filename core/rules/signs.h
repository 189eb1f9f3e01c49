// SPDX-License-Identifier: Apache-2.0
/*
 * Feedback with the signs of W transposed: usf, frsf and brsf (Liao, Leibo, Poggio 2016). The
 * matrix of a stage is formed once for each mini-batch, as the signal comes to it, and used like B:
 * from the weights that the batch ascended by or, in the order from the top down, the changed ones.
 */
#ifndef CORE_RULES_SIGNS_H
#define CORE_RULES_SIGNS_H

#include "network.h"

enum { TET_QUANTILES = 4096 }; // of the half-normal distribution that brsf draws from

/* tet_rule_descend_by_signs: forms the feedback of all stages by the rule's magnitudes; then as
 * tet_rule_descend_by_feedback. sign(0) = 0. */
void tet_rule_descend_by_signs(struct tet_net *net);
void tet_rule_descend_by_signs_to(struct tet_net *net, uint32_t l); // a single s_l

/* tet_half_normal: out[q] = |R| of standard normal R at the quantile (q + 1/2) / TET_QUANTILES. */
void tet_half_normal(float *out);

#endif
