// SPDX-License-Identifier: Apache-2.0
/* `tetrad dataset fetch`: well-known datasets from where their makers keep them. */
#ifndef SERVER_FETCH_H
#define SERVER_FETCH_H

#include <stdbool.h>

#include <tetrad/error.h>

struct fetch {
    const char *name;   // "mnist", ...
    const char *folder; // of datasets; made where it is not there
    const char *mirror; // URL of a folder with the files, for those that are known; NULL
    bool unverified;    // take files of another checksum, if they are of the right form
};

/* fetch_dataset: downloads to FOLDER/.NAME.part, where a download that was cut goes on the next time,
 * checks, and renames to FOLDER/NAME: it is there in full or not at all. Progress goes to standard
 * error. Nothing is done where it is there already. Needs libcurl started. Errors: TET_BAD_REQUEST (no
 * such dataset), TET_ADDRESS (no mirror has it), TET_BAD_DATASET (checksum, form), TET_IO,
 * TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err fetch_dataset(const struct fetch *fetch, struct tet_error *error);
const char *fetch_names(void); // "mnist, fashion-mnist, ..."

#endif
