#include "agent/output_text.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/config.h"
#include "common/topology_ring.h"

#define POOL_MARK "{pool}"

static bool output_fault(char *why, size_t cap, const char *text)
{
	snprintf(why, cap, "%s", text);
	return false;
}

/* What was written of a pool that turned out not to fit is taken back. */
static bool output_take_back(struct scratch *out, size_t start, bool good)
{
	if (!good) out->n = start;
	return good;
}

static bool server_is_v6(const struct server_spec *s)
{
	return s->port != 0 && strchr(s->host, ':') != NULL;
}

/* --- libketama -------------------------------------------------------------------------------- */

bool output_ketama(const struct pool_spec *p, struct scratch *out, char *why, size_t cap)
{
	size_t start = out->n;
	for (uint32_t i = 0; i < p->server_count; i++) {
		const struct server_spec *s = &p->servers[i];
		if (pool_server_is_off_ring(p, s)) continue;
		if (s->port == 0) {
			output_take_back(out, start, false);
			return output_fault(why, cap, "libketama knows no unix sockets");
		}
		bool v6 = server_is_v6(s);
		scratch_printf(out, "%s%s%s:%u\t%u\n", v6 ? "[" : "", s->host, v6 ? "]" : "",
			       s->port, s->weight);
	}
	return out->n > start || output_fault(why, cap, "no server is left");
}

/* --- nutcracker.yml --------------------------------------------------------------------------- */

/* NULL: it has none like ours. */
static const char *nutcracker_distribution(enum ring_kind kind)
{
	switch (kind) {
	case RING_KETAMA:
	case RING_MODULA:
	case RING_RANDOM: return ring_kind_name(kind);
	case RING_KETAMA_LIBMEMCACHED:
	case RING_KETAMA_LIBMEMCACHED_WEIGHTED:
	case RING_KETAMA_RJ:
	case RING_KETAMA_WAYFAIR:
	case RING_KETAMA_WAYFAIR_LIB:
	case RING_MODULA_LIBMEMCACHED:
	case RING_KIND_MAX: break;
	}
	return NULL;
}

/* Without quotes only what no reader of YAML could take for anything but text. */
static bool yaml_is_plain(const char *text)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/:- ";
	size_t n = strlen(text);
	return n > 0 && strspn(text, good) == n && strchr(" -:.", text[0]) == NULL &&
	       text[n - 1] != ':' && text[n - 1] != ' ' && strstr(text, ": ") == NULL;
}

static void yaml_put(struct scratch *out, const char *text)
{
	if (yaml_is_plain(text)) {
		scratch_puts(out, slice_of(text));
		return;
	}
	scratch_puts(out, SLICE("\""));
	for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\') scratch_printf(out, "\\%c", *c);
		else if (*c < 0x20 || *c == 0x7f) scratch_printf(out, "\\x%02x", *c);
		else scratch_put(out, c, 1);
	}
	scratch_puts(out, SLICE("\""));
}

static void yaml_text(struct scratch *out, const char *key, const char *text)
{
	scratch_printf(out, "  %s: ", key);
	yaml_put(out, text);
	scratch_puts(out, SLICE("\n"));
}

static void yaml_number(struct scratch *out, const char *key, uint32_t n)
{
	scratch_printf(out, "  %s: %u\n", key, n);
}

static void yaml_bool(struct scratch *out, const char *key, bool yes)
{
	scratch_printf(out, "  %s: %s\n", key, yes ? "true" : "false");
}

/* nutcracker takes a server's text apart at the last blank and the last colons. */
static bool nutcracker_server(const struct server_spec *s, struct scratch *out, char *why,
			      size_t cap)
{
	char text[1024];
	int n = s->port != 0 ? snprintf(text, sizeof(text), "%s:%u:%u", s->host, s->port, s->weight)
			     : snprintf(text, sizeof(text), "%s:%u", s->host, s->weight);
	if (strchr(s->host, ' ') || (s->port == 0 && strchr(s->host, ':')))
		return output_fault(why, cap, "nutcracker could not read a server's address");
	if (s->name && (s->name[0] == '\0' || strchr(s->name, ' ')))
		return output_fault(why, cap, "nutcracker could not read a server's name");
	if (s->name) snprintf(text + n, sizeof(text) - (size_t)n, " %s", s->name);
	scratch_puts(out, SLICE("   - "));
	yaml_put(out, text);
	scratch_puts(out, SLICE("\n"));
	return true;
}

