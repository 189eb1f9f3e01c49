// SPDX-License-Identifier: Apache-2.0
/*
 * NumPy's array format: the head (a Python dictionary as text) and the element types.
 *
 * The parser reads exactly the dictionaries numpy writes: the keys descr, fortran_order and shape,
 * each once, in any order; nothing is evaluated. Any thread; no state.
 */
#include "data/npy.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "arrays are little-endian, in memory too");

static const struct {
    char code[3];
    unsigned char bytes;
} types[] = {
    [NPY_F4] = {"f4", 4}, [NPY_F8] = {"f8", 8}, [NPY_I1] = {"i1", 1}, [NPY_U1] = {"u1", 1},
    [NPY_I2] = {"i2", 2}, [NPY_U2] = {"u2", 2}, [NPY_I4] = {"i4", 4}, [NPY_U4] = {"u4", 4},
    [NPY_I8] = {"i8", 8}, [NPY_U8] = {"u8", 8},
};

struct text {
    const char *at, *end;
};

size_t npy_type_bytes(enum npy_type type)
{
    return types[type].bytes;
}

bool npy_is_float(enum npy_type type)
{
    return type == NPY_F4 || type == NPY_F8;
}

size_t npy_header(unsigned char header[NPY_HEADER], enum npy_type type, uint32_t rank,
                  const uint64_t *shape)
{
    assert(rank <= NPY_RANK);
    char text[NPY_HEADER];
    int n = snprintf(text, sizeof text, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                     types[type].bytes == 1 ? '|' : '<', types[type].code);
    for (uint32_t i = 0; i < rank; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%llu", i ? ", " : "",
                      (unsigned long long)shape[i]);
    n += snprintf(text + n, sizeof text - (size_t)n, "%s), }", rank == 1 ? "," : "");
    size_t size = ((size_t)n + 11 + 63) / 64 * 64; // magic and length 10, newline 1
    assert(size <= NPY_HEADER);
    memset(header, ' ', size);
    memcpy(header, "\x93NUMPY\1\0", NPY_MAGIC);
    header[8] = (unsigned char)((size - 10) & 255);
    header[9] = (unsigned char)((size - 10) >> 8);
    memcpy(header + 10, text, (size_t)n);
    header[size - 1] = '\n';
    return size;
}

float npy_to_float(const struct npy *array, uint64_t i)
{
    const void *data = array->data;
    switch (array->type) {
    case NPY_F4:
        return ((const float *)data)[i];
    case NPY_F8: // beyond floats C leaves the conversion open; IEEE's is infinity
        return (float)((const double *)data)[i];
    case NPY_U8:
        return (float)((const uint64_t *)data)[i];
    default:
        return (float)npy_to_int(array, i);
    }
}

int64_t npy_to_int(const struct npy *array, uint64_t i)
{
    const void *data = array->data;
    switch (array->type) {
    case NPY_I1:
        return ((const int8_t *)data)[i];
    case NPY_U1:
        return ((const uint8_t *)data)[i];
    case NPY_I2:
        return ((const int16_t *)data)[i];
    case NPY_U2:
        return ((const uint16_t *)data)[i];
    case NPY_I4:
        return ((const int32_t *)data)[i];
    case NPY_U4:
        return ((const uint32_t *)data)[i];
    case NPY_I8:
        return ((const int64_t *)data)[i];
    case NPY_U8: {
        uint64_t value = ((const uint64_t *)data)[i];
        return value > INT64_MAX ? INT64_MAX : (int64_t)value;
    }
    default:
        assert(!npy_is_float(array->type));
        return 0;
    }
}

enum tet_err npy_length_bytes(const unsigned char magic[NPY_MAGIC], const char *name, size_t *bytes,
                              struct tet_error *error)
{
    if (memcmp(magic, "\x93NUMPY", 6) != 0)
        return tet_error_set(error, TET_BAD_DATASET, "array %s: not an .npy file", name);
    if (magic[6] < 1 || magic[6] > 3 || magic[7] != 0)
        return tet_error_set(error, TET_BAD_DATASET, "array %s: unknown .npy version %u.%u", name,
                             magic[6], magic[7]);
    *bytes = magic[6] == 1 ? 2 : 4;
    return TET_OK;
}

static void skip_spaces(struct text *t)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n' || *t->at == '\t'))
        t->at++;
}

static bool take(struct text *t, char c)
{
    skip_spaces(t);
    if (t->at == t->end || *t->at != c)
        return false;
    t->at++;
    return true;
}

static bool take_word(struct text *t, const char *word)
{
    skip_spaces(t);
    size_t n = strlen(word);
    if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n) != 0)
        return false;
    t->at += n;
    return true;
}

