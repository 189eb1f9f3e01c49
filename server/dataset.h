// SPDX-License-Identifier: Apache-2.0
/* `tetrad dataset`: fetches well-known datasets; lists, uploads and deletes those of a server. */
#ifndef SERVER_DATASET_H
#define SERVER_DATASET_H

#include "options.h"

int dataset_command(const struct options *options); // returns the exit status

#endif
