#include "agent/agent_config_values.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/events.h"

enum { VALUE_TEXT_MAX = 4095 };

static bool value_fault(char *why, size_t cap, const char *text)
{
	snprintf(why, cap, "%s", text);
	return false;
}

/* Text without control characters, as settings.c takes it; NULL: `why` says why not. */
static const char *value_text(const struct node *value, char *why, size_t cap)
{
	bool text = value->kind == NODE_STRING ||
		    (!value->from_json && value->kind != NODE_NULL && node_is_scalar(value));
	if (!text) {
		snprintf(why, cap, "must be text, not %s", node_kind_name(value));
		return NULL;
	}
	size_t n = strlen(value->text);
	if (n == 0 || n > VALUE_TEXT_MAX) {
		snprintf(why, cap, "must have 1 to %d bytes, not %zu", VALUE_TEXT_MAX, n);
		return NULL;
	}
	for (const unsigned char *p = (const unsigned char *)value->text; *p != '\0'; p++) {
		if (*p >= 0x20 && *p != 0x7f) continue;
		value_fault(why, cap, "holds a control character");
		return NULL;
	}
	return value->text;
}

static bool value_keep(char **field, const char *text, char *why, size_t cap)
{
	char *copy = strdup(text);
	if (copy == NULL) return value_fault(why, cap, err_text(ERR_NOMEM));
	free(*field);
	*field = copy;
	return true;
}

/* Fields that are one owned text. */
static json_t *value_to_json(const void *field)
{
	const char *text = *(char *const *)field;
	return text != NULL ? json_string(text) : NULL;
}

static void value_fini(void *field)
{
	free(*(char **)field);
	*(char **)field = NULL;
}

/* --- where the tree is ------------------------------------------------------------------------ */

/* HOST:PORT, separated by commas, and perhaps a path. */
static bool source_is_ensemble(const char *text)
{
	for (;; text++) {
		size_t n = strcspn(text, ",/");
		const char *colon = memrchr(text, ':', n);
		size_t digits = colon != NULL ? strspn(colon + 1, "0123456789") : 0;
		if (digits == 0 || digits > 5 || colon == text || colon + 1 + digits != text + n)
			return false;
		text += n;
		if (*text != ',') return *text == '\0' || text[1] != '\0';
	}
}

static bool source_set(void *field, const struct node *value, char *why, size_t cap)
{
	struct agent_source *s = field;
	const char *text = value_text(value, why, cap);
	if (text == NULL) return false;
	bool zk = strncmp(text, "zk:", 3) == 0, file = strncmp(text, "file:", 5) == 0;
	if (!zk && !file)
		return value_fault(why, cap, "must be zk:HOST:PORT,.../CHROOT or file:DIR");
	if (zk && !source_is_ensemble(text + 3))
		return value_fault(why, cap, "must name each server of ZooKeeper as HOST:PORT");
	if (file && text[5] != '/')
		return value_fault(why, cap, "must name a directory from the root: file:/DIR");
	if (!value_keep(&s->text, text, why, cap)) return false;
	s->kind = zk ? AGENT_SOURCE_ZK : AGENT_SOURCE_FILE;
	s->where = s->text + (zk ? 3 : 5);
	return true;
}

static json_t *source_to_json(const void *field)
{
	const struct agent_source *s = field;
	return s->text != NULL ? json_string(s->text) : NULL;
}

static void source_fini(void *field)
{
	struct agent_source *s = field;
	free(s->text);
	*s = (struct agent_source){ 0 };
}

const struct setting_ops agent_source_ops = { .set = source_set,
					      .to_json = source_to_json,
					      .fini = source_fini };

/* --- secrets ---------------------------------------------------------------------------------- */

/* What is wrong with the file itself; NULL: nothing. */
static const char *secret_file_fault(int fd)
{
	struct stat st;
	if (fstat(fd, &st) != 0) return strerror(errno);
	if (!S_ISREG(st.st_mode)) return "it is no file";
	if (st.st_uid != geteuid() && st.st_uid != 0) return "it is another user's";
	if ((st.st_mode & 077) != 0) return "others may use it: chmod 0400";
	if (st.st_size > AGENT_SECRET_MAX) return "it is too large";
	return NULL;
}

