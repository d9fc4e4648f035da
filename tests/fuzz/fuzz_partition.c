/* SPDX-License-Identifier: MIT
 *
 * Problem: a partition table comes from any disk that somebody plugs in.
 *
 * Idea: the input is the first and the last blocks of a disk; CRCs of GPT headers and arrays are put right on demand,
 * so that the fuzzer gets behind them. Whatever is found lies inside the disk, and GPT partitions do not overlap.
 *
 * Contract: libFuzzer entry; aborts on a broken property. Locks: none.
 */
#include <core/log.h>
#include <lib/string.h>
#include <block/partition.h>

#define BLOCKS 128

static u8 disk[BLOCKS * 512];

static int read_disk(void *ctx, u64 block, void *buf)
{
	ensure(block < BLOCKS);
	memcpy(buf, disk + block * 512, 512);
	return 0;
}

static u32 crc32_of(const u8 *p, size_t n)
{
	u32 crc = ~0u;

	while (n--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static void put_right(u64 at)
{
	u8 *h = disk + at * 512;
	u32 bytes = 92, crc, entries = h[80] % 32, entry = 128;
	u64 array = h[72] % BLOCKS;
	const u64 zero = 0;

	memcpy(h, "EFI PART", 8);
	memcpy(h + 12, &bytes, 4);
	memcpy(h + 24, &at, 8);
	memcpy(h + 72, &zero, 8);
	h[72] = array;
	memcpy(h + 80, &entries, 4);
	memcpy(h + 84, &entry, 4);
	if ((array * 512 + entries * entry) <= sizeof(disk)) {
		crc = crc32_of(disk + array * 512, entries * entry);
		memcpy(h + 88, &crc, 4);
	}
	memset(h + 16, 0, 4);
	crc = crc32_of(h, bytes);
	memcpy(h + 16, &crc, 4);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct partition_source source = { .nr_blocks = BLOCKS, .block_bytes = 512, .read = read_disk };
	static struct partition p[PARTITION_MAX];
	u8 flags = size ? data[0] : 0;
	int n;

	if (size < 1 || size > sizeof(disk))
		return 0;
	memset(disk, 0, sizeof(disk));
	memcpy(disk, data + 1, size - 1);
	if (flags & 1) {
		memset(disk, 0, 446);
		for (int i = 0; i < 4; i++)
			disk[446 + 16 * i] &= 0x80;
		disk[510] = 0x55;
		disk[511] = 0xaa;
	}
	if (flags & 2) {
		disk[450] = 0xee;
		put_right(1);
	}
	n = partition_scan(&source, p, PARTITION_MAX);
	ensure(n >= 0 && n <= PARTITION_MAX);
	for (int i = 0; i < n; i++) {
		ensure(p[i].nr_sectors && p[i].start_sector < BLOCKS);
		ensure(p[i].nr_sectors <= BLOCKS - p[i].start_sector);
		ensure(strlen(p[i].name) < sizeof(p[i].name));
		for (int j = 0; strlen(p[i].uuid) == 36 && j < i; j++)
			ensure(p[i].start_sector >= p[j].start_sector + p[j].nr_sectors ||
			       p[j].start_sector >= p[i].start_sector + p[i].nr_sectors);
	}
	return 0;
}
