// SPDX-License-Identifier: Apache-2.0
/* The manual and the shells' completions, from the tables: see help.h. */
#include "commands/help.h"

#include <stdio.h>
#include <string.h>

/* Text that roff shows as it is. */
static void roff(const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\'')
            fputs("\\(aq", stdout);
        else if (*text == '`')
            fputs("\\(ga", stdout);
        else
            putchar(*text);
    }
}

static void man_option(const struct option_spec *o, const struct help_command *commands, size_t n)
{
    const char *before = " Of: ";
    const bool flag = o != &option_specs[OPTION_TOKEN];
    printf(".TP\n\\fB%s", flag ? "\\-\\-" : "");
    roff(flag ? o->flag : o->environment);
    printf("\\fR");
    if (flag && o->value != NULL) {
        printf(" \\fI");
        roff(o->value);
        printf("\\fR");
    }
    putchar('\n');
    roff(o->help);
    putchar('.');
    if (o->fallback != NULL) {
        printf(" Default: ");
        roff(o->fallback);
        putchar('.');
    }
    if (flag && o->environment != NULL)
        printf(" Environment: %s.", o->environment);
    for (size_t i = 0; i < n && o->commands != COMMANDS_ALL; i++) {
        if ((o->commands & (int)commands[i].command) != 0) {
            printf("%s%s", before, commands[i].name);
            before = ", ";
        }
    }
    puts(o->commands != COMMANDS_ALL ? "." : "");
}

static void man(const struct help_command *commands, size_t n)
{
    static const char *const statuses[] = {
        "success",        "a failure without a number of its own",
        "usage",          "the definition has faults",
        "dataset",        "database",
        "address in use", "the server cannot be reached, or refused",
        "a run diverged", "reading or writing failed",
        "out of memory"};
    printf(
        ".TH TETRAD 1 \"\" \"tetrad %s\"\n.SH NAME\ntetrad \\- learning circuits, trained to the "
        "bit\n.SH SYNOPSIS\n.B tetrad\n.I command\n[arguments] [options]\n.SH COMMANDS\n"
        "An experiment is a number, 3; a run is r7.\n",
        TETRAD_VERSION);
    for (size_t i = 0; i < n; i++) {
        printf(".TP\n\\fB");
        roff(commands[i].usage);
        printf("\\fR\n");
        roff(commands[i].help);
        puts(".");
    }
    puts(".SH OPTIONS\nA value comes from the flag, else the environment, else the configuration "
         "file, else the default.");
    for (int o = 0; o < OPTIONS_COUNT; o++)
        man_option(&option_specs[o], commands, n);
    puts(".SH FILES\n.TP\n\\fI~/.config/tetrad/config\\fR\nLines of name = value with the names of "
         "options; # begins a comment.\n.SH EXIT STATUS");
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        printf(".TP\n%zu\n%s.\n", i, statuses[i]);
    puts(".TP\n130\ninterrupted; what a server trains goes on.");
}

static void bash(const struct help_command *commands, size_t n)
{
    puts("# bash completion of tetrad, made by `tetrad completion bash`\n_tetrad() {\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} options=\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    printf("        COMPREPLY=($(compgen -W \"help version");
    for (size_t i = 0; i < n; i++)
        printf(" %s", commands[i].name);
    puts("\" -- \"$word\"))\n        return\n    fi\n    case ${COMP_WORDS[1]} in");
    for (size_t i = 0; i < n; i++) {
        printf("    %s) options=\"--help", commands[i].name);
        for (int o = 0; o < OPTIONS_COUNT; o++)
            if (options_has_flag((enum option)o, commands[i].command))
                printf(" --%s", option_specs[o].flag);
        puts("\" ;;");
    }
    puts("    esac\n    case $word in\n    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) "
         ";;\n"
         "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n    esac\n}\n"
         "complete -o filenames -F _tetrad tetrad");
}

/* Text between single quotes of fish. */
static void quoted(const char *text)
{
    putchar('\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('\'');
}

static void fish(const struct help_command *commands, size_t n)
{
    puts("# fish completion of tetrad, made by `tetrad completion fish`");
    for (size_t i = 0; i < n; i++) {
        printf("complete -c tetrad -n __fish_use_subcommand -a %s -d ", commands[i].name);
        quoted(commands[i].help);
        putchar('\n');
        for (int o = 0; o < OPTIONS_COUNT; o++) {
            if (!options_has_flag((enum option)o, commands[i].command))
                continue;
            printf("complete -c tetrad -n '__fish_seen_subcommand_from %s' -l %s%s -d ",
                   commands[i].name, option_specs[o].flag,
                   option_specs[o].value != NULL ? " -r" : "");
            quoted(option_specs[o].help);
            putchar('\n');
        }
    }
}

bool help_print(const char *form, const struct help_command *commands, size_t n)
{
    if (strcmp(form, "man") == 0)
        man(commands, n);
    else if (strcmp(form, "fish") == 0)
        fish(commands, n);
    else if (strcmp(form, "zsh") == 0)
        puts("#compdef tetrad\nautoload -U +X bashcompinit && bashcompinit");
    if (strcmp(form, "bash") == 0 || strcmp(form, "zsh") == 0)
        bash(commands, n);
    return strcmp(form, "man") == 0 || strcmp(form, "fish") == 0 || strcmp(form, "zsh") == 0 ||
           strcmp(form, "bash") == 0;
}
