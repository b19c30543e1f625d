#include "common/listen.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

static bool listen_digits(const char *text, const char *digits)
{
	return *text != '\0' && text[strspn(text, digits)] == '\0';
}

static bool listen_parse_port(const char *text, struct listen_spec *out)
{
	if (!listen_digits(text, "0123456789") || strlen(text) > 5) return false;
	unsigned long port = strtoul(text, NULL, 10);
	if (port > 65535) return false;
	out->port = (uint16_t)port;
	out->port_any = port == 0;
	return true;
}

/* "/path" or "/path mode": after a space there must be a mode, so that a path with spaces needs
 * one. */
static const char *listen_parse_path(const char *text, struct listen_spec *out)
{
	const char *space = strrchr(text, ' ');
	size_t n = space != NULL ? (size_t)(space - text) : strlen(text);
	if (n >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return "has a path longer than 107 bytes";
	if (space != NULL) {
		unsigned long mode = strtoul(space + 1, NULL, 8);
		if (!listen_digits(space + 1, "01234567") || strlen(space + 1) > 4 || mode > 0777)
			return "must end in an octal mode from 0 to 0777: /path 0770";
		out->mode = (uint32_t)mode;
	}
	out->host = strndup(text, n);
	return out->host != NULL ? NULL : "out of memory";
}

static const char *listen_parse_tcp(const char *text, struct listen_spec *out)
{
	const char *colon = strrchr(text, ':');
	if (colon == NULL || strchr(text, ' ') != NULL)
		return "must be host:port, [v6]:port, :port or /path mode";
	if (!listen_parse_port(colon + 1, out)) return "must end in a port from 0 to 65535";

	size_t n = (size_t)(colon - text);
	if (n > 255) return "has a host longer than 255 bytes";
	if (text[0] == '[') {
		if (n < 3 || text[n - 1] != ']') return "must be [v6]:port";
		out->host = strndup(text + 1, n - 2);
	} else if (memchr(text, ':', n) != NULL) {
		return "must have an IPv6 address in brackets: [::1]:22121";
	} else {
		/* "*" as people write it elsewhere */
		out->host = n == 1 && text[0] == '*' ? strdup("") : strndup(text, n);
	}
	return out->host != NULL ? NULL : "out of memory";
}

bool listen_spec_parse(const char *text, struct listen_spec *out, const char **why_out)
{
	*out = (struct listen_spec){ 0 };
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
		if (*p >= 0x20 && *p != 0x7f) continue;
		*why_out = "holds a control character";
		return false;
	}
	*why_out = text[0] == '/' ? listen_parse_path(text, out) : listen_parse_tcp(text, out);
	if (*why_out == NULL) {
		out->text = strdup(text);
		if (out->text == NULL) *why_out = "out of memory";
	}
	if (*why_out == NULL) return true;
	listen_spec_fini(out);
	return false;
}

void listen_spec_fini(struct listen_spec *l)
{
	free(l->text);
	free(l->host);
	*l = (struct listen_spec){ 0 };
}

char *listen_spec_text(const struct listen_spec *l)
{
	char *text;
	int n;
	bool path = l->port == 0 && !l->port_any;
	if (path && (l->mode != 0 || strchr(l->host, ' ') != NULL))
		n = asprintf(&text, "%s 0%o", l->host, l->mode);
	else if (path) n = asprintf(&text, "%s", l->host);
	else if (strchr(l->host, ':') != NULL) n = asprintf(&text, "[%s]:%u", l->host, l->port);
	else n = asprintf(&text, "%s:%u", l->host, l->port);
	return n < 0 ? NULL : text;
}
