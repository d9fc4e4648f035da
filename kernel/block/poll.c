/* SPDX-License-Identifier: MIT
 *
 * Problem: spinning for a completion gives the best latency and burns the whole service time; Linux 4.10 slept for half
 * of the mean, which is too short where times are tight and wrong where they have two humps.
 *
 * Idea: keep a histogram of completion times (16 buckets an octave) for each direction and size class. A plan is a
 * list of waits over elapsed time. From any point t the rest of the histogram says when the next completions are to
 * be expected: if the time until a low quantile of them is worth a sleep, sleep until that less the wake-up cost; else
 * spin through. Two humps give sleep, spin, sleep, spin; after the last hump comes the interrupt.
 *
 *      density   __         ____
 *         ______/  \_______/    \______
 *      plan ssss*****sssss********iiii      s sleep, * spin, i interrupt
 *
 * Plans for several quantiles, classic spinning and the plain interrupt are priced on the same histogram: CPU time,
 * plus eight times the latency. The cheapest is taken whose mean latency is within 1/16 of spinning's, and not above
 * the interrupt's. Where that is the interrupt, one request in a few is spun for, which tells the true service time and
 * whether the device has changed; the others cost a look at the plan, which the latency of those few makes up for.
 *
 * A request found complete after a sleep tells only that it was faster than that; where the device interrupts, a sleep
 * that ends by that was too long as well (what is seen to complete was done a little before). When these pass an eighth
 * of the sleeps, sleeps end earlier from the next plan on. Where that does not help, the class is forgotten and learned
 * anew by spinning: so a device that becomes faster is noticed.
 *
 * Contract: block/poll.h. Locks: the queue's; poll_next is lock-free by the plan's sequence count.
 */
#include <alloc/slab.h>
#include <lib/atomic.h>
#include <lib/err.h>
#include <lib/string.h>
#include <block/poll.h>

#define SUB_BITS     4
#define SUB          (1u << SUB_BITS)
#define FIRST_OCTAVE 9 /* 512 ns */
#define OCTAVES      22
#define BUCKETS      (OCTAVES * SUB)

#define SPARSE           16  /* where requests are left to the interrupt, one in so many is polled for */
#define ENOUGH           32  /* samples before a plan */
#define REPLAN           128 /* samples between plans */
#define DECAY            512 /* total at which the histogram is halved */
#define GUARD_DIV        64
#define OVERSLEPT_DIV    8 /* this part of the sleeps may end by the interrupt */
#define OVERSLEPT_ENOUGH 16
#define MARGIN_STEP_NS   512
#define MARGIN_MOST_NS   4000
#define MARGIN_DECAY_DIV 32
#define LATENCY_DIV      16 /* a plan may add this part of the mean latency */
#define LATENCY_WEIGHT   8  /* CPU time that a waiter who asked for polling would pay for latency */

struct poll_class {
	u16 count[BUCKETS];
	unsigned low, high; /* [low, high): where count is not 0 */
	u32 total;
	u32 since_plan;
	u32 window, late;     /* recent completions, and those found complete after a sleep */
	u32 slept, overslept; /* since the plan: sleeps, and those that the device's interrupt ended */
	u64 margin_ns;        /* how much earlier they end for that */
	u32 passed;           /* requests that the interrupt was left; any writer, for it need not be exact */
	struct poll_plan plan;
};

/* ---- the histogram --------------------------------------------------------------------------------------- */

static unsigned bucket_of(u64 ns)
{
	unsigned octave;

	if (ns < 1u << FIRST_OCTAVE)
		return 0;
	octave = 63 - __builtin_clzll(ns);
	if (octave >= FIRST_OCTAVE + OCTAVES)
		return BUCKETS - 1;
	return (octave - FIRST_OCTAVE) * SUB + (ns >> (octave - SUB_BITS) & (SUB - 1));
}

static u64 bucket_start(unsigned b)
{
	unsigned octave = FIRST_OCTAVE + b / SUB;

	return (1ull << octave) + ((u64)(b % SUB) << (octave - SUB_BITS));
}

static u64 bucket_middle(unsigned b)
{
	return (bucket_start(b) + bucket_start(b + 1)) / 2;
}

static void halve(struct poll_class *c)
{
	unsigned low = BUCKETS, high = 0;

	c->total = 0;
	for (unsigned b = c->low; b < c->high; b++) {
		c->total += c->count[b] /= 2;
		if (c->count[b]) {
			low = min(low, b);
			high = b + 1;
		}
	}
	c->low = low;
	c->high = high;
}

