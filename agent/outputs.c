#include "agent/outputs.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "agent/child.h"
#include "agent/output_text.h"
#include "common/disk.h"
#include "common/log.h"

enum { OUTPUT_FILE_MAX = 64 << 20, OUTPUT_LINE_MAX = 512, OUTPUT_WHY_MAX = 200 };

struct outputs {
	struct io_loop *loop;
	const struct output_spec *specs;
	uint32_t count;
	bool *due; /* [count] its command is to run */
	uint32_t command_ms;
	struct child *child; /* the command that runs, or NULL */
	uint32_t running;    /* whose it is */
	bool killed;
	struct io_timer limit;
	char line[OUTPUT_LINE_MAX]; /* of what it prints, not yet whole */
	size_t line_bytes;
	struct outputs_counts counts;
};

static void outputs_run_next(struct outputs *o);

/* --- commands --------------------------------------------------------------------------------- */

static const char *command_name(const struct outputs *o)
{
	return o->specs[o->running].command.items[0];
}

static void command_log_line(struct outputs *o)
{
	if (o->line_bytes > 0) log_info("%s: %.*s", command_name(o), (int)o->line_bytes, o->line);
	o->line_bytes = 0;
}

static void command_on_output(void *ctx, const char *data, size_t n)
{
	struct outputs *o = ctx;
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '\n' || o->line_bytes == sizeof(o->line)) command_log_line(o);
		if (data[i] != '\n') o->line[o->line_bytes++] = data[i];
	}
}

static void command_on_exit(void *ctx, int status)
{
	struct outputs *o = ctx;
	command_log_line(o);
	io_timer_stop(&o->limit);
	o->child = NULL;
	if (status != 0) o->counts.commands_failed++;
	if (o->killed) log_error("%s: ended after %u ms", command_name(o), o->command_ms);
	else if (WIFSIGNALED(status))
		log_error("%s: died of signal %d", command_name(o), WTERMSIG(status));
	else if (status != 0) log_error("%s: exit status %d", command_name(o), WEXITSTATUS(status));
	outputs_run_next(o);
}

static void command_on_limit(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct outputs *o = owner;
	o->killed = true;
	if (o->child) child_kill(o->child);
}

static void command_start(struct outputs *o, uint32_t i)
{
	struct child_events events = { command_on_output, command_on_exit, o };
	o->running = i;
	o->killed = false;
	o->counts.commands++;
	int e = child_start(o->loop, o->specs[i].command.items, &events, &o->child);
	if (e == 0) {
		io_timer_set(&o->limit, o->command_ms * 1000ull);
		return;
	}
	o->counts.commands_failed++;
	log_error("%s: %s", command_name(o), strerror(e));
}

/* What became due while another ran is run once, however often it became due. */
static void outputs_run_next(struct outputs *o)
{
	for (uint32_t i = 0; i < o->count && !o->child; i++) {
		if (!o->due[i]) continue;
		o->due[i] = false;
		command_start(o, i);
	}
}

/* --- files ------------------------------------------------------------------------------------ */

static bool output_is_new(const char *path, struct slice text)
{
	struct scratch old = { 0 };
	bool same =
	    disk_read(path, OUTPUT_FILE_MAX, &old, NULL) && slice_eq(scratch_slice(&old), text);
	scratch_fini(&old);
	return !same;
}

/* One file on its way. */
struct draft {
	struct outputs *all;
	const struct output_spec *spec;
	const char *path; /* as configured */
	bool secret;	  /* for our group only */
	bool written;
	struct scratch text;
};

static void draft_fail(struct draft *d, const char *pool, const char *path, const char *why)
{
	d->all->counts.failed++;
	log_error("%s: pool %s: %s", path, pool, why);
}

static void draft_write(struct draft *d, const char *pool)
{
	char why[OUTPUT_WHY_MAX];
	char *path = output_expand(d->path, pool, why, sizeof(why));
	struct slice text = scratch_slice(&d->text);
	if (!path) {
		draft_fail(d, pool, d->path, why);
		return;
	}
	if (output_is_new(path, text)) {
		if (disk_replace(path, text, d->secret ? 0640 : 0644)) {
			d->all->counts.written++;
			d->written = true;
			log_notice("%s: written", path);
		} else {
			draft_fail(d, pool, path, strerror(errno));
		}
	}
	free(path);
}

