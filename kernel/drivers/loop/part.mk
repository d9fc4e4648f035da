# Layer 8: files as disks.
uses := lib abi arch core alloc task mm vfs block