/* The file's one line; NULL: *fault_out says why not (static, or errno's). */
static char *secret_line(int fd, const char **fault_out)
{
	char text[AGENT_SECRET_MAX + 1];
	ssize_t n = read(fd, text, sizeof(text) - 1);
	if (n < 0) {
		*fault_out = strerror(errno);
		return NULL;
	}
	if (n > 0 && text[n - 1] == '\n') n--;
	text[n] = '\0';
	bool good = n > 0 && strlen(text) == (size_t)n && strpbrk(text, "\r\n") == NULL;
	*fault_out = good ? NULL : "it must hold one line of text";
	char *copy = good ? strdup(text) : NULL;
	if (good && copy == NULL) *fault_out = err_text(ERR_NOMEM);
	explicit_bzero(text, sizeof(text));
	return copy;
}

bool agent_secret_read(const char *path, char **text_out, char *why, size_t cap)
{
	/* without waiting, should it be a pipe */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const char *fault = fd < 0 ? strerror(errno) : secret_file_fault(fd);
	char *text = fault == NULL ? secret_line(fd, &fault) : NULL;
	if (fd >= 0) close(fd);
	*text_out = text;
	if (text == NULL) snprintf(why, cap, "%.80s cannot be used: %s", path, fault);
	return text != NULL;
}

static void secret_fini(void *field)
{
	struct agent_secret *s = field;
	if (s->text != NULL) explicit_bzero(s->text, strlen(s->text));
	free(s->text);
	free(s->path);
	*s = (struct agent_secret){ 0 };
}

static bool secret_set(void *field, const struct node *value, char *why, size_t cap)
{
	struct agent_secret fresh = { 0 };
	const char *path = value_text(value, why, cap);
	if (path == NULL || !agent_secret_read(path, &fresh.text, why, cap)) return false;
	if (!value_keep(&fresh.path, path, why, cap)) {
		secret_fini(&fresh);
		return false;
	}
	secret_fini(field);
	*(struct agent_secret *)field = fresh;
	return true;
}

static bool digest_set(void *field, const struct node *value, char *why, size_t cap)
{
	if (!secret_set(field, value, why, cap)) return false;
	struct agent_secret *s = field;
	const char *colon = strchr(s->text, ':');
	if (colon != NULL && colon != s->text && colon[1] != '\0') return true;
	secret_fini(s);
	return value_fault(why, cap, "must name a file with user:password in it");
}

static json_t *secret_to_json(const void *field)
{
	const struct agent_secret *s = field;
	return s->path != NULL ? json_string(s->path) : NULL;
}

const struct setting_ops agent_secret_ops = { .set = secret_set,
					      .to_json = secret_to_json,
					      .fini = secret_fini };
const struct setting_ops agent_digest_ops = { .set = digest_set,
					      .to_json = secret_to_json,
					      .fini = secret_fini };

/* --- names, URLs, paths ----------------------------------------------------------------------- */

const char *agent_id_fault(const char *id)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:@";
	size_t n = strlen(id);
	if (n == 0 || n > AGENT_ID_MAX) return "must have 1 to 128 bytes";
	if (id[strspn(id, good)] != '\0') return "may have letters, digits and . _ - : @ only";
	if (id[0] == '.') return "must not begin with a dot";
	if (n > 5 && strcmp(id + n - 5, ".data") == 0) return "must not end in .data";
	return NULL;
}

static bool id_set(void *field, const struct node *value, char *why, size_t cap)
{
	const char *text = value_text(value, why, cap);
	const char *fault = text != NULL ? agent_id_fault(text) : NULL;
	if (fault != NULL) return value_fault(why, cap, fault);
	return text != NULL && value_keep(field, text, why, cap);
}

const struct setting_ops agent_id_ops = { .set = id_set,
					  .to_json = value_to_json,
					  .fini = value_fini };

static bool url_set(void *field, const struct node *value, char *why, size_t cap)
{
	const char *text = value_text(value, why, cap);
	if (text == NULL) return false;
	size_t scheme = strncmp(text, "https://", 8) == 0  ? 8
			: strncmp(text, "http://", 7) == 0 ? 7
							   : 0;
	if (scheme == 0) return value_fault(why, cap, "must begin with https:// or http://");
	size_t host = strcspn(text + scheme, "/?#");
	if (host == 0 || text[scheme] == ':') return value_fault(why, cap, "has no host");
	if (memchr(text + scheme, '@', host) != NULL)
		return value_fault(why, cap, "must not hold a password: see secret_file");
	if (strchr(text, ' ') != NULL) return value_fault(why, cap, "holds a blank");
	return value_keep(field, text, why, cap);
}

