# Layer 7: fork, exec, signals, wait, futex, namespaces.
uses := lib abi arch core alloc task mm vfs
pure := elf.c
