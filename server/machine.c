// SPDX-License-Identifier: Apache-2.0
/* What the machine has: see machine.h. */
#include "machine.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

uint64_t machine_memory(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t bytes = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : (uint64_t)1 << 30;
    FILE *file = fopen("/sys/fs/cgroup/memory.max", "re");
    unsigned long long bound;
    if (file != NULL && fscanf(file, "%llu", &bound) == 1 &&
        bound < bytes) // "max" where there is no bound
        bytes = bound;
    if (file != NULL)
        fclose(file);
    return bytes;
}

uint32_t machine_processors(void)
{
    cpu_set_t set;
    const int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? (uint32_t)n : 1;
}
