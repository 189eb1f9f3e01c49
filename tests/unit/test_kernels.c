// SPDX-License-Identifier: Apache-2.0
/*
 * Kernels but for the products: every one of every instruction set that this processor has equals
 * the scalar one bit for bit, NaN standing for NaN; the scalar ones equal plain loops written here;
 * padding stays zero; nothing outside an output is written. Layouts and the choice of a set.
 */
#include "kernel_arrays.h"

#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* ---- layouts and choice ---- */

static void layouts(void **state)
{
    (void)state;
    for (size_t d = 1; d < 1000; d++) {
        const size_t padded = (d + 15) / 16 * 16, ld = tet_stride(d);
        assert_int_equal(tet_round(d), padded);
        assert_true(ld >= padded && ld <= padded + 16);
        assert_int_equal(ld / 16 % 2, 1);
    }
    for (size_t w = 0; w < COUNT(widths); w++)
        for (size_t c = 0; c < COUNT(few_columns); c++) {
            const size_t rows = widths[w], columns = few_columns[c];
            bool *taken = calloc(tet_packed_floats(rows, columns), sizeof *taken);
            assert_non_null(taken);
            for (size_t r = 0; r < tet_round(rows); r++)
                for (size_t k = 0; k < columns; k++) {
                    const size_t i = tet_packed_at(rows, columns, r, k);
                    assert_int_equal(i, packed_index(rows, columns, r, k));
                    assert_true(i < tet_packed_floats(rows, columns) && !taken[i]);
                    taken[i] = true;
                }
            free(taken);
        }
}

static void selection(void **state)
{
    (void)state;
    const struct tet_kernels *best = NULL, *found = NULL;
    unsetenv("TETRAD_ISA");
    assert_int_equal(tet_kernels_select(&best, NULL), TET_OK);
    assert_non_null(best);
    assert_string_equal(tet_isa_name(), best->name);
    setenv("TETRAD_ISA", "", 1);
    assert_int_equal(tet_kernels_select(&found, NULL), TET_OK);
    assert_ptr_equal(found, best);
    setenv("TETRAD_ISA", "scalar", 1);
    assert_int_equal(tet_kernels_select(&found, NULL), TET_OK);
    assert_ptr_equal(found, scalar);
    assert_string_equal(tet_isa_name(), "scalar");
    for (size_t i = 0; i < n_isas; i++) {
        setenv("TETRAD_ISA", isas[i]->name, 1);
        assert_int_equal(tet_kernels_select(&found, NULL), TET_OK);
        assert_ptr_equal(found, isas[i]);
        assert_string_equal(tet_isa_name(), isas[i]->name);
    }
#if defined(__x86_64__)
    static const char *const wrong[] = {"sse9", "AVX2", "avx", "avx5121", " scalar", "neon"};
#else
    static const char *const wrong[] = {"sse9", "AVX2", "avx", "avx5121", " scalar", "avx512"};
#endif
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct tet_error error = {0};
        setenv("TETRAD_ISA", wrong[i], 1);
        assert_int_equal(tet_kernels_select(&found, &error), TET_BAD_REQUEST);
        assert_int_equal(error.err, TET_BAD_REQUEST);
        if (strstr(error.message, wrong[i]) == NULL || strstr(error.message, "scalar") == NULL)
            fail_msg("TETRAD_ISA=%s: message \"%s\" does not say what is wrong or allowed",
                     wrong[i], error.message);
        assert_int_equal(tet_kernels_select(&found, NULL), TET_BAD_REQUEST);
        assert_string_equal(tet_isa_name(), "none");
    }
    unsetenv("TETRAD_ISA");
}

/* ---- kernels ---- */

static float *values(enum mode mode, size_t n)
{
    float *a = new_array(n);
    for (size_t i = 0; i < n; i++)
        a[i] = value_of(mode);
    return a;
}

