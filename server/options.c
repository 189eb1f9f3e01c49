// SPDX-License-Identifier: Apache-2.0
/* The command line, the environment and the configuration file: see options.h. */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

const struct option_spec option_specs[OPTIONS_COUNT] = {
#define X(name, flag, environment, commands, value, fallback, help)                                \
    {flag, environment, commands, value, fallback, help},
    OPTIONS(X)
#undef X
};

static enum tet_err keep(struct options *o, enum option option, const char *value,
                         struct tet_error *error)
{
    free(o->value[option]);
    o->value[option] = strdup(value);
    return o->value[option] != NULL ? TET_OK : tet_error_set(error, TET_NO_MEMORY, "out of memory");
}

static int find(const char *name, size_t n)
{
    for (int i = 0; i < OPTIONS_COUNT; i++)
        if (strlen(option_specs[i].flag) == n && strncmp(option_specs[i].flag, name, n) == 0)
            return i;
    return -1;
}

static enum tet_err take_argument(struct options *o, size_t max_arguments, const char *arg,
                                  struct tet_error *error)
{
    if (o->n_arguments == max_arguments)
        return tet_error_set(error, TET_BAD_REQUEST, "one argument too many: %s", arg);
    o->argument[o->n_arguments++] = arg;
    return TET_OK;
}

/* The flag at argv[*i], and its value where that is the next. */
static enum tet_err read_flag(struct options *o, int argc, char **argv, int *i,
                              struct tet_error *error)
{
    const char *arg = argv[*i], *equals = strchr(arg, '=');
    const int option = strncmp(arg, "--", 2) != 0 ? -1
                       : equals != NULL           ? find(arg + 2, (size_t)(equals - arg - 2))
                                                  : find(arg + 2, strlen(arg + 2));
    if (option < 0 || !(option_specs[option].commands & (int)o->command))
        return tet_error_set(error, TET_BAD_REQUEST, "unknown option %s; --help lists them", arg);
    if (option == OPTION_TOKEN)
        return tet_error_set(error, TET_BAD_REQUEST,
                             "a token does not belong on the command line, which everybody on this "
                             "machine can read: --token-file FILE (- is standard input), or "
                             "TETRAD_TOKEN");
    const struct option_spec *spec = &option_specs[option];
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (spec->value == NULL && value != NULL)
        return tet_error_set(error, TET_BAD_REQUEST, "option --%s takes no value", spec->flag);
    if (spec->value == NULL)
        value = "1";
    else if (value == NULL && *i + 1 < argc)
        value = argv[++*i];
    if (value == NULL || *value == '\0')
        return tet_error_set(error, TET_BAD_REQUEST, "option --%s needs a value: %s", spec->flag,
                             spec->value);
    o->flag[option] = true;
    return keep(o, (enum option)option, value, error);
}

static enum tet_err read_flags(struct options *o, size_t max_arguments, int argc, char **argv,
                               struct tet_error *error)
{
    enum tet_err err = TET_OK;
    bool flags = true;
    for (int i = 0; i < argc && err == TET_OK; i++) {
        const char *arg = argv[i];
        if (flags && strcmp(arg, "--") == 0) {
            flags = false;
        } else if (!flags || arg[0] != '-' || arg[1] == '\0' || isdigit((unsigned char)arg[1])) {
            err = take_argument(o, max_arguments, arg, error);
        } else if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0) {
            o->help = true;
        } else {
            err = read_flag(o, argc, argv, &i, error);
        }
    }
    return err;
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    for (size_t n = strlen(text); n > 0 && isspace((unsigned char)text[n - 1]); n--)
        text[n - 1] = '\0';
    return text;
}

