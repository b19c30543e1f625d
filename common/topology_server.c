#include "common/topology_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "common/topology_settings.h"

/* The parts of a server's text; p == NULL: the part is missing. */
struct server_parts {
	struct slice host, port, weight, name;
	bool bracketed;
};

bool nutcracker_number(const char *text, size_t n, uint32_t *number_out, bool *wrapped_out)
{
	uint32_t value = 0;
	*wrapped_out = false;
	if (n == 0) return false;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9') return false;
		uint64_t next = (uint64_t)value * 10 + (uint64_t)(text[i] - '0');
		if (next > INT32_MAX) *wrapped_out = true;
		value = (uint32_t)next;
	}
	*number_out = value;
	return value <= INT32_MAX;
}

void server_fini(struct server_spec *s)
{
	settings_fini(&server_settings, s);
	free(s->ring_name);
	s->ring_name = NULL;
}

/* --- taking the text apart -------------------------------------------------------------------- */

/* Cut `text` at its last `delimiter`: the tail into *tail_out. False when there is none. */
static bool server_cut(struct slice *text, char delimiter, struct slice *tail_out)
{
	const char *cut = text->n > 0 ? memrchr(text->p, delimiter, text->n) : NULL;
	if (cut == NULL) return false;
	*tail_out = (struct slice){ cut + 1, text->n - (size_t)(cut + 1 - text->p) };
	text->n = (size_t)(cut - text->p);
	return true;
}

/* From the right: " name", then ":weight", then ":port" unless it is a path. */
static bool server_split(const char *text, struct server_parts *p)
{
	*p = (struct server_parts){ .host = slice_of(text) };
	server_cut(&p->host, ' ', &p->name);
	if (!server_cut(&p->host, ':', &p->weight)) return false;
	/* a path with a colon is more likely a mistaken port; a mapping can say it */
	if (text[0] == '/') return memchr(p->host.p, ':', p->host.n) == NULL;
	return server_cut(&p->host, ':', &p->port);
}

/* "host:port", "[v6]:port" and "/path": there the weight is 1. More than one colon outside brackets
 * is either a weight or an IPv6 address, and then all parts must be there. */
static bool server_split_short(const char *text, struct server_parts *p)
{
	*p = (struct server_parts){ .host = slice_of(text), .weight = SLICE("1") };
	server_cut(&p->host, ' ', &p->name);
	const char *end = text[0] == '[' ? memchr(text, ']', p->host.n) : text;
	if (end == NULL) return false;
	const char *colon = memchr(end, ':', p->host.n - (size_t)(end - text));
	if (text[0] == '/') return colon == NULL;
	if (colon == NULL || memrchr(text, ':', p->host.n) != colon) return false;
	return server_cut(&p->host, ':', &p->port);
}

static void server_strip_brackets(struct server_parts *p)
{
	if (p->host.n < 3 || p->host.p[0] != '[' || p->host.p[p->host.n - 1] != ']') return;
	p->bracketed = true;
	p->host.p++;
	p->host.n -= 2;
}

/* --- building --------------------------------------------------------------------------------- */

static char *server_text(struct slice s, struct report *r)
{
	char *copy = strndup(s.p, s.n);
	if (copy == NULL) r->nomem = true;
	return copy;
}

/* Checks that do not depend on the spelling. */
static bool server_check(const struct node *n, const struct server_spec *s, struct report *r)
{
	bool path = s->host[0] == '/';
	size_t path_max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	uint32_t errors = r->error_count;
	if (path && s->port != 0) report_error(r, n, AT_VALUE, "a unix socket has no port");
	if (path && strlen(s->host) > path_max)
		report_error(r, n, AT_VALUE, "a unix socket's path may have %zu bytes at most",
			     path_max);
	if (!path && s->port == 0)
		report_error(r, n, AT_VALUE, "the port is missing: write host:port:weight");
	if (strlen(s->host) > NAME_BYTES_MAX)
		report_error(r, n, AT_VALUE, "the host is longer than %d bytes", NAME_BYTES_MAX);
	if (s->name != NULL && strlen(s->name) > NAME_BYTES_MAX)
		report_error(r, n, AT_VALUE, "the name is longer than %d bytes", NAME_BYTES_MAX);
	if (s->name != NULL && s->name[0] == '\0')
		report_warning(r, n, AT_VALUE, "the server's name is empty");
	for (const char *p = n->text; p != NULL && *p != '\0'; p++) {
		if ((unsigned char)*p >= 0x20 && *p != 0x7f) continue;
		report_error(r, n, AT_VALUE, "the server holds a control character");
		break;
	}
	return errors == r->error_count;
}

/* The label without an explicit name. */
static void server_derive_ring_name(struct server_spec *s, struct report *r)
{
	struct ring_server as = { .name = s->name, .host = s->host, .port = s->port };
	size_t n = ring_server_name(&as, NULL, 0);
	s->ring_name = malloc(n + 1);
	if (s->ring_name == NULL) r->nomem = true;
	else ring_server_name(&as, s->ring_name, n + 1);
}

