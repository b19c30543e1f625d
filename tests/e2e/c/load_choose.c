#include "tests/e2e/c/load.h"

#include <stdlib.h>
#include <string.h>

#define FOLLOW_MAX 32 /* per connection; what does not fit is not done */
#define HELD_MAX   4  /* locks that a connection keeps before it releases the oldest */

static const uint64_t ttl_short_ms = 3000, ttl_long_ms = 3600000;

/* What one connection has to do next. */
struct client {
	struct asked follow[FOLLOW_MAX];
	uint32_t first, count;
	load_key held[HELD_MAX];
	uint32_t held_count;
};

struct chooser {
	const struct load_options *o;
	uint64_t rng, next_id;
	struct client *clients;
	uint16_t *pushes[CLASS_MAX]; /* by key: a key is not let grow for ever */
	uint32_t preload_class, preload_number;
};

static uint64_t below(struct chooser *c, uint64_t n)
{
	c->rng ^= c->rng >> 12;
	c->rng ^= c->rng << 25;
	c->rng ^= c->rng >> 27;
	return (c->rng * 2685821657736338717ull >> 16) % n;
}

struct chooser *chooser_new(const struct load_options *o, uint32_t conns)
{
	struct chooser *c = calloc(1, sizeof(*c));

	c->o = o;
	c->rng = o->seed * 2 + 1;
	c->next_id = PRELOADED + 1;
	c->clients = calloc(conns, sizeof(*c->clients));
	for (int i = 0; i < CLASS_MAX; i++) c->pushes[i] = calloc(o->keys[i] + 1, sizeof(uint16_t));
	return c;
}

void chooser_free(struct chooser *c)
{
	for (int i = 0; i < CLASS_MAX; i++) free(c->pushes[i]);
	free(c->clients);
	free(c);
}

/* The value that a write of this kind of key writes: a counter begins at a base of its own. */
static uint64_t new_value(struct chooser *c, enum load_class class)
{
	uint64_t id = c->next_id++;

	return class == CLASS_COUNTER || class == CLASS_HASH ? id << BASE_SHIFT : id;
}

bool choose_preload(struct chooser *c, struct asked *out)
{
	while (
	    c->preload_class < CLASS_MAX &&
	    (c->preload_class == CLASS_LOCK || c->preload_number == c->o->keys[c->preload_class])) {
		c->preload_class++;
		c->preload_number = 0;
	}
	if (c->preload_class == CLASS_MAX) return false;
	*out = (struct asked){ .op = OP_SET, .n = 1 };
	out->key[0] = KEY(c->preload_class, c->preload_number);
	out->value[0] = PRELOADED;
	switch ((enum load_class)c->preload_class) {
	case CLASS_REGISTER:
		if (c->o->ttls && c->preload_number % 10 == 0) out->aux = ttl_long_ms;
		break;
	case CLASS_COUNTER:
	case CLASS_HASH: out->value[0] = (uint64_t)PRELOADED << BASE_SHIFT; break;
	case CLASS_LIST:
	case CLASS_SET:
	case CLASS_ZSET:
	case CLASS_STREAM: out->op = OP_PUSH; break;
	case CLASS_APPEND:
	case CLASS_LOCK:
	case CLASS_MAX: break;
	}
	c->preload_number++;
	return true;
}

static void choose_register(struct chooser *c, struct asked *a)
{
	const struct load_options *o = c->o;
	uint64_t what = below(c, 100);
	bool many = below(c, 100) < o->multi;

	if (what < o->reads) {
		a->op = !o->redis && !many && below(c, 20) == 0 ? OP_GETS : OP_GET;
	} else if (what < o->reads + o->deletes) {
		a->op = OP_DELETE;
		return;
	} else {
		a->op = OP_SET;
		many = many && o->redis;
		if (!many && below(c, 100) < o->ttls)
			a->aux = below(c, 2) ? ttl_short_ms : ttl_long_ms;
		if (o->ttls && below(c, 50) == 0) {
			a->op = OP_TOUCH;
			a->aux = ttl_long_ms;
			return;
		}
	}
	if (many && o->keys[CLASS_REGISTER] >= 100) {
		a->n = 2 + (uint32_t)below(c, MULTI_MAX - 1);
		/* Neighbours of a random key: they differ, and live anywhere. */
		for (uint32_t i = 1; i < a->n; i++)
			a->key[i] = KEY(CLASS_REGISTER,
					(KEY_NUMBER(a->key[0]) + i) % o->keys[CLASS_REGISTER]);
	}
	if (a->op == OP_SET)
		for (uint32_t i = 0; i < a->n; i++) a->value[i] = new_value(c, CLASS_REGISTER);
}

