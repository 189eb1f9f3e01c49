// SPDX-License-Identifier: Apache-2.0
/* Series for drawing against a naive reading of points.h over all records: random series with gaps,
 * spikes and values that are no numbers, alone and together, after cuts and in old databases. */
#include "store/points.h"

#include "store_fixture.h"

enum { SERIES = 4, MOST = 120000 };
static const enum tet_series kinds[SERIES] = {TET_SERIES_TRAIN_LOSS, TET_SERIES_TEST_LOSS,
                                              TET_SERIES_ALIGNMENT_MODULATION, TET_SERIES_NORM_W};
static const char *const series_names[] = {"train/loss", "test/loss", "alignment/modulation/1",
                                           "norm/W/2", NULL};

/* What was reported. */
struct record {
    uint64_t step;
    double value;
};
static struct record all[SERIES][MOST];
static size_t counts[SERIES];

static uint64_t dice;
static uint64_t draw(uint64_t below)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (dice >> 33) % below;
}

static double draw_value(void)
{
    const uint64_t kind = draw(200);
    return kind == 0   ? NAN
           : kind == 1 ? INFINITY
           : kind == 2 ? 1e6 * (double)draw(1000)
                       : (double)draw(50) / 16.0; // many are equal
}

/* ---- reporting ---- */

/* Reports steps from..to, of series s every stride[s]-th, or by chance where it is 0. */
static void report_steps(struct store *store, int64_t run, uint64_t from, uint64_t to,
                         const uint64_t stride[SERIES])
{
    enum { AT_ONCE = 777 };
    struct tet_record batch[AT_ONCE + SERIES];
    size_t n = 0;
    for (uint64_t step = from; step <= to; step++) {
        for (size_t s = 0; s < SERIES; s++) {
            if (stride[s] > 0 ? step % stride[s] != 0 : draw(37) > 0)
                continue;
            const double value = draw_value();
            batch[n++] = (struct tet_record){.step = step,
                                             .series = kinds[s],
                                             .layer = s < 2 ? 0 : (uint32_t)s - 1,
                                             .value = value};
            assert_true(counts[s] < MOST);
            all[s][counts[s]++] = (struct record){step, isfinite(value) ? value : NAN};
        }
        if (n >= AT_ONCE || step == to) {
            store_metrics(store, run, batch, n);
            n = 0;
        }
    }
    flush(store);
}

/* ---- the naive way ---- */

static size_t keep(struct record *out, size_t n, const struct record *one)
{
    for (size_t i = 0; i < n; i++)
        if (out[i].step == one->step)
            return n;
    size_t at = n;
    for (; at > 0 && out[at - 1].step > one->step; at--)
        out[at] = out[at - 1];
    out[at] = *one;
    return n + 1;
}

/* The points of records first..last for bins of 2^k steps. */
static size_t naive_bins(const struct record *r, size_t n, uint32_t k, struct record *out)
{
    size_t count = 0;
    for (size_t i = 0; i < n;) {
        const struct record *low = NULL, *high = NULL, *null = NULL;
        const uint64_t bin = r[i].step >> k;
        struct record kept[5];
        size_t m = 0;
        if (i == 0)
            m = keep(kept, m, &r[0]);
        for (; i < n && r[i].step >> k == bin; i++) {
            if (isnan(r[i].value))
                null = null == NULL ? &r[i] : null;
            else {
                low = low == NULL || r[i].value < low->value ? &r[i] : low;
                high = high == NULL || r[i].value > high->value ? &r[i] : high;
            }
        }
        m = low != NULL ? keep(kept, m, low) : m;
        m = high != NULL ? keep(kept, m, high) : m;
        m = null != NULL ? keep(kept, m, null) : m;
        m = i == n ? keep(kept, m, &r[n - 1]) : m;
        memcpy(out + count, kept, m * sizeof *kept);
        count += m;
    }
    return count;
}

/* points.h, word by word. */
static size_t naive(size_t s, uint64_t after, uint32_t n, uint32_t d, struct record *out)
{
    const struct record *r = all[s];
    size_t many = counts[s];
    while (many > 0 && r->step <= after)
        r++, many--;
    if (many == 0)
        return 0;
    size_t count = naive_bins(r, many, 0, out);
    if (count <= n)
        return count;
    const uint64_t span = r[many - 1].step - r[0].step;
    uint32_t k = 1;
    if (span > (uint64_t)n << (d - 2))
        for (k = d; span >> k > 8 * (uint64_t)n && k < d + 12;)
            k += 4;
    for (; k < 63; k++) {
        count = naive_bins(r, many, k, out);
        if (count <= n)
            return count;
    }
    out[0] = r[0];
    out[1] = r[many - 1];
    return many > 1 ? 2 : 1;
}

/* ---- comparing ---- */

struct got {
    size_t n[SERIES];
    struct record point[SERIES][MOST];
};
static struct got got;

static bool take(void *context, const char *series, uint64_t step, double value)
{
    (void)context;
    for (size_t s = 0; s < SERIES; s++)
        if (strcmp(series, series_names[s]) == 0)
            got.point[s][got.n[s]++] = (struct record){step, value};
    return true;
}

