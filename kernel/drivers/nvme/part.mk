# Layer 8: NVM Express disks.
uses := lib abi arch core alloc task vfs device block
