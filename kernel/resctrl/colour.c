/* SPDX-License-Identifier: MIT
 *
 * Problem: most processors cannot divide their caches, yet the pages that share cache sets can be
 * told apart by their addresses, and so kept apart by the page allocator.
 *
 * Idea: sets of a slice = bytes / (slices * ways * line); the colours are the set-index bits above
 * the page offset, so count = sets * line / page. A page has one colour in each cache, both low
 * bits of its page number:
 *
 *      page number   ... b4 b3 b2 b1 b0
 *      L2 colour              '-- 4 bits: 16 colours        L3 colour '-- 5 bits: 32 colours
 *
 * so a class's masks for L2 and L3 join into one mask over the larger number of colours: a page
 * colour is allowed if both its L2 colour and its L3 colour are. Masks that leave none are refused
 * before anything changes.
 *
 * Contract: resctrl/colour.h, alloc/colour.h. A hashed slice choice spreads every page over all
 * slices and leaves the index inside a slice plain; where the index itself is hashed, that cache
 * has no colours here.
 *
 * Locks: the resctrl lock.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <resctrl/colour.h>

struct colour_backend {
	struct resctrl_backend be; /* first: the core hands it back */
	struct colour_machine machine;
	const struct colour_allocator_ops *ops;
	void *ctx;
	unsigned colours;            /* of a page, over all caches */
	u32 mask[COLOUR_CLASSES][2]; /* RESCTRL_L3, RESCTRL_L2 */
};

static bool is_power_of_two(u64 v)
{
	return v && !(v & (v - 1));
}

unsigned colour_count(const struct colour_cache *c)
{
	u64 sets;

	if (!c->bytes || !c->ways || !c->line || !c->slices || !c->plain_index)
		return 1;
	sets = c->bytes / ((u64)c->slices * c->ways * c->line);
	if (!is_power_of_two(sets) || sets * c->line <= PAGE_SIZE)
		return 1;
	return min(sets * c->line / PAGE_SIZE, (u64)32);
}

static u64 join(const struct colour_backend *b, u32 l3, u32 l2)
{
	const struct resctrl_resource *res = b->be.res;
	u64 mask = 0;

	for (unsigned c = 0; c < b->colours; c++) {
		bool ok3 = !res[RESCTRL_L3].present || (l3 >> c % res[RESCTRL_L3].width & 1);
		bool ok2 = !res[RESCTRL_L2].present || (l2 >> c % res[RESCTRL_L2].width & 1);

		if (ok3 && ok2)
			mask |= BIT(c);
	}
	return mask;
}

u64 colour_backend_mask(const struct colour_backend *b, unsigned cls)
{
	return join(b, b->mask[cls][RESCTRL_L3], b->mask[cls][RESCTRL_L2]);
}

/* ---- back-end ops ---------------------------------------------------------------------------------------- */

static int check(struct resctrl_backend *be, const u32 (*value)[RESCTRL_MAX_DOMAINS], const char **why)
{
	struct colour_backend *b = container_of(be, struct colour_backend, be);
	bool l3 = be->res[RESCTRL_L3].present, l2 = be->res[RESCTRL_L2].present;

	/* rows come in the order L2, L3 */
	if (join(b, l3 ? value[l2][0] : 0, l2 ? value[0][0] : 0))
		return 0;
	*why = "no page has a colour that both the L3 and the L2 mask allow";
	return -EINVAL;
}

static void set(struct resctrl_backend *be, unsigned cls, enum resctrl_resource_id id, enum resctrl_half half,
		unsigned domain, u32 value)
{
	container_of(be, struct colour_backend, be)->mask[cls][id] = value;
}

static void commit(struct resctrl_backend *be, unsigned cls)
{
	struct colour_backend *b = container_of(be, struct colour_backend, be);
	u64 mask = colour_backend_mask(b, cls);

	b->ops->set(b->ctx, cls, mask);
	if (b->ops->recolour)
		b->ops->recolour(b->ctx, cls, mask);
}

static int set_cdp(struct resctrl_backend *be, enum resctrl_resource_id id, bool on)
{
	return on ? -EINVAL : 0;
}

static void describe_guest(const struct colour_backend *b, struct strbuf *out)
{
	u64 need = b->colours * PAGE_SIZE, have = b->machine.host_page_bytes;

	if (!b->machine.is_guest)
		return;
	if (!have)
		strbuf_add(out,
			   "virtual machine: colours are of guest-physical pages; they hold only "
			   "if the host backs the "
			   "guest with pages of %llu KiB or more, which is not known here\n",
			   (unsigned long long)need >> 10);
	else
		strbuf_add(out, "virtual machine: the host's pages of %llu KiB %s the colours\n",
			   (unsigned long long)have >> 10, have >= need ? "preserve" : "DESTROY");
}

