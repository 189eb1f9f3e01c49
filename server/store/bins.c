// SPDX-License-Identifier: Apache-2.0
/*
 * Bins of series (points.h), as records come: each job of records adds its own summary of every bin
 * that it touches. What takes the place of an earlier record, and what is left of a run that went
 * back to a checkpoint, is summarised anew from the records, level by level.
 *
 * Threads: in the writer's jobs.
 */
#include "store/bins.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct store_bin store_bin_of(uint64_t step, double value)
{
    struct store_bin bin = {.at = step, .n = 1, .null_step = UINT64_MAX};
    bin.finite = isfinite(value);
    if (bin.finite) {
        bin.low_step = bin.high_step = step;
        bin.low = bin.high = value;
    } else {
        bin.null_step = step;
    }
    return bin;
}

void store_bin_merge(struct store_bin *into, const struct store_bin *from)
{
    into->n += from->n;
    if (from->null_step < into->null_step)
        into->null_step = from->null_step;
    if (!from->finite)
        return;
    if (!into->finite || from->low < into->low ||
        (from->low == into->low && from->low_step < into->low_step)) {
        into->low = from->low;
        into->low_step = from->low_step;
    }
    if (!into->finite || from->high > into->high ||
        (from->high == into->high && from->high_step < into->high_step)) {
        into->high = from->high;
        into->high_step = from->high_step;
    }
    into->finite = true;
}

/* The bins that a job of records touches, of each series the ones at hand, written when the next
 * begins. */
struct open_bin {
    int64_t series;
    struct store_bin bin[STORE_LEVELS];
};

static const char add[] =
    "INSERT INTO metric_bin (run, series, level, bin, n, low_step, low, high_step, high, null_step)"
    " VALUES (:run, :series, :level, :bin, :n, :low_step, :low, :high_step, :high, :null_step)"
    " ON CONFLICT (run, series, level, bin) DO UPDATE SET n = n + excluded.n,"
    " low_step = CASE WHEN low IS NULL OR excluded.low < low OR"
    "  (excluded.low = low AND excluded.low_step < low_step) THEN excluded.low_step"
    "  ELSE low_step END,"
    " low = CASE WHEN low IS NULL OR excluded.low < low THEN excluded.low ELSE low END,"
    " high_step = CASE WHEN high IS NULL OR excluded.high > high OR"
    "  (excluded.high = high AND excluded.high_step < high_step) THEN excluded.high_step"
    "  ELSE high_step END,"
    " high = CASE WHEN high IS NULL OR excluded.high > high THEN excluded.high ELSE high END,"
    " null_step = CASE WHEN null_step IS NULL OR excluded.null_step < null_step"
    "  THEN excluded.null_step ELSE null_step END";

static void bind_step(struct query *q, const char *name, bool there, uint64_t step)
{
    if (there)
        query_bind_int(q, name, (int64_t)step);
    else
        query_bind_real(q, name, NAN); // NULL
}

static void write_bin(struct query *q, int64_t series, uint32_t level, const struct store_bin *bin)
{
    query_bind_int(q, ":series", series);
    query_bind_int(q, ":level", level);
    query_bind_int(q, ":bin", (int64_t)(bin->at >> level));
    query_bind_int(q, ":n", (int64_t)bin->n);
    bind_step(q, ":low_step", bin->finite, bin->low_step);
    query_bind_real(q, ":low", bin->finite ? bin->low : NAN);
    bind_step(q, ":high_step", bin->finite, bin->high_step);
    query_bind_real(q, ":high", bin->finite ? bin->high : NAN);
    bind_step(q, ":null_step", bin->null_step != UINT64_MAX, bin->null_step);
    query_run(q);
}

enum tet_err bins_begin(struct bins *bins, struct db *db, int64_t run, uint32_t level,
                        struct tet_error *error)
{
    *bins = (struct bins){.level = level, .error = error, .query = query_open(db, add, error)};
    query_bind_int(&bins->query, ":run", run);
    return bins->query.err;
}

/* The series' open bins; those of few series are found at once, mostly where the last was. */
static struct open_bin *find(struct bins *bins, int64_t series)
{
    for (size_t i = 0; i < bins->n; i++) {
        const size_t k = (bins->last + i) % bins->n;
        if (bins->open[k].series == series) {
            bins->last = k + 1;
            return &bins->open[k];
        }
    }
    if (bins->n == bins->capacity) {
        const size_t capacity = bins->capacity > 0 ? 2 * bins->capacity : 64;
        struct open_bin *grown = realloc(bins->open, capacity * sizeof *grown);
        if (grown == NULL)
            return NULL;
        bins->open = grown;
        bins->capacity = capacity;
    }
    bins->open[bins->n] = (struct open_bin){.series = series};
    bins->last = bins->n + 1;
    return &bins->open[bins->n++];
}

/* Merges a bin of a level into that of the next, which is written when another begins. */
static void carry(struct bins *bins, struct open_bin *open, uint32_t k,
                  const struct store_bin *from)
{
    struct store_bin *bin = &open->bin[k];
    const uint32_t level = bins->level + k * STORE_LEVEL_STEP;
    if (bin->n > 0 && bin->at >> level == from->at >> level) {
        store_bin_merge(bin, from);
        return;
    }
    if (bin->n > 0) {
        write_bin(&bins->query, open->series, level, bin);
        if (k + 1 < STORE_LEVELS)
            carry(bins, open, k + 1, bin);
    }
    *bin = *from;
}

enum tet_err bins_add(struct bins *bins, int64_t series, uint64_t step, double value)
{
    struct open_bin *open = find(bins, series);
    if (open == NULL)
        return tet_error_set(bins->error, TET_NO_MEMORY, "out of memory");
    const struct store_bin one = store_bin_of(step, value);
    carry(bins, open, 0, &one);
    return bins->query.err;
}

