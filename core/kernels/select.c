// SPDX-License-Identifier: Apache-2.0
/* Which kernels run: asked once of the processor, or of the environment variable TETRAD_ISA. */
#include "kernels/kernels.h"

#include <stdlib.h>
#include <string.h>

#include <tetrad/trainer.h>

struct candidate {
    const struct tet_kernels *kernels;
    bool present;
};

/* Fastest first; the last is always present. */
static size_t candidates(struct candidate list[4])
{
    size_t n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    list[n++] = (struct candidate){&tet_kernels_avx512, avx2 && __builtin_cpu_supports("avx512f")};
    list[n++] = (struct candidate){&tet_kernels_avx2, avx2};
#elif defined(__aarch64__)
    list[n++] = (struct candidate){&tet_kernels_neon, true};
#endif
    list[n++] = (struct candidate){&tet_kernels_scalar, true};
    return n;
}

enum tet_err tet_kernels_select(const struct tet_kernels **kernels, struct tet_error *error)
{
    struct candidate list[4];
    const size_t n = candidates(list);
    const char *wanted = getenv("TETRAD_ISA");
    for (size_t i = 0; i < n; i++) {
        if (wanted == NULL || *wanted == '\0' ? list[i].present
                                              : strcmp(wanted, list[i].kernels->name) == 0) {
            if (!list[i].present)
                return tet_error_set(error, TET_BAD_REQUEST,
                                     "TETRAD_ISA=%s: this processor lacks it", wanted);
            *kernels = list[i].kernels;
            return TET_OK;
        }
    }
    return tet_error_set(error, TET_BAD_REQUEST,
                         "TETRAD_ISA=%.40s: allowed on this processor's kind are%s scalar", wanted,
#if defined(__x86_64__)
                         " avx512, avx2,"
#elif defined(__aarch64__)
                         " neon,"
#else
                         ""
#endif
    );
}

enum tet_err tet_isa_check(struct tet_error *error)
{
    const struct tet_kernels *kernels = NULL;
    return tet_kernels_select(&kernels, error);
}

const char *tet_isa_name(void)
{
    const struct tet_kernels *kernels = NULL;
    return tet_kernels_select(&kernels, NULL) == TET_OK ? kernels->name : "none";
}
