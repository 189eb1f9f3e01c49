// SPDX-License-Identifier: Apache-2.0
/* A trainer's arrays outside of it: checkpoints, the digest, .npz files. */
#ifndef SERVER_WEIGHTS_H
#define SERVER_WEIGHTS_H

#include <tetrad/trainer.h>

#include "data/npz.h"
#include "store/store.h"

/* weights_capture: copies the trainer's arrays and cursor. The caller frees with
 * store_checkpoint_free. Errors: TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err weights_capture(struct store_checkpoint *checkpoint,
                                            const struct tet_trainer *trainer,
                                            struct tet_error *error);

/* weights_restore: puts a checkpoint into a trainer of the same plan. Errors: TET_BAD_WEIGHTS
 * (names or shapes differ; the trainer's arrays are then undefined), TET_BAD_DEFINITION (the cursor
 * does not belong to the plan). */
TET_MUST_CHECK enum tet_err weights_restore(struct tet_trainer *trainer,
                                            const struct store_checkpoint *checkpoint,
                                            struct tet_error *error);

/* weights_adopt: the same with a checkpoint of another plan for the same network: arrays that it
 * lacks keep their initial values, and those that the trainer lacks are passed over. */
TET_MUST_CHECK enum tet_err weights_adopt(struct tet_trainer *trainer,
                                          const struct store_checkpoint *checkpoint,
                                          struct tet_error *error);

/* weights_are_final: whether the validation part has ended the run whose checkpoint this is. */
bool weights_are_final(const struct store_checkpoint *checkpoint);

/* weights_digest: "sha256:..." over the weights (not the velocities) in the order of their names'
 * bytes; of each: name, NUL, rank and dimensions as 32-bit little-endian numbers, values as
 * little-endian float32 in row-major order. */
void weights_digest(char digest[STORE_HASH], const struct store_checkpoint *checkpoint);

/* weights_load: replaces initial values by the arrays of an .npz with the names of circuit.md. An
 * array that the network lacks but a rule could have (B2, V1, U1, D1, ...) is passed over; one that
 * is not given keeps its drawn value. Errors: TET_BAD_WEIGHTS (unknown name, wrong shape, not
 * finite, nothing that fits), TET_IO, TET_NOT_FOUND, TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err weights_load(struct tet_trainer *trainer, const char *path,
                                         uint64_t max_bytes, struct tet_error *error);

/* weights_npy: one array of a checkpoint, with its name and shape; data stays the checkpoint's. */
struct npy weights_npy(const struct store_array *array);

/* weights_npz: the weights of a checkpoint as arrays for npz_write; data stays the checkpoint's.
 * The caller frees *arrays. */
TET_MUST_CHECK enum tet_err weights_npz(struct npy **arrays, size_t *n,
                                        const struct store_checkpoint *checkpoint,
                                        struct tet_error *error);

/* weights_whole: the same with all that training goes on from: also "velocity/W1" and "state/NAME", and
 * "cursor", the doubles of struct tet_cursor in its order, which are kept in `cursor`. */
enum { WEIGHTS_CURSOR = 7 };
TET_MUST_CHECK enum tet_err weights_whole(struct npy **arrays, size_t *n,
                                          double cursor[WEIGHTS_CURSOR],
                                          const struct store_checkpoint *checkpoint,
                                          struct tet_error *error);
/* weights_cursor: such an array read again; false: no cursor. */
bool weights_cursor(const struct npy *array, struct tet_cursor *cursor);

#endif
