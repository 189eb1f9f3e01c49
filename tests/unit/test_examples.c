// SPDX-License-Identifier: Apache-2.0
/* The examples that a run sees: their order, standardising, bytes and floats, and the parts. */
#include "naive.h"
#include "philox.h"

static struct data data;

/* ---- order ---- */

/* The order in which examples are trained on: example i has the i-th input alone, so that only
 * column i of W_1 changes. */
static void order_of(const struct tet_plan *p, uint32_t n, uint32_t *order)
{
    static float before[CAPACITY], after[CAPACITY];
    make_data(&data, 22, n, 0, n, 3, true);
    for (uint32_t i = 0; i < n * n; i++)
        data.x[i] = i % (n + 1) == 0 ? 1.0f : 0.0f;
    struct tet_trainer *t = make(p, &data, NULL);
    struct tet_tensor tensor;
    tet_trainer_tensor(t, index_of(t, "W1"), &tensor);
    for (uint64_t step = 0; step < tet_plan_steps(p); step++) {
        tet_trainer_get(t, index_of(t, "W1"), before);
        do
            (void)tet_trainer_step(t);
        while (tet_trainer_cursor(t).step == step);
        tet_trainer_get(t, index_of(t, "W1"), after);
        uint32_t changed = 0;
        order[step] = n;
        for (uint32_t c = 0; c < n; c++)
            for (uint32_t r = 0; r < tensor.shape[0]; r++)
                if (before[r * n + c] != after[r * n + c]) {
                    changed += order[step] != c;
                    order[step] = c;
                }
        if (changed != 1)
            fail_msg("step %llu: %u columns changed", (unsigned long long)step, changed);
    }
    tet_trainer_destroy(t);
}

static void order(void **state)
{
    (void)state;
    enum { N = 21 };
    uint32_t seen[TET_RULES + 2][2 * N];
    for (int rule = 0; rule < TET_RULES + 2; rule++) {
        struct tet_plan p =
            make_plan((enum tet_rule_name)(rule % TET_RULES), TET_CROSS_ENTROPY, N, 1, 0.05f);
        add_layer(&p, 5, 5, TET_TANH);
        p.epochs = 2;
        p.shuffle = rule != TET_RULES;            // one run keeps the order
        p.seed = rule == TET_RULES + 1 ? 8u : 7u; // one has another seed
        order_of(&p, N, seen[rule]);
    }
    for (uint32_t i = 0; i < 2 * N; i++)
        assert_int_equal(seen[TET_RULES][i], i % N);
    for (int rule = 1; rule < TET_RULES; rule++)
        assert_memory_equal(seen[0], seen[rule], sizeof seen[0]);
    assert_memory_not_equal(seen[0], seen[TET_RULES + 1], sizeof seen[0]);
    assert_memory_not_equal(seen[0], seen[0] + N, sizeof seen[0] / 2);
    assert_memory_not_equal(seen[0], seen[TET_RULES], sizeof seen[0] / 2);
    for (uint32_t epoch = 0; epoch < 2; epoch++) {
        uint64_t met = 0;
        for (uint32_t i = 0; i < N; i++)
            met |= UINT64_C(1) << seen[0][epoch * N + i];
        assert_true(met == (UINT64_C(1) << N) - 1);
    }
}

/* ---- examples ---- */

/* Inputs as the network sees them: with W = 0 and targets e_0, one step at rate 1 makes row 0 of
 * W_1 the input itself. Training examples one after the other. */
static void inputs_seen(struct tet_plan *p, float *seen)
{
    const uint32_t d = data.set.shape.inputs;
    const float zeros[64] = {0};
    float w[2 * 32];
    p->loss = TET_MSE;
    struct tet_trainer *t = make(p, &data, NULL);
    for (uint32_t i = 0; i < p->n_train; i++) {
        tet_trainer_set(t, 0, zeros);
        tet_trainer_set(t, 1, zeros);
        assert_int_equal(tet_trainer_step(t), TET_STEPPED);
        tet_trainer_get(t, 0, w);
        memcpy(seen + i * d, w, d * sizeof *w);
    }
    tet_trainer_destroy(t);
}

