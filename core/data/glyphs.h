// SPDX-License-Identifier: Apache-2.0
/*
 * How people write the ten digits: pen strokes through knots, in a box 60 wide and 100 high, y
 * downwards. Read by strokes.c alone.
 */
#ifndef CORE_DATA_GLYPHS_H
#define CORE_DATA_GLYPHS_H

#include <stdint.h>

enum {
    GLYPH_WIDTH = 60,
    GLYPH_HEIGHT = 100,
    GLYPH_KNOTS = 16,
    GLYPH_DIGITS = 10,
    GLYPH_STYLES = 4
};

enum knot_kind {
    KNOT_NONE,   // past the glyph's end
    KNOT_SMOOTH, // the pen passes on a curve
    KNOT_CORNER, // the pen turns sharply
    KNOT_LIFT    // the stroke ends here
};

struct knot {
    uint8_t x, y, kind;
};

/* The styles of each digit; every digit has all four. */
extern const struct knot tet_glyphs[GLYPH_DIGITS][GLYPH_STYLES][GLYPH_KNOTS];

#endif