/* The bucket in which the quantile (in 1/1024) of what lies at and after `from` falls; BUCKETS if nothing does. */
static unsigned quantile_after(const struct poll_class *c, unsigned from, unsigned q1024)
{
	u32 rest = 0, want, seen = 0;

	from = max(from, c->low);
	for (unsigned b = from; b < c->high; b++)
		rest += c->count[b];
	want = (u64)rest * q1024 / 1024;
	for (unsigned b = from; b < c->high; b++) {
		seen += c->count[b];
		if (seen > want)
			return b;
	}
	return BUCKETS;
}

/* ---- plans ------------------------------------------------------------------------------------------------ */

/* How long before a completion's bucket a sleep ends: the wake-up's cost, and a part of the time for what lies close to
 * the bucket's start, where the device's own interrupt would come first. */
static u64 lead_ns(const struct poll_queue *q, const struct poll_class *c, u64 due)
{
	return q->wake_ns + q->wake_dev_ns + due / GUARD_DIV + c->margin_ns;
}

static void adjust_margin(struct poll_class *c)
{
	if (c->overslept > c->slept / OVERSLEPT_DIV)
		c->margin_ns += MARGIN_STEP_NS + c->margin_ns / 2;
	else if (c->slept && !c->overslept)
		c->margin_ns -= c->margin_ns / MARGIN_DECAY_DIV;
	c->slept = c->overslept = 0;
}

static void add_step(struct poll_plan *p, enum poll_kind kind, u64 until_ns)
{
	if (p->nr_steps && p->step[p->nr_steps - 1].kind == kind)
		p->nr_steps--;
	if (p->nr_steps < POLL_PLAN_STEPS)
		p->step[p->nr_steps++] = (struct poll_step){ kind, until_ns };
}

/* Sleeps before each cluster of completions, spins through it. */
static void make_hybrid(const struct poll_queue *q, const struct poll_class *c, unsigned q1024, struct poll_plan *p)
{
	u64 now = 0;
	unsigned b = 0;

	*p = (struct poll_plan){ 0 };
	while (b < BUCKETS && p->nr_steps + 2 < POLL_PLAN_STEPS) {
		unsigned next = quantile_after(c, b, q1024);
		u64 due, lead;

		if (next == BUCKETS)
			break;
		due = bucket_start(next);
		lead = lead_ns(q, c, due);
		if (due > now + lead + 2 * q->sleep_cpu_ns) {
			now = due - lead;
			add_step(p, POLL_SLEEP, now);
			b = next;
		}
		now = max(now, bucket_start(b + 1));
		add_step(p, POLL_SPIN, now);
		b++;
	}
	/* Nothing that the histogram knows takes longer. */
	add_step(p, POLL_INTERRUPT, UINT64_MAX);
}

static void make_single(enum poll_kind kind, struct poll_plan *p)
{
	*p = (struct poll_plan){ .nr_steps = 1, .step = { { kind, UINT64_MAX } } };
}

/* What the plan costs a request that completes at t: adds to latency and CPU time. */
static void price_one(const struct poll_queue *q, const struct poll_plan *p, u64 t, u64 weight, u64 *latency, u64 *cpu)
{
	u64 from = 0;

	for (unsigned i = 0; i < p->nr_steps; i++) {
		const struct poll_step *s = &p->step[i];
		bool here = t <= s->until_ns;

		if (s->kind == POLL_SPIN)
			*cpu += weight * ((here ? max(t, from) : s->until_ns) - from);
		if (s->kind == POLL_SLEEP)
			*cpu += weight * q->sleep_cpu_ns;
		if (s->kind == POLL_INTERRUPT)
			*cpu += weight * q->interrupt_cpu_ns;
		from = s->kind == POLL_SLEEP ? s->until_ns + q->wake_ns : s->until_ns;
		if (!here && t > from)
			continue;
		if (s->kind == POLL_SPIN)
			*latency += weight * max(t, i ? p->step[i - 1].until_ns : 0);
		else if (s->kind == POLL_SLEEP)
			*latency += weight * from;
		else
			*latency += weight * (t + q->interrupt_ns);
		return;
	}
}

static void price(const struct poll_queue *q, const struct poll_class *c, struct poll_plan *p)
{
	u64 latency = 0, cpu = 0;

	for (unsigned b = c->low; b < c->high; b++)
		if (c->count[b])
			price_one(q, p, bucket_middle(b), c->count[b], &latency, &cpu);
	p->latency_ns = latency / c->total;
	p->cpu_ns = cpu / c->total;
}

