#include "agent/file_node.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { FILE_NAME_MAX = 240, FILE_NO_LOCK = -1 };

/* In the order in which they are looked for. The last is for all nodes, the others but the first
 * only for what people write. */
static const char *const file_suffixes[] = { "", ".yml", ".yaml", ".json", ".data" };
enum { FILE_SUFFIXES = 5, FILE_PLAIN = 0, FILE_DATA = 4 };

static bool file_ends(const char *name, size_t n, const char *end)
{
	size_t m = strlen(end);
	return n > m && memcmp(name + n - m, end, m) == 0;
}

static bool file_by_people(const char *name, size_t n)
{
	return (n == 4 && memcmp(name, "spec", 4) == 0) ||
	       (n == 6 && memcmp(name, "routes", 6) == 0);
}

/* How many bytes of a file's name are the node's; 0: it is no node's. */
static size_t file_node_part(const char *name)
{
	size_t n = strlen(name);
	if (name[0] == '.' || name[0] == '#' || name[n - 1] == '~') return 0;
	if (file_ends(name, n, ".data")) return n - 5;
	for (int i = FILE_PLAIN + 1; i < FILE_DATA; i++) {
		size_t m = n - strlen(file_suffixes[i]);
		if (file_ends(name, n, file_suffixes[i]) && file_by_people(name, m)) return m;
	}
	return n;
}

bool file_path_ok(const char *path)
{
	for (const char *p = path; *p; p += *p == '/') {
		size_t n = strcspn(p, "/");
		char name[FILE_NAME_MAX];
		if (n >= sizeof(name)) return false;
		memcpy(name, p, n);
		name[n] = '\0';
		if (file_node_part(name) != n) return false;
		p += n;
	}
	return true;
}

static void file_name(const char *dir, const char *path, const char *suffix,
		      char out[FILE_PATH_MAX])
{
	snprintf(out, FILE_PATH_MAX, "%s%s%s%s", dir, *path ? "/" : "", path, suffix);
}

/* May the data of this node be in a file with suffix `i`? */
static bool file_spelling(const char *path, int i)
{
	const char *last = strrchr(path, '/');
	last = last ? last + 1 : path;
	if (i == FILE_PLAIN || !*path) return i == FILE_PLAIN;
	return i == FILE_DATA || file_by_people(last, strlen(last));
}

static enum store_rc file_rc(int error)
{
	switch (error) {
	case 0: return STORE_OK;
	case ENOENT: return STORE_NO_NODE;
	case EACCES:
	case EPERM:
	case EROFS: return STORE_REFUSED;
	case ENOTDIR:
	case ELOOP:
	case ENAMETOOLONG: return STORE_INVALID;
	default: return STORE_AWAY; /* full, broken */
	}
}

/* --- looking -------------------------------------------------------------------------------------
 */

/* Read at most STORE_DATA_MAX bytes of an open file. */
static enum store_rc file_read(int fd, struct file_node *n)
{
	struct stat st;
	n->data = malloc(STORE_DATA_MAX + 1);
	if (!n->data) abort();
	ssize_t got;
	while (n->bytes <= STORE_DATA_MAX &&
	       (got = read(fd, n->data + n->bytes, STORE_DATA_MAX + 1 - n->bytes)) != 0) {
		if (got < 0 && errno != EINTR) return file_rc(errno);
		if (got > 0) n->bytes += (size_t)got;
	}
	if (fstat(fd, &st) != 0) return file_rc(errno);
	n->meta.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	n->meta.size = (uint64_t)st.st_size;
	if (n->bytes > STORE_DATA_MAX) {
		n->bytes = 0;
		return STORE_TOO_LARGE;
	}
	n->meta.hash = XXH3_64bits(n->data, n->bytes);
	char *fit = realloc(n->data, n->bytes + 1);
	if (fit) n->data = fit;
	return STORE_OK;
}

