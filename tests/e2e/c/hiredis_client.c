/* hiredis_client.c HOST PORT - an ordinary day of a C program with hiredis: RESP2, RESP3
 * where the library has it, binary values, a pipeline with an error in its middle. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static redisContext *c;

static void fail(const char *what, const redisReply *r)
{
	fprintf(stderr, "%s: type %d, integer %lld, text %s, context %s\n", what, r ? r->type : -1,
		r ? r->integer : -1, r && r->str ? r->str : "-", c->errstr);
	exit(1);
}

#define CHECK(what, r, condition)                        \
	do {                                             \
		if (!(r) || !(condition)) fail(what, r); \
		freeReplyObject(r);                      \
	} while (0)

static void day(void)
{
	redisReply *r = redisCommand(c, "PING");
	CHECK("ping", r, !strcmp(r->str, "PONG"));
	r = redisCommand(c, "SET %s %b", "hi:bin", "\0\r\n\xff", (size_t)4);
	CHECK("set", r, r->type == REDIS_REPLY_STATUS);
	r = redisCommand(c, "GET hi:bin");
	CHECK("get", r, r->len == 4 && !memcmp(r->str, "\0\r\n\xff", 4));
	r = redisCommand(c, "GET hi:none");
	CHECK("miss", r, r->type == REDIS_REPLY_NIL);
	r = redisCommand(c, "MSET hi:1 a hi:2 b hi:3 c");
	CHECK("mset", r, r->type == REDIS_REPLY_STATUS);
	r = redisCommand(c, "MGET hi:3 hi:none hi:1");
	CHECK("mget", r,
	      r->elements == 3 && !strcmp(r->element[0]->str, "c") &&
		  r->element[1]->type == REDIS_REPLY_NIL && !strcmp(r->element[2]->str, "a"));
	for (int i = 0; i < 1000; i++) {
		redisAppendCommand(c, "SET hi:p%d %d", i, i);
		redisAppendCommand(c, i == 500 ? "INCR hi:bin" : "GET hi:p%d", i);
	}
	for (int i = 0; i < 1000; i++) {
		char want[16];
		snprintf(want, sizeof(want), "%d", i);
		if (redisGetReply(c, (void **)&r)) fail("pipeline", NULL);
		CHECK("pipeline set", r, r->type == REDIS_REPLY_STATUS);
		if (redisGetReply(c, (void **)&r)) fail("pipeline", NULL);
		if (i == 500) CHECK("pipeline error", r, r->type == REDIS_REPLY_ERROR);
		else CHECK("pipeline get", r, !strcmp(r->str, want));
	}
	r = redisCommand(c, "DEL hi:1 hi:2 hi:3 hi:none");
	CHECK("del", r, r->integer == 3);
}

int main(int argc, char **argv)
{
	if (argc != 3) return 2;
	struct timeval timeout = { 10, 0 };
	c = redisConnectWithTimeout(argv[1], atoi(argv[2]), timeout);
	if (!c || c->err) return 1;
	redisSetTimeout(c, timeout);
	day();
#ifdef REDIS_REPLY_MAP /* hiredis 1.0 and newer speak RESP3 */
	redisReply *r = redisCommand(c, "HELLO 3 SETNAME hiredis");
	CHECK("hello", r, r->type == REDIS_REPLY_MAP);
	day();
	r = redisCommand(c, "HSET hi:h f v");
	CHECK("hset", r, r->type == REDIS_REPLY_INTEGER);
	r = redisCommand(c, "HGETALL hi:h");
	CHECK("hgetall", r, r->type == REDIS_REPLY_MAP && r->elements == 2);
#endif
	redisFree(c);
	puts("ok");
	return 0;
}
