/* ctlmsg.h - the messages of the control socket: one JSON object per line.
 *
 *	-> {"id":1,"method":"stats.show","params":{}}
 *	<- {"id":1,"result":{...}}
 *	<- {"id":2,"error":{"code":"INVALID","message":"no such pool","where":"$.pool"}}
 *	<- {"event":"drained","version":7}                    to subscribers
 *
 * "hello" comes first. In it each side may say which versions of this protocol it speaks,
 * {"protocol":[LOWEST,HIGHEST]}; who says nothing speaks 1. Both use the highest that both speak.
 *
 * Pure. The agent and the proxy share it; both may be typed at by hand.
 * Ownership: functions that return a json_t return a new reference and steal what is passed as
 * `result`. Out of memory aborts.
 */
#ifndef TWINRING_COMMON_CTLMSG_H
#define TWINRING_COMMON_CTLMSG_H

#include <jansson.h>

#include "common/err.h"
#include "common/scratch.h"

enum {
	CTLMSG_LINE_MAX = 4 << 20,     /* bytes, newline included                  */
	CTLMSG_LINE_TIMEOUT_MS = 5000, /* from the first byte of a line to its end */
};

struct ctlmsg {
	json_t *doc;	    /* owned: ctlmsg_fini()                          */
	const json_t *id;   /* number or string; null when absent. In doc    */
	const char *method; /* In doc                                        */
	json_t *params;	    /* an object, never NULL; own reference          */
};

enum { CTLMSG_PROTOCOL_MIN = 1, CTLMSG_PROTOCOL_MAX = 1 };

/* What we say of it in "hello". */
json_t *ctlmsg_protocol(void);
/* The version to use with a peer whose "hello" said `theirs`, which may be NULL: it said nothing.
 * 0: there is none, and why_out says what it speaks. */
uint32_t ctlmsg_agree(const json_t *theirs, char *why_out, size_t size);

/* Read one request. ERR_INVALID: *where_out says why, and `out` has the id if that much could be
 * read. Always call ctlmsg_fini(). */
enum err ctlmsg_parse(struct slice line, struct ctlmsg *out, struct err_at *where_out);
void ctlmsg_fini(struct ctlmsg *m);

json_t *ctlmsg_result(const json_t *id, json_t *result);
json_t *ctlmsg_error(const json_t *id, const char *code, const struct err_at *at);
/* "INVALID" for ERR_INVALID: stable, for programs. */
const char *ctlmsg_code(enum err e);

/* Append as one line. */
void ctlmsg_put(const json_t *message, struct scratch *out);

#endif
