# Layer 8: files in memory. The root file system, /tmp, memfd.
uses := lib abi arch core alloc task mm vfs
pure := *