/* Find the file with the node's data, and whether there is a directory. */
static void file_find(const char *dir, const char *path, struct file_node *n)
{
	*n = (struct file_node){ .rc = STORE_NO_NODE };
	for (int i = 0; i < FILE_SUFFIXES; i++) {
		char name[FILE_PATH_MAX];
		if (!file_spelling(path, i)) continue;
		file_name(dir, path, file_suffixes[i], name);
		int fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		struct stat st;
		if (fd < 0) {
			if (errno != ENOENT && errno != ENOTDIR) n->rc = file_rc(errno);
			continue;
		}
		if (fstat(fd, &st) != 0) st.st_mode = 0;
		if (S_ISREG(st.st_mode)) {
			n->suffix = file_suffixes[i];
			n->rc = file_read(fd, n);
			close(fd);
			return;
		}
		n->directory |= i == FILE_PLAIN && S_ISDIR(st.st_mode);
		close(fd);
	}
	if (!n->directory) return;
	n->rc = STORE_OK;
	n->meta.hash = XXH3_64bits("", 0);
}

static bool file_there(const struct file_node *n)
{
	return n->rc == STORE_OK || n->rc == STORE_TOO_LARGE;
}

/* Fill in the version. Without the lock: false when it has to be counted. */
static bool file_date(const char *dir, const char *path, int lock_fd, struct file_node *n)
{
	struct file_meta old, *m = &n->meta;
	bool known = file_meta_read(dir, path, &old);
	if (known && old.mtime_ns == m->mtime_ns && old.size == m->size && old.hash == m->hash) {
		*m = old;
		return true;
	}
	if (lock_fd == FILE_NO_LOCK) return false;
	m->mzxid = m->czxid = file_next_zxid(lock_fd);
	if (known) {
		m->version = old.version + 1;
		m->czxid = old.czxid;
		m->next = old.next;
		memcpy(m->owner, old.owner, sizeof(m->owner));
	}
	file_meta_write(dir, path, m); /* not saved: counted again by the next who looks */
	return true;
}

/* Nothing can be written here, so nothing can be counted: what the file itself tells. */
static void file_guess(const char *dir, const char *path, struct file_node *n)
{
	struct file_meta old, *m = &n->meta;
	m->mzxid = m->czxid = m->mtime_ns / 1000;
	if (!file_meta_read(dir, path, &old)) return;
	m->version = old.version + 1;
	m->czxid = old.czxid;
	if (m->mzxid <= old.mzxid) m->mzxid = old.mzxid + 1;
	memcpy(m->owner, old.owner, sizeof(m->owner));
}

static void file_look_locked(const char *dir, const char *path, int lock_fd, struct file_node *n)
{
	file_find(dir, path, n);
	if (file_there(n)) file_date(dir, path, lock_fd, n);
}

static void file_stat(const struct file_meta *m, const char *session, struct store_stat *out)
{
	*out = (struct store_stat){ .version = m->version,
				    .mzxid = m->mzxid,
				    .czxid = m->czxid,
				    .mine = *m->owner && strcmp(m->owner, session) == 0 };
}

void file_look(const char *dir, const char *path, const char *session, struct file_node *out)
{
	file_find(dir, path, out);
	/* a file that becomes a directory is neither for a moment */
	if (out->rc == STORE_NO_NODE) file_find(dir, path, out);
	if (!file_there(out)) return;
	if (!file_date(dir, path, FILE_NO_LOCK, out)) {
		int lock;
		enum store_rc rc = file_lock(dir, &lock);
		if (rc == STORE_OK) {
			file_node_fini(out);
			file_look_locked(dir, path, lock, out);
			close(lock);
		} else if (rc == STORE_REFUSED) {
			file_guess(dir, path, out);
		} else {
			out->rc = rc;
		}
		if (!file_there(out)) return;
	}
	file_stat(&out->meta, session, &out->stat);
	if (!out->directory) return;
	struct file_names names;
	file_list(dir, path, &names);
	out->stat.children = names.count;
	file_names_fini(&names);
}

void file_node_fini(struct file_node *n)
{
	free(n->data);
	n->data = NULL;
}

/* --- names ---------------------------------------------------------------------------------------
 */

static int file_name_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void file_names_add(struct file_names *out, const char *name, size_t n)
{
	if ((out->count & (out->count - 1)) == 0) { /* full at each power of two */
		size_t room = out->count ? 2 * (size_t)out->count : 1;
		out->names = realloc(out->names, room * sizeof(*out->names));
		if (!out->names) abort();
	}
	out->names[out->count] = strndup(name, n);
	if (!out->names[out->count++]) abort();
}

