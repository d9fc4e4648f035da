/* SPDX-License-Identifier: MIT
 *
 * Problem: programs print, and read memory of the kernel, of the user, and of packets at places that may not be there.
 *
 * Idea: each helper is called by a small program under BPF_PROG_TEST_RUN, which leaves what it got in a map.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle. Needs root.
 *
 * Locks: none.
 */
#include "bpf.h"

#define SKB BPF_PROG_TYPE_CGROUP_SKB

#define want_str(a, b)                                                                                                 \
	do {                                                                                                           \
		if (strcmp(a, b))                                                                                      \
			abi_fail("line %d: %s is '%s', not '%s'", __LINE__, #a, a, b);                                 \
	} while (0)

struct notes { /* the value of the map */
	int64_t result;
	char text[120];
};
#define TEXT ((int)offsetof(struct notes, text))

static int map;

CASE(begin)
{
	map = map_new(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct notes), 1, 0);
	want(map >= 0);
}

/* r7: the map's value. */
#define HEAD                                                                                                           \
	MOVR(6, 1), ST(W, 10, -4, 0), MOVR(2, 10), ALU(ADD, 2, -4), LDMAP(1, map), CALL(map_lookup_elem),              \
		JMP(JNE, 0, 0, 2), MOV(0, 1), EXIT(), MOVR(7, 0)
#define TAIL STX(D, 7, 0, 0), MOV(0, 1), EXIT()

static struct notes run(int prog)
{
	struct notes n = { .result = 99 };
	static char packet[64];

	for (int i = 14; i < 64; i++)
		packet[i] = (char)i;
	packet[12] = 8;
	packet[14] = 0x45;
	want(prog >= 0);
	memset(n.text, 'z', sizeof(n.text));
	want_eq(map_set(map, &(int){ 0 }, &n, BPF_ANY), 0);
	want_eq(bpf(BPF_PROG_TEST_RUN,
		    ATTR(.test = { .prog_fd = prog, .data_in = PTR(packet), .data_size_in = sizeof(packet) })),
		0);
	want_eq(map_get(map, &(int){ 0 }, &n), 0);
	close(prog);
	return n;
}

static int format_map(const char *format)
{
	char value[64] = { 0 };
	int m = map_new(BPF_MAP_TYPE_ARRAY, 4, sizeof(value), 1, BPF_F_RDONLY_PROG);

	snprintf(value, sizeof(value), "%s", format);
	want(m >= 0);
	want_eq(map_set(m, &(int){ 0 }, value, BPF_ANY), 0);
	want_eq(bpf(BPF_MAP_FREEZE, ATTR(.map_fd = m)), 0);
	return m;
}

/* Three arguments: -5, 300, 7. */
static int printer(const char *format, int room, int bytes)
{
	int m = format_map(format);
	int prog = LOAD(SKB, 0, HEAD, ST(D, 10, -32, -5), ST(D, 10, -24, 300), ST(D, 10, -16, 7), MOVR(1, 7),
			ALU(ADD, 1, TEXT), MOV(2, room), LDVAL(3, m, 0), MOVR(4, 10), ALU(ADD, 4, -32), MOV(5, bytes),
			CALL(snprintf), TAIL);

	close(m);
	return prog;
}

static void prints(const char *format, const char *text)
{
	struct notes n = run(printer(format, 100, 24));

	want_str(n.text, text);
	want_eq(n.result, (int)strlen(text) + 1);
}

CASE(formats)
{
	prints("plain", "plain");
	prints("%d", "-5");
	prints("%i,%u,%x", "-5,300,7");
	prints("100%% %d", "100% -5");
	prints("%u", "4294967291");
	prints("%lld", "-5");
	prints("%lx", "fffffffffffffffb");
	prints("%4d|%-6u|%03X|", "  -5|300   |007|");
	prints("%+d %c", "-5 ,");
	prints("%d\t%d\n", "-5\t300\n");
}

CASE(long_formats)
{
	struct notes n;

	prints("%-+-+-+-+-+-+-+-+-+-+-+6d|%+++++++++++++++++++++++++3d", "-5    |+300");
	prints("%000000000000000000000000000006d", "-00005");
	prints("%2d|%00000000000000000000000000000000000000000000000000d", "-5|300");
	prints("%6c|%-3c|", "     \xfb|,  |");
	n = run(printer("%2000lld|", 100, 24));
	want_eq(n.result, 2002);
	want_eq(strspn(n.text, " "), 99);
	want_eq(n.text[99], 0);
	want_errno(printer("%99999999999999999999999999", 100, 24), EINVAL);
}