static bool draft_add_nutcracker(struct draft *d, const struct pool_spec *p)
{
	static const struct slice head = SLICE("# Written by twinring-agent: changes are lost.\n");
	char why[OUTPUT_WHY_MAX];
	struct scratch pool = { 0 };
	char *listen = output_expand(d->spec->listen, p->name, why, sizeof(why));
	bool good = listen && output_nutcracker(p, listen, &pool, why, sizeof(why));
	free(listen);
	if (!good) draft_fail(d, p->name, d->path, why);
	else {
		if (d->text.n == 0) scratch_puts(&d->text, head);
		scratch_puts(&d->text, scratch_slice(&pool));
		d->secret |= p->auth_password != NULL;
	}
	scratch_fini(&pool);
	return good;
}

static void draft_clear(struct draft *d, const char *path)
{
	scratch_clear(&d->text);
	d->path = path;
	d->secret = false;
}

static void draft_pool(struct draft *d, const struct pool_spec *p)
{
	char why[OUTPUT_WHY_MAX];
	const struct output_spec *s = d->spec;
	if (s->ketama) {
		draft_clear(d, s->ketama);
		if (output_ketama(p, &d->text, why, sizeof(why))) draft_write(d, p->name);
		else draft_fail(d, p->name, s->ketama, why);
	}
	bool own = strcmp(s->pool, "*") != 0 || (s->nutcracker && strstr(s->nutcracker, "{pool}"));
	if (s->nutcracker && own) {
		draft_clear(d, s->nutcracker);
		if (draft_add_nutcracker(d, p)) draft_write(d, p->name);
	}
}

/* One nutcracker.yml of all pools. */
static void draft_all(struct draft *d, const struct pool_spec *const *pools, uint32_t count)
{
	const char *path = d->spec->nutcracker;
	if (!path || strstr(path, "{pool}")) return;
	draft_clear(d, path);
	for (uint32_t i = 0; i < count; i++) draft_add_nutcracker(d, pools[i]);
	if (d->text.n > 0) draft_write(d, "*");
}

/* True when a file changed. */
static bool output_write(struct outputs *o, const struct output_spec *s,
			 const struct pool_spec *const *pools, uint32_t count)
{
	struct draft d = { .all = o, .spec = s };
	bool all = strcmp(s->pool, "*") == 0, found = false;
	for (uint32_t i = 0; i < count; i++) {
		if (!all && strcmp(pools[i]->name, s->pool) != 0) continue;
		found = true;
		draft_pool(&d, pools[i]);
	}
	if (all) draft_all(&d, pools, count);
	else if (!found) log_warn("no pool %s: its files stay as they are", s->pool);
	scratch_fini(&d.text);
	return d.written;
}

static int pool_name_cmp(const void *a, const void *b)
{
	const struct pool_spec *const *x = a, *const *y = b;
	return strcmp((*x)->name, (*y)->name);
}

void outputs_update(struct outputs *o, const struct topology *t)
{
	if (o->count == 0) return;
	const struct pool_spec **sorted = malloc((t->pool_count + 1) * sizeof(*sorted));
	if (!sorted) abort();
	for (uint32_t i = 0; i < t->pool_count; i++) sorted[i] = &t->pools[i];
	qsort(sorted, t->pool_count, sizeof(*sorted), pool_name_cmp);
	for (uint32_t i = 0; i < o->count; i++) {
		bool changed = output_write(o, &o->specs[i], sorted, t->pool_count);
		if (changed && o->specs[i].command.count > 0) o->due[i] = true;
	}
	free(sorted);
	outputs_run_next(o);
}

/* --- life ------------------------------------------------------------------------------------- */

void outputs_counts(const struct outputs *o, struct outputs_counts *out)
{
	*out = o->counts;
}

struct outputs *outputs_new_timed(struct io_loop *l, const struct agent_config *c,
				  uint32_t command_ms)
{
	struct outputs *o = calloc(1, sizeof(*o));
	if (!o) abort();
	o->loop = l;
	o->specs = c->outputs;
	o->count = c->output_count;
	o->command_ms = command_ms;
	o->due = calloc(o->count + 1, sizeof(*o->due));
	if (!o->due) abort();
	io_timer_init(&o->limit, l, command_on_limit, o);
	return o;
}

struct outputs *outputs_new(struct io_loop *l, const struct agent_config *c)
{
	return outputs_new_timed(l, c, OUTPUT_COMMAND_MS);
}

void outputs_free(struct outputs **o)
{
	if (!*o) return;
	child_free(&(*o)->child);
	io_timer_stop(&(*o)->limit);
	free((*o)->due);
	free(*o);
	*o = NULL;
}