/* Sorted, and each once: a directory and its data are one node. */
static void file_names_tidy(struct file_names *out)
{
	if (!out->count) return;
	qsort(out->names, out->count, sizeof(*out->names), file_name_order);
	uint32_t kept = 1;
	for (uint32_t i = 1; i < out->count; i++) {
		if (strcmp(out->names[i], out->names[kept - 1]) == 0) free(out->names[i]);
		else out->names[kept++] = out->names[i];
	}
	out->count = kept;
}

void file_list(const char *dir, const char *path, struct file_names *out)
{
	*out = (struct file_names){ .rc = STORE_OK };
	char name[FILE_PATH_MAX];
	file_name(dir, path, "", name);
	DIR *d = opendir(name);
	if (!d) {
		struct file_node n;
		file_find(dir, path, &n); /* without children it is a file */
		out->rc = n.rc == STORE_TOO_LARGE ? STORE_OK : n.rc;
		file_node_fini(&n);
		return;
	}
	for (struct dirent *e; (e = readdir(d));) {
		size_t n = file_node_part(e->d_name);
		if (n) file_names_add(out, e->d_name, n);
	}
	closedir(d);
	file_names_tidy(out);
}

void file_names_fini(struct file_names *n)
{
	for (uint32_t i = 0; i < n->count; i++) free(n->names[i]);
	free(n->names);
	*n = (struct file_names){ 0 };
}

/* --- changing ------------------------------------------------------------------------------------
 */

/* Write the data of a node and its line. m: all but the contents. */
static enum store_rc file_store(const char *dir, const char *path, const char *suffix,
				struct slice data, struct file_meta *m)
{
	char name[FILE_PATH_MAX];
	file_name(dir, path, suffix, name);
	int rc = file_write(name, data, &m->mtime_ns);
	if (rc) return file_rc(rc);
	m->size = data.n;
	m->hash = XXH3_64bits(data.p, data.n);
	/* not saved: the version is counted by the next who looks */
	file_meta_write(dir, path, m);
	return STORE_OK;
}

enum store_rc file_put(const char *dir, const char *path, struct slice data, int32_t version,
		       const char *session, struct store_stat *stat_out)
{
	int lock;
	enum store_rc rc = file_lock(dir, &lock);
	if (rc != STORE_OK) return rc;
	struct file_node n;
	file_look_locked(dir, path, lock, &n);
	rc = file_there(&n) ? STORE_OK : n.rc;
	if (rc == STORE_OK && version != STORE_ANY_VERSION && version != n.meta.version)
		rc = STORE_BAD_VERSION;
	if (rc == STORE_OK) {
		n.meta.version++;
		n.meta.mzxid = file_next_zxid(lock);
		const char *suffix = n.suffix ? n.suffix : file_suffixes[FILE_DATA];
		rc = file_store(dir, path, suffix, data, &n.meta);
		file_stat(&n.meta, session, stat_out);
	}
	file_node_fini(&n);
	close(lock);
	return rc;
}

/* Make sure that a node that is to have children is a directory. */
static enum store_rc file_need_dir(const char *dir, const char *path, uint32_t flags)
{
	char name[FILE_PATH_MAX], data[FILE_PATH_MAX];
	file_name(dir, path, "", name);
	file_name(dir, path, file_suffixes[FILE_DATA], data);
	struct stat st;
	if (stat(name, &st) == 0) {
		if (S_ISDIR(st.st_mode)) return STORE_OK;
		if (rename(name, data) != 0) return file_rc(errno);
	} else if (!(flags & STORE_PARENTS)) {
		struct file_node n;
		file_find(dir, path, &n); /* spec.yml, or data whose directory was removed */
		file_node_fini(&n);
		if (!file_there(&n)) return n.rc;
	}
	return mkdir(name, 0750) == 0 || errno == EEXIST ? STORE_OK : file_rc(errno);
}