static void describe(struct resctrl_backend *be, struct strbuf *out)
{
	struct colour_backend *b = container_of(be, struct colour_backend, be);

	strbuf_add(out, "page colouring, no help from the processor: %u page colours\n", b->colours);
	if (be->res[RESCTRL_L2].present)
		strbuf_add(out, "L2: %u colours (of one core: separates the tasks that share it)\n",
			   be->res[RESCTRL_L2].width);
	if (be->res[RESCTRL_L3].present)
		strbuf_add(out, "L3: %u colours in each of %u slices\n", be->res[RESCTRL_L3].width,
			   b->machine.l3.slices);
	else if (b->machine.l3.bytes)
		strbuf_add(out, "L3: not covered, its index is hashed or too small for colours\n");
	strbuf_add(out,
		   "A mask limits memory too: one page in %u for each page colour. Resident pages "
		   "move in "
		   "the background. Huge pages hold all colours and are not given to a group with a "
		   "partial mask.\n",
		   b->colours);
	if (b->machine.kernel_colours)
		strbuf_add(out, "The kernel and the page cache use the colours in shareable_bits.\n");
	describe_guest(b, out);
}

static void progress(struct resctrl_backend *be, struct strbuf *out)
{
	struct colour_backend *b = container_of(be, struct colour_backend, be);

	if (b->ops->progress)
		b->ops->progress(b->ctx, out);
}

static const char *note(struct resctrl_backend *be, unsigned cls)
{
	struct colour_backend *b = container_of(be, struct colour_backend, be);

	if (colour_backend_mask(b, cls) == join(b, UINT32_MAX, UINT32_MAX))
		return NULL;
	return "ok: huge pages, which hold every colour, are refused to this group and split";
}

static const struct resctrl_backend_ops colour_backend_ops = { .check = check,
							       .set = set,
							       .commit = commit,
							       .set_cdp = set_cdp,
							       .describe = describe,
							       .progress = progress,
							       .note = note };

/* ---- making one ------------------------------------------------------------------------------------------ */

static void add_resource(struct colour_backend *b, enum resctrl_resource_id id, const struct colour_cache *cache,
			 const struct colour_places *at)
{
	unsigned n = colour_count(cache);
	struct resctrl_resource *res = &b->be.res[id];

	if (n < 2)
		return;
	*res = (struct resctrl_resource){ .present = true,
					  .sparse = true,
					  .tied = true,
					  .width = n,
					  .min_bits = 1,
					  .num_classes = COLOUR_CLASSES,
					  .shared_bits = BIT(min(b->machine.kernel_colours, n)) - 1,
					  .nr_domains = max(at->nr, 1U) };
	res->domain[0] = (struct resctrl_domain){ .id = 0, .cpus = b->machine.cpus, .cache_bytes = cache->bytes };
	for (unsigned i = 0; i < at->nr; i++)
		res->domain[i] = (struct resctrl_domain){ at->at[i].id, at->at[i].cpus, cache->bytes };
	b->colours = max(b->colours, n);
	for (unsigned c = 0; c < COLOUR_CLASSES; c++)
		b->mask[c][id] = BIT(n) - 1;
}

int colour_backend_create(const struct colour_machine *m, const struct colour_allocator_ops *ops, void *ctx,
			  struct colour_backend **out)
{
	struct colour_backend *b = kzalloc(sizeof(*b), ALLOC_KERNEL);
	int err;

	if (!b)
		return -ENOMEM;
	b->be.ops = &colour_backend_ops;
	b->machine = *m;
	b->ops = ops;
	b->ctx = ctx;
	add_resource(b, RESCTRL_L3, &m->l3, &m->l3_at);
	add_resource(b, RESCTRL_L2, &m->l2, &m->l2_at);
	err = b->colours ? ops->start(ctx, b->colours) : -ENODEV;
	if (err) {
		kfree(b);
		return err;
	}
	if (m->kernel_colours)
		ops->set(ctx, COLOUR_KERNEL, BIT(min(m->kernel_colours, b->colours)) - 1);
	*out = b;
	return 0;
}

void colour_backend_destroy(struct colour_backend *b)
{
	b->ops->stop(b->ctx);
	kfree(b);
}

struct resctrl_backend *colour_backend_get(struct colour_backend *b)
{
	return &b->be;
}
