// SPDX-License-Identifier: Apache-2.0
/*
 * Reads tables. See csv.h. Any thread; no state.
 *
 * A table is walked twice: to check and to count, then to fill what was allocated. Both walks are the
 * same code. Numbers are read by strtod in the C locale (nobody sets another), so that a text always
 * gives the same bits.
 */
#include "data/csv.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BUFFER = 1 << 16,
    FIELD = 256, // bytes of a field, at most
    SHOWN = 40   // bytes of a field in a message
};

enum after { AFTER_COMMA, AFTER_ROW, AFTER_END };

struct table {
    const char *path;
    int fd;
    char *buffer;
    size_t at, end;
    uint64_t line;   // of the field, from 1
    uint32_t column; // of the field, from 1
    uint64_t next_line;
    bool quoted;
    char field[FIELD];
    size_t size; // of field
};

/* What one walk finds and fills. */
struct walk {
    const struct csv_source *source;
    bool test;        // this is the table to test on
    uint32_t columns; // 0: not known yet
    uint32_t label;   // the classes' column, from 0
    uint64_t rows, test_rows;
    int64_t greatest; // label to train on
    uint64_t room[2]; // rows that x and labels have
    float *x[2];      // train, test; NULL in the first walk
    int32_t *labels[2];
};

static enum tet_err bad(const struct table *t, struct tet_error *error, const char *what)
{
    return tet_error_set(error, TET_BAD_DATASET, "%s: line %llu, column %u: %s", t->path,
                         (unsigned long long)t->line, t->column, what);
}

/* ---- fields ---- */

/* The next byte; -1: the end; -2: an error, in errno. */
static int next_byte(struct table *t)
{
    if (t->at == t->end) {
        ssize_t n;
        do
            n = read(t->fd, t->buffer, BUFFER);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
            return n == 0 ? -1 : -2;
        t->at = 0;
        t->end = (size_t)n;
    }
    return (unsigned char)t->buffer[t->at++];
}

static enum tet_err add_byte(struct table *t, int c, struct tet_error *error)
{
    if (t->size + 1 >= FIELD)
        return bad(t, error, "a field of more than 255 bytes");
    if (c == '\0')
        return bad(t, error, "a zero byte");
    t->field[t->size++] = (char)c;
    t->next_line += c == '\n';
    return TET_OK;
}

/* The inside of a quoted field, behind its first quote; *c is what comes behind its last. */
static enum tet_err read_quoted(struct table *t, int *c, struct tet_error *error)
{
    t->quoted = true;
    for (;;) {
        *c = next_byte(t);
        if (*c == -1)
            return bad(t, error, "a quoted field without its end");
        if (*c == '"' && (*c = next_byte(t)) != '"')
            break; // "" is a quote in the field
        if (*c == -2)
            break;
        const enum tet_err err = add_byte(t, *c, error);
        if (err != TET_OK)
            return err;
    }
    if (*c != ',' && *c != '\r' && *c != '\n' && *c >= 0)
        return bad(t, error, "text behind a quoted field");
    return TET_OK;
}

static enum tet_err read_field(struct table *t, enum after *after, struct tet_error *error)
{
    enum tet_err err = TET_OK;
    t->size = 0;
    t->quoted = false;
    t->line = t->next_line;
    int c = next_byte(t);
    if (c == '"')
        err = read_quoted(t, &c, error);
    while (err == TET_OK && c >= 0 && c != ',' && c != '\n' && c != '\r') {
        err = c == '"' ? bad(t, error, "a quote inside a field") : add_byte(t, c, error);
        c = next_byte(t);
    }
    if (err == TET_OK && c == '\r' && (c = next_byte(t)) != '\n' && c >= 0)
        err = bad(t, error, "a carriage return without a line feed");
    if (err == TET_OK && c == -2)
        err = tet_error_set(error, TET_IO, "%s: %s", t->path, strerror(errno));
    t->field[t->size] = '\0';
    t->next_line += c == '\n';
    *after = c == ',' ? AFTER_COMMA : c == '\n' ? AFTER_ROW : AFTER_END;
    return err;
}

