/* SPDX-License-Identifier: MIT
 *
 * Problem: two ends of one implementation may agree on the same mistake. What TCP is, Linux's TCP says.
 *
 * Idea: in a network namespace of its own this process is both: by sockets it speaks through the TCP of the Linux that
 * it runs on, and by a TAP device it is a second host whose TCP is net/tcp. Between them a wire in this process loses,
 * doubles and delays frames in both directions by a seeded generator. Linux calls and is called; both write and read at
 * once, and every byte is compared. Then both ends close, and nothing may be left.
 *
 * Contract: real time; skipped where there is no /dev/net/tun or no right to a namespace. TEST_MODE=all: longer
 * streams. Runs under ASan and UBSan. Locks: none.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <alloc/slab.h>
#include <lib/string.h>
#include <net/tcp.h>

#define LINUX_ADDR 0x0a4d0001U /* 10.77.0.1 */
#define OUR_ADDR   0x0a4d0002U
#define PORT       7000
#define NR_PAIRS   4
#define ETHERNET   14
#define IP_HEADER  20
#define PATIENCE_S 120

struct flying {
	struct list link;
	u64 at;
	bool to_linux;
	size_t len;
	u8 frame[2048];
};

/* A connection: t is our end, fd Linux's. */
struct pair {
	struct tcp *t;
	int fd;
	bool linux_calls, up;
	u64 sent[2], got[2]; /* [0]: by us */
	bool shut[2], ended[2];
};

static struct {
	struct tcp_host host;
	struct list flying;
	u64 seed, alarm;
	u32 loss, twice, jitter_us; /* loss and twice: of 1,000 */
	u64 frames, lost, doubled, opened, forgotten;
	int tap, listener;
	u8 linux_mac[6];
	bool ready;
} w;

static const u8 our_mac[6] = { 2, 0, 0, 0, 0, 2 };

static u32 rnd(void)
{
	w.seed = w.seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (u32)(w.seed >> 33);
}

static u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000ULL + (u64)t.tv_nsec;
}

/* ---- the wire ------------------------------------------------------------------------------------------------ */

static void put_on_wire(const u8 *frame, size_t len, bool to_linux)
{
	struct flying *f = calloc(1, sizeof(*f)), *o;
	struct list *before = &w.flying;

	assert_true(len <= sizeof(f->frame));
	f->at = now_ns() + 200000 + (w.jitter_us ? rnd() % w.jitter_us * 1000ULL : 0);
	f->to_linux = to_linux;
	f->len = len;
	memcpy(f->frame, frame, len);
	list_for_each_entry (o, &w.flying, link)
		if (o->at > f->at) {
			before = &o->link;
			break;
		}
	list_add_tail(&f->link, before);
}

static void carry(const u8 *frame, size_t len, bool to_linux)
{
	w.frames++;
	if (rnd() % 1000 < w.loss) {
		w.lost++;
		return;
	}
	put_on_wire(frame, len, to_linux);
	if (rnd() % 1000 < w.twice) {
		w.doubled++;
		put_on_wire(frame, len, to_linux);
	}
}

static u16 sum_of(const u8 *at, size_t len, u32 sum)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (u32)at[i] << 8 | at[i + 1];
	if (len & 1)
		sum += (u32)at[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (u16)~sum;
}

/* Over the segment and its pseudo header. */
static u16 tcp_sum(const u8 *ip, size_t len)
{
	u32 pseudo = 6 + (u32)len;

	for (int i = 12; i < 20; i += 2)
		pseudo += (u32)ip[i] << 8 | ip[i + 1];
	return sum_of(ip + IP_HEADER, len, pseudo);
}

static void put16(u8 *at, u16 v)
{
	at[0] = (u8)(v >> 8);
	at[1] = (u8)v;
}

static void arrive(const u8 *frame, size_t len)
{
	const u8 *ip = frame + ETHERNET;
	struct ip_addr from, to;
	struct packet *p;
	u32 a, b;
	size_t total;

	if (len < ETHERNET + IP_HEADER + 20 || frame[12] != 8 || frame[13] != 0 || ip[0] != 0x45 || ip[9] != 6)
		return; /* neighbours, IPv6 */
	total = (size_t)ip[2] << 8 | ip[3];
	assert_true(total <= len - ETHERNET);
	assert_int_equal(tcp_sum(ip, total - IP_HEADER), 0);
	memcpy(&a, ip + 12, 4);
	memcpy(&b, ip + 16, 4);
	from = ip_addr_v4(a);
	to = ip_addr_v4(b);
	p = packet_alloc(total - IP_HEADER, ALLOC_ATOMIC);
	memcpy(packet_put(p, total - IP_HEADER), ip + IP_HEADER, total - IP_HEADER);
	tcp_input(&w.host, p, &from, &to);
}

