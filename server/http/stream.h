// SPDX-License-Identifier: Apache-2.0
/*
 * Streams: replies without an end, such as server-sent events.
 *
 * A stream holds references to texts that many streams share, and its client takes them as fast as it can; while
 * there is nothing to take, its connection is suspended and costs no thread. What a client that does not read holds
 * is bounded: when too much waits, all of it is thrown away for one text that says so.
 *
 * Streams end when the server drains or stops, or their token is not good any more. They count apart from ordinary
 * connections, but for the bound of an address.
 *
 * Threads: any function from any thread. A client that has gone shows only when something is sent to it.
 */
#ifndef SERVER_HTTP_STREAM_H
#define SERVER_HTTP_STREAM_H

#include "http/http.h"

enum { HTTP_STREAM_BYTES = 65536 }; // that wait for one client

/* A text with a count of references. */
struct http_shared {
    _Atomic size_t references;
    size_t size;
    char bytes[]; // (size)
};
struct http_shared *http_shared_new(const void *bytes,
                                    size_t size); // one reference; NULL: no memory
struct http_shared *http_shared_hold(struct http_shared *shared);
void http_shared_release(struct http_shared *shared); // NULL is fine

struct http_stream;

/* http_reply_stream: replies with a stream of `type`; the caller holds it until http_stream_release. NULL: the reply
 * is complete: an error (too many streams: 503; no memory), or to HEAD. The reply may still be replaced by an error. */
struct http_stream *http_reply_stream(const struct http_request *request, struct http_reply *reply,
                                      const char *type);

/* http_stream_push: sends texts, of which it takes references where they have to wait. Where more than
 * HTTP_STREAM_BYTES would wait, everything that waits is replaced by `instead`, once until the client has taken it.
 * Never waits itself. false: the client has gone. */
bool http_stream_push(struct http_stream *stream, struct http_shared *const *texts, size_t n,
                      struct http_shared *instead);
bool http_stream_gone(struct http_stream *stream);
size_t http_stream_waiting(struct http_stream *stream); // bytes that the client has not taken yet
void http_stream_release(struct http_stream *stream); // NULL is fine; the client may go on reading

/* http_streams_review: ends the streams of those who are not good any more, with what waits for them. `good` is called
 * with locks held: it must not wait, nor call the server. */
typedef bool http_good_fn(void *context, const struct identity *identity);
void http_streams_review(struct http_server *server, http_good_fn *good, void *context);

size_t http_streams(struct http_server *server);     // how many there are
size_t http_connections(struct http_server *server); // besides them

#endif
