# Layer 7: the tenant tree as files of cgroup2, and the controllers of memory, tasks and CPU time.
uses := lib abi arch core alloc task mm vfs process fs/attrfs
