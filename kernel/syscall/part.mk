# Layer 9: one file a syscall family.
uses := lib abi arch core alloc task mm vfs process tty net fs/proc fs/tmpfs
