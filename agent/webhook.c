#include "agent/webhook.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "agent/curl_loop.h"
#include "common/clock.h"
#include "common/log.h"

/* One event on its way to one URL. */
struct note {
	TAILQ_ENTRY(note) link;
	uint64_t since_us;
	size_t n;
	char body[];
};

struct hook {
	const struct webhook_spec *spec;
	struct webhooks *all;
	char *name; /* for the log: the URL without its path, which may be a secret */
	struct curl_loop curl;
	CURL *easy;
	struct curl_slist *headers;
	TAILQ_HEAD(, note) notes; /* oldest first; the first is on its way when `busy` */
	uint32_t note_count;
	bool busy;
	struct io_timer retry;
	uint32_t failures; /* since the last success */
	size_t got;	   /* bytes of the answer */
	char error[CURL_ERROR_SIZE];
};

struct webhooks {
	char *agent;
	struct webhook_limits limits;
	uint64_t sequence;
	struct webhook_counts counts; /* but for `waiting` */
	struct hook *hooks;
	uint32_t hook_count;
};

static void hook_next(struct hook *h);

/* --- the queue -------------------------------------------------------------------------------- */

static void hook_pop(struct hook *h, struct note *n)
{
	TAILQ_REMOVE(&h->notes, n, link);
	h->note_count--;
	free(n);
}

/* The one on its way is past recall: the receiver may have it already. */
static void hook_drop_oldest(struct hook *h)
{
	struct note *n = TAILQ_FIRST(&h->notes);
	if (h->busy) n = TAILQ_NEXT(n, link);
	if (!n) return;
	log_warn("%s: too many events wait: the oldest is dropped", h->name);
	h->all->counts.dropped++;
	hook_pop(h, n);
}

static void hook_drop_old(struct hook *h)
{
	uint64_t now = clock_now_us(), age_us = h->all->limits.age_max_ms * 1000ull;
	struct note *n;
	while ((n = TAILQ_FIRST(&h->notes)) && now - n->since_us >= age_us) {
		log_error("%s: gave up on an event", h->name);
		h->all->counts.dropped++;
		hook_pop(h, n);
	}
}

static void hook_push(struct hook *h, const char *body, size_t n)
{
	if (h->note_count >= h->all->limits.queue_max) hook_drop_oldest(h);
	struct note *note = malloc(sizeof(*note) + n);
	if (!note) abort();
	note->since_us = clock_now_us();
	note->n = n;
	memcpy(note->body, body, n);
	TAILQ_INSERT_TAIL(&h->notes, note, link);
	h->note_count++;
	if (!h->busy && !io_timer_armed(&h->retry)) hook_next(h);
}

/* --- one attempt ------------------------------------------------------------------------------ */

static void hook_sign(const struct hook *h, const struct note *n, char header[128])
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned bytes = 0;
	const char *key = h->spec->secret.text;
	if (!HMAC(EVP_sha256(), key, (int)strlen(key), (const unsigned char *)n->body, n->n, mac,
		  &bytes))
		abort();
	int used = snprintf(header, 128, "X-Twinring-Signature: sha256=");
	for (unsigned i = 0; i < bytes; i++)
		used += snprintf(header + used, 128 - (size_t)used, "%02x", mac[i]);
}

static void hook_set_headers(struct hook *h, const struct note *n)
{
	char signature[128];
	curl_slist_free_all(h->headers);
	h->headers = curl_slist_append(NULL, "Content-Type: application/json");
	/* or curl waits a second for a go-ahead that many servers never give */
	h->headers = curl_slist_append(h->headers, "Expect:");
	if (h->spec->secret.text) {
		hook_sign(h, n, signature);
		h->headers = curl_slist_append(h->headers, signature);
	}
	curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, h->headers);
}

static uint64_t hook_pause_us(const struct hook *h)
{
	const struct webhook_limits *limits = &h->all->limits;
	uint64_t ms = limits->retry_min_ms;
	for (uint32_t i = 1; i < h->failures && ms < limits->retry_max_ms; i++) ms *= 2;
	if (ms > limits->retry_max_ms) ms = limits->retry_max_ms;
	/* less a random part, so that agents do not knock together */
	return ms * 1000 - arc4random_uniform((uint32_t)(ms * 250) + 1);
}

static void hook_failed(struct hook *h, const char *why)
{
	h->failures++;
	h->all->counts.failed++;
	log_warn("%s: %s", h->name, why);
	io_timer_set(&h->retry, hook_pause_us(h));
}

static void hook_next(struct hook *h)
{
	hook_drop_old(h);
	struct note *n = TAILQ_FIRST(&h->notes);
	if (!n) return;
	h->got = 0;
	h->error[0] = '\0';
	hook_set_headers(h, n);
	curl_easy_setopt(h->easy, CURLOPT_POSTFIELDS, (char *)n->body); /* not copied: n stays */
	curl_easy_setopt(h->easy, CURLOPT_POSTFIELDSIZE, (long)n->n);
	h->busy = curl_loop_add(&h->curl, h->easy);
	if (!h->busy) hook_failed(h, "no memory");
}

static void hook_on_done(void *ctx, CURL *easy, CURLcode code)
{
	struct hook *h = ctx;
	long status = 0;
	char why[CURL_ERROR_SIZE];
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	curl_loop_remove(&h->curl, easy);
	h->busy = false;
	bool answered = code == CURLE_OK || h->got > WEBHOOK_REPLY_MAX;
	if (answered && status >= 200 && status < 300) {
		h->failures = 0;
		h->all->counts.sent++;
		hook_pop(h, TAILQ_FIRST(&h->notes));
		hook_next(h);
		return;
	}
	if (answered) snprintf(why, sizeof(why), "HTTP status %ld", status);
	else snprintf(why, sizeof(why), "%s", h->error[0] ? h->error : curl_easy_strerror(code));
	hook_failed(h, why);
}

