// SPDX-License-Identifier: Apache-2.0
/* The program: one command a run. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include <tetrad/trainer.h>

#include "audit.h"
#include "backup.h"
#include "client/commands.h"
#include "dataset.h"
#include "options.h"
#include "rules.h"
#include "run.h"
#include "serve.h"
#include "token.h"

static const struct {
    const char *name, *arguments, *help;
    enum command command;
    size_t max_arguments; // besides flags
    int (*run)(const struct options *options);
    const char *group; // that begins here, NULL: goes on
} commands[] = {
    {"serve", "", "serve experiments over HTTP", COMMAND_SERVE, 0, serve_command, "a server"},
    {"backup", "FILE", "copy the database, also while a server uses it", COMMAND_BACKUP, 1,
     backup_command, NULL},
    {"restore", "FILE", "put a backup in the database's place", COMMAND_RESTORE, 1, restore_command,
     NULL},
    {"token", "create|list|revoke", "make, list and revoke access tokens", COMMAND_TOKEN, 2,
     token_command, NULL},
    {"run", "FILE.json", "run an experiment, without a server", COMMAND_RUN, 1, run_command,
     "here"},
    {"rules", "[NAME]", "list the learning rules, or a rule's parameters", COMMAND_RULES, 1,
     rules_command, NULL},
    {"audit", "[RULE]", "show what a rule's updates read, and whether that is local", COMMAND_AUDIT,
     1, audit_command, NULL},
    {"dataset", "fetch|list|upload|delete", "get datasets here or onto a server", COMMAND_DATASET,
     OPTIONS_ARGUMENTS, dataset_command, NULL},
    {"submit", "FILE.json", "send an experiment to a server", COMMAND_SUBMIT, 1, submit_command,
     "a server's experiments (3) and runs (r7)"},
    {"watch", "ID", "show progress until the end, then the results", COMMAND_WATCH, 1,
     watch_command, NULL},
    {"list", "", "list experiments, newest first", COMMAND_LIST, 0, list_command, NULL},
    {"show", "ID", "show an experiment or a run", COMMAND_SHOW, 1, show_command, NULL},
    {"summary", "ID", "compare the points of a sweep over seeds", COMMAND_SUMMARY, 1,
     summary_command, NULL},
    {"queue", "", "show who runs what, and what comes next", COMMAND_QUEUE, 0, queue_command, NULL},
    {"cancel", "ID...", "stop for good", COMMAND_CANCEL, OPTIONS_ARGUMENTS, cancel_command, NULL},
    {"pause", "ID...", "stop for now, with a checkpoint", COMMAND_PAUSE, OPTIONS_ARGUMENTS,
     pause_command, NULL},
    {"resume", "ID...", "go on where it was paused", COMMAND_RESUME, OPTIONS_ARGUMENTS,
     resume_command, NULL},
    {"priority", "ID... N", "let it go before (N > 0) or after others of its owner",
     COMMAND_PRIORITY, OPTIONS_ARGUMENTS, priority_command, NULL},
    {"delete", "ID...", "remove experiments and all their data", COMMAND_DELETE, OPTIONS_ARGUMENTS,
     delete_command, NULL},
    {"fork", "RUN", "begin a new run at a checkpoint, with changes", COMMAND_FORK, 1, fork_command,
     NULL},
    {"rerun", "RUN", "run it again, and compare the digests", COMMAND_RERUN, 1, rerun_command,
     NULL},
    {"export", "ID", "write an experiment into a folder, with how to reproduce it", COMMAND_EXPORT,
     1, export_command, NULL},
    {"import", "DIR", "put an exported experiment into a server", COMMAND_IMPORT, 1, import_command,
     NULL},
};

static void print_help(FILE *out)
{
    fprintf(out, "tetrad %s: learning circuits, trained to the bit\n\n", TETRAD_VERSION);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char usage[40];
        if (commands[i].group != NULL)
            fprintf(out, "%s%s\n", i > 0 ? "\n" : "", commands[i].group);
        snprintf(usage, sizeof usage, "tetrad %s %s", commands[i].name, commands[i].arguments);
        fprintf(out, "  %-26s %s\n", usage, commands[i].help);
    }
    fprintf(out,
            "\n`tetrad COMMAND --help` lists a command's options, `tetrad version` says which this "
            "is.\n");
}

static int run_one(size_t i, int argc, char **argv)
{
    struct options options;
    struct tet_error error = {0};
    int status = STATUS_OK;
    const enum tet_err err =
        options_read(&options, commands[i].command, commands[i].max_arguments, argc, argv, &error);
    if (err != TET_OK) {
        fprintf(stderr, "tetrad: %s\n", error.message);
        status = status_of(err);
    } else if (options.help) {
        printf("tetrad %s%s%s [options]\n%s\n\n", commands[i].name,
               *commands[i].arguments != '\0' ? " " : "", commands[i].arguments, commands[i].help);
        options_help(commands[i].command);
        printf("\nA value comes from the flag, else the environment [in brackets], else the "
               "configuration file, else the default.\n");
    } else {
        status = commands[i].run(&options);
    }
    options_free(&options);
    return status;
}

int main(int argc, char **argv)
{
    if (sodium_init() < 0) {
        fprintf(stderr, "tetrad: libsodium cannot start\n");
        return STATUS_FAILED;
    }
    if (argc < 2) {
        print_help(stderr);
        return STATUS_USAGE;
    }
    if (strcmp(argv[1], "help") == 0 && argc > 2)
        for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
            if (strcmp(argv[2], commands[i].name) == 0)
                return run_one(i, 1, (char *[]){"--help"});
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return STATUS_OK;
    }
    if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0) {
        printf("tetrad %s (kernels %s)\n", TETRAD_VERSION, tet_isa_name());
        return STATUS_OK;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return run_one(i, argc - 2, argv + 2);
    fprintf(stderr, "tetrad: there is no command \"%s\"; `tetrad help` lists them\n", argv[1]);
    return STATUS_USAGE;
}
