// SPDX-License-Identifier: Apache-2.0
/* What the machine has. Threads: any; nothing is shared between calls. */
#ifndef SERVER_MACHINE_H
#define SERVER_MACHINE_H

#include <stdint.h>

/* machine_memory: bytes that this process may use: the machine's, or its control group's bound. */
uint64_t machine_memory(void);
uint32_t machine_processors(void); // that this process may run on, at least 1

#endif
