// SPDX-License-Identifier: Apache-2.0
/*
 * A dataset's identity: SHA-256 over its decoded content.
 * Threads: any; nothing is shared between calls.
 */
#ifndef SERVER_DATA_DATASET_DIGEST_H
#define SERVER_DATA_DATASET_DIGEST_H

#include <tetrad/dataset.h>

#include "data/catalog.h"

/* dataset_digest: "sha256:" and 64 hexadecimal digits, of: the line "tetrad dataset 1\n"; then
 * eleven numbers, each 64 bits little-endian: inputs, outputs, channels, rows, columns; for train,
 * then test: n, 1 if x is bytes (0: floats), 1 if t is labels (0: targets), the last two 0 where n
 * is 0; then train x, train t, test x, test t as they lie in memory (bytes, or 32 bits
 * little-endian). The same examples from IDX and from NPZ give the same digest. */
void dataset_digest(const struct tet_dataset *dataset, char sha256[SHA256_TEXT]);

/* dataset_bytes: what the dataset's arrays take in memory. */
uint64_t dataset_bytes(const struct tet_dataset *dataset);

#endif
