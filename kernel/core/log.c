/* SPDX-License-Identifier: MIT
 *
 * Problem: messages come from any context, also before there is a console, and are read later by
 * dmesg.
 *
 * Idea: a ring of records, addressed by a byte position that only grows. A record never wraps: a
 * filler record covers the rest of the ring. Consoles print under the same lock, so that lines
 * never mix.
 *
 *   record: u16 size (with header, 8-aligned), u8 level (0xff: filler), u8 0, u32 text bytes, u64
 * time_ns, u64 seq, text
 *
 * Contract: core/log.h. After panic_begin the lock is ignored: the other CPUs are stopped, perhaps
 * inside it.
 *
 * Locks: `lock` (RANK_LOG, irqsave) guards all of this file.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <core/clock.h>
#include <core/log.h>
#include <core/spin.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include "core_priv.h"

#define RING_BYTES (128 * 1024UL)
#define FILLER     0xff

struct record {
	u16 size;
	u8 level, reserved;
	u32 bytes;
	u64 time_ns, seq;
	char text[];
};

static struct spinlock lock = SPIN_INIT(RANK_LOG);
static char ring[RING_BYTES] __aligned(8);
static u64 first, end, next_seq;
static struct log_console *consoles;
int log_level = 7;
void (*log_wake)(void);
bool log_lockless;

static struct record *at(u64 pos)
{
	return (struct record *)&ring[pos % RING_BYTES];
}

static void make_room(u64 upto)
{
	while (upto - first > RING_BYTES)
		first += at(first)->size;
}

static struct record *append(unsigned level, const char *text, size_t n)
{
	size_t size = ALIGN_UP(sizeof(struct record) + n, 8UL);
	size_t to_end = RING_BYTES - end % RING_BYTES;
	struct record *r;

	if (to_end < size) {
		make_room(end + to_end);
		r = at(end);
		r->size = (u16)to_end; /* smaller than a record: at most 1 KiB */
		r->level = FILLER;
		end += to_end;
	}
	make_room(end + size);
	r = at(end);
	*r = (struct record){
		.size = (u16)size, .level = (u8)level, .bytes = (u32)n, .time_ns = clock_ns(), .seq = next_seq++
	};
	memcpy(r->text, text, n);
	end += size;
	return r;
}

static void print_on(struct log_console *c, const struct record *r)
{
	char line[560];
	int n;

	if (r->level == FILLER || (int)r->level >= min(c->level, log_level))
		return;
	n = str_format(line, sizeof(line), "[%5lu.%06lu] %.*s\n", r->time_ns / (u64)NSEC_PER_SEC,
		       r->time_ns / 1000 % 1000000, (int)r->bytes, r->text);
	c->write(c, line, min((size_t)n, sizeof(line) - 1));
}

static ulong log_lock(void)
{
	return log_lockless ? irq_save() : spin_lock_irqsave(&lock);
}

static void log_unlock(ulong flags)
{
	if (log_lockless)
		irq_restore(flags);
	else
		spin_unlock_irqrestore(&lock, flags);
}

void log_vprint(enum log_level level, const char *fmt, va_list ap)
{
	char text[512];
	int n = str_vformat(text, sizeof(text), fmt, ap);
	ulong flags = log_lock();
	struct record *r;

	n = min(n, (int)sizeof(text) - 1);
	while (n > 0 && text[n - 1] == '\n')
		n--;
	r = append(level, text, n);
	for (struct log_console *c = consoles; c; c = c->next)
		print_on(c, r);
	log_unlock(flags);
	if (log_wake && !log_lockless)
		log_wake();
}

void log_print(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vprint(level, fmt, ap);
	va_end(ap);
}

int fail(int err, const char *fmt, ...)
{
	return -err;
}

void log_console_register(struct log_console *c)
{
	ulong flags = log_lock();

	for (u64 pos = first; pos < end; pos += at(pos)->size)
		print_on(c, at(pos));
	c->next = consoles;
	consoles = c;
	log_unlock(flags);
}

int log_read(u64 *pos, struct log_line *out)
{
	ulong flags = log_lock();
	int n = -EAGAIN;

	*pos = max(*pos, first);
	while (*pos < end && at(*pos)->level == FILLER)
		*pos += at(*pos)->size;
	if (*pos < end) {
		const struct record *r = at(*pos);

		n = (int)r->bytes;
		out->seq = r->seq;
		out->time_ns = r->time_ns;
		out->level = r->level;
		memcpy(out->text, r->text, n);
		out->text[n] = '\0';
		*pos += r->size;
	}
	log_unlock(flags);
	return n;
}

u64 log_end(void)
{
	return READ_ONCE(end);
}

void log_init(void)
{
	char value[8];
	u64 n;

	if (boot_param("quiet", value, sizeof(value)))
		log_level = LOG_WARN;
	if (boot_param("loglevel", value, sizeof(value)) && !str_to_u64(value, 10, &n))
		log_level = (int)min(n, (u64)8);
}
