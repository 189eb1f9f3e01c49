// SPDX-License-Identifier: Apache-2.0
/* The names and definitions of what a run reports. */
#include <tetrad/trainer.h>

#include <stdio.h>

static const struct {
    const char *text;
    bool layered;
    const char *definition;
} series_table[TET_SERIES_COUNT] = {
#define X(name, text, layered, definition) {text, layered, definition},
    TET_SERIES(X)
#undef X
};

void tet_series_text(enum tet_series series, uint32_t layer, char text[TET_SERIES_NAME])
{
    if (series_table[series].layered)
        snprintf(text, TET_SERIES_NAME, "%s/%u", series_table[series].text, layer);
    else
        snprintf(text, TET_SERIES_NAME, "%s", series_table[series].text);
}

const char *tet_series_definition(enum tet_series series)
{
    return series_table[series].definition;
}
