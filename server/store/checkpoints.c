// SPDX-License-Identifier: Apache-2.0
/*
 * Checkpoints: a trainer's cursor and arrays, bit for bit.
 *
 * Doubles are kept as the integers with their bits, as SQLite turns NaN into NULL; arrays as blobs
 * of little-endian float32, cut into chunks.
 *
 * Threads: store_ functions from any; checkpoint_put in the writer's jobs.
 */
#include "store/share.h"

#include <stdlib.h>
#include <string.h>

void store_checkpoint_free(struct store_checkpoint *checkpoint)
{
    if (checkpoint == NULL)
        return;
    for (size_t i = 0; i < checkpoint->n; i++)
        free(checkpoint->arrays[i].data);
    free(checkpoint->arrays);
    *checkpoint = (struct store_checkpoint){0};
}

static int64_t bits_of(double value)
{
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double from_bits(int64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- writing ---- */

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
/* A new little-endian copy of n floats; NULL: out of memory. */
static float *little_endian(const float *values, size_t n)
{
    float *copy = malloc(n * sizeof *copy);
    for (size_t i = 0; copy != NULL && i < n; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        bits = __builtin_bswap32(bits);
        memcpy(copy + i, &bits, sizeof bits);
    }
    return copy;
}

static void to_host(float *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        bits = __builtin_bswap32(bits);
        memcpy(values + i, &bits, sizeof bits);
    }
}
#else
static void to_host(float *values, size_t n)
{
    (void)values;
    (void)n;
}
#endif

static enum tet_err put_chunks(struct store *store, int64_t checkpoint, size_t ordinal,
                               const struct store_array *array, struct tet_error *error)
{
    const float *data = array->data;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    float *copy = little_endian(array->data, array->n);
    if (copy == NULL && array->n > 0)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    data = copy;
#endif
    size_t size = store->limits.chunk_bytes / sizeof *data; // elements
    struct query q = query_open(&store->db,
                                "INSERT INTO checkpoint_chunk (checkpoint, ordinal, chunk, data)"
                                " VALUES (:checkpoint, :ordinal, :chunk, :data)",
                                error);
    query_bind_int(&q, ":checkpoint", checkpoint);
    query_bind_int(&q, ":ordinal", (int64_t)ordinal);
    for (size_t from = 0; from < array->n && q.err == TET_OK; from += size) {
        size_t n = array->n - from < size ? array->n - from : size;
        query_bind_int(&q, ":chunk", (int64_t)(from / size));
        query_bind_blob(&q, ":data", data + from, n * sizeof *data);
        query_run(&q);
    }
    enum tet_err err = query_close(&q);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    free(copy);
#endif
    return err;
}

static enum tet_err put_array(struct store *store, int64_t checkpoint, size_t ordinal,
                              const struct store_array *array, struct tet_error *error)
{
    struct query q = query_open(&store->db,
                                "INSERT INTO checkpoint_array"
                                " (checkpoint, ordinal, name, velocity, rank, rows, columns,"
                                " kernel_rows, kernel_columns, n)"
                                " VALUES (:checkpoint, :ordinal, :name, :velocity, :rank, :rows,"
                                " :columns, :kernel_rows, :kernel_columns, :n)",
                                error);
    query_bind_int(&q, ":checkpoint", checkpoint);
    query_bind_int(&q, ":ordinal", (int64_t)ordinal);
    query_bind_text(&q, ":name", array->name);
    query_bind_int(&q, ":velocity", array->state);
    query_bind_int(&q, ":rank", array->rank);
    query_bind_int(&q, ":rows", array->shape[0]);
    query_bind_int(&q, ":columns", array->shape[1]);
    query_bind_int(&q, ":kernel_rows", array->shape[2]);
    query_bind_int(&q, ":kernel_columns", array->shape[3]);
    query_bind_int(&q, ":n", (int64_t)array->n);
    query_run(&q);
    enum tet_err err = query_close(&q);
    return err != TET_OK ? err : put_chunks(store, checkpoint, ordinal, array, error);
}

static enum tet_err put_cursor(struct db *db, int64_t run,
                               const struct store_checkpoint *checkpoint, int64_t *id,
                               struct tet_error *error)
{
    const struct tet_cursor *c = &checkpoint->cursor;
    struct query q = query_open(db,
                                "INSERT INTO checkpoint (run, step, records, loss_sum_bits,"
                                " correct, epoch, batch, last_loss_bits, arrays, created_ms)"
                                " VALUES (:run, :step, :records, :loss_sum_bits, :correct, :epoch,"
                                " :batch, :last_loss_bits, :arrays, :now)",
                                error);
    query_bind_int(&q, ":run", run);
    query_bind_int(&q, ":step", (int64_t)c->step);
    query_bind_int(&q, ":records", (int64_t)c->records);
    query_bind_int(&q, ":loss_sum_bits", bits_of(c->loss_sum));
    query_bind_int(&q, ":correct", (int64_t)c->correct);
    query_bind_int(&q, ":epoch", c->epoch);
    query_bind_int(&q, ":batch", c->batch);
    query_bind_int(&q, ":last_loss_bits", bits_of(c->last_loss));
    query_bind_int(&q, ":arrays", (int64_t)checkpoint->n);
    query_bind_int(&q, ":now", store_now_ms());
    query_run(&q);
    *id = db_last_id(db);
    return query_close(&q);
}

/* Runs a statement about a run with up to two numbers. */
static enum tet_err change(struct db *db, const char *sql, int64_t run, const char *name_a,
                           int64_t a, const char *name_b, int64_t b, struct tet_error *error)
{
    struct query q = query_open(db, sql, error);
    query_bind_int(&q, ":run", run);
    query_bind_int(&q, name_a, a);
    if (name_b != NULL)
        query_bind_int(&q, name_b, b);
    query_run(&q);
    return query_close(&q);
}

enum tet_err checkpoint_put(struct store *store, int64_t run,
                            const struct store_checkpoint *checkpoint, struct store_keep keep,
                            struct tet_error *error)
{
    struct db *db = &store->db;
    int64_t id = 0, step = (int64_t)checkpoint->cursor.step;
    enum tet_err err = change(db, "DELETE FROM checkpoint WHERE run = :run AND step = :step", run,
                              ":step", step, NULL, 0, error);
    if (err == TET_OK)
        err = put_cursor(db, run, checkpoint, &id, error);
    for (size_t i = 0; i < checkpoint->n && err == TET_OK; i++)
        err = put_array(store, id, i, &checkpoint->arrays[i], error);
    if (err == TET_OK && keep.last > 0)
        err = change(db,
                     "DELETE FROM checkpoint WHERE run = :run AND NOT pinned"
                     " AND step NOT IN (SELECT step FROM checkpoint WHERE run = :run"
                     "  ORDER BY step DESC LIMIT :last)"
                     " AND step NOT IN (" CHECKPOINT_BEST(":run", ":best") ")",
                     run, ":last", keep.last, ":best", keep.best, error);
    if (err == TET_OK)
        err = change(db, "UPDATE run SET step = :step, records = :records WHERE id = :run", run,
                     ":step", step, ":records", (int64_t)checkpoint->cursor.records, error);
    return err;
}

enum tet_err checkpoint_begin(struct store *store, int64_t run,
                              const struct store_checkpoint *start, struct tet_error *error)
{
    const enum tet_err err = checkpoint_put(store, run, start, (struct store_keep){0}, error);
    return err == TET_OK
               ? change(&store->db,
                        "UPDATE checkpoint SET pinned = 1 WHERE run = :run AND step = :step", run,
                        ":step", (int64_t)start->cursor.step, NULL, 0, error)
               : err;
}

struct checkpoint_job {
    struct job job;
    struct store_checkpoint checkpoint;
    struct store_keep keep;
};

static enum tet_err checkpoint_work(struct store *store, struct job *base, struct tet_error *error)
{
    struct checkpoint_job *job = (struct checkpoint_job *)base;
    int64_t found = 0, cancelled = 0;
    enum tet_err err = writer_is_whole(store, base->run, error);
    if (err == TET_OK)
        err = run_is_cancelled(&store->db, base->run, &cancelled, error);
    if (err != TET_OK || cancelled != 0)
        return err;
    struct query q = query_open(&store->db, "SELECT id FROM run WHERE id = :run", error);
    query_bind_int(&q, ":run", base->run);
    if (query_row(&q))
        found = query_int(&q, 0);
    err = query_close(&q);
    if (err == TET_OK && found == 0)
        err = tet_error_set(error, TET_NOT_FOUND, "there is no run %lld", (long long)base->run);
    if (err == TET_OK)
        err = checkpoint_put(store, base->run, &job->checkpoint, job->keep, error);
    return err == TET_OK ? share_charge(store, base->run, error) : err;
}

static void checkpoint_destroy(struct job *base)
{
    struct checkpoint_job *job = (struct checkpoint_job *)base;
    store_checkpoint_free(&job->checkpoint);
    free(job);
}

static size_t size_of(const struct store_checkpoint *checkpoint)
{
    size_t bytes = sizeof(struct checkpoint_job);
    for (size_t i = 0; i < checkpoint->n; i++)
        bytes += sizeof *checkpoint->arrays + checkpoint->arrays[i].n * sizeof(float);
    return bytes;
}

enum tet_err store_checkpoint_write(struct store *store, int64_t run,
                                    struct store_checkpoint *checkpoint, struct store_keep keep,
                                    bool wait, struct tet_error *error)
{
    struct checkpoint_job job = {
        .job = {.work = checkpoint_work, .run = run, .ordered = true, .grows = true},
        .checkpoint = *checkpoint,
        .keep = keep,
    };
    *checkpoint = (struct store_checkpoint){0};
    if (wait) {
        enum tet_err err = writer_do(store, &job.job, error);
        store_checkpoint_free(&job.checkpoint);
        return err;
    }
    struct checkpoint_job *posted = malloc(sizeof *posted);
    if (posted == NULL) {
        store_checkpoint_free(&job.checkpoint);
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    }
    *posted = job;
    posted->job.destroy = checkpoint_destroy;
    posted->job.bytes = size_of(&job.checkpoint);
    return writer_post(store, &posted->job, error);
}

/* ---- reading ---- */

/* The header of the checkpoint, with room for its arrays. */
static enum tet_err get_cursor(struct db *db, int64_t run, uint64_t step, int64_t *id,
                               struct store_checkpoint *checkpoint, struct tet_error *error)
{
    static const char newest[] =
        "SELECT id, step, records, loss_sum_bits, correct, epoch, batch, last_loss_bits, arrays"
        " FROM checkpoint WHERE run = :run ORDER BY step DESC LIMIT 1";
    static const char one[] =
        "SELECT id, step, records, loss_sum_bits, correct, epoch, batch, last_loss_bits, arrays"
        " FROM checkpoint WHERE run = :run AND step = :step";
    struct query q = query_open(db, step == 0 ? newest : one, error);
    query_bind_int(&q, ":run", run);
    if (step != 0)
        query_bind_int(&q, ":step", (int64_t)step);
    if (query_row(&q)) {
        *id = query_int(&q, 0);
        checkpoint->cursor = (struct tet_cursor){
            .step = (uint64_t)query_int(&q, 1),
            .records = (uint64_t)query_int(&q, 2),
            .loss_sum = from_bits(query_int(&q, 3)),
            .correct = (uint64_t)query_int(&q, 4),
            .epoch = (uint32_t)query_int(&q, 5),
            .batch = (uint32_t)query_int(&q, 6),
            .last_loss = from_bits(query_int(&q, 7)),
        };
        size_t n = (size_t)query_int(&q, 8);
        checkpoint->arrays = calloc(n > 0 ? n : 1, sizeof *checkpoint->arrays);
        if (checkpoint->arrays == NULL)
            query_fail(&q, TET_NO_MEMORY, "out of memory");
        else
            checkpoint->n = n;
    } else {
        query_fail(&q, TET_NOT_FOUND, "there is no such checkpoint");
    }
    return query_close(&q);
}

static const char damaged[] = "a checkpoint's array is damaged";

/* Whether the sizes are as many as there may be, and make the number of elements. */
static bool is_whole(const struct store_array *array)
{
    uint64_t n = 1;
    bool whole = array->rank >= 1 && array->rank <= STORE_RANK;
    for (uint32_t k = 0; whole && k < array->rank; k++)
        whole = !__builtin_mul_overflow(n, array->shape[k], &n);
    return whole && n == array->n;
}

static enum tet_err get_chunks(struct db *db, int64_t checkpoint, size_t ordinal,
                               struct store_array *array, struct tet_error *error)
{
    size_t at = 0, bytes = 0;
    if (array->n > SIZE_MAX / sizeof(float))
        return tet_error_set(error, TET_DATABASE, damaged);
    bytes = array->n * sizeof(float);
    array->data = malloc(bytes > 0 ? bytes : 1);
    if (array->data == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    struct query q = query_open(db,
                                "SELECT data FROM checkpoint_chunk WHERE checkpoint = :checkpoint"
                                " AND ordinal = :ordinal ORDER BY chunk",
                                error);
    query_bind_int(&q, ":checkpoint", checkpoint);
    query_bind_int(&q, ":ordinal", (int64_t)ordinal);
    while (query_row(&q)) {
        size_t n;
        const void *data = query_blob(&q, 0, &n);
        if (data == NULL || n > bytes - at) {
            query_fail(&q, TET_DATABASE, damaged);
            break;
        }
        memcpy((char *)array->data + at, data, n);
        at += n;
    }
    if (at != bytes)
        query_fail(&q, TET_DATABASE, damaged);
    to_host(array->data, array->n);
    return query_close(&q);
}

static enum tet_err get_arrays(struct db *db, int64_t id, struct store_checkpoint *checkpoint,
                               struct tet_error *error)
{
    size_t i = 0;
    struct query q =
        query_open(db,
                   "SELECT name, velocity, n, rank, rows, columns, kernel_rows,"
                   " kernel_columns FROM checkpoint_array WHERE checkpoint = :checkpoint"
                   " ORDER BY ordinal",
                   error);
    query_bind_int(&q, ":checkpoint", id);
    enum tet_err err = TET_OK;
    for (; err == TET_OK && i < checkpoint->n && query_row(&q); i++) {
        struct store_array *array = &checkpoint->arrays[i];
        const char *name = query_text(&q, 0);
        strncpy(array->name, name != NULL ? name : "", sizeof array->name - 1);
        array->state = query_int(&q, 1) != 0;
        array->n = (uint64_t)query_int(&q, 2);
        array->rank = (uint32_t)query_int(&q, 3);
        for (int k = 0; k < STORE_RANK; k++)
            array->shape[k] = (uint32_t)query_int(&q, 4 + k);
        err = is_whole(array) ? get_chunks(db, id, i, array, error)
                              : tet_error_set(error, TET_DATABASE, damaged);
    }
    if (err == TET_OK && i != checkpoint->n)
        query_fail(&q, TET_DATABASE, "a checkpoint lacks arrays");
    enum tet_err closed = query_close(&q);
    return err != TET_OK ? err : closed;
}

enum tet_err store_checkpoint_steps(struct store *store, int64_t run, uint64_t *steps, size_t n,
                                    size_t *kept, struct tet_error *error)
{
    struct db *db;
    *kept = 0;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    struct query q =
        query_open(db, "SELECT step FROM checkpoint WHERE run = :run ORDER BY step", error);
    query_bind_int(&q, ":run", run);
    while (query_row(&q)) {
        if (*kept < n)
            steps[*kept] = (uint64_t)query_int(&q, 0);
        (*kept)++;
    }
    err = query_close(&q);
    reader_give(store, db);
    return err;
}

/* One transaction, so that a newer checkpoint does not remove this one half-way. */
enum tet_err store_checkpoint_read(struct store *store, int64_t run, uint64_t step,
                                   struct store_checkpoint *checkpoint, struct tet_error *error)
{
    struct db *db;
    int64_t id = 0;
    *checkpoint = (struct store_checkpoint){0};
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    err = db_exec(db, "BEGIN", error);
    if (err == TET_OK)
        err = get_cursor(db, run, step, &id, checkpoint, error);
    if (err == TET_OK)
        err = get_arrays(db, id, checkpoint, error);
    if (err != TET_OK)
        store_checkpoint_free(checkpoint);
    reader_give(store, db); // ends the transaction
    return err;
}
