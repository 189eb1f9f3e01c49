// SPDX-License-Identifier: Apache-2.0
/*
 * Uploaded datasets by name: where the content lies, and which it must be. What the catalog looks
 * into besides its folder. Any thread; one mutex inside, held for moments.
 */
#ifndef SERVER_DATA_UPLOADED_H
#define SERVER_DATA_UPLOADED_H

#include "data/folder.h"

struct uploaded;

struct uploaded *uploaded_create(void); // NULL: no memory
void uploaded_destroy(struct uploaded *uploaded);
/* uploaded_put: name, an archive's path and the digest that its content must have; in the place of
 * an earlier one of the name. */
TET_MUST_CHECK enum tet_err uploaded_put(struct uploaded *uploaded, const char *name,
                                         const char *path, const char *sha256,
                                         struct tet_error *error);
void uploaded_remove(struct uploaded *uploaded, const char *name); // fine where it is not there
/* uploaded_find: as folder_find; form FOLDER_NONE: none of that name. An upload whose file is gone is
 * still found, with no state. */
TET_MUST_CHECK enum tet_err uploaded_find(struct uploaded *uploaded, const char *name,
                                          struct folder_files *files, struct tet_error *error);
/* uploaded_list: adds the names to the list (n of them), in new memory; sorted, each once. Frees the
 * old list in either case. */
TET_MUST_CHECK enum tet_err uploaded_list(struct uploaded *uploaded, char ***names, size_t *n,
                                          struct tet_error *error);

#endif