/* A decimal number, perhaps with spaces around it: no "inf", no hexadecimal. */
static bool read_number(const char *text, double *value)
{
    char *end;
    size_t n = 0;
    while (*text == ' ' || *text == '\t')
        text++;
    for (char c; (c = text[n]) != '\0' && ((c >= '0' && c <= '9') || c == '.' || c == '-' ||
                                           c == '+' || c == 'e' || c == 'E');)
        n++; // not strspn, which makes a table for each call
    if (n == 0 || text[n + strspn(text + n, " \t")] != '\0')
        return false;
    *value = strtod(text, &end);
    return end == text + n;
}

/* ---- rows ---- */

static enum tet_err bad_field(const struct table *t, const char *wanted, struct tet_error *error)
{
    char shown[SHOWN];
    size_t n = 0;
    for (; n + 1 < sizeof shown && t->field[n] != '\0'; n++)
        shown[n] = t->field[n] >= ' ' && t->field[n] <= '~' ? t->field[n] : '?';
    shown[n] = '\0';
    return tet_error_set(error, TET_BAD_DATASET, "%s: line %llu, column %u: \"%s\" is no %s",
                         t->path, (unsigned long long)t->line, t->column, shown, wanted);
}

/* Whether the row that is walked is one to test on. */
static bool is_test(const struct walk *w)
{
    const double f = w->source->test_fraction;
    const uint64_t row = w->rows + w->test_rows;
    return w->test || (uint64_t)((double)(row + 1) * f) > (uint64_t)((double)row * f);
}

static enum tet_err take_field(struct walk *w, const struct table *t, bool test,
                               struct tet_error *error)
{
    double value;
    const uint64_t row = test ? w->test_rows : w->rows;
    const uint32_t column = t->column - 1;
    if (!read_number(t->field, &value))
        return bad_field(t, "number", error);
    if (column == w->label) {
        if (!(value >= 0 && value < TET_MAX_UNITS && value == floor(value)))
            return tet_error_set(
                error, TET_BAD_DATASET,
                "%s: line %llu, column %u: the label %g; whole numbers from 0 to %d "
                "are allowed",
                t->path, (unsigned long long)t->line, t->column, value, TET_MAX_UNITS - 1);
        if (w->labels[test] != NULL)
            w->labels[test][row] = (int32_t)value;
        else if (!test && (int64_t)value > w->greatest)
            w->greatest = (int64_t)value;
        else if (w->test && (int64_t)value > w->greatest)
            return bad(t, error, "a label that no example to train on has");
        return TET_OK;
    }
    if (!isfinite((float)value))
        return bad_field(t, "finite float", error);
    if (w->x[test] != NULL)
        w->x[test][row * (w->columns - 1) + column - (column > w->label)] = (float)value;
    return TET_OK;
}

/* The first row: how many columns, whether they are names, which is the label's. A table to test on
 * has as many as the one before it. */
struct head {
    bool names, found;
    uint32_t columns, label, plain; // plain: a column called `label` or `t`
    bool has_plain;
};

static enum tet_err read_head(struct table *t, const struct walk *w, struct head *head,
                              struct tet_error *error)
{
    enum after after = AFTER_COMMA;
    double number;
    enum tet_err err = TET_OK;
    const char *wanted = w->source->label;
    *head = (struct head){0};
    while (err == TET_OK && after == AFTER_COMMA) {
        t->column = head->columns + 1;
        err = read_field(t, &after, error);
        if (err != TET_OK)
            break;
        head->names = head->names || !read_number(t->field, &number);
        if (!head->found && wanted != NULL && strcmp(t->field, wanted) == 0) {
            head->found = true;
            head->label = head->columns;
        }
        if (!head->has_plain && (strcmp(t->field, "label") == 0 || strcmp(t->field, "t") == 0)) {
            head->has_plain = true;
            head->plain = head->columns;
        }
        if (++head->columns > TET_MAX_UNITS + 1u)
            err = bad(t, error, "too many columns");
    }
    if (err == TET_OK && head->columns < 2)
        err = bad(t, error, "a row needs a label and at least one input, with commas between them");
    return err;
}

