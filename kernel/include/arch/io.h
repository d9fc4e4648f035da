/* SPDX-License-Identifier: MIT
 *
 * Device registers: ports and memory-mapped (addresses from io_map). One access of exactly the
 * stated width, in program order towards other accesses of this kind.
 */
#ifndef ARCH_IO_H
#define ARCH_IO_H

#include <lib/types.h>

static inline void port_out8(u16 port, u8 v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}
static inline void port_out16(u16 port, u16 v)
{
	__asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}
static inline void port_out32(u16 port, u32 v)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}
static inline u8 port_in8(u16 port)
{
	u8 v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}
static inline u16 port_in16(u16 port)
{
	u16 v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}
static inline u32 port_in32(u16 port)
{
	u32 v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline u8 mmio_read8(const void *a)
{
	u8 v;

	__asm__ volatile("movb %1, %0" : "=q"(v) : "m"(*(const volatile u8 *)a) : "memory");
	return v;
}
static inline u16 mmio_read16(const void *a)
{
	u16 v;

	__asm__ volatile("movw %1, %0" : "=r"(v) : "m"(*(const volatile u16 *)a) : "memory");
	return v;
}
static inline u32 mmio_read32(const void *a)
{
	u32 v;

	__asm__ volatile("movl %1, %0" : "=r"(v) : "m"(*(const volatile u32 *)a) : "memory");
	return v;
}
static inline u64 mmio_read64(const void *a)
{
	u64 v;

	__asm__ volatile("movq %1, %0" : "=r"(v) : "m"(*(const volatile u64 *)a) : "memory");
	return v;
}
static inline void mmio_write8(void *a, u8 v)
{
	__asm__ volatile("movb %0, %1" : : "q"(v), "m"(*(volatile u8 *)a) : "memory");
}
static inline void mmio_write16(void *a, u16 v)
{
	__asm__ volatile("movw %0, %1" : : "r"(v), "m"(*(volatile u16 *)a) : "memory");
}
static inline void mmio_write32(void *a, u32 v)
{
	__asm__ volatile("movl %0, %1" : : "r"(v), "m"(*(volatile u32 *)a) : "memory");
}
static inline void mmio_write64(void *a, u64 v)
{
	__asm__ volatile("movq %0, %1" : : "r"(v), "m"(*(volatile u64 *)a) : "memory");
}

/* Memory that a device reads by itself, without looking into caches: what was stored is there afterwards. */
static inline void cache_write_back(const void *p, unsigned long bytes)
{
	for (unsigned long at = (unsigned long)p & ~63UL; at < (unsigned long)p + bytes; at += 64)
		__asm__ volatile("clflush %0" : : "m"(*(const char *)at) : "memory");
	__asm__ volatile("mfence" : : : "memory");
}

#endif
