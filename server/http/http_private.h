// SPDX-License-Identifier: Apache-2.0
/*
 * What the HTTP files share among themselves. Nobody else includes this.
 *
 * A request's way:
 *
 *     uri seen -> headers -> body ... -> [ waiting -> handler on a helper ] -> sent -> completed
 *                    |         |      \-> handler on the epoll thread ------/
 *                    \---------+-> refused: answered at once where the body is not worth reading
 *                                  (the rest of it lingers), or after it was read and thrown away
 *
 * A request belongs to one thread at a time: to the epoll thread of its connection, and while it
 * waits or is handled by a helper, with its connection suspended, to the helpers' queue or to that
 * helper. Lock order: helpers.lock, then server.lock, then libmicrohttpd's own; connections.lock, then
 * linger.lock.
 */
#ifndef SERVER_HTTP_PRIVATE_H
#define SERVER_HTTP_PRIVATE_H

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>

#include "http/http.h"
#include "http/stream.h"

enum {
    HTTP_MAX_SEGMENTS = 8,     // of a path: more is no path of ours
    HTTP_MAX_QUERY = 256,      // key=value pairs
    REPLY_MAX_HEADERS = 8,     // set by a handler
    REPLY_TYPE = 96,           // bytes of a media type
    LINGER_MAX = 64,           // connections at once whose rest is read and thrown away
    LINGER_MS = 2000,          // for at most so long
    BODY_RATE = 1024,          // bytes a second at which bodies are to come at least,
    UPLOAD_RATE = 65536,       // ... and those that go into a file
    DEFAULT_PER_ADDRESS = 512, // connections
    REQUEST_ID = 65,           // bytes of a request's id, with its NUL
    IDLE_TIMEOUT_S = 60,       // of a connection
    STOP_GRACE_MS = 500,       // http_stop waits so long for finished replies to go out
    CONNECTION_BYTES = 32768   // memory of a connection: bounds the request line and the headers
};

struct reply_header {
    char *name, *value;
};

struct http_reply {
    int status; // 0: none yet
    char type[REPLY_TYPE];
    void *owned;       // freed with free(); NULL where bytes are static
    const void *bytes; // (size)
    size_t size;
    char *etag;                 // quoted; NULL: none
    bool failed;                // a header could not be kept: an error is sent instead
    bool no_memory;             // for lack of memory
    bool unchanged;             // nothing to log
    bool close;                 // the connection ends with this reply
    struct http_stream *stream; // instead of bytes; NULL: none
    size_t n_headers;
    struct reply_header headers[REPLY_MAX_HEADERS];
};

struct query_pair {
    const char *key, *value; // inside target
};

/* Bytes of all request bodies that are held now. */
struct body_budget {
    atomic_size_t used;
    size_t limit;
};

struct body {
    char *bytes;
    size_t size, capacity; // capacity is what the budget was charged
    uint64_t length;       // Content-Length
};

/* A body on its way into a file. It belongs to its request's thread, and between spool_take and the
 * resumption to the spooler's. */
struct spool {
    bool counted; // among the uploads
    bool open;
    int fd;
    unsigned char *buffer; // (SPOOL_BYTES)
    size_t used;           // of buffer
    uint64_t size;         // received
    uint64_t checked;      // size at the last look at the free space
    crypto_hash_sha256_state hash;
    char sha256[65];
    struct tet_error error; // what went wrong with the file
};

enum request_state {
    REQUEST_NEW,     // the request line was seen
    REQUEST_BODY,    // headers were judged; the body is read, or thrown away where a reply is there
    REQUEST_WAITING, // suspended
    REQUEST_SENT
};

struct http_request {
    struct http_server *server;
    struct MHD_Connection *connection;
    struct connected *connected; // NULL: none was to be had
    const char *origin;          // another one, whose pages are allowed; NULL: the request is ours
    enum request_state state;
    bool counted, owed;       // see http_server
    int64_t begun_ns;         // monotonic: when its headers were read
    char id[REQUEST_ID];      // of the client's X-Request-Id, or made
    const char *method, *url; // libmicrohttpd's, as long as the request; url without the query
    bool head;                // HEAD, answered from GET
    char *target;             // the request line's target, split and decoded in place
    const char *authority;    // of an absolute target, NULL: the Host header counts
    size_t n_segments;
    char *segments[HTTP_MAX_SEGMENTS + 1];
    size_t n_query;
    struct query_pair *query;
    const struct http_route *route;
    size_t n_parts;
    const char *parts[HTTP_MAX_PARTS];
    int64_t ids[HTTP_MAX_PARTS]; // 0 where the part is no number
    struct body body;
    struct spool spool;
    struct identity identity;
    struct http_reply reply;
    struct http_request *next; // in the helpers' queue, or the spooler's
};

