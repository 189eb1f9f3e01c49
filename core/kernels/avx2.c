// SPDX-License-Identifier: Apache-2.0
/* The kernels for x86-64 with AVX2 and FMA: 8 floats a vector. */
#define TET_ISA_AVX2
#include "kernels/convolution.h"

const struct tet_kernels tet_kernels_avx2 = {
    .name = "avx2", PRODUCT_KERNELS, CONVOLUTION_KERNELS, VOLUME_KERNELS, ELEMENTWISE_KERNELS};
