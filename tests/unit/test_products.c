// SPDX-License-Identifier: Apache-2.0
/*
 * Products: those of every instruction set that this processor has equal the scalar ones bit for
 * bit, NaN standing for NaN; the scalar ones equal plain loops written here; padding stays zero;
 * nothing outside an output is written.
 */
#include "kernel_arrays.h"

static const size_t few_examples[] = {1, 3, 6, 7, 16};

/* ---- products ---- */

/* Reference (n, r): fmaf in ascending order, and a plain sum in double to judge the order's error
 * by. */
static void plain_forward(const struct tet_forward *f)
{
    for (size_t n = 0; n < f->n; n++)
        for (size_t r = 0; r < f->p->rows; r++) {
            float y = 0.0f;
            double exact = 0.0, size = 0.0;
            for (size_t c = 0; c < f->p->columns; c++) {
                const float a = f->x[n * f->ldx + c], w = weight(f->p, r, c);
                y = fmaf(a, w, y);
                exact += (double)a * w;
                size += fabs((double)a * w);
            }
            if (f->bias != NULL) {
                y += f->bias[r];
                exact += f->bias[r];
            }
            const size_t i = n * f->ldy + r;
            const float gate = f->gate != NULL ? f->gate[i] : 0.0f;
            same_value("scalar", "y", i, f->y[i], finished(f->finish, y, gate));
            if (f->finish == TET_FINISH_NONE && isfinite(y))
                close_to(f->y[i], exact, 1e-5 * size + 1e-6 * fabs(exact) + 1e-40);
        }
}

static void one_forward(size_t n, size_t rows, size_t columns, enum tet_finish finish, bool bias,
                        enum mode mode, bool reference)
{
    CASE("forward n %zu, %zu x %zu, %s, %s, %s", n, rows, columns, finish_names[finish],
         bias ? "bias" : "no bias", mode_names[mode]);
    const size_t ldx = tet_stride(columns), ldy = tet_stride(rows);
    struct tet_packed p = packed(mode, rows, columns, false);
    const float *w = copy_of(p.w, tet_packed_floats(rows, columns));
    const float *x = activity(mode, n, columns, ldx), *x0 = copy_of(x, n * ldx);
    const bool gated = finish == TET_FINISH_GATE_RELU || finish == TET_FINISH_GATE_TANH;
    struct tet_forward f = {.rank = &alone,
                            .n = n,
                            .x = x,
                            .ldx = ldx,
                            .p = &p,
                            .bias = bias ? activity(mode, 1, rows, tet_round(rows)) : NULL,
                            .finish = finish,
                            .gate = gated ? activity(mode, n, rows, ldy) : NULL,
                            .y = new_array(n * ldy),
                            .ldy = ldy};
    scalar->forward(&f);
    check_padding(f.y, n, rows, ldy, mode != WILD);
    if (reference)
        plain_forward(&f);
    const float *expected = f.y;
    for (size_t i = 0; i < n_isas; i++) {
        f.y = new_array(n * ldy);
        EVERY_RANK(rank, 1 + below(4))
        {
            f.rank = &rank;
            isas[i]->forward(&f);
        }
        same(isas[i]->name, "y", f.y, expected, n * ldy);
        check_padding(f.y, n, rows, ldy, mode != WILD);
    }
    untouched("x", x, x0, n * ldx);
    untouched("W", p.w, w, tet_packed_floats(rows, columns));
    drop_arrays();
}

static void forward_every_size(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(examples); n++)
        for (size_t r = 0; r < COUNT(widths); r++)
            for (size_t c = 0; c < COUNT(widths); c++) {
                // the larger a shape, the fewer of its neighbours are walked through
                if (examples[n] > 17 && below(2) != 0)
                    continue;
                enum tet_finish finish = (enum tet_finish)below(5);
                const bool bias = finish <= TET_FINISH_TANH && below(4) != 0;
                one_forward(examples[n], widths[r], widths[c], finish, bias,
                            (enum mode)below(MODES), false);
            }
}

static void forward_every_finish(void **state)
{
    const bool gates_with_bias = *state != NULL;
    for (int finish = gates_with_bias ? TET_FINISH_GATE_RELU : 0; finish <= TET_FINISH_GATE_TANH;
         finish++)
        for (int bias = gates_with_bias ? 1 : 0; bias < 2; bias++)
            for (int mode = 0; mode < MODES; mode++)
                for (size_t n = 0; n < COUNT(few_examples); n++)
                    for (size_t r = 0; r < COUNT(few_widths); r++)
                        for (size_t c = 0; c < COUNT(few_columns); c++)
                            if (gates_with_bias || bias == 0 || finish < TET_FINISH_GATE_RELU)
                                one_forward(few_examples[n], few_widths[r], few_columns[c],
                                            (enum tet_finish)finish, bias != 0, (enum mode)mode,
                                            true);
}