static void from_tap(void)
{
	u8 frame[2048];
	ssize_t n;

	while ((n = read(w.tap, frame, sizeof(frame))) > 0)
		carry(frame, (size_t)n, false);
}

static void deliver(u64 now)
{
	struct flying *f;

	while ((f = list_first_or_null(&w.flying, struct flying, link)) && f->at <= now) {
		list_del(&f->link);
		if (!f->to_linux)
			arrive(f->frame, f->len);
		else if (write(w.tap, f->frame, f->len) != (ssize_t)f->len)
			fail_msg("the TAP device: %s", strerror(errno));
		free(f);
	}
}

/* ---- our host ------------------------------------------------------------------------------------------------ */

static u64 random_number(void)
{
	return (u64)rnd() << 32 | rnd();
}

static void output(struct tcp_host *h, struct tcp *t, struct packet *p, const struct ip_addr *source,
		   const struct ip_addr *destination)
{
	u8 frame[2048] = { 0 }, *ip = frame + ETHERNET;
	size_t len = packet_len(p);

	assert_true(len + ETHERNET + IP_HEADER <= sizeof(frame));
	memcpy(frame, w.linux_mac, 6);
	memcpy(frame + 6, our_mac, 6);
	put16(frame + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, (u16)(len + IP_HEADER));
	ip[8] = 64;
	ip[9] = 6;
	memcpy(ip + 12, &source->w[3], 4);
	memcpy(ip + 16, &destination->w[3], 4);
	put16(ip + 10, sum_of(ip, IP_HEADER, 0));
	memcpy(ip + IP_HEADER, p->data, len);
	put16(ip + IP_HEADER + 16, tcp_sum(ip, len));
	packet_free(p);
	carry(frame, len + ETHERNET + IP_HEADER, true);
}

static bool allow(struct tcp *t, struct packet *p)
{
	return true;
}
static u32 mtu(struct tcp_host *h, struct tcp *t)
{
	return 1500;
}
static u32 device(struct tcp *t)
{
	return 0;
}
static void event(struct tcp *t)
{
}
static void urgent(struct tcp *t)
{
}
static void set_alarm(struct tcp_host *h, u64 at)
{
	w.alarm = at;
}
static int child(struct tcp *l, struct tcp *c)
{
	w.opened++;
	return 0;
}
static void forget(struct tcp *t)
{
	w.forgotten++;
	kfree(t);
}
static const struct tcp_host_ops ops = { .now = now_ns,
					 .random = random_number,
					 .output = output,
					 .allow_input = allow,
					 .mtu = mtu,
					 .device = device,
					 .event = event,
					 .urgent = urgent,
					 .alarm = set_alarm,
					 .child = child,
					 .forget = forget };

/* Everything that is due, then sleeps until something may be: at most 5 ms. */
static void turn(void)
{
	struct pollfd p = { .fd = w.tap, .events = POLLIN };
	u64 now = now_ns(), next;
	struct flying *f;

	from_tap();
	deliver(now);
	if (w.alarm <= now) {
		w.alarm = ~0ULL;
		tcp_host_alarm(&w.host);
	}
	f = list_first_or_null(&w.flying, struct flying, link);
	next = min(f ? f->at : ~0ULL, min(w.alarm, now + 5000000));
	now = now_ns();
	if (next > now)
		poll(&p, 1, (int)((next - now) / 1000000));
}

/* ---- Linux's host -------------------------------------------------------------------------------------------- */

static struct sockaddr_in sockaddr_of(u32 addr, u16 port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(addr) };
}