static void bias(void **state)
{
    (void)state;
    for (size_t e = 0; e < COUNT(examples); e++)
        for (size_t w = 0; w < COUNT(widths); w++) {
            const enum mode mode = (enum mode)below(MODES);
            const size_t n = examples[e], d = widths[w], ld = tet_stride(d);
            CASE("bias n %zu, %zu, %s", n, d, mode_names[mode]);
            const float *a = activity(mode, n, d, ld), lr = 0.3f;
            const float *before = activity(mode, 1, d, tet_round(d));
            float *expected = copy_of(before, tet_round(d));
            scalar->bias(n, d, a, ld, lr, expected);
            for (size_t c = 0; c < d; c++) {
                float lane[16] = {0};
                for (size_t k = 0; k < n; k++)
                    lane[k % 16] += a[k * ld + c];
                for (size_t half = 8; half > 0; half /= 2)
                    for (size_t i = 0; i < half; i++)
                        lane[i] += lane[i + half];
                same_value("scalar", "b", c, expected[c], fmaf(lr, lane[0], before[c]));
            }
            for (size_t c = d; c < tet_round(d); c++)
                assert_true(expected[c] == 0.0f);
            for (size_t i = 0; i < n_isas; i++) {
                float *b = copy_of(before, tet_round(d));
                isas[i]->bias(n, d, a, ld, lr, b);
                same(isas[i]->name, "b", b, expected, tet_round(d));
            }
            drop_arrays();
        }
}

static void gate(void **state)
{
    (void)state;
    static const char *const names[] = {"relu", "tanh", "identity"};
    for (int phi = TET_RELU; phi <= TET_IDENTITY; phi++)
        for (int mode = 0; mode < MODES; mode++)
            for (size_t w = 0; w < COUNT(widths); w++) {
                const size_t n = 1 + below(9), d = widths[w], ld = tet_stride(d);
                CASE("gate %s n %zu, %zu, %s", names[phi], n, d, mode_names[mode]);
                const float *s = activity((enum mode)mode, n, d, ld);
                const float *x = activity((enum mode)mode, n, d, ld);
                float *expected = new_array(n * ld);
                scalar->gate(n, d, ld, (enum tet_activation)phi, s, x, expected);
                check_padding(expected, n, d, ld, true);
                for (size_t r = 0; r < n; r++)
                    for (size_t c = 0; c < d; c++) {
                        const size_t i = r * ld + c;
                        same_value("scalar", "y", i, expected[i],
                                   phi == TET_RELU   ? (x[i] > 0.0f ? s[i] : 0.0f)
                                   : phi == TET_TANH ? s[i] * fmaf(-x[i], x[i], 1.0f)
                                                     : s[i]);
                    }
                for (size_t i = 0; i < n_isas; i++) {
                    float *y = new_array(n * ld), *in_place = copy_of(s, n * ld);
                    isas[i]->gate(n, d, ld, (enum tet_activation)phi, s, x, y);
                    same(isas[i]->name, "y", y, expected, n * ld);
                    isas[i]->gate(n, d, ld, (enum tet_activation)phi, in_place, x, in_place);
                    same(isas[i]->name, "y in place", in_place, expected, n * ld);
                }
                drop_arrays();
            }
}

/* Losses, signals and count by double arithmetic. Returns how many labels are the first largest. */
static size_t plain_cross_entropy(size_t n, size_t d, size_t ld, const float *z,
                                  const int32_t *labels, const float *s, const float *loss)
{
    size_t correct = 0;
    for (size_t r = 0; r < n; r++, z += ld, s += ld) {
        size_t best = 0;
        for (size_t c = 0; c < d; c++)
            if (z[c] > z[best])
                best = c;
        double sum = 0.0;
        for (size_t c = 0; c < d; c++)
            sum += exp((double)z[c] - z[best]);
        const size_t label = (size_t)labels[r];
        const double expected = log(sum) - ((double)z[label] - z[best]);
        close_to(loss[r], expected, 1e-6 * (1.0 + fabs(expected)));
        for (size_t c = 0; c < d; c++) {
            const double p = exp((double)z[c] - z[best]) / sum;
            close_to(s[c], ((c == label ? 1.0 : 0.0) - p) / (double)n, 2e-6 / (double)n);
        }
        correct += best == label;
    }
    return correct;
}

/* Values that a softmax can have to deal with; ties on purpose. */
static float *logits(enum mode mode, size_t n, size_t d, size_t ld)
{
    float *z = activity(mode == VAST ? PLAIN : mode, n, d, ld);
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < d; c++) {
            float *v = z + r * ld + c;
            *v = mode == VAST ? *v * 100.0f : mode == PLAIN ? roundf(*v * 4.0f) / 2.0f : *v;
        }
    return z;
}

