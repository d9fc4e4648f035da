# Layer 8: disks of memory.
uses := lib abi arch core alloc task vfs block