static void plain_backward(const struct tet_packed *p, size_t n, const float *st, size_t ld,
                           const float *yt)
{
    for (size_t c = 0; c < p->columns; c++)
        for (size_t i = 0; i < n; i++) {
            float y = 0.0f;
            double exact = 0.0, size = 0.0;
            for (size_t r = 0; r < p->rows; r++) {
                y = fmaf(weight(p, r, c), st[r * ld + i], y);
                exact += (double)weight(p, r, c) * st[r * ld + i];
                size += fabs((double)weight(p, r, c) * st[r * ld + i]);
            }
            same_value("scalar", "yt", c * ld + i, yt[c * ld + i], y);
            if (isfinite(y))
                close_to(yt[c * ld + i], exact, 1e-5 * size + 1e-40);
        }
}

static void one_backward(size_t n, size_t rows, size_t columns, enum mode mode, bool reference)
{
    CASE("backward n %zu, %zu x %zu, %s", n, rows, columns, mode_names[mode]);
    const size_t ld = tet_stride(n);
    const struct tet_packed p = packed(mode, rows, columns, false);
    const float *st = activity(mode, rows, n, ld), *st0 = copy_of(st, rows * ld);
    float *expected = new_array(columns * ld);
    scalar->backward(&alone, &p, n, st, ld, expected, ld);
    check_padding(expected, columns, n, ld, mode != WILD);
    if (reference)
        plain_backward(&p, n, st, ld, expected);
    for (size_t i = 0; i < n_isas; i++) {
        float *yt = new_array(columns * ld);
        EVERY_RANK(rank, 1 + below(4))
        isas[i]->backward(&rank, &p, n, st, ld, yt, ld);
        same(isas[i]->name, "yt", yt, expected, columns * ld);
    }
    untouched("st", st, st0, rows * ld);
    drop_arrays();
}

static void backward_sizes(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(examples); n++)
        for (size_t r = 0; r < COUNT(widths); r++)
            for (size_t c = 0; c < COUNT(widths); c++)
                if (examples[n] <= 17 ? below(2) == 0 : below(4) == 0)
                    one_backward(examples[n], widths[r], widths[c], (enum mode)below(MODES), false);
    for (int mode = 0; mode < MODES; mode++)
        for (size_t n = 0; n < COUNT(few_examples); n++)
            for (size_t r = 0; r < COUNT(few_widths); r++)
                for (size_t c = 0; c < COUNT(few_columns); c++)
                    one_backward(few_examples[n], few_widths[r], few_columns[c], (enum mode)mode,
                                 true);
}

static void plain_drive(const struct tet_drive *d, const struct tet_packed *before,
                        const struct tet_packed *after)
{
    for (size_t r = 0; r < before->rows; r++)
        for (size_t c = 0; c < before->columns; c++) {
            float g = 0.0f;
            for (size_t n = 0; n < d->n; n++)
                g = fmaf(d->x[n * d->ldx + c], d->a[n * d->lda + r], g);
            const size_t i = packed_index(before->rows, before->columns, r, c);
            g = fmaf(-d->decay, before->w[i], g);
            if (before->v != NULL) {
                g = fmaf(d->momentum, before->v[i], g);
                same_value("scalar", "velocity", i, after->v[i], g);
            }
            same_value("scalar", "w", i, after->w[i], fmaf(d->lr, g, before->w[i]));
        }
}

static void one_drive(size_t n, size_t rows, size_t columns, bool momentum, enum mode mode,
                      bool reference)
{
    CASE("drive n %zu, %zu x %zu, %s, %s", n, rows, columns, momentum ? "momentum" : "no momentum",
         mode_names[mode]);
    const size_t lda = tet_stride(rows), ldx = tet_stride(columns);
    const size_t floats = tet_packed_floats(rows, columns);
    const struct tet_packed before = packed(mode, rows, columns, momentum);
    const float *a = activity(mode, n, rows, lda), *x = activity(mode, n, columns, ldx);
    const float *a0 = copy_of(a, n * lda), *x0 = copy_of(x, n * ldx);
    struct tet_drive d = {.rank = &alone,
                          .n = n,
                          .a = a,
                          .lda = lda,
                          .x = x,
                          .ldx = ldx,
                          .lr = below(8) == 0 ? 0.0f : 0.1f,
                          .decay = below(4) == 0 ? 0.0f : 0.01f,
                          .momentum = 0.9f};
    const struct tet_packed expected = packed_copy(&before);
    scalar->drive(&d, &expected);
    if (mode != WILD)
        check_packed_padding(&expected);
    if (reference)
        plain_drive(&d, &before, &expected);
    for (size_t i = 0; i < n_isas; i++) {
        const struct tet_packed got = packed_copy(&before);
        EVERY_RANK(rank, 1 + below(4))
        {
            d.rank = &rank;
            isas[i]->drive(&d, &got);
        }
        same(isas[i]->name, "w", got.w, expected.w, floats);
        if (momentum)
            same(isas[i]->name, "velocity", got.v, expected.v, floats);
    }
    untouched("a", a, a0, n * lda);
    untouched("x", x, x0, n * ldx);
    drop_arrays();
}

