# Layer 2: locks, per-CPU data, RCU, interrupts, clock, log, panic, static branches, attribute tree.
uses := lib abi arch
