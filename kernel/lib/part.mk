# Layer 0: pure data structures and algorithms. Knows nothing of the machine.
# string.c and printf.c are libc's names: on the host they come from libc and arch/hosted.
uses := abi
pure := $(filter-out string.c printf.c,$(notdir $(wildcard kernel/lib/*.c)))