static bool set_up_device(void)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	struct sockaddr_in a = sockaddr_of(LINUX_ADDR, 0), mask = sockaddr_of(0xffffff00, 0),
			   us = sockaddr_of(OUR_ADDR, 0);
	struct arpreq arp = { .arp_flags = ATF_PERM | ATF_COM, .arp_dev = "tap0" };
	int s;

	w.tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	strcpy(r.ifr_name, "tap0");
	if (w.tap < 0 || ioctl(w.tap, TUNSETIFF, &r))
		return false;
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(&r.ifr_addr, &a, sizeof(a));
	assert_int_equal(ioctl(s, SIOCSIFADDR, &r), 0);
	memcpy(&r.ifr_netmask, &mask, sizeof(mask));
	assert_int_equal(ioctl(s, SIOCSIFNETMASK, &r), 0);
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	assert_int_equal(ioctl(s, SIOCSIFFLAGS, &r), 0);
	assert_int_equal(ioctl(s, SIOCGIFHWADDR, &r), 0);
	memcpy(w.linux_mac, r.ifr_hwaddr.sa_data, 6);
	memcpy(&arp.arp_pa, &us, sizeof(us));
	arp.arp_ha.sa_family = ARPHRD_ETHER;
	memcpy(arp.arp_ha.sa_data, our_mac, 6);
	assert_int_equal(ioctl(s, SIOCSARP, &arp), 0);
	close(s);
	return true;
}

static int linux_socket(void)
{
	int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(s >= 0);
	return s;
}

static int group_setup(void **state)
{
	struct sockaddr_in a = sockaddr_of(LINUX_ADDR, PORT);

	list_init(&w.flying);
	w.seed = 4711;
	w.alarm = ~0ULL;
	tcp_host_init(&w.host, &ops, NULL);
	if ((unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET)) || !set_up_device())
		return 0;
	w.listener = linux_socket();
	assert_int_equal(setsockopt(w.listener, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)), 0);
	assert_int_equal(bind(w.listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(w.listener, 16), 0);
	w.ready = true;
	return 0;
}

/* ---- streams ------------------------------------------------------------------------------------------------- */

static int owner_mark;

static u8 byte_at(u64 n, int salt)
{
	return (u8)(n * 31 + (n >> 8) * 7 + (n >> 16) + (u64)salt);
}

static void compare(const u8 *at, size_t n, u64 from, int salt)
{
	for (size_t i = 0; i < n; i++)
		if (at[i] != byte_at(from + i, salt))
			fail_msg("byte %llu of direction %d is wrong", (unsigned long long)(from + i), salt);
}

static void write_ours(struct pair *p, u64 total)
{
	ssize_t room = tcp_send_room(p->t);
	u32 n = (u32)min((u64)min(room, (ssize_t)(1 + rnd() % TCP_CHUNK_MAX)), total - p->sent[0]);
	struct tcp_chunk *c;

	assert_true(room >= 0);
	if (!n)
		return;
	c = tcp_chunk_alloc(n);
	c->len = n;
	for (u32 i = 0; i < n; i++)
		c->data[i] = byte_at(p->sent[0] + i, 0);
	assert_int_equal(tcp_append(p->t, c, false), 0);
	p->sent[0] += n;
}

static void read_ours(struct pair *p)
{
	const u8 *at;
	u32 n;

	while ((at = tcp_readable(p->t, 0, &n))) {
		n = min(n, 1 + rnd() % 20000);
		compare(at, n, p->got[0], 1);
		tcp_consume(p->t, n);
		p->got[0] += n;
	}
	p->ended[0] = p->t->fin_received;
}

static void write_linux(struct pair *p, u64 total)
{
	u8 buffer[16384];
	size_t want = (size_t)min(total - p->sent[1], (u64)(1 + rnd() % sizeof(buffer)));
	ssize_t n;

	for (size_t i = 0; i < want; i++)
		buffer[i] = byte_at(p->sent[1] + i, 1);
	n = want ? send(p->fd, buffer, want, MSG_NOSIGNAL) : 0;
	if (n < 0 && errno != EAGAIN)
		fail_msg("Linux's end: %s", strerror(errno));
	p->sent[1] += (u64)max(n, (ssize_t)0);
}

static void read_linux(struct pair *p)
{
	u8 buffer[16384];
	ssize_t n;

	while ((n = recv(p->fd, buffer, sizeof(buffer), 0)) > 0) {
		compare(buffer, (size_t)n, p->got[1], 0);
		p->got[1] += (u64)n;
	}
	if (n < 0 && errno != EAGAIN)
		fail_msg("Linux's end: %s", strerror(errno));
	p->ended[1] = n == 0;
}

/* Both ends say that no more comes when all is written. */
static void end_writing(struct pair *p, u64 total)
{
	if (!p->shut[0] && p->sent[0] == total) {
		tcp_shutdown(p->t, false, true);
		p->shut[0] = true;
	}
	if (!p->shut[1] && p->sent[1] == total) {
		assert_int_equal(shutdown(p->fd, SHUT_WR), 0);
		p->shut[1] = true;
	}
}

