// SPDX-License-Identifier: Apache-2.0
/* Backup and restore on the command line: see backup.h. */
#include "backup.h"

#include <stdio.h>

#include "store/backup.h"

static const char *unit(double *bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    for (; *bytes >= 1024.0 && i < 4; i++)
        *bytes /= 1024.0;
    return units[i];
}

static void say(const char *what, const char *file, const struct backup_report *report)
{
    double size = (double)report->bytes;
    const char *of = unit(&size);
    printf("%s %s: %llu experiments, %llu runs, %llu uploaded datasets, %.1f %s, checked, %.1f s\n",
           what, file, (unsigned long long)report->experiments, (unsigned long long)report->runs,
           (unsigned long long)report->datasets, size, of, report->seconds);
    if (report->missing > 0)
        fprintf(stderr, "tetrad: warning: the files of %llu uploaded datasets are missing\n",
                (unsigned long long)report->missing);
}

static enum tet_err one_file(const struct options *options, const char *command,
                             struct tet_error *error)
{
    return options->n_arguments == 1
               ? TET_OK
               : tet_error_set(error, TET_BAD_REQUEST,
                               "%s needs a file: tetrad %s FILE --db lab.db", command, command);
}

static int end(enum tet_err err, const struct tet_error *error)
{
    if (err != TET_OK)
        fprintf(stderr, "tetrad: %s\n", error->message);
    return status_of(err);
}

int backup_command(const struct options *options)
{
    struct backup_report report;
    struct tet_error error = {0};
    enum tet_err err = one_file(options, "backup", &error);
    if (err == TET_OK)
        err = backup_write(options->value[OPTION_DB], options->value[OPTION_FILES],
                           options->argument[0], &report, &error);
    if (err == TET_OK)
        say("wrote", options->argument[0], &report);
    return end(err, &error);
}

int restore_command(const struct options *options)
{
    char kept[BACKUP_NAME];
    struct backup_report report;
    struct tet_error error = {0};
    enum tet_err err = one_file(options, "restore", &error);
    if (err == TET_OK)
        err = backup_restore(options->argument[0], options->value[OPTION_DB],
                             options->value[OPTION_FILES], kept, &report, &error);
    if (err == TET_OK) {
        say("restored", options->value[OPTION_DB], &report);
        if (kept[0] != '\0')
            printf("the database that was there is now %s\n", kept);
    }
    return end(err, &error);
}
