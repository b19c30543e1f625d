/* mailbox.h - messages to a thread's event loop from any other thread.
 *
 * Not for the path of a request: a message is an allocation and a lock. Messages of one sender
 * arrive in the order in which they were posted.
 *
 * Threads:   mailbox_post() from any; everything else on the owner's thread.
 * Ownership: a mail belongs to the box once posted, and to the handler once delivered.
 */
#ifndef TWINRING_COMMON_MAILBOX_H
#define TWINRING_COMMON_MAILBOX_H

#include <pthread.h>

#include "common/io.h"

struct mail {
	struct mail *next;
	int kind; /* the receiver's enum                       */
	int fd;
	uint32_t number;
	uint64_t id;
	void *p;
};

struct mailbox {
	pthread_mutex_t lock;
	struct mail *head, **tail;
	int wake_fd; /* eventfd */
	struct io_watch watch;
	void (*deliver)(void *owner, const struct mail *m);
	void *owner;
};

bool mailbox_init(struct mailbox *b, struct io_loop *l,
		  void (*deliver)(void *owner, const struct mail *m), void *owner);
/* Undelivered mail is delivered first, so that what it carries is not lost. */
void mailbox_fini(struct mailbox *b);
/* A copy of `m` is delivered. */
void mailbox_post(struct mailbox *b, const struct mail *m);

#endif
