/* http_pages.h - a few read-only pages over HTTP, for monitoring.
 *
 * Threads:   runs on the base it was given; never blocks it. GET and HEAD only, small requests, and
 *            a reader that is slow is cut off after a while.
 * Ownership: borrows base, rows and ctx until http_pages_free().
 */
#ifndef TWINRING_COMMON_HTTP_PAGES_H
#define TWINRING_COMMON_HTTP_PAGES_H

#include "common/config.h"
#include "common/scratch.h"

enum { HTTP_PAGES_TIMEOUT_S = 30 }; /* without a byte moving */

#define HTTP_TEXT	"text/plain"
#define HTTP_JSON	"application/json"
#define HTTP_PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"

struct event_base;
struct http_pages;

struct http_page {
	int code;	     /* 200 */
	const char *reason;  /* "OK" */
	const char *type;    /* HTTP_TEXT */
	struct scratch body; /* empty */
};

/* Called with the values above; changes what is to be otherwise. */
typedef void (*http_page_fn)(void *ctx, struct http_page *page);

struct http_page_row {
	const char *path; /* NULL: the end of the table */
	http_page_fn make;
};

/* 503 with this text. */
void http_page_unavailable(struct http_page *page, struct slice text);

/* Running out of memory aborts. */
struct http_pages *http_pages_new(struct event_base *base, const struct http_page_row *rows,
				  void *ctx);

/* Listen there, and no longer where it did before. NULL, or one with text NULL: nowhere. The same
 * text as before changes nothing. On error all stays as it was. */
enum err http_pages_listen(struct http_pages *h, const struct listen_spec *spec,
			   struct err_at *where_out);
/* The listening descriptor, for its address; -1: off. Borrowed. */
int http_pages_fd(const struct http_pages *h);

/* Stops listening and drops all readers; sets *h to NULL, NULL is a no-op. */
void http_pages_free(struct http_pages **h);

#endif
