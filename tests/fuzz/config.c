// SPDX-License-Identifier: Apache-2.0
/*
 * Options: the command line, the environment and the configuration file, which all say the same
 * things. Input: command, then three parts: arguments and environment, each with zeros between them,
 * and the file.
 */
#include "fuzz.h"

#include "options.h"

enum { ARGUMENTS = 16 };

/* Cuts a part at its zeros; *n: how many there are. */
static char *cut(struct input *in, char *words[ARGUMENTS], int *n)
{
    const struct input part = take_part(in);
    char *copy = malloc(part.left + 1);
    HOLDS(copy != NULL);
    memcpy(copy, part.at, part.left);
    copy[part.left] = '\0';
    *n = 0;
    for (char *at = copy; at < copy + part.left && *n < ARGUMENTS; at += strlen(at) + 1)
        words[(*n)++] = at;
    return copy;
}

/* "TETRAD_DB=x": set, if it is one of ours. Names that are not leave the process as it is. */
static void set_environment(char *const *words, int n)
{
    for (int i = 0; i < OPTIONS_COUNT; i++)
        if (option_specs[i].environment != NULL)
            unsetenv(option_specs[i].environment);
    for (int i = 0; i < n; i++) {
        char *equals = strchr(words[i], '=');
        for (int k = 0; equals != NULL && k < OPTIONS_COUNT; k++) {
            const char *name = option_specs[k].environment;
            const size_t length = (size_t)(equals - words[i]);
            if (name != NULL && k != OPTION_CONFIG && strlen(name) == length &&
                memcmp(name, words[i], length) == 0)
                setenv(name, equals + 1, 1);
        }
    }
}

/* Who comes first is heard: a flag, then the environment, then the file, then the default. */
static void check_value(const struct options *o, int i)
{
    const struct option_spec *spec = &option_specs[i];
    const char *environment = spec->environment != NULL ? getenv(spec->environment) : NULL;
    if (o->flag[i])
        HOLDS(o->value[i] != NULL && (spec->commands & (int)o->command) != 0);
    else if (environment != NULL && environment[0] != '\0')
        HOLDS(strcmp(o->value[i], environment) == 0);
    if (o->fallback[i])
        HOLDS(strcmp(o->value[i], spec->fallback) == 0 && !o->flag[i]);
    HOLDS(spec->fallback == NULL || o->value[i] != NULL);
}

static void check_numbers(const struct options *o)
{
    static const enum option counts[] = {OPTION_WORKERS, OPTION_MAX_QUEUED, OPTION_HEARTBEAT};
    static const enum option sizes[] = {OPTION_MEMORY, OPTION_MAX_UPLOAD};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct tet_error error = {0};
        uint64_t value = 0;
        const enum tet_err err = options_count(o, counts[i], 1, 4000, 7, &value, &error);
        check_error(err, &error);
        HOLDS(err != TET_OK || (value >= 1 && value <= 4000));
        HOLDS(err == TET_OK || strstr(error.message, option_specs[counts[i]].flag) != NULL);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct tet_error error = {0};
        uint64_t value = 0;
        const enum tet_err err = options_size(o, sizes[i], 7, &value, &error);
        check_error(err, &error);
        HOLDS(err != TET_OK || value > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input in = {bytes, size};
    char *words[ARGUMENTS], *arguments[ARGUMENTS + 2], path[64];
    int n = 0, n_environment = 0;
    const enum command command = (enum command)(1 << take_number(&in, 1) % 22);
    struct tet_error error = {0};
    struct options o;
    char *copy = cut(&in, arguments, &n);
    char *environment = cut(&in, words, &n_environment);
    set_environment(words, n_environment);
    /* Before what the input says: a file of another name is never read. */
    memmove(arguments + 1, arguments, (size_t)n * sizeof *arguments);
    snprintf(path, sizeof path, "--config=%s", put_file(0, in.at, in.left));
    arguments[0] = path;
    for (int i = 1; i <= n; i++)
        if (strncmp(arguments[i], "--config", 8) == 0)
            arguments[i] = path;
    const enum tet_err err = options_read(&o, command, 3, n + 1, arguments, &error);
    check_error(err, &error);
    HOLDS(err == TET_OK || err == TET_BAD_REQUEST);
    HOLDS(o.n_arguments <= 3);
    for (int i = 0; err == TET_OK && i < OPTIONS_COUNT; i++)
        check_value(&o, i);
    if (err == TET_OK)
        check_numbers(&o);
    options_free(&o);
    free(copy);
    free(environment);
    return 0;
}
