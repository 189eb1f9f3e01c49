// SPDX-License-Identifier: Apache-2.0
/*
 * The command line: one table of options for all commands. A value comes from the flag, else from
 * the environment, else from the configuration file, else from the default.
 *
 * The configuration file has lines `name = value` with the options' names; '#' begins a comment. It
 * is the one that --config or TETRAD_CONFIG names, else ~/.config/tetrad/config where that exists.
 */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tetrad/error.h>

enum command {
    COMMAND_SERVE = 1 << 0,
    COMMAND_RUN = 1 << 1,
    COMMAND_SUBMIT = 1 << 2,
    COMMAND_RULES = 1 << 3,
    COMMAND_AUDIT = 1 << 4
};

/* Sets of commands, for the table of options. */
enum {
    COMMANDS_ALL = (1 << 30) - 1,
    COMMANDS_CLIENT = COMMAND_SUBMIT,           // talk to a server
    COMMANDS_DATA = COMMAND_SERVE | COMMAND_RUN // read datasets
};

/* X(NAME, flag, environment, commands, what the value is (NULL: a switch), default, help) */
#define OPTIONS(X)                                                                                 \
    X(CONFIG, "config", "TETRAD_CONFIG", COMMANDS_ALL, "FILE", NULL,                               \
      "configuration file, lines of `name = value`")                                               \
    X(DB, "db", "TETRAD_DB", COMMAND_SERVE, "FILE", "tetrad.db",                                   \
      "database; made where it does not exist")                                                    \
    X(DATA, "data", "TETRAD_DATA", COMMANDS_DATA, "DIR", "data",                                   \
      "folder of datasets (IDX folders, .npz) and initial weights")                                \
    X(LISTEN, "listen", "TETRAD_LISTEN", COMMAND_SERVE, "ADDR:PORT", "127.0.0.1:8080",             \
      "address to serve; port 0 takes a free one")                                                 \
    X(WORKERS, "workers", "TETRAD_WORKERS", COMMAND_SERVE, "N", NULL,                              \
      "runs trained at once (default: the processors)")                                            \
    X(MEMORY, "memory", "TETRAD_MEMORY", COMMANDS_DATA, "SIZE", NULL,                              \
      "memory of all runs, such as 8G (default: half of the machine's)")                           \
    X(HALF_LIFE, "half-life", "TETRAD_HALF_LIFE", COMMAND_SERVE, "HOURS", "24h",                   \
      "fair share: what a user had of the workers counts half after so long")                      \
    X(MAX_QUEUED, "max-queued", "TETRAD_MAX_QUEUED", COMMAND_SERVE, "N", NULL,                     \
      "runs that may wait in the queue (default: 1000000)")                                        \
    X(MAX_QUEUED_EACH, "max-queued-per-user", "TETRAD_MAX_QUEUED_PER_USER", COMMAND_SERVE, "N",    \
      NULL, "runs of one user that may wait in the queue (default: no bound)")                     \
    X(MAX_RUNNING_EACH, "max-running-per-user", "TETRAD_MAX_RUNNING_PER_USER", COMMAND_SERVE, "N", \
      NULL, "runs of one user trained at once, where the user has no cap (default: no bound)")     \
    X(OUT, "out", "TETRAD_OUT", COMMAND_RUN, "FILE.npz", NULL,                                     \
      "write the final weights (several runs: FILE-1.npz, FILE-2.npz, ...)")                       \
    X(METRICS, "metrics", "TETRAD_METRICS", COMMAND_RUN, "FILE.csv", NULL,                         \
      "write every record: run,step,series,value")                                                 \
    X(SERVER, "server", "TETRAD_SERVER", COMMANDS_CLIENT, "URL", "http://127.0.0.1:8080",          \
      "the server to talk to")                                                                     \
    X(WATCH, "watch", "TETRAD_WATCH", COMMAND_SUBMIT, NULL, NULL,                                  \
      "show progress until the end, then the results")

enum option {
#define X(name, flag, environment, commands, value, fallback, help) OPTION_##name,
    OPTIONS(X)
#undef X
        OPTIONS_COUNT
};

/* Exit statuses of the program. */
enum {
    STATUS_OK = 0,
    STATUS_FAILED = 1,     // anything without a number of its own
    STATUS_USAGE = 2,      // command line, environment or configuration file
    STATUS_DEFINITION = 3, // the definition has faults
    STATUS_DATASET = 4,
    STATUS_DATABASE = 5,
    STATUS_ADDRESS = 6,  // port in use, or not to be had
    STATUS_SERVER = 7,   // the server cannot be reached or refused
    STATUS_DIVERGED = 8, // a run diverged
    STATUS_IO = 9,
    STATUS_MEMORY = 10,
    STATUS_INTERRUPTED = 130
};

enum { OPTIONS_ARGUMENTS = 64 };

struct options {
    enum command command;
    char *value[OPTIONS_COUNT];   // owned; NULL: not given and no default; a switch that is on: "1"
    bool fallback[OPTIONS_COUNT]; // the value is the default: nobody asked for it
    const char *argument[OPTIONS_ARGUMENTS]; // besides flags, in their order; NULL: no more
    size_t n_arguments;
    bool help;
};

/* options_read: argv without the program's and the command's name; at most max_arguments besides flags. Errors: TET_BAD_REQUEST with one
 * sentence. The caller frees with options_free in either case. */
TET_MUST_CHECK enum tet_err options_read(struct options *options, enum command command,
                                         size_t max_arguments, int argc, char **argv,
                                         struct tet_error *error);
void options_free(struct options *options);

/* options_count: the value as a whole number from low to high, or `missing` where there is none. */
TET_MUST_CHECK enum tet_err options_count(const struct options *options, enum option option,
                                          uint64_t low, uint64_t high, uint64_t missing,
                                          uint64_t *value, struct tet_error *error);
/* options_size: the same as bytes, with an optional suffix K, M, G or T (powers of 1024). */
TET_MUST_CHECK enum tet_err options_size(const struct options *options, enum option option,
                                         uint64_t missing, uint64_t *bytes,
                                         struct tet_error *error);

/* options_switch: whether a switch is on. */
bool options_switch(const struct options *options, enum option option);

/* options_help: prints the options of a command to standard output. */
void options_help(enum command command);

/* options_data: the folder of datasets. One that was asked for must exist; the default one need
 * not. Errors: TET_BAD_DATASET. */
TET_MUST_CHECK enum tet_err options_data(const struct options *options, const char **folder,
                                         struct tet_error *error);

int status_of(enum tet_err err); // the exit status that an error ends the program with

#endif