static void standardizing(void **state)
{
    (void)state;
    enum { N = 30, VALIDATION = 10, D = 19, FLAT = 5 };
    static float seen[N * D];
    for (int bytes = 0; bytes < 2; bytes++)
        for (int how = TET_STANDARDIZE_NONE; how <= TET_STANDARDIZE_FEATURE; how++) {
            make_data(&data, 27, N + VALIDATION, 0, D, 2, false);
            double value[N * D], sum[D + 1] = {0}, square[D + 1] = {0};
            for (uint32_t i = 0; i < (N + VALIDATION) * D; i++) {
                data.bytes[i] = i % D == FLAT ? 77 : (uint8_t)(draw() >> 40);
                data.x[i] = i % D == FLAT ? 3.25f : data.x[i] * 5.0f + (float)(i % D);
                if (i >= N * D) // validation examples count for nothing
                    data.x[i] *= 1000.0f;
                if (i < N * D) {
                    value[i] = bytes ? data.bytes[i] : (double)data.x[i];
                    sum[i % D] += value[i];
                    square[i % D] += value[i] * value[i];
                    sum[D] += value[i];
                    square[D] += value[i] * value[i];
                }
            }
            for (uint32_t i = 0; i < N + VALIDATION; i++) {
                data.t[2 * i] = 1.0f;
                data.t[2 * i + 1] = 0.0f;
            }
            if (bytes) {
                data.set.train.floats = NULL;
                data.set.train.bytes = data.bytes;
            }
            struct tet_plan p = make_plan(TET_RULE_BP, TET_MSE, N, 1, 1.0f);
            p.n_validation = VALIDATION;
            p.standardize = (enum tet_standardize)how;
            inputs_seen(&p, seen);
            for (uint32_t i = 0; i < N * D; i++) {
                const uint32_t c = how == TET_STANDARDIZE_ALL ? D : i % D;
                const double n = how == TET_STANDARDIZE_ALL ? N * D : N, mean = sum[c] / n;
                const double spread = sqrt(square[c] / n - mean * mean);
                double expected = (value[i] - mean) / spread;
                if (how == TET_STANDARDIZE_NONE)
                    expected = bytes ? value[i] / 255.0 : value[i];
                if (how == TET_STANDARDIZE_FEATURE && c == FLAT)
                    expected = 0.0;
                close_to(bytes ? "bytes" : "floats", i, (uint32_t)how, seen[i], expected,
                         how == TET_STANDARDIZE_NONE ? 1.2e-7 * fabs(expected) : 1e-5);
            }
        }
}

/* Bytes and floats of the same value train alike. */
static void bytes_are_values(void **state)
{
    (void)state;
    make_data(&data, 28, 30, 0, 21, 4, true);
    for (uint32_t i = 0; i < 30 * 21; i++) {
        data.bytes[i] = (uint8_t)(draw() >> 40);
        data.x[i] = data.bytes[i];
    }
    struct tet_plan p = make_plan(TET_RULE_KP, TET_CROSS_ENTROPY, 20, 6, 0.05f);
    add_layer(&p, 9, 9, TET_RELU);
    p.standardize = TET_STANDARDIZE_ALL;
    p.n_validation = 4;
    p.n_test = 6;
    static struct log logs[2];
    struct tet_trainer *t = make(&p, &data, &logs[0]);
    assert_int_equal(run(t), TET_FINISHED);
    uint64_t n;
    float *expected = state_of(t, &n);
    tet_trainer_destroy(t);
    data.set.train.floats = NULL;
    data.set.train.bytes = data.bytes;
    t = make(&p, &data, &logs[1]);
    assert_int_equal(run(t), TET_FINISHED);
    same_state("bytes", t, expected, n);
    assert_int_equal(logs[0].n, logs[1].n);
    same_records("bytes", logs[1].record, logs[0].record, logs[0].n);
    free(expected);
    tet_trainer_destroy(t);
}

/* ---- augmentation ---- */

enum { PLANES = 2, ROWS = 5, COLUMNS = 6, SIZE = PLANES * ROWS * COLUMNS, IMAGES = 24 };

/* An image of an epoch: cut out of itself with a frame of `crop` zeros at a place that two words of
 * the stream choose, and mirrored by the top bit of a third. */
static void augment_naively(const struct tet_plan *p, uint32_t epoch, uint32_t example,
                            const double *image, double *out)
{
    enum { FRAMED = 32 };
    static double framed[FRAMED][FRAMED];
    const struct tet_stream stream = tet_stream_make(p->seed, TET_STREAM_AUGMENT, epoch);
    const uint32_t c = p->augment_crop, places = 2 * c + 1;
    uint32_t word[4];
    tet_philox(&stream, example, word);
    const uint32_t down = (uint32_t)floor(word[0] * 0x1p-32 * places);
    const uint32_t across = (uint32_t)floor(word[1] * 0x1p-32 * places);
    for (uint32_t plane = 0; plane < PLANES; plane++) {
        memset(framed, 0, sizeof framed);
        for (uint32_t y = 0; y < ROWS; y++)
            for (uint32_t x = 0; x < COLUMNS; x++)
                framed[y + c][x + c] = image[(plane * ROWS + y) * COLUMNS + x];
        for (uint32_t y = 0; y < ROWS; y++)
            for (uint32_t x = 0; x < COLUMNS; x++) {
                const bool flip = p->augment_flip && word[2] >= 0x80000000u;
                const uint32_t to = flip ? COLUMNS - 1 - x : x;
                out[(plane * ROWS + y) * COLUMNS + to] = framed[y + down][x + across];
            }
    }
}