static enum tet_err find_label(struct walk *w, const struct table *t, const struct head *head,
                               struct tet_error *error)
{
    const char *wanted = w->source->label;
    char *end = NULL;
    if (w->columns != 0 && w->columns != head->columns)
        return tet_error_set(error, TET_BAD_DATASET, "%s: %u columns, the table to train on has %u",
                             t->path, head->columns, w->columns);
    const uint32_t before = w->columns != 0 ? w->label : head->columns;
    w->columns = head->columns;
    if (wanted == NULL) {
        w->label = head->names && head->has_plain ? head->plain : 0;
    } else if (head->names && head->found) {
        w->label = head->label;
    } else {
        const unsigned long index = strtoul(wanted, &end, 10);
        if (*wanted < '0' || *wanted > '9' || *end != '\0' || index >= head->columns)
            return tet_error_set(error, TET_BAD_DATASET,
                                 "%s: there is no column \"%.40s\" for the labels; the name of a "
                                 "column or a number from 0 to %u is allowed",
                                 t->path, wanted, head->columns - 1);
        w->label = (uint32_t)index;
    }
    if (before != head->columns && before != w->label)
        return tet_error_set(error, TET_BAD_DATASET,
                             "%s: its labels are in column %u, those to train on in column %u",
                             t->path, w->label + 1, before + 1);
    return TET_OK;
}

static enum tet_err read_row(struct table *t, struct walk *w, enum after *after,
                             struct tet_error *error)
{
    const bool test = is_test(w);
    enum tet_err err = TET_OK;
    t->column = 0;
    if ((test ? w->test_rows : w->rows) >= w->room[test]) { // only an empty line may follow
        err = read_field(t, after, error);
        if (err == TET_OK && (*after == AFTER_COMMA || t->size > 0 || t->quoted))
            err = bad(t, error, "too many rows");
        return err;
    }
    do {
        t->column++;
        err = read_field(t, after, error);
        if (err == TET_OK && t->column == 1 && *after != AFTER_COMMA && t->size == 0 && !t->quoted)
            return TET_OK; // an empty line, or the end behind the last one
        if (err == TET_OK && t->column > w->columns)
            err = tet_error_set(error, TET_BAD_DATASET,
                                "%s: line %llu has more than %u columns, which the first has",
                                t->path, (unsigned long long)t->line, w->columns);
        if (err == TET_OK)
            err = take_field(w, t, test, error);
    } while (err == TET_OK && *after == AFTER_COMMA);
    if (err == TET_OK && t->column != w->columns)
        err =
            tet_error_set(error, TET_BAD_DATASET, "%s: line %llu has %u columns, the first has %u",
                          t->path, (unsigned long long)t->line, t->column, w->columns);
    if (err == TET_OK)
        *(test ? &w->test_rows : &w->rows) += 1;
    return err;
}

/* ---- tables ---- */

static enum tet_err rewind_table(struct table *t, struct tet_error *error)
{
    static const unsigned char mark[3] = {0xef, 0xbb, 0xbf}; // UTF-8's, as some programs write it
    t->at = t->end = 0;
    t->next_line = t->line = 1;
    t->column = 1;
    if (lseek(t->fd, 0, SEEK_SET) != 0)
        return tet_error_set(error, TET_IO, "%s: %s", t->path, strerror(errno));
    if (next_byte(t) == -1)
        return tet_error_set(error, TET_BAD_DATASET, "%s: the file is empty", t->path);
    t->at = 0;
    if (t->end >= 3 && memcmp(t->buffer, mark, sizeof mark) == 0)
        t->at = 3;
    return TET_OK;
}

/* One walk over a table. */
static enum tet_err walk_table(struct table *t, struct walk *w, struct tet_error *error)
{
    struct head head = {0};
    enum after after = AFTER_ROW;
    const uint64_t before = w->rows + w->test_rows;
    enum tet_err err = rewind_table(t, error);
    if (err == TET_OK)
        err = read_head(t, w, &head, error);
    if (err == TET_OK)
        err = find_label(w, t, &head, error);
    if (err == TET_OK)
        err = rewind_table(t, error);
    if (err == TET_OK && head.names)
        for (after = AFTER_COMMA; err == TET_OK && after == AFTER_COMMA;)
            err = read_field(t, &after, error);
    while (err == TET_OK && after != AFTER_END)
        err = read_row(t, w, &after, error);
    if (err == TET_OK && w->rows + w->test_rows == before)
        err = tet_error_set(error, TET_BAD_DATASET, "%s: no examples in it", t->path);
    return err;
}