static void publish(struct poll_plan *to, const struct poll_plan *from)
{
	u32 seq = to->seq;

	WRITE_ONCE(to->seq, seq + 1);
	smp_wmb();
	to->nr_steps = from->nr_steps;
	memcpy(to->step, from->step, sizeof(to->step));
	to->latency_ns = from->latency_ns;
	to->cpu_ns = from->cpu_ns;
	smp_store_release(&to->seq, seq + 2);
}

static u64 cost(const struct poll_plan *p)
{
	return p->cpu_ns + LATENCY_WEIGHT * p->latency_ns;
}

static void replan(const struct poll_queue *q, struct poll_class *c)
{
	static const unsigned quantile[] = { 8, 20, 51, 102 }; /* 0.8, 2, 5, 10 % */
	struct poll_plan best, p;
	u64 limit;

	adjust_margin(c);
	make_single(POLL_SPIN, &best);
	price(q, c, &best);
	limit = best.latency_ns + best.latency_ns / LATENCY_DIV;
	make_single(POLL_INTERRUPT, &p);
	price(q, c, &p);
	limit = min(limit, p.latency_ns);
	if (p.latency_ns <= limit && cost(&p) < cost(&best))
		best = p;
	for (unsigned i = 0; i < ARRAY_SIZE(quantile); i++) {
		make_hybrid(q, c, quantile[i], &p);
		price(q, c, &p);
		if (p.latency_ns <= limit && cost(&p) < cost(&best))
			best = p;
	}
	publish(&c->plan, &best);
	c->since_plan = 0;
}

/* ---- the queue ---------------------------------------------------------------------------------------------- */

void poll_queue_init(struct poll_queue *q)
{
	*q = (struct poll_queue){ .delay_ns = -1,
				  .wake_ns = 2000,
				  .wake_dev_ns = 1000,
				  .sleep_cpu_ns = 2000,
				  .interrupt_ns = 4000,
				  .interrupt_cpu_ns = 3000 };
}

void poll_queue_free(struct poll_queue *q)
{
	for (unsigned i = 0; i < 2 * POLL_SIZE_CLASSES; i++)
		kfree(q->cls[i / POLL_SIZE_CLASSES][i % POLL_SIZE_CLASSES]);
	memset(q->cls, 0, sizeof(q->cls));
}

int poll_delay_parse(const char *text, s64 *delay_ns)
{
	s64 us;

	if (str_to_s64(text, 10, &us) || us < -1 || us > INT32_MAX)
		return -EINVAL;
	*delay_ns = us < 0 ? -1 : us * (s64)NSEC_PER_USEC;
	return 0;
}

static unsigned size_class(u32 bytes)
{
	unsigned log = bytes <= 512 ? 0 : 32 - __builtin_clz((bytes - 1) >> 9);

	return min(log, POLL_SIZE_CLASSES - 1u);
}

static struct poll_step fixed_step(u64 delay_ns, u64 elapsed_ns)
{
	if (elapsed_ns < delay_ns)
		return (struct poll_step){ POLL_SLEEP, delay_ns };
	return (struct poll_step){ POLL_SPIN, UINT64_MAX };
}

struct poll_step poll_next(const struct poll_queue *q, bool write, u32 bytes, u64 elapsed_ns, bool contended)
{
	const struct poll_class *c = q->cls[write][size_class(bytes)];
	struct poll_step s;
	u32 seq;

	if (contended)
		return (struct poll_step){ POLL_INTERRUPT, UINT64_MAX };
	if (q->delay_ns > 0)
		return fixed_step(q->delay_ns, elapsed_ns);
	if (q->delay_ns < 0 || !c)
		return (struct poll_step){ POLL_SPIN, UINT64_MAX };
	do {
		seq = smp_load_acquire(&c->plan.seq) & ~1u;
		s = (struct poll_step){ POLL_SPIN, UINT64_MAX };
		for (unsigned i = 0; i < READ_ONCE(c->plan.nr_steps); i++) {
			s = c->plan.step[i];
			if (elapsed_ns < s.until_ns)
				break;
		}
		smp_rmb();
	} while (READ_ONCE(c->plan.seq) != seq);
	return s;
}

static void forget(struct poll_class *c)
{
	struct poll_plan classic = { 0 };

	memset(c->count, 0, sizeof(c->count));
	c->low = BUCKETS;
	c->high = 0;
	c->total = c->since_plan = c->window = c->late = c->slept = c->overslept = 0;
	c->margin_ns = 0;
	publish(&c->plan, &classic);
}