static bool nutcracker_servers(const struct pool_spec *p, struct scratch *out, char *why,
			       size_t cap)
{
	uint32_t count = 0;
	scratch_puts(out, SLICE("  servers:\n"));
	for (uint32_t i = 0; i < p->server_count; i++) {
		if (pool_server_is_off_ring(p, &p->servers[i])) continue;
		if (!nutcracker_server(&p->servers[i], out, why, cap)) return false;
		count++;
	}
	return count > 0 || output_fault(why, cap, "no server is left");
}

static void nutcracker_options(const struct pool_spec *p, struct scratch *out)
{
	char tag[3] = { p->hash_tag[0], p->hash_tag[1], '\0' };
	yaml_text(out, "hash", hash_kind_name(p->hash));
	yaml_text(out, "distribution", nutcracker_distribution(p->distribution));
	if (tag[0] != '\0') yaml_text(out, "hash_tag", tag);
	if (p->timeout_ms != 0) yaml_number(out, "timeout", p->timeout_ms);
	if (p->protocol == PROTOCOL_REDIS) {
		yaml_bool(out, "redis", true);
		if (p->auth_password) yaml_text(out, "redis_auth", p->auth_password);
		if (p->redis_db != 0) yaml_number(out, "redis_db", p->redis_db);
	}
	yaml_bool(out, "preconnect", p->preconnect);
	yaml_bool(out, "auto_eject_hosts", p->auto_eject_hosts);
	yaml_number(out, "server_connections", p->server_connections);
	yaml_number(out, "server_retry_timeout", p->server_retry_timeout_ms);
	yaml_number(out, "server_failure_limit", p->server_failure_limit);
}

static bool nutcracker_can(const struct pool_spec *p, char *why, size_t cap)
{
	if (p->auth_user) return output_fault(why, cap, "nutcracker knows no users of Redis");
	if (nutcracker_distribution(p->distribution)) return true;
	snprintf(why, cap, "nutcracker has no distribution like %s",
		 ring_kind_name(p->distribution));
	return false;
}

/* It wants a host, and no brackets around it. */
static bool nutcracker_listen(const char *listen, struct scratch *out, char *why, size_t cap)
{
	struct listen_spec l;
	const char *fault;
	char text[300];
	if (!listen_spec_parse(listen, &l, &fault)) {
		snprintf(why, cap, "'listen' %s", fault);
		return false;
	}
	bool any = l.port_any;
	snprintf(text, sizeof(text), "%s:%u", l.host[0] ? l.host : "0.0.0.0", l.port);
	yaml_text(out, "listen", l.port ? text : listen);
	listen_spec_fini(&l);
	return !any || output_fault(why, cap, "'listen' has port 0");
}

bool output_nutcracker(const struct pool_spec *p, const char *listen, struct scratch *out,
		       char *why, size_t cap)
{
	size_t start = out->n;
	if (!nutcracker_can(p, why, cap)) return false;
	yaml_put(out, p->name);
	scratch_puts(out, SLICE(":\n"));
	bool good = nutcracker_listen(listen, out, why, cap);
	nutcracker_options(p, out);
	good = good && nutcracker_servers(p, out, why, cap);
	return output_take_back(out, start, good);
}

/* --- names in paths --------------------------------------------------------------------------- */

char *output_expand(const char *text, const char *pool, char *why, size_t cap)
{
	struct scratch out = { 0 };
	const char *mark;
	bool used = strstr(text, POOL_MARK) != NULL;
	/* who may name a pool must not choose where files are written */
	if (used && (pool[0] == '.' || strpbrk(pool, "/ "))) {
		output_fault(why, cap, "the pool's name cannot be part of a path");
		return NULL;
	}
	for (; (mark = strstr(text, POOL_MARK)) != NULL; text = mark + strlen(POOL_MARK)) {
		scratch_put(&out, text, (size_t)(mark - text));
		scratch_puts(&out, slice_of(pool));
	}
	scratch_put(&out, text, strlen(text) + 1);
	return out.p;
}