static void one_cross_entropy(size_t n, size_t d, enum mode mode)
{
    CASE("cross_entropy n %zu, %zu, %s", n, d, mode_names[mode]);
    const size_t ld = tet_stride(d);
    const float *z0 = logits(mode, n, d, ld);
    int32_t labels[100];
    for (size_t r = 0; r < n; r++)
        labels[r] = (int32_t)below(d);
    float *z = copy_of(z0, n * ld), *s = new_array(n * ld), *loss = new_array(n);
    const size_t correct = scalar->cross_entropy(n, d, ld, z, labels, 1.0f / (float)n, s, loss);
    for (size_t r = 0; r < n; r++)
        untouched("z", z + r * ld, z0 + r * ld, d);
    if (mode != WILD) {
        check_padding(s, n, d, ld, true);
        assert_int_equal(correct, plain_cross_entropy(n, d, ld, z0, labels, s, loss));
    }
    for (size_t i = 0; i < n_isas; i++) {
        float *zi = copy_of(z0, n * ld), *si = new_array(n * ld), *li = new_array(n);
        assert_int_equal(correct,
                         isas[i]->cross_entropy(n, d, ld, zi, labels, 1.0f / (float)n, si, li));
        same(isas[i]->name, "loss", li, loss, n);
        same(isas[i]->name, "s", si, s, n * ld);
        same(isas[i]->name, "z", zi, z, n * ld);
    }
    for (size_t i = 0; i <= n_isas; i++) { // the losses alone
        const struct tet_kernels *k = i < n_isas ? isas[i] : scalar;
        float *zi = copy_of(z0, n * ld), *li = new_array(n);
        assert_int_equal(correct,
                         k->cross_entropy(n, d, ld, zi, labels, 1.0f / (float)n, NULL, li));
        same(k->name, "loss alone", li, loss, n);
        for (size_t r = 0; r < n; r++)
            untouched("z", zi + r * ld, z0 + r * ld, d);
    }
    drop_arrays();
}

static void cross_entropy(void **state)
{
    (void)state;
    for (int mode = 0; mode < MODES; mode++)
        for (size_t w = 0; w < COUNT(widths); w++) {
            one_cross_entropy(examples[below(COUNT(examples))], widths[w], (enum mode)mode);
            one_cross_entropy(1 + below(4), widths[w], (enum mode)mode);
        }
}

/* The contract allows s to be z. */
static void cross_entropy_in_place(void **state)
{
    (void)state;
    for (size_t w = 0; w < COUNT(few_widths); w++) {
        const size_t n = 7, d = few_widths[w], ld = tet_stride(d);
        CASE("cross_entropy in place n %zu, %zu", n, d);
        const float *z0 = logits(PLAIN, n, d, ld);
        int32_t labels[7];
        for (size_t r = 0; r < n; r++)
            labels[r] = (int32_t)below(d);
        float *z = copy_of(z0, n * ld), *s = new_array(n * ld), *loss = new_array(n);
        const size_t correct = scalar->cross_entropy(n, d, ld, z, labels, 1.0f / (float)n, s, loss);
        for (size_t i = 0; i <= n_isas; i++) {
            const struct tet_kernels *k = i < n_isas ? isas[i] : scalar;
            float *both = copy_of(z0, n * ld), *li = new_array(n);
            assert_int_equal(correct,
                             k->cross_entropy(n, d, ld, both, labels, 1.0f / (float)n, both, li));
            same(k->name, "loss", li, loss, n);
            for (size_t r = 0; r < n; r++)
                same(k->name, "s", both + r * ld, s + r * ld, d);
        }
        drop_arrays();
    }
}

