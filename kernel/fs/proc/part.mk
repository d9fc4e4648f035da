# Layer 8: /proc.
uses := lib abi arch core alloc task mm vfs process cgroup net fs/attrfs resctrl
