// SPDX-License-Identifier: Apache-2.0
/* The dashboard's files as the program carries them: a table made at build time by
 * deploy/web-assets from server/web and from the libraries that Debian packages. */
#ifndef SERVER_WEB_H
#define SERVER_WEB_H

#include <stddef.h>

struct web_asset {
    const char *name; // "app.js", "pages/run.js"
    const char *type; // media type, without charset
    const char *tag;  // changes with the content; without quotes
    const unsigned char *gzip;
    size_t gzip_size, size; // bytes, compressed and not
};

extern const struct web_asset web_assets[]; // terminated by a NULL name

#endif
