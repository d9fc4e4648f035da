# Layer 8: the tracepoints as files, and debugfs, on which old clients look for them.
uses := lib abi arch core alloc task mm vfs perf fs/attrfs
pure := ring.c print.c
