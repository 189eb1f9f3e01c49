// SPDX-License-Identifier: Apache-2.0
/* What the rest of the core may know of the trainer. */
#ifndef CORE_TRAINER_H
#define CORE_TRAINER_H

#include <tetrad/trainer.h>

struct tet_net;

/* tet_trainer_layout: bytes of a trainer with all its arrays; with a trainer at `base`, which must
 * be aligned to 64 and zeroed, also sets its pointers. */
uint64_t tet_trainer_layout(struct tet_trainer *trainer, const struct tet_plan *plan,
                            const struct tet_shape *shape, char *base);

/* tet_trainer_net: the trainer's network, as it is now. */
const struct tet_net *tet_trainer_net(const struct tet_trainer *trainer);

#endif