/* A string in single or double quotes, without escapes, of fewer than `room` characters. */
static bool take_string(struct text *t, char *string, size_t room)
{
    skip_spaces(t);
    if (t->at == t->end || (*t->at != '\'' && *t->at != '"'))
        return false;
    char quote = *t->at++;
    size_t n = 0;
    for (; t->at < t->end && *t->at != quote; t->at++) {
        if (n + 1 >= room || *t->at < ' ' || *t->at > '~' || *t->at == '\\')
            return false;
        string[n++] = *t->at;
    }
    string[n] = '\0';
    return take(t, quote);
}

static bool take_number(struct text *t, uint64_t *number)
{
    skip_spaces(t);
    const char *from = t->at;
    *number = 0;
    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++)
        if (__builtin_mul_overflow(*number, UINT64_C(10), number) ||
            __builtin_add_overflow(*number, (uint64_t)(*t->at - '0'), number))
            return false;
    return t->at > from;
}

static enum tet_err parse_descr(struct text *t, struct npy *array, struct tet_error *error)
{
    char descr[32];
    if (take(t, '['))
        return tet_error_set(error, TET_BAD_DATASET, "array %s: records are not supported",
                             array->name);
    if (!take_string(t, descr, sizeof descr))
        return tet_error_set(error, TET_BAD_DATASET, "array %s: its dtype cannot be read",
                             array->name);
    if (descr[0] == '>')
        return tet_error_set(error, TET_BAD_DATASET,
                             "array %s: big-endian (dtype %s); save it little-endian", array->name,
                             descr);
    const char *code = descr[0] == '<' || descr[0] == '|' ? descr + 1 : "";
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(code, types[i].code) == 0 && (descr[0] == '<' || types[i].bytes == 1)) {
            array->type = (enum npy_type)i;
            return TET_OK;
        }
    if (strcmp(code, "b1") == 0) {
        array->type = NPY_U1;
        return TET_OK;
    }
    return tet_error_set(error, TET_BAD_DATASET,
                         "array %s: dtype %s is not supported, only f4, f8, i1 to i8, u1 to u8",
                         array->name, descr);
}

static enum tet_err parse_shape(struct text *t, struct npy *array, struct tet_error *error)
{
    bool more = take(t, '(');
    if (!more)
        goto bad;
    while (!take(t, ')')) {
        if (!more || array->rank == NPY_RANK)
            goto bad;
        if (!take_number(t, &array->shape[array->rank++]))
            goto bad;
        more = take(t, ',');
    }
    return TET_OK;
bad:
    return tet_error_set(error, TET_BAD_DATASET,
                         "array %s: its shape cannot be read (at most %d dimensions)", array->name,
                         NPY_RANK);
}

static enum tet_err count_elements(struct npy *array, struct tet_error *error)
{
    uint64_t bytes = npy_type_bytes(array->type);
    bool over = false;
    array->n = 1;
    for (uint32_t i = 0; i < array->rank; i++) {
        over |= __builtin_mul_overflow(array->n, array->shape[i], &array->n);
        over |= __builtin_mul_overflow(bytes, array->shape[i], &bytes);
    }
    if (over || bytes > INT64_MAX)
        return tet_error_set(error, TET_BAD_DATASET, "array %s: its shape is too large",
                             array->name);
    return TET_OK;
}

enum tet_err npy_parse(const char *text, size_t size, struct npy *array, bool *fortran,
                       struct tet_error *error)
{
    struct text t = {text, text + size};
    bool descr = false, order = false, shape = false, more = take(&t, '{');
    enum tet_err err = TET_OK;
    array->rank = 0;
    *fortran = false;
    if (!more)
        goto bad;
    while (!take(&t, '}')) {
        char key[32];
        if (!more || !take_string(&t, key, sizeof key) || !take(&t, ':'))
            goto bad;
        if (!descr && strcmp(key, "descr") == 0) {
            descr = true;
            err = parse_descr(&t, array, error);
        } else if (!order && strcmp(key, "fortran_order") == 0) {
            order = true;
            *fortran = take_word(&t, "True");
            if (!*fortran && !take_word(&t, "False"))
                goto bad;
        } else if (!shape && strcmp(key, "shape") == 0) {
            shape = true;
            err = parse_shape(&t, array, error);
        } else {
            goto bad;
        }
        if (err != TET_OK)
            return err;
        more = take(&t, ',');
    }
    skip_spaces(&t);
    if (!descr || !order || !shape || t.at != t.end)
        goto bad;
    return count_elements(array, error);
bad:
    return tet_error_set(error, TET_BAD_DATASET, "array %s: its .npy head cannot be read",
                         array->name);
}
