// SPDX-License-Identifier: Apache-2.0
/*
 * The command line: one table of options for all commands. A value comes from the flag, else from
 * the environment, else from the configuration file, else from the default.
 *
 * The configuration file has lines `name = value` with the options' names; '#' begins a comment. It
 * is the one that --config or TETRAD_CONFIG names, else ~/.config/tetrad/config where that exists.
 *
 * Threads: the main one reads them, before there are others; any may look.
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
    COMMAND_AUDIT = 1 << 4,
    COMMAND_TOKEN = 1 << 5,
    COMMAND_DATASET = 1 << 6,
    COMMAND_WATCH = 1 << 7,
    COMMAND_LIST = 1 << 8,
    COMMAND_SHOW = 1 << 9,
    COMMAND_ACT = 1 << 10, // cancel, pause, resume, priority
    COMMAND_DELETE = 1 << 11,
    COMMAND_FORK = 1 << 12,
    COMMAND_RERUN = 1 << 13,
    COMMAND_QUEUE = 1 << 14,
    COMMAND_EXPORT = 1 << 15,
    COMMAND_IMPORT = 1 << 16,
    COMMAND_SUMMARY = 1 << 17,
    COMMAND_COMPLETION = 1 << 18,
    COMMAND_HEALTH = 1 << 19,
    COMMAND_BACKUP = 1 << 20,
    COMMAND_RESTORE = 1 << 21
};

/* Sets of commands, for the table of options. */
enum {
    COMMANDS_ALL = (1 << 30) - 1,
    COMMANDS_DATA = COMMAND_SERVE | COMMAND_RUN, // read datasets
    COMMANDS_DB =
        COMMAND_SERVE | COMMAND_TOKEN | COMMAND_BACKUP | COMMAND_RESTORE, // work on the database
    COMMANDS_CLIENT = COMMAND_SUBMIT | COMMAND_DATASET | COMMAND_WATCH | COMMAND_LIST |
                      COMMAND_SHOW | COMMAND_ACT | COMMAND_DELETE | COMMAND_FORK | COMMAND_RERUN |
                      COMMAND_QUEUE | COMMAND_EXPORT | COMMAND_IMPORT | COMMAND_SUMMARY |
                      COMMAND_HEALTH, // talk to a server
    COMMANDS_HERE = COMMAND_RUN | COMMAND_RULES | COMMAND_AUDIT | COMMAND_COMPLETION,
    COMMANDS_WATCH = COMMAND_SUBMIT | COMMAND_FORK | COMMAND_RERUN,
    COMMANDS_LIMIT = COMMAND_LIST | COMMAND_QUEUE,
    COMMANDS_NEW = COMMAND_SUBMIT | COMMAND_FORK // make an experiment of a text of the caller's
};

/* X(NAME, flag, environment, commands, what the value is (NULL: a switch), default, help)
 * environment NULL: only the command line may say it. */
