/* SPDX-License-Identifier: MIT
 *
 * Problem: drivers and compositors choose a mode by what the display says of itself; a display that is only a picture
 * must say something, too.
 *
 * Idea: one block: one detailed timing (reduced blanking: 160 pixels a line, 30 lines), a name, and the ranges that it
 * lies in. Bytes and their meaning: VESA E-EDID standard, release A, revision 2, section 3.
 *
 * Contract: virt/vgpu/edid.h. Locks: none, a pure function.
 */
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/edid.h>

#define REFRESH  60
#define H_BLANK  160
#define V_BLANK  30
#define H_BEFORE 48 /* pixels to the sync pulse, and of it */
#define H_SYNC   32
#define V_BEFORE 3
#define V_SYNC   5

static u32 millimetres(u32 pixels)
{
	return pixels * 254 / 960;
}

static void put_timing(u8 *d, u32 w, u32 h)
{
	u32 clock = (w + H_BLANK) * (h + V_BLANK) * REFRESH / 10000, mm_w = millimetres(w), mm_h = millimetres(h);

	d[0] = (u8)clock;
	d[1] = (u8)(clock >> 8);
	d[2] = (u8)w;
	d[3] = H_BLANK;
	d[4] = (u8)(w >> 8 << 4);
	d[5] = (u8)h;
	d[6] = V_BLANK;
	d[7] = (u8)(h >> 8 << 4);
	d[8] = H_BEFORE;
	d[9] = H_SYNC;
	d[10] = V_BEFORE << 4 | V_SYNC;
	d[12] = (u8)mm_w;
	d[13] = (u8)mm_h;
	d[14] = (u8)(mm_w >> 8 << 4 | mm_h >> 8);
	d[17] = 0x1a; /* digital, separate sync, horizontal positive */
}

static void put_text(u8 *d, u8 kind, const char *text)
{
	d[3] = kind;
	memset(d + 5, ' ', 13);
	memcpy(d + 5, text, strlen(text));
	d[5 + strlen(text)] = '\n';
}

static void put_ranges(u8 *d, u32 w, u32 h)
{
	static const u8 rest[] = { 0x01, 0x0a, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20 }; /* limits alone */
	u32 lines_khz = (h + V_BLANK) * REFRESH / 1000, clock_mhz = (w + H_BLANK) * lines_khz / 1000;

	d[3] = 0xfd;
	d[5] = 50;
	d[6] = 75;
	d[7] = 15;
	d[8] = (u8)min(lines_khz + 20, 255u);
	d[9] = (u8)min(clock_mhz / 10 + 2, 255u);
	memcpy(d + 10, rest, sizeof(rest));
}

void vgpu_edid_make(u32 width, u32 height, u8 out[EDID_BYTES])
{
	static const u8 head[] = {
		0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x3e, 0x74, 1, 0, 0, 0, 0, 0, 1, 27, 1, 4
	};
	static const u8 srgb[] = { 0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54 };
	u8 sum = 0;

	memset(out, 0, EDID_BYTES);
	memcpy(out, head, sizeof(head)); /* the maker is OST */
	out[20] = 0xa0;                  /* digital, eight bits a colour */
	out[21] = (u8)(millimetres(width) / 10);
	out[22] = (u8)(millimetres(height) / 10);
	out[23] = 120;  /* gamma 2.2 */
	out[24] = 0x06; /* sRGB, the first timing is its own */
	memcpy(out + 25, srgb, sizeof(srgb));
	memset(out + 38, 1, 16); /* no standard timings */
	put_timing(out + 54, width, height);
	put_text(out + 72, 0xfc, "Ostrom vGPU");
	put_ranges(out + 90, width, height);
	out[108 + 3] = 0x10; /* nothing */
	for (u32 i = 0; i < EDID_BYTES - 1; i++)
		sum += out[i];
	out[EDID_BYTES - 1] = (u8)-sum;
}