enum tet_err bins_end(struct bins *bins)
{
    for (size_t i = 0; i < bins->n; i++) {
        struct open_bin *open = &bins->open[i];
        for (uint32_t k = 0; k < STORE_LEVELS; k++) {
            write_bin(&bins->query, open->series, bins->level + k * STORE_LEVEL_STEP,
                      &open->bin[k]);
            if (k + 1 < STORE_LEVELS)
                carry(bins, open, k + 1, &open->bin[k]);
        }
    }
    free(bins->open);
    return query_close(&bins->query);
}

/* ---- anew ---- */

static enum tet_err forget(struct db *db, int64_t run, uint32_t level, uint64_t from,
                           struct tet_error *error)
{
    struct query q =
        query_open(db,
                   "DELETE FROM metric_bin WHERE run = :run AND bin >= (:from >> level)"
                   " AND level >= :level",
                   error);
    query_bind_int(&q, ":run", run);
    query_bind_int(&q, ":from", (int64_t)from);
    query_bind_int(&q, ":level", level);
    query_run(&q);
    return query_close(&q);
}

/* The lowest level from the records, all levels of a series at once: bins_add carries upwards. What
 * lies before `from` in bins of higher levels is taken from the bins below them. */
static enum tet_err from_records(struct db *db, int64_t run, uint32_t level, uint64_t from,
                                 struct tet_error *error)
{
    struct bins bins;
    enum tet_err err = bins_begin(&bins, db, run, level, error);
    struct query q = query_open(db,
                                "SELECT series, step, value FROM metric WHERE run = :run"
                                " AND step >= :from ORDER BY step",
                                error);
    query_bind_int(&q, ":run", run);
    query_bind_int(&q, ":from", (int64_t)(from >> level << level));
    while (err == TET_OK && query_row(&q))
        err = bins_add(&bins, query_int(&q, 0), (uint64_t)query_int(&q, 1), query_real(&q, 2));
    const enum tet_err read = query_close(&q), written = bins_end(&bins);
    return err != TET_OK ? err : read != TET_OK ? read : written;
}

/* Adds to the bin of `level` that holds `from` the bins of the level below that end before it. */
static enum tet_err from_below(struct db *db, int64_t run, uint32_t level, uint64_t from,
                               struct tet_error *error)
{
    const uint32_t below = level - STORE_LEVEL_STEP;
    const uint64_t first = from >> level << STORE_LEVEL_STEP, last = from >> below;
    struct query into = query_open(db, add, error);
    struct query q = query_open(db,
                                "SELECT series, bin, n, low_step, low, high_step, high, null_step"
                                " FROM metric_bin WHERE run = :run AND series IN"
                                " (SELECT series FROM final WHERE run = :run) AND level = :level"
                                " AND bin >= :first AND bin < :last",
                                error);
    query_bind_int(&into, ":run", run);
    query_bind_int(&q, ":run", run);
    query_bind_int(&q, ":level", below);
    query_bind_int(&q, ":first", (int64_t)first);
    query_bind_int(&q, ":last", (int64_t)last);
    while (into.err == TET_OK && query_row(&q)) {
        const struct store_bin bin = bins_row(&q, 1, below);
        write_bin(&into, query_int(&q, 0), level, &bin);
    }
    const enum tet_err read = query_close(&q), written = query_close(&into);
    return read != TET_OK ? read : written;
}

struct store_bin bins_row(const struct query *q, int column, uint32_t level)
{
    struct store_bin bin = {.at = (uint64_t)query_int(q, column) << level,
                            .n = (uint64_t)query_int(q, column + 1),
                            .low_step = (uint64_t)query_int(q, column + 2),
                            .low = query_real(q, column + 3),
                            .high_step = (uint64_t)query_int(q, column + 4),
                            .high = query_real(q, column + 5),
                            .null_step = (uint64_t)query_int(q, column + 6)};
    bin.finite = !isnan(bin.low);
    if (bin.null_step == 0)
        bin.null_step = UINT64_MAX;
    return bin;
}

enum tet_err bins_remake(struct db *db, int64_t run, uint32_t level, uint64_t from,
                         struct tet_error *error)
{
    enum tet_err err = forget(db, run, level, from, error);
    for (uint32_t k = 1; k < STORE_LEVELS && err == TET_OK && from > 0; k++)
        err = from_below(db, run, level + k * STORE_LEVEL_STEP, from, error);
    return err == TET_OK ? from_records(db, run, level, from, error) : err;
}

enum tet_err bins_level(struct db *db, int64_t run, int64_t *level, struct tet_error *error)
{
    struct query q = query_open(db, "SELECT draw_level FROM run WHERE id = :run", error);
    query_bind_int(&q, ":run", run);
    *level = query_row(&q) ? query_int(&q, 0) : 0;
    return query_close(&q);
}

enum tet_err bins_choose(struct db *db, int64_t run, int64_t *level, struct tet_error *error)
{
    struct query q = query_open(db,
                                "SELECT json_extract(definition, '$.record.every')"
                                " FROM run_definition WHERE run = :run AND json_valid(definition)",
                                error);
    query_bind_int(&q, ":run", run);
    int64_t every = query_row(&q) ? query_int(&q, 0) : 0;
    enum tet_err err = query_close(&q);
    *level = STORE_LEVEL_LEAST;
    for (; every > 1 && *level < 24; every /= 2)
        ++*level;
    if (err != TET_OK)
        return err;
    q = query_open(db, "UPDATE run SET draw_level = :level WHERE id = :run", error);
    query_bind_int(&q, ":level", *level);
    query_bind_int(&q, ":run", run);
    query_run(&q);
    return query_close(&q);
}