/* The first of equal values counts; NaN is never the largest but in the first place. */
static void cross_entropy_ties(void **state)
{
    (void)state;
    const struct tet_kernels *all[MAX_ISAS + 1] = {scalar};
    memcpy(all + 1, isas, sizeof isas);
    for (size_t i = 0; i <= n_isas; i++) {
        float z[3 * 16] = {[0] = 1,   [1] = 3,  [2] = 3,  [16] = -2, [17] = -2,
                           [18] = -2, [32] = 5, [33] = 4, [34] = 5};
        float loss[3];
        CASE("ties, %s", all[i]->name);
        assert_int_equal(
            all[i]->cross_entropy(3, 3, 16, z, (int32_t[]){1, 0, 0}, 1.0f / 3.0f, NULL, loss), 3);
        assert_int_equal(
            all[i]->cross_entropy(3, 3, 16, z, (int32_t[]){2, 1, 2}, 1.0f / 3.0f, NULL, loss), 0);
        close_to(loss[1], log(3.0), 1e-6);
    }
}

static void mse(void **state)
{
    (void)state;
    for (int mode = 0; mode < MODES; mode++)
        for (size_t w = 0; w < COUNT(widths); w++) {
            const size_t n = examples[below(COUNT(examples))], d = widths[w], ld = tet_stride(d);
            CASE("mse n %zu, %zu, %s", n, d, mode_names[mode]);
            const float *z = activity((enum mode)mode, n, d, ld);
            const float *t = activity((enum mode)mode, n, d, ld);
            float *s = new_array(n * ld), *loss = new_array(n), *only = new_array(n);
            scalar->mse(n, d, ld, z, t, 1.0f / (float)n, s, loss);
            check_padding(s, n, d, ld, true);
            scalar->mse(n, d, ld, z, t, 1.0f / (float)n, NULL, only);
            same("scalar", "loss alone", only, loss, n);
            for (size_t r = 0; r < n && mode == PLAIN; r++) {
                double sum = 0.0;
                for (size_t c = 0; c < d; c++) {
                    const double e = (double)t[r * ld + c] - z[r * ld + c];
                    sum += e * e / 2.0;
                    close_to(s[r * ld + c], e / (double)n, 1e-6 / (double)n);
                }
                close_to(loss[r], sum, 1e-6 * sum);
            }
            for (size_t i = 0; i < n_isas; i++) {
                float *si = new_array(n * ld), *li = new_array(n);
                isas[i]->mse(n, d, ld, z, t, 1.0f / (float)n, si, li);
                same(isas[i]->name, "s", si, s, n * ld);
                same(isas[i]->name, "loss", li, loss, n);
                isas[i]->mse(n, d, ld, z, t, 1.0f / (float)n, NULL, li);
                same(isas[i]->name, "loss alone", li, loss, n);
            }
            drop_arrays();
        }
}

static void dot(void **state)
{
    (void)state;
    for (int mode = 0; mode < MODES; mode++)
        for (size_t e = 0; e < COUNT(examples); e++)
            for (size_t w = 0; w < COUNT(widths); w++) {
                const size_t n = examples[e], d = widths[w], lda = tet_stride(d);
                const size_t ldb = MAX(lda, 208);
                CASE("dot %zu x %zu, %s", n, d, mode_names[mode]);
                const float *a = activity((enum mode)mode, n, d, lda);
                const float *b = activity((enum mode)mode, n, d, ldb);
                float lane[16] = {0};
                double exact = 0.0, size = 0.0;
                for (size_t r = 0; r < n; r++)
                    for (size_t c = 0; c < tet_round(d); c++) {
                        const float u = a[r * lda + c], v = b[r * ldb + c];
                        lane[c % 16] = fmaf(u, v, lane[c % 16]);
                        exact += (double)u * v;
                        size += fabs((double)u * v);
                    }
                for (size_t half = 8; half > 0; half /= 2)
                    for (size_t i = 0; i < half; i++)
                        lane[i] += lane[i + half];
                const float expected = scalar->dot(n, d, a, lda, b, ldb);
                same_value("scalar", "dot", 0, expected, lane[0]);
                if (mode == PLAIN)
                    close_to(expected, exact, 1e-5 * size);
                for (size_t i = 0; i < n_isas; i++)
                    same_value(isas[i]->name, "dot", 0, isas[i]->dot(n, d, a, lda, b, ldb),
                               expected);
                drop_arrays();
            }
}