/* The next training input as the network sees it: see inputs_seen. */
static void next_input(struct tet_trainer *t, float *seen)
{
    static const float zeros[2 * SIZE];
    static float w[2 * SIZE];
    const uint64_t step = tet_trainer_cursor(t).step;
    tet_trainer_set(t, 0, zeros);
    tet_trainer_set(t, 1, zeros);
    while (tet_trainer_cursor(t).step == step)
        (void)tet_trainer_step(t);
    tet_trainer_get(t, 0, w);
    memcpy(seen, w, SIZE * sizeof *w);
}

static struct tet_plan augment_plan(uint32_t crop, bool flip)
{
    struct tet_plan p = make_plan(TET_RULE_BP, TET_MSE, IMAGES, 1, 1.0f);
    p.epochs = 3;
    p.augment_crop = crop;
    p.augment_flip = flip;
    make_data(&data, 32 + crop, IMAGES, 0, SIZE, 2, false);
    make_images(&data, PLANES, ROWS, COLUMNS);
    for (uint32_t i = 0; i < IMAGES; i++) {
        data.t[2 * i] = 1.0f;
        data.t[2 * i + 1] = 0.0f;
    }
    return p;
}

/* The inputs of a plan without augmentation, in the dataset's order. */
static void plain_inputs(struct tet_plan p, double *plain)
{
    float seen[SIZE];
    p.augment_crop = 0;
    p.augment_flip = p.shuffle = false;
    struct tet_trainer *t = make(&p, &data, NULL);
    for (uint32_t i = 0; i < IMAGES; i++) {
        next_input(t, seen);
        for (uint32_t k = 0; k < SIZE; k++)
            plain[i * SIZE + k] = seen[k];
    }
    tet_trainer_destroy(t);
}

static bool same_image(const float *seen, const double *image)
{
    for (uint32_t k = 0; k < SIZE; k++)
        if ((double)seen[k] != image[k])
            return false;
    return true;
}

static void augmented_images(void **state)
{
    (void)state;
    static double plain[IMAGES * SIZE];
    for (uint32_t crop = 0; crop <= TET_MAX_CROP; crop++) // 8 may leave nothing of 5 x 6
        for (int variant = crop == 0 ? 1 : 0; variant < 12; variant++) {
            struct tet_plan p = augment_plan(crop, variant % 2 != 0);
            p.standardize = (enum tet_standardize)(variant / 2 % 3);
            p.shuffle = variant >= 6;
            if (variant % 4 == 3) {
                for (uint32_t i = 0; i < IMAGES * SIZE; i++)
                    data.bytes[i] = (uint8_t)(draw() >> 40);
                data.set.train.floats = NULL;
                data.set.train.bytes = data.bytes;
            }
            plain_inputs(p, plain);
            struct tet_trainer *t = make(&p, &data, NULL);
            for (uint32_t i = 0; i < 3 * IMAGES; i++) {
                static uint32_t order[IMAGES];
                double image[SIZE];
                float seen[SIZE];
                for (uint32_t k = 0; k < IMAGES && i % IMAGES == 0; k++)
                    order[k] = k;
                const struct tet_stream stream =
                    tet_stream_make(p.seed, TET_STREAM_SHUFFLE, i / IMAGES);
                if (p.shuffle && i % IMAGES == 0)
                    tet_shuffle(&stream, order, IMAGES);
                const uint32_t example = order[i % IMAGES];
                next_input(t, seen);
                augment_naively(&p, i / IMAGES, example, plain + example * SIZE, image);
                if (!same_image(seen, image))
                    fail_msg("crop %u, variant %d: example %u of epoch %u differs", crop, variant,
                             example, i / IMAGES);
            }
            tet_trainer_destroy(t);
        }
}

/* All places alike, half of the images mirrored: a pixel of 1 with a 2 to its right. */
static void augmentation_is_even(void **state)
{
    (void)state;
    enum { CROP = 1, EPOCHS = 150 };
    struct tet_plan p = augment_plan(CROP, true);
    const double n = (double)IMAGES * EPOCHS;
    double counts[9] = {0}, mirrored = 0.0;
    memset(data.x, 0, sizeof data.x);
    for (uint32_t i = 0; i < IMAGES; i++) {
        data.x[i * SIZE + 2 * COLUMNS + 2] = 1.0f;
        data.x[i * SIZE + 2 * COLUMNS + 3] = 2.0f;
    }
    p.epochs = EPOCHS;
    struct tet_trainer *t = make(&p, &data, NULL);
    for (uint32_t i = 0; i < IMAGES * EPOCHS; i++) {
        float seen[SIZE];
        uint32_t one = 0, two = 0;
        next_input(t, seen);
        for (uint32_t k = 0; k < SIZE; k++) {
            one = seen[k] == 1.0f ? k : one;
            two = seen[k] == 2.0f ? k : two;
        }
        mirrored += two < one;
        const uint32_t from_left = two < one ? COLUMNS - 1 - one % COLUMNS : one % COLUMNS;
        assert_true(one / COLUMNS >= 1 && one / COLUMNS <= 3 && from_left >= 1 && from_left <= 3);
        counts[(one / COLUMNS - 1) * 3 + from_left - 1]++;
    }
    tet_trainer_destroy(t);
    close_to("mirrored", 0, 0, mirrored / n, 0.5, 5.0 * sqrt(0.25 / n));
    for (int i = 0; i < 9; i++)
        close_to("place", (uint64_t)i, 0, counts[i] / n, 1.0 / 9.0, 5.0 * sqrt(8.0 / 81.0 / n));
}