static void hook_on_retry(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct hook *h = owner;
	if (!h->busy) hook_next(h);
}

static size_t hook_on_reply(char *data, size_t size, size_t n, void *ctx)
{
	(void)data;
	struct hook *h = ctx;
	h->got += size * n;
	return h->got > WEBHOOK_REPLY_MAX ? 0 : size * n;
}

/* --- events ----------------------------------------------------------------------------------- */

static bool hook_wants(const struct hook *h, const char *event)
{
	const struct text_list *events = &h->spec->events;
	for (uint32_t i = 0; i < events->count; i++)
		if (strcmp(events->items[i], event) == 0) return true;
	return events->count == 0;
}

void webhooks_send(struct webhooks *w, const char *event, json_t *body)
{
	json_object_set_new(body, "event", json_string(event));
	json_object_set_new(body, "time", json_integer((json_int_t)(clock_wall_us() / 1000)));
	json_object_set_new(body, "agent", json_string(w->agent));
	json_object_set_new(body, "sequence", json_integer((json_int_t)++w->sequence));
	char *text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	if (!text) abort();
	size_t n = strlen(text);
	for (uint32_t i = 0; i < w->hook_count; i++) {
		if (!hook_wants(&w->hooks[i], event)) continue;
		if (n <= WEBHOOK_BODY_MAX) {
			hook_push(&w->hooks[i], text, n);
			continue;
		}
		log_error("%s: an event of %zu bytes is too long", w->hooks[i].name, n);
		w->counts.dropped++;
	}
	free(text);
}

void webhooks_counts(const struct webhooks *w, struct webhook_counts *out)
{
	*out = w->counts;
	for (uint32_t i = 0; i < w->hook_count; i++) out->waiting += w->hooks[i].note_count;
}

/* --- life ------------------------------------------------------------------------------------- */

static void hook_init(struct hook *h, struct webhooks *w, struct io_loop *l,
		      const struct webhook_spec *spec)
{
	h->spec = spec;
	h->all = w;
	size_t scheme = (size_t)(strstr(spec->url, "://") + 3 - spec->url);
	h->name = strndup(spec->url, scheme + strcspn(spec->url + scheme, "/?#"));
	TAILQ_INIT(&h->notes);
	io_timer_init(&h->retry, l, hook_on_retry, h);
	h->easy = curl_loop_easy();
	if (!curl_loop_init(&h->curl, l, hook_on_done, h) || !h->easy || !h->name) abort();
	curl_easy_setopt(h->easy, CURLOPT_URL, spec->url);
	curl_easy_setopt(h->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(h->easy, CURLOPT_TIMEOUT_MS, (long)spec->timeout_ms);
	curl_easy_setopt(h->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)spec->timeout_ms);
	curl_easy_setopt(h->easy, CURLOPT_ERRORBUFFER, h->error);
	curl_easy_setopt(h->easy, CURLOPT_WRITEFUNCTION, hook_on_reply);
	curl_easy_setopt(h->easy, CURLOPT_WRITEDATA, h);
}

static void hook_fini(struct hook *h)
{
	if (h->busy) curl_loop_remove(&h->curl, h->easy);
	curl_easy_cleanup(h->easy);
	curl_loop_fini(&h->curl);
	curl_slist_free_all(h->headers);
	io_timer_stop(&h->retry);
	free(h->name);
	while (!TAILQ_EMPTY(&h->notes)) hook_pop(h, TAILQ_FIRST(&h->notes));
}

static void limit_set(uint32_t *limit, uint32_t wanted, uint32_t usual)
{
	*limit = wanted ? wanted : usual;
}

struct webhooks *webhooks_new_limited(struct io_loop *l, const struct agent_config *c,
				      const struct webhook_limits *limits)
{
	struct webhooks *w = calloc(1, sizeof(*w));
	if (!w || curl_global_init(CURL_GLOBAL_DEFAULT) != 0) abort();
	w->agent = strdup(c->id);
	w->hooks = calloc(c->webhook_count + 1, sizeof(*w->hooks));
	if (!w->agent || !w->hooks) abort();
	limit_set(&w->limits.retry_min_ms, limits->retry_min_ms, 1000);
	limit_set(&w->limits.retry_max_ms, limits->retry_max_ms, 60000);
	limit_set(&w->limits.age_max_ms, limits->age_max_ms, 600000);
	limit_set(&w->limits.queue_max, limits->queue_max, 1000);
	w->hook_count = c->webhook_count;
	for (uint32_t i = 0; i < w->hook_count; i++) hook_init(&w->hooks[i], w, l, &c->webhooks[i]);
	return w;
}

struct webhooks *webhooks_new(struct io_loop *l, const struct agent_config *c)
{
	return webhooks_new_limited(l, c, &(struct webhook_limits){ 0 });
}

void webhooks_free(struct webhooks **w)
{
	if (!*w) return;
	for (uint32_t i = 0; i < (*w)->hook_count; i++) hook_fini(&(*w)->hooks[i]);
	free((*w)->hooks);
	free((*w)->agent);
	free(*w);
	*w = NULL;
	curl_global_cleanup();
}
