# Layer 8: AF_UNIX.
uses := lib abi arch core alloc task mm vfs process net
