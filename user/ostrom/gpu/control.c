/* SPDX-License-Identifier: MIT
 *
 * Problem: shares are looked at and changed while frames are drawn, by people and by programs.
 *
 * Idea: a Unix socket that takes one line of words and answers one text whose first word is "ok" or "error":
 *   create NAME [KEY=VALUE ...]   the path of its socket; with the word "transient" it goes when this connection ends
 *   set NAME KEY=VALUE ...        takes effect at the next pick, which is within a frame
 *   remove NAME
 *   report text|json|openmetrics|raw
 * Keys: share (a weight, or with % a guarantee and the weight that goes with it), min, max (in %), memory (bytes, with
 * K, M or G). A line is parsed whole before anything changes.
 *
 * Contract: gpu.h. An answer ends with an empty line; the connection stays for more lines. Who may connect is whoever
 * the socket's mode lets (the owner).
 *
 * Locks: none; called from the broker's loop, the client's half from the other subcommands.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "gpu.h"

#define LINE_MAX_BYTES 512

struct control {
	struct watch watch;
	struct broker *broker;
	char line[LINE_MAX_BYTES];
	u32 len;
};

const char *default_dir(void)
{
	static char dir[96];
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (geteuid() && runtime)
		snprintf(dir, sizeof(dir), "%s/ostrom-gpu", runtime);
	else
		snprintf(dir, sizeof(dir), geteuid() ? "/tmp/ostrom-gpu-%u" : "/run/ostrom-gpu", geteuid());
	return dir;
}

/* ---- settings ---- */

/* "12.5%" in millionths. */
static int parse_percent(const char *s, u32 *millionths)
{
	char whole[16];
	u64 n, scale = VGPU_ONE / 100, fraction = 0;
	const char *dot;

	if (str_copy(whole, s, sizeof(whole)) >= sizeof(whole) || !*s || s[strlen(s) - 1] != '%')
		return -EINVAL;
	whole[strlen(whole) - 1] = 0;
	dot = strchr(whole, '.');
	if (dot) {
		char *digits = whole + (dot - whole) + 1;

		whole[dot - whole] = 0;
		if (strlen(digits) > 4 || str_to_u64(digits, 10, &fraction))
			return -EINVAL;
		for (u32 i = strlen(digits); i < 4; i++)
			fraction *= 10;
	}
	if (str_to_u64(whole, 10, &n) || n > 100 || n * scale + fraction > VGPU_ONE)
		return -EINVAL;
	*millionths = n * scale + fraction;
	return 0;
}

static int parse_bytes(const char *s, u64 *bytes)
{
	char number[24];
	u32 n = str_copy(number, s, sizeof(number)), shift = 0;

	if (!n || n >= sizeof(number))
		return -EINVAL;
	switch (number[n - 1]) {
	case 'K': shift = 10; break;
	case 'M': shift = 20; break;
	case 'G': shift = 30; break;
	}
	if (shift)
		number[n - 1] = 0;
	if (str_to_u64(number, 10, bytes) || !*bytes || *bytes > (1ull << 44) >> shift)
		return -EINVAL;
	*bytes <<= shift;
	return 0;
}

int parse_share(const char *key, const char *value, struct vgpu_share *share, u64 *memory)
{
	u64 weight;

	if (!strcmp(key, "min"))
		return parse_percent(value, &share->min);
	if (!strcmp(key, "max"))
		return parse_percent(value, &share->max);
	if (!strcmp(key, "memory"))
		return parse_bytes(value, memory);
	if (strcmp(key, "share"))
		return -EINVAL;
	if (strchr(value, '%')) {
		int rc = parse_percent(value, &share->min);

		share->weight = max(share->min / (VGPU_ONE / 100), 1u);
		return rc;
	}
	if (str_to_u64(value, 10, &weight) || !weight || weight > VGPU_WEIGHT_MAX)
		return -EINVAL;
	share->weight = weight;
	return 0;
}