static enum tet_err read_line(struct options *o, const char *path, int number, char *line,
                              struct tet_error *error)
{
    line[strcspn(line, "#")] = '\0';
    char *name = trim(line);
    if (*name == '\0')
        return TET_OK;
    char *equals = strchr(name, '=');
    if (equals == NULL)
        return tet_error_set(error, TET_BAD_REQUEST, "%s:%d: found \"%s\", allowed `name = value`",
                             path, number, name);
    *equals = '\0';
    name = trim(name);
    const int option = find(name, strlen(name));
    if (option < 0 || option == OPTION_CONFIG || option_specs[option].environment == NULL)
        return tet_error_set(error, TET_BAD_REQUEST, "%s:%d: there is no option \"%s\"", path,
                             number, name);
    if (o->value[option] != NULL)
        return TET_OK; // the command line or the environment has spoken
    return keep(o, (enum option)option, trim(equals + 1), error);
}

static enum tet_err read_file(struct options *o, const char *path, bool optional,
                              struct tet_error *error)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return optional && (errno == ENOENT || errno == EACCES || errno == ENOTDIR)
                   ? TET_OK
                   : tet_error_set(error, TET_BAD_REQUEST, "configuration file %s: %s", path,
                                   strerror(errno));
    char *line = NULL;
    size_t size = 0;
    enum tet_err err = TET_OK;
    for (int number = 1; err == TET_OK && getline(&line, &size, file) >= 0; number++)
        err = read_line(o, path, number, line, error);
    if (err == TET_OK && ferror(file))
        err = tet_error_set(error, TET_BAD_REQUEST, "configuration file %s: %s", path,
                            strerror(errno));
    free(line);
    fclose(file);
    return err;
}

static enum tet_err read_configuration(struct options *o, struct tet_error *error)
{
    if (o->value[OPTION_CONFIG] != NULL)
        return read_file(o, o->value[OPTION_CONFIG], false, error);
    const char *home = getenv("HOME");
    char path[4096];
    if (home == NULL ||
        snprintf(path, sizeof path, "%s/.config/tetrad/config", home) >= (int)sizeof path)
        return TET_OK;
    return read_file(o, path, true, error);
}

/* Words for on and off, as the environment and the configuration file may say them: 1, 0, -1 for neither. */
static int truth(const char *text)
{
    static const char *const words[] = {"1", "0", "true", "false", "yes", "no", "on", "off"};
    for (int i = 0; i < 8; i++)
        if (strcasecmp(text, words[i]) == 0)
            return i % 2 == 0;
    return -1;
}

static enum tet_err check_switches(const struct options *o, struct tet_error *error)
{
    for (int i = 0; i < OPTIONS_COUNT; i++)
        if (option_specs[i].value == NULL && o->value[i] != NULL && truth(o->value[i]) < 0)
            return tet_error_set(
                error, TET_BAD_REQUEST,
                "%s%s%s: found \"%.40s\", allowed 1 or 0, true or false, yes or no",
                option_specs[i].flag, option_specs[i].environment != NULL ? ", " : "",
                option_specs[i].environment != NULL ? option_specs[i].environment : "",
                o->value[i]);
    return TET_OK;
}

bool options_switch(const struct options *o, enum option option)
{
    return o->value[option] != NULL && truth(o->value[option]) == 1;
}

enum tet_err options_read(struct options *o, enum command command, size_t max_arguments, int argc,
                          char **argv, struct tet_error *error)
{
    *o = (struct options){.command = command};
    enum tet_err err = read_flags(o, max_arguments, argc, argv, error);
    for (int i = 0; i < OPTIONS_COUNT && err == TET_OK; i++) {
        const char *name = option_specs[i].environment;
        const char *value = name != NULL ? getenv(name) : NULL;
        if (o->value[i] == NULL && value != NULL && *value != '\0')
            err = keep(o, (enum option)i, value, error);
    }
    if (err == TET_OK && !o->help)
        err = read_configuration(o, error);
    if (err == TET_OK)
        err = check_switches(o, error);
    for (int i = 0; i < OPTIONS_COUNT && err == TET_OK; i++)
        if (o->value[i] == NULL && option_specs[i].fallback != NULL) {
            err = keep(o, (enum option)i, option_specs[i].fallback, error);
            o->fallback[i] = true;
        }
    return err;
}