/* ---- request.c ---- */
struct http_request *request_new(struct http_server *server, struct MHD_Connection *connection,
                                 const char *uri);
void request_free(struct http_request *request, struct body_budget *budget); // NULL is fine
/* request_parse: splits and decodes the target. TET_BAD_REQUEST, TET_NOT_FOUND, TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err request_parse(struct http_request *request, struct tet_error *error);
/* request_run: calls the handler, frees the body, makes sure that there is a reply. */
void request_run(struct http_request *request, void *context);

/* ---- watch.c ---- */
void watch_begin(struct http_request *request, const char *method, const char *url);
void watch_end(const struct http_request *request, size_t bytes); // its reply was handed over

/* ---- text.c ---- */
bool http_text_decode(char *text,
                      bool plus); // %XX (and + as a space) in place; false: not decodable,
                                  // or then not UTF-8, or with control characters
void http_text_shorten(char *out, size_t size,
                       const char *text);               // whole characters, "..." where cut
bool http_text_uint(const char *text, uint64_t *value); // decimal digits alone, no overflow

/* ---- route.c ---- */
enum { ROUTE_ALLOW = 96 };
/* route_find: sets route, parts and ids. TET_NOT_FOUND; TET_METHOD, with the list for Allow in
 * `allow`. Of routes that match, the first in the table counts. */
TET_MUST_CHECK enum tet_err route_find(struct http_request *request,
                                       const struct http_route *routes, const char *method,
                                       char allow[ROUTE_ALLOW]);

/* ---- body.c ---- */
/* body_judge: whether the headers announce a body that the route takes. *unread: the body is
 * better not read at all. Fills in body.length. */
TET_MUST_CHECK enum tet_err body_judge(struct http_request *request, uint64_t max_bytes,
                                       bool *unread, struct tet_error *error);
TET_MUST_CHECK enum tet_err body_append(struct body *body, struct body_budget *budget,
                                        const char *bytes, size_t size, struct tet_error *error);
void body_free(struct body *body, struct body_budget *budget);

bool body_spooled(const struct http_request *request); // whether it goes into a file

/* ---- spool.c ---- */
enum {
    SPOOL_BYTES = 1 << 16, // held of a body; a piece of a body is shorter than CONNECTION_BYTES
    SPOOL_UPLOADS = 4      // at once, unless the caller has said how many
};
struct spooler {
    const char *folder;
    uint64_t max_bytes;
    size_t max_uploads;
    atomic_size_t uploads;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct http_request *head, *tail; // their buffers are to be written
    bool started, stop;
    pthread_t thread;
};
TET_MUST_CHECK enum tet_err spooler_start(struct spooler *spooler, struct tet_error *error);
/* spooler_stop: what waits to be written fails and is resumed. Also after a missing start. */
void spooler_stop(struct spooler *spooler);
/* spool_admit: room for one more upload of the length that its headers say (0: unknown). TET_BUSY,
 * TET_STORAGE_FULL. */
TET_MUST_CHECK enum tet_err spool_admit(struct http_request *request, struct tet_error *error);
/* spool_take: a piece of the body, shorter than CONNECTION_BYTES. *taken false: there is no room, and
 * the connection is suspended until the spooler has written what is held; the piece comes again. Errors: TET_TOO_LARGE, TET_BUSY (the
 * server stops), TET_STORAGE_FULL, TET_STORAGE_FAILS, TET_IO, TET_NO_MEMORY: no more is taken. */
TET_MUST_CHECK enum tet_err spool_take(struct http_request *request, const char *bytes, size_t size,
                                       bool *taken, struct tet_error *error);
/* spool_finish: writes the rest: on a helper. Errors as spool_take; TET_BAD_REQUEST where the
 * request's Content-Digest is another. */
TET_MUST_CHECK enum tet_err spool_finish(struct http_request *request, struct tet_error *error);
void spool_free(struct http_request *request); // closes the file, which is gone then
/* ---- media.c ---- */
enum { MEDIA_TYPES = 16 }; // that a caller can offer
/* What a client would like of some types; begin with {.types = types}, NULL-terminated. */
struct media_choice {
    const char *const *types;
    bool said; // an Accept was there
    int specificity[MEDIA_TYPES], quality[MEDIA_TYPES];
};
void media_take(struct media_choice *choice, const char *accept); // one header's value
const char *media_best(const struct media_choice *choice);        // NULL: none

