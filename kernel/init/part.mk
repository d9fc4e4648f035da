# Layer 9: kmain, the boot as a table of contents.
uses := lib abi arch core alloc task mm vfs process syscall fs/tmpfs
