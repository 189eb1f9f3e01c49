// SPDX-License-Identifier: Apache-2.0
/* Pictures: PNG by libpng, and the colours of numbers. Any thread; no state. */
#ifndef SERVER_RESULTS_PICTURE_H
#define SERVER_RESULTS_PICTURE_H

#include <stddef.h>
#include <stdint.h>

#include <tetrad/error.h>

enum { PICTURE_SIDE_MAX = 4096 }; // pixels

/* A picture in 8-bit RGB: pixel (x, y) at 3 (y width + x). */
struct picture {
    uint32_t width, height;
    uint8_t *rgb; // NULL: none
};

/* picture_create: filled with one grey. Errors: TET_BAD_REQUEST (a side of 0 or over PICTURE_SIDE_MAX),
 * TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err picture_create(struct picture *picture, uint64_t width, uint64_t height,
                                           uint8_t grey, struct tet_error *error);
void picture_free(struct picture *picture);

/* picture_fill: a square of `side` pixels; it must lie in the picture. */
void picture_fill(struct picture *picture, uint32_t x, uint32_t y, uint32_t side,
                  const uint8_t rgb[3]);

/* picture_diverging: the colour of a value on a scale from -most to most: blue below 0, near-white at
 * 0, red above: ColorBrewer's RdBu of 11, which colour-blind readers tell apart, linear in between.
 * What is no number is mid-grey; with most 0, 0 is near-white. */
void picture_diverging(double value, double most, uint8_t rgb[3]);

/* picture_png: the picture as a PNG in new memory that the caller frees. Errors: TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err picture_png(const struct picture *picture, void **bytes, size_t *size,
                                        struct tet_error *error);

#endif
