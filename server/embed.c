// SPDX-License-Identifier: Apache-2.0
/* The files of schema/ that the program carries, as NUL-terminated texts. The Makefile knows that
 * this object depends on them; paths are relative to the repository's root, where the compiler
 * runs, and to the build folder, where the Makefile puts the examples together. */
#include "embed.h"

#define EMBED(symbol, path)                                                                        \
    __asm__(".section .rodata\n"                                                                   \
            ".global " #symbol "\n"                                                                \
            ".type " #symbol ", %object\n" #symbol ":\n"                                           \
            ".incbin \"" path "\"\n"                                                               \
            ".byte 0\n"                                                                            \
            ".size " #symbol ", . - " #symbol "\n"                                                 \
            ".previous\n")

EMBED(embed_experiment_schema, "schema/experiment.schema.json");
EMBED(embed_openapi, "schema/openapi.json");
EMBED(embed_examples, "examples.json");
EMBED(embed_sql_0001, "schema/sql/0001_initial.sql");
EMBED(embed_sql_0002, "schema/sql/0002_kernels.sql");
EMBED(embed_sql_0003, "schema/sql/0003_timeline.sql");
EMBED(embed_sql_0004, "schema/sql/0004_divergence.sql");
EMBED(embed_sql_0005, "schema/sql/0005_protocol.sql");
EMBED(embed_sql_0006, "schema/sql/0006_users.sql");
EMBED(embed_sql_0007, "schema/sql/0007_queue.sql");
EMBED(embed_sql_0008, "schema/sql/0008_datasets.sql");
EMBED(embed_sql_0009, "schema/sql/0009_reruns.sql");
EMBED(embed_sql_0010, "schema/sql/0010_series.sql");
EMBED(embed_sql_0011, "schema/sql/0011_retention.sql");