static bool server_read_number(const struct node *n, const char *what, struct slice text,
			       uint32_t max, uint32_t *number_out, struct report *r)
{
	bool wrapped;
	if (nutcracker_number(text.p, text.n, number_out, &wrapped) && *number_out >= 1 &&
	    *number_out <= max) {
		if (wrapped)
			report_warning(r, n, AT_VALUE,
				       "the %s %.*s does not fit: nutcracker takes it as %u", what,
				       (int)(text.n < 40 ? text.n : 40), text.p, *number_out);
		return true;
	}
	report_error(r, n, AT_VALUE, "the %s must be a whole number from 1 to %u, not '%.*s'", what,
		     max, (int)(text.n < 40 ? text.n : 40), text.p);
	return false;
}

/* True when every part was good. */
static bool server_from_parts(const struct node *n, const struct server_parts *p,
			      struct server_spec *out, struct report *r)
{
	uint32_t port = 0;
	bool good = true;
	if (p->port.p != NULL) good = server_read_number(n, "port", p->port, PORT_MAX, &port, r);
	if (!server_read_number(n, "weight", p->weight, NUMBER_MAX, &out->weight, r)) good = false;
	if (!good) return false;
	out->port = (uint16_t)port;
	out->host = server_text(p->host, r);
	out->name = p->name.p != NULL ? server_text(p->name, r) : NULL;
	return out->host != NULL && (p->name.p == NULL || out->name != NULL);
}

static bool server_is_text(const struct node *n, struct report *r)
{
	if (n->kind == NODE_BAD) return false;
	if (n->kind == NODE_STRING && n->text[0] != '\0') return true;
	report_error(r, n, AT_VALUE, "a server must be text, host:port:weight name, not %s",
		     n->kind == NODE_STRING ? "empty" : node_kind_name(n));
	return false;
}

/* --- native ----------------------------------------------------------------------------------- */

static bool server_read_map(const struct node *n, struct server_spec *out, struct report *r)
{
	uint32_t errors = r->error_count;
	settings_defaults(&server_settings, out, SETTING_NATIVE);
	settings_read(&server_settings, out, n, r);
	if (out->host == NULL && node_get(n, "host") == NULL)
		report_error(r, n, AT_VALUE, "the server has no 'host'");
	return out->host != NULL && errors == r->error_count;
}

static bool server_read_text(const struct node *n, struct server_spec *out, struct report *r)
{
	struct server_parts parts;
	if (!server_is_text(n, r)) return false;
	bool good = server_split_short(n->text, &parts) || server_split(n->text, &parts);
	server_strip_brackets(&parts);
	if (good && !parts.bracketed && memchr(parts.host.p, ':', parts.host.n) != NULL) {
		/* ::1:11211 could be read in two ways, and the wrong one would go unnoticed */
		report_error(r, n, AT_VALUE, "write an IPv6 address in brackets: [::1]:11211:1");
		return false;
	}
	if (good && parts.host.n > 0 && (parts.name.p == NULL || parts.name.n > 0))
		return server_from_parts(n, &parts, out, r);
	report_error(r, n, AT_VALUE, "'%.80s' is not host:port:weight name or /socket:weight name",
		     n->text);
	return false;
}

void server_read_native(const struct node *n, struct server_spec *out, struct report *r)
{
	bool read = n->kind == NODE_MAP ? server_read_map(n, out, r) : server_read_text(n, out, r);
	if (read && server_check(n, out, r)) server_derive_ring_name(out, r);
}

/* --- nutcracker.yml --------------------------------------------------------------------------- */

/* nutcracker hashes the text as typed, so that 011211 and [::1] are part of the label. A label that
 * we would not derive ourselves becomes an explicit name. */
static bool server_keep_typed_name(const struct server_parts *p, const char *text,
				   struct server_spec *out, struct report *r)
{
	server_derive_ring_name(out, r);
	if (out->name != NULL || out->ring_name == NULL) return true;

	struct slice typed = { text, (size_t)(p->host.p + p->host.n - text) };
	if (p->bracketed) typed.n++;
	if (out->port != 11211) typed.n += 1 + p->port.n;
	if (slice_eq(typed, slice_of(out->ring_name))) return true;
	out->name = server_text(typed, r);
	free(out->ring_name);
	out->ring_name = server_text(typed, r);
	return out->name != NULL && out->ring_name != NULL;
}

/* getaddrinfo() gives nutcracker the wildcard address for an empty host: it connects to itself. */
static void server_on_this_machine(const struct node *n, struct server_spec *out, struct report *r)
{
	report_warning(r, n, AT_VALUE, "the host is empty: taken as 127.0.0.1");
	free(out->host);
	out->host = server_text(SLICE("127.0.0.1"), r);
}

void server_read_nutcracker(const struct node *n, struct server_spec *out, struct report *r)
{
	struct server_parts parts;
	if (n->text == NULL || *n->text == '\0' || !server_split(n->text, &parts)) {
		if (n->kind != NODE_BAD)
			report_error(
			    r, n, AT_VALUE,
			    "'%.80s' is not host:port:weight [name] or /socket:weight [name]",
			    n->text != NULL ? n->text : "");
		return;
	}
	server_strip_brackets(&parts);
	if (!server_from_parts(n, &parts, out, r)) return;
	if (out->host[0] == '\0') server_on_this_machine(n, out, r);
	if (out->host == NULL || !server_keep_typed_name(&parts, n->text, out, r)) return;
	if (server_check(n, out, r)) return;
	free(out->ring_name);
	out->ring_name = NULL;
}
