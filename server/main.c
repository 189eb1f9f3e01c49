// SPDX-License-Identifier: Apache-2.0
/* The program: one command a run. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <tetrad/trainer.h>

#include "client/client.h"
#include "commands/audit.h"
#include "commands/backup.h"
#include "commands/help.h"
#include "commands/rules.h"
#include "commands/run.h"
#include "commands/token.h"
#include "options.h"
#include "serve/serve.h"

static int completion_command(const struct options *options);

static const struct {
    const char *name, *usage, *help;
    enum command command;
    size_t max_arguments; // besides flags
    int (*run)(const struct options *options);
} commands[] = {
    {"serve", "tetrad serve [options]", "serve experiments over HTTP", COMMAND_SERVE, 0,
     serve_command},
    {"token", "tetrad token create|list|revoke [ID]", "make, list and revoke access tokens",
     COMMAND_TOKEN, 2, token_command},
    {"backup", "tetrad backup FILE [options]", "copy the database, also while a server uses it",
     COMMAND_BACKUP, 1, backup_command},
    {"restore", "tetrad restore FILE [options]", "put a backup in the database's place",
     COMMAND_RESTORE, 1, restore_command},
    {"run", "tetrad run FILE.json [options]", "run an experiment here, without a server",
     COMMAND_RUN, 1, run_command},
    {"rules", "tetrad rules [NAME]", "list the learning rules, or a rule's parameters",
     COMMAND_RULES, 1, rules_command},
    {"audit", "tetrad audit [RULE]", "show what a rule's updates read, and whether that is local",
     COMMAND_AUDIT, 1, audit_command},
    {"dataset", "tetrad dataset fetch|list|upload|delete", "get datasets here, or onto a server",
     COMMAND_DATASET, OPTIONS_ARGUMENTS, dataset_command},
    {"submit", "tetrad submit FILE.json|- [options]", "send an experiment to a server",
     COMMAND_SUBMIT, 1, submit_command},
    {"watch", "tetrad watch ID [options]", "show progress until the end, then the results",
     COMMAND_WATCH, 1, watch_command},
    {"list", "tetrad list [options]", "list experiments, newest first", COMMAND_LIST, 0,
     list_command},
    {"show", "tetrad show ID [options]", "show an experiment with its runs, or a run", COMMAND_SHOW,
     1, show_command},
    {"summary", "tetrad summary ID [options]", "compare the points of an experiment over seeds",
     COMMAND_SUMMARY, 1, summary_command},
    {"queue", "tetrad queue [options]", "show what runs and what waits", COMMAND_QUEUE, 0,
     queue_command},
    {"health", "tetrad health [options]", "ask a server whether it is ready", COMMAND_HEALTH, 0,
     health_command},
    {"cancel", "tetrad cancel ID... [options]", "end runs that have not ended", COMMAND_ACT,
     OPTIONS_ARGUMENTS, cancel_command},
    {"pause", "tetrad pause ID... [options]",
     "take runs off the workers; they keep their checkpoint", COMMAND_ACT, OPTIONS_ARGUMENTS,
     pause_command},
    {"resume", "tetrad resume ID... [options]", "let paused runs go on", COMMAND_ACT,
     OPTIONS_ARGUMENTS, resume_command},
    {"priority", "tetrad priority ID... N [options]",
     "order your own work: -100 to 100, more is sooner", COMMAND_ACT, OPTIONS_ARGUMENTS,
     priority_command},
    {"delete", "tetrad delete ID... [options]", "delete experiments that have ended",
     COMMAND_DELETE, OPTIONS_ARGUMENTS, delete_command},
    {"fork", "tetrad fork RUN [options]", "begin a new run at a checkpoint of another",
     COMMAND_FORK, 1, fork_command},
    {"rerun", "tetrad rerun RUN [options]", "train a run again, and compare the digests",
     COMMAND_RERUN, 1, rerun_command},
    {"export", "tetrad export ID --out DIR [options]", "write an experiment as files",
     COMMAND_EXPORT, 1, export_command},
    {"import", "tetrad import DIR|FILE.zip [options]", "send what export wrote to a server",
     COMMAND_IMPORT, 1, import_command},
    {"completion", "tetrad completion bash|zsh|fish|man",
     "print a shell's completion, or the manual", COMMAND_COMPLETION, 1, completion_command},
};

static const char *const groups[] = {
    "The server:", "Here, without a server:", "With a server (--server, TETRAD_SERVER):"};

static size_t group_of(enum command command)
{
    return (command & COMMANDS_CLIENT) ? 2 : (command & COMMANDS_HERE) ? 1 : 0;
}

static void print_help(FILE *out)
{
    fprintf(out, "tetrad %s: learning circuits, trained to the bit\n\n", TETRAD_VERSION);
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        fprintf(out, "%s\n", groups[g]);
        for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
            if (group_of(commands[i].command) == g)
                fprintf(out, "  %-36s %s\n", commands[i].usage, commands[i].help);
    }
    fprintf(out,
            "\n  %-36s version and kernels\n\n`tetrad help COMMAND` lists a command's options.\n"
            "An experiment is a number, 3; a run is r7.\n",
            "tetrad version");
}

static int completion_command(const struct options *options)
{
    enum { N = sizeof commands / sizeof *commands };
    struct help_command all[N];
    for (size_t i = 0; i < N; i++)
        all[i] = (struct help_command){commands[i].name, commands[i].usage, commands[i].help,
                                       commands[i].command};
    if (options->argument[0] != NULL && help_print(options->argument[0], all, N))
        return STATUS_OK;
    fprintf(stderr, "tetrad: completion: allowed bash, zsh, fish or man\n");
    return STATUS_USAGE;
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
        printf("%s\n%s\n\n", commands[i].usage, commands[i].help);
        options_help(commands[i].command);
        printf("\nA value comes from the flag, else the environment [in brackets], else the "
               "configuration file, else the default.\n");
    } else {
        if (commands[i].command & COMMANDS_DB)
            umask(077); // results and hashes of tokens are for whoever runs the server
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
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        for (size_t i = 0; argc > 2 && i < sizeof commands / sizeof *commands; i++)
            if (strcmp(argv[2], commands[i].name) == 0)
                return run_one(i, 1, (char *[]){(char[]){"--help"}, NULL});
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
