# Layer 7: sockets as files, families that register, and what they share.
uses := lib abi arch core alloc task mm vfs
pure := packet.c
