/* local_redis_config.c - CONFIG GET: what tools read before they start.
 *
 * Benchmarks ask for save and appendonly, session and queue libraries for maxmemory-policy and
 * notify-keyspace-events. Passwords are not shown.
 */
#include "proxy/local_redis.h"

#include <stdio.h>

static char lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* One element of the pattern at *p against `c`; *p moves behind it. A ']' that is missing ends
 * with the pattern. */
static bool set_matches(struct slice pattern, size_t *p, char c)
{
	size_t i = *p + 1;
	bool invert = i < pattern.n && pattern.p[i] == '^', found = false;
	if (invert) i++;
	for (; i < pattern.n && pattern.p[i] != ']'; i++) {
		if (pattern.p[i] == '\\' && i + 1 < pattern.n) i++;
		char from = lower(pattern.p[i]), to = from;
		if (i + 2 < pattern.n && pattern.p[i + 1] == '-') {
			to = lower(pattern.p[i + 2]);
			i += 2;
		}
		found |= (c >= from && c <= to) || (c >= to && c <= from);
	}
	*p = i < pattern.n ? i + 1 : pattern.n;
	return found != invert;
}

static bool one_matches(struct slice pattern, size_t *p, char c)
{
	char want = pattern.p[*p];
	if (want == '[') return set_matches(pattern, p, c);
	if (want == '\\' && *p + 1 < pattern.n) want = pattern.p[++*p];
	else if (want == '?') want = c;
	++*p;
	return lower(want) == c;
}

/* A mismatch goes back to the last '*' only: the time is bounded by the product of the lengths. */
bool glob_matches(struct slice pattern, const char *text)
{
	size_t p = 0, star = SIZE_MAX;
	const char *t = text, *again = text;
	while (*t) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = ++p;
			again = t;
			continue;
		}
		if (p < pattern.n && one_matches(pattern, &p, lower(*t))) {
			t++;
			continue;
		}
		if (star == SIZE_MAX) return false;
		p = star;
		t = ++again;
	}
	while (p < pattern.n && pattern.p[p] == '*') p++;
	return p == pattern.n;
}

static const struct parameter {
	const char *name, *value; /* NULL: see value_of() */
} parameters[] = {
	{ "appendfsync", "no" },
	{ "appendonly", "no" },
	{ "cluster-enabled", "no" },
	{ "databases", "1" },
	{ "maxmemory", "0" },
	{ "maxmemory-policy", "noeviction" },
	{ "notify-keyspace-events", "" },
	{ "port", NULL },
	{ "proto-max-bulk-len", NULL },
	{ "save", "" },
	{ "tcp-keepalive", "0" },
	{ "timeout", "0" },
};

static void put_value(struct answer *a, const struct parameter *p)
{
	char digits[24];
	bool port = strcmp(p->name, "port") == 0;
	snprintf(digits, sizeof(digits), "%u",
		 port ? a->env->port : a->env->limits->value_max_bytes);
	put_bulk(a, p->value ? p->value : digits);
}

static bool is_asked(const struct answer *a, const struct parameter *p)
{
	for (uint32_t i = 2; i < a->cmd->argc; i++)
		if (glob_matches(arg(a, i), p->name)) return true;
	return false;
}

void answer_config_get(struct answer *a)
{
	enum { COUNT = sizeof(parameters) / sizeof(parameters[0]) };
	bool asked[COUNT];
	uint32_t n = 0;
	for (uint32_t i = 0; i < COUNT; i++) n += asked[i] = is_asked(a, &parameters[i]);
	put_map(a, n);
	for (uint32_t i = 0; i < COUNT; i++) {
		if (!asked[i]) continue;
		put_bulk(a, parameters[i].name);
		put_value(a, &parameters[i]);
	}
}
