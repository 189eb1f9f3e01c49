// SPDX-License-Identifier: Apache-2.0
/* The kernels for aarch64: 4 floats a vector. */
#define TET_ISA_NEON
#include "kernels/convolution.h"

const struct tet_kernels tet_kernels_neon = {
    .name = "neon", PRODUCT_KERNELS, CONVOLUTION_KERNELS, VOLUME_KERNELS, ELEMENTWISE_KERNELS};