static enum tet_err open_table(struct table *t, const char *path, struct tet_error *error)
{
    struct stat st;
    *t = (struct table){.path = path, .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (t->fd < 0 || fstat(t->fd, &st) != 0)
        return tet_error_set(error, TET_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return tet_error_set(error, TET_BAD_DATASET, "%s: not a file", path);
    t->buffer = malloc(BUFFER);
    return t->buffer != NULL ? TET_OK
                             : tet_error_set(error, TET_NO_MEMORY, "%s: out of memory", path);
}

static void close_table(struct table *t)
{
    if (t->fd >= 0)
        close(t->fd);
    free(t->buffer);
}

static enum tet_err walk_all(struct table tables[2], struct walk *w, struct tet_error *error)
{
    w->rows = w->test_rows = 0;
    w->test = false;
    enum tet_err err = walk_table(&tables[0], w, error);
    if (err != TET_OK || w->source->test == NULL)
        return err;
    w->test = true;
    return walk_table(&tables[1], w, error);
}

static enum tet_err allocate(struct tet_dataset *d, struct walk *w, const char *path,
                             uint64_t max_bytes, struct tet_error *error)
{
    const uint64_t n = w->rows + w->test_rows, inputs = w->columns - 1;
    const uint64_t bytes = n * (inputs + 1) * 4; // < 2^33 2^22 4
    if (w->greatest < 1)
        return tet_error_set(error, TET_BAD_DATASET,
                             "%s: only one class to train on, at least 2 are needed", path);
    if (bytes > max_bytes || bytes > SIZE_MAX)
        return tet_error_set(error, TET_BAD_DATASET, "%s: %llu bytes in memory, the limit is %llu",
                             path, (unsigned long long)bytes, (unsigned long long)max_bytes);
    if ((d->memory = malloc((size_t)bytes)) == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "%s: no memory for %llu bytes", path,
                             (unsigned long long)bytes);
    w->room[0] = w->rows;
    w->room[1] = w->test_rows;
    w->labels[0] = d->memory;
    w->labels[1] = w->labels[0] + w->rows;
    w->x[0] = (float *)d->memory + n;
    w->x[1] = w->x[0] + w->rows * inputs;
    d->shape =
        (struct tet_shape){(uint32_t)inputs, (uint32_t)w->greatest + 1, 1, 1, (uint32_t)inputs};
    d->train =
        (struct tet_examples){.n = (uint32_t)w->rows, .floats = w->x[0], .labels = w->labels[0]};
    if (w->test_rows > 0)
        d->test = (struct tet_examples){
            .n = (uint32_t)w->test_rows, .floats = w->x[1], .labels = w->labels[1]};
    return TET_OK;
}

/* Rows taken out to test on are seen before all labels to train on are known. */
static enum tet_err check_labels(const struct tet_dataset *d, const char *path,
                                 struct tet_error *error)
{
    for (uint32_t i = 0; i < d->test.n; i++)
        if (d->test.labels[i] >= (int32_t)d->shape.outputs)
            return tet_error_set(error, TET_BAD_DATASET,
                                 "%s: label %d is among the examples to test on alone", path,
                                 d->test.labels[i]);
    return TET_OK;
}

enum tet_err csv_load(struct tet_dataset *dataset, const struct csv_source *source,
                      uint64_t max_bytes, struct tet_error *error)
{
    struct table tables[2] = {{.fd = -1}, {.fd = -1}};
    struct walk w = {.source = source, .greatest = -1, .room = {UINT32_MAX / 2, UINT32_MAX / 2}};
    *dataset = (struct tet_dataset){0};
    enum tet_err err = open_table(&tables[0], source->train, error);
    if (err == TET_OK && source->test != NULL)
        err = open_table(&tables[1], source->test, error);
    if (err == TET_OK)
        err = walk_all(tables, &w, error);
    if (err == TET_OK && w.rows == 0)
        err = tet_error_set(error, TET_BAD_DATASET, "%s: no examples to train on", source->train);
    const uint64_t rows = w.rows, test_rows = w.test_rows;
    if (err == TET_OK)
        err = allocate(dataset, &w, source->train, max_bytes, error);
    if (err == TET_OK)
        err = walk_all(tables, &w, error);
    if (err == TET_OK && (w.rows != rows || w.test_rows != test_rows))
        err = tet_error_set(error, TET_BAD_DATASET, "%s: it changed while it was read",
                            source->train);
    if (err == TET_OK)
        err = check_labels(dataset, source->train, error);
    close_table(&tables[0]);
    close_table(&tables[1]);
    if (err != TET_OK)
        tet_dataset_free(dataset);
    return err;
}