static void open_pair(struct pair *p, u16 port)
{
	struct ip_addr us = ip_addr_v4(htonl(OUR_ADDR)), them = ip_addr_v4(htonl(LINUX_ADDR));
	struct sockaddr_in a = sockaddr_of(OUR_ADDR, port);

	if (p->linux_calls) {
		p->fd = linux_socket();
		assert_true(connect(p->fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno == EINPROGRESS);
		return;
	}
	w.opened++;
	assert_int_equal(tcp_open(&w.host, &owner_mark, false, &p->t), 0);
	assert_int_equal(tcp_connect(p->t, &us, &them, htons(PORT)), 0);
}

/* Which of the pairs that we called is the one that Linux has accepted. */
static void accept_linux(struct pair *pairs)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int fd = accept4(w.listener, (struct sockaddr *)&a, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	for (int i = 0; fd >= 0 && i < NR_PAIRS; i++)
		if (!pairs[i].linux_calls && pairs[i].t->local_port == a.sin_port) {
			pairs[i].fd = fd;
			pairs[i].up = true;
		}
}

static void accept_ours(struct pair *pairs, struct tcp *listener)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	struct tcp *t = tcp_accept(listener, &owner_mark);

	for (int i = 0; t && i < NR_PAIRS; i++) {
		if (!pairs[i].linux_calls || getsockname(pairs[i].fd, (struct sockaddr *)&a, &len))
			continue;
		if (a.sin_port == t->remote_port) {
			pairs[i].t = t;
			pairs[i].up = true;
		}
	}
}

static bool exchange(struct pair *p, u64 total)
{
	if (!p->up || (!p->linux_calls && p->t->state == TS_SYN_SENT))
		return false;
	if (p->t->error)
		fail_msg("our end: error %d", p->t->error);
	if (!p->shut[0])
		write_ours(p, total);
	if (!p->shut[1])
		write_linux(p, total);
	read_ours(p);
	read_linux(p);
	end_writing(p, total);
	return p->ended[0] && p->ended[1];
}

static void streams(u32 loss, u32 twice, u32 jitter_us, u64 kib)
{
	static u16 port = 8000;
	u64 total = kib * 1024 * (getenv("TEST_MODE") && !strcmp(getenv("TEST_MODE"), "all") ? 16 : 1);
	struct pair pairs[NR_PAIRS] = { 0 };
	struct ip_addr any = ip_addr_v4(0);
	u64 start = now_ns(), again = 0;
	struct tcp *listener;
	int done = 0;

	if (!w.ready)
		skip();
	w.loss = loss;
	w.twice = twice;
	w.jitter_us = jitter_us;
	w.frames = w.lost = w.doubled = 0;
	w.opened++;
	assert_int_equal(tcp_open(&w.host, &owner_mark, false, &listener), 0);
	assert_int_equal(tcp_bind(listener, &any, htons(++port)), 0);
	assert_int_equal(tcp_listen(listener, 16), 0);
	for (int i = 0; i < NR_PAIRS; i++) {
		pairs[i].linux_calls = i & 1;
		open_pair(&pairs[i], port);
	}
	while (done < NR_PAIRS) {
		turn();
		accept_linux(pairs);
		accept_ours(pairs, listener);
		done = 0;
		for (int i = 0; i < NR_PAIRS; i++)
			done += exchange(&pairs[i], total);
		if (now_ns() - start > PATIENCE_S * 1000000000ULL)
			fail_msg("stuck: %llu and %llu of %llu", (unsigned long long)pairs[0].got[0],
				 (unsigned long long)pairs[0].got[1], (unsigned long long)total);
	}
	for (int i = 0; i < NR_PAIRS; i++) {
		assert_int_equal(pairs[i].got[0], total);
		assert_int_equal(pairs[i].got[1], total);
		again += pairs[i].t->total_retransmits;
		tcp_close(pairs[i].t, false);
		close(pairs[i].fd);
	}
	tcp_close(listener, false);
	print_message("  %d connections, %llu KiB each way, %llu ms: of %llu frames %llu lost, %llu doubled; we "
		      "repeated %llu\n",
		      NR_PAIRS, (unsigned long long)total >> 10, (unsigned long long)(now_ns() - start) / 1000000,
		      (unsigned long long)w.frames, (unsigned long long)w.lost, (unsigned long long)w.doubled,
		      (unsigned long long)again);
}

