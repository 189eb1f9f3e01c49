// SPDX-License-Identifier: Apache-2.0
/* The audit's parts, and the audit of a rule that need not be in the table of rules. */
#ifndef CORE_AUDIT_H
#define CORE_AUDIT_H

#include <tetrad/audit.h>

#include "rules/rules.h"

/* tet_audit_rule: as tet_audit, with the functions and the list of `rule` in place of those of
 * `name`, whose groups of synapses it must have. */
TET_MUST_CHECK enum tet_err tet_audit_rule(struct tet_audit *audit, enum tet_rule_name name,
                                           const struct tet_rule *rule, struct tet_error *error);

/* ---- audit_reads.c: lists of what an update reads ---- */

/* tet_reads_of: the rule's list for arrays of that letter, past its name ("u_{l-1} s_l"); NULL
 * where there is none. */
const char *tet_reads_of(const struct tet_rule *rule, char kind);

/* tet_reads_next: the next word of a list, without sign() or gate(): its letter, and its layer for
 * an update of layer l; the letter is '-' for a gate that the plan has not. false: no more. */
bool tet_reads_next(const struct tet_net *net, const char **list, uint32_t l, char *kind,
                    uint32_t *layer);

/* tet_reads_judge: the verdict on row->reads, that on its worst items, and why. */
void tet_reads_judge(struct tet_audit_row *row);

#endif
