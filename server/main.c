// SPDX-License-Identifier: Apache-2.0
/* The program: one command a run. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include <tetrad/trainer.h>

#include "audit.h"
#include "client/client.h"
#include "options.h"
#include "rules.h"
#include "run.h"
#include "serve.h"

static const struct {
    const char *name, *usage, *help;
    enum command command;
    size_t max_arguments; // besides flags
    int (*run)(const struct options *options);
} commands[] = {
    {"serve", "tetrad serve [options]", "serve experiments over HTTP", COMMAND_SERVE, 0,
     serve_command},
    {"run", "tetrad run FILE.json [options]", "run an experiment here, without a server",
     COMMAND_RUN, 1, run_command},
    {"submit", "tetrad submit FILE.json [options]", "send an experiment to a server",
     COMMAND_SUBMIT, 1, submit_command},
    {"rules", "tetrad rules [NAME]", "list the learning rules, or a rule's parameters",
     COMMAND_RULES, 1, rules_command},
    {"audit", "tetrad audit [RULE]", "show what a rule's updates read, and whether that is local",
     COMMAND_AUDIT, 1, audit_command},
};

static void print_help(FILE *out)
{
    fprintf(out, "tetrad %s: learning circuits, trained to the bit\n\n", TETRAD_VERSION);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  %-36s %s\n", commands[i].usage, commands[i].help);
    fprintf(out,
            "  %-36s version and kernels\n\n`tetrad COMMAND --help` lists a command's options.\n",
            "tetrad version");
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
