// SPDX-License-Identifier: Apache-2.0
/* The kernels for x86-64 with AVX-512F: 16 floats a vector. */
#define TET_ISA_AVX512
#include "kernels/convolution.h"

const struct tet_kernels tet_kernels_avx512 = {
    .name = "avx512", PRODUCT_KERNELS, CONVOLUTION_KERNELS, VOLUME_KERNELS, ELEMENTWISE_KERNELS};
