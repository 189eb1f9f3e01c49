// SPDX-License-Identifier: Apache-2.0
/*
 * The dashboard: its page and the files that the page loads.
 *
 * They are compressed once, at build time, and sent so; who does not take gzip gets them inflated. The
 * page may run no script and no style that is not one of these files, and may ask no other host:
 * what users call their experiments cannot become program.
 */
#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "web.h"

static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static const struct web_asset *find(const char *folder, const char *name)
{
    const size_t n = strlen(folder);
    for (const struct web_asset *asset = web_assets; asset->name != NULL; asset++) {
        if (strncmp(asset->name, folder, n) == 0 && strcmp(asset->name + n, name) == 0)
            return asset;
    }
    return NULL;
}

/* Whether an element of Accept-Encoding ("gzip;q=0.5") has the coding, and its quality is not 0. */
static bool allows(const char *element, size_t n, const char *coding)
{
    const size_t length = strlen(coding);
    if (n < length || strncasecmp(element, coding, length) != 0)
        return false;
    size_t at = length + strspn(element + length, " \t");
    if (at >= n)
        return true;
    if (element[at] != ';')
        return false;
    at++;
    at += strspn(element + at, " \t");
    if (at + 2 > n || strncasecmp(element + at, "q=", 2) != 0)
        return false;
    return strtod(element + at + 2, NULL) > 0;
}

/* Whether the request takes gzip: it is named, or `*` is and gzip is not refused. */
static bool takes_gzip(const char *accept)
{
    bool any = false;
    while (accept != NULL && *accept != '\0') {
        accept += strspn(accept, " \t,");
        const size_t n = strcspn(accept, ",");
        if (n >= 4 && strncasecmp(accept, "gzip", 4) == 0 && strchr(" \t;,", accept[4]) != NULL)
            return allows(accept, n, "gzip");
        any = any || allows(accept, n, "*");
        accept += n;
    }
    return any;
}

/* The asset's content in new memory that the caller frees; NULL: no memory. */
static unsigned char *inflated(const struct web_asset *asset)
{
    unsigned char *bytes = malloc(asset->size + 1);                   // an empty one is no NULL
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)asset->gzip, // only read
                  .avail_in = (uInt)asset->gzip_size,
                  .next_out = bytes,
                  .avail_out = (uInt)asset->size};
    if (bytes == NULL || inflateInit2(&z, MAX_WBITS + 16) != Z_OK) { // +16: gzip's header
        free(bytes);
        return NULL;
    }
    const int end = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    if (end == Z_STREAM_END && z.total_out == asset->size)
        return bytes;
    free(bytes);
    return NULL;
}

static void send_headers(struct http_reply *reply)
{
    http_reply_header(reply, "Content-Security-Policy", policy);
    http_reply_header(reply, "Referrer-Policy", "no-referrer");
    http_reply_header(reply, "Cross-Origin-Resource-Policy", "same-origin");
    http_reply_header(reply, "Vary", "Accept-Encoding");
    http_reply_header(reply, "Cache-Control", "no-cache"); // asked for again, answered 304
}

static void send_asset(const struct http_request *request, struct http_reply *reply,
                       const struct web_asset *asset)
{
    const bool gzip = takes_gzip(http_header(request, "Accept-Encoding"));
    char tag[64];
    snprintf(tag, sizeof tag, "%s%s", asset->tag, gzip ? "-gzip" : "");
    send_headers(reply);
    if (http_reply_etag(request, reply, tag))
        return;
    if (gzip) {
        http_reply_header(reply, "Content-Encoding", "gzip");
        http_reply_static(reply, 200, asset->type, asset->gzip, asset->gzip_size);
        return;
    }
    unsigned char *bytes = inflated(asset);
    if (bytes == NULL)
        http_reply_json(reply, 200, NULL); // out of memory
    else
        http_reply_bytes(reply, 200, asset->type, bytes, asset->size);
}

static void asset_or_not(const struct http_request *request, struct http_reply *reply,
                         const char *folder, const char *name)
{
    struct tet_error error = {0};
    const struct web_asset *asset = find(folder, name);
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    if (asset != NULL) {
        send_asset(request, reply, asset);
        return;
    }
    (void)tet_error_set(&error, TET_NOT_FOUND, "the dashboard has no such file");
    http_reply_error(reply, &error, NULL);
}

void api_dashboard(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    asset_or_not(request, reply, "", "index.html");
}

void api_asset(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    asset_or_not(request, reply, "", http_part(request, 0));
}

void api_asset_page(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    asset_or_not(request, reply, "pages/", http_part(request, 0));
}
