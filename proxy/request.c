#include "proxy/request.h"

#include <assert.h>

void request_leave_view(struct request *req)
{
	struct view *view = req->view;
	req->view = NULL;
	if (view) view_unref(view);
}

static void request_free(struct core *core, struct request *req)
{
	if (req->sent_buf) buf_unref(req->sent_buf);
	if (req->out.head) outq_clear(&core->bufs, &req->out);
	struct view *view = req->view;
	freelist_put(&core->requests, req);
	if (view) view_unref(view);
}

void request_drop(struct core *core, struct request *req)
{
	assert(req->flags & REQ_AWAITED);
	req->flags &= (uint8_t)~REQ_AWAITED;
	req->ends = NULL;
	if (!(req->flags & REQ_QUEUED)) {
		request_free(core, req);
		return;
	}
	/* Only the connection holds it now: what the client was to get is not needed. */
	if (req->out.head) outq_clear(&core->bufs, &req->out);
}

void request_unqueue(struct core *core, struct request *req)
{
	assert(req->flags & REQ_QUEUED);
	req->flags &= (uint8_t)~REQ_QUEUED;
	if (!(req->flags & REQ_AWAITED)) request_free(core, req);
}

void request_fail(struct request *req, enum err e, const char *server)
{
	struct answer a = { .kind = REPLY_ERROR, .err = e, .server = server };
	request_reply(req, &a);
}

void request_fail_later(struct core *core, struct request *req, enum err e, const char *server)
{
	/* While it is deferred the list holds it, as a connection would. */
	req->flags |= REQ_QUEUED;
	req->err = e;
	req->server = server;
	req->dest_next = NULL;
	*core->deferred_tail = req;
	core->deferred_tail = &req->dest_next;
}