static void clean(void **state)
{
	streams(0, 0, 0, 512);
}
static void at_five_percent_loss(void **state)
{
	streams(50, 0, 0, 96);
}
static void doubled(void **state)
{
	streams(0, 100, 0, 256);
}
static void reordered(void **state)
{
	streams(0, 0, 5000, 128);
}
static void all_of_it(void **state)
{
	streams(50, 50, 3000, 128);
}

/* A port where nobody listens, seen from both sides. */
static void refused(void **state)
{
	struct ip_addr us = ip_addr_v4(htonl(OUR_ADDR)), them = ip_addr_v4(htonl(LINUX_ADDR));
	struct sockaddr_in a = sockaddr_of(OUR_ADDR, 9);
	struct tcp *t;
	int fd, error = 0;
	socklen_t len = sizeof(error);

	if (!w.ready)
		skip();
	w.loss = w.twice = w.jitter_us = 0;
	fd = linux_socket();
	assert_true(connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno == EINPROGRESS);
	w.opened++;
	assert_int_equal(tcp_open(&w.host, &owner_mark, false, &t), 0);
	assert_int_equal(tcp_connect(t, &us, &them, htons(9)), 0);
	for (u64 until = now_ns() + PATIENCE_S * 1000000000ULL; now_ns() < until && (!t->error || !error);) {
		turn();
		if (!error)
			assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	}
	assert_int_equal(error, ECONNREFUSED);
	assert_int_equal(t->error, ECONNREFUSED);
	tcp_close(t, false);
	close(fd);
}

/* The urgent byte in both directions: both sides count it the same way. */
static void urgent_byte(void **state)
{
	struct pair pairs[NR_PAIRS] = { 0 }, *p = &pairs[0];
	struct tcp_chunk *c;
	char got[16] = "";
	u8 byte = 0;
	int n = 0;

	if (!w.ready)
		skip();
	w.loss = w.twice = w.jitter_us = 0;
	for (int i = 1; i < NR_PAIRS; i++)
		pairs[i].linux_calls = true; /* there is no other of ours */
	open_pair(p, 0);
	for (u64 until = now_ns() + PATIENCE_S * 1000000000ULL; now_ns() < until && !p->up;) {
		turn();
		accept_linux(pairs);
	}
	assert_true(p->up);
	c = tcp_chunk_alloc(3);
	c->len = 3;
	memcpy(c->data, "abU", 3);
	assert_int_equal(tcp_append(p->t, c, TCP_URGENT), 0);
	assert_int_equal(send(p->fd, "xyzV", 4, MSG_OOB), 4);
	for (u64 until = now_ns() + PATIENCE_S * 1000000000ULL;
	     now_ns() < until &&
	     (tcp_take_urgent(p->t, true, &byte) != 1 || recv(p->fd, got, 1, MSG_OOB | MSG_PEEK) != 1);)
		turn();
	assert_int_equal(byte, 'V');
	assert_int_equal(tcp_plain_bytes(p->t), 3);
	assert_int_equal(recv(p->fd, got, 1, MSG_OOB), 1);
	assert_int_equal(got[0], 'U');
	assert_int_equal(recv(p->fd, got, sizeof(got), 0), 2);
	assert_memory_equal(got, "ab", 2);
	assert_int_equal(ioctl(p->fd, SIOCATMARK, &n), 0);
	assert_int_equal(n, 1);
	tcp_close(p->t, true);
	close(p->fd);
}

/* No end of a connection stays behind; TIME-WAIT, a minute here, is ended by the host's end. */
static void nothing_is_left(void **state)
{
	struct flying *f;

	if (!w.ready)
		skip();
	w.loss = w.twice = w.jitter_us = 0;
	for (u64 until = now_ns() + 3000000000ULL; now_ns() < until;)
		turn();
	tcp_host_stop(&w.host);
	assert_int_equal(w.forgotten, w.opened);
	assert_int_equal(w.host.nr_orphans, 0);
	while ((f = list_first_or_null(&w.flying, struct flying, link))) {
		list_del(&f->link);
		free(f);
	}
	close(w.listener);
	close(w.tap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clean),       cmocka_unit_test(at_five_percent_loss),
		cmocka_unit_test(doubled),     cmocka_unit_test(reordered),
		cmocka_unit_test(all_of_it),   cmocka_unit_test(refused),
		cmocka_unit_test(urgent_byte), cmocka_unit_test(nothing_is_left),
	};

	return cmocka_run_group_tests_name("tcp and Linux's TCP", tests, group_setup, NULL);
}
