// SPDX-License-Identifier: Apache-2.0
/* The names and definitions of what a run reports. */
#include <tetrad/trainer.h>

#include <stdio.h>
#include <string.h>

static const struct {
    const char *text;
    enum tet_series_kind kind;
    const char *definition;
} series_table[TET_SERIES_COUNT] = {
#define X(name, text, kind, definition) {text, kind, definition},
    TET_SERIES(X)
#undef X
};

void tet_series_text(enum tet_series series, uint32_t layer, char text[TET_SERIES_NAME])
{
    const char *name = series_table[series].text;
    switch (series_table[series].kind) {
    case TET_OF_RUN:
        snprintf(text, TET_SERIES_NAME, "%s", name);
        break;
    case TET_OF_LAYER:
        snprintf(text, TET_SERIES_NAME, "%s/%u", name, layer);
        break;
    case TET_OF_SYNAPSE:
        snprintf(text, TET_SERIES_NAME, "%s%u", name, layer);
        break;
    }
}

void tet_record_text(const struct tet_record *record, char text[TET_SERIES_NAME])
{
    tet_series_text(record->series, record->layer, text);
    const size_t n = strlen(text);
    if (series_table[record->series].kind == TET_OF_SYNAPSE)
        snprintf(text + n, TET_SERIES_NAME - n, "/%u/%u", record->row, record->column);
}

const char *tet_series_name(enum tet_series series)
{
    return series_table[series].text;
}

enum tet_series_kind tet_series_kind(enum tet_series series)
{
    return series_table[series].kind;
}

const char *tet_series_definition(enum tet_series series)
{
    return series_table[series].definition;
}