const struct setting_ops agent_url_ops = { .set = url_set,
					   .to_json = value_to_json,
					   .fini = value_fini };

static bool path_set(void *field, const struct node *value, char *why, size_t cap)
{
	const char *text = value_text(value, why, cap);
	if (text == NULL) return false;
	if (text[0] != '/') return value_fault(why, cap, "must be a path from the root");
	return value_keep(field, text, why, cap);
}

const struct setting_ops agent_path_ops = { .set = path_set,
					    .to_json = value_to_json,
					    .fini = value_fini };

/* --- lists of texts --------------------------------------------------------------------------- */

static void text_list_fini(void *field)
{
	struct text_list *l = field;
	for (uint32_t i = 0; i < l->count; i++) free(l->items[i]);
	free(l->items);
	*l = (struct text_list){ 0 };
}

static bool text_list_read(struct text_list *l, const struct node *value, char *why, size_t cap)
{
	if (value->kind != NODE_LIST || value->count == 0 || value->count > TEXT_LIST_MAX) {
		snprintf(why, cap, "must be a list of 1 to %d texts", TEXT_LIST_MAX);
		return false;
	}
	l->items = calloc(value->count + 1, sizeof(char *));
	if (l->items == NULL) return value_fault(why, cap, err_text(ERR_NOMEM));
	NODE_FOREACH (child, value) {
		const char *text = value_text(child, why, cap);
		if (text == NULL || !value_keep(&l->items[l->count], text, why, cap)) return false;
		l->count++;
	}
	return true;
}

/* The new list in place of the old one if it is `good`, else away with it. */
static bool text_list_take(struct text_list *field, struct text_list *fresh, bool good)
{
	text_list_fini(good ? field : fresh);
	if (good) *field = *fresh;
	return good;
}

static json_t *text_list_to_json(const void *field)
{
	const struct text_list *l = field;
	if (l->count == 0) return NULL;
	json_t *out = json_array();
	for (uint32_t i = 0; i < l->count; i++)
		json_array_append_new(out, json_string(l->items[i]));
	return out;
}

static bool command_set(void *field, const struct node *value, char *why, size_t cap)
{
	struct text_list fresh = { 0 };
	bool good = text_list_read(&fresh, value, why, cap);
	if (good && fresh.items[0][0] != '/')
		good = value_fault(why, cap, "must begin with a program's path from the root");
	return text_list_take(field, &fresh, good);
}

const struct setting_ops agent_command_ops = { .set = command_set,
					       .to_json = text_list_to_json,
					       .fini = text_list_fini };

static bool event_is_known(const char *word, char *why, size_t cap)
{
	const char *name, *best = NULL;
	unsigned best_distance = UINT32_MAX;
	for (unsigned i = 0; (name = agent_event_name(i)) != NULL; i++) {
		unsigned d = settings_distance(word, name);
		if (d == 0) return true;
		if (d >= best_distance) continue;
		best_distance = d;
		best = name;
	}
	snprintf(why, cap, "knows no event '%.60s'%s%s%s", word, best ? " (did you mean '" : "",
		 best ? best : "", best ? "'?)" : "");
	return false;
}

static bool events_set(void *field, const struct node *value, char *why, size_t cap)
{
	struct text_list fresh = { 0 };
	if (value->kind == NODE_STRING && strcmp(value->text, "all") == 0)
		return text_list_take(field, &fresh, true);
	if (value->kind != NODE_LIST)
		return value_fault(why, cap, "must be a list of events, or the word all");
	bool good = text_list_read(&fresh, value, why, cap);
	for (uint32_t i = 0; good && i < fresh.count; i++)
		good = event_is_known(fresh.items[i], why, cap);
	return text_list_take(field, &fresh, good);
}

const struct setting_ops agent_events_ops = { .set = events_set,
					      .to_json = text_list_to_json,
					      .fini = text_list_fini };
