// SPDX-License-Identifier: Apache-2.0
/* The audit of a rule that need not be in the table of rules. */
#ifndef CORE_AUDIT_H
#define CORE_AUDIT_H

#include <tetrad/audit.h>

#include "rules/rules.h"

/* tet_audit_rule: as tet_audit, with the functions and the list of `rule` in place of those of
 * `name`, whose groups of synapses it must have. */
TET_MUST_CHECK enum tet_err tet_audit_rule(struct tet_audit *audit, enum tet_rule_name name,
                                           const struct tet_rule *rule, struct tet_error *error);

#endif
