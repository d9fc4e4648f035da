# Layer 1: the machine. Boot, entry, page tables, SMP, interrupts, clocks, FPU, user copy.
uses := lib abi core alloc task
