# Layer 8: SATA disks behind AHCI.
uses := lib abi arch core alloc task vfs device block
