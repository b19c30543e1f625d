#include "tests/bench/floor_io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { PIECE_MIN = 4096, PIECE_KEEP = 64 << 10 };

void *floor_alloc(void *p, size_t n)
{
	p = realloc(p, n);
	if (p) return p;
	fputs("floor: out of memory\n", stderr);
	exit(1);
}

/* --- out -------------------------------------------------------------------------------------- */

static struct floor_piece *out_push(struct floor_out *o)
{
	if (!o->pieces || o->count == o->room) {
		o->room = o->room ? o->room * 2 : 4;
		o->pieces = floor_alloc(o->pieces, o->room * sizeof(*o->pieces));
	}
	struct floor_piece *piece = &o->pieces[o->count++];
	*piece = (struct floor_piece){ 0 };
	return piece;
}

char *floor_out_room(struct floor_out *o, size_t n)
{
	struct floor_piece *last = o->count > o->first ? &o->pieces[o->count - 1] : NULL;
	if (last && last->cap < last->len + n && last->cap && last->len < FLOOR_BIG) {
		last->cap = 2 * (last->len + n);
		last->p = floor_alloc(last->p, last->cap);
	}
	if (!last || last->cap < last->len + n) {
		last = out_push(o);
		last->cap = n > PIECE_MIN ? n : PIECE_MIN;
		last->p = floor_alloc(NULL, last->cap);
	}
	char *room = last->p + last->len;
	last->len += n;
	o->bytes += n;
	return room;
}

void floor_out_give(struct floor_out *o, char *p, size_t n)
{
	/* cap 0: nothing is ever appended to it */
	*out_push(o) = (struct floor_piece){ .p = p, .len = n };
	o->bytes += n;
}

static void out_drop_sent(struct floor_out *o, size_t n)
{
	o->bytes -= n;
	o->sent += n;
	while (o->first < o->count && o->sent >= o->pieces[o->first].len) {
		struct floor_piece *piece = &o->pieces[o->first];
		o->sent -= piece->len;
		/* The only small one stays for the next turn, so that a turn needs no allocation.
		 */
		if (o->count == 1 && piece->cap && piece->cap <= PIECE_KEEP) {
			piece->len = 0;
			return;
		}
		free(piece->p);
		o->first++;
	}
	if (o->first == o->count) o->first = o->count = 0;
}

int floor_out_send(struct floor_out *o, int fd)
{
	while (o->bytes) {
		struct iovec iov[FLOOR_IOV];
		const struct floor_piece *piece = &o->pieces[o->first];
		iov[0] = (struct iovec){ piece->p + o->sent, piece->len - o->sent };
		int n = 1;
		for (size_t i = o->first + 1; i < o->count && n < FLOOR_IOV; i++, n++)
			iov[n] = (struct iovec){ o->pieces[i].p, o->pieces[i].len };
		struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)n };
		ssize_t sent = n == 1 ? send(fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL)
				      : sendmsg(fd, &m, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR) continue;
		if (sent < 0) return errno == EAGAIN ? 0 : -1;
		out_drop_sent(o, (size_t)sent);
	}
	return 1;
}

void floor_out_fini(struct floor_out *o)
{
	for (size_t i = o->first; i < o->count; i++) free(o->pieces[i].p);
	free(o->pieces);
	*o = (struct floor_out){ 0 };
}

/* --- in --------------------------------------------------------------------------------------- */

static void in_keep(struct floor_in *in, const char *p, size_t n, size_t need)
{
	if (n == 0) return;
	in->cap = need > FLOOR_BIG ? need : n + FLOOR_READ;
	in->p = floor_alloc(NULL, in->cap);
	memcpy(in->p, p, n);
	in->len = n;
}

static int in_nothing(ssize_t got)
{
	return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

/* More of an incomplete message, straight behind what there is. A big one's buffer ends with it, so
 * that nothing of the next is in there. */
static int in_read_more(struct floor_in *in, int fd, floor_take_fn take, void *owner)
{
	size_t room = in->cap - in->len;
	ssize_t got = recv(fd, in->p + in->len, room, 0);
	if (got <= 0) return in_nothing(got);
	bool full = (size_t)got == room;
	in->len += (size_t)got;
	bool taken = false;
	size_t need = in->len + 1, used = take(owner, in->p, in->len, &taken, &need);
	if (used == 0) {
		if (need <= in->cap) return full;
		in->cap = need > 2 * in->cap ? need : 2 * in->cap;
		in->p = floor_alloc(in->p, in->cap);
		return full;
	}
	struct floor_in old = *in;
	*in = (struct floor_in){ 0 };
	if (taken) return full;
	in_keep(in, old.p + used, old.len - used, need);
	free(old.p);
	return full;
}

int floor_in_read(struct floor_in *in, int fd, char *shared, floor_take_fn take, void *owner)
{
	if (in->p) return in_read_more(in, fd, take, owner);
	ssize_t got = recv(fd, shared, FLOOR_READ, 0);
	if (got <= 0) return in_nothing(got);
	size_t need = 0, used = take(owner, shared, (size_t)got, NULL, &need);
	in_keep(in, shared + used, (size_t)got - used, need);
	return got == FLOOR_READ;
}
