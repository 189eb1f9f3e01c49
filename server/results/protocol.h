// SPDX-License-Identifier: Apache-2.0
/*
 * What a protocol run ends with: rows as JSON, the same in the store, in replies and in files.
 *
 * A row is {"condition": "both", "synapses": "W1", "n": 12, ...} with the fields of struct
 * tet_protocol_row; a CSV file has the same names as its columns.
 *
 * Threads: any; nothing is shared between calls.
 */
#ifndef SERVER_RESULTS_PROTOCOL_H
#define SERVER_RESULTS_PROTOCOL_H

#include <jansson.h>
#include <stdio.h>

#include <tetrad/protocol.h>

#include "store/store.h"

/* protocol_json: a new array; NULL for lack of memory. */
json_t *protocol_json(const struct tet_protocol_row *rows, size_t n);

/* protocol_digest: "sha256:..." of the rows' canonical JSON, "" for lack of memory. Doubles are
 * written so that they read back as they are: equal digests are equal tables, to the bit. */
void protocol_digest(char digest[STORE_HASH], const json_t *rows);

/* protocol_csv: a heading and a line per row; a new string, NULL for lack of memory. */
char *protocol_csv(const json_t *rows);

/* protocol_print: the table for people, aligned. */
void protocol_print(FILE *out, const json_t *rows);

/* protocol_patterns: how many patterns a resolved definition's protocol presents at a time; 0 where
 * it is not a protocol's. */
uint32_t protocol_patterns(const json_t *definition);

#endif
