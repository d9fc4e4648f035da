# Layer 6: dentries, inodes, files, mounts, page cache, pipes, poll, writeback.
uses := lib abi arch core alloc task mm
pure := *
