/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest that has a whole device must be able to use it, and must not be able to use it against anybody.
 *
 * Idea: an NVMe controller, driven without a kernel: reset, identified, a block written and read back, completions told
 * by interrupts. Then the guest turns on its host: the controller is told to read commands and to write data where the
 * guest has no memory, also where the host surely has some. It must go on working for the guest after a reset.
 *
 * Contract: prints `ok NAME` a part; status 0 or 1. The command line's first letter: `u` only uses it, `h` is hostile,
 * too. Locks: none. Source: NVM Express 1.4, sections 3, 4, 5, 7.6.1.
 */
#include "bare.h"

#define DEPTH     16
#define ADMIN_SQ  (HEAP + 0x0000)
#define ADMIN_CQ  (HEAP + 0x1000)
#define IO_SQ     (HEAP + 0x2000)
#define IO_CQ     (HEAP + 0x3000)
#define DATA      (HEAP + 0x4000)
#define ELSEWHERE 0x1f000000UL /* the guest has 32 MiB */
#define FAR       0x70000000000UL

struct command {
	uint32_t head, nsid;
	uint64_t unused, metadata, prp1, prp2;
	uint32_t word[6];
};

struct completion {
	uint32_t result, unused;
	uint16_t sq_head, sq, id, status;
};

struct queue {
	struct command *sq;
	volatile struct completion *cq;
	unsigned id, tail, head, phase, interrupts;
};

static unsigned slot;
static volatile uint32_t *reg;
static struct queue admin, io;

static bool wait_ready(unsigned ready)
{
	for (unsigned long i = 0; i < 100000000; i++) {
		uint32_t status = reg[7];

		if (status & 2)
			return false;
		if ((status & 1) == ready)
			return true;
	}
	return false;
}

static void queue_init(struct queue *q, unsigned id, uintptr_t sq, uintptr_t cq)
{
	*q = (struct queue){ .sq = (void *)sq, .cq = (void *)cq, .id = id, .phase = 1, .interrupts = bare_count[id] };
	memset((void *)cq, 0, DEPTH * sizeof(struct completion));
}

static void bell(unsigned n, uint32_t value)
{
	reg[(0x1000 + 4 * n) / 4] = value;
}

static void tell(struct queue *q, const struct command *c)
{
	q->sq[q->tail] = *c;
	q->tail = (q->tail + 1) % DEPTH;
	__asm__ volatile("" ::: "memory");
	bell(2 * q->id, q->tail);
}

/* The command's status; the answer comes by interrupt. */
static unsigned run(struct queue *q, struct command c)
{
	volatile struct completion *done = &q->cq[q->head];
	unsigned status;

	tell(q, &c);
	wait_interrupt(q->id, ++q->interrupts);
	check((done->status & 1) == q->phase, "a completion behind the interrupt");
	status = done->status >> 1;
	q->head = (q->head + 1) % DEPTH;
	q->phase ^= q->head == 0;
	bell(2 * q->id + 1, q->head);
	return status;
}

static void enable(uintptr_t sq)
{
	pci_put(slot, 4, 6);
	reg[5] = 0;
	check(wait_ready(0), "disabled");
	queue_init(&admin, 0, ADMIN_SQ, ADMIN_CQ);
	msix_on(slot, 0, 0);
	msix_on(slot, 1, 1);
	reg[9] = (DEPTH - 1) << 16 | (DEPTH - 1);
	reg[10] = (uint32_t)sq;
	reg[11] = (uint32_t)(sq >> 32);
	reg[12] = (uint32_t)ADMIN_CQ;
	reg[13] = 0;
	reg[5] = 4 << 20 | 6 << 16 | 1;
	check(wait_ready(1), "enabled");
}

static unsigned identify(uintptr_t to)
{
	return run(&admin, (struct command){ .head = 6, .prp1 = to, .word = { 1 } });
}

static unsigned transfer(bool write, uintptr_t at)
{
	return run(&io, (struct command){ .head = write ? 1 : 2, .nsid = 1, .prp1 = at, .word = { 8, 0, 7 } });
}

static void make_queues(void)
{
	queue_init(&io, 1, IO_SQ, IO_CQ);
	check(run(&admin,
		  (struct command){ .head = 5, .prp1 = IO_CQ, .word = { (DEPTH - 1) << 16 | 1, 1 << 16 | 3 } }) == 0 &&
		      run(&admin, (struct command){ .head = 1,
						    .prp1 = IO_SQ,
						    .word = { (DEPTH - 1) << 16 | 1, 1 << 16 | 1 } }) == 0,
	      "queues");
}

static void use(uint8_t seed)
{
	uint8_t *data = (void *)DATA;

	enable(ADMIN_SQ);
	check(identify(DATA) == 0 && data[4] == 'p' && data[5] == 'a', "identified");
	make_queues();
	for (unsigned i = 0; i < 4096; i++)
		data[i] = (uint8_t)(i * 7 + seed);
	check(transfer(true, DATA) == 0, "a write");
	memset(data, 0, 4096);
	check(transfer(false, DATA) == 0, "a read");
	for (unsigned i = 0; i < 4096; i++)
		check(data[i] == (uint8_t)(i * 7 + seed), "what was written");
}

/* Wherever it goes, it does not come here; and if the controller answers at all, it is no good answer about memory. */
static void attack(void)
{
	static const uint64_t targets[] = { ELSEWHERE, 0x100000000UL, FAR };

	for (unsigned i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		enable(ADMIN_SQ);
		tell(&admin, &(struct command){ .head = 6, .prp1 = targets[i], .word = { 1 } });
		for (volatile int n = 0; n < 1000000; n++)
			;
	}
	say("ok wrote where it has nothing\n");
	for (unsigned i = 0; i < 40; i++) {
		enable(ELSEWHERE);
		bell(0, 1);
		for (volatile int n = 0; n < 300000; n++)
			;
	}
	say("ok read where it has nothing\n");
}

static int bare_main(void)
{
	for (unsigned n = 1; n < 32 && !slot; n++)
		if (pci_get(n, 8) >> 8 == 0x010802)
			slot = n;
	check(slot, "a controller on the bus");
	reg = (void *)pci_bar(slot, 0);
	use(1);
	say("ok used\n");
	if (bare_command()[0] == 'h') {
		attack();
		use(2);
		say("ok used again\n");
	}
	return 0;
}
