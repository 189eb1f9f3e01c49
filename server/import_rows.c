// SPDX-License-Identifier: Apache-2.0
/* Metrics of an archive: lines of `run,step,series,value`, read without trust. */
#include "import_rows.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "import.h"

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./";

/* The number of a name; they come in the same order again and again: looked for from where the last
 * was. -1: no memory; -2: too many. */
static long find_name(struct store_imported_run *run, const char *name, size_t *last)
{
    for (size_t i = 0; i < run->n_names; i++) {
        const size_t k = (*last + 1 + i) % run->n_names;
        if (strcmp(run->names[k], name) == 0) {
            *last = k;
            return (long)k;
        }
    }
    if (run->n_names == IMPORT_MAX_SERIES)
        return -2;
    if (run->names == NULL)
        run->names = calloc(IMPORT_MAX_SERIES, sizeof *run->names);
    char *copy = run->names != NULL ? strdup(name) : NULL;
    if (copy == NULL)
        return -1;
    *last = run->n_names;
    run->names[run->n_names++] = copy;
    return (long)*last;
}

static bool read_uint(const char *text, uint64_t *value)
{
    const size_t n = strspn(text, "0123456789");
    *value = strtoull(text, NULL, 10);
    return n >= 1 && n <= 18 && text[n] == '\0';
}

static bool read_value(const char *text, double *value)
{
    char *end;
    if (strspn(text, "0123456789+-.eE") != strlen(text)) {
        *value = NAN;
        return strcmp(text, "nan") == 0 || strcmp(text, "-nan") == 0 || strcmp(text, "inf") == 0 ||
               strcmp(text, "-inf") == 0;
    }
    *value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*value);
}

static enum tet_err read_line(struct store_imported_run *run, int64_t was, char *line,
                              size_t number, size_t *last, struct tet_error *error)
{
    uint64_t of = 0;
    struct store_imported_row *row = &run->rows[run->n_rows];
    char *field[4];
    size_t n = 0;
    while (n < 4 && (field[n] = strsep(&line, ",")) != NULL)
        n++;
    const size_t length = n == 4 ? strlen(field[2]) : 0;
    if (n != 4 || line != NULL || !read_uint(field[0], &of) || of != (uint64_t)was ||
        !read_uint(field[1], &row->step) || length < 1 || length >= TET_SERIES_NAME ||
        strspn(field[2], letters) != length || !read_value(field[3], &row->value))
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "line %zu is not run %lld, a step, a series and a value", number,
                             (long long)was);
    if (row->step > run->steps)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "line %zu is of step %llu, the run has %llu", number,
                             (unsigned long long)row->step, (unsigned long long)run->steps);
    const long name = find_name(run, field[2], last);
    if (name == -1)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    if (name < 0)
        return tet_error_set(error, TET_BAD_DEFINITION, "it has more than %d series",
                             IMPORT_MAX_SERIES);
    row->name = (uint32_t)name;
    run->n_rows++;
    return TET_OK;
}

enum tet_err import_rows(struct store_imported_run *run, int64_t was, char *text, size_t size,
                         size_t most, struct tet_error *error)
{
    char *rest = text, *line = strsep(&rest, "\n");
    size_t lines = 0, last = 0;
    enum tet_err err = TET_OK;
    if (strlen(line) + (rest != NULL ? strlen(rest) + 1 : 0) != size ||
        strcmp(line, "run,step,series,value") != 0)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "it is no text, or does not begin with run,step,series,value");
    for (const char *c = rest; c != NULL && *c != '\0'; c++)
        lines += *c == '\n';
    if (lines > most)
        return tet_error_set(error, TET_BAD_DEFINITION, "the archive has more than %d records",
                             IMPORT_MAX_ROWS);
    run->rows = calloc(lines + 2, sizeof *run->rows);
    if (run->rows == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for %zu records", lines);
    for (size_t number = 2; err == TET_OK && rest != NULL && *rest != '\0'; number++) {
        line = strsep(&rest, "\n");
        err = read_line(run, was, line, number, &last, error);
    }
    return err;
}
