/* SPDX-License-Identifier: MIT
 *
 * Problem: whether a partition of a cache works, and which lines CPUs fight over, shows in caches that emulated
 * machines do not have.
 *
 * Idea: two independent structures, both fed with every access. The cache is an array of sets; a set holds tags, and
 * either a stamp of last use a way (LRU) or one bit a node of a binary tree (PLRU; the bit points to the half to
 * evict from, and a choice among allowed ways follows the bits as far as the mask lets it). The directory is a hash
 * table from line number to {last writer, readers since, counts}.
 *
 *      directory: write by A -> writer A, holders {A};  read by B -> holders {A,B}, modified no more
 *      read, write or locked op by B while A has it modified = "hitm" of that kind
 *
 * Contract: model.h. Slices: parity of address bits, after Maurice et al., "Reverse Engineering Intel Last-Level
 * Cache Complex Addressing Using Performance Counters", RAID 2015.
 *
 * Locks: none.
 */
#include <stdlib.h>
#include <string.h>
#include "model.h"

#define EMPTY     UINT64_MAX
#define NO_WRITER 0xff
#define TOP_LINES 16

struct owner {
	uint64_t line; /* EMPTY: free slot */
	uint64_t holders;
	uint64_t accesses, upgrades;
	uint64_t hitm[3];
	uint64_t written; /* bytes of the line, one bit each (lines of 64 bytes) */
	uint64_t read;
	uint64_t lockers, locked; /* who did locked operations since the last reset, and how many */
	uint8_t writer;           /* who has it modified, or NO_WRITER */
};

struct model {
	struct model_config config;
	uint64_t sets;   /* of one slice */
	uint64_t *tag;   /* [slice][set][way] */
	uint64_t *stamp; /* LRU: last use, same shape; PLRU: [slice][set] tree bits */
	uint64_t now;
	uint32_t ways_of[MODEL_REQUESTORS];
	struct model_counts requestor[MODEL_REQUESTORS];
	struct model_counts colour[MODEL_COLOURS];
	struct model_cpu_counts cpu[MODEL_CPUS];
	struct owner *owners;
	uint64_t owner_slots, owner_used; /* slots: a power of two */
};

static bool is_power_of_two(uint64_t v)
{
	return v && !(v & (v - 1));
}

static const char *check_config(const struct model_config *c)
{
	if (!is_power_of_two(c->line) || c->line < 16 || c->line > 64)
		return "line must be 16, 32 or 64";
	if (!c->ways || c->ways > 32 || (c->policy == MODEL_PLRU && !is_power_of_two(c->ways)))
		return "ways must be 1..32, a power of two for plru";
	if (!is_power_of_two(c->slices) || c->slices > 8)
		return "slices must be 1, 2, 4 or 8";
	if (!is_power_of_two(c->colours) || c->colours > MODEL_COLOURS)
		return "colours must be a power of two up to 64";
	if (!is_power_of_two(c->bytes / ((uint64_t)c->slices * c->ways * c->line)) ||
	    c->bytes % ((uint64_t)c->slices * c->ways * c->line))
		return "bytes must give each slice a power of two of sets";
	return NULL;
}

struct model *model_create(const struct model_config *c, const char **why)
{
	struct model *m;
	uint64_t lines;

	*why = check_config(c);
	if (*why)
		return NULL;
	*why = "out of memory";
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	lines = c->bytes / c->line;
	m->config = *c;
	m->sets = lines / c->ways / c->slices;
	m->tag = malloc(lines * sizeof(*m->tag));
	m->stamp = calloc(lines, sizeof(*m->stamp));
	m->owner_slots = 1 << 16;
	m->owners = malloc(m->owner_slots * sizeof(*m->owners));
	if (!m->tag || !m->stamp || !m->owners) {
		model_destroy(m);
		return NULL;
	}
	memset(m->tag, 0xff, lines * sizeof(*m->tag));
	memset(m->owners, 0xff, m->owner_slots * sizeof(*m->owners));
	memset(m->ways_of, 0xff, sizeof(m->ways_of));
	return m;
}

void model_destroy(struct model *m)
{
	free(m->tag);
	free(m->stamp);
	free(m->owners);
	free(m);
}

void model_set_ways(struct model *m, unsigned requestor, uint32_t ways)
{
	m->ways_of[requestor] = ways;
}

/* ---- the cache ----------------------------------------------------------------------------------------- */

static unsigned slice_of(const struct model *m, uint64_t line)
{
	static const uint64_t hash[3] = { 0x1b5f575440, 0x2eb5faa880, 0x3cccc93100 };
	uint64_t paddr = line * m->config.line;
	unsigned slice = 0;

	for (unsigned bit = 0; 1u << bit < m->config.slices; bit++)
		slice |= __builtin_parityll(paddr & hash[bit]) << bit;
	return slice;
}

/* PLRU: node 1 is the root, children of n are 2n and 2n+1, leaves are ways. */
static void plru_touch(uint64_t *tree, unsigned ways, unsigned way)
{
	for (unsigned node = ways + way; node > 1; node /= 2) {
		uint64_t bit = 1ull << node / 2;

		*tree = node & 1 ? *tree & ~bit : *tree | bit; /* point away from it */
	}
}

