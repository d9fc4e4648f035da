# Layer 5: eBPF. Every file is a pure core; the kernel's system call and hooks stand on them.
uses := lib core alloc
pure := *