/* ---- guard.c ---- */
/* guard_judge: TET_FORBIDDEN for a Host that is no name of this server (a page that rebinds its name
 * to our address), and for an Origin other than the Host and those allowed; sets request->origin.
 * TET_BAD_REQUEST. */
TET_MUST_CHECK enum tet_err guard_judge(struct http_request *request, const char *version,
                                        struct tet_error *error);

/* guard_check_list: whether a list of hosts, or of origins (NULL is fine), can be one. TET_BAD_REQUEST
 * with the option's name. */
TET_MUST_CHECK enum tet_err guard_check_list(const char *option, const char *list, bool origin,
                                             struct tet_error *error);

/* ---- reply.c ---- */
enum MHD_Result reply_send(struct http_request *request);
/* reply_no_memory: the answer that is kept for when none can be made; MHD_NO: the connection ends. */
enum MHD_Result reply_no_memory(struct http_server *server, struct MHD_Connection *connection);
void reply_lacks_memory(struct http_reply *reply); // becomes 503 out_of_memory
struct MHD_Response *reply_make_no_memory(void);   // NULL: no memory
void reply_clear(struct http_reply *reply);        // keeps `close`
/* reply_send_now: writes the reply to the socket itself: in the middle of a body, where
 * libmicrohttpd takes none. The connection is to be ended then. */
void reply_send_now(struct http_request *request);

/* ---- stream.c ---- */
struct streams {
    pthread_mutex_t lock; // for what follows
    pthread_cond_t none;  // n fell to 0
    struct http_stream *first;
    size_t n, max;
    bool ending; // no more are taken
};
struct MHD_Response *stream_response(struct http_stream *stream); // NULL: no memory
void stream_close(struct http_stream *stream); // its request is over; NULL is fine
void streams_create(struct streams *streams, size_t max);
void streams_destroy(struct streams *streams);
void streams_end(struct streams *streams); // ends all, as soon as their clients took what waits
void streams_await(struct streams *streams, uint32_t timeout_ms); // until there is none

/* ---- listen.c ---- */
/* listen_open: beyond: other addresses than loopback are allowed. */
TET_MUST_CHECK enum tet_err listen_open(int *fd, const char *address, bool beyond, uint16_t *port,
                                        struct tet_error *error);

/* ---- connections.c ---- */
enum connected_phase {
    CONNECTED_IDLE,      // between requests, or at the beginning
    CONNECTED_RECEIVING, // a request comes in
    CONNECTED_OURS,      // it is handled, or its body is being written
    CONNECTED_REPLYING,  // a reply of known size goes out
    CONNECTED_LATE       // it was given up, and answered where that could be
};
struct connected {
    int fd;
    struct http_peer peer;
    atomic_int phase;              // of enum connected_phase
    atomic_int_least64_t until_ms; // monotonic: it must have come further by then; 0: no limit
    atomic_int_least64_t idle_ms;  // since when it is idle; 0: it is not, or was chosen to go
    unsigned cut;                  // looks in a row that found its end without the rest of its body
    atomic_bool measured;          // `acknowledged` is of this reply
    uint64_t acknowledged;         // bytes, when it was last looked at
    int64_t held_ms, left_ms;      // since when its body waits for the disk, and its time then
    struct connected *next, *previous;
};
struct connections {
    pthread_mutex_t lock;
    struct connected *first;
    struct connected **by_fd; // (size)
    size_t size;
    size_t per_address;      // connections from one address that is not a proxy's
    bool loopback_too;       // ... also where that is loopback
    char *trusted;           // proxies, with commas; NULL: none
    bool silent;             // nothing can be said to a client behind TLS's back
    struct lingerer *linger; // for those that are answered before they have sent all
    int64_t patience_ms;     // see connections.c
    bool started, stop;
    pthread_cond_t wake;
    pthread_t thread;
};
/* connections_init: per_address 0: DEFAULT_PER_ADDRESS or a quarter of max, and of loopback any number. */
void connections_init(struct connections *all, size_t max, size_t per_address, uint32_t patience_ms,
                      struct lingerer *linger);
TET_MUST_CHECK enum tet_err connections_start(struct connections *all, struct tet_error *error);
void connections_stop(struct connections *all); // also after a failed or missing start
/* connections_add: false: this address has too many, or no memory. */
bool connections_add(struct connections *all, int fd, const struct sockaddr *from);
/* connections_make_room: ends the connection that is idle for longest, some time after this returns; false:
 * there is none. */
bool connections_make_room(struct connections *all);
struct connected *connections_find(struct connections *all, int fd);
void connections_remove(struct connections *all, struct connected *connected); // NULL is fine
/* The phases that a connection (NULL is fine) comes to. false: it is late, and was given up. */
void connected_line(struct connections *all,
                    struct connected *connected); // the request line is read
