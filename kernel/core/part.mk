# Layer 2: locks, per-CPU data, RCU, interrupts, clock, log, panic, static branches, attribute tree. One knot with alloc and task:
# panic and the end of an interrupt look at the current task, and the attribute tree allocates its links.
uses := lib abi arch alloc task
pure := attr.c