/* Words KEY=VALUE into settings; "transient" into *transient if that is not NULL. */
static int parse_words(char *words, struct vgpu_share *share, u64 *memory, bool *transient)
{
	char *save, *word;

	for (word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *value = strchr(word, '=');
		int rc;

		if (transient && !strcmp(word, "transient")) {
			*transient = true;
			continue;
		}
		if (!value)
			return -EINVAL;
		*value++ = 0;
		rc = parse_share(word, value, share, memory);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- lines ---- */

static char *answer(const char *fmt, const char *arg)
{
	char *s = NULL;

	return asprintf(&s, fmt, arg) < 0 ? NULL : s;
}

static const char *explain(int rc)
{
	switch (-rc) {
	case EEXIST: return "a tenant of that name exists";
	case ENOENT: return "no such tenant";
	case ENOSPC: return "the guarantees of all tenants together would exceed the GPU";
	case EINVAL: return "bad name, key or value (share=WEIGHT or N%, min=N%, max=N%, memory=BYTES)";
	default: return strerror(-rc);
	}
}

static char *do_create(struct control *c, char *args)
{
	struct vgpu_share share = { VGPU_WEIGHT_NORMAL, 0, VGPU_ONE };
	char *name = strsep(&args, " ");
	bool transient = false;
	struct tenant *t;
	u64 memory = 0;
	int rc = args ? parse_words(args, &share, &memory, &transient) : 0;

	if (!rc)
		rc = tenant_create(c->broker, name, &share, memory, &t);
	if (rc)
		return answer("error %s", explain(rc));
	t->owner = transient ? &c->watch : NULL;
	return answer("ok %s", t->path);
}

static char *do_set(struct control *c, char *args)
{
	char *name = strsep(&args, " ");
	struct tenant *t = tenant_find(c->broker, name);
	struct vgpu_share share;
	u64 memory = 0;
	int rc = t ? 0 : -ENOENT;

	if (!rc) {
		share = t->entity.share;
		rc = args ? parse_words(args, &share, &memory, NULL) : -EINVAL;
	}
	if (!rc)
		rc = vgpu_sched_set(&c->broker->sched, &t->entity, &share, device_now(c->broker));
	if (rc)
		return answer("error %s", explain(rc));
	if (memory) {
		t->account.limits.memory_bytes = memory;
		t->account.limits.resource_bytes = min(c->broker->limits.resource_bytes, memory);
		cgroup_limit(t);
	}
	device_kick(c->broker);
	return answer("ok", NULL);
}

static char *do_remove(struct control *c, char *args)
{
	struct tenant *t = tenant_find(c->broker, args);

	if (!t)
		return answer("error %s", explain(-ENOENT));
	tenant_destroy(t);
	return answer("ok", NULL);
}

static char *do_report(struct control *c, char *format)
{
	char *text = report(c->broker, format), *s;

	if (!text)
		return answer("error no format %s", format);
	text[strlen(text) - 1] = 0; /* the answer's own end has the last newline */
	s = answer("ok\n%s", text);
	free(text);
	return s;
}

static char *do_line(struct control *c, char *line)
{
	static const struct {
		const char *verb;
		char *(*run)(struct control *c, char *args);
	} verbs[] = { { "create", do_create }, { "set", do_set }, { "remove", do_remove }, { "report", do_report } };
	char *verb = strsep(&line, " ");

	for (u32 i = 0; i < ARRAY_SIZE(verbs) && line; i++)
		if (!strcmp(verb, verbs[i].verb))
			return verbs[i].run(c, line);
	return answer("error %s", "create, set, remove or report");
}

static void control_close(struct control *c)
{
	struct tenant *t, *next;

	list_for_each_entry_safe (t, next, &c->broker->tenants, link)
		if (t->owner == &c->watch)
			tenant_destroy(t);
	watch_close(c->broker, &c->watch);
	free(c);
}

static bool send_answer(int fd, const char *s)
{
	size_t n = strlen(s);

	/* A report of many tenants is longer than a socket takes at once; who asks, reads. */
	for (size_t at = 0; at < n;) {
		ssize_t sent = send(fd, s + at, n - at, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		at += sent;
	}
	return send(fd, "\n\n", 2, MSG_NOSIGNAL) == 2;
}

static void control_ready(struct watch *w, u32 events)
{
	struct control *c = container_of(w, struct control, watch);
	ssize_t n = recv(w->fd, c->line + c->len, sizeof(c->line) - 1 - c->len, MSG_DONTWAIT);
	char *end, *s;

	if (n <= 0) {
		control_close(c);
		return;
	}
	c->len += n;
	c->line[c->len] = 0;
	end = strchr(c->line, '\n');
	if (!end) {
		if (c->len == sizeof(c->line) - 1)
			control_close(c);
		return;
	}
	*end = 0;
	c->len = 0;
	s = do_line(c, c->line);
	if (!s || !send_answer(w->fd, s))
		control_close(c);
	free(s);
}

static void control_arrived(struct watch *w, u32 events)
{
	struct broker *b = container_of(w, struct broker, control);
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);
	struct timeval limit = { .tv_sec = 1 };
	struct control *c;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return;
	}
	c->broker = b;
	c->watch = (struct watch){ .ready = control_ready, .fd = fd };
	watch_add(b, &c->watch, EPOLLIN);
}

int control_open(struct broker *b)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/control", b->dir);
	fd = control_connect(b->dir);
	if (fd >= 0) {
		close(fd);
		return -EADDRINUSE; /* another server lives here */
	}
	fd = listen_unix(path, 0600);
	if (fd < 0)
		return fd;
	b->control = (struct watch){ .ready = control_arrived, .fd = fd };
	return watch_add(b, &b->control, EPOLLIN);
}

/* ---- the other end ---- */

int control_connect(const char *dir)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/control", dir);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		return -errno;
	}
	return fd;
}

char *control_ask(int fd, const char *line)
{
	size_t len = 0, size = 4096;
	char *s = malloc(size);

	if (!s || send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 || send(fd, "\n", 1, MSG_NOSIGNAL) < 0)
		goto fail;
	for (;;) {
		ssize_t n = recv(fd, s + len, size - len - 1, 0);
		char *bigger;

		if (n <= 0)
			goto fail;
		len += n;
		s[len] = 0;
		if (len >= 2 && !strcmp(s + len - 2, "\n\n")) {
			s[len - 1] = 0;
			return s;
		}
		if (size - len > 1024)
			continue;
		size *= 2;
		bigger = realloc(s, size);
		if (!bigger)
			goto fail;
		s = bigger;
	}
fail:
	free(s);
	return NULL;
}
