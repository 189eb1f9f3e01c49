// SPDX-License-Identifier: Apache-2.0
/*
 * The FMA limit: how many floating-point operations a second a processor can do at all, measured
 * by fused multiply-adds on registers alone, with enough independent sums in flight to hide their
 * latency, on vectors of the width that the kernels in use have. Two operations per FMA and lane.
 *
 * Letters:  CHAINS  independent sums
 */
#ifndef TESTS_BENCH_LIMIT_H
#define TESTS_BENCH_LIMIT_H

#include <math.h>
#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "bench.h"

/* Chains: latency times units is 8 on x86-64, whose AVX2 has 16 registers; up to 16 on aarch64. */
enum {
#if defined(__aarch64__)
    LIMIT_CHAINS = 20,
#else
    LIMIT_CHAINS = 12,
#endif
    LIMIT_ROUNDS = 500000,  // of a burst: a millisecond or two, less than a turn of another program
    LIMIT_BURSTS = 80,      // of a measurement, the best of which counts
    LIMIT_MAX_THREADS = 64, // TET_MAX_THREADS
};

/* X(i) for every chain */
#define LIMIT_12(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#if defined(__aarch64__)
#define LIMIT_EACH(X) LIMIT_12(X) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19)
#else
#define LIMIT_EACH(X) LIMIT_12(X)
#endif
#define LIMIT_BEGIN(i) __auto_type sum##i = zero + (float)i;
#define LIMIT_STEP(i)  sum##i = LIMIT_FMA(sum##i, factor, term);
#define LIMIT_KEEP(i)  LIMIT_HIDE(sum##i);
#define LIMIT_TOTAL(i) total = total + sum##i;

/* Does `rounds` times CHAINS fused multiply-adds and returns something that depends on all. Every
 * sum has a name, so that it stays in a register; the empty asm hides its value from the compiler.
 */
#define LIMIT_BURST(NAME, TARGET, VECTOR)                                                          \
    TARGET static float NAME(long rounds)                                                          \
    {                                                                                              \
        const VECTOR zero = {0}, factor = zero + 0.999f, term = zero + 0.001f;                     \
        VECTOR total = zero;                                                                       \
        float first;                                                                               \
        LIMIT_EACH(LIMIT_BEGIN)                                                                    \
        for (long n = 0; n < rounds; n++) {                                                        \
            LIMIT_EACH(LIMIT_STEP)                                                                 \
            LIMIT_EACH(LIMIT_KEEP)                                                                 \
        }                                                                                          \
        LIMIT_EACH(LIMIT_TOTAL)                                                                    \
        memcpy(&first, &total, sizeof first);                                                      \
        return first;                                                                              \
    }

typedef float limit_v1;
#if defined(__x86_64__)
typedef float limit_v8 __attribute__((vector_size(32)));
typedef float limit_v16 __attribute__((vector_size(64)));
#define LIMIT_HIDE(sum)    __asm__ volatile("" : "+v"(sum))
#define LIMIT_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
LIMIT_BURST(limit_avx512, __attribute__((target("avx512f"))), limit_v16)
#undef LIMIT_FMA
#undef LIMIT_HIDE
#define LIMIT_HIDE(sum)    __asm__ volatile("" : "+x"(sum))
#define LIMIT_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
LIMIT_BURST(limit_avx2, __attribute__((target("avx2,fma"))), limit_v8)
#undef LIMIT_FMA
#elif defined(__aarch64__)
#define LIMIT_HIDE(sum)    __asm__ volatile("" : "+w"(sum))
#define LIMIT_FMA(a, b, c) vfmaq_f32(c, a, b)
LIMIT_BURST(limit_neon, , float32x4_t)
#undef LIMIT_FMA
#else
#define LIMIT_HIDE(sum) __asm__ volatile("" : "+m"(sum))
#endif
#define LIMIT_FMA(a, b, c) fmaf(a, b, c) // as the scalar kernels have it
LIMIT_BURST(limit_scalar, , limit_v1)

struct limit_isa {
    const char *name; // as tet_isa_name has it
    int lanes;
    float (*burst)(long rounds);
};

static const struct limit_isa limit_isas[] = {
    {"scalar", 1, limit_scalar},
#if defined(__x86_64__)
    {"avx2", 8, limit_avx2},
    {"avx512", 16, limit_avx512},
#elif defined(__aarch64__)
    {"neon", 4, limit_neon},
#endif
};

/* ---- threads ---- */

struct limit_rank {
    struct limit_team *team;
    double start[LIMIT_BURSTS], end[LIMIT_BURSTS];
};

struct limit_team {
    const struct limit_isa *isa;
    pthread_barrier_t barrier;
    struct limit_rank rank[LIMIT_MAX_THREADS];
};

/* All bursts of one thread, every one begun together with the other threads'. */
static void *limit_thread(void *context)
{
    struct limit_rank *rank = context;
    volatile float sink = 0.0f;
    for (int burst = 0; burst < LIMIT_BURSTS; burst++) {
        pthread_barrier_wait(&rank->team->barrier);
        rank->start[burst] = seconds_now(CLOCK_MONOTONIC);
        sink = sink + rank->team->isa->burst(LIMIT_ROUNDS);
        rank->end[burst] = seconds_now(CLOCK_MONOTONIC);
    }
    return NULL;
}

/* The seconds of the shortest burst, from the first thread's start to the last one's end. */
static double limit_shortest(const struct limit_team *team, uint32_t threads)
{
    double shortest = INFINITY;
    for (int burst = 0; burst < LIMIT_BURSTS; burst++) {
        double start = INFINITY, end = 0.0;
        for (uint32_t i = 0; i < threads; i++) {
            start = fmin(start, team->rank[i].start[burst]);
            end = fmax(end, team->rank[i].end[burst]);
        }
        shortest = fmin(shortest, end - start);
    }
    return shortest;
}

/* limit_measure: GFLOP/s of `threads` threads together with the instruction set `name`: the best of
 * LIMIT_BURSTS bursts, so that what else runs on the machine does not count. */
static double limit_measure(const char *name, uint32_t threads)
{
    static struct limit_team team;
    pthread_t thread[LIMIT_MAX_THREADS];
    team.isa = NULL;
    for (size_t i = 0; i < sizeof limit_isas / sizeof *limit_isas; i++)
        if (strcmp(limit_isas[i].name, name) == 0)
            team.isa = &limit_isas[i];
    if (team.isa == NULL || threads < 1 || threads > LIMIT_MAX_THREADS)
        die("no FMA limit for %s on %u threads", name, threads);
    pthread_barrier_init(&team.barrier, NULL, threads);
    for (uint32_t i = 0; i < threads; i++) {
        team.rank[i].team = &team;
        if (i > 0 && pthread_create(&thread[i], NULL, limit_thread, &team.rank[i]) != 0)
            die("no thread");
    }
    limit_thread(&team.rank[0]);
    for (uint32_t i = 1; i < threads; i++)
        pthread_join(thread[i], NULL);
    pthread_barrier_destroy(&team.barrier);
    const double operations = 2.0 * LIMIT_CHAINS * LIMIT_ROUNDS * team.isa->lanes * threads;
    return operations / limit_shortest(&team, threads) / 1e9;
}

#endif
