// SPDX-License-Identifier: Apache-2.0
/* What the machine has. */
#ifndef SERVER_MACHINE_H
#define SERVER_MACHINE_H

#include <stdint.h>

uint64_t machine_memory(
    void); // bytes that this process may use: the machine's, or its control group's bound
uint32_t machine_processors(void); // that this process may run on, at least 1
int64_t machine_time_ms(void);     // UTC, since 1970

#endif