static bool subtree_allowed(uint32_t allowed, unsigned ways, unsigned node)
{
	unsigned first = node, last = node;

	while (first < ways)
		first *= 2, last = last * 2 + 1;
	for (unsigned leaf = first; leaf <= last; leaf++)
		if (allowed >> (leaf - ways) & 1)
			return true;
	return false;
}

static unsigned plru_victim(uint64_t tree, unsigned ways, uint32_t allowed)
{
	unsigned node = 1;

	while (node < ways) {
		unsigned want = node * 2 + (tree >> node & 1);

		node = subtree_allowed(allowed, ways, want) ? want : want ^ 1;
	}
	return node - ways;
}

static unsigned lru_victim(const uint64_t *stamp, unsigned ways, uint32_t allowed)
{
	unsigned victim = __builtin_ctz(allowed);

	for (unsigned w = 0; w < ways; w++)
		if ((allowed >> w & 1) && stamp[w] < stamp[victim])
			victim = w;
	return victim;
}

static bool lookup(struct model *m, unsigned requestor, uint64_t line)
{
	unsigned ways = m->config.ways, way;
	uint64_t set = slice_of(m, line) * m->sets + line % m->sets;
	uint64_t *tag = &m->tag[set * ways], *stamp = &m->stamp[set * ways];
	uint32_t all = ways == 32 ? UINT32_MAX : (1u << ways) - 1, allowed = m->ways_of[requestor] & all;
	bool hit;

	for (way = 0; way < ways && tag[way] != line; way++)
		;
	hit = way < ways;
	if (!hit) {
		if (!allowed)
			allowed = all;
		for (way = 0; way < ways && !((allowed >> way & 1) && tag[way] == EMPTY); way++)
			;
		if (way == ways)
			way = m->config.policy == MODEL_LRU ? lru_victim(stamp, ways, allowed)
							    : plru_victim(stamp[0], ways, allowed);
		tag[way] = line;
	}
	if (m->config.policy == MODEL_LRU)
		stamp[way] = ++m->now;
	else
		plru_touch(&stamp[0], ways, way);
	return hit;
}

/* ---- ownership -------------------------------------------------------------------------------------------- */

static struct owner *find_slot(struct owner *table, uint64_t slots, uint64_t line)
{
	uint64_t i = line * 0x9e3779b97f4a7c15ull >> 20 & (slots - 1);

	while (table[i].line != EMPTY && table[i].line != line)
		i = (i + 1) & (slots - 1);
	return &table[i];
}

static bool grow_owners(struct model *m)
{
	uint64_t slots = m->owner_slots * 2;
	struct owner *bigger = malloc(slots * sizeof(*bigger));

	if (!bigger)
		return false;
	memset(bigger, 0xff, slots * sizeof(*bigger));
	for (uint64_t i = 0; i < m->owner_slots; i++)
		if (m->owners[i].line != EMPTY)
			*find_slot(bigger, slots, m->owners[i].line) = m->owners[i];
	free(m->owners);
	m->owners = bigger;
	m->owner_slots = slots;
	return true;
}

static struct owner *find_owner(struct model *m, uint64_t line)
{
	struct owner *o = find_slot(m->owners, m->owner_slots, line);

	if (o->line == line)
		return o;
	if (m->owner_used * 4 > m->owner_slots * 3) {
		if (!grow_owners(m))
			return NULL;
		o = find_slot(m->owners, m->owner_slots, line);
	}
	m->owner_used++;
	*o = (struct owner){ .line = line, .writer = NO_WRITER };
	return o;
}

static void own(struct model *m, unsigned cpu, uint64_t line, unsigned offset, unsigned bytes, enum model_op op)
{
	struct owner *o = find_owner(m, line);
	uint64_t self = 1ull << cpu;
	uint64_t touched = (bytes >= 64 ? ~0ull : (1ull << bytes) - 1) << offset;

	if (!o)
		return; /* out of memory: this line goes unrecorded, the report says how many lines there are */
	o->accesses++;
	if (op == MODEL_LOCKED) {
		o->lockers |= self;
		o->locked++;
	}
	if (o->writer != NO_WRITER && o->writer != cpu) {
		o->hitm[op]++;
		m->cpu[cpu].hitm[op]++;
		o->writer = NO_WRITER;
	} else if (op != MODEL_LOAD && (o->holders & ~self)) {
		o->upgrades++;
		m->cpu[cpu].upgrades++;
	}
	if (op == MODEL_LOAD) {
		o->holders |= self;
		o->read |= touched;
	} else {
		o->holders = self;
		o->writer = cpu;
		o->written |= touched;
	}
}

/* ---- feeding and reading ------------------------------------------------------------------------------------ */

