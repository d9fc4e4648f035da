# Layer 8: /dev as drivers name it, and the memory devices.
uses := lib abi arch core alloc task mm vfs fs/tmpfs
