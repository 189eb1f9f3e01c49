// SPDX-License-Identifier: Apache-2.0
/* Eigenvalues of symmetric matrices, the same bits on every machine. Any thread; no state. */
#ifndef CORE_EIGENVALUES_H
#define CORE_EIGENVALUES_H

#include <stdbool.h>
#include <stddef.h>

/* tet_eigenvalues: of the symmetric a (n, n), row-major, of which both triangles are given and
 * which is destroyed: values (n), ascending. scratch (2 n). False, and values undefined, where a is
 * not finite or the iteration does not converge. Errors of an eigenvalue are of the order of
 * 1e-16 n |a|.
 *
 * Householder's reduction to a tridiagonal matrix, then the implicit QL algorithm: tred1 and imtql1
 * of EISPACK (Martin, Reinsch, Wilkinson 1968; Dubrulle, Martin, Wilkinson 1968), here with whole
 * rows in the inner loops. */
bool tet_eigenvalues(double *a, size_t n, double *values, double *scratch);

#endif