static void choose_lock(struct chooser *c, struct asked *a)
{
	uint64_t what = below(c, 100);

	a->op = what < 70 ? OP_ADD : what < 98 ? OP_GET : OP_DELETE;
	if (a->op == OP_ADD) a->value[0] = new_value(c, CLASS_LOCK);
}

static void choose_tokens(struct chooser *c, struct asked *a, enum load_class class)
{
	uint16_t *pushes = &c->pushes[class][KEY_NUMBER(a->key[0])];

	if (*pushes >= PUSHES_PER_KEY || below(c, 100) < 40) {
		a->op = OP_READALL;
		return;
	}
	(*pushes)++;
	a->op = OP_PUSH;
	a->value[0] = new_value(c, class);
}

static enum load_class choose_class(struct chooser *c)
{
	uint64_t at = below(c, c->o->mix_total);
	uint32_t class = 0;

	while (at >= c->o->mix[class]) at -= c->o->mix[class ++];
	return (enum load_class) class;
}

void choose(struct chooser *c, uint32_t conn, struct asked *out)
{
	struct client *client = &c->clients[conn];
	enum load_class class;

	if (client->count) {
		*out = client->follow[client->first];
		client->first = (client->first + 1) % FOLLOW_MAX;
		client->count--;
		return;
	}
	class = choose_class(c);
	*out = (struct asked){ .n = 1, .meta = c->o->meta && below(c, 2) };
	out->key[0] = KEY(class, (uint32_t)below(c, c->o->keys[class]));
	switch (class) {
	case CLASS_REGISTER: choose_register(c, out); break;
	case CLASS_COUNTER:
	case CLASS_HASH: out->op = below(c, 2) ? OP_INCR : OP_GET; break;
	case CLASS_LOCK: choose_lock(c, out); break;
	case CLASS_APPEND:
	case CLASS_LIST:
	case CLASS_SET:
	case CLASS_ZSET:
	case CLASS_STREAM: choose_tokens(c, out, class); break;
	case CLASS_MAX: abort();
	}
}

static struct asked *follow(struct chooser *c, struct client *client, enum load_op op, load_key key)
{
	struct asked *a;

	if (client->count == FOLLOW_MAX) return NULL;
	a = &client->follow[(client->first + client->count++) % FOLLOW_MAX];
	*a = (struct asked){ .op = op, .n = 1, .key = { key }, .meta = c->o->meta && below(c, 2) };
	return a;
}

static void release_later(struct chooser *c, struct client *client, load_key key)
{
	if (client->held_count == HELD_MAX) {
		follow(c, client, OP_DELETE, client->held[0]);
		memmove(client->held, client->held + 1,
			sizeof(client->held) - sizeof(*client->held));
		client->held_count--;
	}
	client->held[client->held_count++] = key;
}

void choose_heard(struct chooser *c, uint32_t conn, const struct asked *a,
		  const struct answer *answer)
{
	struct client *client = &c->clients[conn];
	enum load_class class = KEY_CLASS(a->key[0]);
	struct asked *next;

	if (answer->result == RESULT_OK && a->op == OP_GETS && answer->value[0]) {
		next = follow(c, client, OP_CAS, a->key[0]);
		if (!next) return;
		next->value[0] = new_value(c, class);
		next->aux = answer->value[0];
		next->token = answer->token;
	} else if (answer->result == RESULT_OK && a->op == OP_ADD) {
		release_later(c, client, a->key[0]);
	} else if (answer->result == RESULT_FAIL && a->op == OP_INCR) {
		next = follow(c, client, OP_SET, a->key[0]);
		if (next) next->value[0] = new_value(c, class);
	} else if (answer->result == RESULT_OK && a->op == OP_GET && c->o->refill &&
		   class == CLASS_REGISTER) {
		for (uint32_t i = 0; i < a->n; i++)
			if (!answer->value[i] && (next = follow(c, client, OP_SET, a->key[i])))
				next->value[0] = new_value(c, class);
	}
}
