// SPDX-License-Identifier: Apache-2.0
/* The commands that talk to a server; each returns the program's exit status. */
#ifndef SERVER_CLIENT_COMMANDS_H
#define SERVER_CLIENT_COMMANDS_H

#include "options.h"

int submit_command(const struct options *options); // submit.c
int watch_command(const struct options *options);  // watch.c
int list_command(const struct options *options), show_command(const struct options *options),
    queue_command(const struct options *options),
    summary_command(const struct options *options); // look.c
int cancel_command(const struct options *options), pause_command(const struct options *options),
    resume_command(const struct options *options), priority_command(const struct options *options),
    delete_command(const struct options *options); // act.c
int fork_command(const struct options *options),
    rerun_command(const struct options *options);  // again.c
int export_command(const struct options *options); // export.c
int import_command(const struct options *options); // import.c

#endif
