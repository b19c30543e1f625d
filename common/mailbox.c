#include "common/mailbox.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void mailbox_deliver_all(struct mailbox *b)
{
	pthread_mutex_lock(&b->lock);
	struct mail *m = b->head;
	b->head = NULL;
	b->tail = &b->head;
	pthread_mutex_unlock(&b->lock);
	while (m) {
		struct mail *next = m->next;
		b->deliver(b->owner, m);
		free(m);
		m = next;
	}
}

static void mailbox_on_wake(int fd, short what, void *owner)
{
	(void)what;
	uint64_t count;
	if (read(fd, &count, sizeof(count)) < 0) return; /* already drained */
	mailbox_deliver_all(owner);
}

bool mailbox_init(struct mailbox *b, struct io_loop *l,
		  void (*deliver)(void *owner, const struct mail *m), void *owner)
{
	*b = (struct mailbox){ .deliver = deliver, .owner = owner };
	b->tail = &b->head;
	b->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (b->wake_fd < 0) return false;
	pthread_mutex_init(&b->lock, NULL);
	io_watch_init(&b->watch, l, b->wake_fd, mailbox_on_wake, b);
	io_watch_set(&b->watch, IO_READ);
	return true;
}

void mailbox_fini(struct mailbox *b)
{
	mailbox_deliver_all(b);
	io_watch_stop(&b->watch);
	close(b->wake_fd);
	pthread_mutex_destroy(&b->lock);
}

void mailbox_post(struct mailbox *b, const struct mail *m)
{
	struct mail *copy = malloc(sizeof(*copy));
	if (!copy) abort();
	*copy = *m;
	copy->next = NULL;
	pthread_mutex_lock(&b->lock);
	bool first = !b->head;
	*b->tail = copy;
	b->tail = &copy->next;
	pthread_mutex_unlock(&b->lock);
	uint64_t one = 1;
	if (first && write(b->wake_fd, &one, sizeof(one)) < 0) return; /* it is awake */
}