static void drive_sizes(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(examples); n++)
        for (size_t r = 0; r < COUNT(widths); r++)
            for (size_t c = 0; c < COUNT(widths); c++)
                if (examples[n] <= 17 ? below(2) == 0 : below(4) == 0)
                    one_drive(examples[n], widths[r], widths[c], below(2) == 0,
                              (enum mode)below(MODES), false);
    for (int momentum = 0; momentum < 2; momentum++)
        for (int mode = 0; mode < MODES; mode++)
            for (size_t n = 0; n < COUNT(few_examples); n++)
                for (size_t r = 0; r < COUNT(few_widths); r++)
                    for (size_t c = 0; c < COUNT(few_columns); c++)
                        one_drive(few_examples[n], few_widths[r], few_columns[c], momentum != 0,
                                  (enum mode)mode, true);
}

/* out (nr, columns) against rows r0.. of a times b(k, c). */
static void plain_rows(const struct tet_packed *a, size_t r0, size_t nr, const struct tet_packed *b,
                       const float *bare, size_t ldb, size_t columns, const float *out, size_t ldo)
{
    for (size_t r = 0; r < nr; r++)
        for (size_t c = 0; c < columns; c++) {
            float y = 0.0f;
            for (size_t k = 0; k < a->columns; k++)
                y = fmaf(weight(a, r0 + r, k), b != NULL ? weight(b, c, k) : bare[k * ldb + c], y);
            same_value("scalar", "out", r * ldo + c, out[r * ldo + c], y);
        }
}

static void one_gram(size_t rows, size_t rows_b, size_t columns, enum mode mode)
{
    const struct tet_packed a = packed(mode, rows, columns, false);
    const struct tet_packed b = packed(mode, rows_b, columns, false);
    const size_t ldo = tet_stride(rows_b);
    for (size_t r0 = 0; r0 < rows; r0 += TET_PANEL) {
        const size_t nr = rows - r0 < TET_PANEL ? rows - r0 : TET_PANEL;
        CASE("panel_gram %zu x %zu from row %zu, %zu x %zu, %s", rows, columns, r0, rows_b, columns,
             mode_names[mode]);
        float *expected = new_array(TET_PANEL * ldo);
        scalar->panel_gram(&a, r0, &b, expected, ldo);
        plain_rows(&a, r0, nr, &b, NULL, 0, rows_b, expected, ldo);
        check_padding(expected, nr, rows_b, ldo, mode != WILD);
        for (size_t i = 0; i < n_isas; i++) {
            float *out = new_array(TET_PANEL * ldo);
            isas[i]->panel_gram(&a, r0, &b, out, ldo);
            same(isas[i]->name, "out", out, expected, nr * ldo);
            untouched("out past the rows", out + nr * ldo, expected + nr * ldo,
                      (TET_PANEL - nr) * ldo);
        }
    }
    drop_arrays();
}

static void one_panel_product(size_t rows, size_t columns, size_t nc, enum mode mode)
{
    const struct tet_packed a = packed(mode, rows, columns, false);
    const float *b = activity(mode, columns, nc, TET_PANEL);
    for (size_t r0 = 0; r0 < rows; r0 += TET_PANEL) {
        const size_t nr = rows - r0 < TET_PANEL ? rows - r0 : TET_PANEL;
        CASE("panel_product %zu x %zu from row %zu, %zu columns, %s", rows, columns, r0, nc,
             mode_names[mode]);
        float *expected = new_array(TET_PANEL * TET_PANEL);
        scalar->panel_product(&a, r0, b, TET_PANEL, nc, expected, TET_PANEL);
        plain_rows(&a, r0, nr, NULL, b, TET_PANEL, nc, expected, TET_PANEL);
        check_padding(expected, nr, nc, TET_PANEL, false);
        for (size_t i = 0; i < n_isas; i++) {
            float *out = new_array(TET_PANEL * TET_PANEL);
            isas[i]->panel_product(&a, r0, b, TET_PANEL, nc, out, TET_PANEL);
            same(isas[i]->name, "out", out, expected, nr * TET_PANEL);
            untouched("out past the rows", out + nr * TET_PANEL, expected + nr * TET_PANEL,
                      (TET_PANEL - nr) * TET_PANEL);
        }
    }
    drop_arrays();
}

static void panels(void **state)
{
    (void)state;
    for (size_t r = 0; r < COUNT(widths); r++)
        for (size_t c = 0; c < COUNT(few_columns); c++) {
            for (size_t b = 0; b < COUNT(few_widths); b++)
                one_gram(widths[r], few_widths[b], few_columns[c], (enum mode)below(MODES));
            for (size_t nc = 16; nc <= TET_PANEL; nc += 16)
                one_panel_product(widths[r], few_columns[c], nc, (enum mode)below(MODES));
        }
}

int main(void)
{
    static int yes = 1;
    const struct CMUnitTest tests[] = {
        TEST(forward_every_size),
        TEST(forward_every_finish),
        {"forward_gate_with_bias", forward_every_finish, NULL, forget, &yes},
        TEST(backward_sizes),
        TEST(drive_sizes),
        TEST(panels),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
