// SPDX-License-Identifier: Apache-2.0
/* Random numbers for tests, the same everywhere: they follow from the seed and the draws before. */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include <stdint.h>

static uint64_t seed, draws;

static inline uint64_t draw(void) // splitmix64
{
    uint64_t z = seed + 0x9E3779B97F4A7C15u * ++draws;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static inline float uniform(void) // [-1, 1)
{
    return (float)(int32_t)(draw() >> 32) * 0x1p-31f;
}

#endif
