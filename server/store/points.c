// SPDX-License-Identifier: Apache-2.0
/*
 * Series for drawing: see points.h.
 *
 * Bins are gathered from what is stored of them, in ascending steps; as soon as there are more than
 * the points asked for, neighbours are merged, for each bin has a point at least: so a series takes
 * memory for as many bins as points are asked for, however long it is.
 *
 * Threads: any.
 */
#include "store/points.h"

#include "store/bins.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct gathered {
    const char *name;
    int64_t id;
    bool raw;   // from records alone
    uint32_t n; // points asked for
    uint32_t k; // log2 of the bins' steps
    size_t bins;
    struct store_bin *bin;          // (n + 1)
    uint64_t first_step, last_step; // of records after `after`; 0: none
    double first, last;
};

/* ---- gathering ---- */

static void coarsen(struct gathered *g)
{
    size_t kept = 0;
    g->k++;
    for (size_t i = 0; i < g->bins; i++) {
        if (kept > 0 && g->bin[kept - 1].at >> g->k == g->bin[i].at >> g->k)
            store_bin_merge(&g->bin[kept - 1], &g->bin[i]);
        else
            g->bin[kept++] = g->bin[i];
    }
    g->bins = kept;
}

static void gather(struct gathered *g, const struct store_bin *bin)
{
    if (g->bins > 0 && g->bin[g->bins - 1].at >> g->k == bin->at >> g->k) {
        store_bin_merge(&g->bin[g->bins - 1], bin);
        return;
    }
    g->bin[g->bins++] = *bin;
    while (g->bins > g->n && g->k < 63)
        coarsen(g);
}

struct point {
    uint64_t step;
    double value;
};

static size_t put(struct point *points, size_t count, uint64_t step, double value)
{
    for (size_t i = 0; i < count; i++)
        if (points[i].step == step)
            return count;
    points[count] = (struct point){step, value};
    for (size_t i = count; i > 0 && points[i].step < points[i - 1].step; i--) {
        const struct point moved = points[i];
        points[i] = points[i - 1];
        points[i - 1] = moved;
    }
    return count + 1;
}

/* The points of bin i, ascending, with the series' first and last where they are in it. */
static size_t points_of(const struct gathered *g, size_t i, struct point points[5])
{
    const struct store_bin *bin = &g->bin[i];
    size_t count = 0;
    if (i == 0)
        count = put(points, count, g->first_step, g->first);
    if (bin->finite) {
        count = put(points, count, bin->low_step, bin->low);
        count = put(points, count, bin->high_step, bin->high);
    }
    if (bin->null_step != UINT64_MAX)
        count = put(points, count, bin->null_step, NAN);
    return i + 1 == g->bins ? put(points, count, g->last_step, g->last) : count;
}

static size_t count_points(const struct gathered *g)
{
    struct point points[5];
    size_t count = 0;
    for (size_t i = 0; i < g->bins; i++)
        count += points_of(g, i, points);
    return count;
}

static bool give(struct gathered *g, store_metric_fn *visit, void *context)
{
    struct point points[5];
    while (g->bins > 1 && count_points(g) > g->n)
        coarsen(g);
    const bool ends = count_points(g) > g->n;
    for (size_t i = 0; i < g->bins; i++) {
        const size_t count = points_of(g, i, points);
        for (size_t j = 0; j < count; j++)
            if ((!ends || points[j].step == g->first_step || points[j].step == g->last_step) &&
                !visit(context, g->name, points[j].step, points[j].value))
                return false;
    }
    return true;
}

/* ---- what is stored ---- */

struct reading {
    struct db *db;
    int64_t run;
    uint64_t after;
    uint32_t level; // of the smallest bins
    uint32_t n;
    struct tet_error *error;
};

/* Records of a series with steps from..to. */
static enum tet_err gather_records(const struct reading *r, struct gathered *g, uint64_t from,
                                   uint64_t to)
{
    struct query q = query_open(r->db,
                                "SELECT step, value FROM metric WHERE run = :run AND step >= :from"
                                " AND step <= :to AND series = :series ORDER BY step",
                                r->error);
    query_bind_int(&q, ":run", r->run);
    query_bind_int(&q, ":from", (int64_t)from);
    query_bind_int(&q, ":to", (int64_t)to);
    query_bind_int(&q, ":series", g->id);
    while (query_row(&q)) {
        const struct store_bin bin = store_bin_of((uint64_t)query_int(&q, 0), query_real(&q, 1));
        gather(g, &bin);
    }
    return query_close(&q);
}

