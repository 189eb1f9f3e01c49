// SPDX-License-Identifier: Apache-2.0
/*
 * The names of uploaded datasets, and how many runs use a dataset. The contents are files: see
 * data/files.h. Threads: any.
 */
#ifndef SERVER_STORE_DATASETS_H
#define SERVER_STORE_DATASETS_H

#include "store/store.h"

struct store_dataset {
    const char *name, *owner;
    const char *kind;   // the form it came in: "npz", "csv", "idx", "cifar10", "cifar100"
    const char *sha256; // "sha256:..." of dataset_digest
    uint64_t bytes;     // of its file
    int64_t created_ms; // UTC since 1970; set by store_dataset_put
};

/* store_dataset_put: gives a content a name (durable). *created false: the name had this content
 * already, and nothing changed. Errors: TET_CONFLICT (the name has another content), TET_BUSY,
 * TET_DATABASE. */
TET_MUST_CHECK enum tet_err store_dataset_put(struct store *store,
                                              const struct store_dataset *dataset, bool *created,
                                              struct tet_error *error);
/* store_dataset_delete: takes a name away (durable); *last: no other name has its content. Errors:
 * TET_NOT_FOUND, TET_CONFLICT (runs wait for it or use it), TET_BUSY, TET_DATABASE. */
TET_MUST_CHECK enum tet_err store_dataset_delete(struct store *store, const char *name, bool *last,
                                                 struct tet_error *error);

typedef bool store_dataset_fn(void *context, const struct store_dataset *dataset);
/* store_datasets_read: all, sorted by name, or the one of that name; values are valid during the
 * visit. Of a name that is not there, none. */
TET_MUST_CHECK enum tet_err store_datasets_read(struct store *store, const char *name,
                                                store_dataset_fn *visit, void *context,
                                                struct tet_error *error);
/* store_dataset_known: whether a name has this content. */
TET_MUST_CHECK enum tet_err store_dataset_known(struct store *store, const char *sha256,
                                                bool *known, struct tet_error *error);
/* store_dataset_uses: runs queued, running or paused whose definition has this dataset, of any
 * source. */
TET_MUST_CHECK enum tet_err store_dataset_uses(struct store *store, const char *name,
                                               uint64_t *runs, struct tet_error *error);

#endif