bool connected_headers(struct connections *all, struct connected *connected); // they are read
bool connected_body(struct connections *all, struct connected *connected, size_t bytes,
                    uint32_t rate); // so much of the body came, which is to come at `rate`
void connected_held(struct connected *connected);    // its body waits for the disk
bool connected_handled(struct connected *connected); // all is read
void connected_reply(struct connections *all, struct connected *connected,
                     size_t bytes); // the reply has so many bytes; 0: not known
void connected_idle(struct connections *all, struct connected *connected); // the reply is out

/* ---- proxy.c ---- */
void peer_settle(struct http_peer *peer); // sets loopback
/* proxy_trusted: whether a list of addresses and ADDRESS/BITS (NULL: an empty one) has the peer. */
bool proxy_trusted(const char *list, const struct http_peer *peer);
TET_MUST_CHECK enum tet_err proxy_check_list(const char *list, struct tet_error *error);

/* ---- tls.c ---- */
struct tls {
    char *certificate, *key; // PEM; NULL: no TLS
};
/* tls_read: from files; both NULL: no TLS. TET_BAD_REQUEST, TET_IO. */
TET_MUST_CHECK enum tet_err tls_read(struct tls *tls, const char *certificate, const char *key,
                                     struct tet_error *error);
void tls_free(struct tls *tls); // the key is overwritten
/* GnuTLS's text for what is spoken: TLS 1.2 and 1.3, keys that are forgotten, authenticated ciphers. */
extern const char tls_priorities[];

/* ---- helpers.c ---- */
struct helpers {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct http_request *head, *tail; // waiting
    size_t waiting, max_waiting;
    bool stop;
    void *context;
    size_t n;
    pthread_t *threads;
};
TET_MUST_CHECK enum tet_err helpers_start(struct helpers *helpers, size_t n, size_t max_waiting,
                                          void *context, struct tet_error *error);
/* helpers_submit: suspends the connection and queues the request; from then on it belongs to the
 * helpers until they resume it. TET_BUSY: too many wait, or the helpers stop; nothing happened. */
TET_MUST_CHECK enum tet_err helpers_submit(struct helpers *helpers, struct http_request *request,
                                           struct tet_error *error);
/* helpers_stop: requests that wait are answered 503, running handlers finish. Also right after a
 * failed or missing start. */
void helpers_stop(struct helpers *helpers);

/* ---- linger.c ---- */
struct lingerer {
    pthread_mutex_t lock; // after connections.lock
    int wake;             // eventfd, -1: not started
    int added[LINGER_MAX];
    size_t n_added;
    bool stop;
    pthread_t thread;
};
TET_MUST_CHECK enum tet_err linger_start(struct lingerer *linger, struct tet_error *error);
void linger_add(struct lingerer *linger, int fd); // makes a duplicate of fd
void linger_stop(struct lingerer *linger);

/* ---- accept.c ---- */
struct acceptor {
    int listen_fd, wake; // -1: none
    bool running;
    pthread_t thread;
};
/* acceptor_start: takes connections from acceptor.listen_fd. */
TET_MUST_CHECK enum tet_err acceptor_start(struct http_server *server, struct tet_error *error);
/* acceptor_stop: takes what has connected so far, then closes the listening socket. Also twice, and
 * after a failed or missing start. */
void acceptor_stop(struct http_server *server);

/* ---- http.c ---- */
struct http_server {
    struct MHD_Daemon *daemon;
    http_watch_fn *watch;           // NULL: nobody
    http_admit_fn *admit;           // NULL: everybody is `local`
    http_quick_fn *quick;           // NULL: none
    http_done_fn *done;             // NULL: nobody wants to know
    struct MHD_Response *no_memory; // reply_no_memory
    bool beyond_loopback;
    char *hosts, *origins; // lists with commas; NULL: none
    struct tls tls;
    struct connections all;
    struct acceptor acceptor;
    size_t max_connections;
    atomic_size_t connections;
    const struct http_route *routes;
    void *context;
    uint64_t max_body_bytes;
    struct body_budget budget;
    struct helpers helpers;
    struct lingerer linger;
    struct spooler spooler;
    struct streams streams;
    atomic_bool draining;
    pthread_mutex_t lock;
    pthread_cond_t fewer; // active or owed fell to 0
    size_t active;        // requests whose headers are read and that are not completed
    size_t owed;          // of these, the ones with helpers, or sent and not completed
};
void server_owes(struct http_request *request); // counts it as owed, once
void server_forgets(
    struct http_request *request); // a stream: neither active nor owed; see streams_end

#endif
