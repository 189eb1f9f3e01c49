// SPDX-License-Identifier: Apache-2.0
/*
 * Random numbers by counter: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random
 * numbers: as easy as 1, 2, 3").
 *
 * A stream is (seed, purpose, index); it has no state: number i of a stream is a function of i. So
 * nothing has to be saved to resume a run, and threads may draw any numbers in any order. Key: the
 * seed; counter words: block low, block high, index, purpose. Every function here gives the same
 * bits on every machine (integers, and IEEE + - * / sqrt in double; needs -ffp-contract=off).
 *
 * Any thread; no state.
 */
#ifndef CORE_PHILOX_H
#define CORE_PHILOX_H

#include <stdint.h>

/* What a stream is for. The numbers are part of what a seed means: add at the end, never renumber.
 * Streams of a group of synapses: wiring.c, noise.h. */
enum tet_stream_purpose {
    TET_STREAM_W = 1,               // initial weights, index: the layer
    TET_STREAM_B = 2,               // the same
    TET_STREAM_V = 3,               // the same
    TET_STREAM_U = 4,               // the same
    TET_STREAM_SHUFFLE = 5,         // order of the examples, index: the epoch
    TET_STREAM_STROKES_TRAIN = 6,   // built-in dataset, index: the example
    TET_STREAM_STROKES_TEST = 7,    // the same, test part
    TET_STREAM_WIRING = 8,          // which synapses are there, W to U: 8 to 11, index: the layer
    TET_STREAM_MAGNITUDES = 12,     // of brsf, index: the layer; by step, see rules/signs.h
    TET_STREAM_D = 13,              // initial weights, index: the layer
    TET_STREAM_WIRING_D = 14,       // which synapses of D are there, index: the layer
    TET_STREAM_MIRROR = 15,         // noise of wm, index: the layer; by phase, see rules/wm.c
    TET_STREAM_DALE = 16,           // neurons' signs: 16 + enum tet_group, index: the layer
    TET_STREAM_NOISE_ACTIVITY = 21, // index: the layer; by step, see noise.h
    TET_STREAM_NOISE_TEACHING = 22, // by step, see noise.h
    TET_STREAM_NOISE_SYNAPSES = 23, // 23 + enum tet_group, index: the layer; by step, see noise.h
    TET_STREAM_INTERVENTION = 28,   // index: see interventions.h
    TET_STREAM_PROTOCOL = 29,       // patterns of a protocol, index: 0 ascending, 1 descending
    TET_STREAM_TRACES = 30,         // which synapses are followed: see telemetry/traces.c
    TET_STREAM_AUGMENT = 31,        // crop and flip of example i, index: the epoch
    TET_STREAM_SWEEP = 32,          // random sweeps, index: the axis; see draw.h
};

struct tet_stream {
    uint32_t key[2]; // the seed: low word, high word
    uint32_t purpose;
    uint32_t index;
};

/* tet_stream_make: the stream (seed, purpose, index). */
static inline struct tet_stream tet_stream_make(uint64_t seed, enum tet_stream_purpose purpose,
                                                uint32_t index)
{
    return (struct tet_stream){{(uint32_t)seed, (uint32_t)(seed >> 32)}, (uint32_t)purpose, index};
}

/* tet_philox: the four words of a block of the stream. */
void tet_philox(const struct tet_stream *stream, uint64_t block, uint32_t out[4]);

/* tet_philox_run: the words of TET_PHILOX_RUN blocks, from `block` on: out[w][i] is word w of block
 * + i. Side by side they take half the time. */
enum { TET_PHILOX_RUN = 8 };
void tet_philox_run(const struct tet_stream *stream, uint64_t block,
                    uint32_t out[4][TET_PHILOX_RUN]);

/* tet_stream_u32: number i of the stream: word i % 4 of block i / 4. */
uint32_t tet_stream_u32(const struct tet_stream *stream, uint64_t i);

/* tet_uniform: the upper 24 bits of r as a float in [0, 1): exact. */
static inline float tet_uniform(uint32_t r)
{
    return (float)(r >> 8) * 0x1p-24f;
}

/* tet_normal_from_u32: the standard normal quantile of (r + 0.5) 2^-32, so one word gives one
 * normal number, from -6.34 to 6.34, and rising r gives rising numbers. Wichura 1988, algorithm
 * AS 241, PPND16: relative error about 1e-16. */
double tet_normal_from_u32(uint32_t r);

/* tet_below: a number 0 <= k < n from the first 64 bits of block i of the stream, by multiplying
 * and shifting; biased by less than n 2^-64. n at least 1. */
uint32_t tet_below(const struct tet_stream *stream, uint64_t i, uint32_t n);

/* tet_shuffle: a random order of permutation (n), in place: Fisher and Yates from the top; step i
 * = n-1..1 swaps i with tet_below(stream, i, i + 1). The caller fills in the order to begin with.
 */
void tet_shuffle(const struct tet_stream *stream, uint32_t *permutation, uint32_t n);

#endif