void model_access(struct model *m, unsigned cpu, unsigned requestor, uint64_t paddr, unsigned bytes, enum model_op op)
{
	uint64_t end = paddr + bytes;

	m->cpu[cpu].ops[op]++;
	while (paddr < end) {
		uint64_t line = paddr / m->config.line;
		unsigned offset = paddr % m->config.line;
		unsigned part = m->config.line - offset;
		unsigned colour = paddr / 4096 % m->config.colours;
		bool hit = lookup(m, requestor, line);

		if (part > end - paddr)
			part = end - paddr;
		m->requestor[requestor].accesses++;
		m->requestor[requestor].misses += !hit;
		m->colour[colour].accesses++;
		m->colour[colour].misses += !hit;
		own(m, cpu, line, offset, part, op);
		paddr += part;
	}
}

void model_reset_counts(struct model *m)
{
	memset(m->requestor, 0, sizeof(m->requestor));
	memset(m->colour, 0, sizeof(m->colour));
	memset(m->cpu, 0, sizeof(m->cpu));
	for (uint64_t i = 0; i < m->owner_slots; i++) {
		struct owner *o = &m->owners[i];

		if (o->line == EMPTY)
			continue;
		o->accesses = o->upgrades = o->written = o->read = o->lockers = o->locked = 0;
		memset(o->hitm, 0, sizeof(o->hitm));
	}
}

const struct model_counts *model_requestor(const struct model *m, unsigned requestor)
{
	return &m->requestor[requestor];
}

const struct model_counts *model_colour(const struct model *m, unsigned colour)
{
	return &m->colour[colour];
}

const struct model_cpu_counts *model_cpu(const struct model *m, unsigned cpu)
{
	return &m->cpu[cpu];
}

uint64_t model_shared_locked(const struct model *m)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < m->owner_slots; i++) {
		const struct owner *o = &m->owners[i];

		if (o->line != EMPTY && (o->lockers & (o->lockers - 1)))
			n += o->locked;
	}
	return n;
}

static uint64_t fights(const struct owner *o)
{
	return o->line == EMPTY ? 0 : o->hitm[0] + o->hitm[1] + o->hitm[2];
}

static void report_lines(const struct model *m, FILE *out)
{
	const struct owner *top[TOP_LINES] = { 0 };

	for (uint64_t i = 0; i < m->owner_slots; i++) {
		const struct owner *o = &m->owners[i];
		unsigned at = TOP_LINES;

		if (!fights(o))
			continue;
		while (at && (!top[at - 1] || fights(top[at - 1]) < fights(o)))
			at--;
		if (at == TOP_LINES)
			continue;
		memmove(&top[at + 1], &top[at], (TOP_LINES - 1 - at) * sizeof(*top));
		top[at] = o;
	}
	for (unsigned i = 0; i < TOP_LINES && top[i]; i++)
		fprintf(out,
			"line %#llx accesses=%llu hitm_loads=%llu hitm_stores=%llu hitm_locked=%llu upgrades=%llu "
			"read=%016llx written=%016llx\n",
			(unsigned long long)top[i]->line * m->config.line, (unsigned long long)top[i]->accesses,
			(unsigned long long)top[i]->hitm[0], (unsigned long long)top[i]->hitm[1],
			(unsigned long long)top[i]->hitm[2], (unsigned long long)top[i]->upgrades,
			(unsigned long long)top[i]->read, (unsigned long long)top[i]->written);
}

static void report_counts(FILE *out, const char *what, unsigned n, const struct model_counts *c)
{
	if (c->accesses)
		fprintf(out, "%s %u accesses=%llu misses=%llu\n", what, n, (unsigned long long)c->accesses,
			(unsigned long long)c->misses);
}

void model_report(const struct model *m, FILE *out)
{
	struct model_counts total = { 0 };

	for (unsigned i = 0; i < MODEL_REQUESTORS; i++) {
		total.accesses += m->requestor[i].accesses;
		total.misses += m->requestor[i].misses;
	}
	fprintf(out, "total accesses=%llu misses=%llu lines=%llu shared_locked=%llu\n",
		(unsigned long long)total.accesses, (unsigned long long)total.misses, (unsigned long long)m->owner_used,
		(unsigned long long)model_shared_locked(m));
	for (unsigned i = 0; i < MODEL_REQUESTORS; i++)
		report_counts(out, "requestor", i, &m->requestor[i]);
	for (unsigned i = 0; i < m->config.colours; i++)
		report_counts(out, "colour", i, &m->colour[i]);
	for (unsigned i = 0; i < MODEL_CPUS; i++) {
		const struct model_cpu_counts *c = &m->cpu[i];

		if (c->ops[0] + c->ops[1] + c->ops[2])
			fprintf(out,
				"cpu %u loads=%llu stores=%llu locked=%llu hitm_loads=%llu hitm_stores=%llu "
				"hitm_locked=%llu upgrades=%llu\n",
				i, (unsigned long long)c->ops[0], (unsigned long long)c->ops[1],
				(unsigned long long)c->ops[2], (unsigned long long)c->hitm[0],
				(unsigned long long)c->hitm[1], (unsigned long long)c->hitm[2],
				(unsigned long long)c->upgrades);
	}
	report_lines(m, out);
}