CASE(bad_formats)
{
	static const char *const bad[] = { "%d %d %d %d", "%z",  "%",         "%f",   "%5",       "%lc",
					   "%n",          "%hd", "%lld %llf", "%pI5", "%\xc3\xa9" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		want_errno(printer(bad[i], 100, 24), EINVAL);
	want_errno(printer("%d", 100, 20), EINVAL);
	want_errno(printer("%d", 100, 4), EINVAL);
}

CASE(short_buffers)
{
	struct notes n = run(printer("%lld-%d", 4, 24));

	want_eq(n.result, 7);
	want_str(n.text, "-5-");
	n = run(printer("%d", 1, 24));
	want_eq(n.result, 3);
	want_str(n.text, "");
	want(n.text[1] == 'z');
}

/* An argument may be the address of a string: here that of the format itself. */
CASE(strings)
{
	int m = format_map("<%s>");
	struct notes n = run(LOAD(SKB, 0, HEAD, LDVAL(3, m, 0), STX(D, 10, -16, 3), MOVR(1, 7), ALU(ADD, 1, TEXT),
				  MOV(2, 100), MOVR(4, 10), ALU(ADD, 4, -16), MOV(5, 8), CALL(snprintf), TAIL));

	want_str(n.text, "<<%s>>");
	n = run(LOAD(SKB, 0, HEAD, LDVAL(3, m, 0), ST(D, 10, -16, 16), MOVR(1, 7), ALU(ADD, 1, TEXT), MOV(2, 100),
		     MOVR(4, 10), ALU(ADD, 4, -16), MOV(5, 8), CALL(snprintf), TAIL));
	want_str(n.text, "<>"); /* nothing is there */
	close(m);
}

CASE(traces)
{
	int m = format_map("ostrom %d %d %d %d\n");
	struct notes n = run(LOAD(SKB, 0, HEAD, ST(D, 10, -32, 1), ST(D, 10, -24, 2), ST(D, 10, -16, 3),
				  ST(D, 10, -8, 4), LDVAL(1, m, 0), MOV(2, 20), MOVR(3, 10), ALU(ADD, 3, -32),
				  MOV(4, 32), CALL(trace_vprintk), TAIL));

	want_eq(n.result, 15);
	n = run(LOAD(SKB, 0, HEAD, ST(D, 10, -32, 1), LDVAL(1, m, 0), MOV(2, 20), MOVR(3, 10), ALU(ADD, 3, -32),
		     MOV(4, 8), CALL(trace_vprintk), TAIL));
	want_eq(n.result, -EINVAL);
	close(m);
}

#define READ(helper, bytes, ...)                                                                                       \
	run(LOAD(SKB, 0, HEAD, MOVR(1, 7), ALU(ADD, 1, TEXT), MOV(2, bytes), __VA_ARGS__, CALL(helper), TAIL))

CASE(user_memory)
{
	static char secret[] = "in the program";
	struct notes n = READ(probe_read_user, 6, LD64(3, (uintptr_t)secret));

	want_eq(n.result, 0);
	want(!memcmp(n.text, "in thez", 7));
	n = READ(probe_read_user_str, 20, LD64(3, (uintptr_t)secret));
	want_eq(n.result, 15);
	want_str(n.text, secret);
	n = READ(probe_read_user_str, 6, LD64(3, (uintptr_t)secret));
	want_eq(n.result, 6);
	want_str(n.text, "in th");
	n = READ(probe_read_user, 6, MOV(3, 8));
	want_eq(n.result, -EFAULT);
	want(!memcmp(n.text, "\0\0\0\0\0\0z", 7));
	n = READ(probe_read_user_str, 6, MOV(3, 8));
	want_eq(n.result, -EFAULT);
	want(!memcmp(n.text, "\0\0\0\0\0\0z", 7));
	n = READ(probe_read_user, 6, LD64(3, 0xffffffff81000000));
	want_eq(n.result, -EFAULT);
}

CASE(kernel_memory)
{
	static char secret[] = "in the program";
	struct notes n = READ(probe_read_kernel, 8, MOVR(3, 7));

	want_eq(n.result, 0);
	want_eq(n.text[0], 99); /* the result's place, as it was before */
	n = READ(probe_read_kernel, 6, LD64(3, (uintptr_t)secret));
	want_eq(n.result, -ERANGE);
	want(!memcmp(n.text, "\0\0\0\0\0\0z", 7));
	n = READ(probe_read_kernel, 6, MOV(3, 0));
	want_eq(n.result, -ERANGE);
	n = READ(probe_read_kernel, 6, LD64(3, 0x8000000000000000)); /* no address */
	want_eq(n.result, -ERANGE);
	n = READ(probe_read_kernel, 6, LD64(3, 0xffffcabcdef00000)); /* of nothing */
	want_eq(n.result, -EFAULT);
	n = READ(probe_read_kernel_str, 6, LD64(3, 0xfffffffffffffffc));
	want_eq(n.result, -EFAULT);
}

#define RELATIVE(off, bytes, from)                                                                                     \
	run(LOAD(SKB, 0, HEAD, MOVR(1, 6), MOV(2, off), MOVR(3, 7), ALU(ADD, 3, TEXT), MOV(4, bytes), MOV(5, from),    \
		 CALL(skb_load_bytes_relative), TAIL))

CASE(packets)
{
	struct notes n = RELATIVE(4, 4, BPF_HDR_START_NET);

	want_eq(n.result, 0);
	want(n.text[0] == 18 && n.text[3] == 21);
	n = RELATIVE(14, 4, BPF_HDR_START_MAC);
	want_eq(n.result, 0);
	want(n.text[0] == 0x45 && n.text[3] == 17);
	n = RELATIVE(48, 4, BPF_HDR_START_NET);
	want_eq(n.result, -EFAULT);
	want(!memcmp(n.text, "\0\0\0\0z", 5));
	want_eq(RELATIVE(0, 4, 2).result, -EFAULT);
	want_eq(RELATIVE(-1, 4, BPF_HDR_START_NET).result, -EFAULT);
}

int main(void)
{
	RUN(begin);
	RUN(formats);
	RUN(long_formats);
	RUN(bad_formats);
	RUN(short_buffers);
	RUN(strings);
	RUN(traces);
	RUN(user_memory);
	RUN(kernel_memory);
	RUN(packets);
	return abi_status();
}
