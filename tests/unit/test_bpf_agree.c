/* SPDX-License-Identifier: MIT
 *
 * Problem: a fuzzer that follows coverage tries a few hundred programs a second; agreement of the three evaluators
 * wants many more.
 *
 * Idea: the fuzzer's own generator and comparison (fuzz_bpf_exec.c), fed with random bytes until so many programs were
 * accepted and run by all three.
 *
 * Contract: test_bpf_agree [COUNT [SEED]]: accepted programs, 20,000 by default. Aborts at a disagreement or an access
 * outside of the program's objects. `make build/bench/bpf_agree` builds it without sanitizers, for millions.
 *
 * Locks: none.
 */
// links: tests/fuzz/fuzz_bpf_exec.c
#include <stdio.h>
#include <stdlib.h>
#include <bpf/prog.h>
#include <lib/types.h>

#define MOST_BYTES 100
#define BUDGET     3000 /* what takes the verifier longer is not worth the time here */

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
extern u64 fuzz_accepted, fuzz_compared;
extern u32 fuzz_budget;

static u64 state;

static u64 next(void) /* xorshift64* */
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dULL;
}

int main(int argc, char **argv)
{
	u64 want = argc > 1 ? strtoull(argv[1], NULL, 0) : 20000, step = want / 10 + 1, told = 0;
	static u8 bytes[MOST_BYTES];

	fuzz_budget = BUDGET;
	state = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	while (fuzz_accepted < want) {
		size_t size = 2 + next() % (sizeof(bytes) - 2);

		for (size_t i = 0; i < size; i++)
			bytes[i] = (u8)(next() >> 32);
		if (next() % 32) /* raw bytes and logs need few tries */
			bytes[0] &= 0x7d;
		bpf_jit_thunks = next() >> 63; /* calls and tail calls in both forms */
		(void)LLVMFuzzerTestOneInput(bytes, size);
		if (fuzz_accepted / step != told) {
			told = fuzz_accepted / step;
			printf("%llu\n", (unsigned long long)fuzz_accepted);
			fflush(stdout);
		}
	}
	printf("accepted %llu, all results compared %llu, disagreements 0\n", (unsigned long long)fuzz_accepted,
	       (unsigned long long)fuzz_compared);
	puts("[  PASSED  ] 1 test"); /* as the runner reads it */
	return 0;
}
