// SPDX-License-Identifier: Apache-2.0
/*
 * Elementary functions in double that give the same bits on every machine: made of IEEE + - * / and
 * sqrt alone, where libm's differ. Errors are a few units in the last place. Any thread; no state.
 */
#ifndef CORE_EXACT_H
#define CORE_EXACT_H

/* tet_exact_log: the natural logarithm of a normal x > 0. */
double tet_exact_log(double x);

/* tet_exact_exp: e^x for |x| at most 700. */
double tet_exact_exp(double x);

/* tet_exact_degrees: the angle, 0 to 180 degrees, whose cosine is c; a c outside of -1 to 1, as
 * rounding may leave it, counts as the nearer bound. */
double tet_exact_degrees(double c);

#endif