/* A bin tells its records apart where there are no more than its values. */
static bool is_told(const struct store_bin *bin)
{
    const uint64_t finite = bin->finite ? 1 + (bin->low_step != bin->high_step) : 0;
    return bin->n == finite + (bin->null_step != UINT64_MAX);
}

static void gather_told(struct gathered *g, const struct store_bin *bin)
{
    struct point points[5];
    size_t count = 0;
    if (bin->finite) {
        count = put(points, count, bin->low_step, bin->low);
        count = put(points, count, bin->high_step, bin->high);
    }
    if (bin->null_step != UINT64_MAX)
        count = put(points, count, bin->null_step, NAN);
    for (size_t i = 0; i < count; i++) {
        const struct store_bin single = store_bin_of(points[i].step, points[i].value);
        gather(g, &single);
    }
}

static struct query open_bins(const struct reading *r, const struct gathered *g, uint32_t level,
                              uint64_t first, uint64_t end, uint64_t limit)
{
    struct query q =
        query_open(r->db,
                   "SELECT bin, n, low_step, low, high_step, high, null_step FROM metric_bin"
                   " WHERE run = :run AND series = :series AND level = :level AND bin >= :first"
                   " AND bin < :end ORDER BY bin LIMIT :limit",
                   r->error);
    query_bind_int(&q, ":run", r->run);
    query_bind_int(&q, ":series", g->id);
    query_bind_int(&q, ":level", level);
    query_bind_int(&q, ":first", (int64_t)first);
    query_bind_int(&q, ":end", (int64_t)end);
    query_bind_int(&q, ":limit", (int64_t)limit);
    return q;
}

/* Bins of a level; apart: each record by itself, from the records where a bin does not tell. */
static enum tet_err gather_bins(const struct reading *r, struct gathered *g, uint32_t level,
                                uint64_t first, uint64_t end, bool apart)
{
    enum tet_err err = TET_OK;
    struct query q = open_bins(r, g, level, first, end, INT64_MAX);
    while (err == TET_OK && query_row(&q)) {
        const struct store_bin bin = bins_row(&q, 0, level);
        if (!apart)
            gather(g, &bin);
        else if (is_told(&bin))
            gather_told(g, &bin);
        else
            err = gather_records(r, g, bin.at, bin.at + ((uint64_t)1 << level) - 1);
    }
    const enum tet_err closed = query_close(&q);
    return err != TET_OK ? err : closed;
}

/* What lies after `after` in the smallest bin that it is in. */
static enum tet_err gather_edge(const struct reading *r, struct gathered *g)
{
    const uint64_t end = ((r->after >> r->level) + 1) << r->level;
    return r->after + 1 < end ? gather_records(r, g, r->after + 1, end - 1) : TET_OK;
}

/* The records after `after`, from bins of `level` as far as they go; smaller ones fill up to where
 * they begin. */
static enum tet_err gather_level(const struct reading *r, struct gathered *g, uint32_t level)
{
    enum tet_err err = r->after > 0 ? gather_edge(r, g) : TET_OK;
    uint64_t from = r->after > 0 ? (r->after >> r->level) + 1 : 0; // the first whole bin
    for (uint32_t at = r->level; at < level && err == TET_OK; at += STORE_LEVEL_STEP) {
        const uint64_t next = (from + (1u << STORE_LEVEL_STEP) - 1) >> STORE_LEVEL_STEP;
        err = gather_bins(r, g, at, from, next << STORE_LEVEL_STEP, false);
        from = next;
    }
    return err == TET_OK ? gather_bins(r, g, level, from, INT64_MAX, false) : err;
}

/* ---- how a series is read ---- */