void options_free(struct options *o)
{
    for (int i = 0; i < OPTIONS_COUNT; i++)
        free(o->value[i]);
    *o = (struct options){0};
}

enum tet_err options_count(const struct options *o, enum option option, uint64_t low, uint64_t high,
                           uint64_t missing, uint64_t *value, struct tet_error *error)
{
    const char *text = o->value[option];
    if (text == NULL) {
        *value = missing;
        return TET_OK;
    }
    char *end = NULL;
    errno = 0;
    const unsigned long long v = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || v < low || v > high)
        return tet_error_set(
            error, TET_BAD_REQUEST, "--%s: found \"%s\", allowed a whole number from %llu to %llu",
            option_specs[option].flag, text, (unsigned long long)low, (unsigned long long)high);
    *value = v;
    return TET_OK;
}

enum tet_err options_size(const struct options *o, enum option option, uint64_t missing,
                          uint64_t *bytes, struct tet_error *error)
{
    const char *text = o->value[option];
    if (text == NULL) {
        *bytes = missing;
        return TET_OK;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    static const char suffixes[] = "KMGT";
    const char *suffix = *end != '\0' ? strchr(suffixes, toupper((unsigned char)*end)) : NULL;
    const int shift = suffix != NULL ? 10 * (int)(suffix - suffixes + 1) : 0;
    if (!isdigit((unsigned char)text[0]) || errno != 0 || v == 0 ||
        (*end != '\0' && (suffix == NULL || end[1] != '\0')) || v > UINT64_MAX >> (shift + 1))
        return tet_error_set(error, TET_BAD_REQUEST,
                             "--%s: found \"%s\", allowed bytes with K, M, G or T, such as 8G",
                             option_specs[option].flag, text);
    *bytes = (uint64_t)v << shift;
    return TET_OK;
}

enum tet_err options_data(const struct options *o, const char **folder, struct tet_error *error)
{
    *folder = o->value[OPTION_DATA];
    if (!o->fallback[OPTION_DATA] && access(*folder, F_OK) != 0)
        return tet_error_set(error, TET_BAD_DATASET, "--data %s: %s", *folder, strerror(errno));
    return TET_OK;
}

bool options_has_flag(enum option option, enum command command)
{
    return option != OPTION_TOKEN && (option_specs[option].commands & (int)command) != 0;
}

void options_help(enum command command)
{
    for (int i = 0; i < OPTIONS_COUNT; i++) {
        const struct option_spec *s = &option_specs[i];
        if (!(s->commands & (int)command))
            continue;
        char flag[48] = "";
        if (options_has_flag((enum option)i, command))
            snprintf(flag, sizeof flag, "--%s %s", s->flag, s->value != NULL ? s->value : "");
        printf("  %-22s %s", flag, s->help);
        if (s->fallback != NULL)
            printf(" (default: %s)", s->fallback);
        if (s->environment != NULL)
            printf(" [%s]", s->environment);
        putchar('\n');
    }
}

int status_of(enum tet_err err)
{
    switch (err) {
    case TET_OK:
        return STATUS_OK;
    case TET_BAD_REQUEST:
        return STATUS_USAGE;
    case TET_BAD_JSON:
    case TET_BAD_DEFINITION:
    case TET_TOO_LARGE:
        return STATUS_DEFINITION;
    case TET_BAD_DATASET:
    case TET_BAD_WEIGHTS:
        return STATUS_DATASET;
    case TET_DATABASE:
    case TET_CONFLICT:
        return STATUS_DATABASE;
    case TET_ADDRESS:
        return STATUS_ADDRESS;
    case TET_IO:
    case TET_NOT_FOUND:
    case TET_STORAGE_FULL:
    case TET_STORAGE_FAILS:
        return STATUS_IO;
    case TET_NO_MEMORY:
        return STATUS_MEMORY;
    default:
        return STATUS_FAILED;
    }
}
