/* SPDX-License-Identifier: MIT
 *
 * Problem: the queues of a virtual GPU lie in memory of a guest that may be hostile; what is taken from them must be
 * what the specification allows, and nothing else.
 *
 * Idea: queues built by hand in an array: a good chain, an indirect one, and each way in which one can be bad; the
 * order of registers that a driver uses, and what is refused.
 *
 * Contract: none; exits 0 or fails an assertion.
 *
 * Locks: none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <virt/vgpu/virtq.h>

#define BYTES 0x10000
#define BASE  0x4000000000ULL /* addresses of the guest begin there */

static u8 memory[BYTES];
static struct virtq_chain chain;

static void *at(u64 address, size_t n)
{
	return address >= BASE && address - BASE <= BYTES && n <= BYTES - (address - BASE) ? memory + (address - BASE)
											   : NULL;
}

static int mem_read(void *ctx, u64 address, void *buf, size_t n)
{
	void *p = at(address, n);

	if (p)
		memcpy(buf, p, n);
	return p ? 0 : -EFAULT;
}

static int mem_write(void *ctx, u64 address, const void *buf, size_t n)
{
	void *p = at(address, n);

	if (p)
		memcpy(p, buf, n);
	return p ? 0 : -EFAULT;
}

static const struct virtq_mem mem = { mem_read, mem_write, NULL };
static struct vring_desc *const desc = (void *)memory;
static struct vring_avail *const avail = (void *)(memory + 0x1000);
static struct vring_used *const used = (void *)(memory + 0x2000);
static struct vring_desc *const table = (void *)(memory + 0x4000);

static struct virtq fresh(void)
{
	memset(memory, 0, sizeof(memory));
	return (struct virtq){
		.desc = BASE, .avail = BASE + 0x1000, .used = BASE + 0x2000, .size = 8, .vector = 1, .enabled = true
	};
}

static struct vring_desc piece(u64 offset, u32 n, u16 flags, u16 next)
{
	return (struct vring_desc){ BASE + offset, n, flags, next };
}

static void offer(u16 head)
{
	avail->ring[avail->idx % 8] = head;
	avail->idx++;
}