/* What is validated and tested on stays as it is. */
static void only_training_is_augmented(void **state)
{
    (void)state;
    static struct log logs[2];
    for (int augmented = 0; augmented < 2; augmented++) {
        struct tet_plan p = augment_plan(augmented ? 2 : 0, augmented);
        make_data(&data, 33, IMAGES, 7, SIZE, 2, true);
        make_images(&data, PLANES, ROWS, COLUMNS);
        p.n_train = IMAGES - 5;
        p.n_validation = 5;
        p.n_test = 7;
        p.batch = 4;
        for (int g = 0; g < TET_GROUPS; g++)
            p.group[g].lr = 0.0f;
        struct tet_trainer *t = make(&p, &data, &logs[augmented]);
        assert_int_equal(run(t), TET_FINISHED);
        tet_trainer_destroy(t);
    }
    assert_int_equal(logs[0].n, logs[1].n);
    for (size_t i = 0; i < logs[0].n; i++) {
        const struct tet_record *plain = &logs[0].record[i], *other = &logs[1].record[i];
        assert_int_equal(plain->series, other->series);
        if (plain->series == TET_SERIES_TRAIN_LOSS)
            assert_true(plain->value != other->value);
        else if (plain->series != TET_SERIES_TRAIN_ACCURACY)
            assert_true(same_double(plain->value, other->value));
    }
}

static void parts(void **state)
{
    (void)state;
    struct tet_plan p = small_plan(TET_RULE_KP, TET_CROSS_ENTROPY, TET_TANH, 0.0f);
    p.epochs = 2;
    for (uint32_t n_test = 0; n_test <= 9; n_test += 3) { // from the end of the training examples
        p.n_test = n_test;
        make_data(&data, 29, 40, 0, 12, 4, true);
        follow("test part at the end", &p, &data);
    }
    const struct {
        uint32_t train, validation, test, n, n_test; // plan, then dataset
        bool fits;
    } cases[] = {
        {20, 5, 10, 25, 10, true},         {20, 5, 10, 24, 10, false},
        {20, 5, 11, 25, 10, false},        {20, 5, 10, 35, 0, true},
        {20, 5, 10, 34, 0, false},         {20, UINT32_MAX, 0, 30, 0, false},
        {20, 5, UINT32_MAX, 30, 0, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tet_error error = {0};
        struct tet_trainer *t = NULL;
        p.n_train = cases[i].train;
        p.n_validation = cases[i].validation;
        p.n_test = cases[i].test;
        make_data(&data, 30, cases[i].n, cases[i].n_test, 12, 4, true);
        const enum tet_err err = tet_trainer_create(&t, &p, &data.set, NULL, NULL, &error);
        if (err != (cases[i].fits ? TET_OK : TET_BAD_DATASET))
            fail_msg("case %zu: got %d (%s)", i, (int)err, error.message);
        assert_true((t != NULL) == cases[i].fits);
        tet_trainer_destroy(t);
    }
    make_data(&data, 31, 40, 0, 12, 4, false); // real targets
    struct tet_error error = {0};
    struct tet_trainer *t = NULL;
    p = small_plan(TET_RULE_KP, TET_CROSS_ENTROPY, TET_TANH, 0.0f);
    assert_int_equal(tet_trainer_create(&t, &p, &data.set, NULL, NULL, &error), TET_BAD_DATASET);
    assert_null(t);
    p.batch = 0;
    assert_int_equal(tet_trainer_create(&t, &p, &data.set, NULL, NULL, NULL), TET_BAD_DEFINITION);
    assert_null(t);
}

int main(void)
{
    unsetenv("TETRAD_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),
        cmocka_unit_test(standardizing),
        cmocka_unit_test(bytes_are_values),
        cmocka_unit_test(augmented_images),
        cmocka_unit_test(augmentation_is_even),
        cmocka_unit_test(only_training_is_augmented),
        cmocka_unit_test(parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
