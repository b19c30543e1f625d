/* ctl.c - reaching the source, and what its answers mean for the exit code. */
#include "agent/ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIGEST_MAX = 1024 };

/* The digest's file into `text`; false: said why not. */
static bool digest_read(const char *path, char text[DIGEST_MAX])
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) != 0) {
		ctl_say("%s: %s", path, strerror(errno));
		if (fd >= 0) close(fd);
		return false;
	}
	ssize_t n = -1;
	if (!S_ISREG(st.st_mode) || (st.st_mode & 0177) != 0)
		ctl_say("%s: must be a file of mode 0400 or 0600, for its owner alone", path);
	else if (st.st_uid != 0 && st.st_uid != geteuid())
		ctl_say("%s: belongs to neither you nor root", path);
	else if ((n = read(fd, text, DIGEST_MAX - 1)) < 0) ctl_say("%s: %s", path, strerror(errno));
	close(fd);
	if (n < 0) return false;
	text[n] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	if (strchr(text, ':') != NULL) return true;
	ctl_say("%s: must hold USER:PASSWORD", path);
	return false;
}

static enum ctl_exit open_with(struct ctl *c, const char *digest)
{
	struct err_at at;
	enum err e = client_open(c->source, digest, c->timeout_ms, &c->client, &at);
	if (e == ERR_NONE) return CTL_OK;
	ctl_say("%s: %s", at.where[0] != '\0' ? at.where : c->source,
		at.why[0] != '\0' ? at.why : err_text(e));
	return e == ERR_INVALID ? CTL_USAGE : CTL_AWAY;
}

enum ctl_exit ctl_open(struct ctl *c)
{
	char digest[DIGEST_MAX];
	if (c->client != NULL) return CTL_OK;
	if (c->source == NULL) {
		ctl_say("no source: give --source or set TWINRING_SOURCE");
		return CTL_USAGE;
	}
	if (c->digest_file != NULL && !digest_read(c->digest_file, digest)) return CTL_USAGE;
	enum ctl_exit e = open_with(c, c->digest_file != NULL ? digest : NULL);
	explicit_bzero(digest, sizeof(digest));
	return e;
}

enum ctl_exit ctl_exit_of(enum store_rc rc, const char *path)
{
	static const enum ctl_exit exits[] = {
		[STORE_OK] = CTL_OK,
		[STORE_NO_NODE] = CTL_REFUSED,
		[STORE_NODE_EXISTS] = CTL_REFUSED,
		[STORE_BAD_VERSION] = CTL_CONFLICT,
		[STORE_NOT_EMPTY] = CTL_CONFLICT,
		[STORE_AWAY] = CTL_AWAY,
		[STORE_REFUSED] = CTL_FAILED,
		[STORE_TOO_LARGE] = CTL_REFUSED,
		[STORE_INVALID] = CTL_REFUSED,
	};
	if (rc == STORE_OK) return CTL_OK;
	ctl_say("%s: %s", path, store_rc_text(rc));
	return (size_t)rc < sizeof(exits) / sizeof(exits[0]) ? exits[rc] : CTL_FAILED;
}
