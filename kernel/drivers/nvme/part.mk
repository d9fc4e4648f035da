# Layer 8: NVM Express disks.
uses := lib abi arch core alloc task device block