static void good_chain(void **state)
{
	struct virtq q = fresh();
	char text[16] = "";
	bool tell;

	assert_int_equal(virtq_next(&q, &mem, &chain), 0);
	memcpy(memory + 0x5000, "hello", 5);
	memcpy(memory + 0x6000, " world", 6);
	desc[2] = piece(0x5000, 5, VRING_DESC_F_NEXT, 7);
	desc[7] = piece(0x6000, 6, VRING_DESC_F_NEXT, 0);
	desc[0] = piece(0x7000, 4, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	desc[1] = piece(0x8000, 8, VRING_DESC_F_WRITE, 0);
	offer(2);
	assert_int_equal(virtq_next(&q, &mem, &chain), 1);
	assert_int_equal(chain.nr_in, 2);
	assert_int_equal(chain.nr_out, 2);
	assert_int_equal(chain.in_bytes, 11);
	assert_int_equal(chain.out_bytes, 12);
	assert_int_equal(virtq_read(&chain, &mem, text, 11), 0);
	assert_string_equal(text, "hello world");
	assert_int_equal(virtq_read(&chain, &mem, text, 12), -EINVAL);
	assert_int_equal(virtq_write(&chain, &mem, 0, "0123456789abcdef", 16), 12);
	assert_memory_equal(memory + 0x7000, "0123", 5);
	assert_memory_equal(memory + 0x8000, "456789ab", 9);
	assert_int_equal(virtq_write(&chain, &mem, 2, "xyzw", 4), 4);
	assert_memory_equal(memory + 0x7000, "01xy", 5);
	assert_memory_equal(memory + 0x8000, "zw6789ab", 9);
	assert_int_equal(virtq_done(&q, &mem, chain.head, 12, &tell), 0);
	assert_true(tell);
	assert_int_equal(used->idx, 1);
	assert_int_equal(used->ring[0].id, 2);
	assert_int_equal(used->ring[0].len, 12);
	avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	assert_int_equal(virtq_done(&q, &mem, 3, 0, &tell), 0);
	assert_false(tell);
	assert_int_equal(virtq_next(&q, &mem, &chain), 0);
}

static void indirect(void **state)
{
	struct virtq q = fresh();

	desc[3] = piece(0x4000, 3 * sizeof(table[0]), VRING_DESC_F_INDIRECT, 0);
	table[0] = piece(0x5000, 1, VRING_DESC_F_NEXT, 2);
	table[2] = piece(0x5100, 2, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	table[1] = piece(0x5200, 3, VRING_DESC_F_WRITE, 0);
	offer(3);
	assert_int_equal(virtq_next(&q, &mem, &chain), 1);
	assert_int_equal(chain.nr_in, 1);
	assert_int_equal(chain.nr_out, 2);
	assert_int_equal(chain.out_bytes, 5);
	assert_int_equal(chain.head, 3);
}

/* Each alone stops the queue. */
static void bad_chains(void **state)
{
	static const struct {
		struct vring_desc d[2], t[2];
		u16 head;
	} bad[] = {
		{ .head = 8 },                                  /* no such descriptor */
		{ .d = { { BASE, 4, VRING_DESC_F_NEXT, 0 } } }, /* a loop */
		{ .d = { { BASE, 4, VRING_DESC_F_NEXT, 9 } } }, /* out of the table */
		{ .d = { { BASE, 4, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1 },
			 { BASE, 4, 0, 0 } } },                                      /* to read behind */
		{ .d = { { BASE + 0x4000, 0, VRING_DESC_F_INDIRECT, 0 } } },         /* an empty table */
		{ .d = { { BASE + 0x4000, 17, VRING_DESC_F_INDIRECT, 0 } } },        /* a part of an entry */
		{ .d = { { BASE + 0x4000, 16U << 20, VRING_DESC_F_INDIRECT, 0 } } }, /* too many */
		{ .d = { { 77, 32, VRING_DESC_F_INDIRECT, 0 } } },                   /* not memory */
		{ .d = { { BASE + 0x4000, 32, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1 } } },
		{ .d = { { BASE, 4, VRING_DESC_F_NEXT, 1 }, { BASE + 0x4000, 16, VRING_DESC_F_INDIRECT, 0 } } },
		{ .d = { { BASE + 0x4000, 16, VRING_DESC_F_INDIRECT, 0 } },
		  .t = { { BASE + 0x4000, 16, VRING_DESC_F_INDIRECT, 0 } } }, /* a table in a table */
		{ .d = { { BASE + 0x4000, 16, VRING_DESC_F_INDIRECT, 0 } },
		  .t = { { BASE, 4, VRING_DESC_F_NEXT, 1 } } }, /* runs out of it */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct virtq q = fresh();

		memcpy(desc, bad[i].d, sizeof(bad[i].d));
		memcpy(table, bad[i].t, sizeof(bad[i].t));
		offer(bad[i].head);
		assert_int_equal(virtq_next(&q, &mem, &chain), -EINVAL);
	}
}

static void bad_rings(void **state)
{
	struct virtq q = fresh();
	bool tell;

	avail->idx = 9; /* more than there are descriptors */
	assert_int_equal(virtq_next(&q, &mem, &chain), -EINVAL);
	q.avail = BASE + BYTES;
	assert_int_equal(virtq_next(&q, &mem, &chain), -EINVAL);
	q = fresh();
	q.used = 0;
	assert_int_equal(virtq_done(&q, &mem, 0, 0, &tell), -EINVAL);
}

/* As long as a chain may be, and one more. */
static void long_chains(void **state)
{
	struct virtq q = fresh();
	struct vring_desc *t = (void *)memory + 0x4000;

	for (u16 i = 0; i < VIRTQ_CHAIN; i++)
		t[i] = piece(0, 1, i + 1 < VIRTQ_CHAIN ? VRING_DESC_F_NEXT : 0, (u16)(i + 1));
	desc[0] = piece(0x4000, VIRTQ_CHAIN * sizeof(*t), VRING_DESC_F_INDIRECT, 0);
	offer(0);
	assert_int_equal(virtq_next(&q, &mem, &chain), 1);
	assert_int_equal(chain.nr_in, VIRTQ_CHAIN);
	desc[0].len += sizeof(*t);
	offer(0);
	assert_int_equal(virtq_next(&q, &mem, &chain), -EINVAL);
}

/* ---- registers ---- */

static struct vdev v;

static u32 get(u32 offset, size_t n)
{
	u32 value = 0;

	vdev_read_common(&v, offset, &value, n);
	return value;
}

static enum vdev_event put(u32 offset, u32 value, size_t n)
{
	return vdev_write_common(&v, offset, &value, n);
}

static void features(void **state)
{
	vdev_init(&v, 1ULL << VIRTIO_F_VERSION_1 | 3);
	assert_int_equal(get(VIRTIO_PCI_COMMON_DF, 4), 3);
	put(VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
	assert_int_equal(get(VIRTIO_PCI_COMMON_DF, 4), 1);
	put(VIRTIO_PCI_COMMON_DFSELECT, 2, 4);
	assert_int_equal(get(VIRTIO_PCI_COMMON_DF, 4), 0);
	put(VIRTIO_PCI_COMMON_STATUS, 3, 1);
	put(VIRTIO_PCI_COMMON_GF, 4, 4); /* not offered */
	put(VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	put(VIRTIO_PCI_COMMON_GF, 1, 4);
	put(VIRTIO_PCI_COMMON_STATUS, 11, 1);
	assert_int_equal(get(VIRTIO_PCI_COMMON_STATUS, 1), 3);
	put(VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	put(VIRTIO_PCI_COMMON_GF, 2, 4);
	put(VIRTIO_PCI_COMMON_STATUS, 11, 1);
	assert_int_equal(get(VIRTIO_PCI_COMMON_STATUS, 1), 11);
	put(VIRTIO_PCI_COMMON_GF, 0, 4); /* too late */
	assert_int_equal(get(VIRTIO_PCI_COMMON_GF, 4), 2);
	assert_false(vdev_is_running(&v));
	assert_int_equal(put(VIRTIO_PCI_COMMON_STATUS, 15, 1), VDEV_READY);
	assert_int_equal(put(VIRTIO_PCI_COMMON_STATUS, 15, 1), VDEV_NOTHING);
	assert_true(vdev_is_running(&v));
	v.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	put(VIRTIO_PCI_COMMON_STATUS, 15, 1);
	assert_false(vdev_is_running(&v)); /* only a reset helps */
	assert_int_equal(put(VIRTIO_PCI_COMMON_STATUS, 0, 1), VDEV_RESET);
	assert_int_equal(get(VIRTIO_PCI_COMMON_STATUS, 1), 0);
	assert_int_equal(v.features, 0);
}

static void queues(void **state)
{
	u64 address = 0x123456789000;

	vdev_init(&v, 1ULL << VIRTIO_F_VERSION_1);
	assert_int_equal(get(VIRTIO_PCI_COMMON_NUMQ, 2), 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), VIRTQ_SIZE);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTQ_NONE);
	put(VIRTIO_PCI_COMMON_Q_SIZE, 100, 2); /* not a power of two */
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), VIRTQ_SIZE);
	put(VIRTIO_PCI_COMMON_Q_SIZE, 2 * VIRTQ_SIZE, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), VIRTQ_SIZE);
	put(VIRTIO_PCI_COMMON_Q_SIZE, 64, 2);
	vdev_write_common(&v, VIRTIO_PCI_COMMON_Q_DESCLO, &address, 8);
	put(VIRTIO_PCI_COMMON_Q_AVAILLO, 0x1000, 4);
	put(VIRTIO_PCI_COMMON_Q_AVAILHI, 2, 4);
	put(VIRTIO_PCI_COMMON_Q_USEDLO, 0x2000, 4);
	put(VIRTIO_PCI_COMMON_Q_USEDHI, 3, 4);
	put(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	assert_int_equal(v.queue[0].desc, address);
	assert_int_equal(v.queue[0].avail, 0x200001000);
	assert_int_equal(v.queue[0].used, 0x300002000);
	assert_int_equal(v.queue[0].size, 64);
	put(VIRTIO_PCI_COMMON_Q_SIZE, 32, 2); /* in use */
	put(VIRTIO_PCI_COMMON_Q_DESCLO, 0, 4);
	assert_int_equal(v.queue[0].size, 64);
	assert_int_equal(v.queue[0].desc, address);
	put(VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_NOFF, 2), 1);
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 2); /* there is none */
	assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	put(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	assert_int_equal(get(63, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(good_chain),  cmocka_unit_test(indirect),
					    cmocka_unit_test(bad_chains),  cmocka_unit_test(bad_rings),
					    cmocka_unit_test(long_chains), cmocka_unit_test(features),
					    cmocka_unit_test(queues) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