/* Directories down to the parent of `path`, and its number for a sequential child. */
static enum store_rc file_need_parents(const char *dir, const char *path, uint32_t flags,
				       int lock_fd, uint32_t *number_out)
{
	char parent[STORE_PATH_MAX] = "";
	enum store_rc rc = STORE_OK;
	for (const char *p = strchr(path, '/'); p && rc == STORE_OK; p = strchr(p + 1, '/')) {
		snprintf(parent, sizeof(parent), "%.*s", (int)(p - path), path);
		struct file_meta m;
		if (file_meta_read(dir, parent, &m) && *m.owner) return STORE_INVALID;
		rc = file_need_dir(dir, parent, flags);
	}
	if (rc != STORE_OK || !(flags & STORE_SEQUENTIAL)) return rc;
	struct file_node n;
	file_look_locked(dir, parent, lock_fd, &n);
	file_node_fini(&n);
	*number_out = n.meta.next++;
	return file_meta_write(dir, parent, &n.meta) ? STORE_OK : STORE_AWAY;
}

static enum store_rc file_create_locked(const char *dir, const char *path, struct slice data,
					bool ephemeral, const char *session, int lock_fd,
					struct store_stat *stat_out)
{
	struct file_node n;
	file_find(dir, path, &n);
	file_node_fini(&n);
	if (file_there(&n)) return STORE_NODE_EXISTS;
	if (n.rc != STORE_NO_NODE) return n.rc;
	struct file_meta m = { .mzxid = file_next_zxid(lock_fd) };
	m.czxid = m.mzxid;
	if (ephemeral) snprintf(m.owner, sizeof(m.owner), "%s", session);
	char name[FILE_PATH_MAX];
	file_name(dir, path, "", name);
	enum store_rc rc = STORE_OK;
	if (data.n) {
		rc = file_store(dir, path, "", data, &m);
	} else {
		m.hash = XXH3_64bits("", 0);
		rc = file_rc(mkdir(name, 0750) == 0 ? 0 : errno);
		if (rc == STORE_OK) file_meta_write(dir, path, &m);
	}
	file_stat(&m, session, stat_out);
	return rc;
}

enum store_rc file_create(const char *dir, const char *path, struct slice data, uint32_t flags,
			  const char *session, struct store_stat *stat_out, char *path_out)
{
	int lock;
	enum store_rc rc = file_lock(dir, &lock);
	if (rc != STORE_OK) return rc;
	uint32_t number = 0;
	rc = file_need_parents(dir, path, flags, lock, &number);
	if (rc == STORE_OK) {
		int n = flags & STORE_SEQUENTIAL
			    ? snprintf(path_out, STORE_PATH_MAX, "%s%010u", path, number)
			    : snprintf(path_out, STORE_PATH_MAX, "%s", path);
		rc = n < STORE_PATH_MAX && file_path_ok(path_out) ? STORE_OK : STORE_INVALID;
	}
	if (rc == STORE_OK)
		rc = file_create_locked(dir, path_out, data, flags & STORE_EPHEMERAL, session, lock,
					stat_out);
	close(lock);
	return rc;
}

enum store_rc file_delete_locked(const char *dir, const char *path, int32_t version, int lock_fd)
{
	struct file_node n;
	file_look_locked(dir, path, lock_fd, &n);
	file_node_fini(&n);
	if (!file_there(&n)) return n.rc;
	if (version != STORE_ANY_VERSION && version != n.meta.version) return STORE_BAD_VERSION;
	struct file_names names;
	file_list(dir, path, &names);
	bool children = names.count > 0;
	file_names_fini(&names);
	if (children) return STORE_NOT_EMPTY;
	char name[FILE_PATH_MAX];
	file_name(dir, path, "/" FILE_TMP_NAME, name);
	unlink(name);
	file_name(dir, path, "", name);
	/* first what may fail: an editor's file may still be in it */
	if (rmdir(name) != 0 && errno != ENOENT && errno != ENOTDIR)
		return errno == ENOTEMPTY || errno == EEXIST ? STORE_NOT_EMPTY : file_rc(errno);
	/* all of them, or another one would show up as the same node */
	for (int i = 0; i < FILE_SUFFIXES; i++) {
		if (!file_spelling(path, i)) continue;
		file_name(dir, path, file_suffixes[i], name);
		if (unlink(name) != 0 && errno != ENOENT) return file_rc(errno);
	}
	file_meta_remove(dir, path);
	return STORE_OK;
}

enum store_rc file_delete(const char *dir, const char *path, int32_t version)
{
	int lock;
	enum store_rc rc = file_lock(dir, &lock);
	if (rc != STORE_OK) return rc;
	rc = file_delete_locked(dir, path, version, lock);
	close(lock);
	return rc;
}