#define OPTIONS(X)                                                                                 \
    X(CONFIG, "config", "TETRAD_CONFIG", COMMANDS_ALL, "FILE", NULL,                               \
      "configuration file, lines of `name = value`")                                               \
    X(DB, "db", "TETRAD_DB", COMMANDS_DB, "FILE", "tetrad.db",                                     \
      "database; made where it does not exist")                                                    \
    X(DATA, "data", "TETRAD_DATA", COMMANDS_DATA | COMMAND_DATASET, "DIR", "data",                 \
      "folder of datasets (IDX folders, .npz) and initial weights")                                \
    X(LISTEN, "listen", "TETRAD_LISTEN", COMMAND_SERVE, "ADDR:PORT", "127.0.0.1:8080",             \
      "address to serve; port 0 takes a free one")                                                 \
    X(HOST, "host", "TETRAD_HOST", COMMAND_SERVE, "NAME[,NAME]", NULL,                             \
      "names that clients may call this server by, besides its addresses")                         \
    X(CORS_ORIGIN, "cors-origin", "TETRAD_CORS_ORIGIN", COMMAND_SERVE, "URL[,URL]", NULL,          \
      "origins, such as https://lab.example.org, whose pages may use this server")                 \
    X(PROXY, "proxy", "TETRAD_PROXY", COMMAND_SERVE, "ADDR[,ADDR]", NULL,                          \
      "proxies, such as 127.0.0.1 or 10.0.0.0/8, whose X-Forwarded-For tells who a client is")     \
    X(TLS_CERT, "tls-cert", "TETRAD_TLS_CERT", COMMAND_SERVE, "FILE", NULL,                        \
      "certificate chain in PEM; with --tls-key the server speaks HTTPS")                          \
    X(TLS_KEY, "tls-key", "TETRAD_TLS_KEY", COMMAND_SERVE, "FILE", NULL,                           \
      "private key in PEM of --tls-cert")                                                          \
    X(MAX_CONNECTIONS, "max-connections", "TETRAD_MAX_CONNECTIONS", COMMAND_SERVE, "N", NULL,      \
      "connections at once; more are answered 503 (default: 4096)")                                \
    X(MAX_PER_ADDRESS, "max-per-address", "TETRAD_MAX_PER_ADDRESS", COMMAND_SERVE, "N", NULL,      \
      "of these, with event streams, from one address (default: 512; from loopback, no bound)")    \
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
    X(FILES, "files", "TETRAD_FILES", COMMAND_SERVE | COMMAND_BACKUP | COMMAND_RESTORE, "DIR",     \
      NULL, "folder of uploaded datasets (default: the database's name with .files)")              \
    X(MAX_UPLOAD, "max-upload", "TETRAD_MAX_UPLOAD", COMMAND_SERVE, "SIZE", NULL,                  \
      "largest upload, such as 500M (default: 4G)")                                                \
    X(MAX_STREAMS, "max-streams", "TETRAD_MAX_STREAMS", COMMAND_SERVE, "N", "2000",                \
      "event streams at once")                                                                     \
    X(HEARTBEAT, "heartbeat", "TETRAD_HEARTBEAT", COMMAND_SERVE, "SECONDS", "15",                  \
      "a comment to event streams that are idle for so long")                                      \
    X(LOG, "log", "TETRAD_LOG", COMMAND_SERVE, "FORM", "text",                                     \
      "log on standard error: text or json")                                                       \
    X(LOG_LEVEL, "log-level", "TETRAD_LOG_LEVEL", COMMAND_SERVE, "LEVEL", "warning",               \
      "least that is logged: debug, info (requests and runs), warning or error")                   \
    X(BACKUPS, "backups", "TETRAD_BACKUPS", COMMAND_SERVE, "DIR", NULL,                            \
      "folder of this server alone for backups asked for over HTTP (default: FILE.backups)")       \
    X(OUT, "out", "TETRAD_OUT", COMMAND_RUN | COMMAND_EXPORT, "PATH", NULL,                        \
      "run: FILE.npz of the final weights (several: FILE-1.npz, ...); export: the new folder")     \
    X(METRICS, "metrics", "TETRAD_METRICS", COMMAND_RUN, "FILE.csv", NULL,                         \
      "write every record: run,step,series,value")                                                 \
    X(SERVER, "server", "TETRAD_SERVER", COMMANDS_CLIENT, "URL", "http://127.0.0.1:8080",          \
      "the server to talk to")                                                                     \
    X(TOKEN, "token", "TETRAD_TOKEN", COMMANDS_CLIENT, "TOKEN", NULL,                              \
      "who you are; not on the command line, which other users of this machine see")               \
    X(TOKEN_FILE, "token-file", "TETRAD_TOKEN_FILE", COMMANDS_CLIENT, "FILE", NULL,                \
      "file whose only line is the token; - is standard input")                                    \
    X(CA, "ca", "TETRAD_CA", COMMANDS_CLIENT, "FILE", NULL,                                        \
      "certificates (PEM) to trust for https, instead of the system's")                            \
    X(JSON, "json", "TETRAD_JSON", COMMANDS_CLIENT | COMMAND_TOKEN, NULL, NULL,                    \
      "print JSON: a document, or where it watches a line for each change")                        \
    X(WATCH, "watch", "TETRAD_WATCH", COMMANDS_WATCH, NULL, NULL,                                  \
      "show progress until the end, then the results")                                             \
    X(DRY_RUN, "dry-run", NULL, COMMAND_SUBMIT, NULL, NULL,                                        \
      "check the definition, count its runs, store nothing")                                       \
    X(KEY, "idempotency-key", NULL, COMMANDS_NEW, "KEY", NULL,                                     \
      "a second submission with this key gives the first's experiment")                            \
    X(STATE, "state", NULL, COMMAND_LIST, "STATE", NULL,                                           \
      "only queued, running, paused, succeeded, diverged, failed or cancelled")                    \
    X(OWNER, "owner", NULL, COMMAND_LIST, "USER", NULL, "only this user's")                        \
    X(TAG, "tag", NULL, COMMAND_LIST, "TAG", NULL, "only with this tag")                           \
    X(Q, "q", NULL, COMMAND_LIST, "TEXT", NULL, "only where the name holds this")                  \
    X(LIMIT, "limit", "TETRAD_LIMIT", COMMANDS_LIMIT, "N", "20", "at most so many lines")          \
    X(STEP, "step", NULL, COMMAND_FORK, "N", NULL, "the checkpoint to begin at; show has them")    \
    X(CHANGES, "changes", NULL, COMMAND_FORK, "FILE|JSON", NULL,                                   \
      "what to change, such as '{\"optimizer.lr\": 0.01}'; a file's name, - or the JSON itself")   \
    X(YES, "yes", NULL, COMMAND_DELETE, NULL, NULL, "do not ask")                                  \
    X(METRIC, "metric", NULL, COMMAND_SUMMARY, "SERIES", NULL,                                     \
      "what to compare (the server's default: test/accuracy)")                                     \
    X(BASELINE, "baseline", NULL, COMMAND_SUMMARY, "PATH:VALUE", NULL,                             \
      "the point to compare with, such as rule.name:bp or rule.name:bp,optimizer.lr:0.1")          \
    X(NAME, "name", NULL, COMMAND_DATASET, "NAME", NULL,                                           \
      "what an uploaded dataset is to be called")                                                  \
    X(LABEL, "label", NULL, COMMAND_DATASET, "COLUMN", NULL,                                       \
      "classes of an uploaded table: a column's name or number from 0")                            \
    X(TEST_FRACTION, "test-fraction", NULL, COMMAND_DATASET, "F", NULL,                            \
      "how much of an uploaded table is to test on, such as 0.2")                                  \
    X(MIRROR, "mirror", "TETRAD_MIRROR", COMMAND_DATASET, "URL", NULL,                             \
      "fetch from this folder instead of the makers' own servers")                                 \
    X(UNVERIFIED, "unverified", NULL, COMMAND_DATASET, NULL, NULL,                                 \
      "fetch files of another checksum too, if their form is right")                               \
    X(USER, "user", NULL, COMMAND_TOKEN, "NAME", NULL, "whose token")                              \
    X(ROLE, "role", NULL, COMMAND_TOKEN, "ROLE", NULL,                                             \
      "viewer: read; member: also submit; admin: everything")                                      \
    X(NOTE, "note", NULL, COMMAND_TOKEN, "TEXT", NULL, "what the token is for")                    \
    X(EXPIRES, "expires", NULL, COMMAND_TOKEN, "DATE", NULL,                                       \
      "last day (UTC) that the token is good for, such as 2026-12-31")

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
    bool flag[OPTIONS_COUNT];     // the value is the command line's
    const char *argument[OPTIONS_ARGUMENTS]; // besides flags, in their order; NULL: no more
    size_t n_arguments;
    bool help;
};

/* The table of options, for help, the man page and completions. */
struct option_spec {
    const char *flag, *environment;
    int commands;
    const char *value, *fallback, *help;
};
extern const struct option_spec option_specs[OPTIONS_COUNT];

/* options_read: argv without the program's and the command's name; at most max_arguments besides
 * flags. After "--" nothing is a flag; a negative number never is. Errors: TET_BAD_REQUEST with one
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
/* options_has_flag: whether the command line may say it for a command. */
bool options_has_flag(enum option option, enum command command);

/* options_data: the folder of datasets. One that was asked for must exist; the default one need
 * not. Errors: TET_BAD_DATASET. */
TET_MUST_CHECK enum tet_err options_data(const struct options *options, const char **folder,
                                         struct tet_error *error);

int status_of(enum tet_err err); // the exit status that an error ends the program with

#endif