/* Requests are found complete after their sleep: it was a bit too long, or the device has become another one. */
static void come_earlier(const struct poll_queue *q, struct poll_class *c)
{
	if (c->margin_ns > MARGIN_MOST_NS || !c->total) {
		forget(c);
		return;
	}
	c->late = 0;
	replan(q, c);
}

/* A plan that is replaced meanwhile may give the wrong answer: one sample more or less. */
enum poll_way poll_way(struct poll_queue *q, bool write, u32 bytes)
{
	struct poll_class *c = smp_load_acquire(&q->cls[write][size_class(bytes)]);
	u32 passed;

	if (!c || q->delay_ns || READ_ONCE(c->plan.nr_steps) != 1 || c->plan.step[0].kind != POLL_INTERRUPT)
		return POLL_PLANNED;
	passed = READ_ONCE(c->passed) + 1;
	WRITE_ONCE(c->passed, passed);
	return passed % SPARSE ? POLL_LEFT : POLL_WATCHED;
}

void poll_record(struct poll_queue *q, bool write, u32 bytes, u64 service_ns, bool exact)
{
	struct poll_class **slot = &q->cls[write][size_class(bytes)], *c = *slot;
	unsigned b;

	if (!c) {
		c = kzalloc(sizeof(*c), ALLOC_ATOMIC);
		if (!c)
			return;
		c->low = BUCKETS;
		smp_store_release(slot, c);
	}
	if (++c->window == 64)
		c->window = c->late = 0;
	if (!exact) {
		c->overslept++;
		if (++c->late > 8)
			come_earlier(q, c);
		return;
	}
	b = bucket_of(service_ns);
	c->count[b]++;
	c->low = min(c->low, b);
	c->high = max(c->high, b + 1);
	if (++c->total >= DECAY)
		halve(c);
	c->since_plan++;
	if (c->total == ENOUGH || c->since_plan >= REPLAN ||
	    (c->overslept >= OVERSLEPT_ENOUGH && c->overslept > c->slept / OVERSLEPT_DIV))
		replan(q, c);
}

/* Mean and mean deviation, weight 1/8. */
static void learn(u64 *mean, u64 *dev, u64 sample)
{
	s64 off = (s64)sample - (s64)*mean;

	*mean = *mean + off / 8;
	if (dev)
		*dev = *dev + ((off < 0 ? -off : off) - (s64)*dev) / 8;
}

void poll_learn_end(struct poll_queue *q, bool write, u32 bytes, bool overslept)
{
	struct poll_class *c = q->cls[write][size_class(bytes)];

	if (!c)
		return;
	c->slept++;
	c->overslept += overslept;
}

void poll_learn_sleep(struct poll_queue *q, u64 late_ns, u64 cpu_ns)
{
	learn(&q->wake_ns, &q->wake_dev_ns, late_ns);
	learn(&q->sleep_cpu_ns, NULL, cpu_ns);
}

void poll_learn_interrupt(struct poll_queue *q, u64 late_ns, u64 cpu_ns)
{
	learn(&q->interrupt_ns, NULL, late_ns);
	learn(&q->interrupt_cpu_ns, NULL, cpu_ns);
}

void poll_show(const struct poll_queue *q, struct strbuf *out)
{
	static const char *const word[] = { "spin", "sleep", "interrupt" };

	for (unsigned i = 0; i < 2 * POLL_SIZE_CLASSES; i++) {
		const struct poll_class *c = q->cls[i / POLL_SIZE_CLASSES][i % POLL_SIZE_CLASSES];

		if (!c)
			continue;
		strbuf_add(out, "%s (%u Bytes): samples=%u, latency=%llu, cpu=%llu, plan=",
			   i < POLL_SIZE_CLASSES ? "read" : "write", 512u << i % POLL_SIZE_CLASSES, c->total,
			   (unsigned long long)c->plan.latency_ns, (unsigned long long)c->plan.cpu_ns);
		for (unsigned s = 0; s < c->plan.nr_steps; s++) {
			strbuf_add(out, "%s%s", s ? "," : "", word[c->plan.step[s].kind]);
			if (c->plan.step[s].until_ns != UINT64_MAX)
				strbuf_add(out, ":%llu", (unsigned long long)c->plan.step[s].until_ns);
		}
		strbuf_put(out, "\n", 1);
	}
}