/* first_step and last_step; none where there are no records after `after`. */
static enum tet_err find_ends(const struct reading *r, struct gathered *g)
{
    struct query q = query_open(
        r->db, "SELECT step, value FROM final WHERE run = :run AND series = :series", r->error);
    query_bind_int(&q, ":run", r->run);
    query_bind_int(&q, ":series", g->id);
    if (query_row(&q)) {
        g->last_step = (uint64_t)query_int(&q, 0);
        g->last = query_real(&q, 1);
    }
    enum tet_err err = query_close(&q);
    if (err != TET_OK || g->last_step <= r->after) {
        g->last_step = 0;
        return err;
    }
    uint64_t from = r->after + 1;
    q = open_bins(r, g, r->level, from >> r->level, INT64_MAX, 2);
    uint64_t bin[2] = {UINT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < 2 && query_row(&q); i++)
        bin[i] = (uint64_t)query_int(&q, 0);
    err = query_close(&q);
    for (size_t i = 0; i < 2 && err == TET_OK && g->first_step == 0 && bin[i] != UINT64_MAX; i++) {
        q = query_open(r->db,
                       "SELECT step, value FROM metric WHERE run = :run AND step >= :from"
                       " AND step < :to AND series = :series ORDER BY step LIMIT 1",
                       r->error);
        query_bind_int(&q, ":run", r->run);
        query_bind_int(&q, ":from",
                       (int64_t)(bin[i] << r->level > from ? bin[i] << r->level : from));
        query_bind_int(&q, ":to", (int64_t)((bin[i] + 1) << r->level));
        query_bind_int(&q, ":series", g->id);
        if (query_row(&q)) {
            g->first_step = (uint64_t)query_int(&q, 0);
            g->first = query_real(&q, 1);
        }
        err = query_close(&q);
    }
    return err;
}

/* Whether the series has at most n records after `after`, as far as bins tell; then they are
 * gathered, each apart. */
static enum tet_err gather_few(const struct reading *r, struct gathered *g, bool *few)
{
    uint64_t count = 0, bins = 0;
    const uint64_t from = r->after == 0 ? 0 : (r->after >> r->level) + 1;
    struct query q = open_bins(r, g, r->level, from, INT64_MAX, g->n + 1);
    for (; count <= g->n && query_row(&q); bins++)
        count += (uint64_t)query_int(&q, 1);
    enum tet_err err = query_close(&q);
    *few = count <= g->n;
    if (err != TET_OK || !*few)
        return err;
    if (r->after > 0)
        err = gather_edge(r, g);
    if (err == TET_OK)
        err = gather_bins(r, g, r->level, from, INT64_MAX, true);
    *few = g->k == 0 && count_points(g) <= g->n;
    if (!*few) {
        g->k = 0;
        g->bins = 0;
    }
    return err;
}

static enum tet_err gather_series(const struct reading *r, struct gathered *g)
{
    bool few = false;
    const uint64_t span = g->last_step - g->first_step;
    g->raw = span <= (uint64_t)r->n << (r->level - 2);
    if (g->raw)
        return TET_OK; // all such in one go
    enum tet_err err = gather_few(r, g, &few);
    if (err != TET_OK || few)
        return err;
    uint32_t level = r->level;
    while (span >> level > 8 * (uint64_t)r->n &&
           level < r->level + (STORE_LEVELS - 1) * STORE_LEVEL_STEP)
        level += STORE_LEVEL_STEP;
    g->k = level;
    return gather_level(r, g, level);
}

/* All series that are read from records, in one go over the stretch that they lie in. */
static enum tet_err gather_raw(const struct reading *r, struct gathered *series, size_t n)
{
    uint64_t from = UINT64_MAX, to = 0;
    int64_t most = 0;
    for (size_t i = 0; i < n; i++)
        if (series[i].raw) {
            from = series[i].first_step < from ? series[i].first_step : from;
            to = series[i].last_step > to ? series[i].last_step : to;
            most = series[i].id > most ? series[i].id : most;
        }
    if (to == 0)
        return TET_OK;
    struct gathered **by_id = calloc((size_t)most + 1, sizeof(struct gathered *));
    if (by_id == NULL)
        return tet_error_set(r->error, TET_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++)
        if (series[i].raw)
            by_id[series[i].id] = &series[i];
    struct query q = query_open(r->db,
                                "SELECT series, step, value FROM metric WHERE run = :run"
                                " AND step >= :from AND step <= :to ORDER BY step",
                                r->error);
    query_bind_int(&q, ":run", r->run);
    query_bind_int(&q, ":from", (int64_t)from);
    query_bind_int(&q, ":to", (int64_t)to);
    while (query_row(&q)) {
        const int64_t id = query_int(&q, 0);
        if (id > most || by_id[id] == NULL)
            continue;
        const struct store_bin bin = store_bin_of((uint64_t)query_int(&q, 1), query_real(&q, 2));
        gather(by_id[id], &bin);
    }
    free(by_id);
    return query_close(&q);
}

