// SPDX-License-Identifier: Apache-2.0
/* Files that are part of the program: NUL-terminated UTF-8 texts. */
#ifndef SERVER_EMBED_H
#define SERVER_EMBED_H

extern const char embed_experiment_schema[]; // schema/experiment.schema.json
extern const char embed_openapi[];           // schema/openapi.json
extern const char embed_examples[];          // schema/examples/*.json, the answer of /v1/examples
extern const char embed_sql_0001[];          // schema/sql/0001_initial.sql
extern const char embed_sql_0002[];          // schema/sql/0002_kernels.sql
extern const char embed_sql_0003[];          // schema/sql/0003_timeline.sql
extern const char embed_sql_0004[];          // schema/sql/0004_divergence.sql
extern const char embed_sql_0005[];          // schema/sql/0005_protocol.sql
extern const char embed_sql_0006[];          // schema/sql/0006_users.sql
extern const char embed_sql_0007[];          // schema/sql/0007_queue.sql
extern const char embed_sql_0008[];          // schema/sql/0008_datasets.sql
extern const char embed_sql_0009[];          // schema/sql/0009_reruns.sql
extern const char embed_sql_0010[];          // schema/sql/0010_series.sql
extern const char embed_sql_0011[];          // schema/sql/0011_retention.sql

#endif
