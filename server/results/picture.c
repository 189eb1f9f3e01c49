// SPDX-License-Identifier: Apache-2.0
/* Pictures: see picture.h. */
#include "results/picture.h"

#include <math.h>
#include <png.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum tet_err picture_create(struct picture *picture, uint64_t width, uint64_t height, uint8_t grey,
                            struct tet_error *error)
{
    *picture = (struct picture){0};
    if (width < 1 || height < 1 || width > PICTURE_SIDE_MAX || height > PICTURE_SIDE_MAX)
        return tet_error_set(
            error, TET_BAD_REQUEST,
            "the picture would have %llu x %llu pixels, allowed at most %d a side: "
            "ask for a smaller scale",
            (unsigned long long)width, (unsigned long long)height, PICTURE_SIDE_MAX);
    const size_t bytes = 3 * (size_t)width * (size_t)height;
    picture->rgb = malloc(bytes);
    if (picture->rgb == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for a picture");
    memset(picture->rgb, grey, bytes);
    picture->width = (uint32_t)width;
    picture->height = (uint32_t)height;
    return TET_OK;
}

void picture_free(struct picture *picture)
{
    free(picture->rgb);
    *picture = (struct picture){0};
}

void picture_fill(struct picture *picture, uint32_t x, uint32_t y, uint32_t side,
                  const uint8_t rgb[3])
{
    for (uint32_t j = 0; j < side; j++) {
        uint8_t *row = picture->rgb + 3 * ((size_t)(y + j) * picture->width + x);
        for (uint32_t i = 0; i < side; i++)
            memcpy(row + 3 * (size_t)i, rgb, 3);
    }
}

/* ColorBrewer 2.0, RdBu of 11 classes, from blue to red. */
static const uint8_t colours[11][3] = {{5, 48, 97},     {33, 102, 172},  {67, 147, 195},
                                       {146, 197, 222}, {209, 229, 240}, {247, 247, 247},
                                       {253, 219, 199}, {244, 165, 130}, {214, 96, 77},
                                       {178, 24, 43},   {103, 0, 31}};

void picture_diverging(double value, double most, uint8_t rgb[3])
{
    if (!isfinite(value)) {
        memset(rgb, 128, 3);
        return;
    }
    const double share = most > 0.0 ? fmax(-1.0, fmin(1.0, value / most)) : 0.0;
    const double at = 5.0 + 5.0 * share;
    const int below = at < 10.0 ? (int)at : 9;
    for (int c = 0; c < 3; c++)
        rgb[c] = (uint8_t)(colours[below][c] + 0.5 +
                           (at - below) * (colours[below + 1][c] - colours[below][c]));
}

/* Takes the colours out of a picture that has none; whether it had none. */
static bool make_grey(const struct picture *picture, uint8_t **grey)
{
    const size_t n = (size_t)picture->width * picture->height;
    const uint8_t *rgb = picture->rgb;
    for (size_t i = 0; i < n; i++)
        if (rgb[3 * i] != rgb[3 * i + 1] || rgb[3 * i] != rgb[3 * i + 2])
            return false;
    *grey = malloc(n);
    for (size_t i = 0; i < n && *grey != NULL; i++)
        (*grey)[i] = rgb[3 * i];
    return *grey != NULL;
}

enum tet_err picture_png(const struct picture *picture, void **bytes, size_t *size,
                         struct tet_error *error)
{
    uint8_t *grey = NULL;
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = picture->width,
                       .height = picture->height,
                       .format = make_grey(picture, &grey) ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB,
                       .flags = PNG_IMAGE_FLAG_FAST};      // a third of the time
    png_alloc_size_t room = PNG_IMAGE_PNG_SIZE_MAX(image); // whatever the pixels are
    *size = 0;
    *bytes = malloc(room);
    if (*bytes == NULL || !png_image_write_to_memory(&image, *bytes, &room, 0,
                                                     grey != NULL ? grey : picture->rgb, 0, NULL)) {
        free(grey);
        free(*bytes);
        *bytes = NULL;
        return tet_error_set(error, TET_NO_MEMORY, "no memory for a picture");
    }
    free(grey);
    void *less = realloc(*bytes, room);
    *bytes = less != NULL ? less : *bytes;
    *size = room;
    return TET_OK;
}