static enum tet_err begin_series(const struct reading *r, struct gathered *g, const char *name)
{
    struct query q = query_open(r->db, "SELECT id FROM series WHERE name = :name", r->error);
    *g = (struct gathered){.name = name, .n = r->n};
    query_bind_text(&q, ":name", name);
    g->id = query_row(&q) ? query_int(&q, 0) : 0;
    enum tet_err err = query_close(&q);
    if (err == TET_OK)
        err = find_ends(r, g);
    if (err != TET_OK || g->first_step == 0)
        return err;
    g->bin = malloc(((size_t)r->n + 2) * sizeof *g->bin);
    return g->bin != NULL ? gather_series(r, g)
                          : tet_error_set(r->error, TET_NO_MEMORY, "out of memory");
}

/* ---- all together ---- */

static enum tet_err make_work(struct store *store, struct job *job, struct tet_error *error)
{
    int64_t level = 0;
    enum tet_err err = bins_level(&store->db, job->run, &level, error);
    if (err != TET_OK || level > 0)
        return err;
    err = bins_choose(&store->db, job->run, &level, error);
    return err == TET_OK ? bins_remake(&store->db, job->run, (uint32_t)level, 0, error) : err;
}

static enum tet_err read_all(struct reading *r, const char *const *names, store_metric_fn *visit,
                             void *context)
{
    size_t n = 0;
    enum tet_err err = TET_OK;
    while (names[n] != NULL)
        n++;
    struct gathered *series = calloc(n + 1, sizeof *series);
    if (series == NULL)
        return tet_error_set(r->error, TET_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < n && err == TET_OK; i++)
        err = begin_series(r, &series[i], names[i]);
    if (err == TET_OK)
        err = gather_raw(r, series, n);
    bool go_on = err == TET_OK;
    for (size_t i = 0; i < n; i++) {
        go_on = go_on && give(&series[i], visit, context);
        free(series[i].bin);
    }
    free(series);
    return err;
}

enum tet_err store_points_read(struct store *store, int64_t run, uint64_t after, uint32_t n,
                               const char *const *names, store_metric_fn *visit, void *context,
                               struct tet_error *error)
{
    struct reading r = {.run = run, .n = n, .error = error};
    int64_t level = 0;
    r.after = after < INT64_MAX / 2 ? after : INT64_MAX / 2;
    enum tet_err err = reader_take(store, &r.db, error);
    if (err != TET_OK)
        return err;
    err = bins_level(r.db, run, &level, error);
    if (err == TET_OK && level == 0) { // of a run from before bins were kept
        struct job job = {.work = make_work, .run = run};
        err = writer_do(store, &job, error);
        if (err == TET_OK)
            err = bins_level(r.db, run, &level, error);
    }
    r.level = level > 0 ? (uint32_t)level : STORE_LEVEL_LEAST;
    if (err == TET_OK) // one view of the run, however fast it grows
        err = db_exec(r.db, "BEGIN", error);
    if (err == TET_OK)
        err = read_all(&r, names, visit, context);
    reader_give(store, r.db); // ends the transaction
    return err;
}

enum tet_err store_names_read(struct store *store, int64_t run, char ***names, size_t *n,
                              struct tet_error *error)
{
    struct db *db;
    size_t capacity = 0;
    *names = NULL;
    *n = 0;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(db,
                                "SELECT s.name FROM final f CROSS JOIN series s ON s.id = f.series"
                                " WHERE f.run = :run ORDER BY s.name",
                                error);
    query_bind_int(&q, ":run", run);
    while (query_row(&q)) {
        if (*n + 1 >= capacity) {
            capacity = capacity > 0 ? 2 * capacity : 64;
            char **grown = realloc(*names, capacity * sizeof *grown);
            if (grown == NULL) {
                query_fail(&q, TET_NO_MEMORY, "out of memory");
                break;
            }
            *names = grown;
        }
        (*names)[*n] = strdup(query_text(&q, 0));
        if ((*names)[*n] == NULL) {
            query_fail(&q, TET_NO_MEMORY, "out of memory");
            break;
        }
        (*names)[++*n] = NULL;
    }
    err = query_close(&q);
    reader_give(store, db);
    if (err != TET_OK) {
        store_names_free(*names, *n);
        *names = NULL;
        *n = 0;
    }
    return err;
}

void store_names_free(char **names, size_t n)
{
    for (size_t i = 0; names != NULL && i < n; i++)
        free(names[i]);
    free(names);
}
