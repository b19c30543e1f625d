/* curl_loop.h - libcurl's transfers on the agent's loop: curl says which descriptors it waits for
 * and how long, and is told. Nothing blocks, names are looked up by curl's own thread.
 *
 * Threads:   the loop's. Some calls of curl_global_init() and _cleanup() must surround all of this.
 * Lifetimes: embedded in its owner. on_done may add and remove transfers, but not end the loop.
 */
#ifndef TWINRING_AGENT_CURL_LOOP_H
#define TWINRING_AGENT_CURL_LOOP_H

#include <curl/curl.h>

#include "common/io.h"

/* For one transfer at a time: two attempts to connect, and the lookup's own. */
enum { CURL_LOOP_SOCKETS = 8 };

struct curl_loop;

struct curl_loop_socket {
	struct curl_loop *owner;
	struct io_watch watch;
	curl_socket_t fd;
	bool used;
};

struct curl_loop {
	CURLM *multi;
	struct io_loop *loop;
	struct io_timer timer;
	void (*on_done)(void *ctx, CURL *easy, CURLcode code);
	void *ctx;
	struct curl_loop_socket sockets[CURL_LOOP_SOCKETS];
};

/* What every transfer of ours has in common: http and https only, no redirects, no proxies, no
 * signals, no descriptors for the programs that we start. NULL: no memory. */
CURL *curl_loop_easy(void);

/* False: no memory or descriptors; fini is right all the same. */
bool curl_loop_init(struct curl_loop *c, struct io_loop *l,
		    void (*on_done)(void *ctx, CURL *easy, CURLcode code), void *ctx);
/* The caller keeps `easy`. on_done is called once for it, never from within this, unless it is
 * removed before; it must be removed in any case before it is used or cleaned up. */
bool curl_loop_add(struct curl_loop *c, CURL *easy);
void curl_loop_remove(struct curl_loop *c, CURL *easy);
/* After all transfers were removed. */
void curl_loop_fini(struct curl_loop *c);

#endif