static void compare(struct store *store, int64_t run, uint64_t after, uint32_t n, uint32_t d)
{
    static struct record expected[MOST];
    struct tet_error error = {0};
    memset(got.n, 0, sizeof got.n);
    assert_ok(store_points_read(store, run, after, n, series_names, take, NULL, &error), &error);
    for (size_t s = 0; s < SERIES; s++) {
        const size_t many = naive(s, after, n, d, expected);
        if (many != got.n[s])
            fail_msg("%s, after %llu, %u points: got %zu, expected %zu", series_names[s],
                     (unsigned long long)after, n, got.n[s], many);
        assert_true(many <= n);
        for (size_t i = 0; i < many; i++)
            if (got.point[s][i].step != expected[i].step ||
                memcmp(&got.point[s][i].value, &expected[i].value, 8) != 0)
                if (!(isnan(got.point[s][i].value) && isnan(expected[i].value)))
                    fail_msg("%s, after %llu, %u points: point %zu is (%llu, %g), expected (%llu, "
                             "%g)",
                             series_names[s], (unsigned long long)after, n, i,
                             (unsigned long long)got.point[s][i].step, got.point[s][i].value,
                             (unsigned long long)expected[i].step, expected[i].value);
    }
}

static void compare_many(struct store *store, int64_t run, uint64_t last, uint32_t d)
{
    static const uint32_t asked[] = {2, 3, 5, 10, 64, 500, 5000};
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        compare(store, run, 0, asked[i], d);
        compare(store, run, 1, asked[i], d);
        compare(store, run, draw(last), asked[i], d);
        compare(store, run, last - draw(200), asked[i], d);
    }
    compare(store, run, 63, 100, d);
    compare(store, run, 64, 100, d);
    compare(store, run, last, 100, d);
    compare(store, run, UINT64_MAX, 100, d);
}

static void forget_all(uint64_t seed)
{
    memset(counts, 0, sizeof counts);
    dice = seed;
}

/* ---- tests ---- */

static void test_sizes(void **state)
{
    (void)state;
    static const uint64_t lasts[] = {1, 2, 63, 64, 65, 1000, 8000, 60000};
    struct store *store = open_store();
    (void)submit(store, "n", 8, 10);
    for (size_t i = 0; i < 8; i++) {
        forget_all(i + 1);
        const int64_t run = claim(store);
        report_steps(store, run, 1, lasts[i], (const uint64_t[]){1, 0, i % 2 == 0 ? 977 : 2, 50});
        compare_many(store, run, lasts[i], 6);
    }
    store_close(store);
}

/* A run goes back to its checkpoint, reports other values, and more. */
static void test_cut(void **state)
{
    (void)state;
    static const uint64_t strides[SERIES] = {1, 0, 7, 100};
    forget_all(5);
    struct store *store = open_store();
    (void)submit(store, "n", 1, 10);
    for (uint64_t k = 0; k < 3; k++) {
        const uint64_t mark = 9000 * k + 4321;
        const int64_t run = claim(store);
        report_steps(store, run, k == 0 ? 1 : mark - 9000 + 1, mark, strides);
        uint64_t records = 0;
        for (size_t s = 0; s < SERIES; s++)
            records += counts[s];
        write_checkpoint(store, run, mark, records, true);
        const size_t kept[SERIES] = {counts[0], counts[1], counts[2], counts[3]};
        report_steps(store, run, mark + 1, mark + 5000, strides);
        compare_many(store, run, mark + 5000, 6);
        store_close(store);
        memcpy(counts, kept, sizeof counts);
        store = open_store(); // sends it back
        compare_many(store, run, mark, 6);
    }
    store_close(store);
}

/* A value that is reported again takes the place of the first. */
static void test_again(void **state)
{
    (void)state;
    forget_all(9);
    struct store *store = open_store();
    (void)submit(store, "n", 1, 10);
    const int64_t run = claim(store);
    report_steps(store, run, 1, 30000, (const uint64_t[]){1, 1, 1, 1});
    report(store, run, 29000, kinds[0], 0, -7.0);
    report(store, run, 30000, kinds[0], 0, 1e9);
    flush(store);
    all[0][28999].value = -7.0;
    all[0][29999].value = 1e9;
    compare_many(store, run, 30000, 6);
    store_close(store);
}

/* A database from before bins were kept: they are made, and kept from then on. */
static void test_old(void **state)
{
    (void)state;
    struct tet_error error = {0};
    static const uint64_t strides[SERIES] = {1, 0, 3, 41};
    forget_all(11);
    struct store *store = open_store();
    (void)submit(store, "n", 1, 10);
    const int64_t run = claim(store);
    report_steps(store, run, 1, 20000, strides);
    assert_ok(
        db_exec(&store->db, "DELETE FROM metric_bin; UPDATE run SET draw_level = NULL", &error),
        &error);
    report_steps(store, run, 20001, 21000, strides);
    compare_many(store, run, 21000, 6);
    report_steps(store, run, 21001, 25000, strides);
    compare_many(store, run, 25000, 6);
    store_close(store);
}

/* A run that records every hundredth step has larger bins. */
static void test_sparse(void **state)
{
    (void)state;
    struct tet_error error = {0};
    forget_all(13);
    struct store *store = open_store();
    struct store_new_run new = {"{\"record\":{\"every\":100}}", "sha256:r", "{}", 10, 1, 0.0, 1};
    struct store_submission s = {.name = "n",
                                 .owner = "local",
                                 .definition = "{}",
                                 .hash = "h",
                                 .tags = "[]",
                                 .n_runs = 1,
                                 .runs = &new};
    struct store_receipt receipt;
    assert_ok(store_submit(store, &s, &receipt, &error), &error);
    const int64_t run = claim(store);
    report_steps(store, run, 1, 1000000, (const uint64_t[]){100, 100, 200, 9381});
    compare_many(store, run, 1000000, 12);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sizes), TEST(test_cut), TEST(test_again), TEST(test_old), TEST(test_sparse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
