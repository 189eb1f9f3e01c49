// SPDX-License-Identifier: Apache-2.0
/*
 * What all datasets have in common, wherever their examples come from. See tetrad/dataset.h.
 */
#include <tetrad/dataset.h>

#include <stdlib.h>

void tet_dataset_free(struct tet_dataset *dataset)
{
    if (!dataset)
        return;
    free(dataset->memory);
    *dataset = (struct tet_dataset){0};
}