static void finite_values(void **state)
{
    (void)state;
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    const struct tet_kernels *all[MAX_ISAS + 1] = {scalar};
    memcpy(all + 1, isas, sizeof isas);
    for (size_t w = 0; w < COUNT(widths); w++) {
        const size_t n = widths[w];
        float *a = activity(PLAIN, 1, n, tet_round(n));
        a[below(n)] = FLT_MAX;
        a[below(n)] = -0x1p-149f;
        for (size_t k = 0; k <= n_isas; k++) {
            CASE("finite %zu, %s", n, all[k]->name);
            if (!all[k]->finite(a, n))
                fail_msg("%s: finite values taken for others", what);
            for (size_t i = 0; i < n; i++)
                for (size_t b = 0; b < COUNT(bad); b++) {
                    const float before = a[i];
                    a[i] = bad[b];
                    if (all[k]->finite(a, n))
                        fail_msg("%s: %a at %zu not found", what, (double)bad[b], i);
                    a[i] = before;
                }
        }
        drop_arrays();
    }
}

static void standardize(void **state)
{
    (void)state;
    for (int mode = 0; mode < MODES; mode++)
        for (size_t d = 1; d <= 200; d++) {
            CASE("standardize %zu, %s", d, mode_names[mode]);
            const float *scale = values((enum mode)mode, d), *shift = values((enum mode)mode, d);
            const float *x = values((enum mode)mode, d);
            uint8_t *bytes = malloc(d); // exactly, for AddressSanitizer
            assert_non_null(bytes);
            for (size_t i = 0; i < d; i++)
                bytes[i] = (uint8_t)(i == 0 ? 255 : draw());
            float *from_bytes = new_array(d), *from_floats = new_array(d);
            scalar->standardize_bytes(d, bytes, scale, shift, from_bytes);
            scalar->standardize_floats(d, x, scale, shift, from_floats);
            for (size_t i = 0; i < d; i++) {
                same_value("scalar", "bytes", i, from_bytes[i],
                           fmaf((float)bytes[i], scale[i], shift[i]));
                same_value("scalar", "floats", i, from_floats[i], fmaf(x[i], scale[i], shift[i]));
            }
            for (size_t k = 0; k < n_isas; k++) {
                float *y = new_array(d);
                isas[k]->standardize_bytes(d, bytes, scale, shift, y);
                same(isas[k]->name, "bytes", y, from_bytes, d);
                isas[k]->standardize_floats(d, x, scale, shift, y);
                same(isas[k]->name, "floats", y, from_floats, d);
            }
            free(bytes);
            drop_arrays();
        }
}

static void transpose(void **state)
{
    (void)state;
    for (size_t e = 0; e < COUNT(examples); e++)
        for (size_t w = 0; w < COUNT(widths); w++)
            for (int way = 0; way < 2; way++) {
                const size_t n = way ? widths[w] : examples[e], d = way ? examples[e] : widths[w];
                const size_t lda = tet_stride(d), ldb = tet_stride(n);
                const size_t wide = n + below(ldb - n + 1); // as wide as the columns, or wider
                CASE("transpose %zu x %zu, to width %zu", n, d, wide);
                const float *a = activity(WILD, n, d, lda), *a0 = copy_of(a, n * lda);
                for (size_t k = 0; k <= n_isas; k++) {
                    const struct tet_kernels *isa = k < n_isas ? isas[k] : scalar;
                    float *b = new_array(d * ldb);
                    isa->transpose(n, d, a, lda, b, ldb, wide);
                    for (size_t c = 0; c < d; c++) {
                        for (size_t i = 0; i < n; i++)
                            same_value(isa->name, "b", c * ldb + i, b[c * ldb + i], a[i * lda + c]);
                        for (size_t i = n; i < ldb; i++)
                            if (bits_of(b[c * ldb + i]) != (i < wide ? 0 : spoiled))
                                fail_msg("%s, %s: (%zu, %zu) is %a", what, isa->name, c, i,
                                         (double)b[c * ldb + i]);
                    }
                }
                untouched("a", a, a0, n * lda);
                drop_arrays();
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(layouts),
        TEST(selection),
        TEST(bias),
        TEST(gate),
        TEST(cross_entropy),
        TEST(cross_entropy_in_place),
        TEST(cross_entropy_ties),
        TEST(mse),
        TEST(dot),
        TEST(finite_values),
        TEST(standardize),
        TEST(transpose),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
