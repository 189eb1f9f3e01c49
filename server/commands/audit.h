// SPDX-License-Identifier: Apache-2.0
/* `tetrad audit [RULE]`: the locality audit of one learning rule, or of all. */
#ifndef SERVER_COMMANDS_AUDIT_H
#define SERVER_COMMANDS_AUDIT_H

#include "options.h"

/* audit_command: 0: all that was audited is local, if only where neurons are paired; 1: something
 * is not; 2: there is no such rule. */
int audit_command(const struct options *options);

#endif
